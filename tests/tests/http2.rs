//! WebSockets over HTTP/2 (RFC 8441): hyper on both sides over loopback sockets, and h2 alone where a peer does what
//! hyper does not.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_channel::{Receiver, Sender};
use async_executor::Executor;
use async_io::Timer;
use async_net::{TcpListener, TcpStream};
use bytes::Bytes;
use futures_lite::AsyncWriteExt;
use futures_lite::future::{or, poll_once, zip};
use h2::Reason;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::ext::Protocol;
use hyper::http;
use hyper::service::service_fn;
use hyper::upgrade::{self, Upgraded};
use hyper::{Method, Request, Response, StatusCode};
use sansock::core::handshake::{self, ClientHandshake, HandshakeError, HttpVersion, Uri};
use sansock::core::{Connection, Side};
use sansock::{ClientOptions, Config, Message, ServerOptions, WebSocket};
use tokio_util::compat::FuturesAsyncReadCompatExt;

#[expect(unreachable_pub, reason = "it is a file to copy")]
#[path = "../../adapters/docs/hyper.rs"]
mod adapter;

use adapter::{HyperIo, Spawner, http2_client, http2_server, websockets_allowed};

type Stream = HyperIo<Upgraded>;
type Socket = WebSocket<Stream, Timer>;
type Http = SendRequest<Empty<Bytes>>;

static EXECUTOR: Executor<'static> = Executor::new();

/// Nothing here takes as long; it is a bound, not a measure.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a test. The threads of all tests run the tasks of one executor.
#[track_caller]
fn run(test: impl Future<Output = ()>) {
    let over = async {
        Timer::after(PATIENCE).await;
        panic!("it takes too long");
    };
    async_io::block_on(EXECUTOR.run(or(test, over)));
}

async fn pause(milliseconds: u64) {
    Timer::after(Duration::from_millis(milliseconds)).await;
}

fn config() -> Config {
    sansock::config().multiplexed(true)
}

/// How many streams a connection has at most, unless a test says otherwise.
const STREAMS: u32 = 128;

/// An HTTP/2 server at a loopback address, for one connection after the other.
struct Server {
    address: SocketAddr,
    /// How its WebSockets have ended.
    ends: Receiver<u16>,
    /// Lets connections end once their streams have.
    goaway: Sender<()>,
}

impl Server {
    /// Answers `/` with a page, and opens a WebSocket at any other path.
    async fn start<F>(streams: u32, handler: impl Fn(Socket) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Socket> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (ended, ends) = async_channel::unbounded();
        let (goaway, gone) = async_channel::bounded::<()>(1);
        let handler = Arc::new(handler);
        let accepting = async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (handler, ended, gone) = (handler.clone(), ended.clone(), gone.clone());
                let service = service_fn(move |request| {
                    let answer = answer(request, handler.clone(), ended.clone());
                    async { Ok::<_, Infallible>(answer) }
                });
                let http = http2_server(Spawner(&EXECUTOR), streams);
                let serving = async move {
                    let mut http = pin!(http.serve_connection(HyperIo::new(stream), service));
                    let stopping = async {
                        let _ = gone.recv().await;
                        None
                    };
                    if or(async { Some(http.as_mut().await) }, stopping)
                        .await
                        .is_none()
                    {
                        http.as_mut().graceful_shutdown();
                        let _ = http.await;
                    }
                };
                EXECUTOR.spawn(serving).detach();
            }
        };
        EXECUTOR.spawn(accepting).detach();
        Self {
            address,
            ends,
            goaway,
        }
    }

    /// A server that sends back what comes.
    async fn echo() -> Self {
        Self::start(STREAMS, echo).await
    }

    async fn next_end(&self) -> u16 {
        self.ends.recv().await.unwrap()
    }
}

async fn echo(mut ws: Socket) -> Socket {
    while let Ok(Some(message)) = ws.recv().await {
        if ws.send(message).await.is_err() {
            break;
        }
    }
    ws
}

