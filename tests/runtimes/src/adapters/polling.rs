//! A runtime that is made here: a queue of tasks, a table of timers, and one poller, on one thread.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant as StdInstant;

use futures_io::{AsyncRead, AsyncWrite};
use polling::{Event, Events, Poller};
use sansock::core::Instant;
use sansock::runtime::{BoxFuture, Local, Runtime, unsupported};
use sansock::serve::Accepted;
use sansock::{Stream, Timer};

/// The runtime of this thread.
#[derive(Clone)]
pub struct R(Rc<Loop>);

/// Everything that a thread has.
struct Loop {
    poller: Arc<Poller>,
    start: StdInstant,
    tasks: RefCell<HashMap<usize, BoxFuture<Local, ()>>>,
    woken: Woken,
    sources: RefCell<HashMap<usize, Waiting>>,
    timers: RefCell<BTreeMap<(Instant, usize), Waker>>,
    last_key: RefCell<usize>,
}

/// The tasks that were woken, from any thread.
type Woken = Arc<Mutex<VecDeque<usize>>>;

/// The tasks that wait for a source.
#[derive(Default)]
struct Waiting {
    to_read: Option<Waker>,
    to_write: Option<Waker>,
}

/// Wakes a task, from any thread.
struct WakesTask {
    key: usize,
    woken: Woken,
    poller: Arc<Poller>,
}

impl Wake for WakesTask {
    fn wake(self: Arc<Self>) {
        self.woken.lock().expect("no panic").push_back(self.key);
        // An error means that the loop has ended.
        let _ = self.poller.notify();
    }
}

impl Loop {
    fn new() -> io::Result<Self> {
        Ok(Self {
            poller: Poller::new()?.into(),
            start: StdInstant::now(),
            tasks: RefCell::default(),
            woken: Woken::default(),
            sources: RefCell::default(),
            timers: RefCell::default(),
            last_key: RefCell::new(0),
        })
    }

    fn now(&self) -> Instant {
        Instant::from_start(self.start.elapsed())
    }

    fn new_key(&self) -> usize {
        let mut last = self.last_key.borrow_mut();
        *last += 1;
        *last
    }

    fn waker(&self, key: usize) -> Waker {
        Waker::from(Arc::new(WakesTask {
            key,
            woken: self.woken.clone(),
            poller: self.poller.clone(),
        }))
    }

    fn spawn(&self, task: BoxFuture<Local, ()>) {
        let key = self.new_key();
        self.tasks.borrow_mut().insert(key, task);
        self.waker(key).wake();
    }

    fn run<T>(&self, main: impl Future<Output = T>) -> io::Result<T> {
        const MAIN: usize = 0;
        let mut main = pin!(main);
        self.waker(MAIN).wake();
        loop {
            let woken = self
                .woken
                .lock()
                .expect("no panic")
                .drain(..)
                .collect::<Vec<_>>();
            for key in woken {
                let waker = self.waker(key);
                let mut cx = Context::from_waker(&waker);
                if key == MAIN {
                    if let Poll::Ready(output) = main.as_mut().poll(&mut cx) {
                        return Ok(output);
                    }
                    continue;
                }
                let task = self.tasks.borrow_mut().remove(&key);
                let Some(mut task) = task else { continue };
                if task.as_mut().poll(&mut cx).is_pending() {
                    self.tasks.borrow_mut().insert(key, task);
                }
            }
            self.wait()?;
        }
    }

    /// Waits for a source or a timer, unless a task was woken.
    fn wait(&self) -> io::Result<()> {
        let is_idle = self.woken.lock().expect("no panic").is_empty();
        let first = self
            .timers
            .borrow()
            .first_key_value()
            .map(|((at, _), _)| *at);
        let timeout = match is_idle {
            false => Some(std::time::Duration::ZERO),
            true => first.map(|at| at.saturating_since(self.now())),
        };
        let mut events = Events::new();
        self.poller.wait(&mut events, timeout)?;
        for event in events.iter() {
            let mut sources = self.sources.borrow_mut();
            let Some(waiting) = sources.get_mut(&event.key) else {
                continue;
            };
            let wakers = [
                event.readable.then(|| waiting.to_read.take()).flatten(),
                event.writable.then(|| waiting.to_write.take()).flatten(),
            ];
            drop(sources);
            wakers.into_iter().flatten().for_each(Waker::wake);
        }
        let now = self.now();
        while let Some(entry) = self.timers.borrow_mut().first_entry() {
            if entry.key().0 > now {
                break;
            }
            entry.remove().wake();
        }
        Ok(())
    }
}

/// A socket that the poller watches.
struct Source<S: AsFd + AsRawFd> {
    inner: S,
    key: usize,
    of: Rc<Loop>,
}

impl<S: AsFd + AsRawFd> Source<S> {
    fn new(inner: S, of: Rc<Loop>) -> io::Result<Self> {
        let key = of.new_key();
        // SAFETY: the source is deleted from the poller before it is dropped.
        unsafe { of.poller.add(&inner, Event::none(key))? };
        of.sources.borrow_mut().insert(key, Waiting::default());
        Ok(Self { inner, key, of })
    }

