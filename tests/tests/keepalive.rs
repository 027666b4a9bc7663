//! Keepalive: what counts as a sign of life, and when the deadlines of a pong and of a slow message run.

use std::time::Duration;

use bytes::Buf;
use sansock_core::{Config, Deadline, Failure, Instant, Side, State};
use sansock_tests::end::{End, SIDES, at, config};
use sansock_tests::seen::Seen;
use sansock_tests::wire::{BINARY, CLOSE, CONTINUATION, FIN, PING, close_body};

const SECOND: Duration = Duration::from_secs(1);
const KIBIBYTE: usize = 1 << 10;

/// An end whose keepalive ping was taken at 20 s. Its pong has 20 s.
fn pinged(side: Side, config: Config) -> End {
    let mut end = End::with(side, config);
    end.mind_the_time();
    end.pass(20 * SECOND);
    let sent = end.sent();
    assert_eq!(sent.last().map(|(first, _)| *first), Some(PING));
    end.mind_the_time();
    end
}

/// The same, where bytes ahead of the ping do not matter.
fn pinged_exactly(side: Side) -> End {
    pinged(side, config().min_send_rate(None))
}

/// Checks that the pong is missed after this time, and not before.
#[track_caller]
fn assert_missed_after(end: &mut End, time: Duration) {
    end.pass(time - Duration::from_nanos(1));
    assert_eq!(end.failure(), None, "at {:?}", end.now);
    end.pass(Duration::from_nanos(1));
    let missed = Failure::TimedOut(Deadline::Pong);
    assert_eq!(end.failure(), Some(&missed), "at {:?}", end.now);
}

/// Does what is due until the pong is missed. Returns how long that takes.
#[track_caller]
fn missed_after(end: &mut End) -> f64 {
    let start = end.now;
    while end.failure().is_none() {
        end.pass_to_timeout();
    }
    assert_eq!(end.failure(), Some(&Failure::TimedOut(Deadline::Pong)));
    end.now.saturating_since(start).as_secs_f64()
}

/// Takes the payload of the last ping that was sent.
fn ping_sent(end: &mut End) -> Vec<u8> {
    let sent = end.sent();
    let ping = sent.into_iter().rfind(|(first, _)| *first == PING);
    ping.expect("a ping").1
}

// Signs of life

#[test]
fn a_silent_peer_is_missed_after_the_timeout() {
    for side in SIDES {
        assert_missed_after(&mut pinged_exactly(side), 20 * SECOND);
    }
}

#[test]
fn every_byte_that_arrives_restarts_the_deadline() {
    for side in SIDES {
        let mut end = pinged_exactly(side);
        let frame = end.peer().binary(&[7; 20]);
        for byte in &frame[..10] {
            end.pass(15 * SECOND);
            end.receive(&[*byte]);
            assert_eq!(end.next_timeout(), Some(end.now), "asks for the time");
            end.mind_the_time();
        }
        assert_missed_after(&mut end, 20 * SECOND);
    }
}

#[test]
fn a_frame_of_twelve_megabytes_over_a_slow_link_arrives() {
    const LENGTH: usize = 12_000_000;
    for side in SIDES {
        let mut end = End::with(side, config().max_message_size(LENGTH));
        end.mind_the_time();
        let header = end.peer().header(FIN | BINARY, LENGTH as u64);
        end.receive(&header);
        // The peer answers no ping before it has sent its frame.
        for _ in 0..60 {
            end.pass(SECOND);
            end.output();
            end.mind_the_time();
            end.receive(&[0; 200_000]);
        }
        assert!(matches!(end.event(), Some(Seen::Binary(_))));
        assert_eq!(end.state(), State::Open);
    }
}

#[test]
fn what_a_full_transport_takes_restarts_the_deadline() {
    for side in SIDES {
        for full in [true, false] {
            let mut end = pinged_exactly(side);
            end.send(&[0; 60 * KIBIBYTE]).unwrap();
            for _ in 0..10 {
                if full {
                    end.io().write_blocked();
                }
                end.pass(15 * SECOND);
                end.data_to_send().advance(KIBIBYTE);
                end.mind_the_time();
            }
            let missed = Failure::TimedOut(Deadline::Pong);
            let expected = (!full).then_some(&missed);
            assert_eq!(end.failure(), expected, "room proves nothing");
        }
    }
}

