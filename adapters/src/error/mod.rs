//! All errors of this crate, and the one type that holds them: [`Error`].
//!
//! Its variants are sorted by whose fault the failure is: the peer's, the caller's, the transport's.
//! `transient.rs` decides which failures are worth another attempt.
//!
//! The rule: this module imports nothing else from the crate, and no error shows credentials.

mod connect;
mod network;
mod proxy;
mod proxy_protocol;
mod tls;
mod transient;

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use sansock_core::handshake::{
    HandshakeError, InvalidHeader, InvalidHost, InvalidOrigin, Response, UriError,
};
use sansock_core::{
    CloseCode, Closed, ConnectionError, Deadline, Failure, ProtocolError, SendError,
};

use transient::{is_transient_handshake, is_transient_io, retry_after};

pub use connect::{ConnectError, ConnectPhase};
pub use network::InvalidNetwork;
pub use proxy::{ProxyError, Socks4Reply, SocksReply};
pub use proxy_protocol::ProxyProtocolError;
pub use tls::{TlsError, TlsErrorKind};

/// Why an operation on a WebSocket failed.
///
/// It is cheap to clone: after a connection has failed, every call returns the same error.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Error {
    /// The opening handshake failed.
    Handshake(Box<HandshakeError>),
    /// The peer broke the protocol; it was sent a Close frame that says so.
    Protocol(ProtocolError),
    /// A deadline passed.
    TimedOut(Deadline),
    /// The stream ended, or failed, without a Close frame of the peer.
    Lost(Option<Arc<io::Error>>),
    /// The connection is closed or closing; nothing can be sent.
    Closed(Box<Closed>),
    /// This side failed the connection.
    Failed(Box<Failure>),
    /// The call was a mistake; nothing was sent and nothing has changed.
    Misuse(SendError),
    /// A whole message was asked for inside one that is being received in parts.
    InMessage,
    /// More arrived before the pong of a ping than is kept: [`recv`](crate::WebSocket::recv) first.
    Backlog,
    /// The URI is not one of a WebSocket.
    Uri(UriError),
    /// A server's list of origins has one that no browser sends.
    Origin(InvalidOrigin),
    /// A server's list of hosts has an entry that is not a host.
    Host(InvalidHost),
    /// A server's list of trusted proxies has an entry that is not a network.
    Network(InvalidNetwork),
    /// A connection to a server did not begin with a header of the PROXY protocol that is accepted.
    ProxyProtocol(ProxyProtocolError),
    /// The connection, or its request, could not be made.
    Connection(Box<ConnectionError>),
    /// The server could not be reached, or not in time.
    Connect(Box<ConnectError>),
    /// TLS could not be set up or negotiated.
    Tls(Box<TlsError>),
    /// The URI asks for TLS, and there is none.
    NoTls,
    /// There is no tunnel through the proxy.
    Proxy(Box<ProxyError>),
    /// The transport failed to write. Messages that were not received yet may tell how the connection
    /// ended: [`recv`](crate::WebSocket::recv) them.
    NotSent(Arc<io::Error>),
    /// Messages were discarded, as no task received them while another closed the connection.
    Discarded {
        /// How many.
        messages: u64,
    },
    /// Reading or writing failed.
    Io(Arc<io::Error>),
}

