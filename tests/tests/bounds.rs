//! What one connection may hold, whatever its peer does: every promise on both sides, without compression and
//! with it, through the core alone and through the driver. Counted by the allocator, on this thread.
//!
//! The driver reads into blocks of 64 KiB, of which each thread keeps eight at most, however many connections it
//! has. They are there before anything is counted; a connection that kept one would make the next one cost a block.
//!
//! Prints a line for each figure, which `tests/memory/run` puts into the ledger.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use std::{fmt, io};

use allocation_counter::{AllocationInfo, measure};
use bytes::Buf;
use futures_io::{AsyncRead, AsyncWrite};
use sansock::{ThreadBuffers, Timer, WebSocket};
use sansock_core::deflate::Deflate;
use sansock_core::{BufferPool, Config, Connection, Event, Instant, Negotiated, Side};
use sansock_tests::deflate::{Blocks, RSV1, bomb};
use sansock_tests::driver::waker_fn;
use sansock_tests::end::SIDES;
use sansock_tests::wire::{BINARY, CONTINUATION, FIN, PeerOf, TEXT};

const KIBIBYTE: u64 = 1 << 10;
/// The default limit of messages.
const LIMIT: usize = 1 << 20;
/// What fits in a block besides the payload.
const PORTION: usize = 4096;

/// How a connection is made and driven.
#[derive(Clone, Copy)]
struct Case {
    side: Side,
    compression: Compression,
    through: Through,
}

#[derive(Clone, Copy, PartialEq)]
enum Compression {
    None,
    /// Windows of 4 KiB, the default of a server that may choose.
    Small,
    /// Windows of 32 KiB, the largest that there are.
    Large,
}

#[derive(Clone, Copy, PartialEq)]
enum Through {
    Core,
    Driver,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.side {
            Side::Client => "client",
            Side::Server => "server",
        };
        let compression = match self.compression {
            Compression::None => "plain",
            Compression::Small => "compressed with 12 bits",
            Compression::Large => "compressed with 15 bits",
        };
        let through = match self.through {
            Through::Core => "core",
            Through::Driver => "driver",
        };
        write!(f, "{side}, {compression}, {through}")
    }
}

impl Case {
    fn all() -> impl Iterator<Item = Self> {
        use Compression::{Large, None, Small};
        let ways = [Through::Core, Through::Driver].into_iter();
        ways.flat_map(|through| SIDES.map(|side| (through, side)))
            .flat_map(|(through, side)| {
                [None, Small, Large].map(|compression| Self {
                    side,
                    compression,
                    through,
                })
            })
    }

    fn compressed() -> impl Iterator<Item = Self> {
        Self::all().filter(|case| case.compression != Compression::None)
    }

    const fn is_plain(self) -> bool {
        matches!(self.compression, Compression::None)
    }

    const fn peer(self) -> PeerOf {
        PeerOf(self.side)
    }

    /// The default configuration of whoever uses the core or the driver. What codecs hold that are not lent is
    /// counted elsewhere.
    fn config(self) -> Config {
        static DRIVER: LazyLock<Config> = LazyLock::new(sansock::config);
        static CORE: LazyLock<Config> = LazyLock::new(Config::new);
        let config = match self.through {
            Through::Core => CORE.clone(),
            Through::Driver => DRIVER.clone(),
        };
        match self.is_plain() {
            true => config,
            false => config.deflate(Deflate::new().pool(std::sync::Arc::new(sansock_core::NoPool))),
        }
    }

    fn connection(self, config: &Config) -> Connection {
        let mut negotiated = Negotiated::default();
        let agreed = match self.compression {
            Compression::None => None,
            Compression::Small => {
                Some("permessage-deflate; server_max_window_bits=12; client_max_window_bits=12")
            }
            Compression::Large => Some("permessage-deflate"),
        };
        if let Some(agreed) = agreed {
            negotiated.extensions = agreed.parse().expect("extensions");
        }
        Connection::new(self.side, negotiated, config.clone()).expect("a connection")
    }

