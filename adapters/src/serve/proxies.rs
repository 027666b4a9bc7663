//! What trusted reverse proxies say about their clients: `Forwarded` (RFC 7239), `X-Forwarded-For`,
//! `X-Forwarded-Host` and `X-Forwarded-Proto`.
//!
//! Every proxy adds the address from which it was connected to on the right. What is further to the left was sent by
//! that address. So the headers are read from the right, one hop after the other, for as long as the address that
//! has sent the rest is trusted.
//!
//! The rule: what cannot be read ends the reading. Nothing to the left of it is used, and the hop before counts.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str;

use sansock_core::handshake::{Headers, Uri};

use crate::error::InvalidNetwork;
use crate::transport::{Network, Peer};

/// The proxies whose headers are used.
#[derive(Debug, Default)]
#[allow(unreachable_pub, reason = "hidden methods of public traits have it")]
pub struct TrustedProxies {
    networks: Vec<Network>,
    unix: bool,
}

/// What a trusted proxy says about a request.
#[derive(Debug)]
pub(super) struct ForwardedRequest {
    /// The client; the proxy if it does not name one.
    pub(super) peer: Peer,
    /// What is compared in place of `Host`.
    pub(super) host: Option<String>,
}

/// What one proxy has added.
#[derive(Debug, Default, PartialEq, Eq)]
struct Hop {
    client: Option<SocketAddr>,
    host: Option<String>,
    scheme: Option<Scheme>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

impl TrustedProxies {
    /// Returns the proxies of a list of networks, and of `unix` for all Unix sockets.
    pub(super) fn new<I>(entries: I) -> Result<Self, InvalidNetwork>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let mut proxies = Self::default();
        for entry in entries {
            let entry = entry.as_ref().trim();
            match (entry, Network::parse(entry)) {
                ("unix", _) => proxies.unix = true,
                (_, Some(network)) => proxies.networks.push(network),
                (_, None) => {
                    let network = entry.to_owned();
                    return Err(InvalidNetwork { network });
                }
            }
        }
        Ok(proxies)
    }

    pub(super) fn trusts(&self, peer: &Peer) -> bool {
        match peer {
            Peer::Unix => self.unix,
            Peer::Unknown => false,
            Peer::Ip(_) | Peer::Proxied(_) => peer.ip().is_some_and(|ip| self.contains(ip)),
        }
    }

    fn contains(&self, address: IpAddr) -> bool {
        let mut networks = self.networks.iter();
        networks.any(|network| network.contains(address))
    }

    /// Reads what a trusted proxy says about a request; `None` if the peer is not trusted or says nothing.
    pub(super) fn read(&self, peer: &Peer, headers: &Headers) -> Option<ForwardedRequest> {
        let names = [
            "Forwarded",
            "X-Forwarded-For",
            "X-Forwarded-Host",
            "X-Forwarded-Proto",
        ];
        if !self.trusts(peer) || !names.iter().any(|name| headers.contains(name)) {
            return None;
        }
        let mut client = None;
        let mut count: usize = 0;
        let mut outermost = Hop::default();
        let mut hops = Hops::of(headers);
        while client.is_none_or(|client: SocketAddr| self.contains(client.ip())) {
            let Some(hop) = hops.next() else {
                break;
            };
            count = count.saturating_add(1);
            let named = hop.client;
            outermost = hop;
            if named.is_none() {
                break;
            }
            client = named;
        }
        let host = outermost
            .host
            .or_else(|| nth_from_right(headers, "X-Forwarded-Host", count).map(str::to_owned));
        let scheme = outermost.scheme.or_else(|| {
            let scheme = nth_from_right(headers, "X-Forwarded-Proto", count);
            scheme.and_then(parse_scheme)
        });
        Some(ForwardedRequest {
            peer: client.map_or_else(|| peer.clone(), |client| peer.proxied(client)),
            host: compared_host(headers, host, scheme),
        })
    }
}

/// The hops of `Forwarded` and `X-Forwarded-For`, the nearest first.
///
/// A proxy may add to one of the headers, and pass on the other as its client sent it. So if a request has both, a
/// hop counts only if both name the same address.
struct Hops {
    forwarded: Option<Vec<Hop>>,
    x_forwarded_for: Option<Vec<Hop>>,
}

impl Hops {
    fn of(headers: &Headers) -> Self {
        let read = |name, parse: fn(&str) -> Vec<Hop>| {
            let lines = headers.get_all(name);
            let hops = lines.flat_map(|line| match str::from_utf8(line) {
                Ok(line) => parse(line),
                Err(_) => vec![Hop::default()],
            });
            headers.contains(name).then(|| hops.collect())
        };
        Self {
            forwarded: read("Forwarded", |line| {
                parse_forwarded(line).unwrap_or_else(|| vec![Hop::default()])
            }),
            x_forwarded_for: read("X-Forwarded-For", |line| {
                let hop = |node: &str| Hop {
                    client: parse_node(node.trim()),
                    ..Hop::default()
                };
                line.split(',').map(hop).collect()
            }),
        }
    }

