//! Text that arrives in pieces (RFC 6455 sections 5.6 and 8.1).
//!
//! A character may be cut by the end of a read, a frame or a fragment. At most three bytes are carried
//! over a cut, and a byte that no valid text could hold at its place is refused when it arrives, not
//! when the message ends. Whole pieces are checked once, by vector code where there is any.

use core::str;

/// The bytes seen so far cannot be the start of UTF-8 text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InvalidUtf8;

/// The start of a character whose end has not arrived.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Utf8Tail {
    bytes: [u8; 4],
    len: u8,
}

impl Utf8Tail {
    /// Checks the next piece of a text and hands what is complete to `sink`, in order.
    pub(crate) fn feed(
        &mut self,
        piece: &[u8],
        mut sink: impl FnMut(&str),
    ) -> Result<(), InvalidUtf8> {
        let piece = self.complete(piece, &mut sink)?;
        let (whole, cut) = split_cut(piece);
        sink(check(whole)?);
        for &byte in cut {
            self.push(byte)?;
        }
        Ok(())
    }

    /// Returns how many bytes wait for the end of their character.
    pub(crate) const fn len(self) -> usize {
        self.len as usize
    }

    /// Checks that the text does not end inside a character.
    pub(crate) const fn finish(self) -> Result<(), InvalidUtf8> {
        match self.len {
            0 => Ok(()),
            _ => Err(InvalidUtf8),
        }
    }

