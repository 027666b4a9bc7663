//! A peer that is written by hand and wants no good.
//!
//! What it sends before its first malformed frame counts as sent; of what follows, nothing may be
//! delivered.

use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use futures_io::AsyncRead;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use sansock::{Kind, Message};
use sansock_core::Side;
use sansock_core::handshake::accept_value;

use super::faults::Fault;
use super::ledger::Ledger;
use super::network::Wire;
use super::time::sleep;
use super::world::World;
use crate::driver::{parse_frames, peer_of};
use crate::wire::{BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, PeerOf, TEXT};

struct Hostile {
    world: Rc<World>,
    /// Writes as this side.
    write: PeerOf,
    ledger: Rc<Ledger>,
    wire: Wire,
    /// What was read and not looked at.
    unread: Vec<u8>,
    never_reads: bool,
    never_answers: bool,
    has_failed: bool,
}

/// Plays the peer on this side until it leaves.
pub(super) async fn act(world: Rc<World>, side: Side, ledger: Rc<Ledger>, wire: Wire) {
    let never_reads = world.strikes(Fault::NeverReads, 4);
    let never_answers = world.strikes(Fault::NeverAnswers, 3);
    let mut hostile = Hostile {
        write: PeerOf(peer_of(side)),
        world,
        ledger,
        wire,
        unread: Vec::new(),
        never_reads,
        never_answers,
        has_failed: false,
    };
    // Whatever goes wrong, it leaves.
    let _ = hostile.act(side).await;
}

type Result = std::io::Result<()>;

impl Hostile {
    async fn act(&mut self, side: Side) -> Result {
        self.open(side).await?;
        for _ in 0..1 + self.world.below(30) {
            self.do_something().await?;
            self.react().await?;
            if self.world.below(10) == 0 {
                sleep(&self.world, self.world.time_up_to(30_000)).await;
            }
        }
        match self.world.below(3) {
            0 => return Ok(()),
            1 => self.put(&self.write.close(1000, "")).await?,
            _ => {}
        }
        while !self.never_reads {
            self.read().await?;
            self.react().await?;
        }
        sleep(&self.world, self.world.time_up_to(100_000)).await;
        Ok(())
    }

    async fn put(&mut self, bytes: &[u8]) -> Result {
        self.wire.write_all(bytes).await
    }

