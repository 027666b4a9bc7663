//! From an address to a bound listener, by a [`Runtime`].

use std::future::Ready;
use std::io;
use std::net::ToSocketAddrs;

use super::builder::Listen;
use super::server::Bound;
#[cfg(any(feature = "rustls", feature = "native-tls"))]
use super::server::Wrap;
#[cfg(any(feature = "rustls", feature = "native-tls"))]
use crate::transport::Accepted;
use crate::transport::mode::{Boxes, Lends};
use crate::transport::runtime::Address;
#[cfg(any(feature = "rustls", feature = "native-tls"))]
use crate::transport::tls::ServerTls;
use crate::transport::{BoxFuture, Local, Mode, Runtime, Stream, Threads};

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
    fn secures(tls: ServerTls) -> Wrap<Self, Accepted<Stream<R>, Self>>;
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
            fn secures(
                tls: ServerTls,
            ) -> Wrap<Self, Accepted<Stream<R>, Self>> {
                Self::method(tls, |tls, Accepted { transport, peer }| {
                    let tls = tls.clone();
                    let secured = async move { tls.accept(transport.open().await?).await };
                    Accepted::opening(secured, peer)
                })
            }
        }
    };
}

serves!(Threads Send Sync);
serves!(Local);

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

    /// Negotiates TLS with everybody who connects there. That is part of the opening handshake, and
    /// takes nobody else's time.
    #[cfg(any(feature = "rustls", feature = "native-tls"))]
    #[must_use]
    pub fn tls(at: impl Into<Self>, tls: ServerTls) -> Self {
        at.into().wrap(R::Mode::secures(tls))
    }
}
