//! What is received, and how it is answered (RFC 6455 sections 5.2 to 5.7 and 8.1), at every cut.

use sansock_core::{Closed, Failure, ProtocolError, Side, State};
use sansock_tests::end::{End, SIDES, config};
use sansock_tests::receive::{Outcome, received, received_with};
use sansock_tests::seen::Seen;
use sansock_tests::wire::{BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, PeerOf, TEXT, close_body};

fn text(text: &str) -> Seen {
    Seen::Text(text.into())
}

fn binary(bytes: &[u8]) -> Seen {
    Seen::Binary(bytes.into())
}

fn ping(payload: &[u8]) -> Seen {
    Seen::Ping(payload.into())
}

/// The connection is open, and gave out and sent just this.
#[track_caller]
fn assert_open(outcome: &Outcome, events: &[Seen], sent: &[(u8, Vec<u8>)]) {
    assert_eq!(outcome.state, State::Open);
    assert_eq!(outcome.events, events);
    assert_eq!(outcome.sent, sent);
}

/// The connection gave out these events, then failed with this error, and said so to the peer.
#[track_caller]
fn assert_failed(side: Side, outcome: &Outcome, events: &[Seen], error: ProtocolError) {
    let failure = Failure::Protocol(error);
    let mut expected = events.to_vec();
    expected.push(Seen::Failed(failure.clone()));
    assert_eq!(outcome.events, expected);
    assert_eq!(outcome.state, State::Closing);
    assert_eq!(outcome.has_ended, side == Side::Server, "server ends first");
    let code = error.close_code().number();
    let (first, body) = outcome.sent.last().expect("a Close frame");
    assert_eq!(*first, CLOSE);
    assert_eq!(*body, close_body(code, &error.to_string()));
    assert!(matches!(&outcome.closed, Some(Closed::Sent(frame)) if frame.code.number() == code));
    assert_eq!(outcome.failure, Some(failure));
}

#[test]
fn messages_of_every_length_form_arrive_whole() {
    for side in SIDES {
        let peer = PeerOf(side);
        for length in [0, 1, 2, 7, 8, 9, 125, 126, 127, 4096, 65535, 65536] {
            let payload: Vec<u8> = (0..length).map(|number| number as u8).collect();
            let outcome = received(side, &peer.binary(&payload));
            assert_open(&outcome, &[binary(&payload)], &[]);
        }
    }
}

#[test]
fn messages_arrive_in_order_between_control_frames() {
    for side in SIDES {
        let peer = PeerOf(side);
        let bytes = [
            peer.text(""),
            peer.ping(b"one"),
            peer.text("zwölf Boxkämpfer 🥊"),
            peer.pong(b"nobody asked"),
            peer.binary(&[0xFF, 0x00]),
            peer.ping(b""),
        ]
        .concat();
        let events = [
            text(""),
            ping(b"one"),
            text("zwölf Boxkämpfer 🥊"),
            Seen::Pong(b"nobody asked".into()),
            binary(&[0xFF, 0x00]),
            ping(b""),
        ];
        let pongs = [(PONG, b"one".to_vec()), (PONG, Vec::new())];
        assert_open(&received(side, &bytes), &events, &pongs);
    }
}

#[test]
fn fragments_are_joined_around_control_frames() {
    for side in SIDES {
        let peer = PeerOf(side);
        let bytes = [
            peer.frame(TEXT, b""),
            peer.frame(CONTINUATION, b"z"),
            peer.frame(CONTINUATION, &[0xC3]),
            peer.ping(b"between"),
            peer.frame(CONTINUATION, &[0xBC, 0xF0, 0x9F]),
            peer.frame(CONTINUATION, b""),
            peer.frame(FIN | CONTINUATION, &[0xA5, 0x8A]),
            peer.frame(BINARY, &[1, 2]),
            peer.frame(FIN | CONTINUATION, b""),
        ]
        .concat();
        let events = [ping(b"between"), text("zü🥊"), binary(&[1, 2])];
        let pongs = [(PONG, b"between".to_vec())];
        assert_open(&received(side, &bytes), &events, &pongs);
    }
}

#[test]
fn control_frames_hold_up_to_125_bytes() {
    for side in SIDES {
        let peer = PeerOf(side);
        let outcome = received(side, &peer.ping(&[b'p'; 125]));
        assert_open(&outcome, &[ping(&[b'p'; 125])], &[(PONG, vec![b'p'; 125])]);
    }
}

