//! zlib-rs with nothing around it: no frames, no masks, no check of text.

use std::hint::black_box;
use std::sync::atomic::Ordering;

use crate::json::Rounds;
use crate::zlib::{Compressor, Decompressor};
use crate::{Agreement, Cell, Mock, Operation, Run};

/// What a frame would add to a payload of this size.
const HEADER: usize = 4;

/// `settings` are the level, the level of memory, and what is agreed on.
pub fn prepare(
    cell: &Cell,
    mock: &Mock,
    messages: Vec<String>,
    (level, mem_level, agreement): (i32, i32, Agreement),
) -> Run {
    match cell.operation {
        Operation::Send => {
            let mut compressor = Compressor::new(level, mem_level, agreement);
            let mut messages = Rounds::<String>::of(messages);
            let written = mock.written();
            Box::new(move |count| {
                for _ in 0..count {
                    let payload = compressor.compress(black_box(messages.turn().as_bytes()));
                    let size = black_box(payload).len() + HEADER;
                    written.fetch_add(size as u64, Ordering::Relaxed);
                }
            })
        }
        Operation::Recv => {
            let mut decompressor = Decompressor::new(agreement);
            let mut payloads = mock.payloads();
            Box::new(move |count| {
                for _ in 0..count {
                    black_box(decompressor.inflate(black_box(payloads.turn())));
                }
            })
        }
    }
}
