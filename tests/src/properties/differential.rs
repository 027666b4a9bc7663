//! The same bytes to this library and to another one.

use std::io;

use sansock_core::{Failure, ProtocolError, Side};
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

use super::input::Input;
use crate::end::{End, config};
use crate::seen::Seen;

const LIMIT: usize = 1000;

/// Both give out the same, up to where this one finds fault; what the other refuses, this one refuses.
pub(super) fn differential(data: &[u8]) {
    let mut input = Input(data);
    let (side, mut cuts) = (input.side(), input.cuts());
    let wire = input.0;
    let config = config().max_message_size(LIMIT).max_empty_fragments(None);
    let mut end = End::with(side, config);
    let ours: Vec<Seen> = cuts
        .pieces(wire)
        .into_iter()
        .flat_map(|piece| end.events_of(piece))
        .collect();
    let (theirs, their_end) = by_the_other(side, wire);

    let data = |seen: &&Seen| !matches!(seen, Seen::Failed(_));
    let given: Vec<&Seen> = ours.iter().filter(data).collect();
    for (ours, theirs) in given.iter().zip(&theirs) {
        // The other one says so where it does not know a code, 1014 among them.
        let is_unknown = matches!(theirs, Seen::Close(1002, _)) && matches!(ours, Seen::Close(..));
        assert!(is_unknown || *ours == theirs, "{ours:?} {theirs:?}");
    }
    match end.failure() {
        None => {
            assert_eq!(given.len(), theirs.len(), "{given:?} {theirs:?}");
            assert_ne!(their_end, Ended::Refused, "{ours:?}");
        }
        Some(failure) => {
            assert!(theirs.len() >= given.len(), "{ours:?} {theirs:?}");
            let goes_on = theirs.len() > given.len() || their_end == Ended::Closed;
            assert!(!goes_on || is_lenient(failure), "{failure:?} {theirs:?}");
        }
    }
}

/// What the other one lets pass: RFC 6455 section 5.2 asks for the shortest form of a length, also of that
/// of a control frame, and section 7.4 keeps codes from being used.
fn is_lenient(failure: &Failure) -> bool {
    use ProtocolError as E;
    matches!(
        failure,
        Failure::Protocol(E::LengthNotMinimal | E::ControlTooLong(_) | E::InvalidCloseCode(_))
    )
}

/// How the other one ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Waits,
    Closed,
    Refused,
}

struct Wire<'a>(&'a [u8]);

impl io::Read for Wire<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.0.is_empty() {
            true => Err(io::ErrorKind::WouldBlock.into()),
            false => self.0.read(buf),
        }
    }
}

impl io::Write for Wire<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn by_the_other(side: Side, wire: &[u8]) -> (Vec<Seen>, Ended) {
    let role = match side {
        Side::Client => Role::Client,
        Side::Server => Role::Server,
    };
    let config = WebSocketConfig::default()
        .max_message_size(Some(LIMIT))
        .max_frame_size(Some(LIMIT));
    let mut socket = WebSocket::from_raw_socket(Wire(wire), role, Some(config));
    let mut seen = Vec::new();
    loop {
        seen.push(match socket.read() {
            Ok(Message::Text(text)) => Seen::Text(text.as_str().to_owned()),
            Ok(Message::Binary(bytes)) => Seen::Binary(bytes.to_vec()),
            Ok(Message::Ping(payload)) => Seen::Ping(payload.to_vec()),
            Ok(Message::Pong(payload)) => Seen::Pong(payload.to_vec()),
            Ok(Message::Close(frame)) => {
                seen.push(match frame {
                    Some(frame) => Seen::Close(frame.code.into(), frame.reason.as_str().to_owned()),
                    None => Seen::Close(1005, String::new()),
                });
                return (seen, Ended::Closed);
            }
            Ok(Message::Frame(_)) => unreachable!("never given out"),
            Err(Error::Io(_)) => return (seen, Ended::Waits),
            Err(_) => return (seen, Ended::Refused),
        });
    }
}
