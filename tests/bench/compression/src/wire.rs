//! What a client sends: every message once, compressed at zlib's default level, and then again from a new
//! compressor, which refers to nothing that came before.

use crate::Agreement;
use crate::zlib::Compressor;

#[derive(Debug)]
pub struct Wire {
    pub bytes: Vec<u8>,
    /// The same, frame by frame.
    pub frames: Vec<Vec<u8>>,
    pub payloads: Vec<Vec<u8>>,
}

impl Wire {
    #[must_use]
    pub fn of(messages: &[String], agreement: Agreement) -> Self {
        let mut compressor = Compressor::new(6, 8, agreement);
        let payloads: Vec<Vec<u8>> = messages
            .iter()
            .map(|message| compressor.compress(message.as_bytes()).to_vec())
            .collect();
        let frames: Vec<Vec<u8>> = payloads.iter().map(|payload| frame(payload)).collect();
        Self {
            bytes: frames.concat(),
            frames,
            payloads,
        }
    }
}

/// A masked text frame that is a whole compressed message.
fn frame(payload: &[u8]) -> Vec<u8> {
    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![0x80 | 0x40 | 0x01];
    match payload.len() {
        size @ 0..=125 => frame.push(0x80 | size as u8),
        size => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(size).expect("less than 64 KiB").to_be_bytes());
        }
    }
    frame.extend(KEY);
    frame.extend(
        payload
            .iter()
            .zip(KEY.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    frame
}
