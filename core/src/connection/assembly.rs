//! Where a message, or a frame, is put together that does not arrive in one piece.
//!
//! It grows with what has arrived: room is reserved ahead for as much again, at least 4 KiB, and never
//! for more than the message can have. Text stays text, so that its proof is not lost.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use crate::frame::Kind;
use crate::frame::utf8::{CutCharacter, InvalidUtf8};

#[derive(Debug)]
pub(super) enum Assembly {
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
}

impl Expectation {
    /// Bytes reserved ahead of their arrival, where less has arrived.
    const AHEAD: usize = 4096;

    /// Returns how much room to add for `size` bytes.
    fn growth(self, length: usize, capacity: usize, size: usize) -> usize {
        let needed = length.saturating_add(size);
        if needed <= capacity {
            return 0;
        }
        let ahead = self.announced.min(needed.max(Self::AHEAD));
        let doubled = capacity.saturating_mul(2);
        let target = needed.saturating_add(ahead).max(doubled);
        target.min(self.most.max(needed)).saturating_sub(length)
    }
}

impl Assembly {
    /// Returns the assembly in this place, made anew where it holds the other kind.
    pub(super) fn of(kind: Kind, place: &mut Option<Box<Self>>) -> &mut Self {
        let fits = matches!(
            (kind, place.as_deref()),
            (Kind::Binary, Some(Self::Binary(_))) | (Kind::Text, Some(Self::Text(_)))
        );
        if !fits {
            *place = None;
        }
        place.get_or_insert_with(|| {
            Box::new(match kind {
                Kind::Binary => Self::Binary(Vec::new()),
                Kind::Text => Self::Text(String::new()),
            })
        })
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Binary(bytes) => bytes.len(),
            Self::Text(text) => text.len(),
        }
    }

    /// Forgets the bytes and keeps the block.
    pub(super) fn clear(&mut self) {
        match self {
            Self::Binary(bytes) => bytes.clear(),
            Self::Text(text) => text.clear(),
        }
    }

    /// Adds bytes. Those of a text are checked; `cut` holds the start of a character between them.
    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        cut: &mut CutCharacter,
        expected: Expectation,
    ) -> Result<(), InvalidUtf8> {
        match self {
            Self::Binary(held) => {
                held.reserve_exact(expected.growth(held.len(), held.capacity(), bytes.len()));
                held.extend_from_slice(bytes);
                Ok(())
            }
            Self::Text(held) => {
                held.reserve_exact(expected.growth(held.len(), held.capacity(), bytes.len()));
                cut.feed(bytes, |text| held.push_str(text))
            }
        }
    }
}
