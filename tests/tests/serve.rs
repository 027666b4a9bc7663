//! Servers over real loopback sockets, on smol and on async-std.

use std::fs;
use std::future::Future;
use std::path::PathBuf;
use std::process;
use std::time::Duration;

use futures_lite::AsyncReadExt;
use sansock::tls::{ClientTls, ServerTls};

/// A path for a Unix socket, in a folder of its own.
fn socket_path(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("sansock-{}-{name}", process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder.join("socket")
}

/// A certificate for localhost that the client trusts, and nobody else.
fn certificate() -> (ServerTls, ClientTls) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let pem = made.cert.pem();
    let server = ServerTls::from_pem(&pem, made.signing_key.serialize_pem()).unwrap();
    (server, ClientTls::new().roots_pem(&pem).unwrap())
}

/// Fails a test that hangs.
async fn late<R>() -> R {
    async_io::Timer::after(Duration::from_secs(60)).await;
    panic!("the test hangs");
}

/// Returns what ends a future, and the future.
fn switch() -> (impl FnOnce(), impl Future<Output = ()> + Send) {
    let (on, off) = async_net::unix::UnixStream::pair().unwrap();
    let mut off = off;
    let ended = async move {
        off.read_to_end(&mut Vec::new()).await.unwrap();
    };
    (move || drop(on), ended)
}

