//! From bytes to events (RFC 6455 sections 5.4 to 5.6 and 8.1).
//!
//! ```text
//! read buffer ── header ──▶ frame ── payload ──▶ lent from the read buffer   a message in one piece
//!                                        └─────▶ reassembly ──▶ lent from it   everything else
//! ```
//!
//! Parsing is lazy: it stops as soon as an event is ready, and what was not parsed stays in the read
//! buffer. A payload is unmasked where it lies, and its text checked, as it arrives. What must wait
//! for more grows with what has arrived, never with what a header declares. What is missing of a large binary
//! frame is read to its place in the reassembly (`direct_read`), without a stop in the read buffer.

use alloc::boxed::Box;
use alloc::sync::Arc;

use crate::buffer::{Buffer, BufferPool};
use crate::config::{Delivery, Settings};
use crate::error::{Failure, ProtocolError};
use crate::extension::CodingMask;
use crate::frame::utf8::{self, Utf8Tail};
use crate::frame::{
    CloseCode, CloseFrame, Header, HeaderError, HeaderRules, Kind, OpCode, SingleFrame, mask,
};

use super::decode::ENCODED_CHUNK;
use super::lend::{Place, Ready};
use super::link::Link;
use super::reassembly::{Growth, Reassembly};
#[cfg(feature = "tracing")]
use super::trace::Shown;

/// A frame whose payload has not been read to its end.
#[derive(Debug, Clone, Copy)]
struct IncomingFrame {
    opcode: OpCode,
    fin: bool,
    /// Bytes of the payload that have not been processed.
    left: u64,
    /// As it applies to the next byte.
    masking_key: [u8; 4],
    /// Whether no byte of the payload was given out.
    untouched: bool,
}

/// From so many bytes on that are missing of a binary frame, they are read to their place.
const DIRECT_READ_MIN: u64 = 32 << 10;

/// A data message that has begun.
#[derive(Debug, Clone, Copy)]
pub(super) struct IncomingMessage {
    pub(super) kind: Kind,
    /// Bytes of its frames so far, those of the frame that is being read included.
    pub(super) size: u64,
    pub(super) tail: Utf8Tail,
    empty_fragments: u32,
    /// Whether nothing of it was parsed.
    pub(super) untouched: bool,
    /// Whether a part of it was taken by the application.
    pub(super) is_part_taken: bool,
    /// The extensions that have encoded it.
    pub(super) coding_mask: CodingMask,
    /// Bytes that it was decoded to so far.
    pub(super) decoded: usize,
}

/// What a step of the parser came to.
pub(super) enum Step {
    Event(Ready),
    Again,
    NeedsInput,
}

/// What was received and has not been given out.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) buffer: Buffer,
    pub(super) delivery: Delivery,
    frame: Option<IncomingFrame>,
    pub(super) open: Option<IncomingMessage>,
    pub(super) reassembly: Option<Box<Reassembly>>,
    pub(super) ready: Option<Ready>,
    /// What the last event lent.
    pub(super) lent: Option<Place>,
    /// The stream ended behind what is in the buffer.
    pub(super) eof: bool,
    /// The last event was given out.
    pub(super) terminal_event_sent: bool,
}

impl Incoming {
    pub(super) const fn new(delivery: Delivery) -> Self {
        Self {
            buffer: Buffer::EMPTY,
            delivery,
            frame: None,
            open: None,
            reassembly: None,
            ready: None,
            lent: None,
            eof: false,
            terminal_event_sent: false,
        }
    }

    pub(super) const fn delivery(&self) -> Delivery {
        self.delivery
    }

    /// Whether neither a frame nor a message is incomplete.
    pub(super) const fn is_between_messages(&self) -> bool {
        self.frame.is_none() && self.open.is_none()
    }

    /// Whether the event that is ready is a message, or a part of one.
    pub(super) const fn is_data_ready(&self) -> bool {
        match &self.ready {
            Some(ready) => ready.is_data(),
            None => false,
        }
    }

    /// Whether an event is ready, and was not given out.
    pub(super) const fn is_ready(&self) -> bool {
        self.ready.is_some()
    }

    /// Returns how much of a message has arrived that is not complete: bytes of its payload, as they are on
    /// the wire.
    #[inline]
    pub(super) fn arrived(&self) -> Option<u64> {
        let open = self.open.as_ref()?;
        let frame = self.frame.filter(|frame| !frame.opcode.is_control());
        let left = frame.map_or(0, |frame| frame.left);
        Some(open.size.saturating_sub(left))
    }

