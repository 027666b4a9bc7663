//! One connection from its first byte to its last: the opening handshake, the handler, the end.
//!
//! All of it is one future. A command to end reaches it wherever it waits. Whatever the handler does, the
//! connection ends here, with a Close frame, and gives back its place in the registry.
//!
//! D10: a handshake has its place while its request is decided and answered. Before that and after it, while
//! a refused client has not ended its stream, the place can be taken at any time. A request that is refused
//! is counted and reported as it was decided, whatever becomes of the transport after that.

use std::fmt;
use std::future::{Future, pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::FutureExt;
use futures_lite::future::{or, poll_once};
use sansock_core::handshake::{
    HandshakeError, Headers, HttpVersion, Request, Response, ServerOptions, StatusCode,
};
use sansock_core::{CloseCode, CloseFrame, Config, Deadline, Instant, ServerConnection};

use super::drain::{self, sleep_until};
use super::handle::Handle;
use super::lifetime::Lifetime;
use super::outcome::{AnyEvent, Ending, HandlerError, ServerEvent};
use super::proxies::{ForwardedRequest, TrustedProxies};
use super::registry::{Refused, Registration, Registry};
use super::request::{Answer, Chosen, HandshakeDecision, IncomingRequest};
use super::slot::Slot;
use super::socket::Socket;
use crate::driver::{Command, RateLimit, Timer, trace};
use crate::error::{Error, Result};
use crate::transport::{Accepted, BoxFuture, Mode, Peer};
use crate::websocket::{Pending, WebSocket};

/// What all connections of a server share.
#[allow(unreachable_pub, reason = "hidden methods of public traits have it")]
pub struct Shared<S: 'static, T: 'static, M: Mode> {
    pub(super) registry: Arc<Registry>,
    pub(super) config: Config,
    /// That of streams that share a connection with others.
    pub(super) multiplexed: Config,
    pub(super) options: Arc<ServerOptions>,
    /// The options of connections to a loopback address.
    pub(super) loopback_options: Arc<ServerOptions>,
    pub(super) trusted_proxies: TrustedProxies,
    pub(super) headers: Headers,
    pub(super) open_timeout: Option<Duration>,
    pub(super) lifetime: Lifetime,
    pub(super) rate_limit: Option<RateLimit>,
    pub(super) timer: M::Function<(), T>,
    pub(super) handler: M::Function<Socket<S, T>, BoxFuture<M, Ending>>,
    pub(super) process_request: Option<ProcessRequest<S, T, M>>,
    pub(super) on_event: Option<M::Observer<AnyEvent>>,
}

pub(super) type ProcessRequest<S, T, M> =
    <M as Mode>::Function<IncomingRequest<S, T, M>, BoxFuture<M, HandshakeDecision<S, T, M>>>;

/// Why no connection was opened.
enum NotOpened<S, T> {
    Refused(Refusal<S, T>),
    /// There is no answer.
    Failed(Error),
    /// The client has left without a byte, as checks of load balancers do.
    Silent,
}

/// A request that is answered with another status than 101. The answer is queued.
struct Refusal<S, T> {
    pending: Pending<S, T>,
    status: StatusCode,
    /// What is reported: nothing if the application decided it.
    error: Option<HandshakeError>,
}

/// The decision to refuse a request.
pub(super) struct Denial {
    pub(super) response: Response,
    /// What is reported: nothing if the application decided it.
    pub(super) error: Option<HandshakeError>,
}

/// The decision to accept a request. The connection has its place among the open ones.
pub(super) struct Approval<S: 'static, T: 'static, M: Mode, A> {
    pub(super) response: Response,
    pub(super) request: Request,
    pub(super) chosen: Option<Chosen<S, T, M>>,
    pub(super) agreed: A,
}

impl<S, T, E: Into<Error>> From<E> for NotOpened<S, T> {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

type Opens<S, T, M> = Result<Opened<S, T, M>, NotOpened<S, T>>;

/// A connection that was opened, and who handles it.
pub(super) struct Opened<S: 'static, T: 'static, M: Mode> {
    pub(super) socket: WebSocket<S, T>,
    pub(super) request: Request,
    pub(super) chosen: Option<Chosen<S, T, M>>,
}

impl<S, T, M: Mode> Shared<S, T, M> {
    pub(super) fn timer(&self) -> T {
        M::call(&self.timer, ())
    }

    pub(super) fn report(&self, event: &ServerEvent<'_>) {
        if let Some(on_event) = &self.on_event {
            // Who cannot even write a log must not take the server down.
            let _ = catch_unwind(AssertUnwindSafe(|| M::observe(on_event, event)));
        }
    }
}

impl<S, T, M> Shared<S, T, M>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    T: Timer + 'static,
    M: Mode,
{
    /// Serves one connection, from a transport that was accepted. No panic passes from here to the
    /// executor.
    pub(super) async fn serve(
        self: Arc<Self>,
        registration: Registration,
        accepted: Accepted<S, M>,
    ) {
        let handle = registration.handle().clone();
        let serving = self.serve_one(registration, accepted);
        if AssertUnwindSafe(serving).catch_unwind().await.is_err() {
            self.report(&ServerEvent::Panic(handle.peer()));
        }
    }

    async fn serve_one(&self, mut registration: Registration, accepted: Accepted<S, M>) {
        let handle = registration.handle().clone();
        // Boxed, so that its memory is freed when the connection opens.
        let opening = Box::pin(self.open_in_time(
            &handle,
            self.open_deadline(),
            self.open_or_refuse(&mut registration, accepted),
        ));
        let opening = opening.await;
        if let Some(opened) = self.opened(&mut registration, opening) {
            self.handle(&registration, opened).await;
        }
    }

    /// Counts and reports how an opening handshake has ended. Returns the connection if it is open.
    pub(super) fn opened(
        &self,
        registration: &mut Registration,
        opening: Result<Option<Opened<S, T, M>>>,
    ) -> Option<Opened<S, T, M>> {
        match opening {
            Ok(Some(opened)) => {
                registration.opened();
                return Some(opened);
            }
            Ok(None) => {}
            // The refusal was reported already; evictions are only counted.
            Err(_) if registration.is_rejected() || registration.is_evicted() => {}
            Err(error) => {
                self.report(&ServerEvent::Handshake(
                    registration.handle().peer(),
                    &error,
                ));
            }
        }
        None
    }

    /// Returns until when an opening handshake that begins now has to be complete.
    pub(super) fn open_deadline(&self) -> Option<Instant> {
        let now = self.timer().now();
        self.open_timeout.and_then(|time| now.checked_add(time))
    }

    /// Ends an opening handshake at its deadline, or when it is evicted or aborted.
    pub(super) async fn open_in_time<R>(
        &self,
        handle: &Handle,
        deadline: Option<Instant>,
        opening: impl Future<Output = Result<R>>,
    ) -> Result<R> {
        let timeout = async {
            sleep_until(&mut self.timer(), deadline).await;
            Err(Error::TimedOut(Deadline::Open))
        };
        let aborted = async {
            commanded(handle, Command::Abort).await;
            Err(Error::Lost(None))
        };
        or(opening, or(timeout, aborted)).await
    }

    /// Opens a connection; `None` if there was no request, or it was refused.
    async fn open_or_refuse(
        &self,
        registration: &mut Registration,
        accepted: Accepted<S, M>,
    ) -> Result<Option<Opened<S, T, M>>> {
        match self.open(registration, accepted).await {
            Ok(opened) => Ok(Some(opened)),
            Err(NotOpened::Failed(error)) => Err(error),
            Err(NotOpened::Silent) => Ok(None),
            Err(NotOpened::Refused(refusal)) => {
                self.refuse(registration, refusal).await;
                Ok(None)
            }
        }
    }

    /// The opening handshake, of the transport as well.
    async fn open(&self, registration: &Registration, accepted: Accepted<S, M>) -> Opens<S, T, M> {
        let (mut pending, request) = self.receive(registration, accepted).await?;
        let connection = pending.connection_mut();
        let forwarded = self.read_forwarded(registration, &request);
        if forwarded.is_some() {
            // Only a proxy sends these headers: scripts of a page cannot. So the request does not come from a page on
            // this machine, even if it arrives at a loopback address.
            connection.set_options(self.options.clone());
            trace::peer(connection.io(), || Some(registration.handle().peer()));
        }
        let accept = |request: &Request| {
            let response = connection.accept(request);
            let error = connection.handshake_error().cloned();
            (response, error.map_or(Ok(()), Err))
        };
        let host = forwarded.and_then(|forwarded| forwarded.host);
        match self.decide(registration, request, host, accept).await {
            Ok(approval) => Ok(Opened {
                socket: pending.answer(&approval.response).await?,
                request: approval.request,
                chosen: approval.chosen,
            }),
            Err(denial) => Err(NotOpened::refused(pending, denial)),
        }
    }

    /// Opens the transport, and receives a request for which there is a place.
    async fn receive(
        &self,
        registration: &Registration,
        accepted: Accepted<S, M>,
    ) -> Result<(Pending<S, T>, Request), NotOpened<S, T>> {
        let handle = registration.handle();
        let leaving = async {
            commanded(handle, Command::Leave).await;
            Err(Error::Lost(None))
        };
        let options = match accepted.on_loopback {
            true => &self.loopback_options,
            false => &self.options,
        };
        let (transport, client) = or(accepted.transport.open(), leaving).await?;
        if let Some(client) = client {
            registration.set_client(client);
        }
        let mut connection = ServerConnection::new(options.clone(), self.config.clone());
        trace::peer(connection.io(), || Some(handle.peer()));
        let mut pending = Pending::new(transport, self.timer(), connection);
        pending.set_inbox(handle.inbox().clone());
        let read = pending.read_unless(|cx| {
            let leaves = handle.inbox().poll_command(cx, Command::Leave);
            leaves.map(|()| unavailable(Refused::Closing))
        });
        read.await?;
        if !registration.keep_place() {
            return Err(Error::Lost(None).into());
        }
        if pending.is_refused() {
            return Err(NotOpened::answered(pending));
        }
        if let Some(drain) = self.registry.draining() {
            let denial = Denial::no_room(Refused::Draining(drain));
            return Err(NotOpened::refused(pending, denial));
        }
        match pending.take_request() {
            Err(_) if pending.has_received_nothing() => Err(NotOpened::Silent),
            request => Ok((pending, request?)),
        }
    }

    /// Reads what a trusted proxy says about the request, and records the client that it names.
    pub(super) fn read_forwarded(
        &self,
        registration: &Registration,
        request: &Request,
    ) -> Option<ForwardedRequest> {
        let peer = registration.handle().peer();
        let forwarded = self.trusted_proxies.read(peer, request.headers())?;
        registration.set_client(forwarded.peer.clone());
        Some(forwarded)
    }

    /// Sends a refusal. It is counted and reported first: what the client does then changes neither.
    async fn refuse(&self, registration: &mut Registration, refusal: Refusal<S, T>) {
        let Refusal {
            mut pending,
            status,
            error,
        } = refusal;
        self.refused(registration, status, error.map(Error::from));
        pending.send_refusal().await;
        registration.release_place();
        pending.linger().await;
    }

    /// Counts and reports a refusal.
    pub(super) fn refused(
        &self,
        registration: &mut Registration,
        status: StatusCode,
        error: Option<Error>,
    ) {
        registration.rejected(status);
        if let Some(error) = error {
            let peer = registration.handle().peer();
            self.report(&ServerEvent::Handshake(peer, &error));
        }
    }

    /// Decides about a request. If it is accepted, its connection gets a place among the open ones.
    ///
    /// `accept` makes the checks of the opening handshake. It is called with `host` in place of the `Host` of the
    /// request, if there is one.
    pub(super) async fn decide<A>(
        &self,
        registration: &Registration,
        request: Request,
        host: Option<String>,
        accept: impl FnOnce(&Request) -> (Response, Result<A, HandshakeError>),
    ) -> Result<Approval<S, T, M, A>, Denial> {
        let handle = registration.handle();
        let leaving = async {
            commanded(handle, Command::Leave).await;
            Err(unavailable(Refused::Closing))
        };
        let decision = or(self.process(request, handle.peer().clone()), leaving).await;
        let HandshakeDecision {
            request,
            headers,
            answer,
        } = decision.map_err(Denial::rejected)?;
        let chosen = match answer {
            Answer::Accept(chosen) => chosen,
            Answer::Respond(response) => {
                return Err(Denial {
                    response: with(response, &headers),
                    error: None,
                });
            }
        };
        let (response, agreed) = match host {
            Some(host) => accept(&with_host(request.clone(), &host)),
            None => accept(&request),
        };
        let response = with(response, &headers);
        let agreed = match agreed {
            Ok(agreed) => agreed,
            Err(error) => {
                let error = reported(error);
                return Err(Denial { response, error });
            }
        };
        registration.open().map_err(Denial::no_room)?;
        Ok(Approval {
            response,
            request,
            chosen,
            agreed,
        })
    }

    /// Has the application look at the request. A panic is answered with 500.
    async fn process(
        &self,
        request: Request,
        peer: Peer,
    ) -> Result<HandshakeDecision<S, T, M>, Response> {
        let incoming = IncomingRequest::new(request, peer.clone(), self.headers.clone());
        let Some(process_request) = &self.process_request else {
            return Ok(incoming.accept());
        };
        let deciding = async { M::call(process_request, incoming).await };
        let decision = AssertUnwindSafe(deciding).catch_unwind().await;
        decision.map_err(|_| {
            self.report(&ServerEvent::Panic(&peer));
            let text = "The server failed to look at the request.\n";
            Response::text(StatusCode::INTERNAL_SERVER_ERROR, text)
        })
    }

    /// Runs the handler, and closes the connection in the way that it ends.
    pub(super) async fn handle(&self, registration: &Registration, opened: Opened<S, T, M>) {
        let handle = registration.handle();
        let Opened {
            mut socket,
            request,
            chosen,
        } = opened;
        if let Some(limit) = self.rate_limit {
            socket.limit_rate(limit);
        }
        let subprotocol = socket.subprotocol().map(str::to_owned);
        let slot = Arc::new(Slot::new(socket, handle.inbox().clone()));
        let socket = Socket::new(
            slot.clone(),
            handle.clone(),
            request,
            subprotocol.as_deref(),
            self.registry.clone(),
        );
        let serving = async {
            let ending = run(attended(&slot, self.handling(socket, chosen))).await;
            let code = self.close_code_for(handle.peer(), &slot, ending.as_ref());
            close(handle, &slot, code).await;
            false
        };
        let aborted = async {
            commanded(handle, Command::Abort).await;
            true
        };
        let limited = async {
            if self.lifetime.is_limited() {
                // On the heap: most servers have no use for it.
                Box::pin(self.lifetime.keep(handle.inbox(), || self.timer())).await;
            }
            pending().await
        };
        // The order to end is asked for first: so the inbox knows whom to wake before the slot is used.
        if or(aborted, or(serving, limited)).await {
            abort(handle, &slot).await;
        }
    }

    async fn handling(&self, socket: Socket<S, T>, chosen: Option<Chosen<S, T, M>>) -> Ending {
        match chosen {
            Some(handler) => M::call_once(handler, socket).await,
            None => M::call(&self.handler, socket).await,
        }
    }

    /// Returns the code to close with, for how a handler has ended. That its connection is over is no
    /// failure of a handler.
    fn close_code_for(&self, peer: &Peer, slot: &Slot<S, T>, ending: Option<&Ending>) -> CloseCode {
        let event = match ending {
            Some(Ok(())) => return self.end_code(),
            Some(Err(error)) if is_end(error) && slot.is_over() => return self.end_code(),
            Some(Err(error)) => ServerEvent::Handler(peer, error),
            None => ServerEvent::Panic(peer),
        };
        self.registry.handler_failed();
        self.report(&event);
        CloseCode::INTERNAL_ERROR
    }

    /// Returns the code to close with after a handler that has done its work. While the server drains, that
    /// is why it has.
    fn end_code(&self) -> CloseCode {
        match self.registry.draining() {
            Some(_) => CloseCode::GOING_AWAY,
            None => CloseCode::NORMAL,
        }
    }
}

impl<S, T> NotOpened<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    /// Answers a request that is refused.
    fn refused(mut pending: Pending<S, T>, denial: Denial) -> Self {
        let Denial { response, error } = denial;
        match pending.connection_mut().send_response(&response) {
            Ok(()) => Self::Refused(Refusal {
                pending,
                status: response.status(),
                error,
            }),
            Err(error) => Self::Failed(error.into()),
        }
    }

    /// The answer is queued already: the request is malformed, or was not waited for.
    fn answered(mut pending: Pending<S, T>) -> Self {
        match pending.connection_mut().handshake_error().cloned() {
            Some(error) => Self::Refused(Refusal {
                pending,
                status: error.status(),
                error: reported(error),
            }),
            None => Self::Failed(Error::Lost(None)),
        }
    }
}

impl Denial {
    /// Refuses a request for the server's own reasons.
    pub(super) fn rejected(response: Response) -> Self {
        let error = HandshakeError::rejected(response.status(), "");
        Self {
            response,
            error: Some(error),
        }
    }

    /// Refuses a request for which there is no place. What the application has asked for is not reported.
    pub(super) fn no_room(refused: Refused) -> Self {
        let response = unavailable(refused);
        match refused {
            Refused::Draining(_) => Self {
                response,
                error: None,
            },
            Refused::Full | Refused::AddressFull | Refused::Closing => Self::rejected(response),
        }
    }
}

/// Returns what is reported of a request that was refused: nothing of HTTP/1.0, which checks of load balancers speak.
fn reported(error: HandshakeError) -> Option<HandshakeError> {
    let is_check = error == HandshakeError::HttpVersion(HttpVersion::Http10);
    (!is_check).then_some(error)
}

/// Runs a handler; nothing comes of one that panics.
async fn run(handling: impl Future<Output = Ending>) -> Option<Ending> {
    AssertUnwindSafe(handling).catch_unwind().await.ok()
}

/// Whether an error says no more than that a connection is over.
fn is_end(error: &HandlerError) -> bool {
    let error = error.downcast_ref::<Error>();
    error.is_some_and(Error::is_closed)
}

/// Runs a handler, and drives its connection whenever the handler waits for something else (D9).
async fn attended<S, T, F>(slot: &Slot<S, T>, handling: F) -> F::Output
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
    F: Future,
{
    let mut handling = pin!(handling);
    poll_fn(|cx| {
        slot.begin_poll();
        let polled = handling.as_mut().poll(cx);
        if polled.is_pending() {
            slot.attend_unless_driven(cx);
        }
        polled
    })
    .await
}

/// Closes a connection whose handler has ended.
async fn close<S, T>(handle: &Handle, slot: &Slot<S, T>, code: CloseCode)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    let frame = CloseFrame::new(code, "");
    if !slot.is_returned() {
        // Another task has the WebSocket.
        handle.inbox().close(frame.clone(), false);
        poll_fn(|cx| slot.poll_returned(cx)).await;
    }
    // How it ends is recorded, whether well or not.
    poll_fn(|cx| slot.poll_close(cx, &frame)).await;
}

