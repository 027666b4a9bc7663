//! Deadlines, with instants made up by the test: what is due when, and that nothing is due for ever.

use std::sync::Arc;
use std::time::Duration;

use bytes::Buf;
use sansock_core::handshake::{ClientOptions, ServerOptions, Uri};
use sansock_core::{
    ClientConnection, Config, Deadline, Failure, Instant, ServerConnection, Side, State,
};
use sansock_tests::end::{End, SIDES, at, config};
use sansock_tests::seen::Seen;
use sansock_tests::wire::{CLOSE, PING, close_body};

const SECOND: Duration = Duration::from_secs(1);

fn seconds(count: u64) -> Duration {
    SECOND * u32::try_from(count).expect("a short time")
}

/// An end that has been told the time.
fn started(side: Side, config: Config) -> End {
    let mut end = End::with(side, config);
    end.mind_the_time();
    end
}

#[track_caller]
fn assert_timed_out(end: &End, deadline: Deadline) {
    assert_eq!(end.state(), State::Closed);
    assert_eq!(end.failure(), Some(&Failure::TimedOut(deadline)));
    assert_eq!(end.next_timeout(), None);
}

/// The last few nanoseconds of the range stand for something else.
#[test]
fn a_deadline_at_the_end_of_time_never_comes() {
    let ten = 10 * SECOND;
    for (left, comes) in [(0, false), (1, false), (2, false), (3, true)] {
        let last = Instant::from_start(Duration::from_nanos(u64::MAX - left));
        let now = Instant::from_start(last.since_start() - ten);
        let mut server = ServerConnection::new(Arc::new(ServerOptions::new()), config());
        server.handle_timeout(now);
        assert_eq!(server.next_timeout(), comes.then_some(last), "{left}");
        server.handle_timeout(Instant::from_start(Duration::MAX));
        assert_eq!(server.failure().is_some(), comes, "{left}");
    }
}

#[test]
fn the_opening_handshake_has_ten_seconds_however_it_dribbles() {
    let uri: Uri = "ws://example.com/".parse().unwrap();
    let mut client = ClientConnection::new(&uri, &ClientOptions::new(), config()).unwrap();
    let mut server = ServerConnection::new(Arc::new(ServerOptions::new()), config());
    client.send_request(client.connect()).unwrap();
    let size = client.data_to_send().remaining();
    client.data_to_send().advance(size);
    for time in 0..10 {
        let now = at(time * 1000);
        client.handle_timeout(now);
        server.handle_timeout(now);
        client.receive_data(b"H", now);
        server.receive_data(b"G", now);
        assert_eq!(client.next_timeout(), Some(at(10_000)));
        assert_eq!(server.next_timeout(), Some(at(10_000)));
    }
    client.handle_timeout(at(10_000));
    server.handle_timeout(at(10_000));
    for connection in [&*client, &*server] {
        let timed_out = Failure::TimedOut(Deadline::Open);
        assert_eq!(connection.failure(), Some(&timed_out));
        assert_eq!(connection.state(), State::Closed);
    }
}

#[test]
fn an_idle_connection_is_pinged_every_twenty_seconds() {
    for side in SIDES {
        let mut end = started(side, config());
        let peer = end.peer();
        for round in 1..=5 {
            assert_eq!(end.next_timeout(), Some(at(round * 20_000)));
            end.pass_to_timeout();
            let sent = end.sent();
            assert_eq!(sent.len(), 1);
            assert_eq!(sent[0].0, PING);
            end.mind_the_time();
            end.pass(SECOND);
            end.events_of(&peer.pong(&sent[0].1));
            assert_eq!(end.stats().latency, Some(SECOND));
        }
        assert_eq!(end.state(), State::Open);
    }
}

