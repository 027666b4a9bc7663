//! `Sec-WebSocket-Key` and `Sec-WebSocket-Accept` (RFC 6455 sections 4.1, 4.2.1 and 4.2.2).
//!
//! The key proves that the server read this very request; it is no secret.

use base64::{Engine, engine::general_purpose::STANDARD};
use sha1::{Digest, Sha1};

use crate::handshake::ascii::is_base64_digit;

const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Returns the value of `Sec-WebSocket-Key` for 16 random bytes.
pub(super) fn encode(nonce: [u8; 16]) -> [u8; 24] {
    let mut key = [0; 24];
    let length = STANDARD.encode_slice(nonce, &mut key);
    debug_assert_eq!(length, Ok(24));
    key
}

/// §4.2.1: whether the key is base64 that decodes to 16 bytes. The last digit stands for two bits and for four
/// that should be zero; clients that draw 22 random digits do not know that, and what the key decodes to does not
/// depend on it (RFC 4648 section 3.5).
pub(super) fn is_valid(key: &[u8]) -> bool {
    match key {
        [digits @ .., b'=', b'='] if digits.len() == 22 => {
            digits.iter().all(|digit| is_base64_digit(*digit))
        }
        _ => false,
    }
}

/// Returns the value of `Sec-WebSocket-Accept` that answers this `Sec-WebSocket-Key`.
#[must_use]
pub fn accept_value(key: &[u8]) -> [u8; 28] {
    let digest: [u8; 20] = Sha1::new()
        .chain_update(key)
        .chain_update(GUID)
        .finalize()
        .into();
    let mut accept = [0; 28];
    let length = STANDARD.encode_slice(digest, &mut accept);
    debug_assert_eq!(length, Ok(28));
    accept
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn accepts_the_example_of_the_rfc() {
        let accept = accept_value(b"dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept, *b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(encode(*b"the sample nonce"), *b"dGhlIHNhbXBsZSBub25jZQ==");
    }

    #[test]
    fn every_encoded_nonce_is_valid() {
        for byte in 0..=255 {
            assert!(is_valid(&encode([byte; 16])), "{byte}");
        }
    }

    #[test]
    fn a_key_of_22_random_digits_is_valid() {
        for last in ('A'..='Z')
            .chain('a'..='z')
            .chain('0'..='9')
            .chain(['+', '/'])
        {
            let key = format!("dGhlIHNhbXBsZSBub25jZ{last}==");
            assert!(is_valid(key.as_bytes()), "{key}");
        }
    }

    #[test]
    fn other_spellings_and_lengths_are_invalid() {
        let keys = [
            "",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25jZQ=",
            "dGhlIHNhbXBsZSBub25jZQ===",
            "dGhlIHNhbXBsZSBub25jZQ== ",
            "dGhlIHNhbXBsZSBub25jZ===",
            "dGhlIHNhbXBsZSBub25jZSE=",
            "dGhlIHNhbXBsZSBub25j",
            "dGhlIHNhbXBsZSBub25jZSEh",
            "dGhlIHNhbXBsZSBub25j ZQ==",
            "dGhlIHNhbXBsZSBub25j!Q==",
            "__hlIHNhbXBsZSBub25jZQ==",
            "ZQ==",
            "dGhlIHNhbXBsZSBub24w==",
            "dGhlIHNhbXBsZSBub25jZSEhIQ==",
            &"dGhl".repeat(2000),
        ];
        for key in keys {
            assert!(!is_valid(key.as_bytes()), "{key}");
        }
    }
}
