//! A server whose connections run only when a test says so, on a clock that is moved by hand.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_executor::{Executor, Task};
use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::future::{block_on, poll_once};
use sansock::Result;
use sansock::clock::{VirtualClock, VirtualTimer};
use sansock::serve::{Acceptor, Origins, Outcome, Serve, ServerHandle, Socket};

/// Tasks that may run before every one of them has to wait. With more, the server spins.
const MOST_TICKS: usize = 100_000;

/// A server, what it runs on, and its clock.
pub struct TestServer<S: 'static> {
    /// The clock of its timers.
    pub clock: VirtualClock,
    /// What its connections run on.
    pub executor: Arc<Executor<'static>>,
    /// Takes in connections without a listener.
    pub acceptor: Acceptor<S, VirtualTimer>,
    /// Shuts it down, and counts.
    pub server: ServerHandle,
    /// The task of the server. It ends when it is dropped.
    pub running: Option<Task<()>>,
    events: Arc<Mutex<Vec<String>>>,
}

impl<S> fmt::Debug for TestServer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestServer").finish_non_exhaustive()
    }
}

impl<S> TestServer<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// Starts a server for these origins, with these settings.
    pub fn start<F, R>(
        handler: impl Fn(Socket<S, VirtualTimer>) -> F + Send + Sync + 'static,
        origins: Origins,
        set: impl FnOnce(Serve<S, VirtualTimer>) -> Serve<S, VirtualTimer>,
    ) -> Self
    where
        F: Future<Output = R> + Send + 'static,
        R: Outcome + 'static,
    {
        let clock = VirtualClock::new();
        let executor = Arc::new(Executor::new());
        let events = Arc::new(Mutex::new(Vec::new()));
        let spawn = {
            let executor = executor.clone();
            move |task| executor.spawn(task).detach()
        };
        let (timers, reported) = (clock.clone(), events.clone());
        let serve = Serve::new(handler, move || timers.timer(), spawn)
            .origins(origins)
            .on_event(move |event| reported.lock().unwrap().push(event.to_string()));
        let server = block_on(set(serve).bind()).unwrap();
        let started = Self {
            clock,
            acceptor: server.acceptor(),
            server: server.handle(),
            running: Some(executor.spawn(server.run())),
            executor,
            events,
        };
        started.settle();
        started
    }

    /// Runs until nothing can continue.
    #[track_caller]
    pub fn settle(&self) {
        let ticks = (0..MOST_TICKS).take_while(|_| self.executor.try_tick());
        assert!(ticks.count() < MOST_TICKS, "the server spins");
    }

    /// Moves the clock by so many seconds, and runs what is due.
    #[track_caller]
    pub fn advance(&self, by: f64) {
        self.clock.advance(seconds(by));
        self.settle();
    }

    /// Takes what was reported.
    #[must_use]
    pub fn take_events(&self) -> Vec<String> {
        std::mem::take(&mut self.events.lock().unwrap())
    }

    /// Whether the server has stopped.
    #[must_use]
    pub fn has_stopped(&self) -> bool {
        block_on(poll_once(self.server.stopped())).is_some()
    }
}

/// Returns so many seconds.
#[must_use]
pub fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// A handler that sends back what comes.
///
/// # Errors
/// As the operations of the socket.
pub async fn echo<S>(mut ws: Socket<S, VirtualTimer>) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}
