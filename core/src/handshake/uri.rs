//! WebSocket URIs (RFC 6455 section 3).
//!
//! Everything that goes into the request is ASCII without spaces or control characters once a
//! [`Uri`] exists, so that no part of it can break the request line or a header.

use alloc::{borrow::Cow, string::String, vec::Vec};
use core::{
    fmt::{self, Write as _},
    net::Ipv6Addr,
    str::{self, FromStr},
};

use crate::escape::escaped;
use crate::handshake::{Credentials, InvalidCredentials, ascii::is_host_name_byte};

/// The printable characters of the URL standard's path percent-encode set, without those that end a path or
/// that a URL may not contain.
const PATH_ENCODED: &[char] = &['"', '<', '>', '^', '`', '{', '}'];

/// The same of its special-query percent-encode set: `ws` and `wss` are special schemes.
const QUERY_ENCODED: &[char] = &['"', '<', '>', '\''];

/// The URI of a WebSocket: `ws://` or `wss://`, or `http://` or `https://` instead of them.
///
/// Neither `Display` nor `Debug` shows the credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uri {
    is_secure: bool,
    credentials: Option<Credentials>,
    host: String,
    zone: Option<String>,
    port: u16,
    resource_name: String,
}

impl Uri {
    /// Parses a URI.
    ///
    /// `http://` means `ws://`, and `https://` means `wss://`, as in the WebSocket standard of the
    /// WHATWG. A user name without a password has an empty password (RFC 7617 section 2); empty user
    /// information is none.
    ///
    /// An IPv6 address may have a zone, as `[fe80::1%25eth0]` (RFC 6874) or `[fe80::1%eth0]`.
    ///
    /// Path and query are percent-encoded as browsers do it: characters outside ASCII, `"`, `<` and `>` in both,
    /// `` ` ``, `^`, `{` and `}` in the path, and `'` in the query (the path and special-query percent-encode sets
    /// of the [URL standard](https://url.spec.whatwg.org/#percent-encoded-bytes)). A `%` is kept, so what is encoded
    /// already does not change. Characters outside ASCII in the host need the feature `idna`.
    ///
    /// # Errors
    ///
    /// The text has another scheme or no valid host, has a fragment (RFC 6455 section 3), or has a
    /// character that would break the request.
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
        let (host, zone) = split_zone(host)?;
        Ok(Self {
            is_secure,
            credentials: user_info
                .filter(|user_info| !user_info.is_empty())
                .map(parse_user_info)
                .transpose()?,
            host: parse_host(&host)?,
            zone: zone.map(String::from),
            port: port.unwrap_or(default_port(is_secure)),
            resource_name: resource_name(path),
        })
    }

    /// Whether the scheme is `wss`, which means TLS.
    #[must_use]
    pub const fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// Returns the host in lower case, an IPv6 address without brackets and without its zone.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the zone of an IPv6 address: the interface of this machine that leads to it, by its name
    /// or number. It means nothing to other machines, and is not sent (RFC 6874 section 4).
    #[must_use]
    pub fn zone(&self) -> Option<&str> {
        self.zone.as_deref()
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

    /// Returns the value of the `Host` header: brackets around an IPv6 address, no zone, and the port
    /// only where it is not the default.
    #[must_use]
    pub fn authority(&self) -> String {
        self.authority_with(None)
    }

    fn authority_with(&self, zone: Option<&str>) -> String {
        let mut authority = match (self.host.contains(':'), zone) {
            (true, Some(zone)) => alloc::format!("[{}%25{zone}]", self.host),
            (true, None) => alloc::format!("[{}]", self.host),
            (false, _) => self.host.clone(),
        };
        if self.port != default_port(self.is_secure) {
            let _ = write!(authority, ":{}", self.port);
        }
        authority
    }

    /// Whether scheme, host and port are the same, so that what is meant for one may be sent to the other.
    /// The same address in another zone is another host.
    #[must_use]
    pub fn is_same_origin(&self, other: &Self) -> bool {
        (self.is_secure, &self.host, &self.zone, self.port)
            == (other.is_secure, &other.host, &other.zone, other.port)
    }

    /// Returns where a redirect leads: the value of a `Location` header, seen from this URI (RFC 3986
    /// section 5.2, RFC 9110 section 10.2.2).
    ///
    /// A fragment is dropped. The credentials stay within the same origin, and are never taken from the
    /// redirect.
    ///
    /// # Errors
    ///
    /// As for [`parse`](Self::parse).
    pub fn resolve(&self, location: &str) -> Result<Self, UriError> {
        let (location, _fragment) = split_before(location, &['#']);
        let mut target = match split_scheme(location) {
            Some((_, rest)) if rest.starts_with("//") => Self::parse(location)?,
            Some((scheme, _)) => return Err(UriError::Scheme(scheme.into())),
            None => self.resolve_relative(location)?,
        };
        let is_same = self.is_same_origin(&target);
        target.credentials = self.credentials.clone().filter(|_| is_same);
        Ok(target)
    }

    fn resolve_relative(&self, reference: &str) -> Result<Self, UriError> {
        let scheme = if self.is_secure { "wss" } else { "ws" };
        if reference.starts_with("//") {
            return Self::parse(&alloc::format!("{scheme}:{reference}"));
        }
        let (path, query) = split_before(reference, &['?']);
        let (own_path, own_query) = split_before(&self.resource_name, &['?']);
        let (path, query) = match path {
            "" if query.is_empty() => (own_path.into(), own_query),
            "" => (own_path.into(), query),
            _ => (merge_paths(own_path, path), query),
        };
        Self::parse(&alloc::format!(
            "{scheme}://{}{path}{query}",
            self.authority_with(self.zone())
        ))
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
        let authority = self.authority_with(self.zone());
        write!(f, "{scheme}://{authority}{}", self.resource_name)
    }
}

