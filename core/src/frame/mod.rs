//! Frames (RFC 6455 section 5).

mod close;
mod mask;
mod utf8;

pub use close::{CloseCode, CloseFrame};
