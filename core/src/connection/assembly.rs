//! Where a message, or a frame, is put together that does not arrive in one piece.
//!
//! It grows with what has arrived: room is reserved ahead for as much again, at least 4 KiB, and never
//! for more than the message can have. A block that grows exists twice for a moment: where both would
//! exceed the limit, and the message may do so as well, a second block takes the rest. So a message
//! that is refused has not cost more than the limit. Text stays text, so that its proof is not lost.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use crate::frame::Kind;
use crate::frame::utf8::{CutCharacter, InvalidUtf8};

/// What has arrived.
#[derive(Debug)]
pub(super) struct Assembly {
    first: Block,
    /// What follows the first block, until the message is complete.
    rest: Option<Block>,
}

/// Bytes or text in one piece.
#[derive(Debug)]
pub(super) enum Block {
    Binary(Vec<u8>),
    Text(String),
}

/// How much can still come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expectation {
    /// Bytes that have been announced and have not arrived.
    pub(super) announced: usize,
    /// The most that the whole can have.
    pub(super) most: usize,
    /// The most that a block and the larger one that replaces it may take together.
    pub(super) both: usize,
}

impl Expectation {
    /// Bytes reserved ahead of their arrival, where less has arrived.
    const AHEAD: usize = 4096;

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

impl Assembly {
    /// Returns the assembly in this place, made anew where it holds the other kind.
    pub(super) fn of(kind: Kind, place: &mut Option<Box<Self>>) -> &mut Self {
        if place
            .as_deref()
            .is_some_and(|held| held.first.kind() != kind)
        {
            *place = None;
        }
        place.get_or_insert_with(|| {
            Box::new(Self {
                first: Block::with_capacity(kind, 0),
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
        cut: &mut CutCharacter,
        expected: Expectation,
    ) -> Result<(), InvalidUtf8> {
        let first = &mut self.first;
        if self.rest.is_none() {
            let (length, held) = (first.len(), first.capacity());
            let needed = length.saturating_add(cut.len()).saturating_add(bytes.len());
            let capacity = expected.capacity_for(needed, held);
            if capacity == held || held.saturating_add(capacity) <= expected.both {
                first.reserve_to(capacity);
            } else {
                let left = expected.most.saturating_sub(length);
                self.rest = Some(Block::with_capacity(first.kind(), left));
            }
        }
        self.rest.as_mut().unwrap_or(first).push(bytes, cut)
    }

    /// Returns the whole, in one piece.
    pub(super) fn whole(&mut self) -> &mut Block {
        if let Some(rest) = self.rest.take() {
            self.first.append(&rest);
        }
        &mut self.first
    }
}

impl Block {
    fn with_capacity(kind: Kind, capacity: usize) -> Self {
        match kind {
            Kind::Binary => Self::Binary(Vec::with_capacity(capacity)),
            Kind::Text => Self::Text(String::with_capacity(capacity)),
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
            Self::Binary(bytes) => bytes,
            Self::Text(text) => text.as_bytes(),
        }
    }

    fn reserve_to(&mut self, capacity: usize) {
        let more = capacity.saturating_sub(self.len());
        match self {
            Self::Binary(bytes) => bytes.reserve_exact(more),
            Self::Text(text) => text.reserve_exact(more),
        }
    }

    fn push(&mut self, bytes: &[u8], cut: &mut CutCharacter) -> Result<(), InvalidUtf8> {
        match self {
            Self::Binary(held) => {
                held.extend_from_slice(bytes);
                Ok(())
            }
            Self::Text(held) => cut.feed(bytes, |text| held.push_str(text)),
        }
    }

    fn append(&mut self, rest: &Self) {
        self.reserve_to(self.len().saturating_add(rest.len()));
        match (self, rest) {
            (Self::Binary(bytes), rest) => bytes.extend_from_slice(rest.as_bytes()),
            (Self::Text(text), Self::Text(rest)) => text.push_str(rest),
            (Self::Text(_), Self::Binary(_)) => {}
        }
    }
}
