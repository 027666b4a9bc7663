//! Header fields (RFC 9110 section 5): a multi-map that keeps their order and spelling.
//!
//! All fields lie in one block, each as two lengths and its line as it goes over the wire: a head is
//! parsed with one allocation, a lookup walks a few hundred bytes in a row, and a field is written in
//! one piece. No hashing, so no collisions
//! that a peer could choose.
//!
//! The rule: names in the block are tokens, and values hold no control character but HTAB. What
//! does not pass that test is refused, never repaired.

use alloc::{string::String, vec::Vec};
use core::{fmt, str};

use crate::handshake::{
    GrammarError, HandshakeError,
    ascii::{is_same_in_any_case, is_text_byte, is_token, is_token_byte, trim},
};

/// Names whose values `Debug` hides.
const SECRET: [&str; 4] = [
    "Authorization",
    "Proxy-Authorization",
    "Cookie",
    "Set-Cookie",
];

/// What separates a name from its value.
const COLON: &[u8] = b": ";

/// What ends a line.
const LINE_END: &[u8] = b"\r\n";

/// The header fields of a request or response.
///
/// Names are compared without regard to case; a name may occur several times. Values are bytes:
/// those from 0x80 up are legal and mean nothing in particular.
#[derive(Clone, Default)]
pub struct Headers {
    block: Vec<u8>,
}

impl Headers {
    /// Returns an empty set of headers.
    #[must_use]
    pub const fn new() -> Self {
        Self { block: Vec::new() }
    }

    pub(super) fn with_capacity(fields: usize, bytes: usize) -> Self {
        let lengths = fields.saturating_mul(size_of::<[usize; 2]>());
        Self {
            block: Vec::with_capacity(bytes.saturating_add(lengths)),
        }
    }

    /// Returns the fields of a head, which were checked, and whose lines are these. `None` if not all
    /// of the lines, an empty one behind them included, end in CRLF.
    pub(super) fn parsed(fields: &[httparse::Header<'_>], lines: &[u8]) -> Option<Self> {
        let mut headers = Self::with_capacity(fields.len(), lines.len());
        let mut rest = lines;
        for field in fields {
            let name = field.name.as_bytes();
            let length = line_length(name, field.value);
            let usual = rest.split_at_checked(length);
            rest = match usual.filter(|(line, _)| is_usual(line, name.len())) {
                Some((line, rest)) => {
                    headers.push_line(name.len(), line);
                    rest
                }
                None => {
                    headers.push(name, field.value);
                    behind_line(rest)?
                }
            };
        }
        (rest == LINE_END).then_some(headers)
    }

    /// Returns the number of fields, repeated names counted each time.
    #[must_use]
    pub fn len(&self) -> usize {
        self.fields().count()
    }

    /// Whether there are no fields.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.block.is_empty()
    }

