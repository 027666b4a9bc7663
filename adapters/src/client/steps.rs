//! The phases of opening a connection: one function for each [`ConnectPhase`].
//!
//! Every phase runs under the same [`ConnectDeadline`], whose error names the phase and the host.
//!
//! The rule: TLS comes before the opening handshake, and its errors are reported as TLS errors even when
//! they arrive after it (section 4.1 of RFC 6455).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use sansock_core::ClientConnection;
use sansock_core::handshake::Uri;

use super::connect::{Connect, Opened, Route};
use super::deadline::ConnectDeadline;
use super::dial;
use super::proxy::{Destination, Proxy, with_zone};
use crate::driver::trace;
use crate::error::{ConnectError, ConnectPhase, Error, ProxyError, Result};
#[cfg(any(feature = "rustls", feature = "native-tls"))]
use crate::transport::tls::ClientTls;
use crate::transport::{Runtime, Stream, tls};
use crate::websocket::Pending;

impl<R: Runtime> Connect<R> {
    /// Connects to one server and asks for a WebSocket.
    pub(super) async fn attempt(
        &self,
        uri: &Uri,
        deadline: &mut ConnectDeadline<R::Timer>,
    ) -> Result<Opened<R>> {
        let connection = self.connection(uri)?;
        let stream = self.reach(uri, deadline).await?;
        self.open(uri, connection, stream, deadline).await
    }

    /// Returns the connection that will be opened; refuses what cannot be asked for.
    pub(super) fn connection(&self, uri: &Uri) -> Result<ClientConnection> {
        if uri.is_secure() && !cfg!(any(feature = "rustls", feature = "native-tls")) {
            return Err(Error::NoTls);
        }
        let connection = ClientConnection::new(uri, &self.options, self.config.clone());
        Ok(connection?)
    }

    /// Makes a stream to the server.
    async fn reach(
        &self,
        uri: &Uri,
        deadline: &mut ConnectDeadline<R::Timer>,
    ) -> Result<Stream<R>> {
        let Some(proxy) = self.route(uri)? else {
            let host = with_zone(uri);
            return self.dial(&host, uri.port(), deadline).await;
        };
        let mut result = Err(no_address(uri).into());
        for destination in self.destinations(uri, &proxy, deadline).await? {
            let stream = self.dial(proxy.host(), proxy.port(), deadline).await?;
            let mut stream = self.secure_proxy(&proxy, stream, deadline).await?;
            let target = target(proxy.host(), proxy.port());
            let tunnel = proxy.tunnel(&mut stream, destination);
            let tunnel = deadline.within(ConnectPhase::Proxy, &target, tunnel).await;
            result = tunnel
                .map(|()| stream)
                .map_err(|error| late(error, proxy.host()));
            if !result.as_ref().is_err_and(is_reply) {
                break;
            }
        }
        result
    }

    /// Returns the proxy to go through; refuses one that this build cannot reach.
    fn route(&self, uri: &Uri) -> Result<Option<Proxy>> {
        let proxy = match &self.route {
            Route::Environment if !is_local(uri) => Proxy::from_environment(uri)?,
            Route::Environment | Route::Direct => None,
            Route::Through(proxy) => Some(proxy.clone()),
        };
        let has_tls = cfg!(any(feature = "rustls", feature = "native-tls"));
        match proxy.as_ref().is_some_and(Proxy::uses_tls) && !has_tls {
            true => Err(ProxyError::NoTls.into()),
            false => Ok(proxy),
        }
    }

    /// Returns what the proxy may be asked for, one after the other: the name of the host, or its addresses.
    async fn destinations(
        &self,
        uri: &Uri,
        proxy: &Proxy,
        deadline: &mut ConnectDeadline<R::Timer>,
    ) -> Result<Vec<Destination>> {
        let mut destinations = vec![Destination::from(uri)];
        if !proxy.resolves_names() {
            let target = target(uri.host(), uri.port());
            let resolving = self.resolve(uri.host(), uri.port());
            let addresses = deadline
                .within(ConnectPhase::Resolve, &target, resolving)
                .await?;
            destinations = addresses.into_iter().map(Destination::from).collect();
        }
        let had_any = !destinations.is_empty();
        destinations.retain(|destination| proxy.can_ask_for(destination));
        match had_any && destinations.is_empty() {
            true => Err(ProxyError::Ipv6.into()),
            false => Ok(destinations),
        }
    }

