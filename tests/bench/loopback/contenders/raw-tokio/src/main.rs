//! The floor on tokio. All connections share one buffer. In the broadcast, the first bytes of a connection are its
//! handshake.

use std::cell::RefCell;
use std::io::{ErrorKind, Result};
use std::sync::Arc;

use bench_server::{Mode, arguments, tokio::serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Mutex;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; 64 << 10]);
}

type Receivers = Arc<Mutex<Vec<OwnedWriteHalf>>>;

fn main() {
    match arguments(&[Mode::Echo, Mode::Broadcast], &[]).0 {
        Mode::Echo | Mode::Deflate => serve(|stream| async {
            let _ = echo(stream).await;
        }),
        Mode::Broadcast => {
            let receivers = Receivers::default();
            serve(move |stream| {
                let receivers = receivers.clone();
                async move {
                    let _ = broadcast(stream, receivers).await;
                }
            });
        }
    }
}

async fn echo(mut stream: TcpStream) -> Result<()> {
    loop {
        stream.readable().await?;
        if let Some(unsent) = read_and_write(&stream)? {
            stream.write_all(&unsent).await?;
        } else {
            return Ok(());
        }
    }
}

/// Reads once and writes once; returns what did not go, nothing at the end of the stream.
fn read_and_write(stream: &TcpStream) -> Result<Option<Vec<u8>>> {
    BUFFER.with_borrow_mut(|buffer| {
        let count = match stream.try_read(buffer) {
            Ok(0) => return Ok(None),
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            result => result?,
        };
        let written = match stream.try_write(&buffer[..count]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            result => result?,
        };
        Ok(Some(buffer[written..count].to_vec()))
    })
}

async fn broadcast(stream: TcpStream, receivers: Receivers) -> Result<()> {
    let (mut reader, mut writer) = stream.into_split();
    let mut buffer = vec![0; 4096];
    let count = reader.read(&mut buffer).await?;
    writer.write_all(&buffer[..count]).await?;
    receivers.lock().await.push(writer);
    loop {
        let count = reader.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        for receiver in &mut *receivers.lock().await {
            receiver.write_all(&buffer[..count]).await?;
        }
    }
}
