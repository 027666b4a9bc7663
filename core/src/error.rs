//! Errors, sorted by whose fault they are.
//!
//! [`ProtocolError`]: the peer's; it fails the connection. [`Failure`]: whatever ended a connection
//! other than the closing handshake. [`SendError`]: the caller's; nothing has changed. The one
//! function from error to close code is [`Failure::close_code`].

use alloc::boxed::Box;
use core::error::Error;
use core::fmt;

use crate::deadline::Deadline;
use crate::entropy::EntropyError;
use crate::frame::utf8::InvalidUtf8;
use crate::frame::{CloseCode, CloseFrame, HeaderError, OpCode};
use crate::handshake::{HandshakeError, HttpVersion, InvalidHeader, NotText};
use crate::state::State;

/// How the peer broke the protocol after the opening handshake.
///
/// The connection fails with [`close_code`](Self::close_code) (RFC 6455 section 7.1.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// Reserved bits that no extension claims; as they stand in the first byte of the frame.
    ReservedBits(u8),
    /// An opcode that RFC 6455 reserves.
    ReservedOpcode(u8),
    /// A client sent a frame that is not masked.
    NotMasked,
    /// A server sent a masked frame.
    Masked,
    /// A control frame of more than 125 bytes.
    ControlTooLong(OpCode),
    /// A control frame without FIN.
    FragmentedControl(OpCode),
    /// A payload length in a longer form than it needs.
    LengthNotMinimal,
    /// A 64-bit payload length with its top bit set.
    LengthTopBit,
    /// A continuation, and no message is open.
    UnexpectedContinuation,
    /// A new message inside an unfinished one.
    ExpectedContinuation(OpCode),
    /// A Close frame with a body of one byte.
    CloseTooShort,
    /// A close code that may not be sent.
    InvalidCloseCode(u16),
    /// Text, or the reason of a Close frame, that is not UTF-8.
    InvalidUtf8,
    /// A message, or a frame, over the configured limit.
    TooBig {
        /// Bytes that the message would have; `None` where decompression passed the limit.
        length: Option<u64>,
        /// The limit in bytes that it exceeds.
        limit: u64,
    },
    /// More empty fragments in a row than the configured budget.
    TooManyEmptyFragments,
    /// Compressed data that cannot be decompressed (RFC 7692).
    Decompression,
}

impl ProtocolError {
    /// Returns the code of the Close frame that this error is answered with.
    #[must_use]
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::InvalidUtf8 => CloseCode::INVALID_PAYLOAD,
            Self::TooBig { .. } => CloseCode::MESSAGE_TOO_BIG,
            Self::TooManyEmptyFragments => CloseCode::POLICY_VIOLATION,
            Self::ReservedBits(_)
            | Self::ReservedOpcode(_)
            | Self::NotMasked
            | Self::Masked
            | Self::ControlTooLong(_)
            | Self::FragmentedControl(_)
            | Self::LengthNotMinimal
            | Self::LengthTopBit
            | Self::UnexpectedContinuation
            | Self::ExpectedContinuation(_)
            | Self::CloseTooShort
            | Self::InvalidCloseCode(_)
            | Self::Decompression => CloseCode::PROTOCOL_ERROR,
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReservedBits(bits) => write!(f, "reserved bits {bits:#04x} must be 0"),
            Self::ReservedOpcode(number) => write!(f, "reserved opcode {number:#x}"),
            Self::NotMasked => f.write_str("frame from a client is not masked"),
            Self::Masked => f.write_str("frame from a server is masked"),
            Self::ControlTooLong(opcode) => write!(f, "{opcode} frame over 125 bytes"),
            Self::FragmentedControl(opcode) => write!(f, "fragmented {opcode} frame"),
            Self::LengthNotMinimal => f.write_str("payload length not in its shortest form"),
            Self::LengthTopBit => f.write_str("top bit of the payload length is set"),
            Self::UnexpectedContinuation => f.write_str("continuation of no message"),
            Self::ExpectedContinuation(opcode) => {
                write!(f, "{opcode} frame inside an unfinished message")
            }
            Self::CloseTooShort => f.write_str("close frame with a body of 1 byte"),
            Self::InvalidCloseCode(code) => write!(f, "close code {code} may not be sent"),
            Self::InvalidUtf8 => f.write_str("text is not UTF-8"),
            Self::TooBig { length, limit } => write_too_big(f, *length, *limit),
            Self::TooManyEmptyFragments => f.write_str("too many empty fragments"),
            Self::Decompression => f.write_str("compressed data is corrupt"),
        }
    }
}

impl Error for ProtocolError {}

impl From<HeaderError> for ProtocolError {
    fn from(error: HeaderError) -> Self {
        match error {
            HeaderError::ReservedBits(bits) => Self::ReservedBits(bits),
            HeaderError::ReservedOpcode(number) => Self::ReservedOpcode(number),
            HeaderError::NotMasked => Self::NotMasked,
            HeaderError::Masked => Self::Masked,
            HeaderError::ControlTooLong(opcode) => Self::ControlTooLong(opcode),
            HeaderError::FragmentedControl(opcode) => Self::FragmentedControl(opcode),
            HeaderError::LengthNotMinimal => Self::LengthNotMinimal,
            HeaderError::LengthTopBit => Self::LengthTopBit,
            HeaderError::UnexpectedContinuation => Self::UnexpectedContinuation,
            HeaderError::ExpectedContinuation(opcode) => Self::ExpectedContinuation(opcode),
            HeaderError::TooBig { length, limit } => Self::TooBig {
                length: Some(length),
                limit,
            },
        }
    }
}

