//! Two connections of ours against each other, with bytes that pass in any portions.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Buf;
use sansock_core::deflate::Deflate;
use sansock_core::{Fin, State};

use super::input::Input;
use crate::deflate::connection;
use crate::end::{End, SIDES, config};
use crate::seen::Seen;

/// What either side sends arrives at the other, whole, in order, and once.
pub(super) fn pair(data: &[u8]) {
    let mut input = Input(data);
    let answer = [
        "",
        "permessage-deflate",
        "permessage-deflate; server_max_window_bits=9",
        "permessage-deflate; client_max_window_bits=10; client_no_context_takeover",
        "permessage-deflate; server_no_context_takeover",
    ];
    let answer = answer[input.below(5)];
    let make = |side| {
        let config = config()
            .max_message_size(1 << 20)
            .ping_interval(None)
            .close_timeout(None)
            .write_timeout(None);
        let end = match answer {
            "" => End::with(side, config),
            answer => End::of(connection(side, answer, config.deflate(Deflate::new()))),
        };
        Half {
            end,
            underway: VecDeque::new(),
            expected: VecDeque::new(),
            part: None,
            opened: None,
            ended: false,
        }
    };
    let mut halves = SIDES.map(make);
    while !input.is_empty() {
        let which = usize::from(input.flag());
        step(&mut halves, which, &mut input);
    }
    finish(&mut halves);
}

struct Half {
    end: End,
    /// Bytes on the way from this side.
    underway: VecDeque<u8>,
    /// Messages that this side has still to get.
    expected: VecDeque<Seen>,
    /// The part of a message that it has got.
    part: Option<Vec<u8>>,
    /// What this side has sent of a message in fragments.
    opened: Option<Vec<u8>>,
    ended: bool,
}

fn step(halves: &mut [Half; 2], which: usize, input: &mut Input<'_>) {
    let [client, server] = halves;
    let (near, far) = if which == 0 {
        (client, server)
    } else {
        (server, client)
    };
    match input.below(12) {
        0 => {
            let message = input.bytes();
            if near.end.send(message).is_ok() {
                far.expected.push_back(Seen::Binary(message.to_vec()));
            }
        }
        1 => {
            let message = "text ".repeat(input.below(300));
            if near.end.send(&message).is_ok() {
                far.expected.push_back(Seen::Text(message));
            }
        }
        2 => near.send_part(far, input.bytes(), input.flag()),
        3 => drop(near.end.send_ping(b"?")),
        4 => {
            let delivery = input.delivery();
            let _: bool = near.part.is_none() && near.end.set_delivery(delivery);
        }
        5 if input.below(8) == 0 => drop(near.end.send_close(1000, "")),
        6 => near.end.io().release_buffers(),
        7 => {
            let time = Duration::from_millis(input.below(2000) as u64);
            near.end.pass(time);
            far.end.pass(time);
        }
        8 => drop(near.take_event()),
        _ => {
            near.write(input.below(3000));
            far.read(near, input.below(3000));
        }
    }
}

impl Half {
    fn send_part(&mut self, far: &mut Self, part: &[u8], last: bool) {
        let fin = if last { Fin::Last } else { Fin::More };
        let sent = match &self.opened {
            None => self.end.send_binary(part, fin),
            Some(_) => self.end.send_continuation(part, fin),
        };
        if sent.is_err() {
            return;
        }
        let mut message = self.opened.take().unwrap_or_default();
        message.extend(part);
        match last {
            true => far.expected.push_back(Seen::Binary(message)),
            false => self.opened = Some(message),
        }
    }

    /// Puts no more than so much of the output on its way.
    fn write(&mut self, most: usize) {
        let mut data = self.end.data_to_send();
        let size = most.min(data.remaining());
        self.underway.extend(data.copy_to_bytes(size));
    }

    /// Receives no more than so much of what is on its way.
    fn read(&mut self, from: &mut Self, most: usize) {
        let size = most.min(from.underway.len());
        let bytes: Vec<u8> = from.underway.drain(..size).collect();
        self.end.receive(&bytes);
    }

    fn take_all(&mut self) {
        while self.take_event() {}
    }

    /// Takes an event; a message must be the next that was sent. Returns whether there was one.
    fn take_event(&mut self) -> bool {
        let Some(event) = self.end.event() else {
            return false;
        };
        assert!(!self.ended, "{event:?} after the end");
        let message = match event {
            Seen::Ping(_) | Seen::Pong(_) => return true,
            Seen::Close(..) => {
                self.ended = true;
                return true;
            }
            Seen::Frame(opcode, fin, payload) => {
                let is_first = opcode.number() != 0;
                assert_eq!(is_first, self.part.is_none());
                self.add(&payload, fin)
            }
            Seen::Chunk {
                first,
                last,
                payload,
                ..
            } => {
                assert_eq!(first, self.part.is_none());
                self.add(&payload, last)
            }
            Seen::Text(text) => Some(text.into_bytes()),
            Seen::Binary(bytes) => Some(bytes),
            Seen::Failed(_) | Seen::Request(_) | Seen::Response(_) => panic!("{event:?}"),
        };
        if let Some(message) = message {
            let expected = self.expected.pop_front().expect("a message that was sent");
            assert!(expected.payload() == Some(&message), "another message");
        }
        true
    }

    fn add(&mut self, payload: &[u8], last: bool) -> Option<Vec<u8>> {
        self.part.get_or_insert_default().extend(payload);
        if last { self.part.take() } else { None }
    }
}

/// Closes, where that was not done, and lets everything arrive.
fn finish(halves: &mut [Half; 2]) {
    if halves.iter().all(|half| half.end.state() == State::Open) {
        halves[0].end.send_close(1000, "").expect("an open end");
    }
    for _ in 0..10 {
        for which in [0, 1] {
            let [client, server] = &mut *halves;
            let (near, far) = match which {
                0 => (client, server),
                _ => (server, client),
            };
            near.write(usize::MAX);
            far.read(near, usize::MAX);
            far.take_all();
        }
    }
    for half in halves {
        let (side, left) = (half.end.side(), half.expected.len());
        assert!(
            half.ended && left == 0,
            "{side:?} still expects {left} messages"
        );
    }
}
