//! All two-byte headers, on both sides, inside and outside of a message, open and closing, without compression and
//! with it, against RFC 6455 sections 5.2, 5.4 and 5.5 and RFC 7692 section 6 alone. An error shows as soon as the
//! byte is there that decides.

use std::sync::LazyLock;

use sansock_core::deflate::Deflate;
use sansock_core::{CloseCode, Config, Delivery, Event, Failure, Fin, ProtocolError, Side, State};
use sansock_tests::deflate::end_with;
use sansock_tests::end::{End, SIDES, config};
use sansock_tests::seen::Seen;
use sansock_tests::wire::{CLOSE, PeerOf, TEXT};

/// What the RFC makes of a header so far.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Verdict {
    /// It may go on like this.
    Fine,
    /// It fails the connection with 1002.
    Refused,
}

/// Where a header comes.
#[derive(Debug, Clone, Copy)]
struct Circumstances {
    side: Side,
    in_message: bool,
    /// Whether this side has sent a Close frame.
    closing: bool,
    /// Whether permessage-deflate was agreed on.
    deflate: bool,
}

/// Section 5.2 for reserved bits and opcodes, 5.4 for the order of fragments, 5.5 for FIN; RFC 7692 section 6 for the
/// first reserved bit: that of the first frame of a message.
fn first_byte(byte: u8, at: Circumstances) -> Verdict {
    let in_message = at.in_message;
    let fin = byte >> 7 == 1;
    let reserved = byte >> 4 & 0b111;
    let legal = match byte & 0xF {
        1 | 2 if at.deflate && reserved == 0b100 => !in_message,
        _ if reserved != 0 => false,
        0 => in_message,
        1 | 2 => !in_message,
        8..=10 => fin,
        _ => false,
    };
    if legal {
        Verdict::Fine
    } else {
        Verdict::Refused
    }
}

/// Section 5.1 for the mask, 5.5 for the length of control frames.
fn second_byte(first: u8, byte: u8, side: Side) -> Verdict {
    let is_masked = byte >> 7 == 1;
    let is_control = first >> 3 & 1 == 1;
    if is_masked != (side == Side::Server) || (is_control && byte & 0x7F > 125) {
        Verdict::Refused
    } else {
        Verdict::Fine
    }
}

fn end_that_is(at: Circumstances) -> End {
    static FRAMES: LazyLock<Config> = LazyLock::new(|| config().delivery(Delivery::Frames));
    static DEFLATE: LazyLock<Config> = LazyLock::new(|| FRAMES.clone().deflate(Deflate::new()));
    let mut end = match at.deflate {
        true => end_with(at.side, "permessage-deflate", DEFLATE.clone()),
        false => End::with(at.side, FRAMES.clone()),
    };
    if at.in_message {
        let start = end.peer().frame(TEXT, b"");
        assert_eq!(end.events_of(&start).len(), 1);
    }
    if at.closing {
        end.send_close(CloseCode::NORMAL, "").expect("an open end");
        end.output();
    }
    end
}

#[track_caller]
fn judge(end: &mut End) -> Verdict {
    match end.next_event() {
        Some(Event::Failed(Failure::Protocol(error))) => {
            assert_eq!(error.close_code(), CloseCode::PROTOCOL_ERROR, "{error:?}");
            Verdict::Refused
        }
        // A frame without a payload is complete after two bytes on a client.
        None | Some(_) => Verdict::Fine,
    }
}

#[test]
fn every_header_is_judged_as_the_rfc_says_at_the_byte_that_decides() {
    for at in circumstances() {
        for first in 0..=255 {
            let mut end = end_that_is(at);
            end.receive(&[first]);
            let expected = first_byte(first, at);
            assert_eq!(judge(&mut end), expected, "{at:?} {first:#04x}");
            if expected == Verdict::Refused {
                assert_said(&mut end, at.closing);
                // Whatever follows changes nothing: that covers the other 256 headers.
                assert_eq!(end.events_of(&[0; 16]), []);
                assert_eq!(end.output(), b"");
                continue;
            }
            for second in 0..=255 {
                let mut end = end_that_is(at);
                end.receive(&[first]);
                assert_eq!(judge(&mut end), Verdict::Fine);
                end.receive(&[second]);
                let verdict = judge(&mut end);
                let expected = second_byte(first, second, at.side);
                assert_eq!(verdict, expected, "{at:?} {first:#04x} {second:#04x}");
                if verdict == Verdict::Refused {
                    assert_said(&mut end, at.closing);
                }
            }
        }
    }
}

#[test]
fn two_bytes_at_once_are_judged_as_one_by_one() {
    for at in circumstances() {
        for header in 0..=u16::MAX {
            let [first, second] = header.to_be_bytes();
            let expected = match first_byte(first, at) {
                Verdict::Fine => second_byte(first, second, at.side),
                Verdict::Refused => Verdict::Refused,
            };
            let mut end = end_that_is(at);
            end.receive(&[first, second]);
            assert_eq!(
                judge(&mut end),
                expected,
                "{at:?} {first:#04x} {second:#04x}"
            );
        }
    }
}

