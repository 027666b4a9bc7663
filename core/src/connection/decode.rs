//! Messages that an extension has encoded: from the payloads of their frames to what they hold.
//!
//! The limit of messages is that of what comes out, and holds while it comes out: a few bytes that
//! decode to a great many are stopped at the limit.

use alloc::boxed::Box;

use crate::buffer::BufferPool;
use crate::config::Delivery;
use crate::error::ProtocolError;
use crate::extension::Codings;
use crate::frame::{Kind, OpCode};

use super::lend::{Place, Ready};
use super::link::Link;
use super::reassembly::{Growth, Reassembly};
use super::receive::{Incoming, IncomingMessage, Part, Step};

/// How much of an encoded message is decoded for one chunk, in bytes. DEFLATE makes at most 1,032 bytes
/// of one, so that this bounds what a chunk takes.
pub(super) const ENCODED_CHUNK: usize = 256;

impl Incoming {
    /// Reads a part of a message that an extension has encoded: what it decodes to is put together.
    pub(super) fn decode(
        &mut self,
        part: Part,
        mut open: IncomingMessage,
        opcode: OpCode,
        link: &mut Link,
    ) -> Result<Step, ProtocolError> {
        let piece = self.buffer.front(part.size);
        let settings = link.config.settings();
        let decoder = Decoder {
            kind: open.kind,
            delivery: self.delivery,
            limit: settings.message_limit(self.delivery),
            reassembly: &mut self.reassembly,
            pool: &*settings.buffers,
        };
        decoder.run(piece, part.ends_message(), &mut open, &mut link.codings)?;
        self.buffer.consume(part.size);
        let (kind, first) = (open.kind, open.untouched);
        let last = !self.keep_open(part, open)?;
        let place = Place::Reassembly;
        let size = self.reassembly.as_deref().map_or(0, Reassembly::len);
        Ok(Step::Event(match self.delivery {
            Delivery::Messages if last => Ready::Message { kind, place },
            Delivery::Frames if part.left == 0 => Ready::Frame {
                opcode,
                fin: part.fin,
                place,
            },
            Delivery::Chunks if size > 0 || first || last => Ready::Chunk {
                kind,
                first,
                last,
                place,
            },
            Delivery::Messages | Delivery::Frames | Delivery::Chunks => return Ok(Step::Again),
        }))
    }
}

/// Puts together what a message decodes to.
struct Decoder<'a> {
    kind: Kind,
    delivery: Delivery,
    /// The most that the message may decode to.
    limit: usize,
    reassembly: &'a mut Option<Box<Reassembly>>,
    pool: &'a dyn BufferPool,
}

impl Decoder<'_> {
    fn run(
        self,
        piece: &[u8],
        ends: bool,
        open: &mut IncomingMessage,
        codings: &mut Codings,
    ) -> Result<(), ProtocolError> {
        let whole_messages = self.delivery == Delivery::Messages;
        let only_checked = self.kind == Kind::Text && !whole_messages;
        let kind = if whole_messages {
            self.kind
        } else {
            Kind::Binary
        };
        let reassembly = Reassembly::of(kind, self.reassembly);
        let growth = Growth::within(self.limit);
        let (limit, before, coding_mask) = (self.limit, open.decoded, open.coding_mask);
        let pool = self.pool;
        let mut sink = |decoded: &[u8]| {
            open.decoded = open.decoded.saturating_add(decoded.len());
            if open.decoded > limit {
                return Err(too_big(limit));
            }
            if only_checked {
                open.tail.feed(decoded, |_| {})?;
            }
            Ok(reassembly.push(decoded, &mut open.tail, growth, pool)?)
        };
        let left = limit.saturating_sub(before);
        let decoded = codings.decode(coding_mask, piece, ends, left, &mut sink);
        decoded.map_err(
            |error| match matches!(error, ProtocolError::TooBig { .. }) {
                true => too_big(limit),
                false => error,
            },
        )
    }
}

/// The error of a message that decodes to more than the limit.
const fn too_big(limit: usize) -> ProtocolError {
    ProtocolError::TooBig {
        length: None,
        limit: limit as u64,
    }
}