    fn next(&mut self) -> Option<Hop> {
        match (&mut self.forwarded, &mut self.x_forwarded_for) {
            (Some(hops), None) | (None, Some(hops)) => hops.pop(),
            (Some(hops), Some(others)) => {
                let (hop, other) = (hops.pop()?, others.pop()?);
                let ip = |hop: &Hop| hop.client.map(|client| client.ip());
                (ip(&hop) == ip(&other)).then_some(hop)
            }
            (None, None) => None,
        }
    }
}

/// Returns the value that the proxy so many hops away has added to a list; the first if the list is shorter.
fn nth_from_right<'a>(headers: &'a Headers, name: &str, hops: usize) -> Option<&'a str> {
    let lines = headers.get_all(name);
    let values = lines.flat_map(|line| str::from_utf8(line).unwrap_or_default().split(','));
    let values: Vec<&str> = values.map(str::trim).collect();
    let index = values.len().saturating_sub(hops.max(1));
    values.get(index).copied()
}

/// Returns what is compared with an origin in place of `Host`. With a known scheme it has a port, so that an origin
/// with the other scheme does not match.
fn compared_host(
    headers: &Headers,
    host: Option<String>,
    scheme: Option<Scheme>,
) -> Option<String> {
    let mut own = headers.get_all("Host");
    // A request without `Host`, or with several, is malformed, and stays so.
    let (Some(own), None) = (own.next(), own.next()) else {
        return None;
    };
    let own = str::from_utf8(own).ok()?;
    let named = host.filter(|host| is_authority(host));
    if named.is_none() && scheme.is_none() {
        return None;
    }
    let host = named.unwrap_or_else(|| own.to_owned());
    let has_port = match host.rsplit_once(':') {
        Some((_, port)) => !port.ends_with(']'),
        None => false,
    };
    Some(match scheme {
        Some(Scheme::Https) if !has_port => host + ":443",
        Some(Scheme::Http) if !has_port => host + ":80",
        _ => host,
    })
}

/// Whether this is a host with an optional port.
fn is_authority(host: &str) -> bool {
    let may_stand = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'[' | b']')
    };
    host.bytes().all(may_stand) && Uri::parse(&format!("ws://{host}/")).is_ok()
}

fn parse_scheme(scheme: &str) -> Option<Scheme> {
    let is = |name: &str| scheme.eq_ignore_ascii_case(name);
    match () {
        () if is("https") || is("wss") => Some(Scheme::Https),
        () if is("http") || is("ws") => Some(Scheme::Http),
        () => None,
    }
}

/// Parses an address with an optional port. An IPv6 address may have brackets. Names, `unknown` and obfuscated
/// identifiers are `None`.
fn parse_node(node: &str) -> Option<SocketAddr> {
    let address = |ip: IpAddr, port| SocketAddr::new(ip.to_canonical(), port);
    if let Ok(ip) = node.parse() {
        return Some(address(ip, 0));
    }
    if let Ok(with_port) = node.parse::<SocketAddr>() {
        return Some(address(with_port.ip(), with_port.port()));
    }
    let ip: Ipv6Addr = node.strip_prefix('[')?.strip_suffix(']')?.parse().ok()?;
    Some(address(ip.into(), 0))
}

/// Parses one line of `Forwarded` (RFC 7239 section 4). A line is read as a whole: a quotation mark that a client
/// has left open would swallow what proxies have added.
fn parse_forwarded(line: &str) -> Option<Vec<Hop>> {
    let mut hops = Vec::new();
    let mut rest = line;
    loop {
        let (hop, after) = parse_element(rest)?;
        hops.push(hop);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return after.is_empty().then_some(hops),
        }
    }
}

/// Parses the pairs up to a comma.
fn parse_element(line: &str) -> Option<(Hop, &str)> {
    let mut hop = Hop::default();
    let mut names: Vec<String> = Vec::new();
    let mut rest = line;
    loop {
        rest = trim_start(rest);
        if rest.is_empty() || rest.starts_with(',') {
            return Some((hop, rest));
        }
        let (name, after) = rest.split_once('=')?;
        let name = name.to_ascii_lowercase();
        let (value, after) = parse_value(after)?;
        // Section 4: a parameter occurs once.
        if !name.bytes().all(is_token_byte) || name.is_empty() || names.contains(&name) {
            return None;
        }
        match &*name {
            "for" => hop.client = parse_node(&value),
            "host" => hop.host = Some(value),
            "proto" => hop.scheme = parse_scheme(&value),
            _ => {}
        }
        names.push(name);
        rest = trim_start(after);
        match rest.strip_prefix(';') {
            Some(next) => rest = next,
            None => return Some((hop, rest)),
        }
    }
}

/// Parses a token or a quoted string (RFC 9110 section 5.6).
fn parse_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.bytes().position(|byte| !is_token_byte(byte));
        let (token, rest) = text.split_at_checked(end.unwrap_or(text.len()))?;
        return (!token.is_empty()).then(|| (token.to_owned(), rest));
    };
    let mut value = String::new();
    let mut chars = quoted.chars();
    loop {
        match chars.next()? {
            '"' => return Some((value, chars.as_str())),
            '\\' => value.push(chars.next()?),
            other => value.push(other),
        }
    }
}

fn trim_start(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}
