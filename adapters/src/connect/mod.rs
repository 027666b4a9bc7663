//! The client as applications want it: from a URL to an open WebSocket.
//!
//! The steps are those of [`Phase`], under one deadline. Each is a function of its own, over whatever
//! [`Runtime`] a shim supplies.

mod dial;
mod error;
mod redirect;
#[cfg(test)]
mod tests;
mod watch;

use std::future::{Future, IntoFuture};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use sansock_core::handshake::{ClientOptions, Credentials, Headers, Response, Uri};
use sansock_core::{ClientConnection, Config, Deadline};

use crate::error::{Error, Result};
use crate::proxy::{Destination, Proxy, ProxyError};
use crate::reconnect::{Connector, Reconnect};
use crate::runtime::Runtime;
use crate::stream::Stream;
#[cfg(any(feature = "rustls", feature = "native-tls"))]
use crate::tls::ClientTls;
use crate::websocket::WebSocket;

pub use self::error::{ConnectError, Phase};
use self::redirect::Trail;
use self::watch::Watch;

/// What a shim's client gives out, with the response of the server.
type Opened<R> = (WebSocket<Stream<R>, <R as Runtime>::Timer>, Response);

/// How a server is reached.
#[derive(Debug, Clone)]
enum Route {
    /// As the environment asks for.
    Environment,
    Direct,
    Through(Proxy),
}

/// A connection to be opened: options, then `.await`.
///
/// A clone opens another connection to the same server, with the same options.
///
/// ```no_run
/// # #[cfg(feature = "smol")]
/// # async fn run() -> sansock::Result<()> {
/// use std::time::Duration;
///
/// let ws = sansock::smol::connect("wss://example.com/chat")
///     .header("X-Api-Version", "3")
///     .basic_auth("alice", "secret")
///     .subprotocols(["chat.v2", "chat"])
///     .config(sansock::config().max_message_size(16 << 20))
///     .open_timeout(Duration::from_secs(3))
///     .redirects(2)
///     .await?;
/// assert_eq!(ws.subprotocol(), Some("chat.v2"));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// - [`Error::Uri`] for what is not the URL of a WebSocket, [`Error::Connection`] for a header that
///   cannot be sent. Nothing was sent.
/// - [`Error::Connect`] where the server cannot be reached, or not in time.
/// - [`Error::Tls`] where its certificate is not accepted or TLS fails otherwise; [`Error::NoTls`] for
///   `wss://` where no feature brings TLS.
/// - [`Error::Handshake`] where it does not answer as a WebSocket server should, with its
///   [response](Error::response) where it gave one; [`Error::Lost`] and [`Error::Io`] where the
///   connection breaks.
///
/// # Cancel safety
/// Dropping the future drops the socket.
#[derive(Debug, Clone)]
#[must_use = "nothing is connected until it is awaited"]
pub struct Connect<R: Runtime> {
    runtime: R,
    /// The URL, or the first mistake in the options.
    uri: Result<Uri>,
    options: ClientOptions,
    config: Config,
    open_timeout: Option<Duration>,
    route: Route,
    local_address: Option<IpAddr>,
    nodelay: bool,
    redirects: u32,
    #[cfg(any(feature = "rustls", feature = "native-tls"))]
    tls: Option<ClientTls>,
}

impl<R: Runtime> Connect<R> {
    pub(crate) fn new(runtime: R, url: &str) -> Self {
        Self {
            runtime,
            uri: Uri::parse(url).map_err(Error::from),
            options: ClientOptions::new(),
            config: crate::config(),
            open_timeout: None,
            route: Route::Environment,
            local_address: None,
            nodelay: true,
            redirects: 0,
            #[cfg(any(feature = "rustls", feature = "native-tls"))]
            tls: None,
        }
        .config(crate::config())
    }

