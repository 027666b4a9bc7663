//! The same short conversation over real loopback sockets, on smol and on async-std.

use std::os::fd::AsFd;
use std::time::Duration;

use futures_lite::future::or;

/// Sends to a peer that does not read, until that takes long. Returns whether the system has taken little.
/// Without a limit, it takes megabytes.
macro_rules! sends_little {
    ($ws:ident) => {{
        const SIZE: usize = 16 << 10;
        let mut sent = 0;
        while sent < 128 << 10 {
            let sending = async { $ws.send(vec![0; SIZE]).await.is_ok() };
            let blocked = async {
                async_io::Timer::after(Duration::from_millis(300)).await;
                false
            };
            if !or(sending, blocked).await {
                break;
            }
            sent += SIZE;
        }
        sent < 128 << 10
    }};
}

/// Lets the system keep little for a socket that does not read.
fn keep_little(socket: &impl AsFd) {
    let socket = socket2::SockRef::from(socket);
    socket.set_recv_buffer_size(8 << 10).unwrap();
}

/// The conversation over the shim `$shim`, with the `TcpListener` and `block_on` of its runtime.
macro_rules! over_loopback {
    ($runtime:ident, $shim:ident, $listener:ty, $block_on:path) => {
        mod $runtime {
            use std::sync::Arc;

            use async_io::Async;
            use futures_lite::future::try_zip;
            use sansock::serve::{Origins, Socket};
            use sansock::$shim::{accept, connect, upgrade};
            use sansock::{Closed, Error, Message, Result};
            use sansock_core::handshake::{ServerOptions, StatusCode};

            use super::*;

            async fn listen() -> (String, $listener) {
                let listener = <$listener>::bind(("127.0.0.1", 0)).await.unwrap();
                let address = listener.local_addr().unwrap();
                (format!("ws://{address}/chat"), listener)
            }

            #[test]
            fn a_conversation() {
                $block_on(async {
                    let (url, listener) = listen().await;
                    let large: Vec<u8> = (0..1 << 20).map(|i: u32| i as u8).collect();
                    let client = async {
                        let mut ws = connect(&url).await?;
                        for message in [
                            Message::text("hällo"),
                            Message::binary(&b""[..]),
                            Message::binary(large),
                        ] {
                            ws.send(&message).await?;
                            assert_eq!(ws.recv().await?, Some(message));
                        }
                        assert!(Some(ws.ping().await?) == ws.latency());
                        let (sender, mut receiver) = ws.split();
                        let talk = async {
                            for _ in 0..100 {
                                sender.send("from a half").await?;
                            }
                            Ok::<_, Error>(())
                        };
                        let listen = async {
                            for _ in 0..100 {
                                let echo = receiver.recv().await?;
                                assert_eq!(echo, Some(Message::text("from a half")));
                            }
                            Ok(())
                        };
                        try_zip(talk, listen).await?;
                        sender.close(1000, "bye").await?;
                        assert_eq!(receiver.recv().await?, None);
                        Ok::<_, Error>(())
                    };
                    let server = async {
                        let (stream, _) = listener.accept().await?;
                        let mut ws = accept(stream).await?;
                        while let Some(message) = ws.recv().await? {
                            ws.feed(message).await?;
                        }
                        Ok(ws.closed().is_some_and(Closed::is_clean))
                    };
                    let ((), clean) = try_zip(client, server).await.unwrap();
                    assert!(clean);
                });
            }

            #[test]
            fn the_server_closes_and_the_byte_stream_ends() {
                use futures_lite::{AsyncReadExt, AsyncWriteExt};
                $block_on(async {
                    let (url, listener) = listen().await;
                    let client = async {
                        let mut stream = connect(&url).await?.into_byte_stream();
                        let mut bytes = Vec::new();
                        stream.read_to_end(&mut bytes).await?;
                        Ok::<_, Error>(bytes)
                    };
                    let server = async {
                        let (stream, _) = listener.accept().await?;
                        let mut stream = accept(stream).await?.into_byte_stream();
                        stream.write_all(&[7; 300_000]).await?;
                        stream.close().await?;
                        Ok(())
                    };
                    let (bytes, ()) = try_zip(client, server).await.unwrap();
                    assert_eq!(bytes, [7; 300_000]);
                });
            }

            #[test]
            fn a_refusal_with_its_body() {
                $block_on(async {
                    let (url, listener) = listen().await;
                    let client = async {
                        let refused = connect(&url).subprotocols(["chat"]).await;
                        Ok::<_, Error>(refused.unwrap_err())
                    };
                    let server = async {
                        let (stream, _) = listener.accept().await?;
                        let options = Arc::new(ServerOptions::new());
                        let upgrade = upgrade(stream, options, sansock::config()).await?;
                        assert_eq!(upgrade.request().path(), "/chat");
                        upgrade.reject(StatusCode::FORBIDDEN, "no entry").await
                    };
                    let (error, ()) = try_zip(client, server).await.unwrap();
                    let response = error.response().unwrap();
                    assert_eq!(response.status(), StatusCode::FORBIDDEN);
                    assert_eq!(&response.body()[..], b"no entry");
                });
            }

            #[test]
            fn a_server_that_vanishes() {
                $block_on(async {
                    let (url, listener) = listen().await;
                    let client = async {
                        let mut ws = connect(&url).await?;
                        assert_eq!(ws.recv().await?, Some(Message::text("last words")));
                        Ok::<_, Error>(ws.recv().await)
                    };
                    let server = async {
                        let (stream, _) = listener.accept().await?;
                        accept(stream).await?.send("last words").await
                    };
                    let (end, ()): (Result<_>, _) = try_zip(client, server).await.unwrap();
                    assert!(matches!(end, Err(Error::Lost(_))));
                });
            }

            #[test]
            #[cfg(any(target_os = "android", target_os = "linux"))]
            fn the_system_keeps_little_of_what_a_client_sends() {
                $block_on(async {
                    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
                    keep_little(&listener);
                    let url = format!("ws://{}/", listener.local_addr().unwrap());
                    let client = async { connect(&url).await };
                    let server = async {
                        let (stream, _) = Async::new(listener)?.accept().await?;
                        sansock::smol::accept(async_net::TcpStream::from(stream)).await
                    };
                    let (mut ws, peer) = try_zip(client, server).await.unwrap();
                    assert!(sends_little!(ws));
                    drop(peer);
                });
            }

            #[test]
            #[cfg(any(target_os = "android", target_os = "linux"))]
            fn the_system_keeps_little_of_what_a_server_sends() {
                $block_on(async {
                    let (report, reported) = async_channel::bounded(1);
                    let handler = move |mut socket: Socket<_, _>| {
                        let report = report.clone();
                        async move { report.send(sends_little!(socket)).await.unwrap() }
                    };
                    let server = sansock::$shim::serve("127.0.0.1:0", handler);
                    let server = server.origins(Origins::Any).bind().await.unwrap();
                    let address = server.local_addresses().next().unwrap();
                    let client = async {
                        let socket = socket2::Socket::new(
                            socket2::Domain::IPV4,
                            socket2::Type::STREAM,
                            None,
                        )?;
                        keep_little(&socket);
                        socket.connect(&address.into())?;
                        let stream = Async::new(std::net::TcpStream::from(socket))?;
                        let peer = sansock::smol::connect("ws://loopback/")
                            .over(async_net::TcpStream::from(stream))
                            .await?;
                        let is_little = reported.recv().await;
                        drop(peer);
                        Ok::<_, Error>(is_little.unwrap())
                    };
                    let running = async {
                        server.run().await;
                        unreachable!("nobody shuts it down")
                    };
                    assert!(or(client, running).await.unwrap());
                });
            }

            #[test]
            fn urls_that_cannot_be_connected_to() {
                $block_on(async {
                    let error = connect("ftp://localhost/").await.unwrap_err();
                    assert!(matches!(error, Error::Uri(_)));
                    // Nobody listens there any more.
                    let (url, listener) = listen().await;
                    drop(listener);
                    let error = connect(&url).await.unwrap_err();
                    assert!(matches!(error, Error::Connect(_)), "{error:?}");
                    let kind = std::io::Error::from(error).kind();
                    assert_eq!(kind, std::io::ErrorKind::ConnectionRefused);
                });
            }
        }
    };
}

over_loopback!(
    on_smol,
    smol,
    async_net::TcpListener,
    futures_lite::future::block_on
);
over_loopback!(
    on_async_std,
    async_std,
    async_std::net::TcpListener,
    async_std::task::block_on
);
