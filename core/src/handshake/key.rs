//! `Sec-WebSocket-Key` and `Sec-WebSocket-Accept` (RFC 6455 sections 4.1, 4.2.1 and 4.2.2).
//!
//! The key proves that the server read this very request; it is no secret.

use base64::{Engine, engine::general_purpose::STANDARD};
use sha1::{Digest, Sha1};

use crate::handshake::ascii::is_base64_digit;

const GUID: [u8; 36] = *b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

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
    let Some((digits, b"==")) = key.split_first_chunk::<22>() else {
        return false;
    };
    // Without a branch for each digit: nearly every key is valid.
    digits
        .iter()
        .fold(true, |valid, digit| valid & is_base64_digit(*digit))
}

/// Returns the value of `Sec-WebSocket-Accept` that answers this `Sec-WebSocket-Key`.
#[must_use]
pub fn accept_value(key: &[u8]) -> [u8; 28] {
    // Of a known length, and in one piece, a key costs the least to hash.
    let digest: [u8; 20] = match <[u8; 24]>::try_from(key) {
        Ok(key) => {
            let mut text = [0; 24 + GUID.len()];
            let (digits, guid) = text.split_at_mut(key.len());
            digits.copy_from_slice(&key);
            guid.copy_from_slice(&GUID);
            Sha1::digest(text).into()
        }
        Err(_) => Sha1::new()
            .chain_update(key)
            .chain_update(GUID)
            .finalize()
            .into(),
    };
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
    fn a_key_of_any_length_is_answered() {
        assert_eq!(accept_value(b""), *b"Kfh9QIsMVZcl6xEPYxPHzW8SZ8w=");
        let long = accept_value(&[b'a'; 25]);
        assert_eq!(long, *b"SzHwI47KY67ghGNFygXJBPkQluM=");
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
