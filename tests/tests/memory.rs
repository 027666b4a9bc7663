//! Limits, and what a peer can make us allocate: counted by the allocator, on this thread alone.

use std::hint::black_box;

use allocation_counter::{AllocationInfo, measure};
use sansock_core::handshake::{HeadLimits, Request};
use sansock_core::{Config, Delivery, Event, Failure, ProtocolError, Side, State};
use sansock_tests::end::{End, SIDES, config};
use sansock_tests::seen::Seen;
use sansock_tests::wire::{BINARY, CONTINUATION, FIN, PONG, PeerOf, TEXT, sent_by};

/// The block of a buffer.
const BLOCK: u64 = 4096;
/// What else a connection may hold: an assembly, a pong, the like.
const SMALL: u64 = 256;
const MEBIBYTE: usize = 1 << 20;

/// Receives the same bytes again and again, and counts the data events.
#[track_caller]
fn receive_many(end: &mut End, bytes: &[u8], times: usize) -> usize {
    let mut events = 0;
    for _ in 0..times {
        end.receive(bytes);
        while let Some(event) = end.next_event() {
            events += usize::from(matches!(event, Event::Message(_)));
        }
    }
    events
}

#[track_caller]
fn assert_failed(end: &mut End, error: ProtocolError) {
    end.events();
    assert_eq!(end.failure(), Some(&Failure::Protocol(error)));
}

#[test]
fn a_declared_length_allocates_nothing() {
    for side in SIDES {
        for delivery in [Delivery::Messages, Delivery::Frames, Delivery::Chunks] {
            for length in [126, 65535, 65536, MEBIBYTE as u64, 1 << 32, (1 << 63) - 1] {
                let config = config().delivery(delivery).max_message_size(None);
                let mut end = End::with(side, config);
                let header = end.peer().header(FIN | BINARY, length);
                let info = measure(|| {
                    end.receive(&header);
                    black_box(end.next_event());
                    end.receive(&[0]);
                    black_box(end.next_event());
                });
                assert!(info.bytes_max <= BLOCK * 2 + SMALL, "{length}: {info:?}");
                assert_eq!(end.state(), State::Open);
            }
        }
    }
}

#[test]
fn a_length_over_the_limit_is_refused_at_the_header() {
    for side in SIDES {
        let limit = MEBIBYTE as u64;
        for length in [limit + 1, 1 << 32, (1 << 63) - 1] {
            let mut end = End::open(side);
            let header = end.peer().header(FIN | BINARY, length);
            let without_key = if side == Side::Server {
                &header[..10]
            } else {
                &header
            };
            let info = measure(|| {
                end.receive(without_key);
                black_box(end.parse_next());
            });
            assert!(
                info.bytes_max <= BLOCK * 2 + SMALL * 2,
                "{length}: {info:?}"
            );
            let length = Some(length);
            assert_failed(&mut end, ProtocolError::TooBig { length, limit });
        }
    }
}

#[test]
fn fragments_without_end_are_refused_at_the_limit_of_the_message() {
    for side in SIDES {
        let mut end = End::open(side);
        let peer = end.peer();
        end.receive(&peer.frame(TEXT, b""));
        let fragment = peer.frame(CONTINUATION, &[b'x'; 4000]);
        let info = measure(|| {
            receive_many(&mut end, &fragment, 1000);
        });
        let bounds = MEBIBYTE as u64 - 4000..=MEBIBYTE as u64 + 4 * BLOCK;
        assert!(bounds.contains(&info.bytes_max), "{info:?}");
        let limit = MEBIBYTE as u64;
        let length = Some(limit.next_multiple_of(4000));
        assert_failed(&mut end, ProtocolError::TooBig { length, limit });
    }
}

#[test]
fn empty_fragments_have_a_budget_of_1024_in_a_row() {
    for side in SIDES {
        let mut end = End::open(side);
        let peer = end.peer();
        let empty = peer.frame(CONTINUATION, b"");
        end.receive(&peer.frame(TEXT, b"starts"));
        for _ in 0..3 {
            assert_eq!(receive_many(&mut end, &empty, 1024), 0);
            assert_eq!(end.events_of(&peer.frame(CONTINUATION, b".")), []);
            assert_eq!(end.state(), State::Open, "a byte starts the count anew");
        }
        receive_many(&mut end, &empty, 1024);
        assert_eq!(end.state(), State::Open);
        end.receive(&empty);
        assert_failed(&mut end, ProtocolError::TooManyEmptyFragments);
        assert_eq!(end.sent()[0].1[..2], 1008_u16.to_be_bytes());
    }
}

