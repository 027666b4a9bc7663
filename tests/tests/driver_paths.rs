//! Paths on which the driver was found to wait for nothing, to lose messages, or to leave a ping unanswered.

use std::future::{pending, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::StreamExt;
use futures_lite::future::block_on;
use futures_util::SinkExt;
use sansock::clock::VirtualClock;
use sansock::runtime::{BoxFuture, Threads};
use sansock::serve::{Accepted, Origins, Peer, Serve, Server, Socket};
use sansock::{Error, Message};
use sansock_core::{Deadline, Event, Side};
use sansock_tests::driver::{
    End, Fault, Flood, Scripted, Task, close_frame, config, frame, opened, opened_with,
    parse_frames, pipe, poll_once, settle, waker_fn,
};

/// A message of the server.
fn message(text: &str) -> Vec<u8> {
    frame(Side::Server, 0x81, text.as_bytes())
}

fn has_pong(far: &mut End) -> bool {
    let sent = parse_frames(&far.take_all());
    sent.iter().any(|frame| frame.first == 0x8a)
}

#[test]
fn a_message_that_has_arrived_is_received_in_another_delivery() {
    let (near, mut far) = pipe(1 << 16);
    let mut ws = opened(Side::Client, near, &VirtualClock::new());
    far.put(&[message("in a chunk"), message("whole"), message("a frame")].concat());
    let chunk = poll_once(ws.recv_chunk()).expect("it has arrived").unwrap();
    assert_eq!(chunk.unwrap().payload, b"in a chunk");
    let whole = poll_once(ws.recv()).expect("it has arrived").unwrap();
    assert_eq!(whole.unwrap(), "whole".into());
    let part = poll_once(ws.recv_frame()).expect("it has arrived").unwrap();
    assert_eq!(&*part.unwrap().payload, b"a frame");
}

#[test]
fn a_message_that_has_arrived_is_received_after_those_that_a_ping_has_kept() {
    let (near, mut far) = pipe(1 << 16);
    let mut ws = opened(Side::Client, near, &VirtualClock::new());
    let mut pinging = Task::new(ws.ping());
    pinging.poll();
    let ping = parse_frames(&far.take_all()).remove(0);
    let pong = frame(Side::Server, 0x8a, &ping.payload);
    far.put(&[message("kept"), pong, message("left")].concat());
    settle(&mut [&mut pinging]);
    pinging.output().unwrap();
    for text in ["kept", "left"] {
        let received = poll_once(ws.recv()).expect("it has arrived").unwrap();
        assert_eq!(received.unwrap(), text.into());
    }
}

#[test]
fn a_flush_that_fails_does_not_wait_behind_an_unread_message() {
    let (near, mut far) = pipe(1 << 16);
    let near = Scripted::failing(near, Fault::Zero, 1);
    let mut ws = opened(Side::Client, near, &VirtualClock::new());
    far.put(&message("unread"));
    assert!(poll_once(ws.attend(pending::<()>())).is_none());
    poll_once(ws.feed("never sent"))
        .expect("there is room")
        .unwrap();
    let flushed = poll_once(ws.flush()).expect("nothing to wait for");
    assert!(matches!(flushed, Err(Error::NotSent(_))), "{flushed:?}");
}

#[test]
fn nothing_is_received_behind_a_message_that_was_discarded() {
    const COUNT: u64 = 4096;
    let clock = VirtualClock::new();
    let (near, mut far) = pipe(8 << 20);
    let (sender, mut receiver) = opened(Side::Client, near, &clock).split();
    for number in 0..COUNT {
        far.put(&message(&format!("{number:01000}")));
    }
    let mut closing = Task::new(sender.close(1000, ""));
    closing.poll();
    clock.advance(Duration::from_millis(100));
    // Each time some are discarded, and the task yields.
    for _ in 0..3 {
        closing.poll();
        assert!(!closing.is_done());
        let received = poll_once(receiver.recv());
        assert!(received.is_none(), "received behind what was discarded");
    }
    far.put(&close_frame(Side::Server, 1000, ""));
    far.end();
    settle(&mut [&mut closing]);
    let received = poll_once(receiver.recv()).expect("the end");
    let Err(Error::Discarded { messages }) = received else {
        panic!("{received:?}");
    };
    assert_eq!(messages, COUNT);
}

#[test]
fn a_message_that_is_discarded_before_its_last_part_has_come_does_not_hide_the_end() {
    let clock = VirtualClock::new();
    let (near, mut far) = pipe(1 << 16);
    let (sender, mut receiver) = opened(Side::Client, near, &clock).split();
    far.put(&message("in a chunk"));
    let chunk = poll_once(receiver.recv_chunk())
        .expect("it has arrived")
        .unwrap();
    assert_eq!(chunk.unwrap().payload, b"in a chunk");
    far.put(&frame(Side::Server, 0x01, b"the first part"));
    let mut closing = Task::new(sender.close(1000, ""));
    closing.poll();
    clock.advance(Duration::from_millis(100));
    closing.poll();
    let mut receiving = Task::new(receiver.recv());
    receiving.poll();
    assert!(!receiving.is_done(), "{:?}", receiving.output());
    far.put(&close_frame(Side::Server, 1000, ""));
    far.end();
    settle(&mut [&mut closing, &mut receiving]);
    assert_eq!(receiving.output().unwrap(), None);
}

#[test]
fn what_is_left_unread_does_not_change_how_the_connection_ended() {
    let clock = VirtualClock::new();
    let (near, mut far) = pipe(1 << 10);
    let mut ws = opened(Side::Client, near, &clock);
    far.put(&frame(Side::Server, 0x81, b"bad \xFF"));
    let mut sending = Task::new(ws.send(vec![0; 1 << 16]));
    sending.poll();
    clock.advance(Duration::from_secs(60));
    settle(&mut [&mut sending]);
    let sent = sending.output();
    assert!(
        matches!(sent, Err(Error::TimedOut(Deadline::Write))),
        "{sent:?}"
    );
    for _ in 0..2 {
        let received = poll_once(ws.recv_ref()).expect("the end");
        assert!(
            matches!(received, Err(Error::TimedOut(Deadline::Write))),
            "{received:?}"
        );
    }
}

#[test]
fn the_first_send_answers_a_ping_after_the_receiver_was_dropped() {
    let clock = VirtualClock::new();
    let (near, mut far) = pipe(1 << 16);
    let ws = opened_with(Side::Client, near, &clock, config().ping_interval(None));
    let (sender, mut receiver) = ws.split();
    far.put(&message("received"));
    let received = poll_once(receiver.recv()).expect("it has arrived").unwrap();
    assert_eq!(received.unwrap(), "received".into());
    drop(receiver);
    clock.advance(Duration::from_secs(5));
    far.put(&frame(Side::Server, 0x89, b"are you there?"));
    settle(&mut [&mut Task::new(sender.send("a message"))]);
    assert!(has_pong(&mut far), "no pong with the message");
}

#[test]
fn the_first_send_after_close_read_answers_a_ping() {
    let clock = VirtualClock::new();
    let (near, mut far) = pipe(1 << 16);
    let mut ws = opened_with(Side::Client, near, &clock, config().ping_interval(None));
    far.put(&message("received"));
    let received = poll_once(ws.recv()).expect("it has arrived").unwrap();
    assert_eq!(received.unwrap(), "received".into());
    ws.close_read(u64::MAX);
    clock.advance(Duration::from_secs(5));
    far.put(&frame(Side::Server, 0x89, b"are you there?"));
    settle(&mut [&mut Task::new(ws.send("a message"))]);
    assert!(has_pong(&mut far), "no pong with the message");
}

#[test]
fn every_send_answers_the_ping_before_it() {
    let clock = VirtualClock::new();
    let (near, mut far) = pipe(1 << 20);
    let mut ws = opened_with(Side::Client, near, &clock, config().ping_interval(None));
    for number in 0..1000 {
        clock.advance(Duration::from_millis(30));
        far.put(&frame(Side::Server, 0x89, b"are you there?"));
        let mut sending = Task::new(ws.send("a message"));
        settle(&mut [&mut sending]);
        sending.output().unwrap();
        assert!(has_pong(&mut far), "no pong with message {number}");
    }
}

#[test]
fn a_connection_that_discards_more_than_its_limit_fails_with_1008() {
    let (near, mut far) = pipe(1 << 16);
    let mut ws = opened(Side::Client, near, &VirtualClock::new());
    ws.close_read(10);
    far.put(&message("ten bytes."));
    assert!(poll_once(ws.attend(pending::<()>())).is_none());
    assert_eq!(parse_frames(&far.take_all()), [], "within the limit");
    far.put(&message("!"));
    assert!(poll_once(ws.attend(pending::<()>())).is_none());
    let sent = parse_frames(&far.take_all()).remove(0);
    assert_eq!(
        (sent.first, &sent.payload[..2]),
        (0x88, &1008_u16.to_be_bytes()[..])
    );
}

#[test]
fn control_events_that_wait_to_be_observed_are_bounded() {
    let (near, mut far) = pipe(1 << 16);
    let mut ws = opened(Side::Client, near, &VirtualClock::new());
    // From now on, pings are events.
    assert!(poll_once(ws.recv_event()).is_none());
    for number in 0..100 {
        far.put(&frame(Side::Server, 0x89, &[number]));
    }
    assert!(poll_once(ws.attend(pending::<()>())).is_none());
    let mut observed = Vec::new();
    while let Some(Some(Event::Ping(payload))) = poll_once(ws.recv_event()) {
        observed.extend_from_slice(payload);
    }
    let latest: Vec<u8> = (68..100).collect();
    assert_eq!(observed, latest, "of more than 32, the oldest are dropped");
}

/// A transport whose write side is never closed.
struct NeverCloses(End);

impl AsyncRead for NeverCloses {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for NeverCloses {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

#[test]
fn a_task_that_receives_and_flushes_does_not_wake_itself_while_the_transport_closes() {
    let (near, mut far) = pipe(1 << 16);
    let mut ws = opened(Side::Server, NeverCloses(near), &VirtualClock::new());
    far.put(&close_frame(Side::Client, 1000, ""));
    let mut both = Task::new(poll_fn(|cx| -> Poll<()> {
        let received = ws.poll_recv(cx);
        let flushed = futures_sink::Sink::<Message>::poll_flush(Pin::new(&mut ws), cx);
        assert!(received.is_pending() && flushed.is_pending());
        Poll::Pending
    }));
    settle(&mut [&mut both]);
    // It is polled for another reason, with both operations in progress.
    both.poll();
    let polls = settle(&mut [&mut both]);
    assert!(polls < 5, "{polls} polls");
}

// A socket that a handler has moved to another task.

type Moved = Socket<End, sansock::clock::VirtualTimer>;

type MovedServer = Server<End, sansock::clock::VirtualTimer>;

/// Returns the task of the connection, the socket and the client's end, and what keeps it open.
fn moved_socket() -> (Task<'static, ()>, Moved, End, MovedServer) {
    let (near, mut far) = pipe(1 << 16);
    let clock = VirtualClock::new();
    let (give, place) = std::sync::mpsc::channel();
    let handler = move |socket: Moved| {
        give.send(socket).unwrap();
        pending::<()>()
    };
    let serve = Serve::new(
        handler,
        move || clock.timer(),
        drop::<BoxFuture<Threads, ()>>,
    );
    let serve = serve.origins(Origins::Any).config(config());
    let server = block_on(serve.bind()).unwrap();
    let mut task = Task::new(server.acceptor().serve(Accepted::new(near, Peer::Unknown)));
    far.put(
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    );
    settle(&mut [&mut task]);
    far.take_all();
    (task, place.recv().unwrap(), far, server)
}

fn two_messages_and_a_ping() -> Vec<u8> {
    [
        frame(Side::Client, 0x81, b"one"),
        frame(Side::Client, 0x81, b"two"),
        frame(Side::Client, 0x89, b"are you there?"),
    ]
    .concat()
}

#[test]
fn the_server_reads_on_once_a_moved_socket_has_received() {
    let (mut task, mut socket, mut far, _server) = moved_socket();
    far.put(&two_messages_and_a_ping());
    settle(&mut [&mut task]);
    for _ in 0..2 {
        assert!(!has_pong(&mut far));
        poll_once(socket.recv()).expect("a message").unwrap();
        settle(&mut [&mut task]);
    }
    assert!(
        has_pong(&mut far),
        "the ping behind the messages was not seen"
    );
}

#[test]
fn the_server_reads_on_once_a_moved_socket_discards() {
    let (mut task, mut socket, mut far, _server) = moved_socket();
    far.put(&two_messages_and_a_ping());
    settle(&mut [&mut task]);
    socket.close_read(u64::MAX);
    settle(&mut [&mut task]);
    assert!(
        has_pong(&mut far),
        "the ping behind the messages was not seen"
    );
}

#[test]
fn the_server_goes_on_after_a_moved_socket_has_lent_a_message() {
    let (mut task, mut socket, mut far, _server) = moved_socket();
    far.put(&two_messages_and_a_ping());
    poll_once(socket.recv_ref()).expect("a message").unwrap();
    settle(&mut [&mut task]);
    poll_once(socket.recv()).expect("a message").unwrap();
    settle(&mut [&mut task]);
    assert!(
        has_pong(&mut far),
        "the ping behind the messages was not seen"
    );
}

// Wakers.

fn counting_waker() -> (std::task::Waker, Arc<AtomicUsize>) {
    let woken = Arc::new(AtomicUsize::new(0));
    let count = woken.clone();
    let waker = waker_fn(move || {
        count.fetch_add(1, Ordering::SeqCst);
    });
    (waker, woken)
}

#[test]
fn a_task_that_waited_before_the_split_is_not_woken_after_it() {
    let (near, mut far) = pipe(1 << 16);
    let mut ws = opened(Side::Client, near, &VirtualClock::new());
    let (waker, woken) = counting_waker();
    assert!(ws.poll_recv(&mut Context::from_waker(&waker)).is_pending());
    let (sender, _receiver) = ws.split();
    let mut pinging = Task::new(sender.ping());
    settle(&mut [&mut pinging]);
    far.put(&message("hi"));
    settle(&mut [&mut pinging]);
    assert_eq!(woken.load(Ordering::SeqCst), 0);
}

/// A reactor reports what can be read only if it has not been read before: here nothing is reported.
#[test]
fn a_task_that_receives_is_woken_when_another_has_read_its_message() {
    let clock = VirtualClock::new();
    let (near, source) = Flood::new(&clock);
    let ws = opened(Side::Client, near, &clock);
    let (mut sink, mut stream) = futures_util::StreamExt::split(ws);
    let mut receiving = Task::new(stream.next());
    settle(&mut [&mut receiving]);
    clock.advance(Duration::from_secs(1));
    source.precede(&message("hi"));
    let mut sending = Task::new(sink.send(Message::text("there")));
    settle(&mut [&mut sending]);
    sending.output().unwrap();
    settle(&mut [&mut receiving]);
    assert!(receiving.is_done(), "the message is not received");
}

#[test]
fn a_sender_that_waits_is_woken_though_one_that_came_later_is_gone() {
    let (near, mut far) = pipe(1);
    let ws = opened(Side::Client, near, &VirtualClock::new());
    let (sender, _receiver) = ws.split();
    let later = sender.clone();
    let mut sending = Task::new(sender.send("a message"));
    settle(&mut [&mut sending]);
    let mut gone = Task::new(later.send("another"));
    settle(&mut [&mut sending, &mut gone]);
    assert!(!gone.is_done());
    drop(gone);
    for _ in 0..100 {
        far.take_all();
        settle(&mut [&mut sending]);
    }
    assert!(sending.is_done(), "the sender is not woken");
}
