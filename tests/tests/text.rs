//! Text that is UTF-8, and text that is not (RFC 6455 sections 5.6 and 8.1).

use sansock_core::{Delivery, Failure, ProtocolError, Side, State};
use sansock_tests::end::{End, SIDES, config};
use sansock_tests::receive::{received, received_with};
use sansock_tests::seen::Seen;
use sansock_tests::wire::{CLOSE, CONTINUATION, FIN, PeerOf, TEXT};

const DELIVERIES: [Delivery; 3] = [Delivery::Messages, Delivery::Frames, Delivery::Chunks];

/// Receives frames that hold bad text: nothing is given out, and the peer is told 1007.
#[track_caller]
fn assert_refused(side: Side, delivery: Delivery, frames: &[u8]) {
    let outcome = received_with(side, &config().delivery(delivery), frames);
    let failure = Failure::Protocol(ProtocolError::InvalidUtf8);
    assert_eq!(outcome.events, [Seen::Failed(failure)]);
    assert_eq!(outcome.has_ended, side == Side::Server);
    let (first, body) = outcome.sent.last().expect("a Close frame");
    assert_eq!((*first, &body[..2]), (CLOSE, &1007_u16.to_be_bytes()[..]));
}

#[test]
fn text_that_is_not_utf8_is_refused_whole_or_in_fragments() {
    let malformed: [&[u8]; 13] = [
        b"\xC0\x80",
        b"\xE0\x80\x80",
        b"\xF0\x80\x80\x80",
        b"\xED\xA0\x80",
        b"\xED\xBF\xBF",
        b"\xF4\x90\x80\x80",
        b"\xF5\x80\x80\x80",
        b"\xFF",
        b"\x80",
        b"ok \xC3(",
        b"cut \xC3",
        b"cut \xE2\x82",
        b"cut \xF0\x9F\xA5",
    ];
    for side in SIDES {
        let peer = PeerOf(side);
        for payload in malformed {
            let whole = peer.frame(FIN | TEXT, payload);
            for delivery in DELIVERIES {
                assert_refused(side, delivery, &whole);
            }
            for cut in 0..=payload.len() {
                let (start, rest) = payload.split_at(cut);
                let parts = [
                    peer.frame(TEXT, start),
                    peer.frame(FIN | CONTINUATION, rest),
                ];
                assert_refused(side, Delivery::Messages, &parts.concat());
            }
        }
    }
}

#[test]
fn text_of_any_characters_is_valid_in_any_fragments() {
    let all =
        "\0\u{7F}\u{80}\u{7FF}\u{800}\u{D7FF}\u{E000}\u{FEFF}\u{FFFE}\u{FFFF}\u{10000}\u{10FFFF}";
    for side in SIDES {
        let peer = PeerOf(side);
        for cut in 0..=all.len() {
            let (start, rest) = all.as_bytes().split_at(cut);
            let parts = [
                peer.frame(TEXT, start),
                peer.frame(FIN | CONTINUATION, rest),
            ];
            let outcome = received(side, &parts.concat());
            assert_eq!(outcome.events, [Seen::Text(all.into())]);
            assert_eq!(outcome.state, State::Open);
        }
    }
}

#[test]
fn text_is_refused_at_its_first_bad_byte_in_every_delivery() {
    // Each is bad at its last byte; the frame would go on.
    let malformed: [&[u8]; 7] = [
        b"\x80",
        b"fine \xFF",
        b"fine \xC3(",
        b"fine \xE0\x80",
        b"fine \xED\xA0",
        b"fine \xF0\x9F\xA5(",
        b"fine \xF4\x90",
    ];
    for side in SIDES {
        let peer = PeerOf(side);
        for (delivery, payload) in DELIVERIES
            .into_iter()
            .flat_map(|delivery| malformed.map(|payload| (delivery, payload)))
        {
            for first in [FIN | TEXT, TEXT] {
                let mut end = End::with(side, config().delivery(delivery));
                let mut frame = peer.header(first, 1000);
                frame.extend(peer.masked(payload));
                let (bad, fine) = frame.split_last().unwrap();
                for byte in fine {
                    end.events_of(&[*byte]);
                }
                assert_eq!(end.state(), State::Open, "{delivery:?} {payload:x?}");
                let failed = [Seen::Failed(Failure::Protocol(ProtocolError::InvalidUtf8))];
                assert_eq!(end.events_of(&[*bad]), failed, "{delivery:?} {payload:x?}");
                // The same in one read: nothing of the bad part is given out.
                let mut end = End::with(side, config().delivery(delivery));
                assert_eq!(end.events_of(&frame), failed, "{delivery:?} {payload:x?}");
            }
        }
    }
}

#[test]
fn text_that_ends_inside_a_character_is_refused_in_every_delivery() {
    for side in SIDES {
        let peer = PeerOf(side);
        for delivery in DELIVERIES {
            let last = peer.frame(FIN | CONTINUATION, b"\x82");
            let bytes = [peer.frame(TEXT, b"\xE2"), last].concat();
            let outcome = received_with(side, &config().delivery(delivery), &bytes);
            let failure = Failure::Protocol(ProtocolError::InvalidUtf8);
            assert_eq!(outcome.failure, Some(failure), "{delivery:?}");
        }
    }
}
