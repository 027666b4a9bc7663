//! The handshake with a proxy, without I/O, over HTTP CONNECT (`connect.rs`), SOCKS5 (`socks.rs`) or SOCKS4
//! (`socks4.rs`).
//!
//! The rule: it never asks for bytes beyond the end of the proxy's answer. What follows belongs to the
//! destination.

use std::fmt;

use super::connect::Connect;
use super::destination::{Destination, Host};
use super::socks::Socks;
use super::socks4::Socks4;
use super::{Proxy, Scheme};
use crate::error::ProxyError;

/// The longest name that SOCKS5 can send; no name in the DNS is longer.
const MAX_HOST: usize = 255;

/// The handshake with a proxy, as bytes that go out and bytes that come in.
///
/// Write [`data_to_send`](Self::data_to_send), then read no more than
/// [`bytes_needed`](Self::bytes_needed) bytes and hand them to [`receive_data`](Self::receive_data), until
/// no more are needed. [`Proxy::tunnel`] does that.
///
/// ```
/// use sansock::core::handshake::Uri;
/// use sansock::proxy::{Handshake, Proxy};
///
/// let proxy: Proxy = "http://localhost:3128".parse()?;
/// let uri: Uri = "ws://example.com/".parse()?;
/// let mut handshake = Handshake::new(&proxy, &(&uri).into())?;
/// let request = handshake.data_to_send();
/// assert!(request.starts_with(b"CONNECT example.com:80 HTTP/1.1\r\n"));
/// handshake.sent(request.len());
///
/// let taken = handshake.receive_data(b"HTTP/1.1 200 OK\r\n\r\nbytes of the destination")?;
/// assert_eq!(taken, b"HTTP/1.1 200 OK\r\n\r\n".len());
/// assert!(handshake.is_done());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Handshake {
    machine: Machine,
    output: Vec<u8>,
    /// Whether the proxy has answered, and how.
    answer: Option<Result<(), ProxyError>>,
}

enum Machine {
    Connect(Connect),
    Socks(Socks),
    Socks4(Socks4),
}

impl Handshake {
    /// The most that [`bytes_needed`](Self::bytes_needed) returns.
    pub const MAX_READ: usize = 255 + 7;

    /// Returns a handshake that asks this proxy for a tunnel to the destination.
    ///
    /// # Errors
    /// [`ProxyError::HostTooLong`], [`ProxyError::CredentialsTooLong`] and [`ProxyError::Ipv6`] for what
    /// cannot be sent.
    pub fn new(proxy: &Proxy, destination: &Destination) -> Result<Self, ProxyError> {
        if let Host::Name(name) = &destination.host {
            let length = name.len();
            if length > MAX_HOST {
                return Err(ProxyError::HostTooLong { length });
            }
        }
        let mut output = Vec::new();
        let credentials = proxy.credentials.as_ref();
        let machine = match proxy.scheme {
            Scheme::Http | Scheme::Https => {
                Machine::Connect(Connect::new(destination, credentials, &mut output))
            }
            Scheme::Socks5 | Scheme::Socks5h => {
                Machine::Socks(Socks::new(destination, credentials, &mut output)?)
            }
            Scheme::Socks4 | Scheme::Socks4a => {
                Machine::Socks4(Socks4::new(destination, credentials, &mut output)?)
            }
        };
        Ok(Self {
            machine,
            output,
            answer: None,
        })
    }

    /// Returns what is to be sent now.
    #[must_use]
    pub fn data_to_send(&self) -> &[u8] {
        &self.output
    }

    /// Takes note that so many bytes were sent.
    pub fn sent(&mut self, size: usize) {
        self.output.drain(..size.min(self.output.len()));
    }

    /// Returns how many bytes may be read without reading beyond the proxy's answer; none once the
    /// handshake is over.
    #[must_use]
    pub fn bytes_needed(&self) -> usize {
        match (&self.machine, &self.answer) {
            (_, Some(_)) => 0,
            (Machine::Connect(machine), None) => machine.bytes_needed(),
            (Machine::Socks(machine), None) => machine.bytes_needed(),
            (Machine::Socks4(machine), None) => machine.bytes_needed(),
        }
    }

    /// Takes bytes of the proxy, and returns how many of them belong to its answer. Any that are left
    /// come from the destination.
    ///
    /// # Errors
    /// The proxy refuses, or does not speak its protocol; the same at every further call.
    pub fn receive_data(&mut self, bytes: &[u8]) -> Result<usize, ProxyError> {
        if let Some(answer) = &self.answer {
            return answer.clone().map(|()| 0);
        }
        let (size, done) = self.advance(bytes).inspect_err(|error| {
            self.answer = Some(Err(error.clone()));
        })?;
        self.answer = done.then_some(Ok(()));
        Ok(size)
    }

    fn advance(&mut self, bytes: &[u8]) -> Result<(usize, bool), ProxyError> {
        match &mut self.machine {
            Machine::Connect(machine) => machine.receive(bytes),
            Machine::Socks(machine) => machine.receive(bytes, &mut self.output),
            Machine::Socks4(machine) => machine.receive(bytes),
        }
    }

    /// Whether the tunnel is open.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.answer, Some(Ok(()))) && self.output.is_empty()
    }
}

/// Shows nothing of what is sent.
impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake")
            .field("answer", &self.answer)
            .finish_non_exhaustive()
    }
}
