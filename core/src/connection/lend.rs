//! From what is ready to the event that lends it.
//!
//! A payload in one piece lies at the start of the read buffer and is lent from there; what was put
//! together is lent from the reassembly. Both are taken back when the connection is used again.

use alloc::sync::Arc;

use crate::buffer::BufferPool;
use crate::error::{Failure, ProtocolError};
use crate::event::{Chunk, Event, FrameRef};
use crate::frame::utf8::{self, InvalidUtf8};
use crate::frame::{Kind, OpCode};
use crate::message::{LentBytes, LentText, MessageRef};

use super::link::Link;
use super::reassembly::Block;
use super::receive::Incoming;

/// An event that is ready.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ready {
    Message {
        kind: Kind,
        place: Place,
    },
    Frame {
        opcode: OpCode,
        fin: bool,
        place: Place,
    },
    Chunk {
        kind: Kind,
        first: bool,
        last: bool,
        place: Place,
    },
    Ping {
        size: usize,
    },
    Pong {
        size: usize,
        /// Whether it answers a ping of ours.
        matched: bool,
    },
    Close,
    Failed,
}

/// Where a payload lies.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// So many bytes at the start of the read buffer.
    Read(usize),
    Reassembly,
}

impl Ready {
    /// Whether this is a message, or a part of one.
    pub(super) const fn is_data(&self) -> bool {
        match self {
            Self::Message { .. } | Self::Frame { .. } | Self::Chunk { .. } => true,
            Self::Ping { .. } | Self::Pong { .. } | Self::Close | Self::Failed => false,
        }
    }
}

impl Incoming {
    /// Gives out the event that is ready. Text in one piece is checked here, once, as it is lent.
    #[inline]
    pub(super) fn take_event<'a>(&'a mut self, link: &'a mut Link) -> Option<Event<'a>> {
        Some(match self.ready.take()? {
            Ready::Message { kind, place } => match self.lend_message(kind, place, link) {
                Ok(message) => Event::Message(message),
                Err(error) => Event::Failed(Failure::Protocol(error)),
            },
            Ready::Frame { opcode, fin, place } => {
                self.part_taken();
                Event::Frame(FrameRef {
                    opcode,
                    fin,
                    payload: self.lend_bytes(place, link),
                })
            }
            Ready::Chunk {
                kind,
                first,
                last,
                place,
            } => {
                self.part_taken();
                Event::Chunk(Chunk {
                    kind,
                    first,
                    last,
                    payload: self.lend_slice(place, link),
                })
            }
            Ready::Ping { size } => Event::Ping(self.lend(size)),
            Ready::Pong { size, matched } => Event::Pong {
                payload: self.lend(size),
                latency: link.pings.latency().filter(|_| matched),
            },
            Ready::Close => Event::Close(link.received_close()?.clone()),
            Ready::Failed => Event::Failed(link.failure()?.clone()),
        })
    }

    /// A part was taken of the message that is open, if one is.
    const fn part_taken(&mut self) {
        if let Some(open) = &mut self.open {
            open.is_part_taken = true;
        }
    }

    #[inline]
    fn lend(&mut self, size: usize) -> &[u8] {
        self.lent = Some(Place::Read(size));
        self.buffer.front(size)
    }

    /// Gives out the message that is ready, and leaves every other event.
    #[inline]
    pub(super) fn take_message<'a>(
        &'a mut self,
        link: &'a mut Link,
    ) -> Result<Option<MessageRef<'a>>, ProtocolError> {
        let Some(Ready::Message { kind, place }) = self.ready else {
            return Ok(None);
        };
        self.ready = None;
        self.lend_message(kind, place, link).map(Some)
    }

    #[inline]
    fn lend_message<'a>(
        &'a mut self,
        kind: Kind,
        place: Place,
        link: &'a mut Link,
    ) -> Result<MessageRef<'a>, ProtocolError> {
        match (place, kind) {
            (Place::Read(size), Kind::Binary) => {
                Ok(MessageRef::Binary(LentBytes::read(self.lend(size))))
            }
            (Place::Read(size), Kind::Text) => self.lend_text(size, link),
            (Place::Reassembly, _) => Ok(self.lend_assembled(link)),
        }
    }

    fn lend_text<'a>(
        &'a mut self,
        size: usize,
        link: &mut Link,
    ) -> Result<MessageRef<'a>, ProtocolError> {
        self.lent = Some(Place::Read(size));
        match utf8::check(self.buffer.front(size)) {
            Ok(text) => Ok(MessageRef::Text(LentText::read(text))),
            Err(InvalidUtf8) => {
                self.terminal_event_sent = true;
                let error = ProtocolError::InvalidUtf8;
                link.fail(Failure::Protocol(error));
                Err(error)
            }
        }
    }

    fn lend_assembled<'a>(&'a mut self, link: &'a Link) -> MessageRef<'a> {
        let pool = &link.settings().buffers;
        match self.lend_assembly(pool) {
            Some(Block::Text(text)) => MessageRef::Text(LentText::assembled(text)),
            Some(Block::Binary(bytes)) => MessageRef::Binary(LentBytes::assembled(bytes, pool)),
            None => MessageRef::Binary(LentBytes::read(&[])),
        }
    }

    fn lend_bytes<'a>(&'a mut self, place: Place, link: &'a Link) -> LentBytes<'a> {
        let pool = &link.settings().buffers;
        match place {
            Place::Read(size) => LentBytes::read(self.lend(size)),
            Place::Reassembly => match self.lend_assembly(pool) {
                Some(Block::Binary(bytes)) => LentBytes::assembled(bytes, pool),
                Some(Block::Text(_)) | None => LentBytes::read(&[]),
            },
        }
    }

    fn lend_slice(&mut self, place: Place, link: &Link) -> &[u8] {
        match place {
            Place::Read(size) => self.lend(size),
            Place::Reassembly => {
                let whole = self.lend_assembly(&link.settings().buffers);
                whole.map_or(&[], |whole| whole.as_bytes())
            }
        }
    }

    /// Not inlined, which makes what is read at once faster.
    #[inline(never)]
    fn lend_assembly(&mut self, pool: &Arc<dyn BufferPool>) -> Option<&mut Block> {
        self.lent = Some(Place::Reassembly);
        let reassembly = self.reassembly.as_deref_mut()?;
        Some(reassembly.whole(&**pool))
    }
}
