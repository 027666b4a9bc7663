//! The opening handshake over a transport that is connected already (section 4 of RFC 6455).
//!
//! A handshake in progress is a [`Pending`], which the connection's task drives; [`Upgrade`] is a request
//! that was read and not answered yet.
//!
//! The rule: the handshake ends by its deadline, whichever side is slow, and the connection counts as open
//! once the answer is written.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};
use sansock_core::handshake::{HandshakeError, HeadError, Request, Response, StatusCode};
use sansock_core::{
    ClientConnection, Deadline, Event, Failure, Instant, SendError, ServerConnection, State,
};

use super::WebSocket;
use crate::driver::{DriveTarget, Driver, Goal, Inbox, Role, Timer};
use crate::error::{Error, Result};

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
    /// [`Error::Handshake`] if the server does not answer as a WebSocket server should, with its response
    /// if it sent one; [`Error::TimedOut`] after the configured time; [`Error::Io`]. An answer that is not
    /// valid is reported at once. If a response that refuses has a body that does not end, it is reported
    /// after the configured time, with what has arrived of the body
    /// ([truncated](Response::is_body_truncated)).
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
    pending: Pending<S, T>,
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
    /// [`Error::Handshake`] for a malformed request, which has been answered at once; it is returned when
    /// the client has ended its stream, or has not within the close timeout. [`Error::TimedOut`] after the
    /// configured time; [`Error::Io`].
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
    #[expect(clippy::expect_used, reason = "a handshake keeps its transport")]
    pub const fn get_ref(&self) -> &S {
        self.pending.driver.transport().expect("a transport")
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
    pub fn accept_with_response(
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
    /// [`Error::Io`] if the response could not be written.
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport.
    pub fn reject(
        self,
        status: StatusCode,
        text: &str,
    ) -> impl Future<Output = Result<()>> + use<S, T> {
        let response = self.pending.driver.connection.reject(status, text);
        self.respond(response)
    }

    /// Answers the request with a response of any kind but 101, then closes the transport.
    ///
    /// # Errors
    /// [`Error::Io`] if the response could not be written.
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport.
    #[expect(clippy::needless_pass_by_value, reason = "it is answered once")]
    pub fn respond(self, response: Response) -> impl Future<Output = Result<()>> {
        let answered = self
            .pending
            .answered(|connection| connection.send_response(&response));
        async {
            let mut pending = answered?;
            match pending.send_answer().await {
                Err(Error::Handshake(_)) => pending.written(),
                sent => sent,
            }
        }
    }
}

/// An opening handshake in progress, and its transport.
///
/// Its driver is boxed, and the block is freed when the connection opens: a task keeps the largest state of its
/// future for as long as it lives.
pub(crate) struct Pending<S, T, C = ServerConnection> {
    driver: Box<Driver<S, T, C>>,
    /// Until when it must be over.
    deadline: Option<Instant>,
}

impl<S, T, C> Pending<S, T, C>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
    C: DriveTarget,
{
    pub(crate) fn new(stream: S, timer: T, connection: C) -> Self {
        let time = connection.connection().config().time_for(Deadline::Open);
        let deadline = time.and_then(|time| timer.now().checked_add(time));
        Self {
            driver: Box::new(Driver::new(stream, timer, connection)),
            deadline,
        }
    }

    /// Takes commands from this inbox as well, also once it is open.
    pub(crate) fn set_inbox(&mut self, inbox: Arc<Inbox>) {
        self.driver.set_inbox(inbox);
    }

    /// Ends the handshake at this time, instead of that of the configuration.
    pub(crate) const fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }

    pub(crate) const fn connection_mut(&mut self) -> &mut C {
        &mut self.driver.connection
    }

    fn is_late(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| deadline <= self.driver.now())
    }

    /// Waits for the first event of the connection. The last event is that the handshake failed.
    async fn event(&mut self) {
        poll_fn(|cx| self.poll_event(cx)).await;
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.driver.drive_until(cx, Role::Receive, Goal::Event)
    }

    /// Returns why there is no connection. An error in the peer's head, or a decision about it, takes
    /// precedence over a failure of the transport: a server that refuses need not read the whole request,
    /// and a client that is refused need not read the whole answer.
    fn ended(&self, error: fn(&C) -> Option<&HandshakeError>) -> Error {
        let connection = &self.driver.connection;
        let failure = connection.connection().failure();
        match (error(connection), self.driver.error(), failure) {
            (Some(error), _, _) if !is_broken_off(error) => error.clone().into(),
            (_, Some(io), _) => Error::Io(io.clone()),
            (_, None, Some(failure)) => Error::of_failure(failure, None),
            (_, None, None) => Error::Lost(None),
        }
    }
}

