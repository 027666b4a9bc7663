//! Closing is a procedure with one deadline (RFC 6455 section 7), and its end is told alike for ever.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::StreamExt;
use futures_sink::Sink;
use sansock::clock::{VirtualClock, VirtualTimer};
use sansock::{CloseCode, Closed, Error, Message, WebSocket};
use sansock_core::{Deadline, Kind, ProtocolError, SendError, Side, State};
use sansock_tests::driver::{
    Call, End, Fault, Scripted, Socket, Task, both, close_frame, frame, opened, opened_pair,
    parse_frames, pipe, run, settle,
};

const TEXT: u8 = 0x81;

/// A server that has sent its Close frame and waits, with a transport that writes down every call.
#[test]
fn a_server_ends_the_stream_first() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(1000);
    let stream = Scripted::new(near);
    let log = stream.log();
    let mut ws = opened(Side::Server, stream, &clock);
    let mut close = Task::new(ws.close(1000, ""));
    settle(&mut [&mut close]);
    assert_eq!(peer.take_all(), close_frame(Side::Server, 1000, ""));
    assert!(!peer.is_ended(), "the client has yet to answer");
    peer.put(&close_frame(Side::Client, 1000, ""));
    settle(&mut [&mut close]);
    assert!(peer.is_ended(), "the server ends the stream");
    assert_eq!(log.lock().unwrap().calls.last(), Some(&Call::Read));
    assert_eq!(log.lock().unwrap().count(Call::Close), 1);
    assert!(
        !close.is_done(),
        "it waits for the end of the client's stream"
    );
    peer.end();
    settle(&mut [&mut close]);
    close.output().unwrap();
    assert!(peer.is_alone(), "the transport is dropped");
}

#[test]
fn a_client_waits_for_the_end_then_closes_its_side() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(1000);
    let stream = Scripted::new(near);
    let log = stream.log();
    let mut ws = opened(Side::Client, stream, &clock);
    let mut recv = Task::new(ws.recv());
    peer.put(&close_frame(Side::Server, 1000, ""));
    settle(&mut [&mut recv]);
    assert_eq!(parse_frames(&peer.take_all())[0].first, 0x88);
    assert!(!peer.is_ended());
    assert_eq!(log.lock().unwrap().count(Call::Close), 0);
    peer.end();
    settle(&mut [&mut recv]);
    assert_eq!(recv.output().unwrap(), None);
    assert_eq!(log.lock().unwrap().count(Call::Close), 1);
    assert!(peer.is_alone());
}

#[test]
fn a_server_that_never_ends_the_stream_is_left_after_the_close_timeout() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(1000);
    let mut ws = opened(Side::Client, near, &clock);
    let mut close = Task::new(ws.close(1000, ""));
    settle(&mut [&mut close]);
    peer.put(&close_frame(Side::Server, 1000, ""));
    settle(&mut [&mut close]);
    clock.advance(Duration::from_millis(4999));
    settle(&mut [&mut close]);
    assert!(!close.is_done());
    clock.advance(Duration::from_millis(1));
    settle(&mut [&mut close]);
    // The closing handshake was done: the end is a clean one.
    close.output().unwrap();
    assert!(peer.is_alone());
    assert!(ws.closed().is_some_and(Closed::is_clean));
}

#[test]
fn a_peer_that_never_answers_a_close_frame_is_left_after_the_close_timeout() {
    for side in [Side::Client, Side::Server] {
        let clock = VirtualClock::new();
        let (near, mut peer) = pipe(1000);
        let mut ws = opened(side, near, &clock);
        let mut close = Task::new(ws.close(1000, ""));
        for _ in 0..5 {
            settle(&mut [&mut close]);
            assert!(!close.is_done());
            // What it sends instead does not put the deadline off.
            peer.put(&frame(sansock_tests::driver::peer_of(side), TEXT, b"more"));
            clock.advance(Duration::from_secs(1));
        }
        settle(&mut [&mut close]);
        assert!(matches!(
            close.output(),
            Err(Error::TimedOut(Deadline::Close))
        ));
        assert!(peer.is_alone());
        assert!(matches!(ws.closed(), Some(Closed::Sent(_))));
        assert_every_call_fails_alike(&mut ws, "TimedOut(Close)");
    }
}