/// The result of an operation on a WebSocket.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Whether a deadline passed.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        let Self::Connect(error) = self else {
            return matches!(self, Self::TimedOut(_));
        };
        matches!(**error, ConnectError::TimedOut { .. })
    }

    /// Whether the server could not be reached, or not in time.
    #[must_use]
    pub const fn is_connect(&self) -> bool {
        matches!(self, Self::Connect(_))
    }

    /// Whether TLS failed, or is missing.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_) | Self::NoTls)
    }

    /// Whether the connection is over, for whatever reason.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(
            self,
            Self::Closed(_)
                | Self::Lost(_)
                | Self::NotSent(_)
                | Self::Discarded { .. }
                | Self::TimedOut(_)
                | Self::Protocol(_)
                | Self::Failed(_)
        )
    }

    /// Whether the peer broke the protocol, in the opening handshake or after it.
    #[must_use]
    pub const fn is_protocol(&self) -> bool {
        matches!(self, Self::Protocol(_) | Self::Handshake(_))
    }

    /// Whether the call was a mistake that has changed nothing.
    #[must_use]
    pub const fn is_misuse(&self) -> bool {
        matches!(self, Self::Misuse(_) | Self::InMessage | Self::Backlog)
    }

    /// Whether connecting once more may succeed, nothing else having changed.
    ///
    /// That is so where the transport failed or a deadline passed, and where the server, or the proxy,
    /// answered with 408, 425, 429, 500, 502, 503 or 504. It is not so where data is invalid, as
    /// certificates may be.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Io(error) => is_transient_io(error.kind()),
            Self::TimedOut(_) | Self::Lost(_) | Self::NotSent(_) => true,
            Self::Handshake(error) => is_transient_handshake(error),
            Self::Proxy(error) => error.is_transient(),
            Self::Connect(error) => error.is_transient(),
            Self::Tls(error) => error.kind() == TlsErrorKind::Lost,
            Self::Protocol(_)
            | Self::Closed(_)
            | Self::Failed(_)
            | Self::Misuse(_)
            | Self::InMessage
            | Self::Backlog
            | Self::Discarded { .. }
            | Self::Uri(_)
            | Self::Origin(_)
            | Self::Host(_)
            | Self::Network(_)
            | Self::ProxyProtocol(_)
            | Self::Connection(_)
            | Self::NoTls => false,
        }
    }

    /// Returns how long the server, or the proxy, asks the client to wait before it connects once more:
    /// the header `Retry-After` of its response (RFC 9110 section 10.2.3).
    ///
    /// A date is compared with the header `Date` of the response, so that the clock of this machine does
    /// not matter; without that header it means nothing. One that has passed is a time of zero.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use sansock::Error;
    /// use sansock::core::handshake::{HandshakeError, Response, StatusCode};
    ///
    /// let mut response = Response::new(StatusCode::SERVICE_UNAVAILABLE);
    /// response.headers_mut().append("Retry-After", "5")?;
    /// let error = Error::from(HandshakeError::Refused(Box::new(response)));
    /// assert_eq!(error.retry_after(), Some(Duration::from_secs(5)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let Self::Proxy(error) = self else {
            return self.response().and_then(retry_after);
        };
        error.response().and_then(retry_after)
    }

    /// Returns the response with which the server refused the opening handshake.
    #[must_use]
    pub fn response(&self) -> Option<&Response> {
        let Self::Handshake(error) = self else {
            return None;
        };
        let HandshakeError::Refused(response) = &**error else {
            return None;
        };
        Some(response)
    }

    /// Returns where the server redirects to, where that is its response.
    pub(crate) fn redirect(&self) -> Option<&str> {
        let response = self.response()?;
        let location = response.headers().get_str("Location");
        location.filter(|_| response.status().is_redirect())
    }

    /// Returns the close code of the peer, where the connection is closed.
    #[must_use]
    pub fn close_code(&self) -> Option<CloseCode> {
        let Self::Closed(closed) = self else {
            return None;
        };
        closed.received().map(|frame| frame.code)
    }

    /// Returns the error that a failed connection has, given the failure of the transport before it:
    /// nothing is on time any more over a broken transport.
    pub(crate) fn of_failure(failure: &Failure, io: Option<&Arc<io::Error>>) -> Self {
        match (failure, io) {
            (Failure::Protocol(error), _) => Self::Protocol(*error),
            (Failure::TimedOut(deadline), None) => Self::TimedOut(*deadline),
            (Failure::Lost, _) | (Failure::TimedOut(_), Some(_)) => Self::Lost(io.cloned()),
            (Failure::Handshake(error), _) => (**error).clone().into(),
            (Failure::Local(_) | _, _) => Self::Failed(Box::new(failure.clone())),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handshake(error) => {
                write!(f, "opening handshake failed: {error}")?;
                match self.redirect() {
                    Some(_) => f.write_str("; call .redirects(n) to follow"),
                    None => Ok(()),
                }
            }
            Self::Protocol(error) => write!(
                f,
                "the peer broke the protocol ({})",
                error.close_code().number()
            ),
            Self::TimedOut(deadline) => write!(f, "{deadline} timed out"),
            Self::Lost(_) => f.write_str("connection lost without a close frame (1006)"),
            Self::Closed(closed) => write!(f, "connection closed: {closed}"),
            Self::Failed(failure) => write!(f, "{failure}"),
            Self::Misuse(error) => write!(f, "{error}"),
            Self::InMessage => {
                f.write_str("the message that was begun has not been received to its end")
            }
            Self::Backlog => f.write_str("messages wait to be received before the pong"),
            Self::Uri(error) => write!(f, "{error}"),
            Self::Origin(error) => write!(f, "{error}"),
            Self::Host(error) => write!(f, "{error}"),
            Self::Network(error) => write!(f, "{error}"),
            Self::ProxyProtocol(error) => write!(f, "{error}"),
            Self::Connection(error) => write!(f, "{error}"),
            Self::Connect(error) => write!(f, "{error}"),
            Self::Tls(error) => write!(f, "{error}"),
            Self::NoTls => f.write_str(
                "wss:// needs TLS, and this build of sansock has none; \
                 enable it with: cargo add sansock --features rustls",
            ),
            Self::Proxy(error) => write!(f, "no tunnel through the proxy: {error}"),
            Self::NotSent(error) => write!(
                f,
                "the transport failed to write ({error}); receive what has arrived to learn how the \
                 connection ended"
            ),
            Self::Discarded { messages } => write!(
                f,
                "the connection was closed while {messages} messages waited to be received; they \
                 were discarded"
            ),
            Self::Io(_) => f.write_str("input or output failed"),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Handshake(error) => error.source(),
            Self::Protocol(error) => Some(error),
            Self::Lost(error) => error.as_deref().map(|error| error as _),
            Self::Uri(error) => error.source(),
            Self::Connection(error) => error.source(),
            Self::Connect(error) => error.source(),
            Self::Tls(error) => error.source(),
            Self::Proxy(error) => error.source(),
            Self::Io(error) => Some(&**error),
            Self::NotSent(error) => error.source(),
            Self::Discarded { .. }
            | Self::TimedOut(_)
            | Self::Closed(_)
            | Self::Failed(_)
            | Self::Misuse(_)
            | Self::InMessage
            | Self::Backlog
            | Self::Origin(_)
            | Self::Host(_)
            | Self::Network(_)
            | Self::ProxyProtocol(_)
            | Self::NoTls => None,
        }
    }
}

