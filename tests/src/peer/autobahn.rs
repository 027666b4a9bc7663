//! The peer of the Autobahn suite: an echo, in three ways to receive and send.

use std::sync::Arc;

use sansock::core::deflate::Deflate;
use sansock::core::handshake::{ClientOptions, ServerOptions};
use sansock::core::{Fin, Kind, OpCode};
use sansock::{Config, Result};

use super::runtime::{self, Runtime, Stream};
use super::{Arguments, Outcome, Socket};

/// How messages are received and sent back.
#[derive(Debug, Clone, Copy)]
enum Mode {
    Messages,
    Frames,
    Chunks,
}

pub(crate) fn run<R: Runtime>(arguments: &Arguments) -> Outcome {
    arguments.allow(&["--runtime", "--mode"])?;
    let mode = match arguments.option("--mode").unwrap_or("messages") {
        "messages" => Mode::Messages,
        "frames" => Mode::Frames,
        "chunks" => Mode::Chunks,
        other => return Err(format!("no mode is called {other:?}").into()),
    };
    match arguments.positional()[..] {
        ["server"] => runtime::serve::<R, _>(move |stream| serve::<R>(stream, mode)),
        ["client", url] => runtime::block_on(client::<R>(url, mode)),
        _ => Err("usage: autobahn-peer server|client URL [OPTIONS]".into()),
    }
}

fn config() -> Config {
    sansock::config()
        .max_message_size(32 << 20)
        .max_empty_fragments(None)
        .deflate(Deflate::new())
}

async fn serve<R: Runtime>(stream: R::Tcp, mode: Mode) {
    let options = Arc::new(ServerOptions::new());
    let outcome = async {
        let upgrade = R::upgrade(stream, options, config()).await?;
        echo(&mut upgrade.accept().await?, mode).await
    };
    // Most cases end in an error, as they should: what it is worth is the suite's to say.
    let _ = outcome.await;
}

async fn client<R: Runtime>(url: &str, mode: Mode) -> Outcome {
    let connect = async |path: &str| {
        let options = ClientOptions::new();
        R::connect(&format!("{url}{path}"), &options, config()).await
    };
    let mut counting = connect("/getCaseCount").await?;
    let count = counting.recv().await?.ok_or("no count of cases came")?;
    let count: usize = count.as_text().ok_or("the count is not a text")?.parse()?;
    counting.close(1000, "").await?;
    for case in 1..=count {
        let mut socket = connect(&format!("/runCase?case={case}&agent=sansock")).await?;
        let _ = echo(&mut socket, mode).await;
    }
    let mut reporting = connect("/updateReports?agent=sansock").await?;
    while reporting.recv().await?.is_some() {}
    Ok(())
}

/// Sends back what comes, until the connection ends.
async fn echo(socket: &mut Socket<impl Stream>, mode: Mode) -> Result<()> {
    let echoed = match mode {
        Mode::Messages => echo_messages(socket).await,
        Mode::Frames => echo_frames(socket).await,
        Mode::Chunks => echo_chunks(socket).await,
    };
    // Where it was the sending that failed, there is still an end to wait for.
    echoed.and(socket.close(1000, "").await)
}

async fn echo_messages(socket: &mut Socket<impl Stream>) -> Result<()> {
    while let Some(message) = socket.recv().await? {
        socket.feed(message).await?;
    }
    Ok(())
}

async fn echo_frames(socket: &mut Socket<impl Stream>) -> Result<()> {
    while let Some(frame) = socket.recv_frame().await? {
        let (opcode, fin) = (frame.opcode, Fin::from(frame.fin));
        let payload = frame.payload.into_owned();
        match opcode {
            OpCode::Text => socket.feed_frame(OpCode::Text, payload, fin).await?,
            OpCode::Binary => socket.feed_frame(OpCode::Binary, payload, fin).await?,
            OpCode::Continuation | OpCode::Close | OpCode::Ping | OpCode::Pong => {
                socket
                    .feed_frame(OpCode::Continuation, payload, fin)
                    .await?;
            }
        }
    }
    Ok(())
}

async fn echo_chunks(socket: &mut Socket<impl Stream>) -> Result<()> {
    while let Some(chunk) = socket.recv_chunk().await? {
        let (kind, first, fin) = (chunk.kind, chunk.first, Fin::from(chunk.last));
        let payload = chunk.payload.to_vec();
        match (kind, first) {
            (Kind::Text, true) => socket.feed_frame(OpCode::Text, payload, fin).await?,
            (Kind::Binary, true) => socket.feed_frame(OpCode::Binary, payload, fin).await?,
            (_, false) => {
                socket
                    .feed_frame(OpCode::Continuation, payload, fin)
                    .await?;
            }
        }
    }
    Ok(())
}
