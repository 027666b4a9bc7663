//! What a connection tells its user.

use core::time::Duration;

use crate::error::Failure;
use crate::frame::{CloseFrame, Kind, OpCode};
use crate::handshake::{Request, Response};
use crate::message::{LentBytes, MessageRef};

/// Something that happened, in the order in which it happened.
///
/// [`Close`](Self::Close) or [`Failed`](Self::Failed) is the last event, and comes once: after
/// everything that was complete before it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The request of the opening handshake; a server's first event.
    Request(Request),
    /// The response of the opening handshake; a client's first event.
    Response(Response),
    /// A whole message ([`Delivery::Messages`](crate::Delivery::Messages)).
    Message(MessageRef<'a>),
    /// A data frame ([`Delivery::Frames`](crate::Delivery::Frames)).
    Frame(FrameRef<'a>),
    /// A part of a message ([`Delivery::Chunks`](crate::Delivery::Chunks)).
    Chunk(Chunk<'a>),
    /// The peer sent a ping; the pong is already queued.
    Ping(&'a [u8]),
    /// The peer sent a pong.
    Pong {
        /// What the ping held.
        payload: &'a [u8],
        /// The time since that ping, where it was one of the connection's own.
        latency: Option<Duration>,
    },
    /// The peer's Close frame; the answer is already queued where one is due.
    Close(CloseFrame),
    /// The connection failed; the Close frame that says so is already queued where one is due.
    Failed(Failure),
}

/// A data frame, lent from the connection's buffers.
#[derive(Debug)]
pub struct FrameRef<'a> {
    /// Text, Binary or Continuation.
    pub opcode: OpCode,
    /// Whether the message ends with this frame.
    pub fin: bool,
    /// The payload, unmasked.
    pub payload: LentBytes<'a>,
}

/// A part of a message, lent from the connection's read buffer.
///
/// Fragments and reads cut a message anywhere, text also inside a character. The text up to here is
/// known to be valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// What the message holds.
    pub kind: Kind,
    /// Whether the message starts with this part.
    pub first: bool,
    /// Whether the message ends with this part.
    pub last: bool,
    /// The part; empty where nothing but the start or end of the message is to be told.
    pub payload: &'a [u8],
}
