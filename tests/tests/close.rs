//! The closing handshake (RFC 6455 sections 5.5.1, 7.1 and 7.4): codes, reasons, order, half-close.

use std::time::Duration;

use bytes::Buf;
use sansock_core::{
    CloseCode, CloseFrame, Closed, Deadline, Failure, Fin, ProtocolError, SendError, Side, State,
};
use sansock_tests::end::{End, SIDES};
use sansock_tests::receive::received;
use sansock_tests::seen::Seen;
use sansock_tests::wire::{CLOSE, CONTINUATION, FIN, PONG, PeerOf, TEXT, close_body};

fn frame(code: u16, reason: &'static str) -> CloseFrame {
    CloseFrame::new(code, reason)
}

fn close(code: u16, reason: &str) -> (u8, Vec<u8>) {
    (CLOSE, close_body(code, reason))
}

#[test]
fn a_peer_that_closes_first_gets_its_code_back() {
    for side in SIDES {
        let outcome = received(side, &PeerOf(side).close(1001, "going"));
        assert_eq!(outcome.sent, [close(1001, "going")]);
        assert_eq!(outcome.has_ended, side == Side::Server);
        assert_eq!(outcome.state, State::Closing);
        let closed = Closed::ReceivedThenSent {
            received: frame(1001, "going"),
            sent: frame(1001, "going"),
        };
        assert_eq!(outcome.closed, Some(closed));
        assert_eq!(outcome.failure, None);
    }
}

#[test]
fn a_close_of_ours_is_answered_with_whatever_code() {
    for side in SIDES {
        let mut end = End::open(side);
        let peer = end.peer();
        end.send_close(1000, "bye").unwrap();
        assert_eq!(end.sent(), [close(1000, "bye")]);
        assert!(!end.has_ended(), "the peer still has to answer");
        assert_eq!(end.closed(), None);
        let events = end.events_of(&peer.close(4000, "so long"));
        assert_eq!(events, [Seen::Close(4000, "so long".into())]);
        assert_eq!(end.sent(), []);
        assert_eq!(
            end.has_ended(),
            side == Side::Server,
            "a server ends the stream first"
        );
        assert_eq!(end.close_code(), None, "before the end of the stream");
        end.end_of_stream();
        assert_eq!(end.sent(), []);
        assert!(end.has_ended());
        let closed = Closed::SentThenReceived {
            sent: frame(1000, "bye"),
            received: frame(4000, "so long"),
        };
        assert_eq!(end.closed(), Some(&closed));
        assert_eq!(end.close_code(), Some(CloseCode::new(4000)));
        assert_eq!(end.close_reason(), Some("so long"));
        assert_eq!(end.failure(), None);
    }
}

#[test]
fn both_sides_may_close_at_once_and_each_sends_one_close_frame() {
    let [mut client, mut server] = SIDES.map(End::open);
    client.send_close(1000, "client").unwrap();
    server.send_close(1001, "server").unwrap();
    let (from_client, from_server) = (client.output(), server.output());
    assert_eq!(
        client.events_of(&from_server),
        [Seen::Close(1001, "server".into())]
    );
    assert_eq!(
        server.events_of(&from_client),
        [Seen::Close(1000, "client".into())]
    );
    assert_eq!((client.output(), server.output()), (Vec::new(), Vec::new()));
    assert!(server.has_ended() && !client.has_ended());
    client.end_of_stream();
    assert_eq!(client.output(), b"");
    assert!(client.has_ended());
    server.end_of_stream();
    for end in [client, server] {
        assert!(matches!(
            end.closed(),
            Some(Closed::SentThenReceived { .. })
        ));
        assert_eq!(end.state(), State::Closed);
    }
}

#[test]
fn a_close_inside_a_fragmented_message_is_a_normal_close() {
    for side in SIDES {
        let peer = PeerOf(side);
        let bytes = [peer.frame(TEXT, b"unfinis"), peer.close(1000, "")].concat();
        let outcome = received(side, &bytes);
        assert_eq!(outcome.events, [Seen::Close(1000, String::new())]);
        assert_eq!(outcome.sent, [close(1000, "")]);
        assert_eq!(outcome.failure, None);
    }
}

