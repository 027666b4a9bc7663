//! soketto, with its default configuration. Received messages come in a buffer that is used again.

use std::hint::black_box;

use soketto::connection::Builder;
use soketto::handshake::Server;
use soketto::handshake::server::Response;
use soketto::{Data, Mode, Receiver, Sender};

use crate::cell::{Cell, Operation, Side};
use crate::{Mock, Run, block_on};

pub fn prepare(cell: &Cell, stream: Mock) -> Option<Run> {
    match cell.operation {
        Operation::Recv => Some(recv(halves(cell, stream).1)),
        Operation::Echo => Some(echo(halves(cell, stream))),
        Operation::Send => Some(send(halves(cell, stream).0, cell, 1)),
        Operation::Feed16 => Some(send(halves(cell, stream).0, cell, 16)),
        Operation::Handshake => handshake(cell, stream),
    }
}

fn halves(cell: &Cell, stream: Mock) -> (Sender<Mock>, Receiver<Mock>) {
    let mode = match cell.side {
        Side::Server => Mode::Server,
        Side::Client => Mode::Client,
    };
    Builder::new(stream, mode).finish()
}

fn recv(mut receiver: Receiver<Mock>) -> Run {
    let mut message = Vec::new();
    Box::new(move |count| {
        block_on(async {
            for _ in 0..count {
                message.clear();
                let data = receiver
                    .receive_data(&mut message)
                    .await
                    .expect("a message");
                // It leaves the check of text to its user.
                if let Data::Text(_) = data {
                    black_box(str::from_utf8(&message).expect("the text is UTF-8"));
                }
                black_box(message.len());
            }
        });
    })
}

fn echo((mut sender, mut receiver): (Sender<Mock>, Receiver<Mock>)) -> Run {
    let mut message = Vec::new();
    Box::new(move |count| {
        block_on(async {
            for _ in 0..count {
                message.clear();
                match receiver
                    .receive_data(&mut message)
                    .await
                    .expect("a message")
                {
                    Data::Text(_) => {
                        let text = str::from_utf8(&message).expect("the text is UTF-8");
                        sender.send_text(text).await.expect("sent");
                    }
                    Data::Binary(_) => sender.send_binary(&message).await.expect("sent"),
                }
                sender.flush().await.expect("flushed");
            }
        });
    })
}

fn send(mut sender: Sender<Mock>, cell: &Cell, burst: usize) -> Run {
    let (text, payload) = (cell.text(), cell.payload());
    Box::new(move |count| {
        block_on(async {
            for number in 1..=count {
                match &text {
                    Some(text) => sender.send_text(black_box(text)).await.expect("sent"),
                    None => sender.send_binary(black_box(&payload)).await.expect("sent"),
                }
                if number % burst == 0 {
                    sender.flush().await.expect("flushed");
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
                let mut server = Server::new(stream.clone());
                let key = server.receive_request().await.expect("a request").key();
                let accept = Response::Accept {
                    key,
                    protocol: None,
                };
                server.send_response(&accept).await.expect("accepted");
                black_box(server.into_builder().finish());
            }
        });
    }))
}
