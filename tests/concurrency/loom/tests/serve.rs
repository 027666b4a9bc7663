//! Connections of a server whose handler is busy, and what reaches them from other threads, in every order
//! that their locks allow.
//!
//! The opening handshake is done before the threads start. What a thread waits for and never gets is a
//! deadlock, which loom reports. Each test prints how many orders there were.

mod line;

use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use locks as loom;
use loom::future::block_on;
use loom::thread;
use sansock::clock::{VirtualClock, VirtualTimer};
use sansock::serve::{
    Accepted, Handle, Origins, OverflowPolicy, Peer as Address, Push, Serve, Server, Socket,
};
use sansock::{Config, Prepared};

use line::{Line, Peer, from_client, line, to_client};

const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

type Ws = Socket<Line, VirtualTimer>;
type Task = Pin<Box<dyn Future<Output = ()> + Send>>;
type Place<T> = Arc<std::sync::Mutex<Option<T>>>;

/// Runs a scenario in every order of its threads.
fn explore(name: &str, scenario: impl Fn() + Send + Sync + 'static) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let mut builder = loom::model::Builder::new();
    builder.max_branches = 10_000;
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        scenario();
    });
    let count = count.load(Ordering::Relaxed);
    println!("{name}: {count} interleavings");
    assert!(count > 1, "nothing was interleaved");
}

/// A connection that is open, and whose handler was started.
struct Served {
    task: Task,
    handle: Handle,
    peer: Peer,
    /// Aborts the connection when it is dropped.
    _server: Server<Line, VirtualTimer>,
}

