//! The driver on an executor and a reactor of your choice, without a shim: here async-executor and
//! async-io.
//!
//! ```text
//! cargo run --example async_executor
//! ```

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use async_executor::Executor;
use async_io::{Async, Timer};
use sansock::WebSocket;
use sansock::core::handshake::{ClientOptions, ServerOptions, Uri};
use sansock::core::{ClientConnection, ServerConnection};

fn main() -> sansock::Result<()> {
    let executor = Executor::new();
    async_io::block_on(executor.run(async {
        let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0))?;
        let port = listener.get_ref().local_addr()?.port();
        let server = executor.spawn(server(listener));
        let client = executor.spawn(client(format!("ws://127.0.0.1:{port}/")));
        client.await?;
        server.await
    }))
}

async fn server(listener: Async<TcpListener>) -> sansock::Result<()> {
    // What a server needs: a transport, a timer, and the connection with its configuration.
    let (stream, _) = listener.accept().await?;
    let options = Arc::new(ServerOptions::new().subprotocols(["echo"]));
    let connection = ServerConnection::new(options, sansock::config());
    let mut ws = WebSocket::server(closable(stream), Timer::never(), connection).await?;
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    ws.close_result()
}

async fn client(url: String) -> sansock::Result<()> {
    // The connection knows the URI for the request; where to connect is up to you.
    let uri: Uri = url.parse()?;
    let options = ClientOptions::new().subprotocols(["echo"]);
    let connection = ClientConnection::new(&uri, &options, sansock::config())?;
    let stream = Async::<TcpStream>::connect(([127, 0, 0, 1], uri.port())).await?;
    let opened = WebSocket::client(closable(stream), Timer::never(), connection).await;
    let (mut ws, response) = opened?;
    println!("{}, subprotocol {:?}", response.status(), ws.subprotocol());

    ws.send("hello").await?;
    println!("came back: {:?}", ws.recv().await?);
    ws.close(1000, "").await
}

/// To close an `Async` only flushes it. async-net's stream also ends what the peer reads, as the
/// closing handshake needs it.
fn closable(stream: Async<TcpStream>) -> async_net::TcpStream {
    stream.into()
}
