//! Our end of the link: the phase it is in, what waits to be sent, the deadlines, and time.
//!
//! Everything of a connection but what is being received. Commands are in `send`; here is what the
//! peer, the end of the stream and the passing of time bring about.

use core::time::Duration;

use crate::config::{Config, Settings};
use crate::deadline::Deadline;
use crate::entropy::Generator;
use crate::error::Failure;
use crate::extension::{Codings, NegotiationError};
use crate::frame::{CloseCode, CloseFrame, HeaderEncoder, OpCode, Side};
use crate::handshake::{ExtensionList, HandshakeError};
use crate::state::State;
use crate::time::Instant;

use super::deadlines::{Alarm, Deadlines};
use super::output::Output;
use super::pings::{PingId, Pings};
use super::send::{Compression, OutgoingMessage};
use super::state::{Closed, Phase};
use super::stats::Counters;
#[cfg(feature = "tracing")]
use super::trace::Shown;

/// How long the extensions of a connection keep what they need for its next message and can have again:
/// from once to twice this time after the last one.
const CODINGS_KEPT: Duration = Duration::from_millis(500);

/// How long the last Close frame may take when the peer does not answer pings.
const ABORT_CLOSE_GRACE: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Link {
    pub(super) side: Side,
    pub(super) config: Config,
    pub(super) phase: Phase,
    pub(super) output: Output,
    pub(super) pings: Pings,
    pub(super) counters: Counters,
    pub(super) codings: Codings,
    /// Whether the codings were used since their alarm was set.
    codings_used: bool,
    pub(super) compression: Compression,
    /// The message of ours whose last fragment has not been sent.
    pub(super) open_message: Option<OutgoingMessage>,
    /// Masking keys; a server has none.
    generator: Option<Generator>,
    deadlines: Deadlines,
    /// How far the output was taken when the write deadline was armed.
    progress: u64,
    /// The transport keeps output that it has taken.
    pub(super) flush_pending: bool,
    /// The keepalive ping whose pong has not come.
    keepalive: Option<PingId>,
    /// Where it ends in the output, while it has not been handed to the transport.
    keepalive_ends: Option<u64>,
    now: Instant,
    #[cfg(feature = "tracing")]
    pub(super) trace: super::trace::Trace,
}

impl Link {
    pub(super) fn new(side: Side, generator: Option<Generator>, config: Config) -> Self {
        Self {
            side,
            config,
            phase: Phase::Connecting,
            output: Output::new(),
            pings: Pings::default(),
            counters: Counters::default(),
            codings: Codings::default(),
            codings_used: false,
            compression: Compression::Auto,
            open_message: None,
            generator,
            deadlines: Deadlines {
                open: Alarm::UNARMED,
                ..Deadlines::default()
            },
            progress: 0,
            flush_pending: false,
            keepalive: None,
            keepalive_ends: None,
            now: Instant::START,
            #[cfg(feature = "tracing")]
            trace: super::trace::Trace::new(),
        }
    }

    #[inline]
    pub(super) fn settings(&self) -> &Settings {
        self.config.settings()
    }

    /// Whether frames are read, and no extension has a say in them.
    #[inline]
    pub(super) const fn reads_plain_frames(&self) -> bool {
        self.codings.is_empty() && self.phase.reads_frames()
    }

    /// Starts the extensions that were agreed on.
    pub(super) fn start(&mut self, agreed: &ExtensionList) -> Result<(), HandshakeError> {
        let mut codings = Codings::default();
        for answer in agreed.iter() {
            let mut configured = self.config.settings().extensions.iter();
            let coding = configured
                .find(|extension| extension.name() == answer.name())
                .ok_or(NegotiationError("was not offered"))
                .and_then(|extension| extension.start(self.side, answer));
            coding
                .and_then(|coding| codings.push(coding))
                .map_err(|disagreement| answer.error(disagreement.0))?;
        }
        self.codings = codings;
        Ok(())
    }

    /// Schedules the release of what the codings hold once the connection is idle.
    pub(super) fn use_codings(&mut self) {
        self.codings_used = true;
        if self.deadlines.idle == Alarm::OFF {
            self.deadlines.idle = Alarm::UNARMED;
        }
    }

