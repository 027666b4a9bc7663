//! Inflates the messages of one direction (RFC 7692 section 7.2.2), with or without context takeover
//! (section 7.1.1).
//!
//! The rules: the limit holds for what comes out, wherever the input is cut; after the first error
//! nothing comes out any more.

use alloc::{boxed::Box, sync::Arc};
use core::fmt;

use super::error::DecompressError;
use super::history::History;
use super::inflate::Inflater;
use super::negotiate::Context;
use super::pool::{CodecPool, give_inflater, take_inflater};

/// Inflates the messages that one side of a connection receives.
pub(super) struct Decompressor {
    takeover: bool,
    /// What came before while no decompressor is borrowed; the borrowed one knows it otherwise.
    history: History,
    inflater: Option<Box<Inflater>>,
    state: MessageState,
    pool: Arc<dyn CodecPool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MessageState {
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
            state: MessageState::BetweenMessages,
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
    pub(super) fn decompress<E: From<DecompressError>>(
        &mut self,
        piece: &[u8],
        limit: usize,
        sink: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.state == MessageState::Failed {
            return Err(DecompressError::Failed.into());
        }
        // A message without any payload is an empty one: nothing is inflated for it.
        if piece.is_empty() && self.state == MessageState::BetweenMessages {
            return Ok(());
        }
        let mut inflater = self.started();
        let result = inflater.inflate(piece, limit, sink);
        self.inflater = Some(inflater);
        self.state = MessageState::InMessage;
        result.inspect_err(|_| self.fail())
    }

    fn started(&mut self) -> Box<Inflater> {
        let starts_message = self.state == MessageState::BetweenMessages;
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
    /// One that had no payload at all is empty. RFC 7692 section 7.2.3.6 has a byte for it, but a sender whose
    /// compressor has nothing to flush a second time sends none. In a DEFLATE stream nothing stands for nothing,
    /// so that both sides agree on what follows.
    ///
    /// # Errors
    ///
    /// Where the message is not complete. After an error every call fails.
    pub(super) fn finish(&mut self) -> Result<(), DecompressError> {
        let is_complete = match (self.state, &self.inflater) {
            (MessageState::Failed, _) => return Err(DecompressError::Failed),
            (MessageState::BetweenMessages, _) => return Ok(()),
            (MessageState::InMessage, inflater) => {
                inflater.as_ref().is_some_and(|it| it.is_complete())
            }
        };
        if !is_complete {
            self.fail();
            return Err(DecompressError::Truncated);
        }
        self.state = MessageState::BetweenMessages;
        if !self.pool.has_spare() {
            self.release();
        }
        Ok(())
    }

    /// Gives the borrowed decompressor back. Nothing refers to what it has inflated any more.
    fn fail(&mut self) {
        self.state = MessageState::Failed;
        self.history = History::new(0);
        if let Some(inflater) = self.inflater.take() {
            give_inflater(&*self.pool, inflater);
        }
    }

    /// Gives the borrowed decompressor back and keeps the history; the next message borrows again.
    ///
    /// Does nothing in the middle of a message.
    pub(super) fn release(&mut self) {
        if self.state == MessageState::InMessage {
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
    pub(super) fn is_busy(&self) -> bool {
        self.inflater.is_some()
    }
}

impl Drop for Decompressor {
    fn drop(&mut self) {
        if let Some(inflater) = self.inflater.take() {
            give_inflater(&*self.pool, inflater);
        }
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

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use super::DecompressError::{Corrupt, Failed, LimitExceeded, Truncated, WindowExceeded};
    use super::*;
    use crate::deflate::testing::{
        FixedBlocks, Numbers, compressed, compressor, decompressor, inflate, inflate_pieces,
    };

    fn inflated(payloads: &[&[u8]]) -> Vec<Result<Vec<u8>, DecompressError>> {
        let mut decompressor = decompressor(15, true);
        payloads
            .iter()
            .map(|payload| inflate(&mut decompressor, payload))
            .collect()
    }

    fn hello() -> Result<Vec<u8>, DecompressError> {
        Ok(b"Hello".into())
    }

    /// RFC 7692 sections 7.2.3.1 to 7.2.3.6.
    #[test]
    fn inflates_the_examples_of_the_rfc() {
        let one_block = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        assert_eq!(inflated(&[&one_block]), [hello()]);
        let sharing_window = [0xf2, 0x00, 0x11, 0x00, 0x00];
        assert_eq!(inflated(&[&one_block, &sharing_window]), [hello(), hello()]);
        let stored = *b"\x00\x05\x00\xfa\xffHello\x00";
        assert_eq!(inflated(&[&stored]), [hello()]);
        let final_block = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
        assert_eq!(inflated(&[&final_block]), [hello()]);
        let two_blocks = [
            0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00,
        ];
        assert_eq!(inflated(&[&two_blocks]), [hello()]);
        assert_eq!(
            inflated(&[&[0x00], &[0x02, 0x00]]),
            [Ok(vec![]), Ok(vec![])]
        );
    }

    #[test]
    fn final_blocks_end_neither_message_nor_context() {
        let first = FixedBlocks::default()
            .final_block()
            .literals(b"abc")
            .end()
            .align()
            .stored(b"def")
            .final_block()
            .back(6)
            .end()
            .align()
            .message();
        let second = FixedBlocks::default().block().back(9).end().message();
        assert_eq!(
            inflated(&[&first, &second]),
            [Ok(b"abcdefabc".into()), Ok(b"abc".into())]
        );
    }

    #[test]
    fn a_final_block_may_end_the_message() {
        let final_block = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        let sharing_window = [0xf2, 0x00, 0x11, 0x00, 0x00];
        assert_eq!(
            inflated(&[&final_block, &sharing_window]),
            [hello(), hello()]
        );
    }

    #[test]
    fn bytes_after_a_final_block_must_be_blocks() {
        let with = |trailing: &[u8]| {
            let mut payload = vec![0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
            payload.extend(trailing);
            inflated(&[&payload]).remove(0)
        };
        assert_eq!(with(&[0x00]), hello());
        assert_eq!(with(&[0xff]), Err(Corrupt));
        assert_eq!(with(b"\x00\x01\x00\xfe\xff!\x00"), Ok(b"Hello!".into()));
        assert_eq!(with(&[0x00, 0x00]), Err(Truncated));
    }

    /// RFC 7692 section 7.2.1: the last four bytes are cut, and the header before them stays.
    #[test]
    fn a_message_ends_with_the_header_of_a_stored_block() {
        let block = FixedBlocks::default().block().literals(b"Hello").end();
        let mut payload = block.message();
        assert_eq!(inflated(&[&payload]), [hello()]);
        payload.extend([0x00, 0x00, 0xff, 0xff]);
        assert_eq!(inflated(&[&payload]), [Err(Truncated)]);
        payload.push(0x00);
        assert_eq!(inflated(&[&payload]), [hello()]);
        let headless = FixedBlocks::default().stored(b"Hello").bytes();
        assert_eq!(inflated(&[&headless]), [Err(Truncated)]);
    }

    #[test]
    fn truncated_messages_fail() {
        let plain = Numbers::new(1).message(3000);
        for level in [1, 6] {
            let payload = compressed(&mut compressor(level, 15, true), &plain);
            for length in 1..payload.len() - 1 {
                let mut decompressor = decompressor(15, true);
                let result = inflate(&mut decompressor, &payload[..length]);
                assert_eq!(result, Err(Truncated), "{length} of {}", payload.len());
            }
        }
    }

    #[test]
    fn a_stored_block_does_not_swallow_the_end_that_was_cut() {
        let mut payload = FixedBlocks::default().stored(b"Hello, world").bytes();
        payload.truncate(payload.len() - 4);
        assert_eq!(inflated(&[&payload]), [Err(Truncated)]);
    }

    #[test]
    fn the_limit_holds_for_what_comes_out() {
        let limit = 10_000;
        for (length, expected) in [
            (0, Ok(())),
            (limit - 1, Ok(())),
            (limit, Ok(())),
            (limit + 1, Err(LimitExceeded)),
            (1000 * limit, Err(LimitExceeded)),
        ] {
            let bomb = compressed(&mut compressor(9, 15, true), &vec![0; length]);
            for size in [1, 100, usize::MAX] {
                let pieces: Vec<&[u8]> = bomb.chunks(size).collect();
                let mut decompressor = decompressor(15, true);
                let (plain, result) = inflate_pieces(&mut decompressor, &pieces, limit);
                assert_eq!(result, expected, "{length} in pieces of {size}");
                assert!(plain.len() <= limit);
                assert!(plain.len() == length || result.is_err());
            }
        }
    }

    #[test]
    fn a_single_byte_that_refers_to_a_large_window_is_counted_in_full() {
        let mut compressor = compressor(6, 15, true);
        let plain = Numbers::new(2).bytes(30_000);
        let first = compressed(&mut compressor, &plain);
        let second = compressed(&mut compressor, &plain);
        assert!(second.len() < 1000);
        for (limit, expected) in [(29_999, Err(LimitExceeded)), (30_000, Ok(()))] {
            let mut decompressor = decompressor(15, true);
            inflate(&mut decompressor, &first).unwrap();
            assert_eq!(
                inflate_pieces(&mut decompressor, &[&second], limit).1,
                expected
            );
        }
    }

    #[test]
    fn a_bomb_costs_no_more_than_the_limit_and_one_buffer() {
        let bomb = compressed(&mut compressor(9, 15, true), &vec![0; 10_000_000]);
        let mut inflater = Inflater::new();
        inflater.start(1 << 15, &[]);
        let result = inflater.inflate(&bomb, 10, |_| Ok(()));
        assert_eq!(result, Err(LimitExceeded));
        assert!(inflater.window().iter().all(|byte| *byte == 0));
        assert!(inflater.buffered() <= 65_536);
    }

    #[test]
    fn nothing_comes_out_after_an_error() {
        let good = FixedBlocks::default()
            .block()
            .literals(b"Hello")
            .end()
            .message();
        let beyond = FixedBlocks::default().block().back(1).end().message();
        let broken: [(&[u8], usize, DecompressError); 4] = [
            (&[0x06], 10, Corrupt),
            (&beyond, 10, WindowExceeded),
            (&good[..4], 10, Truncated),
            (&good, 4, LimitExceeded),
        ];
        for (payload, limit, expected) in broken {
            let mut decompressor = decompressor(15, true);
            let (_, result) = inflate_pieces(&mut decompressor, &[payload], limit);
            assert_eq!(result, Err(expected));
            assert!(!decompressor.is_busy());
            for _ in 0..3 {
                let (plain, result) = inflate_pieces(&mut decompressor, &[&good], 100);
                assert_eq!((plain, result), (vec![], Err(Failed)));
                assert_eq!(decompressor.finish(), Err(Failed));
                decompressor.release();
            }
        }
    }

    #[test]
    fn an_error_of_the_sink_ends_decompression() {
        #[derive(Debug, PartialEq)]
        enum Error {
            NotText,
            Deflate(DecompressError),
        }
        impl From<DecompressError> for Error {
            fn from(error: DecompressError) -> Self {
                Self::Deflate(error)
            }
        }
        let good = FixedBlocks::default()
            .block()
            .literals(b"Hello")
            .end()
            .message();
        let mut decompressor = decompressor(15, true);
        let result = decompressor.decompress(&good, 10, |_| Err(Error::NotText));
        assert_eq!(result, Err(Error::NotText));
        let result = decompressor.decompress(&good, 10, |_| Ok(()));
        assert_eq!(result, Err(Error::Deflate(Failed)));
    }

    /// RFC 7692 section 7.1.1: without context takeover, every message starts from nothing.
    #[test]
    fn a_peer_that_keeps_its_context_against_the_agreement_fails() {
        let first = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        let sharing_window = [0xf2, 0x00, 0x11, 0x00, 0x00];
        for releases in [false, true] {
            let mut decompressor = decompressor(15, false);
            assert_eq!(inflate(&mut decompressor, &first), hello());
            if releases {
                decompressor.release();
            }
            let result = inflate(&mut decompressor, &sharing_window);
            assert_eq!(result, Err(WindowExceeded));
        }
    }

    /// RFC 7692 section 7.1.2: the same, whether the window lies in the same message or not.
    #[test]
    fn a_peer_that_uses_a_larger_window_than_agreed_fails() {
        let plain = Numbers::new(3).bytes(2000);
        let twice = [&plain[..], &plain].concat();
        for releases in [false, true] {
            let mut sender = compressor(6, 15, true);
            let mut receiver = decompressor(10, true);
            let payload = compressed(&mut sender, &plain);
            assert!(inflate(&mut receiver, &payload) == Ok(plain.clone()));
            if releases {
                receiver.release();
            }
            let payload = compressed(&mut sender, &plain);
            assert_eq!(inflate(&mut receiver, &payload), Err(WindowExceeded));
        }
        let payload = compressed(&mut compressor(6, 15, true), &twice);
        assert_eq!(
            inflate(&mut decompressor(10, true), &payload),
            Err(WindowExceeded)
        );
        assert!(inflate(&mut decompressor(11, true), &payload) == Ok(twice));
    }

    #[test]
    fn releasing_in_the_middle_of_a_message_does_nothing() {
        let payload = compressed(&mut compressor(6, 12, true), b"Hello, Hello, Hello");
        let mut decompressor = decompressor(12, true);
        for byte in payload.chunks(1) {
            decompressor.release();
            decompressor
                .decompress(byte, 100, |_| Ok::<_, DecompressError>(()))
                .unwrap();
            assert!(decompressor.is_busy());
        }
        decompressor.finish().unwrap();
        decompressor.release();
        assert!(!decompressor.is_busy());
        assert_eq!(decompressor.history.as_slice(), b"Hello, Hello, Hello");
    }

    #[test]
    fn nothing_is_kept_before_the_first_message_or_without_context_takeover() {
        for takeover in [false, true] {
            let mut decompressor = decompressor(12, takeover);
            decompressor.release();
            assert!(!decompressor.is_busy() && decompressor.history.is_empty());
            let payload = FixedBlocks::default().stored(b"Hello").message();
            inflate(&mut decompressor, &payload).unwrap();
            decompressor.release();
            assert_eq!(decompressor.history.is_empty(), !takeover);
        }
    }

    #[test]
    fn a_small_stack_is_enough() {
        let plain = Numbers::new(4).message(100_000);
        let work = move || {
            let payload = compressed(&mut compressor(9, 15, true), &plain);
            assert!(inflate(&mut decompressor(15, true), &payload) == Ok(plain));
        };
        let thread = std::thread::Builder::new().stack_size(64 * 1024);
        thread.spawn(work).unwrap().join().unwrap();
    }

    #[test]
    fn a_message_without_payload_is_empty_and_changes_nothing() {
        let payload = FixedBlocks::default().stored(b"Hello").message();
        for takeover in [false, true] {
            let mut decompressor = decompressor(15, takeover);
            for _ in 0..3 {
                for pieces in 0..3 {
                    let pieces = vec![&[][..]; pieces];
                    let (plain, result) = inflate_pieces(&mut decompressor, &pieces, 0);
                    assert_eq!((plain, result), (vec![], Ok(())));
                }
                assert_eq!(
                    inflate(&mut decompressor, &payload).as_deref(),
                    Ok(&b"Hello"[..])
                );
            }
        }
    }
}
