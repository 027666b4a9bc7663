//! The opening handshakes of a server under attack: which of them give way to others, what clients that
//! break off or send garbage bring about, and what is counted and reported. In memory, on a clock that is
//! moved by hand; the last test uses sockets.

use std::collections::VecDeque;
use std::future::{Future, pending, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::future::{or, zip};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use sansock::clock::{VirtualClock, VirtualTimer};
use sansock::runtime::{BoxFuture, Threads};
use sansock::serve::{Accepted, Listen, Listener, Origins, Peer, Serve, ServerHandle, Snapshot};
use sansock::{Error, Result, Upgrade};
use sansock_core::handshake::{Response, ServerOptions, StatusCode};
use sansock_tests::driver::server::{TestServer, echo, seconds};
use sansock_tests::driver::{End, Task, Watch, pipe, server_connection, settle};

type Building = Serve<Line, VirtualTimer>;

const REQUEST: &[u8] = b"GET /chat HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

/// A transport that the other side can reset.
#[derive(Debug)]
struct Line {
    end: End,
    reset: Arc<AtomicBool>,
}

impl Line {
    fn check(&self) -> io::Result<()> {
        match self.reset.load(Ordering::Relaxed) {
            true => Err(io::ErrorKind::ConnectionReset.into()),
            false => Ok(()),
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.end).poll_read(cx, buf)
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.end).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.end).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.end).poll_close(cx)
    }
}

/// A listener that gives what tests put into it.
#[derive(Clone, Default)]
struct Queue {
    waiting: Arc<Mutex<VecDeque<Accepted<Line>>>>,
    waker: Arc<Mutex<Option<Waker>>>,
}

impl Queue {
    fn put(&self, accepted: Accepted<Line>) {
        self.waiting.lock().unwrap().push_back(accepted);
        if let Some(waker) = self.waker.lock().unwrap().take() {
            waker.wake();
        }
    }

    fn len(&self) -> usize {
        self.waiting.lock().unwrap().len()
    }
}

impl Listener<Line> for Queue {
    fn accept(&self) -> BoxFuture<Threads, io::Result<Accepted<Line>>> {
        let queue = self.clone();
        Box::pin(poll_fn(move |cx| {
            *queue.waker.lock().unwrap() = Some(cx.waker().clone());
            match queue.waiting.lock().unwrap().pop_front() {
                Some(accepted) => Poll::Ready(Ok(accepted)),
                None => Poll::Pending,
            }
        }))
    }
}

/// A server, and the listener of its clients.
struct World {
    base: TestServer<Line>,
    queue: Queue,
}

/// A client that is moved by hand.
struct Client {
    end: End,
    server: Watch,
    reset: Arc<AtomicBool>,
}

fn peer(address: &str) -> Peer {
    SocketAddr::new(address.parse().unwrap(), 1).into()
}

/// Answers the paths `/healthz`, `/page` and `/forbidden`, decides on `/slow` for ever, and accepts what
/// remains.
fn looking(serve: Building) -> Building {
    serve.process_request(|request| async {
        match request.path() {
            "/healthz" => request.reject(StatusCode::OK, "ok\n"),
            "/page" => request.respond(Response::text(StatusCode::OK, "x".repeat(1000))),
            "/forbidden" => request.reject(StatusCode::FORBIDDEN, "no\n"),
            "/slow" => pending().await,
            _ => request.accept(),
        }
    })
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: example.com\r\n\r\n").into_bytes()
}

impl Deref for World {
    type Target = TestServer<Line>;

    fn deref(&self) -> &TestServer<Line> {
        &self.base
    }
}

impl World {
    fn new(set: impl FnOnce(Building) -> Building) -> Self {
        let queue = Queue::default();
        let listen = Listen::on(queue.clone());
        let set = |serve: Building| set(serve.listen(listen));
        let base = TestServer::start(echo, Origins::SameHost, set);
        Self { base, queue }
    }

    fn limited(most: usize) -> Self {
        Self::new(|serve| serve.max_handshakes(most))
    }

