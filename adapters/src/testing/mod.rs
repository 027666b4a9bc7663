//! What applications test their use of a WebSocket with: time that is moved by hand.

pub mod clock;
