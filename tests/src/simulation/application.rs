//! What an endpoint of the library is used for: it opens, sends its messages, receives those of the
//! other side, and closes. It does so in one task, call by call or by polling both ways, or in two.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_lite::future::or;
use futures_sink::Sink;
use sansock::core::OpCode;
use sansock::{Closed, Config, Error, Fin, Kind, Message, Receiver, Sender, WebSocket};
use sansock_core::deflate::{BoundedPool, Deflate};
use sansock_core::handshake::{ClientOptions, ServerOptions};
use sansock_core::{ClientConnection, Instant, ServerConnection, Side, State};

use super::faults::Fault;
use super::ledger::Ledger;
use super::network::Wire;
use super::time::{SimulatedTimer, sleep};
use super::world::World;
use crate::driver;

type Socket = WebSocket<Wire, SimulatedTimer>;

/// How long the other side is waited for before closing.
const PATIENCE: Duration = Duration::from_secs(600);
/// The default of the library.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// How an application ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// It has not.
    Unfinished,
    /// The opening handshake failed.
    NotOpened(String),
    /// The closing handshake was done.
    Clean,
    /// The connection failed.
    Failed(String),
    /// It has dropped the WebSocket.
    Abandoned,
}

/// What both sides have in common.
#[derive(Debug)]
pub(super) struct Setting {
    compression: Option<Deflate>,
}

/// The application of one side.
pub(super) struct Application {
    world: Rc<World>,
    side: Side,
    closes: bool,
    config: Config,
    is_compressed: bool,
    ours: Rc<Ledger>,
    theirs: Rc<Ledger>,
    ending: RefCell<Ending>,
    /// The half that sends, for the second task.
    sender: Handover<Sender<Wire, SimulatedTimer>>,
    /// The half that receives is done.
    received_all: Cell<bool>,
}

impl Application {
    /// The limit of messages.
    pub(super) const MAX_MESSAGE: usize = 32 << 10;
    const MAX_QUEUED: usize = 16 << 10;

    pub(super) fn setting(world: &World) -> Setting {
        let mut deflate = Deflate::new();
        if world.below(4) == 0 {
            deflate = deflate.server_no_context_takeover();
        }
        if world.below(4) == 0 {
            deflate = deflate.client_no_context_takeover();
        }
        Setting {
            compression: (world.below(2) == 0).then_some(deflate),
        }
    }

    pub(super) fn new(
        world: &Rc<World>,
        side: Side,
        closes: bool,
        setting: &Setting,
        ours: &Rc<Ledger>,
        theirs: &Rc<Ledger>,
    ) -> Rc<Self> {
        let mut config = driver::config()
            .max_message_size(Self::MAX_MESSAGE)
            .max_queued_output(Self::MAX_QUEUED);
        if let Some(deflate) = &setting.compression {
            let pool = Arc::new(BoundedPool::new(1));
            config = config.deflate(deflate.clone().pool(pool));
        }
        Rc::new(Self {
            world: world.clone(),
            side,
            closes,
            config,
            is_compressed: setting.compression.is_some(),
            ours: ours.clone(),
            theirs: theirs.clone(),
            ending: RefCell::new(Ending::Unfinished),
            sender: Handover::default(),
            received_all: Cell::new(false),
        })
    }

    pub(super) fn ending(&self) -> Ending {
        self.ending.borrow().clone()
    }

    pub(super) const fn is_compressed(&self) -> bool {
        self.is_compressed
    }

    /// The two tasks of the application. The second has nothing to do where one is enough.
    pub(super) fn start(
        self: Rc<Self>,
        wire: Wire,
    ) -> (impl Future<Output = ()>, impl Future<Output = ()>) {
        let second = self.clone();
        let first = async move {
            let ending = self.run(wire).await;
            self.sender.give(None);
            self.received_all.set(true);
            *self.ending.borrow_mut() = ending;
        };
        let second = async move {
            if let Some(sender) = second.sender.take().await {
                second.send_from_a_half(sender).await;
            }
        };
        (first, second)
    }

    async fn run(&self, wire: Wire) -> Ending {
        let start = self.world.now();
        let opened = self.open(wire).await;
        self.assert_within(OPEN_TIMEOUT, start);
        let socket = match opened {
            Ok(socket) => socket,
            Err(error) => return Ending::NotOpened(format!("{error:?}")),
        };
        match self.world.below(3) {
            0 => self.call_by_call(socket).await,
            1 => self.both_ways(socket).await,
            _ => {
                let (sender, receiver) = socket.split();
                self.sender.give(Some(sender));
                self.receive_from_a_half(receiver).await
            }
        }
    }

