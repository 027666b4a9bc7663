//! Servers and the names by which they are reached, in memory and on a clock that is moved by hand: the hosts that a
//! server answers for, and what a reverse proxy in front of it says about its clients.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use sansock::clock::VirtualTimer;
use sansock::runtime::{BoxFuture, Threads};
use sansock::serve::{Accepted, Listen, Listener, Origins, Peer, Serve, Socket};
use sansock::{Error, Result};
use sansock_core::handshake::StatusCode;
use sansock_tests::driver::server::{TestServer, echo};
use sansock_tests::driver::{End, Watch, pipe};

type Building = Serve<End, VirtualTimer>;

/// A listener at an address that gives what tests put into it.
#[derive(Clone)]
struct Queue {
    address: Option<SocketAddr>,
    waiting: Arc<Mutex<VecDeque<Accepted<End>>>>,
    waker: Arc<Mutex<Option<Waker>>>,
}

impl Listener<End> for Queue {
    fn accept(&self) -> BoxFuture<Threads, io::Result<Accepted<End>>> {
        let queue = self.clone();
        Box::pin(poll_fn(move |cx| {
            *queue.waker.lock().unwrap() = Some(cx.waker().clone());
            match queue.waiting.lock().unwrap().pop_front() {
                Some(accepted) => Poll::Ready(Ok(accepted)),
                None => Poll::Pending,
            }
        }))
    }

    fn local_address(&self) -> Option<SocketAddr> {
        self.address
    }
}

/// A server, and the listener of its clients.
struct World {
    base: TestServer<End>,
    queue: Queue,
}

struct Client {
    end: End,
    server: Watch,
}

fn peer(address: &str) -> Peer {
    SocketAddr::new(address.parse().unwrap(), 1).into()
}

/// A request with these headers.
fn request(headers: &[(&str, &str)]) -> String {
    let mut head = "GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        .to_owned();
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head + "\r\n"
}

impl Deref for World {
    type Target = TestServer<End>;

    fn deref(&self) -> &TestServer<End> {
        &self.base
    }
}

impl World {
    /// A server that listens at an address, with these settings under [`Origins::SameHost`].
    fn new(address: &str, set: impl FnOnce(Building) -> Building) -> Self {
        Self::with(address, Origins::SameHost, echo, set)
    }

    fn with<F>(
        address: &str,
        origins: Origins,
        handler: impl Fn(Socket<End, VirtualTimer>) -> F + Send + Sync + 'static,
        set: impl FnOnce(Building) -> Building,
    ) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let queue = Queue {
            address: address.parse().ok(),
            waiting: Arc::default(),
            waker: Arc::default(),
        };
        let listen = Listen::on(queue.clone());
        let set = |serve: Building| set(serve.listen(listen));
        let base = TestServer::start(handler, origins, set);
        Self { base, queue }
    }

    fn with_origins(address: &str, origins: Origins) -> Self {
        Self::with(address, origins, echo, |serve| serve)
    }

    /// Connects from an address and sends these bytes.
    fn ask(&self, peer: Peer, bytes: impl AsRef<[u8]>) -> Client {
        self.ask_through(1 << 16, peer, bytes)
    }

    /// Connects through a pipe that holds this many bytes.
    fn ask_through(&self, capacity: usize, peer: Peer, bytes: impl AsRef<[u8]>) -> Client {
        let (there, mut end) = pipe(capacity);
        let server = there.watch();
        end.put(bytes.as_ref());
        let accepted = Accepted::new(there, peer);
        self.queue.waiting.lock().unwrap().push_back(accepted);
        if let Some(waker) = self.queue.waker.lock().unwrap().take() {
            waker.wake();
        }
        self.settle();
        Client { end, server }
    }

    /// Returns the status that a request with these headers gets.
    #[track_caller]
    fn status(&self, from: Peer, headers: &[(&str, &str)]) -> u16 {
        self.ask(from, request(headers)).status()
    }
}

