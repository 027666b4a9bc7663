//! TLS over real loopback sockets, on smol and on async-std, by every back end that is built in, with
//! certificates that are made here.

use std::error::Error as _;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use sansock::core::handshake::{Request, Response, ServerOptions, StatusCode};
use sansock::proxy::Proxy;
use sansock::tls::rustls_0_23 as rustls;
use sansock::tls::{Backend, ClientTls, ServerTls, TlsError, TlsErrorKind};
use sansock::{ConnectError, CrossOrigin, Error, Message};

/// Every pair of back ends, of the client and of the server.
fn backends() -> Vec<(Backend, Backend)> {
    let all = [
        Backend::Rustls,
        #[cfg(feature = "native-tls")]
        Backend::NativeTls,
    ];
    let pairs = all
        .iter()
        .flat_map(|client| all.map(|server| (*client, server)));
    pairs.collect()
}

/// An authority that the system does not know.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key, in PEM.
struct Certificate {
    chain: String,
    key: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = named(name, vec![]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// Issues a certificate for a name.
    fn issue(&self, name: &str) -> Certificate {
        self.issue_with(name, |_| {})
    }

    fn issue_with(&self, name: &str, edit: impl FnOnce(&mut CertificateParams)) -> Certificate {
        let mut params = named(name, vec![name.into()]);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        edit(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Certificate {
            chain: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

fn named(name: &str, hosts: Vec<String>) -> CertificateParams {
    let mut params = CertificateParams::new(hosts).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

impl Certificate {
    fn server(&self, backend: Backend) -> ServerTls {
        ServerTls::from_pem_with(backend, &self.chain, &self.key).unwrap()
    }
}

/// A server that asks its clients for a certificate of this authority.
fn server_that_asks(authority: &Authority, certificate: &Certificate) -> ServerTls {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.0.der().clone()).unwrap();
    let asks =
        rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
    let chain = CertificateDer::from_pem_slice(certificate.chain.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(asks.build().unwrap())
        .with_single_cert(vec![chain], key)
        .unwrap();
    Arc::new(config).into()
}

/// Returns the failure of TLS.
#[track_caller]
fn tls_error(error: &Error) -> &TlsError {
    let Error::Tls(tls) = error else {
        panic!("{error:?}");
    };
    assert!(error.is_tls());
    tls
}

#[test]
fn what_is_no_pem_is_told() {
    let authority = Authority::new("known");
    let (one, other) = (authority.issue("localhost"), authority.issue("localhost"));
    for (client, backend) in backends() {
        let error = ClientTls::with_backend(client)
            .roots_pem("nothing")
            .unwrap_err();
        assert_eq!(error.kind(), TlsErrorKind::Configuration);
        assert_eq!(
            error.to_string(),
            "TLS cannot be set up: certificate is not PEM"
        );
        let mut cases = vec![("", &*one.key), (&*one.chain, ""), ("", "")];
        // The library of the system finds out when a client comes.
        if backend == Backend::Rustls {
            cases.push((&one.chain, &other.key));
        }
        for (chain, key) in cases {
            let error = ServerTls::from_pem_with(backend, chain, key).unwrap_err();
            assert_eq!(error.kind(), TlsErrorKind::Configuration);
            assert!(error.source().is_some());
            assert!(!format!("{error:?}").contains("PRIVATE"));
        }
    }
}

#[test]
fn a_stream_is_the_same_for_every_executor() {
    fn assert_send_sync<T: Send + Sync + Unpin>() {}

    assert_send_sync::<sansock::smol::Stream>();
    assert_send_sync::<sansock::async_std::Stream>();
    assert_send_sync::<ClientTls>();
    assert_send_sync::<ServerTls>();
}

/// Which of TLS 1.2 and 1.3 a server speaks, to clients that speak one of them.
#[test]
fn servers_speak_the_documented_versions_of_tls() {
    let authority = Authority::new("known");
    let certificate = authority.issue("localhost");
    for (_, backend) in backends()
        .into_iter()
        .filter(|(client, _)| *client == Backend::Rustls)
    {
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let server = certificate.server(backend);
            let tls = ClientTls::from(Arc::new(rustls_client(&authority, &[version])));
            let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
            let (near, far) = (
                async_net::unix::UnixStream::try_from(near).unwrap(),
                async_net::unix::UnixStream::try_from(far).unwrap(),
            );
            let client = async {
                sansock::smol::connect("wss://localhost/")
                    .tls(tls)
                    .over(near)
                    .await
            };
            let serving = async { sansock::smol::accept(server.accept(far).await?).await };
            let (client, served) =
                futures_lite::future::block_on(futures_lite::future::zip(client, serving));
            let speaks =
                backend == Backend::Rustls || version.version == rustls::ProtocolVersion::TLSv1_2;
            assert_eq!(
                client.is_ok(),
                speaks,
                "{backend:?}, {version:?}: {client:?}"
            );
            assert_eq!(served.is_ok(), speaks);
        }
    }
}

#[test]
fn neither_key_nor_certificate_is_shown() {
    let certificate = Authority::new("known").issue("localhost");
    let tls = ClientTls::new().identity_pem(&*certificate.chain, &*certificate.key);
    let shown = format!("{tls:?} {:?}", certificate.server(Backend::Rustls));
    assert!(
        !shown.contains("PRIVATE") && !shown.contains("BEGIN"),
        "{shown}"
    );
}

/// A configuration of rustls for a server.
fn rustls_server(certificate: &Certificate) -> rustls::ServerConfig {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = CertificateDer::from_pem_slice(certificate.chain.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).unwrap();
    rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .unwrap()
}

/// A configuration of rustls for a client that trusts an authority.
fn rustls_client(
    authority: &Authority,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.0.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// Protocols for ALPN, as a configuration has them.
fn alpn(protocols: &[&str]) -> Vec<Vec<u8>> {
    protocols.iter().map(|name| (*name).into()).collect()
}

/// Connects with rustls itself, and returns the protocol that the server selects.
fn negotiated(config: rustls::ClientConfig, address: std::net::SocketAddr) -> Option<Vec<u8>> {
    let name = "localhost".try_into().unwrap();
    let mut tls = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    tls.complete_io(&mut stream).unwrap();
    tls.alpn_protocol().map(Into::into)
}

/// Returns the name in a ClientHello (RFC 6066 section 3): of a list of one host name.
fn server_name(hello: &[u8]) -> Option<String> {
    let list = extension(hello, 0)?;
    Some(String::from_utf8(list[5..].to_vec()).unwrap())
}

/// Returns an extension of a ClientHello (RFC 8446 section 4.1.2).
fn extension(hello: &[u8], wanted: usize) -> Option<&[u8]> {
    let skip = |bytes: &mut &[u8], count: usize| *bytes = &bytes[count..];
    let number = |bytes: &mut &[u8], size: usize| {
        let (front, rest) = bytes.split_at(size);
        *bytes = rest;
        front
            .iter()
            .fold(0, |sum, byte| sum << 8 | usize::from(*byte))
    };
    let mut rest = hello;
    assert_eq!(number(&mut rest, 1), 1, "a ClientHello");
    // Length, version, random; then the session, the cipher suites and the compression methods.
    skip(&mut rest, 3 + 2 + 32);
    for size in [1, 2, 1] {
        let length = number(&mut rest, size);
        skip(&mut rest, length);
    }
    let mut extensions = &rest[2..];
    while !extensions.is_empty() {
        let (kind, length) = (number(&mut extensions, 2), number(&mut extensions, 2));
        let (extension, others) = extensions.split_at(length);
        if kind == wanted {
            return Some(extension);
        }
        extensions = others;
    }
    None
}

/// The tests over the shim `$shim`, with the sockets and `block_on` of its runtime.
macro_rules! over_loopback {
    ($runtime:ident, $shim:ident, $net:path, $unix:path, $block_on:path) => {
        mod $runtime {
            use std::future::IntoFuture;

            use futures_lite::future::{or, zip};
            use futures_lite::io::split;
            use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
            use sansock::$shim::{Connect, Stream, WebSocket, accept, connect, upgrade};
            use $block_on as block_on;
            use $net as net;
            use $unix as unix;

            use self::net::{TcpListener, TcpStream};
            use self::unix::UnixStream;
            use super::*;

            async fn listen() -> (String, TcpListener) {
                let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
                let port = listener.local_addr().unwrap().port();
                (format!("wss://localhost:{port}/"), listener)
            }

            async fn serve(listener: &TcpListener, tls: &ServerTls) -> sansock::Result<WebSocket> {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                accept(tls.accept(stream).await?).await
            }

            /// Returns what becomes of both sides of a connection.
            fn both(
                server: &ServerTls,
                build: impl FnOnce(Connect) -> Connect,
            ) -> (sansock::Result<WebSocket>, sansock::Result<WebSocket>) {
                block_on(async {
                    let (url, listener) = listen().await;
                    let client = build(connect(&url)).into_future();
                    zip(client, serve(&listener, server)).await
                })
            }

            /// Lets both sides talk, then close.
            async fn talk(client: WebSocket, server: WebSocket) {
                let large = Message::binary(vec![7; 300_000]);
                let client = async move {
                    let mut ws = client;
                    for message in [Message::text("hällo"), large, Message::text("")] {
                        ws.send(&message).await?;
                        assert_eq!(ws.recv().await?, Some(message));
                    }
                    ws.close(1000, "bye").await?;
                    Ok::<_, Error>(ws)
                };
                let server = async move {
                    let mut ws = server;
                    while let Some(message) = ws.recv().await? {
                        ws.send(message).await?;
                    }
                    Ok::<_, Error>(ws)
                };
                let (client, server) = zip(client, server).await;
                for side in [client.unwrap(), server.unwrap()] {
                    assert!(side.closed().unwrap().is_clean());
                }
            }

            #[test]
            fn a_conversation_and_its_end() {
                let authority = Authority::new("known");
                let certificate = authority.issue("localhost");
                for (client, server) in backends() {
                    let tls = ClientTls::with_backend(client);
                    let tls = tls.roots_pem(authority.pem()).unwrap();
                    let server = certificate.server(server);
                    let (client, server) = both(&server, |connect| connect.tls(tls));
                    let (client, server) = (client.unwrap(), server.unwrap());
                    let stream = client.get_ref().unwrap();
                    assert!(stream.is_tls());
                    assert!(stream.as_tcp().unwrap().nodelay().unwrap());
                    let address = server.get_ref().unwrap().local_addr().unwrap();
                    assert_eq!(stream.peer_addr().unwrap(), address);
                    block_on(talk(client, server));
                }
            }

            #[test]
            fn both_sides_write_more_than_the_sockets_hold() {
                let authority = Authority::new("known");
                let certificate = authority.issue("localhost");
                for (client, server) in backends() {
                    let tls = ClientTls::with_backend(client);
                    let tls = tls.root_der(authority.0.der().to_vec());
                    let server = certificate.server(server);
                    let config = sansock::config().max_message_size(None);
                    let build = |connect: Connect| connect.tls(tls).config(config);
                    let (client, server) = both(&server, build);
                    let large: Vec<u8> = (0..1_000_000).map(|i: u32| (i / 7) as u8).collect();
                    let exchange = |ws: WebSocket| {
                        let large = Message::binary(large.clone());
                        async move {
                            let (sender, mut receiver) = ws.split();
                            let send = async {
                                for _ in 0..4 {
                                    sender.send(&large).await.unwrap();
                                }
                            };
                            let receive = async {
                                for _ in 0..4 {
                                    let message = receiver.recv().await.unwrap();
                                    assert!(message.as_ref() == Some(&large));
                                }
                            };
                            zip(send, receive).await;
                        }
                    };
                    let (client, server) = (client.unwrap(), server.unwrap());
                    block_on(zip(exchange(client), exchange(server)));
                }
            }

            #[test]
            fn tls_goes_over_a_unix_socket() {
                let authority = Authority::new("known");
                let certificate = authority.issue("example.com");
                for (client, server) in backends() {
                    let tls = ClientTls::with_backend(client);
                    let tls = tls.roots_pem(authority.pem()).unwrap();
                    let server = certificate.server(server);
                    block_on(async {
                        let (near, far) = UnixStream::pair().unwrap();
                        let client = connect("wss://example.com/").tls(tls).over(near);
                        let server = async { accept(server.accept(far).await?).await };
                        let (client, server) = zip(client, server).await;
                        talk(client.unwrap(), server.unwrap()).await;
                    });
                }
            }

            /// Reads what a proxy is asked with this scheme, for a port of localhost, and grants it.
            async fn grant(client: &mut Stream, to: u16, scheme: &str) {
                let port = to.to_be_bytes();
                let dialogue: &[(Vec<u8>, &[u8])] = match scheme {
                    "socks4a" => &[(
                        [&[4, 1][..], &port, &[0, 0, 0, 1, 0], b"localhost\0"].concat(),
                        &[0, 90, 0, 0, 0, 0, 0, 0],
                    )],
                    "socks5h" => &[
                        (vec![5, 1, 0], &[5, 0]),
                        (
                            [&[5, 1, 0, 3, 9][..], b"localhost", &port].concat(),
                            &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0],
                        ),
                    ],
                    _ => &[(
                        format!("CONNECT localhost:{to} HTTP/1.1\r\nHost: localhost:{to}\r\n\r\n")
                            .into_bytes(),
                        b"HTTP/1.1 200 OK\r\n\r\n",
                    )],
                };
                for (request, answer) in dialogue {
                    let mut received = vec![0; request.len()];
                    client.read_exact(&mut received).await.unwrap();
                    assert_eq!(&received, request, "{}", received.escape_ascii());
                    client.write_all(answer).await.unwrap();
                    client.flush().await.unwrap();
                }
            }

            /// Passes on what is read, to the end.
            async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
                let mut buffer = vec![0; 1 << 14];
                while let Ok(size @ 1..) = from.read(&mut buffer).await {
                    let written = to.write_all(&buffer[..size]).await;
                    if written.is_err() || to.flush().await.is_err() {
                        break;
                    }
                }
                let _ = to.close().await;
            }

            /// Serves one connection as a proxy to this port of localhost.
            async fn tunnel(
                listener: &TcpListener,
                to: u16,
                scheme: &str,
                tls: Option<&ServerTls>,
            ) -> sansock::Result<()> {
                let (client, _) = listener.accept().await.unwrap();
                let mut client = match tls {
                    Some(tls) => tls.accept(client).await?,
                    None => Stream::from(client),
                };
                grant(&mut client, to, scheme).await;
                let server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                let (from_client, to_client) = split(client);
                let (from_server, to_server) = split(server);
                zip(pass(from_client, to_server), pass(from_server, to_client)).await;
                Ok(())
            }

            #[test]
            fn tls_to_the_server_goes_through_every_kind_of_proxy() {
                let authority = Authority::new("known");
                let certificate = authority.issue("localhost");
                for (client, server) in backends() {
                    for scheme in ["http", "https", "socks4a", "socks5h"] {
                        let tls = ClientTls::with_backend(client);
                        let tls = tls.roots_pem(authority.pem()).unwrap();
                        let server = certificate.server(server);
                        block_on(async {
                            let (url, listener) = listen().await;
                            let to = listener.local_addr().unwrap().port();
                            let (_, proxies) = listen().await;
                            let at = proxies.local_addr().unwrap();
                            let proxy = format!("{scheme}://localhost:{}", at.port());
                            let proxy: Proxy = proxy.parse().unwrap();
                            let connect = connect(&url).tls(tls.clone()).proxy_tls(tls);
                            let client = connect.proxy(proxy).into_future();
                            let conversation = async {
                                let both = zip(client, serve(&listener, &server));
                                let (client, server) = both.await;
                                let (client, server) = (client.unwrap(), server.unwrap());
                                let stream = client.get_ref().unwrap();
                                assert_eq!(stream.peer_addr().unwrap(), at);
                                assert!(stream.is_tls());
                                talk(client, server).await;
                            };
                            let tls_of_proxy = (scheme == "https").then_some(&server);
                            let proxying = tunnel(&proxies, to, scheme, tls_of_proxy);
                            zip(conversation, proxying).await.1.unwrap();
                        });
                    }
                }
            }

            #[test]
            fn tls_to_a_proxy_does_not_make_the_connection_to_the_server_secure() {
                let authority = Authority::new("known");
                let server = authority.issue("localhost").server(Backend::default());
                let tls = ClientTls::new().roots_pem(authority.pem()).unwrap();
                block_on(async {
                    let (_, listener) = listen().await;
                    let to = listener.local_addr().unwrap().port();
                    let (_, proxies) = listen().await;
                    let port = proxies.local_addr().unwrap().port();
                    let proxy: Proxy = format!("https://localhost:{port}").parse().unwrap();
                    let connect = connect(&format!("ws://localhost:{to}/")).proxy(proxy);
                    let client = connect.proxy_tls(tls).into_future();
                    let conversation = async {
                        let serving = async { accept(listener.accept().await?.0).await };
                        let (client, server) = zip(client, serving).await;
                        let (client, server) = (client.unwrap(), server.unwrap());
                        assert!(!client.get_ref().unwrap().is_tls());
                        talk(client, server).await;
                    };
                    let proxying = tunnel(&proxies, to, "https", Some(&server));
                    zip(conversation, proxying).await.1.unwrap();
                });
            }

            #[test]
            fn a_proxy_is_trusted_and_shown_what_is_meant_for_it_only() {
                let (authority, other) = (Authority::new("known"), Authority::new("other"));
                let certificate = authority.issue("localhost");
                let asks = server_that_asks(&authority, &certificate);
                let own = authority.issue("client");
                for (backend, _) in backends() {
                    let tls = |roots: &Authority| {
                        let tls = ClientTls::with_backend(backend);
                        tls.roots_pem(roots.pem()).unwrap()
                    };
                    let shows = |tls: ClientTls| tls.identity_pem(&*own.chain, &*own.key);
                    let fails = |tls: ClientTls, proxy_tls: Option<ClientTls>| {
                        block_on(async {
                            let (_, proxies) = listen().await;
                            let port = proxies.local_addr().unwrap().port();
                            let proxy = format!("https://localhost:{port}");
                            let proxy: Proxy = proxy.parse().unwrap();
                            let mut connect = connect("wss://127.0.0.1:1/").tls(tls).proxy(proxy);
                            if let Some(tls) = proxy_tls {
                                connect = connect.proxy_tls(tls);
                            }
                            let proxying = async {
                                let (client, _) = proxies.accept().await.unwrap();
                                let mut client: Stream = asks.accept(client).await?;
                                let _ = client.read(&mut [0; 4096]).await;
                                client.write_all(b"HTTP/1.1 403 No\r\n\r\n").await?;
                                client.flush().await?;
                                Ok::<_, Error>(())
                            };
                            let (client, proxy) = zip(connect.into_future(), proxying).await;
                            (client.unwrap_err(), proxy)
                        })
                    };
                    // What is set for the server says nothing about the proxy.
                    let (client, _) = fails(shows(tls(&authority)), None);
                    let text = client.to_string();
                    assert!(tls_error(&client).is_certificate(), "{text}");
                    assert!(text.contains("certificate of localhost"), "{text}");
                    let (client, _) = fails(tls(&authority), Some(tls(&other)));
                    assert!(tls_error(&client).is_certificate());
                    let (client, proxy) = fails(shows(tls(&authority)), Some(tls(&authority)));
                    assert!(client.is_tls(), "{client:?}");
                    assert!(tls_error(&proxy.unwrap_err()).is_certificate());
                    let (client, proxy) = fails(tls(&other), Some(shows(tls(&authority))));
                    assert!(matches!(client, Error::Proxy(_)), "{client:?}");
                    proxy.unwrap();
                }
            }

            #[test]
            fn an_https_proxy_that_speaks_http_is_a_tls_error() {
                block_on(async {
                    let (_, proxies) = listen().await;
                    let at = proxies.local_addr().unwrap();
                    let proxy: Proxy = format!("https://{at}").parse().unwrap();
                    let client = connect("ws://localhost:1/").proxy(proxy).into_future();
                    let proxying = async {
                        let (mut client, _) = proxies.accept().await.unwrap();
                        let _ = client.read(&mut [0; 4096]).await;
                        let answer = b"HTTP/1.1 400 Bad Request\r\n\r\n";
                        client.write_all(answer).await.unwrap();
                    };
                    let (client, ()) = zip(client, proxying).await;
                    let error = client.unwrap_err();
                    assert_eq!(tls_error(&error).kind(), TlsErrorKind::NotTls);
                    assert!(
                        error.to_string().starts_with("127.0.0.1 does not"),
                        "{error}"
                    );
                });
            }

            /// Serves connections over TLS: the first is sent elsewhere, the second accepted.
            async fn redirect(listener: &TcpListener, tls: &ServerTls, location: &str) -> Request {
                let mut response = Response::new(StatusCode::new(302).unwrap());
                response.headers_mut().append("Location", location).unwrap();
                response.set_body("");
                let options = || Arc::new(ServerOptions::new());
                let (stream, _) = listener.accept().await.unwrap();
                let stream = tls.accept(stream).await.unwrap();
                let first = upgrade(stream, options(), sansock::config()).await;
                first.unwrap().respond(response).await.unwrap();
                let (stream, _) = listener.accept().await.unwrap();
                let stream = tls.accept(stream).await.unwrap();
                let second = upgrade(stream, options(), sansock::config()).await.unwrap();
                let request = second.request().clone();
                second.accept().await.unwrap();
                request
            }

            #[test]
            fn redirects_lead_from_wss_to_wss_only() {
                let authority = Authority::new("known");
                let server = authority.issue("localhost").server(Backend::default());
                let tls = ClientTls::new().roots_pem(authority.pem()).unwrap();
                block_on(async {
                    let (url, listener) = listen().await;
                    let connect = connect(&url).tls(tls).redirects(9);
                    let there = format!("{}there", url.replace("wss", "https"));
                    let (client, request) = zip(
                        connect.clone().into_future(),
                        redirect(&listener, &server, &there),
                    )
                    .await;
                    client.unwrap();
                    assert_eq!(request.target(), "/there");

                    let plain = url.replace("wss", "ws");
                    let serving = async { Err(redirect(&listener, &server, &plain).await) };
                    let client = async { Ok(connect.await.map(drop)) };
                    let Ok(Err(Error::Connect(error))) = or(client, serving).await else {
                        panic!("it went on");
                    };
                    assert!(matches!(*error, ConnectError::InsecureRedirect { .. }));
                    assert!(error.to_string().contains(&plain), "{error}");
                });
            }

            #[test]
            fn another_server_is_not_shown_the_certificate_of_the_client() {
                let authority = Authority::new("known");
                let certificate = authority.issue_with("localhost", |params| {
                    let address = std::net::Ipv4Addr::LOCALHOST.into();
                    params.subject_alt_names.push(SanType::IpAddress(address));
                });
                let server = server_that_asks(&authority, &certificate);
                let own = authority.issue("client");
                for (backend, _) in backends() {
                    let tls = ClientTls::with_backend(backend);
                    let tls = tls.roots_pem(authority.pem()).unwrap();
                    let tls = tls.identity_pem(&*own.chain, &*own.key);
                    let elsewhere = |cross_origin: CrossOrigin| {
                        block_on(async {
                            let (url, listener) = listen().await;
                            let there = url.replace("localhost", "127.0.0.1");
                            let mut response = Response::new(StatusCode::new(302).unwrap());
                            response.headers_mut().append("Location", there).unwrap();
                            response.set_body("");
                            let serving = async {
                                let (stream, _) = listener.accept().await.unwrap();
                                let stream = server.accept(stream).await.unwrap();
                                let options = Arc::new(ServerOptions::new());
                                let first = upgrade(stream, options, sansock::config()).await;
                                first.unwrap().respond(response).await.unwrap();
                                serve(&listener, &server).await
                            };
                            let connect = connect(&url).tls(tls.clone()).redirects(1);
                            let client = connect.cross_origin(cross_origin).into_future();
                            let (client, second) = zip(client, serving).await;
                            (client.map(drop), second.map(drop))
                        })
                    };
                    let (client, second) = elsewhere(CrossOrigin::new());
                    assert!(client.unwrap_err().is_tls());
                    assert!(tls_error(&second.unwrap_err()).is_certificate());
                    let (client, second) = elsewhere(CrossOrigin::new().credentials(true));
                    client.unwrap();
                    second.unwrap();
                }
            }

            #[test]
            fn a_certificate_that_is_not_accepted_is_told_with_the_reason() {
                let (authority, stranger) = (Authority::new("known"), Authority::new("stranger"));
                let old = authority.issue_with("localhost", |params| {
                    params.not_after = date_time_ymd(2001, 1, 1);
                });
                let new = authority.issue_with("localhost", |params| {
                    params.not_before = date_time_ymd(4001, 1, 1);
                });
                let cases = [
                    (stranger.issue("localhost"), "issue"),
                    (authority.issue("example.com"), "name"),
                    (old, "expired"),
                    (new, "not"),
                ];
                for (client, server) in backends() {
                    for (certificate, why) in &cases {
                        let tls = ClientTls::with_backend(client);
                        let tls = tls.roots_pem(authority.pem()).unwrap();
                        let server = certificate.server(server);
                        let (client, server) = both(&server, |connect| connect.tls(tls));
                        let error = client.unwrap_err();
                        let is_transient = error.is_transient();
                        let error = tls_error(&error);
                        assert!(error.is_certificate(), "{error:?}");
                        assert!(!is_transient);
                        let text = error.to_string();
                        assert!(
                            text.starts_with("certificate of localhost is not accepted: "),
                            "{text}"
                        );
                        assert!(text.contains(why), "{text}");
                        assert!(error.source().is_some());
                        assert!(server.is_err());
                    }
                }
            }

            #[test]
            fn an_authority_that_nobody_knows_is_not_trusted() {
                let certificate = Authority::new("stranger").issue("localhost");
                for (client, server) in backends() {
                    let server = certificate.server(server);
                    let tls = ClientTls::with_backend(client);
                    let (client, _) = both(&server, |connect| connect.tls(tls));
                    // A system without roots has no TLS at all.
                    assert!(client.unwrap_err().is_tls());
                    let (client, _) = both(&server, |connect| connect);
                    assert!(client.unwrap_err().is_tls());
                    let tls = ClientTls::new().webpki_roots();
                    let (client, _) = both(&server, |connect| connect.tls(tls));
                    assert!(tls_error(&client.unwrap_err()).is_certificate());
                }
            }

            #[test]
            fn a_certificate_is_not_looked_at_only_on_explicit_demand() {
                let certificate = Authority::new("known").issue("example.com");
                for (client, server) in backends() {
                    let tls = ClientTls::with_backend(client);
                    let tls = tls.danger_accept_invalid_certificates();
                    let server = certificate.server(server);
                    let (client, server) = both(&server, |connect| connect.tls(tls));
                    block_on(talk(client.unwrap(), server.unwrap()));
                }
            }

            #[test]
            fn the_name_to_verify_can_be_given() {
                let authority = Authority::new("known");
                let certificate = authority.issue("example.com");
                for (client, server) in backends() {
                    let tls = ClientTls::with_backend(client);
                    let tls = tls.roots_pem(authority.pem()).unwrap();
                    let tls = tls.server_name("example.com");
                    let server = certificate.server(server);
                    let (client, server) = both(&server, |connect| connect.tls(tls));
                    block_on(talk(client.unwrap(), server.unwrap()));
                }
            }

            #[test]
            fn a_certificate_is_reloaded_for_the_handshakes_that_follow() {
                let (old, new) = (Authority::new("old"), Authority::new("new"));
                let (first, second) = (old.issue("localhost"), new.issue("localhost"));
                for (client, backend) in backends() {
                    let trusting = |authority: &Authority| {
                        // Its own configuration, so that no session is resumed.
                        let tls = ClientTls::with_backend(client);
                        tls.roots_pem(authority.pem()).unwrap()
                    };
                    let server = first.server(backend);
                    let (open, accepted) = both(&server, |connect| connect.tls(trusting(&old)));

                    let clone = server.clone();
                    let (chain, key) = (second.chain.clone(), second.key.clone());
                    let reloading = std::thread::spawn(move || clone.reload(chain, key));
                    reloading.join().unwrap().unwrap();
                    let presents_the_second = || {
                        let (client, server_side) =
                            both(&server, |connect| connect.tls(trusting(&new)));
                        block_on(talk(client.unwrap(), server_side.unwrap()));
                        let (refused, _) = both(&server, |connect| connect.tls(trusting(&old)));
                        assert!(tls_error(&refused.unwrap_err()).is_certificate());
                    };
                    presents_the_second();
                    block_on(talk(open.unwrap(), accepted.unwrap()));

                    let mut cases = vec![("", &*first.key), (&*first.chain, ""), ("nothing", "")];
                    // The library of the system finds out when a client comes.
                    if backend == Backend::Rustls {
                        cases.push((&first.chain, &second.key));
                    }
                    for (chain, key) in cases {
                        let error = server.reload(chain, key).unwrap_err();
                        assert_eq!(error.kind(), TlsErrorKind::Configuration);
                        assert!(error.source().is_some());
                    }
                    presents_the_second();
                }
            }

            #[test]
            fn a_reloaded_server_still_asks_for_the_certificate_of_the_client() {
                let authority = Authority::new("known");
                let server = server_that_asks(&authority, &authority.issue("localhost"));
                let new = Authority::new("new");
                let certificate = new.issue("localhost");
                server.reload(&certificate.chain, &certificate.key).unwrap();
                let own = authority.issue("client");
                let tls = ClientTls::with_backend(Backend::Rustls);
                let tls = tls.roots_pem(new.pem()).unwrap();
                let (_, refused) = both(&server, |connect| connect.tls(tls.clone()));
                assert!(refused.unwrap_err().is_tls());
                let shows = tls.identity_pem(&*own.chain, &*own.key);
                let (client, accepted) = both(&server, |connect| connect.tls(shows));
                block_on(talk(client.unwrap(), accepted.unwrap()));
            }

            #[test]
            fn a_client_shows_its_certificate_to_a_server_that_asks() {
                let authority = Authority::new("known");
                let server = server_that_asks(&authority, &authority.issue("localhost"));
                let known = authority.issue("client");
                let unknown = Authority::new("stranger").issue("client");
                for (backend, _) in backends() {
                    let tls = ClientTls::with_backend(backend);
                    let tls = tls.roots_pem(authority.pem()).unwrap();
                    let with = |certificate: &Certificate| {
                        let (chain, key) = (&*certificate.chain, &*certificate.key);
                        tls.clone().identity_pem(chain, key)
                    };
                    let (client, accepted) = both(&server, |connect| connect.tls(with(&known)));
                    block_on(talk(client.unwrap(), accepted.unwrap()));

                    for tls in [tls.clone(), with(&unknown)] {
                        let (client, refused) = both(&server, |connect| connect.tls(tls));
                        let refused = refused.unwrap_err();
                        assert!(tls_error(&refused).is_certificate(), "{refused}");
                        let error = client.unwrap_err();
                        assert!(error.is_tls(), "{error:?}");
                    }
                }
            }

            #[test]
            fn a_ready_configuration_is_used_as_it_is() {
                let authority = Authority::new("known");
                let certificate = authority.issue("localhost");
                let config = rustls_client(&authority, &[&rustls::version::TLS12]);
                let tls = ClientTls::from(Arc::new(config));
                let server = certificate.server(Backend::Rustls);
                let (client, server) = both(&server, |connect| connect.tls(tls));
                block_on(talk(client.unwrap(), server.unwrap()));
            }

            #[test]
            fn a_client_that_does_not_speak_tls_is_told_and_so_is_its_server() {
                let certificate = Authority::new("known").issue("localhost");
                for (_, server_backend) in backends() {
                    let server = certificate.server(server_backend);
                    let (client, server) = block_on(async {
                        let (url, listener) = listen().await;
                        let client = connect(&url.replace("wss", "ws")).into_future();
                        zip(client, serve(&listener, &server)).await
                    });
                    let error = client.unwrap_err();
                    // The library of the system may hang up without an alert.
                    let hint = match server_backend {
                        Backend::Rustls => "use wss://",
                        _ => "",
                    };
                    let cause = error.source().map(ToString::to_string);
                    assert!(cause.is_some_and(|cause| cause.contains(hint)), "{error:?}");
                    let error = server.unwrap_err();
                    let tls = tls_error(&error);
                    assert_eq!(tls.kind(), TlsErrorKind::NotTls, "{tls:?}");
                    assert_eq!(tls.to_string(), "the client does not speak TLS");
                }
            }

            /// Returns the ClientHello with which a client connects to this host.
            fn hello(tls: ClientTls, host: &str) -> Vec<u8> {
                block_on(async {
                    let (url, listener) = listen().await;
                    let url = url.replace("localhost", host);
                    let client = connect(&url).tls(tls).into_future();
                    let server = async {
                        let (mut stream, _) = listener.accept().await.unwrap();
                        let mut header = [0; 5];
                        stream.read_exact(&mut header).await.unwrap();
                        let length = u16::from_be_bytes([header[3], header[4]]);
                        let mut hello = vec![0; length.into()];
                        stream.read_exact(&mut hello).await.unwrap();
                        hello
                    };
                    zip(client, server).await.1
                })
            }

            #[test]
            fn a_configuration_for_http_2_is_used_for_http_1() {
                const HTTP_1: &[u8] = b"\x00\x09\x08http/1.1";

                let authority = Authority::new("known");
                let certificate = authority.issue("localhost");
                for (protocols, offered) in [
                    (&["h2", "http/1.1"][..], Some(HTTP_1)),
                    (&["h2"], Some(HTTP_1)),
                    (&["other"], Some(b"\x00\x06\x05other")),
                    (&[], None),
                ] {
                    let mut config = rustls_client(&authority, rustls::DEFAULT_VERSIONS);
                    config.alpn_protocols = alpn(protocols);
                    let tls = ClientTls::from(Arc::new(config));
                    let hello = hello(tls, "localhost");
                    assert_eq!(extension(&hello, 16), offered, "{protocols:?}");
                }
                for protocols in [&["h2", "http/1.1"][..], &["h2"]] {
                    let mut config = rustls_server(&certificate);
                    config.alpn_protocols = alpn(protocols);
                    let server = ServerTls::from(Arc::new(config));
                    let mut config = rustls_client(&authority, rustls::DEFAULT_VERSIONS);
                    config.alpn_protocols = alpn(&["h2", "http/1.1"]);
                    let selected = block_on(async {
                        let (_, listener) = listen().await;
                        let address = listener.local_addr().unwrap();
                        let client = std::thread::spawn(move || negotiated(config, address));
                        assert!(serve(&listener, &server).await.is_err());
                        client.join().unwrap()
                    });
                    assert_eq!(selected.as_deref(), Some(&b"http/1.1"[..]));
                }
            }

            #[test]
            fn a_peer_that_accepts_no_protocol_is_reported_with_alpn() {
                let authority = Authority::new("known");
                let mut config = rustls_server(&authority.issue("localhost"));
                config.alpn_protocols = alpn(&["other"]);
                let server = ServerTls::from(Arc::new(config));
                for (backend, _) in backends() {
                    let tls = ClientTls::with_backend(backend);
                    let tls = tls.roots_pem(authority.pem()).unwrap();
                    let (client, accepted) = both(&server, |connect| connect.tls(tls));
                    assert_eq!(
                        client.unwrap_err().to_string(),
                        "TLS with localhost failed: it accepts none of the protocols that were \
                         offered (ALPN)"
                    );
                    assert_eq!(
                        accepted.unwrap_err().to_string(),
                        "TLS with the client failed: it offers no protocol that is accepted (ALPN)"
                    );
                }
            }

            /// Server Name Indication (RFC 6066 section 3) is for names: an address is not sent.
            #[test]
            fn the_server_is_told_the_name_that_is_connected_to() {
                for (client, _) in backends() {
                    for (host, expected) in [("localhost", Some("localhost")), ("127.0.0.1", None)]
                    {
                        let tls = ClientTls::with_backend(client);
                        let tls = tls.danger_accept_invalid_certificates();
                        let hello = hello(tls, host);
                        let named = super::server_name(&hello);
                        assert_eq!(named.as_deref(), expected, "{client:?}");
                    }
                }
            }

            #[test]
            fn a_server_that_hangs_up_in_the_middle_is_told() {
                for (client, _) in backends() {
                    let tls = ClientTls::with_backend(client);
                    let tls = tls.danger_accept_invalid_certificates();
                    let error = block_on(async {
                        let (url, listener) = listen().await;
                        let server = async {
                            let (mut stream, _) = listener.accept().await.unwrap();
                            let _ = stream.read(&mut [0; 64]).await;
                        };
                        let client = connect(&url).tls(tls).into_future();
                        zip(client, server).await.0.unwrap_err()
                    });
                    let tls = tls_error(&error);
                    assert_eq!(tls.kind(), TlsErrorKind::Lost, "{tls:?}");
                    assert_eq!(
                        tls.to_string(),
                        "connection lost while TLS was negotiated with localhost"
                    );
                    assert!(error.is_transient());
                }
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
