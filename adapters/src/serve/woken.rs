//! A future that is polled only when it was woken.
//!
//! The task of a server may run its connections as well, as an executor inside a task does. Then that task is
//! woken for every message, and would poll the server each time: its listeners, its registry, its timers.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Polls a future when it was woken, and returns `Pending` otherwise.
#[derive(Debug)]
pub(super) struct WhenWoken<F> {
    future: F,
    bell: Arc<Bell>,
    /// Of the future, made once.
    waker: Waker,
}

#[derive(Debug)]
struct Bell {
    /// Set before the first poll.
    is_woken: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl<F: Future + Unpin> WhenWoken<F> {
    pub(super) fn new(future: F) -> Self {
        let bell = Arc::new(Bell {
            is_woken: AtomicBool::new(true),
            task: Mutex::new(None),
        });
        Self {
            future,
            waker: bell.clone().into(),
            bell,
        }
    }
}

impl<F: Future + Unpin> Future for WhenWoken<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        this.bell.register(cx.waker());
        // After the task is registered: a wakeup before that has set it, one after that wakes the task.
        if !this.bell.is_woken.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        Pin::new(&mut this.future).poll(&mut Context::from_waker(&this.waker))
    }
}

impl Bell {
    fn register(&self, waker: &Waker) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *task {
            Some(task) => task.clone_from(waker),
            None => *task = Some(waker.clone()),
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::Release);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        let task = task.clone();
        if let Some(task) = task {
            task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::future::poll_fn;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicBool);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    impl Count {
        fn take(&self) -> bool {
            self.0.swap(false, Ordering::Relaxed)
        }
    }

    #[test]
    fn it_is_polled_once_for_each_wakeup() {
        let (polls, inner) = (Cell::new(0), RefCell::new(None::<Waker>));
        let mut future = WhenWoken::new(poll_fn(|cx| {
            polls.set(polls.get() + 1);
            *inner.borrow_mut() = Some(cx.waker().clone());
            match polls.get() {
                5 => Poll::Ready("done"),
                _ => Poll::Pending,
            }
        }));
        let [first, second] = [(); 2].map(|()| Arc::<Count>::default());
        let mut poll = |task: &Arc<Count>| {
            let waker = Waker::from(task.clone());
            Pin::new(&mut future).poll(&mut Context::from_waker(&waker))
        };
        for _ in 0..3 {
            assert_eq!(poll(&first), Poll::Pending);
        }
        assert_eq!((polls.get(), first.take()), (1, false));

        // A wakeup before the next poll, and the waker of the first poll after others.
        let kept = inner.borrow().clone().unwrap();
        for expected in 2..4 {
            kept.wake_by_ref();
            assert!(first.take());
            for _ in 0..3 {
                assert_eq!(poll(&first), Poll::Pending);
            }
            assert_eq!(polls.get(), expected);
        }

        // The task that has polled last is woken.
        assert_eq!(poll(&second), Poll::Pending);
        kept.wake_by_ref();
        assert!(!first.take() && second.take());
        assert_eq!(poll(&first), Poll::Pending);
        kept.wake();
        assert_eq!(poll(&first), Poll::Ready("done"));
    }
}