    /// Connects from an address, through a pipe that holds this many bytes, without a request.
    fn knock_through(&self, peer: Peer, capacity: usize) -> Client {
        let (there, here) = pipe(capacity);
        let reset = Arc::<AtomicBool>::default();
        let server = there.watch();
        let line = Line {
            end: there,
            reset: reset.clone(),
        };
        self.queue.put(Accepted::new(line, peer));
        self.settle();
        Client {
            end: here,
            server,
            reset,
        }
    }

    fn knock(&self, peer: Peer) -> Client {
        self.knock_through(peer, 1 << 16)
    }

    /// Connects and sends these bytes.
    fn ask(&self, peer: Peer, bytes: &[u8]) -> Client {
        let client = self.knock(peer);
        self.say(client, bytes)
    }

    fn say(&self, mut client: Client, bytes: &[u8]) -> Client {
        client.end.put(bytes);
        self.settle();
        client
    }

    /// Connects, and is accepted without waiting.
    #[track_caller]
    fn open(&self, peer: Peer) -> Client {
        self.opened(self.knock(peer))
    }

    #[track_caller]
    fn opened(&self, client: Client) -> Client {
        let mut client = self.say(client, REQUEST);
        let response = client.response();
        assert!(response.starts_with("HTTP/1.1 101 "), "{response:?}");
        client
    }

    fn snapshot(&self) -> Snapshot {
        self.server.snapshot()
    }
}

impl Client {
    fn response(&mut self) -> String {
        String::from_utf8(self.end.take_all()).unwrap()
    }

    fn is_dropped(&self) -> bool {
        self.server.is_dropped()
    }

    /// Resets the connection, as a client does that drops a socket in which there is something to read.
    fn reset(mut self) {
        self.reset.store(true, Ordering::Relaxed);
        self.end.end();
    }
}

// Which handshakes give way.

/// Floods a server from `attackers` for 10 s, with 120 connections of 16 bytes each a second, while
/// others connect from `victims`. The server has room for 200 handshakes.
#[track_caller]
fn flood(attackers: impl Fn(u32) -> Peer, victims: impl Fn(u32) -> Peer) {
    let world = World::new(|serve| serve.max_handshakes(200).open_timeout(None));
    let mut attacking = VecDeque::new();
    let mut open = Vec::new();
    for number in 0..600 {
        attacking.push_back(world.ask(attackers(number), &REQUEST[..16]));
        world.advance(1.0 / 120.0);
        assert!(world.snapshot().handshakes <= 200);
        if number % 60 == 59 {
            // A client that takes half a second for its request.
            let slow = world.knock(victims(number));
            for more in 0..60 {
                attacking.push_back(world.ask(attackers(more), &REQUEST[..16]));
                world.advance(1.0 / 120.0);
            }
            open.push(world.opened(slow));
            open.push(world.open(victims(number + 1)));
        }
    }
    let snapshot = world.snapshot();
    assert_eq!((snapshot.open, snapshot.opened), (20, 20));
    assert_eq!(snapshot.accepted, 1200 + 20);
    assert_eq!(world.queue.len(), 0, "all were accepted");
    assert_eq!(snapshot.handshakes, 199);
    assert_eq!((snapshot.evicted, snapshot.failed), (1200 - 199, 0));
    assert_eq!(world.take_events(), [""; 0]);
}

#[test]
fn one_address_cannot_lock_out_others() {
    let victims = ["10.0.0.2", "2001:db8::1", "10.0.0.3"];
    flood(
        |_| peer("10.0.0.1"),
        |number| peer(victims[number as usize % 3]),
    );
    flood(|_| Peer::Unknown, |_| peer("10.0.0.1"));
    flood(|_| peer("10.0.0.1"), |_| Peer::Unix);
}

#[test]
fn the_addresses_of_one_network_are_one_group() {
    let network = |number: u32| peer(&format!("2001:db8:1:2:{number:x}::{number:x}"));
    flood(network, |_| peer("2001:db8:1:3::1"));
    let mapped = |_| peer("::ffff:10.0.0.1");
    flood(mapped, |_| peer("::ffff:10.0.0.2"));
}

