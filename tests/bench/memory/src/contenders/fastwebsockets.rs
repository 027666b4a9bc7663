//! fastwebsockets, with its default configuration, messages collected from their fragments. It has no
//! queue of its own, and its server handshake is hyper's.

use std::hint::black_box;

use fastwebsockets::{FragmentCollector, Frame, Payload, Role, WebSocket};

use crate::cell::{Cell, Content, Operation, Side};
use crate::{Mock, Run, block_on};

pub fn prepare(cell: &Cell, stream: Mock) -> Option<Run> {
    match cell.operation {
        Operation::Recv => Some(recv(socket(cell, stream))),
        Operation::Echo => Some(echo(socket(cell, stream))),
        Operation::Send => Some(send(socket(cell, stream), cell)),
        Operation::Feed16 | Operation::Handshake => None,
    }
}

type Socket = FragmentCollector<Mock>;

fn socket(cell: &Cell, stream: Mock) -> Socket {
    let role = match cell.side {
        Side::Server => Role::Server,
        Side::Client => Role::Client,
    };
    FragmentCollector::new(WebSocket::after_handshake(stream, role))
}

fn recv(mut socket: Socket) -> Run {
    Box::new(move |count| {
        block_on(async {
            for _ in 0..count {
                let frame = socket.read_frame().await.expect("a message");
                black_box(frame.payload.len());
            }
        });
    })
}

fn echo(mut socket: Socket) -> Run {
    Box::new(move |count| {
        block_on(async {
            for _ in 0..count {
                let frame = socket.read_frame().await.expect("a message");
                let reply = Frame::new(true, frame.opcode, None, frame.payload);
                socket.write_frame(reply).await.expect("sent");
            }
        });
    })
}

fn send(mut socket: Socket, cell: &Cell) -> Run {
    let (content, payload) = (cell.content, cell.payload());
    Box::new(move |count| {
        block_on(async {
            for _ in 0..count {
                let payload = Payload::Borrowed(black_box(&payload));
                let frame = match content {
                    Content::Binary => Frame::binary(payload),
                    Content::Ascii | Content::Utf8 => Frame::text(payload),
                };
                socket.write_frame(frame).await.expect("sent");
            }
        });
    })
}
