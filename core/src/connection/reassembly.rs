//! Where a message, or a frame, is put together that does not arrive in one piece.
//!
//! It grows with what has arrived: room is reserved ahead for as much again, at least 4 KiB, and never
//! for more than the message can have. A block that grows exists twice for a moment: where both would
//! exceed the limit, and the message may do so as well, a second block takes the rest. So a message
//! that is refused has not cost more than the limit. Text stays text, so that its proof is not lost.

use alloc::boxed::Box;
use alloc::string::String;

use crate::buffer::BufferPool;
use crate::frame::Kind;
use crate::frame::utf8::{InvalidUtf8, Utf8Tail};
use crate::message_buf::MessageBuf;

/// What has arrived.
#[derive(Debug)]
pub(super) struct Reassembly {
    first: Block,
    /// What follows the first block, until the message is complete.
    rest: Option<Block>,
}

/// Bytes or text in one piece.
#[derive(Debug)]
pub(super) enum Block {
    Binary(MessageBuf),
    Text(String),
}

/// How much can still come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Growth {
    /// Bytes that have been announced and have not arrived.
    pub(super) announced: usize,
    /// The most that the whole can have.
    pub(super) most: usize,
    /// The most that a block and the larger one that replaces it may take together.
    pub(super) both: usize,
}

impl Growth {
    /// Bytes reserved ahead of their arrival, where less has arrived.
    const AHEAD: usize = 4096;

    /// Nothing has been announced; the whole has at most `limit` bytes.
    pub(super) const fn within(limit: usize) -> Self {
        Self {
            announced: 0,
            most: limit,
            both: limit,
        }
    }

    /// Returns the capacity to have for `needed` bytes; `capacity` where that is enough.
    fn capacity_for(self, needed: usize, capacity: usize) -> usize {
        if needed <= capacity {
            return capacity;
        }
        let ahead = self.announced.min(needed.max(Self::AHEAD));
        let doubled = capacity.saturating_mul(2);
        let target = needed.saturating_add(ahead).max(doubled);
        target.min(self.most.max(needed))
    }
}

impl Reassembly {
    /// Returns the reassembly in this place, made anew where it holds the other kind.
    pub(super) fn of(kind: Kind, place: &mut Option<Box<Self>>) -> &mut Self {
        place.take_if(|held| held.first.kind() != kind);
        place.get_or_insert_with(|| {
            Box::new(Self {
                first: Block::of(kind),
                rest: None,
            })
        })
    }

    pub(super) fn len(&self) -> usize {
        let rest = self.rest.as_ref().map_or(0, Block::len);
        self.first.len().saturating_add(rest)
    }

    /// Forgets the bytes and keeps the first block.
    pub(super) fn clear(&mut self) {
        self.rest = None;
        match &mut self.first {
            Block::Binary(bytes) => bytes.clear(),
            Block::Text(text) => text.clear(),
        }
    }

    /// Adds bytes. Those of a text are checked; `cut` holds the start of a character between them.
    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        tail: &mut Utf8Tail,
        growth: Growth,
        pool: &dyn BufferPool,
    ) -> Result<(), InvalidUtf8> {
        let more = tail.len().saturating_add(bytes.len());
        self.last_with_room(more, growth, pool).push(bytes, tail)
    }

    /// Returns room at the end to read announced bytes into, of a binary message; at least one.
    pub(super) fn room(&mut self, growth: Growth, pool: &dyn BufferPool) -> &mut [u8] {
        let more = growth.announced.min(Growth::AHEAD);
        let room = match self.last_with_room(more, growth, pool) {
            Block::Binary(bytes) => bytes.room(),
            Block::Text(_) => &mut [],
        };
        let size = room.len().min(growth.announced);
        room.get_mut(..size).unwrap_or_default()
    }

    /// Says that `count` bytes of the room were filled, and returns them.
    pub(super) fn commit(&mut self, count: usize) -> &mut [u8] {
        match self.rest.as_mut().unwrap_or(&mut self.first) {
            Block::Binary(bytes) => bytes.commit(count),
            Block::Text(_) => &mut [],
        }
    }

    /// Returns the block at the end, with room for `more` bytes.
    fn last_with_room(&mut self, more: usize, growth: Growth, pool: &dyn BufferPool) -> &mut Block {
        let first = &mut self.first;
        if self.rest.is_none() {
            let (length, held) = (first.len(), first.capacity());
            let capacity = growth.capacity_for(length.saturating_add(more), held);
            if capacity == held || held.saturating_add(capacity) <= growth.both {
                first.reserve_to(capacity, pool);
            } else {
                let mut rest = Block::of(first.kind());
                rest.reserve_to(growth.most.saturating_sub(length), pool);
                self.rest = Some(rest);
            }
        }
        self.rest.as_mut().unwrap_or(first)
    }

    /// Returns the whole, in one piece.
    pub(super) fn whole(&mut self, pool: &dyn BufferPool) -> &mut Block {
        if let Some(rest) = self.rest.take() {
            self.first.append(&rest, pool);
        }
        &mut self.first
    }

    /// Gives a large block to the pool.
    pub(super) fn release(mut self, pool: &dyn BufferPool) {
        if let Block::Binary(bytes) = &mut self.first {
            bytes.release(pool);
        }
    }
}

impl Block {
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::Binary => Self::Binary(MessageBuf::default()),
            Kind::Text => Self::Text(String::new()),
        }
    }

    const fn kind(&self) -> Kind {
        match self {
            Self::Binary(_) => Kind::Binary,
            Self::Text(_) => Kind::Text,
        }
    }

    fn len(&self) -> usize {
        self.as_bytes().len()
    }

    fn capacity(&self) -> usize {
        match self {
            Self::Binary(bytes) => bytes.capacity(),
            Self::Text(text) => text.capacity(),
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Binary(bytes) => bytes.as_slice(),
            Self::Text(text) => text.as_bytes(),
        }
    }

    fn reserve_to(&mut self, capacity: usize, pool: &dyn BufferPool) {
        match self {
            Self::Binary(bytes) => bytes.reserve_to(capacity, pool),
            Self::Text(text) => text.reserve_exact(capacity.saturating_sub(text.len())),
        }
    }

    fn push(&mut self, bytes: &[u8], tail: &mut Utf8Tail) -> Result<(), InvalidUtf8> {
        match self {
            Self::Binary(held) => {
                held.push(bytes);
                Ok(())
            }
            Self::Text(held) => tail.feed(bytes, |text| held.push_str(text)),
        }
    }

    fn append(&mut self, rest: &Self, pool: &dyn BufferPool) {
        self.reserve_to(self.len().saturating_add(rest.len()), pool);
        match (self, rest) {
            (Self::Binary(bytes), rest) => bytes.push(rest.as_bytes()),
            (Self::Text(text), Self::Text(rest)) => text.push_str(rest),
            (Self::Text(_), Self::Binary(_)) => {}
        }
    }
}
