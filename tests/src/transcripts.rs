//! What peers send, good and bad, in few bytes each: for what is tried at every byte, call and poll.

use sansock_core::deflate::Deflate;
use sansock_core::{Config, Side};

use crate::deflate::{Blocks, RSV1, TWELVE_BITS, end_with};
use crate::end::{End, config};
use crate::wire::{BINARY, CLOSE, CONTINUATION, FIN, PING, PeerOf, TEXT};

/// Bytes of a peer, and what they are.
#[derive(Debug, Clone)]
pub struct Transcript {
    /// What it is.
    pub name: &'static str,
    /// The side that receives it.
    pub side: Side,
    /// Whether compression was agreed on.
    pub compressed: bool,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Transcript {
    /// Returns the configuration in which it is received.
    #[must_use]
    pub fn config(&self) -> Config {
        match self.compressed {
            true => config().deflate(Deflate::new()),
            false => config(),
        }
    }

    /// Returns an end that has yet to receive it.
    #[must_use]
    pub fn end(&self, config: Config) -> End {
        match self.compressed {
            true => end_with(self.side, TWELVE_BITS, config),
            false => End::with(self.side, config),
        }
    }
}

/// Returns all transcripts, for both sides.
#[must_use]
pub fn transcripts() -> Vec<Transcript> {
    let of = |side| {
        let peer = PeerOf(side);
        let plain = plain(peer).map(|(name, frames)| (name, false, frames.concat()));
        let compressed = compressed(peer).map(|(name, frames)| (name, true, frames.concat()));
        let all = plain.into_iter().chain(compressed);
        all.map(move |(name, compressed, bytes)| Transcript {
            name,
            side,
            compressed,
            bytes,
        })
    };
    of(Side::Client).chain(of(Side::Server)).collect()
}

type Frames = (&'static str, Vec<Vec<u8>>);

fn plain(peer: PeerOf) -> [Frames; 14] {
    let close = peer.close(1000, "bye");
    [
        ("nothing", vec![]),
        (
            "a lost connection",
            vec![peer.text("hi"), peer.frame(TEXT, b"un")],
        ),
        (
            "messages",
            vec![
                peer.text("zü"),
                peer.binary(&[0, 255]),
                peer.text(""),
                close.clone(),
            ],
        ),
        (
            "control frames",
            vec![
                peer.ping(b"?"),
                peer.pong(b"!"),
                peer.ping(b""),
                close.clone(),
            ],
        ),
        (
            "fragments",
            vec![
                peer.frame(TEXT, b"a\xE2"),
                peer.ping(b"in"),
                peer.frame(CONTINUATION, b"\x82"),
                peer.frame(CONTINUATION, b""),
                peer.frame(FIN | CONTINUATION, b"\xACz"),
                close.clone(),
            ],
        ),
        (
            "a close inside a message",
            vec![
                peer.frame(BINARY, b"never"),
                close.clone(),
                peer.text("after"),
            ],
        ),
        (
            "a close without a code",
            vec![peer.frame(CLOSE, b""), peer.ping(b"late")],
        ),
        (
            "a close of one byte",
            vec![peer.text("a"), peer.frame(CLOSE, b"\x03")],
        ),
        (
            "a close with a code that may not be",
            vec![peer.close(1005, "")],
        ),
        (
            "a reason that is not UTF-8",
            vec![peer.frame(CLOSE, b"\x03\xE8\xC3(")],
        ),
        (
            "text that is not UTF-8",
            vec![peer.text("a"), peer.frame(FIN | TEXT, b"\xED\xA0\x80")],
        ),
        (
            "a reserved bit",
            vec![peer.text("a"), peer.frame(FIN | 0x20 | TEXT, b"b"), close],
        ),
        (
            "a continuation of nothing",
            vec![peer.ping(b"?"), peer.frame(FIN, b"b")],
        ),
        (
            "a ping in fragments",
            vec![peer.text("a"), peer.frame(PING & !FIN, b"b")],
        ),
    ]
}

fn compressed(peer: PeerOf) -> [Frames; 4] {
    let hello = Blocks::new().fixed().literals(b"hello").end().message();
    let again = Blocks::new().fixed().back(5).end().message();
    let (start, rest) = hello.split_at(3);
    let close = peer.close(1000, "");
    [
        (
            "compressed messages",
            vec![
                peer.frame(FIN | RSV1 | TEXT, &hello),
                peer.text("plain"),
                peer.frame(FIN | RSV1 | BINARY, &again),
                close.clone(),
            ],
        ),
        (
            "compressed fragments",
            vec![
                peer.frame(RSV1 | TEXT, start),
                peer.ping(b"in"),
                peer.frame(FIN | CONTINUATION, rest),
                close,
            ],
        ),
        (
            "compressed nonsense",
            vec![
                peer.frame(FIN | RSV1 | TEXT, &hello),
                peer.frame(FIN | RSV1 | TEXT, &[0xFF; 4]),
            ],
        ),
        (
            "compressed and cut off",
            vec![peer.frame(FIN | RSV1 | TEXT, start), peer.text("after")],
        ),
    ]
}
