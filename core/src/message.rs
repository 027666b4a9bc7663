//! Messages, owned and lent.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use bytestring::ByteString;

use crate::buffer::BufferPool;
use crate::frame::{Kind, Payload, TextPayload};
use crate::message_buf::MessageBuf;

/// A message: what one side sent, whole (RFC 6455 section 5.6).
///
/// A clone shares the payload by reference count.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Message {
    /// UTF-8 text.
    Text(ByteString),
    /// Bytes of any meaning.
    Binary(Bytes),
}

impl Message {
    /// Returns a text message.
    #[must_use]
    pub fn text(text: impl Into<ByteString>) -> Self {
        Self::Text(text.into())
    }

    /// Returns a binary message.
    #[must_use]
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        Self::Binary(bytes.into())
    }

    /// Returns what the message holds.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Text(_) => Kind::Text,
            Self::Binary(_) => Kind::Binary,
        }
    }

    /// Returns the text, `None` for a binary message.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }

    /// Returns the payload, of whichever kind.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// Returns the payload, of whichever kind, without a copy.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Text(text) => text.into_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// Returns the length of the payload in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether the payload is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.debug_tuple("Text").field(&&**text).finish(),
            Self::Binary(bytes) => f.debug_tuple("Binary").field(bytes).finish(),
        }
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<ByteString> for Message {
    fn from(text: ByteString) -> Self {
        Self::Text(text)
    }
}

impl From<&[u8]> for Message {
    fn from(bytes: &[u8]) -> Self {
        Self::Binary(Bytes::copy_from_slice(bytes))
    }
}

impl<const N: usize> From<&[u8; N]> for Message {
    fn from(bytes: &[u8; N]) -> Self {
        Self::from(&bytes[..])
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Self::binary(bytes)
    }
}

impl From<Bytes> for Message {
    fn from(bytes: Bytes) -> Self {
        Self::Binary(bytes)
    }
}

/// A message to send, of which the payload may be borrowed.
///
/// Made from text, bytes, a [`Message`] or a [`MessageRef`].
#[derive(Debug, Clone)]
pub enum Outgoing<'a> {
    /// UTF-8 text.
    Text(TextPayload<'a>),
    /// Bytes of any meaning.
    Binary(Payload<'a>),
}

impl Outgoing<'_> {
    /// Returns the length of the payload in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Text(TextPayload::Borrowed(text)) => text.len(),
            Self::Text(TextPayload::Shared(text)) => text.len(),
            Self::Binary(payload) => payload.as_slice().len(),
        }
    }

    /// Whether the payload is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Message> for Outgoing<'_> {
    fn from(message: Message) -> Self {
        match message {
            Message::Text(text) => Self::Text(text.into()),
            Message::Binary(bytes) => Self::Binary(bytes.into()),
        }
    }
}

impl<'a> From<&'a Message> for Outgoing<'a> {
    fn from(message: &'a Message) -> Self {
        match message {
            Message::Text(text) => Self::Text((&**text).into()),
            Message::Binary(bytes) => Self::Binary((&**bytes).into()),
        }
    }
}

macro_rules! outgoing_from {
    ($($from:ty => $variant:ident),* $(,)?) => {$(
        impl<'a> From<$from> for Outgoing<'a> {
            fn from(payload: $from) -> Self {
                Self::$variant(payload.into())
            }
        }
    )*};
}

outgoing_from! {
    &'a str => Text,
    &'a String => Text,
    String => Text,
    ByteString => Text,
    &'a [u8] => Binary,
    &'a Vec<u8> => Binary,
    Vec<u8> => Binary,
    Bytes => Binary,
}

impl<'a, const N: usize> From<&'a [u8; N]> for Outgoing<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::Binary(bytes.into())
    }
}

/// A received message, lent from the connection's buffers until it is used again.
#[derive(Debug)]
pub enum MessageRef<'a> {
    /// UTF-8 text.
    Text(LentText<'a>),
    /// Bytes of any meaning.
    Binary(LentBytes<'a>),
}

impl MessageRef<'_> {
    /// Returns what the message holds.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Text(_) => Kind::Text,
            Self::Binary(_) => Kind::Binary,
        }
    }

    /// Returns the text, `None` for a binary message.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }

    /// Returns the payload, of whichever kind.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// Returns a message of its own: one allocation and copy of a message that arrived in one read,
    /// none of a larger one. A large binary one takes its block along, and gives it back to the
    /// [pool](crate::BufferPool::take_large) when its last clone is dropped.
    #[must_use]
    #[inline]
    pub fn into_owned(self) -> Message {
        match self {
            Self::Text(text) => Message::Text(text.into_owned()),
            Self::Binary(bytes) => Message::Binary(bytes.into_owned()),
        }
    }
}

impl<'a> From<&'a MessageRef<'_>> for Outgoing<'a> {
    fn from(message: &'a MessageRef<'_>) -> Self {
        match message {
            MessageRef::Text(text) => Self::Text((&**text).into()),
            MessageRef::Binary(bytes) => Self::Binary((&**bytes).into()),
        }
    }
}

impl<'a> From<&'a Message> for MessageRef<'a> {
    fn from(message: &'a Message) -> Self {
        match message {
            Message::Text(text) => Self::Text(LentText::read(text)),
            Message::Binary(bytes) => Self::Binary(LentBytes::read(bytes)),
        }
    }
}

/// Text lent from a connection; dereferences to `str`.
#[derive(Debug)]
pub struct LentText<'a>(Lent<&'a str, &'a mut String>);

/// Bytes lent from a connection; dereferences to a slice.
#[derive(Debug)]
pub struct LentBytes<'a>(Lent<&'a [u8], (&'a mut MessageBuf, &'a Arc<dyn BufferPool>)>);

/// Where a lent payload lies: in the read buffer, or in a block of its own that may be taken.
#[derive(Debug)]
enum Lent<B, O> {
    Read(B),
    Assembled(O),
}

impl<'a> LentText<'a> {
    pub(crate) const fn read(text: &'a str) -> Self {
        Self(Lent::Read(text))
    }

    pub(crate) const fn assembled(text: &'a mut String) -> Self {
        Self(Lent::Assembled(text))
    }

    /// Returns text of its own; see [`MessageRef::into_owned`] for its cost.
    #[must_use]
    #[inline]
    pub fn into_owned(self) -> ByteString {
        match self.0 {
            Lent::Read(text) => text.into(),
            Lent::Assembled(text) => core::mem::take(text).into(),
        }
    }
}

impl core::ops::Deref for LentText<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match &self.0 {
            Lent::Read(text) => text,
            Lent::Assembled(text) => text,
        }
    }
}

impl<'a> LentBytes<'a> {
    pub(crate) const fn read(bytes: &'a [u8]) -> Self {
        Self(Lent::Read(bytes))
    }

    pub(crate) const fn assembled(
        bytes: &'a mut MessageBuf,
        pool: &'a Arc<dyn BufferPool>,
    ) -> Self {
        Self(Lent::Assembled((bytes, pool)))
    }

    /// Returns bytes of its own; see [`MessageRef::into_owned`] for its cost.
    #[must_use]
    #[inline]
    pub fn into_owned(self) -> Bytes {
        match self.0 {
            Lent::Read(bytes) => Bytes::copy_from_slice(bytes),
            Lent::Assembled((bytes, pool)) => bytes.take(pool),
        }
    }
}

impl<'a> From<&'a [u8]> for LentBytes<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::read(bytes)
    }
}

impl core::ops::Deref for LentBytes<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Lent::Read(bytes) => bytes,
            Lent::Assembled((bytes, _)) => bytes.as_slice(),
        }
    }
}
