//! What a peer can do wrong in compressed messages, cut in every way (RFC 7692 section 7.2).

use sansock_core::deflate::Deflate;
use sansock_core::{Failure, ProtocolError, Side};
use sansock_tests::deflate::{Blocks, RSV1, TWELVE_BITS, end, end_with};
use sansock_tests::end::{End, SIDES, config};
use sansock_tests::receive::{Outcome, received_by};
use sansock_tests::seen::Seen;
use sansock_tests::wire::{BINARY, CONTINUATION, FIN, PING, PeerOf, TEXT};

const COMPRESSED: u8 = FIN | RSV1 | TEXT;
const HELLO: [u8; 7] = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];

fn received(side: Side, bytes: &[u8]) -> Outcome {
    received_by(|| end(side, TWELVE_BITS), bytes)
}

fn texts(texts: &[&str]) -> Vec<Seen> {
    texts
        .iter()
        .map(|text| Seen::Text((*text).into()))
        .collect()
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
        HELLO[..6].to_vec(),
        HELLO[..3].to_vec(),
        vec![],
    ];
    for side in SIDES {
        for payload in &payloads {
            let frame = PeerOf(side).frame(COMPRESSED, payload);
            assert_fails(&received(side, &frame), ProtocolError::Decompression);
        }
    }
}

#[test]
fn all_the_forms_of_blocks_are_one_message() {
    let forms = [
        HELLO.to_vec(),
        b"\x00\x05\x00\xfa\xffHello\x00".to_vec(),
        vec![0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
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
        }
        for empty in [&[0x00][..], &[0x02, 0x00]] {
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
        let refers = peer.frame(COMPRESSED, &[0xf2, 0x00, 0x11, 0x00, 0x00]);
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
