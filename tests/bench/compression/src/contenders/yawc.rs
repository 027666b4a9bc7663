//! yawc, balanced as its documentation advises, and with its check of text. Its sockets want a runtime.

use std::hint::black_box;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use yawc::{CompressionLevel, Frame, Options, Role, WebSocket};

use crate::json::Rounds;
use crate::{Cell, Mock, Operation, Run, runtime};

/// `settings` are the level and the bits of the window.
pub fn prepare(cell: &Cell, mock: Mock, messages: Vec<String>, settings: Option<(u32, u8)>) -> Run {
    let runtime = runtime();
    let mut options = Options::default().with_balanced_compression().with_utf8();
    let mut extensions = String::from("permessage-deflate");
    if let Some((level, bits)) = settings {
        options = options
            .with_compression_level(CompressionLevel::new(level))
            .with_server_max_window_bits(bits)
            .with_client_max_window_bits(bits);
        extensions += &format!("; server_max_window_bits={bits}; client_max_window_bits={bits}");
    }
    let mut socket = runtime.block_on(async {
        WebSocket::from_stream_with_extensions(mock, Role::Server, Some(&extensions), options)
            .expect("a socket")
    });
    let mut messages = Rounds::<Bytes>::of(messages);
    match cell.operation {
        Operation::Send => Box::new(move |count| {
            runtime.block_on(async {
                for _ in 0..count {
                    let frame = Frame::text(black_box(messages.turn()).clone());
                    socket.send(frame).await.expect("sent");
                }
            });
        }),
        Operation::Recv => Box::new(move |count| {
            runtime.block_on(async {
                for _ in 0..count {
                    black_box(socket.next().await.expect("a message"));
                }
            });
        }),
    }
}