    /// Sends a header besides those of the handshake. Of `Host`, `Authorization`, `Origin` and
    /// `User-Agent` it replaces what would be sent otherwise.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let added = self.options.headers_mut().append(name, value);
        self.check(added)
    }

    /// Sends these headers, in place of any set before; see [`header`](Self::header).
    pub fn headers(mut self, headers: Headers) -> Self {
        self.options = self.options.headers(headers);
        self
    }

    /// Sends a user and a password (Basic authentication, RFC 7617), in place of those of the URL.
    pub fn basic_auth(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        match Credentials::new(user, password) {
            Ok(credentials) => {
                let value = credentials.header_value();
                let set = self.options.headers_mut().set("Authorization", value);
                self.check(set)
            }
            Err(error) => self.check(Err(sansock_core::handshake::UriError::Credentials(error))),
        }
    }

    /// Offers subprotocols, the preferred one first. Default: none.
    pub fn subprotocols<I>(mut self, names: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<ByteString>,
    {
        self.options = self.options.subprotocols(names);
        self
    }

    /// Sends an `Origin`. Default: none, as is right for programs other than browsers.
    pub fn origin(mut self, origin: impl Into<ByteString>) -> Self {
        self.options = self.options.origin(origin);
        self
    }

    /// Sends a `User-Agent`. Default: none.
    pub fn user_agent(mut self, user_agent: impl Into<ByteString>) -> Self {
        self.options = self.options.user_agent(user_agent);
        self
    }

    /// Sets all that the request asks for, in place of what was set before: headers, subprotocols,
    /// origin, user agent.
    pub fn options(mut self, options: ClientOptions) -> Self {
        self.options = options;
        self
    }

    /// Sets the limits and times of the connection, compression, and the time to open it. Default:
    /// [`config()`](crate::config()).
    pub fn config(mut self, config: Config) -> Self {
        self.open_timeout = config.time_for(Deadline::Open);
        // It is kept here, from before there is a connection.
        self.config = config.open_timeout(None);
        self
    }

    /// Sets how long it may take to open the connection, everything included: name resolution, TCP, a
    /// proxy, TLS, the opening handshake, redirects. Default: that of the configuration, 10 s.
    pub fn open_timeout(mut self, after: impl Into<Option<Duration>>) -> Self {
        self.open_timeout = after.into();
        self
    }

    /// Sets how TLS is done for `wss://`: roots, certificates. Default: the roots of the system.
    #[cfg(any(feature = "rustls", feature = "native-tls"))]
    pub fn tls(mut self, tls: ClientTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Connects through this proxy, or with `None` through none. Default: as the environment asks for
    /// ([`Proxy::from_environment`]), and through none to a host of this machine.
    pub fn proxy(mut self, proxy: impl Into<Option<Proxy>>) -> Self {
        self.route = proxy.into().map_or(Route::Direct, Route::Through);
        self
    }

    /// Connects from this address of the machine. Default: the system chooses.
    pub fn local_address(mut self, address: impl Into<Option<IpAddr>>) -> Self {
        self.local_address = address.into();
        self
    }

    /// Sets whether small messages leave at once (`TCP_NODELAY`). Default: yes.
    pub fn nodelay(mut self, nodelay: bool) -> Self {
        self.nodelay = nodelay;
        self
    }

    /// Follows so many redirects of the server. Default: none.
    ///
    /// None leads from `wss://` to `ws://`. One to another scheme, host or port is followed without what
    /// is meant for the first: the headers `Authorization`, `Cookie`, `Proxy-Authorization` and `Host`,
    /// user and password, and a client's certificate.
    pub fn redirects(mut self, allowed: u32) -> Self {
        self.redirects = allowed;
        self
    }

    /// Makes a stream of connections: the next where one ends, with growing delays where it fails.
    pub fn reconnect(self) -> Reconnect<Self, R::Timer> {
        let timer = self.runtime.timer();
        Reconnect::new(self, timer)
    }

    /// Opens the connection. Returns the server's response as well.
    ///
    /// # Errors
    /// As for the [connection](Self#errors).
    ///
    /// # Cancel safety
    /// Dropping the future drops the socket.
    pub async fn with_response(mut self) -> Result<Opened<R>> {
        let mut uri = self.uri.clone()?;
        let mut watch = Watch::new(self.runtime.timer(), self.open_timeout);
        let mut trail = Trail::new(&uri, self.redirects);
        loop {
            let error = match self.attempt(&uri, &mut watch).await {
                Ok(opened) => return Ok(opened),
                Err(error) => error,
            };
            let Some(next) = trail.follow(&uri, &error)? else {
                return Err(error);
            };
            if !next.is_same_origin(&uri) {
                self.forget_secrets();
            }
            uri = next;
        }
    }

    /// Opens the connection over a socket that is connected already, for example a Unix socket. The host
    /// of the URL is what TLS verifies and what the server is told. No redirect is followed.
    ///
    /// # Errors
    /// As for the [connection](Self#errors).
    ///
    /// # Cancel safety
    /// Dropping the future drops the socket.
    pub async fn over(
        self,
        stream: impl Into<Stream<R>>,
    ) -> Result<WebSocket<Stream<R>, R::Timer>> {
        let uri = self.uri.clone()?;
        let mut watch = Watch::new(self.runtime.timer(), self.open_timeout);
        let connection = self.connection(&uri)?;
        let opening = self.open(&uri, connection, stream.into(), &mut watch);
        Ok(opening.await?.0)
    }

    /// Connects to one server and asks for a WebSocket.
    async fn attempt(&self, uri: &Uri, watch: &mut Watch<R::Timer>) -> Result<Opened<R>> {
        let connection = self.connection(uri)?;
        let stream = self.reach(uri, watch).await?;
        self.open(uri, connection, stream, watch).await
    }

    /// Returns the connection that will be opened; refuses what cannot be asked for.
    fn connection(&self, uri: &Uri) -> Result<ClientConnection> {
        if uri.is_secure() && !cfg!(any(feature = "rustls", feature = "native-tls")) {
            return Err(Error::NoTls);
        }
        let connection = ClientConnection::new(uri, &self.options, self.config.clone());
        Ok(connection?)
    }

    /// Makes a stream to the server.
    async fn reach(&self, uri: &Uri, watch: &mut Watch<R::Timer>) -> Result<Stream<R>> {
        let Some(proxy) = self.route(uri)? else {
            return self.dial(uri.host(), uri.port(), watch).await;
        };
        let mut result = Err(no_address(uri).into());
        for destination in self.destinations(uri, &proxy, watch).await? {
            let mut stream = self.dial(proxy.host(), proxy.port(), watch).await?;
            let target = target(proxy.host(), proxy.port());
            let tunnel = proxy.tunnel(&mut stream, destination);
            let tunnel = watch.within(Phase::Proxy, &target, tunnel).await;
            result = tunnel.map(|()| stream);
            if !result.as_ref().is_err_and(is_reply) {
                break;
            }
        }
        result
    }

    /// Returns the proxy to go through.
    fn route(&self, uri: &Uri) -> Result<Option<Proxy>> {
        Ok(match &self.route {
            Route::Environment if !is_local(uri.host()) => Proxy::from_environment(uri)?,
            Route::Environment | Route::Direct => None,
            Route::Through(proxy) => Some(proxy.clone()),
        })
    }

    /// Returns what the proxy may be asked for, one after the other: the name of the host, or its addresses.
    async fn destinations(
        &self,
        uri: &Uri,
        proxy: &Proxy,
        watch: &mut Watch<R::Timer>,
    ) -> Result<Vec<Destination>> {
        if proxy.resolves_names() {
            return Ok(vec![Destination::from(uri)]);
        }
        let target = target(uri.host(), uri.port());
        let resolving = self.resolve(uri.host(), uri.port());
        let addresses = watch.within(Phase::Resolve, &target, resolving).await?;
        Ok(addresses.into_iter().map(Destination::from).collect())
    }

    /// Makes a TCP connection.
    async fn dial(&self, host: &str, port: u16, watch: &mut Watch<R::Timer>) -> Result<Stream<R>> {
        let target = target(host, port);
        let resolving = async {
            let mut addresses = self.resolve(host, port).await?;
            if let Some(local) = self.local_address {
                addresses.retain(|address| address.is_ipv6() == local.is_ipv6());
            }
            Ok(addresses)
        };
        let addresses = watch.within(Phase::Resolve, &target, resolving).await?;
        let connecting = self.connect_to(&addresses, &target);
        watch.within(Phase::Tcp, &target, connecting).await
    }

    /// Asks for the addresses of a host.
    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let resolved = self.runtime.resolve(host, port).await;
        let failed = |cause| ConnectError::Resolve {
            host: host.into(),
            cause: Arc::new(cause),
        };
        Ok(resolved.map_err(failed)?)
    }

    async fn connect_to(&self, addresses: &[SocketAddr], target: &str) -> Result<Stream<R>> {
        let connect = |address| self.runtime.connect(address, self.local_address);
        let connected = dial::first(addresses, self.runtime.timer(), connect).await;
        let unreachable = |attempts| ConnectError::Unreachable {
            target: target.into(),
            attempts,
        };
        let stream = Stream::from_tcp(connected.map_err(unreachable)?);
        stream.set_nodelay(self.nodelay)?;
        Ok(stream)
    }

    /// Negotiates TLS where the URL asks for it, and opens the WebSocket.
    async fn open(
        &self,
        uri: &Uri,
        connection: ClientConnection,
        stream: Stream<R>,
        watch: &mut Watch<R::Timer>,
    ) -> Result<Opened<R>> {
        let target = target(uri.host(), uri.port());
        let securing = self.secure(uri, stream);
        let stream = watch.within(Phase::Tls, &target, securing).await?;
        let opening = WebSocket::client(stream, self.runtime.timer(), connection);
        let opened = watch.within(Phase::Handshake, &target, opening).await;
        opened.map_err(|error| late(error, uri.host()))
    }

    #[cfg(any(feature = "rustls", feature = "native-tls"))]
    async fn secure(&self, uri: &Uri, stream: Stream<R>) -> Result<Stream<R>> {
        if !uri.is_secure() {
            return Ok(stream);
        }
        let tls = self.tls.clone().unwrap_or_else(ClientTls::shared);
        tls.connect(uri.host(), stream).await
    }

    #[cfg(not(any(feature = "rustls", feature = "native-tls")))]
    async fn secure(&self, _uri: &Uri, stream: Stream<R>) -> Result<Stream<R>> {
        Ok(stream)
    }

    /// Keeps what another server must not see.
    fn forget_secrets(&mut self) {
        let headers = self.options.headers_mut();
        for name in ["Authorization", "Cookie", "Proxy-Authorization", "Host"] {
            headers.remove(name);
        }
        #[cfg(any(feature = "rustls", feature = "native-tls"))]
        if let Some(tls) = self.tls.take() {
            self.tls = Some(tls.without_identity());
        }
    }

    /// Keeps the first mistake.
    fn check(mut self, result: Result<(), impl Into<Error>>) -> Self {
        if let (Ok(_), Err(error)) = (&self.uri, result) {
            self.uri = Err(error.into());
        }
        self
    }
}

/// The error of a host that has no address.
fn no_address(uri: &Uri) -> ConnectError {
    ConnectError::Unreachable {
        target: target(uri.host(), uri.port()),
        attempts: Vec::new(),
    }
}

/// Whether a host is this machine, which no proxy leads to.
fn is_local(host: &str) -> bool {
    let address = host.parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// Whether a proxy failed to connect, so that another address may do.
fn is_reply(error: &Error) -> bool {
    matches!(error, Error::Proxy(error) if matches!(**error, ProxyError::Reply(_)))
}

/// Tells a failure of TLS that came after its handshake.
fn late(error: Error, host: &str) -> Error {
    let Error::Io(cause) = &error else {
        return error;
    };
    crate::tls::late(cause, host).map_or(error, Error::from)
}

fn target(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

impl<R: Runtime> Connector for Connect<R> {
    type Connection = WebSocket<Stream<R>, R::Timer>;
    type Attempt = <Self as IntoFuture>::IntoFuture;

    fn connect(&mut self) -> Self::Attempt {
        self.clone().into_future()
    }
}

impl<R: Runtime> IntoFuture for Connect<R> {
    type Output = Result<WebSocket<Stream<R>, R::Timer>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { Ok(self.with_response().await?.0) })
    }
}
