//! Large messages in parts: what is missing of a large frame is read to its place in the message.

use std::sync::{Arc, Mutex};

use allocation_counter::measure;
use sansock_core::{BufferPool, Config, Event, Failure, Message, Side, State};
use sansock_tests::end::{End, SIDES, config};
use sansock_tests::random::Random;
use sansock_tests::seen::Seen;
use sansock_tests::wire::{BINARY, CONTINUATION, FIN, PeerOf, TEXT};

/// Longer than what may be read to its place, and than every block.
const LARGE: usize = 120_000;

fn noise(size: usize) -> Vec<u8> {
    let mut random = Random::new(size as u64);
    let some = std::iter::repeat_with(|| u8::try_from(random.below(256)).unwrap());
    let some: Vec<u8> = some.take(997).collect();
    some.into_iter().cycle().take(size).collect()
}

/// Reads as a driver does: as much as there is room for, and no more than `most` at once.
fn read(end: &mut End, mut bytes: &[u8], mut most: impl FnMut() -> usize) -> Vec<Seen> {
    let mut events = Vec::new();
    while !bytes.is_empty() {
        let room = end.io().read_buffer();
        let size = room.len().min(bytes.len()).min(most());
        room[..size].copy_from_slice(&bytes[..size]);
        let now = end.now;
        end.io().received(size, now);
        bytes = &bytes[size..];
        events.extend(end.events());
        end.io().release_buffers();
    }
    events
}

/// A large message in one frame and in three, text and binary, and small ones around them.
fn stream(peer: PeerOf) -> (Vec<u8>, Vec<Seen>) {
    let binary = noise(LARGE);
    let text = "größer ".repeat(LARGE / 9);
    let (first, rest) = binary.split_at(40_000);
    let (second, third) = rest.split_at(37_000);
    let bytes = [
        peer.text("before"),
        peer.binary(&binary),
        peer.text("between"),
        peer.frame(BINARY, first),
        peer.ping(b""),
        peer.frame(CONTINUATION, second),
        peer.frame(CONTINUATION, b""),
        peer.ping(b"between fragments"),
        peer.frame(FIN | CONTINUATION, third),
        peer.frame(FIN | TEXT, text.as_bytes()),
        peer.close(1000, "after"),
    ];
    let events = vec![
        Seen::Text("before".to_owned()),
        Seen::Binary(binary.clone()),
        Seen::Text("between".to_owned()),
        Seen::Ping(Vec::new()),
        Seen::Ping(b"between fragments".to_vec()),
        Seen::Binary(binary),
        Seen::Text(text),
        Seen::Close(1000, "after".to_owned()),
    ];
    (bytes.concat(), events)
}

#[test]
fn a_large_message_arrives_whole_in_reads_of_any_size() {
    for side in SIDES {
        let (bytes, events) = stream(PeerOf(side));
        for most in [1000, 4096, 32_767, 65_536, 99_999, usize::MAX] {
            assert!(
                read(&mut End::open(side), &bytes, || most) == events,
                "{side:?}: {most}"
            );
        }
        for seed in 0..20 {
            let mut random = Random::new(seed);
            let most = || 1 + random.below(1 << (1 + seed % 18));
            assert!(
                read(&mut End::open(side), &bytes, most) == events,
                "{side:?}: seed {seed}"
            );
        }
    }
}

#[test]
fn a_large_message_arrives_whole_around_every_cut() {
    for side in SIDES {
        let peer = PeerOf(side);
        let payload = noise(LARGE);
        let bytes = [peer.binary(&payload), peer.text("after")].concat();
        let events = [Seen::Binary(payload), Seen::Text("after".to_owned())];
        let places = [14, 4096, 65_536, LARGE - (32 << 10), LARGE, bytes.len() - 1];
        for cut in places
            .into_iter()
            .flat_map(|place| place - 5..(place + 15).min(bytes.len()))
        {
            let (start, rest) = bytes.split_at(cut);
            let mut end = End::open(side);
            let mut received = read(&mut end, start, || usize::MAX);
            received.extend(read(&mut end, rest, || usize::MAX));
            assert!(received == events, "{side:?}: cut at {cut}");
        }
    }
}

#[test]
fn the_room_ends_where_the_frame_ends() {
    for side in SIDES {
        let mut end = End::open(side);
        let bytes = end.peer().binary(&noise(LARGE));
        let (start, rest) = bytes.split_at(bytes.len() - (40 << 10));
        assert_eq!(read(&mut end, start, || usize::MAX), []);
        assert_eq!(end.io().read_buffer().len(), rest.len());
        let events = read(&mut end, rest, || usize::MAX);
        assert_eq!(events, [Seen::Binary(noise(LARGE))]);
        assert_ne!(end.io().read_buffer().len(), rest.len());
    }
}

#[test]
fn what_ends_in_the_middle_is_not_given_out() {
    for side in SIDES {
        let bytes = PeerOf(side).binary(&noise(LARGE));
        let (start, rest) = bytes.split_at(LARGE / 2);

        let mut cut_off = End::open(side);
        assert_eq!(read(&mut cut_off, start, || usize::MAX), []);
        cut_off.end_of_stream();
        assert_eq!(cut_off.events(), [Seen::Failed(Failure::Lost)]);

        let mut failed = End::open(side);
        assert_eq!(read(&mut failed, start, || usize::MAX), []);
        let room = failed.io().read_buffer();
        let size = room.len().min(rest.len());
        room[..size].copy_from_slice(&rest[..size]);
        failed.fail(1001, "enough").unwrap();
        let now = failed.now;
        failed.io().received(size, now);
        assert!(matches!(
            &failed.events()[..],
            [Seen::Failed(Failure::Local(_))]
        ));
        assert_ne!(failed.state(), State::Open);
    }
}

