//! Servers in memory, on a clock that is moved by hand: deadlines, limits, shutdown, and whatever a
//! handler or a client may do.

#[path = "serve_in_memory/drain.rs"]
mod drain;
#[path = "serve_in_memory/lifetime.rs"]
mod lifetime;
#[path = "serve_in_memory/rate.rs"]
mod rate;

use std::collections::VecDeque;
use std::future::{Future, pending, poll_fn};
use std::io;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use async_executor::Executor;
use futures_io::AsyncRead;
use sansock::clock::{VirtualClock, VirtualTimer};
use sansock::core::OpCode;
use sansock::runtime::{BoxFuture, Threads};
use sansock::serve::{
    Accepted, Handle, IncomingRequest, Listen, Listener, Origins, Outcome, OverflowPolicy, Peer,
    Push, Serve, ServerHandle, Socket,
};
use sansock::{Error, Fin, Message, Prepared, Result};
use sansock_core::Side;
use sansock_core::handshake::{Credentials, Headers, Response, StatusCode};
use sansock_tests::driver::server::{TestServer, echo, seconds};
use sansock_tests::driver::{End, Frame, Watch, close_frame, frame, parse_frames, pipe, waker_fn};

type Ws = Socket<End, VirtualTimer>;
type Building = Serve<End, VirtualTimer>;

const REQUEST: &[u8] = b"GET /chat HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

/// A listener that gives what tests put into it.
#[derive(Clone, Default)]
struct Queue {
    waiting: Arc<Mutex<VecDeque<io::Result<Accepted<End>>>>>,
    waker: Arc<Mutex<Option<Waker>>>,
    accepted: Arc<AtomicUsize>,
}

impl Queue {
    fn put(&self, item: io::Result<Accepted<End>>) {
        self.waiting.lock().unwrap().push_back(item);
        if let Some(waker) = self.waker.lock().unwrap().take() {
            waker.wake();
        }
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted<End>>> {
        let item = self.waiting.lock().unwrap().pop_front();
        *self.waker.lock().unwrap() = Some(cx.waker().clone());
        let Some(item) = item else {
            return Poll::Pending;
        };
        self.accepted.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(item)
    }
}

impl Listener<End> for Queue {
    fn accept(&self) -> BoxFuture<Threads, io::Result<Accepted<End>>> {
        let queue = self.clone();
        Box::pin(poll_fn(move |cx| queue.poll(cx)))
    }
}

/// A server, and the listener of its clients.
struct World {
    base: TestServer<End>,
    queue: Queue,
}

/// A client that is moved by hand.
struct Client {
    end: End,
    server: Watch,
    seen: Vec<u8>,
}

fn echoing() -> World {
    World::new(echo)
}

/// Echoes by the halves of a socket, or by the WebSocket that is taken out of it.
async fn echo_apart(ws: Ws, split: bool) -> Result<()> {
    if split {
        let (sender, mut receiver) = ws.split();
        while let Some(message) = receiver.recv().await? {
            sender.send(message).await?;
        }
    } else {
        let mut ws = ws.into_inner();
        while let Some(message) = ws.recv().await? {
            ws.send(message).await?;
        }
    }
    Ok(())
}

impl Deref for World {
    type Target = TestServer<End>;

    fn deref(&self) -> &TestServer<End> {
        &self.base
    }
}

impl World {
    fn new<F, R>(handler: impl Fn(Ws) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = R> + Send + 'static,
        R: Outcome + 'static,
    {
        Self::with(handler, |serve| serve)
    }

    fn with<F, R>(
        handler: impl Fn(Ws) -> F + Send + Sync + 'static,
        set: impl FnOnce(Building) -> Building,
    ) -> Self
    where
        F: Future<Output = R> + Send + 'static,
        R: Outcome + 'static,
    {
        let queue = Queue::default();
        let listen = Listen::on(queue.clone());
        let set = |serve: Building| set(serve.listen(listen));
        let base = TestServer::start(handler, Origins::SameHost, set);
        Self { base, queue }
    }

    /// Connects without a request.
    fn knock(&self) -> Client {
        self.knock_through(1 << 16)
    }

    /// Connects through a pipe that holds so many bytes.
    fn knock_through(&self, capacity: usize) -> Client {
        let (there, here) = pipe(capacity);
        let server = there.watch();
        self.queue.put(Ok(Accepted::new(there, Peer::Unknown)));
        self.settle();
        Client {
            end: here,
            server,
            seen: Vec::new(),
        }
    }

    /// Connects and asks.
    fn ask(&self, request: &[u8]) -> Client {
        let mut client = self.knock();
        client.end.put(request);
        self.settle();
        client
    }

    /// Connects, asks for a WebSocket, and gets one.
    #[track_caller]
    fn open(&self) -> Client {
        self.opened(self.knock())
    }

    #[track_caller]
    fn opened(&self, mut client: Client) -> Client {
        client.end.put(REQUEST);
        self.settle();
        let head = client.take_head();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        client
    }

    /// The one connection that is open.
    #[track_caller]
    fn only(&self) -> Handle {
        let mut connections = self.server.connections();
        assert_eq!(connections.len(), 1);
        connections.remove(0)
    }
}

impl Client {
    fn send(&mut self, text: &str) {
        self.end.put(&frame(Side::Client, 0x81, text.as_bytes()));
    }

    fn send_close(&mut self, code: u16) {
        self.end.put(&close_frame(Side::Client, code, ""));
    }

    fn see(&mut self) {
        let bytes = self.end.take_all();
        self.seen.extend(bytes);
    }

    /// Takes the head of a response.
    #[track_caller]
    fn take_head(&mut self) -> String {
        self.see();
        let end = self.seen.windows(4).position(|four| four == b"\r\n\r\n");
        let rest = self.seen.split_off(end.expect("there is a head") + 4);
        String::from_utf8(std::mem::replace(&mut self.seen, rest)).unwrap()
    }