    /// Returns room to read into.
    #[inline(always)]
    pub(super) fn room(&mut self, settings: &Settings) -> &mut [u8] {
        if self.ready.is_none() {
            self.reclaim();
        }
        match self.frame.is_some() && self.reads_directly() {
            true => self.direct_room(settings),
            false => self.buffer.room(&settings.buffers),
        }
    }

    /// Whether the rest of a frame is read to its place, as nothing else can come before that.
    #[cold]
    fn reads_directly(&self) -> bool {
        let plain =
            |open: IncomingMessage| open.kind == Kind::Binary && open.coding_mask.is_empty();
        let large = |frame: IncomingFrame| frame.left >= DIRECT_READ_MIN && !frame.untouched;
        self.buffer.is_empty()
            && self.delivery == Delivery::Messages
            && self.reassembly.is_some()
            && self.frame.is_some_and(large)
            && self.open.is_some_and(plain)
    }

    #[cold]
    fn direct_room(&mut self, settings: &Settings) -> &mut [u8] {
        let (Some(frame), Some(reassembly)) = (&self.frame, &mut self.reassembly) else {
            return &mut [];
        };
        self.buffer.release(&settings.buffers);
        let part = Part {
            size: 0,
            left: frame.left,
            fin: frame.fin,
            whole_frame: false,
        };
        let limit = settings.message_limit(Delivery::Messages);
        let growth = part.growth(reassembly.len(), limit);
        reassembly.room(growth, &*settings.buffers)
    }

    /// Takes what was read to its place. Returns how many bytes that were.
    #[cold]
    fn received_directly(&mut self, count: usize) -> usize {
        let (Some(frame), Some(reassembly)) = (&mut self.frame, &mut self.reassembly) else {
            return 0;
        };
        let left = usize::try_from(frame.left).unwrap_or(usize::MAX);
        let payload = reassembly.commit(count.min(left));
        let added = payload.len();
        frame.masking_key = mask::apply(payload, frame.masking_key);
        frame.left = frame.left.saturating_sub(added as u64);
        if frame.left > 0 {
            return added;
        }
        if frame.fin {
            self.open = None;
            self.ready = Some(Ready::Message {
                kind: Kind::Binary,
                place: Place::Reassembly,
            });
        }
        self.frame = None;
        added
    }

    /// Takes what was read. Where nothing is read any more, it is dropped.
    #[inline(always)]
    pub(super) fn received(&mut self, count: usize, link: &mut Link) {
        if self.eof {
            return;
        }
        let added = match self.frame.is_some() && self.reads_directly() && !link.phase.discards() {
            true => self.received_directly(count),
            false => self.buffer.commit(count),
        };
        let counted = &mut link.counters.bytes_received;
        *counted = counted.saturating_add(added as u64);
        if link.phase.discards() && self.ready.is_none() {
            self.buffer.clear();
        }
    }

    /// Parses until an event is ready. Returns whether one is.
    #[inline(always)]
    pub(super) fn advance(&mut self, link: &mut Link) -> bool {
        if self.ready.is_some() {
            return true;
        }
        self.reclaim();
        if self.buffer.is_empty() && !self.eof && link.phase.reads_frames() {
            return false;
        }
        self.read_whole(link) || self.read_on(link)
    }

    /// Reads a message in one frame that has arrived whole: what is most common, and leaves nothing to
    /// be remembered. Whatever else lies there is left to [`read_on`](Self::read_on).
    #[inline(always)]
    fn read_whole(&mut self, link: &mut Link) -> bool {
        if !self.is_between_messages()
            || self.delivery != Delivery::Messages
            || !link.reads_plain_frames()
        {
            return false;
        }
        let Some(whole) = SingleFrame::find(self.buffer.filled_mut(), link.side) else {
            return false;
        };
        let (kind, header, size) = (whole.kind, whole.size, whole.payload.len());
        if size as u64 > link.settings().frame_limit(Delivery::Messages, 0) {
            return false;
        }
        mask::apply(whole.payload, whole.masking_key);
        #[cfg(feature = "tracing")]
        link.trace_received(Shown::whole(kind.into(), true, false, whole.payload));
        self.buffer.consume(header);
        link.counters.frames_received = link.counters.frames_received.saturating_add(1);
        let place = Place::Read(size);
        self.ready = Some(Ready::Message { kind, place });
        true
    }