impl Client {
    fn response(&mut self) -> String {
        String::from_utf8(self.end.take_all()).unwrap()
    }

    #[track_caller]
    fn status(&mut self) -> u16 {
        let response = self.response();
        let status = response.split(' ').nth(1);
        status.and_then(|status| status.parse().ok()).unwrap()
    }
}

// The hosts that a server answers for.

const PUBLIC: &str = "192.0.2.1:80";

#[test]
fn a_request_to_a_host_that_is_not_listed_is_refused_and_reported() {
    let world = World::new(PUBLIC, |serve| {
        serve.hosts(["chat.example.com", "*.example.org"])
    });
    let client = || peer("203.0.113.1");
    for host in ["chat.example.com", "chat.example.com:8443", "a.example.org"] {
        let origin = format!("https://{host}");
        let headers = [("Host", host), ("Origin", &*origin)];
        assert_eq!(world.status(client(), &headers), 101, "{host}");
    }
    assert_eq!(world.take_events(), [""; 0]);
    let rebound = [("Host", "evil.example"), ("Origin", "http://evil.example")];
    assert_eq!(world.status(client(), &rebound), 421);
    assert_eq!(world.status(client(), &[("Host", "192.0.2.1")]), 421);
    assert_eq!(
        world.take_events(),
        [
            "203.0.113.1:1: opening handshake failed: Host evil.example is not allowed: it is not in the server's list",
            "203.0.113.1:1: opening handshake failed: Host 192.0.2.1 is not allowed: it is not in the server's list",
        ]
    );
    world.settle();
    assert_eq!(world.server.snapshot().rejected[&421], 2);
}

#[test]
fn a_listener_at_a_loopback_address_accepts_loopback_names_only() {
    let status = |world: &World, host: &str| {
        let origin = format!("http://{host}");
        let headers = [("Host", host), ("Origin", &*origin)];
        world.status(peer("127.0.0.1"), &headers)
    };
    let same = |serve: Building| serve;
    for address in [
        "127.0.0.1:9001",
        "127.1.2.3:9001",
        "[::1]:9001",
        "[::ffff:127.0.0.1]:9001",
    ] {
        let world = World::new(address, same);
        for host in ["localhost:9001", "a.localhost", "127.0.0.1:9001", "[::1]"] {
            assert_eq!(status(&world, host), 101, "{address} {host}");
        }
        assert_eq!(world.take_events(), [""; 0]);
        for host in [
            "evil.example",
            "evil.example:9001",
            "192.168.0.1",
            "0.0.0.0:9001",
        ] {
            assert_eq!(status(&world, host), 421, "{address} {host}");
        }
        assert!(world.take_events()[0].ends_with(
            "Host evil.example is not allowed: \
             the server listens at a loopback address and has no list of hosts"
        ));
    }
    for address in ["0.0.0.0:9001", "[::]:9001", "192.168.0.1:80", "none"] {
        let world = World::new(address, same);
        assert_eq!(status(&world, "example.com"), 101, "{address}");
    }
}

#[test]
fn a_list_of_hosts_replaces_the_default_of_loopback_addresses() {
    let world = World::new("127.0.0.1:9001", |serve| serve.hosts(["chat.example.com"]));
    let client = || peer("127.0.0.1");
    let status = |host| world.status(client(), &[("Host", host)]);
    assert_eq!(status("chat.example.com"), 101);
    assert_eq!(status("localhost"), 421);

    let world = World::new("127.0.0.1:9001", |serve| serve.hosts(["*"]));
    assert_eq!(world.status(client(), &[("Host", "a.example")]), 101);
    let list = World::with_origins("127.0.0.1:9001", Origins::list(["https://a"]).unwrap());
    let headers = [("Host", "a.example"), ("Origin", "https://a")];
    assert_eq!(list.status(client(), &headers), 101);
    let any = World::with_origins("127.0.0.1:9001", Origins::Any);
    assert_eq!(any.status(client(), &[("Host", "a.example")]), 101);
}