#[test]
fn nothing_is_read_behind_a_close_frame() {
    for side in SIDES {
        let peer = PeerOf(side);
        let rest = [
            peer.text("late"),
            peer.ping(b"late"),
            peer.close(1000, "again"),
        ];
        let bytes = [peer.close(1000, "first"), rest.concat()].concat();
        let outcome = received(side, &bytes);
        assert_eq!(outcome.events, [Seen::Close(1000, "first".into())]);
        assert_eq!(outcome.sent, [close(1000, "first")]);
        let mut end = End::open(side);
        end.receive(&bytes);
        end.events();
        assert_eq!(end.stats().frames_received, 1);
    }
}

#[test]
fn messages_and_pings_arrive_until_the_peer_answers_our_close() {
    for side in SIDES {
        let mut end = End::open(side);
        let peer = end.peer();
        end.send_close(1000, "").unwrap();
        end.output();
        let events = end.events_of(&[peer.text("late"), peer.ping(b"?")].concat());
        assert_eq!(events, [Seen::Text("late".into()), Seen::Ping(b"?".into())]);
        assert_eq!(end.sent(), [(PONG, b"?".to_vec())]);
    }
}

#[test]
fn pongs_that_wait_are_sent_before_the_end_of_the_stream() {
    for side in SIDES {
        let mut end = End::open(side);
        let peer = end.peer();
        end.send_close(1000, "").unwrap();
        let pings = [peer.ping(b"1"), peer.ping(b"2"), peer.ping(b"3")].concat();
        end.events_of(&[pings, peer.close(1000, "")].concat());
        let pongs = [b"1", b"2", b"3"].map(|ping| (PONG, ping.to_vec()));
        let sent = end.sent();
        assert_eq!(sent[0], close(1000, ""));
        assert_eq!(sent[1..], pongs);
        assert_eq!(end.has_ended(), side == Side::Server);
    }
}

#[test]
fn a_close_may_be_sent_inside_a_message_of_ours() {
    for side in SIDES {
        let mut end = End::open(side);
        end.send_text("unfinished", Fin::More).unwrap();
        end.send_close(1000, "").unwrap();
        let again = end.send_continuation(b"", Fin::Last);
        assert_eq!(again, Err(SendError::State(State::Closing)));
        assert_eq!(
            end.sent(),
            [(TEXT, b"unfinished".to_vec()), close(1000, "")]
        );
    }
}

#[test]
fn an_error_after_our_close_is_not_said_again() {
    for side in SIDES {
        let mut end = End::open(side);
        end.send_close(1000, "").unwrap();
        assert_eq!(end.sent(), [close(1000, "")]);
        let bytes = end.peer().frame(FIN | CONTINUATION, b"");
        let failure = Failure::Protocol(ProtocolError::UnexpectedContinuation);
        assert_eq!(end.events_of(&bytes), [Seen::Failed(failure.clone())]);
        assert_eq!(end.sent(), []);
        assert_eq!(end.has_ended(), side == Side::Server);
        assert_eq!(end.closed(), Some(&Closed::Sent(frame(1000, ""))));
        assert_eq!(end.failure(), Some(&failure));
    }
}

#[test]
fn a_failure_keeps_the_close_frame_that_said_it_and_ends_abnormally() {
    for side in SIDES {
        let mut end = End::open(side);
        end.fail(1008, "no").unwrap();
        assert_eq!(end.sent(), [close(1008, "no")]);
        assert_eq!(
            end.events(),
            [Seen::Failed(Failure::Local(frame(1008, "no")))]
        );
        let answer = end.peer().close(1008, "no");
        assert_eq!(end.events_of(&answer), [], "the answer is thrown away");
        end.end_of_stream();
        assert_eq!(end.output(), b"");
        assert!(end.has_ended());
        assert_eq!(end.closed(), Some(&Closed::Sent(frame(1008, "no"))));
        assert_eq!(end.close_code(), Some(CloseCode::ABNORMAL_CLOSURE));
    }
}

