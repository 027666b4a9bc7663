//! What a peer can do wrong in compressed messages, cut in every way (RFC 7692 section 7.2).

use sansock_core::deflate::Deflate;
use sansock_core::{Failure, ProtocolError, Side};
use sansock_tests::deflate::{Blocks, RSV1, TAIL, TWELVE_BITS, end, end_with};
use sansock_tests::end::{End, SIDES, config};
use sansock_tests::receive::{Outcome, received_by};
use sansock_tests::seen::Seen;
use sansock_tests::wire::{BINARY, CONTINUATION, FIN, PING, PONG, PeerOf, TEXT};

const COMPRESSED: u8 = FIN | RSV1 | TEXT;
const HELLO: [u8; 7] = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
/// The same in a final block, which ends no message.
const HELLO_FINAL: [u8; 7] = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
/// A message that is the one before once more.
const AGAIN: [u8; 5] = [0xf2, 0x00, 0x11, 0x00, 0x00];

fn received(side: Side, bytes: &[u8]) -> Outcome {
    received_by(|| end(side, TWELVE_BITS), bytes)
}

fn texts(texts: &[&str]) -> Vec<Seen> {
    texts
        .iter()
        .map(|text| Seen::Text((*text).into()))
        .collect()
}

/// A compressed text in two fragments.
fn in_fragments(side: Side, payload: &[u8], cut: usize) -> Vec<u8> {
    let (start, rest) = payload.split_at(cut);
    let peer = PeerOf(side);
    let first = peer.frame(RSV1 | TEXT, start);
    [first, peer.frame(FIN | CONTINUATION, rest)].concat()
}

/// Checks that nothing came out but the failure, and that the peer is told.
#[track_caller]
fn assert_fails(outcome: &Outcome, error: ProtocolError) {
    assert_eq!(outcome.events, [Seen::Failed(Failure::Protocol(error))]);
    let code = error.close_code().number().to_be_bytes();
    assert_eq!(outcome.sent.len(), 1);
    assert_eq!(outcome.sent[0].1[..2], code);
}

#[test]
fn corrupt_deflate_fails_with_1002_and_nothing_follows() {
    let payloads = [
        Blocks::new().bits(0b110, 3).message(),
        Blocks::new().bits(0b111, 3).message(),
        vec![
            0x00, 0x05, 0x00, 0xfa, 0xfe, b'H', b'e', b'l', b'l', b'o', 0x00,
        ],
        Blocks::new().fixed().symbol(286).end().message(),
        Blocks::new()
            .fixed()
            .literals(b"abc")
            .back(4)
            .end()
            .message(),
        Blocks::new()
            .bits(0b100, 3)
            .bits(0x1f, 5)
            .bits(0x1f, 5)
            .bits(0, 4)
            .message(),
        // Without the block that ends a message, cut inside a block, and with the four bytes that are left out.
        HELLO[..6].to_vec(),
        HELLO[..3].to_vec(),
        [&HELLO[..], &TAIL].concat(),
        // Behind a final block, what is no block, and two that end a message.
        [&HELLO_FINAL[..], &[0xff]].concat(),
        [&HELLO_FINAL[..], &[0x00, 0x00]].concat(),
    ];
    for side in SIDES {
        for payload in &payloads {
            let frame = PeerOf(side).frame(COMPRESSED, payload);
            assert_fails(&received(side, &frame), ProtocolError::Decompression);
            for cut in 0..=payload.len() {
                let fragments = in_fragments(side, payload, cut);
                assert_fails(&received(side, &fragments), ProtocolError::Decompression);
            }
        }
    }
}

