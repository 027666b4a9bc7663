//! The WebSocket protocol (RFC 6455) as a pure state machine: bytes and time go in, bytes and events
//! come out. No I/O, no clock, no `unsafe`; randomness is injected; `no_std` with `alloc`.
//!
//! - To write an application, use the `sansock` crate, which drives this one over futures-io.
//! - To add WebSockets to an event loop, an embedded system or a blocking server of your own, start with
//!   [`ClientConnection`] or [`ServerConnection`]; where an HTTP stack did the upgrade, with
//!   [`Connection`].
//!
//! ```
//! use bytes::Buf;
//! use sansock_core::handshake::{ClientOptions, Uri};
//! use sansock_core::{ClientConnection, Config, Event, Instant, ServerConnection};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let uri: Uri = "ws://localhost/".parse()?;
//! let mut client = ClientConnection::new(&uri, &ClientOptions::new(), Config::new())?;
//! let mut server = ServerConnection::new(Default::default(), Config::new());
//! let now = Instant::START;
//!
//! client.send_request(client.connect())?;
//! transfer(&mut client.data_to_send(), |bytes| server.receive_data(bytes, now));
//! let Some(Event::Request(request)) = server.next_event() else { panic!() };
//! let response = server.accept(&request);
//! server.send_response(&response)?;
//! server.send("hello")?;
//! transfer(&mut server.data_to_send(), |bytes| client.receive_data(bytes, now));
//!
//! assert!(matches!(client.next_event(), Some(Event::Response(_))));
//! let Some(Event::Message(message)) = client.next_event() else { panic!() };
//! assert_eq!(message.as_text(), Some("hello"));
//! # Ok(())
//! # }
//! #
//! # /// The network.
//! # fn transfer(data: &mut impl Buf, mut receive: impl FnMut(&[u8])) {
//! #     while data.has_remaining() {
//! #         receive(data.chunk());
//! #         data.advance(data.chunk().len());
//! #     }
//! # }
//! ```
//!
//! What some implementations accept and this one refuses, with the reasons, is listed in [`refusals`].
//!
//! Features: `std` (default) detects vector instructions at run time and offers `IoSlice`s;
//! `getrandom` (default) takes seeds for masking keys from the operating system; `http`
//! converts to and from the types of the `http` crate; `idna` admits international domain names;
//! `tracing` tells frames and changes of state to the crate `tracing`.
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
mod deadline;
#[cfg(feature = "deflate")]
pub mod deflate;
mod entropy;
mod error;
mod escape;
mod event;
pub mod extension;
mod frame;
pub mod handshake;
mod message;
mod message_buf;
mod opening;
mod prepared;
mod protocol;
#[doc = include_str!("../docs/refusals.md")]
pub mod refusals {}
mod server;
mod state;
mod time;

pub use crate::buffer::{BufferPool, NoPool};
pub use crate::client::ClientConnection;
pub use crate::config::{Config, Delivery};
pub use crate::connection::{
    Closed, Compression, Connection, DataToSend, Io, PingId, Ready, Stats,
};
pub use crate::deadline::Deadline;
#[cfg(feature = "getrandom")]
pub use crate::entropy::SystemEntropy;
pub use crate::entropy::{Entropy, EntropyError, FixedSeed};
pub use crate::error::{ConnectionError, Failure, ProtocolError, SendError};
pub use crate::escape::escaped;
pub use crate::event::{Chunk, Event, FrameRef};
pub use crate::frame::{CloseCode, CloseFrame, Fin, Kind, OpCode, Payload, Side, TextPayload};
pub use crate::handshake::Negotiated;
pub use crate::message::{LentBytes, LentText, Message, MessageRef, Outgoing};
pub use crate::prepared::Prepared;
pub use crate::protocol::Protocol;
pub use crate::server::ServerConnection;
pub use crate::state::State;
pub use crate::time::Instant;
