//! What happens, as events of the crate `tracing`: frames at trace level, changes of state at debug level.
//!
//! Compiled with the feature `tracing` alone, and called at the few places where a frame is read or queued and
//! where the phase changes. Nothing of a handshake is ever shown, as credentials are among it; of a payload, the
//! beginning is. What the peer chose is escaped: it must not be able to write lines of a log.

use alloc::boxed::Box;
use alloc::string::ToString;
use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering};

use tracing::Level;

use crate::error::Failure;
use crate::escape::escaped;
use crate::frame::{CloseCode, OpCode, Side};

use super::link::Link;
use super::state::{Closed, Phase};

const TARGET: &str = "sansock";

/// Bytes of a text that are shown.
const SHOWN_TEXT: usize = 64;

/// Bytes of any other payload that are shown.
const SHOWN_BINARY: usize = 16;

/// What the events of a connection have in common.
#[derive(Debug)]
pub(super) struct Trace {
    /// Its number in this process.
    connection: usize,
    peer: Option<Box<str>>,
}

impl Trace {
    pub(super) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        Self {
            connection: NEXT.fetch_add(1, Ordering::Relaxed),
            peer: None,
        }
    }

    /// Names the peer, if anybody listens.
    pub(super) fn set_peer(&mut self, peer: impl fmt::Display) {
        if tracing::enabled!(target: TARGET, Level::DEBUG) {
            self.peer = Some(peer.to_string().into());
        }
    }
}

/// A frame as it is shown: `TEXT "hi" [2 bytes]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown<'a> {
    pub(super) opcode: OpCode,
    pub(super) fin: bool,
    /// Whether an extension has encoded it.
    pub(super) encoded: bool,
    /// What of the payload is at hand.
    pub(super) payload: &'a [u8],
    /// All of the payload, in bytes.
    pub(super) length: u64,
}

impl<'a> Shown<'a> {
    /// Returns a frame of which the whole payload is at hand.
    pub(super) const fn whole(opcode: OpCode, fin: bool, encoded: bool, payload: &'a [u8]) -> Self {
        Self {
            opcode,
            fin,
            encoded,
            payload,
            length: payload.len() as u64,
        }
    }
}

macro_rules! event {
    ($level:ident, $link:expr, $($text:tt)+) => {
        tracing::$level!(
            target: TARGET,
            connection = $link.trace.connection,
            side = side($link.side),
            peer = $link.trace.peer.as_deref(),
            $($text)+
        )
    };
}

impl Link {
    pub(super) fn trace_received(&self, frame: Shown<'_>) {
        event!(trace, self, "< {frame}");
    }

    pub(super) fn trace_queued(&self, frame: Shown<'_>) {
        event!(trace, self, "> {frame}");
    }

    pub(super) fn trace_opened(&self) {
        event!(debug, self, "open");
    }

    pub(super) fn trace_refused(&self) {
        event!(debug, self, "opening handshake failed");
    }

    /// A Close frame was sent or received, or the connection failed.
    pub(super) fn trace_closing(&self) {
        match &self.phase {
            Phase::CloseQueued(sent) => event!(debug, self, "closing: sending {sent}"),
            Phase::ReadOnly(_) => event!(debug, self, "closing: the transport failed to write"),
            Phase::Ending(ending) => {
                let end = End(ending.failure.as_ref(), &ending.closed);
                event!(debug, self, "closing: {end}");
            }
            Phase::Connecting | Phase::Refused(_) | Phase::Open | Phase::Ended(_) => {}
        }
    }

    /// The stream is about to be over, unless it is already.
    pub(super) fn trace_ended(&self) {
        match &self.phase {
            Phase::Ending(ending) => {
                let closed = self.closed().unwrap_or(&ending.closed);
                let end = End(ending.failure.as_ref(), closed);
                event!(debug, self, "closed: {end}");
            }
            Phase::Connecting
            | Phase::Refused(_)
            | Phase::Open
            | Phase::CloseQueued(_)
            | Phase::ReadOnly(_) => event!(debug, self, "closed"),
            Phase::Ended(_) => {}
        }
    }
}

/// How a connection ended.
struct End<'a>(Option<&'a Failure>, &'a Closed);

impl fmt::Display for End<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(failure, closed) = self;
        match failure {
            Some(failure) => write!(f, "{failure}; {closed}"),
            None => write!(f, "{closed}"),
        }
    }
}

const fn side(side: Side) -> &'static str {
    match side {
        Side::Client => "client",
        Side::Server => "server",
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.opcode {
            OpCode::Continuation => "CONTINUATION",
            OpCode::Text => "TEXT",
            OpCode::Binary => "BINARY",
            OpCode::Close => "CLOSE",
            OpCode::Ping => "PING",
            OpCode::Pong => "PONG",
        })?;
        let shown = self.payload(f)?;
        let elided = if shown < self.length { " .." } else { "" };
        let encoded = if self.encoded { ", encoded" } else { "" };
        let continued = if self.fin { "" } else { ", continued" };
        write!(f, "{elided} [{} bytes{encoded}{continued}]", self.length)
    }
}

impl Shown<'_> {
    /// Writes the beginning of the payload. Returns how much of it, in bytes.
    fn payload(&self, f: &mut fmt::Formatter<'_>) -> Result<u64, fmt::Error> {
        if self.opcode == OpCode::Close {
            return self.close(f);
        }
        let text = text_of(self.payload).filter(|_| self.may_be_text());
        match text {
            Some(text) => quote(f, text),
            None => hexadecimal(f, self.payload),
        }
    }

    fn may_be_text(&self) -> bool {
        !self.encoded && matches!(self.opcode, OpCode::Text | OpCode::Continuation)
    }

    /// Writes the body of a Close frame (RFC 6455 section 5.5.1).
    fn close(&self, f: &mut fmt::Formatter<'_>) -> Result<u64, fmt::Error> {
        let Some((code, reason)) = self.payload.split_first_chunk::<2>() else {
            return hexadecimal(f, self.payload);
        };
        write!(f, " {}", CloseCode::new(u16::from_be_bytes(*code)))?;
        let shown = match text_of(reason) {
            Some("") => 0,
            Some(reason) => quote(f, reason)?,
            None => hexadecimal(f, reason)?,
        };
        Ok(shown.saturating_add(code.len() as u64))
    }
}

/// Returns the beginning of a payload as text, if it is text. It may end inside a character.
fn text_of(payload: &[u8]) -> Option<&str> {
    let beginning = payload.get(..SHOWN_TEXT).unwrap_or(payload);
    match core::str::from_utf8(beginning) {
        Ok(text) => Some(text),
        Err(error) if error.error_len().is_none() => {
            let whole = beginning.get(..error.valid_up_to())?;
            core::str::from_utf8(whole).ok()
        }
        Err(_) => None,
    }
}

fn quote(f: &mut fmt::Formatter<'_>, text: &str) -> Result<u64, fmt::Error> {
    write!(f, " \"{}\"", escaped(text))?;
    Ok(text.len() as u64)
}

fn hexadecimal(f: &mut fmt::Formatter<'_>, payload: &[u8]) -> Result<u64, fmt::Error> {
    let beginning = payload.get(..SHOWN_BINARY).unwrap_or(payload);
    for byte in beginning {
        write!(f, " {byte:02x}")?;
    }
    Ok(beginning.len() as u64)
}
