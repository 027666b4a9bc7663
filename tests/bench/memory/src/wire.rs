//! The bytes that the other side sends: always the same ones, from a fixed seed.

use crate::cell::{Cell, Content, Operation, Reads, Side};

/// A request as a browser's, in short, from a page of the same origin: others are refused by default.
pub const REQUEST: &[u8] = b"GET /chat HTTP/1.1\r\n\
    Host: bench.example.com:9001\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n\
    Upgrade: websocket\r\n\
    Connection: Upgrade\r\n\
    Origin: http://bench.example.com:9001\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    \r\n";

/// How much one read gives at most.
const BULK: usize = 64 << 10;

/// What the other side sends, again and again, and where its frames end.
#[derive(Debug)]
pub struct Wire {
    pub bytes: Vec<u8>,
    /// Where a read ends at the latest.
    pub stops: Vec<usize>,
}

impl Wire {
    pub fn of(cell: &Cell) -> Self {
        if cell.operation == Operation::Handshake {
            return Self {
                bytes: REQUEST.to_vec(),
                stops: vec![REQUEST.len()],
            };
        }
        let payload = cell.payload();
        let mut random = Random(0x5eed);
        let (mut bytes, mut stops) = (Vec::new(), Vec::new());
        while bytes.len() + payload.len() + 14 <= BULK || bytes.is_empty() {
            push_frame(&mut bytes, cell, &payload, &mut random);
            stops.push(bytes.len());
        }
        if cell.reads == Reads::Bulk {
            stops = vec![bytes.len()];
        }
        Self { bytes, stops }
    }
}

/// Appends a frame that is a whole message (RFC 6455 section 5.2).
fn push_frame(bytes: &mut Vec<u8>, cell: &Cell, payload: &[u8], random: &mut Random) {
    let masked = cell.side == Side::Server;
    let mask_bit = if masked { 0x80 } else { 0 };
    bytes.push(if cell.content == Content::Binary {
        0x82
    } else {
        0x81
    });
    match payload.len() {
        size @ 0..=125 => bytes.push(mask_bit | size as u8),
        size @ 126..=0xffff => {
            bytes.push(mask_bit | 126);
            bytes.extend((size as u16).to_be_bytes());
        }
        size => {
            bytes.push(mask_bit | 127);
            bytes.extend((size as u64).to_be_bytes());
        }
    }
    // No byte of a masking key is zero: libraries have short cuts for keys that are.
    let key = if masked {
        [(); 4].map(|()| random.byte() | 1)
    } else {
        [0; 4]
    };
    if masked {
        bytes.extend(key);
    }
    bytes.extend(
        payload
            .iter()
            .enumerate()
            .map(|(at, byte)| byte ^ key[at % 4]),
    );
}

/// Returns a payload of exactly that many bytes.
pub fn payload(content: Content, size: usize) -> Vec<u8> {
    let mut random = Random(0xda7a);
    let mut bytes = Vec::with_capacity(size);
    while bytes.len() < size {
        let left = size - bytes.len();
        match content {
            Content::Binary => bytes.push(random.byte()),
            Content::Ascii => bytes.push(b' ' + random.byte() % 95),
            Content::Utf8 => {
                let character = ['a', 'e', ' ', 'é', 'ß', 'ж', 'я', '日', '本', '語']
                    [random.byte() as usize % 10];
                let character = if character.len_utf8() <= left {
                    character
                } else {
                    '.'
                };
                bytes.extend(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
    }
    bytes
}

/// Marsaglia's xorshift.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn byte(&mut self) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u8
    }
}
