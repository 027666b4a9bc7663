//! A fault at every call of the transport, on both sides.
//!
//! Whatever fails: no panic, no spin, one end that is told again by every later call, every message
//! that had arrived is given out, and a closing handshake that was done stays a clean end.

use std::sync::{Arc, Mutex};

use futures_io::{AsyncRead, AsyncWrite};
use sansock::clock::VirtualClock;
use sansock::{Config, Error, Message};
use sansock_core::Side;
use sansock_core::deflate::Deflate;
use sansock_tests::driver::{
    Call, End, Fault, Log, Manner, Scripted, Socket, Task, config, open_client_with,
    open_server_with, parse_frames, peer_of, pipe_with, run, settle,
};
use sansock_tests::random::Random;

/// The messages of the script, as the side under test receives them.
const RECEIVED: [&str; 3] = ["one", "two and some more", "three"];

/// Over what a run goes.
#[derive(Debug, Clone)]
struct Setting {
    side: Side,
    /// Whether the side under test closes.
    closes: bool,
    compressed: bool,
    /// The most that one call reads or writes.
    portion: usize,
}

impl Setting {
    fn config(&self) -> Config {
        match self.compressed {
            true => config().deflate(Deflate::new()),
            false => config(),
        }
    }

    /// A message that does not fit into the pipe, compressed or not; a small one where every byte is a
    /// call.
    fn bytes(&self) -> Vec<u8> {
        let mut random = Random::new(5);
        let size = if self.portion == 1 { 50 } else { 5000 };
        (0..size).map(|_| random.below(256) as u8).collect()
    }

    /// All of them, with transports that move so much at a time.
    fn all(portion: usize) -> impl Iterator<Item = Self> {
        let flags = [(true, true), (true, false), (false, true), (false, false)];
        let sides = [Side::Client, Side::Server].into_iter();
        sides.flat_map(move |side| {
            flags.map(|(closes, compressed)| Self {
                side,
                closes,
                compressed,
                portion,
            })
        })
    }
}

/// What came of a run.
struct Outcome {
    opened: bool,
    received: Vec<Message>,
    /// How `recv` ended.
    end: Result<(), Error>,
    /// How the end is told by every later call.
    later: Vec<String>,
    /// The peer's Close frame came.
    close_came: bool,
    /// Ours was sent as well.
    clean: bool,
    closed: Result<(), Error>,
    log: Arc<Mutex<Log>>,
    polls: usize,
}

/// The side under test: opens, sends, receives, pings, and closes or is closed.
async fn subject<S>(
    setting: &Setting,
    stream: S,
    clock: &VirtualClock,
) -> (Vec<Message>, Result<(), Error>, Option<Socket<S>>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut received = Vec::new();
    let opened = open(setting.side, stream, clock, setting.config()).await;
    let mut ws = match opened {
        Ok(ws) => ws,
        Err(error) => return (received, Err(error), None),
    };
    // What fails here is told again by what receives.
    let _ = ws.send("hello").await;
    let _ = ws.feed(setting.bytes()).await;
    let end = loop {
        match ws.recv().await {
            Ok(Some(message)) => received.push(message),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
        if received.len() == 2 {
            let _ = ws.ping().await;
        }
        if setting.closes && received.len() == RECEIVED.len() {
            let _ = ws.close(1000, "bye").await;
        }
    };
    (received, end, Some(ws))
}

async fn open<S>(
    side: Side,
    stream: S,
    clock: &VirtualClock,
    config: Config,
) -> Result<Socket<S>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match side {
        Side::Client => open_client_with(stream, clock, config).await,
        Side::Server => open_server_with(stream, clock, config).await,
    }
}

/// The other side, which has no faults.
async fn other(setting: &Setting, stream: End, clock: &VirtualClock) {
    let opened = open(peer_of(setting.side), stream, clock, setting.config()).await;
    let Ok(mut ws) = opened else { return };
    for text in RECEIVED {
        if ws.feed(text).await.is_err() {
            return;
        }
    }
    let mut received = 0;
    while let Ok(Some(_)) = ws.recv().await {
        received += 1;
        if !setting.closes && received == 2 {
            let _ = ws.close(1000, "bye").await;
        }
    }
}