#[test]
fn a_ping_that_is_not_answered_within_twenty_seconds_fails_with_1011() {
    for side in SIDES {
        let mut end = started(side, config().ping_interval(seconds(5)));
        end.pass(seconds(5));
        assert_eq!(end.sent().len(), 1);
        end.mind_the_time();
        for _ in 0..3 {
            end.pass(seconds(5));
            assert_eq!(end.sent(), [], "one ping waits for its pong at a time");
        }
        end.pass(seconds(4));
        assert_eq!(end.state(), State::Open);
        end.pass(seconds(1));
        end.mind_the_time();
        let sent = end.sent();
        assert_eq!(sent[0].0, CLOSE, "also after the time was minded twice");
        assert_eq!(sent[0].1[..2], 1011_u16.to_be_bytes());
        assert_eq!(
            end.events(),
            [Seen::Failed(Failure::TimedOut(Deadline::Pong))]
        );
        assert_eq!(
            end.next_timeout(),
            Some(at(25_100)),
            "the Close frame has a tenth of a second"
        );
        end.pass_to_timeout();
        assert_timed_out(&end, Deadline::Pong);
    }
}

#[test]
fn a_pong_that_took_longer_than_the_interval_starts_the_next_one() {
    for side in SIDES {
        let mut end = started(side, config().ping_interval(seconds(5)));
        end.pass(seconds(5));
        let ping = end.sent().remove(0).1;
        end.mind_the_time();
        end.pass(seconds(7));
        let pong = end.peer().pong(&ping);
        end.events_of(&pong);
        end.mind_the_time();
        assert_eq!(end.next_timeout(), Some(at(17_000)));
        end.pass_to_timeout();
        assert_eq!(end.sent().len(), 1);
    }
}

#[test]
fn the_pong_has_its_time_from_when_the_ping_was_taken() {
    for side in SIDES {
        let mut end = started(side, config());
        end.pass(seconds(20));
        end.pass(seconds(15));
        assert_eq!(
            end.output().len(),
            if side == Side::Client { 10 } else { 6 }
        );
        assert_eq!(
            end.next_timeout(),
            Some(end.now),
            "asks for the time of the taking"
        );
        end.mind_the_time();
        end.pass(seconds(19));
        assert_eq!(end.state(), State::Open);
        end.pass(seconds(1));
        assert_eq!(end.failure(), Some(&Failure::TimedOut(Deadline::Pong)));
    }
}

#[test]
fn only_the_pong_of_the_ping_or_of_a_later_one_satisfies_it() {
    for side in SIDES {
        for (satisfies, later) in [(false, false), (true, false), (true, true)] {
            let mut end = started(side, config().ping_interval(seconds(60)));
            let peer = end.peer();
            end.pass(seconds(60));
            let keepalive = end.sent().remove(0).1;
            end.mind_the_time();
            let now = end.now;
            let id = end.ping(now).unwrap();
            end.output();
            end.events_of(&peer.pong(b"somebody else's"));
            end.events_of(&peer.pong(b""));
            end.mind_the_time();
            match (satisfies, later) {
                (true, true) => drop(end.events_of(&peer.pong(&id.payload()))),
                (true, false) => drop(end.events_of(&peer.pong(&keepalive))),
                (false, _) => {}
            }
            assert_eq!(end.is_ping_answered(id), later);
            end.pass(seconds(20));
            assert_eq!(end.state() == State::Open, satisfies);
        }
    }
}

#[test]
fn the_end_of_the_stream_has_five_seconds_from_our_close_on() {
    for side in SIDES {
        let mut end = started(side, config());
        let peer = end.peer();
        end.send_close(1000, "").unwrap();
        assert_eq!(end.next_timeout(), Some(end.now), "asks for the time");
        end.mind_the_time();
        end.output();
        end.pass(seconds(3));
        end.events_of(&peer.close(1000, ""));
        end.output();
        assert_eq!(
            end.next_timeout(),
            Some(at(5000)),
            "goes on, and does not start anew"
        );
        end.pass_to_timeout();
        assert_eq!(end.state(), State::Closed);
        assert_eq!(end.failure(), None, "the closing handshake was complete");
        assert_eq!(end.events(), []);
    }
}

