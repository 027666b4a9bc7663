//! How output is taken: in any portions, the bytes are the same, in the same order.

use std::io::IoSlice;
use std::sync::LazyLock;

use bytes::{Buf, Bytes};
use sansock_core::{Config, Fin, Prepared, Side};
use sansock_tests::end::{End, SIDES, config};
use sansock_tests::wire::{BINARY, CONTINUATION, FIN, PING, PONG, TEXT};

/// An end with frames of all sorts in its queue: copied, by reference, prepared, next to each other.
fn busy(side: Side) -> End {
    static CONFIG: LazyLock<Config> = LazyLock::new(|| config().max_queued_output(None));
    static LARGE: LazyLock<[Bytes; 2]> = LazyLock::new(|| [100, 4100].map(counting));
    static PREPARED: LazyLock<Prepared> = LazyLock::new(|| Prepared::new(counting(4096)));
    // A client masks, so that it sends nothing by reference.
    let large = &LARGE[usize::from(side == Side::Server)];
    let mut end = End::with(side, CONFIG.clone());
    let ping = end.peer().ping(b"?");
    end.send("small").expect("open");
    end.send_binary(large.clone(), Fin::More).expect("open");
    end.send_continuation(large.clone(), Fin::More)
        .expect("open");
    end.send_continuation(b"", Fin::Last).expect("open");
    end.send_prepared(&PREPARED).expect("open");
    end.send_prepared(&Prepared::new("tiny")).expect("open");
    end.events_of(&ping);
    end.send(large.clone()).expect("open");
    end
}

fn counting(length: u16) -> Bytes {
    (0..length).map(|number| number as u8).collect()
}

/// Everything that is queued, by way of the slices.
fn peek(end: &mut End) -> Vec<u8> {
    end.data_to_send().slices().collect::<Vec<_>>().concat()
}

#[test]
fn the_frames_come_out_in_order() {
    for side in SIDES {
        let kinds: Vec<u8> = busy(side).sent().iter().map(|sent| sent.0).collect();
        let (more, last) = (CONTINUATION, FIN | CONTINUATION);
        let whole = FIN | BINARY;
        assert_eq!(
            kinds,
            [
                FIN | TEXT,
                BINARY,
                more,
                last,
                whole,
                FIN | TEXT,
                PONG,
                whole
            ]
        );
    }
}

#[test]
fn an_advance_by_any_count_leaves_the_rest() {
    for side in SIDES {
        let all = busy(side).output();
        for count in 0..=all.len() {
            let mut end = busy(side);
            end.data_to_send().advance(count);
            assert_eq!(end.data_to_send().remaining(), all.len() - count);
            assert_eq!(end.stats().bytes_sent, count as u64);
            // Comparing all of the rest at each count would take long; the next write shows it.
            let mut slots = [IoSlice::new(&[]); 3];
            let data = end.data_to_send();
            let filled = data.chunks_vectored(&mut slots);
            let seen = joined(&slots[..filled]);
            assert!(all[count..].starts_with(&seen), "after {count}");
            assert_eq!(seen.is_empty(), count == all.len());
            if count % 61 == 0 {
                assert_eq!(peek(&mut end), all[count..], "after {count}");
                assert_eq!(end.output(), all[count..], "after {count}");
            }
        }
    }
}

#[test]
fn writes_of_any_size_give_the_same_bytes() {
    for side in SIDES {
        let all = busy(side).output();
        for size in [
            1,
            2,
            3,
            5,
            7,
            64,
            1000,
            4095,
            4096,
            4097,
            4103,
            8200,
            all.len(),
        ] {
            assert_eq!(written(&mut busy(side), size), all, "writes of {size}");
            assert_eq!(
                written_vectored(&mut busy(side), size, 2),
                all,
                "two slots of {size}"
            );
            assert_eq!(
                written_vectored(&mut busy(side), size, 64),
                all,
                "slots of {size}"
            );
        }
    }
}

