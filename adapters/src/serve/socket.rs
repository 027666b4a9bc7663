//! A WebSocket that a server lends to a handler.
//!
//! However a handler ends, by returning, by failing, by a panic or because its future is dropped, the
//! WebSocket comes back when it is dropped, so that the server can close it properly.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, PoisonError};

use futures_io::{AsyncRead, AsyncWrite};
use sansock_core::handshake::Request;

use super::control::{Handle, ServerTimer};
use crate::driver::Timer;
use crate::driver::sync::{Mutex, MutexGuard};
use crate::transport::Peer;
use crate::websocket::{Receiver, Sender, WebSocket};

/// A WebSocket of a server, for its handler: a [`WebSocket`] with the request that opened it.
///
/// It is closed when the handler returns: with 1000, or with 1011 after an error or a panic. Meanwhile
/// the server may close it with 1001, which looks to the handler as if the peer had. Dropping it leaves
/// it to the server to close.
pub struct Socket<S, T> {
    /// Gone in `drop` and in what consumes it.
    socket: Option<Box<WebSocket<S, ServerTimer<T>>>>,
    seat: Arc<Seat<S, T>>,
    handle: Handle,
    request: Box<Request>,
}

/// Where a WebSocket returns to.
pub(super) struct Seat<S, T> {
    returned: Mutex<Option<Returned<S, T>>>,
}

/// What the server has of a WebSocket after its handler has ended.
pub(super) enum Returned<S, T> {
    Whole(Box<WebSocket<S, ServerTimer<T>>>),
    Half(Sender<S, ServerTimer<T>>),
}

impl<S, T> Seat<S, T> {
    pub(super) fn take(&self) -> Option<Returned<S, T>> {
        self.returned().take()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.returned().is_none()
    }

    fn give(&self, returned: Returned<S, T>) {
        let old = self.returned().replace(returned);
        drop(old);
    }

    /// Whether the connection is over, as far as can be told here: whoever cannot write any more has been
    /// told so, even where the end of the stream is still to be read.
    pub(super) fn is_over(&self) -> bool
    where
        S: AsyncRead + AsyncWrite + Unpin,
        T: Timer,
    {
        match &*self.returned() {
            Some(Returned::Whole(socket)) => socket.closed().is_some() || socket.write_failed(),
            Some(Returned::Half(sender)) => sender.closed().is_some() || sender.write_failed(),
            None => false,
        }
    }

    fn returned(&self) -> MutexGuard<'_, Option<Returned<S, T>>> {
        self.returned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S, T> Socket<S, T> {
    /// Returns the WebSocket for a handler, and where it will return to.
    pub(super) fn lend(
        socket: Box<WebSocket<S, ServerTimer<T>>>,
        handle: Handle,
        request: Request,
    ) -> (Self, Arc<Seat<S, T>>) {
        let seat = Arc::new(Seat {
            returned: Mutex::new(None),
        });
        let socket = Self {
            socket: Some(socket),
            seat: seat.clone(),
            handle,
            request: Box::new(request),
        };
        (socket, seat)
    }

    /// Returns the request that opened the connection.
    #[must_use]
    pub const fn request(&self) -> &Request {
        &self.request
    }

    /// Returns the path of the request, without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.request.path()
    }

    /// Returns who is connected.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        self.handle.peer()
    }

    /// Returns the handle of the connection: for rooms, and to send to it and close it from elsewhere.
    #[must_use]
    pub const fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl<S, T> Socket<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    /// Splits into halves for two tasks, as [`WebSocket::split`] does. The connection is closed when the
    /// handler returns, whether or not halves are left.
    #[must_use]
    pub fn split(mut self) -> (Receiver<S, ServerTimer<T>>, Sender<S, ServerTimer<T>>) {
        let (receiver, sender) = self.take().split();
        self.seat.give(Returned::Half(sender.clone()));
        (receiver, sender)
    }

    /// Returns the WebSocket itself, for example to make a stream of bytes of it. It does not come back
    /// when it is dropped, so that the handler has to close it; on shutdown the server does.
    #[must_use]
    pub fn into_inner(mut self) -> WebSocket<S, ServerTimer<T>> {
        *self.take()
    }

    #[expect(clippy::expect_used, reason = "taken by what consumes the socket only")]
    fn take(&mut self) -> Box<WebSocket<S, ServerTimer<T>>> {
        self.socket.take().expect("the socket is there")
    }
}

impl<S, T> Deref for Socket<S, T> {
    type Target = WebSocket<S, ServerTimer<T>>;

    #[expect(clippy::expect_used, reason = "taken by what consumes the socket only")]
    fn deref(&self) -> &Self::Target {
        self.socket.as_deref().expect("the socket is there")
    }
}

impl<S, T> DerefMut for Socket<S, T> {
    #[expect(clippy::expect_used, reason = "taken by what consumes the socket only")]
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.socket.as_deref_mut().expect("the socket is there")
    }
}

impl<S, T> Drop for Socket<S, T> {
    fn drop(&mut self) {
        if let Some(socket) = self.socket.take() {
            self.seat.give(Returned::Whole(socket));
            self.handle.give_back();
        }
    }
}

impl<S, T> fmt::Debug for Socket<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("peer", self.peer())
            .field("path", &self.path())
            .finish_non_exhaustive()
    }
}
