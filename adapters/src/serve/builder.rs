//! What a server is made of: settings, with defaults that are safe on the open internet.

use std::fmt;
use std::future::{Future, IntoFuture, Ready};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytestring::ByteString;
use futures_io::{AsyncRead, AsyncWrite};
use sansock_core::Config;
use sansock_core::handshake::{HandshakeError, Headers, Hosts, Origins, Request, ServerOptions};

use super::bind::Serves;
use super::connection::{ProcessRequest, Shared};
use super::lifetime::Lifetime;
use super::outcome::{AnyEvent, Ending, Outcome, ServerEvent};
use super::proxies::TrustedProxies;
use super::registry::{Limits, Registry};
use super::request::{HandshakeDecision, IncomingRequest};
use super::server::{Bound, Executor, Runs, Server, Wrap};
use super::socket::Socket;
use crate::driver::{RateLimit, Timer, config};
use crate::error::{Error, Result};
use crate::transport::mode::{Boxes, Lends, Observes, Shares};
use crate::transport::runtime::Address;
use crate::transport::{BoxFuture, Listener, Local, Mode, Runtime, Stream, Threads, unsupported};

/// Where a server is to listen: an address, which the runtime binds, or a [`Listener`].
pub struct Listen<S: 'static, M: Mode = Threads> {
    place: Place<S, M>,
    /// What is done with everything that is accepted.
    wraps: Vec<Wrap<S, M>>,
    /// The first setting that is invalid.
    invalid: Option<Error>,
}

enum Place<S: 'static, M: Mode> {
    Address(Address),
    Binding(BoxFuture<M, io::Result<Bound<S, M>>>),
}

/// Binds an address of the runtime.
pub(super) type Bind<S, M> = <M as Mode>::Function<Address, BoxFuture<M, io::Result<Bound<S, M>>>>;

impl<S: 'static, M: Mode> Listen<S, M> {
    /// Listens on something that is bound already.
    #[must_use]
    pub fn on<L: Listener<S, M>>(listener: L) -> Self
    where
        M: Lends<L> + Boxes<Ready<io::Result<L>>>,
    {
        Self::binding(std::future::ready(Ok(listener)))
    }

    /// Listens on what the future gives.
    #[must_use]
    pub fn binding<L, F>(binding: F) -> Self
    where
        L: Listener<S, M>,
        F: Future<Output = io::Result<L>>,
        M: Lends<L> + Boxes<F>,
    {
        let binding = M::boxed(binding, |bound| bound.map(Bound::new));
        Self::from(Place::Binding(binding))
    }

    pub(super) fn of_bound(bound: Bound<S, M>) -> Self
    where
        M: Boxes<Ready<io::Result<Bound<S, M>>>>,
    {
        let bound = M::boxed(std::future::ready(Ok(bound)), |bound| bound);
        Self::from(Place::Binding(bound))
    }

    /// Passes everything that is accepted through a function.
    #[cfg(any(feature = "rustls", feature = "native-tls", feature = "proxy-protocol"))]
    pub(crate) fn wrap(mut self, wrap: Wrap<S, M>) -> Self {
        self.wraps.push(wrap);
        self
    }

    /// Has binding fail, unless an earlier setting does.
    #[cfg(feature = "proxy-protocol")]
    pub(crate) fn with_error(mut self, error: Error) -> Self {
        self.invalid = self.invalid.or(Some(error));
        self
    }

    async fn bind(self, bind: Option<&Bind<S, M>>) -> Result<Bound<S, M>> {
        if let Some(invalid) = self.invalid {
            return Err(invalid);
        }
        let mut bound = match (self.place, bind) {
            (Place::Binding(binding), _) => binding.await?,
            (Place::Address(address), Some(bind)) => M::call(bind, address).await?,
            (Place::Address(_), None) => {
                return Err(unsupported("addresses: give the server a `Listener`").into());
            }
        };
        bound.wraps = self.wraps;
        Ok(bound)
    }
}

impl<S: 'static, M: Mode> From<Place<S, M>> for Listen<S, M> {
    fn from(place: Place<S, M>) -> Self {
        Self {
            place,
            wraps: Vec::new(),
            invalid: None,
        }
    }
}

