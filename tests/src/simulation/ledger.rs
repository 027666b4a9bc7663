//! What was sent and what was delivered.
//!
//! A message follows from the seed, its sender and its number, so that nothing has to be kept but how
//! many were sent and how many were delivered.

use std::cell::Cell;
use std::rc::Rc;

use sansock::{Kind, Message};
use sansock_core::Side;

use super::world::World;
use crate::random::Random;

/// What one side has sent, as far as it has, and how much of it the other has got.
#[derive(Debug)]
pub(super) struct Ledger {
    world: Rc<World>,
    sender: Side,
    /// How many messages it is going to send.
    pub(super) planned: usize,
    sent: Cell<usize>,
    delivered: Cell<usize>,
    bytes_sent: Cell<usize>,
    bytes_delivered: Cell<usize>,
    /// The receiver was told the end.
    over: Cell<bool>,
}

impl Ledger {
    pub(super) fn new(world: &Rc<World>, sender: Side, planned: usize) -> Self {
        Self {
            world: world.clone(),
            sender,
            planned,
            sent: Cell::new(0),
            delivered: Cell::new(0),
            bytes_sent: Cell::new(0),
            bytes_delivered: Cell::new(0),
            over: Cell::new(false),
        }
    }

    /// The message of this number.
    pub(super) fn message(&self, number: usize) -> Message {
        let side = u64::from(self.sender == Side::Client);
        let mut random = Random::new(self.world.seed << 20 ^ (number as u64) << 1 ^ side);
        random.below(2);
        let size = match random.below(12) {
            0 => 0,
            1..=6 => random.below(130),
            7..=10 => random.below(3000),
            _ => random.below(20_000),
        };
        match random.below(3) {
            0 => Message::binary(
                (0..size)
                    .map(|_| random.below(256) as u8)
                    .collect::<Vec<_>>(),
            ),
            1 => {
                let byte = random.below(256) as u8;
                Message::binary(vec![byte; size])
            }
            _ => Message::text(text(&mut random, size)),
        }
    }

    /// The next message to send, `None` once all planned were.
    pub(super) fn next(&self) -> Option<Message> {
        (self.sent.get() < self.planned).then(|| self.message(self.sent.get()))
    }

    /// The next message was queued whole.
    pub(super) fn sent(&self) {
        let message = self.message(self.sent.get());
        self.sent.set(self.sent.get() + 1);
        self.bytes_sent.set(self.bytes_sent.get() + message.len());
        self.world.progress();
    }

    /// A message was delivered: it must be the next that was sent.
    pub(super) fn delivered(&self, kind: Kind, payload: &[u8]) {
        let number = self.delivered.get();
        assert!(!self.over.get(), "message {number} after the end");
        assert!(number < self.sent.get(), "message {number} was never sent");
        let message = self.message(number);
        assert_eq!(message.kind(), kind, "kind of message {number}");
        assert!(
            message.as_bytes() == payload,
            "message {number} arrived as another one"
        );
        self.delivered.set(number + 1);
        self.bytes_delivered
            .set(self.bytes_delivered.get() + payload.len());
        self.world.progress();
        let sender = self.sender;
        self.world.note(format_args!(
            "message {number} of {sender:?}, {} bytes",
            payload.len()
        ));
    }

    /// The receiver was told that no more comes.
    pub(super) fn end(&self) {
        self.over.set(true);
        self.world.progress();
    }

    /// Whether all planned messages were delivered.
    pub(super) fn is_complete(&self) -> bool {
        self.delivered.get() == self.planned
    }

    pub(super) fn messages_delivered(&self) -> usize {
        self.delivered.get()
    }

    /// How much was sent and not delivered.
    pub(super) fn bytes_underway(&self) -> usize {
        self.bytes_sent.get() - self.bytes_delivered.get()
    }
}

/// Text of about so many bytes, of characters of all lengths, somewhat repetitive.
fn text(random: &mut Random, size: usize) -> String {
    let words = ["a", "the ", "é", "€uro ", "🥊", "\0", "zwölf "];
    let mut text = String::with_capacity(size + 8);
    while text.len() < size {
        text.push_str(random.of(&words));
    }
    text
}
