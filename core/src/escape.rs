//! Text that the peer chose, as errors and logs show it.
//!
//! The rule: every `Display` and every trace event writes such text with [`escaped`], so that a peer can neither
//! forge lines of a log nor control a terminal.

use core::fmt::{self, Write as _};

/// Returns a text of the peer in a form that is safe to write to a log or a terminal: one line, without control
/// characters.
///
/// Control characters, line separators, characters that change the direction of text and others that cannot be
/// seen are written as in a string literal of Rust: `\n`, `\u{1b}`, `\u{202e}`. So are `"` and `\`. Bytes that are
/// not UTF-8 are written as `\xff`. The errors of this crate do this with all that they show of the peer; use it
/// for what you show yourself, such as the [reason](crate::CloseFrame::reason) for closing or a header.
///
/// # Example
/// ```
/// use sansock_core::escaped;
///
/// assert_eq!(escaped("it's déjà vu").to_string(), "it's déjà vu");
/// assert_eq!(escaped("\x1b[2J\r\nERROR").to_string(), r"\u{1b}[2J\r\nERROR");
/// assert_eq!(escaped(b"gef\xfcnden").to_string(), r"gef\xfcnden");
/// ```
pub fn escaped<T: AsRef<[u8]> + ?Sized>(text: &T) -> impl fmt::Display {
    Escaped(text.as_ref())
}

struct Escaped<'a>(&'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for (index, text) in chunk.valid().split('\'').enumerate() {
                if index > 0 {
                    f.write_char('\'')?;
                }
                write!(f, "{}", text.escape_debug())?;
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use alloc::string::ToString;

    #[test]
    fn what_controls_a_terminal_or_a_log_is_escaped() {
        let cases: [(&[u8], &str); 12] = [
            (b"", ""),
            (b"\x1b[31m", r"\u{1b}[31m"),
            (b"a\r\nb\tc\0", r"a\r\nb\tc\0"),
            (b"\x7f", r"\u{7f}"),
            ("\u{9b}31m".as_bytes(), r"\u{9b}31m"),
            (b"\x9b31m", r"\x9b31m"),
            ("\u{202e}a\u{2066}".as_bytes(), r"\u{202e}a\u{2066}"),
            (
                "\u{2028}\u{2029}\u{85}".as_bytes(),
                r"\u{2028}\u{2029}\u{85}",
            ),
            ("\u{200b}\u{feff}".as_bytes(), r"\u{200b}\u{feff}"),
            (br#"say "\n""#, r#"say \"\\n\""#),
            ("it's ü 語 😀 नि".as_bytes(), "it's ü 語 😀 नि"),
            (b"caf\xc3", r"caf\xc3"),
        ];
        for (text, shown) in cases {
            assert_eq!(escaped(text).to_string(), shown);
        }
    }

    #[test]
    fn no_character_that_controls_is_left() {
        for character in ('\0'..=char::MAX).filter(|c| c.is_control()) {
            let mut text = [0; 4];
            let text = character.encode_utf8(&mut text);
            assert!(escaped(text).to_string().is_ascii(), "{character:?}");
        }
    }
}
