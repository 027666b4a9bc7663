//! sansock, with its default configuration: limits, keepalive pings and deadlines are on.
//!
//! Received messages are lent (`recv_ref`) or owned (`recv`). To echo a lent one, its bytes are copied to
//! a buffer that is used again.

use std::hint::black_box;
use std::sync::Arc;
use std::task::{Context, Poll};

use sansock::core::{Connection, Instant, Negotiated, ServerConnection, Side};
use sansock::{Message, Timer, WebSocket, config};

use crate::cell::{self, Cell, Operation};
use crate::{Mock, Run, block_on};

/// A clock that stands still, as the transport costs nothing. That it does is not known when this is
/// compiled.
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

fn clock() -> StoppedClock {
    StoppedClock(black_box(Instant::START))
}

type Socket = WebSocket<Mock, StoppedClock>;

fn socket(cell: &Cell, stream: Mock) -> Socket {
    let side = match cell.side {
        cell::Side::Server => Side::Server,
        cell::Side::Client => Side::Client,
    };
    let connection = Connection::new(side, Negotiated::default(), config()).expect("a connection");
    WebSocket::new(stream, clock(), connection)
}

pub fn prepare_lent(cell: &Cell, stream: Mock) -> Option<Run> {
    match cell.operation {
        Operation::Recv => Some(recv_lent(socket(cell, stream))),
        Operation::Echo => Some(echo_lent(socket(cell, stream))),
        Operation::Send => Some(send(socket(cell, stream), cell)),
        Operation::Feed16 => Some(feed16(socket(cell, stream), cell)),
        Operation::Handshake => handshake(cell, stream),
    }
}

pub fn prepare_owned(cell: &Cell, stream: Mock) -> Option<Run> {
    match cell.operation {
        Operation::Recv => Some(recv_owned(socket(cell, stream))),
        Operation::Echo => Some(echo_owned(socket(cell, stream))),
        Operation::Send | Operation::Feed16 | Operation::Handshake => None,
    }
}

fn recv_lent(mut socket: Socket) -> Run {
    Box::new(move |count| {
        block_on(async {
            for _ in 0..count {
                let message = socket
                    .recv_ref()
                    .await
                    .expect("no error")
                    .expect("a message");
                black_box(message.as_bytes());
            }
        });
    })
}

fn recv_owned(mut socket: Socket) -> Run {
    Box::new(move |count| {
        block_on(async {
            for _ in 0..count {
                let message = socket.recv().await.expect("no error").expect("a message");
                black_box(message.as_bytes());
            }
        });
    })
}

fn echo_lent(mut socket: Socket) -> Run {
    let (mut bytes, mut string) = (Vec::new(), String::new());
    Box::new(move |count| {
        block_on(async {
            for _ in 0..count {
                let message = socket
                    .recv_ref()
                    .await
                    .expect("no error")
                    .expect("a message");
                if let Some(text) = message.as_text() {
                    string.clear();
                    string.push_str(text);
                    socket.send(&string[..]).await.expect("sent");
                } else {
                    bytes.clear();
                    bytes.extend_from_slice(message.as_bytes());
                    socket.send(&bytes[..]).await.expect("sent");
                }
            }
        });
    })
}

fn echo_owned(mut socket: Socket) -> Run {
    Box::new(move |count| {
        block_on(async {
            for _ in 0..count {
                let message = socket.recv().await.expect("no error").expect("a message");
                socket.send(message).await.expect("sent");
            }
        });
    })
}

fn message(cell: &Cell) -> Message {
    match cell.text() {
        Some(text) => Message::text(text),
        None => Message::binary(cell.payload()),
    }
}

fn send(mut socket: Socket, cell: &Cell) -> Run {
    let message = message(cell);
    Box::new(move |count| {
        block_on(async {
            for _ in 0..count {
                socket.send(black_box(&message)).await.expect("sent");
            }
        });
    })
}

fn feed16(mut socket: Socket, cell: &Cell) -> Run {
    let message = message(cell);
    Box::new(move |count| {
        block_on(async {
            for number in 1..=count {
                socket.feed(black_box(&message)).await.expect("queued");
                if number % 16 == 0 {
                    socket.flush().await.expect("flushed");
                }
            }
        });
    })
}

fn handshake(cell: &Cell, stream: Mock) -> Option<Run> {
    if cell.side == cell::Side::Client {
        return None;
    }
    let (options, config) = (Arc::default(), config());
    Some(Box::new(move |count| {
        block_on(async {
            for _ in 0..count {
                let connection = ServerConnection::new(Arc::clone(&options), config.clone());
                let socket = WebSocket::server(stream.clone(), clock(), connection).await;
                black_box(socket.expect("accepted"));
            }
        });
    }))
}
