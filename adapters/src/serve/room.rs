//! A set of connections that hear the same messages.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};

use sansock_core::Prepared;

use super::broadcast::{Broadcast, broadcast};
use super::handle::{Handle, OverflowPolicy};
use crate::driver::sync::{Mutex, MutexGuard};

/// Connections that hear the same messages. A clone is the same room.
///
/// A connection may be in any number of rooms, and rooms may outlive servers. Who has closed is
/// forgotten in time: nobody has to leave.
///
/// ```no_run
/// use sansock::Prepared;
/// use sansock::serve::{Origins, OverflowPolicy, Room};
/// use sansock::smol::{Socket, serve};
///
/// async fn chat(mut ws: Socket, room: Room) -> sansock::Result<()> {
///     room.join(ws.handle());
///     while let Some(message) = ws.recv().await? {
///         let _ = room.broadcast(&Prepared::new(message), OverflowPolicy::Disconnect);
///     }
///     Ok(())
/// }
///
/// # async fn run() -> sansock::Result<()> {
/// let room = Room::new();
/// let handler = move |ws| chat(ws, room.clone());
/// serve("127.0.0.1:9001", handler).origins(Origins::SameHost).await
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Room {
    members: Arc<Mutex<Members>>,
}

#[derive(Debug, Default)]
struct Members {
    handles: HashSet<Handle>,
    /// How many there may be before closed ones are looked for: twice as many as were left last time.
    enough: usize,
}

impl Members {
    fn forget_closed(&mut self) {
        self.handles.retain(Handle::is_open);
        self.enough = self.handles.len().saturating_mul(2).max(16);
    }
}

impl Room {
    /// Returns an empty room.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a connection. Returns whether it was not there yet.
    pub fn join(&self, connection: &Handle) -> bool {
        let mut members = self.members();
        if members.handles.len() >= members.enough {
            members.forget_closed();
        }
        members.handles.insert(connection.clone())
    }

    /// Removes a connection. Returns whether it was there.
    pub fn leave(&self, connection: &Handle) -> bool {
        self.members().handles.remove(connection)
    }

    /// Returns how many connections there are, closed ones included that were not yet forgotten.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members().handles.len()
    }

    /// Whether nobody is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members().handles.is_empty()
    }

    /// Sends a message to everybody in the room, without waiting; see
    /// [`broadcast`](super::broadcast()).
    pub fn broadcast(&self, message: &Prepared, policy: OverflowPolicy) -> Broadcast {
        let members: Vec<Handle> = self.members().handles.iter().cloned().collect();
        let result = broadcast(&members, message, policy);
        if result.closed > 0 {
            self.members().forget_closed();
        }
        result
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
