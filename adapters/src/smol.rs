//! WebSockets over the sockets of smol.
//!
//! ```no_run
//! # async fn run() -> sansock::Result<()> {
//! let mut ws = sansock::smol::connect("ws://localhost:9001/").await?;
//! ws.send("hello").await?;
//! while let Some(message) = ws.recv().await? {
//!     println!("{message:?}");
//! }
//! # Ok(())
//! # }
//! ```

use async_executor::Executor;
use async_net::TcpStream as Stream;
use async_net::{TcpListener, TcpStream};

crate::shim::tcp_shim!();
crate::shim::serve_shim!();

/// Serves WebSockets at an address, or on listeners that exist already.
///
/// Each connection is handed to the handler with its opening handshake done, and closed when the
/// handler returns. Choose which pages may connect, then await it, or [`bind`](crate::serve::Serve::bind) it to learn
/// its address and to be able to shut it down.
///
/// Connections run while the server does, in the task that awaits it; to run them on other threads, give
/// [`spawn`](crate::serve::Serve::spawn) an executor, for example `|connection| smol::spawn(connection).detach()`.
///
/// ```no_run
/// use sansock::serve::Origins;
/// use sansock::smol::{Socket, serve};
///
/// async fn echo(mut ws: Socket) -> sansock::Result<()> {
///     while let Some(message) = ws.recv().await? {
///         ws.send(message).await?;
///     }
///     Ok(())
/// }
///
/// # async fn run() -> sansock::Result<()> {
/// serve("127.0.0.1:9001", echo).origins(Origins::SameHost).await
/// # }
/// ```
pub fn serve<H, F, R>(at: impl Into<Listen>, handler: H) -> ChooseOrigins<Stream, Timer>
where
    H: Fn(Socket) -> F + Send + Sync + 'static,
    F: Future<Output = R> + Send + 'static,
    R: Outcome,
{
    let executor = Arc::new(Executor::new());
    let spawner = executor.clone();
    let spawn = move |connection| spawner.spawn(connection).detach();
    let run = |main| -> Boxed<'static, ()> { Box::pin(async move { executor.run(main).await }) };
    Serve::new(handler, Timer::never, spawn).with(|serve| serve.listen(at).run_while_serving(run))
}
