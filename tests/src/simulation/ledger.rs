//! What was sent and what was delivered.
//!
//! A message follows from the seed, its sender, its lane and its number, so that nothing has to be kept
//! but how many were sent and how many were delivered. A lane is what one task sends: its messages arrive
//! in order, those of several lanes in any order.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

use sansock::{Kind, Message};
use sansock_core::Side;

use super::world::World;
use crate::random::Random;

/// Lanes of one side.
pub(super) const LANES: usize = 4;

/// What one side sends, and how it arrives.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// How many messages each lane is going to send.
    pub(super) planned: [usize; LANES],
    /// The messages are small, and may be many.
    pub(super) are_small: bool,
    /// One side sees a stream of bytes: the boundaries of messages do not count.
    pub(super) as_bytes: bool,
    /// The receiver takes all messages.
    pub(super) is_received: bool,
    /// The receiver reports how many it has not taken.
    pub(super) is_counted: bool,
}

/// What one side has sent, as far as it has, and how much of it the other has got.
#[derive(Debug)]
pub(super) struct Ledger {
    world: Rc<World>,
    sender: Side,
    plan: Plan,
    lanes: RefCell<[Lane; LANES]>,
    /// The bytes of all messages, where boundaries do not count.
    stream: OnceCell<Vec<u8>>,
    bytes_begun: Cell<usize>,
    bytes_delivered: Cell<usize>,
    /// Messages that were discarded, as the receiver reports.
    discarded: Cell<u64>,
    /// How many of those sent may have to wait, and never leave.
    kept: Cell<usize>,
    /// The receiver was told the end.
    over: Cell<bool>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Lane {
    /// Messages that may have left.
    begun: usize,
    /// Messages that were queued whole.
    sent: usize,
    delivered: usize,
}

impl Ledger {
    pub(super) fn new(world: &Rc<World>, sender: Side, plan: Plan) -> Self {
        Self {
            world: world.clone(),
            sender,
            plan,
            lanes: RefCell::default(),
            stream: OnceCell::new(),
            bytes_begun: Cell::new(0),
            bytes_delivered: Cell::new(0),
            discarded: Cell::new(0),
            kept: Cell::new(0),
            over: Cell::new(false),
        }
    }

