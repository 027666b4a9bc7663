//! The opening handshake over a transport that exists already (RFC 6455 section 4).

use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};
use sansock_core::handshake::{HandshakeError, Request, Response, StatusCode};
use sansock_core::{
    ClientConnection, Deadline, Event, Instant, SendError, ServerConnection, State,
};

use crate::driver::{Driver, Drives};
use crate::error::{Error, Result};
use crate::timer::Timer;
use crate::websocket::WebSocket;

impl<S, T> WebSocket<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    /// Opens a connection as a client, over a transport that is connected to the server (and on which
    /// TLS was negotiated, if the URI asks for it). Returns the server's response as well.
    ///
    /// The request is sent unless [`ClientConnection::send_request`] was called before, which is how
    /// it is edited.
    ///
    /// # Errors
    /// [`Error::Handshake`] where the server does not answer as a WebSocket server should, with its
    /// response where it gave one; [`Error::TimedOut`] after the configured time; [`Error::Io`].
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport.
    pub fn client(
        stream: S,
        timer: T,
        connection: ClientConnection,
    ) -> impl Future<Output = Result<(Self, Response)>> {
        Pending::new(stream, timer, connection).connect()
    }

    /// Opens a connection as a server: reads the request, and accepts it if it is acceptable.
    ///
    /// To look at the request first, use [`Upgrade::read`].
    ///
    /// # Errors
    /// As [`Upgrade::read`] and [`Upgrade::accept`].
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport.
    pub fn server(
        stream: S,
        timer: T,
        connection: ServerConnection,
    ) -> impl Future<Output = Result<Self>> {
        Pending::new(stream, timer, connection).serve()
    }
}

/// A request to open a WebSocket that was read and not yet answered: the second phase of a server's
/// opening handshake.
///
/// Look at it, ask a database if you like, then [`accept`](Self::accept) or
/// [`reject`](Self::reject). The configured time for the handshake goes on.
pub struct Upgrade<S, T> {
    pending: Box<Pending<S, T>>,
    request: Request,
}

impl<S, T> Upgrade<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    /// Reads the request of a client.
    ///
    /// Bytes that were read before are fed to the connection first:
    /// [`receive_data`](sansock_core::Connection::receive_data).
    ///
    /// # Errors
    /// [`Error::Handshake`] for a malformed request, which has been answered; [`Error::TimedOut`]
    /// after the configured time; [`Error::Io`].
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport.
    pub fn read(
        stream: S,
        timer: T,
        connection: ServerConnection,
    ) -> impl Future<Output = Result<Self>> {
        Pending::new(stream, timer, connection).read()
    }

    /// Returns the request.
    #[must_use]
    pub const fn request(&self) -> &Request {
        &self.request
    }

    /// Returns the transport, for example to ask for the peer's address.
    #[must_use]
    pub const fn get_ref(&self) -> &S {
        self.pending.driver.stream()
    }

    /// Accepts the request, if it is acceptable.
    ///
    /// # Errors
    /// [`Error::Handshake`] where it is not; the client was told.
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport.
    pub fn accept(self) -> impl Future<Output = Result<WebSocket<S, T>>> {
        let Self { pending, request } = self;
        let answered = pending.answered(|connection| connection.answer(&request));
        async { answered?.finish().await }
    }

    /// Accepts the request, if it is acceptable, with a response that `edit` may add headers to.
    ///
    /// # Errors
    /// As [`accept`](Self::accept).
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport.
    pub fn accept_with(
        self,
        edit: impl FnOnce(&mut Response),
    ) -> impl Future<Output = Result<WebSocket<S, T>>> {
        let Self { pending, request } = self;
        let answered = pending.answered(|connection| {
            let mut response = connection.accept(&request);
            if connection.handshake_error().is_none() {
                edit(&mut response);
            }
            connection.send_response(&response)
        });
        async { answered?.finish().await }
    }

    /// Refuses the request with a status and a text.
    ///
    /// # Errors
    /// [`Error::Io`] where the client could not be told.
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport.
    pub fn reject(
        self,
        status: StatusCode,
        text: &str,
    ) -> impl Future<Output = Result<()>> + use<S, T> {
        let response = self.pending.connection.reject(status, text);
        self.respond(response)
    }

    /// Answers the request with a response of any kind but 101, then closes the transport.
    ///
    /// # Errors
    /// [`Error::Io`] where the client could not be told.
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport.
    #[expect(clippy::needless_pass_by_value, reason = "it is answered once")]
    pub fn respond(self, response: Response) -> impl Future<Output = Result<()>> {
        let answered = self
            .pending
            .answered(|connection| connection.send_response(&response));
        async {
            match answered?.settled().await {
                Ok(()) | Err(Error::Handshake(_)) => Ok(()),
                Err(error) => Err(error),
            }
        }
    }
}

/// An opening handshake that goes on, and its transport.
///
/// It lies in a block of its own, which is freed when the connection opens: a task keeps the largest
/// state of its future for as long as it lives.
pub(crate) struct Pending<S, T, C = ServerConnection> {
    driver: Driver<S, T>,
    pub(crate) connection: C,
    /// Until when it must be over.
    deadline: Option<Instant>,
}

