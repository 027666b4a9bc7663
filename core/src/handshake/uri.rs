//! WebSocket URIs (RFC 6455 section 3).
//!
//! Everything that goes into the request is ASCII without spaces or control characters once a [`Uri`]
//! exists, so that no part of it can break the request line or a header.

use alloc::{borrow::Cow, string::String, vec::Vec};
use core::{
    fmt::{self, Write as _},
    net::Ipv6Addr,
    str::{self, FromStr},
};

use crate::handshake::{Credentials, InvalidCredentials};

/// A `ws://` or `wss://` URI.
///
/// Neither `Display` nor `Debug` shows the credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uri {
    is_secure: bool,
    credentials: Option<Credentials>,
    host: String,
    port: u16,
    resource_name: String,
}

impl Uri {
    /// Parses a URI.
    ///
    /// Characters outside ASCII are percent-encoded in path and query. In the host they need the feature
    /// `idna`.
    ///
    /// # Errors
    ///
    /// The text is no `ws://` or `wss://` URI, has a fragment (RFC 6455 section 3), or has a character
    /// that would break the request.
    pub fn parse(text: &str) -> Result<Self, UriError> {
        check_characters(text)?;
        let (scheme, rest) = text.split_once("://").ok_or(UriError::NoScheme)?;
        let is_secure = parse_scheme(scheme)?;
        let (authority, path) = split_before(rest, &['/', '?']);
        let (user_info, host) = match authority.rsplit_once('@') {
            Some((user_info, host)) => (Some(user_info), host),
            None => (None, authority),
        };
        let (host, port) = split_port(host)?;
        Ok(Self {
            is_secure,
            credentials: user_info.map(parse_user_info).transpose()?,
            host: parse_host(host)?,
            port: port.unwrap_or(default_port(is_secure)),
            resource_name: resource_name(path),
        })
    }

    /// Whether the scheme is `wss`, which means TLS.
    #[must_use]
    pub const fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// Returns the host in lower case, an IPv6 address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port: the scheme's default of 80 or 443 unless another is given.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Returns what is requested of the host: path and query, at least `/`.
    #[must_use]
    pub fn resource_name(&self) -> &str {
        &self.resource_name
    }

    /// Returns the value of the `Host` header: brackets around an IPv6 address, and the port only where
    /// it is not the default.
    #[must_use]
    pub fn authority(&self) -> String {
        let mut authority = match self.host.contains(':') {
            true => alloc::format!("[{}]", self.host),
            false => self.host.clone(),
        };
        if self.port != default_port(self.is_secure) {
            let _ = write!(authority, ":{}", self.port);
        }
        authority
    }

    /// Returns the user information, percent-decoded.
    #[must_use]
    pub const fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }
}

impl FromStr for Uri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        Self::parse(text)
    }
}

impl TryFrom<&str> for Uri {
    type Error = UriError;

    fn try_from(text: &str) -> Result<Self, UriError> {
        Self::parse(text)
    }
}

/// Writes the URI without its credentials.
impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_secure { "wss" } else { "ws" };
        write!(f, "{scheme}://{}{}", self.authority(), self.resource_name)
    }
}

/// Why a text is no WebSocket URI. None of it tells what the credentials were.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum UriError {
    /// There is no `://`.
    NoScheme,
    /// The scheme is neither `ws` nor `wss`.
    Scheme(String),
    /// There is a fragment (`#`).
    Fragment,
    /// There is a space or control character.
    Character {
        /// Where in the text it stands, in bytes.
        offset: usize,
    },
    /// The host is empty or malformed.
    Host,
    /// The host is not ASCII, and this build cannot convert it.
    IdnaDisabled,
    /// The port is not a number up to 65535.
    Port,
    /// There is a user without a password.
    MissingPassword,
    /// The user information is not percent-encoded UTF-8.
    PercentEncoding,
    /// The user information cannot be sent.
    Credentials(InvalidCredentials),
}

impl fmt::Display for UriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoScheme => f.write_str("URL must begin with ws:// or wss://"),
            Self::Scheme(scheme) => write!(f, "URL scheme must be ws or wss; got {scheme:?}"),
            Self::Fragment => f.write_str("URL has a fragment (#), which WebSocket does not allow"),
            Self::Character { offset } => {
                write!(f, "URL has a space or control character at offset {offset}")
            }
            Self::Host => f.write_str("URL has no valid host"),
            Self::IdnaDisabled => f.write_str(
                "host is not ASCII, and this build cannot convert it; \
                 enable the feature idna or write the host in its xn-- form",
            ),
            Self::Port => f.write_str("port must be a number from 0 to 65535"),
            Self::MissingPassword => {
                f.write_str("URL has a user but no password; write user:@host if it is empty")
            }
            Self::PercentEncoding => f.write_str("user information is not percent-encoded UTF-8"),
            Self::Credentials(_) => f.write_str("user information cannot be sent"),
        }
    }
}

