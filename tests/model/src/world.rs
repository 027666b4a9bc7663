//! A connection, and everything that may happen to it.
//!
//! The application, the peer, the transport and the clock act one at a time. Time passes in ticks, of which every
//! deadline is a multiple, and alarms are punctual: while the connection wants to be called, time stands still.

use std::sync::Arc;
use std::time::Duration;

use bytes::Buf;
use sansock_core::handshake::{ClientOptions, Request, StatusCode};
use sansock_core::{
    BufferPool, ClientConnection, Closed, Config, Connection, DataToSend, Deadline, Event,
    FixedSeed, Instant, Negotiated, SendError, ServerConnection, Side, State,
};

use crate::dump::normal;

/// The unit of time: half of what a Close frame has that nobody may answer.
pub const TICK: Duration = Duration::from_millis(50);

/// How many ticks each deadline leaves.
pub const fn ticks(deadline: Deadline) -> u32 {
    match deadline {
        Deadline::Open | Deadline::Close => 3,
        Deadline::Ping | Deadline::Pong => 2,
        Deadline::Write => 3,
        _ => panic!("a deadline that the model does not know"),
    }
}

/// Every deadline.
pub const DEADLINES: [Deadline; 5] = [
    Deadline::Open,
    Deadline::Close,
    Deadline::Ping,
    Deadline::Pong,
    Deadline::Write,
];

/// What may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// The application closes, fails the connection, pings, sends.
    Close,
    Fail,
    Ping,
    Send,
    /// It takes the next event; a server's answers a request.
    Take,
    Accept,
    Refuse,
    /// From the peer arrives a Close frame, a ping, the pong of the last ping that was written, a text, a frame that is
    /// none, the end of its stream.
    PeerClose,
    PeerPing,
    PeerPong,
    PeerText,
    PeerNonsense,
    PeerEnd,
    /// From the peer arrives the first half of its head, the second, or a head that is none.
    HalfHead,
    WholeHead,
    NoHead,
    /// The transport takes all that waits, the end of the stream included; or half of it, unless it is in the middle of
    /// a frame.
    Write,
    WriteHalf,
    /// The connection is called at its deadline.
    Call,
    /// Time passes.
    Tick,
}

use Action::*;

const CLOSE: u8 = 8;
const PING: u8 = 9;

/// What may happen in every life, as often as it may.
const ALWAYS: [Action; 5] = [Take, Write, WriteHalf, Call, Tick];

/// In which way a connection is watched.
#[derive(Debug, Clone)]
pub struct Setting {
    pub side: Side,
    /// From the opening handshake on, or from behind it.
    pub opening: bool,
    /// What application and peer do besides what they always may.
    pub actions: &'static [Action],
    /// A deadline that there is not.
    pub without: Option<Deadline>,
    /// Whether the peer answers pings for as long as it is asked to, or only once.
    pub faithful: bool,
    /// Whether the transport takes nothing.
    pub blocked: bool,
}

enum Core {
    Open(Connection),
    Client(ClientConnection),
    Server(ServerConnection),
}

macro_rules! each {
    ($core:expr, $connection:ident => $result:expr) => {
        match $core {
            Core::Open($connection) => $result,
            Core::Client($connection) => $result,
            Core::Server($connection) => $result,
        }
    };
}

/// Checks a command that may be given.
fn accepted(result: Result<(), SendError>) {
    result.expect("a command that may be given is refused");
}

/// A connection, and what was seen of it.
pub struct World<'a> {
    setting: &'a Setting,
    core: Core,
    now: Instant,
    request: Option<Request>,
    done: Vec<Action>,
    /// What the transport has taken.
    written: Vec<u8>,
    /// What the peer has sent, of which the application has not taken the events.
    untaken: Vec<Sent>,
    pongs: usize,
    seen: Seen,
}

/// What the peer has sent, and how many pings there were before it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Sent {
    action: Action,
    pings: usize,
}

