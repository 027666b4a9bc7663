//! Transports, tasks and peers at their worst, over the driver.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use allocation_counter::measure;
use futures_io::{AsyncRead, AsyncWrite};
use sansock::clock::VirtualClock;
use sansock::{Error, Message};
use sansock_core::{Deadline, Side};
use sansock_tests::driver::{
    End, FlushOnly, Manner, Runs, Task, close_frame, frame, open_server, opened, opened_pair,
    parse_frames, peer_of, pipe, pipe_with, run, settle,
};

const TEXT: u8 = 0x81;

/// A transport that is never done with closing.
#[derive(Debug)]
struct NeverClosed(End);

impl AsyncRead for NeverClosed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for NeverClosed {
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
fn a_transport_that_is_never_done_with_closing_is_given_up() {
    for side in [Side::Client, Side::Server] {
        for peer_ends in [false, true] {
            let clock = VirtualClock::new();
            let (near, mut peer) = pipe(1000);
            let mut ws = opened(side, NeverClosed(near), &clock);
            peer.put(&close_frame(peer_of(side), 1000, ""));
            if peer_ends {
                peer.end();
            }
            let mut recv = Task::new(ws.recv());
            for _ in 0..10 {
                settle(&mut [&mut recv]);
                if recv.is_done() {
                    break;
                }
                assert!(clock.advance_to_next_alarm(), "nothing ends the wait");
            }
            // The closing handshake was done.
            assert_eq!(recv.output().unwrap(), None);
            assert!(clock.now().since_start() <= Duration::from_secs(5));
            assert!(peer.is_alone(), "the transport is dropped");
        }
    }
}

#[test]
fn whoever_does_not_receive_leaves_the_input_in_the_transport() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(1 << 30);
    let mut ws = opened(Side::Server, near, &clock);
    let message = frame(Side::Client, TEXT, &[b'x'; 1000]);
    peer.put(&message.repeat(10_000));
    let total = peer.unread();
    assert!(run(ws.recv()).unwrap().is_some());
    for _ in 0..1000 {
        run(ws.send("still here")).unwrap();
        peer.take_all();
    }
    let taken = total - peer.unread();
    assert!(
        taken <= 128 << 10,
        "{taken} bytes were read for one message"
    );
    for _ in 1..10_000 {
        assert!(run(ws.recv()).unwrap().is_some());
    }
    assert_eq!(peer.unread(), 0);
}

#[test]
fn a_hundred_thousand_polls_without_a_wakeup_allocate_nothing() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(10);
    let mut ws = opened(Side::Server, near, &clock);
    // Output waits as well, which the transport does not take.
    run(ws.feed("longer than the pipe")).unwrap();
    let mut recv = Box::pin(ws.recv());
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let mut poll = |times: usize| {
        for _ in 0..times {
            assert!(recv.as_mut().poll(&mut cx).is_pending());
        }
    };
    poll(10);
    let info = measure(|| poll(100_000));
    assert_eq!(info.count_current, 0, "{info:?}");
    assert!(
        info.bytes_max <= 64 << 10,
        "one read buffer at a time: {info:?}"
    );
    peer.put(&frame(Side::Client, TEXT, b"x"));
    assert!(recv.as_mut().poll(&mut cx).is_ready());
}

#[test]
fn futures_and_halves_that_are_forgotten_only_leak() {
    let clock = VirtualClock::new();
    let (mut client, server) = opened_pair(100, &clock);
    let (sender, mut receiver) = server.split();
    let mut forgotten = Task::new(receiver.recv());
    forgotten.poll();
    std::mem::forget(forgotten);
    run(client.send("hello")).unwrap();
    assert_eq!(run(receiver.recv()).unwrap(), Some(Message::text("hello")));
    let mut waits = Task::new(receiver.recv());
    waits.poll();
    drop(waits);
    std::mem::forget(receiver);
    run(sender.send("from the other half")).unwrap();
    let received = run(client.recv()).unwrap();
    assert_eq!(received, Some(Message::text("from the other half")));
    let mut close = Task::new(client.close(1000, ""));
    let mut answer = Task::new(sender.close(1000, ""));
    settle(&mut [&mut close, &mut answer]);
    close.output().unwrap();
    answer.output().unwrap();
}

