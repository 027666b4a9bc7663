//! Executors of one thread, with a transport and a timer that may not leave it: nothing that they need is
//! `Send`.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_executor::{LocalExecutor, Task};
use futures_io::{AsyncRead, AsyncWrite};
use sansock::serve::{Accepted, Origins, Serve, Socket};
use sansock::{Closed, Error, Message, Result, Timer, Upgrade};
use sansock_core::handshake::{ClientOptions, ServerOptions, StatusCode};
use sansock_core::{ClientConnection, Config, Deadline, Instant, ServerConnection};
use sansock_tests::driver::{client_connection, config, server_connection};

type WebSocket = sansock::WebSocket<LocalStream, LocalTimer>;

// One thread.

/// An executor and a clock of one thread.
#[derive(Default)]
struct World {
    executor: LocalExecutor<'static>,
    clock: Rc<Clock>,
}

impl World {
    fn spawn<T: 'static>(&self, task: impl Future<Output = T> + 'static) -> Task<T> {
        self.executor.spawn(task)
    }

    /// Runs until every task waits.
    #[track_caller]
    fn settle(&self) {
        let ticks = (0..100_000).take_while(|_| self.executor.try_tick());
        assert!(ticks.count() < 100_000, "the tasks spin");
    }

    fn advance(&self, by: Duration) {
        self.clock.advance(by);
        self.settle();
    }

    fn timer(&self) -> LocalTimer {
        LocalTimer {
            clock: self.clock.clone(),
            alarm: None,
        }
    }

    /// Returns the output of a task that is done.
    #[track_caller]
    fn output<T>(&self, task: Task<T>) -> T {
        self.settle();
        assert!(task.is_finished(), "the task waits");
        futures_lite::future::block_on(task)
    }

    /// Opens a connection. Both sides are on this thread.
    fn opened(&self, config: impl Fn() -> Config) -> (WebSocket, WebSocket) {
        let (near, far) = pipe(64);
        let uri = "ws://example.com/".parse().unwrap();
        let client = ClientConnection::new(&uri, &ClientOptions::new(), config()).unwrap();
        let server = ServerConnection::new(ServerOptions::new().into(), config());
        let client = self.spawn(WebSocket::client(near, self.timer(), client));
        let server = self.spawn(WebSocket::server(far, self.timer(), server));
        let (client, _response) = self.output(client).unwrap();
        (client, self.output(server).unwrap())
    }
}

/// Time that passes when a test says so.
#[derive(Default)]
struct Clock {
    now: Cell<Duration>,
    waiting: RefCell<Vec<(Duration, Waker)>>,
}

impl Clock {
    fn advance(&self, by: Duration) {
        let now = self.now.get() + by;
        self.now.set(now);
        let (due, later) = self
            .waiting
            .take()
            .into_iter()
            .partition(|(at, _)| *at <= now);
        *self.waiting.borrow_mut() = later;
        let due: Vec<(Duration, Waker)> = due;
        due.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// Waits until a time, as something else than a connection.
    async fn sleep(&self, time: Duration) {
        let at = self.now.get() + time;
        poll_fn(|cx| self.poll(at, cx)).await;
    }

    fn poll(&self, at: Duration, cx: &Context<'_>) -> Poll<()> {
        if at <= self.now.get() {
            return Poll::Ready(());
        }
        self.waiting.borrow_mut().push((at, cx.waker().clone()));
        Poll::Pending
    }
}

struct LocalTimer {
    clock: Rc<Clock>,
    alarm: Option<Instant>,
}

impl Timer for LocalTimer {
    fn now(&self) -> Instant {
        Instant::from_start(self.clock.now.get())
    }