#[test]
fn the_close_timeout_counts_though_a_later_alarm_was_set() {
    let clock = VirtualClock::new();
    let (near, peer) = pipe(1000);
    let mut ws = opened(Side::Client, near, &clock);
    let mut recv = Task::new(ws.recv());
    settle(&mut [&mut recv]);
    drop(recv);
    let mut close = Task::new(ws.close(1000, ""));
    settle(&mut [&mut close]);
    clock.advance(Duration::from_secs(5));
    settle(&mut [&mut close]);
    assert!(close.output().unwrap_err().is_timeout());
    assert!(peer.is_alone());
}

#[test]
fn a_flood_after_the_close_frame_does_not_put_the_end_off() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(1000);
    let mut ws = opened(Side::Server, near, &clock);
    peer.put(&close_frame(Side::Client, 1000, ""));
    let mut recv = Task::new(ws.recv());
    for _ in 0..5 {
        settle(&mut [&mut recv]);
        assert!(!recv.is_done());
        peer.put(&[0xff; 100_000]);
        clock.advance(Duration::from_secs(1));
    }
    settle(&mut [&mut recv]);
    assert_eq!(recv.output().unwrap(), None);
}

/// Every call tells the same end.
#[track_caller]
fn assert_every_call_fails_alike<S>(ws: &mut Socket<S>, expected: &str)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    for _ in 0..2 {
        let told = [
            format!("{:?}", run(ws.recv()).unwrap_err()),
            format!("{:?}", run(ws.recv_ref()).map(|_| ()).unwrap_err()),
            format!("{:?}", run(ws.recv_frame()).map(|_| ()).unwrap_err()),
            format!("{:?}", run(ws.recv_chunk()).map(|_| ()).unwrap_err()),
            format!("{:?}", run(ws.send("x")).unwrap_err()),
            format!("{:?}", run(ws.feed("x")).unwrap_err()),
            format!("{:?}", run(ws.flush()).unwrap_err()),
            format!("{:?}", run(ws.ping()).unwrap_err()),
            format!("{:?}", run(ws.close(1000, "")).unwrap_err()),
            format!("{:?}", run(ws.writer(Kind::Text).finish(b"x")).unwrap_err()),
        ];
        assert!(told.iter().all(|error| error == expected), "{told:?}");
    }
}

#[test]
fn an_error_is_told_again_by_every_call() {
    // What the peer sends before it ends its stream, and what that comes to.
    let message = frame(Side::Server, TEXT, b"whole");
    let cases: [(&[u8], &str); 4] = [
        (b"", "Lost(None)"),
        (b"\x81\x05cut", "Lost(None)"),
        (b"\xf1\x00", "Protocol(ReservedBits(112))"),
        (b"\x81\x01\xff", "Protocol(InvalidUtf8)"),
    ];
    for (bytes, expected) in cases {
        let clock = VirtualClock::new();
        let (near, mut peer) = pipe(1000);
        let mut ws = opened(Side::Client, near, &clock);
        peer.put(&message);
        peer.put(bytes);
        peer.end();
        assert_eq!(run(ws.recv()).unwrap(), Some(Message::text("whole")));
        assert_every_call_fails_alike(&mut ws, expected);
        assert!(peer.is_alone());
        assert_eq!(ws.state(), State::Closed);
    }
}

#[test]
fn a_peer_that_breaks_the_protocol_is_told_why() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(1000);
    let mut ws = opened(Side::Server, near, &clock);
    let mut recv = Task::new(ws.recv());
    peer.put(b"\x81\x00");
    settle(&mut [&mut recv]);
    let told = parse_frames(&peer.take_all());
    assert_eq!(
        (told[0].first, &told[0].payload[..2]),
        (0x88, &b"\x03\xea"[..])
    );
    assert!(peer.is_ended());
    peer.end();
    settle(&mut [&mut recv]);
    assert!(matches!(
        recv.output(),
        Err(Error::Protocol(ProtocolError::NotMasked))
    ));
}

