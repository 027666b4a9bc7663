//! Any sequence of commands, feeds and times on one connection, with a peer that does anything.

use std::time::Duration;

use bytes::Buf;
use sansock_core::{Fin, Prepared, Side, State};

use super::input::Input;
use super::reference::{Item, Reference};
use crate::end::{End, config};
use crate::seen::Seen;
use crate::wire::{CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, sent_by};

/// No sequence of steps panics, spins, sends what may not be sent, or says anything after the end; left
/// alone, the connection ends.
pub(super) fn workload(data: &[u8]) {
    let mut input = Input(data);
    let config = config()
        .delivery(input.delivery())
        .max_message_size(1000)
        .max_queued_output(500);
    let mut run = Run {
        end: End::with(input.side(), config),
        output: Vec::new(),
        ended: false,
    };
    while !input.is_empty() {
        run.step(&mut input);
        run.end.mind_the_time();
    }
    run.leave_alone();
    run.judge_output();
}

struct Run {
    end: End,
    output: Vec<u8>,
    /// The last event was given out.
    ended: bool,
}

impl Run {
    fn step(&mut self, input: &mut Input<'_>) {
        let end = &mut self.end;
        let peer = end.peer();
        let fin = |flag| if flag { Fin::Last } else { Fin::More };
        match input.below(24) {
            0 => drop(end.send(input.bytes())),
            1 => drop(end.send_text("text", fin(input.flag()))),
            2 => drop(end.send_text_part(input.bytes(), fin(input.flag()))),
            3 => drop(end.send_continuation(input.bytes(), fin(input.flag()))),
            4 => drop(end.send_ping(input.bytes())),
            5 => drop(end.send_pong(input.bytes())),
            6 => {
                let now = end.now;
                let _ = end.ping(now);
            }
            7 => drop(end.send_close(1000 + u16::from(input.byte()), "bye")),
            8 => drop(end.fail(1000 + u16::from(input.byte()), "no")),
            9 => end.receive(input.bytes()),
            10 => end.receive(&peer.frame(FIN | TEXT, input.bytes())),
            11 => end.receive(&peer.frame(input.byte(), input.bytes())),
            12 => end.receive(&peer.ping(b"?")),
            13 => {
                let number = u32::from(input.byte());
                end.receive(&peer.pong(&number.to_be_bytes()));
            }
            14 => end.receive(&peer.frame(FIN | CONTINUATION, input.bytes())),
            15 => end.receive(&peer.frame(CLOSE, input.bytes())),
            16 => end.end_of_stream(),
            17 => drop(self.take_event()),
            18 => {
                let count = input.below(600);
                let mut data = self.end.data_to_send();
                let size = count.min(data.remaining());
                self.output.extend(data.copy_to_bytes(size));
            }
            19 => self
                .end
                .pass(Duration::from_millis(input.below(30_000) as u64)),
            20 => self.end.io().release_buffers(),
            21 => drop(end.send_binary(input.bytes(), fin(input.flag()))),
            22 => drop(end.send_prepared(&Prepared::new(input.bytes().to_vec()))),
            _ => {
                let delivery = input.delivery();
                let _: bool = self.end.set_delivery(delivery);
            }
        }
    }

    fn take_event(&mut self) -> bool {
        let event = self.end.event();
        assert!(!(self.ended && event.is_some()), "{event:?} after the end");
        self.ended |= matches!(event, Some(Seen::Close(..) | Seen::Failed(_)));
        event.is_some()
    }

    fn leave_alone(&mut self) {
        for _ in 0..30 {
            while self.take_event() {}
            self.output.extend(self.end.output());
            self.end.mind_the_time();
            if self.end.state() == State::Closed {
                assert_eq!(self.end.next_timeout(), None);
                assert!(!self.take_event());
                return;
            }
            self.end.pass_to_timeout();
        }
        panic!("not closed: {:?}", self.end);
    }

    /// Whole frames in which the reference finds no fault, one Close frame, and nothing but pings and pongs
    /// behind it.
    fn judge_output(&self) {
        let side = self.end.side();
        // A connection that gave up has dropped what was left, in the middle of a frame or not.
        let output = whole_frames(&self.output, side == Side::Client);
        let frames = sent_by(side, output);
        let other = match side {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        };
        let items = Reference::new(other, u64::MAX, u32::MAX, output).judge();
        let fault = items.iter().find(|item| matches!(item, Item::Error(_)));
        assert_eq!(fault, None, "in {frames:?}");
        let close = frames.iter().position(|frame| frame.first == CLOSE);
        let behind = close.map_or(&[][..], |close| &frames[close + 1..]);
        let is_control = |first| first == PING || first == PONG;
        assert!(
            behind.iter().all(|frame| is_control(frame.first)),
            "{behind:?}"
        );
    }
}

/// The part of some output that is whole frames.
fn whole_frames(bytes: &[u8], masked: bool) -> &[u8] {
    let mut size = 0;
    while let Some(&[_, second]) = bytes.get(size..).and_then(|rest| rest.first_chunk::<2>()) {
        let (extended, mut length) = match second & 0x7f {
            126 => (2, 0),
            127 => (8, 0),
            length => (0, usize::from(length)),
        };
        for index in 0..extended {
            let byte = bytes.get(size + 2 + index).copied().unwrap_or(0xff);
            length = length << 8 | usize::from(byte);
        }
        let next = size + 2 + extended + if masked { 4 } else { 0 } + length;
        if next > bytes.len() {
            break;
        }
        size = next;
    }
    &bytes[..size]
}
