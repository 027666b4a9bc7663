//! From an address to a bound listener, by a [`Runtime`].

use std::future::Ready;
use std::io;
use std::net::ToSocketAddrs;
#[cfg(feature = "proxy-protocol")]
use std::sync::Arc;

use super::builder::Listen;
#[cfg(feature = "proxy-protocol")]
use super::proxies::TrustedProxies;
use super::server::Bound;
#[cfg(any(feature = "rustls", feature = "native-tls", feature = "proxy-protocol"))]
use super::server::Wrap;
#[cfg(feature = "proxy-protocol")]
use crate::error::ProxyProtocolError;
#[cfg(any(feature = "rustls", feature = "native-tls", feature = "proxy-protocol"))]
use crate::transport::Accepted;
use crate::transport::mode::{Boxes, Lends};
use crate::transport::runtime::Address;
#[cfg(any(feature = "rustls", feature = "native-tls"))]
use crate::transport::tls::ServerTls;
use crate::transport::{BoxFuture, Local, Mode, Runtime, Stream, Threads};
#[cfg(feature = "proxy-protocol")]
use crate::transport::{Peer, proxy_protocol};

/// A mode in which a server on this runtime can run: [`Threads`] if its values and listeners are `Send + Sync`, and
/// its streams and timers `Send`; [`Local`] in any case.
#[diagnostic::on_unimplemented(
    message = "`{R}` cannot serve in the mode that it chose",
    note = "in the mode `Threads`, a runtime and its listeners are `Send + Sync`, and its streams and timers are \
            `Send`; otherwise its mode is `Local`"
)]
pub trait Serves<R: Runtime>:
    Mode + Lends<R> + Boxes<Ready<io::Result<Bound<Stream<R>, Self>>>>
{
    #[doc(hidden)]
    fn binds(runtime: R) -> Binds<R, Self>;

    #[doc(hidden)]
    fn bound(runtime: R, listener: R::Listener) -> Bound<Stream<R>, Self>;

    #[cfg(any(feature = "rustls", feature = "native-tls"))]
    #[doc(hidden)]
    fn secures(tls: ServerTls) -> Wrap<Stream<R>, Self>;

    #[cfg(feature = "proxy-protocol")]
    #[doc(hidden)]
    fn names(trusted: Arc<TrustedProxies>) -> Wrap<Stream<R>, Self>;
}

type Binds<R, M> = <M as Mode>::Function<Address, BoxFuture<M, io::Result<Bound<Stream<R>, M>>>>;

macro_rules! serves {
    ($mode:ident $($send:ident $sync:ident)?) => {
        impl<R> Serves<R> for $mode
        where
            R: Runtime<Mode = Self> $(+ $send + $sync)?,
            R::Listener: $($send + $sync)?,
            R::Stream: $($send)?,
        {
            fn binds(runtime: R) -> Binds<R, Self> {
                Self::method(runtime, |runtime, address| {
                    Box::pin(bind(runtime.clone(), address))
                })
            }

            fn bound(runtime: R, listener: R::Listener) -> Bound<Stream<R>, Self> {
                bound(runtime, listener)
            }

            #[cfg(any(feature = "rustls", feature = "native-tls"))]
            fn secures(tls: ServerTls) -> Wrap<Stream<R>, Self> {
                Self::method(tls, |tls, accepted| {
                    let Accepted {
                        transport, peer, ..
                    } = accepted;
                    let tls = tls.clone();
                    let secured = async move {
                        let (transport, client) = transport.open().await?;
                        Ok((tls.accept(transport).await?, client))
                    };
                    Accepted::naming(secured, peer)
                })
            }

            #[cfg(feature = "proxy-protocol")]
            fn names(trusted: Arc<TrustedProxies>) -> Wrap<Stream<R>, Self> {
                Self::method(trusted, |trusted, accepted| {
                    let Accepted {
                        transport, peer, ..
                    } = accepted;
                    let (trusted, from) = (trusted.clone(), peer.clone());
                    let named = async move {
                        check_trust(&trusted, &from)?;
                        let (mut transport, earlier) = transport.open().await?;
                        let from = earlier.as_ref().unwrap_or(&from);
                        check_trust(&trusted, from)?;
                        let client = proxy_protocol::read(&mut transport, from).await?;
                        Ok((transport, client.or(earlier)))
                    };
                    Accepted::naming(named, peer)
                })
            }
        }
    };
}

serves!(Threads Send Sync);
serves!(Local);

#[cfg(feature = "proxy-protocol")]
fn check_trust(trusted: &TrustedProxies, peer: &Peer) -> Result<(), ProxyProtocolError> {
    match trusted.trusts(peer) {
        true => Ok(()),
        false => Err(ProxyProtocolError::Untrusted),
    }
}