#[test]
fn a_million_empty_fragments_take_no_memory() {
    for (side, count) in [(Side::Client, 100_000), (Side::Server, 1_000_000)] {
        let mut end = End::with(side, config().max_empty_fragments(None));
        let peer = end.peer();
        end.receive(&peer.frame(TEXT, b""));
        let many = peer.frame(CONTINUATION, b"").repeat(100);
        let info = measure(|| {
            receive_many(&mut end, &many, count / 100);
        });
        assert!(info.bytes_max <= 2 * BLOCK, "{info:?}");
        let last = peer.frame(FIN | CONTINUATION, b"");
        assert_eq!(end.events_of(&last), [Seen::Text(String::new())]);
    }
}

#[test]
fn a_million_fragments_of_one_byte_take_the_memory_of_their_message() {
    for (side, count) in [(Side::Client, 100_000), (Side::Server, 1_000_000)] {
        let mut end = End::open(side);
        let peer = end.peer();
        end.receive(&peer.frame(BINARY, b""));
        let many = peer.frame(CONTINUATION, b"x").repeat(100);
        let info = measure(|| {
            receive_many(&mut end, &many, count / 100);
        });
        assert!(info.bytes_max <= 2 * count as u64 + 2 * BLOCK, "{info:?}");
        let last = peer.frame(FIN | CONTINUATION, b"");
        assert_eq!(end.events_of(&last), [Seen::Binary(vec![b'x'; count])]);
    }
}

#[test]
fn reads_of_one_byte_take_the_memory_of_their_message() {
    for (side, length) in [(Side::Client, MEBIBYTE / 8), (Side::Server, MEBIBYTE)] {
        for first in [FIN | BINARY, FIN | TEXT] {
            let mut end = End::open(side);
            let peer = end.peer();
            let header = peer.header(first, length as u64);
            let payload = peer.masked(&vec![b'x'; length]);
            let mut events = 0;
            let info = measure(|| {
                receive_many(&mut end, &header, 1);
                for byte in payload.chunks(1) {
                    events += receive_many(&mut end, byte, 1);
                }
            });
            assert_eq!(events, 1);
            assert!(info.bytes_max <= 2 * length as u64 + 2 * BLOCK, "{info:?}");
        }
    }
}

#[test]
fn many_small_fragments_of_a_large_message_pass() {
    for side in SIDES {
        let mut end = End::with(side, config().max_message_size(4 * MEBIBYTE));
        let peer = end.peer();
        let fragment = peer.frame(CONTINUATION, &[b'*'; 64]);
        end.receive(&peer.frame(TEXT, &[b'*'; 64]));
        assert_eq!(receive_many(&mut end, &fragment.repeat(65), 65534 / 65), 0);
        assert_eq!(receive_many(&mut end, &fragment, 65534 % 65), 0);
        assert_eq!(receive_many(&mut end, &peer.frame(FIN, &[b'*'; 64]), 1), 1);
        assert_eq!(end.stats().frames_received, 65536);
    }
}

#[test]
fn a_flood_of_pings_takes_no_memory_though_the_peer_does_not_read() {
    for (side, count) in [(Side::Client, 100_000), (Side::Server, 1_000_000)] {
        let mut end = End::open(side);
        let peer = end.peer();
        let many = peer.ping(&[b'p'; 125]).repeat(20);
        let info = measure(|| {
            receive_many(&mut end, &many, count / 20 - 1);
            end.io().release_buffers();
        });
        // A block that is exchanged exists twice for a moment.
        assert!(info.bytes_max <= 3 * BLOCK + SMALL, "{info:?}");
        assert!(
            info.bytes_current <= 131 + SMALL as i64,
            "a pong on its way, one behind: {info:?}"
        );
        end.data_to_send();
        receive_many(&mut end, &peer.ping(b"last"), 20);
        let first = end.output();
        let payloads: Vec<_> = sent_by(side, &first)
            .into_iter()
            .map(|sent| sent.payload)
            .collect();
        assert_eq!(payloads, [vec![b'p'; 125], b"last".to_vec()]);
        assert_eq!(end.stats().pings_received, count as u64);
    }
}