    /// Reads whatever arrives, piece by piece.
    #[inline(never)]
    fn read_on(&mut self, link: &mut Link) -> bool {
        while link.phase.reads_frames() {
            match self.step(link) {
                Ok(Step::Event(ready)) => {
                    self.ready = Some(ready);
                    return true;
                }
                Ok(Step::Again) => {}
                Ok(Step::NeedsInput) if self.eof => link.eof(),
                Ok(Step::NeedsInput) => return false,
                Err(error) => link.fail(Failure::Protocol(error)),
            }
        }
        self.finish(link)
    }

    /// Gives back what is not needed while nothing arrives.
    pub(super) fn release(&mut self, pool: &Arc<dyn BufferPool>) {
        self.reclaim();
        self.buffer.release(pool);
        if self.open.is_none() && self.ready.is_none() {
            if let Some(reassembly) = self.reassembly.take() {
                reassembly.release(&**pool);
            }
        }
    }

    /// Takes back what the last event lent.
    #[inline(always)]
    fn reclaim(&mut self) {
        match self.lent.take() {
            None => {}
            Some(Place::Read(size)) => self.buffer.consume(size),
            Some(Place::Reassembly) => {
                if let Some(reassembly) = &mut self.reassembly {
                    reassembly.clear();
                }
            }
        }
    }

    /// Nothing more is read: drops what there is, and tells of a failure once.
    #[cold]
    fn finish(&mut self, link: &mut Link) -> bool {
        if !link.phase.discards() {
            return false;
        }
        self.buffer.clear();
        self.frame = None;
        self.open = None;
        self.reassembly = None;
        self.end_if_discarded(link);
        if !self.terminal_event_sent && link.failure().is_some() {
            self.terminal_event_sent = true;
            self.ready = Some(Ready::Failed);
        }
        self.ready.is_some()
    }

    /// Ends the connection with the peer's stream, if nothing is read any more.
    pub(super) fn end_if_discarded(&self, link: &mut Link) {
        if self.eof && link.phase.discards() && !link.phase.is_ended() {
            link.eof();
        }
    }

    #[inline]
    fn step(&mut self, link: &mut Link) -> Result<Step, ProtocolError> {
        let frame = match self.frame {
            Some(frame) => frame,
            None => {
                let Some(header) = self.read_header(link)? else {
                    return Ok(Step::NeedsInput);
                };
                self.begin(header, link)?
            }
        };
        if frame.opcode.is_control() {
            self.control(frame, link)
        } else {
            self.data(frame, link)
        }
    }

    #[inline]
    fn read_header(&mut self, link: &mut Link) -> Result<Option<Header>, ProtocolError> {
        let (before, encoded) = match &self.open {
            Some(open) if open.coding_mask.is_empty() => (open.size, false),
            // The limit is that of what comes out.
            Some(open) => (open.decoded as u64, true),
            None => (0, false),
        };
        let rules = HeaderRules {
            side: link.side,
            in_message: self.open.is_some(),
            claimed: link.codings.claims(),
            encoded,
            limit: link.settings().frame_limit(self.delivery, before),
        };
        let header = match Header::read(self.buffer.filled(), rules) {
            Ok(Some(header)) => header,
            Ok(None) => return Ok(None),
            Err(HeaderError::TooBig { length, .. }) => {
                return Err(link.settings().too_big(length, before));
            }
            Err(error) => return Err(error.into()),
        };
        self.buffer.consume(header.size);
        link.counters.frames_received = link.counters.frames_received.saturating_add(1);
        Ok(Some(header))
    }

    /// Begins to read a frame.
    fn begin(&mut self, header: Header, link: &mut Link) -> Result<IncomingFrame, ProtocolError> {
        let frame = IncomingFrame {
            opcode: header.opcode,
            fin: header.fin,
            left: header.payload_length,
            masking_key: header.masking_key,
            untouched: true,
        };
        if !header.opcode.is_control() {
            self.begin_data(header, link)?;
        }
        self.frame = Some(frame);
        Ok(frame)
    }