    /// The opening handshake is complete.
    pub(super) fn open(&mut self) {
        self.phase.opened();
        #[cfg(feature = "tracing")]
        self.trace_opened();
        self.deadlines.open = Alarm::OFF;
        self.deadlines.ping = Alarm::UNARMED;
        if self.output.is_discarded() {
            self.stop_writing();
        }
    }

    /// The opening handshake failed: nothing but the end of the stream follows.
    pub(super) fn refuse(&mut self, error: HandshakeError, failure: Failure) {
        self.phase.refused(error, failure);
        #[cfg(feature = "tracing")]
        self.trace_refused();
        self.push_end();
        self.deadlines.only_close();
    }

    /// Answers a ping, if that is possible. Nothing follows a Close frame received.
    pub(super) fn answer_ping(&mut self, payload: &[u8]) {
        self.counters.pings_received = self.counters.pings_received.saturating_add(1);
        if !self.phase.writes_control() {
            return;
        }
        self.counters.frames_sent = self.counters.frames_sent.saturating_add(1);
        #[cfg(feature = "tracing")]
        self.trace_queued(Shown::whole(OpCode::Pong, true, false, payload));
        let key = self.masking_key();
        let header = HeaderEncoder::new(OpCode::Pong, true, 0, payload.len(), key);
        let buffers = &self.config.settings().buffers;
        self.output.push_pong(header, payload, buffers);
    }

    /// The peer's Close frame came: answers it, unless it is an answer itself.
    pub(super) fn close_received(&mut self, received: CloseFrame) {
        if self.phase.is_open() {
            self.push_close(&received);
            self.output.mark_reply();
        }
        let taken = self.output.is_close_taken();
        self.phase.close_received(received, taken);
        self.expect_end();
    }

    /// Fails the connection (RFC 6455 section 7.1.7), unless it has ended already: the first cause stays.
    pub(super) fn fail(&mut self, failure: Failure) {
        if !self.phase.reads_frames() {
            return;
        }
        let code = failure.close_code();
        let can_say = self.phase.is_open() && code != CloseCode::ABNORMAL_CLOSURE;
        let sent = can_say.then(|| CloseFrame::new(code, reason_of(&failure)));
        if let Some(frame) = &sent {
            self.push_close(frame);
            self.output.mark_reply();
        }
        self.phase.failed(failure, sent);
        self.expect_end();
    }

    /// The stream of the peer ended: a failure, if no Close frame had come.
    pub(super) fn eof(&mut self) {
        if self.phase.is_connecting() {
            self.phase
                .refused(HandshakeError::ConnectionLost, Failure::Lost);
        } else if self.phase.reads_frames() {
            self.phase.failed(Failure::Lost, None);
        }
        self.push_end();
        #[cfg(feature = "tracing")]
        self.trace_ended();
        self.phase.ended();
        self.deadlines.only_close();
    }

    /// The transport failed to write: what is queued never leaves. What arrives is still read, as the
    /// peer's Close frame may be among it, until the deadline for the end of the stream.
    pub(super) fn write_failed(&mut self) {
        let buffers = &self.config.settings().buffers;
        self.output.fail(buffers);
        self.flush_pending = false;
        if self.phase.reads_frames() {
            self.stop_writing();
        }
    }

    fn stop_writing(&mut self) {
        self.phase.write_failed();
        #[cfg(feature = "tracing")]
        self.trace_closing();
        self.keepalive = None;
        self.keepalive_ends = None;
        self.deadlines.only_close();
    }

    /// Both sides have said what they had to say. A server ends the stream first; a client waits
    /// (RFC 6455 section 7.1.1).
    fn expect_end(&mut self) {
        #[cfg(feature = "tracing")]
        self.trace_closing();
        if self.side == Side::Server {
            self.push_end();
        }
        self.codings = Codings::default();
        self.keepalive = None;
        self.keepalive_ends = None;
        self.deadlines.only_close();
    }

    /// Our Close frame goes first: the peer's has until the deadline for the end of the stream.
    pub(super) fn close_queued(&mut self, frame: CloseFrame) {
        self.push_close(&frame);
        self.phase.close_queued(frame);
        #[cfg(feature = "tracing")]
        self.trace_closing();
        self.deadlines.close = Alarm::UNARMED;
    }

