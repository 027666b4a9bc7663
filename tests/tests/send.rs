//! When commands are refused, and that a refusal changes nothing (RFC 6455 sections 5.4 to 5.6).

use sansock_core::{CloseCode, Fin, Prepared, SendError, Side, State};
use sansock_tests::end::{End, SIDES, config};
use sansock_tests::wire::{CLOSE, CONTINUATION, FIN, PING, PONG, TEXT};

type Command = (&'static str, fn(&mut End) -> Result<(), SendError>);

/// The commands that begin a data message.
const DATA: [Command; 5] = [
    ("send", |end| end.send("data")),
    ("send_text", |end| end.send_text("data", Fin::More)),
    ("send_text_part", |end| {
        end.send_text_part(b"data", Fin::Last)
    }),
    ("send_binary", |end| end.send_binary(b"data", Fin::Last)),
    ("send_prepared", |end| {
        end.send_prepared(&Prepared::new("data"))
    }),
];

const CONTINUE: Command = ("send_continuation", |end| {
    end.send_continuation(b"data", Fin::Last)
});

/// Runs a command that must be refused, and checks that it changed nothing: what follows is sent as
/// if it had not been.
#[track_caller]
fn assert_refused(make: impl Fn() -> End, (name, command): Command, error: SendError) {
    let (mut end, mut twin) = (make(), make());
    let before = (end.state(), end.stats(), end.next_timeout());
    assert_eq!(command(&mut end), Err(error), "{name}");
    assert_eq!(
        (end.state(), end.stats(), end.next_timeout()),
        before,
        "{name}"
    );
    for end in [&mut end, &mut twin] {
        let _ = end.send_ping(b"next");
        let _ = end.send_continuation(b"next", Fin::Last);
        let _ = end.send_close(CloseCode::NORMAL, "next");
    }
    assert_eq!(end.output(), twin.output(), "{name} left a trace");
}

fn in_message(side: Side) -> End {
    let mut end = End::open(side);
    end.send_text("open", Fin::More).expect("an open end");
    end
}

#[test]
fn a_new_message_inside_an_unfinished_one_is_refused() {
    for side in SIDES {
        for command in DATA {
            assert_refused(
                || in_message(side),
                command,
                SendError::ExpectedContinuation,
            );
        }
    }
}

#[test]
fn a_continuation_of_nothing_is_refused() {
    for side in SIDES {
        assert_refused(
            || End::open(side),
            CONTINUE,
            SendError::UnexpectedContinuation,
        );
        let after_last = || {
            let mut end = in_message(side);
            end.send_continuation(b"", Fin::Last)
                .expect("a continuation");
            end
        };
        assert_refused(after_last, CONTINUE, SendError::UnexpectedContinuation);
    }
}

#[test]
fn the_order_of_fragments_is_judged_before_the_state_and_that_before_the_queue() {
    for side in SIDES {
        let closing = |mut end: End| {
            end.send_close(CloseCode::NORMAL, "").expect("an open end");
            end
        };
        let state = SendError::State(State::Closing);
        for command in DATA {
            assert_refused(|| closing(End::open(side)), command, state);
            let inside = || closing(in_message(side));
            assert_refused(inside, command, SendError::ExpectedContinuation);
        }
        assert_refused(|| closing(in_message(side)), CONTINUE, state);
        let nothing_open = || closing(End::open(side));
        assert_refused(nothing_open, CONTINUE, SendError::UnexpectedContinuation);
        let full = || closing(full_queue(side));
        assert_refused(full, DATA[0], state);
    }
}

#[test]
fn a_control_frame_of_126_bytes_is_refused() {
    for side in SIDES {
        let ping: Command = ("send_ping", |end| end.send_ping(&[0; 126]));
        let pong: Command = ("send_pong", |end| end.send_pong(&[0; 126]));
        for command in [ping, pong] {
            assert_refused(|| in_message(side), command, SendError::ControlTooLong(126));
        }
        let mut end = End::open(side);
        end.send_ping(&[1; 125]).unwrap();
        end.send_pong(&[2; 125]).unwrap();
        assert_eq!(end.sent(), [(PING, vec![1; 125]), (PONG, vec![2; 125])]);
    }
}

#[test]
fn text_may_be_cut_inside_a_character() {
    let text = "aé€🥊".as_bytes();
    for side in SIDES {
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let mut end = End::open(side);
                end.send_text_part(&text[..first], Fin::More).unwrap();
                end.send_continuation(&text[first..second], Fin::More)
                    .unwrap();
                end.send_continuation(&text[second..], Fin::Last).unwrap();
                let payloads: Vec<_> = end.sent().into_iter().map(|sent| sent.1).collect();
                assert_eq!(payloads.concat(), text);
            }
        }
    }
}

