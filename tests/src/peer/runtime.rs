//! The two shims behind one trait, so that every peer runs over either.

use std::future::Future;
use std::io::{Read, stdin};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use async_executor::LocalExecutor;
use futures_lite::{AsyncRead, AsyncWrite};
use sansock::core::handshake::{ClientOptions, ServerOptions};
use sansock::{Config, Result, Upgrade};

use super::{Outcome, Socket, exit_code};

pub(crate) use async_io::Timer;

/// A bound for a busy machine: a suite that writes its reports meanwhile answers late.
const OPEN_TIMEOUT: Duration = Duration::from_secs(120);

/// A transport.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// A shim and the listener of its runtime.
pub(crate) trait Runtime: 'static {
    type Listener;
    type Tcp;
    type Stream: Stream + 'static;

    /// Listens on loopback, at a port that the system chooses.
    async fn listen() -> std::io::Result<(Self::Listener, u16)>;

    async fn accept(listener: &Self::Listener) -> std::io::Result<Self::Tcp>;

    async fn upgrade(
        stream: Self::Tcp,
        options: Arc<ServerOptions>,
        config: Config,
    ) -> Result<Upgrade<Self::Stream, Timer>>;

    async fn connect(
        url: &str,
        options: &ClientOptions,
        config: Config,
    ) -> Result<Socket<Self::Stream>>;
}

macro_rules! runtimes {
    ($($name:ident: $shim:ident, $net:ident, $stream:ty;)*) => {$(
        #[derive(Debug)]
        pub(crate) struct $name;

        impl Runtime for $name {
            type Listener = $net::TcpListener;
            type Tcp = $net::TcpStream;
            type Stream = $stream;

            async fn listen() -> std::io::Result<(Self::Listener, u16)> {
                let listener = $net::TcpListener::bind("127.0.0.1:0").await?;
                let port = listener.local_addr()?.port();
                Ok((listener, port))
            }

            async fn accept(listener: &Self::Listener) -> std::io::Result<Self::Tcp> {
                let (stream, _) = listener.accept().await?;
                Ok(stream)
            }

            async fn upgrade(
                stream: Self::Tcp,
                options: Arc<ServerOptions>,
                config: Config,
            ) -> Result<Upgrade<Self::Stream, Timer>> {
                sansock::$shim::upgrade(stream, options, config).await
            }

            async fn connect(
                url: &str,
                options: &ClientOptions,
                config: Config,
            ) -> Result<Socket<Self::Stream>> {
                let connect = sansock::$shim::connect(url);
                let connect = connect.open_timeout(OPEN_TIMEOUT);
                connect.options(options.clone()).config(config).await
            }
        }
    )*};
}

use async_std::net as async_std_net;

runtimes! {
    Smol: smol, async_net, sansock::smol::Stream;
    AsyncStd: async_std, async_std_net, sansock::async_std::Stream;
}

/// Runs a client to its end.
pub(crate) fn block_on(client: impl Future<Output = Outcome>) -> Outcome {
    async_io::block_on(client)
}

/// Serves connections, a task each, until standard input ends. Prints the port.
pub(crate) fn serve<R: Runtime, F>(serve_one: impl Fn(R::Tcp) -> F + Send + 'static) -> Outcome
where
    F: Future<Output = ()> + 'static,
{
    std::thread::spawn(move || {
        let outcome = async_io::block_on(accept_all::<R, F>(serve_one));
        let _ = exit_code(outcome);
        std::process::exit(1);
    });
    stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

async fn accept_all<R: Runtime, F>(serve_one: impl Fn(R::Tcp) -> F) -> Outcome
where
    F: Future<Output = ()> + 'static,
{
    let executor = Rc::new(LocalExecutor::new());
    let (listener, port) = R::listen().await?;
    println!("PORT {port}");
    let accepting = async {
        loop {
            let stream = R::accept(&listener).await?;
            executor.spawn(serve_one(stream)).detach();
        }
    };
    executor.run(accepting).await
}