/// Why a text is no WebSocket URI. None of it tells what the credentials were.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum UriError {
    /// There is no `://`.
    NoScheme,
    /// The scheme is none of `ws`, `wss`, `http` and `https`.
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
    /// The user information is not percent-encoded UTF-8.
    PercentEncoding,
    /// The user information cannot be sent.
    Credentials(InvalidCredentials),
}

impl fmt::Display for UriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoScheme => f.write_str("URL must begin with ws:// or wss://"),
            Self::Scheme(scheme) => {
                let scheme = escaped(scheme);
                write!(
                    f,
                    "URL scheme must be ws or wss (or http or https); got \"{scheme}\""
                )
            }
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
    let name = value.iter().take_while(|byte| is_host_name_byte(**byte));
    match value.split_at_checked(name.count()) {
        Some(([_, ..], [])) => true,
        Some(([_, ..], [b':', port @ ..])) => is_port(port),
        _ => str::from_utf8(value)
            .is_ok_and(|value| matches!(split_port(value), Ok((host, _)) if is_host(host))),
    }
}

fn is_port(digits: &[u8]) -> bool {
    let append = |number: u16, byte: &u8| {
        let digit = char::from(*byte).to_digit(10)?;
        number
            .checked_mul(10)?
            .checked_add(u16::try_from(digit).ok()?)
    };
    digits.iter().try_fold(0, append).is_some()
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
        _ if is_one_of(scheme, ["ws", "http"]) => Ok(false),
        _ if is_one_of(scheme, ["wss", "https"]) => Ok(true),
        _ => Err(UriError::Scheme(scheme.into())),
    }
}

fn is_one_of(scheme: &str, names: [&str; 2]) -> bool {
    names.iter().any(|name| scheme.eq_ignore_ascii_case(name))
}

/// Splits off the scheme that a reference starts with, and what follows its colon (RFC 3986 sections 3.1 and 4.2).
fn split_scheme(reference: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = reference.split_once(':')?;
    let may_stand = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let is_scheme =
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(may_stand);
    is_scheme.then_some((scheme, rest))
}

