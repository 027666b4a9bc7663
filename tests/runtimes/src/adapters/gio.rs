//! GIO: the main loop of GLib, which also draws the windows of GTK, and its sockets.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant as StdInstant};

use futures_io::{AsyncRead, AsyncWrite};
use gio::glib::{IOCondition, MainContext, Priority, timeout_future};
use gio::prelude::*;
use gio::{
    Cancellable, IOErrorEnum, InetSocketAddress, Resolver, SocketFamily, SocketProtocol,
    SocketType, UnixSocketAddress, glib,
};
use sansock::core::Instant;
use sansock::runtime::{BoxFuture, Local, Runtime, unsupported};
use sansock::serve::{Accepted, Peer};
use sansock::{Stream, Timer};
use socket2::SockRef;

/// The main loop of this thread.
#[derive(Debug, Clone, Copy)]
pub struct R;

impl Runtime for R {
    type Mode = Local;
    type Stream = Socket;
    type Listener = Rc<RefCell<Socket>>;
    type Timer = Alarm;

    fn timer(&self) -> Alarm {
        Alarm(None)
    }

    fn spawn(&self, task: BoxFuture<Local, ()>) {
        drop(MainContext::ref_thread_default().spawn_local(task));
    }

    fn resolve(&self, host: &str, port: u16) -> BoxFuture<Local, io::Result<Vec<SocketAddr>>> {
        let resolving = Resolver::default().lookup_by_name_future(host);
        Box::pin(async move {
            let addresses = resolving.await.map_err(io_error)?;
            let with_port = |address: gio::InetAddress| SocketAddr::new(address.into(), port);
            Ok(addresses.into_iter().map(with_port).collect())
        })
    }

    fn connect(
        &self,
        to: SocketAddr,
        from: Option<IpAddr>,
    ) -> BoxFuture<Local, io::Result<Socket>> {
        Box::pin(async move {
            let mut socket = Socket::open(family(to))?;
            if let Some(from) = from {
                let from = InetSocketAddress::from(SocketAddr::new(from, 0));
                socket.socket.bind(&from, false).map_err(io_error)?;
            }
            socket.connect(to).await?;
            Ok(socket)
        })
    }

    fn listen(&self, at: SocketAddr) -> BoxFuture<Local, io::Result<Self::Listener>> {
        let listening = Socket::listen(family(at), &InetSocketAddress::from(at));
        Box::pin(std::future::ready(listening))
    }

    fn accept(
        &self,
        listener: &Self::Listener,
    ) -> BoxFuture<Local, io::Result<Accepted<Stream<Self>, Local>>> {
        let listener = listener.clone();
        Box::pin(async move {
            let accept = |cx: &mut Context<'_>| {
                let accept = |socket: &gio::Socket| socket.accept(Cancellable::NONE);
                listener.borrow_mut().poll_read_with(cx, accept)
            };
            let socket = Socket::new(poll_fn(accept).await?);
            let peer = Self::peer_address(&socket).map_or(Peer::Unix, Peer::Ip);
            Ok(Accepted::new(Stream::new(socket), peer))
        })
    }

    fn listener_address(listener: &Self::Listener) -> Option<SocketAddr> {
        Self::local_address(&listener.borrow()).ok()
    }

    fn peer_address(stream: &Socket) -> io::Result<SocketAddr> {
        inet_address(stream.socket.remote_address())
    }

    fn local_address(stream: &Socket) -> io::Result<SocketAddr> {
        inet_address(stream.socket.local_address())
    }

    fn set_nodelay(stream: &Socket, nodelay: bool) -> io::Result<()> {
        match stream.socket.family() {
            SocketFamily::Unix => Ok(()),
            _ => SockRef::from(&stream.socket).set_tcp_nodelay(nodelay),
        }
    }

    fn listen_unix(&self, at: &Path) -> io::Result<Self::Listener> {
        Socket::listen(SocketFamily::Unix, &UnixSocketAddress::new(at))
    }
}

/// A socket, and the sources of the main loop that wake its readers and writers.
pub struct Socket {
    socket: gio::Socket,
    readable: Option<Source>,
    writable: Option<Source>,
}

type Source = Pin<Box<dyn Future<Output = IOCondition>>>;

