//! What a command sends: bytes or text, borrowed for the call or shared by reference count.

use alloc::{string::String, vec::Vec};

use bytes::Bytes;
use bytestring::ByteString;

/// Bytes to send.
///
/// Borrowed bytes are copied into the output queue. Shared ones are sent by reference where that is
/// cheaper: when they are large and need no masking.
#[derive(Debug, Clone)]
pub enum Payload<'a> {
    /// Bytes that are copied during the call.
    Borrowed(&'a [u8]),
    /// Bytes that are kept, without a copy, until they have been sent.
    Shared(Bytes),
}

impl Payload<'_> {
    /// Returns the bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

impl<'a> From<&'a [u8]> for Payload<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Borrowed(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Payload<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::Borrowed(bytes)
    }
}

impl<'a> From<&'a Vec<u8>> for Payload<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Self::Borrowed(bytes)
    }
}

impl From<Vec<u8>> for Payload<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Shared(bytes.into())
    }
}

impl From<Bytes> for Payload<'_> {
    fn from(bytes: Bytes) -> Self {
        Self::Shared(bytes)
    }
}

/// For the further fragments of a text.
impl<'a> From<&'a str> for Payload<'a> {
    fn from(text: &'a str) -> Self {
        Self::Borrowed(text.as_bytes())
    }
}

/// For the further fragments of a text.
impl From<String> for Payload<'_> {
    fn from(text: String) -> Self {
        Self::Shared(text.into())
    }
}

/// Text to send: a [`Payload`] that is known to be UTF-8.
#[derive(Debug, Clone)]
pub enum TextPayload<'a> {
    /// Text that is copied during the call.
    Borrowed(&'a str),
    /// Text that is kept, without a copy, until it has been sent.
    Shared(ByteString),
}

impl<'a> From<TextPayload<'a>> for Payload<'a> {
    fn from(text: TextPayload<'a>) -> Self {
        match text {
            TextPayload::Borrowed(text) => Self::Borrowed(text.as_bytes()),
            TextPayload::Shared(text) => Self::Shared(text.into_bytes()),
        }
    }
}

impl<'a> From<&'a str> for TextPayload<'a> {
    fn from(text: &'a str) -> Self {
        Self::Borrowed(text)
    }
}

impl<'a> From<&'a String> for TextPayload<'a> {
    fn from(text: &'a String) -> Self {
        Self::Borrowed(text)
    }
}

impl From<String> for TextPayload<'_> {
    fn from(text: String) -> Self {
        Self::Shared(text.into())
    }
}

impl From<ByteString> for TextPayload<'_> {
    fn from(text: ByteString) -> Self {
        Self::Shared(text)
    }
}
