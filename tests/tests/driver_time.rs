//! The virtual clock, the lack of any, and timers that ring early or late.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use sansock::clock::VirtualClock;
use sansock::{Error, Message, NoTimer, Timer, WebSocket};
use sansock_core::{Connection, Deadline, Instant, Negotiated, Side};
use sansock_tests::driver::{
    Task, both, config, echo, frame, opened, parse_frames, pipe, run, settle, waker_fn,
};

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: u64) -> Option<Instant> {
    Some(Instant::from_start(Duration::from_secs(seconds)))
}

/// A waker that counts.
fn counter() -> (Waker, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let waker = waker_fn(move || {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    (waker, count)
}

#[test]
fn an_alarm_rings_once_at_its_time() {
    let clock = VirtualClock::new();
    let mut timer = clock.timer();
    let (waker, wakes) = counter();
    let cx = &mut Context::from_waker(&waker);
    assert!(timer.poll(cx).is_pending(), "no alarm is set");
    timer.set(at(10));
    assert!(timer.poll(cx).is_pending());
    clock.advance(9 * SECOND);
    assert_eq!(wakes.load(Ordering::SeqCst), 0);
    assert!(timer.poll(cx).is_pending());
    clock.advance(SECOND);
    assert_eq!(wakes.load(Ordering::SeqCst), 1);
    assert!(timer.poll(cx).is_ready());
    assert!(timer.poll(cx).is_pending(), "it has rung");
    clock.advance(SECOND);
    assert_eq!(wakes.load(Ordering::SeqCst), 1);
}

#[test]
fn an_alarm_is_replaced_turned_off_and_dropped() {
    let clock = VirtualClock::new();
    let mut timer = clock.timer();
    let (waker, wakes) = counter();
    let cx = &mut Context::from_waker(&waker);
    timer.set(at(1));
    assert!(timer.poll(cx).is_pending());
    timer.set(at(5));
    assert!(timer.poll(cx).is_pending());
    clock.advance(SECOND);
    assert_eq!(wakes.load(Ordering::SeqCst), 0, "the earlier alarm is gone");
    timer.set(None);
    clock.advance(10 * SECOND);
    assert!(timer.poll(cx).is_pending());
    assert_eq!(wakes.load(Ordering::SeqCst), 0);
    timer.set(at(20));
    assert_eq!(clock.next_alarm(), at(20));
    drop(timer);
    assert_eq!(clock.next_alarm(), None);
}

#[test]
fn an_alarm_in_the_past_rings_at_once() {
    let clock = VirtualClock::new();
    clock.advance(10 * SECOND);
    let mut timer = clock.timer();
    timer.set(at(10));
    assert!(
        timer
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_ready()
    );
}

#[test]
fn the_last_waker_is_woken() {
    let clock = VirtualClock::new();
    let mut timer = clock.timer();
    timer.set(at(1));
    let (first, not_woken) = counter();
    let (second, woken) = counter();
    assert!(timer.poll(&mut Context::from_waker(&first)).is_pending());
    assert!(timer.poll(&mut Context::from_waker(&second)).is_pending());
    clock.advance(SECOND);
    assert_eq!(not_woken.load(Ordering::SeqCst), 0);
    assert_eq!(woken.load(Ordering::SeqCst), 1);
}

#[test]
fn timers_of_one_clock_ring_each_for_itself() {
    let clock = VirtualClock::new();
    let (mut one, mut two) = (clock.timer(), clock.clone().timer());
    let cx = &mut Context::from_waker(Waker::noop());
    one.set(at(1));
    two.set(at(2));
    assert_eq!(clock.next_alarm(), at(1));
    assert!(clock.advance_to_next_alarm());
    assert_eq!(Some(clock.now()), at(1));
    assert_eq!(clock.next_alarm(), at(2), "the first has rung");
    assert!(one.poll(cx).is_ready());
    assert!(two.poll(cx).is_pending());
    assert!(clock.advance_to_next_alarm());
    assert!(two.poll(cx).is_ready());
    assert!(!clock.advance_to_next_alarm());
    assert_eq!(Some(two.now()), at(2));
}

#[test]
fn a_clock_may_be_used_by_whoever_it_wakes() {
    let clock = VirtualClock::new();
    let mut timer = clock.timer();
    timer.set(at(1));
    let seen = clock.clone();
    let waker = waker_fn(move || assert_eq!(Some(seen.now()), at(1)));
    assert!(timer.poll(&mut Context::from_waker(&waker)).is_pending());
    clock.advance(SECOND);
}

#[test]
fn without_a_timer_no_deadline_passes_and_everything_else_works() {
    let (near, far) = pipe(10);
    let connection = |side| Connection::new(side, Negotiated::default(), config()).unwrap();
    let mut client = WebSocket::new(near, NoTimer, connection(Side::Client));
    let mut server = opened(Side::Server, far, &VirtualClock::new());
    let talk = async {
        client.send("hello").await?;
        assert_eq!(client.recv().await?, Some(Message::text("hello")));
        assert_eq!(client.ping().await?, Duration::ZERO);
        client.close(1000, "").await
    };
    let (talked, answered) = both(talk, echo(&mut server));
    talked.unwrap();
    answered.unwrap();
}

/// A timer that wakes at half the time, as a coarse one may, then at the right time.
struct Early(sansock::clock::VirtualTimer, Option<Instant>);

impl Timer for Early {
    fn now(&self) -> Instant {
        self.0.now()
    }

    fn set(&mut self, deadline: Option<Instant>) {
        self.1 = deadline;
        let half = deadline.map(|at| self.now().since_start().midpoint_of(at.since_start()));
        self.0.set(half.map(Instant::from_start));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.0.poll(cx).is_pending() {
            return Poll::Pending;
        }
        let Some(deadline) = self.1 else {
            return Poll::Pending;
        };
        if deadline <= self.now() {
            return Poll::Ready(());
        }
        self.0.set(Some(deadline));
        self.0.poll(cx)
    }
}

/// The middle between two durations.
trait Midpoint {
    fn midpoint_of(self, other: Self) -> Self;
}

impl Midpoint for Duration {
    fn midpoint_of(self, other: Self) -> Self {
        (self + other) / 2
    }
}

#[test]
fn a_timer_that_rings_early_still_rings_in_time() {
    let clock = VirtualClock::new();
    let (near, _peer) = pipe(1000);
    let connection = Connection::new(Side::Client, Negotiated::default(), config()).unwrap();
    let mut ws = WebSocket::new(near, Early(clock.timer(), None), connection);
    let mut close = Task::new(ws.close(1000, ""));
    for _ in 0..5 {
        settle(&mut [&mut close]);
        assert!(!close.is_done());
        clock.advance(SECOND);
    }
    settle(&mut [&mut close]);
    assert!(matches!(
        close.output(),
        Err(Error::TimedOut(Deadline::Close))
    ));
}

/// A timer that counts how often it is set.
struct Counted(sansock::clock::VirtualTimer, Arc<AtomicUsize>);

impl Timer for Counted {
    fn now(&self) -> Instant {
        self.0.now()
    }

    fn set(&mut self, deadline: Option<Instant>) {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.set(deadline);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll(cx)
    }
}

#[test]
fn an_alarm_that_stays_is_set_once() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(1000);
    let connection = Connection::new(Side::Client, Negotiated::default(), config()).unwrap();
    let sets = Arc::new(AtomicUsize::new(0));
    let mut ws = WebSocket::new(near, Counted(clock.timer(), sets.clone()), connection);
    for _ in 0..100 {
        peer.put(&frame(Side::Server, 0x81, b"message"));
        run(ws.recv()).unwrap();
        let mut recv = Task::new(ws.recv());
        settle(&mut [&mut recv]);
        clock.advance(Duration::from_millis(1));
    }
    assert_eq!(sets.load(Ordering::SeqCst), 1);
}

#[test]
fn a_clock_that_jumps_far_ahead_ends_what_is_due_once() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(1000);
    let mut ws = opened(Side::Client, near, &clock);
    let mut recv = Task::new(ws.recv());
    settle(&mut [&mut recv]);
    clock.advance(Duration::from_secs(3600));
    settle(&mut [&mut recv]);
    // After an hour's sleep: one ping, which has its own time to be answered.
    let sent = parse_frames(&peer.take_all());
    assert_eq!(sent.len(), 1);
    assert!(!recv.is_done());
    peer.put(&frame(Side::Server, 0x8a, &sent[0].payload));
    peer.put(&frame(Side::Server, 0x81, b"still here"));
    settle(&mut [&mut recv]);
    assert_eq!(recv.output().unwrap(), Some(Message::text("still here")));
}

#[test]
fn a_pong_that_arrived_while_nobody_looked_counts() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(1000);
    let mut ws = opened(Side::Client, near, &clock);
    let mut recv = Task::new(ws.recv());
    settle(&mut [&mut recv]);
    clock.advance(Duration::from_secs(20));
    settle(&mut [&mut recv]);
    let ping = parse_frames(&peer.take_all());
    drop(recv);
    peer.put(&frame(Side::Server, 0x8a, &ping[0].payload));
    clock.advance(Duration::from_secs(3600));
    peer.put(&frame(Side::Server, 0x81, b"hello"));
    assert_eq!(run(ws.recv()).unwrap(), Some(Message::text("hello")));
}