    fn set(&mut self, deadline: Option<Instant>) {
        self.alarm = deadline;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.alarm {
            Some(alarm) => self.clock.poll(alarm.since_start(), cx),
            None => Poll::Pending,
        }
    }
}

/// One direction of a stream.
#[derive(Default)]
struct Channel {
    bytes: VecDeque<u8>,
    capacity: usize,
    is_ended: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// One end of a stream, whose bytes are in reference-counted cells.
struct LocalStream {
    incoming: Rc<RefCell<Channel>>,
    outgoing: Rc<RefCell<Channel>>,
}

fn pipe(capacity: usize) -> (LocalStream, LocalStream) {
    let channel = || {
        let channel = Channel {
            capacity,
            ..Channel::default()
        };
        Rc::new(RefCell::new(channel))
    };
    let (one, other) = (channel(), channel());
    let near = LocalStream {
        incoming: one.clone(),
        outgoing: other.clone(),
    };
    let far = LocalStream {
        incoming: other,
        outgoing: one,
    };
    (near, far)
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl LocalStream {
    fn end(&self) {
        let mut outgoing = self.outgoing.borrow_mut();
        outgoing.is_ended = true;
        let reader = outgoing.reader.take();
        drop(outgoing);
        wake(reader);
    }
}

impl AsyncRead for LocalStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut incoming = self.incoming.borrow_mut();
        if incoming.bytes.is_empty() && !incoming.is_ended {
            incoming.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let size = io::Read::read(&mut incoming.bytes, buf);
        let writer = incoming.writer.take();
        drop(incoming);
        wake(writer);
        Poll::Ready(size)
    }
}

impl AsyncWrite for LocalStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut outgoing = self.outgoing.borrow_mut();
        let size = buf.len().min(outgoing.capacity - outgoing.bytes.len());
        if size == 0 {
            outgoing.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        outgoing.bytes.extend(&buf[..size]);
        let reader = outgoing.reader.take();
        drop(outgoing);
        wake(reader);
        Poll::Ready(Ok(size))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end();
        Poll::Ready(Ok(()))
    }
}

impl Drop for LocalStream {
    fn drop(&mut self) {
        self.end();
    }
}

// What is tested.

async fn echo(mut ws: WebSocket) -> Result<Option<Closed>> {
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(ws.closed().cloned())
}

#[test]
fn a_conversation() {
    let world = World::default();
    let (mut client, server) = world.opened(config);
    let server = world.spawn(echo(server));
    let client = world.spawn(async move {
        for message in [Message::text("hello"), Message::binary(vec![7; 10_000])] {
            client.send(&message).await?;
            assert_eq!(client.recv().await?, Some(message));
        }
        client.ping().await?;
        client.close(1000, "bye").await?;
        client.close_result()
    });
    world.output(client).unwrap();
    let closed = world.output(server).unwrap();
    assert!(closed.is_some_and(|closed| closed.is_clean()));
}

#[test]
fn a_request_is_looked_at_then_accepted_or_rejected() {
    for is_accepted in [true, false] {
        let world = World::default();
        let (near, far) = pipe(64);
        let timer = world.timer();
        let decides = Rc::new(Cell::new(is_accepted));
        let server = world.spawn(async move {
            let connection = server_connection(ServerOptions::new());
            let upgrade = Upgrade::read(far, timer, connection).await?;
            assert_eq!(upgrade.request().path(), "/chat");
            match decides.get() {
                true => echo(upgrade.accept().await?).await.map(|_| ()),
                false => upgrade.reject(StatusCode::FORBIDDEN, "no entry").await,
            }
        });
        let connection = client_connection(&ClientOptions::new());
        let timer = world.timer();
        let client = world.spawn(async move {
            let (mut ws, _) = WebSocket::client(near, timer, connection).await?;
            ws.close(1000, "").await
        });
        let client = world.output(client);
        world.output(server).unwrap();
        match is_accepted {
            true => client.unwrap(),
            false => {
                let error = client.unwrap_err();
                let response = error.response().unwrap();
                assert_eq!(response.status(), StatusCode::FORBIDDEN);
            }
        }
    }
}

#[test]
fn a_server_whose_functions_share_what_stays_on_the_thread() {
    let world = World::default();
    let (handled, events) = (Rc::new(Cell::new(0)), Rc::new(RefCell::new(Vec::new())));
    let handler = {
        let handled = handled.clone();
        move |_: Socket<LocalStream, LocalTimer>| {
            handled.set(handled.get() + 1);
            async {}
        }
    };
    let (clock, log) = (world.clock.clone(), events.clone());
    let timer = move || LocalTimer {
        clock: clock.clone(),
        alarm: None,
    };
    let server = Serve::local(handler, timer, |_| {})
        .origins(Origins::SameHost)
        .on_event(move |event| log.borrow_mut().push(event.to_string()))
        .bind();
    let server = futures_lite::future::block_on(server).unwrap();
    for request in [
        b"GET / HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            .to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ] {
        let (near, far) = pipe(1 << 12);
        near.outgoing.borrow_mut().bytes.extend(request);
        near.end();
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 80));
        let serving = world.spawn(server.acceptor().serve(Accepted::new(far, address)));
        world.output(serving);
    }
    assert_eq!(handled.get(), 1);
    assert_eq!(events.borrow().len(), 1, "{events:?}");
}

