//! compio: one thread, with io_uring or, where the kernel does not allow it, by polling.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant as StdInstant;

use compio::driver::DriverType;
use compio::io::compat::AsyncStream;
use compio::net::{TcpListener, TcpStream};
use compio::runtime::{spawn, spawn_blocking};
use compio::time::sleep;
use futures_io::{AsyncRead, AsyncWrite};
use sansock::core::Instant;
use sansock::runtime::{BoxFuture, Local, Runtime, unsupported};
use sansock::serve::Accepted;
use sansock::{Stream, Timer};

/// The runtime of this thread.
#[derive(Debug, Clone, Copy)]
pub struct R;

impl Runtime for R {
    type Mode = Local;
    type Stream = Socket;
    type Listener = Rc<TcpListener>;
    type Timer = Alarm;

    fn timer(&self) -> Alarm {
        Alarm(None)
    }

    fn spawn(&self, task: BoxFuture<Local, ()>) {
        spawn(task).detach();
    }

    fn resolve(&self, host: &str, port: u16) -> BoxFuture<Local, io::Result<Vec<SocketAddr>>> {
        let host = host.to_owned();
        Box::pin(async move {
            let resolve = move || Ok((host, port).to_socket_addrs()?.collect());
            let resolved = spawn_blocking(resolve).await;
            resolved.unwrap_or_else(|_| Err(io::Error::other("the resolver panicked")))
        })
    }

    fn connect(
        &self,
        to: SocketAddr,
        from: Option<IpAddr>,
    ) -> BoxFuture<Local, io::Result<Socket>> {
        Box::pin(async move {
            match from {
                Some(_) => Err(unsupported("a local address")),
                None => Ok(Socket::new(TcpStream::connect(to).await?)),
            }
        })
    }

    fn listen(&self, at: SocketAddr) -> BoxFuture<Local, io::Result<Rc<TcpListener>>> {
        Box::pin(async move { Ok(TcpListener::bind(at).await?.into()) })
    }

    fn accept(
        &self,
        listener: &Rc<TcpListener>,
    ) -> BoxFuture<Local, io::Result<Accepted<Stream<Self>, Local>>> {
        let listener = listener.clone();
        Box::pin(async move {
            let (stream, peer) = listener.accept().await?;
            Ok(Accepted::new(Stream::new(Socket::new(stream)), peer))
        })
    }

    fn listener_address(listener: &Rc<TcpListener>) -> Option<SocketAddr> {
        listener.local_addr().ok()
    }

    fn peer_address(stream: &Socket) -> io::Result<SocketAddr> {
        stream.tcp.peer_addr()
    }

    fn local_address(stream: &Socket) -> io::Result<SocketAddr> {
        stream.tcp.local_addr()
    }

    fn set_nodelay(_: &Socket, _: bool) -> io::Result<()> {
        Ok(())
    }
}

/// A connection. Its buffers belong to the kernel while an operation is in progress.
pub struct Socket {
    stream: Pin<Box<AsyncStream<TcpStream>>>,
    tcp: TcpStream,
}

impl Socket {
    fn new(tcp: TcpStream) -> Self {
        Self {
            stream: Box::pin(AsyncStream::new(tcp.clone())),
            tcp,
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.stream.as_mut().poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream.as_mut().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_close(cx)
    }
}

/// A timer of compio.
pub struct Alarm(Option<Pin<Box<dyn Future<Output = ()>>>>);

thread_local! {
    static START: StdInstant = StdInstant::now();
}

impl Timer for Alarm {
    fn now(&self) -> Instant {
        Instant::from_start(START.with(StdInstant::elapsed))
    }

    fn set(&mut self, deadline: Option<Instant>) {
        let now = self.now();
        self.0 = deadline.map(|at| Box::pin(sleep(at.saturating_since(now))) as _);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            Some(sleep) => sleep.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}

pub fn runtime() -> R {
    R
}

pub fn block_on<T>(program: impl Future<Output = T>) -> io::Result<T> {
    Ok(compio::runtime::Runtime::new()?.block_on(program))
}

/// Returns how the runtime of this thread waits.
pub fn driver() -> &'static str {
    match compio::runtime::Runtime::current().driver_type() {
        DriverType::IoUring => "by io_uring",
        DriverType::Poll => "by polling, as the kernel forbids io_uring",
        DriverType::IOCP => "by completion ports",
    }
}