/// How a WebSocket has ended: the code of the Close frame that was first, or 1006 if the peer sent none.
fn code(ws: &Socket) -> u16 {
    let closed = ws.closed().unwrap();
    let first = closed.first().filter(|_| closed.received().is_some());
    first.map_or(1006, |frame| frame.code.number())
}

/// Opens a WebSocket where one is asked for.
fn answer<F>(
    mut request: Request<Incoming>,
    handler: Arc<impl Fn(Socket) -> F + Send + Sync + 'static>,
    ended: Sender<u16>,
) -> Response<Full<Bytes>>
where
    F: Future<Output = Socket> + Send + 'static,
{
    if request.method() == Method::GET {
        return Response::new("page".into());
    }
    let protocol = request.extensions().get::<Protocol>();
    let protocol = protocol.map(|protocol| protocol.as_str().to_owned());
    let asked = match handshake::Request::from_http(&request, protocol.as_deref()) {
        Ok(asked) => asked,
        Err(error) => return sent(&handshake::refuse(&error)),
    };
    let (response, negotiated) = ServerOptions::new().accept(&asked);
    if let Ok(negotiated) = negotiated {
        let stream = upgrade::on(&mut request);
        let conversation = async move {
            let connection = Connection::new(Side::Server, negotiated, config()).unwrap();
            let stream = HyperIo::http2(stream.await.unwrap());
            let ws = handler(WebSocket::new(stream, Timer::never(), connection)).await;
            let _ = ended.send(code(&ws)).await;
        };
        EXECUTOR.spawn(conversation).detach();
    }
    sent(&response)
}

fn sent(response: &handshake::Response) -> Response<Full<Bytes>> {
    http::Response::try_from(response).unwrap().map(Full::new)
}

/// A client's connection, once the server has allowed Extended CONNECT.
async fn connect(address: SocketAddr) -> Http {
    let stream = TcpStream::connect(address).await.unwrap();
    let http = http2_client(Spawner(&EXECUTOR), STREAMS);
    let (http, mut connection) = http.handshake(HyperIo::new(stream)).await.unwrap();
    assert!(websockets_allowed(&mut connection).await.unwrap());
    EXECUTOR.spawn(async { drop(connection.await) }).detach();
    http
}

async fn open(http: &Http, path: &str) -> Result<Socket, HandshakeError> {
    let (stream, connection) = open_stream(http, path).await?;
    Ok(WebSocket::new(stream, Timer::never(), connection))
}

async fn open_stream(http: &Http, path: &str) -> Result<(Stream, Connection), HandshakeError> {
    let mut http = http.clone();
    let uri: Uri = format!("ws://localhost{path}").parse().unwrap();
    let (options, config) = (ClientOptions::new(), config());
    let asked = ClientHandshake::extended_connect(&uri, HttpVersion::Http2, &options, &config);
    let asked = asked.unwrap();
    let mut request = http::Request::try_from(asked.request()).unwrap();
    let protocol = Protocol::from_static("websocket");
    request.extensions_mut().insert(protocol);
    http.ready().await.unwrap();
    let sending = http.send_request(request.map(|()| Empty::new()));
    let mut response = sending.await.unwrap();
    let stream = upgrade::on(&mut response);
    let head = handshake::Response::try_from(response.map(|_| Bytes::new())).unwrap();
    let connection = Connection::new(Side::Client, asked.check(&head)?, config).unwrap();
    Ok((HyperIo::http2(stream.await.unwrap()), connection))
}

async fn get(http: &Http) -> (StatusCode, Bytes) {
    let mut http = http.clone();
    let request = Request::get("http://localhost/")
        .body(Empty::new())
        .unwrap();
    http.ready().await.unwrap();
    let response = http.send_request(request).await.unwrap();
    let status = response.status();
    (status, response.collect().await.unwrap().to_bytes())
}

/// h2 alone, as a peer.
async fn raw(address: SocketAddr) -> h2::client::SendRequest<Bytes> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (http, connection) = h2::client::handshake(stream.compat()).await.unwrap();
    EXECUTOR.spawn(async { drop(connection.await) }).detach();
    let http = http.ready().await.unwrap();
    while !http.is_extended_connect_protocol_enabled() {
        pause(1).await;
    }
    http
}

