//! The three deliveries: whole messages, frames, and chunks as they arrive (RFC 6455 section 5.4).

use bytes::Bytes;
use sansock_core::deflate::Deflate;
use sansock_core::{
    Config, Delivery, Event, Failure, Kind, Message, OpCode, ProtocolError, Side, State,
};
use sansock_tests::deflate::{Blocks, RSV1, TWELVE_BITS, bomb, end_with};
use sansock_tests::end::{End, SIDES, config};
use sansock_tests::receive::received_with;
use sansock_tests::seen::{Seen, joined};
use sansock_tests::wire::{BINARY, CONTINUATION, FIN, PING, PeerOf, TEXT};

const DELIVERIES: [Delivery; 3] = [Delivery::Messages, Delivery::Frames, Delivery::Chunks];

fn with(delivery: Delivery) -> Config {
    config().delivery(delivery)
}

fn frame(opcode: OpCode, fin: bool, payload: &[u8]) -> Seen {
    Seen::Frame(opcode, fin, payload.into())
}

fn chunk(kind: Kind, first: bool, last: bool, payload: &[u8]) -> Seen {
    let payload = payload.into();
    Seen::Chunk {
        kind,
        first,
        last,
        payload,
    }
}

fn whole_chunk(kind: Kind, payload: &[u8]) -> Seen {
    chunk(kind, true, true, payload)
}

/// Messages of both kinds, in one piece and in fragments, some of them empty, cut inside a character.
fn stream(peer: PeerOf) -> Vec<u8> {
    [
        peer.text("whole"),
        peer.frame(TEXT, b""),
        peer.frame(CONTINUATION, b"z\xC3"),
        peer.frame(CONTINUATION, b""),
        peer.frame(FIN | CONTINUATION, b"\xBC!"),
        peer.binary(b""),
        peer.frame(BINARY, &[0xFF; 9]),
        peer.frame(FIN | CONTINUATION, b""),
        peer.binary(&[1; 300]),
    ]
    .concat()
}

#[test]
fn messages_are_put_together() {
    for side in SIDES {
        let outcome = received_with(side, &with(Delivery::Messages), &stream(PeerOf(side)));
        let events = [
            Seen::Text("whole".into()),
            Seen::Text("zü!".into()),
            Seen::Binary(Vec::new()),
            Seen::Binary(vec![0xFF; 9]),
            Seen::Binary(vec![1; 300]),
        ];
        assert_eq!(outcome.events, events);
    }
}

#[test]
fn frames_are_given_out_as_the_peer_framed_them() {
    for side in SIDES {
        let outcome = received_with(side, &with(Delivery::Frames), &stream(PeerOf(side)));
        let more = OpCode::Continuation;
        let events = [
            frame(OpCode::Text, true, b"whole"),
            frame(OpCode::Text, false, b""),
            frame(more, false, b"z\xC3"),
            frame(more, false, b""),
            frame(more, true, b"\xBC!"),
            frame(OpCode::Binary, true, b""),
            frame(OpCode::Binary, false, &[0xFF; 9]),
            frame(more, true, b""),
            frame(OpCode::Binary, true, &[1; 300]),
        ];
        assert_eq!(outcome.events, events);
    }
}

#[test]
fn chunks_are_given_out_as_they_arrive() {
    for side in SIDES {
        let outcome = received_with(side, &with(Delivery::Chunks), &stream(PeerOf(side)));
        let events = [
            whole_chunk(Kind::Text, b"whole"),
            whole_chunk(Kind::Text, "zü!".as_bytes()),
            whole_chunk(Kind::Binary, b""),
            whole_chunk(Kind::Binary, &[0xFF; 9]),
            whole_chunk(Kind::Binary, &[1; 300]),
        ];
        assert_eq!(outcome.events, events);
    }
}

