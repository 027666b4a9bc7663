//! Byte streams and where they come from: runtimes, sockets, TLS and listeners.
//!
//! [`Runtime`] is what a shim supplies, [`Stream`] the one type of stream over all of its sockets, and
//! [`Listener`] the source of accepted streams.
//!
//! The rule: nothing here knows WebSocket or HTTP. Only [`Stream`] knows which layers exist; TLS is generic
//! over the stream that it encrypts.

mod listener;
pub(crate) mod mode;
mod network;
mod peer;
#[cfg(feature = "proxy-protocol")]
pub(crate) mod proxy_protocol;
pub(crate) mod runtime;
mod stream;
#[cfg(feature = "smol")]
mod tcp;
pub mod tls;
#[cfg(any(feature = "smol", feature = "async-std"))]
mod unsent;

pub use listener::{Accepted, Listener};
pub use mode::{BoxFuture, Local, Mode, Threads};
pub(crate) use network::Network;
pub use peer::{Peer, Proxied};
pub use runtime::{Runtime, unsupported};
pub use stream::Stream;
#[cfg(feature = "smol")]
pub(crate) use tcp::ReadinessTcp;
#[cfg(any(feature = "smol", feature = "async-std"))]
pub(crate) use unsent::limit_unsent;
