//! Inputs that have brought other parsers down, and numbers at the edge of what can be counted.

use std::thread;
use std::time::Duration;

use allocation_counter::measure;
use sansock_core::deflate::Deflate;
use sansock_core::handshake::{ClientOptions, Uri};
use sansock_core::{
    ClientConnection, Config, Deadline, Delivery, Event, Failure, Fin, Instant, OpCode,
    ProtocolError, ServerConnection, Side, State,
};
use sansock_tests::deflate::{RSV1, TWELVE_BITS, end_with};
use sansock_tests::end::{End, SIDES, config};
use sansock_tests::receive::{received, received_with};
use sansock_tests::seen::Seen;
use sansock_tests::wire::{BINARY, CLOSE, CONTINUATION, FIN, PeerOf, TEXT, close_body};

const NOW: Instant = Instant::START;

/// Sends a request with these further lines to a server with compression; returns what it answers.
fn answer(target: &str, lines: &str) -> String {
    let config = Config::new().deflate(Deflate::new());
    let mut server = ServerConnection::new(Default::default(), config);
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{lines}\r\n"
    );
    server.receive_data(request.as_bytes(), NOW);
    if let Some(Event::Request(request)) = server.next_event() {
        let response = server.accept(&request);
        server.send_response(&response).unwrap();
    }
    let mut data = server.data_to_send();
    let size = bytes::Buf::remaining(&data);
    let answer = bytes::Buf::copy_to_bytes(&mut data, size);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn requests_that_hide_something_else_are_refused() {
    let upgrade = "Upgrade: websocket\r\n";
    let long = format!("/{}", "a".repeat(64 << 10));
    for (target, lines, status) in [
        ("/", upgrade, 101),
        (
            "/",
            "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
            426,
        ),
        (
            "/",
            &format!("{upgrade}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"),
            400,
        ),
        (
            "/",
            &format!("{upgrade}Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"),
            400,
        ),
        (&long, upgrade, 414),
        // What stands in a target is for the application to judge, as it stands there.
        ("/..%2f..%00", upgrade, 101),
        ("http://a/x", upgrade, 101),
    ] {
        let answer = answer(target, lines);
        let shown = &target[..target.len().min(20)];
        let expected = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&expected), "{shown} {lines}: {answer}");
    }
}

#[test]
fn of_a_hundred_offers_the_acceptable_one_is_found() {
    let offers = "permessage-deflate; server_max_window_bits=99, x-unknown; y=\"z\", ".repeat(50);
    let lines =
        format!("Upgrade: websocket\r\nSec-WebSocket-Extensions: {offers}permessage-deflate\r\n");
    let answer = answer("/", &lines);
    assert_eq!(answer.matches("permessage-deflate").count(), 1, "{answer}");
    assert!(
        !answer.contains("x-unknown") && !answer.contains("99"),
        "{answer}"
    );
}

#[test]
fn a_masking_key_of_zero_is_valid() {
    let frame = b"\x81\x85\x00\x00\x00\x00Hello";
    let outcome = received(Side::Server, frame);
    assert_eq!(outcome.events, [Seen::Text("Hello".into())]);
}

#[test]
fn what_is_no_frame_at_all_is_refused_by_its_first_bytes() {
    let hello_of_tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let preface_of_http_2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for side in SIDES {
        for bytes in [
            &hello_of_tls[..],
            preface_of_http_2,
            b"HTTP/1.1 200 OK\r\n\r\n",
        ] {
            let outcome = received(side, bytes);
            assert_eq!(outcome.sent[0].1[..2], 1002_u16.to_be_bytes());
            assert_eq!(outcome.events.len(), 1, "{:?}", outcome.events);
            let mut end = End::open(side);
            end.receive(&bytes[..1]);
            assert!(end.parse_next(), "the first byte is enough");
        }
    }
}

