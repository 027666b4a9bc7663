//! Messages that are framed once and sent to many connections.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::frame::{Kind, Written};
use crate::message::Message;

/// A message that was framed once, to be sent to any number of connections.
///
/// A server's connections share the frame by reference count. A client masks every frame with a key
/// of its own (RFC 6455 section 5.3), so that it saves nothing.
#[derive(Debug, Clone)]
pub struct Prepared {
    kind: Kind,
    frame: Bytes,
    header: usize,
}

impl Prepared {
    /// Frames a message.
    #[must_use]
    pub fn new(message: impl Into<Message>) -> Self {
        let message = message.into();
        let payload = message.as_bytes();
        let header = Written::new(message.kind().into(), true, 0, payload.len(), None);
        let header = header.as_slice();
        let mut frame = Vec::with_capacity(header.len().saturating_add(payload.len()));
        frame.extend_from_slice(header);
        frame.extend_from_slice(payload);
        Self {
            kind: message.kind(),
            frame: frame.into(),
            header: header.len(),
        }
    }

    /// Returns what the message holds.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the payload.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.frame.get(self.header..).unwrap_or_default()
    }

    /// Returns header and payload, not masked.
    pub(crate) const fn frame(&self) -> &Bytes {
        &self.frame
    }
}
