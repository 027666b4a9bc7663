//! An executor of one thread, over the sockets of async-io. Nothing of it is `Send`.

use std::io::{self, IoSlice};
use std::marker::PhantomData;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use async_executor::LocalExecutor;
use async_io::Async;
use futures_io::{AsyncRead, AsyncWrite};
use sansock::core::Instant;
use sansock::runtime::{BoxFuture, Local, Runtime, unsupported};
use sansock::serve::Accepted;
use sansock::{Stream, Timer};

/// The runtime: an executor of one thread, over the sockets of async-io.
#[derive(Debug, Clone, Default)]
pub struct R {
    executor: Rc<LocalExecutor<'static>>,
}

/// A connection that cannot leave its thread.
#[derive(Debug)]
pub struct Socket(Rc<Async<TcpStream>>);

/// A timer that cannot leave its thread.
#[derive(Debug)]
pub struct Alarm(async_io::Timer, PhantomData<Rc<()>>);

impl Runtime for R {
    type Mode = Local;
    type Stream = Socket;
    type Listener = Rc<Async<TcpListener>>;
    type Timer = Alarm;

    fn timer(&self) -> Alarm {
        Alarm(async_io::Timer::never(), PhantomData)
    }

    fn spawn(&self, task: BoxFuture<Local, ()>) {
        self.executor.spawn(task).detach();
    }

    fn resolve(&self, host: &str, port: u16) -> BoxFuture<Local, io::Result<Vec<SocketAddr>>> {
        let host = host.to_owned();
        let resolving = blocking::unblock(move || (host, port).to_socket_addrs());
        Box::pin(async { Ok(resolving.await?.collect()) })
    }

    fn connect(
        &self,
        to: SocketAddr,
        from: Option<IpAddr>,
    ) -> BoxFuture<Local, io::Result<Socket>> {
        Box::pin(async move {
            if from.is_some() {
                return Err(unsupported("a local address"));
            }
            Ok(Socket(Async::<TcpStream>::connect(to).await?.into()))
        })
    }

    fn listen(&self, at: SocketAddr) -> BoxFuture<Local, io::Result<Self::Listener>> {
        Box::pin(async move { Ok(Async::<TcpListener>::bind(at)?.into()) })
    }

    fn accept(
        &self,
        listener: &Self::Listener,
    ) -> BoxFuture<Local, io::Result<Accepted<Stream<Self>, Local>>> {
        let listener = listener.clone();
        Box::pin(async move {
            let (stream, peer) = Async::<TcpListener>::accept(&listener).await?;
            Ok(Accepted::new(Stream::new(Socket(stream.into())), peer))
        })
    }

    fn listener_address(listener: &Self::Listener) -> Option<SocketAddr> {
        (**listener).get_ref().local_addr().ok()
    }

    fn peer_address(stream: &Socket) -> io::Result<SocketAddr> {
        (*stream.0).get_ref().peer_addr()
    }

    fn local_address(stream: &Socket) -> io::Result<SocketAddr> {
        (*stream.0).get_ref().local_addr()
    }

    fn set_nodelay(stream: &Socket, nodelay: bool) -> io::Result<()> {
        (*stream.0).get_ref().set_nodelay(nodelay)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self.0).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready((*self.0).get_ref().shutdown(Shutdown::Write))
    }
}

impl Timer for Alarm {
    fn now(&self) -> Instant {
        self.0.now()
    }

    fn set(&mut self, deadline: Option<Instant>) {
        Timer::set(&mut self.0, deadline);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Timer::poll(&mut self.0, cx)
    }
}

thread_local! {
    static EXECUTOR: Rc<LocalExecutor<'static>> = Rc::default();
}

pub fn runtime() -> R {
    R {
        executor: EXECUTOR.with(Rc::clone),
    }
}

pub fn block_on<T>(program: impl Future<Output = T>) -> io::Result<T> {
    let executor = EXECUTOR.with(Rc::clone);
    Ok(async_io::block_on(executor.run(program)))
}
