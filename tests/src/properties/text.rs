//! Text in fragments, against the standard library: judged at the byte that decides.

use sansock_core::{Failure, ProtocolError};

use super::input::Input;
use crate::end::{End, config};
use crate::seen::Seen;
use crate::wire::{CONTINUATION, FIN, TEXT};

/// Text is accepted exactly if it is UTF-8, and refused with its first byte that cannot be.
pub(super) fn text(data: &[u8]) {
    let mut input = Input(data);
    let (side, delivery, mut cuts) = (input.side(), input.delivery(), input.cuts());
    let payload = input.0;
    let bad = deciding_byte(payload);
    let mut end = End::with(side, config().delivery(delivery));
    let failed = Seen::Failed(Failure::Protocol(ProtocolError::InvalidUtf8));
    let peer = end.peer();
    end.receive(&peer.frame(TEXT, b""));
    end.events();
    let mut position = 0;
    for piece in cuts.pieces(payload) {
        let frame = peer.frame(CONTINUATION, piece);
        let (header, masked) = frame.split_at(frame.len() - piece.len());
        assert_ne!(
            end.events_of(header).last(),
            Some(&failed),
            "by a header alone"
        );
        for byte in masked.chunks(1) {
            position += 1;
            let events = end.events_of(byte);
            let has_failed = events.last() == Some(&failed);
            assert_eq!(has_failed, bad == Some(position), "byte {position}");
            if has_failed {
                return;
            }
        }
    }
    let events = end.events_of(&peer.frame(FIN | CONTINUATION, b""));
    let is_text = std::str::from_utf8(payload).is_ok();
    assert_eq!(events.last() == Some(&failed), !is_text);
}

/// The number of bytes with which it is certain that text is not UTF-8.
fn deciding_byte(bytes: &[u8]) -> Option<usize> {
    let valid = match std::str::from_utf8(bytes) {
        Ok(_) => return None,
        Err(error) => error.valid_up_to(),
    };
    let mut ends = valid + 1..=bytes.len();
    ends.find(|end| {
        let text = std::str::from_utf8(&bytes[valid..*end]);
        text.is_err_and(|error| error.error_len().is_some())
    })
}
