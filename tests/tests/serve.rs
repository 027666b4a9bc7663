//! Servers over real loopback sockets, on smol and on async-std.

/// The tests over the shim `$shim`, with the `block_on` of its runtime.
macro_rules! servers {
    ($runtime:ident, $shim:ident, $block_on:path) => {
        mod $runtime {
            use std::future::Future;
            use std::net::SocketAddr;
            use std::time::Duration;

            use futures_lite::future::{or, zip};
            use sansock::serve::{Origins, ServerHandle};
            use sansock::$shim::{Serve, Socket, WebSocket, connect, serve};
            use sansock::{Closed, Message, Result};

            /// Runs a server and what a test does with it; then shuts the server down.
            fn with<R>(server: Serve, test: impl AsyncFnOnce(SocketAddr, ServerHandle) -> R) -> R {
                let late = async {
                    async_io::Timer::after(Duration::from_secs(60)).await;
                    panic!("the test hangs");
                };
                let run = async {
                    let server = server.bind().await.unwrap();
                    let address = server.local_addresses().next().unwrap();
                    let handle = server.handle();
                    let testing = async {
                        let result = test(address, handle.clone()).await;
                        handle.shutdown();
                        handle.stopped().await;
                        result
                    };
                    zip(server.run(), testing).await.1
                };
                $block_on(or(run, late))
            }

            fn serve_all<F>(handler: impl Fn(Socket) -> F + Send + Sync + 'static) -> Serve
            where
                F: Future<Output = Result<()>> + Send + 'static,
            {
                serve("127.0.0.1:0", handler).origins(Origins::SameHost)
            }

            async fn echo(mut ws: Socket) -> Result<()> {
                while let Some(message) = ws.recv().await? {
                    ws.send(message).await?;
                }
                Ok(())
            }

            async fn client(address: SocketAddr) -> Result<WebSocket> {
                connect(&format!("ws://{address}/")).await
            }

            /// Receives until the end. Returns the code of the server's Close frame.
            async fn code(ws: &mut WebSocket) -> u16 {
                while let Ok(Some(_)) = ws.recv().await {}
                let closed = ws.closed().and_then(Closed::received);
                closed.map_or(1006, |frame| frame.code.number())
            }

            #[test]
            fn echoes_and_closes() {
                with(serve_all(echo), async |address, handle| {
                    let mut ws = client(address).await.unwrap();
                    ws.send("hello").await.unwrap();
                    assert_eq!(ws.recv().await.unwrap(), Some(Message::text("hello")));
                    assert_eq!(handle.snapshot().open, 1);
                    ws.close(1000, "").await.unwrap();
                });
            }

            #[test]
            fn a_shutdown_closes_with_1001() {
                with(serve_all(echo), async |address, handle| {
                    let mut ws = client(address).await.unwrap();
                    handle.shutdown();
                    assert_eq!(code(&mut ws).await, 1001);
                    handle.stopped().await;
                    assert!(client(address).await.is_err());
                });
            }

            #[test]
            fn a_panic_closes_with_1011() {
                let handler = |mut ws: Socket| async move {
                    let message = ws.recv().await?;
                    assert_eq!(message, None, "this panic is part of the test");
                    Ok(())
                };
                with(serve_all(handler), async |address, handle| {
                    let mut other = client(address).await.unwrap();
                    let mut ws = client(address).await.unwrap();
                    ws.send("hello").await.unwrap();
                    assert_eq!(code(&mut ws).await, 1011);
                    other.close(1000, "").await.unwrap();
                    assert_eq!(handle.snapshot().handler_failures, 1);
                });
            }
        }
    };
}

servers!(on_smol, smol, futures_lite::future::block_on);
servers!(on_async_std, async_std, async_std::task::block_on);
