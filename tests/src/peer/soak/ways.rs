//! The ways to live of the clients. Each is one connection, from its opening to its end, and fails where
//! the server does not do its part.

use std::fmt;
use std::time::Duration;

use async_io::Timer;
use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _, future};
use sansock::core::OpCode;
use sansock::core::{Closed, Fin};
use sansock::smol::WebSocket;

use crate::peer::{Outcome, check};
use crate::random::Random;

use super::clients::World;
use super::talk;

/// How a client lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Says nothing.
    Idle,
    /// Hears what the server says to a room, half of them compressed.
    Listening,
    /// Sends messages and compares what comes back; closes after some, and comes again.
    Chatty,
    /// The same, compressed.
    Compressed,
    /// Asks for more than it reads in a while, and reads it slowly.
    Slow,
    /// Asks for much and reads nothing, until the server must have given it up.
    Stalled,
    /// Resets the connection, wherever it is, and comes again.
    Resetting,
    /// Never finishes its handshake.
    Unfinished,
}

/// Of each hundred clients. The server has a thousand places for handshakes: those that are never
/// finished must leave some to the others.
pub(super) const SHARES: [(Way, usize); 8] = [
    (Way::Idle, 30),
    (Way::Listening, 10),
    (Way::Chatty, 20),
    (Way::Compressed, 15),
    (Way::Slow, 5),
    (Way::Stalled, 2),
    (Way::Resetting, 13),
    (Way::Unfinished, 5),
];

/// Between two messages, in milliseconds, at most.
const CHAT: usize = 8_000;
/// What a slow client asks for, in portions, and how long it takes for each, in milliseconds.
const ASKED: usize = 32;
const EACH: usize = 1_500;
/// What no system keeps for one connection, in portions.
const MUCH: usize = 2_000;
/// The server gives up a client that takes nothing after 30 seconds.
const STALL: Duration = Duration::from_secs(75);
/// The server gives up a handshake after 10 seconds. A bound for a busy machine.
const HANDSHAKE: Duration = Duration::from_secs(40);
/// How long a connection lives that is going to be reset, in milliseconds, at most.
const LIFE: usize = 20_000;

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "idle",
            Self::Listening => "listening",
            Self::Chatty => "chatty",
            Self::Compressed => "compressed",
            Self::Slow => "slow",
            Self::Stalled => "stalled",
            Self::Resetting => "resetting",
            Self::Unfinished => "unfinished",
        })
    }
}

impl Way {
    pub(super) async fn live(self, world: &World, random: &mut Random) -> Outcome {
        match self {
            Self::Idle => idle(world).await,
            Self::Listening => listen(world, random).await,
            Self::Chatty => chat(world, random, false).await,
            Self::Compressed => chat(world, random, true).await,
            Self::Slow => read_slowly(world, random).await,
            Self::Stalled => stall(world).await,
            Self::Resetting => reset(world, random).await,
            Self::Unfinished => begin(world, random).await,
        }
    }
}

async fn idle(world: &World) -> Outcome {
    let mut ws = opened(world, world.connecting.open("/echo", false).await?);
    if let Some(came) = world.until_over(ws.recv()).await {
        return Err(format!("{came:?} came, and {:?}", ws.closed()).into());
    }
    close(&mut ws).await
}

/// What the server says is one number after the other, without a gap.
async fn listen(world: &World, random: &mut Random) -> Outcome {
    let deflate = random.below(2) == 0;
    let mut ws = opened(world, world.connecting.open("/room", deflate).await?);
    let mut last = None;
    while let Some(came) = world.until_over(ws.recv()).await {
        let came = came?.ok_or("the server closed")?;
        let number: u64 = came.as_text().ok_or("the number is no text")?.parse()?;
        check(last.is_none_or(|last| number == last + 1), || {
            format!("{number} came after {last:?}")
        })?;
        last = Some(number);
        world.count("heard");
    }
    close(&mut ws).await
}

async fn chat(world: &World, random: &mut Random, deflate: bool) -> Outcome {
    let mut ws = opened(world, world.connecting.open("/echo", deflate).await?);
    for _ in 0..5 + random.below(40) {
        let pause = pause(random, CHAT);
        // It listens meanwhile: a client that does not would not answer pings.
        let silence = future::or(async { Some(ws.recv().await) }, async {
            Timer::after(pause).await;
            None
        });
        match world.until_over(silence).await {
            None => break,
            Some(None) => {}
            Some(Some(came)) => return Err(format!("{came:?} came unasked").into()),
        }
        talk::exchange(&mut ws, random).await?;
        world.count("exchanged");
        if random.below(10) == 0 {
            ws.ping().await?;
            world.count("pinged");
        }
    }
    close(&mut ws).await?;
    world.count("closed");
    Ok(())
}