#[test]
fn a_large_message_goes_on_to_arrive_while_this_side_closes() {
    for side in SIDES {
        let mut end = End::open(side);
        let bytes = end.peer().binary(&noise(LARGE));
        let (start, rest) = bytes.split_at(LARGE / 2);
        assert_eq!(read(&mut end, start, || usize::MAX), []);
        end.send_close(1000, "").unwrap();
        let rest = [rest, &end.peer().close(1000, "")].concat();
        let close = Seen::Close(1000, String::new());
        assert!(read(&mut end, &rest, || usize::MAX) == [Seen::Binary(noise(LARGE)), close]);
    }
}

/// Keeps every large block, full of what was in it.
#[derive(Debug, Clone, Default)]
struct Keeper(Arc<Mutex<Vec<Vec<u8>>>>);

impl BufferPool for Keeper {
    fn take(&self) -> Vec<u8> {
        vec![0xAA; 4096]
    }

    fn give(&self, block: Vec<u8>) {
        if block.len() > 4096 {
            self.0.lock().unwrap().push(block);
        }
    }

    fn take_large(&self, size: usize) -> Option<Vec<u8>> {
        let mut kept = self.0.lock().unwrap();
        let fits = kept.last().is_some_and(|block| block.len() >= size);
        fits.then(|| kept.pop()).flatten()
    }
}

impl Keeper {
    /// How many blocks are there.
    fn kept(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

fn keeping() -> (Config, Keeper) {
    let keeper = Keeper::default();
    (config().buffers(keeper.clone()), keeper)
}

/// Receives a message, as a driver does, and keeps it.
#[track_caller]
fn owned(end: &mut End, mut bytes: &[u8]) -> Message {
    while !end.parse_next() {
        let room = end.io().read_buffer();
        let (read, rest) = bytes.split_at(room.len().min(bytes.len()));
        room[..read.len()].copy_from_slice(read);
        let now = end.now;
        end.io().received(read.len(), now);
        bytes = rest;
    }
    match end.next_event() {
        Some(Event::Message(message)) => message.into_owned(),
        other => panic!("{other:?}"),
    }
}

/// Gives less than it was asked for.
#[derive(Debug)]
struct Miser;

impl BufferPool for Miser {
    fn take(&self) -> Vec<u8> {
        vec![0xAA; 4096]
    }

    fn give(&self, _: Vec<u8>) {}

    fn take_large(&self, size: usize) -> Option<Vec<u8>> {
        Some(vec![0xAA; size / 50])
    }
}

#[test]
fn a_large_block_that_is_too_small_is_made_do_without() {
    for side in SIDES {
        let (bytes, events) = stream(PeerOf(side));
        for most in [1000, 32_767, usize::MAX] {
            let mut end = End::with(side, config().buffers(Miser));
            assert!(
                read(&mut end, &bytes, || most) == events,
                "{side:?}: {most}"
            );
        }
    }
}

#[test]
fn a_large_block_comes_back_with_the_last_clone_of_its_message() {
    for side in SIDES {
        let (config, keeper) = keeping();
        let mut end = End::with(side, config);
        let message = owned(&mut end, &PeerOf(side).binary(&noise(LARGE)));
        let clone = message.clone();
        drop(message);
        drop(end);
        assert_eq!(keeper.kept(), 0);
        assert!(clone.as_bytes() == noise(LARGE));
        drop(clone);
        assert_eq!(keeper.kept(), 1);
    }
}

#[test]
fn a_block_that_held_something_else_holds_the_next_message() {
    for side in SIDES {
        let (config, keeper) = keeping();
        let mut end = End::with(side, config);
        for size in [3 * LARGE, LARGE, 2 * LARGE, 3 * LARGE, LARGE - 1] {
            let message = owned(&mut end, &PeerOf(side).binary(&noise(size)));
            assert!(message.as_bytes() == noise(size), "{size}");
            drop(message);
            assert_eq!(keeper.kept(), 1, "{size}");
        }
    }
}

#[test]
fn a_message_that_is_small_for_its_block_does_not_keep_it() {
    for side in SIDES {
        let (config, keeper) = keeping();
        let mut end = End::with(side, config);
        drop(owned(&mut end, &PeerOf(side).binary(&noise(5 * LARGE))));
        let message = owned(&mut end, &PeerOf(side).binary(&noise(LARGE)));
        assert_eq!(keeper.kept(), 1);
        assert!(message.as_bytes() == noise(LARGE));
    }
}

#[test]
fn a_lent_message_gives_its_block_when_the_connection_waits() {
    for side in SIDES {
        let (config, keeper) = keeping();
        let mut end = End::with(side, config);
        let bytes = end.peer().binary(&noise(LARGE));
        assert_eq!(read(&mut end, &bytes, || usize::MAX).len(), 1);
        assert_eq!(keeper.kept(), 1);
    }
}

#[test]
fn a_stream_of_large_messages_fills_the_same_block() {
    let mut end = End::with(Side::Server, sansock::config());
    let bytes = end.peer().binary(&noise(LARGE));
    drop(owned(&mut end, &bytes));
    let again = measure(|| {
        for _ in 0..10 {
            drop(owned(&mut end, &bytes));
        }
    });
    assert!(again.bytes_total < 10 * 1024, "{again:?}");
}
