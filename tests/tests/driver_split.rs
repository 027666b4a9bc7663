//! The halves of a WebSocket in two tasks: each makes progress alone, and none waits for a wakeup
//! that went to the other.

use std::cell::RefCell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::future::block_on;
use sansock::clock::{VirtualClock, VirtualTimer};
use sansock::{Closed, Error, Message, Receiver, Sender};
use sansock_core::Side;
use sansock_tests::driver::{
    End, Fault, FlushOnly, Frame, Manner, Scripted, Task, close_frame, echo, frame, opened,
    parse_frames, pipe, pipe_with, run, settle, waker_fn,
};

type Halves<S = End> = (Receiver<S, VirtualTimer>, Sender<S, VirtualTimer>);

/// A client in halves.
fn halves<S>(stream: S, clock: &VirtualClock) -> Halves<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (sender, receiver) = opened(Side::Client, stream, clock).split();
    (receiver, sender)
}

fn from_peer(text: &str) -> Vec<u8> {
    frame(Side::Server, 0x81, text.as_bytes())
}

fn pong(ping: &Frame) -> Vec<u8> {
    assert_eq!(ping.first, 0x89);
    frame(Side::Server, 0x8a, &ping.payload)
}

fn answer_ping(peer: &mut End) {
    let sent = parse_frames(&peer.take_all());
    peer.put(&pong(&sent[0]));
}

#[test]
fn one_task_receives_while_others_send() {
    let hesitant = Manner {
        hesitates: true,
        read: 2,
        write: 3,
    };
    for (near, far) in [pipe(1), pipe(1000), pipe_with(5, hesitant)] {
        let clock = VirtualClock::new();
        let (mut receiver, first) = halves(near, &clock);
        let second = first.clone();
        let mut server = opened(Side::Server, far, &clock);
        let mut answer = Task::fickle(async { echo(&mut server).await });
        let count = RefCell::new(0);
        let mut receive = Task::fickle(async {
            while let Some(message) = receiver.recv().await? {
                assert!(message.len() >= 100);
                *count.borrow_mut() += 1;
            }
            Ok::<_, Error>(())
        });
        let mut send = Task::fickle(async {
            for _ in 0..20 {
                first.send(vec![1; 100]).await?;
            }
            first.ping().await
        });
        let mut feed = Task::fickle(async {
            for size in 100..120 {
                second.feed(vec![2; size]).await?;
            }
            second.flush().await?;
            second.ping().await
        });
        settle(&mut [&mut receive, &mut send, &mut feed, &mut answer]);
        send.output().unwrap();
        feed.output().unwrap();
        assert_eq!(*count.borrow(), 40);
        let mut close = Task::fickle(second.close(1000, ""));
        settle(&mut [&mut receive, &mut close, &mut answer]);
        close.output().unwrap();
        receive.output().unwrap();
        answer.output().unwrap();
    }
}

#[test]
fn the_receiver_alone_writes_what_was_fed_and_answers_pings() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(1000);
    let (mut receiver, sender) = halves(near, &clock);
    run(sender.feed("fed")).unwrap();
    assert_eq!(peer.arrived(), 0);
    peer.put(&frame(Side::Server, 0x89, b"?"));
    let mut receive = Task::new(receiver.recv());
    settle(&mut [&mut receive]);
    let frames = parse_frames(&peer.take_all());
    assert_eq!(frames[0].payload, b"fed");
    assert_eq!((frames[1].first, &frames[1].payload[..]), (0x8a, &b"?"[..]));
}

#[test]
fn a_sender_that_waits_answers_pings() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(1000);
    let (_receiver, sender) = halves(near, &clock);
    let mut ping = Task::new(sender.ping());
    settle(&mut [&mut ping]);
    let sent = parse_frames(&peer.take_all());
    peer.put(&frame(Side::Server, 0x89, b"?"));
    settle(&mut [&mut ping]);
    assert_eq!(parse_frames(&peer.take_all())[0].first, 0x8a);
    peer.put(&pong(&sent[0]));
    settle(&mut [&mut ping]);
    ping.output().unwrap();
}

