//! The program: what every runtime has to do, from connecting to shutting a server down.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use futures_lite::future::{or, zip};
use sansock::core::handshake::{Response, StatusCode};
use sansock::proxy::Proxy;
use sansock::runtime::{Runtime, connect, serve};
use sansock::serve::{Listen, Origins, OverflowPolicy, Room, Server, ServerHandle};
use sansock::{CloseCode, Connect, Message, Prepared, Stream, Timer};

use super::{R, placed, runtime};
use crate::peer::{BINARY, CLOSE, PING, PONG, Peer, elsewhere};
use crate::report::Report;
use crate::{authority, proxy};

type Socket = sansock::serve::Socket<Stream<R>, <R as Runtime>::Timer>;
type WebSocket = sansock::WebSocket<Stream<R>, <R as Runtime>::Timer>;
type Bound = Server<Stream<R>, <R as Runtime>::Timer, <R as Runtime>::Mode>;
type Tested = Result<(), Box<dyn std::error::Error>>;

/// After this time a scenario hangs.
const TOO_LONG: Duration = Duration::from_secs(20);

/// What a runtime may lack.
const OPTIONAL: [&str; 3] = ["local addresses", "Unix sockets", "listeners of std"];

/// Runs all scenarios.
pub(super) async fn run() -> Report {
    let mut report = Report::default();
    macro_rules! scenarios {
        ($($name:ident)*) => {
            $(
                let hangs = async {
                    sleep(TOO_LONG).await;
                    Err("it hangs".into())
                };
                report.add(stringify!($name), or($name(), hangs).await);
            )*
        };
    }
    scenarios! {
        messages_of_all_sizes
        a_connection_over_tls
        a_connection_through_a_proxy
        a_redirect
        connections_that_are_replaced
        a_message_for_a_room
        a_push_from_another_thread
        a_ping_while_the_handler_waits
        a_ping_while_the_handler_only_sends
        a_close_while_the_handler_only_sends
        a_deadline_under_a_flood
        a_peer_that_does_not_read
        a_handler_that_panics
        a_shutdown_under_load
        a_drain
    }
    for what in OPTIONAL {
        match supports(what).await {
            Ok(true) => report.add(what, Ok(())),
            Ok(false) => {
                report.add(what, Ok(()));
                report = report.note(format!("no {what}"));
            }
            Err(error) => report.add(what, Err(error)),
        }
    }
    report
}

// What the scenarios share.

async fn sleep(time: Duration) {
    let mut timer = runtime().timer();
    let deadline = timer.now().checked_add(time);
    timer.set(deadline);
    while deadline.is_some_and(|deadline| timer.now() < deadline) {
        poll_fn(|cx| timer.poll(cx)).await;
        timer.set(deadline);
    }
}

async fn echo(mut ws: Socket) -> sansock::Result<()> {
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}

/// Returns a server on loopback that runs this handler.
macro_rules! server {
    ($handler:expr) => {
        placed(serve(runtime(), "127.0.0.1:0", $handler).origins(Origins::Any))
            .bind()
            .await?
    };
}

fn address(server: &Bound) -> SocketAddr {
    server.local_addresses().next().expect("an address")
}

fn url(server: &Bound, path: &str) -> String {
    format!("ws://localhost:{}{path}", address(server).port())
}

fn client(url: &str) -> Connect<R> {
    connect(runtime(), url).proxy(None::<Proxy>)
}

/// Runs a server beside a client, then shuts it down.
async fn beside(server: Bound, client: impl AsyncFnOnce(ServerHandle) -> Tested) -> Tested {
    let handle = server.handle();
    let testing = async {
        let tested = client(handle.clone()).await;
        handle.shutdown();
        tested
    };
    zip(server.run(), testing).await.1
}

async fn talk(ws: &mut WebSocket) -> Tested {
    for message in [
        Message::text("hällo"),
        Message::binary(&b""[..]),
        Message::binary(vec![7; 1 << 20]),
    ] {
        ws.send(&message).await?;
        if ws.recv().await?.as_ref() != Some(&message) {
            return Err("another message came back".into());
        }
    }
    ws.ping().await?;
    Ok(())
}

async fn close(mut ws: WebSocket) -> Tested {
    ws.close(1000, "").await?;
    Ok(ws.close_result()?)
}

