//! What an endpoint of the library is used for: it opens, sends its messages, receives those of the other
//! side, and closes, on one of the paths.

mod methods;
mod one_task;
mod outcome;
mod served;
mod talk;
mod two_tasks;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use sansock::{Config, Error, WebSocket};
use sansock_core::deflate::{BoundedPool, Deflate};
use sansock_core::handshake::{ClientOptions, ServerOptions};
use sansock_core::{ClientConnection, Instant, ServerConnection, Side};

use self::methods::{Duplex, Ws};
use self::outcome::Reported;
use super::duties::Duties;
use super::faults::Fault;
use super::ledger::{LANES, Ledger, Plan};
use super::network::Wire;
use super::time::SimulatedTimer;
use super::world::World;
use crate::driver;

/// How long the other side is waited for before closing.
const PATIENCE: Duration = Duration::from_secs(600);
/// The defaults of the library.
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

/// How a connection is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Usage {
    CallByCall,
    BothWays,
    Select,
    SendOnly,
    CloseRead,
    Halves,
    OneSender,
    GenericSplit,
    ByteStream,
}

impl Usage {
    const ALL: [Self; 9] = [
        Self::CallByCall,
        Self::BothWays,
        Self::Select,
        Self::SendOnly,
        Self::CloseRead,
        Self::Halves,
        Self::OneSender,
        Self::GenericSplit,
        Self::ByteStream,
    ];

    const fn receives(self) -> bool {
        !matches!(self, Self::SendOnly | Self::CloseRead)
    }
}

/// Where the handler of a server uses its socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Handling {
    InHandler,
    InAnotherTask,
    TakenOut,
}

/// What an application is going to do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Role {
    usage: Usage,
    /// Present for a handler of a server.
    handling: Option<Handling>,
    /// Others push messages.
    is_pushed: bool,
    /// Tasks that send.
    senders: usize,
    closes: bool,
    /// Messages are left unread when it closes.
    leaves_unread: bool,
}

/// What both sides have in common.
#[derive(Debug)]
pub(super) struct Setting {
    compression: Option<Deflate>,
    /// The roles of the client and of the server.
    pub(super) roles: [Role; 2],
    /// What the client and the server send.
    pub(super) plans: [Plan; 2],
}

impl Setting {
    /// Draws the role of each side. `closes` says which sides close, `hostile` which one is written by hand.
    pub(super) fn new(world: &World, closes: [bool; 2], hostile: Option<Side>) -> Self {
        let mut deflate = Deflate::new();
        if world.below(4) == 0 {
            deflate = deflate.server_no_context_takeover();
        }
        if world.below(4) == 0 {
            deflate = deflate.client_no_context_takeover();
        }
        let roles = [Side::Client, Side::Server];
        let roles = roles.map(|side| Role::new(world, side, closes[number(side)]));
        let as_bytes = roles.iter().any(|role| role.usage == Usage::ByteStream);
        let roles = roles.map(|role| {
            if as_bytes {
                role.with_one_sender()
            } else {
                role
            }
        });
        let plan = |side| Self::plan(world, side, &roles, as_bytes, hostile);
        Self {
            compression: (world.below(2) == 0).then_some(deflate),
            plans: [plan(Side::Client), plan(Side::Server)],
            roles,
        }
    }

    fn plan(
        world: &World,
        side: Side,
        roles: &[Role; 2],
        as_bytes: bool,
        hostile: Option<Side>,
    ) -> Plan {
        let [role, peer] = [roles[number(side)], roles[1 - number(side)]];
        let are_many = hostile != Some(side) && role.sends_many() && world.below(6) == 0;
        let most = match world.below(4) {
            _ if are_many => 1500,
            0 => 40,
            _ => 12,
        };
        let mut planned = [0; LANES];
        for planned in &mut planned[..role.senders] {
            *planned = 1 + world.below(most / role.senders);
        }
        if role.is_pushed {
            planned[Role::PUSHED] = 1 + world.below(12);
        }
        // An unread message hides the frames behind it.
        if peer.usage == Usage::SendOnly && world.is_calm() {
            planned = [0; LANES];
        }
        Plan {
            planned,
            are_small: are_many,
            as_bytes,
            is_received: peer.usage.receives() && !peer.leaves_unread,
            is_counted: peer.leaves_unread && !as_bytes,
        }
    }
}