#[test]
fn a_clean_close_stays_clean_whatever_the_transport_does_then() {
    for (fault, call) in [
        (Fault::Reset, Call::Read),
        (Fault::Reset, Call::Close),
        (Fault::CloseError, Call::Close),
        (Fault::FlushError, Call::Flush),
    ] {
        // Only what follows the Close frame of the peer is to fail.
        let mut hits = 0;
        for at in 0..10 {
            let clock = VirtualClock::new();
            let (near, mut peer) = pipe(1000);
            let stream = Scripted::failing(near, fault, at);
            let log = stream.log();
            let mut ws = opened(Side::Server, stream, &clock);
            peer.put(&close_frame(Side::Client, 1000, ""));
            let mut recv = Task::new(ws.recv());
            settle(&mut [&mut recv]);
            peer.end();
            settle(&mut [&mut recv]);
            let log = log.lock().unwrap();
            if log.hit != Some(call) || log.read.is_empty() {
                continue;
            }
            assert_eq!(recv.output().unwrap(), None, "{fault:?} at {at}");
            assert!(ws.closed().is_some_and(Closed::is_clean));
            run(ws.close(1000, "")).unwrap();
            hits += 1;
        }
        assert!(hits > 0, "{fault:?} never hits {call:?}");
    }
}

/// The message is written and flushed, the Close frame is read, and the reply finds the connection reset.
#[test]
fn a_reply_that_cannot_be_written_after_a_send_hides_no_close_frame() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(1000);
    // A write, a flush, and two reads, until nothing is left; then the reply.
    let stream = Scripted::failing(near, Fault::Reset, 4);
    let log = stream.log();
    let mut ws = opened(Side::Client, stream, &clock);
    peer.put(&close_frame(Side::Server, 4001, "moved"));
    let sent = run(ws.send("hello"));
    assert_eq!(log.lock().unwrap().hit, Some(Call::Write));
    for error in [sent, run(ws.send("again"))].map(Result::unwrap_err) {
        assert_eq!(error.close_code(), Some(CloseCode::new(4001)), "{error:?}");
    }
}

#[test]
fn after_a_clean_close_nothing_can_be_sent() {
    let clock = VirtualClock::new();
    let (mut client, mut server) = opened_pair(10, &clock);
    let (closed, received) = both(client.close(4000, "done"), server.recv());
    closed.unwrap();
    assert_eq!(received.unwrap(), None);
    for ws in [&mut client, &mut server] {
        for _ in 0..2 {
            assert_eq!(run(ws.recv()).unwrap(), None);
            let error = run(ws.send("too late")).unwrap_err();
            assert_eq!(error.close_code().map(CloseCode::number), Some(4000));
            assert!(run(ws.ping()).unwrap_err().is_closed());
            run(ws.close(1000, "")).unwrap();
        }
    }
}

#[test]
fn a_close_frame_that_may_not_be_sent_changes_nothing() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(1000);
    let mut ws = opened(Side::Client, near, &clock);
    for (code, reason) in [(1005, "reason"), (1006, ""), (1015, ""), (999, "")] {
        let error = run(ws.close(code, reason)).unwrap_err();
        assert!(error.is_misuse(), "{code}: {error:?}");
    }
    let error = run(ws.close(1000, "r".repeat(124))).unwrap_err();
    assert!(matches!(
        error,
        Error::Misuse(SendError::ReasonTooLong(124))
    ));
    run(ws.send("still open")).unwrap();
    assert_eq!(parse_frames(&peer.take_all())[0].payload, b"still open");
}

#[test]
fn a_connection_that_this_side_fails_ends_with_that() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(1000);
    let mut ws = opened(Side::Server, near, &clock);
    let mut fail = Task::new(ws.fail(1008, "policy"));
    settle(&mut [&mut fail]);
    assert_eq!(peer.take_all(), close_frame(Side::Server, 1008, "policy"));
    peer.end();
    settle(&mut [&mut fail]);
    fail.output().unwrap();
    assert!(matches!(run(ws.recv()), Err(Error::Failed(_))));
}