/// Ends a connection at once. A Close frame is sent if that takes no waiting.
async fn abort<S, T>(handle: &Handle, slot: &Slot<S, T>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    let inbox = handle.inbox();
    let frame = inbox.take_close();
    let frame = frame.unwrap_or_else(|| CloseFrame::new(CloseCode::GOING_AWAY, ""));
    poll_once(poll_fn(|cx| slot.poll_close(cx, &frame))).await;
    inbox.drop_transport();
    poll_once(poll_fn(|cx| slot.poll_close(cx, &frame))).await;
}

/// Adds headers to a response.
fn with(mut response: Response, headers: &Headers) -> Response {
    for (name, value) in headers.iter() {
        // They are well-formed, as they were taken from headers.
        let _ = response.headers_mut().append(name, value);
    }
    response
}

/// Returns a request with another `Host`.
fn with_host(mut request: Request, host: &str) -> Request {
    // It is well-formed: it was checked when the headers were read.
    let _ = request.headers_mut().set("Host", host);
    request
}

/// The answer to an address that has as many connections as it may have.
fn too_many_of_address() -> Response {
    let text = "Too many connections of this address. Close some, or try again later.\n";
    let mut response = Response::text(StatusCode::TOO_MANY_REQUESTS, text);
    // Name and value are well-formed.
    let _ = response.headers_mut().set("Retry-After", "10");
    response
}

fn unavailable(refused: Refused) -> Response {
    let text = match refused {
        Refused::Full => "The server is full. Try again later.\n",
        Refused::Draining(drain) => return drain::response(drain),
        Refused::Closing => "The server is shutting down.\n",
        Refused::AddressFull => return too_many_of_address(),
    };
    Response::text(StatusCode::SERVICE_UNAVAILABLE, text)
}

/// Waits for a command that is at least this strict.
async fn commanded(handle: &Handle, command: Command) {
    poll_fn(|cx| handle.inbox().poll_command(cx, command)).await;
}

/// Waits for a time; for ever without one.
pub(super) async fn sleep(mut timer: impl Timer, time: Option<Duration>) {
    let now = timer.now();
    sleep_until(&mut timer, time.and_then(|time| now.checked_add(time))).await;
}

impl<S: 'static, T: 'static, M: Mode> fmt::Debug for Shared<S, T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}