#[test]
fn what_process_request_answers_and_what_was_accepted_elsewhere_has_any_host() {
    let world = World::new("127.0.0.1:9001", |serve| {
        serve.process_request(async |request| match request.request().headers().len() {
            0..5 => request.reject(StatusCode::OK, "ok\n"),
            _ => request.accept(),
        })
    });
    let check = "GET /healthz HTTP/1.1\r\nHost: pod-17\r\n\r\n";
    assert_eq!(world.ask(peer("127.0.0.1"), check).status(), 200);

    let (there, mut end) = pipe(1 << 16);
    end.put(request(&[("Host", "a.example")]).as_bytes());
    let accepted = Accepted::new(there, peer("127.0.0.1"));
    world
        .executor
        .spawn(world.acceptor.serve(accepted))
        .detach();
    world.settle();
    assert!(end.take_all().starts_with(b"HTTP/1.1 101 "));
}

#[test]
fn a_host_that_cannot_match_is_an_error_before_the_server_starts() {
    let serve = sansock::smol::serve("127.0.0.1:0", async |_: sansock::smol::Socket| {})
        .origins(Origins::SameHost)
        .hosts(["https://example.com"]);
    let error = futures_lite::future::block_on(serve.bind()).unwrap_err();
    assert!(matches!(&error, Error::Host(invalid) if invalid.host == "https://example.com"));
    assert!(error.to_string().contains("https://example.com"));
    assert!(std::error::Error::source(&error).is_none() && !error.is_transient());
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn loopback_names_are_the_default_over_sockets_as_well() {
    let serve = sansock::smol::serve("127.0.0.1:0", async |_: sansock::smol::Socket| {});
    let serve = serve.origins(Origins::SameHost);
    let running = async {
        let server = serve.bind().await.unwrap();
        let handle = server.handle();
        let address = server.local_addresses().next().unwrap();
        let testing = async {
            let connect = |host: &str| {
                let connect = sansock::smol::connect(&format!("ws://{address}/"));
                connect.header("Host", host)
            };
            assert!(connect("localhost").await.is_ok());
            let error = connect("evil.example").await.unwrap_err();
            assert_eq!(
                error.response().map(|response| response.status().number()),
                Some(421)
            );
            handle.shutdown();
        };
        futures_lite::future::zip(server.run(), testing).await;
    };
    futures_lite::future::block_on(running);
}

// What trusted proxies say about their clients.

const PROXY: &str = "10.0.0.5";

/// A server that answers requests without `Upgrade` with the client and with the other end of the transport.
fn behind_proxies() -> World {
    World::new(PUBLIC, |serve| {
        let serve = serve.trusted_proxies(["10.0.0.0/8", " ::1 ", "unix"]);
        serve.process_request(async |request| {
            match request.request().headers().contains("Upgrade") {
                true => request.accept(),
                false => {
                    let peer = request.peer();
                    let text = format!("{peer} through {}", peer.transport());
                    request.reject(StatusCode::OK, &text)
                }
            }
        })
    })
}

/// Returns the client that a server sees, and the other end of the transport.
fn seen(world: &World, from: Peer, headers: &[&str]) -> String {
    let headers = headers.join("\r\n");
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n");
    let response = world
        .ask(from, head.replace("\r\n\r\n\r\n", "\r\n\r\n"))
        .response();
    response.rsplit("\r\n\r\n").next().unwrap().to_owned()
}

#[test]
fn the_client_is_read_from_the_right_up_to_the_first_address_that_is_not_trusted() {
    let world = behind_proxies();
    let cases: [(&[&str], &str); 29] = [
        (&["X-Forwarded-For: 203.0.113.1"], "203.0.113.1"),
        (
            &["X-Forwarded-For: 198.51.100.9, 203.0.113.1"],
            "203.0.113.1",
        ),
        (&["X-Forwarded-For: 203.0.113.1, 10.0.0.7"], "203.0.113.1"),
        (
            &["X-Forwarded-For: 198.51.100.9,203.0.113.1 ,10.0.0.7"],
            "203.0.113.1",
        ),
        (
            &["X-Forwarded-For: 203.0.113.1", "X-Forwarded-For: 10.0.0.7"],
            "203.0.113.1",
        ),
        (&["X-Forwarded-For: 10.0.0.8, 10.0.0.7"], "10.0.0.8"),
        (&["X-Forwarded-For: 203.0.113.1:4711"], "203.0.113.1:4711"),
        (&["X-Forwarded-For: 2001:db8::1"], "2001:db8::1"),
        (&["X-Forwarded-For: [2001:db8::1]"], "2001:db8::1"),
        (
            &["X-Forwarded-For: [2001:db8::1]:4711, ::ffff:10.0.0.7"],
            "[2001:db8::1]:4711",
        ),
        // What cannot be read ends the reading.
        (&["X-Forwarded-For: 203.0.113.1, garbage"], "10.0.0.5:1"),
        (
            &["X-Forwarded-For: 203.0.113.1, garbage, 10.0.0.7"],
            "10.0.0.7",
        ),
        (&["X-Forwarded-For: 203.0.113.1,"], "10.0.0.5:1"),
        (
            &["X-Forwarded-For: 203.0.113.1, unknown, 10.0.0.7"],
            "10.0.0.7",
        ),
        (&["X-Forwarded-For: 203.0.113.1, 10.0.0.256"], "10.0.0.5:1"),
        (&["X-Forwarded-For: \u{e4}"], "10.0.0.5:1"),
        (&["X-Forwarded-For:"], "10.0.0.5:1"),
        (&["Forwarded: for=203.0.113.1"], "203.0.113.1"),
        (
            &["Forwarded: for=198.51.100.9, For=203.0.113.1;proto=https;by=_x, for=10.0.0.7"],
            "203.0.113.1",
        ),
        (
            &["Forwarded: for=\"[2001:db8::1]:4711\"; host=\"a\\\"b\""],
            "[2001:db8::1]:4711",
        ),
        (
            &[
                "Forwarded: for=203.0.113.1",
                "Forwarded: for=\"10.0.0.7:80\";",
            ],
            "203.0.113.1",
        ),
        (&["Forwarded: for=203.0.113.1, for=unknown"], "10.0.0.5:1"),
        (
            &["Forwarded: for=203.0.113.1, for=_hidden, for=10.0.0.7"],
            "10.0.0.7",
        ),
        // A quotation mark that the client has left open.
        (
            &["Forwarded: for=198.51.100.9;x=\", for=203.0.113.1"],
            "10.0.0.5:1",
        ),
        (
            &[
                "Forwarded: for=198.51.100.9;x=\"",
                "Forwarded: for=10.0.0.7",
            ],
            "10.0.0.7",
        ),
        (
            &["Forwarded: for=203.0.113.1;for=198.51.100.9"],
            "10.0.0.5:1",
        ),
        (
            &["Forwarded: for=203.0.113.1 for=198.51.100.9"],
            "10.0.0.5:1",
        ),
        // A header that the proxy has passed on as its client sent it.
        (
            &[
                "Forwarded: for=198.51.100.9",
                "X-Forwarded-For: 203.0.113.1",
            ],
            "10.0.0.5:1",
        ),
        (
            &[
                "Forwarded: for=203.0.113.1, for=10.0.0.7",
                "X-Forwarded-For: 203.0.113.1, 10.0.0.7",
            ],
            "203.0.113.1",
        ),
    ];
    for (headers, client) in cases {
        let expected = format!("{client} through 10.0.0.5:1");
        assert_eq!(seen(&world, peer(PROXY), headers), expected, "{headers:?}");
    }
    let named = ["X-Forwarded-For: 203.0.113.1"];
    assert_eq!(seen(&world, Peer::Unix, &named), "203.0.113.1 through unix");
    assert_eq!(
        seen(&world, peer(PROXY), &[]),
        "10.0.0.5:1 through 10.0.0.5:1"
    );
}

#[test]
fn headers_of_a_peer_that_is_not_trusted_have_no_effect() {
    let named = ["X-Forwarded-For: 203.0.113.1", "Forwarded: for=203.0.113.1"];
    for header in named {
        let world = behind_proxies();
        for (from, expected) in [
            (peer("192.168.0.1"), "192.168.0.1:1 through 192.168.0.1:1"),
            (Peer::Unknown, "unknown through unknown"),
        ] {
            assert_eq!(seen(&world, from, &[header]), expected);
        }
        let world = World::new(PUBLIC, |serve| {
            serve.process_request(async |request| {
                let text = format!("{} through {}", request.peer(), request.peer().transport());
                request.reject(StatusCode::OK, &text)
            })
        });
        for from in [Peer::Unix, peer("127.0.0.1"), peer(PROXY)] {
            let expected = format!("{from} through {from}");
            assert_eq!(seen(&world, from, &[header]), expected, "off by default");
        }
    }
}

#[test]
fn events_and_handles_name_the_client() {
    let world = behind_proxies();
    let headers = [("Host", "a"), ("X-Forwarded-For", "203.0.113.1")];
    let bad = [&headers[..], &[("Origin", "https://b")]].concat();
    assert_eq!(world.status(peer(PROXY), &bad), 403);
    assert_eq!(
        world.take_events(),
        [
            "203.0.113.1: opening handshake failed: Origin https://b is not allowed: the Host of the request is a"
        ]
    );
    let client = world.ask(peer(PROXY), request(&headers));
    let handle = world.server.connections().pop().unwrap();
    assert_eq!(handle.peer().ip(), Some("203.0.113.1".parse().unwrap()));
    assert_eq!(*handle.peer().transport(), peer(PROXY));
    assert!(!client.server.is_dropped());
}

#[test]
fn host_and_scheme_of_a_trusted_proxy_are_compared_with_the_origin() {
    let world = behind_proxies();
    let status = |from: Peer, origin: &str, more: &[(&str, &str)]| {
        let headers = [("Host", "inner:9001"), ("Origin", origin)];
        world.status(from, &[&headers[..], more].concat())
    };
    let accepted: [&[(&str, &str)]; 12] = [
        &[("X-Forwarded-Host", "a.example")],
        &[
            ("X-Forwarded-Host", "a.example"),
            ("X-Forwarded-Proto", "https"),
        ],
        &[
            ("X-Forwarded-Host", "a.example"),
            ("X-Forwarded-Proto", "WSS"),
        ],
        &[
            ("X-Forwarded-Host", "a.example"),
            ("X-Forwarded-Proto", "other"),
        ],
        &[
            ("X-Forwarded-Host", "a.example:443"),
            ("X-Forwarded-Proto", "http"),
        ],
        &[
            ("X-Forwarded-Host", "b, a.example"),
            ("X-Forwarded-For", "203.0.113.1"),
        ],
        &[
            ("X-Forwarded-Host", "a.example, b"),
            ("X-Forwarded-For", "203.0.113.1, 10.0.0.7"),
        ],
        &[
            ("X-Forwarded-Host", "a.example"),
            ("X-Forwarded-For", "203.0.113.1, 10.0.0.7"),
        ],
        &[("Forwarded", "for=203.0.113.1;host=a.example;proto=https")],
        &[("Forwarded", "for=_x;host=\"a.example:443\"")],
        &[("Forwarded", "for=_x;host=a.example, for=10.0.0.7;host=b")],
        &[("Forwarded", "host=a.example"), ("X-Forwarded-Host", "b")],
    ];
    for headers in accepted {
        let origin = "https://a.example";
        assert_eq!(status(peer(PROXY), origin, headers), 101, "{headers:?}");
        assert_eq!(
            status(peer(PROXY), "https://evil.example", headers),
            403,
            "{headers:?}"
        );
        assert_eq!(
            status(peer("192.168.0.1"), origin, headers),
            403,
            "{headers:?}"
        );
    }
    // The request's own host with a known scheme.
    let plain = [("X-Forwarded-Proto", "http")];
    assert_eq!(status(peer(PROXY), "http://inner:9001", &plain), 101);
    let refused: [(&str, &[(&str, &str)]); 6] = [
        (
            "http://a.example",
            &[
                ("X-Forwarded-Host", "a.example"),
                ("X-Forwarded-Proto", "https"),
            ],
        ),
        (
            "https://a.example",
            &[
                ("X-Forwarded-Host", "a.example"),
                ("X-Forwarded-Proto", "http"),
            ],
        ),
        (
            "https://a.example",
            &[("Forwarded", "for=_x;host=a.example;proto=http")],
        ),
        ("https://a@b", &[("X-Forwarded-Host", "a@b")]),
        ("https://a b", &[("X-Forwarded-Host", "a b")]),
        // What the client of the nearest proxy has sent.
        (
            "https://a.example",
            &[
                ("X-Forwarded-Host", "a.example, b"),
                ("X-Forwarded-For", "203.0.113.1"),
            ],
        ),
    ];
    for (origin, headers) in refused {
        assert_eq!(status(peer(PROXY), origin, headers), 403, "{headers:?}");
    }
    // A request without `Host` stays malformed.
    let headers = [("X-Forwarded-Host", "a.example")];
    assert_eq!(world.status(peer(PROXY), &headers), 400);
}

#[test]
fn a_request_of_a_trusted_proxy_may_have_any_host_at_a_loopback_address() {
    let world = World::new("127.0.0.1:9001", |serve| {
        serve.trusted_proxies(["127.0.0.1"])
    });
    let host = ("Host", "chat.example.com");
    let origin = ("Origin", "https://chat.example.com");
    let forwarded = ("X-Forwarded-For", "203.0.113.1");
    assert_eq!(
        world.status(peer("127.0.0.1"), &[host, origin, forwarded]),
        101
    );
    assert_eq!(world.status(peer("127.0.0.1"), &[host, origin]), 421);
    assert_eq!(
        world.status(peer("127.0.0.2"), &[host, origin, forwarded]),
        421
    );

    let listed = |serve: Building| serve.trusted_proxies(["127.0.0.1"]).hosts(["a.example"]);
    let world = World::new("127.0.0.1:9001", listed);
    assert_eq!(
        world.status(peer("127.0.0.1"), &[host, origin, forwarded]),
        421
    );
    let named = ("X-Forwarded-Host", "a.example");
    assert_eq!(world.status(peer("127.0.0.1"), &[host, named]), 101);
}

#[test]
fn a_network_that_is_none_is_an_error_before_the_server_starts() {
    for network in ["10.0.0.0/33", "proxy.example", "", "10.0.0.0/"] {
        let serve = sansock::smol::serve("127.0.0.1:0", async |_: sansock::smol::Socket| {})
            .origins(Origins::SameHost)
            .trusted_proxies(["::1", network]);
        let error = futures_lite::future::block_on(serve.bind()).unwrap_err();
        assert!(matches!(&error, Error::Network(invalid) if invalid.network == network));
        assert!(error.to_string().contains(network));
        assert!(std::error::Error::source(&error).is_none() && !error.is_transient());
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::InvalidInput);
    }
}

