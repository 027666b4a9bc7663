//! From the parts of a message to the message.
//!
//! A message begins to arrive in the delivery of that time, often while the application only sends. Until a
//! part of it is taken, it can still be received whole.

use crate::config::{Delivery, Settings};
use crate::error::{Failure, ProtocolError};
use crate::frame::Kind;
use crate::frame::utf8::Utf8Tail;

use super::lend::{Place, Ready};
use super::link::Link;
use super::reassembly::{Growth, Reassembly};
use super::receive::Incoming;

/// The first part of a message, and all that has arrived of it.
#[derive(Debug, Clone, Copy)]
struct FirstPart {
    kind: Kind,
    is_last: bool,
    place: Place,
}

impl Incoming {
    /// Changes the delivery. Returns whether that was possible: not inside a message, other than to whole
    /// messages while no part of this one was taken.
    pub(super) fn set_delivery(&mut self, delivery: Delivery, link: &mut Link) -> bool {
        let is_inside = self.open.is_some() || self.is_data_ready();
        if is_inside && self.delivery != delivery {
            let first = match delivery {
                Delivery::Messages => self.first_part(),
                Delivery::Frames | Delivery::Chunks => None,
            };
            let Some(first) = first else {
                return false;
            };
            self.gather(first, link);
        }
        self.delivery = delivery;
        true
    }

    /// Returns what has arrived of a message in parts, if no part of it was taken.
    fn first_part(&self) -> Option<FirstPart> {
        match self.ready {
            Some(Ready::Frame { opcode, fin, place }) => Some(FirstPart {
                // A continuation has none.
                kind: opcode.kind()?,
                is_last: fin,
                place,
            }),
            Some(Ready::Chunk {
                kind,
                first,
                last,
                place,
            }) => first.then_some(FirstPart {
                kind,
                is_last: last,
                place,
            }),
            // A frame that is not complete.
            _ => self
                .open
                .filter(|open| !open.is_part_taken)
                .map(|open| FirstPart {
                    kind: open.kind,
                    is_last: false,
                    place: Place::Reassembly,
                }),
        }
    }

    /// Turns what has arrived of a message in parts into the message, or the start of it.
    fn gather(&mut self, first: FirstPart, link: &mut Link) {
        if self.is_data_ready() {
            let (kind, place) = (first.kind, first.place);
            self.ready = first.is_last.then_some(Ready::Message { kind, place });
        }
        if let Err(error) = self.put_together(first, link.settings()) {
            self.ready = None;
            link.fail(Failure::Protocol(error));
        }
    }

    /// Moves the first part to where messages are put together, unless it is all and lies in one piece.
    fn put_together(&mut self, first: FirstPart, settings: &Settings) -> Result<(), ProtocolError> {
        self.check_size(first.place, settings)?;
        let growth = Growth::within(settings.message_limit(Delivery::Messages));
        let pool = &*settings.buffers;
        let mut tail = Utf8Tail::default();
        match (first.place, first.kind) {
            (Place::Read(_), _) if first.is_last => {}
            (Place::Read(size), kind) => {
                let message = Reassembly::of(kind, &mut self.reassembly);
                message.push(self.buffer.front(size), &mut tail, growth, pool)?;
                self.buffer.consume(size);
            }
            (Place::Reassembly, Kind::Binary) => {}
            (Place::Reassembly, Kind::Text) => {
                // Parts of a text are held as bytes.
                if let Some(mut parts) = self.reassembly.take() {
                    let message = Reassembly::of(Kind::Text, &mut self.reassembly);
                    message.push(parts.whole(pool).as_bytes(), &mut tail, growth, pool)?;
                    parts.release(pool);
                }
            }
        }
        if let Some(open) = &mut self.open {
            open.tail = tail;
        }
        Ok(())
    }

    /// Checks the limits of messages and frames, which do not hold for chunks.
    fn check_size(&self, place: Place, settings: &Settings) -> Result<(), ProtocolError> {
        let plain = self.open.filter(|open| open.coding_mask.is_empty());
        let (size, limit) = match (plain, place) {
            // Of its frame, all that was announced.
            (Some(open), _) => (open.size, settings.frame_limit(Delivery::Messages, 0)),
            (None, Place::Read(size)) => (size as u64, settings.frame_limit(Delivery::Messages, 0)),
            // What it was decoded to.
            (None, Place::Reassembly) => {
                let decoded = self.reassembly.as_deref().map_or(0, Reassembly::len);
                (
                    decoded as u64,
                    settings.message_limit(Delivery::Messages) as u64,
                )
            }
        };
        match size > limit {
            true => Err(settings.too_big(size, 0)),
            false => Ok(()),
        }
    }
}
