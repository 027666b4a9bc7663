//! What the feature `tracing` tells: frames at trace level, changes of state at debug level, and no secrets.

use std::fmt::{self, Write};
use std::sync::{Arc, Mutex};

use async_io::block_on;
use futures_lite::future::zip;
use sansock::core::deflate::Deflate;
use sansock::core::{CloseCode, Fin, Prepared, Side};
use sansock::serve::Origins;
use sansock_tests::deflate::{Blocks, RSV1, TWELVE_BITS, end as compressed};
use sansock_tests::end::{End, at};
use sansock_tests::wire::{BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT};
use tracing::field::{Field, Visit};
use tracing::span;
use tracing::{Event, Level, Metadata, Subscriber};

/// An event with all its fields.
#[derive(Debug, Clone, Default)]
struct Told {
    debug: bool,
    target: String,
    message: String,
    connection: String,
    side: String,
    peer: Option<String>,
}

impl Visit for Told {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "message" => self.message = text,
            "connection" => self.connection = text,
            other => panic!("unknown field {other}"),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "side" => self.side = value.into(),
            "peer" => self.peer = Some(value.into()),
            other => panic!("unknown field {other}"),
        }
    }
}

/// Collects the events of this crate's own target, and whatever else is told.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Told>>>);

impl Collector {
    /// Returns what is told while `run` runs.
    fn listen(run: impl FnOnce()) -> Vec<Told> {
        let collector = Self::default();
        tracing::subscriber::with_default(collector.clone(), run);
        collector.0.lock().unwrap().clone()
    }
}

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "sansock"
    }

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let mut told = Told {
            debug: *metadata.level() == Level::DEBUG,
            target: metadata.target().into(),
            ..Told::default()
        };
        assert!(told.debug || *metadata.level() == Level::TRACE);
        event.record(&mut told);
        self.0.lock().unwrap().push(told);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// The frames among the events.
fn frames(run: impl FnOnce()) -> Vec<String> {
    let told = Collector::listen(run).into_iter();
    told.filter(|told| !told.debug)
        .map(|told| told.message)
        .collect()
}

/// The changes of state among the events.
fn changes(run: impl FnOnce()) -> Vec<String> {
    let told = Collector::listen(run).into_iter();
    told.filter(|told| told.debug)
        .map(|told| told.message)
        .collect()
}

#[test]
fn frames_that_are_queued_are_told_with_what_they_hold() {
    for side in [Side::Client, Side::Server] {
        let told = frames(|| {
            let mut end = End::open(side);
            end.send("hi").unwrap();
            end.send("hi".to_owned()).unwrap();
            end.send(&[1, 2][..]).unwrap();
            end.send_prepared(&Prepared::new("all")).unwrap();
            end.send_text("a", Fin::More).unwrap();
            end.send_continuation(&b"b\n"[..], Fin::Last).unwrap();
            end.send_ping(b"").unwrap();
            end.send_pong(&[0xff]).unwrap();
            end.send_close(CloseCode::NORMAL, "bye").unwrap();
        });
        let expected = [
            r#"> TEXT "hi" [2 bytes]"#,
            r#"> TEXT "hi" [2 bytes]"#,
            "> BINARY 01 02 [2 bytes]",
            r#"> TEXT "all" [3 bytes]"#,
            r#"> TEXT "a" [1 bytes, continued]"#,
            r#"> CONTINUATION "b\n" [2 bytes]"#,
            "> PING [0 bytes]",
            "> PONG ff [1 bytes]",
            r#"> CLOSE 1000 (OK) "bye" [5 bytes]"#,
        ];
        assert_eq!(told, expected, "{side:?}");
    }
}

#[test]
fn frames_that_come_are_told_with_what_they_hold() {
    for side in [Side::Client, Side::Server] {
        let told = frames(|| {
            let mut end = End::open(side);
            let peer = end.peer();
            end.events_of(&peer.frame(FIN | TEXT, b"hi"));
            end.events_of(&peer.frame(FIN | BINARY, &[7]));
            end.events_of(&peer.frame(BINARY, &[8]));
            end.events_of(&peer.frame(FIN | CONTINUATION, &[0xff]));
            end.events_of(&peer.frame(PONG, b""));
            end.events_of(&peer.frame(PING, &[1]));
            end.events_of(&peer.frame(CLOSE, b"\x03\xe9x\ny"));
        });
        let expected = [
            r#"< TEXT "hi" [2 bytes]"#,
            "< BINARY 07 [1 bytes]",
            "< BINARY 08 [1 bytes, continued]",
            "< CONTINUATION ff [1 bytes]",
            "< PONG [0 bytes]",
            "< PING 01 [1 bytes]",
            "> PONG 01 [1 bytes]",
            r#"< CLOSE 1001 (going away) "x\ny" [5 bytes]"#,
            r#"> CLOSE 1001 (going away) "x\ny" [5 bytes]"#,
        ];
        assert_eq!(told, expected, "{side:?}");
    }
}