/// RFC 3986 sections 5.2.3 and 5.2.4: the path, seen from another, without `.` and `..`.
fn merge_paths(base: &str, path: &str) -> String {
    let folder = base.rsplit_once('/').map_or("", |(folder, _)| folder);
    let from = if path.starts_with('/') { "" } else { folder };
    let path = path.strip_prefix('/').unwrap_or(path);
    let mut segments: Vec<&str> = from.split('/').skip(1).collect();
    let mut last = "";
    for segment in path.split('/') {
        last = segment;
        match segment {
            "." => {}
            ".." => drop(segments.pop()),
            _ => segments.push(segment),
        }
    }
    if matches!(last, "." | "..") {
        segments.push("");
    }
    alloc::format!("/{}", segments.join("/"))
}

fn parse_user_info(user_info: &str) -> Result<Credentials, UriError> {
    let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    Credentials::new(percent_decode(user)?, percent_decode(password)?)
        .map_err(UriError::Credentials)
}

/// Splits `host:port`; an empty port and port 0 are none.
fn split_port(authority: &str) -> Result<(&str, Option<u16>), UriError> {
    let (host, digits) = match authority.rsplit_once(':') {
        Some((host, digits)) if !digits.ends_with(']') => (host, digits),
        _ => return Ok((authority, None)),
    };
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

/// Splits off the zone of an IPv6 address (RFC 6874 section 2). A percent sign that is not encoded is
/// accepted as well, as users copy it from other programs (section 3).
fn split_zone(host: &str) -> Result<(Cow<'_, str>, Option<&str>), UriError> {
    let Some((address, zone)) = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .and_then(|host| host.split_once('%'))
    else {
        return Ok((Cow::Borrowed(host), None));
    };
    let zone = zone.strip_prefix("25").unwrap_or(zone);
    let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    match !zone.is_empty() && zone.bytes().all(is_unreserved) {
        true => Ok((Cow::Owned(alloc::format!("[{address}]")), Some(zone))),
        false => Err(UriError::Host),
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

/// Whether this is a name, an IPv4 address, or an IPv6 address in brackets (RFC 3986 section
/// 3.2.2).
///
/// Percent-encoding is legal in a name but means nothing to name resolution.
fn is_host(host: &str) -> bool {
    match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => is_name(host.as_bytes()),
    }
}

pub(super) fn is_name(host: &[u8]) -> bool {
    !host.is_empty() && host.iter().copied().all(is_host_name_byte)
}

#[cfg(feature = "idna")]
pub(super) fn to_ascii(host: &str) -> Result<Cow<'_, str>, UriError> {
    match host.is_ascii() {
        true => Ok(Cow::Borrowed(host)),
        false => idna::domain_to_ascii(host)
            .map(Cow::Owned)
            .map_err(|_| UriError::Host),
    }
}

#[cfg(not(feature = "idna"))]
pub(super) const fn to_ascii(host: &str) -> Result<Cow<'_, str>, UriError> {
    match host.is_ascii() {
        true => Ok(Cow::Borrowed(host)),
        false => Err(UriError::IdnaDisabled),
    }
}

fn resource_name(path_and_query: &str) -> String {
    let text = path_and_query.strip_suffix('?').unwrap_or(path_and_query);
    let (path, query) = split_before(text, &['?']);
    let mut name = String::with_capacity(text.len().saturating_add(1));
    if !path.starts_with('/') {
        name.push('/');
    }
    percent_encode(path, PATH_ENCODED, &mut name);
    percent_encode(query, QUERY_ENCODED, &mut name);
    name
}