#[test]
fn a_chunk_does_not_wait_for_the_rest_of_its_frame() {
    for side in SIDES {
        let mut end = End::with(side, with(Delivery::Chunks));
        let peer = end.peer();
        let text = peer.frame(TEXT, "aü".as_bytes());
        let (start, last_byte) = text.split_at(text.len() - 1);
        assert_eq!(
            end.events_of(start),
            [chunk(Kind::Text, true, false, b"a\xC3")]
        );
        assert_eq!(
            end.events_of(last_byte),
            [chunk(Kind::Text, false, false, b"\xBC")]
        );
        assert_eq!(
            end.events_of(&peer.frame(CONTINUATION, b"")),
            [],
            "says nothing"
        );
        let end_of_message = peer.frame(FIN | CONTINUATION, b"");
        assert_eq!(
            end.events_of(&end_of_message),
            [chunk(Kind::Text, false, true, b"")]
        );
    }
}

#[test]
fn every_read_size_gives_the_same_payload_in_every_delivery() {
    let payload: Vec<u8> = "0123456789 äöü €uro 🥊 ".repeat(400).into_bytes();
    for side in SIDES {
        let peer = PeerOf(side);
        let (start, rest) = payload.split_at(5001);
        let bytes = [
            peer.frame(TEXT, start),
            peer.frame(PING, b"between"),
            peer.frame(FIN | CONTINUATION, rest),
        ]
        .concat();
        for delivery in DELIVERIES {
            for size in [1, 2, 3, 5, 61, 125, 1000, 4095, 4096, 4097, bytes.len()] {
                let mut end = End::with(side, with(delivery));
                let mut events = Vec::new();
                for read in bytes.chunks(size) {
                    events.extend(end.events_of(read));
                    end.io().release_buffers();
                }
                let parts: Vec<&[u8]> = events.iter().filter_map(Seen::payload).collect();
                assert_eq!(parts.concat(), payload, "{delivery:?} in reads of {size}");
                assert_eq!(end.state(), State::Open);
            }
        }
    }
}

#[test]
fn control_frames_come_between_the_parts_of_a_message() {
    for side in SIDES {
        let peer = PeerOf(side);
        let bytes = [
            peer.frame(BINARY, b"1"),
            peer.ping(b"?"),
            peer.frame(FIN | CONTINUATION, b"2"),
        ]
        .concat();
        let ping = Seen::Ping(b"?".into());
        let frames = [
            frame(OpCode::Binary, false, b"1"),
            ping.clone(),
            frame(OpCode::Continuation, true, b"2"),
        ];
        assert_eq!(
            received_with(side, &with(Delivery::Frames), &bytes).events,
            frames
        );
        let chunks = [
            chunk(Kind::Binary, true, false, b"1"),
            ping,
            chunk(Kind::Binary, false, true, b"2"),
        ];
        assert_eq!(
            received_with(side, &with(Delivery::Chunks), &bytes).events,
            chunks
        );
    }
}

#[test]
fn delivery_changes_between_messages_only() {
    for side in SIDES {
        let mut end = End::open(side);
        let peer = end.peer();
        assert!(end.set_delivery(Delivery::Frames));
        end.receive(&peer.frame(TEXT, b"a"));
        assert!(end.parse_next());
        assert!(!end.set_delivery(Delivery::Chunks), "an event waits");
        assert_eq!(end.events(), [frame(OpCode::Text, false, b"a")]);
        assert!(!end.set_delivery(Delivery::Messages), "a message is open");
        assert!(end.set_delivery(Delivery::Frames), "it is no change");
        let rest = peer.frame(FIN | CONTINUATION, b"b");
        assert_eq!(
            end.events_of(&rest),
            [frame(OpCode::Continuation, true, b"b")]
        );
        assert!(end.set_delivery(Delivery::Chunks));
        assert_eq!(end.delivery(), Delivery::Chunks);
        assert_eq!(
            end.events_of(&peer.text("c")),
            [whole_chunk(Kind::Text, b"c")]
        );
        end.receive(&peer.text("waits"));
        assert!(end.parse_next());
        assert!(!end.set_delivery(Delivery::Frames), "a message waits");
        assert_eq!(end.events(), [whole_chunk(Kind::Text, b"waits")]);
        assert!(end.set_delivery(Delivery::Messages));
        assert_eq!(end.events_of(&peer.text("d")), [Seen::Text("d".into())]);
    }
}

