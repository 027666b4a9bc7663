//! WebSockets (RFC 6455) for smol, for async-std, and for every executor of your own.
//!
//! - `smol` and `async_std` connect, accept and [serve] over the sockets of these runtimes.
//! - [`WebSocket`] runs over any `AsyncRead + AsyncWrite` of futures-io, with any [`Timer`]. It spawns
//!   nothing and knows no runtime.
//!
//! ```no_run
//! # async fn run() -> sansock::Result<()> {
//! let mut ws = sansock::smol::connect("ws://localhost:9001/").await?;
//! ws.send("hello").await?;
//! while let Some(message) = ws.recv().await? {
//!     println!("{message:?}");
//! }
//! // An error unless the server closed normally.
//! ws.close_result()
//! # }
//! ```
//!
//! Limits and deadlines have safe defaults, set in [`Config`]: start from [`config()`]. The protocol
//! itself, without any I/O, is [`core`]. What some implementations accept and this one refuses is listed in
//! [`core::refusals`].
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `smol` | yes | connect and accept over async-net; `Timer` for `async_io::Timer` |
//! | `async-std` | | `async_std`: the same over async-std's sockets |
//! | `rustls` | | [`tls`] by rustls: ring's cryptography, the system's roots |
//! | `aws-lc-rs` | | the cryptography of aws-lc-rs below rustls, in place of ring's |
//! | `webpki-roots` | | the roots of Mozilla, compiled in |
//! | `native-tls` | | [`tls`] by the library of the operating system |
//! | `deflate` | | compression: permessage-deflate (RFC 7692) |
//! | `proxy-protocol` | | `Listen::proxy_protocol`, for servers behind proxies that speak it |
//! | `http` | | conversions to and from the types of the `http` crate |
//! | `idna` | | international domain names in URIs |
//! | `tracing` | | an event of the crate `tracing` for each frame and each change of state |
//!
//! With `tracing`, each frame is an event at trace level, such as `> TEXT "hi" [2 bytes]` for one that is
//! queued, and `<` for one that came; each change of state and close is one at debug level. All have the
//! target `sansock` and the fields `connection` (a number), `side` and, where it is known, `peer`
//! ([`Io::set_peer`](core::Io#method.set_peer) names it where this crate does not
//! connect or accept). Handshakes are never shown. Payloads are, up to 64 bytes of a text and 16 of
//! others: leave the trace level off where those are secret.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(any(feature = "smol", feature = "async-std")),
    allow(dead_code, reason = "what the shims share has no user without them")
)]

mod client;
mod driver;
mod error;
#[cfg(all(doc, not(doctest)))]
#[doc = include_str!("../docs/http2.md")]
///
/// # The adapter of hyper, on smol
/// ```
#[doc = include_str!("../docs/hyper.rs")]
/// ```
pub mod http2 {}
#[cfg(doc)]
#[doc = include_str!("../docs/reverse_proxies.md")]
pub mod reverse_proxies {}
pub mod runtime;
// The doctests are those of the tests, which have tokio.
#[cfg(all(doc, not(doctest)))]
#[doc = include_str!("../docs/runtimes.md")]
///
/// # tokio
/// ```
#[doc = include_str!("../docs/tokio.rs")]
/// ```
///
/// # A skeleton
/// ```
#[doc = include_str!("../docs/skeleton.rs")]
/// ```
pub mod runtimes {}
pub mod serve;
#[cfg(any(feature = "smol", feature = "async-std"))]
mod shims;
mod testing;
mod transport;
mod websocket;

pub use sansock_core as core;

pub use crate::client::{Connect, CrossOrigin, proxy, reconnect};
pub use crate::driver::{NoTimer, ThreadBuffers, Timer, config};
pub use crate::error::{ConnectError, ConnectPhase, Error, Result};
#[cfg(feature = "async-std")]
pub use crate::shims::async_std;
#[cfg(feature = "smol")]
pub use crate::shims::smol;
pub use crate::testing::clock;
pub use crate::transport::{Stream, tls};
pub use crate::websocket::{ByteStream, MessageWriter, Receiver, Sender, Upgrade, WebSocket};
pub use sansock_core::handshake::{ClientOptions, ServerOptions};
pub use sansock_core::{
    CloseCode, CloseFrame, Closed, Compression, Config, Fin, Kind, Message, MessageRef, Prepared,
    SystemEntropy,
};