#[test]
fn a_network_with_several_handshakes_gives_way_before_an_older_one_of_another() {
    let world = World::limited(4);
    let other = world.knock(peer("2001:db8:1:3::1"));
    world.advance(0.5);
    let network = |number| peer(&format!("2001:db8:1:2:{number}::{number}"));
    let network: Vec<_> = (1..4).map(|number| world.knock(network(number))).collect();
    let _new = world.knock(peer("10.0.0.1"));
    assert!(!other.is_dropped(), "its group has one handshake");
    assert!(network.iter().any(Client::is_dropped));
}

#[test]
fn many_addresses_do_not_lock_out_one_that_is_quick() {
    let address = |number: u32| IpAddr::from((0x0a00_0000 + number).to_be_bytes());
    for victim in ["9.0.0.1", "11.0.0.1"] {
        flood(
            |number| SocketAddr::new(address(number), 1).into(),
            |_| peer(victim),
        );
    }
}

#[test]
fn a_reverse_proxy_loses_only_clients_that_are_slow() {
    flood(|_| peer("10.0.0.1"), |_| peer("10.0.0.1"));
}

#[test]
fn a_handshake_keeps_its_place_until_another_needs_it() {
    let world = World::limited(3);
    let waiting: Vec<_> = (0..3).map(|_| world.knock(peer("10.0.0.1"))).collect();
    world.advance(9.0);
    assert!(!waiting.iter().any(Client::is_dropped));
    let _open = world.open(peer("10.0.0.2"));
    let dropped = waiting.iter().filter(|client| client.is_dropped()).count();
    assert_eq!(dropped, 1);
    // The place of the one that is open is free again.
    let _fourth = world.knock(peer("10.0.0.2"));
    assert_eq!(world.snapshot().evicted, 1);
}

#[test]
fn the_youngest_handshakes_give_way_last() {
    let world = World::limited(4);
    let old: Vec<_> = (0..3).map(|_| world.knock(peer("10.0.0.1"))).collect();
    world.advance(1.1);
    let young = world.knock(peer("10.0.0.1"));
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(world.knock(peer("10.0.0.1")));
        assert!(!young.is_dropped(), "it is younger than a second");
    }
    assert!(old.iter().all(Client::is_dropped));
    // Of those that are all younger, the oldest gives way.
    let _last = world.knock(peer("10.0.0.1"));
    assert!(young.is_dropped());
    assert!(!others.iter().any(Client::is_dropped));
}

#[test]
fn which_of_the_old_handshakes_gives_way_is_not_to_be_foreseen() {
    let dropped = || {
        let world = World::limited(100);
        let old: Vec<_> = (0..100).map(|_| world.knock(peer("10.0.0.1"))).collect();
        world.advance(1.1);
        let _others: Vec<_> = (0..50).map(|_| world.knock(peer("10.0.0.1"))).collect();
        old.iter().map(Client::is_dropped).collect::<Vec<bool>>()
    };
    let first = dropped();
    assert_eq!(first.iter().filter(|dropped| **dropped).count(), 50);
    // Any 50 are one of 10^29 possibilities.
    assert!(first[..50].contains(&true) && first[50..].contains(&true));
    assert_ne!(first, dropped());
}

#[test]
fn however_much_of_a_request_has_arrived_it_gives_way_and_so_does_tls() {
    let world = World::limited(1);
    let almost = world.ask(peer("10.0.0.1"), &REQUEST[..REQUEST.len() - 1]);
    let mut silent = world.knock(peer("10.0.0.1"));
    assert!(almost.is_dropped());
    let (there, negotiating) = pipe(100);
    let watch = there.watch();
    let tls = async {
        let _there = there;
        pending::<Result<Line>>().await
    };
    world.queue.put(Accepted::opening(tls, peer("10.0.0.1")));
    world.settle();
    assert!(silent.is_dropped() && !watch.is_dropped());
    assert_eq!(silent.response(), "", "it is dropped without an answer");
    world.open(peer("10.0.0.1"));
    assert!(watch.is_dropped());
    drop(negotiating);
    let snapshot = world.snapshot();
    assert_eq!((snapshot.evicted, snapshot.failed), (3, 0));
    assert_eq!(world.take_events(), [""; 0]);
}

