//! HTTP CONNECT (RFC 9110 section 9.3.6), with Basic authentication (RFC 7617).
//!
//! The rule: the head of the answer has the same limits as that of an opening handshake, and nothing after
//! it is read. A successful answer has no body, whatever its headers say.

use sansock_core::handshake::{Credentials, HeadError, HeadLimits, HeadScanner, Response};

use super::destination::Destination;
use crate::error::ProxyError;

/// The shortest answer there is.
const SHORTEST: usize = b"HTTP/1.1 200 \r\n\r\n".len();

/// Interim responses (1xx) that are skipped before the answer.
const MAX_INTERIM: u8 = 8;

/// The first bytes of TLS records: an alert, and a message of its handshake (RFC 8446 section 5.1).
const TLS_RECORDS: [u8; 2] = [0x15, 0x16];

/// Waits for the answer to CONNECT.
pub(super) struct Connect {
    scanner: HeadScanner,
    head: Vec<u8>,
    interim: u8,
    had_credentials: bool,
}

impl Connect {
    pub(super) fn new(
        destination: &Destination,
        credentials: Option<&Credentials>,
        output: &mut Vec<u8>,
    ) -> Self {
        // RFC 9112 section 3.2: Host is what the target is.
        let start = format!("CONNECT {destination} HTTP/1.1\r\nHost: {destination}\r\n");
        output.extend_from_slice(start.as_bytes());
        if let Some(credentials) = credentials {
            let value = credentials.header_value();
            output.extend_from_slice(format!("Proxy-Authorization: {value}\r\n").as_bytes());
        }
        output.extend_from_slice(b"\r\n");
        Self {
            scanner: HeadScanner::new(HeadLimits::default()),
            head: Vec::new(),
            interim: 0,
            had_credentials: credentials.is_some(),
        }
    }

    /// The least that is missing: the rest of the shortest answer, or of the empty line.
    pub(super) fn bytes_needed(&self) -> usize {
        let missing = match self.head.as_slice() {
            [.., b'\r', b'\n', b'\r'] => 1,
            [.., b'\r', b'\n'] => 2,
            [.., b'\r'] => 3,
            _ => 4,
        };
        missing.max(SHORTEST.saturating_sub(self.head.len()))
    }

    /// Returns how many bytes were taken, and whether the tunnel is open.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> Result<(usize, bool), ProxyError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let Some(response) = self.read(&mut rest)? else {
                continue;
            };
            if self.is_success(response)? {
                return Ok((bytes.len() - rest.len(), true));
            }
        }
        Ok((bytes.len(), false))
    }

    /// Takes what belongs to the head off the bytes. Returns the head once it is complete.
    fn read(&mut self, bytes: &mut &[u8]) -> Result<Option<Response>, ProxyError> {
        let limits = HeadLimits::default();
        let before = self.head.len();
        let room = limits.head.saturating_add(1).saturating_sub(before);
        self.head.extend(bytes.iter().take(room));
        if self
            .head
            .first()
            .is_some_and(|byte| TLS_RECORDS.contains(byte))
        {
            return Err(ProxyError::Tls);
        }
        if !starts_as_http(&self.head) {
            return Err(HeadError::StartLine.into());
        }
        let end = self.scanner.scan(&self.head)?;
        let size = end.unwrap_or(self.head.len());
        *bytes = bytes.get(size.saturating_sub(before)..).unwrap_or_default();
        if end.is_none() {
            return Ok(None);
        }
        self.head.truncate(size);
        let response = Response::parse(&self.head, &limits)?;
        self.head.clear();
        self.scanner = HeadScanner::new(limits);
        Ok(Some(response))
    }

    /// Whether this is the answer, rather than one that comes before it.
    fn is_success(&mut self, response: Response) -> Result<bool, ProxyError> {
        let status = response.status();
        if matches!(status.number(), 200..=299) {
            return Ok(true);
        }
        if status.is_interim() && self.interim < MAX_INTERIM {
            self.interim = self.interim.saturating_add(1);
            return Ok(false);
        }
        Err(ProxyError::Refused {
            response: Box::new(response),
            had_credentials: self.had_credentials,
        })
    }
}

/// Whether the bytes can become the status line of HTTP. A server of another protocol may send one line and
/// wait for an answer.
fn starts_as_http(head: &[u8]) -> bool {
    head.iter().zip(b"HTTP/").all(|(is, must)| is == must)
}
