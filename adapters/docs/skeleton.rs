// A runtime with nothing in it: what each function has to guarantee.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};
use sansock::core::Instant;
use sansock::runtime::{BoxFuture, Runtime, Threads, unsupported};
use sansock::serve::Accepted;
use sansock::{Stream, Timer};

/// The runtime. It is cloned into every connection and every server: keep what is shared in an `Arc`, or in an `Rc` in
/// the mode `Local`.
#[derive(Debug, Clone, Copy)]
pub struct Skeleton;

type Boxed<T> = BoxFuture<Threads, io::Result<T>>;

impl Runtime for Skeleton {
    // `Threads` if tasks move between threads: then everything here is `Send`, and handlers have to be. `Local` if each
    // task stays on its thread: then nothing has to be.
    type Mode = Threads;
    type Stream = Socket;
    type Listener = Listener;
    type Timer = Alarm;

    // The timer is off. It is made once for each connection, so it can be on the heap.
    fn timer(&self) -> Alarm {
        Alarm(None)
    }

    // Run the task until it is done, after this function has returned: never poll it here, or a server that accepts
    // would run inside itself. Dropping the task ends its connection without a Close frame. A panic of a handler does
    // not leave the task.
    fn spawn(&self, task: BoxFuture<Threads, ()>) {
        drop(task);
    }

    // Never block the thread: the system's resolver does, so call it on another one. The addresses are tried in this
    // order, both families in turn. The client reports an empty list as an error.
    fn resolve(&self, _host: &str, _port: u16) -> Boxed<Vec<SocketAddr>> {
        Box::pin(async { Err(unsupported("names")) })
    }

    // Become ready when the connection is established, not when it is started. Several run at once, and those that
    // lose are dropped: dropping must close the socket. Return `unsupported` for a local address that cannot be
    // chosen, rather than ignore it.
    fn connect(&self, _to: SocketAddr, from: Option<IpAddr>) -> Boxed<Socket> {
        Box::pin(async move {
            match from {
                Some(_) => Err(unsupported("a local address")),
                None => Err(unsupported("connections")),
            }
        })
    }

    // Once it is ready, clients can connect.
    fn listen(&self, _at: SocketAddr) -> Boxed<Listener> {
        Box::pin(async { Err(unsupported("listeners")) })
    }

    // The future is dropped and made again: a connection must not get lost in between. So take it from the system and
    // return it in one poll. An error delays the next call, for up to a second if it is not the fault of one
    // connection. Set `TCP_NODELAY`: a message is complete when it is written.
    fn accept(&self, _listener: &Listener) -> Boxed<Accepted<Stream<Self>>> {
        Box::pin(async {
            let (socket, peer) = (Socket, SocketAddr::from(([127, 0, 0, 1], 9001)));
            Ok(Accepted::new(Stream::new(socket), peer))
        })
    }

    fn listener_address(_: &Listener) -> Option<SocketAddr> {
        None
    }

    // These two must not block. `unsupported` is right for what has no address, such as a Unix socket.
    fn peer_address(_: &Socket) -> io::Result<SocketAddr> {
        Err(unsupported("addresses"))
    }

    fn local_address(_: &Socket) -> io::Result<SocketAddr> {
        Err(unsupported("addresses"))
    }

    // Nothing is to be done for what never delays a write. An error ends the connection.
    fn set_nodelay(_: &Socket, _nodelay: bool) -> io::Result<()> {
        Ok(())
    }
}

/// A listening socket. Dropping it stops listening.
#[derive(Debug)]
pub struct Listener;

/// A connection. Dropping it closes the socket, even while it is being read and written.
///
/// For both directions:
/// - Whoever returns `Pending` has arranged that the waker of this call is woken. Register before the last look at the
///   socket, or what arrives in between wakes no one.
/// - The two directions have separate wakers: a read and a write can be pending at once, from different tasks. Each call
///   replaces the waker of its direction only.
/// - Spurious wake-ups are allowed, and readiness that turns out to be none: try, and wait again on `WouldBlock`. Do not
///   return `WouldBlock`, which would end the connection, nor `Interrupted`.
/// - The driver stops polling in the middle, when it is cancelled. What was read but not returned must still be there at
///   the next call.
#[derive(Debug)]
pub struct Socket;

impl AsyncRead for Socket {
    // `Ok(0)` is the end of the stream, and final. The buffer is never empty. Never return more than fits.
    fn poll_read(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        _buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(0))
    }
}

impl AsyncWrite for Socket {
    // Return how many bytes were taken: some, unless the buffer is empty, as `Ok(0)` is an error. What is taken must be
    // sent without another call, or else by `poll_flush`. Be pending when the peer does not read: that is the only
    // backpressure there is, so do not queue without limit.
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        _buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    // Optional: by default, the first slice that is not empty is written. With it, a large message leaves together
    // with its header.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = bufs.iter().find(|buf| !buf.is_empty());
        self.poll_write(cx, first.map_or(&[], |buf| buf))
    }

    // Send what `poll_write` has taken and kept. Ready at once for a socket that keeps nothing.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    // End the stream for the peer, after all that was taken: `shutdown(Write)` of TCP. Reading continues, as the answer
    // of the peer is still to come: closing the socket here would lose it. It can be called again after it was ready.
    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A clock and an alarm. Only the clock decides whether a deadline has passed.
#[derive(Debug)]
pub struct Alarm(Option<Instant>);

impl Timer for Alarm {
    // Monotonic, and cheap: it is asked in almost every poll. The start is the same for all timers of a runtime.
    fn now(&self) -> Instant {
        Instant::START
    }

    // Replace the alarm. It is not woken by this: the driver polls afterwards.
    fn set(&mut self, deadline: Option<Instant>) {
        self.0 = deadline;
    }

    // Ready once the deadline is reached. If pending with a deadline set, wake the waker of the latest call then: a little
    // late is harmless. Early is harmless too, as the driver looks at the clock and sets it again.
    fn poll(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        match self.0 {
            Some(deadline) if deadline <= self.now() => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }
}
