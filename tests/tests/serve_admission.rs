//! WebSockets whose HTTP is done elsewhere: admitted to a server before the response, served after it.

use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::io;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use async_executor::LocalExecutor;
use sansock::clock::{VirtualClock, VirtualTimer};
use sansock::core::deflate::Deflate;
use sansock::serve::{
    Admission, HandlerError, Origins, Outcome, OverflowPolicy, Peer, Push, Room, Serve, Snapshot,
    Socket,
};
use sansock::{Prepared, Result, Timer as _};
use sansock_core::Side;
use sansock_core::handshake::{
    HeadLimits, Headers, HttpVersion, PseudoHeaders, Request, Response, StatusCode,
};
use sansock_tests::driver::server::{TestServer, echo, seconds};
use sansock_tests::driver::{End, Frame, Watch, close_frame, frame, parse_frames, pipe};

type Ws = Socket<End, VirtualTimer>;
type Building = Serve<End, VirtualTimer>;
type Admitted = Admission<End, VirtualTimer>;

/// A server without a listener.
struct World(TestServer<End>);

/// A client whose opening handshake is over.
struct Client {
    end: End,
    server: Watch,
}

/// A usual request, with these headers set.
fn request_with(headers: &[(&str, &str)]) -> Request {
    let head = b"GET /chat?a=b HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Version: 13\r\n\r\n";
    let mut request = Request::parse(head, &HeadLimits::default()).unwrap();
    for (name, value) in headers {
        request.headers_mut().set(name, value).unwrap();
    }
    request
}

fn request() -> Request {
    request_with(&[])
}

fn peer(number: u8) -> Peer {
    std::net::SocketAddr::from(([192, 0, 2, number], 1000)).into()
}

impl Deref for World {
    type Target = TestServer<End>;

    fn deref(&self) -> &TestServer<End> {
        &self.0
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
        Self(TestServer::start(handler, Origins::SameHost, set))
    }

    /// Returns what becomes of a request that is decided at once.
    #[track_caller]
    fn decide(&self, request: Request, peer: Peer) -> Result<Admitted, Response> {
        let deciding = self.executor.spawn(self.acceptor.admit(request, peer));
        self.settle();
        let decided = futures_lite::future::block_on(futures_lite::future::poll_once(deciding));
        decided.expect("the request was decided")
    }

    #[track_caller]
    fn admit(&self) -> Admitted {
        self.decide(request(), peer(1)).expect("it is admitted")
    }

    #[track_caller]
    fn refusal(&self, request: Request) -> u16 {
        let response = self.decide(request, peer(1)).expect_err("it is refused");
        response.status().number()
    }

    /// Serves an admission.
    fn serve(&self, admission: Admitted) -> Client {
        assert_eq!(admission.response().status().number(), 101);
        let (there, end) = pipe(1 << 16);
        let server = there.watch();
        self.executor.spawn(admission.serve(there)).detach();
        self.settle();
        Client { end, server }
    }

    #[track_caller]
    fn open(&self) -> Client {
        self.serve(self.admit())
    }

    fn snapshot(&self) -> Snapshot {
        self.server.snapshot()
    }
}

impl Client {
    fn send(&mut self, text: &str) {
        self.end.put(&frame(Side::Client, 0x81, text.as_bytes()));
    }

    fn frames(&mut self) -> Vec<Frame> {
        parse_frames(&self.end.take_all())
    }

    #[track_caller]
    fn texts(&mut self) -> Vec<String> {
        let frames = self.frames().into_iter();
        let texts = frames.map(|frame| String::from_utf8(frame.payload));
        texts.collect::<Result<_, _>>().unwrap()
    }

    /// Takes the code of a Close frame, which is all that has come.
    #[track_caller]
    fn close_code(&mut self) -> u16 {
        let frames = self.frames();
        assert_eq!(frames.len(), 1, "{frames:?}");
        assert_eq!(frames[0].first, 0x88, "{frames:?}");
        u16::from_be_bytes([frames[0].payload[0], frames[0].payload[1]])
    }