    /// Queues a Close frame. What waits goes before it.
    pub(super) fn push_close(&mut self, frame: &CloseFrame) {
        let buffers = &self.config.settings().buffers;
        self.output.settle_pong(buffers);
        let code = frame.code.number().to_be_bytes();
        let mut body = [0; 125];
        let size = match frame.code {
            CloseCode::NO_STATUS_RECEIVED => 0,
            _ => code.len().saturating_add(frame.reason.len()),
        };
        for (slot, byte) in body
            .iter_mut()
            .zip(code.iter().chain(frame.reason.as_bytes()))
        {
            *slot = *byte;
        }
        self.push_frame(OpCode::Close, true, 0, body.get(..size).unwrap_or_default());
        self.output.close_queued();
    }

    /// Queues the end of the stream.
    fn push_end(&mut self) {
        let buffers = &self.config.settings().buffers;
        self.output.push_end(buffers);
    }

    /// Queues a frame.
    #[inline]
    pub(super) fn push_frame(&mut self, opcode: OpCode, fin: bool, reserved: u8, payload: &[u8]) {
        self.counters.frames_sent = self.counters.frames_sent.saturating_add(1);
        #[cfg(feature = "tracing")]
        self.trace_queued(Shown::whole(opcode, fin, reserved != 0, payload));
        let key = self.masking_key();
        let header = HeaderEncoder::new(opcode, fin, reserved, payload.len(), key);
        let buffers = &self.config.settings().buffers;
        self.output.push_frame(header, payload, buffers);
    }

    /// Returns a fresh masking key on a client.
    #[inline]
    pub(super) fn masking_key(&mut self) -> Option<[u8; 4]> {
        self.generator.as_mut().map(Generator::masking_key)
    }

    /// Returns what was exchanged, once it is decided whether our Close frame was sent.
    pub(super) fn closed(&self) -> Option<&Closed> {
        let ending = self.phase.ending()?;
        if self.phase.state() == State::Connecting || self.output.is_close_pending() {
            return None;
        }
        Some(match self.output.is_close_taken() {
            true => &ending.closed,
            false => &ending.closed_unsent,
        })
    }

    /// Returns the peer's Close frame, if it came.
    pub(super) fn received_close(&self) -> Option<&CloseFrame> {
        self.phase.ending()?.closed.received()
    }

    pub(super) fn failure(&self) -> Option<&Failure> {
        self.phase.ending()?.failure.as_ref()
    }

    pub(super) const fn now(&self) -> Instant {
        self.now
    }

