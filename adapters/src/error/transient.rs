//! Which failures are transient, so that another attempt may succeed without any change.
//!
//! The rule: invalid data and invalid requests never are.

use std::io;

use sansock_core::handshake::{HandshakeError, HeadError, StatusCode};

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

/// The server, or what is in front of it, is at fault for now.
pub(super) const fn is_transient_status(status: StatusCode) -> bool {
    matches!(status.number(), 500 | 502 | 503 | 504)
}
