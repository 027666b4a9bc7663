//! Header fields (RFC 9110 section 5): a multi-map that keeps their order and spelling.
//!
//! All fields lie in one block, each as the lengths of its name and value, then both: a head is parsed
//! with one allocation, and a lookup walks a few hundred bytes in a row. No hashing, so no collisions
//! that a peer could choose.
//!
//! The rule: names in the block are tokens, and values hold no control character but HTAB. What
//! does not pass that test is refused, never repaired.

use alloc::{string::String, vec::Vec};
use core::{fmt, str};

use crate::handshake::HandshakeError;

/// Names whose values `Debug` hides.
const SECRET: [&str; 4] = [
    "Authorization",
    "Proxy-Authorization",
    "Cookie",
    "Set-Cookie",
];

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
        self.fields()
            .map(|(name, value)| (str::from_utf8(name).unwrap_or_default(), value))
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
            .filter(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
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
        for (other, value) in self.fields() {
            if !other.eq_ignore_ascii_case(name.as_bytes()) {
                kept.push(other, value);
            }
        }
        *self = kept;
    }

    /// Adds a field whose name and value are known to be well-formed.
    pub(super) fn push(&mut self, name: &[u8], value: &[u8]) {
        self.block.extend_from_slice(&name.len().to_ne_bytes());
        self.block.extend_from_slice(&value.len().to_ne_bytes());
        self.block.extend_from_slice(name);
        self.block.extend_from_slice(value);
    }

    /// Returns the value of a field that may stand only once.
    pub(super) fn single(&self, name: &'static str) -> Result<Option<&[u8]>, HandshakeError> {
        let mut values = self.get_all(name);
        let value = values.next();
        match values.next() {
            None => Ok(value),
            Some(_) => Err(HandshakeError::RepeatedHeader(name)),
        }
    }

    /// Returns the value of a field that must stand exactly once.
    pub(super) fn required(&self, name: &'static str) -> Result<&[u8], HandshakeError> {
        self.single(name)?
            .ok_or(HandshakeError::MissingHeader(name))
    }

    /// Writes the fields and the empty line that ends a head.
    pub(super) fn write_to(&self, out: &mut Vec<u8>) {
        out.reserve(self.block.len());
        for (name, value) in self.fields() {
            out.extend_from_slice(name);
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
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

struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (name_length, rest) = self.rest.split_first_chunk()?;
        let (value_length, rest) = rest.split_first_chunk()?;
        let (name, rest) = rest.split_at_checked(usize::from_ne_bytes(*name_length))?;
        let (value, rest) = rest.split_at_checked(usize::from_ne_bytes(*value_length))?;
        self.rest = rest;
        Some((name, value))
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
            Self::Reserved { name } => write!(f, "header {name} is set by the handshake itself"),
        }
    }
}

impl core::error::Error for InvalidHeader {}

fn check_name(name: &str) -> Result<(), InvalidHeader> {
    if is_token(name.as_bytes()) {
        Ok(())
    } else {
        Err(InvalidHeader::Name { name: name.into() })
    }
}

fn check_value(name: &str, value: &[u8]) -> Result<(), InvalidHeader> {
    check_bytes(name, value, is_value_byte)
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

/// Whether the bytes are a token (RFC 9110 section 5.6.2).
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().copied().all(is_token_byte)
}

pub(super) const fn is_token_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_'
        | b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'.' | b'^' | b'`' | b'|' | b'~')
}

/// Whether the byte may stand in a field value (RFC 9110 section 5.5).
pub(super) const fn is_value_byte(byte: u8) -> bool {
    byte >= 0x20 && byte != 0x7f || byte == b'\t'
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