    /// Takes a data frame into account: it opens its message or continues it.
    fn begin_data(&mut self, header: Header, link: &mut Link) -> Result<(), ProtocolError> {
        let open = self.open.get_or_insert_with(|| IncomingMessage {
            kind: header.opcode.kind().unwrap_or(Kind::Binary),
            size: 0,
            tail: Utf8Tail::default(),
            empty_fragments: 0,
            untouched: true,
            is_part_taken: false,
            coding_mask: CodingMask::default(),
            decoded: 0,
        });
        if header.opcode != OpCode::Continuation {
            link.keepalive.stop_measuring();
            if !link.codings.is_empty() {
                open.coding_mask = link.codings.decode_begin(header.reserved);
                link.use_codings();
            }
        }
        open.size = open.size.saturating_add(header.payload_length);
        if header.payload_length > 0 || header.fin {
            open.empty_fragments = 0;
            return Ok(());
        }
        open.empty_fragments = open.empty_fragments.saturating_add(1);
        match link.settings().max_empty_fragments {
            Some(budget) if open.empty_fragments > budget => {
                Err(ProtocolError::TooManyEmptyFragments)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Reads a control frame, which is never in parts.
    fn control(&mut self, frame: IncomingFrame, link: &mut Link) -> Result<Step, ProtocolError> {
        let size = usize::try_from(frame.left).unwrap_or(usize::MAX);
        if self.buffer.len() < size {
            return Ok(Step::NeedsInput);
        }
        let payload = self.buffer.filled_mut().get_mut(..size).unwrap_or_default();
        mask::apply(payload, frame.masking_key);
        #[cfg(feature = "tracing")]
        link.trace_received(Shown::whole(frame.opcode, true, false, payload));
        self.frame = None;
        Ok(Step::Event(match frame.opcode {
            OpCode::Ping => {
                link.answer_ping(payload);
                Ready::Ping { size }
            }
            OpCode::Pong => Ready::Pong {
                size,
                matched: link.pong_received(payload),
            },
            OpCode::Close | OpCode::Continuation | OpCode::Text | OpCode::Binary => {
                let received = read_close(payload)?;
                link.close_received(received);
                self.terminal_event_sent = true;
                Ready::Close
            }
        }))
    }

    /// Reads what has arrived of a data frame.
    #[inline]
    fn data(&mut self, frame: IncomingFrame, link: &mut Link) -> Result<Step, ProtocolError> {
        let encoded = self.open.is_some_and(|open| !open.coding_mask.is_empty());
        let arrived = match self.delivery {
            Delivery::Chunks if encoded => self.buffer.len().min(ENCODED_CHUNK),
            Delivery::Messages | Delivery::Frames | Delivery::Chunks => self.buffer.len(),
        };
        let size = usize::try_from(frame.left).map_or(arrived, |left| left.min(arrived));
        if size == 0 && frame.left > 0 {
            return Ok(Step::NeedsInput);
        }
        let left = frame.left.saturating_sub(size as u64);
        let payload = self.buffer.filled_mut().get_mut(..size).unwrap_or_default();
        let masking_key = mask::apply(payload, frame.masking_key);
        #[cfg(feature = "tracing")]
        if frame.untouched {
            link.trace_received(Shown {
                opcode: frame.opcode,
                fin: frame.fin,
                encoded,
                payload,
                length: frame.left,
            });
        }
        self.frame = (left > 0).then_some(IncomingFrame {
            left,
            masking_key,
            untouched: false,
            ..frame
        });
        let Some(open) = self.open.take() else {
            return Ok(Step::Again);
        };
        let part = Part {
            size,
            left,
            fin: frame.fin,
            whole_frame: left == 0 && frame.untouched,
        };
        if encoded {
            return self.decode(part, open, frame.opcode, link);
        }
        let settings = link.settings();
        match self.delivery {
            Delivery::Messages if part.ends_message() && part.whole_frame && open.untouched => {
                Ok(Step::Event(Ready::Message {
                    kind: open.kind,
                    place: Place::Read(size),
                }))
            }
            Delivery::Messages => self.assemble_message(part, open, settings),
            Delivery::Frames => self.assemble_frame(part, open, frame.opcode, settings),
            Delivery::Chunks => self.give_chunk(part, open),
        }
    }

    /// Puts a message together.
    fn assemble_message(
        &mut self,
        part: Part,
        mut open: IncomingMessage,
        settings: &Settings,
    ) -> Result<Step, ProtocolError> {
        self.append(part, open.kind, &mut open.tail, settings)?;
        if self.keep_open(part, open)? {
            return Ok(Step::Again);
        }
        Ok(Step::Event(Ready::Message {
            kind: open.kind,
            place: Place::Reassembly,
        }))
    }

    /// Puts a frame together, unless it arrived in one piece.
    fn assemble_frame(
        &mut self,
        part: Part,
        mut open: IncomingMessage,
        opcode: OpCode,
        settings: &Settings,
    ) -> Result<Step, ProtocolError> {
        if open.kind == Kind::Text {
            open.tail.feed(self.buffer.front(part.size), |_| {})?;
        }
        let place = if part.whole_frame {
            Place::Read(part.size)
        } else {
            let mut uncut = Utf8Tail::default();
            self.append(part, Kind::Binary, &mut uncut, settings)?;
            Place::Reassembly
        };
        self.keep_open(part, open)?;
        if part.left > 0 {
            return Ok(Step::Again);
        }
        let fin = part.fin;
        Ok(Step::Event(Ready::Frame { opcode, fin, place }))
    }

    /// Gives out what has arrived of a message.
    fn give_chunk(&mut self, part: Part, mut open: IncomingMessage) -> Result<Step, ProtocolError> {
        if open.kind == Kind::Text {
            open.tail.feed(self.buffer.front(part.size), |_| {})?;
        }
        let (kind, first) = (open.kind, open.untouched);
        let last = !self.keep_open(part, open)?;
        if part.size == 0 && !first && !last {
            return Ok(Step::Again);
        }
        Ok(Step::Event(Ready::Chunk {
            kind,
            first,
            last,
            place: Place::Read(part.size),
        }))
    }

    /// Keeps the message open unless this part ends it. Returns whether it is open.
    pub(super) fn keep_open(
        &mut self,
        part: Part,
        mut open: IncomingMessage,
    ) -> Result<bool, ProtocolError> {
        open.untouched = false;
        if part.ends_message() {
            open.tail.finish()?;
            return Ok(false);
        }
        self.open = Some(open);
        Ok(true)
    }

    /// Moves a part from the read buffer to the reassembly.
    fn append(
        &mut self,
        part: Part,
        kind: Kind,
        tail: &mut Utf8Tail,
        settings: &Settings,
    ) -> Result<(), ProtocolError> {
        let limit = settings.message_limit(Delivery::Messages);
        let pool = &*settings.buffers;
        let payload = self.buffer.front(part.size);
        let reassembly = Reassembly::of(kind, &mut self.reassembly);
        let length = reassembly.len().saturating_add(tail.len());
        let growth = part.growth(length, limit);
        reassembly.push(payload, tail, growth, pool)?;
        self.buffer.consume(part.size);
        Ok(())
    }
}

/// What has arrived of a data frame, at the start of the read buffer, unmasked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) size: usize,
    /// Bytes of the frame that have not arrived.
    pub(super) left: u64,
    pub(super) fin: bool,
    /// Whether it is the whole payload of its frame.
    whole_frame: bool,
}

impl Part {
    pub(super) const fn ends_message(self) -> bool {
        self.left == 0 && self.fin
    }

    /// Returns what can still come where `length` bytes are there, this part not among them.
    fn growth(self, length: usize, limit: usize) -> Growth {
        let announced = usize::try_from(self.left).unwrap_or(usize::MAX);
        let whole = length.saturating_add(self.size).saturating_add(announced);
        Growth {
            announced,
            most: if self.fin { whole } else { limit },
            // A frame that ends the message has passed the limit already.
            both: if self.fin { usize::MAX } else { limit },
        }
    }
}

/// Reads the body of a Close frame (RFC 6455 section 5.5.1).
fn read_close(body: &[u8]) -> Result<CloseFrame, ProtocolError> {
    let Some((code, reason)) = body.split_first_chunk::<2>() else {
        return match body {
            [] => Ok(CloseFrame::empty()),
            _ => Err(ProtocolError::CloseTooShort),
        };
    };
    let reason = utf8::check(reason)?;
    let code = CloseCode::new(u16::from_be_bytes(*code));
    if !code.is_sendable() {
        return Err(ProtocolError::InvalidCloseCode(code.number()));
    }
    Ok(CloseFrame::new(code, reason))
}