// How many connections one address may have.

#[test]
fn an_address_has_no_more_connections_than_it_may_have() {
    let world = World::new(PUBLIC, |serve| serve.max_connections_per_address(2));
    let open = |address: &str| world.ask(peer(address), request(&[("Host", "a")]));
    let mut first = open("203.0.113.1");
    let mut second = open("::ffff:203.0.113.1");
    assert_eq!((first.status(), second.status()), (101, 101));
    let refusal = open("203.0.113.1").response();
    assert!(refusal.starts_with("HTTP/1.1 429 "), "{refusal}");
    assert!(refusal.contains("\r\nRetry-After: 10\r\n"), "{refusal}");
    let mut others = [
        "203.0.113.2",
        "2001:db8::1",
        "2001:db8::2",
        "2001:db8:0:1::1",
    ]
    .map(&open);
    assert_eq!(others.each_mut().map(Client::status), [101; 4]);
    assert_eq!(open("2001:db8:0:0:ffff::3").status(), 429);
    world.settle();
    assert_eq!(world.server.snapshot().rejected[&429], 2);
    assert_eq!(world.server.snapshot().open, 6);
    let events = world.take_events();
    assert!(
        events[0].contains("203.0.113.1:1: ") && events[0].contains("429"),
        "{events:?}"
    );

    drop(first);
    world.settle();
    assert_eq!(open("203.0.113.1").status(), 101, "there is room again");

    let unlimited = World::new(PUBLIC, |serve| serve);
    let clients: Vec<_> = (0..20)
        .map(|_| unlimited.ask(peer("203.0.113.1"), request(&[("Host", "a")])))
        .collect();
    assert_eq!(unlimited.server.snapshot().open, clients.len());
    let none = World::new(PUBLIC, |serve| serve.max_connections_per_address(1));
    let clients = [Peer::Unix, Peer::Unix, Peer::Unknown, Peer::Unknown];
    let clients = clients.map(|peer| none.ask(peer, request(&[("Host", "a")])));
    assert_eq!(
        none.server.snapshot().open,
        clients.len(),
        "they have no address"
    );
}