/// Whether the peer did not finish its head: the transport, the time or this side is the cause.
const fn is_broken_off(error: &HandshakeError) -> bool {
    matches!(
        error,
        HandshakeError::Head(HeadError::Incomplete { .. })
            | HandshakeError::TimedOut
            | HandshakeError::ConnectionLost
            | HandshakeError::Aborted(_)
    )
}

impl<S, T> Pending<S, T, ClientConnection>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    pub(crate) async fn connect(mut self) -> Result<(WebSocket<S, T>, Response)> {
        let connection = &mut self.driver.connection;
        // Refused if it was sent before: then there is nothing to do.
        let _ = connection.send_request(connection.connect());
        let is_late = poll_fn(|cx| self.poll_answered_by_server(cx)).await;
        let connection = &mut self.driver.connection;
        let response = match connection.next_event() {
            Some(Event::Response(response)) => Some(response),
            _ => None,
        };
        match response {
            Some(response) if connection.state() == State::Open => {
                let driver = self.driver.map(ClientConnection::into_connection);
                Ok((WebSocket::from_driver(driver), response))
            }
            _ => Err(self.failed(is_late)),
        }
    }

    /// Waits for the response, or for the reason why there is none. Returns whether the time is over.
    fn poll_answered_by_server(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let event = self.driver.drive_until(cx, Role::Receive, Goal::Event);
        let connection = &mut self.driver.connection;
        if event.is_pending() && !connection.is_http_so_far() {
            connection.conclude();
        }
        // An answer that is garbage is reported at once: the server may never end its stream.
        if event.is_ready() || connection.handshake_error().is_some() {
            let failure = connection.failure();
            return Poll::Ready(matches!(failure, Some(Failure::TimedOut(_))));
        }
        let late = self.driver.poll_deadline(cx, self.deadline);
        late.map(|()| true)
    }

    /// Returns why there is no connection. When the time is over, a refusal counts without the end of its body.
    fn failed(&mut self, is_late: bool) -> Error {
        let connection = &mut self.driver.connection;
        if is_late {
            connection.conclude();
        }
        match is_late && connection.handshake_error().is_none_or(is_broken_off) {
            true => Error::TimedOut(Deadline::Open),
            false => self.ended(ClientConnection::handshake_error),
        }
    }
}

