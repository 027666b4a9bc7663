//! Why there is no tunnel through a proxy.
//!
//! The rule: neither a message nor `Debug` shows credentials.

use std::error::Error as StdError;
use std::fmt;

use sansock_core::handshake::{HeadError, Response, StatusCode, UriError};

use super::transient::is_transient_status;

/// Why there is no tunnel through a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyError {
    // Our own mistakes.
    /// The URL of the proxy is malformed.
    Url(UriError),
    /// The URL of the proxy goes on after the port, or has a `/`, `?` or `#` in its credentials.
    UrlPath,
    /// The scheme of the proxy is not known. The text is empty if what precedes `://` is no scheme.
    Scheme(String),
    /// An environment variable holds no URL of a proxy.
    Variable {
        /// The variable.
        name: String,
        /// What is wrong with its value.
        cause: Box<ProxyError>,
    },
    /// The name of the destination is longer than 255 bytes.
    HostTooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// User or password is longer than 255 bytes, which SOCKS cannot send (RFC 1929 section 2).
    CredentialsTooLong,
    /// The destination is an IPv6 address, which SOCKS4 cannot send.
    Ipv6,
    /// The proxy is reached over TLS, and this build has none.
    NoTls,

    // Any kind of proxy.
    /// The proxy speaks TLS, and its URL does not say so.
    Tls,
    /// The proxy ended the stream before its answer was complete.
    Ended,

    // Proxies that speak HTTP.
    /// The proxy's answer is no HTTP that we accept.
    Head(HeadError),
    /// The proxy answered with another status than 2xx.
    Refused {
        /// The answer, without its body.
        response: Box<Response>,
        /// Whether it was given credentials.
        had_credentials: bool,
    },

    // Proxies that speak SOCKS5.
    /// The proxy answers with another version than 5.
    NotSocks {
        /// The byte that stands in place of the version.
        version: u8,
    },
    /// The proxy accepts none of the methods of authentication that were offered.
    NoMethod {
        /// Whether user and password were among them.
        had_credentials: bool,
    },
    /// The proxy selected a method of authentication that was not offered.
    UnexpectedMethod(u8),
    /// The proxy refused user and password.
    CredentialsRefused,
    /// The proxy did not connect to the destination.
    Reply(SocksReply),
    /// The proxy's answer has an address of an unknown type.
    AddressType(u8),

    // Proxies that speak SOCKS4.
    /// The proxy answers with something else than a reply of SOCKS4.
    NotSocks4 {
        /// The byte that stands in place of the version of a reply, which is 0.
        version: u8,
    },
    /// The proxy did not connect to the destination.
    Reply4(Socks4Reply),
}

impl ProxyError {
    pub(crate) fn in_variable(self, name: String) -> Self {
        let cause = Box::new(self);
        Self::Variable { name, cause }
    }

    /// Returns the response with which an HTTP proxy refused, without its body.
    #[must_use]
    pub fn response(&self) -> Option<&Response> {
        let Self::Refused { response, .. } = self else {
            return None;
        };
        Some(response)
    }