#[test]
fn a_request_that_is_decided_or_answered_keeps_its_place() {
    let world = World::new(|serve| looking(serve).max_handshakes(2));
    let decided = world.ask(peer("10.0.0.1"), &get("/slow"));
    // The response does not fit into the pipe.
    let answered = world.knock_through(peer("10.0.0.1"), 100);
    let mut answered = world.say(answered, &get("/page"));
    let waits = world.knock(peer("10.0.0.2"));
    world.advance(3.0);
    // Only now further transports wait to be accepted.
    assert_eq!((world.snapshot().accepted, world.queue.len()), (2, 1));
    assert!(!decided.is_dropped() && !answered.is_dropped());
    let mut size = 0;
    loop {
        let response = answered.response();
        world.settle();
        if response.is_empty() {
            break;
        }
        size += response.len();
    }
    assert!(size > 1000);
    // The one that was answered gives way, though the client stays.
    assert!(answered.is_dropped());
    world.opened(waits);
    let snapshot = world.snapshot();
    assert_eq!((snapshot.evicted, snapshot.failed), (0, 0));
    assert_eq!(Vec::from_iter(snapshot.rejected), [(200, 1)]);
}

#[test]
fn a_client_that_stays_after_its_refusal_gives_way() {
    let world = World::new(|serve| looking(serve).max_handshakes(2));
    let mut garbage = world.ask(peer("10.0.0.1"), b"nonsense\r\n\r\n");
    let mut refused = world.ask(peer("10.0.0.1"), &get("/forbidden"));
    assert!(garbage.response().starts_with("HTTP/1.1 400 "));
    assert!(refused.response().starts_with("HTTP/1.1 403 "));
    assert!(!garbage.is_dropped() && !refused.is_dropped());
    let _silent: Vec<_> = (0..2).map(|_| world.knock(peer("10.0.0.1"))).collect();
    assert!(garbage.is_dropped() && refused.is_dropped());
    let snapshot = world.snapshot();
    assert_eq!(
        (snapshot.evicted, snapshot.failed),
        (0, 0),
        "it was answered"
    );
    assert_eq!(Vec::from_iter(snapshot.rejected), [(400, 1), (403, 1)]);
}

#[test]
fn connections_that_were_accepted_elsewhere_count_among_the_others() {
    let world = World::limited(1);
    let silent = world.knock(peer("10.0.0.1"));
    let (there, end) = pipe(1 << 16);
    let server = there.watch();
    let reset = Arc::<AtomicBool>::default();
    let line = Line {
        end: there,
        reset: reset.clone(),
    };
    let serving = world.acceptor.serve(Accepted::new(line, Peer::Unix));
    world.executor.spawn(serving).detach();
    world.settle();
    assert!(silent.is_dropped());
    world.opened(Client { end, server, reset });
}

/// Wakes no task.
struct Idle;

