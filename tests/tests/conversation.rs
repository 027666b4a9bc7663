//! Long conversations of random messages in random fragments, in reads and writes of random sizes,
//! with the buffers released and the time minded at random.

use bytes::Buf;
use sansock_core::{Delivery, Side};
use sansock_tests::end::{End, SIDES, config};
use sansock_tests::random::Random;
use sansock_tests::seen::{Seen, joined};
use sansock_tests::wire::{BINARY, CONTINUATION, FIN, PING, PONG, PeerOf, TEXT, sent_by};

const SIZES: [usize; 12] = [0, 0, 1, 2, 3, 7, 125, 126, 127, 300, 4096, 5000];

/// What a peer says, as bytes and as the messages, pings and pongs that it means.
#[derive(Default)]
struct Script {
    bytes: Vec<u8>,
    meaning: Vec<Seen>,
}

impl Script {
    fn random(peer: PeerOf, random: &mut Random) -> Self {
        let mut script = Self::default();
        for _ in 0..10 {
            script.say_message(peer, random);
        }
        script
    }

    fn say_message(&mut self, peer: PeerOf, random: &mut Random) {
        let is_text = random.below(2) == 0;
        let size = random.of(&SIZES);
        let payload: Vec<u8> = match is_text {
            true => "aé€🥊".bytes().cycle().take(size / 10 * 10).collect(),
            false => (0..size).map(|number| number as u8).collect(),
        };
        let mut rest = &payload[..];
        let mut opcode = if is_text { TEXT } else { BINARY };
        while random.below(3) != 0 {
            let (fragment, behind) = rest.split_at(random.of(&SIZES).min(rest.len()));
            self.bytes.extend(peer.frame(opcode, fragment));
            (rest, opcode) = (behind, CONTINUATION);
            self.say_control(peer, random);
        }
        self.bytes.extend(peer.frame(FIN | opcode, rest));
        self.meaning.push(match is_text {
            true => Seen::Text(String::from_utf8(payload).expect("text")),
            false => Seen::Binary(payload),
        });
    }

    fn say_control(&mut self, peer: PeerOf, random: &mut Random) {
        let payload = vec![b'c'; random.of(&SIZES).min(125)];
        match random.below(4) {
            0 => {
                self.bytes.extend(peer.frame(PING, &payload));
                self.meaning.push(Seen::Ping(payload));
            }
            1 => {
                self.bytes.extend(peer.frame(PONG, &payload));
                self.meaning.push(Seen::Pong(payload));
            }
            _ => {}
        }
    }
}

/// Receives the bytes, answers each event with a command, and takes the output, all in random portions.
fn converse(end: &mut End, bytes: &[u8], random: &mut Random) -> (Vec<Seen>, Vec<u8>) {
    let (mut events, mut written, mut rest) = (Vec::new(), Vec::new(), bytes);
    while !rest.is_empty() || end.parse_next() {
        let (read, behind) = rest.split_at((1 + random.of(&SIZES)).min(rest.len()));
        end.receive(read);
        rest = behind;
        while let Some(event) = (random.below(8) != 0).then(|| end.event()).flatten() {
            if event.payload().is_some() {
                end.send_binary(vec![b'r'; random.of(&SIZES)], true.into())
                    .expect("an open connection");
            }
            events.push(event);
        }
        let mut data = end.data_to_send();
        let count = random.of(&SIZES).min(data.remaining());
        written.extend_from_slice(&data.copy_to_bytes(count));
        match random.below(3) {
            0 => end.io().release_buffers(),
            1 => end.mind_the_time(),
            _ => {}
        }
    }
    written.extend(end.output());
    (events, written)
}

#[test]
fn conversations_are_understood_and_answered() {
    for side in SIDES {
        for seed in 0..150 {
            let mut random = Random::new(seed);
            let script = Script::random(PeerOf(side), &mut random);
            let mut end = End::with(side, config().max_queued_output(None));
            let (events, written) = converse(&mut end, &script.bytes, &mut random);
            assert_eq!(events, script.meaning, "{side:?}, seed {seed}");
            assert_replies(side, &written, &script.meaning);
        }
    }
}

/// Every message was answered, and the last ping at least.
#[track_caller]
fn assert_replies(side: Side, written: &[u8], meaning: &[Seen]) {
    let sent = sent_by(side, written);
    let count = |first: u8| sent.iter().filter(|frame| frame.first == first).count();
    let messages = meaning.iter().filter_map(Seen::payload).count();
    assert_eq!(count(FIN | BINARY), messages);
    let last_pong = sent.iter().rev().find(|frame| frame.first == PONG);
    let pings = meaning.iter().filter(|seen| matches!(seen, Seen::Ping(_)));
    let last_ping = pings.last().cloned();
    assert_eq!(
        last_pong.map(|frame| Seen::Ping(frame.payload.clone())),
        last_ping
    );
}

#[test]
fn the_same_conversation_means_the_same_in_chunks() {
    for side in SIDES {
        for seed in 0..150 {
            let mut random = Random::new(seed);
            let script = Script::random(PeerOf(side), &mut random);
            let mut end = End::with(side, config().delivery(Delivery::Chunks));
            let (events, _) = converse(&mut end, &script.bytes, &mut random);
            let parts = events.into_iter().filter(|event| event.payload().is_some());
            let events = joined(parts.collect());
            let received = events.iter().map(Seen::payload);
            let meant = script.meaning.iter().map(Seen::payload);
            let meant = meant.filter(Option::is_some);
            assert!(received.eq(meant), "{side:?}, seed {seed}");
        }
    }
}