#[test]
fn failing_with_1006_sends_no_close_frame() {
    for side in SIDES {
        let mut end = End::open(side);
        end.fail(CloseCode::ABNORMAL_CLOSURE, "").unwrap();
        assert_eq!(end.sent(), []);
        assert_eq!(end.has_ended(), side == Side::Server);
        assert_eq!(end.state(), State::Closing);
        assert!(end.close_expected());
        assert_eq!(end.closed(), Some(&Closed::Abnormal));
    }
}

#[test]
fn the_end_of_the_stream_after_our_close_is_a_loss() {
    for side in SIDES {
        let mut end = End::open(side);
        end.send_close(1000, "").unwrap();
        end.output();
        end.end_of_stream();
        assert_eq!(end.events(), [Seen::Failed(Failure::Lost)]);
        assert_eq!(end.output(), b"");
        assert!(end.has_ended());
        assert_eq!(end.closed(), Some(&Closed::Sent(frame(1000, ""))));
        assert_eq!(end.close_code(), Some(CloseCode::ABNORMAL_CLOSURE));
    }
}

#[test]
fn an_end_is_final_whatever_was_received_before() {
    for side in SIDES {
        // Text that is not UTF-8 waits to be taken while the connection ends for another reason.
        let mut end = End::open(side);
        let malformed = end.peer().frame(FIN | TEXT, b"\xFF");
        end.receive(&malformed);
        assert!(end.parse_next());
        end.fail(1008, "no").unwrap();
        end.events();
        assert_eq!(end.failure(), Some(&Failure::Local(frame(1008, "no"))));
        assert_eq!(end.sent(), [close(1008, "no")]);
        assert_eq!(end.closed(), Some(&Closed::Sent(frame(1008, "no"))));
    }
}

/// Takes all of the output but its last byte.
fn take_all_but_one(end: &mut End) {
    let mut data = end.data_to_send();
    let count = data.remaining() - 1;
    data.advance(count);
}

/// How the transport stops taking bytes before our Close frame has left.
const STOPS: [fn(&mut End); 2] = [
    |end| end.write_failed(),
    |end| {
        end.mind_the_time();
        end.pass(Duration::from_secs(5));
    },
];

#[test]
fn our_close_counts_as_sent_once_its_last_byte_was_taken() {
    for side in SIDES {
        let mut end = End::open(side);
        let close = end.peer().close(4001, "first");
        end.events_of(&close);
        assert_eq!(end.received_close(), Some(&frame(4001, "first")));
        assert_eq!(end.closed(), None);
        take_all_but_one(&mut end);
        assert_eq!(end.closed(), None);
        end.output();
        let closed = Closed::ReceivedThenSent {
            received: frame(4001, "first"),
            sent: frame(4001, "first"),
        };
        assert_eq!(end.closed(), Some(&closed));
    }
}

#[test]
fn an_answer_that_never_leaves_was_not_sent() {
    for side in SIDES {
        for stop in STOPS {
            let mut end = End::open(side);
            let close = end.peer().close(4001, "");
            end.events_of(&close);
            take_all_but_one(&mut end);
            stop(&mut end);
            assert_eq!(end.closed(), Some(&Closed::Received(frame(4001, ""))));
            assert_eq!(end.failure(), None, "a Close frame came");
            assert_eq!(end.output(), b"");
        }
    }
}

#[test]
fn a_close_of_ours_that_never_leaves_was_not_sent() {
    for side in SIDES {
        for stop in STOPS {
            for fails in [false, true] {
                let mut end = End::open(side);
                match fails {
                    true => end.fail(1011, "").unwrap(),
                    false => end.send_close(1000, "").unwrap(),
                }
                take_all_but_one(&mut end);
                stop(&mut end);
                end.events();
                end.end_of_stream();
                assert_eq!(end.state(), State::Closed);
                assert_eq!(end.closed(), Some(&Closed::Abnormal));
            }
        }
    }
}