#[test]
fn clients_of_a_trusted_proxy_are_counted_by_their_own_addresses() {
    let world = World::new(PUBLIC, |serve| {
        serve
            .trusted_proxies(["10.0.0.0/8"])
            .max_connections_per_address(1)
    });
    let open = |client: &str| {
        let headers = [("Host", "a"), ("X-Forwarded-For", client)];
        world.ask(peer(PROXY), request(&headers))
    };
    let mut clients = ["203.0.113.1", "203.0.113.2", "203.0.113.1"].map(open);
    assert_eq!(clients.each_mut().map(Client::status), [101, 101, 429]);
    let forged = open("203.0.113.77, 203.0.113.1").status();
    assert_eq!(forged, 429);
    drop(clients);
    world.settle();
    assert_eq!(open("203.0.113.1").status(), 101);
}

#[test]
fn however_a_connection_ends_its_address_has_room_again() {
    let handler = async |mut ws: Socket<End, VirtualTimer>| {
        match ws.request().path() {
            "/panic" => panic!("the handler panics"),
            "/error" => return Err(Error::NoTls),
            "/return" => return Ok(()),
            _ => {}
        }
        while ws.recv().await?.is_some() {}
        Ok(())
    };
    let world = World::with(PUBLIC, Origins::SameHost, handler, |serve| {
        serve.max_connections_per_address(1)
    });
    let ask = |path: &str, capacity: usize| {
        let request = request(&[("Host", "a")]).replace("GET / ", &format!("GET {path} "));
        world.ask_through(capacity, peer("203.0.113.1"), request)
    };
    let assert_room = |after: &str| {
        world.settle();
        assert_eq!(world.server.snapshot().open, 0, "{after}");
        let mut client = ask("/", 1 << 16);
        assert_eq!(client.status(), 101, "{after}");
        assert_eq!(ask("/", 1 << 16).status(), 429, "{after}");
        drop(client);
        world.settle();
    };
    for path in ["/panic", "/error", "/return"] {
        drop(ask(path, 1 << 16));
        assert_room(path);
    }
    // The answer cannot be written: the client is gone, or does not read.
    drop(ask("/", 8));
    assert_room("a client that is gone");
    let stuck = ask("/", 8);
    assert_eq!(world.server.snapshot().open, 1);
    world.clock.advance(Duration::from_secs(11));
    world.settle();
    assert!(stuck.server.is_dropped());
    assert_room("the deadline of the handshake");
    let client = ask("/", 1 << 16);
    world.server.connections()[0].abort();
    world.settle();
    assert!(client.server.is_dropped());
    assert_room("an abort");
}