/// The tests over the shim `$shim`, with the `block_on` of its runtime.
macro_rules! servers {
    ($runtime:ident, $shim:ident, $net:path, $unix:path, $block_on:path) => {
        mod $runtime {
            use std::fs;
            use std::future::Future;
            use std::io;
            use std::net::SocketAddr;
            use std::os::unix::net::UnixListener;
            use std::path::Path;
            use std::sync::{Arc, Mutex};
            use std::thread;

            use async_executor::Executor;
            use futures_lite::future::{or, zip};
            use futures_lite::{AsyncReadExt, AsyncWriteExt};
            use sansock::core::deflate::Deflate;
            use sansock::serve::{Origins, OverflowPolicy, Peer, ServerHandle};
            use sansock::$shim::{Listen, Serve, Socket, WebSocket, connect, serve};
            use sansock::{Closed, Config, Error, Message, Prepared, Result};
            use $net as net;
            use $unix as unix;

            use super::{certificate, late, socket_path, switch};

            /// Runs a server and what a test does with it; then shuts the server down.
            fn with<R>(
                server: Serve,
                test: impl AsyncFnOnce(Vec<SocketAddr>, ServerHandle) -> R,
            ) -> R {
                let run = async {
                    let server = server.bind().await.unwrap();
                    let addresses = server.local_addresses().collect();
                    let handle = server.handle();
                    let testing = async {
                        let result = test(addresses, handle.clone()).await;
                        handle.shutdown();
                        handle.stopped().await;
                        result
                    };
                    zip(server.run(), testing).await.1
                };
                $block_on(or(run, late()))
            }

            fn serve_at<F>(
                at: impl Into<Listen>,
                handler: impl Fn(Socket) -> F + Send + Sync + 'static,
            ) -> Serve
            where
                F: Future<Output = Result<()>> + Send + 'static,
            {
                serve(at, handler).origins(Origins::SameHost)
            }

            fn echoing() -> Serve {
                serve_at("127.0.0.1:0", echo)
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

            /// Says something, and hears it.
            async fn talk(ws: &mut WebSocket) {
                ws.send("hello").await.unwrap();
                assert_eq!(ws.recv().await.unwrap(), Some(Message::text("hello")));
            }

            /// Receives until the end. Returns the code of the server's Close frame.
            async fn code(ws: &mut WebSocket) -> u16 {
                while let Ok(Some(_)) = ws.recv().await {}
                let closed = ws.closed().and_then(Closed::received);
                closed.map_or(1006, |frame| frame.code.number())
            }

            #[test]
            fn echoes_and_closes() {
                let config = || sansock::config().deflate(Deflate::new());
                let server = echoing().config(config()).subprotocols(["echo"]);
                with(server, async |addresses, handle| {
                    let url = format!("ws://{}/", addresses[0]);
                    let connecting = connect(&url).config(config()).subprotocols(["echo"]);
                    let mut ws = connecting.await.unwrap();
                    assert_eq!(ws.subprotocol(), Some("echo"));
                    let text = "compressible ".repeat(10_000);
                    ws.send(&text).await.unwrap();
                    assert_eq!(ws.recv().await.unwrap(), Some(Message::text(text)));
                    assert!(ws.stats().bytes_received < 10_000);
                    let local = ws.get_ref().unwrap().local_addr().unwrap();
                    let connections = handle.connections();
                    assert_eq!(*connections[0].peer(), Peer::Ip(local));
                    assert_eq!(handle.snapshot().open, 1);
                    ws.close(1000, "").await.unwrap();
                });
            }

            #[test]
            fn clients_that_say_nothing_or_little_delay_nobody() {
                // Their time never ends.
                let server = echoing().open_timeout(None);
                with(server, async |addresses, handle| {
                    let mut silent = Vec::new();
                    for _ in 0..64 {
                        silent.push(net::TcpStream::connect(addresses[0]).await.unwrap());
                    }
                    for stream in &mut silent[..32] {
                        stream.write_all(b"GET / HTTP/1.1\r\nHost: ").await.unwrap();
                    }
                    let mut ws = client(addresses[0]).await.unwrap();
                    talk(&mut ws).await;
                    assert_eq!(handle.snapshot().handshakes, 64);
                });
            }

            #[test]
            fn a_shutdown_closes_with_1001_and_refuses_with_503() {
                with(echoing(), async |addresses, handle| {
                    let mut clients = Vec::new();
                    for _ in 0..20 {
                        clients.push(client(addresses[0]).await.unwrap());
                    }
                    let mut asking = net::TcpStream::connect(addresses[0]).await.unwrap();
                    asking.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
                    while handle.snapshot().handshakes == 0 {
                        futures_lite::future::yield_now().await;
                    }
                    handle.shutdown();
                    for ws in &mut clients {
                        assert_eq!(code(ws).await, 1001);
                    }
                    let mut response = String::new();
                    asking.read_to_string(&mut response).await.unwrap();
                    assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
                    drop(asking);
                    handle.stopped().await;
                    assert!(client(addresses[0]).await.is_err());
                    assert_eq!(Vec::from_iter(handle.snapshot().closed), [(1001, 20)]);
                });
            }

            #[test]
            fn a_panic_closes_with_1011_and_harms_nobody_else() {
                let handler = |mut ws: Socket| async move {
                    while let Some(message) = ws.recv().await? {
                        assert_eq!(message, Message::text("hello"), "part of the test");
                        ws.send(message).await?;
                    }
                    Ok(())
                };
                let server = serve_at("127.0.0.1:0", handler);
                with(server, async |addresses, handle| {
                    let mut other = client(addresses[0]).await.unwrap();
                    let mut ws = client(addresses[0]).await.unwrap();
                    ws.send("boo").await.unwrap();
                    assert_eq!(code(&mut ws).await, 1011);
                    talk(&mut other).await;
                    other.close(1000, "").await.unwrap();
                    assert_eq!(handle.snapshot().handler_failures, 1);
                });
            }

            #[test]
            fn dropping_a_server_ends_its_connections() {
                let run = async {
                    let server = echoing().bind().await.unwrap();
                    let address = server.local_addresses().next().unwrap();
                    let handle = server.handle();
                    let testing = async {
                        let mut ws = client(address).await.unwrap();
                        talk(&mut ws).await;
                        ws
                    };
                    let running = async {
                        server.run().await;
                        unreachable!("nobody has shut it down")
                    };
                    let mut ws = or(testing, running).await;
                    handle.stopped().await;
                    while let Ok(Some(_)) = ws.recv().await {}
                    assert!(client(address).await.is_err());
                };
                $block_on(or(run, late()));
            }

            #[test]
            fn connections_run_where_the_caller_says() {
                let executor = Arc::new(Executor::new());
                let names = Arc::new(Mutex::new(Vec::new()));
                let handler = {
                    let names = names.clone();
                    move |ws| {
                        let name = thread::current().name().map(ToOwned::to_owned);
                        names.lock().unwrap().push(name);
                        echo(ws)
                    }
                };
                let (stop, stopped) = switch();
                let running = {
                    let executor = executor.clone();
                    let thread = thread::Builder::new().name("elsewhere".into());
                    let run = move || futures_lite::future::block_on(executor.run(stopped));
                    thread.spawn(run).unwrap()
                };
                let spawner = executor.clone();
                let server = serve_at("127.0.0.1:0", handler)
                    .spawn(move |connection| spawner.spawn(connection).detach());
                with(server, async |addresses, _| {
                    talk(&mut client(addresses[0]).await.unwrap()).await;
                });
                stop();
                running.join().unwrap();
                assert_eq!(*names.lock().unwrap(), [Some("elsewhere".to_owned())]);
            }

            #[test]
            fn listeners_of_every_kind() {
                let std = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
                let shared = async_io::Async::<std::net::TcpListener>::bind(([127, 0, 0, 1], 0));
                let own = $block_on(net::TcpListener::bind("127.0.0.1:0")).unwrap();
                let server = serve_at(SocketAddr::from(([127, 0, 0, 1], 0)), echo)
                    .listen(std)
                    .listen(Arc::new(shared.unwrap()))
                    .listen(own)
                    .listen("localhost:0".to_owned());
                with(server, async |addresses, _| {
                    assert_eq!(addresses.len(), 5);
                    for address in addresses {
                        talk(&mut client(address).await.unwrap()).await;
                    }
                });
            }

            #[test]
            fn an_address_in_use_is_an_error() {
                let first = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
                let address = first.local_addr().unwrap();
                let result = $block_on(async { serve_at(address, echo).await });
                let Err(Error::Io(error)) = result else {
                    panic!("{result:?}");
                };
                assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
                let result = $block_on(async { serve_at("no port", echo).await });
                assert!(matches!(result, Err(Error::Io(_))));
            }

            async fn unix_client(path: &Path) -> WebSocket {
                let stream = unix::UnixStream::connect(path).await.unwrap();
                let opened = connect("ws://localhost/").over(stream).await;
                opened.unwrap()
            }

            #[test]
            fn unix_sockets() {
                let path = socket_path(stringify!($runtime));
                // One that was left by a process that is gone is replaced.
                drop(UnixListener::bind(&path).unwrap());
                assert!(path.exists());
                let other = path.with_extension("other");
                let bound = UnixListener::bind(&other).unwrap();
                let server = serve_at(&*path, echo).listen(bound);
                with(server, async |addresses, handle| {
                    assert!(addresses.is_empty());
                    let mut ws = unix_client(&path).await;
                    talk(&mut ws).await;
                    talk(&mut unix_client(&other).await).await;
                    assert_eq!(*handle.connections()[0].peer(), Peer::Unix);
                    // One on which somebody listens is not.
                    let result = serve_at(path.clone(), echo).bind().await;
                    let error = result.map(drop).unwrap_err();
                    assert!(matches!(error, Error::Io(_)), "{error}");
                    talk(&mut ws).await;
                });
                assert!(!path.exists());
                assert!(other.exists());
                fs::remove_dir_all(path.parent().unwrap()).unwrap();
            }

            #[test]
            fn tls_beside_plain_tcp() {
                let (tls, trusting) = certificate();
                let server = echoing().listen(Listen::tls("127.0.0.1:0", tls));
                with(server, async |addresses, handle| {
                    talk(&mut client(addresses[0]).await.unwrap()).await;
                    // Somebody who does not go on with the handshake of TLS delays nobody.
                    let mut silent = net::TcpStream::connect(addresses[1]).await.unwrap();
                    silent.write_all(b"\x16\x03\x01").await.unwrap();
                    let url = format!("wss://localhost:{}/", addresses[1].port());
                    let mut ws = connect(&url).tls(trusting).await.unwrap();
                    talk(&mut ws).await;
                    assert!(client(addresses[1]).await.is_err());
                    handle.shutdown();
                    assert_eq!(code(&mut ws).await, 1001);
                });
            }

            #[test]
            fn a_broadcast_passes_a_client_that_does_not_read() {
                let config = || sansock::config().deflate(Deflate::new());
                let server = echoing().config(config()).max_backlog(1 << 16);
                with(server, async |addresses, handle| {
                    let url = format!("ws://{}/", addresses[0]);
                    let connecting = |config: Config| connect(&url).config(config);
                    let _slow = connecting(sansock::config()).await.unwrap();
                    let slow = handle.connections().remove(0);
                    let mut clients = Vec::new();
                    for index in 0..4 {
                        // Some with compression, some without.
                        let config = match index % 2 {
                            0 => config(),
                            _ => sansock::config(),
                        };
                        clients.push(connecting(config).await.unwrap());
                    }
                    // Until sockets, queue and backlog hold no more.
                    let message = Prepared::new(vec![7; 1_000_000]);
                    let mut lagging = Vec::new();
                    for _ in 0..100 {
                        lagging = handle.broadcast(&message, OverflowPolicy::Skip).lagging;
                        for ws in &mut clients {
                            let received = ws.recv().await.unwrap().unwrap();
                            assert!(received.as_bytes() == message.payload());
                        }
                        if !lagging.is_empty() {
                            break;
                        }
                    }
                    assert!(lagging.iter().eq([&slow]));
                    let sent = handle.broadcast(&message, OverflowPolicy::Disconnect);
                    assert_eq!((sent.queued, sent.lagging), (4, lagging));
                    assert!(!slow.is_open());
                    drop(_slow);
                });
            }
        }
    };
}

servers!(
    on_smol,
    smol,
    async_net,
    async_net::unix,
    futures_lite::future::block_on
);
servers!(
    on_async_std,
    async_std,
    async_std::net,
    async_std::os::unix::net,
    async_std::task::block_on
);