/// What was seen of a connection, and counts for its properties.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Seen {
    pub closes: u32,
    /// A frame was sent behind a Close frame, or anything behind the end of the stream.
    pub more_behind_close: bool,
    pub more_behind_end: bool,
    /// How often the end of the stream was to be sent.
    pub ends: u32,
    /// Close and Failed events, and whether one came behind them.
    pub terminal: u32,
    pub more_behind_terminal: bool,
    /// It was closed, and is not any more.
    pub reopened: bool,
    /// How often it was called in succession because it asked to be, without that anything happened.
    pub calls: u32,
    /// Called again at the same time, it did something.
    pub acts_twice: bool,
    pub was_open: bool,
    /// Ticks since it began to open, since it began to close, since anybody but the clock did anything.
    pub opening: Option<u32>,
    pub closing: Option<u32>,
    pub quiet: u32,
}

/// What a connection is, as far as that says what it will do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct View {
    pub state: State,
    /// How it ended, in words.
    pub ending: String,
    pub seen: Seen,
    pub wants_time: bool,
    core: String,
    output: Vec<Frame>,
    /// How many bytes wait.
    waiting: usize,
    untaken: Vec<Sent>,
    done: Vec<Action>,
    may_pong: bool,
}

/// A frame that waits to be written, or of which a part does.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Frame {
    opcode: u8,
    payload: Vec<u8>,
    size: usize,
    left: usize,
}

impl View {
    /// Whether the connection is closed, its application knows, and how it was closed is decided: a Close frame
    /// that waits may still leave.
    pub fn is_over(&self) -> bool {
        let is_known = self.seen.terminal == 1 || !self.seen.was_open;
        self.state == State::Closed && is_known && !self.ending.is_empty()
    }

    /// Whether it asks to be called though it is closed and has written everything.
    pub fn waits_in_vain(&self) -> bool {
        self.state == State::Closed && self.waiting == 0 && self.wants_time
    }
}

impl<'a> World<'a> {
    /// Returns a connection to which all this has happened.
    pub fn after(setting: &'a Setting, history: &[Action]) -> Self {
        let mut world = Self::new(setting);
        for action in history {
            world.act(*action);
        }
        world
    }

    fn new(setting: &'a Setting) -> Self {
        let mut world = Self {
            core: core(setting),
            setting,
            now: Instant::START,
            request: None,
            done: Vec::new(),
            written: Vec::new(),
            untaken: Vec::new(),
            pongs: 0,
            seen: Seen {
                opening: setting.opening.then_some(0),
                ..Seen::default()
            },
        };
        world.look();
        world
    }

    /// What may happen next.
    pub fn possible(&mut self) -> Vec<Action> {
        let all = ALWAYS.iter().chain(self.setting.actions);
        all.copied().filter(|action| self.can(*action)).collect()
    }

    fn can(&mut self, action: Action) -> bool {
        let again = action == PeerPong && self.setting.faithful;
        if self.done.contains(&action) && !again {
            return false;
        }
        let (state, open) = (
            self.connection().state(),
            self.connection().state() == State::Open,
        );
        let waits = self.next_timeout();
        match action {
            Close | Ping | Send => open,
            Fail => !matches!(state, State::Closed),
            Take => self.parse_next(),
            Accept | Refuse => self.request.is_some() && state == State::Connecting,
            PeerClose | PeerPing | PeerText | PeerNonsense => self.hears() && self.opened(),
            PeerPong => self.hears() && self.opened() && self.unanswered().is_some(),
            PeerEnd => self.hears(),
            HalfHead | NoHead => {
                self.hears() && !self.opened() && !self.any_done(&[HalfHead, NoHead])
            }
            WholeHead => self.hears() && !self.opened() && self.done.contains(&HalfHead),
            Write | WriteHalf if self.setting.blocked => false,
            Write => {
                self.data(|data| data.remaining() > 0)
                    || each!(&mut self.core, it => it.io().has_output())
            }
            WriteHalf => self
                .waiting()
                .first()
                .is_some_and(|frame| frame.left == frame.size && frame.size > 1),
            Call => waits.is_some_and(|at| at <= self.now),
            Tick => waits.is_some_and(|at| at > self.now),
        }
    }

    fn any_done(&self, actions: &[Action]) -> bool {
        actions.iter().any(|action| self.done.contains(action))
    }

    /// Whether the peer still sends.
    fn hears(&self) -> bool {
        !self.done.contains(&PeerEnd)
    }