    /// Returns the names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields().map(|field| {
            (
                str::from_utf8(field.name()).unwrap_or_default(),
                field.value(),
            )
        })
    }

    /// Returns the first value with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.get_all(name).next()
    }

    /// Returns the first value with this name if it is UTF-8.
    #[must_use]
    pub fn get_str(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| str::from_utf8(value).ok())
    }

    /// Returns every value with this name, in order.
    pub fn get_all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.fields()
            .filter(|field| field.is_named(name))
            .map(|field| field.value())
    }

    /// Whether a field has this name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Adds a field after the others.
    ///
    /// Spaces and tabs around the value are no part of it (RFC 9110 section 5.5) and are dropped.
    ///
    /// # Errors
    ///
    /// The name is not a token, or the value holds a control character other than HTAB.
    pub fn append(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), InvalidHeader> {
        let value = value.as_ref();
        check_name(name)?;
        check_value(name, value)?;
        self.push(name.as_bytes(), trim(value));
        Ok(())
    }

    /// Adds a field and removes all others of its name.
    ///
    /// # Errors
    ///
    /// As for [`append`](Self::append); the headers are then unchanged.
    pub fn set(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), InvalidHeader> {
        let value = value.as_ref();
        check_name(name)?;
        check_value(name, value)?;
        self.remove(name);
        self.push(name.as_bytes(), trim(value));
        Ok(())
    }

    /// Removes every field with this name.
    pub fn remove(&mut self, name: &str) {
        let mut kept = Self::with_capacity(0, self.block.len());
        for field in self.fields().filter(|field| !field.is_named(name)) {
            kept.push(field.name(), field.value());
        }
        *self = kept;
    }

    /// Adds a field whose name and value are known to be well-formed.
    pub(super) fn push(&mut self, name: &[u8], value: &[u8]) {
        self.push_lengths(name.len(), line_length(name, value));
        for part in [name, COLON, value, LINE_END] {
            self.block.extend_from_slice(part);
        }
    }

    /// Adds a line as this block has them.
    fn push_line(&mut self, name_length: usize, line: &[u8]) {
        self.push_lengths(name_length, line.len());
        self.block.extend_from_slice(line);
    }

    fn push_lengths(&mut self, name: usize, line: usize) {
        let lengths = [name.to_ne_bytes(), line.to_ne_bytes()];
        self.block.extend_from_slice(lengths.as_flattened());
    }

    /// Returns the lines of one header.
    pub(super) fn lines(&self, name: &'static str) -> Lines<'_> {
        let [lines] = self.lines_of([name]);
        lines
    }

    /// Returns the lines of each of these headers, in one pass.
    pub(super) fn lines_of<const N: usize>(&self, names: [&'static str; N]) -> [Lines<'_>; N] {
        let mut found = names.map(Lines::none);
        let mut fields = self.fields();
        while let (from_here, Some(field)) = (fields.clone(), fields.next()) {
            let index = names.iter().position(|name| field.is_named(name));
            if let Some(lines) = index.and_then(|index| found.get_mut(index)) {
                lines.add(&field, from_here);
            }
        }
        found
    }

    /// Gives out the fields and the empty line that ends a head, as they go over the wire.
    pub(super) fn pieces(&self, mut put: impl FnMut(&[u8])) {
        for field in self.fields() {
            put(field.line);
        }
        put(LINE_END);
    }

    /// Passes on the same pieces without the fields of this name.
    pub(super) fn pieces_without(&self, name: &str, mut put: impl FnMut(&[u8])) {
        for field in self.fields().filter(|field| !field.is_named(name)) {
            put(field.line);
        }
        put(LINE_END);
    }

    fn fields(&self) -> Fields<'_> {
        Fields { rest: &self.block }
    }
}

/// Equal names have equal values in the same order; the order of different names is no matter.
impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        let same = |(name, _)| self.get_all(name).eq(other.get_all(name));
        self.len() == other.len() && self.iter().all(same)
    }
}

impl Eq for Headers {}

/// Hides the values of fields that hold secrets.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (name, value) in self.iter() {
            if SECRET
                .iter()
                .any(|secret| secret.eq_ignore_ascii_case(name))
            {
                map.entry(&name, &format_args!("<redacted>"));
            } else {
                map.entry(&name, &format_args!("\"{}\"", value.escape_ascii()));
            }
        }
        map.finish()
    }
}

/// The lines of one header.
#[derive(Debug, Clone)]
pub(super) struct Lines<'a> {
    name: &'static str,
    first: Option<&'a [u8]>,
    /// The fields from the second line of this header on; none if there is no second line.
    more: Fields<'a>,
}

impl<'a> Lines<'a> {
    const fn none(name: &'static str) -> Self {
        Self {
            name,
            first: None,
            more: Fields { rest: &[] },
        }
    }

    fn add(&mut self, field: &Field<'a>, from_here: Fields<'a>) {
        if self.first.is_none() {
            self.first = Some(field.value());
        } else if self.more.rest.is_empty() {
            self.more = from_here;
        }
    }

    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Whether there is one line, and this is all of it, in any case.
    pub(super) fn is(&self, text: &str) -> bool {
        let value = self.single().ok().flatten();
        value.is_some_and(|value| is_same_in_any_case(value, text.as_bytes()))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &'a [u8]> {
        let more = self.more.clone();
        let more = more.filter(|field| field.is_named(self.name));
        self.first
            .into_iter()
            .chain(more.map(|field| field.value()))
    }

