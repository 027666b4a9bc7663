//! The three runtimes behind one trait: smol and async-std through their shims, tokio through two
//! adapters, as an embedder writes them.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::mpsc::channel;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};
use std::thread;
use std::time::Duration;

use async_executor::Executor;
use async_io::Async;
use futures_io::{AsyncRead, AsyncWrite, IoSlice};
use futures_lite::future::zip;
use sansock::core::{Connection, Instant, Negotiated, Side};
use sansock::runtime::{BoxFuture, Threads};
use sansock::serve::{Accepted, Listen, Listener, Origins, Outcome, Serve, ServerHandle, Socket};
use sansock::{Config, Timer, WebSocket};
use tokio::io::ReadBuf;
use tokio::runtime::Builder;
use tokio::time::{Instant as TokioInstant, Sleep, sleep_until};

use crate::peer::Peer;

/// A WebSocket of a runtime.
pub(crate) type Ws<R> = WebSocket<<R as Runtime>::Stream, <R as Runtime>::Timer>;

/// A WebSocket of a server, for its handler.
pub(crate) type Handled<R> = Socket<<R as Runtime>::Stream, <R as Runtime>::Timer>;

/// A server that is bound to loopback later.
pub(crate) type Server<R> = Serve<<R as Runtime>::Stream, <R as Runtime>::Timer>;

/// A runtime: its sockets, its timer, its tasks and its servers.
pub(crate) trait Runtime: 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    type Timer: Timer + Unpin + Send + 'static;

    fn timer() -> Self::Timer;

    /// Runs a test, and the tasks that it spawns, on this many threads.
    fn run(threads: usize, test: impl Future<Output = ()>);

    /// Spawns a task from within [`run`](Self::run).
    fn spawn(task: impl Future<Output = ()> + Send + 'static);

    /// Returns the stream of this runtime over a socket that is connected.
    fn stream(socket: TcpStream) -> Self::Stream;

    /// Returns a server on loopback, whose connections run where the runtime puts them by default.
    fn serve<H, F, O>(handler: H) -> Server<Self>
    where
        H: Fn(Handled<Self>) -> F + Send + Sync + 'static,
        F: Future<Output = O> + Send + 'static,
        O: Outcome,
        Self: Sized;
}

/// Waits by the timer of a runtime.
pub(crate) async fn sleep<R: Runtime>(time: Duration) {
    let mut timer = R::timer();
    let deadline = timer.now().checked_add(time);
    timer.set(deadline);
    while deadline.is_some_and(|deadline| timer.now() < deadline) {
        std::future::poll_fn(|cx| Timer::poll(&mut timer, cx)).await;
        timer.set(deadline);
    }
}

/// Returns an open WebSocket and its peer, over loopback.
pub(crate) fn opened<R: Runtime>(side: Side, config: Config) -> (Ws<R>, Peer) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (socket, _) = listener.accept().unwrap();
    let other = match side {
        Side::Client => Side::Server,
        Side::Server => Side::Client,
    };
    (open_over::<R>(socket, side, config), Peer::new(peer, other))
}

/// Returns a WebSocket over a socket on which the handshake is left out.
pub(crate) fn open_over<R: Runtime>(socket: TcpStream, side: Side, config: Config) -> Ws<R> {
    socket.set_nodelay(true).unwrap();
    let connection = Connection::new(side, Negotiated::default(), config).unwrap();
    WebSocket::new(R::stream(socket), R::timer(), connection)
}

/// Runs a server and what a test does with it; then shuts the server down.
pub(crate) async fn with_server<R: Runtime>(
    server: Server<R>,
    test: impl AsyncFnOnce(SocketAddr, ServerHandle),
) {
    let server = server.bind().await.unwrap();
    let address = server.local_addresses().next().unwrap();
    let handle = server.handle();
    let testing = async {
        test(address, handle.clone()).await;
        handle.shutdown();
    };
    zip(server.run(), testing).await;
}

// smol and async-std: both run on async-io, so that tasks may run on any executor.

thread_local! {
    /// The executor of the test on its threads.
    static EXECUTOR: RefCell<Option<Arc<Executor<'static>>>> = RefCell::default();
}

fn executor() -> Option<Arc<Executor<'static>>> {
    EXECUTOR.with_borrow(Option::clone)
}

/// Runs an executor on threads beside this one while `main` runs here.
fn beside(threads: usize, executor: &Arc<Executor<'static>>, main: impl FnOnce()) {
    EXECUTOR.set(Some(executor.clone()));
    thread::scope(|scope| {
        let stops: Vec<_> = (1..threads)
            .map(|_| {
                let (stop, stopped) = channel::<()>();
                let executor = executor.clone();
                scope.spawn(move || {
                    EXECUTOR.set(Some(executor.clone()));
                    let stopped = blocking::unblock(move || stopped.recv());
                    let _ = async_io::block_on(executor.run(stopped));
                });
                stop
            })
            .collect();
        main();
        drop(stops);
    });
}

#[derive(Debug)]
pub(crate) struct Smol;

impl Runtime for Smol {
    type Stream = sansock::smol::Stream;
    type Timer = async_io::Timer;

    fn timer() -> Self::Timer {
        async_io::Timer::never()
    }

    fn run(threads: usize, test: impl Future<Output = ()>) {
        let executor = Arc::default();
        beside(threads, &executor, || {
            async_io::block_on(executor.run(test));
        });
    }