#[test]
fn either_side_attends_while_it_waits_for_something_else() {
    for is_client_busy in [true, false] {
        let world = World::default();
        let (client, server) = world.opened(config);
        let (mut busy, mut pinging) = match is_client_busy {
            true => (client, server),
            false => (server, client),
        };
        let clock = world.clock.clone();
        let busy = world.spawn(async move {
            busy.attend(clock.sleep(Duration::from_secs(5))).await;
            (busy.recv().await, busy.recv().await)
        });
        let pinging = world.spawn(async move {
            pinging.ping().await.unwrap();
            pinging.send("a message").await.unwrap();
            pinging
        });
        // The time does not pass.
        let mut pinging = world.output(pinging);
        assert!(!busy.is_finished());
        let closing = world.spawn(async move { pinging.close(1000, "").await });
        world.advance(Duration::from_secs(5));
        let (message, end) = world.output(busy);
        assert_eq!(message.unwrap(), Some(Message::text("a message")));
        assert_eq!(end.unwrap(), None);
        world.output(closing).unwrap();
    }
}

#[test]
fn halves_in_two_tasks_on_either_side() {
    for is_client_split in [true, false] {
        let world = World::default();
        let (client, server) = world.opened(config);
        let (split, whole) = match is_client_split {
            true => (client, server),
            false => (server, client),
        };
        let echo = world.spawn(echo(whole));
        let (sender, mut receiver) = split.split();
        let receives = world.spawn(async move {
            let mut received = 0;
            while let Some(message) = receiver.recv().await? {
                received += message.len();
            }
            receiver.close_result()?;
            Ok::<_, Error>(received)
        });
        let senders = [sender.clone(), sender.clone()].map(|sender| {
            world.spawn(async move {
                for _ in 0..10 {
                    sender.send(vec![7; 100]).await?;
                }
                sender.ping().await
            })
        });
        for sends in senders {
            world.output(sends).unwrap();
        }
        assert!(!receives.is_finished());
        let closes = world.spawn(async move { sender.close(1000, "").await });
        world.output(closes).unwrap();
        assert_eq!(world.output(receives).unwrap(), 2000);
        world.output(echo).unwrap();
    }
}

#[test]
fn deadlines_fire_on_either_side() {
    for is_client_silent in [true, false] {
        let world = World::default();
        // The handshake is not assumed to be on its way still.
        let (client, server) = world.opened(|| config().min_send_rate(None));
        let (silent, mut waiting) = match is_client_silent {
            true => (client, server),
            false => (server, client),
        };
        let waits = world.spawn(async move { waiting.recv().await });
        world.settle();
        // The ping is due after 20 s, its pong 20 s after that.
        world.advance(Duration::from_secs(20));
        world.advance(Duration::from_secs(19));
        assert!(!waits.is_finished());
        world.advance(Duration::from_secs(1));
        // The Close frame says why. The silent side does not answer that either.
        world.advance(Duration::from_secs(5));
        let error = world.output(waits).unwrap_err();
        assert!(
            matches!(error, Error::TimedOut(Deadline::Pong)),
            "{error:?}"
        );
        drop(silent);
    }
}
