//! What the client does in its scenarios.

use std::time::Duration;

use futures_lite::future;
use sansock::core::handshake::ClientOptions;
use sansock::core::{Entropy, Fin, Kind, OpCode, ProtocolError};
use sansock::{Config, Error, Message, SystemEntropy};

use crate::peer::by_hand::ByHand;
use crate::peer::check;
use crate::peer::runtime::{Runtime, Stream};

use super::{Outcome, SUBPROTOCOL, Socket, random, received};

/// The path on which a scenario is run.
pub(crate) fn path(scenario: &str, seed: u64) -> String {
    match scenario {
        "fragments-back" => "/fragments".into(),
        "pong" => "/ping".into(),
        "close-by-server" => "/close?code=1001&reason=bye".into(),
        "refused" => "/refuse".into(),
        "random" => format!("/random?seed={seed}"),
        _ => "/echo".into(),
    }
}

pub(crate) async fn run<R: Runtime>(
    url: &str,
    scenario: &str,
    seed: u64,
    config: Config,
) -> Outcome {
    let url = format!("{url}{}", path(scenario, seed));
    let options = match scenario {
        "subprotocol" => ClientOptions::new().subprotocols(["unknown.one", SUBPROTOCOL]),
        _ => ClientOptions::new(),
    };
    let opened = R::connect(&url, &options, config).await;
    if scenario == "refused" {
        return refused(opened.map(|_| ()));
    }
    let socket = opened?;
    let extensions = socket.connection().negotiated().extensions.to_string();
    println!("{}", format!("EXTENSIONS {extensions}").trim_end());
    converse(socket, scenario, seed).await
}

/// Runs a scenario on a connection, and closes it.
pub(crate) async fn converse(
    mut socket: Socket<impl Stream>,
    scenario: &str,
    seed: u64,
) -> Outcome {
    match scenario {
        "text" => text(&mut socket).await?,
        "multibyte" => multibyte(&mut socket).await?,
        "binary" => binary(&mut socket).await?,
        "empty" => empty(&mut socket).await?,
        "fragments" => fragments(&mut socket).await?,
        "fragments-back" => fragments_back(&mut socket).await?,
        "pong" => pong(&mut socket).await?,
        "1-mib" => mib_1(&mut socket).await?,
        "16-mib" => mib_16(&mut socket).await?,
        "subprotocol" => subprotocol(&mut socket).await?,
        "random" => random::exchange(&mut socket, seed).await?,
        "burst" => return burst(socket).await,
        "ping" => return ping(socket).await,
        "close-by-client" => return close_by_client(&mut socket).await,
        "close-by-server" => return close_by_server(&mut socket).await,
        "too-big-for-server" => return too_big_for_server(&mut socket).await,
        "too-big-for-client" => return too_big_for_client(&mut socket).await,
        other => return Err(format!("no scenario is called {other:?}").into()),
    }
    socket.close(1000, "").await?;
    same_close(&received(socket.closed()), "1000")
}

/// Sends each message and compares what comes back.
async fn exchange(
    socket: &mut Socket<impl Stream>,
    messages: impl IntoIterator<Item = Message>,
) -> Outcome {
    for message in messages {
        socket.send(&message).await?;
        comes(socket, &message).await?;
    }
    Ok(())
}

/// Compares the next message with the one that was sent.
async fn comes(socket: &mut Socket<impl Stream>, sent: &Message) -> Outcome {
    same(socket.recv().await?.as_ref(), sent)
}

fn same(came: Option<&Message>, sent: &Message) -> Outcome {
    check(came == Some(sent), || {
        let came = came.map_or("the end".into(), brief);
        format!("sent {}, got {came}", brief(sent))
    })
}

fn brief(message: &Message) -> String {
    let bytes = message.as_bytes();
    let start = bytes.get(..20).unwrap_or(bytes).escape_ascii();
    format!("{:?} of {}: {start}", message.kind(), bytes.len())
}

fn same_close(came: &str, due: &str) -> Outcome {
    check(came == due, || {
        format!("the peer's Close said {came:?}, not {due:?}")
    })
}