/// Binds an address: a host or its address, and a port, such as `"127.0.0.1:9001"` or `"[::]:9001"`. The
/// first that can be bound is, where a host has several. With port 0 the system chooses one.
impl<S: 'static, M: Mode> From<&str> for Listen<S, M> {
    fn from(address: &str) -> Self {
        address.to_owned().into()
    }
}

/// As for `&str`.
impl<S: 'static, M: Mode> From<String> for Listen<S, M> {
    fn from(address: String) -> Self {
        Place::Address(Address::Host(address)).into()
    }
}

/// As for `&str`.
impl<S: 'static, M: Mode> From<SocketAddr> for Listen<S, M> {
    fn from(address: SocketAddr) -> Self {
        address.to_string().into()
    }
}

/// Listens on what is bound already, for example by systemd: with the crate `listenfd`,
/// `ListenFd::from_env().take_tcp_listener(0)` gives its first socket.
impl<S: 'static, M: Mode> From<TcpListener> for Listen<S, M> {
    fn from(listener: TcpListener) -> Self {
        Place::Address(Address::Tcp(listener)).into()
    }
}

/// Binds a Unix socket at a path, and removes it when the server stops accepting. A socket that is
/// left there by a process that is gone is replaced.
impl<S: 'static, M: Mode> From<&Path> for Listen<S, M> {
    fn from(path: &Path) -> Self {
        path.to_owned().into()
    }
}

/// As for `&Path`.
impl<S: 'static, M: Mode> From<PathBuf> for Listen<S, M> {
    fn from(path: PathBuf) -> Self {
        Place::Address(Address::Path(path)).into()
    }
}

/// Listens on what is bound already, for example by systemd: with the crate `listenfd`,
/// `ListenFd::from_env().take_unix_listener(0)` gives its first socket.
#[cfg(unix)]
impl<S: 'static, M: Mode> From<std::os::unix::net::UnixListener> for Listen<S, M> {
    fn from(listener: std::os::unix::net::UnixListener) -> Self {
        Place::Address(Address::Unix(listener)).into()
    }
}

impl<S: 'static, M: Mode> fmt::Debug for Listen<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listen").finish_non_exhaustive()
    }
}

/// A server that has yet to be told which pages may connect to it.
///
/// A browser opens a WebSocket to any server for any page, with the user's cookies; only the server can
/// refuse (RFC 6455 section 10.2). So every server has to choose.
#[must_use = "a server does nothing until its origins are chosen: `.origins(Origins::SameHost)`"]
#[derive(Debug)]
pub struct ChooseOrigins<S: 'static, T: 'static, M: Mode = Threads> {
    serve: Serve<S, T, M>,
}

impl<S: 'static, T: 'static, M: Mode> ChooseOrigins<S, T, M> {
    /// Chooses which pages may connect: those of the host that they connect to
    /// ([`Origins::SameHost`]), those of a list ([`Origins::list`]), or all ([`Origins::Any`]).
    pub fn origins(mut self, origins: impl Into<Origins>) -> Serve<S, T, M> {
        self.serve.options = self.serve.options.origins(origins);
        self.serve
    }

    /// Listens there as well.
    pub fn listen(mut self, at: impl Into<Listen<S, M>>) -> Self {
        self.serve.listen.push(at.into());
        self
    }
}

/// A mode in which origins need not be chosen. No mode is: if a server without origins is awaited, the compiler shows
/// the message of this trait.
#[diagnostic::on_unimplemented(
    message = "the server has to choose which pages may connect to it",
    label = "`.origins(..)` is missing before this",
    note = "`.origins(Origins::SameHost)` lets the pages of the server's own host connect, `Origins::list` those of a \
            list, and `Origins::Any` all"
)]
#[doc(hidden)]
pub trait NeedsNoOrigins: Mode {
    fn poll() -> Poll<Result<()>>;
}

#[doc(hidden)]
impl<S: 'static, T: 'static, M: NeedsNoOrigins> Future for ChooseOrigins<S, T, M> {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Self::Output> {
        M::poll()
    }
}

