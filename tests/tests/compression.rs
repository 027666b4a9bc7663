//! Messages through permessage-deflate, end to end in the core (RFC 7692).

use bytes::Buf;
use sansock_core::deflate::Deflate;
use sansock_core::handshake::{ClientOptions, Uri};
use sansock_core::{
    ClientConnection, Compression, Config, Delivery, Event, Failure, Fin, FixedSeed, Instant, Kind,
    Prepared, ProtocolError, ServerConnection, State,
};
use sansock_tests::deflate::{RSV1, TAIL, TWELVE_BITS, end, end_with};
use sansock_tests::end::{SIDES, config};
use sansock_tests::random::Random;
use sansock_tests::seen::Seen;
use sansock_tests::wire::{CLOSE, CONTINUATION, FIN, PING, PONG, TEXT};

const NOW: Instant = Instant::START;

struct Pair {
    client: ClientConnection,
    server: ServerConnection,
}

impl Pair {
    #[track_caller]
    fn open(client: Config, server: Config) -> Self {
        let uri: Uri = "ws://localhost/".parse().unwrap();
        let client = client.entropy(FixedSeed([3; 32]));
        let client = ClientConnection::new(&uri, &ClientOptions::new(), client).unwrap();
        let server = ServerConnection::new(Default::default(), server);
        let mut pair = Self { client, server };
        pair.client.send_request(pair.client.connect()).unwrap();
        pair.reach_server();
        let Some(Event::Request(request)) = pair.server.next_event() else {
            panic!("no request")
        };
        let response = pair.server.accept(&request);
        pair.server.send_response(&response).unwrap();
        pair.reach_client();
        assert!(matches!(pair.client.next_event(), Some(Event::Response(_))));
        assert_eq!(pair.client.handshake_error(), None);
        assert_eq!(pair.client.state(), State::Open);
        pair
    }

    fn compressed(deflate: Deflate) -> Self {
        let config = Config::new().deflate(deflate);
        Self::open(config.clone(), config)
    }

    fn reach_server(&mut self) -> usize {
        transfer(&mut self.client.data_to_send(), |bytes| {
            self.server.receive_data(bytes, NOW);
        })
    }

    fn reach_client(&mut self) -> usize {
        transfer(&mut self.server.data_to_send(), |bytes| {
            self.client.receive_data(bytes, NOW);
        })
    }
}

fn transfer(data: &mut impl Buf, mut receive: impl FnMut(&[u8])) -> usize {
    let mut size = 0;
    while data.has_remaining() {
        let chunk = data.chunk().len();
        receive(data.chunk());
        data.advance(chunk);
        size += chunk;
    }
    size
}

#[track_caller]
fn text(event: Option<Event<'_>>) -> String {
    match event {
        Some(Event::Message(message)) => message.as_text().expect("text").to_owned(),
        other => panic!("no message but {other:?}"),
    }
}

#[test]
fn messages_are_compressed_both_ways_and_later_ones_refer_to_earlier_ones() {
    let mut pair = Pair::compressed(Deflate::new());
    let message = "to be or not to be, that is the question; ".repeat(8);
    let mut sizes = Vec::new();
    for _ in 0..3 {
        pair.client.send(&message).unwrap();
        sizes.push(pair.reach_server());
        assert_eq!(text(pair.server.next_event()), message);
        pair.server.send(&message).unwrap();
        sizes.push(pair.reach_client());
        assert_eq!(text(pair.client.next_event()), message);
    }
    assert!(sizes[0] < message.len() / 4, "{sizes:?}");
    assert!(sizes[2] < sizes[0] / 2, "{sizes:?}");
}

#[test]
fn a_connection_that_was_quiet_goes_on_from_its_history() {
    let mut pair = Pair::compressed(Deflate::new());
    let message = "the quick brown fox jumps over the lazy dog".repeat(4);
    for second in 0..4 {
        pair.server.send(&message).unwrap();
        pair.reach_client();
        assert_eq!(text(pair.client.next_event()), message);
        let later = Instant::from_start(std::time::Duration::from_secs(second * 2));
        for _ in 0..3 {
            pair.server.handle_timeout(later);
            pair.client.handle_timeout(later);
        }
    }
}

#[test]
fn a_message_may_pass_as_it_is() {
    let mut pair = Pair::compressed(Deflate::new());
    let message = "a".repeat(1000);
    pair.client.send_with(&message, Compression::Never).unwrap();
    assert!(pair.reach_server() > 1000);
    assert_eq!(text(pair.server.next_event()), message);
    pair.client.send(&message).unwrap();
    assert!(pair.reach_server() < 100);
    assert_eq!(text(pair.server.next_event()), message);
}

