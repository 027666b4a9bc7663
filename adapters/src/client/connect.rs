//! The options of a client connection, and the future that opens it.
//!
//! [`Connect`] collects the options; awaiting it runs the phases in `steps.rs` and follows redirects. The
//! first invalid option is kept and returned when it is awaited, so that a chain of setters needs no `?`.
//!
//! The rule: nothing is sent before all options are known to be valid.

use std::future::IntoFuture;
use std::net::IpAddr;
use std::time::Duration;

use bytestring::ByteString;
use sansock_core::handshake::{ClientOptions, Credentials, Headers, Response, Uri, UriError};
use sansock_core::{Config, Deadline};

use super::deadline::ConnectDeadline;
use super::proxy::Proxy;
use super::reconnect::{Connector, Reconnect};
use super::redirect::{CrossOrigin, RedirectPolicy};
use crate::driver::config;
use crate::error::{Error, Result};
#[cfg(any(feature = "rustls", feature = "native-tls"))]
use crate::transport::tls::ClientTls;
use crate::transport::{BoxFuture, Local, Mode, Runtime, Stream, Threads};
use crate::websocket::WebSocket;

/// What a shim's client gives out, with the response of the server.
pub(super) type Opened<R> = (WebSocket<Stream<R>, <R as Runtime>::Timer>, Response);

/// A connection to be opened: options, then `.await`.
///
/// An IPv6 address in the URL may have a zone, as in `ws://[fe80::1%25eth0]/`, if the system can resolve
/// it. The zone selects the interface of this machine; it is not sent.
///
/// A clone opens another connection to the same server, with the same options. For a server at a Unix
/// socket (`ws+unix:` in other clients) see [`over`](Self::over).
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
/// - [`Error::Proxy`] where a proxy refuses, or where its URL is not understood.
/// - [`Error::Handshake`] if it does not answer as a WebSocket server should, with its
///   [response](Error::response) if it sent one. An invalid answer is reported at once; if the body of a
///   response does not end, the response is reported at the deadline, with what has arrived.
///   [`Error::Lost`] and [`Error::Io`] if the connection breaks.
///
/// # Cancel safety
/// Dropping the future drops the socket.
#[derive(Debug, Clone)]
#[must_use = "nothing is connected until it is awaited"]
pub struct Connect<R: Runtime> {
    pub(super) runtime: R,
    /// The URL, or the first mistake in the options.
    pub(super) uri: Result<Uri>,
    pub(super) options: ClientOptions,
    pub(super) config: Config,
    pub(super) open_timeout: Option<Duration>,
    pub(super) route: Route,
    pub(super) local_address: Option<IpAddr>,
    pub(super) nodelay: bool,
    pub(super) redirects: u32,
    pub(super) cross_origin: CrossOrigin,
    #[cfg(any(feature = "rustls", feature = "native-tls"))]
    pub(super) tls: Option<ClientTls>,
    #[cfg(any(feature = "rustls", feature = "native-tls"))]
    pub(super) proxy_tls: Option<ClientTls>,
}

/// How a server is reached.
#[derive(Debug, Clone)]
pub(super) enum Route {
    /// As the environment asks for.
    Environment,
    Direct,
    Through(Proxy),
}