    fn subject(self, config: &Config, line: &Rc<Line>) -> Subject {
        let connection = self.connection(config);
        let line = line.clone();
        match self.through {
            Through::Core => Subject::Core { connection, line },
            Through::Driver => Subject::Driver(WebSocket::new(
                Transport(line.clone()),
                Hand(line),
                connection,
            )),
        }
    }
}

/// What the peer sends, and whether it reads. It allocates nothing while it is used.
struct Line {
    /// Bytes, and how often they come one behind the other.
    script: Vec<(Vec<u8>, usize)>,
    /// Entry of the script, repetition, byte.
    place: Cell<(usize, usize, usize)>,
    /// The most that one call reads.
    portion: usize,
    reads: Cell<bool>,
    written: Cell<usize>,
    now: Cell<Instant>,
}

impl Line {
    fn new(script: Vec<(Vec<u8>, usize)>, portion: usize) -> Rc<Self> {
        Rc::new(Self {
            script,
            place: Cell::new((0, 0, 0)),
            portion,
            reads: Cell::new(true),
            written: Cell::new(0),
            now: Cell::new(Instant::START),
        })
    }

    /// Starts the script anew.
    fn rewind(&self) {
        self.place.set((0, 0, 0));
    }

    /// Fills a buffer, as far as the script and the portion go. Returns how far.
    fn read(&self, buffer: &mut [u8]) -> usize {
        let most = buffer.len().min(self.portion);
        let mut filled = 0;
        let (mut entry, mut time, mut byte) = self.place.get();
        while filled < most {
            let Some((bytes, times)) = self.script.get(entry) else {
                break;
            };
            if time == *times {
                (entry, time, byte) = (entry + 1, 0, 0);
                continue;
            }
            let size = (bytes.len() - byte).min(most - filled);
            buffer[filled..filled + size].copy_from_slice(&bytes[byte..byte + size]);
            filled += size;
            byte += size;
            if byte == bytes.len() {
                (time, byte) = (time + 1, 0);
            }
        }
        self.place.set((entry, time, byte));
        filled
    }
}

/// A transport over a line.
struct Transport(Rc<Line>);

impl AsyncRead for Transport {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self.0.read(buf) {
            0 => Poll::Pending,
            size => Poll::Ready(Ok(size)),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.0.reads.get() {
            return Poll::Pending;
        }
        self.0.written.set(self.0.written.get() + buf.len());
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: std::pin::Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: std::pin::Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A clock that the line moves, and that wakes nobody.
struct Hand(Rc<Line>);

impl Timer for Hand {
    fn now(&self) -> Instant {
        self.0.now.get()
    }

    fn set(&mut self, _: Option<Instant>) {}

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

/// The messages that came of receiving.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct Received {
    messages: usize,
    bytes: usize,
}

/// A connection at work.
#[expect(
    clippy::large_enum_variant,
    reason = "a box would be counted with what the connection allocates"
)]
enum Subject {
    Core {
        connection: Connection,
        line: Rc<Line>,
    },
    Driver(WebSocket<Transport, Hand>),
}

impl Subject {
    /// Receives until there is nothing left to receive, sending every message back if so wanted, and waits.
    fn receive(&mut self, echoes: bool) -> Received {
        match self {
            Self::Core { connection, line } => receive_by_hand(connection, line, echoes),
            Self::Driver(ws) => receive_driven(ws, echoes),
        }
    }

    /// Whether the connection has failed. It says so to the application when the peer has had time to end it.
    fn has_failed(&self) -> bool {
        match self {
            Self::Core { connection, .. } => connection.failure().is_some(),
            Self::Driver(ws) => ws.connection().failure().is_some(),
        }
    }