#[test]
fn a_sender_without_room_is_woken_when_the_receiver_drains_the_queue() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(10);
    let (mut receiver, sender) = halves(near, &clock);
    run(sender.feed(vec![0; 70_000])).unwrap();
    let mut send = Task::new(sender.feed("more"));
    let mut receive = Task::new(receiver.recv());
    settle(&mut [&mut send, &mut receive]);
    while !send.is_woken() {
        assert!(!peer.take_silently().is_empty(), "the sender was not woken");
        receive.poll();
    }
    settle(&mut [&mut send]);
    send.output().unwrap();
}

#[test]
fn a_sender_that_flushes_is_woken_when_the_receiver_has_written() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(10);
    let (mut receiver, sender) = halves(near, &clock);
    let mut send = Task::new(sender.send("a message longer than the pipe"));
    let mut receive = Task::new(receiver.recv());
    settle(&mut [&mut send, &mut receive]);
    while !send.is_woken() {
        assert!(!peer.take_silently().is_empty(), "the sender was not woken");
        receive.poll();
    }
    settle(&mut [&mut send]);
    send.output().unwrap();
}

#[test]
fn a_sender_that_flushes_is_woken_when_the_receiver_has_flushed() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(10);
    let (mut receiver, sender) = halves(FlushOnly::new(near), &clock);
    let mut send = Task::new(sender.send("a message longer than the pipe"));
    let mut receive = Task::new(receiver.recv());
    settle(&mut [&mut send, &mut receive]);
    while !send.is_woken() {
        assert!(!peer.take_silently().is_empty(), "the sender was not woken");
        receive.poll();
    }
    settle(&mut [&mut send]);
    send.output().unwrap();
}

#[test]
fn a_sender_that_flushes_is_woken_when_the_receiver_fails_to_write() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(10);
    // A write of ten bytes, one that is pending, a read; then one that writes nothing.
    let stream = Scripted::failing(near, Fault::Zero, 5);
    let (mut receiver, sender) = halves(stream, &clock);
    let mut send = Task::new(sender.send("a message longer than the pipe"));
    let mut receive = Task::new(receiver.recv());
    send.poll();
    receive.poll();
    peer.take_silently();
    assert!(!send.is_woken());
    receive.poll();
    assert!(send.is_woken(), "the sender was not woken");
    // The transport is read a little longer: a Close frame in there would be the reason.
    settle(&mut [&mut send, &mut receive]);
    assert!(!send.is_done());
    clock.advance(Duration::from_millis(100));
    settle(&mut [&mut send, &mut receive]);
    assert!(matches!(send.output(), Err(Error::Lost(Some(_)))));
    assert!(matches!(receive.output(), Err(Error::Lost(Some(_)))));
}

#[test]
fn a_receiver_is_woken_when_a_sender_has_read_its_message() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(10);
    let (mut receiver, sender) = halves(near, &clock);
    let mut receive = Task::new(receiver.recv());
    settle(&mut [&mut receive]);
    peer.put_silently(&from_peer("for the receiver"));
    assert!(!receive.is_woken());
    let mut send = Task::new(sender.send("a message longer than the pipe"));
    send.poll();
    assert!(receive.is_woken(), "the receiver was not woken");
    settle(&mut [&mut receive]);
    assert_eq!(
        receive.output().unwrap(),
        Some(Message::text("for the receiver"))
    );
}

#[test]
fn a_receiver_is_woken_when_a_sender_has_read_the_end() {
    for bytes in [&close_frame(Side::Server, 1000, "")[..], b"\xff\xff", b""] {
        let clock = VirtualClock::new();
        let (near, mut peer) = pipe(10);
        let (mut receiver, sender) = halves(near, &clock);
        let mut receive = Task::new(receiver.recv());
        let mut send = Task::new(sender.send("a message longer than the pipe"));
        settle(&mut [&mut receive, &mut send]);
        if bytes.is_empty() {
            peer.end();
        }
        peer.put_silently(bytes);
        let before = receive.wakes();
        send.poll();
        assert!(receive.wakes() > before, "the receiver was not woken");
    }
}

#[test]
fn a_sender_that_pings_is_woken_when_the_receiver_has_read_the_pong() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(1000);
    let (mut receiver, sender) = halves(near, &clock);
    let mut receive = Task::new(receiver.recv());
    // The second round trip takes as long as the first.
    for _ in 0..2 {
        let mut ping = Task::new(sender.ping());
        settle(&mut [&mut ping, &mut receive]);
        clock.advance(Duration::from_millis(5));
        let sent = parse_frames(&peer.take_all());
        peer.put_silently(&pong(&sent[0]));
        assert!(!ping.is_woken());
        receive.poll();
        assert!(ping.is_woken(), "the sender was not woken");
        settle(&mut [&mut ping]);
        assert_eq!(ping.output().unwrap(), Duration::from_millis(5));
    }
}