/// Makes an end, and bytes for it that begin with a message.
type Beginning = (fn(Side, Config) -> End, Vec<u8>);

/// Messages of all sorts, each with one that follows.
fn beginnings(peer: PeerOf) -> Vec<Beginning> {
    let plain = [
        peer.text("whole, \u{10348}"),
        peer.text(""),
        [
            peer.frame(TEXT, b"z\xC3"),
            peer.frame(CONTINUATION, b""),
            peer.ping(b"between"),
            peer.frame(FIN | CONTINUATION, b"\xBC!"),
        ]
        .concat(),
        peer.binary(&[7; 300]),
        [
            peer.frame(BINARY, b""),
            peer.frame(CONTINUATION, &[0xFF; 9]),
            peer.frame(FIN | CONTINUATION, b"end"),
        ]
        .concat(),
    ];
    let compressed = |kind, text: &[u8]| {
        let payload = Blocks::new().fixed().literals(text).end().message();
        let (start, rest) = payload.split_at(payload.len() / 2);
        [
            peer.frame(FIN | RSV1 | kind, &payload),
            [
                peer.frame(RSV1 | kind, start),
                peer.ping(b"between"),
                peer.frame(FIN | CONTINUATION, rest),
            ]
            .concat(),
        ]
    };
    let compressed = [
        compressed(TEXT, "z\u{fc}!".as_bytes()),
        compressed(BINARY, &[3; 40]),
    ]
    .concat();
    let plain = plain
        .into_iter()
        .map(|bytes| (End::with as fn(Side, Config) -> End, bytes));
    let compressed = compressed.into_iter().map(|bytes| {
        let make =
            |side, config: Config| end_with(side, TWELVE_BITS, config.deflate(Deflate::new()));
        (make as fn(Side, Config) -> End, bytes)
    });
    let followed = plain.chain(compressed).map(|(make, bytes)| {
        let bytes = [bytes, peer.text("the next")].concat();
        (make, bytes)
    });
    followed.collect()
}

#[test]
fn a_message_that_began_in_parts_is_received_whole_until_a_part_was_taken() {
    for side in SIDES {
        for (make, bytes) in beginnings(PeerOf(side)) {
            let expected = make(side, config()).events_of(&bytes);
            for delivery in [Delivery::Frames, Delivery::Chunks] {
                for cut in 0..=bytes.len() {
                    let mut end = make(side, with(delivery));
                    end.receive(&bytes[..cut]);
                    end.parse_next();
                    assert!(end.set_delivery(Delivery::Messages));
                    let mut events = end.events();
                    assert!(events.iter().all(|event| expected.contains(event)));
                    events.extend(end.events_of(&bytes[cut..]));
                    assert_eq!(events, expected, "{delivery:?}, cut at {cut}");

                    let mut end = make(side, with(delivery));
                    end.receive(&bytes[..cut]);
                    let is_inside = matches!(
                        end.event(),
                        Some(Seen::Frame(_, false, _) | Seen::Chunk { last: false, .. })
                    );
                    end.parse_next();
                    assert_eq!(end.set_delivery(Delivery::Messages), !is_inside);
                }
            }
        }
    }
}

#[test]
fn a_message_that_began_in_chunks_is_received_whole_within_the_limits() {
    for side in SIDES {
        let limits: [fn(Config) -> Config; 2] = [
            |config| config.max_message_size(100),
            |config| config.max_frame_size(100),
        ];
        for limit in limits {
            for (size, passes) in [(100, true), (101, false)] {
                for cut in [20, usize::MAX] {
                    let message = PeerOf(side).binary(&vec![1; size]);
                    let (start, rest) = message.split_at(cut.min(message.len()));
                    let mut end = End::with(side, limit(with(Delivery::Chunks)));
                    end.receive(start);
                    assert!(end.parse_next());
                    assert!(end.set_delivery(Delivery::Messages));
                    let events = end.events_of(rest);
                    let too_big = ProtocolError::TooBig {
                        length: Some(size as u64),
                        limit: 100,
                    };
                    let expected = match passes {
                        true => Seen::Binary(vec![1; size]),
                        false => Seen::Failed(Failure::Protocol(too_big)),
                    };
                    assert_eq!(events, [expected], "{size}, cut at {cut}");
                }
            }
        }
    }
}

