//! Compresses the messages of one direction (RFC 7692 section 7.2.1), with or without context takeover
//! (section 7.1.1).
//!
//! The rule: what the history holds is always the end of what the peer's decompressor has inflated. A
//! message sent uncompressed enters neither; one compressed elsewhere enters both, and the compressor
//! at hand, which has not seen it, is given back.

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::fmt;

use super::deflater::{Deflater, DeflaterKind, TAIL};
use super::history::History;
use super::negotiate::Context;
use super::pool::{CodecKind, CodecPool, give_deflater, take_deflater};

/// A stored block without bytes, from one byte's start to another's.
const EMPTY_BLOCK: [u8; 5] = [0x00, 0x00, 0x00, 0xff, 0xff];

/// Compresses the messages that one side of a connection sends.
pub(super) struct Compressor {
    kind: DeflaterKind,
    takeover: bool,
    threshold: usize,
    /// Stays empty without context takeover.
    history: History,
    deflater: Option<Box<Deflater>>,
    /// Whether the next fragment may refer to what the borrowed compressor has seen.
    continues: bool,
    pool: Arc<dyn CodecPool>,
}

impl Compressor {
    pub(super) fn new(
        kind: DeflaterKind,
        context: Context,
        threshold: usize,
        pool: Arc<dyn CodecPool>,
    ) -> Self {
        Self {
            kind,
            takeover: context.takeover(),
            threshold,
            history: History::new(context.window()),
            deflater: None,
            continues: false,
            pool,
        }
    }

    /// Whether a message of this length in bytes is worth compressing.
    #[must_use]
    pub(super) fn is_worthwhile(&self, length: usize) -> bool {
        length >= self.threshold
    }

    /// Compresses a fragment that others follow, and appends the payload of its frame to `output`.
    ///
    /// Who has received the frame can inflate all of `plain`.
    pub(super) fn compress_fragment(&mut self, plain: &[u8], output: &mut Vec<u8>) {
        self.compress(plain, output);
    }

    /// Compresses a whole message or its last fragment, and appends the payload of its frame to `output`.
    pub(super) fn compress_final(&mut self, plain: &[u8], output: &mut Vec<u8>) {
        self.compress(plain, output);
        output.truncate(output.len().saturating_sub(TAIL.len()));
        self.continues = self.takeover;
        if !self.pool.has_spare() {
            self.release();
        }
    }

    fn compress(&mut self, plain: &[u8], output: &mut Vec<u8>) {
        if plain.is_empty() {
            output.extend_from_slice(&EMPTY_BLOCK);
            return;
        }
        let mut deflater = self.started();
        deflater.deflate(plain, output);
        self.deflater = Some(deflater);
        self.continues = true;
        if self.takeover {
            self.history.record(plain);
        }
    }

    fn started(&mut self) -> Box<Deflater> {
        match self.deflater.take() {
            Some(deflater) if self.continues => deflater,
            borrowed => {
                let mut deflater =
                    borrowed.unwrap_or_else(|| take_deflater(&*self.pool, self.kind));
                deflater.start(self.history.as_slice());
                deflater
            }
        }
    }

    /// Compresses a whole message for any number of connections whose [`kind`](Self::kind) is this one.
    ///
    /// It refers to no message before it, and touches neither history nor context. Who sends the
    /// payload on a connection calls [`record_prepared`](Self::record_prepared) of its compressor.
    pub(super) fn compress_prepared(&self, plain: &[u8], output: &mut Vec<u8>) {
        let mut alone = Self {
            takeover: false,
            history: History::new(0),
            deflater: None,
            continues: false,
            pool: Arc::clone(&self.pool),
            ..*self
        };
        alone.compress_final(plain, output);
    }

    /// Takes note of a message between others whose payload came from [`compress_prepared`](Self::compress_prepared).
    ///
    /// While the history is empty it stays so: a sender need not refer to all that it has sent, and one
    /// that only sends prepared messages keeps nothing.
    pub(super) fn record_prepared(&mut self, plain: &[u8]) {
        if !self.history.is_empty() {
            self.history.record(plain);
            self.release();
        }
    }

    /// Gives the borrowed compressor back; the history stays, and the next message borrows again.
    ///
    /// May be called at any time, between the fragments of a message as well.
    pub(super) fn release(&mut self) {
        if let Some(deflater) = self.deflater.take() {
            give_deflater(&*self.pool, deflater);
        }
    }

    /// Whether a compressor is borrowed.
    #[must_use]
    pub(super) fn is_busy(&self) -> bool {
        self.deflater.is_some()
    }

    /// Returns the kind of compressor that this one borrows.
    #[must_use]
    pub(super) fn kind(&self) -> CodecKind {
        CodecKind::of_deflater(self.kind)
    }
}

