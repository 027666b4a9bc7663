//! A stream that shares its connection with others, as over HTTP/2 (RFC 8441 section 5): after the closing handshake,
//! each side ends its stream and is done.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use sansock::Config;
use sansock::clock::VirtualClock;
use sansock_core::{Closed, Protocol, ServerConnection, Side, State};
use sansock_tests::driver::{
    Call, End as Pipe, Scripted, Socket, Task, close_frame, opened_with, peer_of, pipe, settle,
};
use sansock_tests::end::{End, SIDES, at, config};

/// Whose Close frame is first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    Ours,
    Peers,
}

const ORDERS: [First; 2] = [First::Ours, First::Peers];

const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

fn multiplexed() -> Config {
    config().multiplexed(true)
}

/// An end that has done the closing handshake, and whose output was taken.
fn closed(side: Side, first: First, config: Config) -> End {
    let mut end = End::with(side, config);
    if first == First::Ours {
        end.send_close(1000, "").unwrap();
        assert_eq!(end.frames().len(), 1);
        end.io().end_written();
        assert_eq!(
            end.state(),
            State::Closing,
            "the peer's Close frame is missing"
        );
        assert!(!end.has_ended() && !end.is_end_pending());
    }
    end.receive(&close_frame(peer_of(side), 1000, ""));
    assert_eq!(end.events().len(), 1);
    end.io().end_written();
    assert_eq!(end.state(), State::Closing, "the end was not taken");
    assert_eq!(end.frames().len(), usize::from(first == First::Peers));
    end
}

#[test]
fn the_end_of_our_stream_closes_the_connection() {
    for (side, first) in SIDES.map(|side| ORDERS.map(|first| (side, first))).concat() {
        let mut end = closed(side, first, multiplexed());
        assert!(end.has_ended() && end.is_end_pending());
        assert_eq!(end.state(), State::Closing);
        end.io().end_written();
        assert_eq!(end.state(), State::Closed, "{side:?}, {first:?}");
        assert!(!end.is_end_pending());
        assert!(end.closed().is_some_and(Closed::is_clean));
        assert_eq!(end.failure(), None);
        assert_eq!(end.next_timeout(), None);
        assert_eq!(end.events(), []);
        end.end_of_stream();
        end.io().end_written();
        assert_eq!(end.state(), State::Closed);
    }
}

#[test]
fn a_separate_connection_waits_for_the_end_of_the_peer() {
    for (side, first) in SIDES.map(|side| ORDERS.map(|first| (side, first))).concat() {
        let mut end = closed(side, first, config());
        assert_eq!(end.has_ended(), side == Side::Server);
        assert!(!end.is_end_pending());
        end.io().end_written();
        assert_eq!(end.state(), State::Closing, "{side:?}, {first:?}");
        end.end_of_stream();
        assert_eq!(end.state(), State::Closed);
        assert_eq!(end.output(), b"");
        assert!(end.has_ended() && !end.is_end_pending());
    }
}

#[test]
fn a_failure_ends_the_stream_as_well() {
    for side in SIDES {
        let mut end = End::with(side, multiplexed());
        // A reserved opcode.
        assert_eq!(end.events_of(&[0x83, 0]).len(), 1);
        assert_eq!(end.frames().len(), 1);
        assert!(end.has_ended());
        assert_eq!(end.state(), State::Closing);
        end.io().end_written();
        assert_eq!(end.state(), State::Closed);
        assert!(end.failure().is_some());
        assert!(matches!(end.closed(), Some(Closed::Sent(_))));
    }
}

#[test]
fn a_stream_whose_end_cannot_be_written_is_over() {
    for side in SIDES {
        let mut end = closed(side, First::Peers, multiplexed());
        end.write_failed();
        assert_eq!(end.state(), State::Closed);
        assert!(end.closed().is_some_and(Closed::is_clean));
        let mut end = closed(side, First::Peers, config());
        end.write_failed();
        assert_eq!(end.state(), State::Closing);
    }
}

