//! Frames as bytes, written from RFC 6455 section 5.2 and independent of the library.

use sansock_core::Side;

/// FIN in the first byte.
pub const FIN: u8 = 0x80;
/// The first byte of a further fragment.
pub const CONTINUATION: u8 = 0x0;
/// The first byte of a text that goes on.
pub const TEXT: u8 = 0x1;
/// The first byte of a binary message that goes on.
pub const BINARY: u8 = 0x2;
/// The first byte of a Close frame.
pub const CLOSE: u8 = FIN | 0x8;
/// The first byte of a ping.
pub const PING: u8 = FIN | 0x9;
/// The first byte of a pong.
pub const PONG: u8 = FIN | 0xA;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Writes what the peer of a side sends: masked if the side is a server.
#[derive(Debug, Clone, Copy)]
pub struct PeerOf(pub Side);

impl PeerOf {
    /// A frame with the shortest length form.
    #[must_use]
    pub fn frame(self, first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = self.header(first, payload.len() as u64);
        frame.extend(self.masked(payload));
        frame
    }

    /// The header of a frame, its masking key included.
    #[must_use]
    pub fn header(self, first: u8, length: u64) -> Vec<u8> {
        let (seven_bits, extended) = match length {
            0..126 => (length as u8, Vec::new()),
            126..0x1_0000 => (126, (length as u16).to_be_bytes().to_vec()),
            _ => (127, length.to_be_bytes().to_vec()),
        };
        self.header_of_form(first, seven_bits, &extended)
    }

    /// A header whose length is written as the caller wants it.
    #[must_use]
    pub fn header_of_form(self, first: u8, seven_bits: u8, extended: &[u8]) -> Vec<u8> {
        let mask = if self.0 == Side::Server { 0x80 } else { 0 };
        let mut header = vec![first, mask | seven_bits];
        header.extend(extended);
        if self.0 == Side::Server {
            header.extend(KEY);
        }
        header
    }

    /// A payload as it stands on the wire.
    #[must_use]
    pub fn masked(self, payload: &[u8]) -> Vec<u8> {
        match self.0 {
            Side::Server => with_key(payload, KEY),
            Side::Client => payload.to_vec(),
        }
    }

    /// A whole text message.
    #[must_use]
    pub fn text(self, text: &str) -> Vec<u8> {
        self.frame(FIN | TEXT, text.as_bytes())
    }

    /// A whole binary message.
    #[must_use]
    pub fn binary(self, payload: &[u8]) -> Vec<u8> {
        self.frame(FIN | BINARY, payload)
    }

    /// A ping.
    #[must_use]
    pub fn ping(self, payload: &[u8]) -> Vec<u8> {
        self.frame(PING, payload)
    }

    /// A pong.
    #[must_use]
    pub fn pong(self, payload: &[u8]) -> Vec<u8> {
        self.frame(PONG, payload)
    }

    /// A Close frame.
    #[must_use]
    pub fn close(self, code: u16, reason: &str) -> Vec<u8> {
        self.frame(CLOSE, &close_body(code, reason))
    }
}

/// The body of a Close frame.
#[must_use]
pub fn close_body(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_bytes()].concat()
}

/// A frame that was sent, unmasked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// FIN, reserved bits and opcode.
    pub first: u8,
    /// The masking key of a client's frame.
    pub key: Option<[u8; 4]>,
    /// The payload.
    pub payload: Vec<u8>,
}

/// Reads the frames that a side sent; they must be whole, and masked as the side must.
#[must_use]
#[track_caller]
pub fn sent_by(side: Side, mut bytes: &[u8]) -> Vec<Sent> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let [first, second] = take(&mut bytes);
        assert_eq!(second & 0x80 != 0, side == Side::Client, "mask bit");
        let length = match second & 0x7F {
            126 => u64::from(u16::from_be_bytes(take(&mut bytes))),
            127 => u64::from_be_bytes(take(&mut bytes)),
            length => u64::from(length),
        };
        let shortest = length < 126 || second & 0x7F == if length < 0x1_0000 { 126 } else { 127 };
        assert!(shortest, "length {length} in a longer form than needed");
        let key = (side == Side::Client).then(|| take(&mut bytes));
        let (payload, rest) = bytes
            .split_at_checked(length as usize)
            .expect("whole frames");
        bytes = rest;
        frames.push(Sent {
            first,
            key,
            payload: with_key(payload, key.unwrap_or_default()),
        });
    }
    frames
}

#[track_caller]
fn take<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
    let (taken, rest) = bytes.split_first_chunk().expect("whole frames");
    *bytes = rest;
    *taken
}

fn with_key(payload: &[u8], key: [u8; 4]) -> Vec<u8> {
    let keys = key.iter().cycle();
    payload
        .iter()
        .zip(keys)
        .map(|(byte, key)| byte ^ key)
        .collect()
}