impl<S, T, C> Pending<S, T, C>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
    C: Drives,
{
    pub(crate) fn new(stream: S, timer: T, mut connection: C) -> Box<Self> {
        let config = connection.connection().config();
        let time = config.time_for(Deadline::Open);
        let deadline = time.and_then(|time| timer.now().checked_add(time));
        let driver = Driver::new(stream, timer);
        Box::new(Self {
            driver,
            connection,
            deadline,
        })
    }

    /// Waits for the event that the connection begins with, or for its end.
    async fn event(&mut self) {
        poll_fn(|cx| self.driver.poll_event(cx, &mut self.connection)).await;
    }

    /// Returns why there is no connection: the server's refusal, the transport, the deadline, or the
    /// handshake. A server that refuses need not read the whole request, which then fails to be written.
    fn ended(&mut self, error: fn(&C) -> Option<&HandshakeError>) -> Error {
        let failure = self.connection.connection().failure().cloned();
        match (error(&self.connection), self.driver.error(), failure) {
            (Some(refusal @ HandshakeError::Refused(_)), _, _) => refusal.clone().into(),
            (_, Some(io), _) => Error::Io(io.clone()),
            (_, None, Some(failure)) => Error::of_failure(&failure, None),
            (Some(error), None, None) => error.clone().into(),
            (None, None, None) => Error::Lost(None),
        }
    }
}

impl<S, T> Pending<S, T, ClientConnection>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    async fn connect(mut self: Box<Self>) -> Result<(WebSocket<S, T>, Response)> {
        // Refused where it was sent before: then there is nothing to do.
        let _ = self.connection.send_request(self.connection.connect());
        self.event().await;
        let response = match self.connection.next_event() {
            Some(Event::Response(response)) => Some(response),
            _ => None,
        };
        match response {
            Some(response) if self.connection.state() == State::Open => {
                let Self {
                    driver, connection, ..
                } = *self;
                let socket = WebSocket::from_parts(driver, connection.into_connection());
                Ok((socket, response))
            }
            _ => Err(self.ended(ClientConnection::handshake_error)),
        }
    }
}

impl<S, T> Pending<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    /// Reads the request and accepts it.
    pub(crate) async fn serve(mut self: Box<Self>) -> Result<WebSocket<S, T>> {
        self.event().await;
        if self.connection.handshake_error().is_none() {
            self.accept()?;
        }
        self.settled().await?;
        Ok(self.open())
    }

    fn accept(&mut self) -> Result<()> {
        let request = self.take_request()?;
        Ok(self.connection.answer(&request)?)
    }

    pub(crate) async fn read(mut self: Box<Self>) -> Result<Upgrade<S, T>> {
        let request = self.read_unless(|_| Poll::Pending).await?;
        Ok(Upgrade {
            pending: self,
            request,
        })
    }

    /// Reads the request of a client, unless something gives an answer that does not depend on it.
    pub(crate) async fn read_unless(
        &mut self,
        mut answer: impl FnMut(&mut Context<'_>) -> Poll<Response>,
    ) -> Result<Request> {
        let read = poll_fn(
            |cx| match self.driver.poll_event(cx, &mut self.connection) {
                Poll::Ready(()) => Poll::Ready(Ok(())),
                Poll::Pending => answer(cx).map(|answer| self.connection.send_response(&answer)),
            },
        );
        read.await?;
        if self.connection.handshake_error().is_some() {
            return Err(self.end().await);
        }
        self.take_request()
    }

    fn take_request(&mut self) -> Result<Request> {
        match self.connection.next_event() {
            Some(Event::Request(request)) => Ok(request),
            _ => Err(self.ended(ServerConnection::handshake_error)),
        }
    }

    /// Answers the request; opens the connection if the answer is 101.
    pub(crate) fn answer(
        self: Box<Self>,
        response: &Response,
    ) -> impl Future<Output = Result<WebSocket<S, T>>> + use<S, T> {
        let answered = self.answered(|connection| connection.send_response(response));
        async { answered?.finish().await }
    }

    /// Queues the answer to the request, if it is still time: that went on while the request was looked at.
    fn answered(
        mut self: Box<Self>,
        answer: impl FnOnce(&mut ServerConnection) -> Result<(), SendError>,
    ) -> Result<Box<Self>> {
        if self
            .deadline
            .is_some_and(|deadline| deadline <= self.driver.now())
        {
            return Err(Error::TimedOut(Deadline::Open));
        }
        answer(&mut self.connection)?;
        Ok(self)
    }

    async fn finish(mut self: Box<Self>) -> Result<WebSocket<S, T>> {
        self.settled().await?;
        Ok(self.open())
    }

    /// Sends the answer; sees a client off that was refused.
    async fn settled(&mut self) -> Result<()> {
        if self.connection.handshake_error().is_some() {
            return Err(self.end().await);
        }
        match poll_fn(|cx| self.poll_answered(cx)).await {
            true => Ok(()),
            false => Err(Error::TimedOut(Deadline::Open)),
        }
    }

    /// Sends the answer; `false` if that takes too long. The connection is open once the answer is queued, but
    /// the handshake is done once it was written.
    fn poll_answered(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        match self.driver.poll_flush(cx, &mut self.connection) {
            Poll::Ready(()) => Poll::Ready(true),
            Poll::Pending => {
                let late = self.driver.poll_deadline(cx, self.deadline);
                late.map(|()| false)
            }
        }
    }

    /// Drives the connection of a refused client to its end.
    async fn end(&mut self) -> Error {
        let connection = self.connection.connection();
        poll_fn(|cx| self.driver.poll_skipping(cx, connection, |_| false)).await;
        self.ended(ServerConnection::handshake_error)
    }

    #[expect(clippy::boxed_local, reason = "its parts are moved once")]
    fn open(self: Box<Self>) -> WebSocket<S, T> {
        WebSocket::from_parts(self.driver, self.connection.into_connection())
    }
}

impl<S, T> fmt::Debug for Upgrade<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade")
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}
