//! Events that can be kept and compared.

use sansock_core::{CloseFrame, Event, Failure, Kind, MessageRef, OpCode};

/// An event with what it lent.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "as in Event")]
pub enum Seen {
    Request(String),
    Response(u16),
    Text(String),
    Binary(Vec<u8>),
    Frame(OpCode, bool, Vec<u8>),
    Chunk {
        kind: Kind,
        first: bool,
        last: bool,
        payload: Vec<u8>,
    },
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(u16, String),
    Failed(Failure),
}

impl Seen {
    /// The payload of a message, or of a part of one.
    #[must_use]
    pub fn payload(&self) -> Option<&[u8]> {
        match self {
            Self::Text(text) => Some(text.as_bytes()),
            Self::Binary(payload) | Self::Frame(_, _, payload) | Self::Chunk { payload, .. } => {
                Some(payload)
            }
            Self::Request(_)
            | Self::Response(_)
            | Self::Ping(_)
            | Self::Pong(_)
            | Self::Close(..)
            | Self::Failed(_) => None,
        }
    }
}

impl From<Event<'_>> for Seen {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Request(request) => Self::Request(request.target().to_owned()),
            Event::Response(response) => Self::Response(response.status().number()),
            Event::Message(message) => Self::from(message),
            Event::Frame(frame) => Self::Frame(frame.opcode, frame.fin, frame.payload.to_vec()),
            Event::Chunk(chunk) => Self::Chunk {
                kind: chunk.kind,
                first: chunk.first,
                last: chunk.last,
                payload: chunk.payload.to_vec(),
            },
            Event::Ping(payload) => Self::Ping(payload.to_vec()),
            Event::Pong { payload, .. } => Self::Pong(payload.to_vec()),
            Event::Close(CloseFrame { code, reason }) => {
                Self::Close(code.number(), reason.to_string())
            }
            Event::Failed(failure) => Self::Failed(failure),
            _ => panic!("an event that this test does not know"),
        }
    }
}

impl From<MessageRef<'_>> for Seen {
    fn from(message: MessageRef<'_>) -> Self {
        match message {
            MessageRef::Text(text) => Self::Text(text.to_owned()),
            MessageRef::Binary(bytes) => Self::Binary(bytes.to_vec()),
        }
    }
}

/// Joins the chunks that stand next to each other in one message, as they may be cut anywhere. Those
/// of a message that failed are dropped: how much of it was given out depends on the reads.
#[must_use]
pub fn joined(events: Vec<Seen>) -> Vec<Seen> {
    let mut joined: Vec<Seen> = Vec::new();
    for event in events {
        match (joined.last_mut(), event) {
            (
                Some(Seen::Chunk {
                    last, payload: all, ..
                }),
                Seen::Chunk {
                    first: false,
                    last: ends,
                    payload,
                    ..
                },
            ) => {
                *last = ends;
                all.extend(payload);
            }
            (_, event) => joined.push(event),
        }
    }
    if let [.., Seen::Chunk { last: false, .. }, Seen::Failed(_)] = joined[..] {
        joined.remove(joined.len() - 2);
    }
    joined
}
