//! Paths of one task beside one call after another: both ways at once, whatever comes first, and sending
//! without receiving.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_lite::future::or;
use sansock::{Error, Message};
use sansock_core::Instant;

use super::methods::Duplex;
use super::talk::Got;
use super::{Application, Ending, Usage};
use crate::simulation::faults::Fault;
use crate::simulation::paths::Path;
use crate::simulation::time::sleep;

/// What comes first.
enum First {
    Got(Result<Got, Error>),
    Message(Option<Message>),
}

impl Application {
    // Both ways at once.

    pub(super) async fn both_ways(&self, mut ws: impl Duplex) -> Ending {
        self.world.walk(Path::BothWays);
        let since = self.world.now();
        let is_to_close = {
            let _driven = self.duties.receive();
            poll_fn(|cx| self.poll_both_ways(&mut ws, cx, since)).await
        };
        if is_to_close {
            let _ = self.close_somehow(&mut ws).await;
        }
        self.end(&mut ws).await
    }

    /// Receives whatever there is, then sends whatever there is room for. Returns whether to close.
    fn poll_both_ways(
        &self,
        ws: &mut impl Duplex,
        cx: &mut Context<'_>,
        since: Instant,
    ) -> Poll<bool> {
        while let Poll::Ready(received) = Pin::new(&mut *ws).poll_next(cx) {
            match received {
                Some(Ok(message)) => {
                    self.duties.result();
                    self.theirs.delivered(message.kind(), message.as_bytes());
                }
                Some(Err(error)) => {
                    self.report("poll_next", &Err::<(), _>(error));
                    return Poll::Ready(false);
                }
                None => return Poll::Ready(false),
            }
        }
        // That was pending: the operations below start with a full budget.
        self.world.goes_on();
        while let Some(message) = self.ours.next(0) {
            let ready = std::task::ready!(Pin::new(&mut *ws).poll_ready(cx));
            // What is queued does no I/O, and is bounded by the queue.
            self.report_end("poll_ready", &ready);
            // What ended it is received in its turn.
            if ready.is_err() {
                return Poll::Ready(true);
            }
            let started = Pin::new(&mut *ws).start_send(message);
            self.report_end("start_send", &started);
            if started.is_err() {
                return Poll::Ready(true);
            }
            self.ours.sent(0);
        }
        match Pin::new(&mut *ws).poll_flush(cx) {
            Poll::Ready(flushed) => {
                self.report("poll_flush", &flushed);
                let is_done = self.role.closes && self.is_done(since);
                match flushed.is_err() || is_done {
                    true => Poll::Ready(true),
                    false => Poll::Pending,
                }
            }
            Poll::Pending => Poll::Pending,
        }
    }

    // Whatever comes first.

    pub(super) async fn select(&self, mut ws: impl Duplex) -> Ending {
        self.world.walk(Path::Select);
        let queue = Rc::new(Queue::default());
        let (world, ours, filled) = (self.world.clone(), self.ours.clone(), queue.clone());
        self.spawn(async move {
            for message in 0..ours.plan().planned[0] {
                filled.put(Some(ours.message(0, message)));
                if world.below(3) == 0 {
                    sleep(&world, world.time_up_to(3000)).await;
                }
            }
            filled.put(None);
        });
        let _ = self.talk_with(&mut ws, &queue).await;
        self.end(&mut ws).await
    }

    async fn talk_with(&self, ws: &mut impl Duplex, queue: &Queue) -> Result<(), Error> {
        loop {
            let receive = async { First::Got(self.receive_or_drop(ws).await) };
            let receive = self.duties.beside_others(receive);
            let next = async { First::Message(queue.take().await) };
            match or(receive, next).await {
                First::Got(Ok(Got::End)) => return Ok(()),
                First::Got(got) => drop(got?),
                First::Message(Some(message)) => self.send(ws, &message, 0).await?,
                First::Message(None) => break,
            }
        }
        // What was fed is written by whoever receives.
        let since = self.world.now();
        while !(self.role.closes && self.is_done(since)) {
            let got = match self.role.closes {
                true => self.receive_for(ws, Duration::from_secs(1)).await?,
                false => self.receive(ws).await?,
            };
            if got == Got::End {
                return Ok(());
            }
        }
        self.close_somehow(ws).await.map(drop)
    }

    // Sending without receiving.

    pub(super) async fn send_only(&self, mut ws: impl Duplex) -> Ending {
        match self.role.usage == Usage::CloseRead {
            true => {
                self.world.walk(Path::CloseRead);
                ws.close_read();
                self.duties.set_discards();
            }
            false => self.world.walk(Path::SendOnly),
        }
        if self.send_with_pauses(&mut ws).await.is_ok() {
            let _ = self.close_somehow(&mut ws).await;
        }
        self.end(&mut ws).await
    }

    async fn send_with_pauses(&self, ws: &mut impl Duplex) -> Result<(), Error> {
        let since = self.world.now();
        while let Some(message) = self.ours.next(0) {
            match self.world.below(8) {
                0 => self.send_control(ws).await?,
                1 => self.ping(ws).await?,
                _ => self.send(ws, &message, 0).await?,
            }
            if self.world.below(2) == 0 {
                sleep(&self.world, self.world.time_up_to(2000)).await;
            }
            if self.world.strikes(Fault::CloseEarly, 40) {
                return Ok(());
            }
        }
        self.flush(ws).await?;
        // Nothing is received: the end is reported by sending.
        let is_done = || {
            let waited = self.world.now().saturating_since(since);
            (self.role.closes && self.ours.is_sent()) || waited >= self.patience()
        };
        while !is_done() {
            sleep(&self.world, self.world.time_up_to(1000)).await;
            match self.world.below(2) {
                0 => self.flush(ws).await?,
                _ => self.send_control(ws).await?,
            }
        }
        Ok(())
    }
}

/// Messages for a task that waits for something else as well.
#[derive(Default)]
struct Queue {
    messages: RefCell<VecDeque<Option<Message>>>,
    waker: RefCell<Option<Waker>>,
}

impl Queue {
    /// Puts in a message, or that there are no more.
    fn put(&self, message: Option<Message>) {
        self.messages.borrow_mut().push_back(message);
        let waker = self.waker.borrow_mut().take();
        waker.into_iter().for_each(Waker::wake);
    }

    /// Takes a message; dropped while it waits, it has taken none.
    async fn take(&self) -> Option<Message> {
        poll_fn(|cx| match self.messages.borrow_mut().pop_front() {
            Some(message) => Poll::Ready(message),
            None => {
                *self.waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        })
        .await
    }
}
