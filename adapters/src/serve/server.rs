//! A server that is bound: it accepts, and it shuts down.
//!
//! A server that [drains](super::drain) opens no connection, and then shuts down.
//!
//! Shutdown takes one road: nothing more is accepted, handshakes get 503, connections get a Close frame,
//! and who is left at the deadline is aborted. Dropping the server goes straight to the last step.

use std::fmt;
use std::future::{Future, IntoFuture, pending, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use bytestring::ByteString;
use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::future::{or, yield_now};
use sansock_core::handshake::{Request, Response};
use sansock_core::{CloseCode, Prepared};

use super::admission::{self, Admission};
use super::broadcast::{Broadcast, broadcast};
use super::builder::Serve;
use super::connection::{Shared, sleep};
use super::drain::drain;
use super::handle::{Handle, OverflowPolicy};
use super::outcome::ServerEvent;
use super::registry::{Drain, Phase, Registration, Registry, Snapshot};
use super::woken::WhenWoken;
use crate::driver::Timer;
use crate::error::Result;
use crate::transport::mode::Lends;
use crate::transport::{Accepted, BoxFuture, Listener, Local, Mode, Peer, Threads};

/// The pauses after failures to accept: each twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long tasks that are aborted have to notice it.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// What is done with each connection that is accepted, before its handshake.
pub(super) type Wrap<S, M> = <M as Mode>::Function<Accepted<S, M>, Accepted<S, M>>;

type Run<M> = <M as Mode>::Function<BoxFuture<M, ()>, BoxFuture<M, ()>>;

/// Waits for the next connection.
type Accepting<S, M> = BoxFuture<M, io::Result<Accepted<S, M>>>;

/// Where connections run, and what makes them run while the server does.
pub(crate) struct Executor<M: Mode> {
    pub(crate) spawn: M::Function<BoxFuture<M, ()>, ()>,
    /// Runs the task of the server, and with it the connections, if nothing else runs them.
    pub(crate) run: Option<Run<M>>,
}

impl<M: Mode> fmt::Debug for Executor<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor").finish_non_exhaustive()
    }
}

/// A listener that is bound.
#[allow(unreachable_pub, reason = "hidden methods of public traits have it")]
pub struct Bound<S: 'static, M: Mode> {
    pub(crate) accept: M::Function<(), Accepting<S, M>>,
    pub(crate) address: Option<SocketAddr>,
    /// What is done with everything that is accepted.
    pub(crate) wraps: Vec<Wrap<S, M>>,
}

impl<S: 'static, M: Mode> fmt::Debug for Bound<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl<S: 'static, M: Mode> Bound<S, M> {
    pub(crate) fn new<L: Listener<S, M>>(listener: L) -> Self
    where
        M: Lends<L>,
    {
        Self {
            address: listener.local_address(),
            accept: M::method(listener, |listener, ()| listener.accept()),
            wraps: Vec::new(),
        }
    }

    /// Passes a connection that was accepted through all functions.
    fn wrap(&self, accepted: Accepted<S, M>) -> Accepted<S, M> {
        let wraps = self.wraps.iter();
        let wrapped = wraps.fold(accepted, |accepted, wrap| M::call(wrap, accepted));
        let address = self.address.map(|address| address.ip().to_canonical());
        Accepted {
            on_loopback: address.is_some_and(|address| address.is_loopback()),
            ..wrapped
        }
    }
}

/// A server that is bound. It serves while [`run`](Self::run) is awaited.
#[must_use = "a server does nothing until it is run"]
pub struct Server<S: 'static, T: 'static, M: Mode = Threads> {
    shared: Arc<Shared<S, T, M>>,
    listeners: Vec<Bound<S, M>>,
    executor: Executor<M>,
    shutdown_timeout: Option<Duration>,
    stop: Stop,
}

