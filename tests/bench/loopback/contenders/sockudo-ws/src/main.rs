//! sockudo-ws on tokio, with its default configuration.
//!
//! The variant `feed` is batching by hand: replies are fed while messages are ready, and flushed before the server
//! waits. With compression, the handshake is put together from its parts, as its examples do it.

use std::sync::Arc;

use bench_server::{Mode, arguments, tokio::serve};
use futures_util::{FutureExt, Sink, SinkExt, Stream, StreamExt};
use sockudo_ws::deflate::negotiate_server_deflate;
use sockudo_ws::handshake::{build_response, generate_accept_key, parse_request, server_handshake};
use sockudo_ws::{
    CompressedWebSocketStream, Config, DeflateConfig, Error, Message, Result, Role, SplitWriter,
    WebSocketStream,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

type Receivers = Arc<Mutex<Vec<SplitWriter<TcpStream>>>>;

fn main() {
    let (mode, variant) = arguments(&[Mode::Echo, Mode::Deflate, Mode::Broadcast], &["feed"]);
    let receivers = Receivers::default();
    serve(move |stream| {
        let receivers = receivers.clone();
        let feeds = variant == "feed";
        async move {
            let _ = match mode {
                Mode::Echo => accept_and_echo(stream, feeds).await,
                Mode::Deflate => accept_and_echo_compressed(stream).await,
                Mode::Broadcast => accept_and_broadcast(stream, receivers).await,
            };
        }
    });
}

async fn accept(mut stream: TcpStream) -> Result<WebSocketStream<TcpStream>> {
    let early = server_handshake(&mut stream).await?.leftover;
    let config = Config::default();
    Ok(WebSocketStream::from_raw_with_leftover(
        stream,
        Role::Server,
        config,
        early,
    ))
}

async fn accept_and_echo(stream: TcpStream, feeds: bool) -> Result<()> {
    let socket = accept(stream).await?;
    match feeds {
        true => echo_by_feed(socket).await,
        false => echo(socket).await,
    }
}

async fn accept_and_echo_compressed(mut stream: TcpStream) -> Result<()> {
    let mut head = Vec::with_capacity(4096);
    loop {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(Error::ConnectionClosed);
        }
        let Some((request, _)) = parse_request(&head)? else {
            continue;
        };
        let offers = request.extensions.unwrap_or_default();
        let agreed = negotiate_server_deflate(offers, &DeflateConfig::default())
            .ok_or(Error::HandshakeFailed("no compression is offered"))?;
        let extensions = agreed.to_response_header();
        let response = build_response(&generate_accept_key(request.key), None, Some(&extensions));
        stream.write_all(&response).await?;
        drop(head);
        let socket = CompressedWebSocketStream::server(stream, Config::default(), agreed.config);
        return echo(socket).await;
    }
}

const fn is_data(message: &Message) -> bool {
    matches!(message, Message::Text(_) | Message::Binary(_))
}

async fn echo<S>(mut socket: S) -> Result<()>
where
    S: Stream<Item = Result<Message>> + Sink<Message, Error = Error> + Unpin,
{
    while let Some(message) = socket.next().await {
        let message = message?;
        if is_data(&message) {
            socket.send(message).await?;
        }
    }
    Ok(())
}

async fn echo_by_feed<S>(mut socket: S) -> Result<()>
where
    S: Stream<Item = Result<Message>> + Sink<Message, Error = Error> + Unpin,
{
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
async fn accept_and_broadcast(stream: TcpStream, receivers: Receivers) -> Result<()> {
    let (mut receiver, sender) = accept(stream).await?.split();
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