    fn answer_close(&mut self, code: u16) {
        self.end.put(&close_frame(Side::Client, code, ""));
        self.end.end();
    }
}

// Served as others are.

#[test]
fn an_admitted_connection_is_served_and_counted() {
    let world = World::new(echo);
    let admission = world.admit();
    assert_eq!(admission.request(), &request());
    let key = admission.response().headers().get("Sec-WebSocket-Accept");
    assert_eq!(key, Some(&b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="[..]));
    let snapshot = world.snapshot();
    assert_eq!((snapshot.accepted, snapshot.opened), (1, 0));
    assert_eq!((snapshot.open, snapshot.handshakes), (1, 0));

    let mut client = world.serve(admission);
    client.send("hello");
    world.settle();
    assert_eq!(client.texts(), ["hello"]);
    let snapshot = world.snapshot();
    assert_eq!((snapshot.open, snapshot.opened), (1, 1));
    assert_eq!((snapshot.bytes_received, snapshot.bytes_sent), (11, 7));

    client.answer_close(4000);
    world.settle();
    assert_eq!(client.close_code(), 4000);
    assert!(client.server.is_dropped());
    let snapshot = world.snapshot();
    assert_eq!((snapshot.open, snapshot.failed), (0, 0));
    assert_eq!(Vec::from_iter(snapshot.closed), [(4000, 1)]);
    assert_eq!(world.take_events(), [""; 0]);
}

#[test]
fn the_handler_gets_the_request_the_peer_and_what_was_negotiated() {
    let seen = Arc::new(Mutex::new(None));
    let handler = {
        let seen = seen.clone();
        move |ws: Ws| {
            let agreed = ws.subprotocol().map(str::to_owned);
            let request = ws.request().clone();
            *seen.lock().unwrap() = Some((request, ws.peer().clone(), agreed));
            echo(ws)
        }
    };
    let mut headers = Headers::new();
    headers.append("Server", "example").unwrap();
    let world = World::with(handler, |serve| {
        serve
            .subprotocols(["chat"])
            .config(sansock::config().deflate(Deflate::new()))
            .response_headers(headers)
    });
    let asked = request_with(&[
        ("Sec-WebSocket-Protocol", "other, chat"),
        ("Sec-WebSocket-Extensions", "permessage-deflate"),
    ]);
    let admission = world.decide(asked.clone(), peer(7)).unwrap();
    let headers = admission.response().headers();
    assert_eq!(headers.get_str("Sec-WebSocket-Protocol"), Some("chat"));
    let extensions = headers.get_str("Sec-WebSocket-Extensions");
    assert_eq!(extensions, Some("permessage-deflate"));
    assert_eq!(headers.get_str("Server"), Some("example"));
    let mut client = world.serve(admission);
    let agreed = Some("chat".to_owned());
    assert_eq!(*seen.lock().unwrap(), Some((asked, peer(7), agreed)));

    client.send(&"compressible ".repeat(100));
    world.settle();
    let frames = client.frames();
    assert_eq!(frames[0].first, 0xc1, "it is compressed");
    assert!(frames[0].payload.len() < 100);
}

#[test]
fn an_admitted_connection_joins_rooms_and_is_pushed_to() {
    let room = Room::new();
    let handler = {
        let room = room.clone();
        move |ws: Ws| {
            room.join(ws.handle());
            echo(ws)
        }
    };
    let world = World::new(handler);
    let mut clients = [world.open(), world.open()];
    let to_room = room.broadcast(&Prepared::new("to the room"), OverflowPolicy::Skip);
    assert_eq!(to_room.queued, 2);
    let handle = world.server.connections().remove(0);
    let pushed = handle.push(&Prepared::new("to one"), OverflowPolicy::Skip);
    assert_eq!(pushed, Push::Queued);
    world.settle();
    let mut texts: Vec<_> = clients.iter_mut().flat_map(Client::texts).collect();
    texts.sort();
    assert_eq!(texts, ["to one", "to the room", "to the room"]);
    drop(clients);
    world.settle();
    let gone = room.broadcast(&Prepared::new("too late"), OverflowPolicy::Skip);
    assert_eq!(gone.queued, 0);
}

#[test]
fn what_was_pushed_before_the_stream_came_is_sent() {
    let world = World::new(echo);
    let admission = world.admit();
    let sent = world
        .server
        .broadcast(&Prepared::new("early"), OverflowPolicy::Skip);
    assert_eq!(sent.queued, 1);
    assert_eq!(world.serve(admission).texts(), ["early"]);
}

#[test]
fn a_handler_that_panics_or_fails_closes_with_1011() {
    let handler = |mut ws: Ws| async move {
        let message = ws.recv().await?;
        assert!(message.is_none(), "the handler panics");
        Err::<(), HandlerError>("the handler fails".into())
    };
    let world = World::new(handler);
    let (mut panicking, mut failing) = (world.open(), world.open());
    panicking.send("panic");
    failing.answer_close(1000);
    world.settle();
    assert_eq!(panicking.close_code(), 1011);
    assert_eq!(world.snapshot().handler_failures, 2);
    let mut events = world.take_events();
    events.sort();
    assert_eq!(
        events,
        [
            "192.0.2.1:1000: handler failed: the handler fails",
            "192.0.2.1:1000: handler panicked"
        ]
    );
}

#[test]
fn age_and_idleness_are_limited() {
    let world = World::with(echo, |serve| serve.max_age(seconds(5.0)));
    let mut client = world.open();
    world.advance(4.9);
    assert_eq!(client.frames().len(), 0);
    world.advance(0.2);
    assert_eq!(client.close_code(), 1001);
    let world = World::with(echo, |serve| serve.idle_timeout(seconds(5.0)));
    let mut client = world.open();
    world.advance(5.1);
    assert_eq!(client.close_code(), 1001);
}

// Refused before the response.

#[test]
fn requests_are_checked_as_those_of_the_server() {
    let world = World::with(echo, |serve| serve.hosts(["example.com"]));
    for (name, value, status) in [
        ("Upgrade", "other", 426),
        ("Origin", "http://elsewhere.example", 403),
        ("Host", "other.example", 421),
        ("Sec-WebSocket-Version", "8", 426),
        ("Sec-WebSocket-Key", "short", 400),
    ] {
        assert_eq!(world.refusal(request_with(&[(name, value)])), status);
        assert_eq!(world.take_events().len(), 1, "{name}");
    }
    let snapshot = world.snapshot();
    assert_eq!((snapshot.accepted, snapshot.open), (5, 0));
    assert_eq!(snapshot.handshakes, 0);
    let rejected = Vec::from_iter(snapshot.rejected);
    assert_eq!(rejected, [(400, 1), (403, 1), (421, 1), (426, 2)]);
}

#[test]
fn a_full_server_refuses_before_the_response() {
    let world = World::with(echo, |serve| serve.max_connections(2));
    let (admission, client) = (world.admit(), world.open());
    assert_eq!(world.refusal(request()), 503);
    assert_eq!(world.take_events().len(), 1);
    drop(admission);
    let another = world.open();
    assert_eq!(world.refusal(request()), 503);
    drop((client, another));
    world.settle();
    drop(world.admit());
    assert_eq!(Vec::from_iter(world.snapshot().rejected), [(503, 2)]);
}

#[test]
fn an_address_has_its_share() {
    let world = World::with(echo, |serve| serve.max_connections_per_address(1));
    let admission = world.admit();
    assert_eq!(world.refusal(request()), 429);
    assert!(world.decide(request(), peer(2)).is_ok());
    drop(admission);
    assert!(world.decide(request(), peer(1)).is_ok());
}

#[test]
fn a_dropped_admission_gives_its_place_back() {
    let world = World::with(echo, |serve| serve.max_connections(1));
    drop(world.admit());
    let snapshot = world.snapshot();
    assert_eq!((snapshot.open, snapshot.failed), (0, 1));
    drop(world.admit().serve_upgrade(pending::<io::Result<End>>()));
    let snapshot = world.snapshot();
    assert_eq!((snapshot.open, snapshot.failed), (0, 2));
    let deciding = world.acceptor.admit(request(), peer(1));
    drop(deciding);
    world.open();
}

#[test]
fn clients_of_trusted_proxies_are_named() {
    let world = World::with(echo, |serve| {
        let serve = serve.trusted_proxies(["192.0.2.1"]);
        serve
            .hosts(["public.example"])
            .max_connections_per_address(1)
    });
    let forwarded = |client: &str| {
        request_with(&[
            ("X-Forwarded-For", client),
            ("X-Forwarded-Host", "public.example"),
            ("Origin", "http://public.example"),
        ])
    };
    let admission = world.decide(forwarded("198.51.100.7"), peer(1)).unwrap();
    let client = world.serve(admission);
    let connections = world.server.connections();
    let address = connections[0].peer().ip().map(|ip| ip.to_string());
    assert_eq!(address.as_deref(), Some("198.51.100.7"));
    assert_eq!(world.refusal(forwarded("198.51.100.7")), 429);
    let other = world.decide(forwarded("198.51.100.8"), peer(1));
    assert!(other.is_ok());
    assert!(world.decide(forwarded("198.51.100.9"), peer(2)).is_err());
    drop(client);
}

// What the application decides.

#[test]
fn the_application_decides_about_requests() {
    let world = World::with(echo, |serve| {
        serve.process_request(|mut incoming| async {
            match incoming.request().headers().get_str("X-Do") {
                Some("respond") => {
                    let mut response = Response::new(StatusCode::OK);
                    response.set_body("healthy");
                    incoming.respond(response)
                }
                Some("panic") => panic!("the application panics"),
                Some("other") => {
                    let headers = incoming.headers_mut();
                    headers.append("Sec-WebSocket-Protocol", "ours").unwrap();
                    incoming.accept_with(|mut ws: Ws| async move {
                        let agreed = ws.subprotocol().unwrap_or_default().to_owned();
                        ws.send(agreed).await
                    })
                }
                _ => incoming.accept(),
            }
        })
    });
    let todo = |what| request_with(&[("X-Do", what)]);
    let response = world.decide(todo("respond"), peer(1)).unwrap_err();
    assert_eq!(response.body(), "healthy");
    assert_eq!(world.take_events(), [""; 0]);
    assert_eq!(world.refusal(todo("panic")), 500);
    assert_eq!(world.take_events().len(), 2, "the panic and the refusal");
    let mut client = world.serve(world.decide(todo("other"), peer(1)).unwrap());
    let first = client.frames().remove(0);
    assert_eq!(
        first.payload, b"ours",
        "another handler, and what the response says"
    );
    assert_eq!(
        Vec::from_iter(world.snapshot().rejected),
        [(200, 1), (500, 1)]
    );
}

#[test]
fn a_request_that_is_not_decided_in_time_is_refused() {
    let world = World::with(echo, |serve| {
        let serve = serve.open_timeout(seconds(3.0));
        serve.process_request(|_| pending())
    });
    let deciding = world
        .executor
        .spawn(world.acceptor.admit(request(), peer(1)));
    world.settle();
    world.advance(2.9);
    assert_eq!(world.snapshot().handshakes, 1);
    assert!(!deciding.is_finished());
    world.advance(0.2);
    let refused = futures_lite::future::block_on(deciding).unwrap_err();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(world.snapshot().handshakes, 0);
    assert_eq!(Vec::from_iter(world.snapshot().rejected), [(503, 1)]);
    assert_eq!(world.take_events().len(), 1);
}

// The time until the stream comes.

#[test]
fn a_stream_that_does_not_come_in_time_gives_the_place_back() {
    let world = World::with(echo, |serve| serve.open_timeout(seconds(3.0)));
    let admission = world.admit();
    world.advance(1.0);
    let waiting = admission.serve_upgrade(pending::<io::Result<End>>());
    let waiting = world.executor.spawn(waiting);
    world.advance(1.9);
    assert!(!waiting.is_finished());
    assert_eq!(world.snapshot().open, 1);
    world.advance(0.2);
    assert!(waiting.is_finished(), "the time runs from the admission");
    let snapshot = world.snapshot();
    assert_eq!((snapshot.open, snapshot.opened, snapshot.failed), (0, 0, 1));
    assert_eq!(world.take_events().len(), 1);
}

#[test]
fn an_upgrade_may_take_its_time_fail_or_panic() {
    let world = World::new(echo);
    let (there, end) = pipe(1 << 16);
    let mut timer = world.clock.timer();
    let upgrade = async move {
        timer.set(timer.now().checked_add(seconds(2.0)));
        poll_fn(|cx| timer.poll(cx)).await;
        Ok::<_, io::Error>(there)
    };
    let server = end.watch();
    let mut client = Client { end, server };
    let serving = world.admit().serve_upgrade(upgrade);
    world.executor.spawn(serving).detach();
    client.send("sent before the stream was handed over");
    world.settle();
    assert_eq!(client.frames().len(), 0);
    world.advance(2.0);
    assert_eq!(client.texts(), ["sent before the stream was handed over"]);

    let failing = async { Err(io::Error::other("the client has left")) };
    let serving = world.admit().serve_upgrade(failing);
    world.executor.spawn(serving).detach();
    let failing = async { Err("it is no error of io") };
    let serving = world.admit().serve_upgrade(failing);
    world.executor.spawn(serving).detach();
    world.settle();
    let events = world.take_events();
    assert!(events[0].contains("the client has left"), "{events:?}");
    assert!(events[1].contains("it is no error of io"), "{events:?}");

    let serving = world.admit().serve_upgrade(async {
        let mut no_stream = std::iter::empty::<End>();
        Ok::<_, io::Error>(no_stream.next().expect("a stream"))
    });
    world.executor.spawn(serving).detach();
    world.settle();
    assert_eq!(world.take_events(), ["192.0.2.1:1000: handler panicked"]);
    let snapshot = world.snapshot();
    assert_eq!((snapshot.open, snapshot.failed), (1, 3));
}

// Over HTTP/2, where a stream shares its connection.

fn extended_connect() -> Request {
    let mut headers = Headers::new();
    headers.append("sec-websocket-version", "13").unwrap();
    let pseudo = PseudoHeaders {
        protocol: "websocket",
        scheme: "https",
        authority: "example.com",
        path: "/chat",
    };
    Request::extended_connect(HttpVersion::Http2, pseudo, headers).unwrap()
}

#[test]
fn a_stream_of_http_2_is_over_without_the_clients_end() {
    let world = World::new(echo);
    let admission = world.decide(extended_connect(), peer(1)).unwrap();
    let response = admission.response();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers().len(), 0);
    let (there, mut end) = pipe(1 << 16);
    let server = there.watch();
    world.executor.spawn(admission.serve(there)).detach();
    world.settle();

    end.put(&close_frame(Side::Client, 1000, ""));
    world.settle();
    assert_eq!(parse_frames(&end.take_all()).len(), 1);
    assert!(server.is_dropped(), "the client's end is not waited for");
    assert_eq!(world.snapshot().open, 0);
}

#[test]
fn refusals_over_http_2_have_no_headers_of_a_connection() {
    let world = World::with(echo, |serve| serve.max_connections(1));
    let _full = world.open();
    let response = world.decide(extended_connect(), peer(2)).unwrap_err();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(!response.headers().contains("Connection"), "{response:?}");
}

// The end of the server.

#[test]
fn a_shutdown_closes_admitted_connections_and_refuses_others() {
    let world = World::new(echo);
    let (mut client, admission) = (world.open(), world.admit());
    world.server.shutdown();
    world.settle();
    assert_eq!(client.close_code(), 1001);
    client.answer_close(1001);
    assert_eq!(world.refusal(request()), 503);
    assert!(!world.has_stopped(), "an admission has its place");
    let mut late = world.serve(admission);
    assert_eq!(late.close_code(), 1001);
    late.answer_close(1001);
    world.settle();
    assert!(world.has_stopped());
    assert_eq!(world.refusal(request()), 503);
    assert_eq!(Vec::from_iter(world.snapshot().closed), [(1001, 2)]);
}

#[test]
fn a_shutdown_refuses_requests_that_are_being_decided() {
    let world = World::with(echo, |serve| serve.process_request(|_| pending()));
    let deciding = world
        .executor
        .spawn(world.acceptor.admit(request(), peer(1)));
    world.settle();
    assert!(!deciding.is_finished());
    world.server.shutdown();
    world.settle();
    let refused = futures_lite::future::block_on(deciding).unwrap_err();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(world.has_stopped());
}

#[test]
fn a_shutdown_does_not_wait_for_a_stream_beyond_its_deadline() {
    let world = World::with(echo, |serve| serve.shutdown_timeout(seconds(5.0)));
    let waiting = world.admit().serve_upgrade(pending::<io::Result<End>>());
    let waiting = world.executor.spawn(waiting);
    world.server.shutdown();
    world.settle();
    world.advance(4.9);
    assert!(!waiting.is_finished());
    world.advance(0.2);
    assert!(waiting.is_finished());
    assert!(world.has_stopped());
}

#[test]
fn a_server_that_drains_refuses_and_lets_admitted_connections_finish() {
    let world = World::new(echo);
    let (mut client, admission) = (world.open(), world.admit());
    world.server.drain(seconds(30.0), seconds(10.0));
    world.settle();
    let refused = world.decide(request(), peer(1)).unwrap_err();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains("Retry-After"));
    assert_eq!(world.take_events(), [""; 0]);
    let mut admitted = world.serve(admission);
    for client in [&mut client, &mut admitted] {
        client.send("hello");
        world.settle();
        assert_eq!(client.texts(), ["hello"]);
        client.answer_close(1000);
    }
    world.settle();
    assert!(world.has_stopped());
}