#[test]
fn fragments_are_compressed_one_by_one() {
    let mut pair = Pair::compressed(Deflate::new());
    let text_in_parts = "€uro and ".repeat(50);
    let (first, rest) = text_in_parts.as_bytes().split_at(1);
    pair.client.send_text("", Fin::More).unwrap();
    pair.client.send_continuation(first, Fin::More).unwrap();
    pair.client.send_continuation(&[], Fin::More).unwrap();
    pair.client.send_continuation(rest, Fin::More).unwrap();
    pair.client.send_continuation(&[], Fin::Last).unwrap();
    assert!(pair.reach_server() < text_in_parts.len());
    assert_eq!(text(pair.server.next_event()), text_in_parts);
}

/// RFC 7692 section 6.
#[test]
fn only_the_first_frame_of_a_compressed_message_is_marked() {
    for side in SIDES {
        let mut end = end(side, TWELVE_BITS);
        end.send_text("again and again ".repeat(20), Fin::More)
            .unwrap();
        end.send_ping(b"between").unwrap();
        end.send_continuation("and again ".repeat(20).as_bytes(), Fin::More)
            .unwrap();
        end.send_pong(b"between").unwrap();
        end.send_continuation(b"", Fin::Last).unwrap();
        end.send_close(1000, "").unwrap();
        let first: Vec<u8> = end.sent().into_iter().map(|sent| sent.0).collect();
        let expected = [
            RSV1 | TEXT,
            PING,
            CONTINUATION,
            PONG,
            FIN | CONTINUATION,
            CLOSE,
        ];
        assert_eq!(first, expected);
    }
}

#[test]
fn chunks_of_a_compressed_message_are_bounded() {
    let config = Config::new().deflate(Deflate::new());
    let mut pair = Pair::open(config.clone(), config.delivery(Delivery::Chunks));
    let message = vec![7_u8; 8 << 20];
    pair.client.send(&message).unwrap();
    pair.reach_server();
    let (mut size, mut largest) = (0, 0);
    loop {
        match pair.server.next_event() {
            Some(Event::Chunk(chunk)) => {
                assert_eq!(chunk.kind, Kind::Binary);
                assert!(chunk.payload.iter().all(|byte| *byte == 7));
                size += chunk.payload.len();
                largest = largest.max(chunk.payload.len());
                if chunk.last {
                    break;
                }
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(size, message.len());
    assert!(largest <= 300 << 10, "{largest}");
}

#[test]
fn the_limit_is_that_of_what_comes_out() {
    for (size, passes) in [(1000, true), (1024, true), (1025, false), (1 << 20, false)] {
        let deflate = Config::new().deflate(Deflate::new());
        let mut pair = Pair::open(deflate.clone(), deflate.max_message_size(1024));
        pair.client.send(vec![0; size]).unwrap();
        pair.reach_server();
        match pair.server.next_event() {
            Some(Event::Message(message)) => {
                assert!(passes);
                assert_eq!(message.as_bytes().len(), size);
            }
            Some(Event::Failed(failure)) => {
                assert!(!passes, "{size}");
                assert_eq!(failure.close_code().number(), 1009);
            }
            other => panic!("{other:?}"),
        }
    }
}

/// What cannot be compressed grows: by an eighth and 64 bytes at most, and only where it says that it is compressed.
#[test]
fn a_frame_that_could_not_come_below_the_limit_is_refused_at_its_header() {
    let config = config().deflate(Deflate::new()).max_message_size(800);
    for side in SIDES {
        for (first, most) in [(FIN | RSV1 | TEXT, 800 + 100 + 64), (FIN | TEXT, 800)] {
            let mut end = end_with(side, "permessage-deflate", config.clone());
            let header = end.peer().header(first, most);
            assert_eq!(end.events_of(&header), []);
            let mut end = end_with(side, "permessage-deflate", config.clone());
            let header = end.peer().header(first, most + 1);
            let length = Some(most + 1);
            let error = ProtocolError::TooBig { length, limit: 800 };
            let failed = Seen::Failed(Failure::Protocol(error));
            assert_eq!(end.events_of(&header), [failed], "{side:?} {first:#04x}");
        }
    }
}

#[test]
fn a_message_that_cannot_be_compressed_may_have_the_size_of_the_limit() {
    let deflate = Config::new().deflate(Deflate::new());
    let mut pair = Pair::open(deflate.clone(), deflate.max_message_size(100_000));
    let mut seed = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 56) as u8
    })
    .take(100_000)
    .collect();
    pair.client.send(&noise).unwrap();
    pair.reach_server();
    let Some(Event::Message(message)) = pair.server.next_event() else {
        panic!("refused")
    };
    assert_eq!(message.as_bytes(), noise);
}

