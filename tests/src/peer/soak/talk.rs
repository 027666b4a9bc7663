//! Messages to be sent back, and what they are compared with.

use sansock::Message;
use sansock::smol::WebSocket;

use crate::peer::{Outcome, check};
use crate::random::Random;

const WORDS: [&str; 8] = [
    "{\"id\":", "寿司", "🍣", "Zoë ", "true,", "null}", "\0", " ",
];

/// Sends one, which must come back.
pub(super) async fn exchange(ws: &mut WebSocket, random: &mut Random) -> Outcome {
    let sent = message(random);
    ws.send(&sent).await?;
    let came = ws.recv().await?;
    check(came.as_ref() == Some(&sent), || {
        let of = |message: &Message| format!("{:?} of {} bytes", message.kind(), message.len());
        let came = came.as_ref().map_or("the end".into(), of);
        format!("{came} came back for {}", of(&sent))
    })
}

/// Mostly a small one.
pub(super) fn message(random: &mut Random) -> Message {
    let most = random.of(&[16, 128, 128, 1024, 1024, 4096, 4096, 65_536]);
    let size = random.below(most + 1);
    match random.below(3) {
        0 => noise(random, size).into(),
        _ => text(random, size).into(),
    }
}

fn noise(random: &mut Random, size: usize) -> Vec<u8> {
    (0..size).map(|_| random.below(256) as u8).collect()
}

fn text(random: &mut Random, size: usize) -> String {
    let mut text = String::with_capacity(size + 16);
    while text.len() < size {
        text += random.of(&WORDS);
        text += &random.below(1000).to_string();
    }
    text
}
