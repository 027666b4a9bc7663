//! yawc on tokio, with its default configuration, but that text is checked, and that messages of 1 MiB are not refused.
//! The handshake is not its own, which is made for hyper.
//!
//! The variant `feed` is batching by hand: replies are fed while messages are ready, and flushed before the server
//! waits. With compression it has its balanced settings: level 6, the largest window.

use bench_server::{Mode, arguments, handshake, tokio::serve};
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::net::TcpStream;
use yawc::{Frame, OpCode, Options, Result, Role, WebSocket};

type Socket = WebSocket<TcpStream>;

fn main() {
    let (mode, variant) = arguments(&[Mode::Echo, Mode::Deflate], &["feed"]);
    serve(move |stream| {
        let feeds = variant == "feed";
        async move {
            let Ok(socket) = accept(stream, mode).await else {
                return;
            };
            let _ = match feeds {
                true => echo_by_feed(socket).await,
                false => echo(socket).await,
            };
        }
    });
}

async fn accept(mut stream: TcpStream, mode: Mode) -> Result<Socket> {
    let options = Options::default().with_utf8().with_limits(2 << 20, 4 << 20);
    let (options, extensions) = match mode {
        Mode::Echo | Mode::Broadcast => (options, None),
        Mode::Deflate => (
            options.with_balanced_compression(),
            Some("permessage-deflate"),
        ),
    };
    handshake::answer(&mut stream, extensions).await?;
    WebSocket::from_stream_with_extensions(stream, Role::Server, extensions, options)
}

fn is_data(frame: &Frame) -> bool {
    matches!(frame.opcode(), OpCode::Text | OpCode::Binary)
}

async fn echo(mut socket: Socket) -> Result<()> {
    while let Some(frame) = socket.next().await {
        if is_data(&frame) {
            socket.send(frame).await?;
        }
    }
    Ok(())
}

async fn echo_by_feed(mut socket: Socket) -> Result<()> {
    loop {
        let ready = socket.next().now_or_never();
        let frame = match ready {
            Some(frame) => frame,
            None => {
                socket.flush().await?;
                socket.next().await
            }
        };
        let Some(frame) = frame else {
            return Ok(());
        };
        if is_data(&frame) {
            socket.feed(frame).await?;
        }
    }
}