    /// Does something, or waits until that is possible.
    fn poll<T>(
        &self,
        cx: &Context<'_>,
        writes: bool,
        mut operation: impl FnMut(&S) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        match operation(&self.inner) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return Poll::Ready(done),
        }
        let mut sources = self.of.sources.borrow_mut();
        let waiting = sources.entry(self.key).or_default();
        match writes {
            true => waiting.to_write = Some(cx.waker().clone()),
            false => waiting.to_read = Some(cx.waker().clone()),
        }
        let event = Event::new(
            self.key,
            waiting.to_read.is_some(),
            waiting.to_write.is_some(),
        );
        match self.of.poller.modify(&self.inner, event) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl<S: AsFd + AsRawFd> Drop for Source<S> {
    fn drop(&mut self) {
        let _ = self.of.poller.delete(&self.inner);
        self.of.sources.borrow_mut().remove(&self.key);
    }
}

/// A connection.
pub struct Socket(Source<TcpStream>);

impl Socket {
    fn new(stream: TcpStream, of: Rc<Loop>) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self(Source::new(stream, of)?))
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.0.poll(cx, false, |mut stream| stream.read(buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.poll(cx, true, |mut stream| stream.write(buf))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.inner.shutdown(Shutdown::Write))
    }
}

/// A listening socket.
pub struct Listener(Source<TcpListener>);

impl Runtime for R {
    type Mode = Local;
    type Stream = Socket;
    type Listener = Rc<Listener>;
    type Timer = Alarm;

    fn timer(&self) -> Alarm {
        Alarm {
            at: None,
            key: self.0.new_key(),
            of: self.0.clone(),
        }
    }

    fn spawn(&self, task: BoxFuture<Local, ()>) {
        self.0.spawn(task);
    }

    fn resolve(&self, host: &str, port: u16) -> BoxFuture<Local, io::Result<Vec<SocketAddr>>> {
        let host = host.to_owned();
        let resolve = move || (host, port).to_socket_addrs();
        let resolving = blocking::unblock(resolve);
        Box::pin(async { Ok(resolving.await?.collect()) })
    }

    fn connect(
        &self,
        to: SocketAddr,
        from: Option<IpAddr>,
    ) -> BoxFuture<Local, io::Result<Socket>> {
        let of = self.0.clone();
        Box::pin(async move {
            if from.is_some() {
                return Err(unsupported("a local address"));
            }
            let connecting = blocking::unblock(move || TcpStream::connect(to));
            Socket::new(connecting.await?, of)
        })
    }

    fn listen(&self, at: SocketAddr) -> BoxFuture<Local, io::Result<Rc<Listener>>> {
        let of = self.0.clone();
        Box::pin(async move {
            let listener = TcpListener::bind(at)?;
            listener.set_nonblocking(true)?;
            Ok(Listener(Source::new(listener, of)?).into())
        })
    }

    fn accept(
        &self,
        listener: &Rc<Listener>,
    ) -> BoxFuture<Local, io::Result<Accepted<Stream<Self>, Local>>> {
        let (listener, of) = (listener.clone(), self.0.clone());
        Box::pin(async move {
            let accept = |cx: &mut Context<'_>| listener.0.poll(cx, false, TcpListener::accept);
            let (stream, peer) = std::future::poll_fn(accept).await?;
            Ok(Accepted::new(Stream::new(Socket::new(stream, of)?), peer))
        })
    }

    fn listener_address(listener: &Rc<Listener>) -> Option<SocketAddr> {
        listener.0.inner.local_addr().ok()
    }

    fn peer_address(stream: &Socket) -> io::Result<SocketAddr> {
        stream.0.inner.peer_addr()
    }

    fn local_address(stream: &Socket) -> io::Result<SocketAddr> {
        stream.0.inner.local_addr()
    }

    fn set_nodelay(stream: &Socket, nodelay: bool) -> io::Result<()> {
        stream.0.inner.set_nodelay(nodelay)
    }
}

impl std::fmt::Debug for R {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("R")
    }
}

/// A row in the table of timers.
pub struct Alarm {
    at: Option<Instant>,
    key: usize,
    of: Rc<Loop>,
}

impl Timer for Alarm {
    fn now(&self) -> Instant {
        self.of.now()
    }

    fn set(&mut self, deadline: Option<Instant>) {
        if let Some(at) = self.at.take() {
            self.of.timers.borrow_mut().remove(&(at, self.key));
        }
        self.at = deadline;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.at {
            Some(at) if at <= self.of.now() => Poll::Ready(()),
            Some(at) => {
                let mut timers = self.of.timers.borrow_mut();
                timers.insert((at, self.key), cx.waker().clone());
                Poll::Pending
            }
            None => Poll::Pending,
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.set(None);
    }
}

thread_local! {
    static LOOP: Rc<Loop> = Rc::new(Loop::new().expect("a poller"));
}

pub fn runtime() -> R {
    R(LOOP.with(Rc::clone))
}

pub fn block_on<T>(program: impl Future<Output = T>) -> io::Result<T> {
    LOOP.with(|of| of.run(program))
}
