//! The halves of a WebSocket in different threads, in every order that their locks allow: each thread that
//! waits is woken.
//!
//! A thread that waits for a wakeup that never comes is a deadlock, which loom reports. Each test prints how
//! many orders there were.

mod line;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use locks as loom;
use loom::future::block_on;
use loom::thread;
use sansock::clock::{VirtualClock, VirtualTimer};
use sansock::core::{Connection, Negotiated, Side};
use sansock::{Config, Receiver, Sender, WebSocket};

use line::{Line, Peer, from_client, line, to_client};

const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

const NORMAL: [u8; 2] = 1000_u16.to_be_bytes();
/// What the first ping of a connection holds.
const FIRST_PING: [u8; 4] = [0, 0, 0, 1];

type Halves = (Sender<Line, VirtualTimer>, Receiver<Line, VirtualTimer>);

/// Runs a scenario in every order of its threads.
fn explore(name: &str, scenario: impl Fn() + Send + Sync + 'static) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let mut builder = loom::model::Builder::new();
    builder.max_branches = 10_000;
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        scenario();
    });
    let count = count.load(Ordering::Relaxed);
    println!("{name}: {count} interleavings");
    assert!(count > 1, "nothing was interleaved");
}

/// A server in halves over a line that takes so many bytes, and its peer.
fn halves(room: usize, clock: &VirtualClock) -> (Halves, Peer) {
    let (line, peer) = line(room);
    let config = Config::new().write_timeout(None);
    let connection = Connection::new(Side::Server, Negotiated::default(), config).unwrap();
    (
        WebSocket::new(line, clock.timer(), connection).split(),
        peer,
    )
}

/// Polls a future once before the threads start.
fn started<T>(
    future: impl Future<Output = T> + Send + 'static,
) -> Pin<Box<dyn Future<Output = T> + Send>> {
    let mut future: Pin<Box<dyn Future<Output = T> + Send>> = Box::pin(future);
    assert!(
        future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_pending()
    );
    future
}

/// Receives the next message, which is a text.
fn receive(receiver: &mut Receiver<Line, VirtualTimer>) -> String {
    let message = block_on(receiver.recv()).unwrap().unwrap();
    message.as_text().unwrap().to_string()
}

#[test]
fn a_message_and_a_pong_reach_those_who_wait_for_them() {
    explore("message and pong", || {
        let ((sender, mut receiver), peer) = halves(100, &VirtualClock::new());
        let ping = started(async move { sender.ping().await });
        let pinging = thread::spawn(move || block_on(ping).unwrap());
        let answering = thread::spawn(move || {
            peer.put(&[from_client(TEXT, b"hi"), from_client(PONG, &FIRST_PING)].concat());
        });
        assert_eq!(receive(&mut receiver), "hi");
        pinging.join().unwrap();
        answering.join().unwrap();
    });
}

#[test]
fn a_sender_without_room_and_a_receiver_end_both() {
    explore("message and room", || {
        let ((sender, mut receiver), peer) = halves(3, &VirtualClock::new());
        let sending = thread::spawn(move || block_on(sender.send("hello")).unwrap());
        let far = peer.clone();
        let reading = thread::spawn(move || {
            far.make_room(2);
            far.put(&from_client(TEXT, b"hi"));
            far.make_room(10);
        });
        assert_eq!(receive(&mut receiver), "hi");
        sending.join().unwrap();
        reading.join().unwrap();
        assert_eq!(peer.written(), to_client(TEXT, b"hello"));
    });
}

#[test]
fn messages_of_two_senders_leave_whole() {
    explore("two senders", || {
        let ((first, receiver), peer) = halves(4, &VirtualClock::new());
        let second = first.clone();
        let one = thread::spawn(move || block_on(first.send("one")).unwrap());
        let far = peer.clone();
        let reading = thread::spawn(move || far.make_room(10));
        block_on(second.send("two")).unwrap();
        one.join().unwrap();
        reading.join().unwrap();
        let (one, two) = (to_client(TEXT, b"one"), to_client(TEXT, b"two"));
        let written = peer.written();
        assert!(written == [&one[..], &two].concat() || written == [two, one].concat());
        drop(receiver);
    });
}

#[test]
fn a_ping_is_answered_whoever_waits() {
    explore("pong of ours", || {
        let ((sender, mut receiver), peer) = halves(7, &VirtualClock::new());
        let sending = thread::spawn(move || {
            block_on(sender.send("hello")).unwrap();
            sender
        });
        let far = peer.clone();
        let pinging = thread::spawn(move || {
            far.put(&[from_client(PING, b"?"), from_client(TEXT, b"hi")].concat());
            far.make_room(3);
        });
        assert_eq!(receive(&mut receiver), "hi");
        let sender = sending.join().unwrap();
        pinging.join().unwrap();
        block_on(sender.flush()).unwrap();
        let (pong, text) = (to_client(PONG, b"?"), to_client(TEXT, b"hello"));
        let written = peer.written();
        assert!(written == [&pong[..], &text].concat() || written == [text, pong].concat());
    });
}

