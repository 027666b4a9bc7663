//! What the messages hold: always the same bytes, from a fixed seed.

use std::str::FromStr;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Random bytes.
    Binary,
    /// Text of one to three bytes a character.
    Utf8,
    /// Text that compresses as the messages of an API do.
    Json,
}

impl Content {
    pub const fn is_text(self) -> bool {
        matches!(self, Self::Utf8 | Self::Json)
    }

    /// Returns a payload of exactly that many bytes.
    pub fn payload(self, size: usize, random: &mut Random) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(size + 256);
        while bytes.len() < size {
            match self {
                Self::Binary => bytes.extend(random.next().to_le_bytes()),
                Self::Utf8 => push_character(&mut bytes, size, random),
                Self::Json => push_record(&mut bytes, random),
            }
        }
        bytes.truncate(size);
        bytes
    }
}

impl FromStr for Content {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "binary" => Ok(Self::Binary),
            "utf8" => Ok(Self::Utf8),
            "json" => Ok(Self::Json),
            _ => Err(format!("{name} is none of binary, utf8, json")),
        }
    }
}

const CHARACTERS: [char; 10] = ['a', 'e', ' ', 'é', 'ß', 'ж', 'я', '日', '本', '語'];

fn push_character(bytes: &mut Vec<u8>, size: usize, random: &mut Random) {
    let character = CHARACTERS[random.below(CHARACTERS.len())];
    let fits = bytes.len() + character.len_utf8() <= size;
    let character = if fits { character } else { '.' };
    bytes.extend(character.encode_utf8(&mut [0; 4]).as_bytes());
}

const NAMES: [&str; 8] = [
    "amber", "birch", "cobalt", "delta", "ember", "fjord", "garnet", "harbour",
];
const STATES: [&str; 4] = ["open", "partially filled", "filled", "cancelled"];

/// Appends an object, in ASCII, so that it may be cut anywhere and is text still.
fn push_record(bytes: &mut Vec<u8>, random: &mut Random) {
    let name = NAMES[random.below(NAMES.len())];
    let state = STATES[random.below(STATES.len())];
    let (number, time) = (random.below(1_000_000), random.below(1_000_000_000));
    let (price, size) = (random.below(100_000) as f64 / 100.0, random.below(500));
    let record = format!(
        r#"{{"id":"{number:06x}","time":{time},"instrument":"{name}","state":"{state}","price":{price:.2},"size":{size}}},"#
    );
    bytes.extend(record.into_bytes());
}

/// Marsaglia's xorshift.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    pub const fn new() -> Self {
        Self(0x5eed)
    }

    pub const fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub const fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 32) as usize % limit
    }

    /// Returns a masking key. None of its bytes is zero: libraries have short cuts for keys that are.
    pub fn masking_key(&mut self) -> [u8; 4] {
        (self.next() as u32 | 0x0101_0101).to_le_bytes()
    }
}
