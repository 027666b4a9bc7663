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

use super::deadlines::{Deadlines, Timer};
use super::keepalive::{Keepalive, Situation};
use super::output::Output;
use super::pings::Pings;
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
    /// How far the output was taken when the write deadline was armed, without the upper half of the number.
    progress: u32,
    pub(super) keepalive: Keepalive,
    now: Instant,
    #[cfg(feature = "tracing")]
    pub(super) trace: super::trace::Trace,
}

impl Link {
    pub(super) fn new(side: Side, generator: Option<Generator>, config: Config) -> Self {
        let mut deadlines = Deadlines::new();
        deadlines.start(Timer::Open);
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
            deadlines,
            progress: 0,
            keepalive: Keepalive::new(),
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
                .ok_or_else(|| NegotiationError::new("was not offered"))
                .and_then(|extension| extension.start(self.side, answer));
            coding
                .and_then(|coding| codings.push(coding))
                .map_err(|error| answer.error(error.into_problem()))?;
        }
        self.codings = codings;
        Ok(())
    }

    /// Schedules the release of what the codings hold once the connection is idle.
    pub(super) fn use_codings(&mut self) {
        self.codings_used = true;
        if self.deadlines.is_off(Timer::Idle) {
            self.deadlines.start(Timer::Idle);
        }
    }

    /// The opening handshake is complete.
    pub(super) fn open(&mut self) {
        self.phase.opened();
        #[cfg(feature = "tracing")]
        self.trace_opened();
        self.deadlines.start(Timer::Ping);
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
        self.counters.control_sent();
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
        let was_end_pending = self.is_end_pending();
        let buffers = &self.config.settings().buffers;
        self.output.fail(buffers);
        self.keepalive.set_flush_pending(false);
        if self.phase.reads_frames() {
            self.stop_writing();
        } else if was_end_pending {
            self.end_unless_read();
        }
    }

    fn stop_writing(&mut self) {
        self.phase.write_failed();
        #[cfg(feature = "tracing")]
        self.trace_closing();
        self.keepalive.stop();
        self.deadlines.only_close();
    }

    /// Both sides have said what they had to say. A server ends the stream first; a client waits
    /// (RFC 6455 section 7.1.1), unless the stream shares its connection.
    fn expect_end(&mut self) {
        #[cfg(feature = "tracing")]
        self.trace_closing();
        if self.side == Side::Server || self.settings().multiplexed {
            self.push_end();
        }
        self.codings = Codings::default();
        self.keepalive.stop();
        self.deadlines.only_close();
    }

    /// The end of our stream was written. RFC 8441 section 5: on a stream of a shared connection, that is all; the
    /// peer's end is not waited for.
    pub(super) fn end_written(&mut self) {
        let was_pending = self.is_end_pending();
        self.output.end_written();
        if was_pending && !self.is_end_pending() {
            self.end_unless_read();
        }
    }

    /// Ends the connection if nothing that arrives is read any more.
    fn end_unless_read(&mut self) {
        if self.phase.discards() && !self.phase.is_ended() {
            self.eof();
        }
    }

    /// Whether a stream of a shared connection has to be ended before the connection is over.
    pub(super) fn is_end_pending(&self) -> bool {
        self.settings().multiplexed && self.output.is_end_pending()
    }

    /// Our Close frame goes first: the peer's has until the deadline for the end of the stream.
    pub(super) fn close_queued(&mut self, frame: CloseFrame) {
        self.push_close(&frame);
        self.phase.close_queued(frame);
        #[cfg(feature = "tracing")]
        self.trace_closing();
        self.deadlines.start(Timer::Close);
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
        self.push_control(OpCode::Close, body.get(..size).unwrap_or_default());
        self.output.close_queued();
    }

    /// Queues the end of the stream.
    fn push_end(&mut self) {
        let buffers = &self.config.settings().buffers;
        self.output.push_end(buffers);
    }

    /// Queues a control frame.
    pub(super) fn push_control(&mut self, opcode: OpCode, payload: &[u8]) {
        self.counters.control_sent();
        self.push_frame(opcode, true, 0, payload);
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

    /// The transport is full.
    pub(super) fn write_blocked(&mut self) {
        self.keepalive.write_blocked(self.output.taken());
    }

    /// Arms what waits for the time, and does what is due. `arrived` is how much of an incomplete message
    /// has arrived.
    pub(super) fn handle_timeout(&mut self, now: Instant, event_waits: bool, arrived: Option<u64>) {
        self.set_now(now);
        self.note_progress(event_waits);
        if arrived.is_some() || self.keepalive.is_measuring() {
            self.measure_rate(arrived, event_waits);
        }
        if self.deadlines.is_due(self.now) {
            self.arm();
            self.fire_due(arrived);
        }
    }

    pub(super) fn next_timeout(&self, event_waits: bool, arrived: Option<u64>) -> Option<Instant> {
        if self.phase.is_ended() && self.output.is_empty() && !self.is_end_pending() {
            return None;
        }
        let at_once = self.write_progressed()
            || self.keepalive.wants_attention(self.situation(event_waits))
            || self.begins_measuring(arrived, event_waits);
        match at_once {
            true => Some(self.now),
            false => self.deadlines.next(self.now),
        }
    }

    const fn situation(&self, event_waits: bool) -> Situation {
        Situation {
            now: self.now,
            received: self.counters.bytes_received,
            taken: self.output.taken(),
            event_waits,
        }
    }

    /// Whether the write deadline has to be set anew: output waits, and it is not what waited before. So
    /// output that was queued by taking an event is noticed even if there is no such deadline.
    fn write_progressed(&self) -> bool {
        self.output_waits()
            && (self.progress != low_half(self.output.taken())
                || self.deadlines.is_off(Timer::Write))
    }

    /// Whether output waits, here or in the transport.
    const fn output_waits(&self) -> bool {
        self.keepalive.flush_pending() || !self.output.is_empty()
    }

    #[inline]
    fn note_progress(&mut self, event_waits: bool) {
        if !self.output_waits() {
            if !self.deadlines.is_off(Timer::Write) {
                self.deadlines.stop(Timer::Write);
            }
        } else if self.write_progressed() {
            self.progress = low_half(self.output.taken());
            self.deadlines.start(Timer::Write);
        }
        self.note_pings();
        if self.keepalive.is_concerned(self.output.taken()) {
            self.note_life(event_waits);
        }
    }

    /// Sets the deadline of the pong that is awaited, if there is evidence of life.
    #[cold]
    fn note_life(&mut self, event_waits: bool) {
        let seen = self.situation(event_waits);
        let settings = self.config.settings();
        let (timeout, rate) = (settings.ping_timeout, settings.min_send_rate);
        if let Some(pong) = self.keepalive.observe(seen, timeout, rate) {
            self.deadlines.set(Timer::Pong, pong);
        }
        self.keepalive.count_taken(seen, rate);
    }

    /// Starts the clock of the pings that were handed to the transport. What arrives may answer them,
    /// so that they were sent before it did.
    #[inline(always)]
    pub(super) fn note_pings(&mut self) {
        self.pings.taken(self.output.taken(), self.now);
    }

    /// Whether a message has begun whose rate is not measured yet.
    fn begins_measuring(&self, arrived: Option<u64>, event_waits: bool) -> bool {
        arrived.is_some()
            && self.settings().min_receive_rate.is_some()
            && !self.keepalive.is_measuring()
            && !self.keepalive.is_paused(event_waits)
    }

    /// Measures the rate of an incomplete message, while this side reads.
    #[cold]
    fn measure_rate(&mut self, arrived: Option<u64>, event_waits: bool) {
        match arrived {
            Some(size) if self.begins_measuring(arrived, event_waits) => {
                self.keepalive.measure(size);
                self.deadlines.start(Timer::Receive);
            }
            Some(_) if !self.keepalive.is_paused(event_waits) => {}
            Some(_) | None if self.keepalive.is_measuring() => {
                self.keepalive.stop_measuring();
                self.deadlines.stop(Timer::Receive);
            }
            Some(_) | None => {}
        }
    }

    fn arm(&mut self) {
        let (now, settings) = (self.now, self.config.settings());
        let open_or_ping = match self.phase.is_connecting() {
            true => settings.open_timeout,
            false => settings.ping_interval,
        };
        let times = [
            (Timer::Open, open_or_ping),
            (Timer::Close, settings.close_timeout),
            (Timer::Receive, Some(Deadline::RECEIVE_PERIOD)),
            (Timer::Write, settings.write_timeout),
            (Timer::Idle, Some(CODINGS_KEPT)),
        ];
        self.deadlines.arm(now, times);
    }

    fn fire_due(&mut self, arrived: Option<u64>) {
        let is_connecting = self.phase.is_connecting();
        if is_connecting && self.deadlines.fire(Timer::Open, self.now) {
            self.give_up(Deadline::Open);
        }
        if self.deadlines.fire(Timer::Close, self.now) {
            self.give_up(Deadline::Close);
        }
        if self.deadlines.fire(Timer::Write, self.now) {
            self.give_up(Deadline::Write);
        }
        if self.deadlines.fire(Timer::Pong, self.now) {
            self.fail(Failure::TimedOut(Deadline::Pong));
            let grace = self.now.checked_add(ABORT_CLOSE_GRACE);
            self.deadlines.bring_forward(Timer::Close, grace);
        }
        if self.deadlines.fire(Timer::Receive, self.now) {
            self.check_rate(arrived);
        }
        if !is_connecting && self.deadlines.fire(Timer::Ping, self.now) {
            self.keep_alive();
        }
        if self.deadlines.fire(Timer::Idle, self.now) {
            self.release_idle_codecs();
        }
    }

    /// Fails the connection if too little of a message has arrived in a period.
    fn check_rate(&mut self, arrived: Option<u64>) {
        let (Some(arrived), Some(rate)) = (arrived, self.settings().min_receive_rate) else {
            return;
        };
        if self.keepalive.is_too_slow(arrived, rate) {
            self.fail(Failure::TimedOut(Deadline::Receive));
            return;
        }
        self.keepalive.measure(arrived);
        self.deadlines.start(Timer::Receive);
        self.arm();
    }

    /// Gives back what the codings hold, unless they were used since the last time.
    fn release_idle_codecs(&mut self) {
        if core::mem::take(&mut self.codings_used) {
            self.deadlines.start(Timer::Idle);
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
        self.deadlines = Deadlines::new();
    }

    /// Pings the peer, and requests a wakeup for the next ping; not before the pong of the last came.
    fn keep_alive(&mut self) {
        if !self.phase.is_open() || self.keepalive.is_waiting() {
            return;
        }
        let start = self.output.position();
        let ping = self.push_ping();
        self.keepalive.start(ping, start..self.output.position());
        self.deadlines.start(Timer::Ping);
        self.arm();
    }

    /// A pong came. Returns whether it answers a ping of ours. The keepalive is satisfied by the pong of
    /// its own ping, or of a later one.
    pub(super) fn pong_received(&mut self, payload: &[u8]) -> bool {
        self.counters.pongs_received = self.counters.pongs_received.saturating_add(1);
        let Some(ends) = self.pings.pong(payload, self.now) else {
            return false;
        };
        let (seen, rate) = (self.situation(false), self.settings().min_send_rate);
        self.keepalive.arrived(ends, seen, rate);
        if self.keepalive.is_answered(&self.pings) {
            self.keepalive.stop();
            self.deadlines.stop(Timer::Pong);
            if self.deadlines.is_off(Timer::Ping) {
                self.deadlines.start(Timer::Ping);
            }
        }
        true
    }
}

/// Returns the lower half of a number, which changes if the number grows a little.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the lower half is what is needed"
)]
const fn low_half(number: u64) -> u32 {
    number as u32
}

/// The reason of the Close frame that reports a failure.
fn reason_of(failure: &Failure) -> bytestring::ByteString {
    match failure {
        Failure::Protocol(error) => alloc::string::ToString::to_string(error).into(),
        Failure::TimedOut(Deadline::Receive) => {
            bytestring::ByteString::from_static("a message arrives too slowly")
        }
        Failure::TimedOut(_) => bytestring::ByteString::from_static("keepalive ping timeout"),
        Failure::Lost | Failure::Handshake(_) => bytestring::ByteString::new(),
        Failure::Local(frame) => frame.reason.clone(),
    }
}