    /// Takes from `piece` what completes the character, and returns the rest.
    fn complete<'a>(
        &mut self,
        piece: &'a [u8],
        sink: &mut impl FnMut(&str),
    ) -> Result<&'a [u8], InvalidUtf8> {
        let mut rest = piece;
        while self.len > 0 {
            let Some((&byte, tail)) = rest.split_first() else {
                break;
            };
            rest = tail;
            self.push(byte)?;
            if let Ok(character) = str::from_utf8(self.as_slice()) {
                sink(character);
                self.len = 0;
            }
        }
        Ok(rest)
    }

    /// Adds a byte; fails where no character starts like this.
    fn push(&mut self, byte: u8) -> Result<(), InvalidUtf8> {
        let slot = self.bytes.get_mut(usize::from(self.len));
        *slot.ok_or(InvalidUtf8)? = byte;
        self.len = self.len.saturating_add(1);
        match str::from_utf8(self.as_slice()) {
            Err(error) if error.error_len().is_some() => Err(InvalidUtf8),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// Checks text that has arrived whole.
#[inline]
pub(crate) fn check(bytes: &[u8]) -> Result<&str, InvalidUtf8> {
    simdutf8::basic::from_utf8(bytes).map_err(|_| InvalidUtf8)
}

/// Splits off the last bytes, where they are the start of a character that goes on.
fn split_cut(bytes: &[u8]) -> (&[u8], &[u8]) {
    let starts = bytes
        .iter()
        .rev()
        .take(3)
        .position(|byte| byte & 0xC0 != 0x80);
    let Some(back) = starts.map(|position| position.saturating_add(1)) else {
        return (bytes, &[]);
    };
    let start = bytes.len().saturating_sub(back);
    let needed = bytes.get(start).map_or(1, |&first| character_length(first));
    match bytes.split_at_checked(start) {
        Some(parts) if needed > back => parts,
        Some(_) | None => (bytes, &[]),
    }
}

/// Returns the length of the character that starts with `first`; 1 where none does.
const fn character_length(first: u8) -> usize {
    match first {
        0xC0..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF7 => 4,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::*;

    fn read_in_pieces<'a>(
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<String, InvalidUtf8> {
        let (mut text, mut cut) = (String::new(), Utf8Tail::default());
        for piece in pieces {
            cut.feed(piece, |complete| text.push_str(complete))?;
        }
        cut.finish().map(|()| text)
    }

    /// Feeds byte by byte; returns how many bytes were taken before one was refused.
    fn refused_at(bytes: &[u8]) -> Option<usize> {
        let mut cut = Utf8Tail::default();
        bytes
            .iter()
            .position(|&byte| cut.feed(&[byte], |_| {}).is_err())
    }

    #[test]
    fn text_survives_every_cut() {
        let text = "aé\u{7FF}ࠀ€\u{FFFF}𐍈\u{10FFFF}z\0\u{FEFF}";
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let bytes = text.as_bytes();
                let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(read_in_pieces(pieces).as_deref(), Ok(text));
            }
        }
    }

    #[test]
    fn a_byte_that_cannot_stand_is_refused_when_it_arrives() {
        let cases: &[(&[u8], usize)] = &[
            (b"\x80", 0),
            (b"\xC0\x80", 0),
            (b"\xC1\xBF", 0),
            (b"\xE0\x80\x80", 1),
            (b"\xED\xA0\x80", 1),
            (b"\xF0\x80\x80\x80", 1),
            (b"\xF4\x90\x80\x80", 1),
            (b"\xF5\x80\x80\x80", 0),
            (b"\xFF", 0),
            (b"ab\xC3(", 3),
            (b"\xE2\x82(", 2),
            (b"\xF0\x9F\x98(", 3),
        ];
        for (bytes, at) in cases {
            assert_eq!(refused_at(bytes), Some(*at), "{bytes:x?}");
            assert!(read_in_pieces([*bytes]).is_err(), "{bytes:x?} whole");
        }
    }

    #[test]
    fn a_text_that_ends_inside_a_character_is_refused_at_its_end() {
        for bytes in [&b"\xC3"[..], b"\xE2\x82", b"\xF0\x9F\x98"] {
            assert_eq!(refused_at(bytes), None);
            assert_eq!(read_in_pieces([bytes]), Err(InvalidUtf8));
        }
    }

    /// Feeds a string in pieces, cut behind each byte whose bit in `cuts` is set, as often as there are pieces until
    /// one is refused. Returns where it was refused: behind which byte, or at the end of the text.
    fn judged(bytes: &[u8], cuts: usize) -> Result<(), usize> {
        let mut cut = Utf8Tail::default();
        let (mut start, mut complete) = (0, 0);
        for end in 1..=bytes.len() {
            if end == bytes.len() || cuts & (1 << (end - 1)) != 0 {
                let fed = cut.feed(&bytes[start..end], |text| complete += text.len());
                fed.map_err(|InvalidUtf8| end)?;
                assert_eq!(complete + cut.len(), end, "{bytes:x?}: a byte is lost");
                start = end;
            }
        }
        cut.finish().map_err(|InvalidUtf8| bytes.len())
    }

    /// What the standard library says: the text is refused with the piece in which it goes wrong, or at its end where
    /// it is not complete.
    fn expected(bytes: &[u8], cuts: usize) -> Result<(), usize> {
        behind_which_byte(bytes).map_or(Ok(()), |bad| Err(end_of_piece(bad, bytes.len(), cuts)))
    }

    /// Behind which byte the bytes so far are not the start of a text; all of them where they are the start and no more.
    fn behind_which_byte(bytes: &[u8]) -> Option<usize> {
        let error = str::from_utf8(bytes).err()?;
        Some(match error.error_len() {
            Some(length) => first_bad(bytes, error.valid_up_to(), length),
            None => bytes.len(),
        })
    }

    /// Where the piece ends that has this byte.
    fn end_of_piece(byte: usize, length: usize, cuts: usize) -> usize {
        let is_cut = |end: &usize| cuts & (1 << (end - 1)) != 0;
        (byte..length).find(is_cut).unwrap_or(length)
    }

    /// Behind which byte no text starts like this.
    fn first_bad(bytes: &[u8], valid: usize, length: usize) -> usize {
        let goes_on = |end: &usize| match str::from_utf8(&bytes[valid..*end]) {
            Ok(_) => false,
            Err(error) => error.error_len().is_some(),
        };
        (valid + length..=bytes.len())
            .find(goes_on)
            .unwrap_or(bytes.len())
    }

    fn assert_judged(bytes: &[u8]) {
        for cuts in 0..1 << (bytes.len() - 1) {
            assert_eq!(
                judged(bytes, cuts),
                expected(bytes, cuts),
                "{bytes:x?}, {cuts:b}"
            );
        }
    }

    #[test]
    fn every_string_of_up_to_three_bytes_is_judged_as_the_standard_library_does_at_every_cut() {
        for first in 0..=255 {
            assert_judged(&[first]);
            for second in 0..=255 {
                assert_judged(&[first, second]);
                for third in 0..=255 {
                    assert_judged(&[first, second, third]);
                }
            }
        }
    }

    /// Each of the 2³² strings, in each of the eight ways of cutting it. The environment says which first bytes.
    ///
    /// What comes before the last piece is fed once for the 256 strings that have it in common; where that is refused,
    /// so are they, and nothing follows.
    #[test]
    #[ignore = "takes minutes even when optimised: tests/exhaustive/run runs it"]
    fn every_string_of_four_bytes_is_judged_as_the_standard_library_does_at_every_cut() {
        let number = |name| std::env::var(name).ok()?.parse::<u8>().ok();
        let first = number("FIRST_BYTE").expect("FIRST_BYTE");
        let last = number("LAST_BYTE").expect("LAST_BYTE");
        let mut judged = 0_u64;
        for a in first..=last {
            for rest in 0..1_u32 << 16 {
                let [_, _, b, c] = rest.to_be_bytes();
                judged += assert_last_bytes_judged([a, b, c]);
            }
        }
        assert_eq!(judged, (u64::from(last - first) + 1) << 24);
    }

    /// Returns how many strings that begin like this were judged.
    fn assert_last_bytes_judged([a, b, c]: [u8; 3]) -> u64 {
        let fed: [_; 8] = core::array::from_fn(|cuts| before_the_last_piece([a, b, c], cuts));
        for d in 0..=255 {
            let bytes = [a, b, c, d];
            let bad = behind_which_byte(&bytes);
            for (cuts, fed) in fed.iter().enumerate() {
                let judged = (*fed).and_then(|(start, mut cut)| {
                    let mut complete = start - cut.len();
                    let last = cut.feed(&bytes[start..], |text| complete += text.len());
                    last.map_err(|InvalidUtf8| bytes.len())?;
                    assert_eq!(complete + cut.len(), 4, "{bytes:x?}: a byte is lost");
                    cut.finish().map_err(|InvalidUtf8| bytes.len())
                });
                let expected = bad.map_or(Ok(()), |bad| Err(end_of_piece(bad, 4, cuts)));
                assert_eq!(judged, expected, "{bytes:x?}, {cuts:b}");
            }
        }
        256
    }

    /// Feeds every piece but the last; returns where that starts, and what is carried over to it.
    fn before_the_last_piece(bytes: [u8; 3], cuts: usize) -> Result<(usize, Utf8Tail), usize> {
        let (mut start, mut cut) = (0, Utf8Tail::default());
        for end in (1..=3).filter(|end| cuts & (1 << (end - 1)) != 0) {
            let fed = cut.feed(&bytes[start..end], |_| {});
            fed.map_err(|InvalidUtf8| end)?;
            start = end;
        }
        Ok((start, cut))
    }
}
