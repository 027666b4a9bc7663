//! The words of the frame format: opcodes, the FIN bit, the two kinds of message, the two sides.

use core::fmt;

/// Which end of the connection we are.
///
/// A client masks what it sends and a server does not (RFC 6455 section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The end that opened the connection.
    Client,
    /// The end that accepted it.
    Server,
}

/// What a frame is for (RFC 6455 section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum OpCode {
    /// A further fragment of the message that is open.
    Continuation = 0x0,
    /// A text message, or its first fragment.
    Text = 0x1,
    /// A binary message, or its first fragment.
    Binary = 0x2,
    /// The closing handshake.
    Close = 0x8,
    /// Asks for a pong.
    Ping = 0x9,
    /// Answers a ping.
    Pong = 0xA,
}

impl OpCode {
    /// Returns the opcode with this number, `None` where RFC 6455 has it reserved.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0x0 => Some(Self::Continuation),
            0x1 => Some(Self::Text),
            0x2 => Some(Self::Binary),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xA => Some(Self::Pong),
            _ => None,
        }
    }

    /// Returns the number on the wire, 0 to 15.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Returns what the message holds that a frame with this opcode begins.
    #[must_use]
    pub const fn kind(self) -> Option<Kind> {
        match self {
            Self::Text => Some(Kind::Text),
            Self::Binary => Some(Kind::Binary),
            Self::Continuation | Self::Close | Self::Ping | Self::Pong => None,
        }
    }

    /// Whether this is a Close, Ping or Pong (RFC 6455 section 5.5).
    #[must_use]
    pub const fn is_control(self) -> bool {
        self.number() & 0x8 != 0
    }
}

impl fmt::Display for OpCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Continuation => "continuation",
            Self::Text => "text",
            Self::Binary => "binary",
            Self::Close => "close",
            Self::Ping => "ping",
            Self::Pong => "pong",
        })
    }
}

/// Whether a frame ends its message: the FIN bit (RFC 6455 section 5.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fin {
    /// The message ends with this frame.
    Last,
    /// More fragments follow.
    More,
}

impl Fin {
    /// Whether the message ends here.
    #[must_use]
    pub const fn is_last(self) -> bool {
        matches!(self, Self::Last)
    }
}

impl From<bool> for Fin {
    fn from(fin: bool) -> Self {
        if fin { Self::Last } else { Self::More }
    }
}

/// What a message holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// UTF-8 text.
    Text,
    /// Bytes of any meaning.
    Binary,
}

impl From<Kind> for OpCode {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text,
            Kind::Binary => Self::Binary,
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    /// RFC 6455 section 11.8.
    #[test]
    fn the_registered_opcodes_are_known_and_no_others() {
        let registered = [
            (0x0, OpCode::Continuation, "continuation", None),
            (0x1, OpCode::Text, "text", Some(Kind::Text)),
            (0x2, OpCode::Binary, "binary", Some(Kind::Binary)),
            (0x8, OpCode::Close, "close", None),
            (0x9, OpCode::Ping, "ping", None),
            (0xA, OpCode::Pong, "pong", None),
        ];
        for number in 0..=u8::MAX {
            let expected = registered.iter().find(|(known, ..)| *known == number);
            let opcode = OpCode::from_number(number);
            assert_eq!(
                opcode,
                expected.map(|(_, opcode, ..)| *opcode),
                "{number:#x}"
            );
        }
        for (number, opcode, name, kind) in registered {
            assert_eq!((opcode.number(), opcode.kind()), (number, kind));
            assert_eq!(opcode.is_control(), number >= 8, "{opcode}");
            assert_eq!(opcode.to_string(), name);
        }
    }
}
