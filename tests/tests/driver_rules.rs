//! What the driver promises while all is well, and while the peer does not read.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::StreamExt;
use futures_sink::Sink;
use sansock::clock::VirtualClock;
use sansock::{Error, Message, Prepared, ThreadBuffers};
use sansock_core::{BufferPool, Deadline, Event, Side};
use sansock_tests::driver::{
    Call, FlushOnly, Manner, OneSlice, Scripted, Task, both, close_frame, config, echo, frame,
    open_client, open_server, opened, opened_with, parse_frames, pipe, pipe_with, run, settle,
};

const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
const TEXT: u8 = 0x81;

#[test]
fn a_pong_is_on_the_wire_before_the_message_behind_the_ping_is_given_out() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(1000);
    let mut ws = opened(Side::Client, near, &clock);
    let mut bytes = Vec::new();
    for text in ["one", "two"] {
        bytes.extend(frame(Side::Server, PING, text.as_bytes()));
        bytes.extend(frame(Side::Server, TEXT, text.as_bytes()));
    }
    peer.put(&bytes);
    for text in ["one", "two"] {
        assert_eq!(run(ws.recv()).unwrap(), Some(Message::text(text)));
        let sent = parse_frames(&peer.take_all());
        assert_eq!(sent.len(), 1);
        assert_eq!(
            (sent[0].first, &sent[0].payload[..]),
            (PONG, text.as_bytes())
        );
    }
}

#[test]
fn a_blocked_write_does_not_block_reading() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(10);
    let mut ws = opened(Side::Client, near, &clock);
    let mut send = Task::new(ws.send("a message longer than the pipe"));
    settle(&mut [&mut send]);
    assert!(!send.is_done());
    drop(send);
    for i in 0..100 {
        let text = format!("message {i}");
        peer.put(&frame(Side::Server, PING, b""));
        peer.put(&frame(Side::Server, TEXT, text.as_bytes()));
        assert_eq!(run(ws.recv()).unwrap(), Some(Message::text(text)));
    }
}

/// Has nothing to read and no room to write when it is asked first; then a message, and room. It wakes nobody: what was
/// read before the system said so is told by nobody but who has read it.
struct Meanwhile {
    message: Vec<u8>,
    reads: usize,
    writes: usize,
}

impl AsyncRead for Meanwhile {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.reads += 1;
        if self.reads != 2 {
            return Poll::Pending;
        }
        buf[..self.message.len()].copy_from_slice(&self.message);
        Poll::Ready(Ok(self.message.len()))
    }
}

