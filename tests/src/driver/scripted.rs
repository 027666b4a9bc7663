//! A transport that writes down every call, and fails at one of them in a chosen way.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};

/// A call of the transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// `poll_read`.
    Read,
    /// `poll_write` and `poll_write_vectored`.
    Write,
    /// `poll_flush`.
    Flush,
    /// `poll_close`.
    Close,
}

/// What happens at one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A read finds the end of the stream, and so does every later one.
    End,
    /// Any call finds the connection reset, and so does every later one.
    Reset,
    /// Any call is pending, and wakes at once.
    Hesitate,
    /// Any call is interrupted by a signal.
    Interrupted,
    /// Any call fails as one that would block does, which no transport may do that is asked by polling.
    WouldBlock,
    /// A read or a write moves one byte.
    One,
    /// A write moves nothing.
    Zero,
    /// A read or a write claims more than it was given.
    Lie,
    /// A flush fails.
    FlushError,
    /// Closing fails.
    CloseError,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::End,
        Self::Reset,
        Self::Hesitate,
        Self::Interrupted,
        Self::WouldBlock,
        Self::One,
        Self::Zero,
        Self::Lie,
        Self::FlushError,
        Self::CloseError,
    ];

    /// Whether whoever uses the transport should not notice.
    #[must_use]
    pub const fn is_harmless(self) -> bool {
        matches!(self, Self::Hesitate | Self::Interrupted | Self::One)
    }

    /// Whether it can happen at this call.
    #[must_use]
    pub const fn applies(self, call: Call) -> bool {
        match self {
            Self::End => matches!(call, Call::Read),
            Self::Reset | Self::Hesitate | Self::Interrupted | Self::WouldBlock => true,
            Self::One | Self::Lie => matches!(call, Call::Read | Call::Write),
            Self::Zero => matches!(call, Call::Write),
            Self::FlushError => matches!(call, Call::Flush),
            Self::CloseError => matches!(call, Call::Close),
        }
    }
}

/// What went over a [`Scripted`] transport.
#[derive(Debug, Default)]
pub struct Log {
    /// Every call.
    pub calls: Vec<Call>,
    /// Bytes that were read.
    pub read: Vec<u8>,
    /// Bytes that were written.
    pub written: Vec<u8>,
    /// The call that failed.
    pub hit: Option<Call>,
    /// Calls that write, after one has failed.
    pub writes_after_error: usize,
    /// Calls that read, after the end or an error.
    pub reads_after_end: usize,
}

impl Log {
    /// Returns how often this was called.
    #[must_use]
    pub fn count(&self, call: Call) -> usize {
        self.calls.iter().filter(|made| **made == call).count()
    }
}

/// A transport that writes down every call, and fails at one of them.
#[derive(Debug)]
pub struct Scripted<S> {
    inner: S,
    fault: Option<(Fault, usize)>,
    log: Arc<Mutex<Log>>,
    reset: bool,
    read_over: bool,
    write_over: bool,
}

impl<S> Scripted<S> {
    /// Returns a transport that only writes down.
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            fault: None,
            log: Arc::default(),
            reset: false,
            read_over: false,
            write_over: false,
        }
    }

    /// Returns a transport that fails at call number `at`, counted from 0, if it can.
    pub fn failing(inner: S, fault: Fault, at: usize) -> Self {
        Self {
            fault: Some((fault, at)),
            ..Self::new(inner)
        }
    }

    /// Returns what is written down.
    pub fn log(&self) -> Arc<Mutex<Log>> {
        self.log.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down a call, and returns what is to happen at it.
    fn begin(&mut self, call: Call) -> Option<Fault> {
        let mut log = self.lock();
        let index = log.calls.len();
        log.calls.push(call);
        match call {
            Call::Read if self.read_over => log.reads_after_end += 1,
            Call::Write | Call::Flush | Call::Close if self.write_over => {
                log.writes_after_error += 1;
            }
            Call::Read | Call::Write | Call::Flush | Call::Close => {}
        }
        let (fault, at) = self.fault?;
        let hits = index == at && fault.applies(call);
        if hits {
            log.hit = Some(call);
        }
        drop(log);
        self.reset |= hits && fault == Fault::Reset;
        if self.reset {
            return Some(Fault::Reset);
        }
        let ended = fault == Fault::End && self.read_over && call == Call::Read;
        (hits || ended).then_some(fault)
    }

    /// Ends a call that has an outcome.
    fn end<T>(&mut self, call: Call, result: &io::Result<T>) {
        let failed = result
            .as_ref()
            .is_err_and(|error| error.kind() != io::ErrorKind::Interrupted);
        if failed {
            match call {
                Call::Read => self.read_over = true,
                Call::Write | Call::Flush | Call::Close => self.write_over = true,
            }
        }
    }
}

