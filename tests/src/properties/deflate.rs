//! Compressed messages, against an inflater of other people.

use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};
use sansock_core::deflate::Deflate as Compression;
use sansock_core::{Failure, ProtocolError, Side};

use super::input::Input;
use crate::deflate::{RSV1, TAIL, connection, end_with};
use crate::end::{End, SIDES, config};
use crate::seen::Seen;
use crate::wire::{BINARY, CONTINUATION, FIN, PeerOf};

const LIMIT: usize = 100_000;

/// Whatever arrives inflates to what the other inflater makes of it, or fails; whatever is compressed
/// inflates to itself, in both.
pub(super) fn deflate(data: &[u8]) {
    let mut input = Input(data);
    match input.flag() {
        true => inflates(input),
        false => compresses(input),
    }
}

/// What the other inflater makes of a message.
#[derive(Debug)]
enum Reference {
    Inflated(Vec<u8>),
    /// It is malformed, or more than the limit.
    Failed,
    /// It has a final block, behind which the other goes no farther.
    Final(Vec<u8>),
}

fn reference(state: &mut InflateState, payload: &[u8]) -> Reference {
    let bytes = [payload, &TAIL].concat();
    let (mut rest, mut out) = (&bytes[..], Vec::new());
    let mut block = vec![0; 4096];
    loop {
        let result = inflate(state, rest, &mut block, MZFlush::None);
        rest = &rest[result.bytes_consumed..];
        out.extend(&block[..result.bytes_written]);
        match result.status {
            _ if out.len() > LIMIT => return Reference::Failed,
            Ok(MZStatus::StreamEnd) => return Reference::Final(out),
            Ok(_) if rest.is_empty() && result.bytes_written < block.len() => {
                return Reference::Inflated(out);
            }
            Ok(_) => {}
            Err(MZError::Buf) if rest.is_empty() => return Reference::Inflated(out),
            Err(_) => return Reference::Failed,
        }
    }
}

fn inflates(mut input: Input<'_>) {
    let mut cuts = input.cuts();
    let payload = input.0;
    let config = config().deflate(Compression::new()).max_message_size(LIMIT);
    let make = || end_with(Side::Client, "permessage-deflate", config.clone());
    let peer = PeerOf(Side::Client);
    let whole = make().events_of(&peer.frame(FIN | RSV1 | BINARY, payload));
    let mut fragments = peer.frame(RSV1 | BINARY, b"");
    for piece in cuts.pieces(payload) {
        fragments.extend(peer.frame(CONTINUATION, piece));
    }
    fragments.extend(peer.frame(FIN | CONTINUATION, b""));
    let mut end = make();
    let events: Vec<Seen> = cuts
        .pieces(&fragments)
        .into_iter()
        .flat_map(|piece| end.events_of(piece))
        .collect();
    assert_eq!(events, whole, "in fragments");

    let mut state = InflateState::new(DataFormat::Raw);
    match (&whole[..], reference(&mut state, payload)) {
        ([Seen::Binary(ours)], Reference::Inflated(theirs)) => assert!(*ours == theirs),
        ([Seen::Binary(ours)], Reference::Final(theirs)) => assert!(ours.starts_with(&theirs)),
        ([Seen::Binary(_)], Reference::Failed) => panic!("inflated what is malformed"),
        ([Seen::Failed(failure)], reference) => {
            let error = Failure::Protocol(ProtocolError::Decompression);
            // One that stops in the middle of a block is malformed for us alone.
            let is_bomb = *failure != error;
            assert!(
                !is_bomb || !matches!(reference, Reference::Inflated(_)),
                "{failure:?}"
            );
        }
        (events, _) => panic!("{events:?}"),
    }
}

fn compresses(mut input: Input<'_>) {
    let side = input.side();
    let bits = 9 + input.below(7);
    let mut answer =
        format!("permessage-deflate; server_max_window_bits={bits}; client_max_window_bits={bits}");
    let takeover = input.flag();
    if !takeover {
        answer += "; server_no_context_takeover; client_no_context_takeover";
    }
    let config = config()
        .deflate(Compression::new().threshold(0))
        .max_message_size(1 << 20);
    let mut ends = SIDES.map(|side| End::of(connection(side, &answer, config.clone())));
    if side == Side::Server {
        ends.reverse();
    }
    let [sender, receiver] = &mut ends;
    let mut state = InflateState::new(DataFormat::Raw);
    let mut cuts = input.cuts();
    while !input.is_empty() {
        let message = input.bytes().repeat(1 + input.below(20));
        sender.send(&message).expect("an open end");
        let wire = sender.output();
        let events: Vec<Seen> = cuts
            .pieces(&wire)
            .into_iter()
            .flat_map(|piece| receiver.events_of(piece))
            .collect();
        assert_eq!(events, [Seen::Binary(message.clone())]);
        for frame in crate::wire::sent_by(side, &wire) {
            if frame.first & RSV1 == 0 {
                continue;
            }
            if !takeover {
                state = InflateState::new(DataFormat::Raw);
            }
            match reference(&mut state, &frame.payload) {
                Reference::Inflated(theirs) => assert!(theirs == message),
                other @ (Reference::Failed | Reference::Final(_)) => panic!("{other:?}"),
            }
        }
    }
}