#[test]
fn a_stream_yields_its_error_once() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(1000);
    let mut ws = opened(Side::Client, near, &clock);
    peer.put(&frame(Side::Server, TEXT, b"whole"));
    peer.end();
    assert_eq!(run(ws.next()).unwrap().unwrap(), Message::text("whole"));
    assert!(matches!(run(ws.next()), Some(Err(Error::Lost(None)))));
    for _ in 0..3 {
        assert!(run(ws.next()).is_none());
    }
    // The stream is over; the error is still told by everything else.
    assert!(matches!(run(ws.recv()), Err(Error::Lost(None))));
}

type SinkOf = dyn Sink<Message, Error = Error>;

/// Polls a sink until it is ready.
async fn sink(
    ws: &mut Socket,
    mut poll: impl FnMut(Pin<&mut SinkOf>, &mut Context<'_>) -> Poll<Result<(), Error>>,
) -> Result<(), Error> {
    std::future::poll_fn(|cx| poll(Pin::new(&mut *ws) as Pin<&mut SinkOf>, cx)).await
}

#[test]
fn a_sink_sends_flushes_and_closes() {
    let clock = VirtualClock::new();
    let (mut client, mut server) = opened_pair(5, &clock);
    let send = async {
        for text in ["one", "two"] {
            sink(&mut client, futures_sink::Sink::poll_ready).await?;
            Pin::new(&mut client).start_send(Message::text(text))?;
        }
        sink(&mut client, futures_sink::Sink::poll_flush).await?;
        sink(&mut client, futures_sink::Sink::poll_close).await?;
        sink(&mut client, futures_sink::Sink::poll_close).await
    };
    let receive = async {
        assert_eq!(server.recv().await.unwrap(), Some(Message::text("one")));
        assert_eq!(server.recv().await.unwrap(), Some(Message::text("two")));
        assert_eq!(server.recv().await.unwrap(), None);
        server.closed().and_then(Closed::received).unwrap().code
    };
    let (sent, code) = both(send, receive);
    sent.unwrap();
    assert_eq!(code, CloseCode::NORMAL);
}

#[test]
fn a_sink_is_not_ready_while_the_queue_is_full() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(10);
    let mut ws = opened(Side::Client, near, &clock);
    Pin::new(&mut ws)
        .start_send(Message::binary(vec![0; 70_000]))
        .unwrap();
    let mut ready = Task::new(sink(&mut ws, futures_sink::Sink::poll_ready));
    settle(&mut [&mut ready]);
    assert!(!ready.is_done());
    while !ready.is_done() {
        assert!(!peer.take_all().is_empty());
        settle(&mut [&mut ready]);
    }
    ready.output().unwrap();
    assert!(
        ws.stats().queued > 60_000,
        "it is ready as soon as there is room"
    );
}

#[test]
fn dropping_a_websocket_drops_its_transport_at_once() {
    let clock = VirtualClock::new();
    let (ws, peer): (WebSocket<End, VirtualTimer>, End) = {
        let (near, peer) = pipe(10);
        (opened(Side::Client, near, &clock), peer)
    };
    drop(ws);
    assert!(peer.is_alone());
    assert_eq!(clock.next_alarm(), None, "nor is its alarm left");
}

#[test]
fn a_message_before_the_end_is_given_out_though_a_flush_has_failed() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(1000);
    let mut ws = opened(Side::Client, near, &clock);
    peer.put(&frame(Side::Server, TEXT, b"first"));
    peer.put(&frame(Side::Server, TEXT, b"second"));
    drop(peer);
    // What was received may hold the reason, so the end is not known yet.
    let sent = run(ws.send("nobody reads"));
    assert!(matches!(sent, Err(Error::NotSent(_))));
    assert_eq!(run(ws.recv()).unwrap(), Some(Message::text("first")));
    assert_eq!(run(ws.recv()).unwrap(), Some(Message::text("second")));
    assert!(matches!(run(ws.recv()), Err(Error::Lost(Some(_)))));
    assert!(matches!(run(ws.send("x")), Err(Error::Lost(Some(_)))));
}