impl Wake for Idle {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn a_task_that_does_not_wait_for_the_end_any_more_leaves_nothing() {
    let world = World::limited(1);
    let idle = Arc::new(Idle);
    let waker = Waker::from(idle.clone());
    let waits = |handle: ServerHandle| async move { handle.stopped().await };
    let mut waiting: Vec<_> = (0..3)
        .map(|_| Box::pin(waits(world.server.clone())))
        .collect();
    for future in &mut waiting {
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
    }
    waiting.clear();
    drop(waker);
    assert_eq!(Arc::strong_count(&idle), 1);
}

// Causes, decisions, and what is counted and reported.

/// What a client that says this, and is reset as soon as it has read so much of the answer, brings about.
#[track_caller]
fn reset_after(path: &str, capacity: usize) -> (Vec<(u16, u64)>, Vec<String>) {
    let world = World::new(looking);
    let client = world.knock_through(peer("10.0.0.1"), capacity);
    let mut client = world.say(client, &get(path));
    assert!(client.response().starts_with("HTTP/1.1 "));
    client.reset();
    world.settle();
    let snapshot = world.snapshot();
    assert_eq!((snapshot.handshakes, snapshot.failed), (0, 0), "{path}");
    (Vec::from_iter(snapshot.rejected), world.take_events())
}

#[test]
fn a_client_that_resets_after_the_head_of_a_refusal_changes_nothing() {
    // All was written, or no more than the head.
    for capacity in [1 << 16, 40] {
        for (path, status) in [("/forbidden", 403), ("/healthz", 200), ("/page", 200)] {
            let (rejected, events) = reset_after(path, capacity);
            assert_eq!(rejected, [(status, 1)], "{path}");
            assert_eq!(events, [""; 0], "{path}");
        }
        // What the application did not decide is reported, as without the reset.
        let (rejected, events) = reset_after("/chat", capacity);
        assert_eq!(rejected, [(426, 1)]);
        let text =
            "10.0.0.1:1: opening handshake failed: Connection header does not ask for WebSocket";
        assert_eq!(events, [text]);
    }
}

#[test]
fn a_client_that_resets_before_the_answer_changes_nothing_of_the_decision() {
    let world = World::new(looking);
    let client = world.knock(peer("10.0.0.1"));
    client.reset.store(true, Ordering::Relaxed);
    let _client = world.say(client, &get("/healthz"));
    assert_eq!(world.snapshot().failed, 1, "there was nothing to decide");
    assert_eq!(world.take_events(), [""; 0], "nothing was read");

    let serve = |serve: Building| {
        serve.process_request(|request| async {
            futures_lite::future::yield_now().await;
            request.reject(StatusCode::OK, "ok\n")
        })
    };
    let world = World::new(serve);
    let mut client = world.knock(peer("10.0.0.1"));
    client.end.put(&get("/healthz"));
    while world.snapshot().bytes_received == 0 && world.executor.try_tick() {}
    client.reset();
    world.settle();
    let snapshot = world.snapshot();
    assert_eq!(Vec::from_iter(snapshot.rejected), [(200, 1)]);
    assert_eq!(snapshot.failed, 0);
    assert_eq!(world.take_events(), [""; 0]);
}

#[test]
fn checks_of_load_balancers_are_counted_and_not_reported() {
    let world = World::new(looking);
    // Those of TCP say nothing, and end the stream or reset it.
    drop(world.knock(peer("10.0.0.1")));
    world.settle();
    world.knock(peer("10.0.0.1")).reset();
    world.settle();
    assert_eq!(world.snapshot().failed, 2);
    // Those of HTTP/1.0, to a path that is made for them and to one that is not.
    let head = |path: &str| format!("GET {path} HTTP/1.0\r\n\r\n").into_bytes();
    for (path, status) in [("/healthz", 200), ("/chat", 505)] {
        let mut client = world.ask(peer("10.0.0.1"), &head(path));
        let response = client.response();
        assert!(
            response.starts_with(&format!("HTTP/1.1 {status} ")),
            "{response}"
        );
        client.reset();
        world.settle();
        assert_eq!(world.snapshot().rejected.get(&status), Some(&1));
    }
    assert_eq!(world.take_events(), [""; 0]);
    // A client that has begun to ask is no check.
    drop(world.ask(peer("10.0.0.1"), b"G"));
    world.settle();
    assert_eq!(world.snapshot().failed, 3);
    assert_eq!(world.take_events().len(), 1);
}

#[test]
fn garbage_is_answered_and_reported_at_once_with_its_cause() {
    let many = format!("GET / HTTP/1.1\r\n{}", "a: b\r\n".repeat(101));
    for (bytes, status, cause) in [
        (&b"\x16\x03\x01\x02\x00"[..], 400, "looks like TLS"),
        (
            b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
            400,
            "first line is malformed",
        ),
        (b"GET / HTTP/1.1\nHost: a\n", 400, "ends in LF without CR"),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, "line 2"),
        (many.as_bytes(), 431, "more than 100 header lines"),
    ] {
        // Neither a time that is short nor the way in which the client leaves hides the cause.
        for leaves in [None, Some(true), Some(false)] {
            let world = World::new(|serve| serve.open_timeout(seconds(1.0)));
            let mut client = world.ask(peer("10.0.0.1"), bytes);
            let response = client.response();
            assert!(response.starts_with(&format!("HTTP/1.1 {status} ")));
            let events = world.take_events();
            assert_eq!(events.len(), 1, "{events:?}");
            assert!(events[0].contains(cause), "{events:?}");
            match leaves {
                None => world.advance(1.0),
                Some(true) => client.reset(),
                Some(false) => drop(client),
            }
            world.settle();
            let snapshot = world.snapshot();
            assert_eq!((snapshot.handshakes, snapshot.failed), (0, 0));
            assert_eq!(Vec::from_iter(snapshot.rejected), [(status, 1)]);
            assert_eq!(world.take_events(), [""; 0]);
        }
    }
}