    /// Whether the peer may send frames: a client's at once behind its head.
    fn opened(&self) -> bool {
        !self.setting.opening || self.done.contains(&WholeHead)
    }

    fn act(&mut self, action: Action) {
        let before = self.connection().state();
        if !ALWAYS.contains(&action) && !self.done.contains(&action) {
            self.done.push(action);
            self.done.sort_unstable();
        }
        match action {
            Tick => self.seen.quiet += 1,
            Call => self.seen.calls += 1,
            _ => self.seen.quiet = 0,
        }
        if action != Call {
            self.seen.calls = 0;
        }
        self.perform(action);
        let after = self.connection().state();
        self.seen.reopened |= before == State::Closed && after != State::Closed;
        self.look();
    }

    fn perform(&mut self, action: Action) {
        let now = self.now;
        match action {
            Close => accepted(each!(&mut self.core, it => it.send_close(1000, ""))),
            Fail => accepted(each!(&mut self.core, it => it.fail(1011, ""))),
            Ping => accepted(each!(&mut self.core, it => it.ping(now).map(drop))),
            Send => accepted(each!(&mut self.core, it => it.send("hi"))),
            Take => self.take(),
            Accept | Refuse => self.answer(action),
            PeerEnd => each!(&mut self.core, connection => connection.receive_eof(now)),
            HalfHead | WholeHead | NoHead | PeerClose | PeerPing | PeerPong | PeerText
            | PeerNonsense => {
                let bytes = self.of_peer(action);
                each!(&mut self.core, it => it.receive_data(&bytes, now));
                if !matches!(action, HalfHead | WholeHead | NoHead) {
                    let pings = self.pings().len();
                    self.untaken.push(Sent { action, pings });
                }
            }
            Write => self.write(|waiting| waiting),
            WriteHalf => self.write(|waiting| waiting / 2),
            Call => self.call(),
            Tick => self.tick(),
        }
    }

    fn answer(&mut self, action: Action) {
        let (Core::Server(server), Some(request)) = (&mut self.core, self.request.take()) else {
            panic!("there is no request to be answered");
        };
        let answered = match action {
            Accept => server.answer(&request),
            _ => server.send_response(&server.reject(StatusCode::FORBIDDEN, "no")),
        };
        answered.unwrap();
    }

    fn take(&mut self) {
        let event = each!(&mut self.core, connection => connection.next_event())
            .expect("an event is ready");
        let terminal = match event {
            Event::Request(request) => {
                self.request = Some(request);
                return;
            }
            Event::Response(_) => return,
            Event::Close(_) | Event::Failed(_) => true,
            _ => false,
        };
        self.seen.more_behind_terminal |= self.seen.terminal > 0;
        self.seen.terminal += u32::from(terminal);
        match terminal {
            true => self.untaken.clear(),
            false => drop(self.untaken.remove(0)),
        }
    }

    fn write(&mut self, part: impl FnOnce(usize) -> usize) {
        let mut written = Vec::new();
        let ends = self.data(|data| {
            let waiting = data.remaining();
            let count = part(waiting);
            written = data.copy_to_bytes(count).to_vec();
            count == waiting && data.take_end()
        });
        self.seen.more_behind_end |= self.seen.ends > 0 && (ends || !written.is_empty());
        self.seen.ends += u32::from(ends);
        self.written.extend(written);
    }

    fn call(&mut self) {
        let now = self.now;
        each!(&mut self.core, it => it.handle_timeout(now));
        let done = self.visible();
        each!(&mut self.core, it => it.handle_timeout(now));
        self.seen.acts_twice |= done != self.visible();
    }

    fn visible(&mut self) -> (State, usize, bool) {
        (
            self.connection().state(),
            self.frames().len(),
            self.parse_next(),
        )
    }

    fn tick(&mut self) {
        self.now = self.now.checked_add(TICK).expect("time does not end");
        for since in [&mut self.seen.opening, &mut self.seen.closing]
            .into_iter()
            .flatten()
        {
            *since += 1;
        }
    }