#[test]
fn a_message_that_was_decoded_in_chunks_is_received_whole_within_the_limit() {
    for side in SIDES {
        for (size, passes) in [(100_000, true), (100_001, false)] {
            let config = with(Delivery::Chunks)
                .deflate(Deflate::new())
                .max_message_size(100_000);
            let mut end = end_with(side, TWELVE_BITS, config);
            end.receive(&PeerOf(side).frame(FIN | RSV1 | BINARY, &bomb(size)));
            assert!(end.parse_next());
            assert!(end.set_delivery(Delivery::Messages));
            let is_whole = end.events() == [Seen::Binary(vec![0; size])];
            assert_eq!(is_whole, passes, "{size}");
            assert_eq!(end.failure().is_none(), passes, "{size}");
        }
    }
}

#[test]
fn delivery_does_not_change_inside_a_frame() {
    for side in SIDES {
        let mut end = End::open(side);
        let text = end.peer().text("cut");
        let (start, rest) = text.split_at(text.len() - 1);
        assert_eq!(end.events_of(start), []);
        assert!(!end.set_delivery(Delivery::Chunks));
        assert_eq!(end.events_of(rest), [Seen::Text("cut".into())]);
        assert!(end.set_delivery(Delivery::Chunks));
    }
}

#[test]
fn limits_hold_for_frames_and_not_for_chunks() {
    for side in SIDES {
        let peer = PeerOf(side);
        let parts = [peer.frame(BINARY, &[1; 60]), peer.frame(FIN, &[2; 60])].concat();
        for (delivery, passes) in [(Delivery::Frames, false), (Delivery::Chunks, true)] {
            let outcome = received_with(side, &with(delivery).max_message_size(100), &parts);
            assert_eq!(outcome.failure.is_none(), passes, "{delivery:?}");
        }
    }
}

#[test]
fn an_owned_message_outlives_what_comes_after_it() {
    for side in SIDES {
        let mut end = End::open(side);
        let peer = end.peer();
        let long = "long".repeat(3000);
        let mut kept = Vec::new();
        for bytes in [
            peer.text("short"),
            [peer.frame(TEXT, b"frag"), peer.frame(FIN, b"ments")].concat(),
            peer.binary(&[9; 7]),
            peer.text(&long),
        ] {
            for read in bytes.chunks(1000) {
                end.receive(read);
                if let Some(Event::Message(message)) = end.next_event() {
                    kept.push(message.into_owned());
                }
            }
        }
        let expected = [
            Message::text("short"),
            Message::text("fragments"),
            Message::binary(Bytes::from_static(&[9; 7])),
            Message::text(long),
        ];
        assert_eq!(kept, expected);
    }
}

#[test]
fn chunks_of_one_message_are_marked_first_and_last_once() {
    let mut end = End::with(Side::Server, with(Delivery::Chunks));
    let bytes = stream(end.peer());
    let mut events = Vec::new();
    for byte in &bytes {
        events.extend(end.events_of(&[*byte]));
    }
    assert!(events.len() > 300, "a byte at a time");
    assert_eq!(joined(events).len(), 5);
}

#[test]
fn next_message_leaves_every_other_event_where_it_is() {
    for side in SIDES {
        let mut end = End::open(side);
        let bytes = [end.peer().ping(b"?"), end.peer().text("hello")].concat();
        end.receive(&bytes);
        assert!(end.parse_next());
        assert!(matches!(end.io().next_message(), Ok(None)));
        assert_eq!(
            Seen::from(end.next_event().unwrap()),
            Seen::Ping(b"?".into())
        );
        assert!(end.parse_next());
        let message = end.io().next_message().unwrap().unwrap();
        assert_eq!(message.as_text(), Some("hello"));
        assert!(matches!(end.io().next_message(), Ok(None)));
    }
}