/// Bytes that no compression makes smaller.
fn noise(size: usize) -> Vec<u8> {
    let seed = SystemEntropy.seed().unwrap_or([7; 32]);
    let mut state = seed.iter().fold(1_u64, |state, byte| {
        state.wrapping_mul(257).wrapping_add(u64::from(*byte))
    }) | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_ne_bytes());
    }
    bytes.truncate(size);
    bytes
}

async fn text(socket: &mut Socket<impl Stream>) -> Outcome {
    let long = [("a", 125), ("b", 126), ("c", 65535), ("d", 65536)];
    let long = long.map(|(letter, size)| Message::text(letter.repeat(size)));
    exchange(socket, [Message::text("Hello, world")]).await?;
    exchange(socket, long).await
}

async fn multibyte(socket: &mut Socket<impl Stream>) -> Outcome {
    let edges = "\0\x7f\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}";
    let long = "Zoë isst 寿司 🍣 ".repeat(5000);
    exchange(socket, [Message::text(edges), Message::text(long)]).await
}

async fn binary(socket: &mut Socket<impl Stream>) -> Outcome {
    let everything: Vec<u8> = (0..=255).collect();
    exchange(socket, [Message::binary(everything)]).await?;
    let sizes = [1, 125, 126, 127, 65535, 65536];
    exchange(socket, sizes.map(|size| noise(size).into())).await
}

async fn empty(socket: &mut Socket<impl Stream>) -> Outcome {
    let nothing = Message::from(b"");
    let messages = ["".into(), nothing.clone(), "after".into(), nothing];
    exchange(socket, messages).await
}

/// Empty first, middle and last fragments, characters cut in two, and a ping in between.
async fn fragments(socket: &mut Socket<impl Stream>) -> Outcome {
    let sent = "Fragmente: ä寿🍣".repeat(20);
    let (start, rest) = sent.as_bytes().split_at(12);
    socket.feed_frame(OpCode::Text, "", Fin::More).await?;
    socket
        .feed_frame(OpCode::Continuation, start, Fin::More)
        .await?;
    in_time(socket.ping()).await?;
    socket
        .feed_frame(OpCode::Continuation, b"", Fin::More)
        .await?;
    for part in rest.chunks(7) {
        socket
            .feed_frame(OpCode::Continuation, part, Fin::More)
            .await?;
    }
    socket
        .feed_frame(OpCode::Continuation, b"", Fin::Last)
        .await?;
    comes(socket, &sent.into()).await?;

    let blob = noise(100_000);
    let mut writer = socket.writer(Kind::Binary);
    writer.write(&blob[..1]).await?;
    writer.write(&blob[1..70_000]).await?;
    writer.write(b"").await?;
    writer.finish(&blob[70_000..]).await?;
    comes(socket, &blob.into()).await
}

async fn fragments_back(socket: &mut Socket<impl Stream>) -> Outcome {
    let text = Message::text("Fragmente: ä寿🍣".repeat(20));
    for sent in [text, noise(100_000).into()] {
        socket.send(&sent).await?;
        let frames = frames(socket).await?;
        let (_, before_last) = frames.split_last().ok_or("no frame came")?;
        check(frames.len() >= 3, || {
            format!(
                "came back in {} fragments, not in three or more",
                frames.len()
            )
        })?;
        check(before_last.iter().any(Vec::is_empty), || {
            "none of the fragments was empty".into()
        })?;
        check(frames.concat() == sent.as_bytes(), || {
            format!("the fragments are not the message {}", brief(&sent))
        })?;
    }
    Ok(())
}

/// Receives the frames of one message.
async fn frames(socket: &mut Socket<impl Stream>) -> Outcome<Vec<Vec<u8>>> {
    let mut frames = Vec::new();
    loop {
        let frame = socket.recv_frame().await?.ok_or("the end came")?;
        let first = frames.is_empty();
        check((frame.opcode == OpCode::Continuation) != first, || {
            format!("frame {} of a message is {}", frames.len(), frame.opcode)
        })?;
        frames.push(frame.payload.to_vec());
        if frame.fin {
            return Ok(frames);
        }
    }
}

