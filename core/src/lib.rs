//! The WebSocket protocol (RFC 6455) as a pure state machine: bytes and time go in, bytes and events come out.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(any(feature = "std", test)), no_std)]
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

extern crate alloc;

mod buffer;
mod client;
mod config;
mod connection;
mod entropy;
mod error;
mod event;
mod frame;
pub mod handshake;
mod message;
mod prepared;
mod server;
mod time;

pub use crate::buffer::{BufferPool, Unpooled};
pub use crate::client::{ClientConnection, ClientError};
pub use crate::config::{Config, Delivery};
pub use crate::connection::{Closed, Connection, DataToSend, Deadline, PingId, State, Stats};
pub use crate::entropy::{Entropy, EntropyError, FixedSeed};
pub use crate::error::{Failure, ProtocolError, SendError};
pub use crate::event::{Chunk, Event, FrameRef};
pub use crate::frame::{CloseCode, CloseFrame, Fin, Kind, OpCode, Payload, Side, TextPayload};
pub use crate::handshake::Negotiated;
pub use crate::message::{LentBytes, LentText, Message, MessageRef, Outgoing};
pub use crate::prepared::Prepared;
pub use crate::server::ServerConnection;
pub use crate::time::Instant;