/// A peer whose network is gone: writing goes well until the buffers are full, and nothing comes.
#[test]
fn a_peer_that_is_half_open_is_given_up() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(1 << 20);
    let mut ws = opened(Side::Client, near, &clock);
    for _ in 0..100 {
        run(ws.send("into the void")).unwrap();
    }
    let mut recv = Task::new(ws.recv());
    let mut alarms = 0;
    while {
        settle(&mut [&mut recv]);
        !recv.is_done()
    } {
        assert!(clock.advance_to_next_alarm(), "nothing ends the wait");
        alarms += 1;
        assert!(alarms < 10);
    }
    assert!(recv.output().unwrap_err().is_timeout());
    assert!(clock.now().since_start() <= Duration::from_secs(41));
    let sent = parse_frames(&peer.take_all());
    let [.., ping, close] = &sent[..] else {
        panic!()
    };
    assert_eq!((ping.first, close.first), (0x89, 0x88));
    assert_eq!(close.payload[..2], 1011_u16.to_be_bytes());
}

/// What a transport holds back is output that waits, though it has left our queue: TLS does so. A message
/// that nobody receives yet keeps the pong from being missed, so that no other deadline would pass.
#[test]
fn a_flush_that_is_never_done_has_a_deadline_while_a_message_waits() {
    for side in [Side::Client, Side::Server] {
        let clock = VirtualClock::new();
        let (near, mut peer) = pipe(10);
        let mut ws = opened(side, FlushOnly::new(near), &clock);
        peer.put(&frame(peer_of(side), TEXT, b"nobody receives this"));
        let mut send = Task::new(ws.send("longer than the pipe"));
        for _ in 0..10 {
            settle(&mut [&mut send]);
            if send.is_done() {
                break;
            }
            assert!(clock.advance_to_next_alarm(), "nothing ends the wait");
        }
        let error = send.output().unwrap_err();
        assert!(
            matches!(error, Error::TimedOut(Deadline::Write)),
            "{error:?}"
        );
        // The ping after 20 seconds was taken, which counts as progress.
        assert_eq!(clock.now().since_start(), Duration::from_secs(50));
        let received = run(ws.recv()).unwrap();
        assert_eq!(received, Some(Message::text("nobody receives this")));
        assert!(run(ws.recv()).unwrap_err().is_timeout());
    }
}

/// The time for the opening handshake goes on until the client has been answered.
#[test]
fn a_client_that_does_not_take_the_answer_is_given_up_in_time() {
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    for holds_back in [false, true] {
        let clock = VirtualClock::new();
        let (near, mut peer) = pipe(10);
        peer.put(request);
        let mut open = Task::new(async {
            match holds_back {
                true => open_server(FlushOnly::new(near), &clock).await.map(drop),
                false => open_server(near, &clock).await.map(drop),
            }
        });
        for _ in 0..10 {
            settle(&mut [&mut open]);
            if open.is_done() {
                break;
            }
            assert!(clock.advance_to_next_alarm(), "nothing ends the wait");
        }
        let error = open.output().unwrap_err();
        assert!(
            matches!(error, Error::TimedOut(Deadline::Open)),
            "{error:?}"
        );
        assert_eq!(clock.now().since_start(), Duration::from_secs(10));
        assert!(peer.is_alone(), "the transport is dropped");
    }
}

/// Every call says pending, wakes at once, and then moves one byte.
#[test]
fn a_storm_of_pending_moves_everything_at_few_polls_a_byte() {
    let clock = VirtualClock::new();
    let manner = Manner {
        read: 1,
        write: 1,
        hesitates: true,
    };
    let (near, far) = pipe_with(1, manner);
    let mut client = opened(Side::Client, near, &clock);
    let mut server = opened(Side::Server, far, &clock);
    let mut send = Task::new(async {
        client.send(vec![7; 1000]).await?;
        client.close(1000, "").await
    });
    let mut receive = Task::new(async {
        let message = server.recv().await?;
        assert_eq!(message, Some(Message::binary(vec![7; 1000])));
        server.recv().await
    });
    let tasks: &mut [&mut dyn Runs] = &mut [&mut send, &mut receive];
    let polls = settle(tasks);
    assert!(polls < 10 * 1100, "{polls} polls");
    send.output().unwrap();
    assert_eq!(receive.output().unwrap(), None);
}
