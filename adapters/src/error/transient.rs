//! Which failures are transient, so that another attempt may succeed without any change.
//!
//! The rule: invalid data and invalid requests never are. No clock is read: a time is compared with the one
//! that the same response reports.

use std::io;
use std::time::Duration;

use httpdate::parse_http_date;
use sansock_core::handshake::{HandshakeError, HeadError, Response, StatusCode};

/// All but what is wrong with the data: that will not change by itself.
pub(super) const fn is_transient_io(kind: io::ErrorKind) -> bool {
    !matches!(
        kind,
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::Unsupported
    )
}

/// The server broke off, or says that it is at fault.
pub(super) fn is_transient_handshake(error: &HandshakeError) -> bool {
    matches!(error, HandshakeError::Head(HeadError::Incomplete { .. }))
        || matches!(error, HandshakeError::Refused(response) if is_transient_status(response.status()))
}

/// The server, or what is in front of it, is at fault or busy for now.
///
/// RFC 9110 section 15.5.9 for 408, RFC 8470 section 5.2 for 425, RFC 6585 section 4 for 429.
pub(super) const fn is_transient_status(status: StatusCode) -> bool {
    matches!(status.number(), 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

/// Returns how long the client is asked to wait (RFC 9110 section 10.2.3): a number of seconds, or a date,
/// which is compared with that of the response.
pub(super) fn retry_after(response: &Response) -> Option<Duration> {
    let headers = response.headers();
    let value = headers.get_str("Retry-After")?;
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number that is too large asks for a very long time all the same.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let until = parse_http_date(value).ok()?;
    let now = parse_http_date(headers.get_str("Date")?).ok()?;
    Some(until.duration_since(now).unwrap_or_default())
}