#[test]
fn a_close_frame_without_a_code_has_nothing_to_show() {
    let told = frames(|| {
        let mut end = End::open(Side::Server);
        let frame = end.peer().frame(CLOSE, b"");
        end.events_of(&frame);
    });
    assert_eq!(told, ["< CLOSE [0 bytes]", "> CLOSE [0 bytes]"]);
}

#[test]
fn long_payloads_are_elided() {
    let told = frames(|| {
        let mut end = End::open(Side::Server);
        // The 64th byte is in the middle of a character.
        let text = format!("a{}", "é".repeat(100));
        end.send(text.as_str()).unwrap();
        let peer = end.peer();
        end.events_of(&peer.frame(FIN | BINARY, &[0x5a; 1024]));
    });
    let text = format!("> TEXT \"a{}\" .. [201 bytes]", "é".repeat(31));
    let binary = format!("< BINARY{} .. [1024 bytes]", " 5a".repeat(16));
    assert_eq!(told, [text, binary]);
}

#[test]
fn a_frame_that_comes_in_pieces_is_told_once() {
    let told = frames(|| {
        let mut end = End::open(Side::Server);
        let frame = end.peer().frame(FIN | TEXT, b"in pieces");
        let (start, rest) = frame.split_at(8);
        end.events_of(start);
        for byte in rest {
            end.events_of(&[*byte]);
        }
    });
    assert_eq!(told, [r#"< TEXT "in" .. [9 bytes]"#]);
}

#[test]
fn text_that_is_none_is_told_as_bytes() {
    let told = frames(|| {
        let mut end = End::open(Side::Server);
        let frame = end.peer().frame(FIN | TEXT, b"a\xff");
        end.events_of(&frame);
    });
    assert_eq!(told[0], "< TEXT 61 ff [2 bytes]");
}

/// What is compressed may look like text by chance.
#[test]
fn compressed_text_is_told_as_bytes() {
    let told = frames(|| {
        let mut end = compressed(Side::Server, TWELVE_BITS);
        let stored = Blocks::new().fixed().literals(b"a").end().message();
        end.events_of(&end.peer().frame(FIN | RSV1 | TEXT, &stored));
        end.send("a".repeat(100)).unwrap();
    });
    assert!(told[0].starts_with("< TEXT 4a 04 00"), "{told:?}");
    assert!(told[1].starts_with("> TEXT "), "{told:?}");
    assert!(!told.concat().contains('"'), "{told:?}");
}

#[test]
fn the_closing_handshake_is_told_by_both_its_sides() {
    let told = changes(|| {
        let mut end = End::open(Side::Client);
        end.send_close(CloseCode::NORMAL, "bye").unwrap();
        end.output();
        let frame = end.peer().frame(CLOSE, b"\x03\xe8two\nlines");
        end.events_of(&frame);
        end.end_of_stream();
        end.end_of_stream();
    });
    let end = r"sent 1000 (OK) bye; then received 1000 (OK) two\nlines";
    let expected = [
        "open".to_owned(),
        "closing: sending 1000 (OK) bye".to_owned(),
        format!("closing: {end}"),
        format!("closed: {end}"),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_close_frame_that_never_leaves_is_not_told_as_sent() {
    let told = changes(|| {
        let mut end = End::open(Side::Server);
        let frame = end.peer().close(4001, "");
        end.events_of(&frame);
        end.write_failed();
        end.end_of_stream();
    });
    let expected = "closed: received 4001 (private use); no close frame sent";
    assert_eq!(told.last().map(String::as_str), Some(expected));
}

#[test]
fn a_failure_is_told_with_its_cause() {
    let told = changes(|| {
        let mut end = End::open(Side::Server);
        let frame = end.peer().frame(FIN | 0x3, b"");
        end.events_of(&frame);
    });
    assert!(
        told[1].starts_with("closing: the peer broke the protocol; sent 1002 (protocol error)"),
        "{told:?}"
    );
}

/// Whoever listens for warnings hears nothing of what a peer does, and nothing that a peer sends breaks a line or
/// steers a terminal. Who listens for more is told no more of a frame than fits in a line.
#[test]
fn a_peer_can_fill_no_log() {
    let hostile = "\u{1b}[2J\r\nERROR \0\u{85}\u{202e}\u{2028}".repeat(5);
    for side in [Side::Client, Side::Server] {
        let told = Collector::listen(|| {
            let peer = End::open(side).peer();
            let endings = [
                peer.close(4000, &hostile),
                peer.frame(FIN | 0x3, hostile.as_bytes()),
                peer.frame(FIN | TEXT, b"\xff\x1b\n"),
                hostile.clone().into_bytes(),
            ];
            for end in endings {
                let frames = [
                    peer.text(&hostile.repeat(100)),
                    peer.binary(hostile.as_bytes()),
                    peer.ping(hostile.as_bytes()),
                    peer.pong(b"\r\n"),
                    end,
                ];
                End::open(side).events_of(&frames.concat());
            }
        });
        assert!(told.len() > 4 * 5, "{}", told.len());
        for event in told {
            // The collector refuses other levels than debug and trace.
            assert_eq!(event.target, "sansock");
            assert!(event.message.len() < 2000, "{}", event.message);
            let printable = ' '..='~';
            let is_plain = event.message.chars().all(|c| printable.contains(&c));
            assert!(is_plain, "{event:?}");
        }
    }
}

#[test]
fn a_lost_connection_is_told() {
    let told = changes(|| End::open(Side::Server).end_of_stream());
    let lost = "closed: connection lost without a close frame (1006); \
                no close frame received or sent";
    assert_eq!(told, ["open", lost]);
}

#[test]
fn a_deadline_that_passes_is_told() {
    let told = changes(|| {
        let mut end = End::open(Side::Server);
        end.send_close(CloseCode::NORMAL, "").unwrap();
        end.mind_the_time();
        end.now = at(60_000);
        end.mind_the_time();
    });
    assert!(told[2].starts_with("closed: "), "{told:?}");
    assert!(told[2].contains("timed out"), "{told:?}");
}

/// Talks over a socket: a client with credentials of every kind, and a server that looks at them.
fn talk() -> (Vec<Told>, std::net::SocketAddr, std::net::SocketAddr) {
    let config = || sansock::config().deflate(Deflate::new());
    let addresses = Mutex::new(None);
    let told = Collector::listen(|| {
        block_on(async {
            let peers = Arc::new(Mutex::new(None));
            let seen = peers.clone();
            let server = sansock::smol::serve("127.0.0.1:0", async |mut ws| {
                let message = ws.recv().await?;
                ws.send(message.unwrap()).await?;
                ws.recv().await.map(|_| ())
            });
            let server = server.origins(Origins::SameHost).config(config());
            let server = server.process_request(move |request| {
                *seen.lock().unwrap() = request.peer().address();
                assert!(request.request().headers().get("authorization").is_some());
                async { request.accept() }
            });
            let server = server.bind().await.unwrap();
            let address = server.local_addresses().next().unwrap();
            let handle = server.handle();
            let client = async {
                let url = format!("ws://alice:Rumpelstilz@{address}/?token=Schneewittchen");
                let connect = sansock::smol::connect(&url)
                    .header("Cookie", "session=Dornroeschen")
                    .config(config());
                let mut ws = connect.await.unwrap();
                ws.send("to be compressed ".repeat(9)).await.unwrap();
                ws.recv().await.unwrap();
                ws.close(CloseCode::NORMAL, "").await.unwrap();
                handle.shutdown();
                handle.stopped().await;
            };
            zip(server.run(), client).await;
            *addresses.lock().unwrap() = Some((address, peers.lock().unwrap().unwrap()));
        });
    });
    let (server, client) = addresses.into_inner().unwrap().unwrap();
    (told, server, client)
}

#[test]
fn events_have_the_connection_the_side_and_the_peer() {
    let (told, server, client) = talk();
    let of = |side: &str| {
        let all = told.iter().filter(|told| told.side == side);
        all.cloned().collect::<Vec<_>>()
    };
    for (side, peer) in [("client", server), ("server", client)] {
        let told = of(side);
        let peer = peer.to_string();
        let first = &told[0];
        assert_eq!(first.message, "open");
        for event in &told {
            assert_eq!(event.target, "sansock");
            assert_eq!(event.connection, first.connection);
            assert_eq!(event.peer.as_deref(), Some(&*peer), "{event:?}");
        }
        let encoded = told
            .iter()
            .filter(|told| told.message.contains(", encoded]"));
        assert_eq!(encoded.count(), 2, "{told:?}");
        assert!(told.last().unwrap().message.starts_with("closed: "));
    }
    assert_ne!(of("client")[0].connection, of("server")[0].connection);
}

#[test]
fn no_credential_is_told() {
    let (told, ..) = talk();
    let mut all = String::new();
    write!(all, "{told:?}").unwrap();
    // The last is the user and the password in base64.
    for secret in [
        "alice",
        "Rumpelstilz",
        "Dornroeschen",
        "Schneewittchen",
        "YWxpY2U6UnVtcGVsc3RpbHo",
    ] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
    assert!(told.len() >= 8, "{told:?}");
}

#[test]
fn a_refused_handshake_is_told_without_what_was_said() {
    let told = Collector::listen(|| {
        block_on(async {
            let listener = async_net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("ws://{}/", listener.local_addr().unwrap());
            let server = async {
                let (stream, _) = listener.accept().await.unwrap();
                let options = Arc::new(sansock::ServerOptions::new());
                let upgrade = sansock::smol::upgrade(stream, options, sansock::config());
                let status = sansock::core::handshake::StatusCode::FORBIDDEN;
                let upgrade = upgrade.await.unwrap();
                upgrade.reject(status, "Rumpelstilz").await.unwrap();
            };
            let refused = zip(server, sansock::smol::connect(&url).into_future())
                .await
                .1;
            refused.unwrap_err();
        });
    });
    let messages: Vec<_> = told.iter().map(|told| &*told.message).collect();
    assert!(messages.contains(&"opening handshake failed"), "{told:?}");
    assert!(!format!("{told:?}").contains("Rumpelstilz"), "{told:?}");
}
