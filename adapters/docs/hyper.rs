// hyper: its traits for streams, tasks and timers, on smol.
//
// Needs async-executor, async-io, futures-lite, and hyper with the features `client`, `http2` and `server`.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_executor::Executor;
use async_io::Timer;
use futures_lite::{AsyncRead, AsyncWrite};
use hyper::body::Body;
use hyper::rt::bounds::Http2ClientConnExec;
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Sleep, Write};
use hyper::{client, server};

/// Gives hyper a stream of futures-io, or an application a stream of hyper.
#[derive(Debug)]
pub struct HyperIo<S> {
    stream: S,
    longest_write: usize,
}

/// Of a stream of HTTP/2, hyper copies all of a write, however little the peer's window has room for.
const LONGEST_WRITE: usize = 16 * 1024;

impl<S> HyperIo<S> {
    /// Wraps a transport, or a stream of HTTP/1.1 that hyper hands over.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            longest_write: usize::MAX,
        }
    }

    /// Wraps a stream of HTTP/2 that hyper hands over.
    pub fn http2(stream: S) -> Self {
        Self {
            stream,
            longest_write: LONGEST_WRITE,
        }
    }
}

impl<S: AsyncRead + Unpin> Read for HyperIo<S> {
    /// By way of a buffer, as only unsafe code can fill hyper's own.
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut room = [0; 4096];
        let size = room.len().min(buf.remaining());
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut room[..size]))?;
        buf.put_slice(&room[..read]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Write for HyperIo<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

impl<S: Read + Unpin> AsyncRead for HyperIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(buf);
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf.unfilled()))?;
        Poll::Ready(Ok(buf.filled().len()))
    }
}

impl<S: Write + Unpin> AsyncWrite for HyperIo<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let size = buf.len().min(self.longest_write);
        Pin::new(&mut self.stream).poll_write(cx, &buf[..size])
    }

    /// Passed on where hyper passes it on, so that a large message leaves with its header in one system call.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.stream.is_write_vectored() {
            return Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        }
        let first = bufs.iter().find(|buf| !buf.is_empty());
        self.poll_write(cx, first.map_or(&[], |buf| buf))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// How much a peer may send on a stream of HTTP/2 before it is read.
const STREAM_WINDOW: u32 = 64 * 1024;

/// Returns a server's side of HTTP/2 on which WebSockets can be opened, with so many streams at a time.
///
/// The window of the connection has room for those of all streams. Otherwise a WebSocket that is not read would stop
/// the others, and the requests.
pub fn http2_server(spawner: Spawner, streams: u32) -> server::conn::http2::Builder<Spawner> {
    let mut http = server::conn::http2::Builder::new(spawner);
    http.timer(Sleeper)
        .enable_connect_protocol()
        .max_concurrent_streams(streams)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(STREAM_WINDOW.saturating_mul(streams));
    http
}

/// Returns a client's side of HTTP/2, with windows for so many WebSockets at a time.
pub fn http2_client(spawner: Spawner, streams: u32) -> client::conn::http2::Builder<Spawner> {
    let mut http = client::conn::http2::Builder::new(spawner);
    http.timer(Sleeper)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(STREAM_WINDOW.saturating_mul(streams));
    http
}

/// Runs a client's connection until the server has allowed WebSockets (RFC 8441 section 3), or until it has ended:
/// then returns `false`. A server that does not know them never allows them, so this needs a timeout.
pub async fn websockets_allowed<T, B>(
    connection: &mut client::conn::http2::Connection<T, B, Spawner>,
) -> hyper::Result<bool>
where
    T: Read + Write + Unpin + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin + 'static,
    Spawner: Http2ClientConnExec<B, T>,
{
    poll_fn(|cx| match Pin::new(&mut *connection).poll(cx) {
        Poll::Ready(end) => Poll::Ready(end.map(|()| false)),
        Poll::Pending if connection.is_extended_connect_protocol_enabled() => Poll::Ready(Ok(true)),
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// Runs the tasks of an HTTP/2 connection.
#[derive(Debug, Clone, Copy)]
pub struct Spawner(pub &'static Executor<'static>);

impl<F> hyper::rt::Executor<F> for Spawner
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn(task).detach();
    }
}

/// Lets hyper end a connection on which no request comes.
#[derive(Debug, Clone, Copy)]
pub struct Sleeper;

impl hyper::rt::Timer for Sleeper {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(Asleep(Timer::after(duration)))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Asleep(Timer::at(deadline)))
    }
}

struct Asleep(Timer);

impl Sleep for Asleep {}

impl Future for Asleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(|_| ())
    }
}