#[test]
fn a_pong_that_is_missed_while_closing_gives_the_end_no_more_time() {
    for side in SIDES {
        let mut end = started(side, config().ping_interval(seconds(1)));
        end.pass(seconds(1));
        end.output();
        end.mind_the_time();
        // The pong has until 21 s, the end of the stream until 21.05 s.
        end.pass(Duration::from_millis(15_050));
        end.send_close(1000, "").unwrap();
        end.output();
        end.mind_the_time();
        end.pass_to_timeout();
        assert_eq!(end.failure(), Some(&Failure::TimedOut(Deadline::Pong)));
        assert_eq!(end.next_timeout(), Some(at(21_050)));
        end.pass_to_timeout();
        assert_timed_out(&end, Deadline::Pong);
    }
}

#[test]
fn a_peer_that_does_not_answer_our_close_ends_it_abnormally() {
    for side in SIDES {
        let mut end = started(side, config());
        end.send_close(1000, "bye").unwrap();
        assert_eq!(end.sent(), [(CLOSE, close_body(1000, "bye"))]);
        end.mind_the_time();
        end.pass(seconds(5));
        assert_timed_out(&end, Deadline::Close);
        assert_eq!(
            end.events(),
            [Seen::Failed(Failure::TimedOut(Deadline::Close))]
        );
        assert_eq!(end.close_code().unwrap().number(), 1006);
    }
}

#[test]
fn the_end_of_the_stream_has_five_seconds_after_a_failure() {
    for side in SIDES {
        let mut end = started(side, config());
        end.events_of(&[0xFF]);
        end.output();
        end.mind_the_time();
        assert_eq!(end.next_timeout(), Some(at(5000)));
        end.pass_to_timeout();
        assert_eq!(end.state(), State::Closed);
        assert_eq!(end.next_timeout(), None);
    }
}

#[test]
fn output_that_makes_no_progress_for_thirty_seconds_ends_the_connection() {
    for side in SIDES {
        let mut end = started(side, config().ping_interval(None));
        end.send("x").unwrap();
        end.mind_the_time();
        end.pass(seconds(20));
        end.send("more does not help").unwrap();
        end.pass(seconds(9));
        assert_eq!(end.state(), State::Open);
        end.pass(SECOND);
        assert_timed_out(&end, Deadline::Write);
        assert_eq!(
            end.events(),
            [Seen::Failed(Failure::TimedOut(Deadline::Write))]
        );
        assert_eq!(end.output(), b"", "what was not taken is dropped");
    }
}

#[test]
fn a_byte_at_a_time_is_progress() {
    for side in SIDES {
        let mut end = started(side, config().ping_interval(None));
        end.send(&[0; 20]).unwrap();
        end.mind_the_time();
        for _ in 0..10 {
            end.pass(seconds(29));
            end.data_to_send().advance(1);
            end.mind_the_time();
        }
        assert_eq!(end.state(), State::Open);
        end.output();
        end.pass(seconds(100));
        assert_eq!(end.next_timeout(), None, "nothing waits");
        end.send("again").unwrap();
        end.mind_the_time();
        end.pass(seconds(29));
        assert_eq!(end.state(), State::Open);
    }
}

#[test]
fn a_clock_that_jumps_brings_one_ping_and_not_a_burst() {
    for side in SIDES {
        let mut end = started(side, config());
        end.pass(seconds(3600));
        assert_eq!(end.sent().len(), 1);
        end.mind_the_time();
        assert_eq!(end.next_timeout(), Some(at(3_620_000)));
    }
}

#[test]
fn a_time_that_goes_back_stands_still() {
    for side in SIDES {
        let mut end = started(side, config());
        let text = end.peer().text("x");
        end.pass(seconds(19));
        end.now = Instant::START;
        assert_eq!(end.events_of(&text).len(), 1);
        end.mind_the_time();
        assert_eq!(end.next_timeout(), Some(at(20_000)));
        end.send_close(1000, "").unwrap();
        end.mind_the_time();
        end.output();
        assert_eq!(end.next_timeout(), Some(at(20_000)));
        end.pass(seconds(20));
        assert_eq!(end.state(), State::Closing);
        assert_eq!(end.next_timeout(), Some(at(24_000)), "counted from 19 s");
    }
}