    /// Makes a TCP connection.
    async fn dial(
        &self,
        host: &str,
        port: u16,
        deadline: &mut ConnectDeadline<R::Timer>,
    ) -> Result<Stream<R>> {
        let target = target(host, port);
        let resolving = async {
            let mut addresses = self.resolve(host, port).await?;
            if let Some(local) = self.local_address {
                addresses.retain(|address| address.is_ipv6() == local.is_ipv6());
            }
            Ok(addresses)
        };
        let addresses = deadline
            .within(ConnectPhase::Resolve, &target, resolving)
            .await?;
        let connecting = self.connect_to(&addresses, &target);
        deadline
            .within(ConnectPhase::Tcp, &target, connecting)
            .await
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
        let stream = Stream::new(connected.map_err(unreachable)?);
        stream.set_nodelay(self.nodelay)?;
        Ok(stream)
    }

    /// Negotiates TLS where the URL asks for it, and opens the WebSocket.
    pub(super) async fn open(
        &self,
        uri: &Uri,
        mut connection: ClientConnection,
        stream: Stream<R>,
        deadline: &mut ConnectDeadline<R::Timer>,
    ) -> Result<Opened<R>> {
        let target = target(uri.host(), uri.port());
        trace::peer(connection.io(), || Some(&target));
        let securing = self.secure(uri, stream);
        let stream = deadline
            .within(ConnectPhase::Tls, &target, securing)
            .await?;
        let mut pending = Pending::new(stream, self.runtime.timer(), connection);
        // The handshake gets the deadline as well: at that time it may return a better error.
        pending.set_deadline(deadline.at());
        let opened = deadline
            .within(ConnectPhase::Handshake, &target, pending.connect())
            .await;
        opened.map_err(|error| match matches!(error, Error::TimedOut(_)) {
            true => deadline.error(ConnectPhase::Handshake, &target),
            false => late(error, uri.host()),
        })
    }

    /// Negotiates TLS with the proxy if its URL asks for it. What is meant for the server is not used.
    #[cfg(any(feature = "rustls", feature = "native-tls"))]
    async fn secure_proxy(
        &self,
        proxy: &Proxy,
        stream: Stream<R>,
        deadline: &mut ConnectDeadline<R::Timer>,
    ) -> Result<Stream<R>> {
        if !proxy.uses_tls() {
            return Ok(stream);
        }
        let target = target(proxy.host(), proxy.port());
        let tls = self.proxy_tls.clone().unwrap_or_else(ClientTls::shared);
        let securing = tls.connect(proxy.name(), stream);
        let stream = deadline
            .within(ConnectPhase::Tls, &target, securing)
            .await?;
        Ok(Stream::to_proxy(stream))
    }

    #[cfg(not(any(feature = "rustls", feature = "native-tls")))]
    async fn secure_proxy(
        &self,
        _proxy: &Proxy,
        stream: Stream<R>,
        _deadline: &mut ConnectDeadline<R::Timer>,
    ) -> Result<Stream<R>> {
        Ok(stream)
    }

    #[cfg(any(feature = "rustls", feature = "native-tls"))]
    async fn secure(&self, uri: &Uri, stream: Stream<R>) -> Result<Stream<R>> {
        if !uri.is_secure() {
            return Ok(stream);
        }
        let tls = self.tls.clone().unwrap_or_else(ClientTls::shared);
        Ok(Stream::from_tls(tls.connect(uri.host(), stream).await?))
    }

    #[cfg(not(any(feature = "rustls", feature = "native-tls")))]
    async fn secure(&self, _uri: &Uri, stream: Stream<R>) -> Result<Stream<R>> {
        Ok(stream)
    }
}

/// The error of a host that has no address.
fn no_address(uri: &Uri) -> ConnectError {
    ConnectError::Unreachable {
        target: target(uri.host(), uri.port()),
        attempts: Vec::new(),
    }
}

/// Whether a host is this machine, or is on a link of it, where no proxy leads to.
fn is_local(uri: &Uri) -> bool {
    let address = uri.host().parse::<IpAddr>();
    uri.host() == "localhost"
        || uri.zone().is_some()
        || address.is_ok_and(|address| address.is_loopback())
}

/// Whether a proxy failed to connect, so that another address may do.
fn is_reply(error: &Error) -> bool {
    let Error::Proxy(error) = error else {
        return false;
    };
    matches!(**error, ProxyError::Reply(_) | ProxyError::Reply4(_))
}

/// Tells a failure of TLS that came after its handshake.
fn late(error: Error, host: &str) -> Error {
    let Error::Io(cause) = &error else {
        return error;
    };
    tls::late(cause, host).map_or(error, Error::from)
}

fn target(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}