#[test]
fn a_close_frame_that_declares_a_long_body_is_refused_at_its_second_byte() {
    for side in SIDES {
        let peer = PeerOf(side);
        for (form, extended) in [
            (126, &[0, 126][..]),
            (126, &[0xFF; 2]),
            (127, &[0x7F; 8]),
            (127, &[0xFF; 8]),
        ] {
            let header = peer.header_of_form(CLOSE, form, extended);
            let error = ProtocolError::ControlTooLong(OpCode::Close);
            let failed = [Seen::Failed(Failure::Protocol(error))];
            assert_eq!(received(side, &header).events, failed);
            assert_eq!(End::open(side).events_of(&header[..2]), failed);
        }
    }
}

/// Section 5.2: a length has 63 bits. Nothing is added to it, or subtracted from it, that would not fit.
#[test]
fn lengths_at_the_end_of_numbers_do_not_overflow() {
    let largest = (1 << 63) - 1;
    for side in SIDES {
        let peer = PeerOf(side);
        for delivery in [Delivery::Messages, Delivery::Frames, Delivery::Chunks] {
            for limit in [
                None,
                Some(usize::MAX),
                Some(usize::MAX - 1),
                Some(usize::MAX / 2),
            ] {
                let config = config().delivery(delivery).max_message_size(limit);
                let mut end = End::with(side, config);
                let start = [
                    peer.frame(BINARY, &[1; 150]),
                    peer.frame(CONTINUATION, &[2; 150]),
                    peer.header(CONTINUATION, largest),
                    peer.masked(&[3; 150]),
                ];
                let info = measure(|| {
                    end.receive(&start.concat());
                    while end.next_event().is_some() {}
                });
                assert!(info.bytes_max < 64 << 10, "{info:?}");
                let fits = delivery == Delivery::Chunks || limit != Some(usize::MAX / 2);
                assert_eq!(end.state() == State::Open, fits, "{delivery:?} {limit:?}");
            }
        }
        // A length of all ones is none at all.
        let header = peer.header_of_form(FIN | BINARY, 127, &[0xFF; 8]);
        let failed = Failure::Protocol(ProtocolError::LengthTopBit);
        assert_eq!(received(side, &header).events, [Seen::Failed(failed)]);
    }
}

#[test]
fn a_limit_of_zero_is_a_limit() {
    for side in SIDES {
        let peer = PeerOf(side);
        let config = config().max_message_size(0).max_empty_fragments(0);
        let outcome = received_with(side, &config, &peer.text(""));
        assert_eq!(outcome.events, [Seen::Text(String::new())]);
        let outcome = received_with(side, &config, &peer.text("x"));
        assert_eq!(outcome.sent[0].1[..2], 1009_u16.to_be_bytes());
        let empty = [peer.frame(TEXT, b""), peer.frame(CONTINUATION, b"")].concat();
        let outcome = received_with(side, &config, &empty);
        assert_eq!(outcome.sent[0].1[..2], 1008_u16.to_be_bytes());
        let mut end = End::with(side, config.max_queued_output(0));
        assert!(end.send("").is_err() && !end.has_capacity());
    }
}

#[test]
fn the_defaults_are_safe() {
    let defaults = format!("{:?}", Config::new());
    for expected in [
        "delivery: Messages",
        "max_message_size: 1048576",
        "max_empty_fragments: Some(1024)",
        "max_queued_output: 65536",
        "line: 8192",
        "head: 16384",
        "headers: 100",
        "max_refusal_body: 4096",
        "open_timeout: Some(10s)",
        "close_timeout: Some(5s)",
        "ping_interval: Some(20s)",
        "ping_timeout: Some(20s)",
        "write_timeout: Some(30s)",
        "extensions: []",
        "entropy: SystemEntropy",
    ] {
        assert!(defaults.contains(expected), "{expected} in {defaults}");
    }
    assert_eq!(
        format!("{:?}", sansock::config()),
        defaults.replace("NoPool", "ThreadBuffers")
    );
}