// Modes.

#[test]
fn everything_may_move_between_threads() {
    fn is_send<T: Send + 'static>(value: T) -> T {
        value
    }
    let world = World::new(echo);
    let deciding = is_send(world.acceptor.admit(request(), peer(1)));
    let admission = is_send(futures_lite::future::block_on(deciding).unwrap());
    let (there, _end) = pipe(1);
    drop(is_send(admission.serve(there)));
}

#[test]
fn a_server_in_the_mode_local_admits() {
    let (clock, executor) = (VirtualClock::new(), LocalExecutor::new());
    let handled = Rc::new(Cell::new(0));
    let handler = {
        let handled = handled.clone();
        move |ws: Ws| {
            let handled = handled.clone();
            async move {
                let outcome = echo(ws).await;
                handled.set(handled.get() + 1);
                outcome
            }
        }
    };
    let server = Serve::local(handler, move || clock.timer(), |_| {})
        .origins(Origins::SameHost)
        .bind();
    let server = futures_lite::future::block_on(server).unwrap();
    let stays = Rc::new(());
    let (there, end) = pipe(1 << 12);
    let server_end = there.watch();
    let mut client = Client {
        end,
        server: server_end,
    };
    client.send("hello");
    client.answer_close(1000);
    let acceptor = server.acceptor();
    let serving = executor.spawn(async move {
        let admission = acceptor.admit(request(), peer(1)).await.unwrap();
        let upgrade = async move {
            drop(stays);
            Ok::<_, io::Error>(there)
        };
        admission.serve_upgrade(upgrade).await;
    });
    futures_lite::future::block_on(executor.run(serving));
    assert_eq!(handled.get(), 1);
    assert_eq!(client.frames().len(), 2);
}