#[test]
fn what_a_transport_took_before_it_was_full_again_restarts_the_deadline() {
    for side in SIDES {
        let mut end = pinged_exactly(side);
        end.send(&[0; 60 * KIBIBYTE]).unwrap();
        end.io().write_blocked();
        end.pass(15 * SECOND);
        end.data_to_send().advance(KIBIBYTE);
        end.io().write_blocked();
        assert_eq!(end.next_timeout(), Some(end.now), "asks for the time");
        end.mind_the_time();
        assert_missed_after(&mut end, 20 * SECOND);
    }
}

#[test]
fn a_peer_that_stops_reading_is_missed() {
    for side in SIDES {
        let mut end = pinged_exactly(side);
        end.send(&[0; 60 * KIBIBYTE]).unwrap();
        end.io().write_blocked();
        end.pass(15 * SECOND);
        end.data_to_send().advance(KIBIBYTE);
        assert_eq!(end.next_timeout(), Some(end.now), "asks for the time");
        end.mind_the_time();
        end.io().write_blocked();
        assert_missed_after(&mut end, 20 * SECOND);
    }
}

#[test]
fn a_flush_that_is_done_restarts_the_deadline() {
    for side in SIDES {
        let mut end = pinged_exactly(side);
        end.io().set_flush_pending(true);
        end.pass(15 * SECOND);
        end.io().set_flush_pending(false);
        assert_eq!(end.next_timeout(), Some(end.now), "asks for the time");
        end.mind_the_time();
        end.io().set_flush_pending(false);
        assert_missed_after(&mut end, 20 * SECOND);
    }
}

#[test]
fn a_flush_that_began_before_the_ping_restarts_the_deadline_as_well() {
    for side in SIDES {
        let mut end = End::with(side, config().min_send_rate(None));
        end.mind_the_time();
        end.pass(19 * SECOND);
        end.io().set_flush_pending(true);
        end.pass(SECOND);
        assert_eq!(ping_sent(&mut end).len(), 4);
        end.mind_the_time();
        end.pass(15 * SECOND);
        end.io().set_flush_pending(false);
        assert_eq!(end.next_timeout(), Some(end.now), "asks for the time");
        end.mind_the_time();
        assert_missed_after(&mut end, 20 * SECOND);
    }
}

#[test]
fn small_messages_do_not_hide_a_dead_peer() {
    for side in SIDES {
        let mut end = End::open(side);
        end.mind_the_time();
        for _ in 0..40 {
            assert_eq!(end.failure(), None, "at {:?}", end.now);
            end.send("tick").unwrap();
            end.output();
            end.mind_the_time();
            end.pass(SECOND);
        }
        end.pass(SECOND / 10);
        assert_eq!(end.failure(), Some(&Failure::TimedOut(Deadline::Pong)));
    }
}

// While this side does not read

#[test]
fn two_unread_messages_may_wait_for_two_minutes() {
    for side in SIDES {
        for looks_at_the_time in [false, true] {
            let mut end = pinged_exactly(side);
            let peer = end.peer();
            end.receive(&[peer.text("one"), peer.text("two")].concat());
            for message in ["one", "two"] {
                if looks_at_the_time {
                    end.mind_the_time();
                    end.pass(60 * SECOND);
                    assert_eq!(end.next_timeout(), None, "nothing else is to be done");
                } else {
                    end.now = Instant::from_start(end.now.since_start() + 60 * SECOND);
                }
                assert_eq!(end.event(), Some(Seen::Text(message.into())));
            }
            assert!(end.next_timeout().is_some_and(|next| next <= end.now));
            end.mind_the_time();
            assert_eq!(end.failure(), None);
            assert_missed_after(&mut end, 20 * SECOND);
        }
    }
}

#[test]
fn a_pong_may_wait_behind_a_message() {
    for side in SIDES {
        let mut end = End::open(side);
        end.mind_the_time();
        end.pass(20 * SECOND);
        let ping = ping_sent(&mut end);
        end.mind_the_time();
        let peer = end.peer();
        end.receive(&[peer.text("takes a while"), peer.pong(&ping)].concat());
        end.pass(120 * SECOND);
        assert_eq!(end.events().len(), 2);
        end.mind_the_time();
        end.pass(19 * SECOND);
        assert_eq!(end.failure(), None);
        end.pass(SECOND);
        assert_eq!(ping_sent(&mut end).len(), 4, "the next one is sent");
    }
}

