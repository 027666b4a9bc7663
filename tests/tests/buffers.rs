//! Buffers: leased from a pool of the user's, of any content, and given back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Buf;
use sansock_core::{BufferPool, Config, Delivery, Event};
use sansock_tests::end::{End, SIDES, config};
use sansock_tests::receive::received_with;
use sansock_tests::wire::{CONTINUATION, FIN, PeerOf, TEXT};

/// The smallest blocks that are allowed, full of noise, and counted.
#[derive(Debug, Clone, Default)]
struct Noise(Arc<AtomicUsize>);

impl BufferPool for Noise {
    fn take(&self) -> Vec<u8> {
        self.0.fetch_add(1, Ordering::Relaxed);
        vec![0xAA; 256]
    }

    fn give(&self, block: Vec<u8>) {
        assert!(block.len() >= 256, "not a block that was leased");
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn noisy(delivery: Delivery) -> (Config, Noise) {
    let noise = Noise::default();
    (config().delivery(delivery).buffers(noise.clone()), noise)
}

#[test]
fn small_blocks_of_noise_change_nothing() {
    for side in SIDES {
        let peer = PeerOf(side);
        let bytes = [
            peer.text("text"),
            peer.ping(&[b'p'; 125]),
            peer.frame(TEXT, &[b't'; 700]),
            peer.ping(b""),
            peer.frame(FIN | CONTINUATION, "ü".as_bytes()),
            peer.binary(&[0; 257]),
            peer.close(1000, "done"),
        ]
        .concat();
        for delivery in [Delivery::Messages, Delivery::Frames, Delivery::Chunks] {
            let with_noise = received_with(side, &noisy(delivery).0, &bytes);
            let outcome = received_with(side, &config().delivery(delivery), &bytes);
            assert_eq!(with_noise, outcome);
        }
    }
}

#[test]
fn every_block_is_given_back() {
    for side in SIDES {
        let (config, noise) = noisy(Delivery::Messages);
        let mut end = End::with(side, config);
        let peer = end.peer();
        for round in 0..20 {
            let text = peer.text(&"x".repeat(round * 61));
            let (start, rest) = text.split_at(text.len() / 2);
            end.events_of(start);
            end.io().release_buffers();
            end.events_of(rest);
            end.send(vec![0; round * 97]).unwrap();
            end.data_to_send().advance(round);
            end.io().release_buffers();
            end.output();
            end.io().release_buffers();
            assert_eq!(noise.0.load(Ordering::Relaxed), 0, "after message {round}");
        }
    }
}

#[test]
fn a_connection_that_is_dropped_gives_its_blocks_back() {
    for side in SIDES {
        let (config, noise) = noisy(Delivery::Messages);
        let mut end = End::with(side, config);
        end.receive(&end.peer().text("never read")[..4]);
        end.send(vec![0; 3000]).unwrap();
        assert_eq!(noise.0.load(Ordering::Relaxed), 2);
        drop(end);
        assert_eq!(noise.0.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn buffers_may_be_released_at_any_time() {
    for side in SIDES {
        let peer = PeerOf(side);
        let text = "a message in two fragments ".repeat(30);
        let (start, rest) = text.as_bytes().split_at(500);
        let bytes = [peer.frame(TEXT, start), peer.frame(FIN, rest)].concat();
        for size in [1, 2, 7, 100, 499] {
            let mut end = End::with(side, noisy(Delivery::Messages).0);
            let mut received = Vec::new();
            for read in bytes.chunks(size) {
                end.receive(read);
                end.io().release_buffers();
                if end.parse_next() {
                    end.io().release_buffers();
                }
                if let Some(Event::Message(message)) = end.next_event() {
                    received.push(message.as_text().map(str::to_owned));
                }
            }
            assert_eq!(received, [Some(text.clone())]);
        }
    }
}

#[test]
fn bytes_may_be_read_straight_into_the_buffer() {
    for side in SIDES {
        let mut end = End::open(side);
        let text = end.peer().text("read straight into place");
        let now = end.now;
        for byte in &text {
            end.io().read_buffer()[0] = *byte;
            end.io().received(1, now);
        }
        assert_eq!(end.events().len(), 1);
        assert_eq!(end.stats().bytes_received, text.len() as u64);
        let room = end.io().read_buffer();
        let size = room.len();
        room.fill(0xFF);
        end.io().received(usize::MAX, now);
        assert_eq!(
            end.stats().bytes_received,
            (text.len() + size) as u64,
            "more is all"
        );
        assert!(end.failure().is_none(), "nothing was parsed yet");
        assert!(end.parse_next());
        assert!(end.failure().is_some());
    }
}
