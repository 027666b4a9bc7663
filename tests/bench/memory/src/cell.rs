//! What is measured, and its name on the command line.

use std::fmt;
use std::str::FromStr;

use crate::wire;

/// One cell of the table, written `recv/server/binary/16/bulk`.
///
/// The last part may be left out: `bulk` is the default of `recv`, `one` that of `echo`. A handshake is
/// `handshake/server` alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    pub operation: Operation,
    /// Whose side the library is on.
    pub side: Side,
    pub content: Content,
    /// Bytes of payload.
    pub size: usize,
    pub reads: Reads,
}

impl Cell {
    /// Returns the payload of every message.
    pub fn payload(&self) -> Vec<u8> {
        wire::payload(self.content, self.size)
    }

    /// Returns the same as text; of a binary cell, nothing.
    pub fn text(&self) -> Option<String> {
        match self.content {
            Content::Binary => None,
            Content::Ascii | Content::Utf8 => {
                Some(String::from_utf8(self.payload()).expect("the text is UTF-8"))
            }
        }
    }
}

/// Declares an enum whose variants have a name on the command line.
macro_rules! named {
    ($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $type {
            $($(#[$variant_doc])* $variant,)*
        }

        impl FromStr for $type {
            type Err = String;

            fn from_str(name: &str) -> Result<Self, String> {
                match name {
                    $($name => Ok(Self::$variant),)*
                    _ => Err(format!("{name} is none of {:?}", [$($name),*])),
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$variant => $name,)*
                })
            }
        }
    };
}

named!(Operation {
    /// Receive a message, and look at its length.
    Recv = "recv",
    /// Send a message and flush.
    Send = "send",
    /// Queue a message, and flush after every sixteenth.
    Feed16 = "feed16",
    /// Receive a message, and send it back.
    Echo = "echo",
    /// Answer the opening handshake.
    Handshake = "handshake",
});

named!(Side {
    Server = "server",
    Client = "client",
});

named!(Content {
    /// Random bytes.
    Binary = "binary",
    Ascii = "ascii",
    /// Text of one to three bytes a character.
    Utf8 = "utf8",
});

named!(
    /// What one read of the transport gives.
    Reads {
        /// As many frames as fit, up to 64 KiB.
        Bulk = "bulk",
        /// Never more than one frame.
        One = "one",
    }
);

impl FromStr for Cell {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let mut parts = name.split('/');
        let mut part = |default: &'static str| parts.next().unwrap_or(default);
        let operation = part("").parse()?;
        let default_reads = if operation == Operation::Echo {
            "one"
        } else {
            "bulk"
        };
        let cell = Self {
            operation,
            side: part("server").parse()?,
            content: part("binary").parse()?,
            size: part("0")
                .parse()
                .map_err(|_| format!("{name} has no size"))?,
            reads: part(default_reads).parse()?,
        };
        match parts.next() {
            None => Ok(cell),
            Some(rest) => Err(format!("{name}: what is {rest}?")),
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            operation,
            side,
            content,
            size,
            reads,
        } = self;
        match operation {
            Operation::Handshake => write!(f, "{operation}/{side}"),
            Operation::Send | Operation::Feed16 => write!(f, "{operation}/{side}/{content}/{size}"),
            Operation::Recv | Operation::Echo => {
                write!(f, "{operation}/{side}/{content}/{size}/{reads}")
            }
        }
    }
}
