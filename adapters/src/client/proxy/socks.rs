//! SOCKS5 (RFC 1928), with user and password (RFC 1929).
//!
//! The rule: every message contains its own length, so never more than one message is read at a time.

use std::net::IpAddr;

use sansock_core::handshake::Credentials;

use super::destination::{Destination, Host};
use crate::error::{ProxyError, SocksReply};

const VERSION: u8 = 5;

/// Methods of authentication (RFC 1928 section 3).
const NO_AUTHENTICATION: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const NONE_ACCEPTABLE: u8 = 0xff;

/// Types of addresses (RFC 1928 section 5).
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Asks for a connection, one message at a time.
pub(super) struct Socks {
    awaits: Awaits,
    /// What has arrived of the message.
    message: Vec<u8>,
    /// User and password as they are sent, if there are any.
    authentication: Option<Vec<u8>>,
    request: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Awaits {
    Method,
    Authentication,
    Reply,
}

impl Socks {
    pub(super) fn new(
        destination: &Destination,
        credentials: Option<&Credentials>,
        output: &mut Vec<u8>,
    ) -> Result<Self, ProxyError> {
        match credentials {
            Some(_) => output.extend([VERSION, 2, NO_AUTHENTICATION, USER_AND_PASSWORD]),
            None => output.extend([VERSION, 1, NO_AUTHENTICATION]),
        }
        Ok(Self {
            awaits: Awaits::Method,
            message: Vec::new(),
            authentication: credentials.map(authentication).transpose()?,
            request: request(destination)?,
        })
    }

    /// The rest of the message, as far as its length is known.
    pub(super) fn bytes_needed(&self) -> usize {
        let length = match self.awaits {
            Awaits::Method | Awaits::Authentication => 2,
            Awaits::Reply => reply_length(&self.message),
        };
        length.saturating_sub(self.message.len())
    }

    /// Returns how many bytes were taken, and whether the tunnel is open.
    pub(super) fn receive(
        &mut self,
        bytes: &[u8],
        output: &mut Vec<u8>,
    ) -> Result<(usize, bool), ProxyError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (taken, after) = rest.split_at(self.bytes_needed().min(rest.len()));
            rest = after;
            self.message.extend_from_slice(taken);
            self.check()?;
            if self.bytes_needed() == 0 && self.complete(output)? {
                return Ok((bytes.len() - rest.len(), true));
            }
        }
        Ok((bytes.len(), false))
    }

    /// Looks at what has arrived of a message: a proxy that refuses may send no more.
    fn check(&self) -> Result<(), ProxyError> {
        match (self.awaits, self.message.as_slice()) {
            (Awaits::Method | Awaits::Reply, [version, ..]) if *version != VERSION => {
                Err(ProxyError::NotSocks { version: *version })
            }
            (Awaits::Reply, [_, reply, rest @ ..]) => match (SocksReply::new(*reply), rest) {
                (Some(reply), _) => Err(ProxyError::Reply(reply)),
                (None, [_, IPV4 | NAME | IPV6, ..] | [] | [_]) => Ok(()),
                (None, [_, other, ..]) => Err(ProxyError::AddressType(*other)),
            },
            (Awaits::Method | Awaits::Authentication | Awaits::Reply, _) => Ok(()),
        }
    }

    /// Takes a message; whether it was the last.
    fn complete(&mut self, output: &mut Vec<u8>) -> Result<bool, ProxyError> {
        let second = self.message.get(1).copied().unwrap_or_default();
        self.message.clear();
        match self.awaits {
            Awaits::Method => self.select(second, output).map(|()| false),
            // The version is not looked at: proxies put there what they like.
            Awaits::Authentication if second == 0 => {
                self.ask(output);
                Ok(false)
            }
            Awaits::Authentication => Err(ProxyError::CredentialsRefused),
            Awaits::Reply => Ok(true),
        }
    }

    /// The proxy has selected a method.
    fn select(&mut self, method: u8, output: &mut Vec<u8>) -> Result<(), ProxyError> {
        match (method, &mut self.authentication) {
            (NO_AUTHENTICATION, _) => self.ask(output),
            (USER_AND_PASSWORD, Some(message)) => {
                output.append(message);
                self.awaits = Awaits::Authentication;
            }
            (NONE_ACCEPTABLE, credentials) => {
                let had_credentials = credentials.is_some();
                return Err(ProxyError::NoMethod { had_credentials });
            }
            (other, _) => return Err(ProxyError::UnexpectedMethod(other)),
        }
        Ok(())
    }

    fn ask(&mut self, output: &mut Vec<u8>) {
        output.append(&mut self.request);
        self.awaits = Awaits::Reply;
    }
}

/// Returns how long a reply is, as far as one can tell (RFC 1928 section 6).
fn reply_length(reply: &[u8]) -> usize {
    const AROUND_ADDRESS: usize = 4 + 2;

    match reply {
        [_, _, _, IPV4, ..] => AROUND_ADDRESS + 4,
        [_, _, _, IPV6, ..] => AROUND_ADDRESS + 16,
        [_, _, _, NAME, length, ..] => AROUND_ADDRESS + 1 + usize::from(*length),
        [_, _, _, NAME] => 5,
        _ => 4,
    }
}

/// RFC 1929 section 2.
fn authentication(credentials: &Credentials) -> Result<Vec<u8>, ProxyError> {
    let mut message = vec![1];
    for text in [credentials.user(), credentials.password()] {
        message.push(
            text.len()
                .try_into()
                .map_err(|_| ProxyError::CredentialsTooLong)?,
        );
        message.extend_from_slice(text.as_bytes());
    }
    Ok(message)
}

/// RFC 1928 section 4.
fn request(destination: &Destination) -> Result<Vec<u8>, ProxyError> {
    const CONNECT: u8 = 1;

    let mut message = vec![VERSION, CONNECT, 0];
    match &destination.host {
        Host::Name(name) => {
            let length = name.len();
            let byte = u8::try_from(length).map_err(|_| ProxyError::HostTooLong { length })?;
            message.extend([NAME, byte]);
            message.extend_from_slice(name.as_bytes());
        }
        Host::Address(IpAddr::V4(address)) => {
            message.push(IPV4);
            message.extend(address.octets());
        }
        Host::Address(IpAddr::V6(address)) => {
            message.push(IPV6);
            message.extend(address.octets());
        }
    }
    message.extend(destination.port.to_be_bytes());
    Ok(message)
}
