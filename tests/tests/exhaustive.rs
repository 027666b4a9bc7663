//! Every transcript at every two cuts, with a fault at every call of its transport, and with every future dropped after
//! every poll: what it comes to is the same, or what had arrived by then.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use futures_io::{AsyncRead, AsyncWrite};
use sansock::clock::VirtualClock;
use sansock::{Error, Message, WebSocket};
use sansock_core::{Delivery, Event};
use sansock_tests::deflate::{TWELVE_BITS, connection};
use sansock_tests::driver::{
    Call, Fault, Manner, Scripted, Socket, Task, opened_with, parse_frames, pipe_with, run, settle,
};
use sansock_tests::receive::received_in_three;
use sansock_tests::seen::Seen;
use sansock_tests::transcripts::{Transcript, transcripts};

#[test]
fn every_transcript_means_the_same_at_every_two_cuts() {
    for transcript in transcripts() {
        for delivery in [Delivery::Messages, Delivery::Frames, Delivery::Chunks] {
            let config = transcript.config().delivery(delivery);
            let make = || transcript.end(config.clone());
            let outcome = received_in_three(make, &transcript.bytes);
            let empty = transcript.bytes.is_empty();
            assert_eq!(outcome.events.is_empty(), empty, "{}", transcript.name);
        }
    }
}

/// A WebSocket that is open, and receives the transcript over this transport.
fn opened<S>(transcript: &Transcript, stream: S, clock: &VirtualClock) -> Socket<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let config = transcript.config();
    match transcript.compressed {
        true => WebSocket::new(
            stream,
            clock.timer(),
            connection(transcript.side, TWELVE_BITS, config),
        ),
        false => opened_with(transcript.side, stream, clock, config),
    }
}

/// The messages that these bytes hold, whatever carries them.
fn messages_in(transcript: &Transcript, bytes: &[u8]) -> Vec<Message> {
    let mut end = transcript.end(transcript.config());
    let events = end.events_of(bytes).into_iter();
    let messages = events.filter_map(|event| {
        if let Seen::Text(text) = event {
            return Some(Message::text(text));
        }
        event.payload().map(|bytes| Message::binary(bytes.to_vec()))
    });
    messages.collect()
}

/// What a transcript came to over a transport that fails.
#[derive(Debug)]
struct Outcome {
    received: Vec<Message>,
    end: String,
    later: Vec<String>,
    /// The peer's Close frame came.
    close_came: bool,
    /// Ours was sent as well.
    clean: bool,
    written: Vec<u8>,
    read: Vec<u8>,
    calls: Vec<Call>,
    hit: bool,
    misuses: usize,
    polls: usize,
}