/// A server in the making. Awaited, it binds and serves until it is shut down.
#[must_use = "a server does nothing until it is awaited, or bound and run"]
pub struct Serve<S: 'static, T: 'static, M: Mode = Threads> {
    listen: Vec<Listen<S, M>>,
    bind: Option<Bind<S, M>>,
    executor: Executor<M>,
    options: ServerOptions,
    /// The first setting that is invalid.
    invalid: Option<Error>,
    config: Config,
    trusted_proxies: TrustedProxies,
    headers: Headers,
    open_timeout: Option<Duration>,
    shutdown_timeout: Option<Duration>,
    lifetime: Lifetime,
    rate_limit: Option<RateLimit>,
    limits: Limits,
    timer: M::Function<(), T>,
    handler: M::Function<Socket<S, T>, BoxFuture<M, Ending>>,
    process_request: Option<ProcessRequest<S, T, M>>,
    on_event: Option<M::Observer<AnyEvent>>,
}

impl<S, T> Serve<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: Timer + Send + 'static,
{
    /// Returns a server that hands every connection to the handler, that takes its time from timers
    /// made by `timer`, and that runs each connection where `spawn` puts it. All timers share a start.
    ///
    /// For transports that no [`Runtime`](crate::runtime::Runtime) makes; with one, use
    /// [`serve`](crate::runtime::serve).
    #[expect(
        clippy::new_ret_no_self,
        reason = "the origins have to be chosen first"
    )]
    pub fn new<H, F, R>(
        handler: H,
        timer: impl Fn() -> T + Send + Sync + 'static,
        spawn: impl Fn(BoxFuture<Threads, ()>) + Send + Sync + 'static,
    ) -> ChooseOrigins<S, T>
    where
        H: Fn(Socket<S, T>) -> F + Send + Sync + 'static,
        F: Future<Output = R> + Send + 'static,
        R: Outcome,
    {
        Self::on(handler, Arc::new(move |()| timer()), Arc::new(spawn))
    }
}

impl<S, T> Serve<S, T, Local>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    T: Timer + 'static,
{
    /// As [`new`](Serve::new), where every connection stays on the thread of the server.
    pub fn local<H, F, R>(
        handler: H,
        timer: impl Fn() -> T + 'static,
        spawn: impl Fn(BoxFuture<Local, ()>) + 'static,
    ) -> ChooseOrigins<S, T, Local>
    where
        H: Fn(Socket<S, T>) -> F + 'static,
        F: Future<Output = R> + 'static,
        R: Outcome,
    {
        Self::on(handler, Rc::new(move |()| timer()), Rc::new(spawn))
    }
}

