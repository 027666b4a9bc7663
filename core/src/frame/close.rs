//! Close codes and the body of a Close frame (RFC 6455 sections 5.5.1 and 7.4).

use core::fmt;

use bytestring::ByteString;

use crate::escape::escaped;

/// Why a connection is closed: the number in a Close frame (RFC 6455 section 7.4).
///
/// A newtype, so that codes registered after this release survive. Whether a code may stand in a
/// Close frame is told by [`is_sendable`](Self::is_sendable).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose of the connection has been fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: a server goes down, or a browser leaves the page.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: data of a type that cannot be accepted.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// 1005: a Close frame came without a code. Never on the wire.
    pub const NO_STATUS_RECEIVED: Self = Self(1005);
    /// 1006: the connection ended without a Close frame. Never on the wire.
    pub const ABNORMAL_CLOSURE: Self = Self(1006);
    /// 1007: text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: a policy was violated, and no other code fits.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// 1009: a message was too big.
    pub const MESSAGE_TOO_BIG: Self = Self(1009);
    /// 1010: the server did not agree on an extension that the client needs.
    pub const MANDATORY_EXTENSION: Self = Self(1010);
    /// 1011: an unexpected condition kept the peer from going on.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 1012: the service restarts.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: the service is overloaded; try again later.
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// 1014: a gateway got an invalid answer from its upstream.
    pub const BAD_GATEWAY: Self = Self(1014);
    /// 1015: the TLS handshake failed. Never on the wire.
    pub const TLS_HANDSHAKE: Self = Self(1015);

    /// Returns the code with this number, whether it has a meaning or not.
    #[must_use]
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// Returns the number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// Whether the code may stand in a Close frame: 1000 to 1003, 1007 to 1014, 3000 to 4999
    /// (RFC 6455 section 7.4 and its registry).
    #[must_use]
    pub const fn is_sendable(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }

    /// Returns the short text for people, such as `going away`.
    #[must_use]
    pub const fn explanation(self) -> &'static str {
        match self.0 {
            1000 => "OK",
            1001 => "going away",
            1002 => "protocol error",
            1003 => "unsupported data",
            1005 => "no status received [internal]",
            1006 => "abnormal closure [internal]",
            1007 => "invalid frame payload data",
            1008 => "policy violation",
            1009 => "message too big",
            1010 => "mandatory extension",
            1011 => "internal error",
            1012 => "service restart",
            1013 => "try again later",
            1014 => "bad gateway",
            1015 => "TLS handshake failure [internal]",
            3000..=3999 => "registered",
            4000..=4999 => "private use",
            _ => "unknown",
        }
    }
}

impl From<u16> for CloseCode {
    fn from(number: u16) -> Self {
        Self(number)
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        code.0
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloseCode({})", self.0)
    }
}

/// Writes `1001 (going away)`.
impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0, self.explanation())
    }
}

/// The code and reason of a Close frame.
///
/// A frame without a body has the code [`NO_STATUS_RECEIVED`](CloseCode::NO_STATUS_RECEIVED) and an
/// empty reason.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CloseFrame {
    /// Why the connection is closed.
    pub code: CloseCode,
    /// More about it, for people and logs; at most 123 bytes.
    pub reason: ByteString,
}

impl CloseFrame {
    /// Longest reason that fits a control frame, in bytes (RFC 6455 section 5.5).
    pub const MAX_REASON: usize = 123;

    /// Returns a Close frame with this code and reason.
    #[must_use]
    pub fn new(code: impl Into<CloseCode>, reason: impl Into<ByteString>) -> Self {
        Self {
            code: code.into(),
            reason: reason.into(),
        }
    }

    /// Returns a Close frame without a body.
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            code: CloseCode::NO_STATUS_RECEIVED,
            reason: ByteString::new(),
        }
    }
}

/// Writes `1001 (going away) back soon`, the reason [escaped](crate::escaped).
impl fmt::Display for CloseFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if self.reason.is_empty() {
            Ok(())
        } else {
            write!(f, " {}", escaped(&*self.reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;

    use super::*;

    /// Section 7.4.1 and the registry of section 11.7.
    #[test]
    fn a_code_says_what_it_means() {
        let cases = [
            (999, "unknown"),
            (1000, "OK"),
            (1001, "going away"),
            (1002, "protocol error"),
            (1003, "unsupported data"),
            (1004, "unknown"),
            (1005, "no status received [internal]"),
            (1006, "abnormal closure [internal]"),
            (1007, "invalid frame payload data"),
            (1008, "policy violation"),
            (1009, "message too big"),
            (1010, "mandatory extension"),
            (1011, "internal error"),
            (1012, "service restart"),
            (1013, "try again later"),
            (1014, "bad gateway"),
            (1015, "TLS handshake failure [internal]"),
            (1016, "unknown"),
            (2999, "unknown"),
            (3000, "registered"),
            (3999, "registered"),
            (4000, "private use"),
            (4999, "private use"),
            (5000, "unknown"),
        ];
        for (number, words) in cases {
            let code = CloseCode::from(number);
            assert_eq!(u16::from(code), number);
            assert_eq!(code.to_string(), format!("{number} ({words})"));
            assert_eq!(format!("{code:?}"), format!("CloseCode({number})"));
        }
    }

    #[test]
    fn what_may_stand_in_a_close_frame() {
        let limits = [1000, 1003, 1007, 1014, 3000, 4999];
        assert!(
            limits
                .into_iter()
                .all(|code| CloseCode::new(code).is_sendable())
        );
        let beyond = [0, 999, 1004, 1006, 1015, 2999, 5000, u16::MAX];
        assert!(
            !beyond
                .into_iter()
                .any(|code| CloseCode::new(code).is_sendable())
        );
    }

    #[test]
    fn a_frame_is_its_code_and_its_reason_if_it_has_one() {
        let frame = CloseFrame::new(1001, "back soon");
        assert_eq!(frame.to_string(), "1001 (going away) back soon");
        let hostile = CloseFrame::new(1000, "\u{1b}[2J\r\n\u{202e}");
        let shown = r"1000 (OK) \u{1b}[2J\r\n\u{202e}";
        assert_eq!(hostile.to_string(), shown);
        let empty = CloseFrame::empty();
        assert_eq!((empty.code.number(), &*empty.reason), (1005, ""));
        assert_eq!(empty.to_string(), "1005 (no status received [internal])");
    }
}
