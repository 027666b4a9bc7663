//! Byte streams and where they come from: what a [`Runtime`] supplies, sockets, TLS, and listeners.
//!
//! The rule: nothing here knows WebSocket or HTTP. [`Stream`] alone knows which layers there are; TLS is
//! generic over what it encrypts.

mod listener;
pub(crate) mod runtime;
mod stream;
#[cfg(feature = "smol")]
mod tcp;
pub mod tls;

pub use listener::{Accepted, BoxFuture, Listener, Peer};
pub(crate) use runtime::Runtime;
pub use stream::Stream;
#[cfg(feature = "smol")]
pub(crate) use tcp::ReadinessTcp;