fn raw_request(protocol: &'static str) -> http::request::Builder {
    Request::connect("http://localhost/chat")
        .extension(h2::ext::Protocol::from(protocol))
        .header("sec-websocket-version", "13")
}

type RawStream = (h2::RecvStream, h2::SendStream<Bytes>);

async fn raw_open(http: &mut h2::client::SendRequest<Bytes>) -> RawStream {
    let request = raw_request("websocket").body(()).unwrap();
    let (response, sending) = http.send_request(request, false).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200);
    (response.into_body(), sending)
}

/// All that comes until the stream ends, or how it was reset.
async fn rest(receiving: &mut h2::RecvStream) -> Result<Vec<u8>, Option<Reason>> {
    let mut all = Vec::new();
    while let Some(data) = receiving.data().await {
        let data = data.map_err(|error| error.reason())?;
        let _ = receiving.flow_control().release_capacity(data.len());
        all.extend_from_slice(&data);
    }
    Ok(all)
}

#[test]
fn websockets_and_requests_share_a_connection() {
    run(async {
        let server = Server::echo().await;
        let http = connect(server.address).await;
        let mut sockets = Vec::new();
        for number in 0..10 {
            sockets.push((number, open(&http, "/chat").await.unwrap()));
        }
        assert_eq!(get(&http).await, (StatusCode::OK, "page".into()));
        for (number, ws) in &mut sockets {
            ws.send(format!("number {number}")).await.unwrap();
        }
        for (number, ws) in &mut sockets {
            let came = ws.recv().await.unwrap();
            assert_eq!(came, Some(Message::text(format!("number {number}"))));
        }
        for (_, mut ws) in sockets {
            ws.close(4000, "enough").await.unwrap();
            assert_eq!(server.next_end().await, 4000);
        }
        assert_eq!(get(&http).await.0, StatusCode::OK);
    });
}

#[test]
fn a_mebibyte_on_each_of_a_hundred_streams_comes_back() {
    run(async {
        let server = Server::echo().await;
        let http = connect(server.address).await;
        let mut talking = Vec::new();
        for number in 0..100_u8 {
            let mut ws = open(&http, "/chat").await.unwrap();
            talking.push(EXECUTOR.spawn(async move {
                let sent = Message::binary(vec![number; 1 << 20]);
                ws.send(sent.clone()).await.unwrap();
                assert!(ws.recv().await.unwrap() == Some(sent), "stream {number}");
                ws.close(1000, "").await.unwrap();
            }));
        }
        for talk in talking {
            talk.await;
        }
    });
}

/// Neither side reads a stream on which the other sends without end.
#[test]
fn a_stream_that_is_not_read_stops_no_other() {
    run(async {
        let server = Server::start(STREAMS, async |mut ws: Socket| {
            while ws.send(vec![0; 64 * 1024]).await.is_ok() {}
            ws
        });
        let flooding = server.await;
        let http = connect(flooding.address).await;
        let mut stalled = Vec::new();
        for _ in 0..5 {
            stalled.push(open(&http, "/flood").await.unwrap());
        }
        // As many bytes are on their way as may be.
        pause(200).await;
        for _ in 0..10 {
            assert_eq!(get(&http).await.0, StatusCode::OK);
            let mut ws = open(&http, "/chat").await.unwrap();
            assert_eq!(ws.recv().await.unwrap().unwrap().len(), 64 * 1024);
        }
        drop(stalled);

        let deaf = Server::start(STREAMS, async |ws: Socket| {
            Timer::after(PATIENCE).await;
            ws
        });
        let deaf = deaf.await;
        let http = connect(deaf.address).await;
        let mut ws = open(&http, "/deaf").await.unwrap();
        let sending = async { while ws.send(vec![0; 64 * 1024]).await.is_ok() {} };
        or(sending, pause(200)).await;
        for _ in 0..10 {
            assert_eq!(get(&http).await.0, StatusCode::OK);
            open(&http, "/deaf").await.unwrap();
        }
    });
}

