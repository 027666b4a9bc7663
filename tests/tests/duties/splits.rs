//! Splits that are not ours, in two tasks with different wakers, over reactors with one waker a direction.

use std::future::Future;
use std::time::Duration;

use futures_lite::{AsyncReadExt, AsyncWriteExt, StreamExt};
use futures_util::SinkExt;
use sansock::clock::VirtualClock;
use sansock::{Error, Message};
use sansock_core::Side;
use sansock_tests::driver::{
    Far, Reactive, Reactor, Runs, Task, close_frame, config, frame, opened_with, parse_frames,
    settle,
};

use super::rig::{Owner, Rig, Subject};

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;

/// What a transport holds before its peer reads.
const CAPACITY: usize = 64;

/// A task that receives and one that sends, each from its own half.
struct Two<R, W> {
    far: Far,
    receive: Task<'static, R>,
    send: Task<'static, W>,
    /// The server's task, of a connection of its own.
    rig: Rig,
}

impl<R, W> Two<R, W> {
    fn settle(&mut self) -> usize {
        let mut polls = 0;
        loop {
            let polled = settle(&mut [&mut self.receive, &mut self.send]) + self.rig.settle();
            polls += polled;
            if polled == 0 {
                return polls;
            }
        }
    }

    /// Runs as a scheduler may that polls the other task first.
    fn settle_reversed(&mut self) -> usize {
        let mut polls = 0;
        loop {
            let polled = usize::from(self.send.step())
                + usize::from(self.receive.step())
                + self.rig.settle();
            polls += polled;
            if polled == 0 {
                return polls;
            }
        }
    }
}

/// The halves of a split, as two futures: one receives until the end and returns how many messages there
/// were, the other sends so many and flushes each.
type Halves = (
    Box<dyn FnOnce() -> std::pin::Pin<Box<dyn Future<Output = usize>>>>,
    Box<dyn FnOnce(usize) -> std::pin::Pin<Box<dyn Future<Output = Result<(), String>>>>>,
);

/// The splits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Split {
    /// `StreamExt::split` of futures, of a WebSocket.
    Messages,
    /// The same of a server's socket.
    Socket,
    /// `AsyncReadExt::split` of futures, of a byte stream.
    Bytes,
    /// `io::split` of futures-lite, of a byte stream.
    LiteBytes,
    /// Our own.
    Own,
}

impl Split {
    const ALL: [Self; 5] = [
        Self::Messages,
        Self::Socket,
        Self::Bytes,
        Self::LiteBytes,
        Self::Own,
    ];

    const fn peer(self) -> Side {
        match self {
            Self::Socket => Side::Client,
            Self::Messages | Self::Bytes | Self::LiteBytes | Self::Own => Side::Server,
        }
    }

    /// How many bytes a message of the peer has, and of ours.
    const SIZE: usize = 1000;

    fn halves(self, rig: &mut Rig, near: Reactive) -> Halves {
        let owner = match self {
            Self::Messages => Owner::WebSocket,
            Self::Socket => Owner::Socket,
            Self::Bytes | Self::LiteBytes => Owner::ByteStream,
            Self::Own => Owner::Receiver,
        };
        match rig.subject(owner, near, config().ping_interval(None)) {
            Subject::WebSocket(ws) => messages(ws),
            Subject::Socket(socket) => messages(socket),
            Subject::ByteStream(stream) => match self {
                Self::Bytes => {
                    let (reader, writer) = futures_util::AsyncReadExt::split(stream);
                    bytes(reader, writer)
                }
                Self::Messages | Self::Socket | Self::LiteBytes | Self::Own => {
                    let (reader, writer) = futures_lite::io::split(stream);
                    bytes(reader, writer)
                }
            },
            Subject::Receiver(mut receiver, sender) => (
                Box::new(|| {
                    Box::pin(async move {
                        let mut count = 0;
                        while let Ok(Some(_)) = receiver.recv().await {
                            count += 1;
                        }
                        count
                    })
                }),
                Box::new(|count| {
                    Box::pin(async move {
                        for _ in 0..count {
                            let sent = sender.send(vec![1; Self::SIZE]).await;
                            sent.map_err(|error| error.to_string())?;
                        }
                        Ok(())
                    })
                }),
            ),
            Subject::Sender(..) => unreachable!("it was not asked for"),
        }
    }

