//! From bytes to events (RFC 6455 sections 5.4 to 5.6 and 8.1).
//!
//! ```text
//! read buffer ── header ──▶ frame ── payload ──▶ lent from the read buffer   a message in one piece
//!                                        └─────▶ assembly ──▶ lent from it   everything else
//! ```
//!
//! Parsing is lazy: it stops as soon as an event is ready, and what was not parsed stays in the read
//! buffer. A payload is unmasked where it lies, and its text checked, as it arrives. What must wait
//! for more grows with what has arrived, never with what a header declares.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::buffer::{Buffer, BufferPool};
use crate::config::{Delivery, Settings};
use crate::error::{Failure, ProtocolError};
use crate::event::{Chunk, Event, FrameRef};
use crate::frame::utf8::{self, CutCharacter, InvalidUtf8};
use crate::frame::{CloseCode, CloseFrame, Expected, Header, Kind, OpCode, mask};
use crate::message::{LentBytes, LentText, MessageRef};

use super::link::Link;

impl From<InvalidUtf8> for ProtocolError {
    fn from(_: InvalidUtf8) -> Self {
        Self::InvalidUtf8
    }
}

/// A frame whose payload has not been read to its end.
#[derive(Debug, Clone, Copy)]
struct Frame {
    opcode: OpCode,
    fin: bool,
    /// Bytes of the payload that have not been processed.
    left: u64,
    /// As it applies to the next byte.
    masking_key: [u8; 4],
    /// Whether no byte of the payload was given out.
    untouched: bool,
}

/// A data message that has begun.
#[derive(Debug, Clone, Copy)]
struct Open {
    kind: Kind,
    /// Bytes of its frames so far, those of the frame that is being read included.
    size: u64,
    cut: CutCharacter,
    empty_fragments: u32,
    /// Whether no part of it was given out.
    untouched: bool,
}

/// Where what is put together is kept. Text stays text: its proof is not lost.
#[derive(Debug)]
enum Assembly {
    Binary(Vec<u8>),
    Text(String),
}

/// An event that is ready. Payloads lie at the start of the read buffer, or in the assembly.
#[derive(Debug)]
enum Ready {
    Message {
        kind: Kind,
        place: Place,
    },
    Frame {
        opcode: OpCode,
        fin: bool,
        place: Place,
    },
    Chunk {
        kind: Kind,
        first: bool,
        last: bool,
        size: usize,
    },
    Ping {
        size: usize,
    },
    Pong {
        size: usize,
        latency: Option<Duration>,
    },
    Close(CloseFrame),
    Failed,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    /// So many bytes of the read buffer.
    Read(usize),
    Assembly,
}

/// What a step of the parser came to.
enum Step {
    Event(Ready),
    Again,
    NeedsInput,
}

/// What was received and has not been given out.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) buffer: Buffer,
    delivery: Delivery,
    /// Whether pings and pongs are events.
    tells_control: bool,
    frame: Option<Frame>,
    open: Option<Open>,
    assembly: Option<Box<Assembly>>,
    ready: Option<Ready>,
    /// Bytes at the start of the buffer that the last event lent.
    lent: usize,
    /// Whether the assembly was lent by the last event.
    assembly_lent: bool,
    /// The stream ended behind what is in the buffer.
    pub(super) eof: bool,
    /// The last event was given out.
    told: bool,
}

impl Incoming {
    pub(super) const fn new(delivery: Delivery, tells_control: bool) -> Self {
        Self {
            buffer: Buffer::EMPTY,
            delivery,
            tells_control,
            frame: None,
            open: None,
            assembly: None,
            ready: None,
            lent: 0,
            assembly_lent: false,
            eof: false,
            told: false,
        }
    }

    pub(super) const fn delivery(&self) -> Delivery {
        self.delivery
    }

    /// Changes the delivery. Returns whether that was possible: not inside a message.
    pub(super) fn set_delivery(&mut self, delivery: Delivery) -> bool {
        let possible = self.delivery == delivery || self.between_messages();
        if possible {
            self.delivery = delivery;
        }
        possible
    }

    pub(super) const fn set_control_events(&mut self, given: bool) {
        self.tells_control = given;
    }

    fn between_messages(&self) -> bool {
        self.open.is_none() && !self.is_data_ready()
    }

    /// Whether the event that is ready is a message, or a part of one.
    pub(super) const fn is_data_ready(&self) -> bool {
        matches!(
            self.ready,
            Some(Ready::Message { .. } | Ready::Frame { .. } | Ready::Chunk { .. })
        )
    }