/// As [`expect`], for what runs on another thread.
fn expect_thread(condition: bool, what: &str) -> std::io::Result<()> {
    condition
        .then_some(())
        .ok_or_else(|| std::io::Error::other(what))
}

fn expect(condition: bool, what: &str) -> Tested {
    condition.then_some(()).ok_or_else(|| what.into())
}

// The scenarios.

async fn messages_of_all_sizes() -> Tested {
    let server = server!(echo);
    let url = url(&server, "/");
    beside(server, async |_| {
        let mut ws = client(&url).await?;
        talk(&mut ws).await?;
        close(ws).await
    })
    .await
}

async fn a_connection_over_tls() -> Tested {
    let (client_tls, server_tls) = authority::tls();
    let listen = Listen::tls("127.0.0.1:0", server_tls);
    let serve = serve(runtime(), listen, echo).origins(Origins::Any);
    let server = placed(serve).bind().await?;
    let url = url(&server, "/").replace("ws:", "wss:");
    beside(server, async |_| {
        let mut ws = client(&url).tls(client_tls).await?;
        talk(&mut ws).await?;
        close(ws).await
    })
    .await
}

async fn a_connection_through_a_proxy() -> Tested {
    let server = server!(echo);
    let url = url(&server, "/");
    let proxy: Proxy = format!("http://{}", proxy::start()?).parse()?;
    beside(server, async |_| {
        let mut ws = client(&url).proxy(proxy).await?;
        talk(&mut ws).await?;
        close(ws).await
    })
    .await
}

async fn a_redirect() -> Tested {
    let server = placed(serve(runtime(), "127.0.0.1:0", echo).origins(Origins::Any))
        .process_request(|request| async {
            if request.path() == "/new" {
                return request.accept();
            }
            let mut response = Response::text(StatusCode::new(302).expect("a status"), "Moved.\n");
            let set = response.headers_mut().set("Location", "/new");
            set.expect("a header");
            request.respond(response)
        })
        .bind()
        .await?;
    let url = url(&server, "/old");
    beside(server, async |_| {
        let refused = client(&url).await;
        expect(refused.is_err(), "a redirect is followed by default")?;
        let mut ws = client(&url).redirects(1).await?;
        talk(&mut ws).await?;
        close(ws).await
    })
    .await
}

async fn connections_that_are_replaced() -> Tested {
    let server = server!(async |mut ws: Socket| ws.send("the only one").await);
    let url = url(&server, "/");
    beside(server, async |_| {
        let mut connections = client(&url).reconnect();
        for _ in 0..3 {
            let Some(mut ws) = connections.next().await? else {
                return Err("no further connection".into());
            };
            let message = ws.recv().await?;
            expect(message == Some(Message::text("the only one")), "a message")?;
            expect(ws.recv().await?.is_none(), "the end")?;
        }
        Ok(())
    })
    .await
}

async fn a_message_for_a_room() -> Tested {
    let server = server!(echo);
    let url = url(&server, "/");
    beside(server, async |handle: ServerHandle| {
        let mut members = [client(&url).await?, client(&url).await?];
        for ws in &mut members {
            // The server has registered it once it answers.
            ws.ping().await?;
        }
        let room = Room::new();
        let joined = handle
            .connections()
            .iter()
            .filter(|one| room.join(one))
            .count();
        expect(joined == 2, "two members")?;
        let sent = room.broadcast(&Prepared::new("to all"), OverflowPolicy::default());
        drop(sent);
        for mut ws in members {
            expect(
                ws.recv().await? == Some(Message::text("to all")),
                "the message",
            )?;
            close(ws).await?;
        }
        Ok(())
    })
    .await
}

async fn a_push_from_another_thread() -> Tested {
    let server = server!(echo);
    let url = url(&server, "/");
    beside(server, async |handle: ServerHandle| {
        let mut ws = client(&url).await?;
        ws.ping().await?;
        let connections = handle.connections();
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(100));
            let policy = OverflowPolicy::default();
            connections[0].push(&Prepared::new("from outside"), policy)
        });
        let message = ws.recv().await?;
        expect(
            message == Some(Message::text("from outside")),
            "the message",
        )?;
        close(ws).await
    })
    .await
}