    /// Receives owned messages, and sends them back.
    fn echo_owned(&mut self) -> usize {
        let Self::Driver(ws) = self else {
            return 0;
        };
        let mut count = 0;
        while let Some(Ok(Some(message))) = poll_many(ws.recv()) {
            assert!(matches!(poll_many(ws.send(message)), Some(Ok(()))));
            count += 1;
        }
        count
    }

    /// Bytes that are not on the heap though they belong to the connection.
    const fn inline(&self) -> u64 {
        match self {
            Self::Core { .. } => size_of::<Connection>() as u64,
            Self::Driver(_) => size_of::<WebSocket<Transport, Hand>>() as u64,
        }
    }
}

/// The largest message that is echoed here.
const ECHOED: usize = 256;

/// As a driver would do it.
fn receive_by_hand(connection: &mut Connection, line: &Line, echoes: bool) -> Received {
    let mut seen = Received::default();
    loop {
        let size = line.read(connection.io().read_buffer());
        if size == 0 {
            connection.handle_timeout(line.now.get());
            connection.io().release_buffers();
            return seen;
        }
        connection.io().received(size, line.now.get());
        loop {
            let mut copy = [0; ECHOED];
            let mut length = None;
            match connection.next_event() {
                Some(Event::Message(message)) => {
                    let bytes = message.as_bytes();
                    seen.messages += 1;
                    seen.bytes += bytes.len();
                    if echoes {
                        copy[..bytes.len()].copy_from_slice(bytes);
                        length = Some(bytes.len());
                    }
                }
                Some(_) => {}
                None => break,
            }
            if let Some(length) = length {
                connection.send(&copy[..length]).expect("capacity");
            }
            if line.reads.get() {
                let mut data = connection.data_to_send();
                let size = data.remaining();
                data.advance(size);
                line.written.set(line.written.get() + size);
            }
        }
    }
}

fn receive_driven(ws: &mut WebSocket<Transport, Hand>, echoes: bool) -> Received {
    let mut seen = Received::default();
    loop {
        let mut copy = [0; ECHOED];
        let length = match poll_many(ws.recv_ref()) {
            Some(Ok(Some(message))) => {
                let bytes = message.as_bytes();
                seen.messages += 1;
                seen.bytes += bytes.len();
                if echoes {
                    copy[..bytes.len()].copy_from_slice(bytes);
                }
                bytes.len()
            }
            Some(Ok(None) | Err(_)) | None => return seen,
        };
        if echoes {
            let sent = poll_many(ws.send(&copy[..length]));
            assert!(matches!(sent, Some(Ok(()))));
        }
    }
}

/// Polls as often as a future asks for it. `None` where it waits.
fn poll_many<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    loop {
        WOKEN.set(false);
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&WAKER)) {
            return Some(output);
        }
        if !WOKEN.get() {
            return None;
        }
    }
}

thread_local! {
    static WOKEN: Cell<bool> = const { Cell::new(false) };
}

static WAKER: LazyLock<Waker> = LazyLock::new(|| waker_fn(|| WOKEN.set(true)));

/// Has the blocks of this thread, and what is made once, made before anything is counted.
fn warm() {
    let blocks: Vec<_> = (0..2).map(|_| ThreadBuffers.take()).collect();
    blocks
        .into_iter()
        .for_each(|block| ThreadBuffers.give(block));
    LazyLock::force(&WAKER);
    for case in Case::all() {
        let line = Line::new(vec![(case.peer().text("warm"), 3)], PORTION);
        let config = case.config();
        assert_eq!(case.subject(&config, &line).receive(true).messages, 3);
    }
}

/// What a connection costs.
#[derive(Debug, Clone, Copy)]
struct Cost {
    /// What it holds when it waits, the struct included.
    held: u64,
    /// The most that it held, the struct included.
    peak: u64,
    received: Received,
    /// Whether the connection has failed.
    failed: bool,
}

