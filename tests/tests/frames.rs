//! The frames that commands send: lengths, fragments, masking keys (RFC 6455 sections 5.2 to 5.6).

use std::collections::HashSet;

use bytes::Bytes;
use sansock_core::{Fin, Message, Prepared, Side};
use sansock_tests::end::{End, SIDES};
use sansock_tests::wire::{BINARY, CONTINUATION, FIN, PING, PONG, TEXT};

#[test]
fn frames_of_every_length_form_are_sent() {
    for side in SIDES {
        for length in [0, 1, 125, 126, 4095, 4096, 65535, 65536, 100_000] {
            let payload: Vec<u8> = (0..length).map(|number| number as u8).collect();
            let expected = [(FIN | BINARY, payload.clone())];
            let mut end = End::open(side);
            end.send(&payload).unwrap();
            assert_eq!(end.sent(), expected, "borrowed");
            end.send(Bytes::from(payload.clone())).unwrap();
            assert_eq!(end.sent(), expected, "shared");
            end.send_prepared(&Prepared::new(payload)).unwrap();
            assert_eq!(end.sent(), expected, "prepared");
        }
    }
}

#[test]
fn messages_are_sent_as_what_they_are() {
    for side in SIDES {
        let mut end = End::open(side);
        let binary = Message::binary(vec![1]);
        end.send(Message::text("t")).unwrap();
        end.send(&binary).unwrap();
        end.send_prepared(&Prepared::new("p")).unwrap();
        let expected = [
            (FIN | TEXT, b"t".to_vec()),
            (FIN | BINARY, vec![1]),
            (FIN | TEXT, b"p".to_vec()),
        ];
        assert_eq!(end.sent(), expected);
    }
}

#[test]
fn control_frames_go_between_fragments() {
    for side in SIDES {
        let mut end = End::open(side);
        end.send_binary(b"", Fin::More).unwrap();
        end.send_ping(b"").unwrap();
        end.send_continuation(b"1", Fin::More).unwrap();
        end.send_pong(b"").unwrap();
        end.send_continuation(vec![2; 5000], Fin::Last).unwrap();
        let expected = [
            (BINARY, Vec::new()),
            (PING, Vec::new()),
            (CONTINUATION, b"1".to_vec()),
            (PONG, Vec::new()),
            (FIN | CONTINUATION, vec![2; 5000]),
        ];
        assert_eq!(end.sent(), expected);
    }
}

#[test]
fn every_frame_of_a_client_has_a_masking_key_of_its_own() {
    let mut client = End::open(Side::Client);
    let ping = client.peer().ping(b"?");
    let mut keys = HashSet::new();
    let mut frames = 0;
    for _ in 0..1000 {
        client.send_text("", Fin::More).unwrap();
        client.send_continuation(b"same", Fin::Last).unwrap();
        client.send_prepared(&Prepared::new("same")).unwrap();
        client.send_ping(b"").unwrap();
        client.events_of(&ping);
        for frame in client.frames() {
            keys.insert(frame.key.expect("a key"));
            frames += 1;
        }
    }
    assert_eq!(frames, 5000);
    // Two of so few keys out of 2³² are equal with a chance of 0.3 %; the seed is fixed.
    assert_eq!(keys.len(), frames);
}

/// The masking keys of so many frames of a client.
fn masking_keys(client: &mut End, count: usize) -> Vec<u32> {
    let mut keys = Vec::with_capacity(count);
    while keys.len() < count {
        for _ in 0..1000 {
            client.send("x").unwrap();
        }
        let frames = client.frames().into_iter();
        keys.extend(frames.map(|frame| u32::from_be_bytes(frame.key.expect("a key"))));
    }
    keys
}

/// Section 10.3: each bit is as often 1 as 0, also in what changes from a key to those that follow.
#[test]
fn masking_keys_look_random() {
    const COUNT: usize = 100_000;
    let keys = masking_keys(&mut End::open(Side::Client), COUNT);
    assert_eq!(keys.len(), COUNT);
    // Six standard deviations: one honest generator in a million fails at some of the 160 counts.
    let allowed = 6 * (COUNT as f64 / 4.0).sqrt() as usize;
    for distance in [0, 1, 2, 3, 16] {
        let other = |index: usize| {
            if distance == 0 {
                0
            } else {
                keys[index + distance]
            }
        };
        let changes = (0..COUNT - distance).map(|index| keys[index] ^ other(index));
        let mut ones = [0_usize; 32];
        for change in changes {
            for (bit, count) in ones.iter_mut().enumerate() {
                *count += (change >> bit & 1) as usize;
            }
        }
        for (bit, count) in ones.iter().enumerate() {
            let off = count.abs_diff(COUNT / 2);
            assert!(
                off <= allowed,
                "bit {bit} at {distance}: {count} of {COUNT}"
            );
        }
    }
}

#[test]
fn connections_have_masking_keys_of_their_own() {
    let mut keys = HashSet::new();
    for _ in 0..100 {
        let mut client = End::with(Side::Client, sansock::config());
        client.send("x").unwrap();
        keys.insert(client.frames()[0].key);
    }
    assert!(keys.len() > 98, "{} of 100 differ", keys.len());
}

#[test]
fn counters_tell_what_was_queued_and_taken() {
    for side in SIDES {
        let mut end = End::open(side);
        end.send("four").unwrap();
        end.send_ping(b"").unwrap();
        let stats = end.stats();
        let size = if side == Side::Client { 10 + 6 } else { 6 + 2 };
        assert_eq!(
            (stats.frames_sent, stats.queued, stats.bytes_sent),
            (2, size, 0)
        );
        assert!(!end.is_flushed());
        assert_eq!(end.output().len(), size);
        let stats = end.stats();
        assert_eq!((stats.queued, stats.bytes_sent), (0, size as u64));
        assert!(end.is_flushed());
    }
}
