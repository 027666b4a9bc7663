//! The handle of a connection: what other tasks than its handler may do with it.
//!
//! It only fills the connection's [inbox](crate::driver), from which the driver takes what was left.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ptr;
use std::sync::{Arc, OnceLock};

use bytestring::ByteString;
use sansock_core::{CloseCode, CloseFrame, Prepared, SendError};

use crate::driver::{Inbox, Pushed, Totals};
use crate::error::{Error, Result};
use crate::transport::Peer;

/// A connection of a server, for all tasks but its handler: to send to it without waiting, and to close
/// it. A clone is the same connection; it can be the key of a map.
///
/// It is not typed by transport, so that one room holds clients over TCP, TLS and Unix sockets.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

struct Shared {
    peer: Peer,
    /// The client, as the header of a transport and then that of a request has named it.
    clients: [OnceLock<Box<Peer>>; 2],
    max_backlog: usize,
    inbox: Arc<Inbox>,
}

/// What is done about a client that does not keep up: more waits for it than its
/// [backlog](super::Serve::max_backlog) may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OverflowPolicy {
    /// It does not get this message.
    #[default]
    Skip,
    /// It gets this message in place of the oldest that wait: for values of which the latest counts.
    DropOldest,
    /// It is closed with 1008 (policy violation).
    Disconnect,
}

/// What became of a message for one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Push {
    /// It will be sent, unless the connection ends before.
    Queued,
    /// The client does not keep up; see [`OverflowPolicy`].
    Overflow,
    /// The connection is closed or closing.
    Closed,
}

impl Handle {
    pub(super) fn new(peer: Peer, totals: Arc<Totals>, max_backlog: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                peer,
                clients: Default::default(),
                max_backlog,
                inbox: Arc::new(Inbox::new(totals)),
            }),
        }
    }

    /// A proxy has named the client: in front of the transport, or in the request. It is named no more than twice.
    pub(super) fn set_client(&self, client: Peer) {
        let [first, second] = &self.shared.clients;
        if let Err(client) = first.set(Box::new(client)) {
            let _ = second.set(client);
        }
    }

    pub(super) fn inbox(&self) -> &Arc<Inbox> {
        &self.shared.inbox
    }

    /// Returns whose connection it is.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        let mut clients = self.shared.clients.iter().rev();
        let client = clients.find_map(OnceLock::get);
        client.map_or(&self.shared.peer, |client| client)
    }

    /// Whether messages can still be sent.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.inbox().is_open()
    }

    /// Returns how many bytes wait in the backlog, each message with an overhead of 64 bytes: what the
    /// transport and the queue of the connection have not taken yet.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.inbox().backlog()
    }

    /// Sends a message without waiting.
    ///
    /// It leaves at once, whether or not the handler is busy, unless the handler is sending a message in
    /// parts: then after that. What one task pushes and sends leaves in the order of its calls; across
    /// tasks there is no order.
    pub fn push(&self, message: &Prepared, policy: OverflowPolicy) -> Push {
        let replace = policy == OverflowPolicy::DropOldest;
        match self.inbox().push(message, self.shared.max_backlog, replace) {
            Pushed::Queued => Push::Queued,
            Pushed::Closed => Push::Closed,
            Pushed::Replaced => Push::Overflow,
            Pushed::Full => {
                if policy == OverflowPolicy::Disconnect {
                    let frame = CloseFrame::new(CloseCode::POLICY_VIOLATION, "too slow");
                    self.inbox().close(frame, true);
                }
                Push::Overflow
            }
        }
    }

    /// Closes the connection without waiting, after what was pushed before. To the handler this looks as
    /// if it had closed the connection itself.
    ///
    /// # Errors
    /// [`Error::Misuse`] for a code or reason that may not be sent.
    pub fn close(&self, code: impl Into<CloseCode>, reason: impl Into<ByteString>) -> Result<()> {
        let (code, reason) = (code.into(), reason.into());
        if !code.is_sendable() {
            return Err(Error::Misuse(SendError::InvalidCloseCode(code)));
        }
        if reason.len() > CloseFrame::MAX_REASON {
            return Err(Error::Misuse(SendError::ReasonTooLong(reason.len())));
        }
        self.inbox().close(CloseFrame { code, reason }, false);
        Ok(())
    }

    /// Ends the connection at once: the handler's future is dropped. A Close frame is sent if that takes
    /// no waiting: that of [`close`](Self::close), or one with 1001 (going away).
    pub fn abort(&self) {
        self.inbox().command(crate::driver::Command::Abort);
    }
}

impl PartialEq for Handle {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl Eq for Handle {}

impl Hash for Handle {
    fn hash<H: Hasher>(&self, state: &mut H) {
        ptr::hash(Arc::as_ptr(&self.shared), state);
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("peer", self.peer())
            .field("open", &self.is_open())
            .finish_non_exhaustive()
    }
}