    async fn open(&self, wire: Wire) -> Result<Socket, Error> {
        let timer = SimulatedTimer::new(&self.world);
        match self.side {
            Side::Client => {
                let uri = "ws://example.com/".parse().unwrap();
                let connection =
                    ClientConnection::new(&uri, &ClientOptions::new(), self.config.clone());
                let opened = WebSocket::client(wire, timer, connection.unwrap()).await;
                opened.map(|(socket, _)| socket)
            }
            Side::Server => {
                let options = Arc::new(ServerOptions::new());
                let connection = ServerConnection::new(options, self.config.clone());
                WebSocket::server(wire, timer, connection).await
            }
        }
    }

    // Call by call.

    async fn call_by_call(&self, mut ws: Socket) -> Ending {
        let talked = self.talk(&mut ws).await;
        if matches!(talked, Ok(Talk::Abandoned)) {
            self.theirs.end();
            return Ending::Abandoned;
        }
        // Whatever kept from sending, what has arrived is still received.
        let mut end = talked.map(|_| ());
        while end.is_err() && ws.get_ref().is_some() {
            end = match again(&self.world, async || ws.recv().await).await {
                Ok(Some(message)) => {
                    self.theirs.delivered(message.kind(), message.as_bytes());
                    continue;
                }
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
        }
        self.ended(&mut ws).await
    }

    async fn talk(&self, ws: &mut Socket) -> Result<Talk, Error> {
        let mut idle = 0;
        while let Some(message) = self.ours.next() {
            match self.world.below(14) {
                0 => drop(again(&self.world, async || ws.ping().await).await?),
                1 => again(&self.world, async || ws.flush().await).await?,
                2..=4 => {
                    let time = self.world.time_up_to(2000);
                    if self.receive_for(ws, time).await? == Got::End {
                        return Ok(Talk::Over);
                    }
                }
                5 if idle < 4 => {
                    // Long enough for pings to pass.
                    idle += 1;
                    let time = self.world.time_up_to(100_000);
                    if self.receive_for(ws, time).await? == Got::End {
                        return Ok(Talk::Over);
                    }
                }
                _ => self.send(ws, &message).await?,
            }
            self.pause().await;
            if self.world.strikes(Fault::CloseEarly, 40) {
                return self.close(ws).await;
            }
            if self.world.strikes(Fault::Abandon, 60) {
                return Ok(Talk::Abandoned);
            }
        }
        let until = self.world.after(PATIENCE);
        loop {
            if self.closes && (self.theirs.is_complete() || self.world.now() >= until) {
                return self.close(ws).await;
            }
            let got = match self.closes {
                true => {
                    let time = until.saturating_since(self.world.now());
                    self.receive_for(ws, time).await?
                }
                false => self.receive(ws).await?,
            };
            if got == Got::End {
                return Ok(Talk::Over);
            }
            self.pause().await;
        }
    }

    async fn send(&self, ws: &mut Socket, message: &Message) -> Result<(), Error> {
        match self.world.below(5) {
            0 => self.send_in_parts(ws, message).await,
            1 => {
                let (start, rest) = message.as_bytes().split_at(message.len() / 3);
                let mut writer = ws.writer(message.kind());
                writer.write(start).await?;
                self.ours.sent();
                writer.finish(rest).await
            }
            way => {
                again(&self.world, async || ws.feed(message).await).await?;
                self.ours.sent();
                match way {
                    2 => Ok(()),
                    _ => again(&self.world, async || ws.flush().await).await,
                }
            }
        }
    }

    async fn send_in_parts(&self, ws: &mut Socket, message: &Message) -> Result<(), Error> {
        let mut rest = message.as_bytes();
        let mut is_first = true;
        loop {
            let size = self.world.below(rest.len() + 1).min(4000);
            let (part, after) = rest.split_at(size);
            let fin = match after.is_empty() && self.world.below(3) > 0 {
                true => Fin::Last,
                false => Fin::More,
            };
            again(&self.world, async || match (is_first, message.kind()) {
                (true, Kind::Text) => ws.feed_frame(OpCode::Text, part, fin).await,
                (true, Kind::Binary) => ws.feed_frame(OpCode::Binary, part, fin).await,
                (false, _) => ws.feed_frame(OpCode::Continuation, part, fin).await,
            })
            .await?;
            (is_first, rest) = (false, after);
            if fin == Fin::Last {
                self.ours.sent();
                return Ok(());
            }
            if self.world.below(8) == 0 {
                again(&self.world, async || ws.ping().await).await?;
            }
        }
    }

    async fn receive(&self, ws: &mut Socket) -> Result<Got, Error> {
        match self.world.below(4) {
            0 => self.receive_lent(ws).await,
            1 => self.receive_in_parts(ws).await,
            _ => self.receive_whole(ws).await,
        }
    }

    /// Receives a message, unless it takes too long.
    async fn receive_for(&self, ws: &mut Socket, time: Duration) -> Result<Got, Error> {
        let too_long = async {
            sleep(&self.world, time).await;
            Ok(Got::Nothing)
        };
        or(self.receive_whole(ws), too_long).await
    }

    async fn receive_whole(&self, ws: &mut Socket) -> Result<Got, Error> {
        let received = again(&self.world, async || ws.recv().await).await?;
        Ok(self.got(
            received
                .as_ref()
                .map(|message| (message.kind(), message.as_bytes())),
        ))
    }

    async fn receive_lent(&self, ws: &mut Socket) -> Result<Got, Error> {
        again(&self.world, async || {
            let lent = ws.recv_ref().await?;
            Ok(self.got(
                lent.as_ref()
                    .map(|message| (message.kind(), message.as_bytes())),
            ))
        })
        .await
    }

    async fn receive_in_parts(&self, ws: &mut Socket) -> Result<Got, Error> {
        let mut payload = Vec::new();
        loop {
            let part = again(&self.world, async || {
                let chunk = ws.recv_chunk().await?;
                Ok::<_, Error>(chunk.map(|chunk| (chunk.kind, chunk.last, chunk.payload.to_vec())))
            });
            let Some((kind, last, part)) = part.await? else {
                return Ok(self.got(None));
            };
            payload.extend(part);
            if last {
                return Ok(self.got(Some((kind, &payload))));
            }
        }
    }

    fn got(&self, message: Option<(Kind, &[u8])>) -> Got {
        let Some((kind, payload)) = message else {
            return Got::End;
        };
        self.theirs.delivered(kind, payload);
        Got::Message
    }

    async fn close(&self, ws: &mut Socket) -> Result<Talk, Error> {
        let start = self.world.now();
        let closed = again(&self.world, async || ws.close(1000, "bye").await).await;
        self.assert_within(self.close_timeout(), start);
        closed.map(|()| Talk::Over)
    }

    // Both ways at once.

    async fn both_ways(&self, mut ws: Socket) -> Ending {
        let mut until = None;
        let talked = poll_fn(|cx| self.poll_both_ways(&mut ws, cx, &mut until)).await;
        if talked == Talk::Closing {
            let _ = self.close(&mut ws).await;
        }
        self.ended(&mut ws).await
    }

    /// Receives whatever there is, then sends whatever there is room for.
    fn poll_both_ways(
        &self,
        ws: &mut Socket,
        cx: &mut Context<'_>,
        until: &mut Option<Instant>,
    ) -> Poll<Talk> {
        while let Poll::Ready(received) = ws.poll_recv(cx) {
            match received {
                Ok(Some(message)) => self.theirs.delivered(message.kind(), message.as_bytes()),
                Ok(None) | Err(_) => return Poll::Ready(Talk::Over),
            }
        }
        while let Some(message) = self.ours.next() {
            match Pin::new(&mut *ws).poll_ready(cx) {
                Poll::Ready(Ok(())) => {}
                // What ended it is received in its turn.
                Poll::Ready(Err(_)) => return Poll::Ready(Talk::Closing),
                Poll::Pending => return Poll::Pending,
            }
            match Pin::new(&mut *ws).start_send(message) {
                Ok(()) => self.ours.sent(),
                Err(_) => return Poll::Ready(Talk::Closing),
            }
        }
        let flushed = Pin::new(&mut *ws).poll_flush(cx);
        let until = *until.get_or_insert(self.world.after(PATIENCE));
        let is_done = self.theirs.is_complete() || self.world.now() >= until;
        match flushed {
            Poll::Ready(Err(_)) => Poll::Ready(Talk::Closing),
            Poll::Ready(Ok(())) if self.closes && is_done => Poll::Ready(Talk::Closing),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        }
    }

    // In two tasks.

    async fn receive_from_a_half(&self, mut receiver: Receiver<Wire, SimulatedTimer>) -> Ending {
        let end = loop {
            match again(&self.world, async || receiver.recv().await).await {
                Ok(Some(message)) => self.theirs.delivered(message.kind(), message.as_bytes()),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
            self.pause().await;
            if self.world.strikes(Fault::Abandon, 60) {
                self.theirs.end();
                return Ending::Abandoned;
            }
        };
        self.theirs.end();
        for _ in 0..2 {
            let later = receiver.recv().await.map(|_| ());
            assert_eq!(
                format!("{later:?}"),
                format!("{end:?}"),
                "told otherwise later"
            );
        }
        let closed = receiver.closed().expect("it is decided");
        assert_close_came(&closed, &end);
        end.map_or_else(
            |error| Ending::Failed(format!("{error:?}")),
            |()| Ending::Clean,
        )
    }

    async fn send_from_a_half(&self, mut sender: Sender<Wire, SimulatedTimer>) {
        while let Some(message) = self.ours.next() {
            if again(&self.world, async || sender.feed(&message).await)
                .await
                .is_err()
            {
                return;
            }
            self.ours.sent();
            let done = match self.world.below(4) {
                0 => again(&self.world, async || sender.ping().await)
                    .await
                    .map(|_| ()),
                1 => Ok(()),
                _ => again(&self.world, async || sender.flush().await).await,
            };
            if done.is_err() {
                return;
            }
            if self.world.strikes(Fault::CloseEarly, 40) {
                return self.close_from_a_half(&mut sender).await;
            }
        }
        if !self.closes {
            // Nobody may be left to write what was fed.
            let _ = sender.flush().await;
            return;
        }
        let until = self.world.after(PATIENCE);
        while !self.theirs.is_complete() && !self.received_all.get() && self.world.now() < until {
            sleep(&self.world, Duration::from_millis(50)).await;
        }
        self.close_from_a_half(&mut sender).await;
    }

    async fn close_from_a_half(&self, sender: &mut Sender<Wire, SimulatedTimer>) {
        let start = self.world.now();
        let _ = again(&self.world, async || sender.close(1000, "bye").await).await;
        self.assert_within(self.close_timeout(), start);
    }

    // For all.

    async fn pause(&self) {
        if self.world.strikes(Fault::StopReading, 20) {
            sleep(&self.world, self.world.time_up_to(50_000)).await;
        }
    }

    /// The end was told: it is told again by every call, and the transport is gone.
    async fn ended(&self, ws: &mut Socket) -> Ending {
        let end = loop {
            match ws.recv().await {
                Ok(Some(message)) => self.theirs.delivered(message.kind(), message.as_bytes()),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.theirs.end();
        assert!(ws.get_ref().is_none(), "the transport is still there");
        assert_eq!(ws.state(), State::Closed);
        for _ in 0..2 {
            let received = ws.recv().await.map(|_| ());
            assert_eq!(
                format!("{received:?}"),
                format!("{end:?}"),
                "told otherwise later"
            );
            let closed = ws.close(1000, "").await;
            assert_eq!(
                format!("{closed:?}"),
                format!("{end:?}"),
                "told otherwise later"
            );
            assert!(ws.send("too late").await.is_err());
        }
        assert_close_came(ws.closed().expect("it is decided"), &end);
        end.map_or_else(
            |error| Ending::Failed(format!("{error:?}")),
            |()| Ending::Clean,
        )
    }

    /// How long closing may take. Where nothing goes wrong, nothing has to time out.
    fn close_timeout(&self) -> Duration {
        match self.world.is_calm() {
            true => Duration::from_millis(100),
            false => CLOSE_TIMEOUT,
        }
    }

    /// A deadline may be missed by as much as alarms were late and the clock has jumped.
    fn assert_within(&self, time: Duration, start: Instant) {
        let took = self.world.now().saturating_since(start);
        let excuse = self.world.disturbed();
        assert!(took <= time + excuse, "took {took:?} instead of {time:?}");
    }
}

/// How a talk went on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Talk {
    Over,
    Closing,
    Abandoned,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Got {
    Message,
    Nothing,
    End,
}

/// Makes a future anew whenever it was dropped while it waits.
async fn again<T>(world: &World, mut make: impl AsyncFnMut() -> T) -> T {
    loop {
        let mut future = pin!(make());
        let output = poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if world.strikes(Fault::DropFuture, 6) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        if let Some(output) = output.await {
            return output;
        }
    }
}

/// A Close frame of the peer, and no other end, is `Ok`.
fn assert_close_came(closed: &Closed, end: &Result<(), Error>) {
    let came = closed.received().is_some();
    assert_eq!(came, end.is_ok(), "{closed}, {end:?}");
}

/// Passes something from one task to another.
struct Handover<T> {
    /// `None` as long as nothing was given.
    given: RefCell<Option<Option<T>>>,
    waker: RefCell<Option<Waker>>,
}

impl<T> Default for Handover<T> {
    fn default() -> Self {
        Self {
            given: RefCell::new(None),
            waker: RefCell::new(None),
        }
    }
}

impl<T> Handover<T> {
    /// Gives it, unless something was given before.
    fn give(&self, value: Option<T>) {
        self.given.borrow_mut().get_or_insert(value);
        let waker = self.waker.borrow_mut().take();
        waker.into_iter().for_each(Waker::wake);
    }

    async fn take(&self) -> Option<T> {
        poll_fn(|cx| match self.given.borrow_mut().as_mut() {
            Some(given) => Poll::Ready(given.take()),
            None => {
                *self.waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        })
        .await
    }
}
