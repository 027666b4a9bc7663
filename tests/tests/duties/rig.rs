//! An application with one connection, over any transport, on a clock that is moved by hand.

use std::future::{Future, pending, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::future::block_on;
use sansock::clock::VirtualClock;
use sansock::serve::{Accepted, Handle, Origins, Peer, Serve, Server};
use sansock::{Closed, Config, Error, Result, Timer, serve};
use sansock_core::{Connection, Instant, Negotiated, Side};
use sansock_tests::driver::{Meter, MeteredTimer, Task};

pub(crate) type WebSocket = sansock::WebSocket<Transport, MeteredTimer>;
pub(crate) type Receiver = sansock::Receiver<Transport, MeteredTimer>;
pub(crate) type Sender = sansock::Sender<Transport, MeteredTimer>;
pub(crate) type ByteStream = sansock::ByteStream<Transport, MeteredTimer>;
pub(crate) type Socket = serve::Socket<Transport, MeteredTimer>;

/// A transport of any kind.
pub(crate) type Transport = Box<dyn Duplex>;

pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Duplex for S {}

/// Polls after which a run counts as a spin.
const MOST_POLLS: usize = 100_000;

/// The types whose operations are in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    WebSocket,
    Receiver,
    Sender,
    ByteStream,
    Socket,
}

impl Owner {
    /// The side that is played: a server's socket is a server, everything else a client.
    pub(crate) const fn side(self) -> Side {
        match self {
            Self::Socket => Side::Server,
            Self::WebSocket | Self::Receiver | Self::Sender | Self::ByteStream => Side::Client,
        }
    }
}

/// A connection, as an application holds it. The half that is not used is kept, and never polled.
pub(crate) enum Subject {
    WebSocket(WebSocket),
    Receiver(Receiver, Sender),
    Sender(Sender, Receiver),
    ByteStream(ByteStream),
    Socket(Socket),
}

/// How a connection has ended, as an operation reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// By a closing handshake, with what is known of it.
    Closed(Option<Closed>),
    /// With this error.
    Failed(String),
}

/// What came of one operation: it did its work, or it reports the end of the connection.
pub(crate) type Report = Result<(), End>;

impl From<Error> for End {
    fn from(error: Error) -> Self {
        if let Error::Closed(closed) = error {
            Self::Closed(Some(*closed))
        } else {
            Self::Failed(error.to_string())
        }
    }
}

impl End {
    /// Returns the end that a byte stream reports.
    pub(crate) fn of_bytes(error: &io::Error) -> Self {
        let inner = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<Error>());
        match inner {
            Some(error) => error.clone().into(),
            None => Self::Failed(error.to_string()),
        }
    }
}

impl Subject {
    /// Queues a message, and does not write it.
    pub(crate) async fn feed(&mut self, message: Bytes) -> Report {
        match self {
            Self::WebSocket(it) => Ok(it.feed(message).await?),
            Self::Receiver(_, it) | Self::Sender(it, _) => Ok(it.feed(message).await?),
            Self::ByteStream(it) => {
                let written = poll_fn(|cx| Pin::new(&mut *it).poll_write(cx, &message)).await;
                written.map(drop).map_err(|error| End::of_bytes(&error))
            }
            Self::Socket(it) => Ok(it.feed(message).await?),
        }
    }

    /// Polls the operation of the kind that this one is not: a task that waits to receive, or to write.
    pub(crate) fn poll_other(&mut self, receive: bool, cx: &mut Context<'_>) -> Poll<()> {
        use futures_lite::Stream;
        use futures_sink::Sink;
        match (self, receive) {
            (Self::WebSocket(it), true) => it.poll_recv(cx).map(drop),
            (Self::WebSocket(it), false) => Sink::poll_flush(Pin::new(it), cx).map(drop),
            (Self::Receiver(it, _) | Self::Sender(_, it), true) => it.poll_recv(cx).map(drop),
            (Self::Receiver(_, it) | Self::Sender(it, _), false) => {
                Sink::poll_flush(Pin::new(it), cx).map(drop)
            }
            (Self::ByteStream(it), true) => Pin::new(it).poll_read(cx, &mut [0; 100]).map(drop),
            (Self::ByteStream(it), false) => AsyncWrite::poll_flush(Pin::new(it), cx).map(drop),
            (Self::Socket(it), true) => Stream::poll_next(Pin::new(it), cx).map(drop),
            (Self::Socket(it), false) => Sink::poll_flush(Pin::new(it), cx).map(drop),
        }
    }

    /// Returns which Close frames were exchanged, once no more can follow.
    pub(crate) fn closed(self) -> Option<Closed> {
        match self {
            Self::WebSocket(it) => it.closed().cloned(),
            Self::Receiver(it, _) => it.closed(),
            Self::Sender(it, _) => it.closed(),
            Self::ByteStream(it) => it.into_inner().closed().cloned(),
            Self::Socket(it) => it.closed(),
        }
    }
}