#[test]
fn after_any_error_nothing_is_inflated() {
    let too_big = ProtocolError::TooBig {
        length: None,
        limit: 1000,
    };
    let errors = [
        (
            Blocks::new().bits(0b110, 3).message(),
            ProtocolError::Decompression,
        ),
        (HELLO[..3].to_vec(), ProtocolError::Decompression),
        (
            Blocks::new().fixed().back(4097).end().message(),
            ProtocolError::Decompression,
        ),
        (
            Blocks::new().stored(b"\xff").message(),
            ProtocolError::InvalidUtf8,
        ),
        (Blocks::new().stored(&[b'x'; 1001]).message(), too_big),
    ];
    let config = config().deflate(Deflate::new()).max_message_size(1000);
    for side in SIDES {
        let peer = PeerOf(side);
        let hello = peer.frame(COMPRESSED, &HELLO);
        for (payload, error) in &errors {
            let mut end = end_with(side, TWELVE_BITS, config.clone());
            let good = Blocks::new().stored(&[b'y'; 999]).message();
            assert_eq!(end.events_of(&peer.frame(COMPRESSED, &good)).len(), 1);
            let failed = Seen::Failed(Failure::Protocol(*error));
            // What comes in the same read and what comes later.
            let bad = [peer.frame(COMPRESSED, payload), hello.clone()].concat();
            assert_eq!(end.events_of(&bad), [failed]);
            assert_eq!(end.sent().len(), 1);
            for later in [&hello, &peer.frame(COMPRESSED, &AGAIN), &peer.ping(b"")] {
                assert_eq!(end.events_of(later), []);
                assert_eq!(end.output(), []);
            }
        }
    }
}

#[test]
fn a_final_block_leaves_the_context_as_it_is() {
    for side in SIDES {
        let peer = PeerOf(side);
        let messages = [HELLO_FINAL.to_vec(), AGAIN.to_vec(), AGAIN.to_vec()];
        let frames = messages.map(|payload| peer.frame(COMPRESSED, &payload));
        assert_eq!(
            received(side, &frames.concat()).events,
            texts(&["Hello", "Hello", "Hello"])
        );
    }
}

/// RFC 7692 section 7.2.2: a message without RSV1 passes as it is, its fragments as well, and is no
/// part of the window.
#[test]
fn a_plain_message_between_compressed_ones_is_not_inflated() {
    for side in SIDES {
        let peer = PeerOf(side);
        let frames = [
            peer.frame(COMPRESSED, &HELLO),
            peer.frame(TEXT, b"plain "),
            peer.frame(FIN | CONTINUATION, b"text"),
            peer.frame(COMPRESSED, &AGAIN),
        ];
        assert_eq!(
            received(side, &frames.concat()).events,
            texts(&["Hello", "plain text", "Hello"])
        );
    }
}

#[test]
fn control_frames_between_compressed_fragments_pass_as_they_are() {
    for side in SIDES {
        let peer = PeerOf(side);
        let frames = [
            peer.frame(RSV1 | TEXT, &HELLO[..3]),
            peer.ping(&HELLO),
            peer.frame(FIN | CONTINUATION, &HELLO[3..]),
        ];
        let outcome = received(side, &frames.concat());
        let ping = Seen::Ping(HELLO.to_vec());
        assert_eq!(outcome.events, [ping, Seen::Text("Hello".into())]);
        assert_eq!(outcome.sent, [(PONG, HELLO.to_vec())]);
    }
}

#[test]
fn a_close_between_compressed_fragments_is_a_normal_close() {
    for side in SIDES {
        let peer = PeerOf(side);
        let frames = [peer.frame(RSV1 | TEXT, &HELLO[..3]), peer.close(1000, "")];
        let outcome = received(side, &frames.concat());
        assert_eq!(outcome.events, [Seen::Close(1000, String::new())]);
        assert_eq!(outcome.failure, None);
    }
}