/// Does to a call that moves nothing what is to happen.
fn fail<T>(fault: Option<Fault>, cx: &Context<'_>) -> Option<Poll<io::Result<T>>> {
    let error = match fault? {
        Fault::Hesitate => {
            cx.waker().wake_by_ref();
            return Some(Poll::Pending);
        }
        Fault::Reset => io::ErrorKind::ConnectionReset.into(),
        Fault::Interrupted => io::ErrorKind::Interrupted.into(),
        Fault::WouldBlock => io::ErrorKind::WouldBlock.into(),
        Fault::FlushError | Fault::CloseError => io::Error::other("scripted"),
        Fault::End | Fault::One | Fault::Zero | Fault::Lie => return None,
    };
    Some(Poll::Ready(Err(error)))
}

impl<S: AsyncRead + Unpin> AsyncRead for Scripted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let fault = this.begin(Call::Read);
        let result = match (fail(fault, cx), fault) {
            (Some(Poll::Ready(result)), _) => result,
            (Some(Poll::Pending), _) => return Poll::Pending,
            (None, Some(Fault::End)) => Ok(0),
            (None, Some(Fault::Lie)) => Ok(buf.len() + 1),
            (None, fault) => {
                let most = if fault.is_some() { 1 } else { buf.len() };
                std::task::ready!(Pin::new(&mut this.inner).poll_read(cx, &mut buf[..most]))
            }
        };
        this.end(Call::Read, &result);
        match result {
            Ok(size) if size > 0 && size <= buf.len() => this.lock().read.extend(&buf[..size]),
            Ok(_) => this.read_over = true,
            Err(_) => {}
        }
        Poll::Ready(result)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Scripted<S> {
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
        let this = &mut *self;
        let fault = this.begin(Call::Write);
        let given: usize = bufs.iter().map(|buf| buf.len()).sum();
        let mut inner = Pin::new(&mut this.inner);
        let result = match (fail(fault, cx), fault) {
            (Some(Poll::Ready(result)), _) => result,
            (Some(Poll::Pending), _) => return Poll::Pending,
            (None, Some(Fault::Zero)) => Ok(0),
            (None, Some(Fault::Lie)) => Ok(given + 1),
            (None, Some(_)) => {
                let first = bufs.iter().find_map(|buf| buf.first_chunk::<1>());
                let one = first.map_or(&[][..], |one| one);
                std::task::ready!(inner.as_mut().poll_write(cx, one))
            }
            (None, None) => std::task::ready!(inner.as_mut().poll_write_vectored(cx, bufs)),
        };
        this.end(Call::Write, &result);
        match result {
            Ok(size) if size > 0 && size <= given => {
                let bytes = bufs.iter().flat_map(|buf| buf.iter());
                this.lock().written.extend(bytes.take(size));
            }
            Ok(_) => this.write_over = true,
            Err(_) => {}
        }
        Poll::Ready(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let fault = this.begin(Call::Flush);
        let result = match fail(fault, cx) {
            Some(Poll::Ready(result)) => result,
            Some(Poll::Pending) => return Poll::Pending,
            None => std::task::ready!(Pin::new(&mut this.inner).poll_flush(cx)),
        };
        this.end(Call::Flush, &result);
        Poll::Ready(result)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let fault = this.begin(Call::Close);
        let result = match fail(fault, cx) {
            Some(Poll::Ready(result)) => result,
            Some(Poll::Pending) => return Poll::Pending,
            None => std::task::ready!(Pin::new(&mut this.inner).poll_close(cx)),
        };
        this.end(Call::Close, &result);
        Poll::Ready(result)
    }
}

/// A transport that writes no more than the first slice of a vectored write.
#[derive(Debug)]
pub struct OneSlice<S>(
    /// The transport beneath.
    pub S,
);

impl<S: AsyncRead + Unpin> AsyncRead for OneSlice<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for OneSlice<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}