impl<S, T, M> Server<S, T, M>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    T: Timer + 'static,
    M: Runs<S, T>,
{
    pub(super) fn new(
        shared: Arc<Shared<S, T, M>>,
        listeners: Vec<Bound<S, M>>,
        executor: Executor<M>,
        shutdown_timeout: Option<Duration>,
    ) -> Self {
        Self {
            stop: Stop(shared.registry.clone()),
            shared,
            listeners,
            executor,
            shutdown_timeout,
        }
    }

    /// Returns the addresses at which the server listens, in the order of its listeners. Those without
    /// one, such as Unix sockets, are left out.
    pub fn local_addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let listeners = self.listeners.iter();
        listeners.filter_map(|listener| listener.address)
    }

    /// Returns a handle: to shut the server down, to reach its connections, and to measure.
    #[must_use]
    pub fn handle(&self) -> ServerHandle {
        ServerHandle {
            registry: self.shared.registry.clone(),
        }
    }

    /// Returns an acceptor for connections that were accepted elsewhere.
    #[must_use]
    pub fn acceptor(&self) -> Acceptor<S, T, M> {
        Acceptor {
            shared: self.shared.clone(),
        }
    }

    /// Serves until the server was [shut down](ServerHandle::shutdown) and every connection is over.
    /// Failures to accept are survived.
    ///
    /// # Cancel safety
    /// Dropping the future ends every connection at once.
    pub async fn run(self) {
        match self.executor.run.clone() {
            Some(run) => M::call(&run, M::run(self)).await,
            None => self.serve().await,
        }
    }

    /// Accepts until the server shuts down, then waits for the connections to end.
    pub(super) async fn serve(self) {
        let Self {
            shared,
            listeners,
            executor,
            shutdown_timeout,
            stop,
        } = self;
        let draining = async {
            drain(&stop.0, || shared.timer()).await;
            // The listeners notice.
            pending::<()>().await;
        };
        let serving = pin!(async {
            or(accept_all(&shared, listeners, &executor), draining).await;
            shut_down(&stop.0, || shared.timer(), shutdown_timeout).await;
        });
        // Messages wake the task as well if it runs the connections.
        WhenWoken::new(serving).await;
    }
}

/// Accepts from all listeners until the server shuts down; then it drops them.
async fn accept_all<S, T, M>(
    shared: &Arc<Shared<S, T, M>>,
    listeners: Vec<Bound<S, M>>,
    executor: &Executor<M>,
) where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    T: Timer + 'static,
    M: Runs<S, T>,
{
    let loops = listeners.into_iter();
    let mut loops: Vec<_> = loops
        .map(|listener| Box::pin(accept(shared, listener, executor)))
        .collect();
    let mut closing = pin!(shared.registry.phase(Phase::Closing));
    poll_fn(|cx| {
        let closing = closing.as_mut().poll(cx);
        if closing.is_pending() {
            loops.retain_mut(|accepting| accepting.as_mut().poll(cx).is_pending());
        }
        closing
    })
    .await;
}

/// Accepts from one listener for as long as the server serves.
async fn accept<S, T, M>(
    shared: &Arc<Shared<S, T, M>>,
    listener: Bound<S, M>,
    executor: &Executor<M>,
) where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    T: Timer + 'static,
    M: Runs<S, T>,
{
    let mut pause = FIRST_PAUSE;
    let clock = shared.timer();
    while let Some(accepted) = accept_one(&shared.registry, &listener).await {
        match accepted {
            Ok(accepted) => {
                pause = FIRST_PAUSE;
                let registration = shared.registry.enter(accepted.peer.clone(), clock.now());
                let connection = M::connection(shared.clone(), registration, accepted);
                M::call(&executor.spawn, connection);
                // A queue that is never empty must not keep others from running.
                yield_now().await;
            }
            Err(error) => {
                shared.registry.accept_failed();
                shared.report(&ServerEvent::Accept(&error));
                if !concerns_one_connection(&error) {
                    sleep(shared.timer(), Some(pause)).await;
                    pause = LONGEST_PAUSE.min(pause * 2);
                }
            }
        }
    }
}