/// The index of a side.
pub(super) const fn number(side: Side) -> usize {
    match side {
        Side::Client => 0,
        Side::Server => 1,
    }
}

impl Role {
    /// The lane of messages that are pushed.
    const PUSHED: usize = LANES - 1;

    fn new(world: &World, side: Side, closes: bool) -> Self {
        let usage = Usage::ALL[world.below(Usage::ALL.len())];
        let is_served = side == Side::Server && world.below(2) == 0;
        let handling = is_served.then(|| match world.below(5) {
            0 => Handling::TakenOut,
            1 | 2 => Handling::InAnotherTask,
            _ => Handling::InHandler,
        });
        let may_share = matches!(usage, Usage::Halves | Usage::OneSender);
        let senders = match may_share {
            true => 1 + world.below(LANES - 1),
            false => 1,
        };
        Self {
            usage,
            handling,
            is_pushed: is_served && world.below(2) == 0,
            senders,
            closes,
            leaves_unread: usage == Usage::Halves && closes && world.below(3) == 0,
        }
    }

    /// The role where the order of all messages counts.
    const fn with_one_sender(self) -> Self {
        Self {
            senders: 1,
            is_pushed: false,
            ..self
        }
    }

    /// Whether its task may receive nothing while it sends.
    pub(super) const fn sends_before_it_receives(&self) -> bool {
        self.handling.is_some() || matches!(self.usage, Usage::CallByCall | Usage::Select)
    }

    /// Whether it may send many messages in a short time.
    const fn sends_many(self) -> bool {
        matches!(
            self.usage,
            Usage::BothWays | Usage::Halves | Usage::GenericSplit | Usage::ByteStream
        )
    }
}

/// The application of one side.
pub(super) struct Application {
    world: Rc<World>,
    side: Side,
    role: Role,
    config: Config,
    is_compressed: bool,
    duties: Rc<Duties>,
    ours: Rc<Ledger>,
    theirs: Rc<Ledger>,
    ending: RefCell<Ending>,
    /// How the connection has ended, as it was reported first.
    reported: RefCell<Option<Reported>>,
    /// For how much longer it may be busy elsewhere, where nothing may time out.
    may_be_absent: Cell<Duration>,
    /// The task that receives has come to the end.
    received_all: Cell<bool>,
    /// The task that receives is to stop, as another closes.
    stops_receiving: Cell<bool>,
}

impl Application {
    /// The limit of messages.
    pub(super) const MAX_MESSAGE: usize = 32 << 10;
    const MAX_QUEUED: usize = 16 << 10;
    /// How long a calm application may be busy elsewhere: well below the close timeout of its peer.
    const MAY_BE_ABSENT: Duration = Duration::from_secs(3);

