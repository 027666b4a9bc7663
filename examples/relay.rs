//! A message larger than memory passes from one connection to another. It is never put together: what
//! has arrived of it is sent on.
//!
//! ```text
//! cargo run --release --example relay             10 GiB
//! cargo run --release --example relay -- 256      256 MiB
//! ```

use std::time::Instant;

use async_net::TcpListener;
use futures_lite::future;
use sansock::core::Delivery;
use sansock::smol::WebSocket;
use sansock::{Config, Kind};

fn main() -> sansock::Result<()> {
    let mebibytes = std::env::args()
        .nth(1)
        .map_or(Ok(10 << 10), |text| text.parse());
    let Ok(mebibytes) = mebibytes else {
        eprintln!("usage: relay [MEBIBYTES]");
        std::process::exit(2);
    };
    async_io::block_on(run(mebibytes))
}

async fn run(mebibytes: u64) -> sansock::Result<()> {
    let size = mebibytes << 20;
    let (source, relay) = (bind().await?, bind().await?);
    let (source_url, relay_url) = (url(&source)?, url(&relay)?);
    let begin = Instant::now();
    let sending = send(source, size);
    let relaying = serve(relay, &source_url);
    let receiving = receive(&relay_url);
    let (((), ()), received) =
        future::try_zip(future::try_zip(sending, relaying), receiving).await?;
    let seconds = begin.elapsed().as_secs_f64();
    println!("{received} of {size} bytes arrived as they were sent");
    println!("{:.0} MiB a second", mebibytes as f64 / seconds);
    if let Some(peak) = most_memory() {
        println!("all three sides together never had more memory than {peak}");
    }
    Ok(())
}

// The relay.

/// Asks the source for a message, and gives it to whoever has connected here.
async fn serve(listener: TcpListener, source: &str) -> sansock::Result<()> {
    let mut to = sansock::smol::accept(listener.accept().await?.0).await?;
    let mut from = sansock::smol::connect(source).config(in_chunks()).await?;
    // Nothing is expected from the receiver but pings and the end.
    to.close_read(0);
    while copy(&mut from, &mut to).await? {}
    match from.close_result() {
        Ok(()) => to.close(1000, "").await,
        Err(error) => to.fail(1011, error.to_string()).await,
    }
}

/// Copies one message, in pieces of whatever size they come in. Returns whether there was one.
async fn copy(from: &mut WebSocket, to: &mut WebSocket) -> sansock::Result<bool> {
    // The source may take its time: meanwhile the pings of the receiver are answered.
    let Some(mut chunk) = to.attend(from.recv_chunk()).await? else {
        return Ok(false);
    };
    let mut writer = to.writer(chunk.kind);
    while !chunk.last {
        // Until this piece has been written no other is read: the source is slowed down to the pace
        // of who receives.
        writer.write(chunk.payload).await?;
        let Some(next) = from.recv_chunk().await? else {
            to.fail(1011, "the source closed inside a message").await?;
            return Ok(false);
        };
        chunk = next;
    }
    writer.finish(chunk.payload).await?;
    Ok(true)
}

/// Chunks from the first message on, which may come before anybody asks how to receive it.
fn in_chunks() -> Config {
    sansock::config().delivery(Delivery::Chunks)
}

// The ends.

/// Sends one message of this size.
async fn send(listener: TcpListener, size: u64) -> sansock::Result<()> {
    let mut ws = sansock::smol::accept(listener.accept().await?.0).await?;
    ws.close_read(0);
    let pattern = Pattern::new();
    let mut writer = ws.writer(Kind::Binary);
    let mut sent = 0;
    while sent < size {
        let piece = pattern.at(sent);
        let left = usize::try_from(size - sent).unwrap_or(usize::MAX);
        let piece = &piece[..piece.len().min(left)];
        writer.write(piece).await?;
        sent += piece.len() as u64;
    }
    writer.finish("").await?;
    ws.close(1000, "").await
}

/// Receives one message, and returns how many bytes of it were as they should be.
async fn receive(relay: &str) -> sansock::Result<u64> {
    let mut ws = sansock::smol::connect(relay).config(in_chunks()).await?;
    let pattern = Pattern::new();
    let mut received = 0;
    while let Some(chunk) = ws.recv_chunk().await? {
        let mut rest = chunk.payload;
        while !rest.is_empty() {
            let expected = pattern.at(received);
            let size = expected.len().min(rest.len());
            if rest[..size] != expected[..size] {
                return Ok(received);
            }
            rest = &rest[size..];
            received += size as u64;
        }
    }
    ws.close_result()?;
    Ok(received)
}

/// Bytes that are the same at every run, and differ wherever some are lost or doubled.
struct Pattern(Vec<u8>);

impl Pattern {
    /// A prime number: no size that a buffer may have divides it.
    const PERIOD: u32 = 65_521;

    fn new() -> Self {
        let byte = |at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8;
        Self((0..Self::PERIOD).map(byte).collect())
    }

    /// What begins at this byte of the message, at least one byte of it.
    fn at(&self, offset: u64) -> &[u8] {
        let at = offset % u64::from(Self::PERIOD);
        &self.0[at as usize..]
    }
}

async fn bind() -> sansock::Result<TcpListener> {
    Ok(TcpListener::bind("127.0.0.1:0").await?)
}

fn url(listener: &TcpListener) -> sansock::Result<String> {
    Ok(format!("ws://{}/", listener.local_addr()?))
}

/// Returns how much memory the process has had at most, where the system tells.
fn most_memory() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(peak.trim().into())
}
