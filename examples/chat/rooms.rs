//! Who is in which room.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_channel::Sender;
use sansock::Prepared;
use sansock::serve::{Handle, OverflowPolicy, Room};

/// Something to be said in a room.
pub(crate) struct Said {
    pub(crate) room: String,
    pub(crate) text: String,
}

/// The rooms in which somebody is, of this process.
pub(crate) struct Rooms {
    rooms: Mutex<HashMap<String, Room>>,
    /// The way to all processes, where there are several.
    outgoing: Option<Sender<Said>>,
}

impl Rooms {
    pub(crate) fn new(outgoing: Option<Sender<Said>>) -> Self {
        Self {
            rooms: Mutex::default(),
            outgoing,
        }
    }

    pub(crate) fn enter(&self, room: &str, visitor: &Handle) {
        self.rooms().entry(room.into()).or_default().join(visitor);
    }

    pub(crate) fn leave(&self, room: &str, visitor: &Handle) {
        let mut rooms = self.rooms();
        let Some(found) = rooms.get(room) else {
            return;
        };
        found.leave(visitor);
        if found.is_empty() {
            rooms.remove(room);
        }
    }

    /// Says something to everybody in the room, in whatever process.
    pub(crate) async fn say(&self, room: &str, text: String) {
        let Some(outgoing) = &self.outgoing else {
            return self.tell(room, text);
        };
        let room = room.into();
        // The other end is gone only when the program ends. While it is slow, who speaks waits.
        let _ = outgoing.send(Said { room, text }).await;
    }

    /// Says something to those in this process. Who does not keep up with what is said has to go, and
    /// may come again.
    pub(crate) fn tell(&self, room: &str, text: String) {
        let room = self.rooms().get(room).cloned();
        if let Some(room) = room {
            let _ = room.broadcast(&Prepared::new(text), OverflowPolicy::Disconnect);
        }
    }

    fn rooms(&self) -> MutexGuard<'_, HashMap<String, Room>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