#[test]
fn text_that_would_not_be_utf8_is_refused_and_can_be_corrected() {
    for side in SIDES {
        let invalid: Command = ("invalid", |end| end.send_text_part(b"\xFF", Fin::More));
        let cut: Command = ("cut", |end| end.send_text_part(b"\xC3", Fin::Last));
        for command in [invalid, cut] {
            assert_refused(|| End::open(side), command, SendError::InvalidUtf8);
        }
        let inside = || {
            let mut end = End::open(side);
            end.send_text_part(b"\xE2\x82", Fin::More)
                .expect("the start of a character");
            end
        };
        let invalid: Command = ("invalid", |end| end.send_continuation(b"(", Fin::More));
        let unfinished: Command = ("unfinished", |end| end.send_continuation(b"", Fin::Last));
        for command in [invalid, unfinished] {
            assert_refused(inside, command, SendError::InvalidUtf8);
        }
        let mut end = inside();
        assert!(end.send_continuation(b"(", Fin::Last).is_err());
        end.send_continuation(b"\xAC", Fin::Last).unwrap();
        let expected = [
            (TEXT, b"\xE2\x82".to_vec()),
            (FIN | CONTINUATION, b"\xAC".to_vec()),
        ];
        assert_eq!(end.sent(), expected);
    }
}

/// An end whose queue has reached its limit of 100 bytes.
fn full_queue(side: Side) -> End {
    let mut end = End::with(side, config().max_queued_output(100));
    while end.has_capacity() {
        end.send_binary(&[0; 30], Fin::Last).expect("capacity");
    }
    assert!((100..100 + 36).contains(&end.stats().queued));
    end
}

#[test]
fn data_is_refused_while_the_queue_is_at_its_limit() {
    for side in SIDES {
        let error = SendError::QueueFull(full_queue(side).stats().queued);
        for command in DATA {
            assert_refused(|| full_queue(side), command, error);
        }
        let mut end = full_queue(side);
        end.output();
        assert!(end.has_capacity());
        end.send("again").unwrap();
    }
}

#[test]
fn a_continuation_is_refused_while_the_queue_is_at_its_limit_and_may_follow_later() {
    for side in SIDES {
        let mut end = End::with(side, config().max_queued_output(10));
        end.send_binary(&[0; 20], Fin::More).unwrap();
        let queued = end.stats().queued;
        let refused = end.send_continuation(b"", Fin::Last);
        assert_eq!(refused, Err(SendError::QueueFull(queued)));
        end.output();
        end.send_continuation(b"", Fin::Last).unwrap();
    }
}

#[test]
fn control_frames_pass_a_full_queue() {
    for side in SIDES {
        let mut end = full_queue(side);
        let peer = end.peer();
        let before = end.stats().frames_sent as usize;
        end.send_ping(b"1").unwrap();
        end.send_pong(b"2").unwrap();
        end.events_of(&peer.ping(b"3"));
        end.send_close(CloseCode::NORMAL, "").unwrap();
        let kinds: Vec<u8> = end.sent().iter().map(|sent| sent.0).collect();
        assert_eq!(kinds[before..], [PING, PONG, PONG, CLOSE]);
    }
}

#[test]
fn the_queue_takes_data_up_to_one_byte_below_its_limit() {
    for side in SIDES {
        let header = if side == Side::Client { 6 } else { 2 };
        for (queued, has_capacity) in [(99, true), (100, false), (101, false)] {
            let mut end = End::with(side, config().max_queued_output(100));
            end.send(vec![0; queued - header]).unwrap();
            assert_eq!(end.stats().queued, queued);
            assert_eq!(end.has_capacity(), has_capacity, "{queued}");
            assert_eq!(end.send("").is_ok(), has_capacity, "{queued}");
        }
        let mut end = End::open(side);
        while end.send(&[0; 1000]).is_ok() {}
        assert!(
            (64 << 10..65 << 10).contains(&end.stats().queued),
            "the default"
        );
    }
}

#[test]
fn without_a_limit_the_queue_takes_everything() {
    for side in SIDES {
        let mut end = End::with(side, config().max_queued_output(None));
        for _ in 0..200 {
            end.send_binary(&[0; 1000], Fin::Last).unwrap();
        }
        assert_eq!(end.sent().len(), 200);
    }
}

/// RFC 6455 section 5.2: the bit FIN is set where the message ends.
#[test]
fn the_bit_fin_says_whether_a_frame_is_the_last() {
    assert_eq!([true, false].map(Fin::from), [Fin::Last, Fin::More]);
    assert_eq!([Fin::Last, Fin::More].map(Fin::is_last), [true, false]);
}