    /// Returns the value of a header that may stand only once.
    pub(super) const fn single(&self) -> Result<Option<&'a [u8]>, HandshakeError> {
        match self.more.rest {
            [] => Ok(self.first),
            _ => Err(HandshakeError::RepeatedHeader(self.name)),
        }
    }

    /// Returns the value of a header that must stand exactly once.
    pub(super) fn required(&self) -> Result<&'a [u8], HandshakeError> {
        self.single()?
            .ok_or(HandshakeError::MissingHeader(self.name))
    }

    /// Returns the error that this header does not follow its grammar.
    pub(super) const fn invalid(&self, cause: GrammarError) -> HandshakeError {
        HandshakeError::InvalidHeader {
            name: self.name,
            cause,
        }
    }
}

#[derive(Debug, Clone)]
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let (name_length, rest) = self.rest.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (line, rest) = rest.split_at_checked(usize::from_ne_bytes(*length))?;
        self.rest = rest;
        Some(Field {
            name_length: usize::from_ne_bytes(*name_length),
            line,
        })
    }
}

/// A field that is not taken apart before its name is asked for: most lookups pass it by.
struct Field<'a> {
    name_length: usize,
    line: &'a [u8],
}

impl<'a> Field<'a> {
    fn is_named(&self, name: &str) -> bool {
        self.name_length == name.len() && is_same_in_any_case(self.name(), name.as_bytes())
    }

    fn name(&self) -> &'a [u8] {
        self.line.get(..self.name_length).unwrap_or_default()
    }

    fn value(&self) -> &'a [u8] {
        let start = self.name_length.saturating_add(COLON.len());
        let end = self.line.len().saturating_sub(LINE_END.len());
        self.line.get(start..end).unwrap_or_default()
    }
}

/// A header that the caller wanted to send and that would break the head.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidHeader {
    /// The name is not a token (RFC 9110 section 5.6.2).
    Name {
        /// The name as given.
        name: String,
    },
    /// The value holds a byte that may not stand there.
    Value {
        /// The name of the header.
        name: String,
        /// The byte that is refused.
        byte: u8,
        /// Where in the value it stands.
        offset: usize,
    },
    /// An element of the value is empty.
    Empty {
        /// The name of the header.
        name: String,
    },
    /// An element of the value stands there twice.
    Repeated {
        /// The name of the header.
        name: String,
    },
    /// The header belongs to the handshake and cannot be set.
    Reserved {
        /// The name of the header.
        name: String,
    },
}

impl fmt::Display for InvalidHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { name } => write!(f, "header name {name:?} is not a token"),
            Self::Value { name, byte, offset } => {
                write!(
                    f,
                    "value of header {name} has byte {byte:#04x} at offset {offset}"
                )
            }
            Self::Empty { name } => write!(f, "an element of header {name} is empty"),
            Self::Repeated { name } => write!(f, "an element of header {name} is repeated"),
            Self::Reserved { name } => write!(f, "header {name} is set by the handshake itself"),
        }
    }
}

impl core::error::Error for InvalidHeader {}

/// The length of a line with this name and value, as they are sent.
const fn line_length(name: &[u8], value: &[u8]) -> usize {
    let around = COLON.len().wrapping_add(LINE_END.len());
    name.len().wrapping_add(value.len()).wrapping_add(around)
}

/// Whether a line that was parsed is written as it is sent. One with other spaces is longer than its
/// name and value tell, and goes on where this one ends.
fn is_usual(line: &[u8], name_length: usize) -> bool {
    let behind_name = line.get(name_length..).unwrap_or_default();
    behind_name.starts_with(COLON) && line.ends_with(LINE_END)
}

/// Returns what comes after the first line; `None` if that does not end in CRLF.
fn behind_line(lines: &[u8]) -> Option<&[u8]> {
    let end = lines.iter().position(|byte| *byte == b'\n')?;
    let (line, rest) = lines.split_at_checked(end.saturating_add(1))?;
    line.ends_with(LINE_END).then_some(rest)
}