#[test]
fn the_deadline_restarts_when_reading_resumes() {
    for side in SIDES {
        let mut end = pinged_exactly(side);
        end.set_reading_paused(true);
        end.mind_the_time();
        end.pass(120 * SECOND);
        assert_eq!(end.next_timeout(), None);
        assert_eq!(end.failure(), None);
        end.set_reading_paused(false);
        assert_eq!(end.next_timeout(), Some(end.now), "asks for the time");
        end.mind_the_time();
        assert_missed_after(&mut end, 20 * SECOND);
    }
}

#[test]
fn a_pause_is_noticed_when_the_time_was_not_looked_at() {
    for side in SIDES {
        let mut end = pinged_exactly(side);
        end.set_reading_paused(true);
        end.now = at(140_000);
        end.set_reading_paused(false);
        end.mind_the_time();
        assert_missed_after(&mut end, 20 * SECOND);
    }
}

#[test]
fn a_ping_that_leaves_while_reading_is_paused_waits_for_its_end() {
    for side in SIDES {
        let mut end = End::with(side, config().min_send_rate(None));
        end.mind_the_time();
        end.set_reading_paused(true);
        end.pass(20 * SECOND);
        end.output();
        end.mind_the_time();
        end.pass(100 * SECOND);
        end.set_reading_paused(false);
        end.mind_the_time();
        assert_missed_after(&mut end, 20 * SECOND);
    }
}

#[test]
fn all_other_deadlines_run_while_reading_is_paused() {
    for side in SIDES {
        let mut end = pinged_exactly(side);
        let text = end.peer().text("unread");
        end.receive(&text);
        end.set_reading_paused(true);
        end.send("waits").unwrap();
        end.mind_the_time();
        end.pass(30 * SECOND);
        assert_eq!(end.failure(), Some(&Failure::TimedOut(Deadline::Write)));

        let mut end = pinged_exactly(side);
        end.receive(&text);
        end.set_reading_paused(true);
        end.send_close(1000, "").unwrap();
        end.output();
        end.mind_the_time();
        end.pass(5 * SECOND);
        assert_eq!(end.failure(), Some(&Failure::TimedOut(Deadline::Close)));
    }
}

// Bytes ahead of the ping

/// How many seconds, to the hundredth, a pong has if so many KiB were taken this many seconds before its ping.
#[track_caller]
fn time_with_bytes_ahead(side: Side, config: Config, kibibytes: usize, before: u32) -> f64 {
    let mut end = End::with(side, config.max_queued_output(None));
    end.mind_the_time();
    let moment = Duration::from_nanos(1);
    end.pass((20 - before) * SECOND - moment);
    end.send(vec![0; kibibytes * KIBIBYTE]).unwrap();
    end.output();
    end.mind_the_time();
    end.pass(before * SECOND + moment);
    assert_eq!(ping_sent(&mut end).len(), 4);
    end.mind_the_time();
    (missed_after(&mut end) * 1e2).round() / 1e2
}

#[test]
fn bytes_ahead_of_the_ping_extend_its_deadline_at_a_minimum_rate() {
    for side in SIDES {
        let seconds = |kibibytes, before| time_with_bytes_ahead(side, config(), kibibytes, before);
        // At 8 KiB a second.
        assert_eq!(seconds(64, 0), 28.0);
        assert_eq!(seconds(64, 4), 24.0, "half of it has arrived since");
        assert_eq!(seconds(64, 8), 20.0, "all of it has arrived since");
        assert_eq!(seconds(64, 19), 20.0);
        assert_eq!(seconds(160, 0), 40.0);
        assert_eq!(seconds(4000, 0), 40.0, "at most once the timeout more");
    }
}