/// Accepts a connection as soon as there is room for it; `None` once the server does not serve any more.
async fn accept_one<S: 'static, M: Mode>(
    registry: &Registry,
    listener: &Bound<S, M>,
) -> Option<io::Result<Accepted<S, M>>> {
    let mut room = pin!(registry.room());
    let mut accepting = None;
    poll_fn(|cx| {
        // Asked each time: while the listener has nothing, the last room may go to a request that arrives.
        if !ready!(room.as_mut().poll(cx)) {
            return Poll::Ready(None);
        }
        let accepting = accepting.get_or_insert_with(|| M::call(&listener.accept, ()));
        let accepted = ready!(Pin::new(accepting).poll(cx));
        Poll::Ready(Some(accepted.map(|accepted| listener.wrap(accepted))))
    })
    .await
}

/// Whether the next connection may well be accepted: this one was gone before it was.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

/// Waits for the connections to end, and aborts those that are late.
async fn shut_down<T: Timer>(
    registry: &Registry,
    timer: impl Fn() -> T,
    timeout: Option<Duration>,
) {
    let empty = async || {
        registry.empty().await;
    };
    or(empty(), sleep(timer(), timeout)).await;
    registry.abort();
    or(empty(), sleep(timer(), Some(LAST_MOMENT))).await;
}

/// Ends everything when the server is no longer run.
struct Stop(Arc<Registry>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.close(CloseCode::GOING_AWAY, &ByteString::new());
        self.0.abort();
        self.0.stop();
    }
}

impl<S, T, M> IntoFuture for Server<S, T, M>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    T: Timer + 'static,
    M: Runs<S, T>,
{
    type Output = ();
    type IntoFuture = BoxFuture<M, ()>;

    fn into_future(self) -> Self::IntoFuture {
        match self.executor.run.clone() {
            Some(run) => M::call(&run, M::run(self)),
            None => M::run(self),
        }
    }
}

impl<S: 'static, T: 'static, M: Mode> fmt::Debug for Server<S, T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("listeners", &self.listeners.len())
            .finish_non_exhaustive()
    }
}

/// A mode in which connections over this transport, with this timer, can be served: [`Threads`] if both are
/// `Send`, [`Local`] in any case.
#[diagnostic::on_unimplemented(
    message = "connections over `{S}` with `{T}` cannot be served in this mode",
    note = "in the mode `Threads`, transports and timers are `Send`; otherwise the mode is `Local`"
)]
pub trait Runs<S: 'static, T: 'static>: Mode {
    #[doc(hidden)]
    fn connection(
        shared: Arc<Shared<S, T, Self>>,
        registration: Registration,
        accepted: Accepted<S, Self>,
    ) -> Self::BoxFuture<()>;

    #[doc(hidden)]
    fn run(server: Server<S, T, Self>) -> Self::BoxFuture<()>;

    #[doc(hidden)]
    fn bind_and_run(serve: Serve<S, T, Self>) -> Self::BoxFuture<Result<()>>;
}

macro_rules! runs {
    ($mode:ident $($send:ident)?) => {
        impl<S, T> Runs<S, T> for $mode
        where
            S: AsyncRead + AsyncWrite + Unpin $(+ $send)? + 'static,
            T: Timer $(+ $send)? + 'static,
        {
            fn connection(
                shared: Arc<Shared<S, T, Self>>,
                registration: Registration,
                accepted: Accepted<S, Self>,
            ) -> Self::BoxFuture<()> {
                Box::pin(shared.serve(registration, accepted))
            }

            fn run(server: Server<S, T, Self>) -> Self::BoxFuture<()> {
                Box::pin(server.serve())
            }

            fn bind_and_run(serve: Serve<S, T, Self>) -> Self::BoxFuture<Result<()>> {
                Box::pin(async {
                    serve.bind().await?.run().await;
                    Ok(())
                })
            }
        }
    };
}

runs!(Threads Send);
runs!(Local);

/// Takes in connections that were accepted elsewhere: by another server, or by a supervisor that hands
/// them over. A clone leads to the same server.
///
/// [`serve`](Self::serve) takes a transport before its first byte, [`admit`](Self::admit) a request that an HTTP
/// server has read.
pub struct Acceptor<S: 'static, T: 'static, M: Mode = Threads> {
    shared: Arc<Shared<S, T, M>>,
}

