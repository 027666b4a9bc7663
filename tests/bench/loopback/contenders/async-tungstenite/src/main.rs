//! async-tungstenite on smol, with its default configuration.
//!
//! The variant `feed` is batching by hand: replies are fed while messages are ready, and flushed before the server
//! waits.

use std::cell::Cell;
use std::rc::Rc;

use async_net::TcpStream;
use async_tungstenite::tungstenite::{Message, Result};
use async_tungstenite::{WebSocketSender, WebSocketStream, accept_async};
use bench_server::{Mode, arguments, smol::serve};
use futures_util::{FutureExt, SinkExt, StreamExt};

type WebSocket = WebSocketStream<TcpStream>;

#[derive(Default)]
struct Shared {
    senders: Cell<Vec<WebSocketSender<TcpStream>>>,
}

fn main() {
    let (mode, variant) = arguments(&[Mode::Echo, Mode::Broadcast], &["feed"]);
    let shared = Rc::<Shared>::default();
    serve(move |stream| {
        let shared = shared.clone();
        let feeds = variant == "feed";
        async move {
            let Ok(socket) = accept_async(stream).await else {
                return;
            };
            let _ = match mode {
                Mode::Broadcast => broadcast(socket, &shared).await,
                Mode::Echo | Mode::Deflate if feeds => echo_by_feed(socket).await,
                Mode::Echo | Mode::Deflate => echo(socket).await,
            };
        }
    });
}

fn is_data(message: &Message) -> bool {
    message.is_text() || message.is_binary()
}

async fn echo(mut socket: WebSocket) -> Result<()> {
    while let Some(message) = socket.next().await {
        let message = message?;
        if is_data(&message) {
            socket.send(message).await?;
        }
    }
    Ok(())
}

async fn echo_by_feed(mut socket: WebSocket) -> Result<()> {
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

async fn broadcast(socket: WebSocket, shared: &Shared) -> Result<()> {
    let (sender, mut receiver) = socket.split();
    let mut senders = shared.senders.take();
    senders.push(sender);
    shared.senders.set(senders);
    while let Some(message) = receiver.next().await {
        let message = message?;
        if !is_data(&message) {
            continue;
        }
        let mut senders = shared.senders.take();
        for sender in &mut senders {
            sender.send(message.clone()).await?;
        }
        senders.append(&mut shared.senders.take());
        shared.senders.set(senders);
    }
    Ok(())
}
