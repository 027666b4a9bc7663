//! Commands: from the application to the output queue (RFC 6455 sections 5.4, 5.5 and 7.1).
//!
//! A command that is refused changes nothing. `may_send` is the one guard for "may I send this now?";
//! every data command starts with it.

use crate::error::{Failure, SendError};
use crate::frame::utf8::CutCharacter;
use crate::frame::{CloseCode, CloseFrame, Fin, Kind, OpCode, Payload, Side, TextPayload, Written};
use crate::prepared::Prepared;

use super::link::Link;
use super::pings::PingId;

/// A message of ours whose last fragment has not been sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct OpenMessage {
    kind: Kind,
    cut: CutCharacter,
}

impl OpenMessage {
    /// Returns the message as it is after a further fragment, `None` where that ends it.
    fn continued(mut self, payload: &Payload<'_>, fin: Fin) -> Result<Option<Self>, SendError> {
        if self.kind == Kind::Text {
            let fed = self.cut.feed(payload.as_slice(), |_| {});
            fed.map_err(|_| SendError::InvalidUtf8)?;
        }
        if fin.is_last() {
            self.cut.finish().map_err(|_| SendError::InvalidUtf8)?;
        }
        Ok((!fin.is_last()).then_some(self))
    }
}

impl Link {
    pub(super) fn send_text(&mut self, text: TextPayload<'_>, fin: Fin) -> Result<(), SendError> {
        self.may_send(false)?;
        self.push_data(OpCode::Text, text.into(), fin);
        self.keep_open(Kind::Text, fin);
        Ok(())
    }

    pub(super) fn send_text_part(
        &mut self,
        payload: Payload<'_>,
        fin: Fin,
    ) -> Result<(), SendError> {
        self.may_send(false)?;
        let begun = OpenMessage {
            kind: Kind::Text,
            cut: CutCharacter::default(),
        };
        let open = begun.continued(&payload, fin)?;
        self.push_data(OpCode::Text, payload, fin);
        self.open_message = open;
        Ok(())
    }

    pub(super) fn send_binary(&mut self, payload: Payload<'_>, fin: Fin) -> Result<(), SendError> {
        self.may_send(false)?;
        self.push_data(OpCode::Binary, payload, fin);
        self.keep_open(Kind::Binary, fin);
        Ok(())
    }

    pub(super) fn send_continuation(
        &mut self,
        payload: Payload<'_>,
        fin: Fin,
    ) -> Result<(), SendError> {
        self.may_send(true)?;
        let open = self.open_message.ok_or(SendError::UnexpectedContinuation)?;
        let open = open.continued(&payload, fin)?;
        self.push_data(OpCode::Continuation, payload, fin);
        self.open_message = open;
        Ok(())
    }

    pub(super) fn send_prepared(&mut self, prepared: &Prepared) -> Result<(), SendError> {
        self.may_send(false)?;
        if self.side == Side::Server {
            self.counters.frames_sent = self.counters.frames_sent.saturating_add(1);
            let buffers = &*self.config.settings().buffers;
            self.output.push_prepared(prepared.frame(), buffers);
        } else {
            self.push_frame(prepared.kind().into(), true, prepared.payload());
        }
        Ok(())
    }

    pub(super) fn send_ping(&mut self, payload: &[u8]) -> Result<(), SendError> {
        self.may_send_control(payload.len())?;
        self.push_frame(OpCode::Ping, true, payload);
        Ok(())
    }

    pub(super) fn send_pong(&mut self, payload: &[u8]) -> Result<(), SendError> {
        self.may_send_control(payload.len())?;
        self.push_frame(OpCode::Pong, true, payload);
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
        self.close_sent(frame);
        Ok(())
    }

    pub(super) fn fail_with(&mut self, frame: CloseFrame) -> Result<(), SendError> {
        if frame.code != CloseCode::ABNORMAL_CLOSURE {
            check_close(&frame)?;
        }
        if self.phase.is_connecting() {
            self.refuse();
        }
        self.fail(Failure::Local(frame));
        Ok(())
    }

    /// Queues a ping of the connection's own.
    pub(super) fn push_ping(&mut self) -> PingId {
        let id = self.pings.next_id();
        self.push_frame(OpCode::Ping, true, &id.payload());
        self.pings.queued(id, self.now(), self.output.position());
        id
    }

    /// Whether a data frame may be sent now: one that continues a message, or one that begins one.
    #[inline]
    pub(super) fn may_send(&self, continues: bool) -> Result<(), SendError> {
        match (self.open_message, continues) {
            (Some(_), false) => return Err(SendError::ExpectedContinuation),
            (None, true) => return Err(SendError::UnexpectedContinuation),
            (Some(_), true) | (None, false) => {}
        }
        if !self.phase.is_open() {
            return Err(SendError::State(self.phase.state()));
        }
        if self.has_capacity() {
            Ok(())
        } else {
            Err(SendError::QueueFull(self.output.queued()))
        }
    }

    /// Whether the output queue is below its limit.
    #[inline]
    pub(super) fn has_capacity(&self) -> bool {
        let limit = self.settings().max_queued_output;
        limit.is_none_or(|limit| self.output.queued() < limit)
    }

    fn may_send_control(&self, size: usize) -> Result<(), SendError> {
        if !self.phase.reads_frames() {
            return Err(SendError::State(self.phase.state()));
        }
        if size > 125 {
            return Err(SendError::ControlTooLong(size));
        }
        Ok(())
    }

    #[inline]
    fn keep_open(&mut self, kind: Kind, fin: Fin) {
        if !fin.is_last() {
            let cut = CutCharacter::default();
            self.open_message = Some(OpenMessage { kind, cut });
        }
    }

    #[inline]
    fn push_data(&mut self, opcode: OpCode, payload: Payload<'_>, fin: Fin) {
        match payload {
            Payload::Shared(bytes) if self.side == Side::Server => {
                self.counters.frames_sent = self.counters.frames_sent.saturating_add(1);
                let header = Written::new(opcode, fin.is_last(), 0, bytes.len(), None);
                let buffers = &*self.config.settings().buffers;
                self.output.push_shared_frame(header, bytes, buffers);
            }
            Payload::Shared(bytes) => self.push_frame(opcode, fin.is_last(), &bytes),
            Payload::Borrowed(bytes) => self.push_frame(opcode, fin.is_last(), bytes),
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