impl AsyncWrite for Meanwhile {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writes += 1;
        match self.writes {
            1 => Poll::Pending,
            _ => Poll::Ready(Ok(buf.len())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[derive(Default)]
struct Bell(AtomicIsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_message_that_arrives_while_this_side_writes_wakes_who_waits_for_it() {
    let clock = VirtualClock::new();
    let transport = Meanwhile {
        message: frame(Side::Server, TEXT, b"meanwhile"),
        reads: 0,
        writes: 0,
    };
    let mut ws = opened(Side::Client, transport, &clock);
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(bell.clone());
    let mut cx = Context::from_waker(&waker);
    assert!(ws.poll_recv(&mut cx).is_pending());
    assert!(run(ws.feed("reply")).is_ok());
    assert!(Pin::new(&mut ws).poll_flush(&mut cx).is_ready());
    assert_eq!(
        bell.0.load(Ordering::Relaxed),
        1,
        "the task goes on to wait"
    );
    let message = Message::text("meanwhile");
    assert!(
        matches!(ws.poll_recv(&mut cx), Poll::Ready(Ok(Some(received))) if received == message)
    );
    assert!(ws.poll_recv(&mut cx).is_pending());
    assert_eq!(bell.0.load(Ordering::Relaxed), 1);
}

/// Which deadline passes, at which second, while `wait` waits over a transport that takes nothing.
fn timeout_of(
    wait: impl AsyncFnOnce(&mut sansock_tests::driver::Socket) -> Error,
) -> (Deadline, u64) {
    let clock = VirtualClock::new();
    let (near, peer) = pipe(10);
    let mut ws = opened(Side::Client, near, &clock);
    let blocked = run(ws.feed("a message longer than the pipe"));
    blocked.unwrap();
    let mut task = Task::new(wait(&mut ws));
    for second in 0..100 {
        settle(&mut [&mut task]);
        if task.is_done() {
            let Error::TimedOut(deadline) = task.output() else {
                panic!("another error");
            };
            let recv = run(ws.recv());
            assert!(matches!(recv, Err(Error::TimedOut(again)) if again == deadline));
            let send = run(ws.send("x"));
            assert!(matches!(send, Err(Error::TimedOut(again)) if again == deadline));
            // Whoever sent may keep the transport until the next call.
            assert!(peer.is_alone());
            return (deadline, second);
        }
        clock.advance(Duration::from_secs(1));
    }
    panic!("no deadline passed");
}

#[test]
fn deadlines_pass_while_a_write_is_blocked() {
    let recv = timeout_of(async |ws| ws.recv().await.unwrap_err());
    assert_eq!(recv, (Deadline::Write, 30));
    let flush = timeout_of(async |ws| ws.flush().await.unwrap_err());
    assert_eq!(flush, (Deadline::Write, 30));
    let feed = timeout_of(async |ws| {
        ws.feed(vec![0; 70_000]).await.unwrap();
        ws.feed("no room").await.unwrap_err()
    });
    assert_eq!(feed, (Deadline::Write, 30));
    let ping = timeout_of(async |ws| ws.ping().await.unwrap_err());
    assert_eq!(ping, (Deadline::Write, 30));
    let close = timeout_of(async |ws| ws.close(1000, "").await.unwrap_err());
    assert_eq!(close, (Deadline::Close, 5));
}

#[test]
fn a_handshake_that_cannot_be_written_times_out() {
    let clock = VirtualClock::new();
    let (near, _peer) = pipe(10);
    let mut client = Task::new(open_client(near, &clock));
    settle(&mut [&mut client]);
    clock.advance(Duration::from_secs(10));
    settle(&mut [&mut client]);
    assert!(matches!(
        client.output(),
        Err(Error::TimedOut(Deadline::Open))
    ));
}

#[test]
fn a_peer_that_reads_slowly_is_not_given_up() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(1);
    let config = config().ping_interval(None);
    let mut ws = opened_with(Side::Client, near, &clock, config);
    let mut send = Task::new(ws.send("slow"));
    let mut taken = Vec::new();
    for _ in 0..10 {
        settle(&mut [&mut send]);
        taken.extend(peer.take_all());
        clock.advance(Duration::from_secs(29));
    }
    settle(&mut [&mut send]);
    send.output().unwrap();
    assert_eq!(parse_frames(&taken)[0].payload, b"slow");
}

#[test]
fn a_peer_that_does_not_answer_pings_is_told_and_given_up() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(1000);
    let mut ws = opened(Side::Server, near, &clock);
    let mut recv = Task::new(ws.recv());
    settle(&mut [&mut recv]);
    clock.advance(Duration::from_secs(20));
    settle(&mut [&mut recv]);
    assert_eq!(parse_frames(&peer.take_all())[0].first, PING);
    clock.advance(Duration::from_secs(20));
    settle(&mut [&mut recv]);
    let told = parse_frames(&peer.take_all());
    let told = told.last().unwrap();
    assert_eq!(
        (told.first, &told.payload[..2]),
        (0x88, &1011_u16.to_be_bytes()[..])
    );
    clock.advance(Duration::from_millis(100));
    settle(&mut [&mut recv]);
    assert!(matches!(
        recv.output(),
        Err(Error::TimedOut(Deadline::Pong))
    ));
    assert!(peer.is_alone());
}

#[test]
fn a_transport_that_never_flushes_is_given_up() {
    for halves in [false, true] {
        let clock = VirtualClock::new();
        let (near, peer) = pipe(10);
        let mut ws = opened(Side::Server, FlushOnly::new(near), &clock);
        let mut parts = None;
        let mut send = if halves {
            let (sender, receiver) = ws.split();
            let (_, sender) = parts.insert((receiver, sender));
            Task::new(async { sender.send("a message longer than the pipe").await })
        } else {
            Task::new(async { ws.send("a message longer than the pipe").await })
        };
        for _ in 0..10 {
            settle(&mut [&mut send]);
            if send.is_done() {
                break;
            }
            assert!(clock.advance_to_next_alarm(), "nothing ends the wait");
        }
        assert!(send.output().unwrap_err().is_timeout());
        drop(peer);
    }
}

#[test]
fn a_flood_of_pings_from_a_peer_that_does_not_read_takes_no_memory_and_does_not_spin() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(10);
    let pool = CountingPool::default();
    let config = config().buffers(pool.clone());
    let mut ws = opened_with(Side::Server, near, &clock, config);
    let mut recv = Task::new(ws.recv());
    let pings = frame(Side::Client, PING, &[b'?'; 125]).repeat(100);
    for round in 0..200 {
        peer.put(&pings);
        let polls = settle(&mut [&mut recv]);
        assert!(polls <= 2, "{polls} polls in round {round}");
        assert!(pool.bytes() <= 2 * CountingPool::BLOCK as isize);
    }
    drop(recv);
    assert_eq!(ws.stats().pings_received, 20_000);
    assert!(ws.stats().queued <= 2 * 127);
    // What leaves in the end is the pong that was begun, and the latest.
    let mut sent = peer.take_all();
    let mut recv = Task::new(ws.recv());
    while {
        settle(&mut [&mut recv]);
        peer.arrived() > 0
    } {
        sent.extend(peer.take_all());
    }
    assert!(parse_frames(&sent).len() <= 2);
}

/// One read may hold more pings than are dealt with in one poll. What is behind them is given out though nothing
/// more arrives.
#[test]
fn a_message_behind_many_pings_is_given_out_in_every_way_of_receiving() {
    for pings in [63, 64, 65, 200] {
        for (way, name) in [
            "recv",
            "recv_ref",
            "recv_frame",
            "recv_chunk",
            "recv_event",
            "next",
        ]
        .into_iter()
        .enumerate()
        {
            let clock = VirtualClock::new();
            let (near, mut peer) = pipe(100_000);
            let mut ws = opened(Side::Client, near, &clock);
            let mut bytes = frame(Side::Server, PING, b"?").repeat(pings);
            bytes.extend(frame(Side::Server, TEXT, b"behind them"));
            peer.put(&bytes);
            let mut receive = Task::new(async {
                match way {
                    0 => assert!(ws.recv().await?.is_some()),
                    1 => assert!(ws.recv_ref().await?.is_some()),
                    2 => assert!(ws.recv_frame().await?.is_some()),
                    3 => assert!(ws.recv_chunk().await?.is_some()),
                    4 => while let Some(Event::Ping(_)) = ws.recv_event().await {},
                    _ => assert!(ws.next().await.transpose()?.is_some()),
                }
                Ok::<_, Error>(())
            });
            settle(&mut [&mut receive]);
            assert!(receive.is_done(), "{name} waits behind {pings} pings");
            receive.output().unwrap();
        }
    }
}

#[test]
fn input_without_end_lets_other_tasks_run() {
    let clock = VirtualClock::new();
    let manner = Manner {
        read: 6,
        ..Manner::default()
    };
    let (near, mut peer) = pipe_with(1 << 20, manner);
    let mut ws = opened(Side::Server, near, &clock);
    peer.put(&frame(Side::Client, PING, b"").repeat(1000));
    let mut recv = Task::new(ws.recv());
    recv.poll();
    assert!(recv.is_woken(), "it asks to be polled again");
    let polls = settle(&mut [&mut recv]);
    assert!((10..50).contains(&polls), "{polls} polls for 1000 reads");
}

/// Counts the blocks that are out.
#[derive(Debug, Clone, Default)]
struct CountingPool(Arc<AtomicIsize>);

impl CountingPool {
    const BLOCK: usize = 4096;