    /// Takes note of the time. It never goes back.
    #[inline]
    pub(super) fn set_now(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// Arms what waits for the time, and does what is due. A pong is not missed while input waits to
    /// be read: it may be in there.
    pub(super) fn handle_timeout(&mut self, now: Instant, input_waits: bool) {
        self.set_now(now);
        self.note_progress();
        self.arm();
        self.fire_due(input_waits);
    }

    pub(super) fn next_timeout(&self, input_waits: bool) -> Option<Instant> {
        if self.phase.is_ended() && self.output.is_empty() {
            return None;
        }
        if self.keepalive_was_taken() || self.write_progressed() {
            return Some(self.now);
        }
        self.deadlines.next(self.now, input_waits)
    }

    fn keepalive_was_taken(&self) -> bool {
        self.keepalive_ends
            .is_some_and(|ends| ends <= self.output.taken())
    }

    /// Whether the write deadline has to be set anew: output waits, and it is not what waited before. So
    /// output that was queued by taking an event is noticed even if there is no such deadline.
    fn write_progressed(&self) -> bool {
        self.output_waits()
            && (self.progress != self.output.taken() || self.deadlines.write == Alarm::OFF)
    }

    /// Whether output waits, here or in the transport.
    const fn output_waits(&self) -> bool {
        self.flush_pending || !self.output.is_empty()
    }

    fn note_progress(&mut self) {
        if !self.output_waits() {
            self.deadlines.write = Alarm::OFF;
        } else if self.write_progressed() {
            self.progress = self.output.taken();
            self.deadlines.write = Alarm::UNARMED;
        }
        self.note_pings();
        if self.keepalive_was_taken() {
            self.keepalive_ends = None;
            self.deadlines.pong = Alarm::UNARMED;
        }
    }

    /// Starts the clock of the pings that were handed to the transport. What arrives may answer them,
    /// so that they were sent before it did.
    #[inline(always)]
    pub(super) fn note_pings(&mut self) {
        self.pings.taken(self.output.taken(), self.now);
    }

    fn arm(&mut self) {
        let (now, settings) = (self.now, self.config.settings());
        let deadlines = &mut self.deadlines;
        deadlines.open.arm(now, settings.open_timeout);
        deadlines.close.arm(now, settings.close_timeout);
        deadlines.ping.arm(now, settings.ping_interval);
        deadlines.pong.arm(now, settings.ping_timeout);
        deadlines.write.arm(now, settings.write_timeout);
        deadlines.idle.arm(now, Some(CODINGS_KEPT));
    }

    fn fire_due(&mut self, input_waits: bool) {
        if self.deadlines.open.fire(self.now) {
            self.give_up(Deadline::Open);
        }
        if self.deadlines.close.fire(self.now) {
            self.give_up(Deadline::Close);
        }
        if self.deadlines.write.fire(self.now) {
            self.give_up(Deadline::Write);
        }
        if !input_waits && self.deadlines.pong.fire(self.now) {
            self.fail(Failure::TimedOut(Deadline::Pong));
            let grace = self.now.checked_add(ABORT_CLOSE_GRACE);
            self.deadlines.close.bring_forward(grace);
        }
        if self.deadlines.ping.fire(self.now) {
            self.keep_alive();
        }
        if self.deadlines.idle.fire(self.now) {
            self.release_idle_codecs();
        }
    }

    /// Gives back what the codings hold, unless they were used since the last time.
    fn release_idle_codecs(&mut self) {
        if core::mem::take(&mut self.codings_used) {
            self.deadlines.idle = Alarm::UNARMED;
            self.arm();
        } else {
            self.codings.release();
        }
    }

    /// Ends the connection at once.
    fn give_up(&mut self, deadline: Deadline) {
        let failure = Failure::TimedOut(deadline);
        if self.phase.is_connecting() {
            self.phase.refused(HandshakeError::TimedOut, failure);
        } else if !self.phase.discards() {
            self.phase.failed(failure, None);
        }
        let buffers = &self.config.settings().buffers;
        self.output.discard(buffers);
        #[cfg(feature = "tracing")]
        self.trace_ended();
        self.phase.ended();
        self.deadlines = Deadlines::default();
    }

    /// Pings the peer, and asks to be woken for the next ping; not before the pong of the last came.
    fn keep_alive(&mut self) {
        if !self.phase.is_open() || self.keepalive.is_some() {
            return;
        }
        self.keepalive = Some(self.push_ping());
        self.keepalive_ends = Some(self.output.position());
        self.deadlines.ping = Alarm::UNARMED;
        self.arm();
    }

    /// A pong came: the time since its ping, if that was one of ours. The keepalive is satisfied by
    /// the pong of its own ping, or of a later one.
    pub(super) fn pong_received(&mut self, payload: &[u8]) -> Option<Duration> {
        self.counters.pongs_received = self.counters.pongs_received.saturating_add(1);
        let latency = self.pings.pong(payload, self.now);
        if self.keepalive.is_some_and(|id| !self.pings.is_waiting(id)) {
            self.keepalive = None;
            self.keepalive_ends = None;
            self.deadlines.pong = Alarm::OFF;
            if self.deadlines.ping == Alarm::OFF {
                self.deadlines.ping = Alarm::UNARMED;
            }
        }
        latency
    }
}

/// The reason of the Close frame that reports a failure.
fn reason_of(failure: &Failure) -> bytestring::ByteString {
    match failure {
        Failure::Protocol(error) => alloc::string::ToString::to_string(error).into(),
        Failure::TimedOut(_) => bytestring::ByteString::from_static("keepalive ping timeout"),
        Failure::Lost | Failure::Handshake(_) => bytestring::ByteString::new(),
        Failure::Local(frame) => frame.reason.clone(),
    }
}
