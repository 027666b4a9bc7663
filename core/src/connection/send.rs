//! Commands: from the application to the output queue (RFC 6455 sections 5.4, 5.5 and 7.1).
//!
//! A command that is refused changes nothing. `may_send` is the one guard for "may I send this now?";
//! every data command starts with it.

use bytes::Bytes;

use crate::error::{Failure, SendError};
use crate::extension::{CodingMask, MessageInfo};
use crate::frame::utf8::Utf8Tail;
use crate::frame::{
    CloseCode, CloseFrame, Fin, HeaderEncoder, Kind, OpCode, Payload, Side, TextPayload,
};
use crate::handshake::HandshakeError;
use crate::prepared::{Prepared, PreparedFrame};

use super::link::Link;
use super::pings::PingId;
#[cfg(feature = "tracing")]
use super::trace::Shown;

/// Borrowed payloads from this length on are copied to a block of their own, which is made once and has their
/// size, where the output buffer would have to grow for them.
const OWN_BLOCK_MIN: usize = 32 << 10;

/// A message of ours whose last fragment has not been sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct OutgoingMessage {
    kind: Kind,
    tail: Utf8Tail,
    coding_mask: CodingMask,
}

/// Whether a message is compressed, where the connection has agreed on compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    /// If the configuration finds it worth it.
    #[default]
    Auto,
    /// Never: it passes as it is, and does not enter the history. For what is compressed already, and
    /// for secrets.
    Never,
}

/// Checks the next fragment of a text; returns the character that it cuts.
fn continued(mut tail: Utf8Tail, payload: &Payload<'_>, fin: Fin) -> Result<Utf8Tail, SendError> {
    let fed = tail.feed(payload.as_slice(), |_| {});
    let ended = if fin.is_last() { tail.finish() } else { Ok(()) };
    fed.and(ended).map_err(|_| SendError::InvalidUtf8)?;
    Ok(tail)
}

impl Link {
    #[inline]
    pub(super) fn send_message(
        &mut self,
        kind: Kind,
        payload: Payload<'_>,
    ) -> Result<(), SendError> {
        self.may_send(false)?;
        match payload {
            Payload::Borrowed(bytes) if bytes.len() < OWN_BLOCK_MIN && self.codings.is_empty() => {
                self.push_frame(kind.into(), true, 0, bytes);
            }
            Payload::Borrowed(_) | Payload::Shared(_) => {
                self.begin(kind, payload, Fin::Last, Utf8Tail::default());
            }
        }
        Ok(())
    }

    pub(super) fn send_text(&mut self, text: TextPayload<'_>, fin: Fin) -> Result<(), SendError> {
        self.may_send(false)?;
        self.begin(Kind::Text, text.into(), fin, Utf8Tail::default());
        Ok(())
    }

    pub(super) fn send_text_part(
        &mut self,
        payload: Payload<'_>,
        fin: Fin,
    ) -> Result<(), SendError> {
        self.may_send(false)?;
        let tail = continued(Utf8Tail::default(), &payload, fin)?;
        self.begin(Kind::Text, payload, fin, tail);
        Ok(())
    }

    pub(super) fn send_binary(&mut self, payload: Payload<'_>, fin: Fin) -> Result<(), SendError> {
        self.may_send(false)?;
        self.begin(Kind::Binary, payload, fin, Utf8Tail::default());
        Ok(())
    }

    pub(super) fn send_continuation(
        &mut self,
        payload: Payload<'_>,
        fin: Fin,
    ) -> Result<(), SendError> {
        self.may_send(true)?;
        let mut open = self.open_message.ok_or(SendError::UnexpectedContinuation)?;
        if open.kind == Kind::Text {
            open.tail = continued(open.tail, &payload, fin)?;
        }
        self.push_data(OpCode::Continuation, 0, open.coding_mask, payload, fin);
        self.open_message = (!fin.is_last()).then_some(open);
        Ok(())
    }

