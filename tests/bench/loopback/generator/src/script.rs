//! What every connection sends, in order, and what must come back.

use crate::Result;
use crate::cell::{Load, Wire};
use crate::deflate::{Parameters, compress};
use crate::payload::Random;

/// The messages, encoded before anything is measured. After the last one it goes on at `again`.
#[derive(Debug)]
pub struct Script {
    pub wire: Wire,
    pub sent: Parts,
    /// As it must come back, byte by byte; of compressed messages, which may be compressed in many ways, the payload.
    pub expected: Parts,
    again: usize,
}

impl Script {
    pub fn new(load: &Load, wire: Wire, parameters: &Parameters) -> Result<Self> {
        let payloads = payloads(load);
        let is_text = load.content.is_text();
        let (mut sent, mut expected) = (Parts::default(), Parts::default());
        let mut random = Random::new();
        if wire != Wire::Deflate {
            for payload in &payloads {
                push_frame(&mut sent.bytes, is_text, false, payload, Some(&mut random));
                sent.end();
                match wire {
                    Wire::Raw => expected.bytes.extend(sent.get(expected.ends.len())),
                    _ => push_frame(&mut expected.bytes, is_text, false, payload, None),
                }
                expected.end();
            }
            return Ok(Self {
                wire,
                sent,
                expected,
                again: 0,
            });
        }
        // What the last pass was primed with is what it leaves behind, so that it can be sent again and again.
        let twice = [&payloads[..], &payloads[..]].concat();
        for (payload, compressed) in twice.iter().zip(compress(&twice, parameters)?) {
            push_frame(
                &mut sent.bytes,
                is_text,
                true,
                &compressed,
                Some(&mut random),
            );
            sent.end();
            expected.bytes.extend(payload);
            expected.end();
        }
        let again = payloads.len();
        Ok(Self {
            wire,
            sent,
            expected,
            again,
        })
    }

    pub fn len(&self) -> usize {
        self.sent.ends.len()
    }

    /// The message after this one.
    pub fn after(&self, index: usize) -> usize {
        if index + 1 < self.len() {
            index + 1
        } else {
            self.again
        }
    }
}

/// Several different payloads: as many as a multiple of the depth, so that a batch is one piece of memory, and at
/// least twice the largest window of a compressor.
fn payloads(load: &Load) -> Vec<Vec<u8>> {
    let batches = ((64 << 10) / (load.size * load.depth)).max(2);
    let mut random = Random::new();
    let count = batches * load.depth;
    (0..count)
        .map(|_| load.content.payload(load.size, &mut random))
        .collect()
}

/// Pieces of memory, one behind the other.
#[derive(Debug, Default)]
pub struct Parts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Parts {
    fn end(&mut self) {
        self.ends.push(self.bytes.len());
    }

    fn start(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(0, |before| self.ends[before])
    }

    pub fn get(&self, index: usize) -> &[u8] {
        &self.bytes[self.start(index)..self.ends[index]]
    }

    /// Where these pieces are in [`Parts::bytes`].
    pub fn range(&self, first: usize, count: usize) -> std::ops::Range<usize> {
        self.start(first)..self.ends[first + count - 1]
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Appends a frame that is a whole message (RFC 6455 section 5.2).
fn push_frame(
    bytes: &mut Vec<u8>,
    is_text: bool,
    is_compressed: bool,
    payload: &[u8],
    masked: Option<&mut Random>,
) {
    bytes.push(0x80 | if is_compressed { 0x40 } else { 0 } | if is_text { 1 } else { 2 });
    let mask_bit = if masked.is_some() { 0x80 } else { 0 };
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
    match masked {
        None => bytes.extend(payload),
        Some(random) => push_masked(bytes, payload, random.masking_key()),
    }
}

pub fn push_masked(bytes: &mut Vec<u8>, payload: &[u8], key: [u8; 4]) {
    bytes.extend(key);
    bytes.extend(
        payload
            .iter()
            .zip(key.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
}