    fn bytes(&self) -> isize {
        self.0.load(Ordering::SeqCst)
    }
}

impl BufferPool for CountingPool {
    fn take(&self) -> Vec<u8> {
        self.0.fetch_add(Self::BLOCK as isize, Ordering::SeqCst);
        vec![0; Self::BLOCK]
    }

    fn give(&self, block: Vec<u8>) {
        self.0.fetch_sub(block.len() as isize, Ordering::SeqCst);
    }
}

#[test]
fn an_idle_connection_holds_no_buffers() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(1000);
    let pool = CountingPool::default();
    let config = config().buffers(pool.clone());
    let mut ws = opened_with(Side::Server, near, &clock, config);

    let mut recv = Task::new(ws.recv());
    settle(&mut [&mut recv]);
    assert_eq!(pool.bytes(), 0, "waiting for a message");
    peer.put(&frame(Side::Client, PING, b""));
    settle(&mut [&mut recv]);
    assert_eq!(pool.bytes(), 0, "waiting after a ping");
    // Half a message is kept, but not in a block for a whole one.
    let message = frame(Side::Client, TEXT, b"message");
    peer.put(&message[..8]);
    settle(&mut [&mut recv]);
    assert_eq!(pool.bytes(), 0, "waiting for the rest of a message");
    peer.put(&message[8..]);
    settle(&mut [&mut recv]);
    assert_eq!(recv.output().unwrap(), Some(Message::text("message")));