impl From<InvalidUtf8> for ProtocolError {
    fn from(_: InvalidUtf8) -> Self {
        Self::InvalidUtf8
    }
}

fn write_too_big(f: &mut fmt::Formatter<'_>, length: Option<u64>, limit: u64) -> fmt::Result {
    f.write_str("message ")?;
    if let Some(length) = length {
        write!(f, "of {length} bytes ")?;
    }
    write!(f, "exceeds the limit of {limit} bytes (max_message_size)")
}

/// What ended a connection other than the closing handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The peer broke the protocol.
    Protocol(ProtocolError),
    /// A deadline passed.
    TimedOut(Deadline),
    /// The stream ended without a Close frame from the peer.
    Lost,
    /// This side called [`fail`](crate::Connection::fail).
    Local(CloseFrame),
    /// The opening handshake failed.
    Handshake(Box<HandshakeError>),
}

impl Failure {
    /// Returns the close code that describes the failure: the one that the peer is sent, or
    /// [`ABNORMAL_CLOSURE`](CloseCode::ABNORMAL_CLOSURE) where it can be sent none.
    #[must_use]
    pub const fn close_code(&self) -> CloseCode {
        match self {
            Self::Protocol(error) => error.close_code(),
            Self::TimedOut(Deadline::Pong) => CloseCode::INTERNAL_ERROR,
            Self::TimedOut(Deadline::Receive) => CloseCode::POLICY_VIOLATION,
            Self::TimedOut(Deadline::Open | Deadline::Close | Deadline::Ping | Deadline::Write)
            | Self::Lost
            | Self::Handshake(_) => CloseCode::ABNORMAL_CLOSURE,
            Self::Local(frame) => frame.code,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol(_) => f.write_str("the peer broke the protocol"),
            Self::TimedOut(deadline) => write!(f, "{deadline} timed out"),
            Self::Lost => f.write_str("connection lost without a close frame (1006)"),
            Self::Local(frame) => write!(f, "connection failed by this side: {frame}"),
            Self::Handshake(_) => f.write_str("opening handshake failed"),
        }
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Protocol(error) => Some(error),
            Self::Handshake(error) => Some(&**error),
            Self::TimedOut(_) | Self::Lost | Self::Local(_) => None,
        }
    }
}

/// A command that was refused. Nothing was sent and nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The connection is not in a state that allows the command.
    State(State),
    /// A message is open: finish it with `send_continuation` first.
    ExpectedContinuation,
    /// No message is open that could be continued.
    UnexpectedContinuation,
    /// The fragments of a text message do not make up UTF-8.
    InvalidUtf8,
    /// The payload of a control frame, of this many bytes, is over 125.
    ControlTooLong(usize),
    /// The reason for closing, of this many bytes, is over 123.
    ReasonTooLong(usize),
    /// A close code that may not be sent (RFC 6455 section 7.4).
    InvalidCloseCode(CloseCode),
    /// A reason for closing needs a code.
    ReasonWithoutCode,
    /// The output queue holds this many bytes, at or over its limit: take data to send first.
    QueueFull(usize),
    /// A response with status 101 that cannot open the connection, and why.
    SwitchingProtocols(&'static str),
    /// A request or response of HTTP/2 or HTTP/3: the application's HTTP stack sends it.
    HttpVersion(HttpVersion),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State(state) => write!(f, "connection is {state}"),
            Self::ExpectedContinuation => {
                f.write_str("expected a continuation of the open message")
            }
            Self::UnexpectedContinuation => f.write_str("no message is open to be continued"),
            Self::InvalidUtf8 => f.write_str("fragments of the text message are not UTF-8"),
            Self::ControlTooLong(length) => {
                write!(
                    f,
                    "control frame of {length} bytes exceeds the limit of 125"
                )
            }
            Self::ReasonTooLong(length) => {
                write!(f, "close reason of {length} bytes exceeds the limit of 123")
            }
            Self::InvalidCloseCode(code) => {
                write!(f, "close code {} may not be sent", code.number())
            }
            Self::ReasonWithoutCode => f.write_str("a close reason needs a close code"),
            Self::QueueFull(queued) => {
                write!(
                    f,
                    "output queue is full with {queued} bytes (max_queued_output)"
                )
            }
            Self::SwitchingProtocols(problem) => write!(f, "cannot answer 101: {problem}"),
            Self::HttpVersion(version) => NotText(*version).fmt(f),
        }
    }
}

impl Error for SendError {}

impl From<NotText> for SendError {
    fn from(NotText(version): NotText) -> Self {
        Self::HttpVersion(version)
    }
}

/// Why a connection could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionError {
    /// There is no source of seeds for masking keys.
    Entropy(EntropyError),
    /// A header, or a value that goes into one, cannot be sent.
    Header(InvalidHeader),
    /// What was negotiated does not fit the configuration.
    Negotiated(HandshakeError),
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Entropy(_) | Self::Negotiated(_) => "could not make the connection",
            Self::Header(_) => "could not make the request",
        })
    }
}

impl Error for ConnectionError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Entropy(error) => Some(error),
            Self::Header(error) => Some(error),
            Self::Negotiated(error) => Some(error),
        }
    }
}

impl From<EntropyError> for ConnectionError {
    fn from(error: EntropyError) -> Self {
        Self::Entropy(error)
    }
}

impl From<InvalidHeader> for ConnectionError {
    fn from(error: InvalidHeader) -> Self {
        Self::Header(error)
    }
}

impl From<HandshakeError> for ConnectionError {
    fn from(error: HandshakeError) -> Self {
        Self::Negotiated(error)
    }
}
