//! TLS for clients and servers, by rustls or by the library of the operating system.
//!
//! `wss://` URLs work without anything of this module: it is for certificates of one's own, and for
//! servers.
//!
//! The rules: a certificate is verified unless somebody asks for the opposite by a name that says so;
//! the cryptography is passed to rustls explicitly, never taken from a process-wide default; only
//! HTTP/1.1 is negotiated, as a WebSocket begins with it.

pub(crate) mod error;
#[cfg(feature = "native-tls")]
pub(crate) mod native;
#[cfg(feature = "rustls")]
mod rustls;

#[cfg(any(feature = "rustls", feature = "native-tls"))]
mod config;

#[cfg(any(feature = "rustls", feature = "native-tls"))]
pub use self::config::{Backend, ClientTls, ServerTls};
pub use self::error::{TlsError, TlsErrorKind};
/// The version of rustls that configurations of one's own are made with.
#[cfg(feature = "rustls")]
pub use futures_rustls::rustls as rustls_0_23;