    pub(super) fn send_prepared(&mut self, prepared: &Prepared) -> Result<(), SendError> {
        self.may_send(false)?;
        let payload = prepared.payload().into();
        let encodes = !self.codings.is_empty();
        let begun = encodes.then(|| self.begin_encoding(&payload, Fin::Last));
        match begun {
            Some((coding_mask, reserved)) if !coding_mask.is_empty() => {
                self.push_prepared(prepared, coding_mask, reserved);
            }
            Some(_) | None => self.push_prepared_frame(prepared.kind(), prepared.frame()),
        }
        Ok(())
    }

    /// Queues a prepared message that the extensions encode: as it is shared, where that is possible.
    fn push_prepared(&mut self, prepared: &Prepared, coding_mask: CodingMask, reserved: u8) {
        let payload = prepared.payload();
        let shared = self.codings.only().and_then(|coding| {
            let frame = prepared.encoded(coding)?;
            coding.shared_sent(payload);
            Some(frame)
        });
        match shared {
            Some(frame) => self.push_prepared_frame(prepared.kind(), &frame),
            None => {
                let opcode = prepared.kind().into();
                self.push_data(opcode, reserved, coding_mask, payload.into(), Fin::Last);
            }
        }
    }

    fn push_prepared_frame(&mut self, kind: Kind, frame: &PreparedFrame) {
        if self.side == Side::Client {
            self.push_frame(kind.into(), true, frame.reserved(), frame.payload());
            return;
        }
        self.counters.frames_sent = self.counters.frames_sent.saturating_add(1);
        #[cfg(feature = "tracing")]
        self.trace_queued(Shown::whole(
            kind.into(),
            true,
            frame.reserved() != 0,
            frame.payload(),
        ));
        let buffers = &self.config.settings().buffers;
        self.output.push_prepared(frame.bytes(), buffers);
    }

    pub(super) fn send_ping(&mut self, payload: &[u8]) -> Result<(), SendError> {
        self.may_send_control(payload.len())?;
        self.push_control(OpCode::Ping, payload);
        Ok(())
    }

    pub(super) fn send_pong(&mut self, payload: &[u8]) -> Result<(), SendError> {
        self.may_send_control(payload.len())?;
        self.push_control(OpCode::Pong, payload);
        Ok(())
    }

    pub(super) fn ping(&mut self) -> Result<PingId, SendError> {
        self.may_send_control(0)?;
        Ok(self.push_ping())
    }

    pub(super) fn send_close(&mut self, frame: CloseFrame) -> Result<(), SendError> {
        if !self.phase.is_open() {
            return Err(SendError::State(self.phase.state()));
        }
        check_close(&frame)?;
        self.close_queued(frame);
        Ok(())
    }

    pub(super) fn fail_with(&mut self, frame: CloseFrame) -> Result<(), SendError> {
        if frame.code != CloseCode::ABNORMAL_CLOSURE {
            check_close(&frame)?;
        }
        match self.phase.is_connecting() {
            true => self.refuse(
                HandshakeError::Aborted(frame.clone()),
                Failure::Local(frame),
            ),
            false => self.fail(Failure::Local(frame)),
        }
        Ok(())
    }

    /// Queues a ping of the connection's own.
    pub(super) fn push_ping(&mut self) -> PingId {
        let id = self.pings.next_id();
        self.push_control(OpCode::Ping, &id.payload());
        self.pings.queued(id, self.now(), self.output.position());
        id
    }

    /// Whether a data frame may be sent now: one that continues a message, or one that begins one.
    #[inline]
    pub(super) fn may_send(&self, continues: bool) -> Result<(), SendError> {
        let in_order = self.open_message.is_some() == continues;
        if in_order && self.phase.is_open() && self.has_capacity() {
            return Ok(());
        }
        Err(self.why_not(continues))
    }

    /// Says why a data frame may not be sent now.
    #[cold]
    fn why_not(&self, continues: bool) -> SendError {
        match (self.open_message, continues) {
            (Some(_), false) => SendError::ExpectedContinuation,
            (None, true) => SendError::UnexpectedContinuation,
            _ if !self.phase.is_open() => SendError::State(self.phase.state()),
            _ => SendError::QueueFull(self.output.queued()),
        }
    }

