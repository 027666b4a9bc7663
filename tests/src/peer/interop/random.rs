//! Messages of every size and kind, in fragments cut anywhere, all from one number.

use sansock::core::{Compression, Kind};
use sansock::{Error, Message};

use crate::peer::runtime::Stream;
use crate::random::Random;

use super::{Outcome, Socket};

const MESSAGES: usize = 16;
const MEBIBYTE: usize = 1 << 20;

/// The client's side: sends messages, one after the other, and compares what comes back.
pub(crate) async fn exchange(socket: &mut Socket<impl Stream>, seed: u64) -> Outcome {
    let mut random = Random::new(seed);
    for number in 0..MESSAGES {
        let sent = message(&mut random);
        let (kind, size) = (sent.kind(), sent.len());
        let failed = |why: String| format!("message {number}, {kind:?} of {size} bytes: {why}");
        send(socket, &sent, &mut random)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let came = receive(socket, &mut random)
            .await
            .map_err(|error| failed(error.to_string()))?;
        if came != (kind, sent.as_bytes().to_vec()) {
            let (kind, bytes) = came;
            return Err(failed(format!("{kind:?} of {} bytes came back", bytes.len())).into());
        }
    }
    Ok(())
}

/// The server's side: sends every message back, cut in its own way.
pub(crate) async fn echo(socket: &mut Socket<impl Stream>, seed: u64) -> Outcome {
    let mut random = Random::new(seed);
    while let Some(message) = socket.recv().await? {
        send(socket, &message, &mut random).await?;
    }
    Ok(())
}

/// A message that is small more often than large, and mostly has something in common with others.
fn message(random: &mut Random) -> Message {
    let magnitude = random.below(21);
    let size = match random.below(4) {
        0 => random.of(&[0, 1, 125, 126, 65_535, 65_536, MEBIBYTE]),
        _ => random.below((1 << magnitude) + 1),
    };
    match random.below(4) {
        0 => noise(random, size).into(),
        1 => vec![b'='; size].into(),
        2 => text(random, size).into_bytes().into(),
        _ => text(random, size).into(),
    }
}

fn noise(random: &mut Random, size: usize) -> Vec<u8> {
    (0..size).map(|_| random.below(256) as u8).collect()
}

/// A text of this many bytes, or up to three less: characters are not cut.
fn text(random: &mut Random, size: usize) -> String {
    const WORDS: [&str; 8] = [
        "{\"id\":", "寿司", "🍣", "Zoë ", "true,", "null}", "\0", " ",
    ];
    let mut text = String::with_capacity(size + 16);
    while text.len() < size {
        match random.below(3) {
            0 => text += &random.below(1 << 20).to_string(),
            _ => text += random.of(&WORDS),
        }
    }
    let end = (0..=size).rev().find(|end| text.is_char_boundary(*end));
    text.truncate(end.unwrap_or_default());
    text
}

/// Sends a message whole, compressed or not, or in fragments, of which some may be empty.
async fn send(
    socket: &mut Socket<impl Stream>,
    message: &Message,
    random: &mut Random,
) -> Result<(), Error> {
    if random.below(3) == 0 {
        let compression = random.of(&[Compression::Auto, Compression::Never]);
        return socket.send_with(message, compression).await;
    }
    let magnitude = random.below(6);
    let mut cuts: Vec<usize> = (0..random.below(1 << magnitude))
        .map(|_| random.below(message.len() + 1))
        .collect();
    cuts.sort_unstable();
    let mut writer = socket.writer(message.kind());
    let mut start = 0;
    for cut in cuts {
        writer.write(&message.as_bytes()[start..cut]).await?;
        start = cut;
    }
    writer.finish(&message.as_bytes()[start..]).await
}

/// Receives a message whole, by frames or by chunks.
async fn receive(
    socket: &mut Socket<impl Stream>,
    random: &mut Random,
) -> Outcome<(Kind, Vec<u8>)> {
    const END: &str = "the end came";
    let mut bytes = Vec::new();
    match random.below(3) {
        0 => {
            let message = socket.recv().await?.ok_or(END)?;
            Ok((message.kind(), message.as_bytes().to_vec()))
        }
        1 => {
            let mut kind = None;
            loop {
                let frame = socket.recv_frame().await?.ok_or(END)?;
                kind = kind.or(frame.opcode.kind());
                bytes.extend_from_slice(&frame.payload);
                if frame.fin {
                    return Ok((kind.ok_or("the first frame continues a message")?, bytes));
                }
            }
        }
        _ => loop {
            let chunk = socket.recv_chunk().await?.ok_or(END)?;
            bytes.extend_from_slice(chunk.payload);
            if chunk.last {
                return Ok((chunk.kind, bytes));
            }
        },
    }
}
