//! SOCKS4, and its extension 4a, with which the proxy looks up the name of the destination.
//!
//! Neither has an RFC; the memos "SOCKS: A protocol for TCP proxy across firewalls" and "SOCKS 4A: A Simple
//! Extension to SOCKS 4 Protocol" define them.
//!
//! The rule: a reply has eight bytes, and not one more is read.

use std::net::IpAddr;

use sansock_core::handshake::Credentials;

use super::destination::{Destination, Host};
use crate::error::{ProxyError, Socks4Reply};

const VERSION: u8 = 4;

/// The version that a reply has.
const REPLY_VERSION: u8 = 0;

const REPLY_LENGTH: usize = 8;

/// The longest user id that is sent. The memos have no limit, but common proxies do.
const MAX_USER: usize = 255;

/// Waits for the reply to the request.
pub(super) struct Socks4 {
    /// What has arrived of the reply.
    reply: Vec<u8>,
}

impl Socks4 {
    pub(super) fn new(
        destination: &Destination,
        credentials: Option<&Credentials>,
        output: &mut Vec<u8>,
    ) -> Result<Self, ProxyError> {
        const CONNECT: u8 = 1;
        // An address that no host has announces a name after the user id.
        const NAME_FOLLOWS: [u8; 4] = [0, 0, 0, 1];

        let (address, name) = match &destination.host {
            Host::Name(name) => (NAME_FOLLOWS, Some(name)),
            // An address of IPv4 that is mapped to IPv6 is one of IPv4.
            Host::Address(address) => match address.to_canonical() {
                IpAddr::V4(address) => (address.octets(), None),
                IpAddr::V6(_) => return Err(ProxyError::Ipv6),
            },
        };
        let user = credentials.map(Credentials::user).unwrap_or_default();
        if user.len() > MAX_USER {
            return Err(ProxyError::CredentialsTooLong);
        }
        output.extend([VERSION, CONNECT]);
        output.extend(destination.port.to_be_bytes());
        output.extend(address);
        // Neither has a NUL: user names have no control characters, and names are those of a URI.
        for text in [Some(user), name.map(String::as_str)].into_iter().flatten() {
            output.extend_from_slice(text.as_bytes());
            output.push(0);
        }
        Ok(Self { reply: Vec::new() })
    }

    pub(super) fn bytes_needed(&self) -> usize {
        REPLY_LENGTH.saturating_sub(self.reply.len())
    }

    /// Returns how many bytes were taken, and whether the tunnel is open.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> Result<(usize, bool), ProxyError> {
        let taken = bytes.len().min(self.bytes_needed());
        self.reply.extend(bytes.iter().take(taken));
        match self.reply.as_slice() {
            [version, ..] if *version != REPLY_VERSION => {
                Err(ProxyError::NotSocks4 { version: *version })
            }
            // A proxy that refuses may send no more.
            [_, reply, ..] => match Socks4Reply::new(*reply) {
                Some(reply) => Err(ProxyError::Reply4(reply)),
                None => Ok((taken, self.bytes_needed() == 0)),
            },
            _ => Ok((taken, false)),
        }
    }
}
