//! Proxies: which one to go through, and how to ask it for a tunnel.
//!
//! A [`Proxy`] comes from a URL or from the environment. Connect to its host and port, with TLS if it
//! [uses TLS](Proxy::uses_tls), then let [`Proxy::tunnel`] do the handshake: HTTP CONNECT (RFC 9110
//! section 9.3.6), SOCKS5 (RFC 1928, RFC 1929), SOCKS4 or SOCKS4a. From there on the stream leads to the
//! destination, TLS included.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use sansock::core::handshake::Uri;
//! use sansock::proxy::Proxy;
//!
//! let uri: Uri = "ws://example.com/".parse()?;
//! let proxy: Proxy = "socks5h://user:password@localhost:1080".parse()?;
//! let mut stream = async_net::TcpStream::connect((proxy.host(), proxy.port())).await?;
//! proxy.tunnel(&mut stream, &uri).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The rule: not one byte is read beyond the proxy's answer, for it belongs to the destination; and
//! neither an error nor `Debug` shows credentials.

mod connect;
mod destination;
mod environment;
mod handshake;
mod socks;
mod socks4;

use std::borrow::Cow;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::str::FromStr;

use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::future::poll_once;
use sansock_core::handshake::{Credentials, Uri};

use crate::error::{Error, Result};
pub use crate::error::{ProxyError, Socks4Reply, SocksReply};

pub use destination::Destination;
pub use handshake::Handshake;

/// A proxy: how it is spoken to, where it is, and what it is told about the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    scheme: Scheme,
    host: String,
    port: u16,
    credentials: Option<Credentials>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    /// HTTP CONNECT.
    Http,
    /// HTTP CONNECT over TLS.
    Https,
    /// SOCKS4, with addresses that the caller has looked up.
    Socks4,
    /// SOCKS4a, with names that the proxy looks up.
    Socks4a,
    /// SOCKS5, with addresses that the caller has looked up.
    Socks5,
    /// SOCKS5, with names that the proxy looks up.
    Socks5h,
}

impl Proxy {
    /// Parses a URL like `http://user:password@host:3128`. User and password are percent-decoded.
    ///
    /// | scheme | handshake | the name of the destination is looked up by | default port |
    /// |---|---|---|---|
    /// | `http`, or none | HTTP CONNECT, Basic authentication | the proxy | 80 |
    /// | `https` | the same, over TLS to the proxy | the proxy | 443 |
    /// | `socks4` | SOCKS4, user id | the caller, to an IPv4 address | 1080 |
    /// | `socks4a` | SOCKS4a, user id | the proxy | 1080 |
    /// | `socks5` | SOCKS5, user and password | the caller | 1080 |
    /// | `socks5h`, `socks` | SOCKS5, user and password | the proxy | 1080 |
    ///
    /// SOCKS4 has no passwords: one in the URL is not sent. Neither SOCKS4 nor SOCKS4a leads to an IPv6
    /// address.
    ///
    /// # Errors
    /// [`ProxyError`] if the URL is malformed, has a path, or has another scheme.
    pub fn parse(url: &str) -> Result<Self, ProxyError> {
        let (scheme, rest) = match url.split_once("://") {
            Some((scheme, rest)) => (Scheme::parse(scheme)?, rest),
            None => (Scheme::Http, url),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#']) {
            return Err(ProxyError::UrlPath);
        }
        let uri = Uri::parse(&format!("ws://{authority}"))?;
        let secure = Uri::parse(&format!("wss://{authority}"))?;
        Ok(Self {
            scheme,
            host: with_zone(&uri).into_owned(),
            // A port that depends on the scheme was not given.
            port: match uri.port() == secure.port() {
                true => uri.port(),
                false => scheme.default_port(),
            },
            credentials: uri.credentials().cloned(),
        })
    }

    /// Returns the proxy with these credentials in place of those in its URL.
    #[must_use]
    pub fn with_credentials(self, credentials: Credentials) -> Self {
        Self {
            credentials: Some(credentials),
            ..self
        }
    }

    /// Returns the host to connect to, an IPv6 address without brackets. Its zone, if it has one, follows
    /// a percent sign.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the host for TLS to verify, which knows no zones.
    #[cfg(any(feature = "rustls", feature = "native-tls"))]
    pub(super) fn name(&self) -> &str {
        self.host.split('%').next().unwrap_or_default()
    }

    /// Returns the port to connect to.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Whether the proxy looks up the name of the destination: all but `socks4` and `socks5`, for which
    /// the caller makes the [`Destination`] from an address.
    #[must_use]
    pub const fn resolves_names(&self) -> bool {
        !matches!(self.scheme, Scheme::Socks4 | Scheme::Socks5)
    }

    /// Whether the connection to the proxy itself uses TLS, which the caller negotiates before
    /// [`tunnel`](Self::tunnel): the scheme is `https`.
    #[must_use]
    pub const fn uses_tls(&self) -> bool {
        matches!(self.scheme, Scheme::Https)
    }

