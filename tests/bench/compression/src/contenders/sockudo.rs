//! sockudo-ws, with a compressor of the connection's own (`Compression::Dedicated`). Its timers want a runtime.

use std::hint::black_box;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use sockudo_ws::deflate::DeflateConfig;
use sockudo_ws::stream::CompressedWebSocketStream;
use sockudo_ws::{Compression, Config, Message};

use crate::json::Rounds;
use crate::{Cell, Mock, Operation, Run, runtime};

/// `settings` are the level and the bits of the window.
pub fn prepare(cell: &Cell, mock: Mock, messages: Vec<String>, settings: Option<(u32, u8)>) -> Run {
    let runtime = runtime();
    let config = Config::builder()
        .compression(Compression::Dedicated)
        .build();
    let mut deflate: DeflateConfig = Compression::Dedicated
        .to_deflate_config()
        .expect("compression");
    if let Some((level, bits)) = settings {
        let bits = bits.try_into().expect("bits of a window");
        deflate.compression_level = level;
        deflate.server_max_window_bits = bits;
        deflate.client_max_window_bits = bits;
    }
    let mut socket =
        runtime.block_on(async { CompressedWebSocketStream::server(mock, config, deflate) });
    let mut messages = Rounds::<Bytes>::of(messages);
    match cell.operation {
        Operation::Send => Box::new(move |count| {
            runtime.block_on(async {
                for _ in 0..count {
                    let message = Message::Text(black_box(messages.turn()).clone());
                    socket.send(message).await.expect("sent");
                }
            });
        }),
        Operation::Recv => Box::new(move |count| {
            runtime.block_on(async {
                for _ in 0..count {
                    let message = socket.next().await.expect("a message").expect("no error");
                    black_box(message);
                }
            });
        }),
    }
}