/// A sender that waits lets others run after so many reads, whatever the last of them has brought.
#[test]
fn a_message_that_a_waiting_sender_has_read_is_not_lost() {
    for length in 0..=120 {
        let clock = VirtualClock::new();
        let manner = Manner {
            read: 1,
            ..Manner::default()
        };
        let (near, mut peer) = pipe_with(1000, manner);
        let (sender, mut receiver) = opened(Side::Server, near, &clock).split();
        let text = "x".repeat(length);
        peer.put(&frame(Side::Client, 0x81, text.as_bytes()));
        let mut ping = Task::new(sender.ping());
        settle(&mut [&mut ping]);
        assert!(!ping.is_done());
        let mut recv = Task::new(receiver.recv());
        settle(&mut [&mut ping, &mut recv]);
        assert_eq!(recv.output().unwrap(), Some(Message::text(text)));
    }
}

#[test]
fn a_message_wakes_no_one_for_ever() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(1000);
    let (mut receiver, sender) = halves(near, &clock);
    let mut receive = Task::new(async { while receiver.recv().await.unwrap().is_some() {} });
    let mut ping = Task::new(sender.ping());
    settle(&mut [&mut ping, &mut receive]);
    for _ in 0..10 {
        peer.put(&from_peer("message"));
        let polls = settle(&mut [&mut ping, &mut receive]);
        assert!(polls <= 4, "{polls} polls for one message");
    }
}

#[test]
fn without_receiver_the_sender_works_and_closes() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(1000);
    let (receiver, sender) = halves(near, &clock);
    drop(receiver);
    run(sender.send("alone")).unwrap();
    assert_eq!(parse_frames(&peer.take_all())[0].payload, b"alone");
    // Messages that nobody will receive do not keep the answer from being read.
    peer.put(&from_peer("one"));
    peer.put(&from_peer("two"));
    let mut ping = Task::new(sender.ping());
    settle(&mut [&mut ping]);
    answer_ping(&mut peer);
    settle(&mut [&mut ping]);
    ping.output().unwrap();
    peer.put(&from_peer("three"));
    let mut close = Task::new(sender.close(1000, ""));
    settle(&mut [&mut close]);
    peer.put(&close_frame(Side::Server, 1000, ""));
    peer.end();
    settle(&mut [&mut close]);
    close.output().unwrap();
    assert!(peer.is_alone());
}

#[test]
fn a_sender_that_closes_is_woken_when_the_receiver_is_dropped() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(1000);
    let (receiver, sender) = halves(near, &clock);
    peer.put(&from_peer("never received"));
    let mut close = Task::new(sender.close(1000, ""));
    settle(&mut [&mut close]);
    peer.put(&close_frame(Side::Server, 1000, ""));
    peer.end();
    settle(&mut [&mut close]);
    assert!(!close.is_done(), "the message waits for the receiver");
    drop(receiver);
    settle(&mut [&mut close]);
    close.output().unwrap();
}

#[test]
fn without_senders_the_receiver_works() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(1000);
    let (mut receiver, sender) = halves(near, &clock);
    drop(sender);
    peer.put(&frame(Side::Server, 0x89, b"?"));
    peer.put(&from_peer("hello"));
    assert_eq!(run(receiver.recv()).unwrap(), Some(Message::text("hello")));
    assert_eq!(parse_frames(&peer.take_all())[0].first, 0x8a);
    run(receiver.sender().send("and back")).unwrap();
    assert_eq!(parse_frames(&peer.take_all())[0].payload, b"and back");
}

#[test]
fn the_transport_goes_with_the_last_half() {
    let clock = VirtualClock::new();
    let (near, far) = pipe(1000);
    let (receiver, sender) = halves(near, &clock);
    let another = sender.clone();
    drop(sender);
    drop(receiver);
    assert!(!far.is_alone());
    drop(another);
    assert!(far.is_alone());
}

