//! Sends the lines of standard input, and prints what comes. The end of the input closes.
//!
//! ```text
//! cargo run --example client -- ws://127.0.0.1:9001/
//! ```

use std::io::stdin;

use futures_lite::future;
use sansock::Message;

fn main() -> sansock::Result<()> {
    let Some(url) = std::env::args().nth(1) else {
        eprintln!("usage: client URL, for example ws://127.0.0.1:9001/");
        std::process::exit(2);
    };
    async_io::block_on(converse(&url))
}

async fn converse(url: &str) -> sansock::Result<()> {
    let ws = sansock::smol::connect(url).await?;
    // Two halves, as sending waits for the keyboard and receiving for the server.
    let (sender, mut receiver) = ws.split();

    let sending = async {
        // By a thread, as reading the input blocks.
        while let Some(line) = blocking::unblock(|| stdin().lines().next()).await {
            sender.send(line?).await?;
        }
        sender.close(1000, "").await?;
        // The receiver sees the end.
        future::pending().await
    };
    let receiving = async {
        while let Some(message) = receiver.recv().await? {
            match message {
                Message::Text(text) => println!("{text}"),
                Message::Binary(bytes) => println!("{} bytes", bytes.len()),
            }
        }
        // An error unless the close was normal.
        receiver.close_result()
    };
    future::or(receiving, sending).await
}
