//! Why the server could not be reached: failures before the opening handshake, and redirects.

use std::error::Error as StdError;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

/// What a client does to get a connection, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectPhase {
    /// Asks for the addresses of the host.
    Resolve,
    /// Connects to one of them.
    Tcp,
    /// Asks the proxy for a way to the server.
    Proxy,
    /// Negotiates TLS.
    Tls,
    /// Sends the request for a WebSocket and reads the response (RFC 6455 section 4.1).
    Handshake,
}

impl fmt::Display for ConnectPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "name resolution",
            Self::Tcp => "TCP connection",
            Self::Proxy => "proxy",
            Self::Tls => "TLS handshake",
            Self::Handshake => "opening handshake",
        })
    }
}

/// Why a server could not be reached.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ConnectError {
    /// The name of the host has no address.
    Resolve {
        /// The host.
        host: String,
        /// What the resolver says.
        cause: Arc<io::Error>,
    },
    /// No address of the host accepts a connection.
    Unreachable {
        /// The host and the port.
        target: String,
        /// Each address that was tried, with what the system says, in the order in which they failed.
        attempts: Vec<(SocketAddr, Arc<io::Error>)>,
    },
    /// It took longer than the configured time.
    TimedOut {
        /// What was being done.
        phase: ConnectPhase,
        /// With which host and port.
        target: String,
        /// How long it may take in all.
        after: Duration,
    },
    /// The server redirects from `wss://` to `ws://`, which would give away what is meant to be secret.
    InsecureRedirect {
        /// Where to, without credentials.
        to: String,
    },
    /// The server redirects to where the client came from.
    RedirectLoop {
        /// Where to, without credentials.
        to: String,
    },
    /// The server redirects once more than is allowed.
    TooManyRedirects {
        /// How many are allowed.
        allowed: u32,
        /// Where to, without credentials.
        to: String,
    },
    /// The server redirects to what is not the URL of a WebSocket.
    InvalidRedirect(sansock_core::handshake::UriError),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve { host, .. } => write!(f, "could not resolve the host {host}"),
            Self::Unreachable { target, attempts } => write_unreachable(f, target, attempts),
            Self::TimedOut {
                phase,
                target,
                after,
            } => write!(
                f,
                "connect timed out after {after:?} (phase: {phase} with {target})"
            ),
            Self::InsecureRedirect { to } => {
                write!(
                    f,
                    "server redirects from wss:// to {to}, which is not encrypted"
                )
            }
            Self::RedirectLoop { to } => write!(f, "server redirects in a circle, to {to}"),
            Self::TooManyRedirects { allowed, to } => {
                write!(f, "server redirects more than {allowed} times, now to {to}")
            }
            Self::InvalidRedirect(_) => {
                f.write_str("server redirects to what is not the URL of a WebSocket")
            }
        }
    }
}

fn write_unreachable(
    f: &mut fmt::Formatter<'_>,
    target: &str,
    attempts: &[(SocketAddr, Arc<io::Error>)],
) -> fmt::Result {
    write!(f, "could not connect to {target}")?;
    if attempts.is_empty() {
        return f.write_str(": it has no address that can be reached from here");
    }
    for (index, (address, error)) in attempts.iter().enumerate() {
        let separator = if index == 0 { ": " } else { "; " };
        write!(f, "{separator}{address}: {}", error.kind())?;
    }
    Ok(())
}

impl StdError for ConnectError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Resolve { cause, .. } => Some(&**cause),
            Self::Unreachable { attempts, .. } => attempts.first().map(|(_, error)| &**error as _),
            Self::InvalidRedirect(error) => Some(error),
            Self::TimedOut { .. }
            | Self::InsecureRedirect { .. }
            | Self::RedirectLoop { .. }
            | Self::TooManyRedirects { .. } => None,
        }
    }
}

impl ConnectError {
    /// Whether the same may succeed at another time; see
    /// [`Error::is_transient`](crate::Error::is_transient).
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Resolve { .. } | Self::Unreachable { .. } | Self::TimedOut { .. } => true,
            Self::InsecureRedirect { .. }
            | Self::RedirectLoop { .. }
            | Self::TooManyRedirects { .. }
            | Self::InvalidRedirect(_) => false,
        }
    }

    /// Returns the kind of I/O error that comes nearest.
    pub(crate) fn io_kind(&self) -> io::ErrorKind {
        match self {
            Self::Resolve { cause, .. } => cause.kind(),
            Self::Unreachable { attempts, .. } => attempts
                .first()
                .map_or(io::ErrorKind::AddrNotAvailable, |(_, error)| error.kind()),
            Self::TimedOut { .. } => io::ErrorKind::TimedOut,
            Self::InsecureRedirect { .. }
            | Self::RedirectLoop { .. }
            | Self::TooManyRedirects { .. }
            | Self::InvalidRedirect(_) => io::ErrorKind::InvalidData,
        }
    }
}
