//! Frames: what a WebSocket connection is made of after its opening handshake (RFC 6455 section 5).
//!
//! Everything here is pure: bytes to values and back. A header is refused at its first byte that
//! allows it, before any byte of its payload is looked at or stored.

mod close;
mod error;
mod header;
pub(crate) mod mask;
mod opcode;
mod payload;
pub(crate) mod utf8;

pub use close::{CloseCode, CloseFrame};
pub(crate) use error::HeaderError;
pub(crate) use header::{Header, HeaderEncoder, HeaderRules, SingleFrame};
pub use opcode::{Fin, Kind, OpCode, Side};
pub use payload::{Payload, TextPayload};
