//! The futures are `Send` exactly when the transport and the timer are.
//!
//! A probe has two answers for every type: a method of its own where the type is `Send`, which goes
//! before the one of a trait that every probe has. It is asked of types, and nothing is run.

use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};
use sansock::clock::VirtualTimer;
use sansock::{ByteStream, NoTimer, Receiver, Result, Sender, Timer, Upgrade, WebSocket};
use sansock_core::handshake::StatusCode;
use sansock_core::{ClientConnection, Instant, Kind, ServerConnection};
use sansock_tests::driver::End;

struct Probe<T>(PhantomData<T>);

impl<T: Send> Probe<T> {
    const fn is_send(&self) -> bool {
        true
    }
}

trait NotSend {
    fn is_send(&self) -> bool {
        false
    }
}

impl<T> NotSend for Probe<T> {}

const fn probe_of<F, R>(_: &F) -> Probe<R>
where
    F: Fn() -> R,
{
    Probe(PhantomData)
}

/// A transport that cannot leave its thread.
struct Local(PhantomData<Rc<()>>);

impl AsyncRead for Local {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Pending
    }
}

impl AsyncWrite for Local {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

/// A timer that cannot leave its thread.
struct LocalTimer(PhantomData<Rc<()>>);

impl Timer for LocalTimer {
    fn now(&self) -> Instant {
        Instant::START
    }

    fn set(&mut self, _: Option<Instant>) {}

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

/// Whether the types, and every future made from them, are `Send`. What is made is never run.
macro_rules! answers {
    ($stream:ty, $timer:ty) => {{
        fn missing<T>() -> T {
            unreachable!("the probes are not run")
        }
        type Socket = WebSocket<$stream, $timer>;
        fn socket() -> &'static mut Socket {
            missing()
        }
        fn sender() -> &'static mut Sender<$stream, $timer> {
            missing()
        }
        fn upgrade() -> Upgrade<$stream, $timer> {
            missing()
        }
        fn client() -> impl Future<Output = Result<(Socket, sansock_core::handshake::Response)>> {
            WebSocket::client(missing(), missing(), missing::<ClientConnection>())
        }
        fn server() -> impl Future<Output = Result<Socket>> {
            WebSocket::server(missing(), missing(), missing::<ServerConnection>())
        }
        [
            ("WebSocket", probe_of(&missing::<Socket>).is_send()),
            ("Upgrade", probe_of(&upgrade).is_send()),
            (
                "Receiver",
                probe_of(&missing::<Receiver<$stream, $timer>>).is_send(),
            ),
            (
                "Sender",
                probe_of(&missing::<Sender<$stream, $timer>>).is_send(),
            ),
            (
                "ByteStream",
                probe_of(&missing::<ByteStream<$stream, $timer>>).is_send(),
            ),
            ("client", probe_of(&client).is_send()),
            ("server", probe_of(&server).is_send()),
            ("accept", probe_of(&|| upgrade().accept()).is_send()),
            (
                "reject",
                probe_of(&|| upgrade().reject(StatusCode::NOT_FOUND, "")).is_send(),
            ),
            ("recv", probe_of(&|| socket().recv()).is_send()),
            ("recv_ref", probe_of(&|| socket().recv_ref()).is_send()),
            ("recv_frame", probe_of(&|| socket().recv_frame()).is_send()),
            ("recv_chunk", probe_of(&|| socket().recv_chunk()).is_send()),
            ("send", probe_of(&|| socket().send("")).is_send()),
            ("feed", probe_of(&|| socket().feed("")).is_send()),
            ("flush", probe_of(&|| socket().flush()).is_send()),
            ("ping", probe_of(&|| socket().ping()).is_send()),
            ("close", probe_of(&|| socket().close(1000, "")).is_send()),
            ("fail", probe_of(&|| socket().fail(1000, "")).is_send()),
            (
                "writer",
                probe_of(&|| socket().writer(Kind::Text).finish(b"")).is_send(),
            ),
            ("Sender::send", probe_of(&|| sender().send("")).is_send()),
            ("Sender::ping", probe_of(&|| sender().ping()).is_send()),
            (
                "Sender::close",
                probe_of(&|| sender().close(1000, "")).is_send(),
            ),
        ]
    }};
}

#[test]
fn everything_is_send_where_the_transport_and_the_timer_are() {
    for (what, is_send) in answers!(End, VirtualTimer) {
        assert!(is_send, "{what} should be Send");
    }
}

#[test]
fn nothing_is_send_where_the_transport_is_not() {
    for (what, is_send) in answers!(Local, NoTimer) {
        assert!(!is_send, "{what} should not be Send");
    }
}

#[test]
fn nothing_is_send_where_the_timer_is_not() {
    for (what, is_send) in answers!(End, LocalTimer) {
        assert!(!is_send, "{what} should not be Send");
    }
}