/// Measures a connection from its start to where it waits for more.
fn cost(case: Case, script: &[(Vec<u8>, usize)], portion: usize, reads: bool) -> Cost {
    let config = case.config();
    let line = Line::new(script.to_vec(), portion);
    line.reads.set(reads);
    let mut subject = None;
    let mut received = Received::default();
    let info = measure(|| {
        let made = subject.insert(case.subject(&config, &line));
        received = made.receive(false);
    });
    let subject = subject.expect("a connection");
    let held = u64::try_from(info.bytes_current).expect("more than before");
    Cost {
        held: held + subject.inline(),
        peak: info.bytes_max + subject.inline(),
        received,
        failed: subject.has_failed(),
    }
}

/// As [`cost`], and sees to it that a connection holds no more where more of them wait than a thread has blocks.
fn held(case: Case, script: &[(Vec<u8>, usize)], reads: bool) -> u64 {
    const SEVERAL: usize = 20;
    let one = cost(case, script, PORTION, reads);
    assert_eq!((one.received.bytes, one.failed), (0, false));
    let config = case.config();
    let lines = [(); SEVERAL].map(|()| Line::new(script.to_vec(), PORTION));
    lines.iter().for_each(|line| line.reads.set(reads));
    let mut subjects = Vec::with_capacity(SEVERAL);
    let all = measure(|| {
        for line in &lines {
            let mut subject = case.subject(&config, line);
            subject.receive(false);
            subjects.push(subject);
        }
    });
    let all = u64::try_from(all.bytes_current).expect("more than before");
    assert_eq!(all, (one.held - subjects[0].inline()) * SEVERAL as u64);
    one.held
}

#[track_caller]
fn report(what: &str, case: Case, figure: u64, most: u64) {
    println!("memory: {what}, {case} | {figure} B | at most {most} B");
    assert!(figure <= most, "{what}, {case}: {figure} B, not {most} B");
}

#[track_caller]
fn count(what: &str, case: Case, figure: u64, most: u64) {
    println!("memory: {what}, {case} | {figure} | at most {most}");
    assert!(figure <= most, "{what}, {case}: {figure}, not {most}");
}

/// A peer that has sent an empty message and a ping, was answered, and is silent now.
fn idle(case: Case) -> u64 {
    let script = [(case.peer().text(""), 1), (case.peer().ping(b"?"), 1)];
    held(case, &script, true)
}

#[test]
fn an_idle_connection_takes_a_kibibyte() {
    warm();
    for case in Case::all() {
        let most = match case.compression {
            Compression::None => KIBIBYTE,
            // The two directions besides, neither of which was used for a compressed message.
            Compression::Small | Compression::Large => 2 * KIBIBYTE,
        };
        report("idle", case, idle(case), most);
    }
}

#[test]
fn a_header_that_declares_much_takes_8_kib_besides() {
    warm();
    for case in Case::all() {
        let most = idle(case) + 8 * KIBIBYTE;
        for first in [FIN | BINARY, TEXT, FIN | BINARY | RSV1] {
            if first & RSV1 != 0 && case.is_plain() {
                continue;
            }
            let header = case.peer().header(first, LIMIT as u64);
            report(
                "header attack",
                case,
                held(case, &[(header.clone(), 1)], true),
                most,
            );
            let mut begun = header;
            begun.extend(case.peer().masked(b"x"));
            let figure = held(case, &[(begun, 1)], true);
            match first & RSV1 {
                0 => report("header and a byte", case, figure, most),
                // A message that has begun keeps its decompressor: 24 KiB, or 56 for the largest window.
                _ => report(
                    "header and a compressed byte",
                    case,
                    figure,
                    most + 56 * KIBIBYTE,
                ),
            }
        }
    }
}

