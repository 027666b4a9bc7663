//! permessage-deflate (RFC 7692), as a client.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use crate::Result;

/// What is offered: everything that a server may choose from.
pub const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";

/// What was agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters {
    client_window_bits: u8,
    client_takeover: bool,
    server_takeover: bool,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            client_window_bits: 15,
            client_takeover: true,
            server_takeover: true,
        }
    }
}

impl Parameters {
    /// Reads the server's answer.
    pub fn parse(answer: &str) -> Result<Self> {
        let mut words = answer.split(';').map(str::trim);
        if words.next() != Some("permessage-deflate") {
            return Err(format!("the server answered with the extension {answer:?}").into());
        }
        let mut parameters = Self::default();
        for word in words {
            match word.split_once('=').unwrap_or((word, "")) {
                ("client_max_window_bits", bits) => {
                    parameters.client_window_bits = bits.trim_matches('"').parse()?;
                }
                ("server_max_window_bits", _) => {}
                ("client_no_context_takeover", _) => parameters.client_takeover = false,
                ("server_no_context_takeover", _) => parameters.server_takeover = false,
                _ => return Err(format!("the server answered with the parameter {word:?}").into()),
            }
        }
        Ok(parameters)
    }
}

/// What an empty stored block leaves at the end of a flush, and what a message goes without (RFC 7692 section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Compresses messages, one after the other.
pub fn compress(payloads: &[Vec<u8>], parameters: &Parameters) -> Result<Vec<Vec<u8>>> {
    // The smallest window of the compressor is 9 bits.
    let bits = parameters.client_window_bits.max(9);
    let mut deflater = Compress::new_with_window_bits(Compression::new(6), false, bits);
    let compress = |payload: &Vec<u8>| {
        let mut compressed = Vec::with_capacity(payload.len() + 64);
        deflater.compress_vec(payload, &mut compressed, FlushCompress::Sync)?;
        if !compressed.ends_with(&TAIL) {
            return Err("a message did not compress in one go".into());
        }
        compressed.truncate(compressed.len() - TAIL.len());
        if !parameters.client_takeover {
            deflater.reset();
        }
        Ok(compressed)
    };
    payloads.iter().map(compress).collect()
}

/// Inflates what the server compressed.
pub struct Inflater {
    inflater: Decompress,
    takeover: bool,
    output: Vec<u8>,
}

impl Inflater {
    pub fn new(parameters: &Parameters) -> Self {
        Self {
            inflater: Decompress::new(false),
            takeover: parameters.server_takeover,
            output: Vec::new(),
        }
    }

    /// Inflates a message that should be `size` bytes long.
    pub fn inflate(&mut self, compressed: &mut Vec<u8>, size: usize) -> Result<&[u8]> {
        compressed.extend(TAIL);
        self.output.clear();
        self.output.reserve(size + 1);
        let before = self.inflater.total_in();
        self.inflater
            .decompress_vec(compressed, &mut self.output, FlushDecompress::Sync)?;
        if self.inflater.total_in() - before != compressed.len() as u64 {
            return Err("a reply inflates to more than was sent".into());
        }
        if !self.takeover {
            self.inflater.reset(false);
        }
        Ok(&self.output)
    }
}
