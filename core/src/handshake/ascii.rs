//! Classes of characters in heads (RFC 9110 sections 5.5 and 5.6).

/// RFC 9110 section 5.6.2.
const TOKEN: [bool; 256] = table(b"!#$%&'*+-.^_`|~");

/// Names of hosts without percent-encoding (RFC 3986 section 3.2.2).
const HOST_NAME: [bool; 256] = table(b"-._~!$&'()*+,;=");

/// The digits of base64 (RFC 4648 section 4).
const BASE64: [bool; 256] = table(b"+/");

/// Returns for every byte whether it is a letter, a digit, or one of these.
const fn table(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        let mut rest = others;
        let mut found = byte.is_ascii_alphanumeric();
        while let [other, after @ ..] = rest {
            found |= *other == byte;
            rest = after;
        }
        #[expect(clippy::indexing_slicing, reason = "the table has all bytes")]
        {
            table[byte as usize] = found;
        }
        byte = byte.wrapping_add(1);
    }
    table
}

/// Whether the byte may stand in a token (RFC 9110 section 5.6.2).
pub(super) fn is_token_byte(byte: u8) -> bool {
    TOKEN.get(usize::from(byte)).copied().unwrap_or(false)
}

/// Whether the byte may stand in the name of a host; percent-encoding means nothing there.
pub(super) fn is_host_name_byte(byte: u8) -> bool {
    HOST_NAME.get(usize::from(byte)).copied().unwrap_or(false)
}

/// Whether the byte is a digit of base64 (RFC 4648 section 4).
pub(super) fn is_base64_digit(byte: u8) -> bool {
    BASE64.get(usize::from(byte)).copied().unwrap_or(false)
}

/// Whether the bytes are a token.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().copied().all(is_token_byte)
}

/// Whether the byte may stand in a field value (RFC 9110 section 5.5).
pub(super) const fn is_text_byte(byte: u8) -> bool {
    byte >= 0x20 && byte != 0x7f || byte == b'\t'
}

/// Returns how many bytes come before the first control character other than HTAB.
pub(super) fn text_length(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Some((word, after)) = rest.split_first_chunk() {
        let controls = controls(u64::from_le_bytes(*word));
        if controls != 0 {
            let clean = (controls.trailing_zeros() >> 3) as usize;
            return before(rest, bytes).saturating_add(clean);
        }
        rest = after;
    }
    let clean = rest.iter().take_while(|byte| is_text_byte(**byte)).count();
    before(rest, bytes).saturating_add(clean)
}

const fn before(rest: &[u8], whole: &[u8]) -> usize {
    whole.len().saturating_sub(rest.len())
}

/// Returns the word with the high bit set where there was a control character, and no other bits.
///
/// Bytes do not carry into each other, for their high bits are cleared first.
const fn controls(word: u64) -> u64 {
    const HIGH: u64 = each(0x80);

    let low = word & !HIGH;
    let from_space = low.wrapping_add(each(0x80 - 0x20));
    let delete = low.wrapping_add(each(0x80 - 0x7f));
    let not_tab = (low ^ each(b'\t')).wrapping_add(each(0x7f));
    (!from_space & not_tab | delete) & !word & HIGH
}

const fn each(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// Compares in any case. Most often the spelling is the same, which takes less to see.
pub(super) fn is_same_in_any_case(bytes: &[u8], other: &[u8]) -> bool {
    bytes == other || bytes.eq_ignore_ascii_case(other)
}

/// Drops optional whitespace at both ends (RFC 9110 section 5.6.3).
pub(super) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_control_character_at_every_place() {
        for byte in 0..=255 {
            for length in 1..=20 {
                for at in 0..length {
                    for filler in [b'a', b'\t', 0x80, 0xff, b' ', b'~'] {
                        let mut bytes = vec![filler; length];
                        bytes[at] = byte;
                        let expected = if is_text_byte(byte) { length } else { at };
                        assert_eq!(text_length(&bytes), expected, "{byte:#x} in {bytes:x?}");
                    }
                }
            }
        }
    }

    #[test]
    fn only_htab_and_printable_bytes_are_text() {
        for byte in 0..=255_u8 {
            let expected = matches!(byte, b'\t' | 0x20..=0x7e | 0x80..=0xff);
            assert_eq!(is_text_byte(byte), expected, "{byte:#x}");
        }
    }

    #[test]
    fn tokens_have_no_separators() {
        for byte in 0..=255_u8 {
            let separator = b"\"(),/:;<=>?@[\\]{}".contains(&byte);
            let expected = byte.is_ascii_graphic() && !separator;
            assert_eq!(is_token(&[byte]), expected, "{byte:#x}");
        }
        assert!(!is_token(b""));
    }

    #[test]
    fn trims_spaces_and_tabs_only() {
        assert_eq!(trim(b" \t a b\t "), b"a b");
        assert_eq!(trim(b"\r a\n"), b"\r a\n");
        assert_eq!(trim(b" \t"), b"");
    }
}