/// Receives a transcript, sends every message back, and closes.
fn play(transcript: &Transcript, fault: Fault, at: usize) -> Outcome {
    let clock = VirtualClock::new();
    let manner = Manner {
        read: 7,
        write: 7,
        hesitates: false,
    };
    let (near, mut peer) = pipe_with(10_000, manner);
    peer.put(&transcript.bytes);
    peer.end();
    let stream = Scripted::failing(near, fault, at);
    let log = stream.log();
    let mut ws = opened(transcript, stream, &clock);
    let mut received = Vec::new();
    let mut task = Task::new(async {
        loop {
            match ws.recv().await {
                Ok(Some(message)) => {
                    // What fails here is told again by what receives.
                    let _ = ws.send(&message).await;
                    received.push(message);
                }
                Ok(None) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    });
    for _ in 0..5 {
        settle(&mut [&mut task]);
        if task.is_done() {
            break;
        }
        assert!(clock.advance_to_next_alarm(), "the end never comes");
    }
    let polls = task.polls();
    let end = format!("{:?}", task.output());
    assert!(peer.is_alone(), "the transport is dropped");
    let later = (0..2).flat_map(|_| {
        [
            format!("{:?}", run(ws.recv()).map(drop)),
            format!("{:?}", run(ws.close(1000, ""))),
        ]
    });
    let later = later.collect();
    assert!(run(ws.send("after the end")).is_err());
    let closed = ws.closed().expect("it is decided").clone();
    let log = log.lock().unwrap();
    Outcome {
        received,
        end,
        later,
        close_came: closed.received().is_some(),
        clean: closed.is_clean(),
        written: peer.take_all(),
        read: log.read.clone(),
        calls: log.calls.clone(),
        hit: log.hit.is_some(),
        misuses: log.writes_after_error + log.reads_after_end,
        polls,
    }
}

fn judge(transcript: &Transcript, usual: &Outcome, fault: Fault, outcome: &Outcome) {
    assert_eq!(outcome.misuses, 0, "a call after one that failed");
    assert!(outcome.polls <= 3 * usual.polls + 3, "a spin");
    // Everything that has arrived is given out, and nothing else.
    assert_eq!(outcome.received, messages_in(transcript, &outcome.read));
    assert_eq!(outcome.close_came, outcome.end == "Ok(())");
    if outcome.close_came && usual.clean {
        let all_written = outcome.written == usual.written;
        assert_eq!(outcome.clean, all_written, "sent is what was written");
    }
    assert!(outcome.later.iter().all(|later| *later == outcome.end));
    if !outcome.hit || fault.is_harmless() {
        assert_eq!(outcome.received, usual.received);
        assert_eq!(outcome.end, usual.end);
        assert_eq!(outcome.written, usual.written);
    }
    assert!(usual.written.starts_with(&outcome.written) || outcome.end != usual.end);
}

#[test]
fn a_fault_at_every_call_of_every_transcript() {
    let mut hits = 0;
    for transcript in transcripts() {
        let usual = play(&transcript, Fault::One, usize::MAX);
        assert_eq!(usual.received, messages_in(&transcript, &transcript.bytes));
        for fault in Fault::ALL {
            // A fault that delays makes more calls than usual.
            for at in 0..usual.calls.len() + 2 {
                let outcome = play(&transcript, fault, at);
                hits += usize::from(outcome.hit);
                let judged =
                    std::panic::catch_unwind(|| judge(&transcript, &usual, fault, &outcome));
                assert!(
                    judged.is_ok(),
                    "{transcript:?}, {fault:?} at {at}: {outcome:?}, usually {usual:?}"
                );
            }
        }
    }
    println!("{hits} faults");
    assert!(hits > 1000, "{hits}");
}

/// How a transcript is received.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Messages,
    Lent,
    Frames,
    Chunks,
    Events,
    Halves,
}

/// The poll after which the future is dropped that was polled.
struct Guillotine {
    polls: Cell<usize>,
    at: usize,
}

impl Guillotine {
    /// Polls a future to its end, or drops it when its time has come.
    async fn run<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        poll_fn(|cx| {
            let polls = self.polls.get();
            self.polls.set(polls + 1);
            match future.as_mut().poll(cx) {
                Poll::Ready(output) => Poll::Ready(Some(output)),
                Poll::Pending if polls == self.at => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// Makes a future anew where it was dropped.
    async fn insist<T>(&self, mut make: impl AsyncFnMut() -> T) -> T {
        loop {
            if let Some(output) = self.run(make()).await {
                return output;
            }
        }
    }
}

/// What came of a transcript: the parts that were received, how it ended, and what was sent.
type Came = (Vec<Vec<u8>>, String, Vec<(u8, Vec<u8>)>);

/// Receives a transcript over a transport at which everything takes many polls, and drops the future that is polled as
/// poll number `at`; returns what it came to, and how many polls there were.
fn receive_dropped(transcript: &Transcript, way: Way, at: usize) -> (Came, usize) {
    let clock = VirtualClock::new();
    let manner = Manner {
        read: 5,
        write: 3,
        hesitates: true,
    };
    let (near, mut peer) = pipe_with(10_000, manner);
    peer.put(&transcript.bytes);
    peer.end();
    let ws = opened(transcript, near, &clock);
    let guillotine = Guillotine {
        polls: Cell::new(0),
        at,
    };
    let mut task = Task::fickle(async {
        match way == Way::Halves {
            true => receive_in_halves(&guillotine, ws).await,
            false => receive_whole(&guillotine, ws, way).await,
        }
    });
    for _ in 0..5 {
        settle(&mut [&mut task]);
        if task.is_done() {
            break;
        }
        assert!(clock.advance_to_next_alarm(), "the end never comes");
    }
    let (mut parts, end) = task.output();
    if way == Way::Chunks {
        parts = vec![parts.concat()];
    }
    let sent = parse_frames(&peer.take_all()).into_iter();
    let sent = sent.map(|frame| (frame.first, frame.payload)).collect();
    ((parts, end, sent), guillotine.polls.get())
}

/// Receives, sends everything back, and closes.
async fn receive_whole(
    guillotine: &Guillotine,
    mut ws: Socket,
    way: Way,
) -> (Vec<Vec<u8>>, String) {
    let mut parts = Vec::new();
    loop {
        let received = guillotine.insist(async || receive_one(&mut ws, way).await);
        let part = match received.await {
            Ok(Some(part)) => part,
            end => {
                let closed = guillotine.insist(async || ws.close(1000, "").await).await;
                return (parts, format!("{end:?}, {closed:?}"));
            }
        };
        parts.push(part.clone());
        // Chunks are cut as they arrive: what would be sent depends on that. What a first poll has queued, whoever
        // goes on takes along.
        if way != Way::Chunks && guillotine.run(ws.send(part)).await.is_none() {
            guillotine.insist(async || ws.flush().await.is_ok()).await;
        }
    }
}

async fn receive_one(ws: &mut Socket, way: Way) -> Result<Option<Vec<u8>>, Error> {
    Ok(match way {
        Way::Messages | Way::Halves => ws.recv().await?.map(|message| message.as_bytes().to_vec()),
        Way::Lent => {
            let message = ws.recv_ref().await?;
            message.map(|message| message.as_bytes().to_vec())
        }
        Way::Frames => ws.recv_frame().await?.map(|frame| frame.payload.to_vec()),
        Way::Chunks => ws.recv_chunk().await?.map(|chunk| chunk.payload.to_vec()),
        Way::Events => match ws.recv_event().await {
            Some(Event::Message(message)) => Some(message.as_bytes().to_vec()),
            Some(Event::Ping(payload) | Event::Pong { payload, .. }) => Some(payload.to_vec()),
            Some(_) | None => None,
        },
    })
}

async fn receive_in_halves(guillotine: &Guillotine, ws: Socket) -> (Vec<Vec<u8>>, String) {
    let (sender, mut receiver) = ws.split();
    let mut parts = Vec::new();
    loop {
        let part = match guillotine.insist(async || receiver.recv().await).await {
            Ok(Some(message)) => message.as_bytes().to_vec(),
            end => {
                let closed = guillotine
                    .insist(async || sender.close(1000, "").await)
                    .await;
                return (parts, format!("{end:?}, {closed:?}"));
            }
        };
        parts.push(part.clone());
        if guillotine.run(sender.send(part)).await.is_none() {
            guillotine
                .insist(async || sender.flush().await.is_ok())
                .await;
        }
    }
}

#[test]
fn every_future_dropped_after_every_poll_of_every_transcript() {
    let mut drops = 0;
    for transcript in transcripts() {
        for way in [
            Way::Messages,
            Way::Lent,
            Way::Frames,
            Way::Chunks,
            Way::Events,
            Way::Halves,
        ] {
            let (usual, polls) = receive_dropped(&transcript, way, usize::MAX);
            for at in 0..polls {
                let (dropped, _) = receive_dropped(&transcript, way, at);
                let name = transcript.name;
                assert_eq!(dropped, usual, "{name}, {way:?}, dropped after poll {at}");
                drops += 1;
            }
        }
    }
    println!("{drops} futures dropped");
    assert!(drops > 1000, "{drops}");
}
