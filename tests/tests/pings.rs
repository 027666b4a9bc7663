//! Pings of our own, and the pongs that answer them (RFC 6455 sections 5.5.2 and 5.5.3).

use std::time::Duration;

use sansock_core::{Event, PingId};
use sansock_tests::end::{End, SIDES, at, config};
use sansock_tests::wire::PING;

const SECOND: Duration = Duration::from_secs(1);

/// An end that sends no pings by itself.
fn quiet(side: sansock_core::Side) -> End {
    End::with(side, config().ping_interval(None))
}

fn ping(end: &mut End) -> PingId {
    let now = end.now;
    end.ping(now).expect("an open connection")
}

/// Receives a pong and returns the latency that it is given out with.
#[track_caller]
fn latency_of(end: &mut End, payload: &[u8]) -> Option<Duration> {
    let pong = end.peer().pong(payload);
    end.receive(&pong);
    match end.next_event() {
        Some(Event::Pong { latency, .. }) => latency,
        event => panic!("{event:?}"),
    }
}

#[test]
fn the_round_trip_is_measured_from_when_the_ping_was_taken() {
    for side in SIDES {
        let mut end = quiet(side);
        let id = ping(&mut end);
        end.pass(SECOND);
        assert_eq!(end.sent(), [(PING, id.payload().to_vec())]);
        end.mind_the_time();
        end.pass(2 * SECOND);
        assert!(!end.is_ping_answered(id));
        assert_eq!(latency_of(&mut end, &id.payload()), Some(2 * SECOND));
        assert!(end.is_ping_answered(id));
        assert_eq!(end.stats().latency, Some(2 * SECOND));
    }
}

#[test]
fn a_pong_that_waits_to_be_read_was_not_faster_for_it() {
    for side in SIDES {
        let mut end = quiet(side);
        let id = ping(&mut end);
        end.output();
        end.now = at(2000);
        // The time is minded while the message before the pong is ready: the pong is not parsed yet.
        let both = [end.peer().text("first"), end.peer().pong(&id.payload())].concat();
        end.receive(&both);
        end.mind_the_time();
        assert!(matches!(end.next_event(), Some(Event::Message(_))));
        assert!(matches!(end.next_event(), Some(Event::Pong { .. })));
        assert_eq!(end.stats().latency, Some(2 * SECOND));
    }
}

#[test]
fn a_pong_answers_the_pings_before_its_own() {
    for side in SIDES {
        let mut end = quiet(side);
        let [first, second, third] = [(); 3].map(|()| ping(&mut end));
        end.output();
        assert!(latency_of(&mut end, &second.payload()).is_some());
        assert!(end.is_ping_answered(first) && end.is_ping_answered(second));
        assert!(!end.is_ping_answered(third));
        assert_eq!(latency_of(&mut end, &first.payload()), None, "was answered");
        assert!(!end.is_ping_answered(third));
    }
}

#[test]
fn pongs_of_other_payloads_answer_nothing() {
    for side in SIDES {
        let mut end = quiet(side);
        end.send_ping(b"mine").unwrap();
        let id = ping(&mut end);
        end.output();
        for payload in [&b""[..], b"mine", &[&id.payload()[..], b"!"].concat()] {
            assert_eq!(latency_of(&mut end, payload), None);
        }
        assert!(!end.is_ping_answered(id));
        assert_eq!(end.stats().latency, None);
    }
}

#[test]
fn a_ping_is_not_answered_by_many_that_follow_it() {
    for side in SIDES {
        let mut end = quiet(side);
        let ids: Vec<PingId> = (0..100).map(|_| ping(&mut end)).collect();
        end.output();
        assert!(ids.iter().all(|id| !end.is_ping_answered(*id)));
        latency_of(&mut end, b"nobody's");
        assert!(ids.iter().all(|id| !end.is_ping_answered(*id)));
        let last = ids.last().unwrap();
        assert!(latency_of(&mut end, &last.payload()).is_some());
        assert!(ids.iter().all(|id| end.is_ping_answered(*id)));
    }
}

#[test]
fn a_pong_of_nothing_is_a_sign_of_life_and_answers_none_of_many_pings() {
    for side in SIDES {
        let mut end = End::open(side);
        end.mind_the_time();
        end.pass_to_timeout();
        for _ in 0..100 {
            ping(&mut end);
        }
        end.output();
        end.mind_the_time();
        end.pass(19 * SECOND);
        latency_of(&mut end, b"nobody's");
        end.mind_the_time();
        end.pass(19 * SECOND);
        assert_eq!(end.failure(), None);
        end.pass(SECOND);
        assert!(end.failure().is_some(), "no ping was answered");
    }
}
