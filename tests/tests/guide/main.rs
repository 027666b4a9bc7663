//! The integration guide, section by section: what it tells an integrator to do, done literally.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use bytes::Buf;
use sansock_core::{
    CloseCode, Closed, Connection, Delivery, Event, Failure, Fin, Instant, Negotiated, OpCode,
    ProtocolError, SendError, Side, State,
};
use sansock_tests::end::{End, SIDES, config};
use sansock_tests::seen::Seen;
use sansock_tests::wire::{BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, PeerOf, TEXT, close_body};

const NOW: Instant = Instant::START;

/// Takes all output of a connection, and whether the stream ends with it.
macro_rules! drain {
    ($end:expr) => {{
        let mut data = $end.data_to_send();
        let bytes = data.copy_to_bytes(data.remaining());
        (bytes, data.take_end())
    }};
}

mod opening;

// From the network to the application

#[test]
fn receive_data_and_the_end_of_the_stream() {
    for side in SIDES {
        let mut connection = Connection::new(side, Negotiated::default(), config()).unwrap();
        connection.receive_data(&PeerOf(side).text("data"), NOW);
        connection.receive_data(b"", NOW);
        connection.receive_eof(NOW);
        connection.receive_eof(NOW);
        connection.receive_data(b"ignored", NOW);
        let seen = |event: Option<Event<'_>>| event.map(Seen::from);
        assert_eq!(
            seen(connection.next_event()),
            Some(Seen::Text("data".into()))
        );
        assert_eq!(
            seen(connection.next_event()),
            Some(Seen::Failed(Failure::Lost))
        );
        assert_eq!(seen(connection.next_event()), None);
    }
}

#[test]
fn send_data_right_after_receiving_as_pings_closes_and_errors_are_answered() {
    for side in SIDES {
        let mut end = End::open(side);
        let peer = end.peer();
        end.receive(&peer.ping(b"?"));
        assert_eq!(end.sent(), [(PONG, b"?".to_vec())]);
        assert_eq!(end.event(), Some(Seen::Ping(b"?".into())));
        end.receive(&peer.close(1000, "bye"));
        assert_eq!(end.sent(), [(CLOSE, close_body(1000, "bye"))]);
        assert_eq!(end.has_ended(), side == Side::Server);

        let mut end = End::open(side);
        end.receive(&[0xFF]);
        assert_eq!(end.sent()[0].0, CLOSE);
        assert_eq!(end.has_ended(), side == Side::Server);
    }
}

#[test]
fn expect_tcp_connection_to_close_within_a_short_time() {
    for side in SIDES {
        let mut end = End::open(side);
        assert!(!end.close_expected());
        end.send_close(CloseCode::NORMAL, "").unwrap();
        assert!(end.close_expected());
        end.output();
        end.mind_the_time();
        let deadline = end
            .next_timeout()
            .expect("a deadline for the end of the stream");
        assert_eq!(deadline.saturating_since(end.now), Duration::from_secs(5));
        end.pass_to_timeout();
        assert_eq!(end.state(), State::Closed, "drop the transport now");
        assert!(!end.close_expected());
    }
}

#[test]
fn close_tcp_connection_after_the_end_of_the_stream() {
    for side in SIDES {
        let mut end = End::open(side);
        end.end_of_stream();
        assert_eq!(end.output(), b"");
        assert!(
            end.has_ended(),
            "the write side always ends after the read side"
        );
        assert_eq!(end.state(), State::Closed);
    }
}

#[test]
fn receive_events_data_frames_and_control_frames() {
    for side in SIDES {
        let mut end = End::with(side, config().delivery(Delivery::Frames));
        let peer = end.peer();
        end.receive(&[peer.text("data"), peer.ping(b"1"), peer.pong(b"2")].concat());
        let events = [
            Seen::Frame(OpCode::Text, true, b"data".into()),
            Seen::Ping(b"1".into()),
            Seen::Pong(b"2".into()),
        ];
        assert_eq!(end.events(), events);
    }
}

// From the application to the network

#[test]
fn from_the_application_to_the_network_one_method_for_each_frame() {
    for side in SIDES {
        let mut end = End::open(side);
        end.send_text("te", Fin::More).unwrap();
        end.send_continuation(b"xt", Fin::Last).unwrap();
        end.send_binary(b"bytes", Fin::Last).unwrap();
        end.send_ping(b"i").unwrap();
        end.send_pong(b"o").unwrap();
        end.send_close(1001, "leaving").unwrap();
        let expected = [
            (TEXT, b"te".to_vec()),
            (FIN | CONTINUATION, b"xt".to_vec()),
            (FIN | BINARY, b"bytes".to_vec()),
            (PING, b"i".to_vec()),
            (PONG, b"o".to_vec()),
            (CLOSE, close_body(1001, "leaving")),
        ];
        assert_eq!(end.sent(), expected);
        assert!(end.close_expected());
    }
}