#[test]
fn a_refused_handshake_ends_the_stream_as_well() {
    let mut server = ServerConnection::new(Arc::default(), multiplexed());
    Protocol::receive_data(&mut server, b"nonsense\r\n\r\n", at(0));
    let mut end = Vec::new();
    while server.next_event().is_some() {}
    let mut data = server.data_to_send();
    while bytes::Buf::has_remaining(&data) {
        let size = bytes::Buf::chunk(&data).len();
        end.extend_from_slice(bytes::Buf::chunk(&data));
        bytes::Buf::advance(&mut data, size);
    }
    assert!(end.starts_with(b"HTTP/1.1 400 ") && data.take_end());
    assert_eq!(server.state(), State::Connecting);
    server.io().end_written();
    assert_eq!(server.state(), State::Closed);
}

#[test]
fn an_end_that_is_never_written_has_the_close_timeout() {
    for side in SIDES {
        // Before the peer has ended its stream, and after.
        for ends in [false, true] {
            let mut end = closed(side, First::Peers, multiplexed());
            if ends {
                end.end_of_stream();
            }
            end.mind_the_time();
            end.pass(CLOSE_TIMEOUT - Duration::from_millis(1));
            let expected = if ends { State::Closed } else { State::Closing };
            assert_eq!(end.state(), expected);
            assert!(end.is_end_pending());
            end.pass_to_timeout();
            assert_eq!(end.now, at(5000));
            assert_eq!(end.state(), State::Closed);
            assert!(!end.is_end_pending());
            assert_eq!(end.next_timeout(), None);
            assert!(end.closed().is_some_and(Closed::is_clean));
        }
    }
}

// The driver.

/// A transport that closes its write side only once that is allowed.
struct SlowClose {
    inner: Pipe,
    gate: Arc<Mutex<Gate>>,
}

#[derive(Default)]
struct Gate {
    is_open: bool,
    waker: Option<Waker>,
}

impl SlowClose {
    fn new(inner: Pipe) -> (Self, Arc<Mutex<Gate>>) {
        let gate = Arc::<Mutex<Gate>>::default();
        let this = Self {
            inner,
            gate: gate.clone(),
        };
        (this, gate)
    }
}

fn open(gate: &Mutex<Gate>) {
    let mut gate = gate.lock().unwrap();
    gate.is_open = true;
    let waker = gate.waker.take();
    drop(gate);
    waker.expect("the end of the stream is waited for").wake();
}

impl AsyncRead for SlowClose {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for SlowClose {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gate = self.gate.lock().unwrap();
        if !gate.is_open {
            gate.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        drop(gate);
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

/// Starts closing, or receiving.
fn begin<S>(ws: &mut Socket<S>, first: First) -> Task<'_, sansock::Result<()>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    Task::new(async move {
        match first {
            First::Ours => ws.close(1000, "").await,
            First::Peers => ws.recv().await.map(|message| assert_eq!(message, None)),
        }
    })
}

#[test]
fn a_peer_that_is_silent_after_its_close_frame_is_not_waited_for() {
    for (side, first) in SIDES.map(|side| ORDERS.map(|first| (side, first))).concat() {
        let clock = VirtualClock::new();
        let (near, mut peer) = pipe(1000);
        let stream = Scripted::new(near);
        let log = stream.log();
        let mut ws = opened_with(side, stream, &clock, multiplexed());
        let mut task = begin(&mut ws, first);
        settle(&mut [&mut task]);
        assert!(!task.is_done() && !peer.is_ended());
        peer.put(&close_frame(peer_of(side), 1000, ""));
        settle(&mut [&mut task]);
        assert!(peer.is_ended(), "{side:?}, {first:?}");
        assert_eq!(peer.take_all().len(), close_frame(side, 1000, "").len());
        assert_eq!(log.lock().unwrap().count(Call::Close), 1);
        task.output().unwrap();
        assert!(peer.is_alone(), "the transport is dropped");
        assert!(ws.closed().is_some_and(Closed::is_clean));
    }
}