    pub(super) fn new(
        world: &Rc<World>,
        side: Side,
        setting: &Setting,
        duties: &Rc<Duties>,
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
            role: setting.roles[number(side)],
            config,
            is_compressed: setting.compression.is_some(),
            duties: duties.clone(),
            ours: ours.clone(),
            theirs: theirs.clone(),
            ending: RefCell::new(Ending::Unfinished),
            reported: RefCell::default(),
            may_be_absent: Cell::new(Self::MAY_BE_ABSENT),
            received_all: Cell::new(false),
            stops_receiving: Cell::new(false),
        })
    }

    pub(super) fn ending(&self) -> Ending {
        self.ending.borrow().clone()
    }

    pub(super) const fn is_compressed(&self) -> bool {
        self.is_compressed
    }

    /// Starts the first task of the application.
    pub(super) fn start(self: &Rc<Self>, wire: Wire) {
        let app = self.clone();
        self.spawn(async move {
            let ending = match app.role.handling {
                Some(handling) => app.serve(wire, handling).await,
                None => app.open_and_use(wire).await,
            };
            *app.ending.borrow_mut() = ending;
        });
    }

    fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        self.world.spawn(self.side, future);
    }

    /// Starts a task. Returns a future that waits for its end.
    fn start_task<T: 'static>(
        &self,
        future: impl Future<Output = T> + 'static,
    ) -> impl Future<Output = T> + 'static {
        let place = Rc::new(Handover::default());
        let given = place.clone();
        self.spawn(async move { given.give(future.await) });
        async move { place.take().await }
    }

    async fn open_and_use(self: &Rc<Self>, wire: Wire) -> Ending {
        let start = self.world.now();
        let opened = self.open(wire).await;
        self.duties.took(start, OPEN_TIMEOUT);
        match opened {
            Ok(ws) => {
                self.duties.opened();
                self.use_duplex(ws).await
            }
            Err(error) => Ending::NotOpened(format!("{error:?}")),
        }
    }

    async fn open(&self, wire: Wire) -> Result<Ws, Error> {
        let timer = SimulatedTimer::new(&self.world, self.duties.alarm());
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

    async fn use_duplex(self: &Rc<Self>, ws: impl Duplex + 'static) -> Ending {
        match self.role.usage {
            Usage::CallByCall => self.call_by_call(ws).await,
            Usage::BothWays => self.both_ways(ws).await,
            Usage::Select => self.select(ws).await,
            Usage::SendOnly | Usage::CloseRead => self.send_only(ws).await,
            Usage::Halves => self.halves(ws).await,
            Usage::OneSender => self.one_sender(ws).await,
            Usage::GenericSplit => self.generic_split(ws).await,
            Usage::ByteStream => self.byte_stream(ws).await,
        }
    }

    /// A time to be busy elsewhere. Where nothing may time out, it is short, and all of them are.
    fn busy_time(&self) -> Duration {
        if !self.world.is_calm() {
            return match self.world.strikes(Fault::StopReading, 2) {
                true => self.world.time_up_to(50_000),
                false => self.world.time_up_to(3000),
            };
        }
        let left = self.may_be_absent.get();
        let time = self.world.time_up_to(1000).min(left);
        self.may_be_absent.set(left.saturating_sub(time));
        time
    }

    /// Whether it is time to close: everything was sent and has arrived, or will not.
    fn is_done(&self, since: Instant) -> bool {
        let has_arrived = self.theirs.is_complete() || self.role.leaves_unread;
        let waited = self.world.now().saturating_since(since);
        // A message that was pushed and still waits is lost if the connection is closed.
        let has_left = self.ours.is_sent() && self.duties.pushed() == 0;
        (has_arrived && has_left) || waited >= self.patience()
    }

    /// How long the other side is waited for.
    fn patience(&self) -> Duration {
        match self.world.poll_time().is_zero() {
            true => PATIENCE,
            false => Duration::from_secs(2),
        }
    }
}

/// How often one operation is dropped at most: a ping that is dropped before its pong can come is never answered.
const MOST_DROPS: usize = 100;

/// Makes a future anew whenever it was dropped while it waits.
async fn again<T>(world: &World, mut make: impl AsyncFnMut() -> T) -> T {
    let mut dropped = 0;
    loop {
        let mut future = pin!(make());
        let output = poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if dropped < MOST_DROPS && world.strikes(Fault::DropFuture, 6) => {
                dropped += 1;
                world.goes_on();
                Poll::Ready(None)
            }
            Poll::Pending => Poll::Pending,
        });
        if let Some(output) = output.await {
            return output;
        }
    }
}

/// Passes something from one task to another.
struct Handover<T> {
    given: RefCell<Option<T>>,
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
    /// Gives it, unless something was given that was not taken.
    fn give(&self, value: T) {
        self.given.borrow_mut().get_or_insert(value);
        let waker = self.waker.borrow_mut().take();
        waker.into_iter().for_each(Waker::wake);
    }

    async fn take(&self) -> T {
        poll_fn(|cx| match self.given.borrow_mut().take() {
            Some(given) => Poll::Ready(given),
            None => {
                *self.waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        })
        .await
    }
}