impl<S, T, M> Acceptor<S, T, M>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    T: Timer + 'static,
    M: Mode,
{
    /// Serves a connection from its opening handshake to its end, as one that the server has accepted
    /// itself. Its handshake counts towards [`max_handshakes`](super::Serve::max_handshakes), and is begun
    /// even if no other gives way.
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport.
    pub fn serve(&self, accepted: Accepted<S, M>) -> impl Future<Output = ()> + use<S, T, M> {
        let now = self.shared.timer().now();
        let registration = self.shared.registry.enter(accepted.peer.clone(), now);
        self.shared.clone().serve(registration, accepted)
    }

    /// Decides about a request that another HTTP server has read, such as hyper or axum, and reserves the place of
    /// its connection. That server sends the response, and hands over the stream.
    ///
    /// The request is treated as one that this server has read itself: it is passed to
    /// [`process_request`](super::Serve::process_request), its origin, host, subprotocols and extensions are checked,
    /// and [`max_connections`](super::Serve::max_connections),
    /// [`max_connections_per_address`](super::Serve::max_connections_per_address) and
    /// [`trusted_proxies`](super::Serve::trusted_proxies) apply. It counts towards
    /// [`max_handshakes`](super::Serve::max_handshakes) while it is decided. Two things differ:
    ///
    /// - The server does not know at which address the HTTP server listens. So it does not restrict the hosts at a
    ///   loopback address by default: set [`hosts`](super::Serve::hosts) there.
    /// - The HTTP server limits the time until the request has arrived.
    ///   [`open_timeout`](super::Serve::open_timeout) runs from this call until the stream is there.
    ///
    /// A server that only takes in connections this way needs no listener. It has to be
    /// [run](Server::run) all the same: to drain, and to end its connections when it shuts down.
    ///
    /// # Errors
    /// The response to send to a request that is refused: 503 if the server is full, drains or shuts down, or if
    /// `process_request` takes longer than the [`open_timeout`](super::Serve::open_timeout).
    ///
    /// # Cancel safety
    /// Dropping the future gives up the request, which counts as a failed handshake.
    ///
    /// ```
    /// use std::future::Future;
    /// use std::{io, net::SocketAddr};
    ///
    /// use async_executor::Executor;
    /// use async_io::Timer;
    /// use async_net::TcpStream;
    /// use sansock::core::handshake::{Request, Response};
    /// use sansock::serve::{Acceptor, Origins, Serve};
    ///
    /// static EXECUTOR: Executor = Executor::new();
    ///
    /// /// Answers a request, in an HTTP server. With hyper, `upgrade` is `hyper::upgrade::on(&mut request)`.
    /// async fn answer(
    ///     acceptor: &Acceptor<TcpStream, Timer>,
    ///     request: Request,
    ///     client: SocketAddr,
    ///     upgrade: impl Future<Output = io::Result<TcpStream>> + Send + 'static,
    /// ) -> Response {
    ///     match acceptor.admit(request, client).await {
    ///         Ok(admission) => {
    ///             let response = admission.response().clone();
    ///             EXECUTOR.spawn(admission.serve_upgrade(upgrade)).detach();
    ///             response
    ///         }
    ///         Err(refusal) => refusal,
    ///     }
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # async_io::block_on(async {
    /// let spawn = |connection| EXECUTOR.spawn(connection).detach();
    /// let server = Serve::new(|_| async {}, Timer::never, spawn)
    ///     .origins(Origins::SameHost)
    ///     .bind()
    ///     .await?;
    /// let acceptor = server.acceptor();
    /// EXECUTOR.spawn(server.run()).detach();
    ///
    /// // A browser that shows the address as a page.
    /// let mut request = Request::get("/")?;
    /// request.headers_mut().append("Host", "example.com")?;
    /// let client = SocketAddr::from(([192, 0, 2, 1], 50_000));
    /// let response = answer(&acceptor, request, client, std::future::pending()).await;
    /// assert_eq!(response.status().number(), 426);
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    pub fn admit<P: Into<Peer>>(
        &self,
        request: Request,
        peer: P,
    ) -> impl Future<Output = Result<Admission<S, T, M>, Response>> + use<S, T, M, P> {
        admission::admit(self.shared.clone(), request, peer.into())
    }
}