    /// Sees what has changed, as a driver does after each step.
    fn look(&mut self) {
        let ready = self.parse_next();
        each!(&mut self.core, it => it.io().release_buffers());
        match self.connection().state() {
            State::Connecting => {}
            State::Open => (self.seen.opening, self.seen.was_open) = (None, true),
            State::Closing => {
                self.seen.opening = None;
                self.seen.closing.get_or_insert(0);
            }
            State::Closed => {
                (self.seen.opening, self.seen.closing, self.seen.quiet) = (None, None, 0)
            }
        }
        if ready {
            self.seen.quiet = 0;
        }
        self.count_closes();
    }

    /// Behind a Close frame no data follows, nor anything where it answers the peer's (§5.5.1, §5.5.2).
    fn count_closes(&mut self) {
        let answer = matches!(
            self.connection().closed(),
            Some(Closed::ReceivedThenSent { .. })
        );
        let mut frames = self
            .frames()
            .into_iter()
            .skip_while(|frame| frame.opcode != CLOSE);
        let closed = frames.next().is_some();
        let behind: Vec<u8> = frames.map(|frame| frame.opcode).collect();
        let closes = usize::from(closed) + behind.iter().filter(|opcode| **opcode == CLOSE).count();
        self.seen.closes = self.seen.closes.max(u32::try_from(closes).unwrap());
        self.seen.more_behind_close |= behind.iter().any(|opcode| answer || *opcode < CLOSE);
    }

    /// Returns what says how things will go on.
    pub fn view(&mut self) -> View {
        let connection = self.connection();
        let ending = match (connection.closed(), connection.failure()) {
            (Some(closed), Some(failure)) => format!("{failure}: {closed}"),
            (Some(closed), None) => closed.to_string(),
            (None, _) => String::new(),
        };
        let state = connection.state();
        let pings = self.pings().len();
        let mut untaken = self.untaken.clone();
        untaken
            .iter_mut()
            .for_each(|sent| sent.pings = pings - sent.pings);
        View {
            state,
            ending,
            seen: self.seen.clone(),
            wants_time: self.next_timeout().is_some(),
            core: self.core(),
            output: self.waiting(),
            waiting: self.data(|data| data.remaining()),
            untaken,
            done: self.done.clone(),
            may_pong: self.unanswered().is_some(),
        }
    }

    fn core(&self) -> String {
        let shown = each!(&self.core, connection => format!("{connection:?}"));
        normal(&shown, self.now.since_start())
    }

    fn connection(&self) -> &Connection {
        each!(&self.core, connection => connection)
    }

    fn parse_next(&mut self) -> bool {
        each!(&mut self.core, connection => connection.parse_next())
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.connection().next_timeout()
    }