impl Socket {
    fn open(family: SocketFamily) -> io::Result<Self> {
        let socket = gio::Socket::new(family, SocketType::Stream, SocketProtocol::Default);
        socket.map(Self::new).map_err(io_error)
    }

    fn new(socket: gio::Socket) -> Self {
        socket.set_blocking(false);
        Self {
            socket,
            readable: None,
            writable: None,
        }
    }

    fn listen(
        family: SocketFamily,
        at: &impl IsA<gio::SocketAddress>,
    ) -> io::Result<Rc<RefCell<Self>>> {
        let listener = Self::open(family)?;
        listener.socket.set_listen_backlog(1024);
        listener.socket.bind(at, true).map_err(io_error)?;
        listener.socket.listen().map_err(io_error)?;
        Ok(Rc::new(RefCell::new(listener)))
    }

    async fn connect(&mut self, to: SocketAddr) -> io::Result<()> {
        let to = InetSocketAddress::from(to);
        let connecting = SocketExt::connect(&self.socket, &to, Cancellable::NONE);
        match connecting {
            Err(error) if error.matches(IOErrorEnum::Pending) => {}
            connected => return connected.map_err(io_error),
        }
        source(&self.socket, IOCondition::OUT).await;
        self.socket.check_connect_result().map_err(io_error)
    }

    fn poll_read_with<T>(
        &mut self,
        cx: &mut Context<'_>,
        read: impl FnMut(&gio::Socket) -> Result<T, glib::Error>,
    ) -> Poll<io::Result<T>> {
        poll_with(&self.socket, &mut self.readable, IOCondition::IN, cx, read)
    }
}

/// Does something, or waits until that is possible.
fn poll_with<T>(
    socket: &gio::Socket,
    waiting: &mut Option<Source>,
    condition: IOCondition,
    cx: &mut Context<'_>,
    mut operation: impl FnMut(&gio::Socket) -> Result<T, glib::Error>,
) -> Poll<io::Result<T>> {
    loop {
        match operation(socket) {
            Err(error) if error.matches(IOErrorEnum::WouldBlock) => {}
            done => {
                *waiting = None;
                return Poll::Ready(done.map_err(io_error));
            }
        }
        let source = waiting.get_or_insert_with(|| source(socket, condition));
        ready!(source.as_mut().poll(cx));
        *waiting = None;
    }
}

fn source(socket: &gio::Socket, condition: IOCondition) -> Source {
    SocketExtManual::create_source_future(socket, condition, Cancellable::NONE, Priority::DEFAULT)
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_read_with(cx, |socket| socket.receive(&mut *buf, Cancellable::NONE))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Self {
            socket, writable, ..
        } = self.get_mut();
        let send = |socket: &gio::Socket| socket.send(buf, Cancellable::NONE);
        poll_with(socket, writable, IOCondition::OUT, cx, send)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket.shutdown(false, true).map_err(io_error))
    }
}

fn family(address: SocketAddr) -> SocketFamily {
    match address {
        SocketAddr::V4(_) => SocketFamily::Ipv4,
        SocketAddr::V6(_) => SocketFamily::Ipv6,
    }
}

fn inet_address(address: Result<gio::SocketAddress, glib::Error>) -> io::Result<SocketAddr> {
    let address = address.map_err(io_error)?.downcast::<InetSocketAddress>();
    let address = address.map_err(|_| unsupported("the address of a Unix socket"))?;
    Ok(address.into())
}

fn io_error(error: glib::Error) -> io::Error {
    let kind = error.kind::<IOErrorEnum>().unwrap_or(IOErrorEnum::Failed);
    io::Error::new(kind.into(), error)
}

/// A timer of the main loop.
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
        self.0 = deadline.map(|at| {
            // The main loop counts in milliseconds.
            let left = at.saturating_since(now) + Duration::from_millis(1);
            timeout_future(left) as _
        });
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(alarm) = &mut self.0 else {
            return Poll::Pending;
        };
        ready!(alarm.as_mut().poll(cx));
        self.0 = None;
        Poll::Ready(())
    }
}

pub fn runtime() -> R {
    R
}

pub fn block_on<T>(program: impl Future<Output = T>) -> io::Result<T> {
    Ok(MainContext::default().block_on(program))
}