    /// Starts both tasks; the one that sends has so many messages.
    fn start(self, reactor: Reactor, count: usize) -> Two<usize, Result<(), String>> {
        let mut rig = Rig::new();
        let (near, far) = Reactive::new(reactor, CAPACITY);
        let (receive, send) = self.halves(&mut rig, near);
        Two {
            far,
            receive: Task::new(receive()),
            send: Task::new(send(count)),
            rig,
        }
    }
}

/// A stream and a sink.
fn messages<S>(socket: S) -> Halves
where
    S: futures_lite::Stream<Item = sansock::Result<Message>>
        + futures_util::Sink<Message, Error = Error>
        + Unpin
        + 'static,
{
    let (mut sink, mut stream) = futures_util::StreamExt::split(socket);
    (
        Box::new(|| {
            Box::pin(async move {
                let mut count = 0;
                while let Some(Ok(_)) = stream.next().await {
                    count += 1;
                }
                count
            })
        }),
        Box::new(|count| {
            Box::pin(async move {
                for _ in 0..count {
                    let sent = sink.send(Message::binary(vec![1; Split::SIZE])).await;
                    sent.map_err(|error| error.to_string())?;
                }
                // The half is kept, or the other would be alone.
                std::mem::forget(sink);
                Ok(())
            })
        }),
    )
}

/// A reader and a writer. Bytes are counted as messages.
fn bytes(
    mut reader: impl futures_io::AsyncRead + Unpin + 'static,
    mut writer: impl futures_io::AsyncWrite + Unpin + 'static,
) -> Halves {
    (
        Box::new(|| {
            Box::pin(async move {
                let mut count = 0;
                let mut buf = [0; Split::SIZE];
                while let Ok(1..) = reader.read(&mut buf).await {
                    count += 1;
                }
                count
            })
        }),
        Box::new(|count| {
            Box::pin(async move {
                for _ in 0..count {
                    let written = writer.write_all(&[1; Split::SIZE]).await;
                    written.map_err(|error| error.to_string())?;
                    writer.flush().await.map_err(|error| error.to_string())?;
                }
                std::mem::forget(writer);
                Ok(())
            })
        }),
    )
}

/// Runs a test over every split and every reactor.
fn all(mut test: impl FnMut(Split, Reactor)) {
    for split in Split::ALL {
        for reactor in Reactor::ALL {
            println!("{split:?}, {reactor:?}");
            test(split, reactor);
        }
    }
}

#[test]
fn the_task_that_receives_is_woken_after_the_other_has_blocked_once() {
    all(|split, reactor| {
        let mut two = split.start(reactor, 1);
        // Both wait, and the one that sends was polled last.
        two.settle();
        assert!(!two.receive.is_done() && !two.send.is_done());
        // The writer goes on, and is done.
        for _ in 0..100 {
            two.far.take_all();
            two.settle();
        }
        assert!(two.send.is_done(), "the writer was not woken");
        let before = two.receive.polls();
        two.far.put(&frame(split.peer(), BINARY, b"for the reader"));
        two.settle();
        let polls = two.receive.polls() - before;
        assert!(
            (1..=2).contains(&polls),
            "the reader was polled {polls} times"
        );
        two.far.put(&close_frame(split.peer(), 1000, ""));
        two.far.end();
        for _ in 0..10 {
            two.settle();
            two.far.take_all();
        }
        two.rig.run_until(Duration::from_secs(10));
        two.settle();
        assert_eq!(two.receive.output(), 1);
    });
}

