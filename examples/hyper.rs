//! WebSockets and ordinary HTTP on one port: hyper speaks HTTP/1.1 and HTTP/2, on smol, and hands over the streams of
//! requests that ask for a WebSocket. Ctrl-C closes the WebSockets, with 1001.
//!
//! ```text
//! cargo run --example hyper                               a server, and a client that visits it by both versions
//! cargo run --example hyper -- 127.0.0.1:9001             the server alone, by HTTP/1.1; see http://127.0.0.1:9001/
//! cargo run --example hyper -- 127.0.0.1:9001 CHAIN KEY   the server alone, with TLS by files in PEM, by both versions
//! ```
//!
//! The adapter of hyper is the file `adapters/docs/hyper.rs`: copy it.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_channel::Receiver;
use async_executor::Executor;
use async_io::Timer;
use async_net::{TcpListener, TcpStream};
use async_signal::{Signal, Signals};
use bytes::Bytes;
use futures_lite::future::or;
use futures_lite::{AsyncRead, AsyncWrite, StreamExt};
use futures_rustls::{TlsAcceptor, TlsConnector};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::ext::Protocol;
use hyper::service::service_fn;
use hyper::upgrade::{self, Upgraded};
use hyper::{Request, Response, StatusCode, Version, client, server};
use sansock::core::deflate::Deflate;
use sansock::core::handshake::{self, ClientHandshake, HttpVersion, Uri};
use sansock::core::{ClientConnection, Connection, Side};
use sansock::serve::{self, Origins, Serve};
use sansock::tls::rustls_0_23 as rustls;
use sansock::{ClientOptions, Config, WebSocket};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

#[expect(unreachable_pub, reason = "it is a file to copy")]
#[path = "../adapters/docs/hyper.rs"]
mod adapter;

use adapter::{HyperIo, Sleeper, Spawner, http2_client, http2_server, websockets_allowed};

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// What hyper hands over, by either version, with a timer of smol.
type Stream = HyperIo<Upgraded>;
type Socket = serve::Socket<Stream, Timer>;
type Acceptor = serve::Acceptor<Stream, Timer>;

static EXECUTOR: Executor = Executor::new();

/// How many requests and WebSockets an HTTP/2 connection carries at a time.
const STREAMS: u32 = 200;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    async_io::block_on(EXECUTOR.run(async {
        match &arguments[..] {
            [] => {
                let (chain, key, root) = self_signed()?;
                let listener = TcpListener::bind("127.0.0.1:0").await?;
                let address = listener.local_addr()?;
                let tls = Some(server_tls(chain, key)?);
                let _server = EXECUTOR.spawn(serve(listener, tls));
                visit(address, root).await
            }
            [address] => serve(TcpListener::bind(address).await?, None).await,
            [address, chain, key] => {
                let chain = CertificateDer::pem_file_iter(chain)?.collect::<Result<_, _>>()?;
                let tls = server_tls(chain, PrivateKeyDer::from_pem_file(key)?)?;
                serve(TcpListener::bind(address).await?, Some(tls)).await
            }
            _ => Err("usage: hyper [ADDRESS [CHAIN KEY]]".into()),
        }
    }))
}

/// One configuration for all, whose clones share it: so they share the pool of compressors too.
static CONFIG: LazyLock<Config> = LazyLock::new(|| sansock::config().deflate(Deflate::new()));

// The server.

/// Serves until Ctrl-C. The WebSockets are served as those of a server that does their HTTP itself.
async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>) -> Outcome {
    let spawn = |connection| EXECUTOR.spawn(connection).detach();
    let server = Serve::new(echo, Timer::never, spawn)
        .origins(Origins::SameHost)
        .hosts(["localhost", "127.0.0.1"])
        .config(CONFIG.clone())
        .on_event(|event| eprintln!("{event}"))
        .bind()
        .await?;
    let (acceptor, handle) = (server.acceptor(), server.handle());
    let running = EXECUTOR.spawn(server.into_future());

    let (secure, bound) = (if tls.is_some() { "s" } else { "" }, listener.local_addr()?);
    println!("listening on http{secure}://{bound}/ and ws{secure}://{bound}/echo");
    let mut signals = Signals::new([Signal::Int, Signal::Term])?;
    let stop = async {
        signals.next().await;
        Ok(())
    };
    // It is closed when the server stops.
    let (_stopping, stopped) = async_channel::bounded(1);
    or(accept(listener, tls, acceptor, stopped), stop).await?;
    handle.shutdown();
    running.await;
    Ok(())
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    acceptor: Acceptor,
    stopped: Receiver<()>,
) -> Outcome {
    loop {
        let (stream, peer) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (tls, acceptor, stopped) = (tls.clone(), acceptor.clone(), stopped.clone());
        let conversation = async move {
            let Some(tls) = tls else {
                return converse(stream, Version::HTTP_11, peer, acceptor, stopped).await;
            };
            let stream = tls.accept(stream).await?;
            let version = match stream.get_ref().1.alpn_protocol() {
                Some(b"h2") => Version::HTTP_2,
                _ => Version::HTTP_11,
            };
            converse(stream, version, peer, acceptor, stopped).await
        };
        let reported = async move {
            if let Err(error) = conversation.await {
                println!("{peer}: {error}");
            }
        };
        EXECUTOR.spawn(reported).detach();
    }
}

