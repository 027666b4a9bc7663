//! What is wrong with the header of a frame (RFC 6455 sections 5.1 to 5.5).

use super::OpCode;

/// How a frame header breaks the rules of its connection.
///
/// [`ProtocolError`](crate::ProtocolError) describes each variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderError {
    ReservedBits(u8),
    ReservedOpcode(u8),
    NotMasked,
    Masked,
    ControlTooLong(OpCode),
    FragmentedControl(OpCode),
    LengthNotMinimal,
    LengthTopBit,
    UnexpectedContinuation,
    ExpectedContinuation(OpCode),
    /// A payload of more bytes than the rules allow.
    TooBig {
        length: u64,
        limit: u64,
    },
}
