//! What compression holds while a connection is idle, and what a bomb costs: counted by the allocator,
//! on this thread alone.

use std::sync::Arc;
use std::time::Duration;

use allocation_counter::measure;
use sansock_core::deflate::{BoundedPool, Deflate};
use sansock_core::{Config, Delivery, Event, Failure, Fin, ProtocolError, Side};
use sansock_tests::deflate::{RSV1, TWELVE_BITS, bomb, end_with};
use sansock_tests::end::{End, SIDES, config};
use sansock_tests::random::Random;
use sansock_tests::wire::{BINARY, CONTINUATION, FIN, PeerOf};

const KIBIBYTE: usize = 1 << 10;
const MEBIBYTE: usize = 1 << 20;

/// A configuration whose idle compressors and decompressors are counted apart: there are none.
fn without_pool() -> Config {
    config().deflate(Deflate::new().pool(Arc::new(sansock_core::NoPool)))
}

const fn other(side: Side) -> Side {
    match side {
        Side::Client => Side::Server,
        Side::Server => Side::Client,
    }
}

/// About a kibibyte of JSON, somewhat different each time.
fn json(random: &mut Random) -> String {
    let mut text = String::from("[");
    while text.len() < KIBIBYTE - 60 {
        let (id, price) = (random.below(100_000), random.below(1_000_000));
        text += &format!(r#"{{"id":{id},"price":{price},"side":"buy","open":true}},"#);
    }
    let rest = "]".repeat(KIBIBYTE - text.len());
    text + &rest
}

/// The frames of a hundred messages of a peer.
fn hundred(side: Side, config: &Config) -> Vec<Vec<u8>> {
    let mut peer = end_with(side, TWELVE_BITS, config.clone());
    let mut random = Random::new(12);
    let mut frames = Vec::new();
    for _ in 0..100 {
        peer.send(json(&mut random)).expect("capacity");
        frames.push(peer.output());
    }
    frames
}

/// Takes the output without keeping it.
fn drop_output(end: &mut End) {
    let mut data = end.data_to_send();
    let size = bytes::Buf::remaining(&data);
    bytes::Buf::advance(&mut data, size);
}

/// Lets the time pass that makes a connection quiet.
fn let_idle_timer_fire(end: &mut End) {
    for _ in 0..4 {
        end.pass(Duration::from_secs(1));
    }
    end.io().release_buffers();
}

/// Receives one message of a kibibyte.
fn receive_one(end: &mut End, frame: &[u8]) {
    end.receive(frame);
    let Some(Event::Message(message)) = end.next_event() else {
        panic!("no message")
    };
    assert_eq!(message.as_bytes().len(), KIBIBYTE);
}

#[test]
fn an_idle_connection_with_takeover_holds_at_most_10_kib() {
    for side in SIDES {
        let config = without_pool();
        let frames = hundred(other(side), &config);
        let messages: Vec<String> = (0..100).map(|n| json(&mut Random::new(n))).collect();
        let mut kept = None;
        let idle = measure(|| {
            let mut end = end_with(side, TWELVE_BITS, config.clone());
            for (frame, message) in frames.iter().zip(&messages) {
                receive_one(&mut end, frame);
                end.send(message).expect("capacity");
                drop_output(&mut end);
            }
            let_idle_timer_fire(&mut end);
            kept = Some(end);
        });
        println!("idle {side:?}: {} bytes", idle.bytes_current);
        assert!(idle.bytes_current <= 10 << 10, "{side:?}: {idle:?}");
        // Both histories are there: it goes on where it was.
        assert!(idle.bytes_current >= 2 * 4096, "{side:?}: {idle:?}");
        let mut end = kept.expect("the connection");
        end.send(&messages[99]).expect("capacity");
        assert!(end.output().len() < KIBIBYTE / 8);
    }
}

#[test]
fn an_idle_connection_without_takeover_holds_next_to_nothing() {
    let answer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    for side in SIDES {
        let config = without_pool();
        let mut peer = end_with(other(side), answer, config.clone());
        let message = "again and ".repeat(100);
        peer.send(&message).expect("capacity");
        let frame = peer.output();
        let mut end = end_with(side, answer, config);
        let idle = measure(|| {
            for _ in 0..3 {
                end.receive(&frame);
                assert!(matches!(end.next_event(), Some(Event::Message(_))));
                end.send(&message).expect("capacity");
                drop_output(&mut end);
            }
            let_idle_timer_fire(&mut end);
        });
        assert!(idle.bytes_current <= 256, "{side:?}: {idle:?}");
    }
}

#[test]
fn a_direction_holds_nothing_before_its_first_compressed_message() {
    for side in SIDES {
        let config = without_pool();
        let frame = hundred(other(side), &config).swap_remove(0);
        let mut kept = None;
        let fresh = measure(|| kept = Some(end_with(side, TWELVE_BITS, config.clone())));
        let mut plain = None;
        let without = measure(|| plain = Some(End::with(side, config.clone())));
        // The parsed answer and the two empty directions; no codec, no history.
        let more = fresh.bytes_current - without.bytes_current;
        println!(
            "fresh {side:?}: {} bytes, {more} for compression",
            fresh.bytes_current
        );
        assert!(more <= 1536, "{side:?}: {fresh:?} {without:?}");

        // Messages that pass as they are, both ways, bring nothing about.
        let mut end = end_with(side, TWELVE_BITS, config.clone());
        let plain = end.peer().text("plain");
        let info = measure(|| {
            for _ in 0..3 {
                end.receive(&plain);
                assert!(matches!(end.next_event(), Some(Event::Message(_))));
                end.send("short").expect("capacity");
                drop_output(&mut end);
            }
        });
        // The read buffer and the output are not compression's.
        assert!(info.bytes_max <= 3 * 4096, "{side:?}: {info:?}");

        // One direction does not make the other allocate.
        let received = measure(|| {
            receive_one(&mut end, &frame);
            let_idle_timer_fire(&mut end);
        });
        assert!(received.bytes_current <= 2 << 10, "{side:?}: {received:?}");
        let mut sender = end_with(side, TWELVE_BITS, config);
        let sent = measure(|| {
            sender.send(json(&mut Random::new(1))).expect("capacity");
            drop_output(&mut sender);
            let_idle_timer_fire(&mut sender);
        });
        assert!(sent.bytes_current <= 2 << 10, "{side:?}: {sent:?}");
    }
}

/// The ways in which a payload may come: whole, in fragments, and each of these byte by byte.
fn ways(peer: PeerOf, payload: &[u8]) -> [(Vec<u8>, usize); 4] {
    let whole = peer.frame(FIN | RSV1 | BINARY, payload);
    let mut fragments = peer.frame(RSV1 | BINARY, &[]);
    for piece in payload.chunks(100) {
        fragments.extend(peer.frame(CONTINUATION, piece));
    }
    fragments.extend(peer.frame(FIN | CONTINUATION, &[]));
    let (at_once, byte) = (usize::MAX, 1);
    [
        (whole.clone(), at_once),
        (whole, byte),
        (fragments.clone(), at_once),
        (fragments, byte),
    ]
}

/// How many bytes of a message an event lends.
fn size_of_data(event: &Event<'_>) -> usize {
    if let Event::Message(message) = event {
        message.as_bytes().len()
    } else if let Event::Frame(frame) = event {
        frame.payload.len()
    } else if let Event::Chunk(chunk) = event {
        chunk.payload.len()
    } else {
        0
    }
}

/// Receives a bomb as it comes, and measures from its first byte to its end.
fn assert_bounded(end: &mut End, (wire, step): &(Vec<u8>, usize), size: usize, limit: usize) {
    let mut size_out = 0;
    // A whole feed would be held by the read buffer: not what is measured here.
    let info = measure(|| {
        for piece in wire.chunks(*step.min(&4096)) {
            end.receive(piece);
            while let Some(event) = end.next_event() {
                size_out += size_of_data(&event);
            }
        }
    });
    let at = format!("{:?}, {limit}, {size} by {step}: {info:?}", end.delivery());
    let passes = size <= limit || end.delivery() == Delivery::Chunks;
    let most = limit as u64 + (64 << 10);
    assert!(info.bytes_current <= most as i64, "{at}");
    if size > limit {
        assert!(info.bytes_max <= most, "{at}");
    }
    // What is not too big is given out in one piece.
    assert!(info.bytes_max <= most + limit as u64, "{at}");
    let failed = matches!(
        end.failure(),
        Some(Failure::Protocol(ProtocolError::TooBig { .. }))
    );
    assert_eq!(failed, !passes, "{at}");
    assert!(!passes || size_out == size, "{at}, {size_out} came out");
}

/// An end of its own pool that delivers like this.
fn receiver(side: Side, delivery: Delivery, limit: usize) -> End {
    let pool = Arc::new(BoundedPool::new(1));
    let config = config()
        .deflate(Deflate::new().pool(pool))
        .max_message_size(limit)
        .delivery(delivery);
    end_with(side, TWELVE_BITS, config)
}

const DELIVERIES: [Delivery; 3] = [Delivery::Messages, Delivery::Frames, Delivery::Chunks];

#[test]
fn a_bomb_costs_at_most_the_limit_of_messages_and_64_kib() {
    const LIMIT: usize = 100_000;
    for size in [LIMIT - 1, LIMIT, LIMIT + 1, 10 * LIMIT, 1000 * LIMIT] {
        let payload = bomb(size);
        for side in SIDES {
            for way in ways(PeerOf(side), &payload) {
                if way.1 == usize::MAX || size <= LIMIT + 1 {
                    for delivery in DELIVERIES {
                        let mut end = receiver(side, delivery, LIMIT);
                        assert_bounded(&mut end, &way, size, LIMIT);
                    }
                }
            }
        }
    }
}

#[test]
fn a_bomb_costs_no_more_under_a_higher_limit() {
    for limit in [65_536, 98_000, MEBIBYTE, 16 * MEBIBYTE] {
        for size in [limit - 1, limit, limit + 1, 2 * limit] {
            let payload = bomb(size);
            for delivery in [Delivery::Messages, Delivery::Frames] {
                for way in ways(PeerOf(Side::Server), &payload) {
                    if way.1 == usize::MAX {
                        let mut end = receiver(Side::Server, delivery, limit);
                        assert_bounded(&mut end, &way, size, limit);
                    }
                }
            }
        }
    }
}

/// Each of them passes, and none leaves anything to the next.
#[test]
fn many_bombs_of_the_size_of_the_limit_take_the_memory_of_one() {
    const LIMIT: usize = 100_000;
    for side in SIDES {
        let frame = PeerOf(side).frame(FIN | RSV1 | BINARY, &bomb(LIMIT));
        assert!(frame.len() < 1000);
        let mut end = receiver(side, Delivery::Messages, LIMIT);
        let receive = |end: &mut End| {
            end.receive(&frame);
            let size = end.next_event().map_or(0, |event| size_of_data(&event));
            assert_eq!(size, LIMIT);
        };
        receive(&mut end);
        let more = measure(|| (0..1000).for_each(|_| receive(&mut end)));
        assert_eq!((more.bytes_max, more.count_total), (0, 0), "{more:?}");
    }
}

#[test]
fn a_connection_that_ends_inside_a_message_leaves_nothing_behind() {
    let config = without_pool();
    for side in SIDES {
        let frame = hundred(other(side), &config).swap_remove(0);
        let info = measure(|| {
            for length in 3..frame.len() {
                let mut end = end_with(side, TWELVE_BITS, config.clone());
                end.receive(&frame[..length]);
                assert!(end.next_event().is_none());
                end.send_text(json(&mut Random::new(1)).as_str(), Fin::More)
                    .expect("capacity");
            }
        });
        assert!(info.count_total > 100);
        assert_eq!(info.bytes_current, 0, "{info:?}");
    }
}

#[test]
fn an_idle_pool_is_bounded() {
    let config = config().deflate(Deflate::new().pool(Arc::new(BoundedPool::new(2))));
    let frame = hundred(Side::Client, &config).swap_remove(0);
    let held_by = |count: usize| {
        let mut connections = Vec::with_capacity(count);
        let info = measure(|| {
            for _ in 0..count {
                let mut end = end_with(Side::Server, TWELVE_BITS, config.clone());
                receive_one(&mut end, &frame);
                end.send(json(&mut Random::new(3))).expect("capacity");
                drop_output(&mut end);
                connections.push(end);
            }
            connections.clear();
        });
        info.bytes_current
    };
    let two = held_by(2);
    assert!(two <= MEBIBYTE as i64, "{two}");
    let many = held_by(20);
    assert!(many <= 1024, "two are kept already, and no more: {many}");
}