#[test]
fn both_sides_are_done_without_time_passing() {
    for closing in SIDES {
        let clock = VirtualClock::new();
        let (client, server) = pipe(1000);
        let mut client = opened_with(Side::Client, client, &clock, multiplexed());
        let mut server = opened_with(Side::Server, server, &clock, multiplexed());
        let order = |side| {
            if side == closing {
                First::Ours
            } else {
                First::Peers
            }
        };
        let mut at_client = begin(&mut client, order(Side::Client));
        let mut at_server = begin(&mut server, order(Side::Server));
        settle(&mut [&mut at_client, &mut at_server]);
        at_client.output().unwrap();
        at_server.output().unwrap();
        for ws in [&client, &server] {
            assert!(ws.closed().is_some_and(Closed::is_clean));
        }
    }
}

#[test]
fn the_transport_is_kept_until_the_end_is_written() {
    for (side, first) in SIDES.map(|side| ORDERS.map(|first| (side, first))).concat() {
        for peer_ends in [false, true] {
            let clock = VirtualClock::new();
            let (near, mut peer) = pipe(1000);
            let (stream, gate) = SlowClose::new(near);
            let mut ws = opened_with(side, stream, &clock, multiplexed());
            let mut task = begin(&mut ws, first);
            settle(&mut [&mut task]);
            peer.put(&close_frame(peer_of(side), 1000, ""));
            if peer_ends {
                peer.end();
            }
            settle(&mut [&mut task]);
            let case = format!("{side:?}, {first:?}, the peer ends: {peer_ends}");
            assert!(!task.is_done() && !peer.is_alone(), "{case}");
            assert_eq!(peer.take_all().len(), close_frame(side, 1000, "").len());
            open(&gate);
            settle(&mut [&mut task]);
            assert!(peer.is_ended() && peer.is_alone(), "{case}");
            task.output().unwrap();
        }
    }
}

#[test]
fn a_transport_that_never_writes_the_end_is_dropped_after_the_close_timeout() {
    for (side, peer_ends) in SIDES.map(|side| [(side, false), (side, true)]).concat() {
        let clock = VirtualClock::new();
        let (near, mut peer) = pipe(1000);
        let (stream, _gate) = SlowClose::new(near);
        let mut ws = opened_with(side, stream, &clock, multiplexed());
        let mut task = begin(&mut ws, First::Peers);
        settle(&mut [&mut task]);
        peer.put(&close_frame(peer_of(side), 1000, ""));
        if peer_ends {
            peer.end();
        }
        settle(&mut [&mut task]);
        clock.advance(CLOSE_TIMEOUT - Duration::from_millis(1));
        settle(&mut [&mut task]);
        assert!(!task.is_done() && !peer.is_alone());
        clock.advance(Duration::from_millis(1));
        settle(&mut [&mut task]);
        assert!(peer.is_alone(), "{side:?}, the peer ends: {peer_ends}");
        task.output().unwrap();
        assert!(ws.closed().is_some_and(Closed::is_clean));
    }
}

#[test]
fn a_stream_that_ends_without_a_close_frame_is_lost() {
    for side in SIDES {
        let clock = VirtualClock::new();
        let (near, mut peer) = pipe(1000);
        let mut ws = opened_with(side, near, &clock, multiplexed());
        let mut task = begin(&mut ws, First::Peers);
        settle(&mut [&mut task]);
        peer.end();
        settle(&mut [&mut task]);
        assert!(matches!(task.output(), Err(sansock::Error::Lost(None))));
        assert!(peer.is_ended() && peer.is_alone());
        assert_eq!(ws.closed(), Some(&Closed::Abnormal));
    }
}