#[test]
fn what_breaks_the_frame_format_is_refused_after_what_came_before() {
    use ProtocolError as E;
    for side in SIDES {
        let (peer, other) = match side {
            Side::Client => (PeerOf(side), PeerOf(Side::Server)),
            Side::Server => (PeerOf(side), PeerOf(Side::Client)),
        };
        let mask = match side {
            Side::Client => E::Masked,
            Side::Server => E::NotMasked,
        };
        let ping_op = sansock_core::OpCode::Ping;
        let cases = [
            (peer.frame(FIN | TEXT | 0x40, b""), E::ReservedBits(0x40)),
            (peer.frame(FIN | TEXT | 0x20, b""), E::ReservedBits(0x20)),
            (peer.frame(PING | 0x10, b""), E::ReservedBits(0x10)),
            (peer.frame(FIN | 0x3, b""), E::ReservedOpcode(3)),
            (peer.frame(FIN | 0xF, b""), E::ReservedOpcode(15)),
            (other.text("x"), mask),
            (peer.frame(PING & !FIN, b""), E::FragmentedControl(ping_op)),
            (peer.frame(PING, &[0; 126]), E::ControlTooLong(ping_op)),
            (
                peer.frame(FIN | CONTINUATION, b""),
                E::UnexpectedContinuation,
            ),
            (
                peer.header_of_form(FIN | BINARY, 126, &[0, 125]),
                E::LengthNotMinimal,
            ),
            (
                peer.header_of_form(FIN | BINARY, 127, &[0, 0, 0, 0, 0, 0, 0xFF, 0xFF]),
                E::LengthNotMinimal,
            ),
            (
                peer.header_of_form(FIN | BINARY, 127, &[0x80]),
                E::LengthTopBit,
            ),
            (
                peer.header_of_form(FIN | BINARY, 127, &[0xFF; 8]),
                E::LengthTopBit,
            ),
            // Bytes that once made a parser overflow.
            (
                b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xeb\x0e\x8f".to_vec(),
                { E::FragmentedControl(sansock_core::OpCode::Pong) },
            ),
            (b"GET / HTTP/1.1\r\n\r\n".to_vec(), E::ReservedOpcode(7)),
        ];
        for (frame, error) in cases {
            let bytes = [peer.text("before"), frame].concat();
            assert_failed(side, &received(side, &bytes), &[text("before")], error);
        }
    }
}

#[test]
fn a_new_message_inside_an_unfinished_one_is_refused() {
    for side in SIDES {
        let peer = PeerOf(side);
        for opcode in [TEXT, BINARY] {
            let bytes = [peer.frame(TEXT, b"a"), peer.frame(FIN | opcode, b"b")].concat();
            let opcode = sansock_core::OpCode::from_number(opcode).unwrap();
            let error = ProtocolError::ExpectedContinuation(opcode);
            assert_failed(side, &received(side, &bytes), &[], error);
        }
    }
}

#[test]
fn a_message_of_the_limit_passes_and_one_byte_more_is_refused() {
    for side in SIDES {
        let peer = PeerOf(side);
        let small = config().max_message_size(200);
        let start = peer.frame(BINARY, &[1; 150]);
        let rest = peer.frame(FIN | CONTINUATION, &[3; 50]);
        let fits = [&start[..], &peer.ping(&[2; 125]), &rest].concat();
        let outcome = received_with(side, &small, &fits);
        let message = [vec![1; 150], vec![3; 50]].concat();
        let pong = (PONG, vec![2; 125]);
        assert_open(&outcome, &[ping(&[2; 125]), binary(&message)], &[pong]);
        let huge = (1 << 63) - 1;
        for (frames, length) in [
            (peer.header(FIN | BINARY, 201), 201),
            ([&start[..], &peer.header(CONTINUATION, 51)].concat(), 201),
            ([&start[..], &peer.header(FIN, huge)].concat(), huge + 150),
        ] {
            let outcome = received_with(side, &small, &frames);
            let (length, limit) = (Some(length), 200);
            assert_failed(side, &outcome, &[], ProtocolError::TooBig { length, limit });
        }
    }
}

#[test]
fn a_frame_over_its_own_limit_is_refused() {
    for side in SIDES {
        let peer = PeerOf(side);
        let config = config().max_frame_size(10);
        let fits = [peer.frame(BINARY, &[1; 10]), peer.frame(FIN, &[1; 10])].concat();
        assert_open(
            &received_with(side, &config, &fits),
            &[binary(&[1; 20])],
            &[],
        );
        let message = config.clone().max_message_size(12);
        let fitting = [peer.frame(BINARY, &[1; 5]), peer.header(FIN, 10)].concat();
        // What is told is what was exceeded: the limit of a frame, or that of a message.
        for (config, frames, length, limit) in [
            (&config, &peer.header(BINARY, 11), 11, 10),
            (&message, &fitting, 15, 12),
        ] {
            let length = Some(length);
            let error = ProtocolError::TooBig { length, limit };
            assert_failed(side, &received_with(side, config, frames), &[], error);
        }
    }
}

#[test]
fn the_end_of_the_stream_inside_a_message_loses_it() {
    for side in SIDES {
        let peer = PeerOf(side);
        for start in [peer.frame(TEXT, b"unfinished"), Vec::new()] {
            let mut end = End::open(side);
            end.receive(&[peer.text("before"), start].concat());
            end.end_of_stream();
            let events = [text("before"), Seen::Failed(Failure::Lost)];
            assert_eq!(end.events(), events);
            assert_eq!(end.state(), State::Closed);
            assert_eq!(end.close_code().unwrap().number(), 1006);
            assert_eq!(end.sent(), [], "nobody is left to be told");
        }
    }
}

#[test]
fn the_end_of_the_stream_at_any_byte_loses_what_is_not_complete_and_nothing_else() {
    for side in SIDES {
        let peer = PeerOf(side);
        let (whole, fragments) = (
            peer.text("whole"),
            [peer.frame(TEXT, b"a"), peer.frame(FIN, b"b")],
        );
        let bytes = [&whole[..], &fragments.concat()].concat();
        for end_of_stream in 0..=bytes.len() {
            let mut end = End::open(side);
            end.receive(&bytes[..end_of_stream]);
            end.end_of_stream();
            let mut expected = Vec::new();
            if end_of_stream >= whole.len() {
                expected.push(text("whole"));
            }
            if end_of_stream == bytes.len() {
                expected.push(text("ab"));
            }
            expected.push(Seen::Failed(Failure::Lost));
            assert_eq!(end.events(), expected, "end after {end_of_stream}");
            assert_eq!(end.output(), b"");
            assert!(end.has_ended());
        }
    }
}