    async fn open(&mut self, side: Side) -> Result {
        let is_bad = self.world.strikes(Fault::BadHandshake, 5);
        match side {
            Side::Client => {
                let key = if is_bad {
                    "short"
                } else {
                    "dGhlIHNhbXBsZSBub25jZQ=="
                };
                let request = format!(
                    "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
                );
                self.put(request.as_bytes()).await?;
                self.read_head().await?;
            }
            Side::Server => {
                let head = self.read_head().await?;
                let head = String::from_utf8_lossy(&head).into_owned();
                let key = head
                    .lines()
                    .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
                let accept = accept_value(key.unwrap_or_default().as_bytes());
                let accept = if is_bad {
                    "wrong".into()
                } else {
                    String::from_utf8_lossy(&accept)
                };
                let response = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                     Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
                );
                self.put(response.as_bytes()).await?;
            }
        }
        self.has_failed = is_bad;
        Ok(())
    }

    async fn read_head(&mut self) -> std::io::Result<Vec<u8>> {
        loop {
            let end = self
                .unread
                .windows(4)
                .position(|window| window == b"\r\n\r\n");
            if let Some(end) = end {
                return Ok(self.unread.drain(..end + 4).collect());
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> Result {
        let mut buf = [0; 500];
        match self.wire.read(&mut buf).await? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            size => {
                self.unread.extend(&buf[..size]);
                Ok(())
            }
        }
    }

    /// Reads what has arrived, and answers it, or not.
    async fn react(&mut self) -> Result {
        if self.never_reads {
            return Ok(());
        }
        let mut buf = [0; 500];
        while let Some(size) = poll_fn(|cx| {
            let read = Pin::new(&mut self.wire).poll_read(cx, &mut buf);
            Poll::Ready(match read {
                Poll::Ready(size) => Some(size),
                Poll::Pending => None,
            })
        })
        .await
        {
            match size? {
                0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                size => self.unread.extend(&buf[..size]),
            }
        }
        self.answer().await
    }

    async fn answer(&mut self) -> Result {
        let frames = parse_frames(&self.unread);
        let masks = if self.write.0 == Side::Client { 4 } else { 0 };
        for frame in frames {
            let extended = match frame.payload.len() {
                0..126 => 0,
                126..0x1_0000 => 2,
                _ => 8,
            };
            self.unread
                .drain(..2 + extended + masks + frame.payload.len());
            match frame.first {
                PING if !self.never_answers => {
                    self.put(&self.write.pong(&frame.payload)).await?;
                }
                CLOSE if !self.never_answers => {
                    self.put(&self.write.frame(CLOSE, &frame.payload)).await?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn do_something(&mut self) -> Result {
        if self.world.strikes(Fault::BadFrame, 8) {
            let bytes = self.bad_frame();
            return self.fail(&bytes).await;
        }
        if self.world.strikes(Fault::Noise, 10) {
            let mut noise: Vec<u8> = (0..300).map(|_| self.world.below(256) as u8).collect();
            // Nothing that could be taken for a frame.
            noise[0] |= 0x70;
            return self.fail(&noise).await;
        }
        if self.world.strikes(Fault::Unfinished, 12) {
            let frame = self.write.text("never to be finished");
            let part = &frame[..1 + self.world.below(frame.len() - 1)];
            self.fail(part).await?;
            sleep(&self.world, self.world.time_up_to(60_000)).await;
            return Err(std::io::ErrorKind::Other.into());
        }
        if self.world.strikes(Fault::Flood, 8) {
            return self.flood().await;
        }
        if self.world.strikes(Fault::Endless, 8) {
            return self.flood_for_ever().await;
        }
        match self.world.below(6) {
            0 => self.put(&self.write.ping(b"are you there?")).await,
            1 => self.put(&self.write.pong(b"nobody asked")).await,
            _ => self.send_message().await,
        }
    }

    /// Sends what must be the end of everything.
    async fn fail(&mut self, bytes: &[u8]) -> Result {
        self.has_failed = true;
        self.put(bytes).await
    }

    async fn flood(&mut self) -> Result {
        let bytes = match self.world.below(2) {
            0 => self.write.ping(&[b'p'; 125]).repeat(300),
            _ => self.write.pong(b"").repeat(1000),
        };
        self.put(&bytes).await
    }

    /// From now on there is always more to read.
    async fn flood_for_ever(&mut self) -> Result {
        let (write, ledger) = (self.write, self.ledger.clone());
        let way = self
            .world
            .below(if self.has_failed || ledger.plan().as_bytes {
                3
            } else {
                4
            });
        let mut is_first = true;
        self.world.set_poll_time(Duration::from_millis(10));
        self.wire.never_ends(Box::new(move |_| match way {
            0 => write.ping(b"p").repeat(100),
            1 => write.pong(b"").repeat(100),
            2 => {
                let opcode = if std::mem::take(&mut is_first) {
                    BINARY
                } else {
                    CONTINUATION
                };
                let mut frames = write.frame(opcode, b"");
                frames.extend(write.frame(CONTINUATION, b"").repeat(99));
                frames
            }
            _ => {
                let message = ledger.message_to_follow(0);
                ledger.sent(0);
                write.frame(FIN | opcode_of(&message), message.as_bytes())
            }
        }));
        pending().await
    }

    /// Sends a message whole or in fragments, with a ping between them.
    async fn send_message(&mut self) -> Result {
        let Some(message) = self.ledger.next(0) else {
            return Ok(());
        };
        let opcode = opcode_of(&message);
        if !self.has_failed {
            self.ledger.sent(0);
        }
        let payload = message.as_bytes();
        if self.world.below(3) > 0 {
            return self.put(&self.write.frame(FIN | opcode, payload)).await;
        }
        let (start, rest) = payload.split_at(payload.len() / 2);
        let bytes = [
            self.write.frame(opcode, start),
            self.write.ping(b"between"),
            self.write.frame(CONTINUATION, b""),
            self.write.frame(FIN | CONTINUATION, rest),
        ];
        self.put(&bytes.concat()).await
    }

    fn bad_frame(&self) -> Vec<u8> {
        let write = self.write;
        let other = PeerOf(peer_of(write.0));
        // A stream of bytes delivers what is right of the last three.
        let kinds = if self.ledger.plan().as_bytes { 10 } else { 13 };
        match self.world.below(kinds) {
            0 => write.frame(FIN | TEXT | 0x40, b"x"),
            1 => write.frame(FIN | 0x3, b"x"),
            2 => write.frame(0xBF & (FIN | 0xB), b"x"),
            3 => other.text("x"),
            4 => write.frame(PING & !FIN, b""),
            5 => write.frame(PONG, &[0; 126]),
            6 => write.header_of_form(FIN | BINARY, 126, &[0, 1]),
            7 => write.header_of_form(FIN | BINARY, 127, &[0xFF; 8]),
            8 => write.frame(FIN | CONTINUATION, b"x"),
            9 => write.frame(CLOSE, &[3]),
            // Too large for a message. Received in parts, it does not end.
            10 => write.header(FIN | BINARY, 1 << 40),
            11 => write.text_of(b"bad \xFF"),
            _ => [write.frame(TEXT, b"x"), write.text("y")].concat(),
        }
    }
}

const fn opcode_of(message: &Message) -> u8 {
    match message.kind() {
        Kind::Text => TEXT,
        Kind::Binary => BINARY,
    }
}

impl PeerOf {
    fn text_of(self, bytes: &[u8]) -> Vec<u8> {
        self.frame(FIN | TEXT, bytes)
    }
}