#[test]
fn the_minimum_rate_is_an_option() {
    for side in SIDES {
        let time =
            |rate: Option<u64>| time_with_bytes_ahead(side, config().min_send_rate(rate), 64, 0);
        assert_eq!(time(None), 20.0);
        assert_eq!(time(Some(64 << 10)), 21.0);
        assert_eq!(time(Some(0)), 20.0, "no rate");
        assert_eq!(time(Some(1)), 40.0);
    }
}

#[test]
fn a_ping_that_leaves_in_two_parts_has_no_more_time() {
    for side in SIDES {
        let mut end = End::open(side);
        end.mind_the_time();
        end.pass(20 * SECOND);
        end.data_to_send().advance(1);
        end.mind_the_time();
        end.output();
        end.mind_the_time();
        let time = missed_after(&mut end);
        assert!((20.0..20.1).contains(&time), "{time}");
    }
}

/// How long the second pong has, where so many KiB were taken before the first ping and between that
/// and its pong, which came this many seconds later. Pings are sent every second.
#[track_caller]
fn time_of_the_second_pong(side: Side, before: usize, between: usize, later: u32) -> f64 {
    let config = config().ping_interval(SECOND).max_queued_output(None);
    let mut end = End::with(side, config);
    end.mind_the_time();
    end.send(vec![0; before * KIBIBYTE]).unwrap();
    end.output();
    end.pass(SECOND);
    let ping = ping_sent(&mut end);
    end.mind_the_time();
    end.send(vec![0; between * KIBIBYTE]).unwrap();
    end.output();
    end.mind_the_time();
    end.pass(later * SECOND);
    let pong = end.peer().pong(&ping);
    end.events_of(&pong);
    end.mind_the_time();
    end.pass(SECOND);
    assert_eq!(ping_sent(&mut end).len(), 4);
    end.mind_the_time();
    missed_after(&mut end)
}

#[test]
fn a_pong_proves_that_the_bytes_before_its_ping_have_arrived() {
    for side in SIDES {
        let time = time_of_the_second_pong(side, 4000, 0, 0);
        assert!((20.0..20.1).contains(&time), "{time}");
    }
}

#[test]
fn bytes_behind_the_ping_are_ahead_of_the_next() {
    for side in SIDES {
        for (before, later, left) in [(0, 0, 7.0), (4000, 0, 7.0), (0, 3, 4.0), (0, 7, 0.0)] {
            let time = time_of_the_second_pong(side, before, 64, later);
            assert!((left..left + 0.1).contains(&(time - 20.0)), "{time}");
        }
    }
}

#[test]
fn an_upload_on_a_slow_link_survives_pings_every_second() {
    const RATE: usize = 10 * KIBIBYTE;
    let hasty = config().ping_interval(SECOND).ping_timeout(SECOND);
    let mut client = End::open(Side::Client);
    let mut server = End::with(Side::Server, hasty);
    client.send(&[0; 63 * KIBIBYTE]).unwrap();
    // The kernel of the client takes everything at once, and sends a tenth of the rate in 100 ms.
    let mut kernel = Vec::new();
    for _ in 0..100 {
        for end in [&mut client, &mut server] {
            end.pass(SECOND / 10);
        }
        kernel.extend(client.output());
        let arriving = kernel.len().min(RATE / 10);
        server.receive(&kernel.drain(..arriving).collect::<Vec<_>>());
        server.events();
        client.events_of(&server.output());
        for end in [&mut client, &mut server] {
            end.mind_the_time();
            assert_eq!(end.failure(), None, "at {:?}", end.now);
        }
    }
    let stats = server.stats();
    let messages = stats.frames_received - stats.pongs_received;
    assert!(kernel.is_empty() && messages == 1 && stats.pongs_received > 2);
}

// A minimum rate for incomplete messages

/// An end that wants a kibibyte a second, and sends no pings.
fn hurried(side: Side) -> End {
    let config = config().min_receive_rate(KIBIBYTE as u64);
    let mut end = End::with(side, config.ping_interval(None));
    end.mind_the_time();
    end
}

const SLOW: Failure = Failure::TimedOut(Deadline::Receive);

/// Receives this many bytes of a payload.
fn receive_payload(end: &mut End, length: usize) {
    end.receive(&vec![0; length]);
}