/// Messages that have arrived whole, with something behind them, take a shorter way.
#[test]
fn headers_of_what_has_arrived_whole_are_judged_alike() {
    for side in SIDES {
        let at = Circumstances {
            side,
            in_message: false,
            closing: false,
            deflate: false,
        };
        let behind = PeerOf(side).ping(b"behind");
        for header in 0..=u16::MAX {
            let [first, second] = header.to_be_bytes();
            if first & 0xF == 8 {
                // What stands in a Close frame is judged as well.
                continue;
            }
            let mut bytes = vec![first, second];
            let length = match second & 0x7F {
                short @ 0..126 => usize::from(short),
                126 => {
                    bytes.extend([1; 2]);
                    0x0101
                }
                _ => {
                    bytes.extend([1; 8]);
                    0
                }
            };
            let is_masked = second & 0x80 != 0;
            bytes.extend([1; 4].iter().take(if is_masked { 4 } else { 0 }));
            bytes.resize(bytes.len() + length, 1);
            bytes.extend(&behind);

            let refused = first_byte(first, at) == Verdict::Refused
                || second_byte(first, second, side) == Verdict::Refused
                || second & 0x7F == 127;
            let mut end = End::open(side);
            let events = end.events_of(&bytes);
            let payload = vec![u8::from(!is_masked); length];
            let ping = Seen::Ping(b"behind".to_vec());
            match (refused, first) {
                (true, _) => {
                    let failed = matches!(events[..], [Seen::Failed(_)]);
                    assert!(failed, "{side:?} {header:#06x} {events:?}");
                }
                (_, 0x81) => {
                    let text = String::from_utf8(payload).expect("NUL or SOH");
                    assert_eq!(events, [Seen::Text(text), ping]);
                }
                (_, 0x82) => assert_eq!(events, [Seen::Binary(payload), ping]),
                _ => assert_eq!(events.last(), Some(&ping), "{side:?} {header:#06x}"),
            }
        }
    }
}

fn circumstances() -> impl Iterator<Item = Circumstances> {
    (0..16).map(|number| Circumstances {
        side: SIDES[number & 1],
        in_message: number & 2 != 0,
        closing: number & 4 != 0,
        deflate: number & 8 != 0,
    })
}

/// The failure was said to the peer with 1002, once, and not behind our own Close frame.
#[track_caller]
fn assert_said(end: &mut End, closing: bool) {
    let sent = end.sent();
    match &sent[..] {
        [] if closing => {}
        [(CLOSE, body)] if !closing => assert_eq!(body[..2], 1002_u16.to_be_bytes()),
        _ => panic!("sent {sent:x?}"),
    }
    assert_eq!(end.state(), State::Closing);
    assert_eq!(end.has_ended(), end.side() == Side::Server);
}

#[test]
fn lengths_are_judged_at_the_byte_that_decides() {
    for side in SIDES {
        // The top bit at the first byte of eight.
        assert_eq!(
            refused_after(side, 127, &[0x80]),
            Some((1, ProtocolError::LengthTopBit))
        );
        assert_eq!(
            refused_after(side, 127, &[0xFF; 8]),
            Some((1, ProtocolError::LengthTopBit))
        );
        // A longer form than needed at its last byte.
        for length in [0, 1, 125_u16] {
            let bytes = length.to_be_bytes();
            let expected = Some((2, ProtocolError::LengthNotMinimal));
            assert_eq!(refused_after(side, 126, &bytes), expected);
        }
        for length in [0, 125, 126, 0xFFFF_u64] {
            let bytes = length.to_be_bytes();
            let expected = Some((8, ProtocolError::LengthNotMinimal));
            assert_eq!(refused_after(side, 127, &bytes), expected);
        }
        assert_eq!(refused_after(side, 126, &126_u16.to_be_bytes()), None);
        assert_eq!(refused_after(side, 127, &0x1_0000_u64.to_be_bytes()), None);
        // Over the limit at the last byte of the length, before the masking key.
        for length in [(1 << 20) + 1, (1 << 63) - 1] {
            let error = ProtocolError::TooBig {
                length: Some(length),
                limit: 1 << 20,
            };
            assert_eq!(
                refused_after(side, 127, &length.to_be_bytes()),
                Some((8, error))
            );
        }
    }
}

/// Feeds the header of a binary message byte by byte; returns after how many bytes of its length it
/// was refused.
fn refused_after(side: Side, form: u8, length: &[u8]) -> Option<(usize, ProtocolError)> {
    let mut end = End::open(side);
    let mask = if side == Side::Server { 0x80 } else { 0 };
    end.receive(&[0x82, mask | form]);
    assert_eq!(end.events(), []);
    for (index, byte) in length.iter().enumerate() {
        end.receive(&[*byte]);
        if let Some(Event::Failed(Failure::Protocol(error))) = end.next_event() {
            return Some((index + 1, error));
        }
    }
    assert!(end.send_text("still open", Fin::Last).is_ok());
    None
}
