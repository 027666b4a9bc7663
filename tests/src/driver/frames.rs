//! Frames by hand (RFC 6455 section 5.2), independently of the core.

use sansock_core::Side;

/// A frame as it stands on the wire: its first byte, and its payload, unmasked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// FIN, reserved bits and opcode.
    pub first: u8,
    /// The payload.
    pub payload: Vec<u8>,
}

/// Returns a frame as this side sends it; a client's with a masking key of zero.
#[must_use]
pub fn frame(from: Side, first: u8, payload: &[u8]) -> Vec<u8> {
    let masked = match from {
        Side::Client => 0x80,
        Side::Server => 0,
    };
    let mut bytes = vec![first];
    match payload.len() {
        size @ 0..=125 => bytes.push(masked | size as u8),
        size @ 126..=0xffff => {
            bytes.push(masked | 126);
            bytes.extend((size as u16).to_be_bytes());
        }
        size => {
            bytes.push(masked | 127);
            bytes.extend((size as u64).to_be_bytes());
        }
    }
    if from == Side::Client {
        bytes.extend([0; 4]);
    }
    bytes.extend(payload);
    bytes
}

/// Returns a Close frame as this side sends it.
#[must_use]
pub fn close_frame(from: Side, code: u16, reason: &str) -> Vec<u8> {
    let body = [&code.to_be_bytes()[..], reason.as_bytes()].concat();
    frame(from, 0x88, &body)
}

/// Returns the frames that these bytes hold whole.
#[must_use]
pub fn parse_frames(mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some((frame, rest)) = parse_frame(bytes) {
        frames.push(frame);
        bytes = rest;
    }
    frames
}

pub(super) fn parse_frame(bytes: &[u8]) -> Option<(Frame, &[u8])> {
    let (&[first, second], mut rest) = bytes.split_first_chunk::<2>()?;
    let size = match second & 0x7f {
        126 => {
            let (size, after) = rest.split_first_chunk::<2>()?;
            rest = after;
            usize::from(u16::from_be_bytes(*size))
        }
        127 => {
            let (size, after) = rest.split_first_chunk::<8>()?;
            rest = after;
            usize::try_from(u64::from_be_bytes(*size)).ok()?
        }
        size => usize::from(size),
    };
    let mut key = [0; 4];
    if second & 0x80 != 0 {
        let (masking_key, after) = rest.split_first_chunk::<4>()?;
        (key, rest) = (*masking_key, after);
    }
    let (payload, rest) = rest.split_at_checked(size)?;
    let payload = payload.iter().zip(key.iter().cycle());
    let payload = payload.map(|(byte, key)| byte ^ key).collect();
    Some((Frame { first, payload }, rest))
}