#[test]
fn a_message_without_end_takes_five_quarters_of_the_limit() {
    warm();
    let most = (LIMIT + LIMIT / 4) as u64;
    for case in Case::all() {
        let peer = case.peer();
        for (kind, size) in [(TEXT, 100_000), (BINARY, 4000)] {
            // It stops right before the limit, or is refused at the header that exceeds it.
            for (count, fails) in [(LIMIT / size, false), (LIMIT / size + 1, true)] {
                let fragment = peer.frame(CONTINUATION, &vec![b'x'; size]);
                let script = [(peer.frame(kind, b"x"), 1), (fragment, count)];
                let cost = cost(case, &script, PORTION, true);
                assert_eq!((cost.received.messages, cost.failed), (0, fails));
                report("endless message", case, cost.peak, most);
            }
        }
        if case.is_plain() {
            continue;
        }
        // Stored blocks: as much comes out as arrives.
        let block = Blocks::new().stored(&[b'x'; 4000]).bytes();
        let script = [
            (peer.frame(RSV1 | TEXT, &block), 1),
            (peer.frame(CONTINUATION, &block), LIMIT / 4000),
        ];
        let cost = cost(case, &script, PORTION, true);
        assert!(cost.failed && cost.received.messages == 0);
        report("endless compressed message", case, cost.peak, most);
    }
}

#[test]
fn fragments_without_end_take_in_proportion_to_what_has_arrived() {
    warm();
    const COUNT: usize = 20_000;
    for case in Case::all() {
        let peer = case.peer();
        // One byte each; then, of none, as many as may follow each other.
        let script = [
            (peer.frame(TEXT, b"x"), 1),
            (peer.frame(CONTINUATION, b"x"), COUNT),
            (peer.frame(CONTINUATION, b""), 1024),
        ];
        let cost = cost(case, &script, PORTION, true);
        assert_eq!((cost.received, cost.failed), (Received::default(), false));
        // A block may be twice what is in it, and that which it replaces exists beside it for a moment.
        let most = 3 * COUNT as u64 + idle(case) + 8 * KIBIBYTE;
        report("endless fragments of a byte, 20,000", case, cost.peak, most);
    }
}

#[test]
fn a_flood_of_pings_takes_two_pongs_though_the_peer_never_reads() {
    warm();
    for case in Case::all() {
        // The pongs on their way to the transport, and the one that will follow; a client's have masking keys.
        let pongs = match case.side {
            Side::Client => 160 + (2 + 4 + 125),
            Side::Server => 256,
        };
        let pings = [(case.peer().ping(&[b'p'; 125]), 2000)];
        report(
            "ping flood",
            case,
            held(case, &pings, false),
            idle(case) + pongs,
        );
        // Of other sizes each time.
        let pings = [(0..=125)
            .map(|size| case.peer().ping(&vec![b'p'; size]))
            .collect::<Vec<_>>()
            .concat()];
        let figure = held(case, &pings.map(|pings| (pings, 5)), false);
        report("ping flood of all sizes", case, figure, idle(case) + pongs);
    }
}

#[test]
fn a_deflate_bomb_takes_the_limit_and_64_kib() {
    warm();
    let payload = bomb(20 * LIMIT);
    for case in Case::compressed() {
        for kind in [TEXT, BINARY] {
            let frame = case.peer().frame(FIN | RSV1 | kind, &payload);
            let cost = cost(case, &[(frame, 1)], PORTION, true);
            assert!(cost.failed && cost.received.messages == 0);
            report(
                "deflate bomb",
                case,
                cost.peak,
                LIMIT as u64 + 64 * KIBIBYTE,
            );
            // What it has failed for is not kept.
            report(
                "after a deflate bomb",
                case,
                cost.held,
                idle(case) + KIBIBYTE,
            );
        }
    }
}

/// The message is accepted, so that the block that was outgrown may be there beside the one that replaces it.
#[test]
fn reads_of_one_byte_take_twice_the_message() {
    warm();
    const SIZE: usize = LIMIT / 8;
    for case in Case::all() {
        let header = case.peer().header(FIN | TEXT, SIZE as u64);
        let payload = case.peer().masked(&[b'x'; SIZE]);
        let cost = cost(case, &[(header, 1), (payload, 1)], 1, true);
        assert_eq!(
            cost.received,
            Received {
                messages: 1,
                bytes: SIZE
            }
        );
        report(
            "one-byte reads of 128 KiB",
            case,
            cost.peak,
            2 * SIZE as u64,
        );
    }
}