/// One task has nothing but sends that the transport takes at once; the other waits to receive.
#[test]
fn the_task_that_receives_is_woken_after_the_other_has_sent_without_waiting() {
    all(|split, reactor| {
        let mut rig = Rig::new();
        let (near, far) = Reactive::new(reactor, 1 << 20);
        let (receive, send) = split.halves(&mut rig, near);
        let mut two = Two {
            far,
            receive: Task::new(receive()),
            send: Task::new(send(3)),
            rig,
        };
        two.settle();
        assert!(two.send.is_done());
        let before = two.receive.polls();
        two.far.put(&frame(split.peer(), BINARY, b"for the reader"));
        two.settle();
        let polls = two.receive.polls() - before;
        assert!(
            (1..=2).contains(&polls),
            "the reader was polled {polls} times"
        );
    });
}

/// One task receives what is there; the other is blocked.
#[test]
fn the_task_that_sends_is_woken_after_the_other_has_received_without_waiting() {
    all(|split, reactor| {
        let mut two = split.start(reactor, 1);
        two.settle();
        for round in 0..100 {
            two.far.put(&frame(split.peer(), BINARY, b"for the reader"));
            two.settle_reversed();
            let before = two.send.polls();
            two.far.take_all();
            two.settle_reversed();
            let polls = two.send.polls() - before;
            if two.send.is_done() {
                break;
            }
            assert!(
                (1..=2).contains(&polls),
                "round {round}: the writer was polled {polls} times"
            );
        }
        two.send.output().unwrap();
    });
}

#[test]
fn tasks_that_wait_are_not_polled_while_nothing_happens() {
    all(|split, reactor| {
        let mut two = split.start(reactor, 1);
        let polls = two.settle();
        assert!(polls <= 8, "{polls} polls until both wait");
        for second in 1..30 {
            let polls = two.rig.run_until(Duration::from_secs(second)) + two.settle();
            assert_eq!(polls, 0, "polls in second {second}");
        }
    });
}

/// A thousand messages each way, of which the transport holds a sixteenth at a time.
#[test]
fn both_tasks_move_everything_in_a_bounded_number_of_polls() {
    const COUNT: usize = 200;
    all(|split, reactor| {
        for is_reversed in [false, true] {
            let mut two = split.start(reactor, COUNT);
            let message = frame(split.peer(), BINARY, &[2; Split::SIZE]);
            let mut taken = Vec::new();
            let mut put = 0;
            let mut events = 0;
            for turn in 0..20 * COUNT {
                let most = match is_reversed {
                    true => two.settle_reversed(),
                    false => two.settle(),
                };
                assert!(most <= 12, "{most} polls for one event");
                let bytes = two.far.take_all();
                events += 1;
                taken.extend(bytes);
                if turn % 7 == 0 && put < COUNT {
                    two.far.put(&message);
                    put += 1;
                    events += 1;
                }
                if two.send.is_done() && put == COUNT {
                    break;
                }
            }
            assert!(two.send.is_done(), "the writer was not woken");
            let polls = two.send.polls() + two.receive.polls();
            assert!(polls <= 4 * events, "{polls} polls for {events} events");
            two.far.put(&close_frame(split.peer(), 1000, ""));
            two.far.end();
            for _ in 0..10 {
                two.settle();
                taken.extend(two.far.take_all());
            }
            two.rig.run_until(Duration::from_secs(10));
            two.settle();
            assert_eq!(two.receive.output(), COUNT);
            let bytes: usize = parse_frames(&taken)
                .iter()
                .filter(|frame| frame.first == BINARY)
                .map(|frame| frame.payload.len())
                .sum();
            assert_eq!(bytes, COUNT * Split::SIZE);
        }
    });
}