    /// Returns the status with which an HTTP proxy refused.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.response().map(Response::status)
    }

    /// Whether the proxy asks for credentials, or for other ones.
    #[must_use]
    pub fn is_unauthorized(&self) -> bool {
        // Some answer 401 where they should answer 407.
        let status = self.status().map(StatusCode::number);
        matches!(status, Some(401 | 407))
            || matches!(self, Self::CredentialsRefused | Self::NoMethod { .. })
            || matches!(self, Self::Reply4(reply) if reply.is_unauthorized())
    }

    /// Whether the same may succeed at another time; see
    /// [`Error::is_transient`](crate::Error::is_transient).
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.status().is_some_and(is_transient_status)
            || matches!(self, Self::Ended)
            || matches!(self, Self::Reply(reply) if reply.is_transient())
            || matches!(self, Self::Reply4(reply) if reply.is_transient())
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(_) => f.write_str("invalid URL of a proxy"),
            Self::UrlPath => f.write_str(
                "URL of a proxy must end after the port; \
                 write / as %2F, ? as %3F and # as %23 in its credentials",
            ),
            Self::Scheme(scheme) => {
                f.write_str(
                    "scheme of a proxy must be http, https, socks4, socks4a, socks5 or socks5h",
                )?;
                match scheme.is_empty() {
                    true => Ok(()),
                    false => write!(f, "; got {scheme:?}"),
                }
            }
            Self::Variable { name, cause } => write!(f, "{name} holds no URL of a proxy: {cause}"),
            Self::HostTooLong { length } => {
                write!(f, "host of {length} bytes exceeds the limit of 255 bytes")
            }
            Self::CredentialsTooLong => {
                f.write_str("user or password exceeds the 255 bytes that SOCKS can send")
            }
            Self::Ipv6 => f.write_str(
                "SOCKS4 cannot lead to an IPv6 address; use socks5:// or socks5h:// if the proxy can",
            ),
            Self::NoTls => f.write_str(
                "https:// needs TLS to the proxy, and this build of sansock has none; \
                 enable it with: cargo add sansock --features rustls",
            ),
            Self::Tls => f.write_str("proxy answered with TLS; use https://"),
            Self::Ended => f.write_str("proxy ended the stream before it had answered"),
            Self::Head(_) => f.write_str("proxy did not answer with a valid HTTP head"),
            Self::Refused { response, .. } => {
                write!(f, "proxy answered {}", response.status())?;
                match self.is_unauthorized() {
                    true => self.explain_credentials(f),
                    false => Ok(()),
                }
            }
            Self::NotSocks { version: b'H' } => {
                f.write_str("proxy answered with HTTP instead of SOCKS5; use http://")
            }
            Self::NotSocks { version: 0 | 4 } => {
                f.write_str("proxy answered with SOCKS4 instead of SOCKS5; use socks4a://")
            }
            Self::NotSocks { version } => {
                write!(f, "proxy answered with version {version} instead of SOCKS5")
            }
            Self::NoMethod { .. } => {
                f.write_str("SOCKS proxy accepts no method of authentication")?;
                self.explain_credentials(f)
            }
            Self::UnexpectedMethod(method) => write!(
                f,
                "SOCKS proxy selected method {method} of authentication, which was not offered"
            ),
            Self::CredentialsRefused => f.write_str("SOCKS proxy refused user and password"),
            Self::Reply(reply) => write!(f, "SOCKS proxy answered {reply}"),
            Self::AddressType(number) => {
                write!(f, "SOCKS proxy answered with an address of type {number}")
            }
            Self::NotSocks4 { version: b'H' } => {
                f.write_str("proxy answered with HTTP instead of SOCKS4; use http://")
            }
            Self::NotSocks4 { version: 5 } => {
                f.write_str("proxy answered with SOCKS5 instead of SOCKS4; use socks5h://")
            }
            Self::NotSocks4 { version } => write!(
                f,
                "proxy answered with version {version} instead of 0, that of SOCKS4"
            ),
            Self::Reply4(reply) => write!(f, "SOCKS proxy answered {reply}"),
        }
    }
}

impl ProxyError {
    fn explain_credentials(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Refused {
            had_credentials, ..
        }
        | Self::NoMethod { had_credentials }) = self
        else {
            return Ok(());
        };
        f.write_str(match had_credentials {
            true => "; it does not accept the credentials of the proxy's URL",
            false => "; give it credentials in its URL: //user:password@host:port",
        })
    }
}

impl StdError for ProxyError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Url(error) => Some(error),
            Self::Variable { cause, .. } => cause.source(),
            Self::Head(error) => Some(error),
            Self::UrlPath
            | Self::Scheme(_)
            | Self::HostTooLong { .. }
            | Self::CredentialsTooLong
            | Self::Ipv6
            | Self::NoTls
            | Self::Tls
            | Self::Ended
            | Self::Refused { .. }
            | Self::NotSocks { .. }
            | Self::NoMethod { .. }
            | Self::UnexpectedMethod(_)
            | Self::CredentialsRefused
            | Self::Reply(_)
            | Self::AddressType(_)
            | Self::NotSocks4 { .. }
            | Self::Reply4(_) => None,
        }
    }
}