#[test]
fn from_the_application_to_the_network_fin_must_be_right() {
    for side in SIDES {
        let mut end = End::open(side);
        let nothing_open = end.send_continuation(b"", Fin::Last);
        assert_eq!(nothing_open, Err(SendError::UnexpectedContinuation));
        end.send_text("open", Fin::More).unwrap();
        let again = end.send_text("again", Fin::Last);
        assert_eq!(again, Err(SendError::ExpectedContinuation));
    }
}

#[test]
fn from_the_application_to_the_network_fail_the_connection() {
    for side in SIDES {
        let mut end = End::open(side);
        end.fail(CloseCode::INTERNAL_ERROR, "broken").unwrap();
        assert_eq!(end.sent(), [(CLOSE, close_body(1011, "broken"))]);
        assert_eq!(end.has_ended(), side == Side::Server);
        assert!(end.close_expected());
    }
}

// Closing a connection

#[test]
fn closing_a_connection_over_tcp_from_either_side() {
    for first in SIDES {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let serving = std::thread::spawn(move || {
            run_over_tcp(listener.accept().unwrap().0, Side::Server, first)
        });
        let client = run_over_tcp(TcpStream::connect(address).unwrap(), Side::Client, first);
        let server = serving.join().unwrap();
        for (side, closed) in [(Side::Client, client), (Side::Server, server)] {
            assert!(closed.is_clean());
            let sent_first = matches!(closed, Closed::SentThenReceived { .. });
            assert_eq!(sent_first, side == first, "{side:?} when {first:?} closes");
        }
    }
}

/// Runs one end of an open connection as the guide says, up to the end of the stream.
fn run_over_tcp(mut stream: TcpStream, side: Side, closes_first: Side) -> Closed {
    let mut connection = Connection::new(side, Negotiated::default(), config()).unwrap();
    if side == closes_first {
        connection.send_close(CloseCode::NORMAL, "done").unwrap();
    }
    loop {
        let (data, ends) = drain!(connection);
        stream.write_all(&data).unwrap();
        if ends {
            stream.shutdown(Shutdown::Write).unwrap();
        }
        while connection.next_event().is_some() {}
        if connection.state() == State::Closed {
            return connection.closed().unwrap().clone();
        }
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer) {
            Ok(0) => connection.receive_eof(NOW),
            Ok(count) => connection.receive_data(&buffer[..count], NOW),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Interrupted),
        }
    }
}

// Fragmentation

#[test]
fn fragmentation_frames_up_to_fin_make_a_message() {
    for side in SIDES {
        let mut end = End::with(side, config().delivery(Delivery::Frames));
        let peer = end.peer();
        end.receive(&peer.frame(TEXT, b"to"));
        end.receive(&peer.frame(CONTINUATION, b"get"));
        end.receive(&peer.frame(FIN | CONTINUATION, b"her"));
        let mut message = Vec::new();
        while let Some(Event::Frame(frame)) = end.next_event() {
            message.extend_from_slice(&frame.payload);
            if frame.fin {
                break;
            }
        }
        assert_eq!(message, b"together");
    }
}

#[test]
fn fragmentation_never_gives_an_inconsistent_sequence() {
    for side in SIDES {
        let mut end = End::with(side, config().delivery(Delivery::Frames));
        let peer = end.peer();
        end.receive(&[peer.frame(TEXT, b"a"), peer.text("b")].concat());
        assert_eq!(
            end.event(),
            Some(Seen::Frame(OpCode::Text, false, b"a".into()))
        );
        let error = ProtocolError::ExpectedContinuation(OpCode::Text);
        assert_eq!(end.events(), [Seen::Failed(Failure::Protocol(error))]);
    }
}

// Tips

#[test]
fn serialize_operations_as_partial_writes_keep_the_order() {
    for side in SIDES {
        let mut end = End::open(side);
        end.send("first").unwrap();
        let first = end.data_to_send().chunk()[..1].to_vec();
        end.data_to_send().advance(1);
        end.send("second").unwrap();
        let all = [first, end.output()].concat();
        let sent = sansock_tests::wire::sent_by(side, &all);
        let payloads: Vec<_> = sent.into_iter().map(|frame| frame.payload).collect();
        assert_eq!(payloads, [b"first".to_vec(), b"second".to_vec()]);
    }
}

#[test]
fn avoid_buffers_as_events_are_there_when_their_bytes_are() {
    for side in SIDES {
        let mut end = End::open(side);
        let peer = end.peer();
        let (one, two) = (peer.text("one"), peer.text("two"));
        let (last, start) = one.split_last().unwrap();
        end.receive(start);
        assert_eq!(end.event(), None);
        end.receive(&[&[*last], &two[..]].concat());
        assert_eq!(end.event(), Some(Seen::Text("one".into())));
        assert_eq!(end.event(), Some(Seen::Text("two".into())));
    }
}