impl Drop for Compressor {
    fn drop(&mut self) {
        self.release();
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor")
            .field("kind", &self.kind)
            .field("takeover", &self.takeover)
            .field("is_busy", &self.is_busy())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deflate::Deflate;
    use crate::deflate::testing::{
        Numbers, agreed, compressed, compressor, decompressor, inflate, inflate_pieces,
    };

    /// Inflates with one stream that is never reset, as a peer may.
    struct LiveInflater(zlib_rs::Inflate);

    impl LiveInflater {
        fn new() -> Self {
            Self(zlib_rs::Inflate::new(false, 15))
        }

        fn inflate(&mut self, payload: &[u8], length: usize) -> Vec<u8> {
            let mut stream = payload.to_vec();
            stream.extend(TAIL);
            let mut plain = alloc::vec![0; length + 1];
            let before = self.0.total_out();
            self.0
                .decompress(&stream, &mut plain, zlib_rs::InflateFlush::SyncFlush)
                .unwrap();
            plain.truncate((self.0.total_out() - before) as usize);
            plain
        }
    }

    #[test]
    fn an_empty_message_is_one_byte() {
        let mut compressor = compressor(6, 15, true);
        for _ in 0..2 {
            assert_eq!(compressed(&mut compressor, b""), [0x00]);
        }
        assert!(!compressor.is_busy());
        let mut fragment = Vec::new();
        compressor.compress_fragment(b"", &mut fragment);
        assert_eq!(fragment, [0x00, 0x00, 0x00, 0xff, 0xff]);
    }

    /// RFC 7692 sections 7.2.3.1 and 7.2.3.2.
    #[test]
    fn compresses_the_examples_of_the_rfc() {
        let mut compressor = compressor(6, 15, true);
        let first = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        assert_eq!(compressed(&mut compressor, b"Hello"), first);
        let sharing_window = [0xf2, 0x00, 0x11, 0x00, 0x00];
        assert_eq!(compressed(&mut compressor, b"Hello"), sharing_window);
    }

    /// RFC 7692 section 7.2.1: only the end of the message is cut.
    #[test]
    fn fragments_keep_their_tail_and_can_be_inflated_at_once() {
        let mut compressor = compressor(6, 12, true);
        let mut receiver = decompressor(12, true);
        let mut plain = Vec::new();
        for fragment in [&b"Hello"[..], b"", b"Hello, world"] {
            let mut payload = Vec::new();
            compressor.compress_fragment(fragment, &mut payload);
            assert!(payload.ends_with(&TAIL));
            receiver
                .decompress(&payload, 100, |bytes| {
                    plain.extend_from_slice(bytes);
                    Ok::<_, crate::deflate::error::DecompressError>(())
                })
                .unwrap();
            assert!(plain.ends_with(fragment));
        }
        let payload = compressed(&mut compressor, b"");
        assert_eq!(payload, [0x00]);
        assert_eq!(inflate(&mut receiver, &payload), Ok(Vec::new()));
        assert_eq!(plain, b"HelloHello, world");
    }

    #[test]
    fn chains_of_messages_arrive_whatever_is_released_in_between() {
        let mut numbers = Numbers::new(1);
        for bits in 8..=15 {
            for level in 1..=9 {
                let takeover = numbers.below(4) > 0;
                chain(&mut numbers, level, bits, takeover);
            }
        }
    }

    fn chain(numbers: &mut Numbers, level: u8, bits: u8, takeover: bool) {
        let mut sender = compressor(level, bits, takeover);
        let mut receiver = decompressor(bits, takeover);
        let mut live = LiveInflater::new();
        let corpus = numbers.message(70_000);
        for _ in 0..25 {
            let order = numbers.below(15);
            let length = numbers.below(1 << order);
            let start = numbers.below(corpus.len() - length);
            let plain = &corpus[start..start + length];
            let mut payload = Vec::new();
            match numbers.below(6) {
                0 => {
                    let plain = &corpus[..2000];
                    sender.compress_prepared(plain, &mut payload);
                    sender.record_prepared(plain);
                    assert!(inflate(&mut receiver, &payload).unwrap() == plain);
                    assert!(live.inflate(&payload, plain.len()) == plain);
                    continue;
                }
                1 => {
                    let cut = numbers.below(length + 1);
                    sender.compress_fragment(&plain[..cut], &mut payload);
                    if numbers.below(2) == 0 {
                        sender.release();
                    }
                    sender.compress_final(&plain[cut..], &mut payload);
                }
                _ => sender.compress_final(plain, &mut payload),
            }
            let cut = numbers.below(payload.len() + 1);
            let pieces = [&payload[..cut], &payload[cut..]];
            let (inflated, result) = inflate_pieces(&mut receiver, &pieces, length);
            assert_eq!(result, Ok(()), "level {level}, {bits} bits");
            assert!(inflated == plain);
            assert!(live.inflate(&payload, length) == plain);
            if numbers.below(2) == 0 {
                sender.release();
            }
            if numbers.below(2) == 0 {
                receiver.release();
            }
        }
    }

    /// RFC 7692 section 7.1.2.1: matches of the smallest compressor fit the smallest window.
    #[test]
    fn no_distance_exceeds_the_agreed_window() {
        let mut numbers = Numbers::new(2);
        for bits in [8, 9, 10, 12] {
            for level in 1..=9 {
                let mut sender = compressor(level, bits, true);
                let mut receiver = decompressor(bits, true);
                for distance in [
                    1, 3, 249, 250, 251, 255, 256, 257, 300, 511, 512, 2000, 4000,
                ] {
                    let mut plain = numbers.bytes(distance).repeat(3);
                    plain.extend(numbers.message(3000));
                    let payload = compressed(&mut sender, &plain);
                    assert!(inflate(&mut receiver, &payload) == Ok(plain));
                    if numbers.below(2) == 0 {
                        sender.release();
                    }
                }
            }
        }
    }

    #[test]
    fn history_alone_compresses_as_well_as_a_live_compressor() {
        let mut numbers = Numbers::new(3);
        let corpus = numbers.message(20_000);
        let (mut live, mut idle) = (compressor(4, 12, true), compressor(4, 12, true));
        let (mut live_bytes, mut idle_bytes) = (0, 0);
        for _ in 0..300 {
            let plain: Vec<u8> = (0..20)
                .flat_map(|_| &corpus[numbers.below(19_900)..][..50])
                .copied()
                .collect();
            live_bytes += compressed(&mut live, &plain).len();
            idle_bytes += compressed(&mut idle, &plain).len();
            idle.release();
        }
        let hundredth = live_bytes / 100;
        assert!(
            live_bytes.abs_diff(idle_bytes) < hundredth,
            "{live_bytes} {idle_bytes}"
        );
    }

    #[test]
    fn without_context_takeover_messages_are_independent_and_leave_nothing() {
        let mut sender = compressor(6, 12, false);
        let first = compressed(&mut sender, b"Hello, Hello");
        assert_eq!(compressed(&mut sender, b"Hello, Hello"), first);
        sender.release();
        assert_eq!(compressed(&mut sender, b"Hello, Hello"), first);
        assert!(sender.history.is_empty());
    }

    /// RFC 7692 section 7.1.1: a message begins with its first fragment, an empty one as well.
    #[test]
    fn without_context_takeover_an_empty_fragment_begins_a_message() {
        let mut sender = compressor(6, 12, false);
        let mut payload = Vec::new();
        sender.compress_fragment(b"", &mut payload);
        sender.compress_final(b"Hello, Hello", &mut payload);
        let mut again = Vec::new();
        sender.compress_fragment(b"", &mut again);
        sender.compress_final(b"Hello, Hello", &mut again);
        assert_eq!(again, payload);
    }

    #[test]
    fn nothing_is_borrowed_before_the_first_message() {
        let mut sender = compressor(6, 12, true);
        assert!(!sender.is_busy() && sender.history.is_empty());
        compressed(&mut sender, b"Hello");
        assert!(sender.is_busy());
        sender.release();
        assert!(!sender.is_busy());
        assert_eq!(sender.history.as_slice(), b"Hello");
    }

    #[test]
    fn a_connection_that_sends_only_prepared_messages_keeps_nothing() {
        let mut sender = compressor(6, 12, true);
        let mut payload = Vec::new();
        sender.compress_prepared(b"Hello", &mut payload);
        sender.record_prepared(b"Hello");
        assert!(!sender.is_busy() && sender.history.is_empty());
        let mut receiver = decompressor(12, true);
        for _ in 0..2 {
            assert_eq!(inflate(&mut receiver, &payload), Ok(b"Hello".into()));
        }
    }

    #[test]
    fn short_messages_are_not_worthwhile() {
        let sender = Deflate::new().threshold(10).compressor(agreed(12, true));
        assert!(!sender.is_worthwhile(9));
        assert!(sender.is_worthwhile(10));
    }

    #[cfg(feature = "std")]
    #[test]
    fn what_a_pool_hands_out_knows_nothing_of_who_had_it_before() {
        let deflate = Deflate::new();
        let mut numbers = Numbers::new(4);
        for bits in [9, 12, 15] {
            for round in 0..10 {
                let takeover = round % 2 == 0;
                let plain = numbers.message(500);
                let mut sender = deflate.compressor(agreed(bits, takeover));
                let payload = compressed(&mut sender, &plain);
                let mut unpooled = compressor(4, bits, takeover);
                assert_eq!(payload, compressed(&mut unpooled, &plain));
                let mut receiver = deflate.decompressor(agreed(bits, takeover));
                assert_eq!(inflate(&mut receiver, &payload), Ok(plain));
            }
        }
    }

    #[cfg(feature = "std")]
    #[test]
    fn what_was_borrowed_goes_back_when_the_connection_goes() {
        let pool = Arc::new(crate::deflate::BoundedPool::new(1));
        let deflate = Deflate::new().pool(Arc::<crate::deflate::BoundedPool>::clone(&pool));
        let mut sender = deflate.compressor(agreed(12, true));
        let mut receiver = deflate.decompressor(agreed(12, true));
        let payload = compressed(&mut sender, b"Hello");
        let half = &payload[..3];
        receiver
            .decompress(half, 10, |_| {
                Ok::<_, crate::deflate::error::DecompressError>(())
            })
            .unwrap();
        let kind = sender.kind();
        drop((sender, receiver));
        assert!(pool.take(kind).is_some());
        assert!(pool.take(CodecKind::INFLATER).is_some());
    }
}
