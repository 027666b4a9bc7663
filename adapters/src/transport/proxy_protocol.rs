//! The PROXY protocol, versions 1 and 2: a header with which a proxy names its client before the first byte of a
//! connection ([specification](https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt)).
//!
//! The rule: exactly the header is read, as what follows belongs to TLS or to HTTP. Whatever is not the beginning of
//! a header ends the reading at once.

use std::net::SocketAddr;

use futures_io::AsyncRead;
use futures_lite::AsyncReadExt;
use proxy_header::{ParseConfig, Protocol, ProxyHeader};

use super::peer::Peer;
use crate::error::{Error, ProxyProtocolError, Result};

/// The first bytes of version 1.
const START: &[u8] = b"PROXY ";

/// The shortest line of version 1: `PROXY UNKNOWN` and CRLF.
const MIN_LINE: usize = 15;

/// The longest line of version 1, with CRLF.
const MAX_LINE: usize = 107;

/// The first bytes of version 2. No request begins with them.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The part of version 2 that ends with the length of what follows.
const FIXED: usize = 16;

/// How many bytes may follow the fixed part of version 2: addresses and additional information.
const MAX_REST: usize = 4096;

/// Reads the header of a connection that `peer` has made. Returns the client that it names; `None` if it names none, as
/// for a health check of the proxy itself.
pub(crate) async fn read<S: AsyncRead + Unpin>(
    stream: &mut S,
    peer: &Peer,
) -> Result<Option<Peer>> {
    let header = read_header(stream).await?;
    let parsed = parse(&header).ok_or(ProxyProtocolError::Malformed)?;
    Ok(parsed.map(|(client, tlvs)| peer.proxied_with(client, tlvs)))
}

/// Reads to the end of the header, and no further.
async fn read_header<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Vec<u8>> {
    let mut header = Vec::with_capacity(MAX_LINE);
    while let Some(missing) = missing(&header)? {
        let start = header.len();
        header.resize(start.saturating_add(missing), 0);
        let room = header.get_mut(start..).unwrap_or_default();
        let count = stream.read(room).await?;
        header.truncate(start.saturating_add(count));
        if count == 0 {
            return Err(match start {
                // A check of the port that sends nothing.
                0 => Error::Lost(None),
                _ => ProxyProtocolError::Malformed.into(),
            });
        }
    }
    Ok(header)
}

/// Returns how many bytes can be read without reading past the header; `None` if it is complete.
fn missing(header: &[u8]) -> Result<Option<usize>, ProxyProtocolError> {
    let is_start_of = |start: &[u8]| header.iter().zip(start).all(|(byte, other)| byte == other);
    if is_start_of(START) {
        missing_of_line(header)
    } else if is_start_of(SIGNATURE) {
        missing_of_binary(header)
    } else {
        Err(ProxyProtocolError::Missing)
    }
}

fn missing_of_line(line: &[u8]) -> Result<Option<usize>, ProxyProtocolError> {
    match line {
        [.., b'\r', b'\n'] => Ok(None),
        line if line.contains(&b'\n') => Err(ProxyProtocolError::Malformed),
        // Before the two versions differ, the fixed part of both can be read.
        [] => Ok(Some(MIN_LINE)),
        line if line.len() < MIN_LINE => Ok(Some(MIN_LINE.saturating_sub(line.len()))),
        line if line.len() >= MAX_LINE => Err(ProxyProtocolError::TooLong),
        [.., b'\r'] => Ok(Some(1)),
        // CRLF at least.
        line => Ok(Some(2.min(MAX_LINE.saturating_sub(line.len())))),
    }
}

fn missing_of_binary(header: &[u8]) -> Result<Option<usize>, ProxyProtocolError> {
    let Some([high, low]) = header.get(FIXED - 2..FIXED) else {
        return Ok(Some(FIXED.saturating_sub(header.len())));
    };
    let rest = usize::from(u16::from_be_bytes([*high, *low]));
    if rest > MAX_REST {
        return Err(ProxyProtocolError::TooLong);
    }
    let missing = FIXED.saturating_add(rest).saturating_sub(header.len());
    Ok((missing > 0).then_some(missing))
}

type Client = (SocketAddr, Box<[u8]>);

/// Parses a complete header; `None` if it is malformed, or not of TCP. The client is `None` if there is no other
/// than the proxy, or none with an address.
fn parse(header: &[u8]) -> Option<Option<Client>> {
    let (parsed, size) = ProxyHeader::parse(header, ParseConfig::default()).ok()?;
    if size != header.len() {
        return None;
    }
    let Some(addresses) = parsed.proxied_address() else {
        return Some(None);
    };
    let mut tlvs = Vec::new();
    for tlv in parsed.tlvs() {
        tlv.ok()?.encode(&mut tlvs);
    }
    match addresses.protocol {
        Protocol::Stream => Some(Some((addresses.source, tlvs.into_boxed_slice()))),
        Protocol::Datagram => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever arrives, no byte is read that may belong to what follows the header.
    #[test]
    fn exactly_the_header_is_read() {
        let mut binary = SIGNATURE.to_vec();
        binary.extend(
            b"\x21\x11\x00\x0f\xcb\x00\x71\x01\x0a\x00\x00\x05\x12\x67\x23\x29\x04\x00\x00",
        );
        let mut local = SIGNATURE.to_vec();
        local.extend(b"\x20\x00\x00\x00");
        let headers: [&[u8]; 6] = [
            b"PROXY UNKNOWN\r\n",
            b"PROXY UNKNOWN a\r\n",
            b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n",
            b"PROXY TCP6 2001:db8:1111:2222:3333:4444:5555:6666 2001:db8:1111:2222:3333:4444:5555:6666 65535 65535\r\n",
            &binary,
            &local,
        ];
        for header in headers {
            let mut size = 0;
            for piece in [1, 2, 3, 100] {
                size = 0;
                while let Some(missing) = missing(&header[..size]).unwrap() {
                    assert!(size + missing <= header.len(), "{header:?} {size}");
                    size += missing.min(piece);
                }
                assert_eq!(size, header.len(), "{header:?}");
            }
            assert!(parse(header).is_some(), "{header:?} {size}");
        }
    }
}
