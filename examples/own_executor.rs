//! What an embedder supplies: an executor, a stream and a timer, here written with std alone.
//!
//! ```text
//! cargo run --example own_executor
//! ```

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant as StdInstant};

use futures_lite::{AsyncRead, AsyncWrite};
use sansock::core::handshake::{ClientOptions, Uri};
use sansock::core::{ClientConnection, Instant, ServerConnection};
use sansock::{Timer, WebSocket};

fn main() -> sansock::Result<()> {
    let clock = Arc::new(Clock::new());
    let mut executor = Executor::new(clock.clone());
    let (ours, theirs) = Stream::pair();

    let timer = Alarm::new(clock.clone());
    executor.spawn(async move {
        let connection = ServerConnection::new(Arc::default(), sansock::config());
        let mut ws = WebSocket::server(theirs, timer, connection).await?;
        while let Some(message) = ws.recv().await? {
            ws.send(message).await?;
        }
        ws.close_result()?;
        println!("server: closed");
        Ok(())
    });

    let timer = Alarm::new(clock);
    let uri: Uri = "ws://memory/".parse()?;
    let connection = ClientConnection::new(&uri, &ClientOptions::new(), sansock::config())?;
    executor.spawn(async move {
        let (mut ws, _response) = WebSocket::client(ours, timer, connection).await?;
        ws.send("hello").await?;
        println!("client: {:?} came back", ws.recv().await?);
        println!("client: ping took {:?}", ws.ping().await?);
        ws.close(1000, "").await?;
        println!("client: closed");
        Ok(())
    });
    executor.run()
}

// The executor: a queue of tasks that were woken.

type Work = Pin<Box<dyn Future<Output = sansock::Result<()>> + Send>>;

struct Task {
    /// Gone when the work is done.
    work: Mutex<Option<Work>>,
    woken: Sender<Arc<Self>>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        // Nobody listens once the executor has failed.
        let _ = self.woken.send(self.clone());
    }
}

struct Executor {
    clock: Arc<Clock>,
    woken: (Sender<Arc<Task>>, Receiver<Arc<Task>>),
    /// Tasks that are not done.
    tasks: usize,
}

impl Executor {
    fn new(clock: Arc<Clock>) -> Self {
        Self {
            clock,
            woken: channel(),
            tasks: 0,
        }
    }

    fn spawn(&mut self, work: impl Future<Output = sansock::Result<()>> + Send + 'static) {
        self.tasks += 1;
        let work = Mutex::new(Some(Box::pin(work) as Work));
        let woken = self.woken.0.clone();
        Arc::new(Task { work, woken }).wake();
    }

    /// Runs every task to its end, or until one fails.
    fn run(mut self) -> sansock::Result<()> {
        while self.tasks > 0 {
            match self.woken.1.recv_timeout(self.clock.until_next_alarm()) {
                Ok(task) => self.poll(&task)?,
                Err(_) => self.clock.ring(),
            }
        }
        Ok(())
    }

    fn poll(&mut self, task: &Arc<Task>) -> sansock::Result<()> {
        let mut work = lock(&task.work);
        let Some(future) = work.as_mut() else {
            return Ok(());
        };
        let waker = Waker::from(task.clone());
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(outcome) => {
                *work = None;
                self.tasks -= 1;
                outcome
            }
            Poll::Pending => Ok(()),
        }
    }
}

// The timer: a clock with a list of alarms, which the executor rings.

struct Clock {
    start: StdInstant,
    alarms: Mutex<Vec<(Instant, Waker)>>,
}

impl Clock {
    const LONGEST_WAIT: Duration = Duration::from_secs(60);

    fn new() -> Self {
        Self {
            start: StdInstant::now(),
            alarms: Mutex::default(),
        }
    }

    fn now(&self) -> Instant {
        Instant::from_start(self.start.elapsed())
    }

    fn until_next_alarm(&self) -> Duration {
        let next = lock(&self.alarms).iter().map(|(at, _)| *at).min();
        next.map_or(Self::LONGEST_WAIT, |at| at.saturating_since(self.now()))
    }

    fn ring(&self) {
        let now = self.now();
        let mut alarms = lock(&self.alarms);
        let all = std::mem::take(&mut *alarms).into_iter();
        let (due, later): (Vec<_>, _) = all.partition(|(at, _)| *at <= now);
        *alarms = later;
        drop(alarms);
        due.into_iter().for_each(|(_, waker)| waker.wake());
    }
}

struct Alarm {
    clock: Arc<Clock>,
    at: Option<Instant>,
}

impl Alarm {
    const fn new(clock: Arc<Clock>) -> Self {
        Self { clock, at: None }
    }
}

impl Timer for Alarm {
    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn set(&mut self, deadline: Option<Instant>) {
        self.at = deadline;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else {
            return Poll::Pending;
        };
        if at <= self.now() {
            self.at = None;
            return Poll::Ready(());
        }
        // An alarm that nobody needs any more may ring: who is woken asks the clock.
        lock(&self.clock.alarms).push((at, cx.waker().clone()));
        Poll::Pending
    }
}

// The stream: two pipes in memory, each of which holds a few bytes.

#[derive(Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    closed: bool,
    /// Whoever waits for the other side. One at a time: a pipe is never both full and empty.
    waiting: Option<Waker>,
}

impl Pipe {
    const ROOM: usize = 64;

    fn wait<R>(&mut self, cx: &Context<'_>) -> Poll<R> {
        self.waiting = Some(cx.waker().clone());
        Poll::Pending
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }
}

struct Stream {
    incoming: Arc<Mutex<Pipe>>,
    outgoing: Arc<Mutex<Pipe>>,
}

impl Stream {
    fn pair() -> (Self, Self) {
        let (incoming, outgoing) = <(Arc<Mutex<Pipe>>, Arc<Mutex<Pipe>>)>::default();
        let other = Self {
            incoming: outgoing.clone(),
            outgoing: incoming.clone(),
        };
        (Self { incoming, outgoing }, other)
    }

    fn close(&self) {
        let mut pipe = lock(&self.outgoing);
        pipe.closed = true;
        pipe.wake();
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut pipe = lock(&self.incoming);
        if pipe.bytes.is_empty() && !pipe.closed {
            return pipe.wait(cx);
        }
        let size = io::Read::read(&mut pipe.bytes, buf)?;
        pipe.wake();
        Poll::Ready(Ok(size))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut pipe = lock(&self.outgoing);
        if pipe.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let size = buf.len().min(Pipe::ROOM - pipe.bytes.len());
        if size == 0 {
            return pipe.wait(cx);
        }
        pipe.bytes.extend(&buf[..size]);
        pipe.wake();
        Poll::Ready(Ok(size))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Ends what the other side reads.
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.close();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.close();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