impl<S, T> Pending<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    /// Reads the request and accepts it.
    pub(crate) async fn serve(mut self) -> Result<WebSocket<S, T>> {
        self.event().await;
        if !self.is_refused() {
            self.accept()?;
        }
        self.send_answer().await?;
        Ok(self.open())
    }

    fn accept(&mut self) -> Result<()> {
        let request = self.take_request()?;
        Ok(self.driver.connection.answer(&request)?)
    }

    pub(crate) async fn read(mut self) -> Result<Upgrade<S, T>> {
        self.read_unless(|_| Poll::Pending).await?;
        if self.is_refused() {
            return Err(self.end().await);
        }
        let request = self.take_request()?;
        Ok(Upgrade {
            pending: self,
            request,
        })
    }

    /// Reads the request of a client, unless something gives an answer that does not depend on it.
    pub(crate) fn read_unless(
        &mut self,
        mut answer: impl FnMut(&mut Context<'_>) -> Poll<Response>,
    ) -> impl Future<Output = Result<(), SendError>> {
        poll_fn(move |cx| {
            let event = self.poll_event(cx);
            if event.is_ready() {
                return Poll::Ready(Ok(()));
            }
            let answer = answer(cx);
            answer.map(|answer| self.driver.connection.send_response(&answer))
        })
    }

    /// Whether the request was answered without the application, with the reason in
    /// [`ServerConnection::handshake_error`]: it is malformed, or the answer did not depend on it.
    pub(crate) fn is_refused(&self) -> bool {
        let error = self.driver.connection.handshake_error();
        error.is_some_and(|error| !is_broken_off(error))
    }

    /// Whether the client has left without a byte.
    pub(crate) fn has_received_nothing(&self) -> bool {
        self.driver.connection.stats().bytes_received == 0
    }

    /// Returns the request that was read.
    pub(crate) fn take_request(&mut self) -> Result<Request> {
        match self.driver.connection.next_event() {
            Some(Event::Request(request)) => Ok(request),
            _ => Err(self.ended(ServerConnection::handshake_error)),
        }
    }

    /// Answers the request; opens the connection if the answer is 101.
    pub(crate) fn answer(
        self,
        response: &Response,
    ) -> impl Future<Output = Result<WebSocket<S, T>>> + use<S, T> {
        let answered = self.answered(|connection| connection.send_response(response));
        async { answered?.finish().await }
    }

    /// Queues the answer to the request unless it is too late: the time ran while the application decided.
    fn answered(
        mut self,
        answer: impl FnOnce(&mut ServerConnection) -> Result<(), SendError>,
    ) -> Result<Self> {
        if self.is_late() {
            return Err(Error::TimedOut(Deadline::Open));
        }
        answer(&mut self.driver.connection)?;
        Ok(self)
    }

    async fn finish(mut self) -> Result<WebSocket<S, T>> {
        self.send_answer().await?;
        Ok(self.open())
    }

    /// Sends the answer. After a refusal, waits for the end of the client's stream.
    async fn send_answer(&mut self) -> Result<()> {
        if self.driver.connection.handshake_error().is_some() {
            return Err(self.end().await);
        }
        match poll_fn(|cx| self.poll_answered(cx)).await {
            true => Ok(()),
            false => Err(Error::TimedOut(Deadline::Open)),
        }
    }

    /// Sends the answer; `false` if that takes too long. The connection is open once the answer is queued, but
    /// the handshake is complete once it was written.
    fn poll_answered(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        match self.driver.poll_flush(cx, Role::Send) {
            Poll::Ready(()) => Poll::Ready(true),
            Poll::Pending => {
                let late = self.driver.poll_deadline(cx, self.deadline);
                late.map(|()| false)
            }
        }
    }

    /// Sends a refusal, and waits until the client has ended its stream.
    async fn end(&mut self) -> Error {
        self.drive_to_end().await;
        self.ended(ServerConnection::handshake_error)
    }

    /// Drives the connection until a refused client has ended its stream. A client that does not is left at
    /// the deadline of the handshake, which comes before that of the closing in most cases.
    async fn drive_to_end(&mut self) {
        // An event that is not taken stops reading.
        while self.driver.connection.next_event().is_some() {}
        poll_fn(|cx| {
            let ended = self.driver.drive_until(cx, Role::Receive, Goal::End);
            match ended.is_pending() && self.driver.connection.close_expected() {
                true => self.driver.poll_deadline(cx, self.deadline),
                false => ended,
            }
        })
        .await;
    }

    /// Sends a refusal that is queued, as far as the transport takes it.
    pub(crate) fn send_refusal(&mut self) -> impl Future<Output = ()> {
        poll_fn(|cx| self.driver.poll_flush(cx, Role::Send))
    }

    /// Waits until a refused client has ended its stream, within the close timeout. Closing a socket with
    /// unread data would reset it, and the client might lose the refusal.
    pub(crate) async fn linger(&mut self) {
        if self.driver.connection.handshake_error().is_some() {
            self.drive_to_end().await;
        }
    }

    /// Whether the transport has taken the answer.
    fn written(&self) -> Result<()> {
        match self.driver.error() {
            Some(error) if self.driver.write_failed() => Err(Error::Io(error.clone())),
            _ => Ok(()),
        }
    }

    fn open(self) -> WebSocket<S, T> {
        WebSocket::from_driver(self.driver.map(ServerConnection::into_connection))
    }
}

impl<S, T> fmt::Debug for Upgrade<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade")
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}