/// Writes at most `size` bytes of the first stretch at a time.
fn written(end: &mut End, size: usize) -> Vec<u8> {
    let mut written = Vec::new();
    while !end.is_flushed() {
        let mut data = end.data_to_send();
        let chunk = data.chunk();
        let count = chunk.len().min(size);
        written.extend_from_slice(&chunk[..count]);
        data.advance(count);
    }
    written
}

/// Writes at most `size` bytes of all stretches at a time.
fn written_vectored(end: &mut End, size: usize, slots: usize) -> Vec<u8> {
    let mut written = Vec::new();
    while !end.is_flushed() {
        let mut data = end.data_to_send();
        let mut slots = vec![IoSlice::new(&[]); slots];
        let filled = data.chunks_vectored(&mut slots);
        let bytes = joined(&slots[..filled]);
        let count = bytes.len().min(size);
        written.extend_from_slice(&bytes[..count]);
        data.advance(count);
    }
    written
}

fn joined(slices: &[IoSlice<'_>]) -> Vec<u8> {
    let slices: Vec<&[u8]> = slices.iter().map(|slice| &slice[..]).collect();
    slices.concat()
}

#[test]
fn commands_between_partial_writes_go_behind_what_waits() {
    for side in SIDES {
        for size in [1, 3, 50, 4097, 6000] {
            let (mut end, mut twin) = (End::open(side), End::open(side));
            let (mut written, mut expected) = (Vec::new(), Vec::new());
            for round in 0..40_u8 {
                for end in [&mut end, &mut twin] {
                    if end.has_capacity() || round % 3 != 0 {
                        let _ = end.send_ping(&[round; 9]);
                    }
                }
                if round % 4 == 0 {
                    end.send(Bytes::from(vec![round; 4096])).expect("capacity");
                    twin.send(Bytes::from(vec![round; 4096])).expect("capacity");
                }
                expected.extend(twin.output());
                let mut data = end.data_to_send();
                let count = data.remaining().min(size);
                written.extend_from_slice(&data.copy_to_bytes(count));
                end.io().release_buffers();
            }
            written.extend(end.output());
            assert_eq!(written, expected, "writes of {size}");
        }
    }
}

#[test]
fn an_advance_past_the_end_counts_as_all() {
    for side in SIDES {
        let mut end = busy(side);
        let size = peek(&mut end).len();
        end.data_to_send().advance(size + 1000);
        assert!(end.is_flushed());
        assert_eq!(end.stats().bytes_sent, size as u64);
        end.send_ping(b"next").expect("open");
        assert_eq!(end.sent(), [(PING, b"next".to_vec())]);
    }
}

#[test]
fn the_end_is_told_behind_the_last_byte_and_once() {
    let mut server = busy(Side::Server);
    let close = server.peer().close(1000, "");
    server.events_of(&close);
    loop {
        let mut data = server.data_to_send();
        if data.is_empty() {
            break;
        }
        assert!(!data.take_end(), "bytes wait");
        let some = data.remaining().min(1000);
        data.advance(some);
    }
    assert!(server.data_to_send().take_end());
    assert!(!server.data_to_send().take_end());
}

#[test]
fn only_the_latest_pong_waits_while_one_is_on_its_way() {
    for side in SIDES {
        let mut end = End::open(side);
        let peer = end.peer();
        end.events_of(&peer.ping(b"0"));
        end.data_to_send().advance(1);
        for number in 1..=9_u8 {
            end.events_of(&peer.ping(&[number]));
        }
        let mut rest = vec![PONG];
        rest.extend(end.output());
        let pongs = sansock_tests::wire::sent_by(side, &rest);
        let payloads: Vec<_> = pongs.into_iter().map(|pong| pong.payload).collect();
        assert_eq!(payloads, [b"0".to_vec(), vec![9]]);
        assert!(end.is_flushed());
    }
}

#[test]
fn a_few_pings_that_arrive_together_are_all_answered() {
    for side in SIDES {
        let mut end = End::open(side);
        let numbers: Vec<_> = (0..10).map(|number| format!("payload-{number}")).collect();
        let pings = numbers
            .iter()
            .map(|number| end.peer().ping(number.as_bytes()));
        let pings = pings.collect::<Vec<_>>().concat();
        end.events_of(&pings);
        let expected = numbers
            .iter()
            .map(|number| (PONG, number.clone().into_bytes()));
        assert_eq!(end.sent(), expected.collect::<Vec<_>>());
    }
}

#[test]
fn of_many_pings_that_arrive_together_the_latest_are_answered() {
    for (side, most) in [(Side::Client, 160), (Side::Server, 128)] {
        for count in 100..200_u8 {
            let mut end = End::open(side);
            let pings =
                (0..count).map(|number| end.peer().ping(&vec![number; usize::from(number % 126)]));
            let pings = pings.collect::<Vec<_>>().concat();
            end.events_of(&pings);
            assert!(end.data_to_send().remaining() <= most);
            let sent = end.sent();
            let first = count - u8::try_from(sent.len()).expect("few");
            let latest =
                (first..count).map(|number| (PONG, vec![number; usize::from(number % 126)]));
            assert_eq!(sent, latest.collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_pong_that_was_offered_never_changes() {
    for side in SIDES {
        let mut end = End::open(side);
        let pings = [b"1", b"2", b"3"].map(|payload| end.peer().ping(payload));
        end.events_of(&pings[0]);
        let offered = end.data_to_send().chunk().to_vec();
        end.events_of(&pings[1..].concat());
        let mut data = end.data_to_send();
        assert_eq!(data.chunk(), offered);
        assert_eq!(data.remaining(), offered.len());
        data.advance(offered.len());
        assert_eq!(
            data.remaining(),
            offered.len(),
            "the latest follows at once"
        );
        assert_eq!(end.sent(), [(PONG, b"3".to_vec())]);
    }
}

#[test]
fn a_pong_that_followed_another_may_have_been_seen_as_well() {
    for side in SIDES {
        let mut end = End::open(side);
        let pings = [b"1", b"2", b"3"].map(|payload| end.peer().ping(payload));
        end.events_of(&pings[0]);
        end.data_to_send();
        end.events_of(&pings[1]);
        let mut data = end.data_to_send();
        data.advance(data.remaining());
        let seen = data.chunk().to_vec();
        end.events_of(&pings[2]);
        assert!(end.output().starts_with(&seen));
    }
}

#[test]
fn a_pong_before_other_frames_stays_where_it_is() {
    for side in SIDES {
        let mut end = End::open(side);
        let pings = [b"1", b"2", b"3"].map(|payload| end.peer().ping(payload));
        end.events_of(&pings[0]);
        end.send("text").expect("open");
        end.events_of(&pings[1..].concat());
        let expected = [
            (PONG, b"1".to_vec()),
            (FIN | TEXT, b"text".to_vec()),
            (PONG, b"3".to_vec()),
        ];
        assert_eq!(end.sent(), expected);
    }
}

#[test]
fn pongs_that_are_replaced_leave_what_is_before_them() {
    for side in SIDES {
        let mut end = End::open(side);
        end.send("text").expect("open");
        let long = vec![b'p'; 125];
        let pings = [&b"a"[..], b"b", &long, &long, b"!"].map(|payload| end.peer().ping(payload));
        end.events_of(&pings.concat());
        end.send(&[7; 3]).expect("open");
        let sent = end.sent();
        let (last, before) = sent.split_last().expect("frames");
        assert_eq!(before[0], (FIN | TEXT, b"text".to_vec()));
        assert_eq!(before.last(), Some(&(PONG, b"!".to_vec())));
        assert!(before.len() <= 3);
        assert_eq!(last, &(FIN | BINARY, vec![7; 3]));
    }
}

#[test]
fn a_pong_that_waits_goes_out_before_a_close_frame() {
    for side in SIDES {
        let mut end = End::open(side);
        let peer = end.peer();
        end.events_of(&peer.ping(b"1"));
        end.data_to_send();
        end.events_of(&peer.ping(b"2"));
        end.send_close(1000, "").expect("open");
        let sent = end.sent();
        assert_eq!(sent[0], (PONG, b"1".to_vec()));
        assert_eq!(sent[1], (PONG, b"2".to_vec()));
        assert_eq!(sent.len(), 3);
    }
}