#[test]
fn all_the_forms_of_blocks_are_one_message() {
    let forms = [
        HELLO.to_vec(),
        b"\x00\x05\x00\xfa\xffHello\x00".to_vec(),
        [&HELLO_FINAL[..], &[0x00]].concat(),
        HELLO_FINAL.to_vec(),
        vec![
            0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00,
        ],
        [&HELLO[..], &[0x00, 0x00, 0xff, 0xff, 0x00]].concat(),
    ];
    for side in SIDES {
        for form in &forms {
            let frame = PeerOf(side).frame(COMPRESSED, form);
            assert_eq!(
                received(side, &frame).events,
                texts(&["Hello"]),
                "{form:x?}"
            );
            for cut in 0..=form.len() {
                assert_eq!(
                    received(side, &in_fragments(side, form, cut)).events,
                    texts(&["Hello"]),
                    "{form:x?} cut at {cut}"
                );
            }
        }
        for empty in [&[0x00][..], &[0x02, 0x00], &[]] {
            let frame = PeerOf(side).frame(COMPRESSED, empty);
            assert_eq!(received(side, &frame).events, texts(&[""]));
        }
    }
}

#[test]
fn a_peer_that_keeps_its_context_though_it_agreed_not_to_fails() {
    let answer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    for side in SIDES {
        let mut end = end(side, answer);
        let peer = end.peer();
        assert_eq!(
            end.events_of(&peer.frame(COMPRESSED, &HELLO)),
            texts(&["Hello"])
        );
        let refers = peer.frame(COMPRESSED, &AGAIN);
        let failed = Failure::Protocol(ProtocolError::Decompression);
        assert_eq!(end.events_of(&refers), [Seen::Failed(failed)]);
        end.output();
        assert_eq!(end.events_of(&peer.frame(COMPRESSED, &HELLO)), []);
        assert_eq!(end.output(), []);
    }
}

#[test]
fn a_match_may_reach_to_the_edge_of_the_agreed_window_and_no_farther() {
    for bits in 8..=14 {
        let answer = format!(
            "permessage-deflate; server_max_window_bits={bits}; client_max_window_bits={bits}"
        );
        let window = 1 << bits;
        for side in SIDES {
            for (distance, passes) in [(window, true), (window + 1, false)] {
                let mut end = end(side, &answer);
                let peer = end.peer();
                let first = Blocks::new()
                    .stored(&vec![b'x'; window as usize + 9])
                    .message();
                assert_eq!(
                    end.events_of(&peer.frame(FIN | RSV1 | BINARY, &first))
                        .len(),
                    1
                );
                let second = Blocks::new().fixed().back(distance).end().message();
                let events = end.events_of(&peer.frame(COMPRESSED, &second));
                assert_eq!(events == texts(&["xxx"]), passes, "{bits} {distance}");
            }
        }
    }
}

/// RFC 7692 section 7.2.2.
#[test]
fn without_an_agreed_window_it_has_32_kib() {
    for side in SIDES {
        let mut end = end(side, "permessage-deflate");
        let peer = end.peer();
        let mut first = vec![b'y'; 1 << 15];
        first[..3].copy_from_slice(b"far");
        let first = Blocks::new().stored(&first).message();
        assert_eq!(
            end.events_of(&peer.frame(FIN | RSV1 | BINARY, &first))
                .len(),
            1
        );
        let second = Blocks::new().fixed().back(1 << 15).end().message();
        assert_eq!(
            end.events_of(&peer.frame(COMPRESSED, &second)),
            texts(&["far"])
        );
    }
}

#[test]
fn rsv1_fails_where_it_has_no_meaning() {
    for side in SIDES {
        let peer = PeerOf(side);
        let error = ProtocolError::ReservedBits(RSV1);
        assert_fails(
            &received_by(|| End::open(side), &peer.frame(COMPRESSED, &HELLO)),
            error,
        );
        assert_fails(&received(side, &peer.frame(PING | RSV1, b"")), error);
        let continuation = [
            peer.frame(RSV1 | TEXT, &HELLO[..3]),
            peer.frame(FIN | RSV1 | CONTINUATION, &HELLO[3..]),
        ];
        assert_fails(&received(side, &continuation.concat()), error);
        let of_plain = [
            peer.frame(TEXT, b"plain"),
            peer.frame(FIN | RSV1 | CONTINUATION, &HELLO),
        ];
        assert_fails(&received(side, &of_plain.concat()), error);
        for bit in [0x20, 0x10] {
            let frame = peer.frame(COMPRESSED | bit, &HELLO);
            assert_fails(&received(side, &frame), ProtocolError::ReservedBits(bit));
        }
    }
}