impl core::error::Error for UriError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        let Self::Credentials(error) = self else {
            return None;
        };
        Some(error)
    }
}

/// Whether the value of a `Host` header is a host with an optional port (RFC 9112 section 3.2).
pub(super) fn is_authority(value: &[u8]) -> bool {
    let parts = str::from_utf8(value).ok().map(split_port);
    matches!(parts, Some(Ok((host, _))) if is_host(host))
}

const fn default_port(is_secure: bool) -> u16 {
    if is_secure { 443 } else { 80 }
}

fn check_characters(text: &str) -> Result<(), UriError> {
    if text.contains('#') {
        return Err(UriError::Fragment);
    }
    match text.find(|c: char| c == ' ' || c.is_control()) {
        Some(offset) => Err(UriError::Character { offset }),
        None => Ok(()),
    }
}

fn parse_scheme(scheme: &str) -> Result<bool, UriError> {
    match scheme {
        _ if scheme.eq_ignore_ascii_case("ws") => Ok(false),
        _ if scheme.eq_ignore_ascii_case("wss") => Ok(true),
        _ => Err(UriError::Scheme(scheme.into())),
    }
}

fn parse_user_info(user_info: &str) -> Result<Credentials, UriError> {
    let (user, password) = user_info.split_once(':').ok_or(UriError::MissingPassword)?;
    Credentials::new(percent_decode(user)?, percent_decode(password)?)
        .map_err(UriError::Credentials)
}

/// Splits `host:port`; an empty port and port 0 are none.
fn split_port(authority: &str) -> Result<(&str, Option<u16>), UriError> {
    let after_bracket = authority.rfind(']').map_or(0, |at| at.saturating_add(1));
    let colon = authority
        .get(after_bracket..)
        .and_then(|tail| tail.find(':'))
        .map(|at| after_bracket.saturating_add(at));
    let Some((host, port)) = colon.and_then(|colon| authority.split_at_checked(colon)) else {
        return Ok((authority, None));
    };
    let digits = port.strip_prefix(':').unwrap_or_default();
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(UriError::Port);
    }
    match digits.parse() {
        _ if digits.is_empty() => Ok((host, None)),
        Ok(0) => Ok((host, None)),
        Ok(port) => Ok((host, Some(port))),
        Err(_) => Err(UriError::Port),
    }
}

fn parse_host(host: &str) -> Result<String, UriError> {
    let host = to_ascii(host)?.to_ascii_lowercase();
    if !is_host(&host) {
        return Err(UriError::Host);
    }
    let address = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    Ok(address.map(String::from).unwrap_or(host))
}

/// Whether this is a name, an IPv4 address, or an IPv6 address in brackets (RFC 3986 section 3.2.2).
///
/// Percent-encoding is legal in a name but means nothing to name resolution.
fn is_host(host: &str) -> bool {
    let in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte);
    match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(in_name),
    }
}

#[cfg(feature = "idna")]
fn to_ascii(host: &str) -> Result<Cow<'_, str>, UriError> {
    match host.is_ascii() {
        true => Ok(Cow::Borrowed(host)),
        false => idna::domain_to_ascii(host)
            .map(Cow::Owned)
            .map_err(|_| UriError::Host),
    }
}

#[cfg(not(feature = "idna"))]
const fn to_ascii(host: &str) -> Result<Cow<'_, str>, UriError> {
    match host.is_ascii() {
        true => Ok(Cow::Borrowed(host)),
        false => Err(UriError::IdnaDisabled),
    }
}

fn resource_name(path: &str) -> String {
    let path = path.strip_suffix('?').unwrap_or(path);
    let mut name = String::with_capacity(path.len().saturating_add(1));
    if !path.starts_with('/') {
        name.push('/');
    }
    for character in path.chars() {
        percent_encode(character, &mut name);
    }
    name
}

/// RFC 3987 section 3.1: what is not ASCII is encoded as UTF-8.
fn percent_encode(character: char, out: &mut String) {
    if character.is_ascii() {
        out.push(character);
        return;
    }
    for byte in character.encode_utf8(&mut [0; 4]).bytes() {
        let _ = write!(out, "%{byte:02X}");
    }
}

fn percent_decode(text: &str) -> Result<String, UriError> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => hex_pair(bytes.next(), bytes.next()).ok_or(UriError::PercentEncoding)?,
            byte => byte,
        });
    }
    String::from_utf8(decoded).map_err(|_| UriError::PercentEncoding)
}

fn hex_pair(high: Option<u8>, low: Option<u8>) -> Option<u8> {
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
    let number = digit(high)?.checked_shl(4)? | digit(low)?;
    u8::try_from(number).ok()
}

fn split_before<'a>(text: &'a str, delimiters: &[char]) -> (&'a str, &'a str) {
    text.find(delimiters)
        .and_then(|at| text.split_at_checked(at))
        .unwrap_or((text, ""))
}