fn play(setting: &Setting, fault: Fault, at: usize) -> Outcome {
    let clock = VirtualClock::new();
    let manner = Manner {
        read: setting.portion,
        write: setting.portion,
        hesitates: false,
    };
    let (near, far) = pipe_with(400, manner);
    let stream = Scripted::failing(near, fault, at);
    let log = stream.log();
    let mut subject = Task::new(subject(setting, stream, &clock));
    let mut other = Task::new(other(setting, far, &clock));
    for _ in 0..20 {
        settle(&mut [&mut subject, &mut other]);
        if subject.is_done() {
            break;
        }
        // Nobody moves: some deadline must.
        assert!(clock.advance_to_next_alarm(), "the end never comes");
    }
    let polls = subject.polls();
    let (received, end, socket) = subject.output();
    let mut outcome = Outcome {
        opened: socket.is_some(),
        received,
        end,
        later: Vec::new(),
        close_came: false,
        clean: false,
        closed: Ok(()),
        log,
        polls,
    };
    if let Some(mut ws) = socket {
        assert!(ws.get_ref().is_none(), "the transport is dropped");
        for _ in 0..3 {
            outcome
                .later
                .push(format!("{:?}", run(ws.recv()).map(|_| ())));
            outcome.later.push(format!("{:?}", run(ws.close(1000, ""))));
        }
        assert!(run(ws.send("after the end")).is_err());
        assert!(run(ws.ping()).is_err());
        let closed = ws.closed().expect("it is decided");
        outcome.close_came = closed.received().is_some();
        outcome.clean = closed.is_clean();
        outcome.closed = run(ws.close(1000, ""));
    }
    outcome
}

/// Returns the messages that the bytes of a whole connection hold.
fn messages_in(bytes: &[u8]) -> Vec<Message> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    let frames = parse_frames(head.map_or(&[][..], |head| &bytes[head + 4..]));
    // Those of the other side are too short to be worth compressing.
    let messages = frames.into_iter().filter_map(|frame| match frame.first {
        0x81 => Some(Message::text(String::from_utf8(frame.payload).unwrap())),
        0x82 => Some(Message::binary(frame.payload)),
        _ => None,
    });
    messages.collect()
}

/// Plays a setting with each of these faults at each call.
fn fail_everywhere(setting: &Setting, faults: &[Fault]) {
    let usual = play(setting, Fault::One, usize::MAX);
    assert_eq!(usual.received, RECEIVED.map(Message::text));
    usual.end.unwrap();
    assert!(usual.clean);
    let calls = usual.log.lock().unwrap().calls.clone();
    assert!(calls.len() > 25 && calls.contains(&Call::Close));
    for fault in faults {
        // A fault that delays makes more calls than usual.
        for at in 0..calls.len() + 2 {
            let outcome = play(setting, *fault, at);
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                judge(*fault, &outcome, usual.polls);
            }));
            assert!(
                result.is_ok(),
                "{setting:?}, {fault:?} at call {at}: {:?}, later {:?}",
                outcome.end,
                outcome.later
            );
        }
    }
}

#[test]
fn a_fault_at_every_call() {
    for setting in Setting::all(usize::MAX) {
        fail_everywhere(&setting, &Fault::ALL);
    }
}

/// With reads of one byte, each call of the transport is a byte of the stream.
#[test]
fn the_end_and_a_reset_at_every_byte() {
    for setting in Setting::all(1).filter(|setting| setting.compressed && setting.closes) {
        fail_everywhere(&setting, &[Fault::End, Fault::Reset]);
    }
}

fn judge(fault: Fault, outcome: &Outcome, usual_polls: usize) {
    let log = outcome.log.lock().unwrap();
    assert!(
        outcome.polls <= 3 * usual_polls,
        "{} polls instead of {usual_polls}",
        outcome.polls
    );
    assert_eq!(log.writes_after_error, 0, "a write after a failed one");
    assert_eq!(log.reads_after_end, 0, "a read after the end");

    let arrived = messages_in(&log.read);
    assert_eq!(
        outcome.received,
        RECEIVED[..outcome.received.len()]
            .iter()
            .copied()
            .map(Message::text)
            .collect::<Vec<_>>()
    );
    if outcome.opened {
        assert!(
            outcome.received.len() >= arrived.len(),
            "{} of {} messages",
            outcome.received.len(),
            arrived.len()
        );
    }
    if log.hit.is_none() || fault.is_harmless() {
        assert!(outcome.opened && outcome.end.is_ok() && outcome.clean);
        assert_eq!(outcome.received.len(), RECEIVED.len());
    }
    if outcome.opened {
        assert_eq!(
            outcome.close_came,
            outcome.end.is_ok(),
            "a Close frame of the peer and no other end is Ok"
        );
        let end = format!("{:?}", outcome.end);
        assert!(
            outcome.later.iter().all(|later| *later == end),
            "told otherwise later"
        );
        assert_eq!(outcome.closed.is_ok(), outcome.close_came);
    } else {
        assert!(outcome.end.is_err());
    }
}
