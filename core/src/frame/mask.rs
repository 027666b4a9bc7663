//! Masking (RFC 6455 section 5.3): every byte that a client sends is combined with a key of four bytes.
//!
//! One flat loop over words of eight bytes: the compiler turns it into vector code for whatever
//! processor it is told of. Nested chunks are slower; see the benches before touching it.

/// Masks or unmasks `payload` in place and returns the key as it applies to the byte that follows.
#[inline]
pub(crate) fn apply(payload: &mut [u8], key: [u8; 4]) -> [u8; 4] {
    if key == [0; 4] {
        return key;
    }
    let word = word_of(key);
    let length = payload.len();
    let tail = match length {
        0..32 => payload,
        _ => {
            let (words, tail) = payload.split_at_mut(length & !7);
            for chunk in words.chunks_exact_mut(8) {
                mask_word(chunk, word);
            }
            tail
        }
    };
    apply_short(tail, word);
    rotated(key, length)
}

/// Masks the last few bytes, or the few that there are.
#[inline]
fn apply_short(payload: &mut [u8], word: u64) {
    let mut words = payload.chunks_exact_mut(8);
    words.by_ref().for_each(|chunk| mask_word(chunk, word));
    for (byte, key) in words.into_remainder().iter_mut().zip(word.to_ne_bytes()) {
        *byte ^= key;
    }
}

#[inline]
fn mask_word(chunk: &mut [u8], word: u64) {
    if let Ok(bytes) = <[u8; 8]>::try_from(&*chunk) {
        chunk.copy_from_slice(&(u64::from_ne_bytes(bytes) ^ word).to_ne_bytes());
    }
}

/// Copies `payload`, masked, to `target`; what is longer of the two is left.
#[inline]
pub(crate) fn copy(payload: &[u8], target: &mut [u8], key: [u8; 4]) {
    let word = word_of(key);
    let whole = payload.len().min(target.len()) & !7;
    let (targets, target_tail) = target.split_at_mut(whole);
    let (sources, source_tail) = payload.split_at(whole);
    for (target, source) in targets.chunks_exact_mut(8).zip(sources.chunks_exact(8)) {
        if let Ok(bytes) = <[u8; 8]>::try_from(source) {
            target.copy_from_slice(&(u64::from_ne_bytes(bytes) ^ word).to_ne_bytes());
        }
    }
    let tail = target_tail.iter_mut().zip(source_tail);
    for ((target, source), key) in tail.zip(word.to_ne_bytes()) {
        *target = source ^ key;
    }
}

/// Returns `key` as it applies to a byte that stands `by` bytes later in the payload.
#[inline]
pub(crate) const fn rotated(key: [u8; 4], by: usize) -> [u8; 4] {
    u32::from_be_bytes(key)
        .rotate_left(((by & 3) << 3) as u32)
        .to_be_bytes()
}

/// Returns the key twice, as it lies in memory.
#[inline]
const fn word_of(key: [u8; 4]) -> u64 {
    (u32::from_ne_bytes(key) as u64).wrapping_mul(0x1_0000_0001)
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;

    /// The algorithm as RFC 6455 section 5.3 writes it.
    fn reference(payload: &mut [u8], key: [u8; 4]) {
        for (i, byte) in payload.iter_mut().enumerate() {
            *byte ^= key[i % 4];
        }
    }

    #[test]
    fn masks_as_the_rfc_says_at_every_length_and_offset() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        let bytes: Vec<u8> = (0..=255).collect();
        for start in 0..8 {
            for end in start..=bytes.len().min(start + 80) {
                let (mut ours, mut theirs) = (bytes.clone(), bytes.clone());
                apply(&mut ours[start..end], key);
                reference(&mut theirs[start..end], key);
                assert_eq!(ours, theirs, "{start}..{end}");
            }
        }
    }

    #[test]
    fn masking_while_copying_equals_masking_in_place() {
        let key = [0xFE, 1, 0x80, 7];
        let bytes: Vec<u8> = (0..=255).collect();
        for length in 0..=bytes.len() {
            let (mut copied, mut masked) = (vec![0; length], bytes[..length].to_vec());
            copy(&bytes[..length], &mut copied, key);
            reference(&mut masked, key);
            assert_eq!(copied, masked, "{length}");
        }
    }

    #[test]
    fn a_payload_masked_in_two_parts_equals_one_masked_whole() {
        let key = [1, 2, 3, 4];
        let bytes: Vec<u8> = (0..40).collect();
        for cut in 0..=bytes.len() {
            let (mut parts, mut whole) = (bytes.clone(), bytes.clone());
            let (head, tail) = parts.split_at_mut(cut);
            let key_of_tail = apply(head, key);
            apply(tail, key_of_tail);
            reference(&mut whole, key);
            assert_eq!(parts, whole, "cut at {cut}");
        }
    }
}