    run(ws.send("sent")).unwrap();
    assert_eq!(pool.bytes(), 0, "after sending");

    let (sender, mut receiver) = ws.split();
    let mut recv = Task::new(receiver.recv());
    settle(&mut [&mut recv]);
    run(sender.send("from a half")).unwrap();
    assert_eq!(pool.bytes(), 0, "after sending from a half");
    let mut ping = Task::new(sender.ping());
    settle(&mut [&mut ping]);
    assert_eq!(pool.bytes(), 0, "waiting for a pong in a half");
}

#[test]
fn a_thread_keeps_a_few_blocks_and_gives_them_out_again() {
    let pool = ThreadBuffers;
    let blocks: Vec<Vec<u8>> = (0..20).map(|_| pool.take()).collect();
    let mut addresses: Vec<_> = blocks.iter().map(Vec::as_ptr).collect();
    let size = blocks[0].len();
    blocks.into_iter().for_each(|block| pool.give(block));
    pool.give(vec![0; 100]);
    addresses.truncate(8);
    for _ in 0..8 {
        let block = pool.take();
        assert_eq!(block.len(), size, "a block of another size is not kept");
        assert!(
            addresses.contains(&block.as_ptr()),
            "it is one of the first"
        );
        std::mem::forget(block);
    }
}

#[test]
fn what_was_sent_is_in_the_transport() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(1 << 20);
    let mut ws = opened(Side::Client, FlushOnly::new(near), &clock);
    for message in ["short", &"long ".repeat(10_000)] {
        run(ws.send(message)).unwrap();
        assert_eq!(
            parse_frames(&peer.take_all())[0].payload,
            message.as_bytes()
        );
    }
    run(ws.feed("fed")).unwrap();
    assert_eq!(peer.arrived(), 0);
    run(ws.flush()).unwrap();
    assert_eq!(parse_frames(&peer.take_all())[0].payload, b"fed");
}

#[test]
fn a_transport_that_sends_only_on_flush_carries_everything() {
    let clock = VirtualClock::new();
    let (near, far) = pipe(7);
    let client = async {
        let mut ws = open_client(FlushOnly::new(near), &clock).await?;
        ws.send("hello").await?;
        assert_eq!(ws.recv().await?, Some(Message::text("hello")));
        ws.ping().await?;
        ws.close(1000, "").await
    };
    let server = async {
        let mut ws = open_server(FlushOnly::new(far), &clock).await?;
        echo(&mut ws).await
    };
    let (client, server) = both(client, server);
    client.unwrap();
    server.unwrap();
}

