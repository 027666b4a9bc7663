//! What a side has written, read byte by byte as it passes (RFC 6455 section 5.2).

use sansock_core::Side;

const STATUS: &[u8] = b"HTTP/1.1 101";

/// Reads what a side writes, and checks what no peer should ever see.
#[derive(Debug)]
pub(super) struct Monitor {
    side: Side,
    state: State,
    /// The status of a server's response, as far as it was written.
    status: Vec<u8>,
    closes: u32,
    /// Whether a message of several frames is open.
    in_message: bool,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// In the head of the handshake, with so many bytes of its end.
    Head(usize),
    /// In the body of a response that refuses.
    Refused,
    First,
    Second {
        first: u8,
    },
    /// So many bytes of the length, then the masking key, are to come.
    Rest {
        first: u8,
        left: u8,
        key: u8,
        length: u64,
    },
    Payload {
        left: u64,
    },
}

impl Monitor {
    pub(super) fn new(side: Side) -> Self {
        Self {
            side,
            state: State::Head(0),
            status: Vec::with_capacity(STATUS.len()),
            closes: 0,
            in_message: false,
        }
    }

    /// How many Close frames were written.
    pub(super) const fn closes(&self) -> u32 {
        self.closes
    }

    pub(super) fn read(&mut self, mut bytes: &[u8]) {
        while let Some((byte, rest)) = bytes.split_first() {
            if let State::Payload { left } = self.state {
                let size = left.min(bytes.len() as u64);
                bytes = &bytes[size as usize..];
                self.state = self.payload(left - size);
                continue;
            }
            self.state = self.step(*byte);
            bytes = rest;
        }
    }

    fn step(&mut self, byte: u8) -> State {
        match self.state {
            State::Head(matched) => self.head(matched, byte),
            State::Refused => State::Refused,
            State::First => {
                self.begin(byte);
                State::Second { first: byte }
            }
            State::Second { first } => self.second(first, byte),
            State::Rest {
                first,
                left,
                key,
                length,
            } => self.rest(first, left, key, length, byte),
            State::Payload { .. } => unreachable!("read in one go"),
        }
    }

    fn head(&mut self, matched: usize, byte: u8) -> State {
        if self.status.len() < STATUS.len() {
            self.status.push(byte);
        }
        match byte == b"\r\n\r\n"[matched] {
            true if matched == 3 && self.is_refusal() => State::Refused,
            true if matched == 3 => State::First,
            true => State::Head(matched + 1),
            false => State::Head(usize::from(byte == b'\r')),
        }
    }

    fn is_refusal(&self) -> bool {
        self.side == Side::Server && self.status != STATUS
    }

    /// The first byte of a frame.
    fn begin(&mut self, first: u8) {
        // Section 5.5.2: pings are answered until the Close frame of the peer.
        assert!(
            self.closes == 0 || first & 0xf == 10,
            "{:?} writes {first:#x} behind its Close frame",
            self.side
        );
        match first & 0xf {
            0 => assert!(self.in_message, "a continuation of nothing"),
            1 | 2 => assert!(!self.in_message, "a message inside another one"),
            8 => {
                self.closes += 1;
                return;
            }
            9 | 10 => return,
            opcode => panic!("opcode {opcode}"),
        }
        self.in_message = first & 0x80 == 0;
    }

    fn second(&self, first: u8, second: u8) -> State {
        assert_eq!(second & 0x80 != 0, self.side == Side::Client, "mask bit");
        let key = if self.side == Side::Client { 4 } else { 0 };
        let (left, length) = match second & 0x7f {
            126 => (2, 0),
            127 => (8, 0),
            length => (0, u64::from(length)),
        };
        assert!(left == 0 || first & 8 == 0, "a long control frame");
        self.after_byte(first, left, key, length)
    }

    /// Returns what comes next: the rest of the header, or the payload.
    fn after_byte(&self, first: u8, left: u8, key: u8, length: u64) -> State {
        match left + key {
            0 => self.payload(length),
            _ => State::Rest {
                first,
                left,
                key,
                length,
            },
        }
    }

    fn rest(&self, first: u8, left: u8, key: u8, length: u64, byte: u8) -> State {
        let (left, key, length) = match left {
            0 => (0, key - 1, length),
            left => (left - 1, key, length << 8 | u64::from(byte)),
        };
        self.after_byte(first, left, key, length)
    }

    const fn payload(&self, left: u64) -> State {
        match left {
            0 => State::First,
            left => State::Payload { left },
        }
    }
}
