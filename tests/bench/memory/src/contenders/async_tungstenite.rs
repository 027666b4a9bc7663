//! async-tungstenite, with its default configuration. A clone of a message shares the payload.

use std::hint::black_box;

use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::protocol::Role;
use async_tungstenite::{WebSocketStream, accept_async};
use futures_util::{SinkExt, StreamExt};

use crate::cell::{Cell, Operation, Side};
use crate::{Mock, Run, block_on};

pub fn prepare(cell: &Cell, stream: Mock) -> Option<Run> {
    match cell.operation {
        Operation::Recv => Some(recv(socket(cell, stream))),
        Operation::Echo => Some(echo(socket(cell, stream))),
        Operation::Send => Some(send(socket(cell, stream), cell)),
        Operation::Feed16 => Some(feed16(socket(cell, stream), cell)),
        Operation::Handshake => handshake(cell, stream),
    }
}

type Socket = WebSocketStream<Mock>;

fn socket(cell: &Cell, stream: Mock) -> Socket {
    let role = match cell.side {
        Side::Server => Role::Server,
        Side::Client => Role::Client,
    };
    block_on(WebSocketStream::from_raw_socket(stream, role, None))
}

fn recv(mut socket: Socket) -> Run {
    Box::new(move |count| {
        block_on(async {
            for _ in 0..count {
                let message = socket.next().await.expect("a message").expect("no error");
                black_box(message.len());
            }
        });
    })
}

fn echo(mut socket: Socket) -> Run {
    Box::new(move |count| {
        block_on(async {
            for _ in 0..count {
                let message = socket.next().await.expect("a message").expect("no error");
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
                socket
                    .send(black_box(&message).clone())
                    .await
                    .expect("sent");
            }
        });
    })
}

fn feed16(mut socket: Socket, cell: &Cell) -> Run {
    let message = message(cell);
    Box::new(move |count| {
        block_on(async {
            for number in 1..=count {
                socket
                    .feed(black_box(&message).clone())
                    .await
                    .expect("queued");
                if number % 16 == 0 {
                    socket.flush().await.expect("flushed");
                }
            }
        });
    })
}

fn handshake(cell: &Cell, stream: Mock) -> Option<Run> {
    if cell.side == Side::Client {
        return None;
    }
    Some(Box::new(move |count| {
        block_on(async {
            for _ in 0..count {
                black_box(accept_async(stream.clone()).await.expect("accepted"));
            }
        });
    }))
}