#[test]
fn after_the_end_of_the_peers_stream_our_close_may_still_leave() {
    for side in SIDES {
        let mut end = End::open(side);
        end.send_close(1000, "").unwrap();
        end.end_of_stream();
        assert_eq!((end.state(), end.closed()), (State::Closed, None));
        assert_eq!(end.sent(), [close(1000, "")]);
        assert_eq!(end.closed(), Some(&Closed::Sent(frame(1000, ""))));
    }
}

#[test]
fn a_close_that_comes_while_ours_waits_came_first() {
    for side in SIDES {
        let mut end = End::open(side);
        end.send_close(1000, "ours").unwrap();
        take_all_but_one(&mut end);
        let theirs = end.peer().close(1001, "theirs");
        end.events_of(&theirs);
        assert_eq!(end.closed(), None);
        end.output();
        let closed = Closed::ReceivedThenSent {
            received: frame(1001, "theirs"),
            sent: frame(1000, "ours"),
        };
        assert_eq!(end.closed(), Some(&closed));
    }
}

#[test]
fn what_arrives_is_received_though_the_transport_fails_to_write() {
    for side in SIDES {
        let mut end = End::open(side);
        let peer = end.peer();
        end.send("never leaves").unwrap();
        end.write_failed();
        assert_eq!(end.state(), State::Closing);
        assert_eq!(end.output(), b"");
        let closing = Err(SendError::State(State::Closing));
        assert_eq!(end.send("x"), closing);
        assert_eq!(end.send_ping(b"x"), closing);
        assert_eq!(end.send_close(1000, ""), closing);
        let bytes = [peer.text("last"), peer.ping(b"?"), peer.close(4001, "why")];
        let events = [
            Seen::Text("last".into()),
            Seen::Ping(b"?".into()),
            Seen::Close(4001, "why".into()),
        ];
        assert_eq!(end.events_of(&bytes.concat()), events);
        assert_eq!(end.output(), b"", "there is nowhere to answer");
        assert_eq!(end.closed(), Some(&Closed::Received(frame(4001, "why"))));
        assert_eq!(end.failure(), None);
    }
}

#[test]
fn a_transport_that_fails_to_write_after_our_close_has_sent_it() {
    for side in SIDES {
        let mut end = End::open(side);
        end.send_close(1000, "").unwrap();
        end.output();
        let ping = end.peer().ping(b"?");
        end.events_of(&ping);
        end.write_failed();
        let close = end.peer().close(1000, "");
        end.events_of(&close);
        let closed = Closed::SentThenReceived {
            sent: frame(1000, ""),
            received: frame(1000, ""),
        };
        assert_eq!(end.closed(), Some(&closed));
    }
}

#[test]
fn a_transport_that_fails_to_write_is_read_up_to_its_end_or_the_close_timeout() {
    for side in SIDES {
        for (ends, failure) in [
            (true, Failure::Lost),
            (false, Failure::TimedOut(Deadline::Close)),
        ] {
            let mut end = End::open(side);
            end.write_failed();
            end.mind_the_time();
            match ends {
                true => end.end_of_stream(),
                false => end.pass(Duration::from_secs(5)),
            }
            assert_eq!(end.events(), [Seen::Failed(failure)]);
            assert_eq!(end.closed(), Some(&Closed::Abnormal));
            assert_eq!(end.next_timeout(), None);
        }
    }
}

#[test]
fn the_end_of_the_stream_is_noticed_while_the_last_event_waits() {
    for side in SIDES {
        for malformed in [true, false] {
            let mut end = End::open(side);
            let bytes = match malformed {
                true => vec![0xFF],
                false => end.peer().close(1000, ""),
            };
            end.receive(&bytes);
            assert!(end.parse_next());
            end.end_of_stream();
            assert_eq!(end.state(), State::Closed);
            assert_eq!(end.sent()[0].0, CLOSE);
            assert!(end.has_ended());
            assert_eq!(end.events().len(), 1);
        }
    }
}