#[test]
fn a_reset_ends_a_websocket_with_1006_and_no_other() {
    run(async {
        let server = Server::echo().await;
        let mut http = raw(server.address).await;
        let (_keep, mut sending) = raw_open(&mut http).await;
        let (mut other, mut other_sending) = raw_open(&mut http).await;
        for reason in [Reason::CANCEL, Reason::INTERNAL_ERROR] {
            sending.send_reset(reason);
            assert_eq!(server.next_end().await, 1006, "{reason}");
            (_, sending) = raw_open(&mut http).await;
        }
        let frames = b"\x81\x82\0\0\0\0hi\x88\x80\0\0\0\0";
        other_sending
            .send_data(Bytes::from_static(frames), false)
            .unwrap();
        assert_eq!(rest(&mut other).await, Ok(b"\x81\x02hi\x88\0".to_vec()));
    });
}

#[test]
fn the_end_of_the_stream_without_a_close_frame_is_1006() {
    run(async {
        let server = Server::echo().await;
        let mut http = raw(server.address).await;
        let (mut receiving, mut sending) = raw_open(&mut http).await;
        sending.send_data(Bytes::new(), true).unwrap();
        assert_eq!(server.next_end().await, 1006);
        assert_eq!(rest(&mut receiving).await, Ok(Vec::new()));
    });
}

#[test]
fn a_message_a_close_frame_and_the_end_of_the_stream_at_once() {
    run(async {
        let server = Server::echo().await;
        let mut http = raw(server.address).await;
        let (mut receiving, mut sending) = raw_open(&mut http).await;
        let frames = b"\x81\x82\0\0\0\0hi\x88\x82\0\0\0\0\x03\xe8";
        sending.send_data(Bytes::from_static(frames), true).unwrap();
        let came = rest(&mut receiving).await;
        assert_eq!(came, Ok(b"\x81\x02hi\x88\x02\x03\xe8".to_vec()));
        assert_eq!(server.next_end().await, 1000);
    });
}

/// A peer that never ends its side of the stream does not keep the server.
#[test]
fn the_server_ends_its_stream_at_once_after_the_closing_handshake() {
    run(async {
        let server = Server::echo().await;
        let mut http = raw(server.address).await;
        let mut kept = Vec::new();
        for _ in 0..200 {
            let (mut receiving, mut sending) = raw_open(&mut http).await;
            let frames = b"\x88\x82\0\0\0\0\x03\xe8";
            sending
                .send_data(Bytes::from_static(frames), false)
                .unwrap();
            assert_eq!(rest(&mut receiving).await, Ok(b"\x88\x02\x03\xe8".to_vec()));
            server.next_end().await;
            if kept.len() < 5 {
                kept.push(sending);
            }
        }
    });
}

#[test]
fn what_was_sent_before_a_websocket_is_dropped_arrives() {
    run(async {
        let server = Server::start(STREAMS, async |mut ws: Socket| {
            ws.send("last words").await.unwrap();
            ws
        });
        let server = server.await;
        let mut http = raw(server.address).await;
        let (mut receiving, _sending) = raw_open(&mut http).await;
        let came = rest(&mut receiving).await;
        assert_eq!(came, Ok(b"\x81\x0alast words".to_vec()));
    });
}

#[test]
fn after_goaway_open_websockets_go_on_until_each_is_closed() {
    run(async {
        let closing = Arc::new(Mutex::new(Vec::<Sender<()>>::new()));
        let handles = closing.clone();
        let server = Server::start(STREAMS, move |mut ws: Socket| {
            let (sender, close) = async_channel::bounded(1);
            handles.lock().unwrap().push(sender);
            async move {
                loop {
                    let message = or(async { ws.recv().await.ok().flatten() }, async {
                        let _ = close.recv().await;
                        None
                    });
                    let Some(message) = message.await else { break };
                    ws.send(message).await.unwrap();
                }
                ws.close(1001, "").await.unwrap();
                ws
            }
        });
        let server = server.await;
        let http = connect(server.address).await;
        let mut first = open(&http, "/chat").await.unwrap();
        let mut second = open(&http, "/chat").await.unwrap();
        server.goaway.send(()).await.unwrap();
        for ws in [&mut first, &mut second] {
            for _ in 0..10 {
                ws.send("still here").await.unwrap();
                assert_eq!(ws.recv().await.unwrap(), Some(Message::text("still here")));
            }
        }
        closing.lock().unwrap().clear();
        for mut ws in [first, second] {
            assert_eq!(ws.recv().await.unwrap(), None);
            assert_eq!(code(&ws), 1001);
            assert_eq!(server.next_end().await, 1001);
        }
        let mut http = http;
        while http.ready().await.is_ok() {
            pause(1).await;
        }
    });
}

