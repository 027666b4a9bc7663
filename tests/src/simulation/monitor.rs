//! What a side has written, read byte by byte as it passes (RFC 6455 section 5.2).

use std::collections::VecDeque;

use sansock_core::Side;

const STATUS: &[u8] = b"HTTP/1.1 101";

/// Reads what a side writes, checks what no peer should ever see, and keeps what the peer has to react to.
#[derive(Debug)]
pub(super) struct Monitor {
    side: Side,
    /// Whether the side keeps to the protocol. Of one that does not, nothing is checked.
    is_strict: bool,
    state: State,
    /// The status of a server's response, as far as it was written.
    status: Vec<u8>,
    /// How many bytes were written.
    written: u64,
    closes: u32,
    /// Whether a message of several frames is open.
    in_message: bool,
    /// The payload of a control frame.
    control: Vec<u8>,
    /// What was written, for the peer to take once it has arrived.
    seen: VecDeque<(u64, Seen)>,
    /// Pongs that were written, for this side to compare with the pings that it got.
    pongs: VecDeque<Vec<u8>>,
}

/// A frame that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    Ping(Vec<u8>),
    Close,
    /// A part of a message.
    Data {
        is_last: bool,
    },
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// In the head of the handshake, with so many bytes of its end.
    Head(usize),
    /// In the body of a response that refuses, or in what is no frame.
    Lost,
    First,
    Second {
        first: u8,
    },
    Rest(Header, Left),
    Payload {
        header: Header,
        left: u64,
    },
}

/// What of a header is still to come: bytes of the length, then of the masking key.
#[derive(Debug, Clone, Copy)]
struct Left {
    length: u8,
    key: u8,
}

#[derive(Debug, Clone, Copy)]
struct Header {
    first: u8,
    length: u64,
    key: [u8; 4],
}

impl Header {
    const fn is_control(self) -> bool {
        self.first & 8 != 0
    }
}

impl Monitor {
    pub(super) fn new(side: Side) -> Self {
        Self {
            side,
            is_strict: true,
            state: State::Head(0),
            status: Vec::with_capacity(STATUS.len()),
            written: 0,
            closes: 0,
            in_message: false,
            control: Vec::new(),
            seen: VecDeque::new(),
            pongs: VecDeque::new(),
        }
    }

    /// Checks nothing from now on.
    pub(super) const fn be_lenient(&mut self) {
        self.is_strict = false;
    }

    /// How many Close frames were written.
    pub(super) const fn closes(&self) -> u32 {
        self.closes
    }

    /// Takes the next frame, once this number of bytes has arrived.
    pub(super) fn take_seen(&mut self, arrived: u64) -> Option<Seen> {
        let (end, _) = self.seen.front()?;
        if *end > arrived {
            return None;
        }
        Some(self.seen.pop_front()?.1)
    }

    /// Takes the next pong that was written.
    pub(super) fn take_pong(&mut self) -> Option<Vec<u8>> {
        self.pongs.pop_front()
    }

    pub(super) fn read(&mut self, mut bytes: &[u8]) {
        while let Some((byte, rest)) = bytes.split_first() {
            if let State::Payload { header, left } = self.state {
                let size = left.min(bytes.len() as u64);
                let payload = &bytes[..size as usize];
                if header.is_control() {
                    self.control.extend(payload);
                }
                bytes = &bytes[payload.len()..];
                self.written += size;
                self.state = self.payload(header, left - size);
                continue;
            }
            self.written += 1;
            self.state = self.step(*byte);
            bytes = rest;
        }
    }

    fn step(&mut self, byte: u8) -> State {
        match self.state {
            State::Head(matched) => self.head(matched, byte),
            State::Lost => State::Lost,
            State::First => match self.begin(byte) {
                true => State::Second { first: byte },
                false => State::Lost,
            },
            State::Second { first } => self.second(first, byte),
            State::Rest(header, left) => self.rest(header, left, byte),
            State::Payload { .. } => unreachable!("read in one go"),
        }
    }

    fn head(&mut self, matched: usize, byte: u8) -> State {
        if self.status.len() < STATUS.len() {
            self.status.push(byte);
        }
        match byte == b"\r\n\r\n"[matched] {
            true if matched == 3 && self.is_refusal() => State::Lost,
            true if matched == 3 => State::First,
            true => State::Head(matched + 1),
            false => State::Head(usize::from(byte == b'\r')),
        }
    }

    fn is_refusal(&self) -> bool {
        self.side == Side::Server && self.status != STATUS
    }

    /// The first byte of a frame. Returns whether it may be one.
    #[track_caller]
    fn begin(&mut self, first: u8) -> bool {
        let opcode = first & 0xf;
        // Section 5.5.1: no data follows a Close frame. Pings and pongs may.
        let is_right = (self.closes == 0 || matches!(opcode, 9 | 10))
            && match opcode {
                0 => self.in_message,
                1 | 2 => !self.in_message,
                8..=10 => true,
                _ => false,
            };
        assert!(
            is_right || !self.is_strict,
            "{:?} writes {first:#x}, {} Close frames before it, in a message: {}",
            self.side,
            self.closes,
            self.in_message
        );
        match opcode {
            8 => self.closes += 1,
            9 | 10 => {}
            _ => self.in_message = first & 0x80 == 0,
        }
        is_right
    }

    fn second(&mut self, first: u8, second: u8) -> State {
        let is_masked = second & 0x80 != 0;
        let (left, length) = match second & 0x7f {
            126 => (2, 0),
            127 => (8, 0),
            length => (0, u64::from(length)),
        };
        let is_right = is_masked == (self.side == Side::Client) && (left == 0 || first & 8 == 0);
        if !is_right {
            assert!(!self.is_strict, "the header {first:#x} {second:#x}");
            return State::Lost;
        }
        let header = Header {
            first,
            length,
            key: [0; 4],
        };
        let left = Left {
            length: left,
            key: if is_masked { 4 } else { 0 },
        };
        self.after_byte(header, left)
    }

    /// Returns what comes next: the rest of the header, or the payload.
    fn after_byte(&mut self, header: Header, left: Left) -> State {
        match left {
            Left { length: 0, key: 0 } => self.payload(header, header.length),
            left => State::Rest(header, left),
        }
    }

    fn rest(&mut self, mut header: Header, mut left: Left, byte: u8) -> State {
        if left.length > 0 {
            left.length -= 1;
            header.length = header.length << 8 | u64::from(byte);
        } else {
            header.key[usize::from(4 - left.key)] = byte;
            left.key -= 1;
        }
        self.after_byte(header, left)
    }

    fn payload(&mut self, header: Header, left: u64) -> State {
        if left > 0 {
            return State::Payload { header, left };
        }
        let mut payload = std::mem::take(&mut self.control);
        for (byte, key) in payload.iter_mut().zip(header.key.iter().cycle()) {
            *byte ^= key;
        }
        let seen = match header.first & 0xf {
            8 => Seen::Close,
            9 => Seen::Ping(payload),
            10 => {
                self.pongs.push_back(payload);
                return State::First;
            }
            _ => Seen::Data {
                is_last: header.first & 0x80 != 0,
            },
        };
        self.seen.push_back((self.written, seen));
        State::First
    }
}