    pub(super) const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The message of this number.
    pub(super) fn message(&self, lane: usize, number: usize) -> Message {
        let side = u64::from(self.sender == Side::Client);
        let numbers = (lane as u64) << 60 ^ self.world.seed << 24 ^ (number as u64) << 1 ^ side;
        let mut random = Random::new(numbers.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        random.below(2);
        // With several lanes, a message names its lane.
        let has_tag = self
            .plan
            .planned
            .iter()
            .filter(|planned| **planned > 0)
            .count()
            > 1;
        let tag = if has_tag { &"0123"[lane..=lane] } else { "" };
        let size = match random.below(12) {
            0 => 0,
            1..=6 => random.below(130),
            _ if self.plan.are_small => random.below(30),
            7..=10 => random.below(3000),
            _ => random.below(20_000),
        };
        let bytes = |payload: Vec<u8>| Message::binary([tag.as_bytes(), &payload].concat());
        match random.below(3) {
            0 => bytes((0..size).map(|_| random.below(256) as u8).collect()),
            1 => bytes(vec![random.below(256) as u8; size]),
            _ if self.plan.as_bytes => bytes(text(&mut random, size).into_bytes()),
            _ => Message::text(tag.to_owned() + &text(&mut random, size)),
        }
    }

    /// The message that follows those that were sent, though it may not be planned.
    pub(super) fn message_to_follow(&self, lane: usize) -> Message {
        let sent = self.lanes.borrow()[lane].sent;
        self.message(lane, sent)
    }

    /// The next message to send, `None` once all planned were.
    pub(super) fn next(&self, lane: usize) -> Option<Message> {
        let sent = self.lanes.borrow()[lane].sent;
        (sent < self.plan.planned[lane]).then(|| self.message(lane, sent))
    }

    /// The next message may leave from now on.
    pub(super) fn begin(&self, lane: usize) {
        let mut lanes = self.lanes.borrow_mut();
        let Lane { begun, sent, .. } = &mut lanes[lane];
        if begun == sent {
            let message = self.world.uncounted(|| self.message(lane, *sent));
            self.bytes_begun.set(self.bytes_begun.get() + message.len());
            *begun += 1;
        }
    }

    /// The next message was queued whole.
    pub(super) fn sent(&self, lane: usize) {
        self.begin(lane);
        self.lanes.borrow_mut()[lane].sent += 1;
        self.world.progress();
    }

    /// One of the messages that were sent may have to wait, and never leave.
    pub(super) fn keep(&self) {
        self.kept.set(self.kept.get() + 1);
    }

    /// One of those that had to wait has left.
    pub(super) fn let_go(&self) {
        self.kept.set(self.kept.get() - 1);
    }

    /// A message was delivered: it must be the next of a lane.
    pub(super) fn delivered(&self, kind: Kind, payload: &[u8]) {
        assert!(!self.over.get(), "a message after the end");
        self.world.uncounted(|| match self.plan.as_bytes {
            true => {
                assert_eq!(kind, Kind::Binary);
                self.deliver_bytes(payload);
            }
            false => self.deliver(kind, payload),
        });
        self.bytes_delivered
            .set(self.bytes_delivered.get() + payload.len());
        self.world.progress();
    }

    fn deliver(&self, kind: Kind, payload: &[u8]) {
        let lane = (0..LANES).find(|lane| {
            let Lane {
                begun, delivered, ..
            } = self.lanes.borrow()[*lane];
            let is_next =
                |message: &Message| message.kind() == kind && message.as_bytes() == payload;
            delivered < begun && is_next(&self.message(*lane, delivered))
        });
        let (sender, size) = (self.sender, payload.len());
        let lane = lane.unwrap_or_else(|| {
            panic!(
                "a {kind:?} of {size} bytes is none that {sender:?} has sent next: {:?}",
                self.lanes.borrow()
            )
        });
        let number = self.lanes.borrow()[lane].delivered;
        self.lanes.borrow_mut()[lane].delivered += 1;
        self.world.note(format_args!(
            "message {number} of {sender:?}, lane {lane}, {size} bytes"
        ));
    }

    /// Bytes were delivered: they must be those that follow.
    pub(super) fn delivered_bytes(&self, bytes: &[u8]) {
        self.delivered(Kind::Binary, bytes);
    }

    fn deliver_bytes(&self, bytes: &[u8]) {
        let start = self.bytes_delivered.get();
        let end = start + bytes.len();
        assert!(end <= self.bytes_begun.get(), "bytes that were never sent");
        assert!(self.stream()[start..end] == *bytes, "other bytes");
        let sender = self.sender;
        self.world
            .note(format_args!("bytes {start}..{end} of {sender:?}"));
    }

    fn stream(&self) -> &[u8] {
        self.stream.get_or_init(|| {
            let messages = (0..self.plan.planned[0]).map(|number| self.message(0, number));
            messages
                .flat_map(|message| message.as_bytes().to_vec())
                .collect()
        })
    }

    /// The receiver was told that no more comes.
    pub(super) fn end(&self) {
        self.over.set(true);
        self.world.progress();
    }

    /// The receiver reports that messages were discarded.
    pub(super) fn discarded(&self, messages: u64) {
        self.discarded.set(messages);
    }

    /// Whether all planned messages were delivered.
    pub(super) fn is_complete(&self) -> bool {
        match self.plan.as_bytes {
            true => self.bytes_delivered.get() == self.world.uncounted(|| self.stream().len()),
            false => self.messages_delivered() == self.plan.planned.iter().sum(),
        }
    }

    /// Whether every message that has left was delivered, or was reported to be discarded. One that
    /// may have left does not count.
    pub(super) fn is_accounted_for(&self) -> bool {
        let lanes = self.lanes.borrow();
        let begun: usize = lanes.iter().map(|lane| lane.begun).sum();
        let sent: usize = lanes.iter().map(|lane| lane.sent).sum();
        let arrived = self.messages_delivered() as u64 + self.discarded.get();
        let least = sent.saturating_sub(self.kept.get());
        (least as u64..=begun as u64).contains(&arrived)
    }

    /// Whether all planned messages were queued.
    pub(super) fn is_sent(&self) -> bool {
        let lanes = self.lanes.borrow();
        let planned = self.plan.planned.iter();
        lanes
            .iter()
            .zip(planned)
            .all(|(lane, planned)| lane.sent == *planned)
    }

    pub(super) fn messages_delivered(&self) -> usize {
        let lanes = self.lanes.borrow();
        lanes.iter().map(|lane| lane.delivered).sum()
    }

    /// How much may have left and was not delivered: bytes, and messages.
    pub(super) fn underway(&self) -> (usize, usize) {
        let lanes = self.lanes.borrow();
        let begun: usize = lanes.iter().map(|lane| lane.begun).sum();
        let delivered: usize = lanes.iter().map(|lane| lane.delivered).sum();
        let bytes = self.bytes_begun.get() - self.bytes_delivered.get();
        (bytes, begun - delivered)
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