    /// Whether the output queue is below its limit.
    #[inline]
    pub(super) fn has_capacity(&self) -> bool {
        self.output.queued() < self.settings().max_queued_output
    }

    fn may_send_control(&self, size: usize) -> Result<(), SendError> {
        if !self.phase.writes_control() {
            return Err(SendError::State(self.phase.state()));
        }
        if size > 125 {
            return Err(SendError::ControlTooLong(size));
        }
        Ok(())
    }

    /// Queues the first frame of a message, and remembers the message where more frames follow.
    #[inline(never)]
    fn begin(&mut self, kind: Kind, payload: Payload<'_>, fin: Fin, tail: Utf8Tail) {
        let mut coding_mask = CodingMask::default();
        if self.codings.is_empty() {
            self.push_plain(kind.into(), payload, fin);
        } else {
            let reserved;
            (coding_mask, reserved) = self.begin_encoding(&payload, fin);
            self.push_data(kind.into(), reserved, coding_mask, payload, fin);
        }
        if !fin.is_last() {
            self.open_message = Some(OutgoingMessage {
                kind,
                tail,
                coding_mask,
            });
        }
    }

    /// Asks the extensions which of them encode the message that begins.
    fn begin_encoding(&mut self, payload: &Payload<'_>, fin: Fin) -> (CodingMask, u8) {
        let length = payload.as_slice().len();
        self.use_codings();
        self.codings.encode_begin(MessageInfo {
            length: fin.is_last().then_some(length),
            compress: self.compression == Compression::Auto,
        })
    }

    /// Queues a data frame, through the extensions that encode its message.
    fn push_data(
        &mut self,
        opcode: OpCode,
        reserved: u8,
        coding_mask: CodingMask,
        payload: Payload<'_>,
        fin: Fin,
    ) {
        if coding_mask.is_empty() {
            self.push_plain(opcode, payload, fin);
            return;
        }
        let encoded = self.codings.encode(coding_mask, payload.as_slice(), fin);
        self.push_frame(opcode, fin.is_last(), reserved, &encoded);
        self.codings.recycle(encoded);
    }

    /// Queues a data frame as it is.
    #[inline]
    fn push_plain(&mut self, opcode: OpCode, payload: Payload<'_>, fin: Fin) {
        match payload {
            Payload::Shared(bytes) if self.side == Side::Server => {
                self.counters.frames_sent = self.counters.frames_sent.saturating_add(1);
                #[cfg(feature = "tracing")]
                self.trace_queued(Shown::whole(opcode, fin.is_last(), false, &bytes));
                let header = HeaderEncoder::new(opcode, fin.is_last(), 0, bytes.len(), None);
                let buffers = &self.config.settings().buffers;
                self.output.push_shared_frame(header, bytes, buffers);
            }
            Payload::Shared(bytes) => self.push_frame(opcode, fin.is_last(), 0, &bytes),
            Payload::Borrowed(bytes)
                if bytes.len() >= OWN_BLOCK_MIN && self.side == Side::Server =>
            {
                self.push_plain(opcode, Bytes::copy_from_slice(bytes).into(), fin);
            }
            Payload::Borrowed(bytes) => self.push_frame(opcode, fin.is_last(), 0, bytes),
        }
    }
}

/// Whether a Close frame may be sent as it is.
fn check_close(frame: &CloseFrame) -> Result<(), SendError> {
    match (frame.code, frame.reason.len()) {
        (CloseCode::NO_STATUS_RECEIVED, 0) => Ok(()),
        (CloseCode::NO_STATUS_RECEIVED, _) => Err(SendError::ReasonWithoutCode),
        (code, _) if !code.is_sendable() => Err(SendError::InvalidCloseCode(code)),
        (_, length) if length > CloseFrame::MAX_REASON => Err(SendError::ReasonTooLong(length)),
        _ => Ok(()),
    }
}
