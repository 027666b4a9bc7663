//! Selects the proxy that the environment variables ask for, and the hosts that they exempt.
//!
//! There is no standard. Where common programs agree, this module does the same: `NO_PROXY` comes first, a
//! variable in lower case hides the one in upper case, and `HTTP_PROXY` in upper case is ignored in a CGI
//! program, whose client can set it with a header called `Proxy`.

use std::borrow::Cow;
use std::env;
use std::net::IpAddr;

use sansock_core::handshake::Uri;

use super::Proxy;
use crate::error::ProxyError;
use crate::transport::Network;

/// The variables for `wss://`, the first that is set decides.
const SECURE: [&str; 4] = ["wss_proxy", "socks_proxy", "https_proxy", "all_proxy"];

/// The variables for `ws://`. One for HTTPS comes before one for HTTP, as a proxy that expects HTTPS
/// will let a tunnel pass.
const PLAIN: [&str; 5] = [
    "ws_proxy",
    "socks_proxy",
    "https_proxy",
    "http_proxy",
    "all_proxy",
];

impl Proxy {
    /// Returns the proxy that the environment of the process asks for; see
    /// [`from_variables`](Self::from_variables).
    ///
    /// # Errors
    /// [`ProxyError::Variable`] where a variable holds no URL of a proxy.
    pub fn from_environment(uri: &Uri) -> Result<Option<Self>, ProxyError> {
        Self::from_variables(uri, |name| {
            env::var_os(name).map(|value| value.to_string_lossy().into_owned())
        })
    }

    /// Returns the proxy that these variables ask for, if any.
    ///
    /// None for a host in `NO_PROXY`. Otherwise the first that is set decides: `WSS_PROXY`,
    /// `SOCKS_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` for `wss://`; `WS_PROXY`, `SOCKS_PROXY`, `HTTPS_PROXY`,
    /// `HTTP_PROXY`, `ALL_PROXY` for `ws://`. Each is looked for in lower case, then in upper case. One
    /// that is empty is not set. A `SOCKS_PROXY` with `http://`, or without a scheme, means `socks5h://`.
    ///
    /// `NO_PROXY` is a list, separated by commas, spaces or both, of what curl documents and more:
    ///
    /// - `*` exempts all hosts;
    /// - a name exempts the host and those below it: `example.com`, `.example.com` and `*.example.com`
    ///   mean the same. One that is not ASCII needs the feature `idna`, as in a URL;
    /// - an address exempts itself: `127.0.0.1`, `::1`, `[::1]`;
    /// - a network exempts its addresses: `10.0.0.0/8`, `fe80::/10`, `[fe80::]/10`, `[fe80::/10]`. It has
    ///   no names: they are not looked up;
    /// - with a port, an entry exempts that port only: `example.com:8080`, `[::1]:8080`.
    ///
    /// An entry that is malformed exempts no host.
    ///
    /// ```
    /// use sansock::core::handshake::Uri;
    /// use sansock::proxy::Proxy;
    ///
    /// let variables = |name: &str| match name {
    ///     "https_proxy" => Some("http://proxy:3128".to_string()),
    ///     "no_proxy" => Some("localhost, .internal, 10.0.0.0/8".to_string()),
    ///     _ => None,
    /// };
    /// let proxy = |url: &str| Proxy::from_variables(&url.parse::<Uri>().unwrap(), variables);
    /// assert_eq!(proxy("wss://example.com/")?.unwrap().host(), "proxy");
    /// assert_eq!(proxy("wss://chat.internal/")?, None);
    /// assert_eq!(proxy("ws://10.1.2.3/")?, None);
    /// # Ok::<(), sansock::proxy::ProxyError>(())
    /// ```
    ///
    /// # Errors
    /// [`ProxyError::Variable`] where the variable that decides holds no URL of a proxy.
    pub fn from_variables(
        uri: &Uri,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, ProxyError> {
        let value_of = |name: &str| Some(find(name, &variable)?.1);
        if value_of("no_proxy").is_some_and(|list| is_exempt(uri, &list)) {
            return Ok(None);
        }
        let names = if uri.is_secure() { &SECURE[..] } else { &PLAIN };
        let mut found = names.iter().filter_map(|name| find(name, &variable));
        let Some((name, value)) = found.next() else {
            return Ok(None);
        };
        let parsed = Self::parse(&with_scheme(&name, &value));
        let parsed = parsed.map_err(|error| error.in_variable(name));
        parsed.map(Some)
    }
}

/// Returns the name and the value of a variable that is set and not empty.
fn find(name: &str, variable: impl Fn(&str) -> Option<String>) -> Option<(String, String)> {
    let upper = name.to_ascii_uppercase();
    let is_forged = name == "http_proxy" && variable("REQUEST_METHOD").is_some();
    let (name, value) = match variable(name) {
        Some(value) => (name.into(), value),
        None if is_forged => return None,
        None => variable(&upper).map(|value| (upper, value))?,
    };
    let value = value.trim();
    (!value.is_empty()).then(|| (name, value.into()))
}

/// A proxy for SOCKS that is written as one for HTTP, or without a scheme, speaks SOCKS all the same.
fn with_scheme(name: &str, value: &str) -> String {
    let rest = match value.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
        Some(_) => return value.into(),
        None => value,
    };
    match name.eq_ignore_ascii_case("socks_proxy") {
        true => format!("socks5h://{rest}"),
        false => value.into(),
    }
}

