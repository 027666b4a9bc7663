//! tokio, over its own sockets. `tokio_util::compat` makes them streams of futures-io.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};

use sansock::core::Instant;
use sansock::runtime::{BoxFuture, Runtime, Threads};
use sansock::serve::Accepted;
use sansock::{Stream, Timer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant as TokioInstant, Sleep, sleep_until};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

/// The runtime of the task that runs.
#[derive(Debug, Clone, Copy)]
pub struct R;

impl Runtime for R {
    type Mode = Threads;
    type Stream = Compat<TcpStream>;
    type Listener = Arc<TcpListener>;
    type Timer = Alarm;

    fn timer(&self) -> Alarm {
        Alarm(None)
    }

    fn spawn(&self, task: BoxFuture<Threads, ()>) {
        drop(tokio::spawn(task));
    }

    fn resolve(&self, host: &str, port: u16) -> BoxFuture<Threads, io::Result<Vec<SocketAddr>>> {
        let host = host.to_owned();
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }

    fn connect(
        &self,
        to: SocketAddr,
        from: Option<IpAddr>,
    ) -> BoxFuture<Threads, io::Result<Self::Stream>> {
        Box::pin(async move {
            let socket = match to {
                SocketAddr::V4(_) => TcpSocket::new_v4()?,
                SocketAddr::V6(_) => TcpSocket::new_v6()?,
            };
            if let Some(from) = from {
                socket.bind(SocketAddr::new(from, 0))?;
            }
            Ok(socket.connect(to).await?.compat())
        })
    }

    fn listen(&self, at: SocketAddr) -> BoxFuture<Threads, io::Result<Arc<TcpListener>>> {
        Box::pin(async move { Ok(TcpListener::bind(at).await?.into()) })
    }

    fn accept(
        &self,
        listener: &Arc<TcpListener>,
    ) -> BoxFuture<Threads, io::Result<Accepted<Stream<Self>>>> {
        let listener = listener.clone();
        Box::pin(async move {
            let (stream, peer) = listener.accept().await?;
            stream.set_nodelay(true)?;
            Ok(Accepted::new(Stream::new(stream.compat()), peer))
        })
    }

    fn listener_address(listener: &Arc<TcpListener>) -> Option<SocketAddr> {
        listener.local_addr().ok()
    }

    fn peer_address(stream: &Self::Stream) -> io::Result<SocketAddr> {
        stream.get_ref().peer_addr()
    }

    fn local_address(stream: &Self::Stream) -> io::Result<SocketAddr> {
        stream.get_ref().local_addr()
    }

    fn set_nodelay(stream: &Self::Stream, nodelay: bool) -> io::Result<()> {
        stream.get_ref().set_nodelay(nodelay)
    }
}

/// A timer of tokio.
#[derive(Debug)]
pub struct Alarm(Option<Pin<Box<Sleep>>>);

static START: LazyLock<TokioInstant> = LazyLock::new(TokioInstant::now);

impl Timer for Alarm {
    fn now(&self) -> Instant {
        Instant::from_start(START.elapsed())
    }

    fn set(&mut self, deadline: Option<Instant>) {
        let at = deadline.and_then(|at| START.checked_add(at.since_start()));
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

pub fn runtime() -> R {
    R
}

pub fn block_on<T>(program: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(program)
}

/// On several threads.
pub mod threads {
    pub use super::{R, runtime};

    pub fn block_on<T>(program: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(program)
    }
}