    /// Takes a response that ends the connection.
    fn take_response(&mut self) -> String {
        self.see();
        String::from_utf8(std::mem::take(&mut self.seen)).unwrap()
    }

    fn take_frames(&mut self) -> Vec<Frame> {
        self.see();
        parse_frames(&std::mem::take(&mut self.seen))
    }

    fn take_texts(&mut self) -> Vec<String> {
        let frames = self.take_frames().into_iter();
        let texts = frames.filter(|frame| frame.first == 0x81);
        texts
            .map(|frame| String::from_utf8(frame.payload).unwrap())
            .collect()
    }

    /// Takes the code of the Close frame that is the last one seen.
    #[track_caller]
    fn take_close(&mut self) -> u16 {
        let frames = self.take_frames();
        let last = frames.last().expect("there is a frame");
        assert_eq!(last.first, 0x88, "{frames:?}");
        u16::from_be_bytes([last.payload[0], last.payload[1]])
    }

    fn is_dropped(&self) -> bool {
        self.server.is_dropped()
    }
}

// The opening handshake.

#[test]
fn a_client_that_dribbles_its_request_is_dropped_at_the_deadline() {
    let world = echoing();
    let mut client = world.knock();
    for byte in &REQUEST[..99] {
        client.end.put(&[*byte]);
        world.advance(0.1);
    }
    assert!(!client.is_dropped());
    assert_eq!(world.server.snapshot().handshakes, 1);
    world.advance(0.1);
    assert!(client.is_dropped());
    let snapshot = world.server.snapshot();
    assert_eq!((snapshot.handshakes, snapshot.failed), (0, 1));
}

#[test]
fn the_deadline_holds_for_the_transport_and_for_looking_at_the_request() {
    let look = |serve: Building| {
        serve
            .open_timeout(seconds(3.0))
            .process_request(|_| pending())
    };
    let world = World::with(echo, look);
    let client = world.ask(REQUEST);
    world.queue.put(Ok(Accepted::opening(
        pending::<Result<End>>(),
        Peer::Unknown,
    )));
    world.settle();
    world.advance(2.9);
    assert!(!client.is_dropped());
    assert_eq!(world.server.snapshot().handshakes, 2);
    world.advance(0.2);
    assert!(client.is_dropped());
    assert_eq!(world.server.snapshot().handshakes, 0);
    assert_eq!(world.server.snapshot().failed, 2);
}

#[test]
fn clients_that_say_nothing_delay_nobody() {
    let world = echoing();
    let silent: Vec<_> = (0..500).map(|_| world.knock()).collect();
    let mut client = world.open();
    client.send("hello");
    world.settle();
    assert_eq!(client.take_texts(), ["hello"]);
    assert!(!silent.iter().any(Client::is_dropped));
}

#[test]
fn malformed_requests_and_wrong_origins_are_refused_and_counted() {
    let world = echoing();
    let foreign = String::from_utf8_lossy(REQUEST).replace(
        "Upgrade: websocket",
        "Origin: https://evil.example\r\nUpgrade: websocket",
    );
    for (request, status) in [
        (&b"nonsense\r\n\r\n"[..], "400"),
        (b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", "426"),
        (foreign.as_bytes(), "403"),
    ] {
        let mut client = world.ask(request);
        let response = client.take_response();
        assert!(
            response.starts_with(&format!("HTTP/1.1 {status} ")),
            "{response}"
        );
        drop(client);
    }
    world.settle();
    let rejected = world.server.snapshot().rejected;
    assert_eq!(Vec::from_iter(rejected), [(400, 1), (403, 1), (426, 1)]);
}

// What the application decides about a request.

#[test]
fn a_request_may_be_answered_with_anything() {
    let look = |serve: Building| {
        serve.process_request(|mut request| async move {
            assert_eq!(*request.peer(), Peer::Unknown);
            match request.path() {
                "/healthz" => request.reject(StatusCode::OK, "ok\n"),
                "/page" => {
                    let mut page = Response::new(StatusCode::OK);
                    page.set_body("<!doctype html>");
                    page.headers_mut().set("Content-Type", "text/html").unwrap();
                    request.respond(page)
                }
                "/chat" => {
                    request.headers_mut().append("Set-Cookie", "a=1").unwrap();
                    request.headers_mut().append("Set-Cookie", "b=2").unwrap();
                    request.accept()
                }
                "/panic" => panic!("this panic is part of the test"),
                _ => request.reject(StatusCode::NOT_FOUND, "nothing\n"),
            }
        })
    };
    let world = World::with(echo, look);
    let get = |path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        world.ask(request.as_bytes()).take_response()
    };
    let health = get("/healthz");
    assert!(health.starts_with("HTTP/1.1 200 OK\r\n"), "{health}");
    assert!(health.ends_with("\r\n\r\nok\n"), "{health}");
    let page = get("/page");
    assert!(page.contains("Content-Type: text/html\r\n"), "{page}");
    assert!(page.contains("Connection: close\r\n"), "{page}");
    assert!(page.ends_with("\r\n\r\n<!doctype html>"), "{page}");
    assert!(get("/else").starts_with("HTTP/1.1 404 "));
    assert!(get("/panic").starts_with("HTTP/1.1 500 "));
    let mut client = world.ask(REQUEST);
    let head = client.take_head();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(
        head.contains("Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n"),
        "{head}"
    );
    world.settle();
    let rejected = world.server.snapshot().rejected;
    assert_eq!(Vec::from_iter(rejected), [(200, 2), (404, 1), (500, 1)]);
}

#[test]
fn credentials_are_asked_for_and_the_handler_learns_whose_they_were() {
    let look = |serve: Building| {
        serve.process_request(|request: IncomingRequest<_, _>| async {
            let Some(credentials) = request.credentials() else {
                return request.require_basic_auth("the \"realm\"\r\n");
            };
            if credentials != Credentials::new("ann", "secret").unwrap() {
                return request.require_basic_auth("realm");
            }
            let user = credentials.user().to_owned();
            request.accept_with(async move |mut ws: Ws| ws.send(user).await)
        })
    };
    let world = World::with(echo, look);
    let ask = |credentials: &str| {
        let header = format!("Authorization: Basic {credentials}\r\nUpgrade:");
        let request = String::from_utf8_lossy(REQUEST).replace("Upgrade:", &header);
        world.ask(request.as_bytes())
    };
    let response = world.ask(REQUEST).take_response();
    assert!(response.starts_with("HTTP/1.1 401 "), "{response}");
    let challenge = "WWW-Authenticate: Basic realm=\"the \\\"realm\\\"\", charset=\"UTF-8\"\r\n";
    assert!(response.contains(challenge), "{response}");
    assert!(
        ask("YW5uOndyb25n")
            .take_response()
            .starts_with("HTTP/1.1 401 ")
    );
    let mut client = ask("YW5uOnNlY3JldA==");
    assert!(client.take_head().starts_with("HTTP/1.1 101 "));
    assert_eq!(client.take_texts(), ["ann"]);
}

#[test]
fn every_response_has_the_headers_of_the_server() {
    let mut headers = Headers::new();
    headers.set("Server", "ours").unwrap();
    let look = |serve: Building| {
        serve
            .response_headers(headers)
            .process_request(|request| async {
                match request.path() {
                    "/chat" => request.accept(),
                    _ => request.reject(StatusCode::NOT_FOUND, ""),
                }
            })
    };
    let world = World::with(echo, look);
    for request in [REQUEST, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let head = world.ask(request).take_head();
        assert!(head.contains("Server: ours\r\n"), "{head}");
    }
}

#[test]
fn subprotocols_are_selected() {
    let offer = String::from_utf8_lossy(REQUEST)
        .replace("Upgrade:", "Sec-WebSocket-Protocol: a, b\r\nUpgrade:");
    let selected = |set: fn(Building) -> Building| {
        let handler = async |mut ws: Ws| {
            let subprotocol = ws.subprotocol().unwrap_or("none").to_owned();
            ws.send(subprotocol).await
        };
        let world = World::with(handler, set);
        let mut client = world.ask(offer.as_bytes());
        client.take_head();
        client.take_texts()
    };
    assert_eq!(selected(|serve| serve), ["none"]);
    assert_eq!(selected(|serve| serve.subprotocols(["b", "a"])), ["b"]);
    let last = |serve: Building| {
        serve.select_subprotocol(|_, offered| Ok(offered.last().map(|name| (*name).into())))
    };
    assert_eq!(selected(last), ["b"]);
}

// Limits.

#[test]
fn failures_to_accept_are_survived_at_growing_intervals() {
    let events = Arc::new(AtomicUsize::new(0));
    let count = events.clone();
    let tell = |serve: Building| {
        serve.on_event(move |event| {
            assert!(event.to_string().contains("too many"), "{event}");
            count.fetch_add(1, Ordering::Relaxed);
        })
    };
    let world = World::with(echo, tell);
    let calls = || world.queue.accepted.load(Ordering::Relaxed);
    for _ in 0..12 {
        world
            .queue
            .put(Err(io::Error::other("too many open files")));
    }
    let mut client = world.knock();
    for pause in [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000] {
        let before = calls();
        world.advance(f64::from(pause - 1) / 1000.0);
        assert_eq!(calls(), before, "{pause}");
        world.advance(0.001);
        assert_eq!(calls(), before + 1, "{pause}");
    }
    world.advance(1.0);
    client = world.opened(client);
    assert!(!client.is_dropped());
    assert_eq!(events.load(Ordering::Relaxed), 12);
    assert_eq!(world.server.snapshot().accept_errors, 12);
    // The next time, the first pause is short again.
    world
        .queue
        .put(Err(io::Error::other("too many open files")));
    let client = world.knock();
    world.advance(0.005);
    world.opened(client);
}

#[test]
fn a_connection_that_was_gone_before_it_was_accepted_takes_no_time() {
    let world = echoing();
    for kind in [
        io::ErrorKind::ConnectionAborted,
        io::ErrorKind::ConnectionReset,
    ] {
        world.queue.put(Err(kind.into()));
    }
    world.open();
    assert_eq!(world.server.snapshot().accept_errors, 2);
}

#[test]
fn connections_beyond_the_cap_get_503_until_there_is_room() {
    let look = |serve: Building| {
        serve.max_connections(2).process_request(|request| async {
            match request.path() {
                "/chat" => request.accept(),
                _ => request.reject(StatusCode::OK, "ok\n"),
            }
        })
    };
    let world = World::with(echo, look);
    let (mut first, _second) = (world.open(), world.open());
    let response = world.ask(REQUEST).take_response();
    assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
    assert!(
        response.ends_with("The server is full. Try again later.\n"),
        "{response}"
    );
    // What takes no connection is answered.
    let health = world
        .ask(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        .take_response();
    assert!(health.starts_with("HTTP/1.1 200 "), "{health}");
    first.send_close(1000);
    world.settle();
    drop(first);
    world.settle();
    world.open();
    let snapshot = world.server.snapshot();
    assert_eq!(
        (snapshot.opened, snapshot.rejected.get(&503)),
        (3, Some(&1))
    );
}

// Handlers.

/// What a client sees at the end of a connection whose handler ends in some way.
#[track_caller]
fn ends_with<F, R>(handler: impl Fn(Ws) -> F + Send + Sync + 'static, failures: u64) -> u16
where
    F: Future<Output = R> + Send + 'static,
    R: Outcome + 'static,
{
    let world = World::new(handler);
    let mut client = world.open();
    let code = client.take_close();
    client.send_close(code);
    world.settle();
    drop(client);
    world.settle();
    let snapshot = world.server.snapshot();
    assert_eq!(snapshot.handler_failures, failures);
    assert_eq!(snapshot.open, 0);
    assert_eq!(Vec::from_iter(snapshot.closed), [(code, 1)]);
    code
}

#[test]
fn a_handler_that_returns_closes_with_1000() {
    assert_eq!(ends_with(async |_: Ws| {}, 0), 1000);
    assert_eq!(ends_with(async |ws: Ws| drop(ws.split()), 0), 1000);
    let splits = async |ws: Ws| {
        let (sender, _receiver) = ws.split();
        sender.send("hello").await
    };
    assert_eq!(ends_with(splits, 0), 1000);
}

#[test]
fn a_handler_that_fails_closes_with_1011() {
    let fails = async |_: Ws| Err::<(), _>("no database");
    assert_eq!(ends_with(fails, 1), 1011);
    let splits = async |ws: Ws| {
        let _halves = ws.split();
        Err::<(), _>(io::Error::other("no database"))
    };
    assert_eq!(ends_with(splits, 1), 1011);
}

#[test]
fn a_handler_that_panics_closes_with_1011() {
    let panics = async |_ws: Ws| panic!("this panic is part of the test");
    assert_eq!(ends_with::<_, ()>(panics, 1), 1011);
    let splits = async |ws: Ws| {
        let _halves = ws.split();
        panic!("this panic is part of the test");
    };
    assert_eq!(ends_with::<_, ()>(splits, 1), 1011);
    // Where it panics before there is a future.
    let at_once = |_ws: Ws| -> BoxFuture<Threads, ()> { panic!("this panic is part of the test") };
    assert_eq!(ends_with(at_once, 1), 1011);
}

#[test]
fn a_handler_that_closes_itself_chooses_the_code() {
    assert_eq!(
        ends_with(async |mut ws: Ws| ws.close(4000, "").await, 0),
        4000
    );
    let inner = async |ws: Ws| ws.into_inner().close(4000, "").await;
    assert_eq!(ends_with(inner, 0), 4000);
}

#[test]
fn a_panic_harms_nobody_else() {
    let handler = async |mut ws: Ws| {
        let message = ws.recv().await?;
        assert_eq!(message, None, "this panic is part of the test");
        Ok::<_, Error>(())
    };
    let world = World::new(handler);
    let (mut first, mut second) = (world.open(), world.open());
    first.send("hello");
    world.settle();
    assert_eq!(first.take_close(), 1011);
    second.send_close(1000);
    world.settle();
    assert_eq!(second.take_close(), 1000);
}

#[test]
fn a_websocket_in_another_task_is_closed_when_the_handler_returns() {
    let executor = Arc::new(Executor::new());
    let spawner = executor.clone();
    let handler = move |ws: Ws| {
        let spawner = spawner.clone();
        async move { spawner.spawn(echo(ws)).detach() }
    };
    let world = World::new(handler);
    let mut client = world.open();
    while executor.try_tick() {}
    world.settle();
    while executor.try_tick() {}
    assert_eq!(client.take_close(), 1000);
    client.send_close(1000);
    while executor.try_tick() {}
    drop(client);
    while executor.try_tick() {}
    world.settle();
    assert_eq!(world.server.snapshot().open, 0);
}

#[test]
fn a_handler_that_fails_when_the_client_does_not_answer_holds_nothing_for_long() {
    let world = World::new(async |_: Ws| Err::<(), _>("no"));
    let mut client = world.open();
    assert_eq!(client.take_close(), 1011);
    world.advance(4.9);
    assert_eq!(world.server.snapshot().open, 1);
    world.advance(0.2);
    assert!(client.is_dropped());
    assert_eq!(world.server.snapshot().open, 0);
}

#[test]
fn an_end_that_a_handler_reports_is_no_failure_of_it() {
    for splits in [true, false] {
        let handler = move |mut ws: Ws| async move {
            if splits {
                let (_sender, mut receiver) = ws.split();
                while receiver.recv().await?.is_some() {}
            } else {
                while ws.recv().await?.is_some() {}
            }
            Ok::<_, Error>(())
        };
        let world = World::new(handler);
        let (lost, mut wrong) = (world.open(), world.open());
        drop(lost);
        wrong.end.put(b"\x81\x00");
        world.settle();
        assert_eq!(wrong.take_close(), 1002);
        drop(wrong);
        world.settle();
        let snapshot = world.server.snapshot();
        assert_eq!(snapshot.handler_failures, 0);
        assert_eq!(Vec::from_iter(snapshot.closed), [(1002, 1), (1006, 1)]);
    }
}

#[test]
fn a_client_that_is_gone_when_the_handler_sends_is_no_failure_of_it() {
    for splits in [true, false] {
        let handler = move |ws: Ws| async move {
            if splits {
                let (sender, mut receiver) = ws.split();
                while let Some(message) = receiver.recv().await? {
                    sender.send(message).await?;
                }
                return Ok(());
            }
            echo(ws).await
        };
        let world = World::new(handler);
        let mut client = world.open();
        client.send("hello");
        drop(client);
        world.settle();
        let snapshot = world.server.snapshot();
        assert_eq!(snapshot.handler_failures, 0);
        // The Close frame of the server came no further than its queue.
        assert_eq!(Vec::from_iter(snapshot.closed), [(1006, 1)]);
    }
}

#[test]
fn an_error_of_another_connection_is_a_failure() {
    let handler = async |_ws: Ws| Err::<(), _>(Error::Lost(None));
    assert_eq!(ends_with(handler, 1), 1011);
}

#[test]
fn panics_of_callbacks_are_survived() {
    let tell = |serve: Building| {
        serve
            .on_event(|_| panic!("this panic is part of the test"))
            .select_subprotocol(|_, offered| {
                assert!(offered.is_empty(), "this panic is part of the test");
                Ok(None)
            })
    };
    let world = World::with(async |_: Ws| Err::<(), _>("no"), tell);
    world
        .queue
        .put(Err(io::Error::other("too many open files")));
    world.settle();
    world.advance(1.0);
    let offer = String::from_utf8_lossy(REQUEST)
        .replace("Upgrade:", "Sec-WebSocket-Protocol: a\r\nUpgrade:");
    assert!(world.ask(offer.as_bytes()).is_dropped());
    let mut client = world.open();
    assert_eq!(client.take_close(), 1011);
    let snapshot = world.server.snapshot();
    assert_eq!((snapshot.handshakes, snapshot.failed), (0, 1));
}

// Shutdown.

#[test]
fn a_shutdown_closes_all_with_1001_and_stops_when_they_have_answered() {
    let world = echoing();
    let mut clients: Vec<_> = (0..10).map(|_| world.open()).collect();
    world.server.shutdown();
    world.settle();
    for client in &mut clients {
        assert_eq!(client.take_close(), 1001);
        client.send_close(1001);
    }
    world.settle();
    assert!(!world.has_stopped());
    drop(clients);
    world.settle();
    assert!(world.has_stopped());
    assert_eq!(Vec::from_iter(world.server.snapshot().closed), [(1001, 10)]);
}

#[test]
fn a_shutdown_aborts_those_who_do_not_answer_at_its_deadline() {
    let world = World::with(echo, |serve| serve.shutdown_timeout(seconds(3.0)));
    let (mut answers, mut silent) = (world.open(), world.open());
    world.server.shutdown();
    world.settle();
    assert_eq!(answers.take_close(), 1001);
    answers.send_close(1001);
    world.settle();
    drop(answers);
    assert_eq!(silent.take_close(), 1001);
    world.advance(2.9);
    assert!(!silent.is_dropped());
    assert!(!world.has_stopped());
    world.advance(0.1);
    assert!(silent.is_dropped());
    assert!(world.has_stopped());
}

#[test]
fn a_handler_that_is_busy_is_dropped_at_the_deadline_and_its_client_told() {
    let busy = async |ws: Ws| {
        let _ws = ws;
        pending::<()>().await;
    };
    let world = World::new(busy);
    let mut client = world.open();
    world.server.shutdown();
    world.settle();
    // The server drives the connection, though its handler does not.
    assert_eq!(client.take_close(), 1001);
    world.advance(4.9);
    assert!(!client.is_dropped());
    world.advance(0.1);
    assert!(client.is_dropped(), "the close timeout");
    world.advance(4.9);
    assert!(!world.has_stopped(), "the handler goes on");
    world.advance(0.1);
    assert!(world.has_stopped());
}

#[test]
fn a_shutdown_reaches_halves_and_what_was_taken_out() {
    for split in [true, false] {
        let handler = move |ws: Ws| async move {
            if split {
                let (_sender, mut receiver) = ws.split();
                while receiver.recv().await?.is_some() {}
            } else {
                let mut ws = ws.into_inner();
                while ws.recv().await?.is_some() {}
            }
            Ok::<_, Error>(())
        };
        let world = World::new(handler);
        let mut client = world.open();
        world.server.shutdown_with(1012, "back soon");
        world.settle();
        let frames = client.take_frames();
        assert_eq!(frames[0].payload, b"\x03\xf4back soon");
        client.send_close(1012);
        world.settle();
        drop(client);
        world.settle();
        assert!(world.has_stopped());
        assert_eq!(Vec::from_iter(world.server.snapshot().closed), [(1012, 1)]);
    }
}

#[test]
fn an_abort_reaches_what_other_tasks_hold() {
    let executor = Arc::new(Executor::new());
    let spawner = executor.clone();
    let handler = move |ws: Ws| {
        let spawner = spawner.clone();
        async move {
            let (_sender, mut receiver) = ws.split();
            let receiving = async move { while let Ok(Some(_)) = receiver.recv().await {} };
            spawner.spawn(receiving).detach();
            pending::<()>().await;
        }
    };
    let world = World::new(handler);
    let client = world.open();
    while executor.try_tick() {}
    world.only().abort();
    world.settle();
    while executor.try_tick() {}
    assert!(client.is_dropped());
    assert_eq!(world.server.snapshot().open, 0);
}

#[test]
fn a_shutdown_answers_handshakes_in_progress_with_503() {
    let look = |serve: Building| serve.process_request(|_| pending());
    let world = World::with(echo, look);
    let mut silent = world.knock();
    let mut dribbling = world.ask(&REQUEST[..50]);
    let mut looked_at = world.ask(REQUEST);
    world.queue.put(Ok(Accepted::opening(
        pending::<Result<End>>(),
        Peer::Unknown,
    )));
    world.settle();
    assert_eq!(world.server.snapshot().handshakes, 4);
    world.server.shutdown();
    let late = world.knock();
    for client in [&mut silent, &mut dribbling, &mut looked_at] {
        let response = client.take_response();
        assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
        assert!(
            response.ends_with("The server is shutting down.\n"),
            "{response}"
        );
    }
    assert!(!world.has_stopped());
    drop((silent, dribbling, looked_at));
    world.settle();
    assert!(world.has_stopped());
    let snapshot = world.server.snapshot();
    assert_eq!(snapshot.accepted, 4, "nothing is accepted any more");
    assert_eq!(snapshot.rejected.get(&503), Some(&3));
    drop(late);
}

#[test]
fn a_second_shutdown_changes_nothing() {
    let world = echoing();
    let mut client = world.open();
    world.server.shutdown_with(1005, "not on the wire");
    world.server.shutdown_with(1012, "");
    world.settle();
    assert_eq!(client.take_close(), 1001);
}

#[test]
fn a_server_that_is_no_longer_run_ends_at_once() {
    let mut world = echoing();
    let (mut client, mut knocking) = (world.open(), world.knock());
    drop(world.base.running.take());
    world.settle();
    assert!(client.is_dropped() && knocking.is_dropped());
    assert!(world.has_stopped());
    assert_eq!(client.take_close(), 1001);
    assert!(knocking.take_response().starts_with("HTTP/1.1 503 "));
}

#[test]
fn a_server_that_is_never_run_has_stopped_when_it_is_dropped() {
    let clock = VirtualClock::new();
    let serve = Building::new(echo, move || clock.timer(), |_| {}).origins(Origins::Any);
    let server = futures_lite::future::block_on(serve.bind()).unwrap();
    let handle = server.handle();
    drop(server);
    futures_lite::future::block_on(handle.stopped());
}

// Handles and broadcasts.

#[test]
fn a_broadcast_reaches_all_who_are_open() {
    let world = echoing();
    let mut clients: Vec<_> = (0..3).map(|_| world.open()).collect();
    let sent = world
        .server
        .broadcast(&Prepared::new("news"), OverflowPolicy::Skip);
    assert_eq!((sent.queued, sent.lagging.len(), sent.closed), (3, 0, 0));
    world.settle();
    for client in &mut clients {
        assert_eq!(client.take_texts(), ["news"]);
    }
    let gone = world.server.connections();
    for client in &mut clients {
        client.send_close(1000);
    }
    drop(clients);
    world.settle();
    let sent = sansock::serve::broadcast(&gone, &Prepared::new("news"), OverflowPolicy::Skip);
    assert_eq!((sent.queued, sent.lagging.len(), sent.closed), (0, 0, 3));
}

/// Fills a client that does not read with numbered texts until it lags. Returns how many it took.
fn fill(handle: &Handle, world: &World) -> usize {
    for number in 0.. {
        if handle.push(&Prepared::new(text(number)), OverflowPolicy::Skip) == Push::Overflow {
            return number;
        }
        world.settle();
    }
    unreachable!("a backlog has a limit")
}

fn text(number: usize) -> String {
    format!("{number:01000}")
}

/// A server whose only client does not read, filled up.
fn filled() -> (World, Client, Handle, usize) {
    let world = World::with(echo, |serve| serve.max_backlog(10_000));
    let client = world.opened(world.knock_through(512));
    let handle = world.only();
    let count = fill(&handle, &world);
    (world, client, handle, count)
}

/// Reads everything that a client is sent.
fn take_all_texts(world: &World, client: &mut Client) -> Vec<String> {
    let mut size = usize::MAX;
    while client.seen.len() != size {
        size = client.seen.len();
        client.see();
        world.settle();
    }
    client.take_texts()
}

#[test]
fn a_slow_client_that_is_skipped_misses_the_newest() {
    let (world, mut client, handle, count) = filled();
    assert_eq!(handle.backlog(), 9 * 1064);
    let sent = world
        .server
        .broadcast(&Prepared::new(text(count)), OverflowPolicy::Skip);
    assert!(sent.lagging.iter().eq([&handle]));
    let texts = take_all_texts(&world, &mut client);
    assert_eq!(texts, Vec::from_iter((0..count).map(text)));
    assert_eq!(handle.backlog(), 0);
    // It keeps up again.
    assert_eq!(
        handle.push(&Prepared::new("more"), OverflowPolicy::Skip),
        Push::Queued
    );
    assert_eq!(take_all_texts(&world, &mut client), ["more"]);
}

#[test]
fn a_slow_client_may_miss_the_oldest_instead() {
    let (world, mut client, handle, count) = filled();
    let push = handle.push(&Prepared::new(text(count)), OverflowPolicy::DropOldest);
    assert_eq!(push, Push::Overflow);
    let texts = take_all_texts(&world, &mut client);
    let missed = count - 9;
    let expected = (0..=count).filter(|number| *number != missed).map(text);
    assert_eq!(texts, Vec::from_iter(expected));
}

#[test]
fn a_slow_client_may_be_disconnected() {
    let (world, mut client, handle, _) = filled();
    let push = handle.push(&Prepared::new(text(0)), OverflowPolicy::Disconnect);
    assert_eq!(push, Push::Overflow);
    assert!(!handle.is_open());
    assert_eq!(
        handle.push(&Prepared::new("x"), OverflowPolicy::Skip),
        Push::Closed
    );
    world.settle();
    let mut size = usize::MAX;
    while client.seen.len() != size {
        size = client.seen.len();
        client.see();
        world.settle();
    }
    assert_eq!(client.take_close(), 1008);
}

#[test]
fn a_message_larger_than_the_backlog_goes_out_alone() {
    let world = World::with(echo, |serve| serve.max_backlog(10));
    let mut client = world.open();
    let handle = world.only();
    assert_eq!(
        handle.push(&Prepared::new(text(0)), OverflowPolicy::Skip),
        Push::Queued
    );
    assert_eq!(
        handle.push(&Prepared::new(text(1)), OverflowPolicy::Skip),
        Push::Overflow
    );
    world.settle();
    assert_eq!(client.take_texts(), [text(0)]);
}

#[test]
fn a_broadcast_waits_for_a_message_that_is_sent_in_parts() {
    let world = World::new(async |mut ws: Ws| {
        ws.feed_frame(OpCode::Text, "a", Fin::More).await?;
        ws.recv().await?;
        ws.feed_frame(OpCode::Continuation, "b", Fin::Last).await?;
        echo(ws).await
    });
    let mut client = world.open();
    let payloads = |client: &mut Client| {
        let frames = client.take_frames().into_iter();
        Vec::from_iter(frames.map(|frame| frame.payload))
    };
    assert_eq!(payloads(&mut client), [b"a"]);
    let push = world
        .only()
        .push(&Prepared::new("news"), OverflowPolicy::Skip);
    assert_eq!(push, Push::Queued);
    world.settle();
    assert_eq!(payloads(&mut client), [b""; 0]);
    client.send("go on");
    world.settle();
    assert_eq!(payloads(&mut client), [&b"b"[..], b"news"]);
}

#[test]
fn a_client_that_never_pauses_gets_broadcasts_and_close_frames() {
    // Its handler always finds a message, and so never waits.
    let world = World::new(async |mut ws: Ws| {
        let mut received = 0;
        while ws.recv().await?.is_some() {
            received += 1;
            if received == 2 {
                let pushed = ws
                    .handle()
                    .push(&Prepared::new("news"), OverflowPolicy::Skip);
                assert_eq!(pushed, Push::Queued);
                ws.handle().close(4000, "enough").unwrap();
            }
            assert!(received < 200, "the Close frame is late");
        }
        Ok::<_, Error>(())
    });
    let mut client = world.knock();
    let mut bytes = REQUEST.to_vec();
    for _ in 0..1000 {
        bytes.extend(frame(Side::Client, 0x81, &[b'x'; 1000]));
    }
    client.end.put(&bytes);
    world.settle();
    client.take_head();
    let frames = client.take_frames();
    assert_eq!(frames[0].payload, b"news");
    assert_eq!(frames[1].payload, b"\x0f\xa0enough");
}

/// Everything is there at once, so that nothing has waited yet, and nothing is known about whom to wake.
/// The pong wakes the client during the poll, and the waker of the client pushes.
#[test]
fn a_message_that_is_pushed_during_the_first_poll_leaves() {
    let client: Arc<Mutex<Option<End>>> = Arc::default();
    let theirs = client.clone();
    let world = World::new(move |mut ws: Ws| {
        let theirs = theirs.clone();
        async move {
            ws.recv().await?;
            let handle = ws.handle().clone();
            let waker = waker_fn(move || {
                handle.push(&Prepared::new("news"), OverflowPolicy::Skip);
            });
            if let Some(end) = &mut *theirs.lock().unwrap() {
                end.take_all();
                let mut cx = Context::from_waker(&waker);
                assert!(Pin::new(end).poll_read(&mut cx, &mut [0]).is_pending());
            }
            pending::<()>().await;
            Ok::<_, Error>(())
        }
    });
    let (there, mut end) = pipe(1 << 16);
    let text = frame(Side::Client, 0x81, b"work");
    let ping = frame(Side::Client, 0x89, b"ping");
    end.put(&[REQUEST, &text, &ping].concat());
    *client.lock().unwrap() = Some(end);
    world.queue.put(Ok(Accepted::new(there, Peer::Unknown)));
    world.settle();
    let sent = client.lock().unwrap().as_mut().map(End::take_all);
    let frames = parse_frames(&sent.unwrap());
    let firsts: Vec<u8> = frames.iter().map(|frame| frame.first).collect();
    assert_eq!(firsts, [0x8a, 0x81]);
}

/// More was pushed than the queue takes, and a Close frame arrived, while the message was borrowed.
#[test]
fn all_that_was_pushed_comes_before_what_the_handler_sends_and_receives_next() {
    for pings in [false, true] {
        let released: Arc<AtomicBool> = Arc::default();
        let is_released = released.clone();
        let handler = move |mut ws: Ws| {
            let is_released = is_released.clone();
            async move {
                // While the message is borrowed, the server does not drive the connection.
                let _message = ws.recv_ref().await?;
                poll_fn(|_| match is_released.load(Ordering::Relaxed) {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                })
                .await;
                match pings {
                    true => ws.ping().await.map(drop),
                    false => ws.send("after").await,
                }
            }
        };
        let world = World::with(handler, |serve| {
            serve.config(sansock::config().max_queued_output(3000))
        });
        let mut client = world.open();
        client.send("work");
        world.settle();
        let handle = world.only();
        for number in 0..10 {
            let pushed = Prepared::new(vec![number; 1000]);
            assert_eq!(handle.push(&pushed, OverflowPolicy::Skip), Push::Queued);
        }
        client.send_close(1000);
        released.store(true, Ordering::Relaxed);
        world.settle();
        let frames = client.take_frames();
        assert!(frames.len() > 10, "{} frames", frames.len());
        for (number, frame) in (0..10).zip(&frames) {
            assert_eq!(frame.payload, [number; 1000]);
        }
        assert_eq!(frames.last().map(|frame| frame.first), Some(0x88));
    }
}

/// A task of the handler's own borrows a message for a while, waits for the next, receives it, and then waits for
/// something else.
#[test]
fn what_is_pushed_leaves_after_another_task_has_borrowed_and_received() {
    let elsewhere: Arc<Executor<'static>> = Arc::default();
    let released: Arc<AtomicBool> = Arc::default();
    let (spawner, is_released) = (elsewhere.clone(), released.clone());
    let world = World::new(move |mut ws: Ws| {
        let (spawner, is_released) = (spawner.clone(), is_released.clone());
        async move {
            let receiving = async move {
                ws.recv_ref().await.unwrap();
                while !is_released.load(Ordering::Relaxed) {
                    futures_lite::future::yield_now().await;
                }
                ws.recv().await.unwrap();
                pending::<()>().await;
            };
            spawner.spawn(receiving).await;
        }
    });
    let mut client = world.open();
    // The connection's task comes first, and reads what has arrived.
    let run = || {
        for _ in 0..10 {
            world.settle();
            elsewhere.try_tick();
        }
        world.settle();
    };
    run();
    client.send("borrowed");
    run();
    released.store(true, Ordering::Relaxed);
    run();
    client.send("received");
    run();
    client.take_frames();
    let handle = world.only();
    let pushed = handle.push(&Prepared::new("pushed"), OverflowPolicy::Skip);
    assert_eq!(pushed, Push::Queued);
    world.settle();
    let frames = client.take_frames();
    assert_eq!(frames.len(), 1);
    assert_eq!(frames[0].payload, b"pushed");
}

#[test]
fn a_handle_closes_after_what_it_has_pushed() {
    let world = echoing();
    let mut client = world.open();
    let handle = world.only();
    assert!(matches!(handle.close(1005, ""), Err(Error::Misuse(_))));
    assert!(matches!(
        handle.close(1000, "x".repeat(124)),
        Err(Error::Misuse(_))
    ));
    assert!(handle.is_open());
    handle.push(&Prepared::new("bye"), OverflowPolicy::Skip);
    handle.close(4001, "bye").unwrap();
    handle.close(4002, "again").unwrap();
    assert_eq!(
        handle.push(&Prepared::new("late"), OverflowPolicy::Skip),
        Push::Closed
    );
    world.settle();
    let frames = client.take_frames();
    assert_eq!(frames[0].payload, b"bye");
    assert_eq!(frames[1].payload, b"\x0f\xa1bye");
    assert_eq!(frames.len(), 2);
}

#[test]
fn an_abort_sends_the_close_frame_that_was_asked_for() {
    let busy = async |mut ws: Ws| {
        let _message = ws.recv_ref().await.unwrap();
        pending::<()>().await;
    };
    let world = World::new(busy);
    let mut client = world.open();
    let handle = world.only();
    client.send("borrowed");
    world.settle();
    handle.close(4001, "").unwrap();
    world.settle();
    // While the message is borrowed, the server does not drive the connection.
    assert_eq!(client.take_frames(), []);
    handle.abort();
    world.settle();
    assert_eq!(client.take_close(), 4001);
    assert!(client.is_dropped());
    assert_eq!(world.server.snapshot().open, 0);
}

// Rooms, entrances, numbers.

#[test]
fn a_room_forgets_who_has_closed() {
    let room = sansock::serve::Room::new();
    let joins = room.clone();
    let handler = move |mut ws: Ws| {
        let room = joins.clone();
        async move {
            assert!(room.join(ws.handle()));
            assert!(!room.join(ws.handle()));
            while let Some(message) = ws.recv().await? {
                if message == Message::text("leave") {
                    assert!(room.leave(ws.handle()));
                    continue;
                }
                let _ = room.broadcast(&Prepared::new(message), OverflowPolicy::Skip);
            }
            Ok::<_, Error>(())
        }
    };
    let world = World::new(handler);
    let mut clients: Vec<_> = (0..3).map(|_| world.open()).collect();
    assert_eq!(room.len(), 3);
    clients[0].send("hello");
    world.settle();
    for client in &mut clients {
        assert_eq!(client.take_texts(), ["hello"]);
    }
    clients[0].send("leave");
    clients[1].send_close(1000);
    world.settle();
    clients[2].send("anybody?");
    world.settle();
    assert_eq!(clients[2].take_texts(), ["anybody?"]);
    assert_eq!(clients[0].take_texts(), [""; 0]);
    assert_eq!(room.len(), 1);
    assert!(!room.is_empty());
}

#[test]
fn a_room_that_is_quiet_does_not_grow_with_those_who_have_left_the_server() {
    let room = sansock::serve::Room::new();
    let joins = room.clone();
    let handler = move |mut ws: Ws| {
        room.join(ws.handle());
        async move { ws.close(1000, "").await }
    };
    let world = World::new(handler);
    for _ in 0..1000 {
        drop(world.open());
        world.settle();
    }
    assert!(joins.len() <= 16, "{}", joins.len());
}

#[test]
fn connections_that_were_accepted_elsewhere_enter_as_others_do() {
    let world = echoing();
    let (there, here) = pipe(1 << 16);
    let client = Client {
        server: there.watch(),
        end: here,
        seen: Vec::new(),
    };
    let serving = world
        .acceptor
        .clone()
        .serve(Accepted::new(there, Peer::Unix));
    world.executor.spawn(serving).detach();
    let mut client = world.opened(client);
    assert_eq!(*world.only().peer(), Peer::Unix);
    world.server.shutdown();
    world.settle();
    assert_eq!(client.take_close(), 1001);
}

#[test]
fn numbers_agree_with_what_has_passed() {
    let world = echoing();
    let mut client = world.open();
    client.send("hello");
    world.settle();
    client.send_close(4000);
    world.settle();
    let frames = client.take_frames();
    assert_eq!(frames.len(), 2);
    drop(client);
    world.settle();
    let snapshot = world.server.snapshot();
    let received = REQUEST.len() + (2 + 4 + 5) + (2 + 4 + 2);
    assert_eq!(snapshot.bytes_received, received as u64);
    assert!(snapshot.bytes_sent > 11);
    assert_eq!(
        (snapshot.open, snapshot.accepted, snapshot.opened),
        (0, 1, 1)
    );
    assert_eq!(Vec::from_iter(snapshot.closed), [(4000, 1)]);
    assert_eq!(snapshot.handler_failures, 0);
}

#[test]
fn everything_may_move_between_threads() {
    fn is_send<T: Send>(_: &T) {}
    fn is_shared<T: Send + Sync>() {}
    is_shared::<ServerHandle>();
    is_shared::<Handle>();
    is_shared::<sansock::serve::Room>();
    let world = echoing();
    is_send(&world.acceptor);
    let future: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
        world
            .acceptor
            .serve(Accepted::new(pipe(1).0, Peer::Unknown))
            .await;
    });
    drop(future);
}