    /// Whether the proxy can be asked for this destination: SOCKS4 has no IPv6 addresses.
    pub(super) fn can_ask_for(&self, destination: &Destination) -> bool {
        !matches!(self.scheme, Scheme::Socks4 | Scheme::Socks4a) || !destination.is_ipv6()
    }

    /// Asks the proxy, over a stream that is connected to it, for a tunnel: once this returns, the
    /// stream leads to the destination.
    ///
    /// # Errors
    /// [`Error::Proxy`] if the proxy refuses or does not speak its protocol, at once; [`Error::Io`] if the
    /// stream fails. The stream is then of no use.
    ///
    /// # Cancel safety
    /// The stream of a future that was dropped is of no use. Time is not limited here.
    pub async fn tunnel<S>(&self, stream: &mut S, to: impl Into<Destination>) -> Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut handshake = Handshake::new(self, &to.into())?;
        loop {
            if let Err(error) = write(stream, &mut handshake).await {
                return Err(refusal(stream, &mut handshake)
                    .await
                    .unwrap_or(error.into()));
            }
            if handshake.is_done() {
                return Ok(());
            }
            if !advance(stream, &mut handshake).await? {
                return Err(ProxyError::Ended.into());
            }
        }
    }
}

/// Returns the host with its zone, as the resolver of the system takes it.
pub(super) fn with_zone(uri: &Uri) -> Cow<'_, str> {
    match uri.zone() {
        Some(zone) => Cow::Owned(format!("{}%{zone}", uri.host())),
        None => Cow::Borrowed(uri.host()),
    }
}

/// Returns why the proxy has refused, if its answer has arrived, after writing to it has failed: a proxy that
/// refuses need not read the whole request.
async fn refusal<S>(stream: &mut S, handshake: &mut Handshake) -> Option<Error>
where
    S: AsyncRead + Unpin,
{
    while handshake.bytes_needed() > 0 {
        match poll_once(advance(stream, handshake)).await? {
            Ok(true) => {}
            Err(error @ Error::Proxy(_)) => return Some(error),
            Ok(false) | Err(_) => return None,
        }
    }
    None
}

/// Reads some of the proxy's answer. Returns `false` at the end of the stream.
async fn advance<S>(stream: &mut S, handshake: &mut Handshake) -> Result<bool>
where
    S: AsyncRead + Unpin,
{
    let mut buffer = [0; Handshake::MAX_READ];
    let needed = handshake.bytes_needed().min(buffer.len());
    let (room, _) = buffer.split_at_mut(needed);
    match read(stream, room).await? {
        [] => Ok(false),
        received => {
            handshake.receive_data(received)?;
            Ok(true)
        }
    }
}

/// Writes what the handshake has to send.
async fn write<S>(stream: &mut S, handshake: &mut Handshake) -> io::Result<()>
where
    S: AsyncWrite + Unpin,
{
    while !handshake.data_to_send().is_empty() {
        let data = handshake.data_to_send();
        match poll_fn(|cx| Pin::new(&mut *stream).poll_write(cx, data)).await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            size => handshake.sent(size),
        }
    }
    poll_fn(|cx| Pin::new(&mut *stream).poll_flush(cx)).await
}

/// Reads what there is, up to the size of the buffer.
async fn read<'a, S>(stream: &mut S, buffer: &'a mut [u8]) -> io::Result<&'a [u8]>
where
    S: AsyncRead + Unpin,
{
    let size = poll_fn(|cx| Pin::new(&mut *stream).poll_read(cx, buffer)).await?;
    let received = buffer.get(..size);
    received.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

impl FromStr for Proxy {
    type Err = ProxyError;

    fn from_str(url: &str) -> Result<Self, ProxyError> {
        Self::parse(url)
    }
}

/// Writes the URL without the credentials.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, port) = (self.scheme.as_str(), self.port);
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{port}", self.host.replace('%', "%25")),
            false => write!(f, "{scheme}://{}:{port}", self.host),
        }
    }
}

impl Scheme {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Socks4 => "socks4",
            Self::Socks4a => "socks4a",
            Self::Socks5 => "socks5",
            Self::Socks5h => "socks5h",
        }
    }

    /// RFC 1928 section 3: a SOCKS server is conventionally found at 1080.
    const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
            Self::Socks4 | Self::Socks4a | Self::Socks5 | Self::Socks5h => 1080,
        }
    }

    fn parse(scheme: &str) -> Result<Self, ProxyError> {
        match scheme.to_ascii_lowercase().as_str() {
            "http" => Ok(Self::Http),
            "https" => Ok(Self::Https),
            "socks4" => Ok(Self::Socks4),
            "socks4a" => Ok(Self::Socks4a),
            "socks5" => Ok(Self::Socks5),
            // Desktops write the proxy of a user without a version.
            "socks5h" | "socks" => Ok(Self::Socks5h),
            _ => Err(ProxyError::Scheme(shown(scheme))),
        }
    }
}

/// Returns an unknown scheme for an error message. It is empty if the text cannot be a scheme (RFC 3986
/// section 3.1), for it may be credentials then.
fn shown(scheme: &str) -> String {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    match scheme.bytes().all(is_part) {
        true => scheme.into(),
        false => String::new(),
    }
}
