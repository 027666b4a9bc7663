//! The loops of the documentation, as they are written: of `Connection`, of the example `sans_io` and of the
//! integration guide. Each answers everything, however messages, pings and closes share a read.

use std::collections::VecDeque;

use bytes::Buf;
use sansock_core::{Closed, Config, Connection, Failure, Instant, Negotiated, Side, State};
use sansock_tests::end::{SIDES, config};
use sansock_tests::seen::Seen;
use sansock_tests::wire::{CLOSE, PONG, PeerOf, close_body, sent_by};

const NOW: Instant = Instant::START;

/// A socket whose peer has sent some bytes, in these reads, and then waits.
struct Socket {
    reads: VecDeque<Vec<u8>>,
    ends: bool,
    written: Vec<u8>,
    is_shut: bool,
}

enum Read {
    Bytes(Vec<u8>),
    End,
    TimedOut,
    /// Nothing will ever come.
    Blocked,
}

impl Socket {
    fn read(&mut self, deadline: Option<Instant>) -> Read {
        match self.reads.pop_front() {
            Some(bytes) => Read::Bytes(bytes),
            None if self.ends => Read::End,
            None if deadline.is_some_and(|deadline| deadline <= NOW) => Read::TimedOut,
            None => Read::Blocked,
        }
    }

    fn has_more(&self) -> bool {
        !self.reads.is_empty() || self.ends
    }

    /// Sends what a connection wants to send.
    fn send(&mut self, connection: &mut Connection) {
        let mut data = connection.data_to_send();
        while data.has_remaining() {
            assert!(!self.is_shut, "bytes after the end");
            let size = data.chunk().len();
            self.written.extend_from_slice(data.chunk());
            data.advance(size);
        }
        self.is_shut |= data.take_end();
    }
}

/// A loop over a socket, until nothing will ever come. Returns the events.
type Loop = fn(&mut Connection, &mut Socket) -> Vec<Seen>;

const LOOPS: [(&str, Loop); 4] = [
    ("docs", docs),
    ("docs, all reads first", docs_after_all_reads),
    ("sans_io", sans_io),
    ("guide", guide),
];

/// "After any feed or command, take until empty": what is to be sent, the events, what is to be sent.
fn docs(connection: &mut Connection, socket: &mut Socket) -> Vec<Seen> {
    let mut events = Vec::new();
    while let Some(()) = feed(connection, socket) {
        take(connection, socket, &mut events);
    }
    events
}

/// The same, where the events are taken after everything was fed.
fn docs_after_all_reads(connection: &mut Connection, socket: &mut Socket) -> Vec<Seen> {
    let mut events = Vec::new();
    while let Some(()) = feed(connection, socket) {
        socket.send(connection);
    }
    take(connection, socket, &mut events);
    events
}

fn feed(connection: &mut Connection, socket: &mut Socket) -> Option<()> {
    match socket.read(None) {
        Read::Bytes(bytes) => connection.receive_data(&bytes, NOW),
        Read::End => {
            socket.ends = false;
            connection.receive_eof(NOW);
        }
        Read::TimedOut | Read::Blocked => return None,
    }
    Some(())
}

fn take(connection: &mut Connection, socket: &mut Socket, events: &mut Vec<Seen>) {
    socket.send(connection);
    events.extend(std::iter::from_fn(|| {
        connection.next_event().map(Seen::from)
    }));
    socket.send(connection);
}

/// Each event in turn, and where there is none: send, mind the time, read.
fn sans_io(connection: &mut Connection, socket: &mut Socket) -> Vec<Seen> {
    let mut events = Vec::new();
    loop {
        match connection.next_event() {
            Some(event) => events.push(event.into()),
            None => {
                if connection.state() == State::Closed {
                    return events;
                }
                socket.send(connection);
                connection.handle_timeout(NOW);
                match socket.read(connection.next_timeout()) {
                    Read::Bytes(bytes) => connection.receive_data(&bytes, NOW),
                    Read::End => connection.receive_eof(NOW),
                    Read::TimedOut => {}
                    Read::Blocked => return events,
                }
            }
        }
    }
}

/// The five steps: receive data, send data, expect the TCP connection to close, close it, receive events.
fn guide(connection: &mut Connection, socket: &mut Socket) -> Vec<Seen> {
    let mut events = Vec::new();
    let mut is_over = false;
    while !is_over {
        match socket.read(connection.next_timeout()) {
            Read::Bytes(bytes) => connection.receive_data(&bytes, NOW),
            Read::End => {
                connection.receive_eof(NOW);
                is_over = true;
            }
            Read::TimedOut => connection.handle_timeout(NOW),
            Read::Blocked => return events,
        }
        socket.send(connection);
        if is_over {
            // The TCP connection is closed.
            connection.write_failed();
        }
        events.extend(std::iter::from_fn(|| {
            connection.next_event().map(Seen::from)
        }));
    }
    events
}

