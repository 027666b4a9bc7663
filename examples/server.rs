//! A server that sends back what comes. End it with Ctrl-C.
//!
//! ```text
//! cargo run --example server -- 127.0.0.1:9001
//! ```

use async_executor::Executor;
use async_net::{SocketAddr, TcpListener, TcpStream};

fn main() -> sansock::Result<()> {
    let Some(address) = std::env::args().nth(1) else {
        eprintln!("usage: server ADDR, for example 127.0.0.1:9001");
        std::process::exit(2);
    };
    let executor = Executor::new();
    async_io::block_on(executor.run(serve(&executor, &address)))
}

/// Accepts connections, each in a task of its own, so that none waits for another.
async fn serve(executor: &Executor<'_>, address: &str) -> sansock::Result<()> {
    let listener = TcpListener::bind(address).await?;
    println!("listening on ws://{}/", listener.local_addr()?);
    loop {
        let (stream, peer) = listener.accept().await?;
        executor.spawn(converse(stream, peer)).detach();
    }
}

/// Says how a conversation ended; the server goes on.
async fn converse(stream: TcpStream, peer: SocketAddr) {
    match echo(stream).await {
        Ok(closed) => println!("{peer}: {closed}"),
        Err(error) => println!("{peer}: {error}"),
    }
}

async fn echo(stream: TcpStream) -> sansock::Result<String> {
    let mut ws = sansock::smol::accept(stream).await?;
    while let Some(message) = ws.recv().await? {
        // `feed` only queues: `recv` writes all replies together before it waits.
        ws.feed(message).await?;
    }
    Ok(ws.closed().map(ToString::to_string).unwrap_or_default())
}
