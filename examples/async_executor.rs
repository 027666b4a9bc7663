//! A server and a client on an executor of your choice: here async-executor, with several threads.
//!
//! ```text
//! cargo run --example async_executor
//! ```

use std::sync::Arc;
use std::thread;

use async_executor::Executor;
use futures_lite::future::zip;
use sansock::serve::Origins;
use sansock::smol::{Socket, connect, serve};

fn main() -> sansock::Result<()> {
    let executor: Arc<Executor<'_>> = Arc::default();
    for _ in 0..2 {
        let executor = executor.clone();
        thread::spawn(move || async_io::block_on(executor.run(std::future::pending::<()>())));
    }
    async_io::block_on(run(executor))
}

async fn run(executor: Arc<Executor<'static>>) -> sansock::Result<()> {
    // The sockets and timers of smol work on any executor. Connections run where `spawn` puts them.
    let server = serve("127.0.0.1:0", echo)
        .origins(Origins::SameHost)
        .subprotocols(["echo"])
        .spawn(move |connection| executor.spawn(connection).detach())
        .bind()
        .await?;
    let handle = server.handle();
    let urls: Vec<_> = server
        .local_addresses()
        .map(|at| format!("ws://{at}/"))
        .collect();
    let client = async {
        let talked = talk(&urls[0]).await;
        handle.shutdown();
        talked
    };
    zip(server.run(), client).await.1
}

async fn echo(mut ws: Socket) -> sansock::Result<()> {
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}

async fn talk(url: &str) -> sansock::Result<()> {
    let mut ws = connect(url).subprotocols(["echo"]).await?;
    println!("subprotocol {:?}", ws.subprotocol());
    ws.send("hello").await?;
    println!("came back: {:?}", ws.recv().await?);
    ws.close(1000, "").await
}
