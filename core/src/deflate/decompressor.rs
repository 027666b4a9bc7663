//! Inflates the messages of one direction (RFC 7692 section 7.2.2), with or without context takeover
//! (section 7.1.1).
//!
//! The rules: the limit holds for what comes out, wherever the input is cut; after the first error
//! nothing comes out any more.

use alloc::{boxed::Box, sync::Arc};
use core::fmt;

use super::history::History;
use super::inflate::Inflater;
use super::negotiate::Context;
use super::pool::{CodecPool, give_inflater, take_inflater};

/// Why a compressed message cannot be inflated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DecompressError {
    /// The payload is not DEFLATE data (RFC 1951).
    Corrupt,
    /// A match reaches beyond the agreed window (RFC 7692 section 7.1.2) or before the start of the context.
    WindowExceeded,
    /// The message ends in the middle of a block, or before the header of the block that ends it (RFC 7692 section 7.2.1).
    Truncated,
    /// More came out than the limit allows.
    LimitExceeded,
    /// An earlier error ended decompression.
    Failed,
}

impl fmt::Display for DecompressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Corrupt => "compressed data is corrupt",
            Self::WindowExceeded => "compressed data refers to bytes outside the window",
            Self::Truncated => "compressed data is truncated",
            Self::LimitExceeded => "inflated message exceeds the limit",
            Self::Failed => "decompression has failed before",
        })
    }
}

impl core::error::Error for DecompressError {}

/// Inflates the messages that one side of a connection receives.
pub struct Decompressor {
    takeover: bool,
    /// What came before while no decompressor is borrowed; the borrowed one knows it otherwise.
    history: History,
    inflater: Option<Box<Inflater>>,
    state: State,
    pool: Arc<dyn CodecPool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    BetweenMessages,
    InMessage,
    Failed,
}

impl Decompressor {
    pub(super) fn new(context: Context, pool: Arc<dyn CodecPool>) -> Self {
        Self {
            takeover: context.takeover(),
            history: History::new(context.window()),
            inflater: None,
            state: State::BetweenMessages,
            pool,
        }
    }

    /// Inflates a piece of a compressed message: any part of the payload of any of its frames.
    ///
    /// What comes out goes to `sink` at once, in pieces. `limit` is how many bytes may come out of this
    /// piece: the message limit, less what came out of the message before.
    ///
    /// # Errors
    ///
    /// Where the payload is corrupt, refers to what lies outside the window, or inflates to more than
    /// `limit`, and where `sink` fails. After an error every call fails.
    pub fn decompress<E: From<DecompressError>>(
        &mut self,
        piece: &[u8],
        limit: usize,
        sink: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.state == State::Failed {
            return Err(DecompressError::Failed.into());
        }
        let mut inflater = self.started();
        let result = inflater.inflate(piece, limit, sink);
        self.inflater = Some(inflater);
        self.state = State::InMessage;
        result.inspect_err(|_| self.fail())
    }

    fn started(&mut self) -> Box<Inflater> {
        let starts_message = self.state == State::BetweenMessages;
        match self.inflater.take() {
            Some(inflater) if !starts_message => inflater,
            Some(mut inflater) if self.takeover => {
                inflater.start_message();
                inflater
            }
            borrowed => {
                let mut inflater = borrowed.unwrap_or_else(|| take_inflater(&*self.pool));
                inflater.start(self.history.window(), self.history.as_slice());
                inflater
            }
        }
    }

    /// Ends a compressed message: the payload of its last frame has been given to [`decompress`](Self::decompress).
    ///
    /// # Errors
    ///
    /// Where the message is not complete. After an error every call fails.
    pub fn finish(&mut self) -> Result<(), DecompressError> {
        let is_complete = match (self.state, &self.inflater) {
            (State::Failed, _) => return Err(DecompressError::Failed),
            (State::InMessage, Some(inflater)) => inflater.is_complete(),
            (State::BetweenMessages, _) | (_, None) => false,
        };
        if !is_complete {
            self.fail();
            return Err(DecompressError::Truncated);
        }
        self.state = State::BetweenMessages;
        Ok(())
    }

    fn fail(&mut self) {
        self.state = State::Failed;
        self.release();
    }

    /// Gives the borrowed decompressor back and keeps the history; the next message borrows again.
    ///
    /// Does nothing in the middle of a message.
    pub fn release(&mut self) {
        if self.state == State::InMessage {
            return;
        }
        let Some(inflater) = self.inflater.take() else {
            return;
        };
        self.history.clear();
        if self.takeover {
            self.history.record(inflater.window());
        }
        give_inflater(&*self.pool, inflater);
    }

    /// Whether a decompressor is borrowed.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.inflater.is_some()
    }
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decompressor")
            .field("takeover", &self.takeover)
            .field("state", &self.state)
            .field("is_busy", &self.is_busy())
            .finish_non_exhaustive()
    }
}