/// One task sends, another receives.
async fn burst(socket: Socket<impl Stream>) -> Outcome {
    let (sender, mut receiver) = socket.split();
    let messages = || (0..1000).map(|number| Message::text(format!("message {number}")));
    let sending = async {
        for message in messages() {
            sender.feed(message).await?;
        }
        Ok(sender.flush().await?)
    };
    let receiving = async {
        for message in messages() {
            same(receiver.recv().await?.as_ref(), &message)?;
        }
        Outcome::Ok(())
    };
    future::try_zip(sending, receiving).await?;
    sender.close(1000, "").await?;
    same_close(&received(receiver.closed().as_ref()), "1000")
}

async fn ping(socket: Socket<impl Stream>) -> Outcome {
    let mut by_hand = ByHand::new(socket)?;
    for payload in [&b""[..], b"ping", &noise(125)] {
        in_time(by_hand.ping(payload)).await?;
    }
    by_hand.close().await?;
    same_close(&received(by_hand.connection.closed()), "1000")
}

async fn pong(socket: &mut Socket<impl Stream>) -> Outcome {
    let long = Message::text("x".repeat(125));
    let messages = ["".into(), "one".into(), long, noise(125).into()];
    exchange(socket, messages).await
}

async fn mib_1(socket: &mut Socket<impl Stream>) -> Outcome {
    let text = Message::text("ö".repeat(1 << 19));
    exchange(socket, [text, noise(1 << 20).into()]).await
}

async fn mib_16(socket: &mut Socket<impl Stream>) -> Outcome {
    let text = Message::text("0123456789abcdef".repeat(1 << 20));
    exchange(socket, [noise(16 << 20).into(), text]).await
}

async fn subprotocol(socket: &mut Socket<impl Stream>) -> Outcome {
    let agreed = socket.subprotocol();
    check(agreed == Some(SUBPROTOCOL), || {
        format!("the subprotocol is {agreed:?}")
    })?;
    exchange(socket, ["spoken".into()]).await
}

async fn close_by_client(socket: &mut Socket<impl Stream>) -> Outcome {
    exchange(socket, ["last".into()]).await?;
    let longest = "é".repeat(61) + "!";
    socket.close(4321, longest).await?;
    let answer = received(socket.closed());
    let code = answer.split(' ').next().unwrap_or_default();
    same_close(code, "4321")
}

async fn close_by_server(socket: &mut Socket<impl Stream>) -> Outcome {
    socket.send("go").await?;
    expect_close(socket).await?;
    same_close(&received(socket.closed()), "1001 bye")
}

async fn too_big_for_server(socket: &mut Socket<impl Stream>) -> Outcome {
    socket.send(&[b'x'; 2048]).await?;
    expect_close(socket).await?;
    let code = socket.closed().and_then(|closed| closed.received());
    let code = code.map_or(1006, |frame| frame.code.number());
    same_close(&code.to_string(), "1009")
}

async fn too_big_for_client(socket: &mut Socket<impl Stream>) -> Outcome {
    socket.send(&[b'x'; 2048]).await?;
    let outcome = socket.recv().await;
    let Err(Error::Protocol(ProtocolError::TooBig { .. })) = outcome else {
        return Err(format!("took a message over its own limit: {outcome:?}").into());
    };
    let sent = socket.closed().and_then(|closed| closed.sent());
    check(sent.is_some_and(|frame| frame.code == 1009.into()), || {
        format!("said {sent:?}, not 1009")
    })
}

fn refused(opened: Result<(), Error>) -> Outcome {
    let Err(error) = opened else {
        return Err("the handshake was accepted".into());
    };
    let Some(response) = error.response() else {
        return Err(error.into());
    };
    check(response.status().number() == 403, || {
        format!("status {}, not 403", response.status())
    })?;
    check(response.body().trim_ascii() == b"no entry", || {
        format!("body {:?}, not \"no entry\"", response.body())
    })
}

async fn expect_close(socket: &mut Socket<impl Stream>) -> Outcome {
    match socket.recv().await? {
        Some(message) => Err(format!("got {}, not a Close", brief(&message)).into()),
        None => Ok(()),
    }
}

/// Fails where something takes longer than five seconds.
async fn in_time<T, E>(work: impl Future<Output = Result<T, E>>) -> Outcome<T>
where
    E: Into<Box<dyn std::error::Error>>,
{
    let late = async {
        async_io::Timer::after(Duration::from_secs(5)).await;
        Err("no pong came in 5 s".into())
    };
    future::or(async { work.await.map_err(Into::into) }, late).await
}
