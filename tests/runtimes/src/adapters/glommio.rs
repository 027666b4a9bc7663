//! glommio: one thread, with io_uring.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant as StdInstant;

use glommio::net::{TcpListener, TcpStream};
use glommio::timer::sleep;
use glommio::{LocalExecutorBuilder, executor, spawn_local};
use sansock::core::Instant;
use sansock::runtime::{BoxFuture, Local, Runtime, unsupported};
use sansock::serve::Accepted;
use sansock::{Stream, Timer};

/// The executor of this thread.
#[derive(Debug, Clone, Copy)]
pub struct R;

impl Runtime for R {
    type Mode = Local;
    type Stream = TcpStream;
    type Listener = Rc<TcpListener>;
    type Timer = Alarm;

    fn timer(&self) -> Alarm {
        Alarm(None)
    }

    fn spawn(&self, task: BoxFuture<Local, ()>) {
        spawn_local(task).detach();
    }

    fn resolve(&self, host: &str, port: u16) -> BoxFuture<Local, io::Result<Vec<SocketAddr>>> {
        let host = host.to_owned();
        Box::pin(async move {
            let resolve = move || Ok((host, port).to_socket_addrs()?.collect());
            executor().spawn_blocking(resolve).await
        })
    }

    fn connect(
        &self,
        to: SocketAddr,
        from: Option<IpAddr>,
    ) -> BoxFuture<Local, io::Result<TcpStream>> {
        Box::pin(async move {
            match from {
                Some(_) => Err(unsupported("a local address")),
                None => Ok(TcpStream::connect(to).await?),
            }
        })
    }

    fn listen(&self, at: SocketAddr) -> BoxFuture<Local, io::Result<Rc<TcpListener>>> {
        Box::pin(async move { Ok(TcpListener::bind(at)?.into()) })
    }

    fn accept(
        &self,
        listener: &Rc<TcpListener>,
    ) -> BoxFuture<Local, io::Result<Accepted<Stream<Self>, Local>>> {
        let listener = listener.clone();
        Box::pin(async move {
            let stream = listener.accept().await?;
            stream.set_nodelay(true)?;
            let peer = stream.peer_addr()?;
            Ok(Accepted::new(Stream::new(stream), peer))
        })
    }

    fn listener_address(listener: &Rc<TcpListener>) -> Option<SocketAddr> {
        listener.local_addr().ok()
    }

    fn peer_address(stream: &TcpStream) -> io::Result<SocketAddr> {
        Ok(stream.peer_addr()?)
    }

    fn local_address(stream: &TcpStream) -> io::Result<SocketAddr> {
        Ok(stream.local_addr()?)
    }

    fn set_nodelay(stream: &TcpStream, nodelay: bool) -> io::Result<()> {
        Ok(stream.set_nodelay(nodelay)?)
    }
}

/// A timer of glommio.
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
    Ok(LocalExecutorBuilder::default().make()?.run(program))
}