impl<S: 'static, T: 'static, M: Mode> Clone for Acceptor<S, T, M> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl<S: 'static, T: 'static, M: Mode> fmt::Debug for Acceptor<S, T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").finish_non_exhaustive()
    }
}

/// A server, in the hands of everybody else. A clone is the same server.
#[derive(Clone)]
pub struct ServerHandle {
    registry: Arc<Registry>,
}

impl ServerHandle {
    /// Prepares the server to be replaced by another: no connection is opened any more, those that are open
    /// may finish within `deadline`, and then the server shuts down as [`shutdown`](Self::shutdown) does. If
    /// nothing is left before that, it shuts down at once.
    ///
    /// - Requests are answered with 503 and `Retry-After`, without
    ///   [`process_request`](super::Serve::process_request). So a load balancer whose health check is one of
    ///   them sends no more clients. The listeners stay open: clients that come through the load balancer
    ///   before it has noticed get an answer.
    /// - Handlers may wait for [`Socket::draining`](super::Socket::draining), and return. Their connections
    ///   are closed with 1001 (going away).
    /// - In the last `spread` before the deadline, the server closes the connections that are left with 1001,
    ///   one after the other at equal intervals. So clients that reconnect do not arrive all at once.
    ///
    /// An answer that is being prepared is not lost: a connection is closed while its handler waits for a
    /// message, or after the handler has sent one, and never inside a message, nor while one is unread. Before
    /// its first message, there is nothing to answer. A handler that takes longer has until the deadline.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # fn deploy(server: &sansock::serve::ServerHandle) {
    /// // Ten seconds for the load balancer and the handlers, twenty to move the clients.
    /// server.drain(Duration::from_secs(30), Duration::from_secs(20));
    /// # }
    /// ```
    ///
    /// Called again, or during a shutdown, it changes nothing. [`shutdown`](Self::shutdown) cuts it short.
    pub fn drain(&self, deadline: Duration, spread: Duration) {
        self.registry.drain(Drain { deadline, spread });
    }

    /// Begins to shut the server down: nothing more is accepted, opening handshakes in progress are
    /// answered with 503, and connections are closed with 1001 (going away). Those that are not over by
    /// the [deadline](super::Serve::shutdown_timeout) are aborted.
    ///
    /// [`stopped`](Self::stopped) waits for the end.
    pub fn shutdown(&self) {
        self.registry
            .close(CloseCode::GOING_AWAY, &ByteString::new());
    }

    /// As [`shutdown`](Self::shutdown), with a reason for the clients of at most 123 bytes, and another
    /// code such as 1012 (service restart). What may not be sent is replaced by 1001.
    pub fn shutdown_with(&self, code: impl Into<CloseCode>, reason: impl Into<ByteString>) {
        let (code, reason) = (code.into(), reason.into());
        match code.is_sendable() && reason.len() <= sansock_core::CloseFrame::MAX_REASON {
            true => self.registry.close(code, &reason),
            false => self.shutdown(),
        }
    }

    /// Waits until the server has stopped: its [`run`](Server::run) is over.
    ///
    /// # Cancel safety
    /// Called again, it goes on waiting.
    pub async fn stopped(&self) {
        self.registry.phase(Phase::Stopped).await;
    }

    /// Returns the connections that are open now.
    #[must_use]
    pub fn connections(&self) -> Vec<Handle> {
        self.registry.open()
    }

    /// Sends a message to all connections, without waiting; see [`broadcast`](super::broadcast()).
    pub fn broadcast(&self, message: &Prepared, policy: OverflowPolicy) -> Broadcast {
        broadcast(self.connections(), message, policy)
    }

    /// Returns the numbers of the server.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.registry.snapshot()
    }
}

impl fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHandle").finish_non_exhaustive()
    }
}
