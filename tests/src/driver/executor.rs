//! An executor that is run by hand, counts, and tells a lost wakeup from a spin.
//!
//! A task is polled only when it was woken, so that a lost wakeup leaves it unfinished, and no more
//! than so many times, so that a spin is noticed.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Polls after which a run counts as a spin.
const MOST_POLLS: usize = 400_000;

/// A future with a waker of its own.
pub struct Task<'a, T> {
    future: Option<Pin<Box<dyn Future<Output = T> + 'a>>>,
    output: Option<T>,
    bell: Arc<Bell>,
    fickle: bool,
    polls: usize,
}

#[derive(Default)]
struct Bell {
    rung: AtomicBool,
    wakes: AtomicUsize,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::SeqCst);
        self.wakes.fetch_add(1, Ordering::SeqCst);
    }
}

impl<'a, T> Task<'a, T> {
    /// Returns a task that has yet to be polled.
    pub fn new(future: impl Future<Output = T> + 'a) -> Self {
        let bell = Bell::default();
        bell.rung.store(true, Ordering::SeqCst);
        Self {
            future: Some(Box::pin(future)),
            output: None,
            bell: Arc::new(bell),
            fickle: false,
            polls: 0,
        }
    }

    /// Returns a task that brings another waker to every poll, and does not heed the earlier ones.
    pub fn fickle(future: impl Future<Output = T> + 'a) -> Self {
        Self {
            fickle: true,
            ..Self::new(future)
        }
    }

    /// Whether the future is ready.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.future.is_none()
    }

    /// Whether the task was woken since it was polled.
    #[must_use]
    pub fn is_woken(&self) -> bool {
        !self.is_done() && self.bell.rung.load(Ordering::SeqCst)
    }

    /// Returns how often the task was woken.
    #[must_use]
    pub fn wakes(&self) -> usize {
        self.bell.wakes.load(Ordering::SeqCst)
    }

    /// Returns how often the task was polled.
    #[must_use]
    pub const fn polls(&self) -> usize {
        self.polls
    }

    /// Polls once, woken or not. Returns whether the future is ready.
    pub fn poll(&mut self) -> bool {
        if self.fickle {
            self.bell = Arc::new(Bell::default());
        }
        self.bell.rung.store(false, Ordering::SeqCst);
        let waker = Waker::from(self.bell.clone());
        let Some(future) = &mut self.future else {
            return true;
        };
        self.polls += 1;
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            self.output = Some(output);
            self.future = None;
        }
        self.is_done()
    }

    /// Returns what the future came to.
    #[must_use]
    #[track_caller]
    pub fn output(self) -> T {
        self.output.expect("the task waits: a wakeup was lost")
    }
}

impl<T> fmt::Debug for Task<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("done", &self.is_done())
            .field("polls", &self.polls)
            .finish_non_exhaustive()
    }
}

/// A task, whatever it comes to.
pub trait Runs {
    /// Polls the task if it was woken. Returns whether it was.
    fn step(&mut self) -> bool;
}

impl<T> Runs for Task<'_, T> {
    fn step(&mut self) -> bool {
        let woken = self.is_woken();
        if woken {
            self.poll();
        }
        woken
    }
}

/// Runs tasks in turn until none is woken. Returns how many polls that took.
#[track_caller]
pub fn settle(tasks: &mut [&mut dyn Runs]) -> usize {
    settle_with(tasks, || {})
}

/// Runs tasks in turn until none is woken, and does something after each turn.
#[track_caller]
pub fn settle_with(tasks: &mut [&mut dyn Runs], mut after: impl FnMut()) -> usize {
    let mut polls = 0;
    loop {
        let before = polls;
        for task in &mut *tasks {
            polls += usize::from(task.step());
        }
        after();
        if polls == before {
            return polls;
        }
        assert!(polls < MOST_POLLS, "the tasks spin");
    }
}

/// Runs a future that has all it needs.
#[track_caller]
pub fn run<T>(future: impl Future<Output = T>) -> T {
    let mut task = Task::new(future);
    settle(&mut [&mut task]);
    task.output()
}

/// Runs two futures that need each other, with other wakers at every poll.
#[track_caller]
pub fn both<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    let (mut a, mut b) = (Task::fickle(a), Task::fickle(b));
    settle(&mut [&mut a, &mut b]);
    (a.output(), b.output())
}

/// Polls a future once and drops it.
pub fn poll_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// Makes a future anew for every poll, and drops it after.
pub async fn recreated<T>(mut make: impl AsyncFnMut() -> T) -> T {
    poll_fn(|cx| pin!(make()).poll(cx)).await
}

/// Returns a waker that calls a function.
pub fn waker_fn(wake: impl Fn() + Send + Sync + 'static) -> Waker {
    struct Calls<F>(F);
    impl<F: Fn() + Send + Sync + 'static> Wake for Calls<F> {
        fn wake(self: Arc<Self>) {
            (self.0)();
        }
    }
    Waker::from(Arc::new(Calls(wake)))
}
