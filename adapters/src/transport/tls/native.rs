//! TLS by the library of the operating system.
//!
//! The library only knows blocking streams. It is given one in memory, and this module moves the bytes
//! between that and the transport.
//!
//! The rule: bytes that the library has encrypted stay as they are until they are written, whatever the
//! caller writes next. Between two calls, memory holds only what could not be written.

use std::error::Error as StdError;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};
use native_tls::{Certificate, HandshakeError, TlsAcceptor, TlsConnector};

use super::options::{ALPN, Identity, NO_PROTOCOL, Options};
use crate::error::{TlsError, TlsErrorKind};

/// How much is encrypted before it is written, in bytes.
const BATCH: usize = 64 << 10;

pub(super) fn connector(options: &Options) -> Result<TlsConnector, TlsError> {
    let mut builder = TlsConnector::builder();
    builder.request_alpns(&[ALPN]);
    if let Some(roots) = &options.roots {
        builder.disable_built_in_roots(true);
        for root in roots {
            builder.add_root_certificate(Certificate::from_der(root).map_err(unusable)?);
        }
    }
    if let Some(identity) = &options.identity {
        builder.identity(native_identity(identity)?);
    }
    builder.danger_accept_invalid_certs(options.accepts_invalid);
    builder.danger_accept_invalid_hostnames(options.accepts_invalid);
    builder.build().map_err(unusable)
}

pub(super) fn acceptor(identity: &Identity) -> Result<TlsAcceptor, TlsError> {
    TlsAcceptor::new(native_identity(identity)?).map_err(unusable)
}

fn native_identity(identity: &Identity) -> Result<native_tls::Identity, TlsError> {
    native_tls::Identity::from_pkcs8(&identity.chain, &identity.key).map_err(unusable)
}

pub(super) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    connector: &TlsConnector,
    host: &str,
    stream: S,
) -> Result<TlsStream<S>, TlsError> {
    let memory = Memory::default();
    let outgoing = memory.outgoing.clone();
    let connected = negotiate(connector.connect(host, memory), outgoing, stream).await;
    connected.map_err(|error| {
        explain(
            error,
            host,
            "; use ws://, or http:// for a proxy, if it is a plain port",
        )
    })
}

pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    acceptor: &TlsAcceptor,
    stream: S,
) -> Result<TlsStream<S>, TlsError> {
    let memory = Memory::default();
    let outgoing = memory.outgoing.clone();
    let accepted = negotiate(acceptor.accept(memory), outgoing, stream).await;
    accepted.map_err(|error| explain(error, "the client", ""))
}

/// Why a negotiation failed.
enum Failed {
    Tls(native_tls::Error),
    Io(io::Error),
}

/// Carries the bytes of a negotiation that has begun, to its end.
async fn negotiate<S: AsyncRead + AsyncWrite + Unpin>(
    mut result: Result<native_tls::TlsStream<Memory>, HandshakeError<Memory>>,
    outgoing: Shared,
    mut stream: S,
) -> Result<TlsStream<S>, Failed> {
    loop {
        // After a failure too: the peer is told by an alert.
        let sent = poll_fn(|cx| {
            ready!(outgoing.poll_drain(cx, &mut stream))?;
            Pin::new(&mut stream).poll_flush(cx)
        });
        let sent = sent.await;
        let mut waiting = match result {
            Ok(tls) => {
                return Ok(TlsStream {
                    tls,
                    outgoing,
                    stream,
                    is_shut: false,
                });
            }
            Err(HandshakeError::Failure(error)) => return Err(Failed::Tls(error)),
            Err(HandshakeError::WouldBlock(waiting)) => waiting,
        };
        sent.map_err(Failed::Io)?;
        let memory = waiting.get_mut();
        let received = poll_fn(|cx| memory.poll_fill(cx, &mut stream, &mut [0; 4096]));
        received.await.map_err(Failed::Io)?;
        result = waiting.handshake();
    }
}

fn explain(error: Failed, peer: &str, hint: &str) -> TlsError {
    match error {
        Failed::Tls(error) => {
            let (kind, reason) = diagnose(&error.to_string(), hint);
            TlsError::new(kind, peer, reason, error)
        }
        Failed::Io(error) => TlsError::new(TlsErrorKind::Lost, peer, "", error),
    }
}

/// Tells from the words of the library what went wrong.
fn diagnose(text: &str, hint: &str) -> (TlsErrorKind, String) {
    if text.contains("wrong version number") || text.contains("http request") {
        return (TlsErrorKind::NotTls, hint.into());
    }
    if text.contains("certificate verify failed") {
        // The library says why in brackets at the end.
        let reason = text.rsplit_once('(').map_or(text, |(_, reason)| reason);
        return (
            TlsErrorKind::Certificate,
            reason.trim_end_matches(')').into(),
        );
    }
    let reason = match text.split_once(" alert ") {
        Some((_, alert)) if alert.starts_with("no application protocol") => NO_PROTOCOL.into(),
        Some((_, alert)) => {
            let end = alert.find(':').unwrap_or(alert.len());
            format!(
                "it ended with the alert {}",
                alert.get(..end).unwrap_or_default()
            )
        }
        None => "the two sides do not agree".into(),
    };
    (TlsErrorKind::Negotiation, reason)
}

