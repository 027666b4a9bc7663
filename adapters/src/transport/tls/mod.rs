//! TLS for clients and servers, by rustls or by the library of the operating system.
//!
//! `wss://` URLs work without anything of this module. It is for custom certificates, and for servers.
//!
//! The rules: a certificate is verified unless the application asks for the opposite by a name that says
//! so; the cryptography is passed to rustls explicitly, never taken from a process-wide default; only
//! HTTP/1.1 is negotiated, as the opening handshake is a request of HTTP/1.1.

#[cfg(any(feature = "rustls", feature = "native-tls"))]
mod config;
#[cfg(feature = "native-tls")]
pub(crate) mod native;
#[cfg(any(feature = "rustls", feature = "native-tls"))]
mod options;
#[cfg(feature = "rustls")]
mod rustls;

use std::io;
use std::sync::Arc;

#[cfg(any(feature = "rustls", feature = "native-tls"))]
pub(crate) use self::config::TlsStream;
#[cfg(any(feature = "rustls", feature = "native-tls"))]
pub use self::config::{Backend, ClientTls, ServerTls};
pub use crate::error::{TlsError, TlsErrorKind};
/// The version of rustls to make a custom configuration with.
#[cfg(feature = "rustls")]
pub use futures_rustls::rustls as rustls_0_23;

/// Returns the failure of TLS that a failure to read was, if it was one.
pub(crate) fn late(error: &Arc<io::Error>, host: &str) -> Option<TlsError> {
    let found: Option<TlsError> = None;
    #[cfg(feature = "rustls")]
    let found = found.or_else(|| rustls::late(error, host));
    #[cfg(feature = "native-tls")]
    let found = found.or_else(|| native::late(error, host));
    let _ = (error, host);
    found
}