struct Outcome {
    events: Vec<Seen>,
    sent: Vec<(u8, Vec<u8>)>,
    is_shut: bool,
    closed: Option<Closed>,
    failure: Option<Failure>,
}

/// Runs a loop over these reads, without a deadline that could end it.
fn run(run: Loop, side: Side, reads: &[Vec<u8>], ends: bool) -> Outcome {
    let mut socket = Socket {
        reads: reads.iter().cloned().collect(),
        ends,
        written: Vec::new(),
        is_shut: false,
    };
    let mut connection = Connection::new(side, Negotiated::default(), patient()).unwrap();
    connection.handle_timeout(NOW);
    let events = run(&mut connection, &mut socket);
    assert!(!socket.has_more() || ends, "everything was read");
    let sent = sent_by(side, &socket.written).into_iter();
    Outcome {
        events,
        sent: sent.map(|frame| (frame.first, frame.payload)).collect(),
        is_shut: socket.is_shut,
        closed: connection.closed().cloned(),
        failure: connection.failure().cloned(),
    }
}

fn patient() -> Config {
    let config = config().ping_interval(None);
    config.write_timeout(None).close_timeout(None)
}

#[track_caller]
fn for_each_loop(
    reads: impl Fn(PeerOf) -> Vec<Vec<u8>>,
    ends: bool,
    judge: impl Fn(Side, &Outcome),
) {
    for (name, loop_) in LOOPS {
        for side in SIDES {
            println!("{name}, {side:?}");
            judge(side, &run(loop_, side, &reads(PeerOf(side)), ends));
        }
    }
}

#[test]
fn several_pings_in_a_read_are_all_answered() {
    let reads = |peer: PeerOf| vec![[b"a", b"b", b"c"].map(|ping| peer.ping(ping)).concat()];
    for_each_loop(reads, false, |_, outcome| {
        let pings = ["a", "b", "c"].map(|ping| Seen::Ping(ping.into()));
        assert_eq!(outcome.events, pings);
        let pongs = [b"a", b"b", b"c"].map(|ping| (PONG, ping.to_vec()));
        assert_eq!(outcome.sent, pongs);
    });
}

#[test]
fn a_ping_behind_a_message_is_answered() {
    let reads = |peer: PeerOf| vec![[peer.text("text"), peer.ping(b"?")].concat()];
    for_each_loop(reads, false, |_, outcome| {
        assert_eq!(
            outcome.events,
            [Seen::Text("text".into()), Seen::Ping(b"?".into())]
        );
        assert_eq!(outcome.sent, [(PONG, b"?".to_vec())]);
    });
}

#[test]
fn a_close_behind_a_message_is_answered() {
    let reads = |peer: PeerOf| vec![[peer.text("text"), peer.close(1000, "bye")].concat()];
    for_each_loop(reads, false, |side, outcome| {
        let close = Seen::Close(1000, "bye".into());
        assert_eq!(outcome.events, [Seen::Text("text".into()), close]);
        assert_eq!(outcome.sent, [(CLOSE, close_body(1000, "bye"))]);
        assert_eq!(outcome.is_shut, side == Side::Server);
        assert!(matches!(
            outcome.closed,
            Some(Closed::ReceivedThenSent { .. })
        ));
    });
}

#[test]
fn a_malformed_frame_behind_a_message_is_answered() {
    let reads = |peer: PeerOf| vec![[peer.text("text"), vec![0xFF]].concat()];
    for_each_loop(reads, false, |side, outcome| {
        assert_eq!(outcome.events.len(), 2);
        assert_eq!(outcome.sent[0].0, CLOSE);
        assert_eq!(outcome.is_shut, side == Side::Server);
    });
}

#[test]
fn the_end_of_the_stream_behind_a_message_is_answered() {
    for_each_loop(
        |peer| vec![peer.text("text")],
        true,
        |_, outcome| {
            let lost = Seen::Failed(Failure::Lost);
            assert_eq!(outcome.events, [Seen::Text("text".into()), lost]);
            assert_eq!(outcome.failure, Some(Failure::Lost));
            assert_eq!(outcome.closed, Some(Closed::Abnormal));
        },
    );
}

#[test]
fn a_close_before_the_end_of_the_stream_is_the_end() {
    let reads = |peer: PeerOf| vec![[peer.text("text"), peer.close(1000, "")].concat()];
    for_each_loop(reads, true, |_, outcome| {
        let close = Seen::Close(1000, String::new());
        assert_eq!(outcome.events, [Seen::Text("text".into()), close]);
        assert_eq!(outcome.failure, None);
        let closed = outcome.closed.as_ref().expect("it is decided");
        assert_eq!(closed.sent().is_some(), !outcome.sent.is_empty());
        assert!(closed.is_normal());
    });
}