/// Both tasks learn of the end, whichever is polled first.
#[test]
fn both_tasks_learn_of_the_end() {
    all(|split, reactor| {
        for is_lost in [false, true] {
            let mut two = split.start(reactor, 1);
            two.settle();
            if !is_lost {
                two.far.put(&close_frame(split.peer(), 1001, ""));
            }
            two.far.end();
            for _ in 0..100 {
                two.settle();
                two.far.take_all();
            }
            two.rig.run_until(Duration::from_secs(40));
            two.settle();
            assert!(two.receive.is_done(), "the reader, lost: {is_lost}");
            assert!(two.send.is_done(), "the writer, lost: {is_lost}");
        }
    });
}

/// A deadline wakes both tasks, though the timer has one waker.
#[test]
fn both_tasks_are_woken_by_a_deadline() {
    for reactor in Reactor::ALL {
        let clock = VirtualClock::new();
        let (near, _far) = Reactive::new(reactor, CAPACITY);
        let config = config()
            .ping_interval(None)
            .write_timeout(Duration::from_secs(1));
        let ws = opened_with(Side::Client, near, &clock, config);
        let (mut sink, mut stream) = futures_util::StreamExt::split(ws);
        let mut send = Task::new(sink.send(Message::binary(vec![1; 1000])));
        let mut receive = Task::new(stream.next());
        settle(&mut [&mut receive, &mut send]);
        clock.advance(Duration::from_secs(1));
        settle(&mut [&mut receive, &mut send]);
        assert!(send.is_done() && receive.is_done(), "{reactor:?}");
    }
}

/// The task that receives comes again with another waker, as it does in a race.
#[test]
fn a_task_with_a_new_waker_at_every_poll_is_woken() {
    for reactor in Reactor::ALL {
        let clock = VirtualClock::new();
        let (near, far) = Reactive::new(reactor, CAPACITY);
        let quiet = config().ping_interval(None);
        let ws = opened_with(Side::Client, near, &clock, quiet);
        let (mut sink, mut stream) = futures_util::StreamExt::split(ws);
        let mut send = Task::fickle(sink.send(Message::binary(vec![1; 1000])));
        let mut receive = Task::fickle(async {
            let mut count = 0;
            while let Some(Ok(_)) = stream.next().await {
                count += 1;
            }
            count
        });
        settle(&mut [&mut receive, &mut send]);
        for _ in 0..30 {
            far.put(&frame(Side::Server, TEXT, b"again"));
            settle(&mut [&mut receive, &mut send]);
            far.take_all();
            settle(&mut [&mut send, &mut receive]);
        }
        assert!(send.is_done(), "{reactor:?}: the writer was not woken");
        far.put(&close_frame(Side::Server, 1000, ""));
        far.end();
        for _ in 0..5 {
            settle(&mut [&mut receive]);
            far.take_all();
        }
        assert_eq!(receive.output(), 30, "{reactor:?}");
    }
}

/// A future that is dropped while it waits leaves the other task what it waits for.
#[test]
fn a_task_that_is_gone_does_not_take_the_wakeup_with_it() {
    for reactor in Reactor::ALL {
        let clock = VirtualClock::new();
        let (near, far) = Reactive::new(reactor, CAPACITY);
        let quiet = config().ping_interval(None);
        let ws = opened_with(Side::Client, near, &clock, quiet);
        let (mut sink, mut stream) = futures_util::StreamExt::split(ws);
        let mut receive = Task::new(stream.next());
        settle(&mut [&mut receive]);
        {
            let mut send = Task::new(sink.send(Message::binary(vec![1; 1000])));
            settle(&mut [&mut receive, &mut send]);
            assert!(!send.is_done());
        }
        // Only the receiver is left: it writes too.
        for _ in 0..30 {
            far.take_all();
            settle(&mut [&mut receive]);
        }
        far.put(&frame(Side::Server, TEXT, b"for the reader"));
        settle(&mut [&mut receive]);
        assert!(receive.is_done(), "{reactor:?}");
    }
}