#[test]
fn the_sender_closes_while_the_receiver_reads() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(1000);
    let (mut receiver, sender) = halves(near, &clock);
    let mut receive = Task::new(async {
        let mut received = Vec::new();
        while let Some(message) = receiver.recv().await? {
            received.push(message);
        }
        Ok::<_, Error>(received)
    });
    settle(&mut [&mut receive]);
    let mut close = Task::new(sender.close(1000, ""));
    settle(&mut [&mut receive, &mut close]);
    peer.put(&from_peer("on its way"));
    peer.put(&close_frame(Side::Server, 1000, ""));
    settle(&mut [&mut receive, &mut close]);
    assert!(!close.is_done(), "a client waits for the end of the stream");
    peer.end();
    settle(&mut [&mut receive, &mut close]);
    close.output().unwrap();
    assert_eq!(receive.output().unwrap(), [Message::text("on its way")]);
    assert!(receiver.closed().is_some_and(|closed| closed.is_clean()));
    assert!(matches!(
        run(sender.send("too late")),
        Err(Error::Closed(closed)) if matches!(*closed, Closed::SentThenReceived { .. })
    ));
}

#[test]
fn the_sender_closes_while_the_receiver_is_idle() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(1000);
    let (mut receiver, sender) = halves(near, &clock);
    let mut close = Task::new(sender.close(1000, ""));
    settle(&mut [&mut close]);
    peer.put(&close_frame(Side::Server, 1000, ""));
    peer.end();
    settle(&mut [&mut close]);
    close.output().unwrap();
    assert!(peer.is_alone());
    assert_eq!(run(receiver.recv()).unwrap(), None);
}

#[test]
fn a_message_that_was_written_counts_as_sent_though_another_has_closed_since() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(10);
    let (mut receiver, sender) = halves(near, &clock);
    let another = sender.clone();
    let mut send = Task::new(sender.send("a message longer than the pipe"));
    settle(&mut [&mut send]);
    let mut receive = Task::new(receiver.recv());
    let mut close = Task::new(another.close(1000, ""));
    while receive.poll() || close.poll() || !peer.take_all().is_empty() {}
    peer.put(&close_frame(Side::Server, 1000, ""));
    peer.end();
    settle(&mut [&mut close]);
    close.output().unwrap();
    settle(&mut [&mut send]);
    send.output().unwrap();
}

#[test]
fn a_message_that_had_arrived_is_given_out_after_the_sender_has_ended_the_connection() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(1000);
    let (mut receiver, sender) = halves(near, &clock);
    peer.put(&from_peer("in time"));
    let mut close = Task::new(sender.close(1000, ""));
    settle(&mut [&mut close]);
    clock.advance(Duration::from_secs(5));
    settle(&mut [&mut close]);
    assert!(close.output().unwrap_err().is_timeout());
    assert!(peer.is_alone());
    assert_eq!(
        run(receiver.recv()).unwrap(),
        Some(Message::text("in time"))
    );
    assert!(run(receiver.recv()).unwrap_err().is_timeout());
    assert!(run(receiver.recv()).unwrap_err().is_timeout());
}