impl From<SendError> for Error {
    fn from(error: SendError) -> Self {
        Self::Misuse(error)
    }
}

impl From<HandshakeError> for Error {
    fn from(error: HandshakeError) -> Self {
        Self::Handshake(Box::new(error))
    }
}

impl From<UriError> for Error {
    fn from(error: UriError) -> Self {
        Self::Uri(error)
    }
}

impl From<ProxyProtocolError> for Error {
    fn from(error: ProxyProtocolError) -> Self {
        Self::ProxyProtocol(error)
    }
}

impl From<InvalidNetwork> for Error {
    fn from(error: InvalidNetwork) -> Self {
        Self::Network(error)
    }
}

impl From<InvalidHost> for Error {
    fn from(error: InvalidHost) -> Self {
        Self::Host(error)
    }
}

impl From<InvalidOrigin> for Error {
    fn from(error: InvalidOrigin) -> Self {
        Self::Origin(error)
    }
}

impl From<ConnectionError> for Error {
    fn from(error: ConnectionError) -> Self {
        Self::Connection(Box::new(error))
    }
}

impl From<ConnectError> for Error {
    fn from(error: ConnectError) -> Self {
        Self::Connect(Box::new(error))
    }
}

impl From<TlsError> for Error {
    fn from(error: TlsError) -> Self {
        Self::Tls(Box::new(error))
    }
}

impl From<InvalidHeader> for Error {
    fn from(error: InvalidHeader) -> Self {
        ConnectionError::from(error).into()
    }
}

impl From<ProxyError> for Error {
    fn from(error: ProxyError) -> Self {
        Self::Proxy(Box::new(error))
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

/// For the byte stream, and for callers that speak `io::Error`.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::TimedOut(_) => io::ErrorKind::TimedOut,
            Error::Lost(_) => io::ErrorKind::UnexpectedEof,
            Error::Closed(_) => io::ErrorKind::BrokenPipe,
            Error::Protocol(_) | Error::Handshake(_) | Error::ProxyProtocol(_) => {
                io::ErrorKind::InvalidData
            }
            Error::Misuse(_)
            | Error::InMessage
            | Error::Backlog
            | Error::Uri(_)
            | Error::Origin(_)
            | Error::Host(_)
            | Error::Network(_) => io::ErrorKind::InvalidInput,
            Error::Io(error) | Error::NotSent(error) => error.kind(),
            Error::Connect(error) => error.io_kind(),
            Error::Failed(_)
            | Error::Discarded { .. }
            | Error::Connection(_)
            | Error::Tls(_)
            | Error::NoTls
            | Error::Proxy(_) => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