fn check_name(name: &str) -> Result<(), InvalidHeader> {
    if is_token(name.as_bytes()) {
        Ok(())
    } else {
        Err(InvalidHeader::Name { name: name.into() })
    }
}

fn check_value(name: &str, value: &[u8]) -> Result<(), InvalidHeader> {
    check_bytes(name, value, is_text_byte)
}

/// Checks text that must be a token within the value of a header.
pub(super) fn check_token(name: &str, text: &str) -> Result<(), InvalidHeader> {
    match text {
        "" => Err(InvalidHeader::Empty { name: name.into() }),
        _ => check_bytes(name, text.as_bytes(), is_token_byte),
    }
}

fn check_bytes(name: &str, value: &[u8], allowed: fn(u8) -> bool) -> Result<(), InvalidHeader> {
    match value.iter().enumerate().find(|(_, byte)| !allowed(**byte)) {
        Some((offset, &byte)) => Err(InvalidHeader::Value {
            name: name.into(),
            byte,
            offset,
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Headers {
        let mut headers = Headers::new();
        headers.append("Host", "example.com").unwrap();
        headers.append("X-Many", "1").unwrap();
        headers.append("x-many", b"\xff2").unwrap();
        headers
    }

    #[test]
    fn an_error_says_what_is_wrong_with_which_header() {
        let name = || String::from("X");
        for (error, text) in [
            (
                InvalidHeader::Name { name: "a b".into() },
                "header name \"a b\" is not a token",
            ),
            (
                InvalidHeader::Value {
                    name: name(),
                    byte: 10,
                    offset: 3,
                },
                "value of header X has byte 0x0a at offset 3",
            ),
            (
                InvalidHeader::Empty { name: name() },
                "an element of header X is empty",
            ),
            (
                InvalidHeader::Repeated { name: name() },
                "an element of header X is repeated",
            ),
            (
                InvalidHeader::Reserved { name: name() },
                "header X is set by the handshake itself",
            ),
        ] {
            assert_eq!(alloc::format!("{error}"), text);
        }
    }

    #[test]
    fn what_is_expected_is_allocated_once() {
        let mut headers = Headers::with_capacity(2, "A: b\r\nCd: \r\n".len());
        let block = headers.block.as_ptr();
        headers.push(b"A", b"b");
        headers.push(b"Cd", b"");
        assert_eq!(headers.block.as_ptr(), block);
        assert_eq!(headers.block.len(), headers.block.capacity());
    }

    #[test]
    fn there_are_fields_or_none() {
        assert!(Headers::new().is_empty() && !sample().is_empty());
        assert!(sample().contains("HOST") && !sample().contains("X"));
    }

    #[test]
    fn text_within_a_value_is_a_token() {
        let name = || String::from("X");
        assert_eq!(check_token("X", "a-1"), Ok(()));
        assert_eq!(
            check_token("X", ""),
            Err(InvalidHeader::Empty { name: name() })
        );
        let error = InvalidHeader::Value {
            name: name(),
            byte: b',',
            offset: 1,
        };
        assert_eq!(check_token("X", "a,b"), Err(error));
    }

    #[test]
    fn lookup_ignores_case_and_keeps_order_and_spelling() {
        let headers = sample();
        assert_eq!(headers.get("HOST"), Some(&b"example.com"[..]));
        assert_eq!(headers.get_str("host"), Some("example.com"));
        let many: Vec<_> = headers.get_all("X-MANY").collect();
        assert_eq!(many, [&b"1"[..], b"\xff2"]);
        let names: Vec<_> = headers.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["Host", "X-Many", "x-many"]);
        assert_eq!(headers.len(), 3);
    }

    #[test]
    fn bytes_from_0x80_are_opaque() {
        let mut headers = Headers::new();
        headers.append("X", [0x80, 0xff]).unwrap();
        assert_eq!(headers.get("X"), Some(&[0x80, 0xff][..]));
        assert_eq!(headers.get_str("X"), None);
    }

    #[test]
    fn set_replaces_and_remove_removes_all_of_a_name() {
        let mut headers = sample();
        headers.set("X-MANY", "3").unwrap();
        assert_eq!(headers.get_all("x-many").count(), 1);
        assert_eq!(headers.len(), 2);
        headers.remove("x-Many");
        assert!(!headers.contains("X-Many"));
        headers.remove("Host");
        assert!(headers.is_empty());
    }

    #[test]
    fn injection_is_refused_and_changes_nothing() {
        let values: [(&[u8], u8, usize); 6] = [
            (b"a\r\nSet-Cookie: b", b'\r', 1),
            (b"a\nb", b'\n', 1),
            (b"a\0", 0, 1),
            (b"\x7f", 0x7f, 0),
            (b"a\r", b'\r', 1),
            (b"\x0b", 0x0b, 0),
        ];
        for (value, byte, offset) in values {
            let mut headers = sample();
            let name = "X-Many".into();
            let error = InvalidHeader::Value { name, byte, offset };
            assert_eq!(headers.append("X-Many", value), Err(error.clone()));
            assert_eq!(headers.set("X-Many", value), Err(error));
            assert_eq!(headers, sample());
        }
        for name in ["", "a b", "a:", "a\r\nb", "ä", "a\0"] {
            let error = InvalidHeader::Name { name: name.into() };
            assert_eq!(sample().append(name, "x"), Err(error));
        }
    }

    #[test]
    fn whitespace_around_a_value_is_no_part_of_it() {
        let mut headers = Headers::new();
        headers.append("A", " \tb c\t ").unwrap();
        assert_eq!(headers.get("a"), Some(&b"b c"[..]));
    }

    #[test]
    fn equality_ignores_the_order_of_different_names() {
        let mut other = Headers::new();
        other.append("X-MANY", "1").unwrap();
        other.append("HOST", "example.com").unwrap();
        assert_ne!(sample(), other);
        other.append("X-Many", b"\xff2").unwrap();
        assert_eq!(sample(), other);
        other.append("Y", "1").unwrap();
        assert_ne!(sample(), other);
        other.remove("Y");
        other.set("Host", "example.org").unwrap();
        assert_ne!(sample(), other);
    }

    #[test]
    fn equality_heeds_the_order_of_equal_names() {
        let [mut a, mut b] = [Headers::new(), Headers::new()];
        a.append("X", "1").unwrap();
        a.append("X", "2").unwrap();
        b.append("X", "2").unwrap();
        b.append("X", "1").unwrap();
        assert_ne!(a, b);
    }

    #[test]
    fn debug_hides_secrets() {
        let mut headers = Headers::new();
        for name in [
            "authorization",
            "PROXY-AUTHORIZATION",
            "Cookie",
            "Set-Cookie",
        ] {
            headers.append(name, "hunter2").unwrap();
        }
        headers.append("X", b"\xffvisible").unwrap();
        let debug = format!("{headers:?}");
        assert!(!debug.contains("hunter2"), "{debug}");
        assert!(debug.contains(r#""X": "\xffvisible""#), "{debug}");
    }

    #[test]
    fn single_refuses_repetition_and_required_absence() {
        let headers = sample();
        assert_eq!(headers.lines("None").single(), Ok(None));
        assert_eq!(headers.lines("Host").required(), Ok(&b"example.com"[..]));
        let repeated = HandshakeError::RepeatedHeader("X-Many");
        assert_eq!(headers.lines("X-Many").single(), Err(repeated));
        let missing = HandshakeError::MissingHeader("None");
        assert_eq!(headers.lines("None").required(), Err(missing));
    }

    #[test]
    fn the_lines_of_several_headers_are_found_in_one_pass() {
        let mut headers = sample();
        headers.append("Host", "").unwrap();
        headers.append("X-MANY", "3").unwrap();
        let [many, none, host] = headers.lines_of(["x-many", "None", "host"]);
        assert_eq!(many.iter().collect::<Vec<_>>(), [&b"1"[..], b"\xff2", b"3"]);
        assert_eq!(host.iter().collect::<Vec<_>>(), [&b"example.com"[..], b""]);
        assert!(none.is_empty() && none.iter().next().is_none());
    }
}
