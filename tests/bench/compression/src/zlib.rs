//! Compression with nothing around it: the payloads that the other side sends, and the measure of what a
//! library adds.

use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Inflate, InflateFlush};

use crate::Agreement;

const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// A compressor that lives as long as its connection.
pub struct Compressor {
    stream: Deflate,
    takeover: bool,
    room: Box<[u8]>,
}

impl Compressor {
    #[must_use]
    pub fn new(level: i32, mem_level: i32, agreement: Agreement) -> Self {
        let config = DeflateConfig {
            level,
            mem_level,
            window_bits: -i32::from(agreement.window_bits),
            ..DeflateConfig::default()
        };
        Self {
            stream: Deflate::new_with_config(config),
            takeover: agreement.takeover,
            room: vec![0; 64 << 10].into(),
        }
    }

    /// Returns the payload of a frame (RFC 7692 section 7.2.1).
    pub fn compress(&mut self, plain: &[u8]) -> &[u8] {
        if !self.takeover {
            self.stream.reset();
        }
        let before = self.stream.total_out();
        self.stream
            .compress(plain, &mut self.room, DeflateFlush::SyncFlush)
            .expect("a raw stream");
        let size = (self.stream.total_out() - before) as usize;
        assert!(size < self.room.len(), "all of it fits");
        &self.room[..size - TAIL.len()]
    }
}

/// A decompressor that lives as long as its connection.
pub struct Decompressor {
    stream: Inflate,
    input: Vec<u8>,
    room: Box<[u8]>,
}

impl Decompressor {
    #[must_use]
    pub fn new(agreement: Agreement) -> Self {
        Self {
            stream: Inflate::new(false, agreement.window_bits),
            input: Vec::new(),
            room: vec![0; 64 << 10].into(),
        }
    }

    pub fn inflate(&mut self, payload: &[u8]) -> &[u8] {
        self.input.clear();
        self.input.extend_from_slice(payload);
        self.input.extend_from_slice(&TAIL);
        let before = self.stream.total_out();
        self.stream
            .decompress(&self.input, &mut self.room, InflateFlush::SyncFlush)
            .expect("sound data");
        &self.room[..(self.stream.total_out() - before) as usize]
    }
}