#[test]
fn a_message_of_the_limit_takes_twice_the_limit() {
    warm();
    for case in Case::all() {
        let frame = case.peer().text(&"x".repeat(LIMIT));
        let cost = cost(case, &[(frame, 1)], PORTION, true);
        assert_eq!(
            cost.received,
            Received {
                messages: 1,
                bytes: LIMIT
            }
        );
        report(
            "message of the limit, accepted",
            case,
            cost.peak,
            2 * LIMIT as u64,
        );
    }
}

/// Allocations for a hundred messages, after more than fill the largest window.
fn echoed(line: &Line, mut echo: impl FnMut() -> usize) -> AllocationInfo {
    let mut hundred = || {
        let mut count = 0;
        while count < 100 {
            line.rewind();
            count += echo();
        }
    };
    (0..3).for_each(|_| hundred());
    measure(hundred)
}

#[test]
fn an_echoed_small_message_allocates_nothing_but_its_payload() {
    warm();
    for case in Case::all() {
        let config = case.config();
        // The second is long enough to be compressed.
        for message in ["hello", &"hello, ".repeat(20)] {
            for at_once in [100, 1] {
                let frame = case.peer().text(message);
                let portion = frame.len();
                let line = Line::new(vec![(frame, at_once)], portion);
                let mut subject = case.subject(&config, &line);
                let lent = echoed(&line, || subject.receive(true).messages);
                // Who waits gives its blocks back. The driver keeps those that it reads into; what holds the
                // output is taken anew, and so are both in the core, whose own pool keeps none.
                let waits = 100 / at_once as u64;
                let leased = match case.through {
                    Through::Core => 2 * waits,
                    Through::Driver => waits,
                };
                let what = format!("allocations of 100 echoes, {waits} waits");
                count(&format!("{what}, lent"), case, lent.count_total, leased);
                if case.through == Through::Driver {
                    let owned = echoed(&line, || subject.echo_owned());
                    let most = leased + 100;
                    count(&format!("{what}, owned"), case, owned.count_total, most);
                    let bytes = leased * 2 * KIBIBYTE + 100 * message.len() as u64;
                    assert!(owned.bytes_total <= bytes, "{owned:?}");
                }
            }
        }
    }
}

/// The windows of both directions are what is left of a conversation, once the codecs have been given back.
#[test]
fn an_idle_connection_that_has_compressed_takes_its_windows() {
    warm();
    for case in Case::compressed() {
        let windows = match (case.compression, case.side) {
            (Compression::Large, Side::Client) => 64 * KIBIBYTE,
            // It compresses in its default window, whatever the client could inflate.
            (Compression::Large, Side::Server) => 36 * KIBIBYTE,
            (Compression::Small | Compression::None, _) => 8 * KIBIBYTE,
        };
        let config = case.config();
        // Stored blocks fill the window of the peer; what is echoed fills ours.
        let block = Blocks::new().stored(&[b'x'; ECHOED]).message();
        let line = Line::new(
            vec![(case.peer().frame(FIN | RSV1 | BINARY, &block), 300)],
            PORTION,
        );
        let mut subject = None;
        let info = measure(|| {
            let made = subject.insert(case.subject(&config, &line));
            assert_eq!(made.receive(true).messages, 300);
            for seconds in 1..4 {
                line.now
                    .set(Instant::from_start(Duration::from_secs(seconds)));
                made.receive(false);
            }
        });
        let held = u64::try_from(info.bytes_current).expect("more than before");
        let held = held + subject.expect("a connection").inline();
        assert!(held >= windows, "{held}: it goes on where it was");
        report(
            "idle after compressed messages",
            case,
            held,
            windows + 2 * KIBIBYTE,
        );
    }
}