/// Whether an entry of the list covers the host.
fn is_exempt(uri: &Uri, list: &str) -> bool {
    let entries = list.split(|c: char| c == ',' || c.is_whitespace());
    entries.into_iter().any(|entry| covers(entry, uri))
}

/// Whether an entry covers the host: `*`, a name, an address or a network, with or without a port.
fn covers(entry: &str, uri: &Uri) -> bool {
    let (place, port) = split_port(entry);
    if port.is_some_and(|port| port != uri.port()) {
        return false;
    }
    let (network, length) = split_length(place);
    match (uri.host().parse::<IpAddr>(), length) {
        _ if place == "*" => true,
        (Ok(address), Some(length)) => contains(network, length, address).unwrap_or(false),
        (Ok(address), None) => network
            .parse::<IpAddr>()
            .is_ok_and(|network| network.to_canonical() == address.to_canonical()),
        (Err(_), None) => is_below(uri.host(), &to_ascii(network)),
        (Err(_), Some(_)) => false,
    }
}

/// Splits off the port. An IPv6 address without brackets has none.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    let Some((place, digits)) = entry.rsplit_once(':') else {
        return (entry, None);
    };
    let has_brackets = place.starts_with('[') && place.contains(']');
    match number(digits).and_then(|port| u16::try_from(port).ok()) {
        Some(port) if has_brackets || !place.contains(':') => (place, Some(port)),
        _ => (entry, None),
    }
}

/// Splits off the length of a network, which may be inside the brackets or after them.
fn split_length(place: &str) -> (&str, Option<&str>) {
    let (network, length) = match without_brackets(place).split_once('/') {
        Some((network, length)) => (network, Some(length)),
        None => (without_brackets(place), None),
    };
    (without_brackets(network), length)
}

fn without_brackets(text: &str) -> &str {
    let inner = text.strip_prefix('[');
    let inner = inner.and_then(|inner| inner.strip_suffix(']'));
    inner.unwrap_or(text)
}

/// Parses digits and nothing else; the parser of integers takes a sign as well.
fn number(digits: &str) -> Option<u32> {
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok())?
}

/// Converts a name as the host of a URI is converted. A name that cannot be converted is unchanged, and
/// matches no host.
fn to_ascii(name: &str) -> Cow<'_, str> {
    if name.is_ascii() {
        return Cow::Borrowed(name);
    }
    // A wildcard is not part of a name.
    let name = name.trim_start_matches(['*', '.']);
    match Uri::parse(&format!("ws://{name}")) {
        Ok(uri) => Cow::Owned(uri.host().into()),
        Err(_) => Cow::Borrowed(name),
    }
}

/// Whether the host is the domain, or below it.
fn is_below(host: &str, domain: &str) -> bool {
    let domain = domain.strip_prefix('*').unwrap_or(domain);
    let domain = domain.strip_prefix('.').unwrap_or(domain);
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    let host = host.strip_suffix('.').unwrap_or(host);
    let Some(cut) = host.len().checked_sub(domain.len()) else {
        return false;
    };
    let (before, end) = host.split_at_checked(cut).unwrap_or_default();
    !domain.is_empty()
        && end.eq_ignore_ascii_case(domain)
        && (before.is_empty() || before.ends_with('.'))
}

/// Whether a network like `10.0.0.0/8` contains the address; `None` if it is malformed.
fn contains(network: &str, length: &str, address: IpAddr) -> Option<bool> {
    let network = Network::new(network.parse().ok()?, number(length)?)?;
    Some(network.contains(address))
}

#[cfg(all(test, feature = "idna"))]
mod tests {
    use super::*;

    #[test]
    fn international_names_are_exempt_in_either_form() {
        for entry in [
            "bücher.example",
            ".BÜCHER.example",
            "*.bücher.example.",
            "bücher.example:80",
            "xn--bcher-kva.example",
            "XN--BCHER-KVA.example",
        ] {
            for url in [
                "ws://bücher.example/",
                "ws://a.xn--bcher-kva.example./",
                "ws://ä.Bücher.Example/",
            ] {
                let uri = Uri::parse(url).unwrap();
                assert!(is_exempt(&uri, entry), "{entry} {url}");
            }
            for url in ["ws://bucher.example/", "ws://xbücher.example/"] {
                let uri = Uri::parse(url).unwrap();
                assert!(!is_exempt(&uri, entry), "{entry} {url}");
            }
        }
        let uri = Uri::parse("ws://a/").unwrap();
        assert!(!is_exempt(&uri, "\u{ad},*\u{ad},ü/8,ü ü"));
    }
}
