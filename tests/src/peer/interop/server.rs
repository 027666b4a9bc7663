//! What the server does on its paths.

use std::sync::Arc;

use sansock::Config;
use sansock::core::handshake::{Origins, Request, ServerOptions, StatusCode};
use sansock::core::{Event, State};

use crate::peer::by_hand::ByHand;
use crate::peer::runtime::{Runtime, Stream};

use super::{Outcome, SUBPROTOCOL, Socket, random, received};

pub(crate) async fn serve<R: Runtime>(stream: R::Tcp, config: Config) {
    match converse::<R>(stream, config).await {
        Ok(Some(closed)) => println!("CLOSED {closed}"),
        Ok(None) => {}
        Err(error) => eprintln!("{error}"),
    }
}

/// Returns what the client's Close frame said, `None` where there was no WebSocket.
async fn converse<R: Runtime>(stream: R::Tcp, config: Config) -> Outcome<Option<String>> {
    // A browser's page may come from anywhere.
    let options = ServerOptions::new().origins(Origins::Any);
    let options = options.subprotocols([SUBPROTOCOL]);
    let upgrade = R::upgrade(stream, Arc::new(options), config).await?;
    let request = upgrade.request().clone();
    match request.path() {
        "/echo" | "/fragments" | "/close" | "/random" => {
            let mut socket = upgrade.accept().await?;
            // Whatever ended the conversation, the end of the stream is still to come.
            let _ = speak(&mut socket, &request).await;
            let _ = socket.close(1000, "").await;
            Ok(Some(received(socket.closed())))
        }
        "/ping" => {
            let mut by_hand = ByHand::new(upgrade.accept().await?)?;
            let _ = echo_after_pong(&mut by_hand).await;
            Ok(Some(received(by_hand.connection.closed())))
        }
        "/refuse" => {
            upgrade.reject(StatusCode::FORBIDDEN, "no entry").await?;
            Ok(None)
        }
        path => {
            let text = format!("no such path: {path}");
            upgrade.reject(StatusCode::NOT_FOUND, &text).await?;
            Ok(None)
        }
    }
}

async fn speak(socket: &mut Socket<impl Stream>, request: &Request) -> Outcome {
    match request.path() {
        "/fragments" => echo_in_fragments(socket).await,
        "/close" => close(socket, request).await,
        "/random" => {
            let seed = value(request, "seed").ok_or("no seed in the query")?;
            random::echo(socket, seed.parse()?).await
        }
        _ => echo(socket).await,
    }
}

async fn echo(socket: &mut Socket<impl Stream>) -> Outcome {
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}

/// Cuts text by bytes, characters in two.
async fn echo_in_fragments(socket: &mut Socket<impl Stream>) -> Outcome {
    while let Some(message) = socket.recv().await? {
        let (start, rest) = message.as_bytes().split_at(message.len() / 3);
        let mut writer = socket.writer(message.kind());
        writer.write(start).await?;
        writer.write(b"").await?;
        writer.finish(rest).await?;
    }
    Ok(())
}

/// Returns a value from the query.
fn value<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    let query = request.query().unwrap_or_default();
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

async fn close(socket: &mut Socket<impl Stream>, request: &Request) -> Outcome {
    let code = value(request, "code").ok_or("no code in the query")?;
    let code: u16 = code.parse()?;
    let reason = value(request, "reason").unwrap_or_default();
    socket.recv().await?;
    Ok(socket.close(code, reason).await?)
}

async fn echo_after_pong(by_hand: &mut ByHand<impl Stream>) -> Outcome {
    while let Some(event) = by_hand.next_event().await? {
        let Event::Message(message) = event else {
            continue;
        };
        let message = message.into_owned();
        by_hand.ping(message.as_bytes()).await?;
        if by_hand.connection.state() == State::Open {
            by_hand.connection.send(message)?;
        }
    }
    Ok(())
}
