//! WebSockets whose HTTP is done elsewhere: another server reads the request, sends the response and hands over
//! the stream.
//!
//! The rule: the place of a connection is reserved before its request is answered with success, and given back
//! however the admission ends. What is decided, and how the connection is served, is in
//! [`connection`](super::connection), for these as for all.

use std::fmt;
use std::future::{Future, ready};
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::FutureExt;
use sansock_core::handshake::{Negotiated, Request, Response, StatusCode};
use sansock_core::{Connection, Instant, Side};

use super::connection::{Approval, Denial, Opened, Shared};
use super::outcome::{HandlerError, ServerEvent};
use super::registry::{Refused, Registration};
use crate::driver::{Driver, Timer, trace};
use crate::error::{Error, Result};
use crate::transport::{Mode, Peer, Threads};
use crate::websocket::WebSocket;

/// A request that was accepted, and the place of its connection. Made by [`Acceptor::admit`](super::Acceptor::admit).
///
/// Send the [response](Self::response), then [serve](Self::serve) the stream on which it was sent. Dropping the
/// admission gives the place back, and counts as a failed handshake.
#[must_use = "an admission that is dropped gives its place back"]
pub struct Admission<S: 'static, T: 'static, M: Mode = Threads> {
    shared: Arc<Shared<S, T, M>>,
    registration: Registration,
    approval: Approval<S, T, M, Negotiated>,
    /// Until when the stream has to be there.
    deadline: Option<Instant>,
}

/// Decides about a request.
pub(super) async fn admit<S, T, M>(
    shared: Arc<Shared<S, T, M>>,
    request: Request,
    peer: Peer,
) -> Result<Admission<S, T, M>, Response>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    T: Timer + 'static,
    M: Mode,
{
    let mut registration = shared.registry.enter(peer, shared.timer().now());
    let deadline = shared.open_deadline();
    let handle = registration.handle().clone();
    let version = request.version();
    let deciding = async { Ok(decide(&shared, &registration, request).await) };
    let (response, error) = match shared.open_in_time(&handle, deadline, deciding).await {
        Ok(Ok(approval)) => {
            return Ok(Admission {
                shared,
                registration,
                approval,
                deadline,
            });
        }
        Ok(Err(Denial { response, error })) => (response, error.map(Error::from)),
        Err(error) => {
            let text = "The server could not decide about the request in time.\n";
            let response = Response::text(StatusCode::SERVICE_UNAVAILABLE, text);
            (response, Some(error))
        }
    };
    shared.refused(&mut registration, response.status(), error);
    Err(response.for_version(version))
}

async fn decide<S, T, M>(
    shared: &Shared<S, T, M>,
    registration: &Registration,
    request: Request,
) -> Result<Approval<S, T, M, Negotiated>, Denial>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    T: Timer + 'static,
    M: Mode,
{
    if !registration.keep_place() {
        return Err(Denial::no_room(Refused::Full));
    }
    if let Some(drain) = shared.registry.draining() {
        return Err(Denial::no_room(Refused::Draining(drain)));
    }
    let forwarded = shared.read_forwarded(registration, &request);
    let host = forwarded.and_then(|forwarded| forwarded.host);
    let accept = |request: &Request| {
        let answer = |offers: &_| shared.config.answer_extensions(offers);
        shared.options.accept_with_extensions(request, answer)
    };
    let mut approval = shared.decide(registration, request, host, accept).await?;
    // The client takes it from the response, to which the application may have added it.
    let selected = approval
        .response
        .headers()
        .get_str("Sec-WebSocket-Protocol");
    approval.agreed.subprotocol = selected.map(Into::into);
    Ok(approval)
}

impl<S, T, M> Admission<S, T, M>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    T: Timer + 'static,
    M: Mode,
{
    /// Returns the response to send. It opens the connection: its status is 101 over HTTP/1.1.
    #[must_use]
    pub const fn response(&self) -> &Response {
        &self.approval.response
    }

    /// Returns the request.
    #[must_use]
    pub const fn request(&self) -> &Request {
        &self.approval.request
    }

    /// Serves the connection to its end, as one whose handshake the server has done. Call it once the response was
    /// sent. What the HTTP server has read beyond the request has to come out of the stream first.
    ///
    /// Spawn the future, or await it: it runs the handler.
    ///
    /// # Cancel safety
    /// Dropping the future drops the stream.
    pub fn serve(self, stream: S) -> impl Future<Output = ()> {
        self.serve_upgrade(ready(Ok::<_, io::Error>(stream)))
    }

    /// As [`serve`](Self::serve), for an HTTP server that hands over the stream after it has sent the response, such
    /// as hyper. If the stream does not come in time, or the future fails, that is reported as a handshake that
    /// failed.
    ///
    /// # Cancel safety
    /// Dropping the future drops `upgrade`, or the stream.
    pub fn serve_upgrade<F, E>(self, upgrade: F) -> impl Future<Output = ()>
    where
        F: Future<Output = Result<S, E>>,
        E: Into<HandlerError>,
    {
        let Self {
            shared,
            mut registration,
            approval,
            deadline,
        } = self;
        async move {
            let handle = registration.handle().clone();
            let serving = async {
                let opening = async {
                    let stream = upgrade
                        .await
                        .map_err(|error| upgrade_failed(error.into()))?;
                    open(&shared, &registration, approval, stream).map(Some)
                };
                // Boxed, so that its memory is freed when the connection opens.
                let opening = Box::pin(shared.open_in_time(&handle, deadline, opening));
                let opening = opening.await;
                if let Some(opened) = shared.opened(&mut registration, opening) {
                    shared.handle(&registration, opened).await;
                }
            };
            if AssertUnwindSafe(serving).catch_unwind().await.is_err() {
                shared.report(&ServerEvent::Panic(handle.peer()));
            }
        }
    }
}

/// Opens the connection over its stream.
fn open<S, T, M>(
    shared: &Shared<S, T, M>,
    registration: &Registration,
    approval: Approval<S, T, M, Negotiated>,
    stream: S,
) -> Result<Opened<S, T, M>>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
    M: Mode,
{
    let handle = registration.handle();
    let Approval {
        request,
        chosen,
        agreed,
        ..
    } = approval;
    let config = match request.version().is_multiplexed() {
        true => &shared.multiplexed,
        false => &shared.config,
    };
    let mut connection = Connection::new(Side::Server, agreed, config.clone())?;
    trace::peer(connection.io(), || Some(handle.peer()));
    let mut driver = Driver::new(stream, shared.timer(), connection);
    driver.set_inbox(handle.inbox().clone());
    Ok(Opened {
        socket: WebSocket::from_driver(driver),
        request,
        chosen,
    })
}

fn upgrade_failed(error: HandlerError) -> Error {
    match error.downcast::<io::Error>() {
        Ok(error) => (*error).into(),
        Err(error) => io::Error::other(error).into(),
    }
}

impl<S: 'static, T: 'static, M: Mode> fmt::Debug for Admission<S, T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission")
            .field("peer", self.registration.handle().peer())
            .field("request", &self.approval.request)
            .finish_non_exhaustive()
    }
}
