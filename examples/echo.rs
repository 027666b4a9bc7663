//! A server and a client in one program, over TCP: each kind of message, a ping, compression, a clean
//! close.
//!
//! ```text
//! cargo run --example echo
//! ```

use std::sync::Arc;

use async_net::TcpListener;
use futures_lite::future;
use sansock::core::deflate::Deflate;
use sansock::{Config, Kind, Message, ServerOptions};

fn main() -> sansock::Result<()> {
    async_io::block_on(async {
        // Port 0: the system chooses a free one.
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("ws://{}/", listener.local_addr()?);
        println!("server: listening on {url}");
        // Compression is off unless the configuration asks for it. A clone shares the configuration.
        let config = sansock::config().deflate(Deflate::new());
        // Both at once, in this one thread. Elsewhere each would be a task of an executor.
        let (server, client) = (server(listener, config.clone()), client(&url, config));
        future::try_zip(server, client).await?;
        Ok(())
    })
}

/// Takes one connection and sends back what comes.
async fn server(listener: TcpListener, config: Config) -> sansock::Result<()> {
    let (stream, _) = listener.accept().await?;
    // The request could be looked at here, and rejected.
    let upgrade = sansock::smol::upgrade(stream, Arc::new(ServerOptions::new()), config).await?;
    let mut ws = upgrade.accept().await?;
    // `None` is the end after a closing handshake; every other end is an error.
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    if let Some(closed) = ws.closed() {
        println!("server: {closed}");
    }
    Ok(())
}

async fn client(url: &str, config: Config) -> sansock::Result<()> {
    let mut ws = sansock::smol::connect(url).config(config).await?;
    let agreed = &ws.connection().negotiated().extensions;
    println!("client: connected, with {agreed}");

    // Text is `&str`, `String` or `ByteString`; anything of bytes is binary.
    ws.send("hello").await?;
    println!("client: text came back: {:?}", ws.recv().await?);

    ws.send(&[1, 2, 3]).await?;
    println!("client: binary came back: {:?}", ws.recv().await?);

    // A message in fragments, for when its end is not known at its start. The peer gets it whole.
    let mut writer = ws.writer(Kind::Text);
    writer.write("in ").await?;
    writer.write("three ").await?;
    writer.finish("fragments").await?;
    println!("client: fragments came back: {:?}", ws.recv().await?);

    // By default a message may have 1 MiB; `Config::max_message_size` changes that.
    let large = Message::binary(vec![42; 1 << 20]);
    ws.send(&large).await?;
    let same = ws.recv().await? == Some(large);
    println!("client: 1 MiB came back: {same}");

    println!("client: ping took {:?}", ws.ping().await?);

    // Messages that resemble each other shrink most: each is compressed with those before it in mind.
    let (sent_before, mut size) = (ws.stats().bytes_sent, 0);
    for number in 0..100 {
        let json = format!(
            r#"{{"sensor": "roof of the north tower", "unit": "celsius", "reading": {number}}}"#
        );
        size += json.len();
        ws.send(&json).await?;
        ws.recv().await?;
    }
    let sent = ws.stats().bytes_sent - sent_before;
    println!(
        "client: {size} bytes of JSON took {sent} on the wire, {} %",
        sent * 100 / size as u64
    );

    // Waits for the server's Close frame and for the end of the stream.
    ws.close(1000, "that is all").await?;
    println!("client: closed");
    Ok(())
}
