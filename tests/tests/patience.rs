//! What deadlines do at their edges: never, at once, early, twice, at the end of time, at random.

use std::time::Duration;

use bytes::Buf;
use sansock_core::{Config, Instant, Side, State};
use sansock_tests::end::{End, SIDES, config};
use sansock_tests::random::Random;

const FOREVER: Duration = Duration::MAX;

/// A configuration whose deadlines are all the same.
fn all(time: impl Into<Option<Duration>>) -> Config {
    let time = time.into();
    config()
        .open_timeout(time)
        .close_timeout(time)
        .ping_interval(time)
        .ping_timeout(time)
        .write_timeout(time)
}

#[test]
fn a_deadline_of_forever_or_of_none_never_comes() {
    for side in SIDES {
        for config in [all(FOREVER), all(None)] {
            let mut end = End::with(side, config);
            end.mind_the_time();
            assert_eq!(end.next_timeout(), None, "when open");
            end.send("x").unwrap();
            end.mind_the_time();
            assert_eq!(end.next_timeout(), None, "while output waits");
            let now = end.now;
            end.ping(now).unwrap();
            end.send_close(1000, "").unwrap();
            end.mind_the_time();
            assert_eq!(end.next_timeout(), None, "when closing");
            end.pass(Duration::from_secs(1 << 30));
            assert_eq!(end.state(), State::Closing);
        }
    }
}

#[test]
fn a_deadline_of_nothing_does_not_spin() {
    for side in SIDES {
        let mut end = End::with(side, config().ping_interval(Duration::ZERO));
        for _ in 0..10 {
            end.mind_the_time();
            end.output();
        }
        let mut end = End::with(side, all(Duration::ZERO));
        for _ in 0..10 {
            end.mind_the_time();
        }
        let mut end = End::with(side, all(Duration::ZERO).ping_interval(None));
        end.mind_the_time();
        end.send_close(1000, "").unwrap();
        end.mind_the_time();
        assert_eq!(end.state(), State::Closed);
        assert_eq!(end.next_timeout(), None);
    }
}

#[test]
fn minding_the_time_early_or_twice_does_nothing() {
    for side in SIDES {
        let mut end = End::open(side);
        end.send("x").unwrap();
        end.mind_the_time();
        let before = (end.state(), end.stats(), end.next_timeout());
        for now in [0, 1, 1, 19_999, 19_999] {
            end.now = sansock_tests::end::at(now);
            end.mind_the_time();
            end.mind_the_time();
            assert_eq!((end.state(), end.stats(), end.next_timeout()), before);
        }
        end.pass_to_timeout();
        let after = (end.state(), end.stats().frames_sent);
        for _ in 0..3 {
            end.mind_the_time();
            assert_eq!((end.state(), end.stats().frames_sent), after);
        }
    }
}

#[test]
fn the_end_of_time_is_no_overflow() {
    for side in SIDES {
        let mut end = End::open(side);
        end.now = Instant::from_start(Duration::from_nanos(u64::MAX - 1));
        end.mind_the_time();
        end.send("x").unwrap();
        end.mind_the_time();
        end.pass(FOREVER);
        let now = end.now;
        end.ping(now).unwrap();
        end.send_close(1000, "").unwrap();
        end.pass(FOREVER);
        assert_eq!(end.next_timeout(), None, "nothing can be later");
        let answer = end.peer().close(1000, "");
        assert_eq!(end.events_of(&answer).len(), 1);
    }
}

/// Every one of these steps is followed by the check that the connection does not ask for the time
/// again and again; left alone, it comes to its end.
#[test]
fn no_sequence_of_steps_makes_a_busy_loop() {
    for side in SIDES {
        for seed in 0..300 {
            let mut random = Random::new(seed);
            let mut end = End::open(side);
            for _ in 0..100 {
                step(&mut end, &mut random);
                end.mind_the_time();
            }
            leave_alone(&mut end);
        }
    }
}

fn step(end: &mut End, random: &mut Random) {
    let peer = end.peer();
    match random.below(14) {
        0 => drop(end.send("text")),
        1 => drop(end.send_ping(b"")),
        2 => {
            let now = end.now;
            let _ = end.ping(now);
        }
        3 => end.receive(&peer.text("text")),
        4 => end.receive(&peer.ping(b"?")),
        5 => drop(end.event()),
        6 => drop(end.events()),
        7 => {
            let count = random.below(12);
            end.data_to_send().advance(count);
        }
        8 => drop(end.output()),
        9 => {
            // The pong to one of the pings, if there were as many.
            let number = random.below(6) as u32;
            end.receive(&peer.pong(&number.to_be_bytes()));
        }
        10 => end.pass(Duration::from_millis(random.below(30_000) as u64)),
        11 if end.next_timeout().is_some() => end.pass_to_timeout(),
        12 if random.below(10) == 0 => drop(end.send_close(1000, "")),
        13 if random.below(10) == 0 => end.receive(&peer.close(1000, "")),
        _ => {}
    }
}

/// The peer is gone: in a few steps the connection must find out.
#[track_caller]
fn leave_alone(end: &mut End) {
    for _ in 0..20 {
        end.events();
        end.output();
        end.mind_the_time();
        if end.state() == State::Closed {
            assert_eq!(end.next_timeout(), None);
            return;
        }
        end.pass_to_timeout();
    }
    panic!("not closed: {end:?}");
}

#[test]
fn the_deadline_of_a_lost_stream_does_not_outlive_its_output() {
    let mut server = End::open(Side::Server);
    server.send("never taken").unwrap();
    server.end_of_stream();
    server.events();
    server.mind_the_time();
    assert_eq!(server.state(), State::Closed);
    server.pass_to_timeout();
    assert_eq!(server.next_timeout(), None);
}