#[test]
fn a_flood_of_pongs_leaves_nothing_behind() {
    for side in SIDES {
        let mut end = End::open(side);
        let pongs = end.peer().frame(PONG, &[b'p'; 125]).repeat(20);
        let info = retained_by(&mut end, |end| {
            receive_many(end, &pongs, 5000);
        });
        assert!(info.bytes_current <= 0, "{info:?}");
        assert!(end.is_flushed());
    }
}

#[test]
fn what_follows_the_end_is_dropped_as_it_arrives() {
    for side in SIDES {
        let mut end = End::open(side);
        let peer = end.peer();
        end.events_of(&peer.close(1000, ""));
        let flood = peer.binary(&[0; 1000]);
        let info = measure(|| {
            for _ in 0..1000 {
                end.receive(&flood);
            }
        });
        assert!(info.bytes_max <= BLOCK, "{info:?}");
    }
}

/// However many headers are allowed, room is made for those that can be there.
#[test]
fn a_head_takes_memory_in_proportion_to_its_length() {
    let limits = HeadLimits {
        headers: usize::MAX,
        ..HeadLimits::default()
    };
    let head = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
        "x".repeat(1000)
    );
    let info = measure(|| {
        black_box(Request::parse(head.as_bytes(), &limits)).expect("a request");
    });
    // A field has four bytes at least, and its slot four words.
    let most = head.len() * (1 + 4 * size_of::<usize>() / 4);
    assert!(info.bytes_max <= most as u64 + BLOCK, "{info:?}");
}

/// What is left when the buffers were given back.
fn retained_by(end: &mut End, work: impl FnOnce(&mut End)) -> AllocationInfo {
    measure(|| {
        work(end);
        end.io().release_buffers();
    })
}

#[test]
fn an_idle_connection_holds_no_buffers() {
    for side in SIDES {
        let mut end = End::open(side);
        let peer = end.peer();
        let fragments = [peer.frame(TEXT, &[b'x'; 60_000]), peer.frame(FIN, b"!")].concat();
        let info = retained_by(&mut end, |end| {
            assert_eq!(receive_many(end, &fragments, 3), 3);
            assert_eq!(receive_many(end, &peer.ping(b"?"), 3), 0);
            end.send(&[0; 50_000]).expect("capacity");
            end.output();
        });
        assert!(info.bytes_current <= SMALL as i64, "{info:?}");
    }
}

#[test]
fn a_message_in_one_read_allocates_nothing_and_is_answered_without_allocating() {
    for side in SIDES {
        let mut end = End::open(side);
        let text = end.peer().text("hello");
        let mut echo = |times: usize| {
            for _ in 0..times {
                end.receive(&text);
                assert!(matches!(end.next_event(), Some(Event::Message(_))));
                end.send("hello").expect("capacity");
                let mut data = end.data_to_send();
                let size = bytes::Buf::remaining(&data);
                bytes::Buf::advance(&mut data, size);
            }
        };
        echo(1);
        assert_eq!(measure(|| echo(100)).count_total, 0);
    }
}

#[test]
fn a_message_larger_than_memory_streams_through_in_chunks() {
    for (side, length) in [(Side::Client, 1_u64 << 30), (Side::Server, 1 << 26)] {
        let config: Config = config().delivery(Delivery::Chunks);
        let mut end = End::with(side, config);
        let header = PeerOf(side).header(FIN | BINARY, length);
        let (mut given_out, mut has_ended) = (0, false);
        let info = measure(|| {
            end.receive(&header);
            let mut left = length;
            while left > 0 {
                // What the buffer holds is as good a payload as any.
                let room = end
                    .io()
                    .read_buffer()
                    .len()
                    .min(usize::try_from(left).unwrap_or(usize::MAX));
                let now = end.now;
                end.io().received(room, now);
                left -= room as u64;
                while let Some(Event::Chunk(chunk)) = end.next_event() {
                    given_out += chunk.payload.len() as u64;
                    has_ended |= chunk.last;
                }
            }
        });
        assert_eq!((given_out, has_ended), (length, true));
        assert!(info.bytes_max <= 2 * BLOCK, "{info:?}");
    }
}