#[test]
fn as_many_headers_are_accepted_as_others_send() {
    let world = World::limited(1);
    let headers = format!("{}Upgrade: websocket", "X-Forwarded: a\r\n".repeat(95));
    let request = String::from_utf8_lossy(REQUEST).replace("Upgrade: websocket", &headers);
    let mut client = world.ask(peer("10.0.0.1"), request.as_bytes());
    assert!(client.response().starts_with("HTTP/1.1 101 "));
}

#[test]
fn a_request_that_breaks_off_keeps_its_cause() {
    let world = World::new(|serve| serve);
    drop(world.ask(peer("10.0.0.1"), b""));
    world.settle();
    assert_eq!(world.take_events(), [""; 0], "it has not begun");
    drop(world.ask(peer("10.0.0.1"), &REQUEST[..50]));
    world.settle();
    let events = world.take_events();
    assert_eq!(events.len(), 1);
    let cause = "head breaks off after 50 bytes";
    assert!(events[0].ends_with(cause), "{events:?}");
    world.ask(peer("10.0.0.1"), &REQUEST[..50]).reset();
    world.settle();
    let events = world.take_events();
    assert!(events[0].contains("connection reset"), "{events:?}");
    let _late = world.ask(peer("10.0.0.1"), &REQUEST[..50]);
    world.advance(10.0);
    let events = world.take_events();
    assert!(events[0].contains("timed out"), "{events:?}");
    let snapshot = world.snapshot();
    assert_eq!((snapshot.failed, snapshot.evicted), (4, 0));
    assert!(snapshot.rejected.is_empty());
}

// Without a server of this crate's.

/// Has a server that refuses a request, and a client that resets the connection when it has read the head.
#[track_caller]
fn refuse<R>(request: &[u8], refuse: impl AsyncFnOnce(Upgrade<Line, VirtualTimer>) -> R) -> R {
    let clock = VirtualClock::new();
    let (there, mut client) = pipe(1 << 16);
    let reset = Arc::<AtomicBool>::default();
    let line = Line {
        end: there,
        reset: reset.clone(),
    };
    let mut task = Task::new(async {
        let connection = server_connection(ServerOptions::new());
        refuse(
            Upgrade::read(line, clock.timer(), connection)
                .await
                .unwrap(),
        )
        .await
    });
    client.put(request);
    settle(&mut [&mut task]);
    assert!(client.take_all().starts_with(b"HTTP/1.1 4"));
    assert!(
        !task.is_done(),
        "it waits for the end of the client's stream"
    );
    reset.store(true, Ordering::Relaxed);
    client.end();
    settle(&mut [&mut task]);
    task.output()
}

#[test]
fn a_refusal_that_was_sent_is_no_failure_though_the_client_resets() {
    let rejected = refuse(REQUEST, async |upgrade| {
        upgrade.reject(StatusCode::FORBIDDEN, "no").await
    });
    rejected.unwrap();
    let accepted = refuse(&get("/"), async |upgrade| upgrade.accept().await.map(drop));
    let error = accepted.unwrap_err();
    assert!(matches!(error, Error::Handshake(_)), "{error:?}");
}

#[test]
fn a_refusal_that_cannot_be_written_is_a_failure() {
    let clock = VirtualClock::new();
    let (there, mut client) = pipe(1 << 16);
    client.put(REQUEST);
    let mut task = Task::new(async {
        let connection = server_connection(ServerOptions::new());
        let upgrade = Upgrade::read(there, clock.timer(), connection).await?;
        drop(client);
        upgrade.reject(StatusCode::FORBIDDEN, "no").await
    });
    settle(&mut [&mut task]);
    let error = task.output().unwrap_err();
    assert!(matches!(error, Error::Io(_)), "{error:?}");
}