async fn bind<R>(runtime: R, address: Address) -> io::Result<Bound<Stream<R>, R::Mode>>
where
    R: Runtime<Mode: Lends<(R, R::Listener)>>,
{
    let listener = match address {
        Address::Host(address) => bind_first(&runtime, &address).await?,
        Address::Tcp(listener) => runtime.listen_on(listener)?,
        Address::Path(path) => runtime.listen_unix(&path)?,
        #[cfg(unix)]
        Address::Unix(listener) => runtime.listen_on_unix(listener)?,
    };
    Ok(bound(runtime, listener))
}

/// Returns a listener of a runtime, as servers use it.
pub(super) fn bound<R>(runtime: R, listener: R::Listener) -> Bound<Stream<R>, R::Mode>
where
    R: Runtime<Mode: Lends<(R, R::Listener)>>,
{
    Bound {
        address: R::listener_address(&listener),
        accept: R::Mode::method((runtime, listener), |(runtime, listener), ()| {
            runtime.accept(listener)
        }),
        wraps: Vec::new(),
    }
}

/// Binds the first address of a host that can be bound.
async fn bind_first<R: Runtime>(runtime: &R, address: &str) -> io::Result<R::Listener> {
    let none = io::Error::new(io::ErrorKind::InvalidInput, "the host has no address");
    let mut result = Err(none);
    // A name that has to be looked up may block for a while: once, when the server starts.
    for address in address.to_socket_addrs()? {
        result = runtime.listen(address).await;
        if result.is_ok() {
            break;
        }
    }
    result
}

impl<R: Runtime<Mode: Serves<R>>> Listen<Stream<R>, R::Mode> {
    /// Listens on a listener of the runtime.
    pub fn bound(runtime: R, listener: R::Listener) -> Self {
        Self::of_bound(R::Mode::bound(runtime, listener))
    }

    /// Negotiates TLS on every connection that is accepted there. That is part of the opening handshake, and
    /// delays no other connection.
    #[cfg(any(feature = "rustls", feature = "native-tls"))]
    #[must_use]
    pub fn tls(at: impl Into<Self>, tls: ServerTls) -> Self {
        at.into().wrap(R::Mode::secures(tls))
    }

    /// Reads a header of the PROXY protocol, version 1 or 2, at the beginning of every connection. With it, a proxy names
    /// its client: [`Peer`](super::Peer) has the address of the client, that of the proxy, and the additional
    /// information of version 2 ([`tlvs`](super::Peer::tlvs)).
    ///
    /// Only connections from addresses that are trusted are accepted: networks such as `10.0.0.0/8`, and `unix` for all
    /// Unix sockets. A connection from elsewhere is dropped before anything is read, and so is one without a header, with
    /// a malformed one, or with one of more than 107 bytes (version 1) or 4,112 bytes (version 2). Each is reported to
    /// [`on_event`](super::Serve::on_event) with [`Error::ProxyProtocol`](crate::Error::ProxyProtocol). If the header
    /// names no client (`LOCAL` and `UNKNOWN`, as health checks of proxies do), the peer is the proxy.
    ///
    /// The header is part of the opening handshake: it counts towards its [time](super::Serve::open_timeout) and its
    /// [limit](super::Serve::max_handshakes), and takes no other connection's time.
    ///
    /// Haproxy and nginx send the header before TLS. Then this is the argument of [`tls`](Self::tls). If the header comes
    /// inside TLS, `tls` is the argument of this:
    ///
    /// ```no_run
    /// # use sansock::serve::Origins;
    /// # use sansock::smol::{Listen, Socket, serve};
    /// # async fn echo(ws: Socket) {}
    /// # async fn run() -> sansock::Result<()> {
    /// let listen = Listen::proxy_protocol("0.0.0.0:9001", ["10.0.0.0/8"]);
    /// # #[cfg(any(feature = "rustls", feature = "native-tls"))]
    /// let listen = {
    ///     let tls = sansock::tls::ServerTls::from_pem(std::fs::read("a.pem")?, std::fs::read("a.key")?)?;
    ///     Listen::tls(listen, tls)
    /// };
    /// serve(listen, echo).origins(Origins::SameHost).await
    /// # }
    /// ```
    ///
    /// An entry that is not a network is reported by [`bind`](super::Serve::bind).
    #[cfg(feature = "proxy-protocol")]
    #[must_use]
    pub fn proxy_protocol<I>(at: impl Into<Self>, trusted: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let at = at.into();
        match TrustedProxies::new(trusted) {
            Ok(trusted) => at.wrap(R::Mode::names(Arc::new(trusted))),
            Err(error) => at.with_error(error.into()),
        }
    }
}
