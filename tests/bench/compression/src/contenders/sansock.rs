//! sansock. A connection that is always busy, and one that gives its compressors back after each message.

use std::hint::black_box;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Buf;
use sansock::core::deflate::Deflate;
use sansock::core::{Config, Connection, Event, Instant, Negotiated, Side};
use sansock::{Timer, WebSocket};

use crate::json::Rounds;
use crate::{Cell, Mock, Operation, Run, block_on};

/// Level, level of memory, bits of the window.
pub type Settings = (u8, u8, u8);

/// What [`Deflate::new`] has.
pub const DEFAULT: Settings = (0, 0, 12);

struct StoppedClock(Instant);

impl Timer for StoppedClock {
    fn now(&self) -> Instant {
        self.0
    }

    fn set(&mut self, _: Option<Instant>) {}

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

fn connection((level, mem_level, bits): Settings, config: Config) -> Connection {
    let deflate = Deflate::new();
    let deflate = match level {
        0 => deflate,
        _ => deflate.level(level).mem_level(mem_level),
    };
    let answer =
        format!("permessage-deflate; server_max_window_bits={bits}; client_max_window_bits={bits}");
    let negotiated = Negotiated {
        extensions: answer.parse().expect("extensions"),
        ..Negotiated::default()
    };
    Connection::new(Side::Server, negotiated, config.deflate(deflate)).expect("agreed")
}

pub fn prepare(cell: &Cell, mock: Mock, messages: Vec<String>, settings: Settings) -> Run {
    let connection = connection(settings, sansock::config());
    let clock = StoppedClock(black_box(Instant::START));
    let mut socket = WebSocket::new(mock, clock, connection);
    let mut messages = Rounds::<String>::of(messages);
    match cell.operation {
        Operation::Send => Box::new(move |count| {
            block_on(async {
                for _ in 0..count {
                    socket.send(black_box(messages.turn())).await.expect("sent");
                }
            });
        }),
        Operation::Recv => Box::new(move |count| {
            block_on(async {
                for _ in 0..count {
                    let message = socket.recv_ref().await.expect("no error");
                    black_box(message.expect("a message").as_text());
                }
            });
        }),
    }
}

/// A clock that goes on by two seconds after each message, for the core alone.
struct Quiet {
    connection: Connection,
    now: Instant,
}

impl Quiet {
    fn pass(&mut self) {
        for _ in 0..2 {
            let later = self.now.checked_add(Duration::from_secs(1));
            self.now = later.expect("a later time");
            self.connection.handle_timeout(self.now);
        }
        self.connection.io().release_buffers();
    }
}

pub fn prepare_quiet(cell: &Cell, mock: &Mock, messages: Vec<String>) -> Run {
    let config = sansock::config().ping_interval(None);
    let mut quiet = Quiet {
        connection: connection(DEFAULT, config),
        now: Instant::START,
    };
    let (mut messages, mut frames) = (Rounds::<String>::of(messages), mock.frames());
    let written = mock.written();
    match cell.operation {
        Operation::Send => Box::new(move |count| {
            for _ in 0..count {
                let message = black_box(messages.turn());
                quiet.connection.send(message).expect("queued");
                let mut output = quiet.connection.data_to_send();
                let size = output.remaining();
                output.advance(size);
                written.fetch_add(size as u64, Ordering::Relaxed);
                quiet.pass();
            }
        }),
        Operation::Recv => Box::new(move |count| {
            for _ in 0..count {
                quiet.connection.receive_data(frames.turn(), quiet.now);
                match quiet.connection.next_event() {
                    Some(Event::Message(message)) => black_box(message.as_text()),
                    _ => panic!("no message"),
                };
                quiet.pass();
            }
        }),
    }
}
