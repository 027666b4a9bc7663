//! The opening handshake over a transport that exists already (RFC 6455 section 4).

use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};
use sansock_core::handshake::{HandshakeError, Request, Response, StatusCode};
use sansock_core::{ClientConnection, Deadline, Event, Failure, ServerConnection, State};

use crate::driver::Driver;
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
    pub async fn client(
        stream: S,
        timer: T,
        mut connection: ClientConnection,
    ) -> Result<(Self, Response)> {
        let mut driver = Driver::new(stream, timer);
        // Refused where it was sent before: then there is nothing to do.
        let _ = connection.send_request(connection.connect());
        poll_fn(|cx| driver.poll_event(cx, &mut connection)).await;
        let response = match connection.next_event() {
            Some(Event::Response(response)) => Some(response),
            _ => None,
        };
        match response {
            Some(response) if connection.state() == State::Open => {
                let socket = Self::from_parts(driver, connection.into_connection());
                Ok((socket, response))
            }
            _ => Err(ended(
                connection.handshake_error(),
                connection.failure(),
                &driver,
            )),
        }
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
    pub async fn server(stream: S, timer: T, connection: ServerConnection) -> Result<Self> {
        let upgrade = Upgrade::read(stream, timer, connection).await?;
        upgrade.accept().await
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

/// A client that waits for the answer to its request.
pub(crate) struct Pending<S, T> {
    driver: Driver<S, T>,
    pub(crate) connection: ServerConnection,
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
    pub async fn read(stream: S, timer: T, connection: ServerConnection) -> Result<Self> {
        Self::read_unless(stream, timer, connection, |_| Poll::Pending).await
    }

    /// Reads the request of a client, unless something gives an answer that does not depend on it.
    pub(crate) async fn read_unless(
        stream: S,
        timer: T,
        mut connection: ServerConnection,
        mut answer: impl FnMut(&mut Context<'_>) -> Poll<Response>,
    ) -> Result<Self> {
        let mut driver = Driver::new(stream, timer);
        connection.handle_timeout(driver.now());
        let answer = poll_fn(|cx| match driver.poll_event(cx, &mut connection) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => answer(cx).map(Some),
        });
        let answer = answer.await;
        let mut pending = Pending { driver, connection };
        if let Some(answer) = answer {
            return Err(pending.refuse(&answer).await);
        }
        match pending.connection.next_event() {
            Some(Event::Request(request)) => Ok(Self { pending, request }),
            _ => Err(pending.ended()),
        }
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

    /// Returns the request, and who waits for an answer to it.
    pub(crate) fn into_parts(self) -> (Request, Pending<S, T>) {
        (self.request, self.pending)
    }

    /// Accepts the request, if it is acceptable.
    ///
    /// # Errors
    /// [`Error::Handshake`] where it is not; the client was told.
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport.
    pub async fn accept(self) -> Result<WebSocket<S, T>> {
        self.accept_with(|_| {}).await
    }

    /// Accepts the request, if it is acceptable, with a response that `edit` may add headers to.
    ///
    /// # Errors
    /// As [`accept`](Self::accept).
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport.
    pub async fn accept_with(
        mut self,
        edit: impl FnOnce(&mut Response),
    ) -> Result<WebSocket<S, T>> {
        let connection = &mut self.pending.connection;
        let mut response = connection.accept(&self.request);
        if connection.handshake_error().is_none() {
            edit(&mut response);
        }
        self.pending.answer(response).await
    }

    /// Refuses the request with a status and a text.
    ///
    /// # Errors
    /// [`Error::Io`] where the client could not be told.
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport.
    pub async fn reject(self, status: StatusCode, text: &str) -> Result<()> {
        let response = self.pending.connection.reject(status, text);
        self.respond(response).await
    }

    /// Answers the request with a response of any kind but 101, then closes the transport.
    ///
    /// # Errors
    /// [`Error::Io`] where the client could not be told.
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport.
    pub async fn respond(self, response: Response) -> Result<()> {
        match self.pending.answer(response).await {
            Ok(_) | Err(Error::Handshake(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl<S, T> Pending<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    /// Answers the request; opens the connection if the answer is 101.
    pub(crate) async fn answer(mut self, response: Response) -> Result<WebSocket<S, T>> {
        // The time for the handshake went on while the request was looked at.
        self.connection.handle_timeout(self.driver.now());
        if let Some(failure) = self.connection.failure() {
            return Err(Error::of_failure(failure, None));
        }
        let deadline = self.connection.next_timeout();
        self.connection.send_response(&response)?;
        if self.connection.handshake_error().is_some() {
            return Err(self.end().await);
        }
        // The connection is open once the answer is queued; the handshake is done once it was written.
        let written = |cx: &mut Context<'_>| match self.driver.poll_flush(cx, &mut self.connection)
        {
            Poll::Ready(()) => Poll::Ready(true),
            Poll::Pending => self.driver.poll_deadline(cx, deadline).map(|()| false),
        };
        if !poll_fn(written).await {
            return Err(Error::TimedOut(Deadline::Open));
        }
        let Self { driver, connection } = self;
        Ok(WebSocket::from_parts(driver, connection.into_connection()))
    }

    /// Answers a request that was not read, and returns the error that this comes to.
    async fn refuse(mut self, response: &Response) -> Error {
        match self.connection.send_response(response) {
            Ok(()) => self.end().await,
            Err(error) => error.into(),
        }
    }

    /// Sees a refused client off.
    async fn end(&mut self) -> Error {
        poll_fn(|cx| self.driver.poll_event(cx, &mut self.connection)).await;
        self.ended()
    }

    fn ended(&self) -> Error {
        let connection = &self.connection;
        ended(
            connection.handshake_error(),
            connection.failure(),
            &self.driver,
        )
    }
}

/// Returns why there is no connection: the server's refusal, the transport, the deadline, or the
/// handshake. A server that refuses need not read the whole request, which then fails to be written.
fn ended<S, T>(
    handshake: Option<&HandshakeError>,
    failure: Option<&Failure>,
    driver: &Driver<S, T>,
) -> Error
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    match (handshake, driver.error(), failure) {
        (Some(refusal @ HandshakeError::Refused(_)), _, _) => refusal.clone().into(),
        (_, Some(io), _) => Error::Io(io.clone()),
        (_, None, Some(failure)) => Error::of_failure(failure, None),
        (Some(error), None, None) => error.clone().into(),
        (None, None, None) => Error::Lost(None),
    }
}

impl<S, T> fmt::Debug for Upgrade<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade")
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}