#[test]
fn a_close_ends_the_receiver_and_the_sender() {
    explore("close", || {
        let ((sender, mut receiver), peer) = halves(100, &VirtualClock::new());
        let closing = thread::spawn(move || block_on(sender.close(1000, "")).unwrap());
        let far = peer.clone();
        let answering = thread::spawn(move || far.put_last(&from_client(CLOSE, &NORMAL)));
        assert!(block_on(receiver.recv()).unwrap().is_none());
        closing.join().unwrap();
        answering.join().unwrap();
        assert_eq!(peer.written(), to_client(CLOSE, &NORMAL));
    });
}

#[test]
fn a_close_that_nobody_answers_ends_in_time() {
    explore("close deadline", || {
        let clock = VirtualClock::new();
        let ((sender, mut receiver), _peer) = halves(100, &clock);
        let close = started(async move { sender.close(1000, "").await });
        let closing = thread::spawn(move || block_on(close).unwrap_err());
        let passing = thread::spawn(move || clock.advance(Duration::from_secs(5)));
        assert!(block_on(receiver.recv()).unwrap_err().is_timeout());
        assert!(closing.join().unwrap().is_timeout());
        passing.join().unwrap();
    });
}

#[test]
fn a_lost_transport_ends_both() {
    explore("lost", || {
        let ((sender, mut receiver), peer) = halves(100, &VirtualClock::new());
        let ping = started(async move { sender.ping().await });
        let pinging = thread::spawn(move || block_on(ping).unwrap_err());
        let leaving = thread::spawn(move || peer.put_last(&[]));
        block_on(receiver.recv()).unwrap_err();
        pinging.join().unwrap();
        leaving.join().unwrap();
    });
}

#[test]
fn a_receiver_that_is_dropped_wakes_a_sender_behind_its_message() {
    explore("receiver dropped", || {
        let ((sender, receiver), peer) = halves(100, &VirtualClock::new());
        let ping = started(async move { sender.ping().await });
        let pinging = thread::spawn(move || block_on(ping).unwrap());
        let answering = thread::spawn(move || {
            peer.put(&[from_client(TEXT, b"hi"), from_client(PONG, &FIRST_PING)].concat());
        });
        drop(receiver);
        pinging.join().unwrap();
        answering.join().unwrap();
    });
}

#[test]
fn a_sender_that_is_dropped_takes_no_wakeup_with_it() {
    explore("sender dropped", || {
        let ((sender, mut receiver), peer) = halves(100, &VirtualClock::new());
        let ping = started(async move { sender.ping().await });
        let giving_up = thread::spawn(move || drop(ping));
        let sending = thread::spawn(move || peer.put(&from_client(TEXT, b"hi")));
        assert_eq!(receive(&mut receiver), "hi");
        giving_up.join().unwrap();
        sending.join().unwrap();
    });
}

/// A waker that uses the halves itself when it is woken, and when it is dropped.
struct Busy {
    task: Waker,
    sender: Sender<Line, VirtualTimer>,
}

impl Busy {
    /// Takes every lock that the halves have.
    fn use_halves(&self) {
        drop(self.sender.clone());
        let _ = self.sender.closed();
    }
}

impl Wake for Busy {
    fn wake(self: Arc<Self>) {
        self.use_halves();
        self.task.wake_by_ref();
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.use_halves();
    }
}

#[test]
fn a_waker_runs_under_no_lock() {
    explore("wakers that use the halves", || {
        let ((sender, mut receiver), peer) = halves(3, &VirtualClock::new());
        let busy = sender.clone();
        let sending = thread::spawn(move || block_on(sender.send("hello")).unwrap());
        let far = peer.clone();
        let reading = thread::spawn(move || {
            far.put(&from_client(TEXT, b"hi"));
            far.make_room(10);
        });
        let received = block_on(poll_fn(|cx| {
            let waker = Waker::from(Arc::new(Busy {
                task: cx.waker().clone(),
                sender: busy.clone(),
            }));
            receiver.poll_recv(&mut Context::from_waker(&waker))
        }));
        assert_eq!(received.unwrap().unwrap().as_text().unwrap(), "hi");
        sending.join().unwrap();
        reading.join().unwrap();
        // The halves and a waker that is kept would keep each other.
        drop((receiver, busy));
        assert_eq!(peer.written(), to_client(TEXT, b"hello"));
    });
}