impl<R: Runtime> Connect<R> {
    /// Returns a connection to the server at a `ws://` or `wss://` URL, over the sockets of a runtime.
    pub fn new(runtime: R, url: &str) -> Self {
        Self {
            runtime,
            uri: Uri::parse(url).map_err(Error::from),
            options: ClientOptions::new(),
            config: config(),
            open_timeout: None,
            route: Route::Environment,
            local_address: None,
            nodelay: true,
            redirects: 0,
            cross_origin: CrossOrigin::new(),
            #[cfg(any(feature = "rustls", feature = "native-tls"))]
            tls: None,
            #[cfg(any(feature = "rustls", feature = "native-tls"))]
            proxy_tls: None,
        }
        .config(config())
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
            Err(error) => self.check(Err(UriError::Credentials(error))),
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

    /// Sets how TLS is done to a proxy with an `https://` URL: roots, certificates. What
    /// [`tls`](Self::tls) sets is for the server only. Default: the roots of the system.
    #[cfg(any(feature = "rustls", feature = "native-tls"))]
    pub fn proxy_tls(mut self, tls: ClientTls) -> Self {
        self.proxy_tls = Some(tls);
        self
    }

    /// Connects through this proxy, or with `None` through none. Default: as the environment asks for
    /// ([`Proxy::from_environment`]), and through none to a host of this machine, or to an IPv6 address
    /// with a zone.
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

    /// Follows up to this number of redirects of the server. Default: none.
    ///
    /// None leads from `wss://` to `ws://`. One to another scheme, host or port is followed without what
    /// is meant for the first: the headers `Authorization`, `Cookie`, `Proxy-Authorization` and `Host`,
    /// user and password, a client's certificate, and subprotocols. All other headers are sent, among
    /// them ones like `X-Api-Key`: see [`cross_origin`](Self::cross_origin).
    pub fn redirects(mut self, allowed: u32) -> Self {
        self.redirects = allowed;
        self
    }

    /// Sets what a redirect to another origin still carries. Default: [`CrossOrigin::new`], neither
    /// credentials nor subprotocols.
    pub fn cross_origin(mut self, cross_origin: CrossOrigin) -> Self {
        let checked = cross_origin.check();
        self.cross_origin = cross_origin;
        self.check(checked)
    }

    /// Makes a stream of connections: the next where one ends, with growing delays where it fails.
    pub fn reconnect(self) -> Reconnect<Self, R::Timer>
    where
        R::Mode: Opens<R>,
    {
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
        let mut deadline = ConnectDeadline::new(self.runtime.timer(), self.open_timeout);
        let mut redirects = RedirectPolicy::new(&uri, self.redirects);
        loop {
            let error = match self.attempt(&uri, &mut deadline).await {
                Ok(opened) => return Ok(opened),
                Err(error) => error,
            };
            // A redirect that takes all of the time is reported as such.
            if deadline.is_over() {
                return Err(error);
            }
            let Some(next) = redirects.follow(&uri, &error)? else {
                return Err(error);
            };
            if !next.is_same_origin(&uri) {
                self.leave(&uri)?;
            }
            uri = next;
        }
    }

    /// Opens the connection over a socket that is connected already, for example a Unix socket. The host
    /// of the URL is what TLS verifies and what the server is told. No redirect is followed.
    ///
    /// Other clients have URLs for Unix sockets, such as `ws+unix:/run/chat.sock:/rooms/1`. Here the path
    /// of the socket is not part of the URL:
    ///
    /// ```no_run
    /// # #[cfg(all(unix, feature = "smol"))]
    /// # async fn run() -> sansock::Result<()> {
    /// use async_net::unix::UnixStream;
    /// use sansock::smol::connect;
    ///
    /// let stream = UnixStream::connect("/run/chat.sock").await?;
    /// let ws = connect("ws://localhost/rooms/1").over(stream).await?;
    /// # Ok(())
    /// # }
    /// ```
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
        let mut deadline = ConnectDeadline::new(self.runtime.timer(), self.open_timeout);
        let connection = self.connection(&uri)?;
        let stream = stream.into();
        stream.set_nodelay(self.nodelay)?;
        let opening = self.open(&uri, connection, stream, &mut deadline);
        Ok(opening.await?.0)
    }

    async fn open_websocket(self) -> Result<Connected<R>> {
        Ok(self.with_response().await?.0)
    }

    /// Removes what must not be sent to other origins than that of the URL.
    fn leave(&mut self, from: &Uri) -> Result<()> {
        self.cross_origin.apply(&mut self.options, from)?;
        #[cfg(any(feature = "rustls", feature = "native-tls"))]
        if !self.cross_origin.has_credentials() {
            self.tls = self.tls.take().map(ClientTls::without_identity);
        }
        Ok(())
    }

    /// Keeps the first mistake.
    fn check(mut self, result: Result<(), impl Into<Error>>) -> Self {
        if let (Ok(_), Err(error)) = (&self.uri, result) {
            self.uri = Err(error.into());
        }
        self
    }
}

impl<R: Runtime<Mode: Opens<R>>> Connector for Connect<R> {
    type Connection = Connected<R>;
    type Attempt = <Self as IntoFuture>::IntoFuture;

    fn connect(&mut self) -> Self::Attempt {
        self.clone().into_future()
    }
}

impl<R: Runtime<Mode: Opens<R>>> IntoFuture for Connect<R> {
    type Output = Result<Connected<R>>;
    type IntoFuture = BoxFuture<R::Mode, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        R::Mode::open(self)
    }
}

/// The WebSocket of a client on a runtime.
type Connected<R> = WebSocket<Stream<R>, <R as Runtime>::Timer>;

/// A mode in which this runtime can connect: [`Threads`] if its values, streams and timers are `Send`, [`Local`]
/// in any case.
#[diagnostic::on_unimplemented(
    message = "`{R}` cannot connect in the mode that it chose",
    note = "in the mode `Threads`, a runtime is `Send + Sync`, and its streams and timers are `Send + Sync`; \
            otherwise its mode is `Local`"
)]
pub trait Opens<R: Runtime>: Mode {
    #[doc(hidden)]
    fn open(connect: Connect<R>) -> BoxFuture<Self, Result<Connected<R>>>;
}

impl<R> Opens<R> for Threads
where
    R: Runtime<Mode = Self> + Send + Sync,
    R::Stream: Send + Sync,
    R::Timer: Send,
{
    fn open(connect: Connect<R>) -> BoxFuture<Self, Result<Connected<R>>> {
        Box::pin(connect.open_websocket())
    }
}

impl<R: Runtime<Mode = Self>> Opens<R> for Local {
    fn open(connect: Connect<R>) -> BoxFuture<Self, Result<Connected<R>>> {
        Box::pin(connect.open_websocket())
    }
}
