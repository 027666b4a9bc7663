// tokio: its sockets, timers and tasks, for `sansock::runtime`.
//
// Needs tokio with the features `net`, `rt` and `time`, and tokio-util with `compat`.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};

use sansock::core::Instant;
use sansock::runtime::{BoxFuture, Runtime, Threads};
use sansock::serve::Accepted;
use sansock::{Stream, Timer};
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::time::{Instant as TokioInstant, Sleep, sleep_until};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

/// The runtime of the current task.
#[derive(Debug, Clone, Copy)]
pub struct Tokio;

type Boxed<T> = BoxFuture<Threads, io::Result<T>>;

impl Runtime for Tokio {
    type Mode = Threads;
    type Stream = Compat<TcpStream>;
    type Listener = Arc<TcpListener>;
    type Timer = Alarm;

    fn timer(&self) -> Alarm {
        Alarm::default()
    }

    fn spawn(&self, task: BoxFuture<Threads, ()>) {
        drop(tokio::spawn(task));
    }

    fn resolve(&self, host: &str, port: u16) -> Boxed<Vec<SocketAddr>> {
        let host = host.to_owned();
        Box::pin(async move { Ok(lookup_host((host, port)).await?.collect()) })
    }

    fn connect(&self, to: SocketAddr, from: Option<IpAddr>) -> Boxed<Self::Stream> {
        Box::pin(async move {
            let socket = match to {
                SocketAddr::V4(_) => TcpSocket::new_v4()?,
                SocketAddr::V6(_) => TcpSocket::new_v6()?,
            };
            let bind = |from| socket.bind(SocketAddr::new(from, 0));
            from.map(bind).transpose()?;
            Ok(socket.connect(to).await?.compat())
        })
    }

    fn listen(&self, at: SocketAddr) -> Boxed<Self::Listener> {
        Box::pin(async move { Ok(Arc::new(TcpListener::bind(at).await?)) })
    }

    fn accept(&self, listener: &Self::Listener) -> Boxed<Accepted<Stream<Self>>> {
        let listener = listener.clone();
        Box::pin(async move {
            let (stream, peer) = listener.accept().await?;
            stream.set_nodelay(true)?;
            Ok(Accepted::new(Stream::new(stream.compat()), peer))
        })
    }

    fn listener_address(listener: &Self::Listener) -> Option<SocketAddr> {
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

/// The time of tokio. A connection has one alarm, which it sets again and again.
#[derive(Debug, Default)]
pub struct Alarm(Option<Pin<Box<Sleep>>>);

/// The start of time, the same for all.
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
