//! What a server is made of: settings, with defaults that are safe on the open internet.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use futures_io::{AsyncRead, AsyncWrite};
use sansock_core::Config;
use sansock_core::handshake::{HandshakeError, Headers, Origins, Request, ServerOptions};

use super::connection::{OnEvent, ProcessRequest, Shared};
use super::outcome::{Ending, Outcome, ServerEvent};
use super::registry::{Limits, Registry};
use super::request::{HandshakeDecision, IncomingRequest};
use super::server::{Executor, Server};
use super::socket::Socket;
use crate::driver::{Timer, config};
use crate::error::Result;
use crate::transport::{BoxFuture, Listener};

/// Where a server is to listen: something that becomes a [`Listener`] when the server is bound.
pub struct Listen<S>(BoxFuture<'static, io::Result<Box<dyn Listener<S>>>>);

impl<S> Listen<S> {
    /// Listens on something that is bound already.
    #[must_use]
    pub fn on(listener: impl Listener<S> + 'static) -> Self {
        Self::binding(std::future::ready(Ok(listener)))
    }

    /// Listens on what the future gives.
    #[must_use]
    pub fn binding<L: Listener<S> + 'static>(
        binding: impl Future<Output = io::Result<L>> + Send + 'static,
    ) -> Self {
        Self(Box::pin(async {
            let listener: Box<dyn Listener<S>> = Box::new(binding.await?);
            Ok(listener)
        }))
    }

    pub(crate) async fn bind(self) -> io::Result<Box<dyn Listener<S>>> {
        self.0.await
    }
}

impl<S> fmt::Debug for Listen<S> {
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
pub struct ChooseOrigins<S, T> {
    serve: Serve<S, T>,
}

impl<S, T> ChooseOrigins<S, T> {
    /// Chooses which pages may connect: those of the host that they connect to
    /// ([`Origins::SameHost`]), those of a list ([`Origins::list`]), or all ([`Origins::Any`]).
    pub fn origins(mut self, origins: impl Into<Origins>) -> Serve<S, T> {
        self.serve.options = self.serve.options.origins(origins);
        self.serve
    }

    /// Listens there as well.
    pub fn listen(mut self, at: impl Into<Listen<S>>) -> Self {
        self.serve.listen.push(at.into());
        self
    }
}

/// A server in the making. Awaited, it binds and serves until it is shut down.
#[must_use = "a server does nothing until it is awaited, or bound and run"]
pub struct Serve<S, T> {
    listen: Vec<Listen<S>>,
    executor: Executor,
    options: ServerOptions,
    config: Config,
    headers: Headers,
    open_timeout: Option<Duration>,
    shutdown_timeout: Option<Duration>,
    limits: Limits,
    timer: Box<dyn Fn() -> T + Send + Sync>,
    handler: Box<dyn Fn(Socket<S, T>) -> BoxFuture<'static, Ending> + Send + Sync>,
    process_request: Option<Box<ProcessRequest<S, T>>>,
    on_event: Option<Box<OnEvent>>,
}

impl<S, T> Serve<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: Timer + Send + 'static,
{
    /// Returns a server that hands every connection to the handler, that takes its time from timers
    /// made by `timer`, and that runs each connection where `spawn` puts it. All timers share a start.
    ///
    /// The functions `serve` of the runtimes call this.
    #[expect(
        clippy::new_ret_no_self,
        reason = "the origins have to be chosen first"
    )]
    pub fn new<H, F, R>(
        handler: H,
        timer: impl Fn() -> T + Send + Sync + 'static,
        spawn: impl Fn(BoxFuture<'static, ()>) + Send + Sync + 'static,
    ) -> ChooseOrigins<S, T>
    where
        H: Fn(Socket<S, T>) -> F + Send + Sync + 'static,
        F: Future<Output = R> + Send + 'static,
        R: Outcome,
    {
        Self::on(Executor::new(spawn), timer, handler)
    }

    /// Returns a server that runs where an executor says.
    pub(crate) fn on<H, F, R>(
        executor: Executor,
        timer: impl Fn() -> T + Send + Sync + 'static,
        handler: H,
    ) -> ChooseOrigins<S, T>
    where
        H: Fn(Socket<S, T>) -> F + Send + Sync + 'static,
        F: Future<Output = R> + Send + 'static,
        R: Outcome,
    {
        let handler = move |socket| -> BoxFuture<'static, Ending> {
            let running = handler(socket);
            Box::pin(async { running.await.into_result() })
        };
        let serve = Self {
            listen: Vec::new(),
            executor,
            options: ServerOptions::new(),
            config: config(),
            headers: Headers::new(),
            open_timeout: Some(Duration::from_secs(10)),
            shutdown_timeout: Some(Duration::from_secs(10)),
            limits: Limits {
                connections: 10_000,
                handshakes: 1_000,
                backlog: 1 << 20,
            },
            timer: Box::new(timer),
            handler: Box::new(handler),
            process_request: None,
            on_event: None,
        };
        ChooseOrigins { serve }
    }

    /// Listens there as well.
    pub fn listen(mut self, at: impl Into<Listen<S>>) -> Self {
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
    pub fn spawn(mut self, spawn: impl Fn(BoxFuture<'static, ()>) + Send + Sync + 'static) -> Self {
        self.executor = Executor::new(spawn);
        self
    }

    /// Sets limits, deadlines and compression of the connections. Default: [`crate::config`]. The time
    /// for the opening handshake is set by [`open_timeout`](Self::open_timeout) instead.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
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
        P: Fn(IncomingRequest<S, T>) -> F + Send + Sync + 'static,
        F: Future<Output = HandshakeDecision<S, T>> + Send + 'static,
    {
        self.process_request = Some(Box::new(move |request| Box::pin(process_request(request))));
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

    /// Sets how many connections may be open at once. Further ones are answered with 503. Default:
    /// 10,000.
    pub fn max_connections(mut self, most: impl Into<Option<usize>>) -> Self {
        self.limits.connections = most.into().unwrap_or(usize::MAX);
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
    pub fn on_event(mut self, on_event: impl Fn(&ServerEvent<'_>) + Send + Sync + 'static) -> Self {
        self.on_event = Some(Box::new(on_event));
        self
    }

    /// Binds, in the order in which they were given. From then on clients can connect.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) for the first that cannot be bound.
    ///
    /// # Cancel safety
    /// What was bound is dropped.
    pub async fn bind(self) -> Result<Server<S, T>> {
        let mut listeners = Vec::with_capacity(self.listen.len());
        for listen in self.listen {
            listeners.push(listen.bind().await?);
        }
        let registry = Registry::new(self.limits);
        let shared = Shared {
            registry,
            // The transport's handshake counts as well: the server minds the time.
            config: self.config.open_timeout(None),
            options: Arc::new(self.options),
            headers: self.headers,
            open_timeout: self.open_timeout,
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

impl<S, T> IntoFuture for Serve<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: Timer + Send + 'static,
{
    type Output = Result<()>;
    type IntoFuture = BoxFuture<'static, Result<()>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async {
            self.bind().await?.run().await;
            Ok(())
        })
    }
}

impl<S, T> fmt::Debug for Serve<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve")
            .field("options", &self.options)
            .field("config", &self.config)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
