//! Frames, whole and in pieces, in every delivery, against the reference.

use sansock_core::{Delivery, Kind, Side};

use super::input::Input;
use super::reference::{Item, Reference};
use crate::end::{End, config};
use crate::seen::Seen;
use crate::wire::sent_by;

const MOST_EMPTY: u32 = 3;

/// Frames mean what the reference says, however they are cut and given out.
pub(super) fn frames(data: &[u8]) {
    let mut input = Input(data);
    let (side, delivery) = (input.side(), input.delivery());
    let limit = [0, 200, 1000, 70_000][input.below(4)];
    let mut cuts = input.cuts();
    let wire = input.0;
    // What is put together has a limit; chunks are not.
    let their_limit = match delivery {
        Delivery::Chunks => u64::MAX,
        Delivery::Messages | Delivery::Frames => limit as u64,
    };
    let expected = Reference::new(side, their_limit, MOST_EMPTY, wire).judge();
    let make = || {
        let config = config().max_message_size(limit);
        End::with(
            side,
            config.max_empty_fragments(MOST_EMPTY).delivery(delivery),
        )
    };
    for pieces in [vec![wire], cuts.pieces(wire)] {
        let (events, sent) = received(make(), &pieces);
        let (events, items) = match delivery {
            Delivery::Frames => (events, expected.clone()),
            Delivery::Messages => (events, as_messages(&expected)),
            Delivery::Chunks => (whole_messages(events), as_messages(&expected)),
        };
        assert_eq!(named(side, &events, &sent), items);
    }
}

/// What comes of pieces: the events, and what was sent.
fn received(mut end: End, pieces: &[&[u8]]) -> (Vec<Seen>, Vec<(u8, Vec<u8>)>) {
    let (mut events, mut output) = (Vec::new(), Vec::new());
    for piece in pieces {
        end.receive(piece);
        events.extend(end.events());
        output.extend(end.output());
        end.mind_the_time();
    }
    let sent = sent_by(end.side(), &output).into_iter();
    (
        events,
        sent.map(|frame| (frame.first, frame.payload)).collect(),
    )
}

/// The events as the reference has them. The code of a failure is in the last frame that was sent.
fn named(side: Side, events: &[Seen], sent: &[(u8, Vec<u8>)]) -> Vec<Item> {
    let mut items = Vec::new();
    for event in events {
        items.push(match event {
            Seen::Text(text) => Item::Data(1, true, text.clone().into_bytes()),
            Seen::Binary(bytes) => Item::Data(2, true, bytes.clone()),
            Seen::Frame(opcode, fin, payload) => Item::Data(opcode.number(), *fin, payload.clone()),
            Seen::Ping(payload) => Item::Ping(payload.clone()),
            Seen::Pong(payload) => Item::Pong(payload.clone()),
            Seen::Close(code, reason) => Item::Close(*code, reason.clone()),
            Seen::Failed(_) => {
                let (first, body) = sent.last().expect("a Close frame");
                assert_eq!(*first, 0x88, "{side:?}");
                Item::Error(u16::from_be_bytes([body[0], body[1]]))
            }
            Seen::Chunk { .. } | Seen::Request(_) | Seen::Response(_) => unreachable!("{event:?}"),
        });
    }
    items
}

/// Puts the messages together that are complete.
fn as_messages(items: &[Item]) -> Vec<Item> {
    let (mut messages, mut kind, mut payload) = (Vec::new(), 0, Vec::new());
    for item in items {
        let Item::Data(opcode, fin, part) = item else {
            messages.push(item.clone());
            continue;
        };
        if *opcode != 0 {
            kind = *opcode;
        }
        payload.extend(part);
        if *fin {
            messages.push(Item::Data(kind, true, std::mem::take(&mut payload)));
        }
    }
    messages
}

/// Puts the chunks of messages together that are complete; the others are dropped.
fn whole_messages(events: Vec<Seen>) -> Vec<Seen> {
    let (mut messages, mut open) = (Vec::new(), None);
    for event in events {
        let Seen::Chunk {
            kind,
            first,
            last,
            payload: part,
        } = event
        else {
            messages.push(event);
            continue;
        };
        assert_eq!(first, open.is_none(), "first chunk of a message");
        let (of_message, payload) = open.get_or_insert_with(|| (kind, Vec::new()));
        assert_eq!(*of_message, kind, "kind of a message");
        payload.extend(part);
        if last {
            messages.extend(open.take().map(message));
        }
    }
    messages
}

fn message((kind, payload): (Kind, Vec<u8>)) -> Seen {
    match kind {
        Kind::Text => Seen::Text(String::from_utf8(payload).expect("text is UTF-8")),
        Kind::Binary => Seen::Binary(payload),
    }
}