/// Explains an error that came while the stream was read, if it is one of TLS: in TLS 1.3 a server judges
/// the certificate of a client after that thinks that all is well.
pub(crate) fn late(error: &Arc<io::Error>, host: &str) -> Option<TlsError> {
    let cause: &Library = error.get_ref()?.downcast_ref()?;
    let (kind, reason) = diagnose(&cause.to_string(), "");
    Some(TlsError::new(kind, host, reason, error.clone()))
}

/// What the library says while a stream is read.
#[derive(Debug)]
struct Library(io::Error);

impl fmt::Display for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Library {}

fn unusable(error: native_tls::Error) -> TlsError {
    TlsError::configuration("certificates or key cannot be used", error)
}

/// A stream that is encrypted by the library of the operating system.
#[derive(Debug)]
pub(crate) struct TlsStream<S> {
    tls: native_tls::TlsStream<Memory>,
    outgoing: Shared,
    stream: S,
    /// The end of what is written was announced.
    is_shut: bool,
}

impl<S> TlsStream<S> {
    pub(crate) const fn get_ref(&self) -> &S {
        &self.stream
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream<S> {
    /// Writes what is encrypted.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.poll_drain(cx, &mut self.stream)
    }

    /// Reads more to be decrypted, with `room` for it.
    fn poll_fill(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<()>> {
        // What the library has to say meanwhile leaves as it can.
        if let Poll::Ready(Err(error)) = self.poll_drain(cx) {
            return Poll::Ready(Err(error));
        }
        self.tls.get_mut().poll_fill(cx, &mut self.stream, room)
    }

    /// Encrypts what there is room for.
    fn encrypt(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut size = 0;
        for buf in bufs {
            let mut rest = &**buf;
            while !rest.is_empty() && self.outgoing.len() < BATCH {
                match self.tls.write(rest) {
                    Ok(written) => {
                        size += written;
                        rest = rest.get(written..).unwrap_or_default();
                    }
                    Err(_) if size > 0 => return Ok(size),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(size)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        loop {
            match this.tls.read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    return Poll::Ready(Err(io::Error::new(error.kind(), Library(error))));
                }
                Ok(size) => return Poll::Ready(Ok(size)),
            }
            ready!(this.poll_fill(cx, buf))?;
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        loop {
            match this.encrypt(bufs) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(size) => {
                    // What does not leave now leaves with the next call.
                    return match this.poll_drain(cx) {
                        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                        Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(size)),
                    };
                }
            }
            ready!(this.poll_fill(cx, &mut [0; 4096]))?;
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.is_shut {
            this.tls.shutdown()?;
            this.is_shut = true;
        }
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.stream).poll_close(cx)
    }
}

/// The blocking stream that the library is given: what was read and what is to be written.
#[derive(Debug, Default)]
struct Memory {
    incoming: Vec<u8>,
    /// How much of it was taken.
    taken: usize,
    ended: bool,
    outgoing: Shared,
}

/// What is to be written. It is shared, as a negotiation that fails keeps its stream to itself.
#[derive(Debug, Clone, Default)]
struct Shared(Arc<Mutex<Outgoing>>);

#[derive(Debug, Default)]
struct Outgoing {
    bytes: Vec<u8>,
    /// How much of it has left.
    left: usize,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Outgoing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn len(&self) -> usize {
        self.lock().bytes.len()
    }

    fn poll_drain(
        &self,
        cx: &mut Context<'_>,
        stream: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        let mut outgoing = self.lock();
        while let Some(rest @ [_, ..]) = outgoing.bytes.get(outgoing.left..) {
            match ready!(Pin::new(&mut *stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => outgoing.left += written,
            }
        }
        *outgoing = Outgoing::default();
        Poll::Ready(Ok(()))
    }
}

impl Memory {
    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut (impl AsyncRead + Unpin),
        room: &mut [u8],
    ) -> Poll<io::Result<()>> {
        let size = ready!(Pin::new(stream).poll_read(cx, room))?;
        self.ended = size == 0;
        self.incoming
            .extend_from_slice(room.get(..size).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl Read for Memory {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut rest = self.incoming.get(self.taken..).unwrap_or_default();
        if rest.is_empty() && !self.ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let size = rest.read(buf)?;
        self.taken += size;
        if self.taken == self.incoming.len() {
            (self.incoming, self.taken) = (Vec::new(), 0);
        }
        Ok(size)
    }
}

impl Write for Memory {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.outgoing.lock().bytes.extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
