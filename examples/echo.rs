//! A server and a client in one program, over TCP: each kind of message, a ping, a clean close.
//!
//! ```text
//! cargo run --example echo
//! ```

use async_net::TcpListener;
use futures_lite::future;
use sansock::Message;
use sansock::core::Kind;

fn main() -> sansock::Result<()> {
    async_io::block_on(async {
        // Port 0: the system chooses a free one.
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("ws://{}/", listener.local_addr()?);
        println!("server: listening on {url}");
        // Both at once, in this one thread. Elsewhere each would be a task of an executor.
        future::try_zip(server(listener), client(&url)).await?;
        Ok(())
    })
}

/// Takes one connection and sends back what comes.
async fn server(listener: TcpListener) -> sansock::Result<()> {
    let (stream, _) = listener.accept().await?;
    let mut ws = sansock::smol::accept(stream).await?;
    // `None` is the end after a closing handshake; every other end is an error.
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    if let Some(closed) = ws.closed() {
        println!("server: {closed}");
    }
    Ok(())
}

async fn client(url: &str) -> sansock::Result<()> {
    let mut ws = sansock::smol::connect(url).await?;
    println!("client: connected");

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

    // Waits for the server's Close frame and for the end of the stream.
    ws.close(1000, "that is all").await?;
    println!("client: closed");
    Ok(())
}
