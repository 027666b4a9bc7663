//! Messages that are framed, and encoded, once and sent to many connections.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::extension::ExtensionState;
use crate::frame::{HeaderEncoder, Kind};
use crate::message::Message;

/// A message that was framed once, to be sent to any number of connections. A clone shares it.
///
/// A server's connections share the frame by reference count, and the compressed frame as well: there
/// is one for each set of parameters among them, made when it is first needed. A client masks every
/// frame with a key of its own (RFC 6455 section 5.3), so that it saves nothing but the compression.
#[derive(Debug, Clone)]
pub struct Prepared {
    kind: Kind,
    frame: PreparedFrame,
    encoded: Arc<Cache>,
}

/// A frame that is not masked.
#[derive(Debug, Clone)]
pub(crate) struct PreparedFrame {
    bytes: Bytes,
    header: usize,
    reserved: u8,
}

impl PreparedFrame {
    fn new(kind: Kind, reserved: u8, payload: &[u8]) -> Self {
        let header = HeaderEncoder::new(kind.into(), true, reserved, payload.len(), None);
        let mut bytes = vec![0; header.frame_size()];
        header.write_frame(payload, &mut bytes);
        Self {
            bytes: bytes.into(),
            header: header.size(),
            reserved,
        }
    }

    /// Returns header and payload.
    pub(crate) const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub(crate) fn payload(&self) -> &[u8] {
        self.bytes.get(self.header..).unwrap_or_default()
    }

    pub(crate) const fn reserved(&self) -> u8 {
        self.reserved
    }
}

impl Prepared {
    /// Frames a message.
    #[must_use]
    pub fn new(message: impl Into<Message>) -> Self {
        let message = message.into();
        Self {
            kind: message.kind(),
            frame: PreparedFrame::new(message.kind(), 0, message.as_bytes()),
            encoded: Arc::default(),
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
        self.frame.payload()
    }

    pub(crate) const fn frame(&self) -> &PreparedFrame {
        &self.frame
    }

    /// Returns the frame as this coding encodes it, where it can be shared.
    pub(crate) fn encoded(&self, coding: &mut dyn ExtensionState) -> Option<PreparedFrame> {
        let kind = coding.share_key()?;
        Some(self.encoded.get(kind, || {
            let mut payload = Vec::new();
            let reserved = coding.encode_shared(self.payload(), &mut payload);
            PreparedFrame::new(self.kind, reserved, &payload)
        }))
    }
}

/// The encoded forms of a message, by kind of coding.
#[cfg(feature = "std")]
#[derive(Debug, Default)]
struct Cache {
    frames: std::sync::Mutex<Vec<(u64, PreparedFrame)>>,
}

#[cfg(feature = "std")]
impl Cache {
    fn get(&self, kind: u64, make: impl FnOnce() -> PreparedFrame) -> PreparedFrame {
        let mut frames = self
            .frames
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((_, frame)) = frames.iter().find(|(other, _)| *other == kind) {
            return frame.clone();
        }
        let frame = make();
        frames.push((kind, frame.clone()));
        frame
    }
}

/// Without std there is no lock to share the encoded forms behind: each connection makes its own.
#[cfg(not(feature = "std"))]
#[derive(Debug, Default)]
struct Cache;

#[cfg(not(feature = "std"))]
impl Cache {
    fn get(&self, _: u64, make: impl FnOnce() -> PreparedFrame) -> PreparedFrame {
        make()
    }
}