    /// Whether an event is ready, and was not given out.
    pub(super) const fn is_ready(&self) -> bool {
        self.ready.is_some()
    }

    /// Returns room to read into.
    pub(super) fn room(&mut self, pool: &dyn BufferPool) -> &mut [u8] {
        if self.ready.is_none() {
            self.reclaim();
        }
        self.buffer.room(pool)
    }

    /// Takes what was read. Where nothing is read any more, it is dropped.
    pub(super) fn received(&mut self, count: usize, link: &mut Link) {
        let before = self.buffer.len();
        if self.eof {
            return;
        }
        self.buffer.commit(count);
        let added = self.buffer.len().saturating_sub(before) as u64;
        link.counters.bytes_received = link.counters.bytes_received.saturating_add(added);
        if link.phase.discards() && self.ready.is_none() {
            self.buffer.clear();
        }
    }

    /// Parses until an event is ready. Returns whether one is.
    pub(super) fn advance(&mut self, link: &mut Link) -> bool {
        if self.ready.is_some() {
            return true;
        }
        self.reclaim();
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

    /// Gives out the event that is ready. Text in one piece is checked here, once, as it is lent.
    #[inline]
    pub(super) fn take_event<'a>(&'a mut self, link: &mut Link) -> Option<Event<'a>> {
        Some(match self.ready.take()? {
            Ready::Message {
                kind: Kind::Text,
                place: Place::Read(size),
            } => {
                self.lent = size;
                match utf8::check(self.buffer.filled().get(..size).unwrap_or_default()) {
                    Ok(text) => Event::Message(MessageRef::Text(LentText::read(text))),
                    Err(InvalidUtf8) => {
                        self.told = true;
                        link.fail(Failure::Protocol(ProtocolError::InvalidUtf8));
                        Event::Failed(link.failure()?.clone())
                    }
                }
            }
            Ready::Message { place, .. } => Event::Message(self.lend_message(place)),
            Ready::Frame { opcode, fin, place } => Event::Frame(FrameRef {
                opcode,
                fin,
                payload: self.lend_bytes(place),
            }),
            Ready::Chunk {
                kind,
                first,
                last,
                size,
            } => Event::Chunk(Chunk {
                kind,
                first,
                last,
                payload: self.lend(size),
            }),
            Ready::Ping { size } => Event::Ping(self.lend(size)),
            Ready::Pong { size, latency } => Event::Pong {
                payload: self.lend(size),
                latency,
            },
            Ready::Close(frame) => Event::Close(frame),
            Ready::Failed => Event::Failed(link.failure()?.clone()),
        })
    }

    fn lend(&mut self, size: usize) -> &[u8] {
        self.lent = size;
        self.buffer.filled().get(..size).unwrap_or_default()
    }

    fn lend_message(&mut self, place: Place) -> MessageRef<'_> {
        match place {
            Place::Read(size) => MessageRef::Binary(LentBytes::read(self.lend(size))),
            Place::Assembly => match self.lend_assembly() {
                Some(Assembly::Text(text)) => MessageRef::Text(LentText::assembled(text)),
                Some(Assembly::Binary(bytes)) => MessageRef::Binary(LentBytes::assembled(bytes)),
                None => MessageRef::Binary(LentBytes::read(&[])),
            },
        }
    }

    fn lend_bytes(&mut self, place: Place) -> LentBytes<'_> {
        match place {
            Place::Read(size) => LentBytes::read(self.lend(size)),
            Place::Assembly => match self.lend_assembly() {
                Some(Assembly::Binary(bytes)) => LentBytes::assembled(bytes),
                Some(Assembly::Text(_)) | None => LentBytes::read(&[]),
            },
        }
    }

    fn lend_assembly(&mut self) -> Option<&mut Assembly> {
        self.assembly_lent = true;
        self.assembly.as_deref_mut()
    }

    /// Gives back what is not needed while nothing arrives.
    pub(super) fn release(&mut self, pool: &dyn BufferPool) {
        self.reclaim();
        self.buffer.release(pool);
        if self.open.is_none() && self.ready.is_none() {
            self.assembly = None;
        }
    }

    /// Takes back what the last event lent.
    #[inline]
    fn reclaim(&mut self) {
        self.buffer.consume(core::mem::take(&mut self.lent));
        if core::mem::take(&mut self.assembly_lent) {
            self.clear_assembly();
        }
    }

    /// Keeps the block of a small message for the next one.
    fn clear_assembly(&mut self) {
        match self.assembly.as_deref_mut() {
            Some(Assembly::Binary(bytes)) => bytes.clear(),
            Some(Assembly::Text(text)) => text.clear(),
            None => {}
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
        self.assembly = None;
        if self.eof && !link.phase.is_ended() {
            link.eof();
        }
        if !self.told && link.failure().is_some() {
            self.told = true;
            self.ready = Some(Ready::Failed);
        }
        self.ready.is_some()
    }

    #[inline]
    fn step(&mut self, link: &mut Link) -> Result<Step, ProtocolError> {
        let frame = match self.frame {
            Some(frame) => frame,
            None => match self.read_header(link)? {
                Some(frame) => frame,
                None => return Ok(Step::NeedsInput),
            },
        };
        if frame.opcode.is_control() {
            self.control(frame, link)
        } else {
            self.data(frame, link.settings())
        }
    }

    #[inline]
    fn read_header(&mut self, link: &mut Link) -> Result<Option<Frame>, ProtocolError> {
        let before = self.open.as_ref().map_or(0, |open| open.size);
        let expected = Expected {
            side: link.side,
            in_message: self.open.is_some(),
            claimed: 0,
            limit: link.settings().frame_limit(self.delivery, before),
        };
        let header = match Header::read(self.buffer.filled(), expected) {
            Ok(Some(header)) => header,
            Ok(None) => return Ok(None),
            Err(ProtocolError::TooBig {
                length: Some(payload),
                ..
            }) => return Err(link.settings().too_big(payload, before)),
            Err(error) => return Err(error),
        };
        self.buffer.consume(header.size);
        link.counters.frames_received = link.counters.frames_received.saturating_add(1);
        let frame = Frame {
            opcode: header.opcode,
            fin: header.fin,
            left: header.payload_length,
            masking_key: header.masking_key,
            untouched: true,
        };
        if !header.opcode.is_control() {
            self.begin(header, link.settings())?;
        }
        self.frame = Some(frame);
        Ok(Some(frame))
    }

    /// Takes a data frame into account: it opens its message or continues it.
    #[inline]
    fn begin(&mut self, header: Header, settings: &Settings) -> Result<(), ProtocolError> {
        let open = self.open.get_or_insert_with(|| Open {
            kind: match header.opcode {
                OpCode::Text => Kind::Text,
                OpCode::Continuation
                | OpCode::Binary
                | OpCode::Close
                | OpCode::Ping
                | OpCode::Pong => Kind::Binary,
            },
            size: 0,
            cut: CutCharacter::default(),
            empty_fragments: 0,
            untouched: true,
        });
        open.size = open.size.saturating_add(header.payload_length);
        if header.payload_length > 0 || header.fin {
            open.empty_fragments = 0;
            return Ok(());
        }
        open.empty_fragments = open.empty_fragments.saturating_add(1);
        match settings.max_empty_fragments {
            Some(budget) if open.empty_fragments > budget => {
                Err(ProtocolError::TooManyEmptyFragments)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Reads a control frame, which is never in parts.
    fn control(&mut self, frame: Frame, link: &mut Link) -> Result<Step, ProtocolError> {
        let size = usize::try_from(frame.left).unwrap_or(usize::MAX);
        if self.buffer.len() < size {
            return Ok(Step::NeedsInput);
        }
        let payload = self.buffer.filled_mut().get_mut(..size).unwrap_or_default();
        mask::apply(payload, frame.masking_key);
        self.frame = None;
        let ready = match frame.opcode {
            OpCode::Ping => {
                link.answer_ping(payload);
                Ready::Ping { size }
            }
            OpCode::Pong => Ready::Pong {
                size,
                latency: link.pong_received(payload),
            },
            OpCode::Close | OpCode::Continuation | OpCode::Text | OpCode::Binary => {
                let received = read_close(payload)?;
                link.close_received(received.clone());
                self.told = true;
                return Ok(Step::Event(Ready::Close(received)));
            }
        };
        if self.tells_control {
            return Ok(Step::Event(ready));
        }
        self.buffer.consume(size);
        Ok(Step::Again)
    }

    /// Reads what has arrived of a data frame.
    #[inline]
    fn data(&mut self, frame: Frame, settings: &Settings) -> Result<Step, ProtocolError> {
        let arrived = self.buffer.len();
        let size = usize::try_from(frame.left).map_or(arrived, |left| left.min(arrived));
        if size == 0 && frame.left > 0 {
            return Ok(Step::NeedsInput);
        }
        let left = frame.left.saturating_sub(size as u64);
        let payload = self.buffer.filled_mut().get_mut(..size).unwrap_or_default();
        let masking_key = mask::apply(payload, frame.masking_key);
        self.frame = (left > 0).then_some(Frame {
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
        mut open: Open,
        settings: &Settings,
    ) -> Result<Step, ProtocolError> {
        self.append(part, open.kind, &mut open.cut, settings)?;
        if self.keep_open(part, open)? {
            return Ok(Step::Again);
        }
        Ok(Step::Event(Ready::Message {
            kind: open.kind,
            place: Place::Assembly,
        }))
    }

    /// Puts a frame together, unless it arrived in one piece.
    fn assemble_frame(
        &mut self,
        part: Part,
        mut open: Open,
        opcode: OpCode,
        settings: &Settings,
    ) -> Result<Step, ProtocolError> {
        if open.kind == Kind::Text {
            open.cut.feed(self.part(part.size), |_| {})?;
        }
        let place = if part.whole_frame {
            Place::Read(part.size)
        } else {
            let mut uncut = CutCharacter::default();
            self.append(part, Kind::Binary, &mut uncut, settings)?;
            Place::Assembly
        };
        self.keep_open(part, open)?;
        if part.left > 0 {
            return Ok(Step::Again);
        }
        let fin = part.fin;
        Ok(Step::Event(Ready::Frame { opcode, fin, place }))
    }

    /// Gives out what has arrived of a message.
    fn give_chunk(&mut self, part: Part, mut open: Open) -> Result<Step, ProtocolError> {
        if open.kind == Kind::Text {
            open.cut.feed(self.part(part.size), |_| {})?;
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
            size: part.size,
        }))
    }

    /// Keeps the message open unless this part ends it. Returns whether it is open.
    fn keep_open(&mut self, part: Part, mut open: Open) -> Result<bool, ProtocolError> {
        open.untouched = false;
        if part.ends_message() {
            open.cut.finish()?;
            return Ok(false);
        }
        self.open = Some(open);
        Ok(true)
    }

    /// Moves a part from the read buffer to the assembly.
    fn append(
        &mut self,
        part: Part,
        kind: Kind,
        cut: &mut CutCharacter,
        settings: &Settings,
    ) -> Result<(), ProtocolError> {
        let payload = self.buffer.filled().get(..part.size).unwrap_or_default();
        let limit = settings.max_message_size.unwrap_or(usize::MAX);
        match assembly_of(kind, &mut self.assembly) {
            Assembly::Binary(bytes) => {
                let more = part.growth(bytes.len(), bytes.capacity(), limit);
                bytes.reserve_exact(more);
                bytes.extend_from_slice(payload);
            }
            Assembly::Text(text) => {
                let more = part.growth(text.len(), text.capacity(), limit);
                text.reserve_exact(more);
                cut.feed(payload, |complete| text.push_str(complete))?;
            }
        }
        self.buffer.consume(part.size);
        Ok(())
    }

    #[inline]
    fn part(&self, size: usize) -> &[u8] {
        self.buffer.filled().get(..size).unwrap_or_default()
    }
}

/// What has arrived of a data frame, at the start of the read buffer, unmasked.
#[derive(Debug, Clone, Copy)]
struct Part {
    size: usize,
    /// Bytes of the frame that have not arrived.
    left: u64,
    fin: bool,
    /// Whether it is the whole payload of its frame.
    whole_frame: bool,
}

impl Part {
    /// Bytes reserved ahead of their arrival, where less has arrived.
    const AHEAD: usize = 4096;

    const fn ends_message(self) -> bool {
        self.left == 0 && self.fin
    }

    /// Returns how much room to add to an assembly: enough for this part, as much again ahead of its
    /// arrival, and never more than the message can have.
    fn growth(self, length: usize, capacity: usize, limit: usize) -> usize {
        let needed = length.saturating_add(self.size);
        if needed <= capacity {
            return 0;
        }
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let most = if self.fin {
            needed.saturating_add(left)
        } else {
            limit.max(needed)
        };
        let ahead = left.min(needed.max(Self::AHEAD));
        let doubled = capacity.saturating_mul(2);
        let target = needed.saturating_add(ahead).max(doubled).min(most);
        target.saturating_sub(length)
    }
}

/// Returns the assembly, made anew where it holds the other kind.
fn assembly_of(kind: Kind, assembly: &mut Option<Box<Assembly>>) -> &mut Assembly {
    let fits = matches!(
        (kind, assembly.as_deref()),
        (Kind::Binary, Some(Assembly::Binary(_))) | (Kind::Text, Some(Assembly::Text(_)))
    );
    if !fits {
        *assembly = None;
    }
    assembly.get_or_insert_with(|| {
        Box::new(match kind {
            Kind::Binary => Assembly::Binary(Vec::new()),
            Kind::Text => Assembly::Text(String::new()),
        })
    })
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
