//! Selects the proxy that the environment variables ask for, and the hosts that they exempt.
//!
//! There is no standard. Where common programs agree, this module does the same: `NO_PROXY` comes first, a
//! variable in lower case hides the one in upper case, and `HTTP_PROXY` in upper case is ignored in a CGI
//! program, whose client can set it with a header called `Proxy`.

use std::env;
use std::net::IpAddr;

use sansock_core::handshake::Uri;

use super::Proxy;
use crate::error::ProxyError;

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
    /// `NO_PROXY` is a list, separated by commas or spaces, of `*`, names (`example.com`, `.example.com`
    /// and `*.example.com` all mean this host and those below it), addresses, and networks
    /// (`10.0.0.0/8`), of which names and addresses may have a port.
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

fn covers(entry: &str, uri: &Uri) -> bool {
    let address = uri.host().parse::<IpAddr>().ok();
    if entry == "*" {
        return true;
    }
    if let (Some((network, length)), Some(address)) = (entry.split_once('/'), address) {
        return contains(network, length, address).unwrap_or(false);
    }
    let (host, port) = split_port(entry);
    if port.is_some_and(|port| port != uri.port()) {
        return false;
    }
    match address {
        Some(address) => host
            .parse::<IpAddr>()
            .is_ok_and(|host| host.to_canonical() == address.to_canonical()),
        None => is_below(uri.host(), host),
    }
}

/// Splits `host:port` and `[address]:port`. An IPv6 address without brackets has no port.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    let (host, port) = match entry.rsplit_once(':') {
        Some((host, _)) if host.contains(':') && !host.ends_with(']') => (entry, None),
        Some((host, digits)) if digits.parse::<u16>().is_ok() => (host, digits.parse().ok()),
        _ => (entry, None),
    };
    let address = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    (address.unwrap_or(host), port)
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

/// Whether a network like `10.0.0.0/8` contains the address; `None` where it is malformed.
fn contains(network: &str, length: &str, address: IpAddr) -> Option<bool> {
    let length: u32 = length.parse().ok()?;
    let network: IpAddr = network.parse().ok()?;
    let address = match network.is_ipv4() {
        true => address.to_canonical(),
        false => address,
    };
    let (network, address, width) = match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            (network.to_bits().into(), address.to_bits().into(), 32)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => (network.to_bits(), address.to_bits(), 128),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return Some(false),
    };
    let host_bits = u32::checked_sub(width, length)?;
    let differences: u128 = network ^ address;
    Some(differences.checked_shr(host_bits).unwrap_or(0) == 0)
}