impl From<UriError> for ProxyError {
    fn from(error: UriError) -> Self {
        Self::Url(error)
    }
}

impl From<HeadError> for ProxyError {
    fn from(error: HeadError) -> Self {
        Self::Head(error)
    }
}

/// Why a SOCKS5 proxy did not connect (RFC 1928 section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocksReply(u8);

impl SocksReply {
    /// 1: the proxy failed.
    pub const GENERAL_FAILURE: Self = Self(1);
    /// 2: the proxy's rules do not allow it.
    pub const NOT_ALLOWED: Self = Self(2);
    /// 3: the network cannot be reached.
    pub const NETWORK_UNREACHABLE: Self = Self(3);
    /// 4: the host cannot be reached.
    pub const HOST_UNREACHABLE: Self = Self(4);
    /// 5: the host refused the connection.
    pub const CONNECTION_REFUSED: Self = Self(5);
    /// 6: the time to live expired.
    pub const TTL_EXPIRED: Self = Self(6);
    /// 7: the proxy does not know the command.
    pub const COMMAND_NOT_SUPPORTED: Self = Self(7);
    /// 8: the proxy does not know the type of address.
    pub const ADDRESS_TYPE_NOT_SUPPORTED: Self = Self(8);

    /// Returns the reply of this number; `None` for 0, which is success.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        match number {
            0 => None,
            _ => Some(Self(number)),
        }
    }

    /// Returns the number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    const fn is_transient(self) -> bool {
        matches!(
            self,
            Self::GENERAL_FAILURE
                | Self::NETWORK_UNREACHABLE
                | Self::HOST_UNREACHABLE
                | Self::CONNECTION_REFUSED
                | Self::TTL_EXPIRED
        )
    }
}

/// Writes `5, connection refused by the destination`.
impl fmt::Display for SocksReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meaning = match *self {
            Self::GENERAL_FAILURE => "general failure",
            Self::NOT_ALLOWED => "connection not allowed by its rules",
            Self::NETWORK_UNREACHABLE => "network unreachable",
            Self::HOST_UNREACHABLE => "host unreachable",
            Self::CONNECTION_REFUSED => "connection refused by the destination",
            Self::TTL_EXPIRED => "time to live expired",
            Self::COMMAND_NOT_SUPPORTED => "command not supported",
            Self::ADDRESS_TYPE_NOT_SUPPORTED => "address type not supported",
            _ => "a reply that has no meaning",
        };
        write!(f, "{}, {meaning}", self.0)
    }
}

/// Why a SOCKS4 proxy did not connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Socks4Reply(u8);

impl Socks4Reply {
    /// 91: the proxy refuses, or has failed to connect.
    pub const REJECTED: Self = Self(91);
    /// 92: the proxy cannot reach the service on the client that identifies the user.
    pub const NO_IDENTD: Self = Self(92);
    /// 93: that service names another user.
    pub const OTHER_USER: Self = Self(93);

    /// Returns the reply of this number; `None` for 90, which is success.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        match number {
            90 => None,
            _ => Some(Self(number)),
        }
    }

    /// Returns the number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// One number is for all failures to connect, and most failures are temporary.
    const fn is_transient(self) -> bool {
        matches!(self, Self::REJECTED)
    }

    const fn is_unauthorized(self) -> bool {
        matches!(self, Self::NO_IDENTD | Self::OTHER_USER)
    }
}

/// Writes `91, request rejected or failed`.
impl fmt::Display for Socks4Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meaning = match *self {
            Self::REJECTED => "request rejected or failed",
            Self::NO_IDENTD => "no identd on the client that it can reach",
            Self::OTHER_USER => "identd names another user",
            _ => "a reply that has no meaning",
        };
        write!(f, "{}, {meaning}", self.0)
    }
}