/// One connection, the task that uses it, and its clock.
pub(crate) struct Rig {
    pub(crate) clock: VirtualClock,
    pub(crate) meter: Meter,
    /// The task of the application; for a server's socket, the task of the connection.
    task: Option<Task<'static, ()>>,
    server: Option<Server<Transport, MeteredTimer>>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self {
            clock: VirtualClock::new(),
            meter: Meter::default(),
            task: None,
            server: None,
        }
    }

    /// Starts an application with a connection that is open. It is not polled yet.
    pub(crate) fn start<F>(
        &mut self,
        owner: Owner,
        transport: impl Duplex + 'static,
        config: Config,
        application: impl FnOnce(Subject) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        if owner == Owner::Socket {
            let transport: Transport = Box::new(self.meter.transport(Opened::new(transport)));
            return self.serve(transport, config, application);
        }
        let transport: Transport = Box::new(self.meter.transport(transport));
        let connection = Connection::new(owner.side(), Negotiated::default(), config).unwrap();
        let timer = self.meter.timer(self.clock.timer());
        let ws = sansock::WebSocket::new(transport, timer, connection);
        let subject = match owner {
            Owner::WebSocket | Owner::Socket => Subject::WebSocket(ws),
            Owner::Receiver => {
                let (sender, receiver) = ws.split();
                Subject::Receiver(receiver, sender)
            }
            Owner::Sender => {
                let (sender, receiver) = ws.split();
                Subject::Sender(sender, receiver)
            }
            Owner::ByteStream => Subject::ByteStream(ws.into_byte_stream()),
        };
        self.task = Some(Task::new(application(subject)));
    }

    /// Starts a server whose handler is the application, and gives it one connection.
    fn serve<F>(
        &mut self,
        transport: Transport,
        config: Config,
        application: impl FnOnce(Subject) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let application = Mutex::new(Some(application));
        let handler = move |socket: Socket| {
            let application = lock(&application).take().expect("one connection");
            application(Subject::Socket(socket))
        };
        let (meter, clock) = (self.meter.clone(), self.clock.clone());
        let serve = Serve::new(handler, move || meter.timer(clock.timer()), drop);
        let server = block_on(serve.origins(Origins::Any).config(config).bind()).unwrap();
        let accepted = Accepted::new(transport, Peer::Unknown);
        self.task = Some(Task::new(server.acceptor().serve(accepted)));
        self.server = Some(server);
    }

    /// Returns a connection that is open, for a test that polls it itself. A server's socket was moved
    /// out of its handler, which waits for ever.
    pub(crate) fn subject(
        &mut self,
        owner: Owner,
        transport: impl Duplex + 'static,
        config: Config,
    ) -> Subject {
        let place = Arc::new(Mutex::new(None));
        let there = place.clone();
        self.start(owner, transport, config, move |subject| {
            *lock(&there) = Some(subject);
            async move {
                if owner == Owner::Socket {
                    pending::<()>().await;
                }
            }
        });
        self.settle();
        let subject = lock(&place).take();
        subject.expect("the connection is open")
    }

    /// Returns the handle of the server's one connection.
    pub(crate) fn handle(&self) -> Handle {
        let server = self.server.as_ref().expect("a server");
        server.handle().connections().remove(0)
    }

    /// Polls the task once, woken or not.
    pub(crate) fn poll(&mut self) {
        self.task().poll();
    }

    /// Polls the task as long as it is woken. Returns how often that was.
    #[track_caller]
    pub(crate) fn settle(&mut self) -> usize {
        let mut polls = 0;
        while self.is_woken() {
            self.poll();
            polls += 1;
            assert!(polls < MOST_POLLS, "the task spins");
        }
        polls
    }

    /// Moves the clock to this time, alarm by alarm, and polls the task whenever it is woken. Returns
    /// how often that was.
    #[track_caller]
    pub(crate) fn run_until(&mut self, time: Duration) -> usize {
        let mut polls = self.settle();
        let end = Instant::from_start(time);
        while self.clock.now() < end {
            let next = self.clock.next_alarm().unwrap_or(end).min(end);
            self.clock.advance(next.saturating_since(self.clock.now()));
            polls += self.settle();
            assert!(polls < MOST_POLLS, "the task spins");
        }
        polls
    }

    /// Returns the time since the start.
    pub(crate) fn time(&self) -> Duration {
        self.clock.now().since_start()
    }

    pub(crate) fn is_woken(&self) -> bool {
        self.task.as_ref().is_some_and(Task::is_woken)
    }

    pub(crate) fn is_done(&self) -> bool {
        self.task.as_ref().is_some_and(Task::is_done)
    }

    fn task(&mut self) -> &mut Task<'static, ()> {
        self.task.as_mut().expect("an application")
    }
}

/// What an application and a test share.
pub(crate) type Shared<T> = Arc<Mutex<T>>;

pub(crate) fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A future that may be stored.
/// A future on the heap.
pub(crate) type Running<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

pub(crate) fn boxed<'a, T>(future: impl Future<Output = T> + Send + 'a) -> Running<'a, T> {
    Box::pin(future)
}

/// Waits for a time.
pub(crate) async fn sleep(clock: &VirtualClock, time: Duration) {
    let mut timer = clock.timer();
    let end = clock.now().checked_add(time).expect("a time");
    while clock.now() < end {
        timer.set(Some(end));
        poll_fn(|cx| timer.poll(cx)).await;
    }
}

/// The transport of a client's request: it is read first, and the answer is kept from the test.
pub(crate) struct Opened<S> {
    inner: S,
    request: &'static [u8],
    /// The end of the answer that was written.
    answer: Option<Vec<u8>>,
}

pub(crate) const REQUEST: &[u8] =
    b"GET /chat HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

impl<S> Opened<S> {
    pub(crate) const fn new(inner: S) -> Self {
        Self {
            inner,
            request: REQUEST,
            answer: Some(Vec::new()),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Opened<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.request.is_empty() {
            return Pin::new(&mut self.inner).poll_read(cx, buf);
        }
        let size = self.request.len().min(buf.len());
        let (read, rest) = self.request.split_at(size);
        buf[..size].copy_from_slice(read);
        self.request = rest;
        Poll::Ready(Ok(size))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Opened<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Some(answer) = &mut self.answer else {
            return Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        };
        // One byte a call would be enough; the answer comes in one write of its own.
        let written = bufs.first().map_or(&[][..], |buf| buf);
        answer.extend(written);
        let size = written.len();
        if answer.ends_with(b"\r\n\r\n") {
            self.answer = None;
        }
        Poll::Ready(Ok(size))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}