/// Opens a connection over a line that takes so many bytes after the opening handshake.
fn serve<F>(room: usize, handler: impl Fn(Ws) -> F + Send + Sync + 'static) -> Served
where
    F: Future<Output = ()> + Send + 'static,
{
    serve_with(Config::new(), room, handler)
}

/// As [`serve`], with limits.
fn serve_with<F>(
    config: Config,
    room: usize,
    handler: impl Fn(Ws) -> F + Send + Sync + 'static,
) -> Served
where
    F: Future<Output = ()> + Send + 'static,
{
    let clock = VirtualClock::new();
    let config = config.write_timeout(None);
    let serve = Serve::new(handler, move || clock.timer(), |_| {})
        .origins(Origins::SameHost)
        .config(config);
    let server = block_on(serve.bind()).unwrap();
    let (line, peer) = line(1 << 10);
    peer.put(REQUEST);
    let mut task: Task = Box::pin(
        server
            .acceptor()
            .serve(Accepted::new(line, Address::Unknown)),
    );
    let mut cx = Context::from_waker(Waker::noop());
    assert!(task.as_mut().poll(&mut cx).is_pending());
    peer.start_over(room);
    let handle = server.handle().connections().remove(0);
    Served {
        task,
        handle,
        peer,
        _server: server,
    }
}

/// Opens a connection whose handler hands its socket over to another task, and then waits for ever.
fn serve_elsewhere(room: usize) -> (Served, Ws) {
    let place: Place<Ws> = Place::default();
    let put = place.clone();
    let served = serve(room, move |ws| {
        *put.lock().unwrap() = Some(ws);
        pending()
    });
    let ws = place.lock().unwrap().take().unwrap();
    (served, ws)
}

/// Receives until the end.
async fn receive_all(mut ws: Ws) {
    while let Ok(Some(_)) = ws.recv().await {}
}

/// Polls for a message once, and gives up.
fn receive_once(ws: &mut Ws) {
    block_on(poll_fn(|cx| {
        assert!(ws.poll_recv(cx).is_pending());
        Poll::Ready(())
    }));
}

fn push(handle: &Handle, text: &str) {
    let pushed = handle.push(&Prepared::new(text), OverflowPolicy::Skip);
    assert_eq!(pushed, Push::Queued);
}

/// Returns the texts of a server, from frames that are small.
fn texts(mut bytes: &[u8]) -> Vec<String> {
    let mut texts = Vec::new();
    while let [TEXT, size, rest @ ..] = bytes {
        let (text, rest) = rest.split_at(usize::from(*size));
        texts.push(String::from_utf8(text.to_vec()).unwrap());
        bytes = rest;
    }
    assert_eq!(bytes, b"");
    texts
}

#[test]
fn a_ping_is_answered_after_another_task_has_used_the_socket() {
    explore("socket in another task", || {
        let (served, mut ws) = serve_elsewhere(100);
        let Served {
            task,
            handle,
            peer,
            _server,
        } = served;
        let connection = thread::spawn(move || block_on(task));
        let using = thread::spawn(move || {
            receive_once(&mut ws);
            ws
        });
        peer.put(&from_client(PING, b"?"));
        let pong = to_client(PONG, b"?");
        assert_eq!(block_on(peer.wait_for(pong.len())), pong);
        let ws = using.join().unwrap();
        handle.abort();
        connection.join().unwrap();
        drop(ws);
    });
}

#[test]
fn a_message_for_another_task_and_a_ping_before_it_arrive() {
    explore("message for another task", || {
        let (served, mut ws) = serve_elsewhere(100);
        let Served {
            task,
            handle,
            peer,
            _server,
        } = served;
        let connection = thread::spawn(move || block_on(task));
        let using = thread::spawn(move || {
            let message = block_on(ws.recv()).unwrap().unwrap();
            assert_eq!(message.as_text().unwrap(), "hi");
            ws
        });
        peer.put(&[from_client(PING, b"?"), from_client(TEXT, b"hi")].concat());
        let ws = using.join().unwrap();
        let pong = to_client(PONG, b"?");
        assert_eq!(block_on(peer.wait_for(pong.len())), pong);
        handle.abort();
        connection.join().unwrap();
        drop(ws);
    });
}

#[test]
fn halves_in_other_tasks_leave_the_connection_to_the_server() {
    explore("halves elsewhere", || {
        let (served, ws) = serve_elsewhere(100);
        let Served {
            task,
            handle,
            peer,
            _server,
        } = served;
        let connection = thread::spawn(move || block_on(task));
        let using = thread::spawn(move || ws.split());
        peer.put(&from_client(PING, b"?"));
        let pong = to_client(PONG, b"?");
        assert_eq!(block_on(peer.wait_for(pong.len())), pong);
        let halves = using.join().unwrap();
        handle.abort();
        connection.join().unwrap();
        drop(halves);
    });
}

#[test]
fn a_socket_that_is_dropped_elsewhere_is_closed_by_the_server() {
    explore("socket dropped elsewhere", || {
        let place: Place<Ws> = Place::default();
        let put = place.clone();
        let served = serve(100, move |ws| {
            *put.lock().unwrap() = Some(ws);
            std::future::ready(())
        });
        let Served {
            task,
            peer,
            _server,
            ..
        } = served;
        let ws = place.lock().unwrap().take().unwrap();
        let connection = thread::spawn(move || block_on(task));
        let dropping = thread::spawn(move || drop(ws));
        peer.put_last(&from_client(CLOSE, &1000_u16.to_be_bytes()));
        connection.join().unwrap();
        dropping.join().unwrap();
    });
}

#[test]
fn what_is_pushed_leaves_in_order_while_the_handler_receives() {
    explore("pushed while receiving", || {
        let Served {
            task,
            handle,
            peer,
            _server,
        } = serve(100, receive_all);
        let connection = thread::spawn(move || block_on(task));
        push(&handle, "a");
        push(&handle, "b");
        assert_eq!(texts(&block_on(peer.wait_for(6))), ["a", "b"]);
        handle.abort();
        connection.join().unwrap();
    });
}

#[test]
fn what_is_pushed_leaves_while_the_handler_is_busy() {
    explore("pushed while busy", || {
        let (served, ws) = serve_elsewhere(100);
        let Served {
            task,
            handle,
            peer,
            _server,
        } = served;
        let connection = thread::spawn(move || block_on(task));
        push(&handle, "a");
        push(&handle, "b");
        assert_eq!(texts(&block_on(peer.wait_for(6))), ["a", "b"]);
        handle.abort();
        connection.join().unwrap();
        drop(ws);
    });
}

#[test]
fn two_tasks_push_and_nothing_is_lost() {
    explore("two who push", || {
        // A message that does not leave at once keeps the next one in the inbox.
        let config = Config::new().max_queued_output(1);
        let Served {
            task,
            handle,
            peer,
            _server,
        } = serve_with(config, 4, receive_all);
        let connection = thread::spawn(move || block_on(task));
        let (far, second) = (peer.clone(), handle.clone());
        let pushing = thread::spawn(move || {
            push(&second, "c");
            far.make_room(5);
            push(&second, "d");
        });
        push(&handle, "a");
        assert_eq!(texts(&block_on(peer.wait_for(9))).len(), 3);
        pushing.join().unwrap();
        handle.abort();
        connection.join().unwrap();
    });
}

#[test]
fn a_close_follows_what_was_pushed_before() {
    explore("pushed before a close", || {
        let Served {
            task,
            handle,
            peer,
            _server,
        } = serve(100, receive_all);
        let connection = thread::spawn(move || block_on(task));
        push(&handle, "a");
        handle.close(1000, "").unwrap();
        let expected = [
            to_client(TEXT, b"a"),
            to_client(CLOSE, &1000_u16.to_be_bytes()),
        ]
        .concat();
        assert_eq!(block_on(peer.wait_for(expected.len())), expected);
        peer.put_last(&from_client(CLOSE, &1000_u16.to_be_bytes()));
        connection.join().unwrap();
    });
}