async fn a_ping_while_the_handler_waits() -> Tested {
    let server = server!(async |mut ws: Socket| {
        sleep(Duration::from_secs(2)).await;
        ws.send("done").await
    });
    let url = url(&server, "/");
    beside(server, async |_| {
        let mut ws = client(&url).await?;
        let took = ws.ping().await?;
        expect(
            took < Duration::from_secs(1),
            "a pong while the handler waits",
        )?;
        expect(
            ws.recv().await? == Some(Message::text("done")),
            "the message",
        )?;
        close(ws).await
    })
    .await
}

/// D1: a handler that never receives does not keep the connection from reading.
async fn a_ping_while_the_handler_only_sends() -> Tested {
    let server = server!(send_without_end);
    let address = address(&server);
    beside(server, async |_| {
        elsewhere(move || {
            let mut peer = Peer::connect(address)?;
            peer.next_of(BINARY)?;
            peer.send(PING, b"are you there?")?;
            let pong = peer.next_of(PONG)?;
            expect_thread(pong == b"are you there?", "the pong")
        })
        .await?;
        Ok(())
    })
    .await
}

/// D5: a Close that arrives while a handler only sends is answered, and ends the handler.
async fn a_close_while_the_handler_only_sends() -> Tested {
    let server = server!(send_without_end);
    let address = address(&server);
    beside(server, async |_| {
        elsewhere(move || {
            let mut peer = Peer::connect(address)?;
            peer.next_of(BINARY)?;
            peer.send(CLOSE, &1000_u16.to_be_bytes())?;
            let code = peer.next_of(CLOSE)?;
            expect_thread(code == 1000_u16.to_be_bytes(), "the answer 1000")?;
            expect_thread(peer.is_at_end()?, "the end of the stream")
        })
        .await?;
        Ok(())
    })
    .await
}

/// D2: a peer that sends without end does not postpone the deadline of the closing handshake.
async fn a_deadline_under_a_flood() -> Tested {
    let config = sansock::config().close_timeout(Duration::from_millis(500));
    let closes = async |mut ws: Socket| ws.close(1000, "").await;
    let server = placed(serve(runtime(), "127.0.0.1:0", closes).origins(Origins::Any))
        .config(config)
        .bind()
        .await?;
    let address = address(&server);
    beside(server, async |_| {
        let took = elsewhere(move || {
            let mut peer = Peer::connect(address)?;
            let start = Instant::now();
            while peer.send(BINARY, &[0; 32 << 10]).is_ok() {}
            std::io::Result::Ok(start.elapsed())
        })
        .await?;
        expect(took < Duration::from_secs(5), "the end of the flood")
    })
    .await
}

