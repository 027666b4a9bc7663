//! A fault at every call of the transport, on both sides.
//!
//! Whatever fails: no panic, no spin, one end that is told again by every later call, every message
//! that had arrived is given out, and a closing handshake that was done stays a clean end.

use std::sync::{Arc, Mutex};

use futures_io::{AsyncRead, AsyncWrite};
use sansock::clock::VirtualClock;
use sansock::{Error, Message};
use sansock_core::Side;
use sansock_tests::driver::{
    Call, End, Fault, Log, Scripted, Socket, Task, open_client, open_server, parse_frames, peer_of,
    pipe, run, settle,
};

/// The messages of the script, as the side under test receives them.
const RECEIVED: [&str; 3] = ["one", "two and some more", "three"];

/// What came of a run.
struct Outcome {
    opened: bool,
    received: Vec<Message>,
    /// How `recv` ended.
    end: Result<(), Error>,
    /// How the end is told by every later call.
    later: Vec<String>,
    clean: bool,
    closed: Result<(), Error>,
    log: Arc<Mutex<Log>>,
    polls: usize,
}

/// The side under test: opens, sends, receives, pings, and closes or is closed.
async fn subject<S>(
    side: Side,
    closes: bool,
    stream: S,
    clock: &VirtualClock,
) -> (Vec<Message>, Result<(), Error>, Option<Socket<S>>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut received = Vec::new();
    let opened = match side {
        Side::Client => open_client(stream, clock).await,
        Side::Server => open_server(stream, clock).await,
    };
    let mut ws = match opened {
        Ok(ws) => ws,
        Err(error) => return (received, Err(error), None),
    };
    // What fails here is told again by what receives.
    let _ = ws.send("hello").await;
    let _ = ws.feed(vec![5; 5000]).await;
    let end = loop {
        match ws.recv().await {
            Ok(Some(message)) => received.push(message),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
        if received.len() == 2 {
            let _ = ws.ping().await;
        }
        if closes && received.len() == RECEIVED.len() {
            let _ = ws.close(1000, "bye").await;
        }
    };
    (received, end, Some(ws))
}

/// The other side, which has no faults.
async fn other(side: Side, closes: bool, stream: End, clock: &VirtualClock) {
    let opened = match side {
        Side::Client => open_client(stream, clock).await,
        Side::Server => open_server(stream, clock).await,
    };
    let Ok(mut ws) = opened else { return };
    for text in RECEIVED {
        if ws.feed(text).await.is_err() {
            return;
        }
    }
    let mut received = 0;
    while let Ok(Some(_)) = ws.recv().await {
        received += 1;
        if closes && received == 2 {
            let _ = ws.close(1000, "bye").await;
        }
    }
}

fn play(side: Side, closes: bool, fault: Fault, at: usize) -> Outcome {
    let clock = VirtualClock::new();
    let (near, far) = pipe(400);
    let stream = Scripted::failing(near, fault, at);
    let log = stream.log();
    let mut subject = Task::new(subject(side, closes, stream, &clock));
    let mut other = Task::new(other(peer_of(side), !closes, far, &clock));
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
        outcome.clean = ws.closed().is_some_and(sansock::Closed::is_clean);
        outcome.closed = run(ws.close(1000, ""));
    }
    outcome
}

/// Returns the messages that the bytes of a whole connection hold.
fn messages_in(bytes: &[u8]) -> Vec<Message> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    let frames = parse_frames(head.map_or(&[][..], |head| &bytes[head + 4..]));
    let messages = frames.into_iter().filter_map(|frame| match frame.first {
        0x81 => Some(Message::text(String::from_utf8(frame.payload).unwrap())),
        0x82 => Some(Message::binary(frame.payload)),
        _ => None,
    });
    messages.collect()
}

#[test]
fn a_fault_at_every_call() {
    for side in [Side::Client, Side::Server] {
        for closes in [true, false] {
            let usual = play(side, closes, Fault::One, usize::MAX);
            assert_eq!(usual.received, RECEIVED.map(Message::text));
            usual.end.unwrap();
            assert!(usual.clean);
            let calls = usual.log.lock().unwrap().calls.clone();
            assert!(calls.len() > 30 && calls.contains(&Call::Close));
            for fault in Fault::ALL {
                // A fault that delays makes more calls than usual.
                for at in 0..calls.len() + 2 {
                    let outcome = play(side, closes, fault, at);
                    let what = format!("{side:?} closes {closes}, {fault:?} at call {at}");
                    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                        judge(fault, &outcome, usual.polls);
                    }));
                    assert!(
                        result.is_ok(),
                        "{what}: {:?}, later {:?}",
                        outcome.end,
                        outcome.later
                    );
                }
            }
        }
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
            outcome.clean,
            outcome.end.is_ok(),
            "a clean end and no other is Ok"
        );
        let end = format!("{:?}", outcome.end);
        assert!(
            outcome.later.iter().all(|later| *later == end),
            "told otherwise later"
        );
        assert_eq!(outcome.closed.is_ok(), outcome.clean);
    } else {
        assert!(outcome.end.is_err());
    }
}