#[test]
fn the_end_of_the_connection_is_1006_for_all_its_websockets() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // A server that has no more to say than its answers.
        let serving = async {
            let (stream, _) = listener.accept().await.unwrap();
            let mut http = h2::server::Builder::new();
            let http = http
                .enable_connect_protocol()
                .handshake::<_, Bytes>(stream.compat());
            let mut http = http.await.unwrap();
            let mut streams = Vec::new();
            while streams.len() < 3 {
                let (_, mut respond) = http.accept().await.unwrap().unwrap();
                streams.push(respond.send_response(Response::new(()), false).unwrap());
            }
            // They leave before the connection does.
            let over = async {
                let _ = http.accept().await;
            };
            or(over, pause(100)).await;
        };
        let visiting = async {
            let http = connect(address).await;
            let mut sockets = Vec::new();
            for _ in 0..3 {
                sockets.push(open(&http, "/chat").await.unwrap());
            }
            for mut ws in sockets {
                while let Ok(Some(_)) = ws.recv().await {}
                assert_eq!(code(&ws), 1006);
            }
        };
        zip(serving, visiting).await;
    });
}

#[test]
fn streams_beyond_the_limit_wait_until_one_has_ended() {
    run(async {
        let server = Server::start(2, echo).await;
        let http = connect(server.address).await;
        let mut first = open(&http, "/chat").await.unwrap();
        let _second = open(&http, "/chat").await.unwrap();
        let mut third = pin!(open(&http, "/chat"));
        let mut request = pin!(get(&http));
        pause(100).await;
        assert!(poll_once(third.as_mut()).await.is_none());
        assert!(poll_once(request.as_mut()).await.is_none());
        first.close(1000, "").await.unwrap();
        let mut third = third.await.unwrap();
        third.send("at last").await.unwrap();
        assert_eq!(third.recv().await.unwrap(), Some(Message::text("at last")));
        third.close(1000, "").await.unwrap();
        assert_eq!(request.await.0, StatusCode::OK);
    });
}

#[test]
fn requests_that_open_no_websocket_are_answered() {
    run(async {
        let server = Server::echo().await;
        let mut http = raw(server.address).await;
        let version = "sec-websocket-version";
        for (request, status) in [
            (raw_request("connect-udp"), 501),
            (raw_request("websocket").header("host", "elsewhere"), 400),
            (raw_request("websocket").header(version, "12"), 400),
        ] {
            let request = request.body(()).unwrap();
            let (response, _) = http.send_request(request, true).unwrap();
            let response = response.await.unwrap();
            assert_eq!(response.status(), status, "{response:?}");
            for forbidden in ["connection", "upgrade", "transfer-encoding"] {
                assert!(!response.headers().contains_key(forbidden));
            }
        }
        let _open = raw_open(&mut http).await;
    });
}

/// What is written into a stream that is not read waits in the application, not in the HTTP stack.
#[test]
fn the_stack_takes_little_of_what_is_not_read() {
    run(async {
        let deaf = Server::start(STREAMS, async |ws: Socket| {
            Timer::after(PATIENCE).await;
            ws
        });
        let deaf = deaf.await;
        let http = connect(deaf.address).await;
        let (mut stream, _) = open_stream(&http, "/deaf").await.unwrap();
        let block = vec![0; 16 << 20];
        let mut taken = 0;
        let writing = async {
            loop {
                taken += stream.write(&block).await.unwrap();
            }
        };
        or(writing, pause(300)).await;
        assert!(taken >= 64 * 1024, "{taken}");
        assert!(taken <= 128 * 1024, "{taken}");
    });
}
