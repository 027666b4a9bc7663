//! sansock on smol, with its default configuration: limits, keepalive pings and deadlines are on.
//!
//! By default messages are lent, large ones taken, and replies are fed, which go out together when the server waits.
//! With the variant `owned` all are taken, as its example server does it; the variant `send` is the loop that its
//! documentation begins with.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use bench_server::{Mode, arguments, smol::serve};
use futures_io::{AsyncRead, AsyncWrite};
use sansock::core::deflate::Deflate;
use sansock::smol::WebSocket;
use sansock::{Config, Prepared, Result, Sender, ServerOptions, Timer, config};

fn main() {
    let (mode, variant) = arguments(
        &[Mode::Echo, Mode::Deflate, Mode::Broadcast],
        &["owned", "send", "6"],
    );
    let config = match (mode, &*variant) {
        // As the peers are by default, for comparison: level 6, and the largest window.
        (Mode::Deflate, "6") => config().deflate(
            Deflate::new()
                .level(6)
                .mem_level(8)
                .server_max_window_bits(15)
                .client_max_window_bits(15),
        ),
        (Mode::Deflate, _) => config().deflate(Deflate::new()),
        _ => config(),
    };
    let shared = Rc::new(Shared {
        config,
        options: Arc::new(ServerOptions::new()),
        reply: Cell::default(),
        senders: Cell::default(),
    });
    serve(move |stream| {
        let shared = shared.clone();
        let echo = match &*variant {
            "owned" => Echo::Owned,
            "send" => Echo::Send,
            _ => Echo::Lent,
        };
        async move {
            let options = shared.options.clone();
            let upgrade = sansock::smol::upgrade(stream, options, shared.config.clone()).await;
            let Ok(upgrade) = upgrade else { return };
            let Ok(socket) = upgrade.accept().await else {
                return;
            };
            let _ = match (mode, echo) {
                (Mode::Broadcast, _) => broadcast(socket, &shared).await,
                (_, Echo::Lent) => echo_lent(socket, &shared).await,
                (_, Echo::Owned) => echo_owned(socket).await,
                (_, Echo::Send) => echo_by_send(socket).await,
            };
        }
    });
}

/// How messages are sent back.
enum Echo {
    Lent,
    Owned,
    Send,
}

/// What the connections share.
struct Shared<S, T> {
    config: Config,
    options: Arc<ServerOptions>,
    /// A buffer for the reply that is being fed.
    reply: Cell<Reply>,
    senders: Cell<Vec<Sender<S, T>>>,
}

#[derive(Default)]
struct Reply {
    text: String,
    binary: Vec<u8>,
}

/// From this size on, messages are sent by reference to bytes of their own.
const LARGE: usize = 4096;

async fn echo_lent<S, T>(mut socket: WebSocket, shared: &Shared<S, T>) -> Result<()> {
    while let Some(message) = socket.recv_ref().await? {
        if message.as_bytes().len() >= LARGE {
            let message = message.into_owned();
            socket.feed(message).await?;
            continue;
        }
        let mut reply = shared.reply.take();
        if let Some(text) = message.as_text() {
            reply.text.clear();
            reply.text.push_str(text);
            socket.feed(&*reply.text).await?;
        } else {
            reply.binary.clear();
            reply.binary.extend_from_slice(message.as_bytes());
            socket.feed(&*reply.binary).await?;
        }
        shared.reply.set(reply);
    }
    Ok(())
}

async fn echo_owned(mut socket: WebSocket) -> Result<()> {
    while let Some(message) = socket.recv().await? {
        socket.feed(message).await?;
    }
    Ok(())
}

async fn echo_by_send(mut socket: WebSocket) -> Result<()> {
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}

async fn broadcast<S, T>(socket: sansock::WebSocket<S, T>, shared: &Shared<S, T>) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    let (sender, mut receiver) = socket.split();
    let mut senders = shared.senders.take();
    senders.push(sender);
    shared.senders.set(senders);
    while let Some(message) = receiver.recv().await? {
        let message = Prepared::new(message);
        let mut senders = shared.senders.take();
        for sender in &mut senders {
            sender.send_prepared(&message).await?;
        }
        senders.append(&mut shared.senders.take());
        shared.senders.set(senders);
    }
    Ok(())
}