impl<S, T, M> Serve<S, T, M>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    T: Timer + 'static,
    M: Mode,
{
    pub(crate) fn on<H, F, R>(
        handler: H,
        timer: M::Function<(), T>,
        spawn: M::Function<BoxFuture<M, ()>, ()>,
    ) -> ChooseOrigins<S, T, M>
    where
        H: Fn(Socket<S, T>) -> F + 'static,
        F: Future<Output = R> + 'static,
        R: Outcome,
        M: Shares<H, F>,
    {
        let serve = Self {
            listen: Vec::new(),
            bind: None,
            executor: Executor { spawn, run: None },
            options: ServerOptions::new(),
            invalid: None,
            config: config(),
            trusted_proxies: TrustedProxies::default(),
            headers: Headers::new(),
            open_timeout: Some(Duration::from_secs(10)),
            shutdown_timeout: Some(Duration::from_secs(10)),
            lifetime: Lifetime::default(),
            rate_limit: None,
            limits: Limits {
                connections: 10_000,
                connections_per_address: None,
                handshakes: 1_000,
                backlog: 1 << 20,
            },
            timer,
            handler: M::shared(handler, Outcome::into_result),
            process_request: None,
            on_event: None,
        };
        ChooseOrigins { serve }
    }

    /// Listens there as well.
    pub fn listen(mut self, at: impl Into<Listen<S, M>>) -> Self {
        self.listen.push(at.into());
        self
    }

    /// Runs connections where `spawn` puts them, instead of where the runtime's function does: on an
    /// executor with several threads, for example.
    ///
    /// ```no_run
    /// # use std::sync::Arc;
    /// # use async_executor::Executor;
    /// # use sansock::serve::Origins;
    /// # use sansock::smol::{Socket, serve};
    /// # async fn echo(ws: Socket) {}
    /// # async fn run(executor: Arc<Executor<'static>>) -> sansock::Result<()> {
    /// serve("127.0.0.1:9001", echo)
    ///     .origins(Origins::SameHost)
    ///     .spawn(move |connection| executor.spawn(connection).detach())
    ///     .await
    /// # }
    /// ```
    pub fn spawn<P>(mut self, spawn: P) -> Self
    where
        P: Fn(BoxFuture<M, ()>) + 'static,
        M: Lends<P>,
    {
        self.executor = Executor {
            spawn: M::method(spawn, |spawn, connection| spawn(connection)),
            run: None,
        };
        self
    }

    /// Sets limits, deadlines and compression of the connections. Default: [`crate::config`]. The time
    /// for the opening handshake is set by [`open_timeout`](Self::open_timeout) instead.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Sets the hosts to which requests may be addressed, such as `example.com`, `*.example.com`, `localhost:8080`
    /// or `[::1]`; see [`HostList::new`](super::HostList::new). The `Host` of other requests is refused with 421
    /// (misdirected request, RFC 9110 section 15.5.20). `"*"` accepts every host.
    ///
    /// By default every host is accepted, with one exception: under [`Origins::SameHost`], a listener at a loopback
    /// address accepts [`Hosts::Loopback`] only. Otherwise a page could have its name resolve to that address after
    /// it was loaded (DNS rebinding): it would have the same host as its request. So a server behind a reverse proxy
    /// on the same machine needs this list, or [`trusted_proxies`](Self::trusted_proxies); see [`reverse_proxies`](crate::reverse_proxies).
    ///
    /// The host is checked where the origin is: when a request is accepted, not when
    /// [`process_request`](Self::process_request) answers it otherwise, as a health check.
    ///
    /// ```no_run
    /// # use sansock::serve::Origins;
    /// # use sansock::smol::{Socket, serve};
    /// # async fn echo(ws: Socket) {}
    /// # async fn run() -> sansock::Result<()> {
    /// serve("127.0.0.1:9001", echo)
    ///     .origins(Origins::SameHost)
    ///     .hosts(["chat.example.com", "localhost"])
    ///     .await
    /// # }
    /// ```
    ///
    /// An entry that is not a host is reported by [`bind`](Self::bind).
    pub fn hosts<I>(mut self, hosts: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        match Hosts::list(hosts) {
            Ok(hosts) => self.options = self.options.hosts(hosts),
            Err(error) => self.invalid = self.invalid.or(Some(error.into())),
        }
        self
    }

    /// Sets which reverse proxies are trusted to name their clients: addresses such as `::1`, networks such as
    /// `10.0.0.0/8`, and `unix` for all Unix sockets. Default: none.
    ///
    /// The client is read from `Forwarded` (RFC 7239) and `X-Forwarded-For`, from the right, hop by hop, up to the
    /// first address that is not trusted. A value that cannot be read ends this, and so does a request in which the
    /// two headers name different addresses; then the hop before counts. [`Peer`](super::Peer) has the address of
    /// the client and that of the transport. Events, limits and logs use that of the client as soon as the request
    /// has been read.
    ///
    /// The host and the scheme of `Forwarded`, or else `X-Forwarded-Host` and `X-Forwarded-Proto`, replace what the
    /// request says when hosts and origins are checked. Headers of a peer that is not trusted have no effect.
    ///
    /// A trusted proxy must set one of `Forwarded` and `X-Forwarded-For` in every request. Otherwise its clients can
    /// send any address; see [`reverse_proxies`](crate::reverse_proxies).
    ///
    /// ```no_run
    /// # use sansock::serve::Origins;
    /// # use sansock::smol::{Socket, serve};
    /// # async fn run() -> sansock::Result<()> {
    /// serve("0.0.0.0:9001", async |ws: Socket| println!("{} has connected", ws.peer()))
    ///     .origins(Origins::SameHost)
    ///     .trusted_proxies(["10.0.0.0/8", "::1"])
    ///     .await
    /// # }
    /// ```
    ///
    /// An entry that is not a network is reported by [`bind`](Self::bind).
    pub fn trusted_proxies<I>(mut self, proxies: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        match TrustedProxies::new(proxies) {
            Ok(proxies) => self.trusted_proxies = proxies,
            Err(error) => self.invalid = self.invalid.or(Some(error.into())),
        }
        self
    }

    /// Sets the supported subprotocols, the preferred one first; see [`ServerOptions::subprotocols`].
    pub fn subprotocols<I>(mut self, names: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<ByteString>,
    {
        self.options = self.options.subprotocols(names);
        self
    }

    /// Refuses clients with 400 if no subprotocol is selected; see [`ServerOptions::require_subprotocol`].
    pub fn require_subprotocol(mut self) -> Self {
        self.options = self.options.require_subprotocol();
        self
    }

    /// Selects among the subprotocols that a client offers; see [`ServerOptions::select_subprotocol`].
    pub fn select_subprotocol<F>(mut self, select: F) -> Self
    where
        F: Fn(&Request, &[&str]) -> Result<Option<ByteString>, HandshakeError>
            + Send
            + Sync
            + 'static,
    {
        self.options = self.options.select_subprotocol(select);
        self
    }

    /// Sets headers that responses have besides those of the handshake, such as `Server`. Default: none.
    pub fn response_headers(mut self, headers: Headers) -> Self {
        self.headers = headers;
        self
    }

    /// Looks at every request before it is accepted, and may answer it with something else: a health
    /// check, a page, 401, 404. It may also choose the handler, and add headers to the response.
    ///
    /// The time for the opening handshake goes on meanwhile; a panic is answered with 500.
    ///
    /// ```no_run
    /// # use sansock::core::handshake::StatusCode;
    /// # use sansock::serve::Origins;
    /// # use sansock::smol::{Socket, serve};
    /// # async fn echo(ws: Socket) {}
    /// # async fn chat(ws: Socket) {}
    /// # async fn run() -> sansock::Result<()> {
    /// serve("127.0.0.1:9001", echo)
    ///     .origins(Origins::SameHost)
    ///     .process_request(|request| async {
    ///         match request.path() {
    ///             "/echo" => request.accept(),
    ///             "/chat" => request.accept_with(chat),
    ///             "/healthz" => request.reject(StatusCode::OK, "ok\n"),
    ///             _ => request.reject(StatusCode::NOT_FOUND, "Nothing is here.\n"),
    ///         }
    ///     })
    ///     .await
    /// # }
    /// ```
    pub fn process_request<P, F>(mut self, process_request: P) -> Self
    where
        P: Fn(IncomingRequest<S, T, M>) -> F + 'static,
        F: Future<Output = HandshakeDecision<S, T, M>> + 'static,
        M: Shares<P, F>,
    {
        self.process_request = Some(M::shared(process_request, |decision| decision));
        self
    }

    /// Sets the time for the whole opening handshake, including TLS and
    /// [`process_request`](Self::process_request). Default: 10 seconds.
    pub fn open_timeout(mut self, after: impl Into<Option<Duration>>) -> Self {
        self.open_timeout = after.into();
        self
    }

    /// Sets how long a shutdown may take before connections that are left are aborted. Default: 10
    /// seconds.
    pub fn shutdown_timeout(mut self, after: impl Into<Option<Duration>>) -> Self {
        self.shutdown_timeout = after.into();
        self
    }

    /// Sets how old a connection may get before it is closed with 1001 (going away), so that its client connects
    /// again: to another server behind a load balancer, or with fresh credentials. Default: any age.
    ///
    /// It is closed as when a server [drains](super::ServerHandle::drain): while its handler waits for a message
    /// or after the handler has sent one, and not inside a message; 10 seconds later in any case.
    pub fn max_age(mut self, age: impl Into<Option<Duration>>) -> Self {
        self.lifetime.max_age = age.into();
        self
    }

    /// Closes connections up to this much before their [`max_age`](Self::max_age), each at a random time. So
    /// clients that have connected at once do not come back at once. Default: zero.
    pub fn max_age_jitter(mut self, jitter: Duration) -> Self {
        self.lifetime.jitter = jitter;
        self
    }

    /// Sets for how long a connection may be without a message in either direction before it is closed with
    /// 1001 (going away). Default: for ever.
    ///
    /// Every frame of a message counts; pings and pongs do not, whoever sends them. So it ends connections that
    /// are alive and unused; those that are dead are found by the pings of [`Config`]. It is closed as at its
    /// [`max_age`](Self::max_age). The time should be longer than handlers take for an answer and messages for
    /// their way. For a [`Socket`] that was moved to another task, it may take up to twice the time.
    pub fn idle_timeout(mut self, after: impl Into<Option<Duration>>) -> Self {
        self.lifetime.idle_timeout = after.into();
        self
    }

    /// Limits how fast each connection may send messages and bytes; see [`RateLimit`]. Default: no limit.
    ///
    /// ```no_run
    /// # use sansock::serve::{Origins, RateLimit};
    /// # use sansock::smol::{Socket, serve};
    /// # async fn echo(ws: Socket) {}
    /// # async fn run() -> sansock::Result<()> {
    /// serve("127.0.0.1:9001", echo)
    ///     .origins(Origins::SameHost)
    ///     .rate_limit(RateLimit::new().messages(20, 100))
    ///     .await
    /// # }
    /// ```
    pub fn rate_limit(mut self, limit: impl Into<Option<RateLimit>>) -> Self {
        self.rate_limit = limit.into();
        self
    }

    /// Sets how many connections may be open at once. Further ones are answered with 503. Default:
    /// 10,000.
    pub fn max_connections(mut self, most: impl Into<Option<usize>>) -> Self {
        self.limits.connections = most.into().unwrap_or(usize::MAX);
        self
    }

    /// Sets how many connections one address may have open at once: an IPv4 address, or the first 64 bits of an IPv6
    /// address. Default: any number, within [`max_connections`](Self::max_connections).
    ///
    /// Further ones are answered with 429 and `Retry-After: 10`. They are counted ([`rejected`](super::Snapshot::rejected))
    /// and reported to [`on_event`](Self::on_event).
    ///
    /// Behind [`trusted_proxies`](Self::trusted_proxies), the address is that of the client. Without them, a reverse
    /// proxy is one address. Unix sockets, and peers that are unknown, have no address and no such limit.
    ///
    /// ```no_run
    /// # use sansock::serve::Origins;
    /// # use sansock::smol::{Socket, serve};
    /// # async fn echo(ws: Socket) {}
    /// # async fn run() -> sansock::Result<()> {
    /// serve("[::]:9001", echo)
    ///     .origins(Origins::SameHost)
    ///     .max_connections_per_address(20)
    ///     .await
    /// # }
    /// ```
    pub fn max_connections_per_address(mut self, most: impl Into<Option<usize>>) -> Self {
        self.limits.connections_per_address = most.into();
        self
    }

    /// Sets how many opening handshakes, including those of TLS, may be in progress at once. At least 1.
    /// Default: 1,000.
    ///
    /// At the limit, a new connection takes the place of a handshake whose request is incomplete, however much
    /// of it has arrived. It is taken from the address (IPv4, or IPv6 /64; all Unix sockets are one) that
    /// has the most of them: at random among those older than a second, or else the oldest. So an address
    /// cannot lock out others, and clients behind a reverse proxy are safe if they are not slow.
    ///
    /// A handshake keeps its place while its request is decided and answered. Clients that stay after a refusal
    /// lose theirs. Connections wait in the queue of the operating system only if all handshakes are being
    /// decided or answered.
    ///
    /// An evicted connection is dropped without an answer. It is counted
    /// ([`evicted`](super::Snapshot::evicted)) and not reported to [`on_event`](Self::on_event), which an
    /// attack would flood.
    pub fn max_handshakes(mut self, most: impl Into<Option<usize>>) -> Self {
        self.limits.handshakes = most.into().unwrap_or(usize::MAX);
        self
    }

    /// Sets how many bytes of [broadcasts](super::broadcast()) may wait for one connection, in addition to
    /// its output queue, before it counts as [lagging](super::OverflowPolicy). A message counts with 64 bytes
    /// more than its payload; one fits in any case. Default: 1 MiB.
    pub fn max_backlog(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.limits.backlog = bytes.into().unwrap_or(usize::MAX);
        self
    }

    /// Sets what failures are reported to, for a log. It is called in the task of a connection; it should not block.
    ///
    /// ```no_run
    /// # use sansock::serve::Origins;
    /// # use sansock::smol::{Socket, serve};
    /// # async fn echo(ws: Socket) {}
    /// # async fn run() -> sansock::Result<()> {
    /// serve("127.0.0.1:9001", echo)
    ///     .origins(Origins::SameHost)
    ///     .on_event(|event| eprintln!("{event}"))
    ///     .await
    /// # }
    /// ```
    pub fn on_event<F>(mut self, on_event: F) -> Self
    where
        F: Fn(&ServerEvent<'_>) + 'static,
        M: Observes<F, AnyEvent>,
    {
        self.on_event = Some(M::observer(on_event));
        self
    }

    /// Binds, in the order in which they were given. From then on clients can connect.
    ///
    /// # Errors
    /// [`Error::Host`] and [`Error::Network`] for an entry of [`hosts`](Self::hosts) or
    /// [`trusted_proxies`](Self::trusted_proxies) that is invalid; [`Error::Io`] for the first
    /// listener that cannot be bound.
    ///
    /// # Cancel safety
    /// What was bound is dropped.
    pub async fn bind(self) -> Result<Server<S, T, M>>
    where
        M: Runs<S, T>,
    {
        if let Some(invalid) = self.invalid {
            return Err(invalid);
        }
        let mut listeners = Vec::with_capacity(self.listen.len());
        for listen in self.listen {
            listeners.push(listen.bind(self.bind.as_ref()).await?);
        }
        let registry = Registry::new(self.limits);
        // The transport's handshake counts as well: the server minds the time.
        let config = self.config.open_timeout(None);
        let shared = Shared {
            registry,
            multiplexed: config.clone().multiplexed(true),
            config,
            loopback_options: Arc::new(self.options.clone().on_loopback()),
            options: Arc::new(self.options),
            trusted_proxies: self.trusted_proxies,
            headers: self.headers,
            open_timeout: self.open_timeout,
            lifetime: self.lifetime,
            rate_limit: self.rate_limit,
            timer: self.timer,
            handler: self.handler,
            process_request: self.process_request,
            on_event: self.on_event,
        };
        Ok(Server::new(
            Arc::new(shared),
            listeners,
            self.executor,
            self.shutdown_timeout,
        ))
    }
}

impl<R: Runtime> ChooseOrigins<Stream<R>, R::Timer, R::Mode> {
    /// Returns a server on a runtime.
    pub(crate) fn on_runtime<H, F, O>(runtime: R, handler: H) -> Self
    where
        H: Fn(Socket<Stream<R>, R::Timer>) -> F + 'static,
        F: Future<Output = O> + 'static,
        O: Outcome,
        R::Mode: Serves<R> + Shares<H, F>,
    {
        let timer = R::Mode::method(runtime.clone(), |runtime, ()| runtime.timer());
        let spawn = R::Mode::method(runtime.clone(), R::spawn);
        let run = R::Mode::method(runtime.clone(), R::run);
        let mut choose = Serve::on(handler, timer, spawn);
        choose.serve.executor.run = Some(run);
        choose.serve.bind = Some(R::Mode::binds(runtime));
        choose
    }
}

impl<S, T, M> IntoFuture for Serve<S, T, M>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    T: Timer + 'static,
    M: Runs<S, T>,
{
    type Output = Result<()>;
    type IntoFuture = BoxFuture<M, Result<()>>;

    fn into_future(self) -> Self::IntoFuture {
        M::bind_and_run(self)
    }
}

impl<S: 'static, T: 'static, M: Mode> fmt::Debug for Serve<S, T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve")
            .field("options", &self.options)
            .field("config", &self.config)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