/// Answers the requests of a connection.
async fn converse<S>(
    stream: S,
    version: Version,
    peer: SocketAddr,
    acceptor: Acceptor,
    stopped: Receiver<()>,
) -> Outcome
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let acceptor = acceptor.clone();
        async move { Ok::<_, Infallible>(answer(&acceptor, peer, request).await) }
    });
    if version == Version::HTTP_11 {
        let http = server::conn::http1::Builder::new()
            .timer(Sleeper)
            .serve_connection(HyperIo::new(stream), service)
            .with_upgrades();
        return Ok(http.await?);
    }
    let http = http2_server(Spawner(&EXECUTOR), STREAMS);
    let mut http = pin!(http.serve_connection(HyperIo::new(stream), service));
    let stopping = async {
        let _ = stopped.recv().await;
        None
    };
    match or(async { Some(http.as_mut().await) }, stopping).await {
        Some(ended) => Ok(ended?),
        None => {
            // The client opens no more streams. Those that are open go on until the server closes them.
            http.as_mut().graceful_shutdown();
            Ok(http.await?)
        }
    }
}

async fn answer(
    acceptor: &Acceptor,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let (status, text) = match request.uri().path() {
        "/" => (StatusCode::OK, "The WebSocket is at /echo\n".into()),
        "/echo" => match open(acceptor, peer, request).await {
            Ok(response) => return response,
            Err(error) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("{error}\n").into(),
            ),
        },
        _ => (StatusCode::NOT_FOUND, "There is nothing here\n".into()),
    };
    let mut response = Response::new(Full::new(text));
    *response.status_mut() = status;
    response
}

/// Checks the request, by either version, and returns the response to it. Where that is 101, or 200 over HTTP/2, hyper
/// hands over the stream once it has been sent.
async fn open(
    acceptor: &Acceptor,
    peer: SocketAddr,
    mut request: Request<Incoming>,
) -> Outcome<Response<Full<Bytes>>> {
    let protocol = request.extensions().get::<Protocol>().cloned();
    let protocol = protocol.as_ref().map(Protocol::as_str);
    let asked = match handshake::Request::from_http(&request, protocol) {
        Ok(asked) => asked,
        Err(error) => return Ok(Response::try_from(&handshake::refuse(&error))?.map(Full::new)),
    };
    let response = match acceptor.admit(asked, peer).await {
        Ok(admission) => {
            let response = Response::try_from(admission.response())?;
            // What hyper has read beyond the request comes out of this stream first.
            let (version, upgrade) = (request.version(), upgrade::on(&mut request));
            let stream = async move { upgrade.await.map(|stream| wrap(stream, version)) };
            EXECUTOR.spawn(admission.serve_upgrade(stream)).detach();
            response
        }
        Err(refusal) => Response::try_from(&refusal)?,
    };
    Ok(response.map(Full::new))
}

fn wrap(stream: Upgraded, version: Version) -> Stream {
    match version {
        Version::HTTP_2 => HyperIo::http2(stream),
        _ => HyperIo::new(stream),
    }
}

async fn echo(mut ws: Socket) -> sansock::Result<()> {
    while let Some(message) = ws.recv().await? {
        ws.feed(message).await?;
    }
    if let Some(closed) = ws.closed() {
        println!("{closed}");
    }
    Ok(())
}

// The client.