#[test]
fn compressed_text_fails_with_1007_before_the_message_is_complete() {
    for side in SIDES {
        let peer = PeerOf(side);
        let payload = Blocks::new()
            .stored(b"ok\xe2\x82")
            .stored(b"\xff")
            .message();
        let frame = peer.frame(RSV1 | TEXT, &payload);
        assert_fails(&received(side, &frame), ProtocolError::InvalidUtf8);
        let (start, rest) = payload.split_at(payload.len() - 2);
        let fragments = [
            peer.frame(RSV1 | TEXT, start),
            peer.frame(CONTINUATION, rest),
        ];
        assert_fails(
            &received(side, &fragments.concat()),
            ProtocolError::InvalidUtf8,
        );
    }
}

/// What comes out is counted across fragments, each of which refers to the largest window.
#[test]
fn a_bomb_in_fragments_is_stopped_by_the_fragment_that_passes_the_limit() {
    const LIMIT: usize = 100_000;
    let config = config().deflate(Deflate::new()).max_message_size(LIMIT);
    for side in SIDES {
        let mut end = end_with(side, "permessage-deflate", config.clone());
        let peer = end.peer();
        let window: Vec<u8> = (0..1 << 15).map(|n| n as u8).collect();
        let first = Blocks::new().stored(&window).message();
        assert_eq!(
            end.events_of(&peer.frame(FIN | RSV1 | BINARY, &first))
                .len(),
            1
        );
        let fragment = Blocks::new().fixed().far_back(1 << 15).end();
        let fragment = fragment.stored(b"").bytes();
        end.receive(&peer.frame(RSV1 | BINARY, &fragment));
        for size in (2..).map(|count| count * 258) {
            let events = end.events_of(&peer.frame(CONTINUATION, &fragment));
            if size <= LIMIT {
                assert_eq!(events, []);
                continue;
            }
            let failed = Failure::Protocol(ProtocolError::TooBig {
                length: None,
                limit: LIMIT as u64,
            });
            assert_eq!(events, [Seen::Failed(failed)], "{size}");
            break;
        }
    }
}

/// What cannot be compressed grows a little with each fragment; the limit is that of what comes out.
#[test]
fn a_message_of_the_size_of_the_limit_may_come_in_fragments_that_grew() {
    for (side, size) in [
        (Side::Client, 1),
        (Side::Server, 1),
        (Side::Client, 1000),
        (Side::Server, 1000),
    ] {
        let limit = 100 * size;
        let config = config().deflate(Deflate::new()).max_message_size(limit);
        for fits in [true, false] {
            let mut end = end_with(side, TWELVE_BITS, config.clone());
            let peer = end.peer();
            let fragment = Blocks::new().stored(&vec![b'x'; size]).bytes();
            end.receive(&peer.frame(RSV1 | TEXT, &fragment));
            for _ in 1..100 {
                end.receive(&peer.frame(CONTINUATION, &fragment));
            }
            let last = if fits {
                Blocks::new()
            } else {
                Blocks::new().stored(b"x")
            };
            let events = end.events_of(&peer.frame(FIN | CONTINUATION, &last.message()));
            let failed = Seen::Failed(Failure::Protocol(ProtocolError::TooBig {
                length: None,
                limit: limit as u64,
            }));
            let passed = Seen::Text("x".repeat(limit));
            assert_eq!(events, [if fits { passed } else { failed }]);
        }
    }
}