    fn spawn(task: impl Future<Output = ()> + Send + 'static) {
        let executor = executor().expect("a thread of the test");
        executor.spawn(task).detach();
    }

    fn stream(socket: TcpStream) -> Self::Stream {
        async_net::TcpStream::from(Async::new(socket).unwrap()).into()
    }

    fn serve<H, F, O>(handler: H) -> Server<Self>
    where
        H: Fn(Handled<Self>) -> F + Send + Sync + 'static,
        F: Future<Output = O> + Send + 'static,
        O: Outcome,
    {
        sansock::smol::serve("127.0.0.1:0", handler).origins(Origins::Any)
    }
}

#[derive(Debug)]
pub(crate) struct AsyncStd;

impl Runtime for AsyncStd {
    type Stream = sansock::async_std::Stream;
    type Timer = async_io::Timer;

    fn timer() -> Self::Timer {
        async_io::Timer::never()
    }

    fn run(threads: usize, test: impl Future<Output = ()>) {
        let executor = Arc::default();
        beside(threads, &executor, || {
            async_std::task::block_on(executor.run(test));
        });
    }

    fn spawn(task: impl Future<Output = ()> + Send + 'static) {
        match executor() {
            Some(executor) => executor.spawn(task).detach(),
            // A handler, on a thread of async-std's.
            None => drop(async_std::task::spawn(task)),
        }
    }

    fn stream(socket: TcpStream) -> Self::Stream {
        async_std::net::TcpStream::from(socket).into()
    }

    fn serve<H, F, O>(handler: H) -> Server<Self>
    where
        H: Fn(Handled<Self>) -> F + Send + Sync + 'static,
        F: Future<Output = O> + Send + 'static,
        O: Outcome,
    {
        sansock::async_std::serve("127.0.0.1:0", handler).origins(Origins::Any)
    }
}

// tokio.

#[derive(Debug)]
pub(crate) struct Tokio;

impl Runtime for Tokio {
    type Stream = TokioStream;
    type Timer = Alarm;

    fn timer() -> Self::Timer {
        Alarm::default()
    }

    fn run(threads: usize, test: impl Future<Output = ()>) {
        let mut builder = match threads {
            1 => Builder::new_current_thread(),
            _ => Builder::new_multi_thread(),
        };
        let runtime = builder.worker_threads(threads).enable_all().build();
        runtime.unwrap().block_on(test);
    }

    fn spawn(task: impl Future<Output = ()> + Send + 'static) {
        drop(tokio::spawn(task));
    }

    fn stream(socket: TcpStream) -> Self::Stream {
        socket.set_nonblocking(true).unwrap();
        TokioStream(tokio::net::TcpStream::from_std(socket).unwrap())
    }

    fn serve<H, F, O>(handler: H) -> Server<Self>
    where
        H: Fn(Handled<Self>) -> F + Send + Sync + 'static,
        F: Future<Output = O> + Send + 'static,
        O: Outcome,
    {
        let bind = async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
            Ok(TokioListener(listener.into()))
        };
        Serve::new(handler, Self::timer, Self::spawn)
            .origins(Origins::Any)
            .listen(Listen::binding(bind))
    }
}

struct TokioListener(Arc<tokio::net::TcpListener>);

impl Listener<TokioStream> for TokioListener {
    fn accept(&self) -> BoxFuture<Threads, io::Result<Accepted<TokioStream>>> {
        let listener = self.0.clone();
        Box::pin(async move {
            let (stream, address) = listener.accept().await?;
            stream.set_nodelay(true)?;
            Ok(Accepted::new(TokioStream(stream), address))
        })
    }

    fn local_address(&self) -> Option<SocketAddr> {
        self.0.local_addr().ok()
    }
}

/// A TCP connection of tokio, as futures-io has it.
#[derive(Debug)]
pub(crate) struct TokioStream(tokio::net::TcpStream);

impl AsyncRead for TokioStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(buf);
        ready!(tokio::io::AsyncRead::poll_read(
            Pin::new(&mut self.0),
            cx,
            &mut buf
        ))?;
        Poll::Ready(Ok(buf.filled().len()))
    }
}

impl AsyncWrite for TokioStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        tokio::io::AsyncWrite::poll_write(Pin::new(&mut self.0), cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        tokio::io::AsyncWrite::poll_write_vectored(Pin::new(&mut self.0), cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        tokio::io::AsyncWrite::poll_flush(Pin::new(&mut self.0), cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        tokio::io::AsyncWrite::poll_shutdown(Pin::new(&mut self.0), cx)
    }
}

/// A timer of tokio.
#[derive(Debug, Default)]
pub(crate) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    fn start() -> TokioInstant {
        static START: LazyLock<TokioInstant> = LazyLock::new(TokioInstant::now);
        *START
    }
}

impl Timer for Alarm {
    fn now(&self) -> Instant {
        Instant::from_start(Self::start().elapsed())
    }

    fn set(&mut self, deadline: Option<Instant>) {
        let at = deadline.and_then(|at| Self::start().checked_add(at.since_start()));
        match (&mut self.0, at) {
            (Some(sleep), Some(at)) => sleep.as_mut().reset(at),
            (sleep, at) => *sleep = at.map(|at| Box::pin(sleep_until(at))),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            Some(sleep) => sleep.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}
