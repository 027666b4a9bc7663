//! How large a connection's futures are. A spawned task holds room for the largest state of its future as
//! long as it lives: so what only the opening handshake needs is in a block that goes when it is over.

use std::sync::Arc;

use async_net::TcpStream;
use sansock::Result;
use sansock::core::{ClientConnection, ServerConnection};
use sansock::smol::{self, Stream, Upgrade, WebSocket};

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
    let bound = size_of::<WebSocket>() + 300;
    check("accept and echo", size(accept_and_echo), bound);
    check("upgrade and echo", size(upgrade_and_echo), bound);
    check("connect and echo", size(connect_and_echo), bound);
}

#[test]
fn the_futures_of_the_opening_handshake_are_small() {
    let accept = |stream: TcpStream| smol::accept(stream);
    let upgrade =
        |(stream, options, config): (TcpStream, _, _)| smol::upgrade(stream, options, config);
    let server = |(stream, timer, connection)| WebSocket::server(stream, timer, connection);
    let client = |(stream, timer, connection)| WebSocket::client(stream, timer, connection);
    check("accept", size(accept), 300);
    check("upgrade", size(upgrade), 300);
    check("WebSocket::server", size(server), 300);
    check("WebSocket::client", size(client), 300);
    check("Upgrade::accept", size(Upgrade::accept), 300);
    check(
        "Upgrade::respond",
        size(|(upgrade, response)| Upgrade::respond(upgrade, response)),
        300,
    );
}
#[test]
fn print_for_now() {
    println!("Upgrade {}", size_of::<Upgrade>());
    println!("ServerConnection {}", size_of::<ServerConnection>());
    println!("ClientConnection {}", size_of::<ClientConnection>());
    println!("Connection {}", size_of::<sansock::core::Connection>());
    println!("Request {}", size_of::<sansock::core::handshake::Request>());
    println!(
        "Response {}",
        size_of::<sansock::core::handshake::Response>()
    );
    println!(
        "HandshakeError {}",
        size_of::<sansock::core::handshake::HandshakeError>()
    );
    println!("TcpStream {}", size_of::<TcpStream>());
    println!("Stream {}", size_of::<Stream>());
    println!("WebSocket {}", size_of::<WebSocket>());
}