    fn data<R>(&mut self, look: impl FnOnce(&mut DataToSend<'_>) -> R) -> R {
        each!(&mut self.core, connection => look(&mut connection.data_to_send()))
    }

    /// Every frame since the start; of those that wait, how much does.
    fn frames(&mut self) -> Vec<Frame> {
        let mut all = self.written.clone();
        self.data(|data| data.slices().for_each(|slice| all.extend(slice)));
        let head = match self.setting.opening {
            true => all
                .windows(4)
                .position(|four| four == b"\r\n\r\n")
                .map_or(all.len(), |at| at + 4),
            false => 0,
        };
        let answers = self.setting.opening && self.setting.side == Side::Server;
        if answers && all.get(9..12) != Some(b"101") {
            return Vec::new();
        }
        frames(&all, head, self.written.len())
    }

    /// The frames that wait to be written. What a ping holds tells only how many came before it.
    fn waiting(&mut self) -> Vec<Frame> {
        let mut frames = self.frames();
        frames.retain(|frame| frame.left > 0);
        let pings = frames.iter_mut().filter(|frame| frame.opcode == PING);
        pings.for_each(|ping| ping.payload.clear());
        frames
    }

    /// What the pings hold that the peer has whole.
    fn pings(&mut self) -> Vec<Vec<u8>> {
        let mut frames = self.frames();
        frames.retain(|frame| frame.opcode == PING && frame.left == 0);
        frames.into_iter().map(|ping| ping.payload).collect()
    }

    /// What the last of them holds, unless it is answered.
    fn unanswered(&mut self) -> Option<Vec<u8>> {
        self.pings().split_off(self.pongs).pop()
    }

    /// Bytes as the peer sends them.
    fn of_peer(&mut self, action: Action) -> Vec<u8> {
        let head = || head_of_peer(self.setting.side);
        match action {
            HalfHead => head().split_at(head().len() / 2).0.to_vec(),
            WholeHead => head().split_at(head().len() / 2).1.to_vec(),
            NoHead => b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(),
            PeerClose => self.frame_of_peer(0x88, &[3, 232]),
            PeerPing => self.frame_of_peer(0x89, b"?"),
            PeerText => self.frame_of_peer(0x81, b"hi"),
            PeerNonsense => self.frame_of_peer(0x83, b""),
            PeerPong => {
                let payload = self.unanswered().expect("a ping is unanswered");
                self.pongs = self.pings().len();
                self.frame_of_peer(0x8a, &payload)
            }
            _ => panic!("{action:?} brings no bytes"),
        }
    }

    fn frame_of_peer(&self, first: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        match self.setting.side {
            Side::Server => [&[first, length | 0x80, 0, 0, 0, 0], payload].concat(),
            Side::Client => [&[first, length], payload].concat(),
        }
    }
}

fn core(setting: &Setting) -> Core {
    let config = config(setting.without);
    match (setting.opening, setting.side) {
        (false, side) => Core::Open(Connection::new(side, Negotiated::default(), config).unwrap()),
        (true, Side::Client) => Core::Client(client(config)),
        (true, Side::Server) => Core::Server(ServerConnection::new(Arc::default(), config)),
    }
}

fn client(config: Config) -> ClientConnection {
    let uri = "ws://example.com/".parse().unwrap();
    let mut client = ClientConnection::new(&uri, &ClientOptions::new(), config).unwrap();
    let request = client.connect();
    client.send_request(request).unwrap();
    client
}

/// Blocks as small as they may be, as all of them is shown.
#[derive(Debug)]
struct Small;

impl BufferPool for Small {
    fn take(&self) -> Vec<u8> {
        vec![0; 256]
    }

    fn give(&self, _block: Vec<u8>) {}
}

fn config(without: Option<Deadline>) -> Config {
    let time = |deadline| (without != Some(deadline)).then(|| TICK * ticks(deadline));
    Config::new()
        .entropy(FixedSeed([7; 32]))
        .buffers(Small)
        .open_timeout(time(Deadline::Open))
        .close_timeout(time(Deadline::Close))
        .ping_interval(time(Deadline::Ping))
        .ping_timeout(time(Deadline::Pong))
        .write_timeout(time(Deadline::Write))
}

/// The head that this side waits for: of our own making.
fn head_of_peer(side: Side) -> Vec<u8> {
    let mut client = client(config(None));
    let request = client.data_to_send().chunk().to_vec();
    if side == Side::Server {
        return request;
    }
    let mut server = ServerConnection::new(Arc::default(), config(None));
    server.receive_data(&request, Instant::START);
    let Some(Event::Request(request)) = server.next_event() else {
        panic!("the request of a client is none");
    };
    server.answer(&request).unwrap();
    server.data_to_send().chunk().to_vec()
}

/// Small frames behind a head, unmasked.
fn frames(mut bytes: &[u8], head: usize, written: usize) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut at = head;
    if head > written {
        frames.push(Frame {
            opcode: 0xff,
            payload: Vec::new(),
            size: head,
            left: head - written,
        });
    }
    bytes = &bytes[head..];
    while let [_, second, ..] = bytes {
        let (masked, length) = (second & 0x80 != 0, usize::from(second & 0x7f));
        let start = if masked { 6 } else { 2 };
        if bytes.len() < start + length {
            // Cut off by the end.
            break;
        }
        let key = if masked { &bytes[2..6] } else { &[0; 4] };
        let payload = bytes[start..start + length].iter().zip(key.iter().cycle());
        at += start + length;
        frames.push(Frame {
            opcode: bytes[0] & 0x0f,
            payload: payload.map(|(byte, key)| byte ^ key).collect(),
            size: start + length,
            left: at.saturating_sub(written).min(start + length),
        });
        bytes = &bytes[start + length..];
    }
    frames
}
