//! TLS over real loopback sockets, on smol and on async-std, by every back end that is built in, with
//! certificates that are made here.

use std::error::Error as _;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use sansock::tls::rustls_0_23 as rustls;
use sansock::tls::{Backend, ClientTls, ServerTls, TlsError, TlsErrorKind};
use sansock::{Error, Message};

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
fn neither_key_nor_certificate_is_shown() {
    let certificate = Authority::new("known").issue("localhost");
    let tls = ClientTls::new().identity_pem(&*certificate.chain, &*certificate.key);
    let shown = format!("{tls:?} {:?}", certificate.server(Backend::Rustls));
    assert!(
        !shown.contains("PRIVATE") && !shown.contains("BEGIN"),
        "{shown}"
    );
}

/// The tests over the shim `$shim`, with the sockets and `block_on` of its runtime.
macro_rules! over_loopback {
    ($runtime:ident, $shim:ident, $net:path, $unix:path, $block_on:path) => {
        mod $runtime {
            use std::future::IntoFuture;

            use futures_lite::AsyncReadExt;
            use futures_lite::future::zip;
            use sansock::$shim::{Connect, WebSocket, accept, connect};
            use $block_on as block_on;
            use $net as net;
            use $unix as unix;

            use self::net::TcpListener;
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
                            let (mut receiver, mut sender) = ws.split();
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
                        let error = tls_error(&error);
                        assert!(error.is_certificate(), "{error:?}");
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
            fn own_roots_take_the_place_of_others() {
                // No system knows this authority.
                let certificate = Authority::new("known").issue("localhost");
                for (client, server) in backends() {
                    let tls = ClientTls::with_backend(client);
                    let server = certificate.server(server);
                    let (client, _) = both(&server, |connect| connect.tls(tls));
                    assert!(client.unwrap_err().is_tls());
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
                let mut roots = rustls::RootCertStore::empty();
                roots.add(authority.0.der().clone()).unwrap();
                let provider = Arc::new(rustls::crypto::ring::default_provider());
                let config = rustls::ClientConfig::builder_with_provider(provider)
                    .with_protocol_versions(&[&rustls::version::TLS12])
                    .unwrap()
                    .with_root_certificates(roots)
                    .with_no_client_auth();
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
                    assert_eq!(tls.kind(), TlsErrorKind::Negotiation, "{tls:?}");
                    assert_eq!(
                        tls.to_string(),
                        "TLS with localhost failed: the connection was lost"
                    );
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