async fn read_slowly(world: &World, random: &mut Random) -> Outcome {
    let mut ws = opened(world, world.connecting.open_narrow("/portions").await?);
    ws.send(&[b'.'; ASKED]).await?;
    for _ in 0..ASKED {
        let pause = Timer::after(pause(random, EACH));
        if world.until_over(pause).await.is_none() {
            return Ok(());
        }
        let came = ws.recv().await?.ok_or("the server closed")?;
        check(came.as_bytes() == [b'.'; super::server::PORTION], || {
            format!("{} bytes came, or others", came.len())
        })?;
        world.count("portions");
    }
    close(&mut ws).await
}

async fn stall(world: &World) -> Outcome {
    let mut ws = opened(world, world.connecting.open_narrow("/portions").await?);
    ws.send(&[b'.'; MUCH]).await?;
    if world.until_over(Timer::after(STALL)).await.is_none() {
        return Ok(());
    }
    // What the system has kept is still there; then the end.
    let mut came = 0;
    while let Ok(Some(_)) = ws.recv().await {
        came += 1;
        check(came < MUCH, || {
            "the server waited for a client that does not read".into()
        })?;
    }
    world.count("given_up");
    Ok(())
}

async fn reset(world: &World, random: &mut Random) -> Outcome {
    let (ws, brittle) = world.connecting.open_brittle("/echo").await?;
    let mut ws = opened(world, ws);
    let life = pause(random, LIFE);
    let talking = async {
        loop {
            Timer::after(pause(random, CHAT)).await;
            talk::exchange(&mut ws, random).await?;
        }
    };
    let ended = future::or(talking, async {
        Timer::after(life).await;
        Outcome::Ok(())
    });
    world.until_over(ended).await.unwrap_or(Ok(()))?;
    match random.below(3) {
        // Inside a message, with a reply on its way, and in peace.
        0 => {
            ws.feed_frame(OpCode::Text, "the beginning", Fin::More)
                .await?;
        }
        1 => ws.send(talk::message(random)).await?,
        _ => {}
    }
    drop(brittle);
    drop(ws);
    world.count("reset");
    Ok(())
}

/// Nothing, a part of a request, or one that comes byte by byte.
async fn begin(world: &World, random: &mut Random) -> Outcome {
    const HEAD: &[u8] =
        b"GET /echo HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upg";
    let mut reader = world.connecting.tcp(None).await?;
    let mut writer = reader.clone();
    let (written, pace) = match random.below(3) {
        0 => (0, 1),
        1 => (random.below(HEAD.len()), HEAD.len()),
        _ => (HEAD.len(), 1),
    };
    let writing = async {
        for bytes in HEAD[..written].chunks(pace) {
            // Where that is over, the reader is told.
            let _ = writer.write_all(bytes).await;
            Timer::after(Duration::from_secs(1)).await;
        }
        future::pending().await
    };
    let reading = async {
        let mut answer = Vec::new();
        match reader.read_to_end(&mut answer).await {
            Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => Err(error),
            _ => Ok(answer),
        }
    };
    let late = async {
        Timer::after(HANDSHAKE).await;
        Err(std::io::ErrorKind::TimedOut.into())
    };
    let ended = future::or(future::or(writing, reading), late);
    let Some(ended) = world.until_over(ended).await else {
        return Ok(());
    };
    let answer = ended.map_err(|error| format!("a handshake that is not finished: {error}"))?;
    check(!answer.starts_with(b"HTTP/1.1 101"), || {
        "it was opened".into()
    })?;
    world.count("unfinished");
    Ok(())
}

/// Counts it.
fn opened(world: &World, ws: WebSocket) -> WebSocket {
    world.count("opened");
    ws
}

/// Closes, which the server answers with the same code.
async fn close(ws: &mut WebSocket) -> Outcome {
    ws.close(1000, "").await?;
    let answer = ws.closed().and_then(Closed::received);
    check(
        answer.is_some_and(|frame| frame.code == 1000.into()),
        || format!("closing ended with {:?}", ws.closed()),
    )
}

fn pause(random: &mut Random, most: usize) -> Duration {
    Duration::from_millis(random.below(most) as u64)
}