/// Validation in wide steps must see a bad byte wherever it stands, also in what is left at the ends.
#[test]
fn a_bad_byte_at_every_place_of_texts_of_every_length_is_found() {
    for side in SIDES {
        let peer = PeerOf(side);
        for length in 1..=130 {
            let mut text = vec![b'x'; length];
            assert_eq!(
                End::open(side)
                    .events_of(&peer.frame(FIN | TEXT, &text))
                    .len(),
                1
            );
            for place in (0..length).step_by(if length % 32 < 2 { 1 } else { 7 }) {
                text[place] = 0xFF;
                let events = End::open(side).events_of(&peer.frame(FIN | TEXT, &text));
                let failed = Failure::Protocol(ProtocolError::InvalidUtf8);
                assert_eq!(events, [Seen::Failed(failed)], "{place} of {length}");
                text[place] = b'x';
            }
        }
    }
}

/// Each byte is a sign of life, so that the minimum rate alone ends this.
#[test]
fn a_peer_that_dribbles_a_frame_and_answers_no_ping_is_bounded_by_the_minimum_rate() {
    for side in SIDES {
        let mut end = End::with(side, config().min_receive_rate(2));
        let header = end.peer().header(FIN | BINARY, 1000);
        end.receive(&header);
        end.mind_the_time();
        for _ in 0..5 {
            end.receive(b"x");
            end.events();
            end.output();
            end.pass(Duration::from_secs(1));
        }
        let failure = Failure::TimedOut(Deadline::Receive);
        assert_eq!(end.failure(), Some(&failure), "{:?}", end.state());
        let events = end.events();
        assert_eq!(
            events,
            [Seen::Failed(failure)],
            "nothing of the frame is given out"
        );
    }
}

/// Everything that a peer makes us do, on a thread with little stack: nothing recurses.
#[test]
fn a_small_stack_is_enough_for_a_whole_connection() {
    let thread = thread::Builder::new().stack_size(64 << 10);
    let work = || {
        for (_, wire) in transcripts() {
            for side in SIDES {
                let config = config().deflate(Deflate::new());
                let mut end = end_with(side, TWELVE_BITS, config);
                let bytes = wire(PeerOf(side));
                for piece in bytes.chunks(7) {
                    end.receive(piece);
                    while end.next_event().is_some() {}
                }
                assert_ne!(end.stats().frames_received, 0);
            }
        }
        let uri: Uri = "ws://example.com/".parse().unwrap();
        let mut client = ClientConnection::new(&uri, &ClientOptions::new(), config()).unwrap();
        client.send_request(client.connect()).unwrap();
        client.receive_data("HTTP/1.1 101 X\r\na: b".repeat(1000).as_bytes(), NOW);
        assert!(client.next_event().is_some() && client.handshake_error().is_some());
        answer("/", &"Upgrade: websocket, ((((((((((\r\n".repeat(50));
    };
    thread.spawn(work).unwrap().join().unwrap();
}

type Transcript = (&'static str, fn(PeerOf) -> Vec<u8>);

/// What peers send, good and bad.
fn transcripts() -> [Transcript; 5] {
    [
        ("messages", |peer| {
            [
                peer.text("text"),
                peer.binary(&[1; 70_000]),
                peer.ping(b"?"),
            ]
            .concat()
        }),
        ("fragments", |peer| {
            let fragment = peer.frame(CONTINUATION, b"x");
            [
                peer.frame(TEXT, b""),
                fragment.repeat(10_000),
                peer.frame(FIN, b""),
            ]
            .concat()
        }),
        ("compressed", |peer| {
            let side = if peer.0 == Side::Client {
                Side::Server
            } else {
                Side::Client
            };
            let mut sender = end_with(side, TWELVE_BITS, config().deflate(Deflate::new()));
            for _ in 0..3 {
                sender.send_text("again ".repeat(1000), Fin::More).unwrap();
                sender
                    .send_continuation(&b"and again ".repeat(1000)[..], Fin::Last)
                    .unwrap();
            }
            sender.output()
        }),
        ("corrupt", |peer| {
            peer.frame(FIN | RSV1 | TEXT, &[0xAA; 1000])
        }),
        ("close", |peer| {
            [
                peer.close(1000, ""),
                peer.frame(CLOSE, &close_body(1000, "again")),
            ]
            .concat()
        }),
    ]
}