/// Encodes these characters, and those that are not ASCII as UTF-8 (RFC 3987 section 3.1).
fn percent_encode(text: &str, encoded: &[char], out: &mut String) {
    for character in text.chars() {
        if character.is_ascii() && !encoded.contains(&character) {
            out.push(character);
            continue;
        }
        for byte in character.encode_utf8(&mut [0; 4]).bytes() {
            let _ = write!(out, "%{byte:02X}");
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Uri {
        Uri::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn parts_have_their_defaults() {
        let cases = [
            ("ws://h", false, "h", 80, "/", "h"),
            (
                "WSS://Example.COM/",
                true,
                "example.com",
                443,
                "/",
                "example.com",
            ),
            ("ws://h:/", false, "h", 80, "/", "h"),
            ("ws://h:0/", false, "h", 80, "/", "h"),
            ("ws://h:80/", false, "h", 80, "/", "h"),
            ("wss://h:80/a", true, "h", 80, "/a", "h:80"),
            ("ws://h:65535?q", false, "h", 65535, "/?q", "h:65535"),
            ("ws://h/?", false, "h", 80, "/", "h"),
            ("ws://h/a/../b?c=d?e", false, "h", 80, "/a/../b?c=d?e", "h"),
            ("ws://h/%20%zz@:", false, "h", 80, "/%20%zz@:", "h"),
            (
                "ws://[2001:DB8::1]:81/",
                false,
                "2001:db8::1",
                81,
                "/",
                "[2001:db8::1]:81",
            ),
            ("wss://[::1]", true, "::1", 443, "/", "[::1]"),
            (
                "ws://127.0.0.1:8080",
                false,
                "127.0.0.1",
                8080,
                "/",
                "127.0.0.1:8080",
            ),
            ("ws://a_b.c-d~", false, "a_b.c-d~", 80, "/", "a_b.c-d~"),
            ("http://h/a", false, "h", 80, "/a", "h"),
            ("Https://h:80/a", true, "h", 80, "/a", "h:80"),
            ("ws://@h", false, "h", 80, "/", "h"),
        ];
        for (text, is_secure, host, port, resource_name, authority) in cases {
            let uri = parse(text);
            assert_eq!(uri.is_secure(), is_secure, "{text}");
            assert_eq!(uri.host(), host, "{text}");
            assert_eq!(uri.port(), port, "{text}");
            assert_eq!(uri.resource_name(), resource_name, "{text}");
            assert_eq!(uri.authority(), authority, "{text}");
            assert_eq!(uri.credentials(), None, "{text}");
        }
    }

    #[test]
    fn what_is_not_ascii_is_encoded_and_percent_kept() {
        let uri = parse("ws://h/ü%20?€=😀");
        assert_eq!(uri.resource_name(), "/%C3%BC%20?%E2%82%AC=%F0%9F%98%80");
    }

    /// Every printable character of ASCII, as browsers send it.
    #[test]
    fn path_and_query_are_encoded_as_the_url_standard_does() {
        let graphic = (0x21..=0x7e_u8).map(char::from).filter(|c| *c != '#');
        let printable: String = graphic.collect();
        let path = printable.replace('?', "");
        let uri = parse(&format!("ws://h/{path}?{printable}"));
        let expected = "/!%22$%&'()*+,-./0123456789:;%3C=%3E@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]%5E_%60\
                        abcdefghijklmnopqrstuvwxyz%7B|%7D~\
                        ?!%22$%&%27()*+,-./0123456789:;%3C=%3E?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`\
                        abcdefghijklmnopqrstuvwxyz{|}~";
        assert_eq!(uri.resource_name(), expected);
        assert_eq!(parse(&uri.to_string()), uri);
        let redirected = parse("ws://h/<").resolve("{}?'").unwrap();
        assert_eq!(redirected.resource_name(), "/%7B%7D?%27");
    }

    #[test]
    fn user_information_is_decoded() {
        let cases = [
            ("ws://a:b@h", "a", "b"),
            ("ws://a:@h", "a", ""),
            ("ws://a@h", "a", ""),
            ("ws://a%3f@h", "a?", ""),
            ("ws://a@b@h", "a@b", ""),
            ("ws://:b@h", "", "b"),
            ("ws://a%40b:%3a%2F%25@h", "a@b", ":/%"),
            ("ws://%C3%BC:é@h", "ü", "é"),
            ("ws://a:b:c@h", "a", "b:c"),
            ("ws://a:b@c@h", "a", "b@c"),
        ];
        for (text, user, password) in cases {
            let uri = parse(text);
            let credentials = uri.credentials().unwrap();
            assert_eq!(
                (credentials.user(), credentials.password()),
                (user, password)
            );
            assert_eq!(uri.host(), "h");
        }
    }

    #[test]
    fn an_error_says_what_is_wrong() {
        let credentials = UriError::Credentials(InvalidCredentials::ColonInUser);
        for (error, text) in [
            (UriError::NoScheme, "URL must begin with ws:// or wss://"),
            (
                UriError::Scheme("ftp".into()),
                "URL scheme must be ws or wss (or http or https); got \"ftp\"",
            ),
            (
                UriError::Fragment,
                "URL has a fragment (#), which WebSocket does not allow",
            ),
            (
                UriError::Character { offset: 7 },
                "URL has a space or control character at offset 7",
            ),
            (UriError::Host, "URL has no valid host"),
            (UriError::Port, "port must be a number from 0 to 65535"),
            (
                UriError::PercentEncoding,
                "user information is not percent-encoded UTF-8",
            ),
            (credentials, "user information cannot be sent"),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn malformed_uris_are_refused() {
        let control = UriError::Credentials(InvalidCredentials::ControlCharacter);
        let colon = UriError::Credentials(InvalidCredentials::ColonInUser);
        let cases = [
            ("", UriError::NoScheme),
            ("h/a", UriError::NoScheme),
            ("ws:/h", UriError::NoScheme),
            ("htp://h", UriError::Scheme("htp".into())),
            ("httpss://h", UriError::Scheme("httpss".into())),
            ("http:h", UriError::NoScheme),
            ("https://h/#", UriError::Fragment),
            ("://h", UriError::Scheme(String::new())),
            ("ws://h/#frag", UriError::Fragment),
            ("ws://h/#", UriError::Fragment),
            ("ws://h#", UriError::Fragment),
            ("ws://h/a b", UriError::Character { offset: 8 }),
            ("ws://h/\r\nA: b", UriError::Character { offset: 7 }),
            ("ws://h/\0", UriError::Character { offset: 7 }),
            ("ws://h/\x7f", UriError::Character { offset: 7 }),
            ("ws://h/\u{85}", UriError::Character { offset: 7 }),
            ("ws://h h/", UriError::Character { offset: 6 }),
            ("ws://", UriError::Host),
            ("ws:///a", UriError::Host),
            ("ws://:80", UriError::Host),
            ("ws://a%62", UriError::Host),
            ("ws://a\\b", UriError::Host),
            ("ws://::1", UriError::Host),
            ("ws://[::1", UriError::Host),
            ("ws://[1.2.3.4]", UriError::Host),
            ("ws://[fe80::1%25]", UriError::Host),
            ("ws://[fe80::1%]", UriError::Host),
            ("ws://[fe80::1%25eth0%25]", UriError::Host),
            ("ws://[fe80::1%25a]b]", UriError::Host),
            ("ws://[fe80::1%25a[b]", UriError::Host),
            ("ws://[fe80::1%25ä]", UriError::Host),
            ("ws://[127.0.0.1%25eth0]", UriError::Host),
            ("ws://[name%25eth0]", UriError::Host),
            ("ws://fe80%25eth0", UriError::Host),
            ("ws://[::1]x", UriError::Port),
            ("ws://h:65536", UriError::Port),
            ("ws://h:+80", UriError::Port),
            ("ws://h:8_0", UriError::Port),
            ("ws://h:-1", UriError::Port),
            ("ws://h:80x", UriError::Port),
            ("ws://h:99999999999999999999", UriError::Port),
            ("ws://a%@h", UriError::PercentEncoding),
            (
                "ws://a%3A@h",
                UriError::Credentials(InvalidCredentials::ColonInUser),
            ),
            ("ws://a:%@h", UriError::PercentEncoding),
            ("ws://a:%4@h", UriError::PercentEncoding),
            ("ws://a:%zz@h", UriError::PercentEncoding),
            ("ws://a:%+1@h", UriError::PercentEncoding),
            ("ws://a:%ff@h", UriError::PercentEncoding),
            ("ws://a:%0a@h", control),
            ("ws://a%3A:b@h", colon),
        ];
        for (text, error) in cases {
            assert_eq!(Uri::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn what_is_wrong_with_credentials_is_the_cause_of_the_error() {
        use core::error::Error;

        let error = Uri::parse("ws://a:%0a@h").unwrap_err();
        let cause = error.source().unwrap().to_string();
        assert_eq!(cause, InvalidCredentials::ControlCharacter.to_string());
        assert!(Uri::parse("ws://").unwrap_err().source().is_none());
    }

    #[test]
    fn the_zone_of_an_address_is_kept_and_not_sent() {
        for (text, zone, authority, shown) in [
            (
                "ws://[fe80::1%25eth0]",
                "eth0",
                "[fe80::1]",
                "ws://[fe80::1%25eth0]/",
            ),
            (
                "wss://[FE80::1%25En_0.1-a~]:81/b?c",
                "En_0.1-a~",
                "[fe80::1]:81",
                "wss://[fe80::1%25En_0.1-a~]:81/b?c",
            ),
            (
                "ws://a:b@[fe80::1%eth0]:80",
                "eth0",
                "[fe80::1]",
                "ws://[fe80::1%25eth0]/",
            ),
            ("ws://[::1%2525]", "25", "[::1]", "ws://[::1%2525]/"),
        ] {
            let uri = parse(text);
            assert_eq!(uri.zone(), Some(zone), "{text}");
            assert_eq!(uri.authority(), authority, "{text}");
            assert_eq!(uri.to_string(), shown, "{text}");
            assert_eq!(
                uri.host(),
                authority.trim_end_matches(":81").trim_matches(['[', ']'])
            );
            let again = parse(shown);
            assert!(again.is_same_origin(&uri), "{text}");
        }
        assert_eq!(parse("ws://[fe80::1]").zone(), None);
        assert_eq!(parse("ws://h/[a%25b]").zone(), None);
    }

    #[test]
    fn a_redirect_stays_in_the_zone_unless_it_names_another_host() {
        let base = parse("ws://u:p@[fe80::1%25eth0]:1/a/b");
        for (location, target) in [
            ("c", "ws://[fe80::1%25eth0]:1/a/c"),
            ("//[fe80::1]:1/c", "ws://[fe80::1]:1/c"),
            ("ws://[fe80::1%25eth1]:1/c", "ws://[fe80::1%25eth1]:1/c"),
        ] {
            let resolved = base.resolve(location).unwrap();
            assert_eq!(resolved.to_string(), target);
            let stays = location == "c";
            assert_eq!(resolved.is_same_origin(&base), stays, "{location}");
            assert_eq!(resolved.credentials().is_some(), stays, "{location}");
        }
    }

    /// The WebSocket standard of the WHATWG, constructor, steps 4 and 5.
    #[test]
    fn schemes_of_http_mean_those_of_websockets() {
        assert_eq!(parse("http://u:p@h:1/a?b"), parse("ws://u:p@h:1/a?b"));
        assert_eq!(parse("HTTPS://h"), parse("wss://h"));
        assert_eq!(parse("https://h/a").to_string(), "wss://h/a");
    }

    #[test]
    fn nothing_shows_credentials() {
        let uri = parse("wss://alice:secret@h:1/a");
        assert_eq!(uri.to_string(), "wss://h:1/a");
        assert!(!format!("{uri:?}").contains("secret"));
        assert!(!format!("{uri:?}").contains("alice"));
    }

    #[test]
    fn a_redirect_leads_where_its_location_says() {
        let cases = [
            ("wss://other/x", "wss://other/x"),
            ("https://other", "wss://other/"),
            ("HTTP://other:8080/x?y", "ws://other:8080/x?y"),
            ("https://h/x#fragment", "wss://h/x"),
            ("//other/x", "ws://other/x"),
            ("/x", "ws://h:1/x"),
            ("/x/./y/../z", "ws://h:1/x/z"),
            ("x", "ws://h:1/a/x"),
            ("x?y=/../z", "ws://h:1/a/x?y=/../z"),
            ("./x/", "ws://h:1/a/x/"),
            ("../x", "ws://h:1/x"),
            ("../../../x", "ws://h:1/x"),
            ("..", "ws://h:1/"),
            (".", "ws://h:1/a/"),
            ("?y", "ws://h:1/a/b?y"),
            ("", "ws://h:1/a/b?c=d/e"),
            ("#fragment", "ws://h:1/a/b?c=d/e"),
            ("/x?to=http://y", "ws://h:1/x?to=http://y"),
            ("x?to=http://y", "ws://h:1/a/x?to=http://y"),
            ("./x:y", "ws://h:1/a/x:y"),
            ("/x:y", "ws://h:1/x:y"),
            ("1:y", "ws://h:1/a/1:y"),
        ];
        let base = parse("ws://h:1/a/b?c=d/e");
        for (location, target) in cases {
            let resolved = base.resolve(location).map(|uri| uri.to_string());
            assert_eq!(resolved.as_deref(), Ok(target), "{location:?}");
        }
        assert_eq!(parse("ws://h").resolve("x"), Ok(parse("ws://h/x")));
        for (location, scheme) in [
            ("mailto://a", "mailto"),
            ("mailto:a", "mailto"),
            ("javascript:alert(1)", "javascript"),
            ("data:text/html,x", "data"),
            ("view-source+x.1:y", "view-source+x.1"),
            ("h:1/x", "h"),
            ("ws:/x", "ws"),
        ] {
            let error = Err(UriError::Scheme(scheme.into()));
            assert_eq!(base.resolve(location), error, "{location}");
        }
        assert_eq!(parse("wss://h").resolve("//i/x"), Ok(parse("wss://i/x")));
        assert!(base.resolve("/\r\nA: b").is_err());
    }

    #[test]
    fn credentials_stay_within_their_origin_and_come_from_no_redirect() {
        let base = parse("ws://alice:secret@h:1/a");
        for (location, keeps) in [
            ("/b", true),
            ("http://h:1/b", true),
            ("ws://mallory:x@h:1/b", true),
            ("ws://h/b", false),
            ("wss://h:1/b", false),
            ("ws://mallory:x@other/b", false),
        ] {
            let target = base.resolve(location).unwrap();
            let expected = base.credentials().filter(|_| keeps);
            assert_eq!(target.credentials(), expected, "{location}");
            assert_eq!(target.is_same_origin(&base), keeps, "{location}");
        }
    }

    #[cfg(feature = "idna")]
    #[test]
    fn international_hosts_are_converted() {
        assert_eq!(parse("ws://BÜCHER.example").host(), "xn--bcher-kva.example");
        assert_eq!(Uri::parse("ws://\u{ad}"), Err(UriError::Host));
        assert_eq!(Uri::parse("ws://a\u{ff0f}b"), Err(UriError::Host));
    }

    #[cfg(not(feature = "idna"))]
    #[test]
    fn international_hosts_need_a_feature_that_the_error_names() {
        let error = Uri::parse("ws://bücher.example").unwrap_err();
        assert_eq!(error, UriError::IdnaDisabled);
        assert!(error.to_string().contains("idna"));
    }

    #[test]
    fn a_host_header_is_a_host_and_a_port() {
        for value in ["a", "A.b:80", "[::1]:8080", "127.0.0.1", "a:"] {
            assert!(is_authority(value.as_bytes()), "{value}");
        }
        for value in [
            "",
            ":",
            ":80",
            "a b",
            "a@b",
            "a/b",
            "a:b",
            "a:80:80",
            "a:65536",
            "a:+80",
            "a:80 ",
            "[fe80::1%25eth0]",
            "[::1",
            "[::1]:b",
            "::1",
            "a%20",
            "a\\",
            "a#",
        ] {
            assert!(!is_authority(value.as_bytes()), "{value}");
        }
        assert!(!is_authority(b"\xff"));
    }
}
