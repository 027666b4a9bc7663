//! Why the header of the PROXY protocol was refused.

use std::error::Error as StdError;
use std::fmt;

/// Why a connection to a listener of the [PROXY protocol](crate::serve::Listen::proxy_protocol) was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyProtocolError {
    /// The connection comes from an address that is not trusted to name its clients.
    Untrusted,
    /// The connection does not begin with a header.
    Missing,
    /// The header is malformed, incomplete, or not of TCP.
    Malformed,
    /// The header is longer than a line of 107 bytes in version 1, or than 4,112 bytes in version 2.
    TooLong,
}

impl fmt::Display for ProxyProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Untrusted => {
                "PROXY protocol: the connection comes from an address that is not trusted"
            }
            Self::Missing => "PROXY protocol: the connection does not begin with a header",
            Self::Malformed => "PROXY protocol: the header is malformed",
            Self::TooLong => "PROXY protocol: the header is too long",
        })
    }
}

impl StdError for ProxyProtocolError {}