/// Visits the server by both versions.
async fn visit(address: SocketAddr, root: CertificateDer<'static>) -> Outcome {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root)?;
    let tls = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (page, echo) = (
        format!("https://{address}/"),
        format!("wss://{address}/echo"),
    );
    let echo: Uri = echo.parse()?;

    let stream = connect(address, &tls, "h2").await?;
    let http = http2_client(Spawner(&EXECUTOR), STREAMS);
    let (mut http, mut connection) = http.handshake(HyperIo::new(stream)).await?;
    if !in_time(websockets_allowed(&mut connection)).await?? {
        return Err("the server has ended the connection".into());
    }
    EXECUTOR.spawn(connection).detach();
    // Two WebSockets and a request share the connection.
    let mut first = in_time(open_http2(&mut http, &echo)).await??;
    let mut second = in_time(open_http2(&mut http, &echo)).await??;
    let request = Request::get(&page).body(Full::default())?;
    http.ready().await?;
    show(http.send_request(request).await?).await?;
    for (name, ws) in [("first", &mut first), ("second", &mut second)] {
        ws.send(name).await?;
        println!("client: came back over HTTP/2: {:?}", ws.recv().await?);
        ws.close(1000, "that is all").await?;
    }

    let stream = HyperIo::new(connect(address, &tls, "http/1.1").await?);
    let (mut http, connection) = client::conn::http1::handshake(stream).await?;
    EXECUTOR.spawn(connection.with_upgrades()).detach();
    let request = Request::get("/").header("Host", address.to_string());
    let request = request.body(Full::<Bytes>::default())?;
    show(http.send_request(request).await?).await?;
    // The same connection becomes a WebSocket.
    let request = ClientConnection::new(&echo, &ClientOptions::new(), CONFIG.clone())?.connect();
    http.ready().await?;
    let sent = Request::try_from(&request)?.map(|()| Full::default());
    let response = http.send_request(sent).await?;
    let mut ws = opened(response, &ClientHandshake::from(request), CONFIG.clone()).await?;
    ws.send("hello").await?;
    println!("client: came back over HTTP/1.1: {:?}", ws.recv().await?);
    ws.close(1000, "that is all").await?;
    println!("client: closed");
    Ok(())
}

/// Opens a WebSocket on a connection that others share. If the server allows no more streams now, it waits for one.
async fn open_http2(
    http: &mut SendRequest<Full<Bytes>>,
    uri: &Uri,
) -> Outcome<WebSocket<Stream, Timer>> {
    // The client does not wait for the server's end of the stream, as it would on a separate connection.
    let config = CONFIG.clone().multiplexed(true);
    let options = ClientOptions::new();
    let asked = ClientHandshake::extended_connect(uri, HttpVersion::Http2, &options, &config)?;
    let mut request = Request::try_from(asked.request())?.map(|()| Full::default());
    request
        .extensions_mut()
        .insert(Protocol::from_static("websocket"));
    http.ready().await?;
    let response = http.send_request(request).await?;
    opened(response, &asked, config).await
}

async fn opened(
    mut response: Response<Incoming>,
    asked: &ClientHandshake,
    config: Config,
) -> Outcome<WebSocket<Stream, Timer>> {
    let (version, stream) = (response.version(), upgrade::on(&mut response));
    let head = handshake::Response::try_from(response.map(|_| Bytes::new()))?;
    let negotiated = asked.check(&head)?;
    println!("client: {}, with {}", head.status(), negotiated.extensions);
    let connection = Connection::new(Side::Client, negotiated, config)?;
    Ok(WebSocket::new(
        wrap(stream.await?, version),
        Timer::never(),
        connection,
    ))
}

async fn connect(
    address: SocketAddr,
    tls: &rustls::ClientConfig,
    protocol: &str,
) -> Outcome<impl AsyncRead + AsyncWrite + Unpin + Send + use<>> {
    let mut tls = tls.clone();
    tls.alpn_protocols = vec![protocol.into()];
    let stream = TcpStream::connect(address).await?;
    let name = address.ip().into();
    Ok(TlsConnector::from(Arc::new(tls))
        .connect(name, stream)
        .await?)
}

async fn show(response: Response<Incoming>) -> Outcome {
    let (version, status) = (response.version(), response.status());
    let body = response.collect().await?.to_bytes();
    println!("client: {version:?}: {status}: {}", body.escape_ascii());
    Ok(())
}

/// A server that allows no WebSockets, or no more of them, never says so.
async fn in_time<O>(opening: impl Future<Output = O>) -> Outcome<O> {
    let late = async {
        Timer::after(Duration::from_secs(10)).await;
        Err("the server takes too long to open a WebSocket".into())
    };
    or(async { Ok(opening.await) }, late).await
}

// TLS, with a protocol that both sides choose (ALPN).

fn server_tls(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Outcome<TlsAcceptor> {
    let mut tls = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    tls.alpn_protocols = vec!["h2".into(), "http/1.1".into()];
    Ok(TlsAcceptor::from(Arc::new(tls)))
}

type SelfSigned = (
    Vec<CertificateDer<'static>>,
    PrivateKeyDer<'static>,
    CertificateDer<'static>,
);

fn self_signed() -> Outcome<SelfSigned> {
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    let certificate = certified.cert.der().clone();
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der())?;
    Ok((vec![certificate.clone()], key, certificate))
}
