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