/// A waker that polls another task on the spot.
#[test]
fn a_wakeup_may_poll_the_other_half_on_the_spot() {
    type Polls = Box<dyn FnMut(&mut Context<'_>) + Send>;
    let hesitant = Manner {
        hesitates: true,
        ..Manner::default()
    };
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe_with(10, hesitant);
    let (mut receiver, sender) = halves(near, &clock);
    let received = Arc::new(Mutex::new(Vec::new()));
    let log = received.clone();
    let receive: Polls = Box::new(move |cx| {
        while let Poll::Ready(Ok(Some(message))) = receiver.poll_recv(cx) {
            log.lock().unwrap().push(message);
        }
    });
    let receive = Arc::new(Mutex::new(receive));
    let budget = AtomicUsize::new(1000);
    let waker = waker_fn(move || {
        // A wakeup in this very poll asks for another one, which ends at some time.
        let left = budget.fetch_sub(1, Ordering::SeqCst);
        if let (Ok(mut receive), 1..) = (receive.try_lock(), left) {
            receive(&mut Context::from_waker(Waker::noop()));
        }
    });
    peer.put(&from_peer("one"));
    peer.put(&from_peer("two"));
    let mut send = pin!(sender.send("a message longer than the pipe"));
    let mut cx = Context::from_waker(&waker);
    for _ in 0..100 {
        if send.as_mut().poll(&mut cx).is_ready() {
            break;
        }
        peer.take_all();
    }
    assert_eq!(
        *received.lock().unwrap(),
        [Message::text("one"), Message::text("two")]
    );
}

#[test]
fn a_waker_that_is_dropped_may_drop_a_half() {
    /// Drops a sender with itself.
    struct Owner(#[expect(dead_code, reason = "dropped")] Mutex<Option<Sender<End, VirtualTimer>>>);
    impl Wake for Owner {
        fn wake(self: Arc<Self>) {}
    }
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(1000);
    let (mut receiver, sender) = halves(near, &clock);
    let owner = Arc::new(Owner(Mutex::new(Some(sender))));
    let waker = Waker::from(owner);
    assert!(
        receiver
            .poll_recv(&mut Context::from_waker(&waker))
            .is_pending()
    );
    drop(waker);
    // The new waker takes the place of the old one, which was the last of its kind.
    let noop = &mut Context::from_waker(Waker::noop());
    assert!(receiver.poll_recv(noop).is_pending());
    peer.put(&from_peer("still here"));
    assert!(receiver.poll_recv(noop).is_ready());
}

/// Panics in the first read.
struct Panics(End, Arc<AtomicBool>);

impl AsyncRead for Panics {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        assert!(self.1.swap(true, Ordering::SeqCst), "scripted panic");
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Panics {
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

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

#[test]
fn a_panic_in_one_task_does_not_spread_to_the_other() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(1000);
    let (mut receiver, sender) = halves(Panics(near, Arc::default()), &clock);
    let panicked = catch_unwind(AssertUnwindSafe(|| run(receiver.recv())));
    assert!(panicked.is_err());
    let mut ping = Task::new(sender.ping());
    settle(&mut [&mut ping]);
    answer_ping(&mut peer);
    settle(&mut [&mut ping]);
    ping.output().unwrap();
    peer.put(&from_peer("hello"));
    assert_eq!(run(receiver.recv()).unwrap(), Some(Message::text("hello")));
}

#[test]
fn halves_of_a_transport_for_one_thread() {
    /// A transport that cannot leave its thread.
    struct Local(Rc<RefCell<End>>);
    impl AsyncRead for Local {
        fn poll_read(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut *self.0.borrow_mut()).poll_read(cx, buf)
        }
    }
    impl AsyncWrite for Local {
        fn poll_write(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut *self.0.borrow_mut()).poll_write(cx, buf)
        }
        fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut *self.0.borrow_mut()).poll_flush(cx)
        }
        fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut *self.0.borrow_mut()).poll_close(cx)
        }
    }
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(1000);
    let near = Rc::new(RefCell::new(near));
    let (mut receiver, sender) = halves(Local(near.clone()), &clock);
    let mut receive = Task::new(receiver.recv());
    settle(&mut [&mut receive]);
    run(sender.send("hello")).unwrap();
    assert_eq!(parse_frames(&peer.take_all())[0].payload, b"hello");
    peer.put(&from_peer("back"));
    settle(&mut [&mut receive]);
    assert_eq!(receive.output().unwrap(), Some(Message::text("back")));
    assert_eq!(Rc::strong_count(&near), 2);
    drop((receiver, sender));
    assert_eq!(Rc::strong_count(&near), 1);
}

#[test]
fn halves_on_threads_of_their_own() {
    const COUNT: usize = 500;
    let clock = VirtualClock::new();
    let (near, far) = pipe(100);
    let (mut receiver, sender) = halves(near, &clock);
    let mut server = opened(Side::Server, far, &clock);
    std::thread::scope(|scope| {
        scope.spawn(|| block_on(echo(&mut server)).unwrap());
        let another = sender.clone();
        scope.spawn(move || {
            for _ in 0..COUNT {
                block_on(another.feed("from another")).unwrap();
            }
            block_on(another.flush()).unwrap();
        });
        let receive = scope.spawn(|| {
            let mut received = 0;
            while let Some(message) = block_on(receiver.recv()).unwrap() {
                received += usize::from(message.as_text().is_some());
                if received == 2 * COUNT {
                    block_on(receiver.sender().close(1000, "")).unwrap();
                }
            }
            received
        });
        for _ in 0..COUNT {
            block_on(sender.send("from one")).unwrap();
        }
        assert_eq!(receive.join().unwrap(), 2 * COUNT);
    });
}