#[test]
fn replies_fed_in_a_receive_loop_leave_in_one_write() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(1 << 20);
    let stream = Scripted::new(near);
    let log = stream.log();
    let mut ws = opened(Side::Server, stream, &clock);
    let mut serve = Task::new(async { echo(&mut ws).await });
    settle(&mut [&mut serve]);
    peer.put(&frame(Side::Client, TEXT, b"message").repeat(50));
    settle(&mut [&mut serve]);
    assert_eq!(parse_frames(&peer.take_all()).len(), 50);
    assert_eq!(log.lock().unwrap().count(Call::Write), 1);
    assert_eq!(log.lock().unwrap().count(Call::Flush), 1);
}

#[test]
fn polls_without_a_wakeup_do_nothing() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(1000);
    let stream = Scripted::new(near);
    let log = stream.log();
    let mut ws = opened(Side::Server, stream, &clock);
    let mut recv = Task::new(ws.recv());
    for _ in 0..1000 {
        assert!(!recv.poll());
    }
    assert!(!recv.is_woken());
    assert_eq!(recv.wakes(), 0);
    assert_eq!(log.lock().unwrap().count(Call::Read), 1000);
    assert_eq!(log.lock().unwrap().calls.len(), 1000);
    peer.put(&frame(Side::Client, TEXT, b"x"));
    assert!(recv.poll());
}

#[test]
fn large_messages_pass_a_transport_that_ignores_vectored_writes() {
    let clock = VirtualClock::new();
    let (near, far) = pipe(1000);
    let mut server = opened(Side::Server, OneSlice(near), &clock);
    let mut client = opened(Side::Client, far, &clock);
    let bytes: Bytes = (0..50_000_u32).map(|i| i as u8).collect();
    let send = async {
        for _ in 0..3 {
            server.feed(bytes.clone()).await?;
            server.feed("and").await?;
        }
        server.close(1000, "").await
    };
    let receive = async {
        for _ in 0..3 {
            assert_eq!(client.recv().await?, Some(Message::Binary(bytes.clone())));
            assert_eq!(client.recv().await?, Some(Message::text("and")));
        }
        client.recv().await
    };
    let (sent, received) = both(send, receive);
    sent.unwrap();
    assert_eq!(received.unwrap(), None);
}

#[test]
fn a_large_message_leaves_in_one_vectored_write_with_its_header() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(1 << 20);
    let stream = Scripted::new(near);
    let log = stream.log();
    let mut ws = opened(Side::Server, stream, &clock);
    run(ws.send(Bytes::from(vec![1; 50_000]))).unwrap();
    assert_eq!(log.lock().unwrap().count(Call::Write), 1);
    assert_eq!(parse_frames(&peer.take_all())[0].payload.len(), 50_000);
}

#[test]
fn a_transport_that_ignores_vectored_writes_is_noticed_and_written_to_once() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(1 << 20);
    let stream = Scripted::new(near);
    let log = stream.log();
    let mut ws = opened(Side::Server, OneSlice(stream), &clock);
    let prepared = Prepared::new(vec![3; 50_000]);
    for (message, writes) in [(1, 2), (2, 3)] {
        run(ws.send(Bytes::from(vec![message; 50_000]))).unwrap();
        assert_eq!(log.lock().unwrap().count(Call::Write), writes);
    }
    run(ws.send_prepared(&prepared)).unwrap();
    assert_eq!(log.lock().unwrap().count(Call::Write), 4);
    let frames = parse_frames(&peer.take_all());
    let payloads: Vec<_> = frames.iter().map(|frame| &frame.payload[..]).collect();
    assert_eq!(payloads, [[1; 50_000], [2; 50_000], [3; 50_000]]);
}

#[test]
fn a_close_reply_is_on_the_wire_before_the_end_is_told() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(1000);
    let mut ws = opened(Side::Server, FlushOnly::new(near), &clock);
    peer.put(&close_frame(Side::Client, 1001, "bye"));
    peer.end();
    assert_eq!(run(ws.recv()).unwrap(), None);
    assert_eq!(parse_frames(&peer.take_all())[0].payload, b"\x03\xe9bye");
}