// Over sockets.

/// Fails a test that hangs.
async fn late<R>() -> R {
    async_io::Timer::after(Duration::from_secs(60)).await;
    panic!("the test hangs");
}

#[test]
fn one_address_cannot_lock_out_another_over_sockets() {
    let serve = sansock::smol::serve("127.0.0.1:0", async |mut ws: sansock::smol::Socket| {
        while let Some(message) = ws.recv().await? {
            ws.send(message).await?;
        }
        Ok::<_, Error>(())
    });
    let serve = serve.origins(Origins::SameHost);
    let serve = serve.max_handshakes(20).open_timeout(None);
    let running = async {
        let server = serve.bind().await.unwrap();
        let handle = server.handle();
        let address = server.local_addresses().next().unwrap();
        // 120 connections a second.
        let attacking = async {
            let mut attackers = Vec::new();
            for _ in 0..300 {
                let mut attacker = async_net::TcpStream::connect(address).await.unwrap();
                attacker.write_all(&REQUEST[..16]).await.unwrap();
                attackers.push(attacker);
                async_io::Timer::after(Duration::from_micros(8333)).await;
            }
            attackers
        };
        let local: IpAddr = "127.0.0.2".parse().unwrap();
        let connecting = async {
            for _ in 0..20 {
                async_io::Timer::after(Duration::from_millis(100)).await;
                let connect = sansock::smol::connect(&format!("ws://{address}/"));
                let connect = connect.open_timeout(Duration::from_secs(5));
                let mut ws = connect.local_address(local).await.unwrap();
                ws.send("hello").await.unwrap();
                assert!(ws.recv().await.unwrap().is_some());
                ws.close(1000, "").await.unwrap();
            }
        };
        let testing = async {
            let (attackers, ()) = zip(attacking, connecting).await;
            let snapshot = handle.snapshot();
            assert_eq!((snapshot.opened, snapshot.accepted), (20, 320));
            assert!(snapshot.handshakes <= 20, "{snapshot:?}");
            assert_eq!(snapshot.evicted + snapshot.handshakes as u64, 300);
            drop(attackers);
            handle.shutdown();
        };
        zip(server.run(), testing).await;
    };
    futures_lite::future::block_on(or(running, late()));
}

#[test]
fn a_client_that_resets_after_our_refusal_is_no_event_over_sockets() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let reported = events.clone();
    let serve = sansock::smol::serve("127.0.0.1:0", async |_: sansock::smol::Socket| {})
        .origins(Origins::SameHost)
        .process_request(async |request| request.reject(StatusCode::FORBIDDEN, "no\n"))
        .on_event(move |event| reported.lock().unwrap().push(event.to_string()));
    let running = async {
        let server = serve.bind().await.unwrap();
        let handle = server.handle();
        let address = server.local_addresses().next().unwrap();
        let testing = async {
            for _ in 0..5 {
                let mut client = async_net::TcpStream::connect(address).await.unwrap();
                client.write_all(&get("/")).await.unwrap();
                let mut head = [0; 13];
                client.read_exact(&mut head).await.unwrap();
                assert_eq!(&head, b"HTTP/1.1 403 ");
                let socket = socket2::SockRef::from(&client);
                socket.set_linger(Some(Duration::ZERO)).unwrap();
            }
            while handle.snapshot().rejected.get(&403) != Some(&5) {
                async_io::Timer::after(Duration::from_millis(1)).await;
            }
            assert_eq!(handle.snapshot().failed, 0);
            handle.shutdown();
        };
        zip(server.run(), testing).await;
    };
    futures_lite::future::block_on(or(running, late()));
    assert_eq!(*events.lock().unwrap(), [""; 0]);
}

#[test]
fn a_list_of_origins_that_cannot_match_is_an_error_before_the_server_starts() {
    let error = Error::from(Origins::list(["example.com"]).unwrap_err());
    assert_eq!(
        error.to_string(),
        "origin \"example.com\" must begin with a scheme, such as https://"
    );
    assert!(std::error::Error::source(&error).is_none());
    let error = std::io::Error::from(error);
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}