/// D7: a peer that does not read stops the handler, and loses nothing.
async fn a_peer_that_does_not_read() -> Tested {
    const MESSAGES: usize = 512;
    const SIZE: usize = 64 << 10;
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    let server = server!(move |mut ws: Socket| {
        let count = count.clone();
        async move {
            for _ in 0..MESSAGES {
                ws.send(vec![7; SIZE]).await?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, sansock::Error>(())
        }
    });
    let address = address(&server);
    beside(server, async |_| {
        elsewhere(move || {
            let mut peer = Peer::connect(address)?;
            thread::sleep(Duration::from_secs(1));
            let stopped = sent.load(Ordering::Relaxed) < MESSAGES;
            expect_thread(stopped, "a handler that waits")?;
            for _ in 0..MESSAGES {
                expect_thread(peer.next_of(BINARY)?.len() == SIZE, "a whole message")?;
            }
            peer.next_of(CLOSE).map(drop)
        })
        .await?;
        Ok(())
    })
    .await
}

async fn send_without_end(mut ws: Socket) -> sansock::Result<()> {
    loop {
        ws.send(vec![7; 1024]).await?;
    }
}

async fn a_handler_that_panics() -> Tested {
    let server = server!(async |mut ws: Socket| {
        if ws
            .recv()
            .await?
            .is_some_and(|message| message.as_text() == Some("panic"))
        {
            std::panic::resume_unwind(Box::new("the handler panics"));
        }
        ws.send("well").await
    });
    let url = url(&server, "/");
    beside(server, async |_| {
        let mut ws = client(&url).await?;
        ws.send("panic").await?;
        expect(ws.recv().await?.is_none(), "the end")?;
        let closed = ws.closed().and_then(|closed| closed.first().cloned());
        let code = closed.map(|frame| frame.code);
        expect(code == Some(CloseCode::INTERNAL_ERROR), "1011")?;
        let mut ws = client(&url).await?;
        ws.send("hello").await?;
        expect(
            ws.recv().await? == Some(Message::text("well")),
            "the next one",
        )?;
        close(ws).await
    })
    .await
}

async fn a_drain() -> Tested {
    const SLOW: Duration = Duration::from_millis(300);

    let spread = Duration::from_secs(1);
    let server = server!(async |mut ws: Socket| {
        while let Some(message) = ws.recv().await? {
            sleep(SLOW).await;
            ws.send(message).await?;
        }
        Ok::<_, sansock::Error>(())
    });
    let url = url(&server, "/");
    let handle = server.handle();
    let clients = async {
        let mut idle = client(&url).await?;
        let mut busy = client(&url).await?;
        busy.send("a question").await?;
        sleep(SLOW / 3).await;
        handle.drain(spread, spread);
        let refused = client(&url)
            .await
            .err()
            .and_then(|error| error.retry_after());
        expect(refused.is_some(), "503 with Retry-After for a new client")?;
        expect(
            busy.recv().await? == Some(Message::text("a question")),
            "the answer that was being prepared",
        )?;
        for ws in [&mut idle, &mut busy] {
            expect(ws.recv().await?.is_none(), "the end")?;
            let closed = ws.closed().and_then(|closed| closed.first().cloned());
            let code = closed.map(|frame| frame.code);
            expect(code == Some(CloseCode::GOING_AWAY), "1001")?;
        }
        Ok(())
    };
    zip(server.run(), clients).await.1
}

async fn a_shutdown_under_load() -> Tested {
    let server = server!(echo);
    let url = url(&server, "/");
    let handle = server.handle();
    let load = async {
        let mut clients = Vec::new();
        for _ in 0..16 {
            clients.push(client(&url).await?);
        }
        let talking = clients.into_iter().map(|mut ws| {
            Box::pin(async move {
                while ws.send("again and again").await.is_ok() {
                    if !matches!(ws.recv().await, Ok(Some(_))) {
                        break;
                    }
                }
                drop(ws.recv().await);
                ws.closed().and_then(|closed| closed.first().cloned())
            })
        });
        let mut talking: Vec<_> = talking.collect();
        let mut codes = Vec::new();
        let all = poll_fn(|cx| {
            talking.retain_mut(|client| match client.as_mut().poll(cx) {
                std::task::Poll::Ready(closed) => {
                    codes.push(closed.map(|frame| frame.code));
                    false
                }
                std::task::Poll::Pending => true,
            });
            match talking.is_empty() {
                true => std::task::Poll::Ready(()),
                false => std::task::Poll::Pending,
            }
        });
        let stop = async {
            sleep(Duration::from_millis(300)).await;
            handle.shutdown();
        };
        zip(all, stop).await;
        let away = codes
            .iter()
            .filter(|code| **code == Some(CloseCode::GOING_AWAY));
        expect(away.count() == 16, "1001 for every client")
    };
    zip(server.run(), load).await.1
}

/// Returns whether the runtime supports something that is optional. Without it, the error has the kind `Unsupported`.
async fn supports(what: &str) -> Result<bool, Box<dyn std::error::Error>> {
    let result = match what {
        "local addresses" => from_a_local_address().await?,
        "Unix sockets" => {
            let path = std::env::temp_dir().join(format!("sansock-{}.sock", std::process::id()));
            bind(&*path).await
        }
        _ => bind(TcpListener::bind("127.0.0.1:0")?).await,
    };
    match result {
        Ok(()) => Ok(true),
        Err(error) => match std::io::Error::from(error) {
            error if error.kind() == ErrorKind::Unsupported => Ok(false),
            error => Err(error.into()),
        },
    }
}

async fn from_a_local_address() -> Result<sansock::Result<()>, Box<dyn std::error::Error>> {
    let server = server!(echo);
    let url = url(&server, "/").replace("localhost", "127.0.0.1");
    let mut result = Ok(());
    beside(server, async |_| {
        let from: IpAddr = [127, 0, 0, 1].into();
        match client(&url).local_address(from).await {
            Ok(ws) => close(ws).await?,
            Err(error) => result = Err(error),
        }
        Ok(())
    })
    .await?;
    Ok(result)
}

async fn bind(at: impl Into<Listen<Stream<R>, <R as Runtime>::Mode>>) -> sansock::Result<()> {
    let serve = serve(runtime(), at, echo).origins(Origins::Any);
    placed(serve).bind().await.map(drop)
}