#[test]
fn a_prepared_message_is_compressed_once_and_fits_between_others() {
    let prepared = Prepared::new("news ".repeat(100).as_str());
    let mut pairs: Vec<Pair> = (0..3).map(|_| Pair::compressed(Deflate::new())).collect();
    for pair in &mut pairs {
        for _ in 0..2 {
            pair.server
                .send("news from before ".repeat(9).as_str())
                .unwrap();
            pair.server.send_prepared(&prepared).unwrap();
            pair.server
                .send("news from after ".repeat(9).as_str())
                .unwrap();
            pair.reach_client();
            assert_eq!(
                text(pair.client.next_event()),
                "news from before ".repeat(9)
            );
            assert_eq!(text(pair.client.next_event()), "news ".repeat(100));
            assert_eq!(text(pair.client.next_event()), "news from after ".repeat(9));
        }
    }
}

#[test]
fn a_prepared_message_that_is_too_short_to_gain_passes_as_it_is() {
    let short = Prepared::new("news");
    let mut pair = Pair::compressed(Deflate::new());
    for _ in 0..2 {
        pair.server.send_prepared(&short).unwrap();
        assert_eq!(pair.reach_client(), 2 + 4);
        assert_eq!(text(pair.client.next_event()), "news");
    }
}

#[test]
fn without_compression_on_one_side_nothing_is_compressed() {
    let on = Config::new().deflate(Deflate::new());
    for (client, server) in [(on.clone(), Config::new()), (Config::new(), on)] {
        let mut pair = Pair::open(client, server);
        assert!(pair.client.negotiated().extensions.is_empty());
        pair.client.send("a".repeat(500).as_str()).unwrap();
        assert!(pair.reach_server() > 500);
        assert_eq!(text(pair.server.next_event()), "a".repeat(500));
    }
}

/// RFC 7692 section 7.2.1: RSV1 in the first frame only; every frame can be inflated when it comes; what is left
/// out is left out of the last one only; nothing is one byte.
#[test]
fn what_is_sent_stands_on_the_wire_as_the_rfc_says() {
    let config = config().deflate(Deflate::new().threshold(0));
    for side in SIDES {
        let mut end = end_with(side, TWELVE_BITS, config.clone());
        end.send("").unwrap();
        assert_eq!(end.sent(), [(FIN | RSV1 | TEXT, vec![0x00])]);

        end.send_text("Hello", Fin::More).unwrap();
        end.send_continuation(&[], Fin::More).unwrap();
        end.send_ping(b"Hello").unwrap();
        end.send_continuation(b"Hello", Fin::More).unwrap();
        end.send_continuation(&[], Fin::Last).unwrap();
        let sent = end.sent();
        let firsts: Vec<u8> = sent.iter().map(|(first, _)| *first).collect();
        let more = CONTINUATION;
        assert_eq!(firsts, [RSV1 | TEXT, more, PING, more, FIN | more]);
        for flushed in [&sent[0], &sent[1], &sent[3]] {
            assert!(flushed.1.ends_with(&TAIL), "{flushed:x?}");
        }
        assert_eq!(sent[1].1, [0x00, 0x00, 0x00, 0xff, 0xff]);
        assert_eq!(sent[2].1, b"Hello");
        assert_eq!(sent[4].1, [0x00]);

        end.send("Hello").unwrap();
        let (first, payload) = end.sent().remove(0);
        assert_eq!(first, FIN | RSV1 | TEXT);
        assert!(!payload.ends_with(&TAIL) && payload.ends_with(&[0x00]));
    }
}

/// No match may reach back more than 256 bytes, which the other end holds us to.
#[test]
fn an_agreed_window_of_8_bits_is_kept_by_both_sides() {
    let smallest = Deflate::new()
        .server_max_window_bits(8)
        .client_max_window_bits(8);
    let mut pair = Pair::compressed(smallest);
    let answer = "permessage-deflate; server_max_window_bits=8; client_max_window_bits=8";
    assert_eq!(pair.client.negotiated().extensions.to_string(), answer);
    let mut random = Random::new(8);
    for size in [0, 100, 1000, 100_000, 100] {
        let words = ["window ", "of ", "256 ", "bytes "];
        let message: String = (0..size).map(|_| random.of(&words)).collect();
        pair.client.send(&message).unwrap();
        pair.reach_server();
        assert_eq!(text(pair.server.next_event()), message);
        pair.server.send(&message).unwrap();
        assert!(pair.reach_client() < message.len() / 2 + 100);
        assert_eq!(text(pair.client.next_event()), message);
    }
}

#[test]
fn a_small_stack_is_enough_for_compressed_messages() {
    let work = || {
        let mut pair = Pair::compressed(Deflate::new().level(9).server_max_window_bits(15));
        let message = "a stack of 64 KiB; ".repeat(10_000);
        pair.server.send(&message).unwrap();
        pair.reach_client();
        assert_eq!(text(pair.client.next_event()), message);
    };
    let thread = std::thread::Builder::new().stack_size(64 << 10);
    thread.spawn(work).unwrap().join().unwrap();
}
