//! How large a connection's futures are. A spawned task holds room for the largest state of its future as
//! long as it lives: so what only the opening handshake needs is in a block that goes when it is over.

use std::sync::Arc;

use async_net::TcpStream;
use sansock::Result;
use sansock::core::handshake::StatusCode;
use sansock::smol::{self, Upgrade, WebSocket};

/// What the future of a whole conversation may hold beside its WebSocket.
const BESIDE: usize = 250;

/// What the future of an opening handshake may hold.
const OPENING: usize = 200;

/// Returns the size of the future that a function returns, without calling it.
fn size<A, F: Future>(_: fn(A) -> F) -> usize {
    size_of::<F>()
}

async fn accept_and_echo(stream: TcpStream) -> Result<()> {
    let mut ws = smol::accept(stream).await?;
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}

async fn upgrade_and_echo(stream: TcpStream) -> Result<()> {
    let upgrade = smol::upgrade(stream, Arc::default(), sansock::config()).await?;
    if upgrade.request().path() != "/" {
        return upgrade.reject(StatusCode::NOT_FOUND, "").await;
    }
    let mut ws = upgrade.accept().await?;
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}

async fn connect_and_echo(url: &str) -> Result<()> {
    let mut ws = smol::connect(url).await?;
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}

#[track_caller]
fn check(name: &str, size: usize, bound: usize) {
    println!("{name}: {size} bytes, of {bound}");
    assert!(size <= bound, "{name} has {size} bytes, more than {bound}");
}

#[test]
fn a_task_is_hardly_larger_than_its_websocket() {
    let bound = size_of::<WebSocket>() + BESIDE;
    check("connect and echo", size(connect_and_echo), bound);
    // What was borrowed, or given as an argument, keeps its place in a future.
    let bound = bound + size_of::<TcpStream>();
    check("accept and echo", size(accept_and_echo), bound);
    let bound = bound + size_of::<Upgrade>();
    check("upgrade and echo", size(upgrade_and_echo), bound);
}

#[test]
fn the_futures_of_the_opening_handshake_are_small() {
    let accept = |stream: TcpStream| smol::accept(stream);
    let upgrade =
        |(stream, options): (TcpStream, _)| smol::upgrade(stream, options, sansock::config());
    let server = |(stream, timer, connection)| WebSocket::server(stream, timer, connection);
    let client = |(stream, timer, connection)| WebSocket::client(stream, timer, connection);
    let read = |(stream, timer, connection)| Upgrade::read(stream, timer, connection);
    let accept_with_response = |upgrade| Upgrade::accept_with_response(upgrade, |_| {});
    let respond = |(upgrade, response)| Upgrade::respond(upgrade, response);
    check("accept", size(accept), OPENING);
    check("upgrade", size(upgrade), OPENING);
    check("WebSocket::server", size(server), OPENING);
    check("WebSocket::client", size(client), OPENING);
    check("Upgrade::read", size(read), OPENING);
    check("Upgrade::accept", size(Upgrade::accept), OPENING);
    check(
        "Upgrade::accept_with_response",
        size(accept_with_response),
        OPENING,
    );
    check("Upgrade::respond", size(respond), OPENING);
}