#[test]
fn a_message_may_trickle_if_no_rate_is_set() {
    for side in SIDES {
        let mut end = End::open(side);
        end.mind_the_time();
        let header = end.peer().header(FIN | BINARY, 1000);
        end.receive(&header);
        for _ in 0..100 {
            end.output();
            receive_payload(&mut end, 1);
            end.mind_the_time();
            end.pass(15 * SECOND);
        }
        assert_eq!(end.state(), State::Open);
    }
}

#[test]
fn a_message_that_arrives_too_slowly_fails_with_1008() {
    for side in SIDES {
        let mut end = hurried(side);
        let header = end.peer().header(FIN | BINARY, 100 * KIBIBYTE as u64);
        end.receive(&header);
        assert_eq!(end.next_timeout(), None, "it is not parsed yet");
        end.mind_the_time();
        assert_eq!(end.next_timeout(), Some(at(5000)));
        receive_payload(&mut end, 5 * KIBIBYTE);
        end.pass(5 * SECOND);
        assert_eq!(end.failure(), None, "fast enough");
        assert_eq!(end.next_timeout(), Some(at(10_000)));
        receive_payload(&mut end, 5 * KIBIBYTE - 1);
        end.pass(5 * SECOND);
        assert_eq!(end.events(), [Seen::Failed(SLOW)]);
        let body = close_body(1008, "a message arrives too slowly");
        assert_eq!(end.sent(), [(CLOSE, body)]);
        assert_eq!(end.state(), State::Closing);
    }
}

#[test]
fn a_message_that_has_begun_is_noticed_at_once() {
    for side in SIDES {
        let mut end = hurried(side);
        end.pass(SECOND);
        let header = end.peer().header(FIN | BINARY, 100 * KIBIBYTE as u64);
        assert_eq!(end.events_of(&header), []);
        assert_eq!(end.next_timeout(), Some(end.now), "asks for the time");
        end.mind_the_time();
        assert_eq!(end.next_timeout(), Some(at(6000)));
    }
}

#[test]
fn pauses_between_fragments_and_frames_between_them_count_as_slow() {
    for side in SIDES {
        let mut end = hurried(side);
        let peer = end.peer();
        end.events_of(&peer.frame(BINARY, b"starts"));
        end.mind_the_time();
        for _ in 0..100 {
            end.events_of(&peer.ping(&[0; 125]));
            end.output();
        }
        end.pass(5 * SECOND);
        assert_eq!(end.failure(), Some(&SLOW));
    }
}

#[test]
fn messages_in_a_row_are_not_taken_for_one() {
    for side in SIDES {
        let mut end = hurried(side);
        let peer = end.peer();
        for _ in 0..10 {
            // Each is complete after four seconds, and the next begins at once.
            assert_eq!(end.events_of(&peer.frame(BINARY, b"sta")), []);
            end.mind_the_time();
            end.pass(4 * SECOND);
            let rest = [
                peer.frame(FIN | CONTINUATION, b"rt"),
                peer.frame(BINARY, b""),
            ];
            assert_eq!(end.events_of(&rest.concat()).len(), 1);
            end.mind_the_time();
            end.pass(4 * SECOND);
            assert_eq!(
                end.events_of(&peer.frame(FIN | CONTINUATION, b"x")).len(),
                1
            );
            end.mind_the_time();
            assert_eq!(end.next_timeout(), None, "no message is incomplete");
            end.pass(60 * SECOND);
        }
        assert_eq!(end.failure(), None);
    }
}

#[test]
fn a_message_is_not_slow_because_this_side_does_not_read() {
    for side in SIDES {
        let mut end = hurried(side);
        let peer = end.peer();
        let header = peer.header(FIN | BINARY, 100 * KIBIBYTE as u64);
        end.receive(&header);
        end.mind_the_time();
        end.pass(4 * SECOND);
        end.set_reading_paused(true);
        end.mind_the_time();
        assert_eq!(end.next_timeout(), None);
        end.pass(60 * SECOND);
        end.set_reading_paused(false);
        assert_eq!(end.next_timeout(), Some(end.now), "asks for the time");
        end.mind_the_time();
        end.pass(5 * SECOND - Duration::from_nanos(1));
        assert_eq!(end.failure(), None);
        end.pass(Duration::from_nanos(1));
        assert_eq!(end.failure(), Some(&SLOW));
    }
}
