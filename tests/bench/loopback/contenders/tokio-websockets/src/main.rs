//! tokio-websockets on tokio, with its default configuration.
//!
//! The variant `feed` is batching by hand: replies are fed while messages are ready, and flushed before the server
//! waits.

use std::sync::Arc;

use bench_server::{Mode, arguments, tokio::serve};
use futures_util::stream::SplitSink;
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_websockets::{Error, Message, ServerBuilder, WebSocketStream};

type WebSocket = WebSocketStream<TcpStream>;
type Receivers = Arc<Mutex<Vec<SplitSink<WebSocket, Message>>>>;

fn main() {
    let (mode, variant) = arguments(&[Mode::Echo, Mode::Broadcast], &["feed"]);
    let receivers = Receivers::default();
    serve(move |stream| {
        let receivers = receivers.clone();
        let feeds = variant == "feed";
        async move {
            let Ok((_, socket)) = ServerBuilder::new().accept(stream).await else {
                return;
            };
            let _ = match mode {
                Mode::Broadcast => broadcast(socket, receivers).await,
                Mode::Echo | Mode::Deflate if feeds => echo_by_feed(socket).await,
                Mode::Echo | Mode::Deflate => echo(socket).await,
            };
        }
    });
}

fn is_data(message: &Message) -> bool {
    message.is_text() || message.is_binary()
}

async fn echo(mut socket: WebSocket) -> Result<(), Error> {
    while let Some(message) = socket.next().await {
        let message = message?;
        if is_data(&message) {
            socket.send(message).await?;
        }
    }
    Ok(())
}

async fn echo_by_feed(mut socket: WebSocket) -> Result<(), Error> {
    loop {
        let ready = socket.next().now_or_never();
        let message = match ready {
            Some(message) => message,
            None => {
                socket.flush().await?;
                socket.next().await
            }
        };
        let Some(message) = message else {
            return Ok(());
        };
        let message = message?;
        if is_data(&message) {
            socket.feed(message).await?;
        }
    }
}

/// A clone of a message shares the payload.
async fn broadcast(socket: WebSocket, receivers: Receivers) -> Result<(), Error> {
    let (sender, mut receiver) = socket.split();
    receivers.lock().await.push(sender);
    while let Some(message) = receiver.next().await {
        let message = message?;
        if is_data(&message) {
            for receiver in &mut *receivers.lock().await {
                receiver.send(message.clone()).await?;
            }
        }
    }
    Ok(())
}
