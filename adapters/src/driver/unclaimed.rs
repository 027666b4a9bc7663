//! Events that no operation waits for: pings and pongs, and data that the application does not read.

use std::collections::VecDeque;
use std::time::Duration;

use sansock_core::{CloseCode, CloseFrame, Connection, Event, Failure, Ready};

use super::Goal;

/// What becomes of the events that the current operation does not wait for.
#[derive(Debug, Default)]
pub(crate) struct Unclaimed {
    /// Absent in most connections, which are idle most of the time.
    wishes: Option<Box<Wishes>>,
}

/// What an application has asked for, and what came of it.
#[derive(Debug, Default)]
struct Wishes {
    /// Present while data is discarded.
    discard: Option<Discard>,
    /// Messages that were discarded though a task might have received them.
    unread: u64,
    /// Whether events are observed one by one.
    observes: bool,
    /// Control events that passed while the application waited for something else.
    observed: VecDeque<ControlEvent>,
    /// The one that is borrowed.
    borrowed: Option<ControlEvent>,
}

/// How many more bytes of data are discarded before the connection fails.
#[derive(Debug, Clone, Copy)]
struct Discard {
    left: u64,
    /// Whether the application asked for it.
    is_wanted: bool,
}

/// An event other than data, with a payload that is owned.
#[derive(Debug)]
pub(crate) enum ControlEvent {
    Ping(Box<[u8]>),
    Pong {
        payload: Box<[u8]>,
        latency: Option<Duration>,
    },
    Close(CloseFrame),
    Failed(Failure),
}

impl ControlEvent {
    fn of(event: Event<'_>) -> Option<Self> {
        if let Event::Ping(payload) = event {
            return Some(Self::Ping(payload.into()));
        }
        if let Event::Pong { payload, latency } = event {
            let payload = payload.into();
            return Some(Self::Pong { payload, latency });
        }
        if let Event::Close(frame) = event {
            return Some(Self::Close(frame));
        }
        let Event::Failed(failure) = event else {
            return None;
        };
        Some(Self::Failed(failure))
    }

    pub(crate) fn as_event(&self) -> Event<'_> {
        match self {
            Self::Ping(payload) => Event::Ping(payload),
            Self::Pong { payload, latency } => Event::Pong {
                payload,
                latency: *latency,
            },
            Self::Close(frame) => Event::Close(frame.clone()),
            Self::Failed(failure) => Event::Failed(failure.clone()),
        }
    }
}

impl Unclaimed {
    /// How many pings and pongs are kept for an application that observes events. Of more, the oldest
    /// are dropped.
    const MAX_OBSERVED: usize = 32;

    /// Discards data from now on, up to `limit` bytes.
    pub(crate) fn discard(&mut self, limit: u64) {
        self.wishes().discard = Some(Discard {
            left: limit,
            is_wanted: true,
        });
    }

    /// Discards data from now on that no task has received in time. It is counted.
    pub(crate) fn discard_unread(&mut self) {
        self.wishes().discard = Some(Discard {
            left: u64::MAX,
            is_wanted: false,
        });
    }

    #[inline]
    fn is_discarding(&self) -> bool {
        let wishes = self.wishes.as_ref();
        wishes.is_some_and(|wishes| wishes.discard.is_some())
    }

    /// Returns how many messages were discarded though the application did not ask for it.
    pub(crate) fn unread(&self) -> u64 {
        self.wishes.as_ref().map_or(0, |wishes| wishes.unread)
    }

    /// Keeps control events from now on, for [`next_observed`](Self::next_observed).
    pub(crate) fn observe(&mut self) {
        self.wishes().observes = true;
    }

    /// Whether a control event was kept.
    pub(crate) fn has_observed(&self) -> bool {
        let wishes = self.wishes.as_ref();
        wishes.is_some_and(|wishes| !wishes.observed.is_empty())
    }

    /// Borrows the oldest control event that was kept.
    pub(crate) fn next_observed(&mut self) -> Option<&ControlEvent> {
        let wishes = self.wishes.as_mut()?;
        wishes.borrowed = wishes.observed.pop_front();
        wishes.borrowed.as_ref()
    }

    fn wishes(&mut self) -> &mut Wishes {
        self.wishes.get_or_insert_default()
    }

    /// Parses up to the next event that an operation waits for, and disposes of those before it. Returns
    /// whether there is one. Nothing is parsed past a message that was not delivered.
    ///
    /// D8: the replies to all control frames before that event are queued when this returns, so that
    /// they leave in one write.
    #[inline]
    pub(super) fn parse(&mut self, connection: &mut Connection, goal: Goal) -> bool {
        while connection.parse_next() {
            if connection.io().ready() == Some(Ready::Data) {
                if !self.is_discarding() {
                    return true;
                }
                self.discard_data(connection);
            } else if goal == Goal::Event {
                return true;
            } else {
                self.pass(connection);
            }
        }
        false
    }

    /// Takes an event other than data.
    fn pass(&mut self, connection: &mut Connection) {
        let event = connection.next_event();
        if let Some(wishes) = self.wishes.as_mut().filter(|wishes| wishes.observes) {
            if wishes.observed.len() >= Self::MAX_OBSERVED {
                wishes.observed.pop_front();
            }
            wishes.observed.extend(event.and_then(ControlEvent::of));
        }
    }

    #[cold]
    fn discard_data(&mut self, connection: &mut Connection) {
        let (size, is_whole) = match connection.next_event() {
            Some(Event::Message(message)) => (message.as_bytes().len(), true),
            Some(Event::Frame(frame)) => (frame.payload.len(), frame.fin),
            Some(Event::Chunk(chunk)) => (chunk.payload.len(), chunk.last),
            _ => return,
        };
        let wishes = self.wishes();
        let Some(discard) = &mut wishes.discard else {
            return;
        };
        wishes.unread += u64::from(is_whole && !discard.is_wanted);
        match discard.left.checked_sub(size as u64) {
            Some(left) => discard.left = left,
            None => {
                // Code and reason may be sent. It is refused only if the connection is over.
                let _ = connection.fail(CloseCode::POLICY_VIOLATION, "unexpected data");
            }
        }
    }
}
