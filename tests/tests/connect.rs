//! What a client can be told, and what it does with a server that is not as it should be: over real
//! loopback sockets, on smol and on async-std.

use std::io;
use std::sync::Arc;

use sansock::core::handshake::{Origins, Request, Response, ServerOptions, StatusCode};
use sansock::proxy::Proxy;
use sansock::reconnect::Backoff;
use sansock::{ConnectError, CrossOrigin, Error};

/// A response that sends the client elsewhere.
fn redirect(status: u16, location: &str) -> Response {
    let mut response = Response::new(StatusCode::new(status).unwrap());
    response.headers_mut().append("Location", location).unwrap();
    response.set_body("");
    response
}

fn options() -> Arc<ServerOptions> {
    Arc::new(
        ServerOptions::new()
            .subprotocols(["chat"])
            .origins(Origins::Any),
    )
}

fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request.headers().get_str(name)
}

fn assert_send<T: Send>(value: T) -> T {
    value
}

/// Why there is no connection.
#[track_caller]
fn connect_error(error: &Error) -> &ConnectError {
    let Error::Connect(error) = error else {
        panic!("{error:?}");
    };
    error
}

/// The tests over the shim `$shim`, with the sockets and `block_on` of its runtime.
macro_rules! over_loopback {
    ($runtime:ident, $shim:ident, $net:path, $unix:path, $block_on:path) => {
        mod $runtime {
            use std::future::IntoFuture;
            use std::net::{IpAddr, SocketAddr};
            use std::time::Duration;

            use futures_lite::future::{or, zip};
            use futures_lite::{AsyncReadExt, AsyncWriteExt};
            use sansock::$shim::{Connect, Stream, Upgrade, connect, upgrade};
            use $block_on as block_on;
            use $net as net;
            use $unix as unix;

            use self::net::{TcpListener, TcpStream};
            use self::unix::UnixStream;
            use super::*;

            async fn listen() -> (SocketAddr, TcpListener) {
                let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
                (listener.local_addr().unwrap(), listener)
            }

            async fn request(listener: &TcpListener) -> Upgrade {
                let (stream, _) = listener.accept().await.unwrap();
                upgrade(stream, options(), sansock::config()).await.unwrap()
            }

            /// Opens a connection as told, to a server that accepts it; returns the request.
            fn asked(build: impl FnOnce(SocketAddr) -> Connect) -> Request {
                block_on(async {
                    let (address, listener) = listen().await;
                    let server = async {
                        let upgrade = request(&listener).await;
                        let request = upgrade.request().clone();
                        upgrade.accept().await.unwrap();
                        request
                    };
                    let client = build(address).into_future();
                    let (ws, request) = zip(assert_send(client), server).await;
                    ws.unwrap();
                    request
                })
            }

            /// Returns why a client fails at a server that answers its request with these bytes.
            fn answered(scheme: &str, bytes: &[u8]) -> Error {
                block_on(async {
                    let (address, listener) = listen().await;
                    let server = async {
                        let (mut stream, _) = listener.accept().await.unwrap();
                        let _ = stream.read(&mut [0; 4096]).await;
                        stream.write_all(bytes).await.unwrap();
                        stream.flush().await.unwrap();
                        // Holds it open: it is the client that leaves.
                        let _ = stream.read(&mut [0; 4096]).await;
                    };
                    let client = connect(&format!("{scheme}://{address}/")).into_future();
                    zip(client, server).await.0.unwrap_err()
                })
            }

            /// Connects to a server that redirects as told by the number of the request, which each
            /// `Location` may name as PORT, and accepts the request that `None` is for.
            fn redirected(
                build: impl FnOnce(Connect) -> Connect,
                locations: impl Fn(usize) -> Option<&'static str>,
            ) -> (Result<(), Error>, Vec<Request>) {
                block_on(async {
                    let (address, listener) = listen().await;
                    let mut requests = Vec::new();
                    let server = async {
                        loop {
                            let upgrade = request(&listener).await;
                            let location = locations(requests.len());
                            requests.push(upgrade.request().clone());
                            match location {
                                Some(location) => {
                                    let port = address.port().to_string();
                                    let location = location.replace("PORT", &port);
                                    let response = redirect(307, &location);
                                    upgrade.respond(response).await.unwrap();
                                }
                                None => upgrade.accept().await.map(drop).unwrap(),
                            }
                        }
                    };
                    let url = format!("ws://alice:secret@{address}/0");
                    let client = build(connect(&url)).into_future();
                    let client = async { client.await.map(drop) };
                    let result = or(client, server).await;
                    (result, requests)
                })
            }

            #[test]
            fn the_request_is_as_the_client_was_told() {
                let request = asked(|address| {
                    connect(&format!("ws://{address}/path?query"))
                        .header("X-One", "1")
                        .header("x-one", "2")
                        .subprotocols(["chat", "other"])
                        .origin("https://example.com")
                        .user_agent("test/1")
                        .basic_auth("Aladdin", "open sesame")
                        .nodelay(false)
                });
                assert_eq!(request.target(), "/path?query");
                let ones: Vec<_> = request.headers().get_all("X-One").collect();
                assert_eq!(ones, [b"1", b"2"]);
                let expected = [
                    ("Sec-WebSocket-Protocol", "chat, other"),
                    ("Origin", "https://example.com"),
                    ("User-Agent", "test/1"),
                    ("Authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
                ];
                for (name, value) in expected {
                    assert_eq!(header(&request, name), Some(value));
                }
            }

            #[test]
            fn user_and_password_of_the_url_are_sent_unless_others_are_given() {
                let request = asked(|address| connect(&format!("ws://u:p@{address}/")));
                assert_eq!(header(&request, "Authorization"), Some("Basic dTpw"));
                let request = asked(|address| connect(&format!("http://u@{address}/")));
                assert_eq!(header(&request, "Authorization"), Some("Basic dTo="));
                let request =
                    asked(|address| connect(&format!("ws://u:p@{address}/")).basic_auth("a", "b"));
                let sent: Vec<_> = request.headers().get_all("Authorization").collect();
                assert_eq!(sent, [b"Basic YTpi"]);
            }

            #[test]
            fn the_response_is_given_with_the_socket() {
                block_on(async {
                    let (address, listener) = listen().await;
                    let server = async {
                        let upgrade = request(&listener).await;
                        let edit = |response: &mut Response| {
                            response.headers_mut().append("X-Room", "7").unwrap();
                        };
                        upgrade.accept_with_response(edit).await.unwrap()
                    };
                    let connect = connect(&format!("ws://{address}/")).subprotocols(["chat"]);
                    let (client, server) = zip(connect.with_response(), server).await;
                    let (ws, response) = client.unwrap();
                    assert_eq!(response.headers().get_str("X-Room"), Some("7"));
                    assert_eq!(ws.subprotocol(), Some("chat"));
                    let stream = ws.get_ref().unwrap();
                    assert_eq!(stream.peer_addr().unwrap(), address);
                    assert!(!stream.is_tls());
                    assert!(stream.as_tcp().unwrap().nodelay().unwrap());
                    let back = server.get_ref().unwrap().peer_addr().unwrap();
                    assert_eq!(back, stream.local_addr().unwrap());
                });
            }

            #[test]
            fn headers_that_would_break_the_request_are_refused_and_not_shown() {
                block_on(async {
                    // Nobody listens there: nothing is connected.
                    for (name, value) in [
                        ("X-A", "secret\r\nB: c"),
                        ("X-A", "secret\n"),
                        ("X-A", "secret\0"),
                        ("X A", "secret"),
                        ("", "secret"),
                        ("Sec-WebSocket-Key", "secret"),
                    ] {
                        let connect = connect("ws://127.0.0.1:1/").header(name, value);
                        let error = connect.await.unwrap_err();
                        assert!(matches!(error, Error::Connection(_)), "{error:?}");
                        let cause = std::error::Error::source(&error).unwrap().to_string();
                        let shown = format!("{error} {error:?} {cause}");
                        assert!(!shown.contains("secret"), "{shown}");
                    }
                    let connect = connect("ws://127.0.0.1:1/").basic_auth("a:b", "secret");
                    let error = connect.header("A", "\n").await.unwrap_err();
                    assert!(
                        matches!(error, Error::Uri(_)),
                        "the first mistake: {error:?}"
                    );
                });
            }

            #[test]
            fn nothing_shows_what_is_secret() {
                let connect = connect("wss://alice:secret@localhost/")
                    .header("Authorization", "Bearer secret")
                    .header("Cookie", "session=secret");
                let shown = format!("{connect:?}");
                assert!(!shown.contains("secret"), "{shown}");
                assert!(!shown.contains("alice"), "{shown}");
            }

            #[test]
            fn a_redirect_is_not_followed_unless_that_is_allowed() {
                let (result, requests) = redirected(|connect| connect, |_| Some("/1"));
                let error = result.unwrap_err();
                assert_eq!(requests.len(), 1);
                let response = error.response().unwrap();
                assert_eq!(response.headers().get_str("Location"), Some("/1"));
                let text = error.to_string();
                assert!(text.contains("a redirect to /1"), "{text}");
                assert!(text.ends_with("call .redirects(n) to follow"), "{text}");
            }

            #[test]
            fn redirects_of_one_server_keep_what_is_meant_for_it() {
                let locations = |number| match number {
                    0 => Some("/1?a"),
                    1 => Some("http://127.0.0.1:PORT/2"),
                    _ => None,
                };
                let build = |connect: Connect| connect.header("Cookie", "c").redirects(2);
                let (result, requests) = redirected(build, locations);
                result.unwrap();
                let targets: Vec<_> = requests.iter().map(Request::target).collect();
                assert_eq!(targets, ["/0", "/1?a", "/2"]);
                for request in &requests {
                    assert_eq!(header(request, "Cookie"), Some("c"));
                    let authorization = header(request, "Authorization");
                    assert_eq!(authorization, Some("Basic YWxpY2U6c2VjcmV0"));
                }
            }

            #[test]
            fn another_server_is_told_nothing_that_was_meant_for_the_first() {
                let locations = |number| match number {
                    0 => Some("http://mallory:x@localhost:PORT/1"),
                    1 => Some("http://127.0.0.1:PORT/2"),
                    _ => None,
                };
                let build = |connect: Connect| {
                    connect
                        .header("Cookie", "c")
                        .header("Proxy-Authorization", "p")
                        .header("Host", "first")
                        .header("X-Kept", "k")
                        .subprotocols(["chat"])
                        .redirects(9)
                };
                let (result, requests) = redirected(build, locations);
                result.unwrap();
                assert_eq!(header(&requests[0], "Host"), Some("first"));
                assert_eq!(header(&requests[0], "Cookie"), Some("c"));
                assert!(
                    header(&requests[1], "Host")
                        .unwrap()
                        .starts_with("localhost:")
                );
                // Nor is it told again to the first, to which the second has sent it.
                for request in &requests[1..] {
                    for name in [
                        "Authorization",
                        "Cookie",
                        "Proxy-Authorization",
                        "Sec-WebSocket-Protocol",
                    ] {
                        assert_eq!(header(request, name), None);
                    }
                    assert_eq!(header(request, "X-Kept"), Some("k"));
                }
            }

            #[test]
            fn another_server_gets_what_was_asked_for_and_no_more() {
                let locations = |number| match number {
                    0 => Some("/1"),
                    1 => Some("http://localhost:PORT/2"),
                    _ => None,
                };
                let redirected = |cross_origin: CrossOrigin| {
                    let build = |connect: Connect| {
                        connect
                            .header("Cookie", "c")
                            .header("Host", "first")
                            .header("X-Api-Key", "k")
                            .header("X-Other", "o")
                            .subprotocols(["chat"])
                            .redirects(9)
                            .cross_origin(cross_origin)
                    };
                    let (result, requests) = redirected(build, locations);
                    result.unwrap();
                    for name in ["Authorization", "X-Api-Key", "Sec-WebSocket-Protocol"] {
                        assert!(
                            header(&requests[1], name).is_some(),
                            "the same origin: {name}"
                        );
                    }
                    requests.into_iter().next_back().unwrap()
                };
                let sent = |request: &Request| {
                    let names = ["Authorization", "Cookie", "Sec-WebSocket-Protocol"];
                    names.map(|name| header(request, name).is_some())
                };

                let names = ["x-api-KEY", "X-Missing"];
                let request = redirected(CrossOrigin::new().without_headers(names));
                assert_eq!(sent(&request), [false, false, false]);
                assert_eq!(header(&request, "X-Api-Key"), None);
                assert_eq!(header(&request, "X-Other"), Some("o"));

                let request = redirected(CrossOrigin::new().credentials(true));
                assert_eq!(sent(&request), [true, true, false]);
                let authorization = header(&request, "Authorization");
                assert_eq!(authorization, Some("Basic YWxpY2U6c2VjcmV0"));
                assert!(header(&request, "Host").unwrap().starts_with("localhost:"));

                let both = CrossOrigin::new().credentials(true).subprotocols(true);
                let request = redirected(both.without_headers(["Cookie"]));
                assert_eq!(sent(&request), [true, false, true]);
            }

            #[test]
            fn a_header_to_leave_out_must_be_one() {
                for name in ["X-Api-Key:", "X Api Key", ""] {
                    let cross_origin = CrossOrigin::new().without_headers(["X-Good", name]);
                    let connect = connect("ws://127.0.0.1:1/").cross_origin(cross_origin);
                    let error = block_on(connect.into_future()).unwrap_err();
                    assert!(matches!(error, Error::Connection(_)), "{name:?}: {error:?}");
                }
            }

            #[test]
            fn redirects_without_end_are_told() {
                let (result, requests) = redirected(
                    |connect| connect.redirects(9),
                    |number| match number {
                        0 => Some("/1"),
                        1 => Some("/2"),
                        _ => Some("/1"),
                    },
                );
                let error = result.unwrap_err();
                assert!(matches!(
                    connect_error(&error),
                    ConnectError::RedirectLoop { .. }
                ));
                assert_eq!(requests.len(), 3);
                assert!(!format!("{error} {error:?}").contains("secret"));

                let (result, requests) = redirected(
                    |connect| connect.redirects(1),
                    |number| match number {
                        0 => Some("/1"),
                        _ => Some("/2"),
                    },
                );
                let error = result.unwrap_err();
                let ConnectError::TooManyRedirects { allowed: 1, .. } = connect_error(&error)
                else {
                    panic!("{error:?}");
                };
                assert_eq!(requests.len(), 2);
            }

            #[test]
            fn a_redirect_to_no_websocket_is_told() {
                for location in [
                    "ftp://example.com/",
                    "javascript:alert(1)",
                    "data:text/html,x",
                    "file:///etc/passwd",
                    "//",
                    "ws://",
                ] {
                    let (result, requests) =
                        redirected(|connect| connect.redirects(1), |_| Some(location));
                    let error = result.unwrap_err();
                    assert!(
                        matches!(connect_error(&error), ConnectError::InvalidRedirect(_)),
                        "{location}: {error:?}"
                    );
                    assert!(std::error::Error::source(&error).is_some());
                    assert_eq!(requests.len(), 1);
                }
            }

            #[test]
            fn the_same_time_limits_all_redirects() {
                let (result, requests) = redirected(
                    |connect| connect.redirects(u32::MAX).open_timeout(Duration::ZERO),
                    |_| Some("/1"),
                );
                assert!(result.unwrap_err().is_timeout());
                assert!(requests.is_empty());
            }

            #[test]
            fn a_server_that_says_nothing_is_told_by_its_phase() {
                block_on(async {
                    let (address, listener) = listen().await;
                    // Long enough for a busy machine to come as far as the phase.
                    for (scheme, phase) in [("ws", "opening handshake"), ("wss", "TLS handshake")] {
                        let connect = connect(&format!("{scheme}://{address}/"));
                        let connect = connect.open_timeout(Duration::from_secs(1));
                        let (client, _silent) = zip(connect.into_future(), listener.accept()).await;
                        let error = client.unwrap_err();
                        assert!(error.is_timeout());
                        let expected =
                            format!("connect timed out after 1s (phase: {phase} with {address})");
                        assert_eq!(error.to_string(), expected);
                    }
                });
            }

            #[cfg(target_os = "linux")]
            #[test]
            fn an_address_may_have_a_zone_which_is_not_sent() {
                block_on(async {
                    let Ok(listener) = TcpListener::bind(("::1", 0)).await else {
                        return; // A machine without IPv6.
                    };
                    let port = listener.local_addr().unwrap().port();
                    // The interface of loopback has the number 1.
                    let url = format!("ws://[::1%251]:{port}/");
                    let server = async {
                        let upgrade = request(&listener).await;
                        let request = upgrade.request().clone();
                        upgrade.accept().await.unwrap();
                        request
                    };
                    let (ws, request) = zip(connect(&url).into_future(), server).await;
                    ws.unwrap();
                    let host = format!("[::1]:{port}");
                    assert_eq!(header(&request, "Host"), Some(&*host));
                });
            }

            #[test]
            fn a_unix_socket_will_do() {
                block_on(async {
                    let (near, far) = UnixStream::pair().unwrap();
                    let client = connect("ws://localhost/chat").over(near);
                    let server = async {
                        let upgrade = upgrade(far, options(), sansock::config()).await?;
                        assert_eq!(upgrade.request().target(), "/chat");
                        upgrade.accept().await
                    };
                    let (client, server) = zip(client, server).await;
                    let (mut client, mut server) = (client.unwrap(), server.unwrap());
                    client.send("over a Unix socket").await.unwrap();
                    let message = server.recv().await.unwrap().unwrap();
                    assert_eq!(message.as_text(), Some("over a Unix socket"));
                    let stream: &Stream = client.get_ref().unwrap();
                    assert!(stream.as_tcp().is_none());
                    let error = stream.peer_addr().unwrap_err();
                    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
                    let (client, server) = zip(client.close(1000, ""), server.recv()).await;
                    client.unwrap();
                    assert_eq!(server.unwrap(), None);
                });
            }

            #[test]
            fn a_socket_of_ones_own_may_not_lead_elsewhere() {
                block_on(async {
                    let (address, listener) = listen().await;
                    let stream = TcpStream::connect(address).await.unwrap();
                    let client = connect("ws://localhost/").redirects(3).over(stream);
                    let server = async {
                        let response = redirect(301, "/elsewhere");
                        request(&listener).await.respond(response).await
                    };
                    let (client, _) = zip(client, server).await;
                    assert!(client.unwrap_err().response().is_some());
                });
            }

            #[test]
            fn the_local_address_can_be_chosen() {
                let local: IpAddr = "127.0.0.2".parse().unwrap();
                block_on(async {
                    let (address, listener) = listen().await;
                    let connect = connect(&format!("ws://{address}/")).local_address(local);
                    let server = async {
                        let (stream, peer) = listener.accept().await.unwrap();
                        let accepted = sansock::$shim::accept(stream).await;
                        (accepted, peer)
                    };
                    let (client, (server, peer)) = zip(connect.into_future(), server).await;
                    client.unwrap();
                    server.unwrap();
                    assert_eq!(peer.ip(), local);
                    drop(listener);
                    let again = sansock::$shim::connect(&format!("ws://{address}/"));
                    let error = again.local_address(local).await.unwrap_err();
                    let refused = io::Error::from(error).kind();
                    assert_eq!(refused, io::ErrorKind::ConnectionRefused);
                });
            }

            #[test]
            fn a_name_leads_to_the_address_that_answers() {
                // `localhost` may be ::1 first, where nobody listens.
                let request =
                    asked(|address| connect(&format!("ws://localhost:{}/", address.port())));
                assert!(header(&request, "Host").unwrap().starts_with("localhost:"));
            }

            #[test]
            fn a_server_of_another_protocol_is_told() {
                let text = answered("ws", b"SSH-2.0-OpenSSH_9.2\r\n").to_string();
                assert!(text.contains("does not speak HTTP"), "{text}");
                assert!(text.contains("SSH-2.0-OpenSSH_9.2"), "{text}");

                let error = answered("ws", b"\x15\x03\x01\x00\x02\x02\x16");
                let cause = std::error::Error::source(&error).unwrap().to_string();
                assert!(cause.contains("use wss://"), "{cause}");

                let page = b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nnope!";
                let error = answered("ws", page);
                assert_eq!(
                    error.to_string(),
                    "opening handshake failed: server answered 404 Not Found instead of 101; \
                     first bytes of body: \"nope!\""
                );
                assert_eq!(&error.response().unwrap().body()[..], b"nope!");
            }

            #[test]
            fn a_plain_port_that_is_asked_for_tls_is_told() {
                let error = answered("wss", b"HTTP/1.1 400 Bad Request\r\n\r\n");
                assert!(error.is_tls(), "{error:?}");
                let text = error.to_string();
                assert!(text.contains("does not speak TLS; use ws://"), "{text}");
            }

            #[test]
            fn a_connection_that_ends_is_followed_by_the_next() {
                block_on(async {
                    let (address, listener) = listen().await;
                    let backoff = Backoff::new().initial(Duration::from_millis(1));
                    let connect = connect(&format!("ws://{address}/")).header("X-Id", "7");
                    let mut connections = connect.reconnect().backoff(backoff);
                    let client = async {
                        for _ in 0..3 {
                            let mut ws = connections.next().await.unwrap().unwrap();
                            assert!(ws.recv().await.unwrap().is_none());
                        }
                    };
                    let server = async {
                        // A failure that may pass does not end it.
                        request(&listener)
                            .await
                            .reject(StatusCode::SERVICE_UNAVAILABLE, "")
                            .await
                            .unwrap();
                        for _ in 0..3 {
                            let upgrade = request(&listener).await;
                            assert_eq!(header(upgrade.request(), "X-Id"), Some("7"));
                            upgrade
                                .accept()
                                .await
                                .unwrap()
                                .close(1001, "")
                                .await
                                .unwrap();
                        }
                    };
                    zip(client, server).await;

                    let server = async {
                        request(&listener)
                            .await
                            .reject(StatusCode::FORBIDDEN, "")
                            .await
                            .unwrap();
                    };
                    let (end, ()) = zip(connections.next(), server).await;
                    assert!(end.unwrap_err().response().is_some());
                });
            }

            #[test]
            fn a_proxy_that_is_not_there_or_refuses_is_told() {
                block_on(async {
                    let (address, listener) = listen().await;
                    let server = async {
                        let (mut stream, _) = listener.accept().await.unwrap();
                        let _ = stream.read(&mut [0; 4096]).await;
                        let refusal = b"HTTP/1.1 403 Forbidden\r\n\r\n";
                        stream.write_all(refusal).await.unwrap();
                    };
                    let proxy: Proxy = format!("http://u:secret@{address}").parse().unwrap();
                    let connect = connect("ws://example.com/").proxy(proxy);
                    assert!(!format!("{connect:?}").contains("secret"));
                    let again = connect.clone();
                    let (client, ()) = zip(connect.into_future(), server).await;
                    let error = client.unwrap_err();
                    assert!(matches!(error, Error::Proxy(_)), "{error:?}");
                    assert!(!format!("{error} {error:?}").contains("secret"));

                    let silent = listener.accept();
                    let again = again.open_timeout(Duration::from_millis(50));
                    let (client, _silent) = zip(again.clone().into_future(), silent).await;
                    let text = client.unwrap_err().to_string();
                    assert!(
                        text.contains(&format!("(phase: proxy with {address})")),
                        "{text}"
                    );

                    drop(listener);
                    let error = again.await.unwrap_err();
                    assert!(matches!(
                        connect_error(&error),
                        ConnectError::Unreachable { .. }
                    ));
                });
            }

            #[test]
            fn dropping_the_future_drops_the_socket() {
                block_on(async {
                    let (address, listener) = listen().await;
                    let mut connecting = connect(&format!("ws://{address}/")).into_future();
                    let accepted = async { Ok(listener.accept().await.unwrap().0) };
                    let client = async { Err((&mut connecting).await.is_ok()) };
                    let mut stream = or(accepted, client).await.unwrap();
                    drop(connecting);
                    let mut sent = Vec::new();
                    // Reset or closed: it ends.
                    let _ = stream.read_to_end(&mut sent).await;
                });
            }
        }
    };
}

over_loopback!(
    on_smol,
    smol,
    async_net,
    async_net::unix,
    futures_lite::future::block_on
);
over_loopback!(
    on_async_std,
    async_std,
    async_std::net,
    async_std::os::unix::net,
    async_std::task::block_on
);
