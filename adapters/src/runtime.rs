//! Runtimes: the trait [`Runtime`], and what it gives: [`connect`], [`accept`], [`upgrade`] and [`serve`].
//!
//! `sansock::smol` and `sansock::async_std` are two such runtimes. With one of your own, the same functions work on
//! any executor.

use std::future::Future;
use std::sync::{Arc, LazyLock};

use sansock_core::handshake::ServerOptions;
use sansock_core::{Config, ServerConnection};

use crate::client::Connect;
pub use crate::client::Opens;
use crate::error::Result;
use crate::serve::{ChooseOrigins, Listen, Outcome, Socket};
pub use crate::serve::{Runs, Serves};
use crate::transport::Stream;
pub use crate::transport::mode::{Borrowed, Boxes, Keeps, Lends, Observes, Shares};
pub use crate::transport::{BoxFuture, Local, Mode, Runtime, Threads, unsupported};
use crate::websocket::{Pending, Upgrade, WebSocket};

/// Connects to the server at a `ws://` or `wss://` URL, once the result is awaited; before that, it can be given
/// options.
///
/// # Errors
/// See [`Connect`].
pub fn connect<R: Runtime>(runtime: R, url: &str) -> Connect<R> {
    Connect::new(runtime, url)
}

/// Opens a WebSocket as a server, over a connection that was accepted, with the default configuration. Pages of other
/// hosts are refused.
///
/// # Errors
/// [`Error::Handshake`](crate::Error::Handshake) where the client does not ask for a WebSocket as it should; it has
/// received a response.
///
/// # Cancel safety
/// Dropping the future drops the socket.
pub fn accept<R: Runtime, S: Into<Stream<R>>>(
    runtime: &R,
    stream: S,
) -> impl Future<Output = Result<WebSocket<Stream<R>, R::Timer>>> + use<R, S> {
    static OPTIONS: LazyLock<Arc<ServerOptions>> = LazyLock::new(Arc::default);

    let pending = pending(runtime, stream.into(), OPTIONS.clone(), crate::config());
    async { pending?.serve().await }
}

/// Reads the request of a client, to look at it before it is accepted or rejected.
///
/// # Errors
/// As [`accept`].
///
/// # Cancel safety
/// As [`accept`].
pub fn upgrade<R: Runtime, S: Into<Stream<R>>>(
    runtime: &R,
    stream: S,
    options: Arc<ServerOptions>,
    config: Config,
) -> impl Future<Output = Result<Upgrade<Stream<R>, R::Timer>>> + use<R, S> {
    let pending = pending(runtime, stream.into(), options, config);
    async { pending?.read().await }
}

/// Serves WebSockets at an address, or on a listener that exists already.
///
/// Each connection is handed to the handler with its opening handshake done, and closed when the handler returns.
/// Choose which pages may connect, then await it; or [`bind`](crate::serve::Serve::bind) it, to learn its address and
/// to be able to shut it down.
pub fn serve<R, H, F, O>(
    runtime: R,
    at: impl Into<Listen<Stream<R>, R::Mode>>,
    handler: H,
) -> ChooseOrigins<Stream<R>, R::Timer, R::Mode>
where
    R: Runtime<Mode: Serves<R> + Shares<H, F>>,
    H: Fn(Socket<Stream<R>, R::Timer>) -> F + 'static,
    F: Future<Output = O> + 'static,
    O: Outcome,
{
    ChooseOrigins::on_runtime(runtime, handler).listen(at)
}

type PendingOf<R> = Pending<Stream<R>, <R as Runtime>::Timer, ServerConnection>;

/// Returns a client whose request is to be read.
fn pending<R: Runtime>(
    runtime: &R,
    stream: Stream<R>,
    options: Arc<ServerOptions>,
    config: Config,
) -> Result<PendingOf<R>> {
    stream.set_nodelay(true)?;
    let mut connection = ServerConnection::new(options, config);
    crate::driver::trace::peer(connection.io(), || stream.peer_addr().ok());
    Ok(Pending::new(stream, runtime.timer(), connection))
}
