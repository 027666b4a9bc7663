//! The body of a Close frame, both ways: codes and reasons (RFC 6455 sections 5.5.1 and 7.4).

use sansock_core::{CloseCode, Failure, ProtocolError, SendError, Side, State};
use sansock_tests::end::{End, SIDES};
use sansock_tests::receive::received;
use sansock_tests::seen::Seen;
use sansock_tests::wire::{CLOSE, PeerOf, close_body};

fn close(code: u16, reason: &str) -> (u8, Vec<u8>) {
    (CLOSE, close_body(code, reason))
}

/// Section 7.4 and its registry: what may stand in a Close frame.
fn is_legal(code: u16) -> bool {
    [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014,
    ]
    .contains(&code)
        || (3000..5000).contains(&code)
}

#[test]
fn every_legal_code_is_received_and_echoed_and_every_other_refused() {
    for side in SIDES {
        for code in 0..=u16::MAX {
            let mut end = End::open(side);
            let peer = end.peer();
            let events = end.events_of(&peer.close(code, ""));
            let sent = end.sent();
            if is_legal(code) {
                assert_eq!(events, [Seen::Close(code, String::new())], "{code}");
                assert_eq!(sent, [close(code, "")], "{code}");
            } else {
                let error = ProtocolError::InvalidCloseCode(code);
                assert_eq!(events, [Seen::Failed(Failure::Protocol(error))], "{code}");
                assert_eq!(sent[0].1[..2], 1002_u16.to_be_bytes(), "{code}");
            }
            assert_eq!(end.has_ended(), side == Side::Server);
        }
    }
}

#[test]
fn every_legal_code_is_sent_and_every_other_refused() {
    for side in SIDES {
        for code in 0..=u16::MAX {
            for fails in [false, true] {
                let mut end = End::open(side);
                let result = match fails {
                    true => end.fail(code, "x"),
                    false => end.send_close(code, "x"),
                };
                let expected = match code {
                    code if is_legal(code) => Ok(()),
                    1006 if fails => continue,
                    1005 => Err(SendError::ReasonWithoutCode),
                    code => Err(SendError::InvalidCloseCode(CloseCode::new(code))),
                };
                assert_eq!(result, expected, "{code}");
                let sent = if expected.is_ok() {
                    vec![close(code, "x")]
                } else {
                    Vec::new()
                };
                assert_eq!(end.sent(), sent, "{code}");
                assert_eq!(end.state() == State::Open, expected.is_err(), "{code}");
            }
        }
    }
}

#[test]
fn a_close_without_a_code_is_echoed_without_one() {
    for side in SIDES {
        let outcome = received(side, &PeerOf(side).frame(CLOSE, b""));
        assert_eq!(outcome.events, [Seen::Close(1005, String::new())]);
        assert_eq!(outcome.sent, [(CLOSE, Vec::new())]);
        let mut end = End::open(side);
        end.send_close(CloseCode::NO_STATUS_RECEIVED, "").unwrap();
        assert_eq!(end.sent(), [(CLOSE, Vec::new())]);
    }
}

#[test]
fn a_close_of_one_byte_is_refused() {
    for side in SIDES {
        let outcome = received(side, &PeerOf(side).frame(CLOSE, &[3]));
        let failure = Failure::Protocol(ProtocolError::CloseTooShort);
        assert_eq!(outcome.events, [Seen::Failed(failure)]);
        assert_eq!(outcome.sent[0].1[..2], 1002_u16.to_be_bytes());
    }
}

#[test]
fn reasons_of_up_to_123_bytes_are_echoed() {
    for side in SIDES {
        for reason in ["", "a", &"é".repeat(61), &format!("{}!", "é".repeat(61))] {
            let outcome = received(side, &PeerOf(side).close(4321, reason));
            assert_eq!(outcome.events, [Seen::Close(4321, reason.into())]);
            assert_eq!(outcome.sent, [close(4321, reason)]);
            let mut end = End::open(side);
            end.send_close(4321, reason).unwrap();
            assert_eq!(end.sent(), [close(4321, reason)]);
        }
    }
}

#[test]
fn a_reason_of_124_bytes_is_not_sent() {
    for side in SIDES {
        let mut end = End::open(side);
        let long = "r".repeat(124);
        let too_long = Err(SendError::ReasonTooLong(124));
        assert_eq!(end.send_close(1000, &long[..]), too_long);
        assert_eq!(end.fail(1000, &long[..]), too_long);
        // What is wrong with the code is said first.
        assert_eq!(
            end.send_close(1005, &long[..]),
            Err(SendError::ReasonWithoutCode)
        );
        let invalid = SendError::InvalidCloseCode(CloseCode::new(999));
        assert_eq!(end.send_close(999, &long[..]), Err(invalid));
        assert_eq!(end.output(), b"");
        assert_eq!(end.state(), State::Open);
    }
}

#[test]
fn a_reason_that_is_not_utf8_is_refused_and_not_given_out() {
    for side in SIDES {
        for code in [1000_u16, 1005] {
            let body = [&code.to_be_bytes()[..], b"ok\xC3("].concat();
            let outcome = received(side, &PeerOf(side).frame(CLOSE, &body));
            let failure = Failure::Protocol(ProtocolError::InvalidUtf8);
            assert_eq!(
                outcome.events,
                [Seen::Failed(failure)],
                "also before the code is judged"
            );
            assert_eq!(outcome.sent[0].1[..2], 1007_u16.to_be_bytes());
        }
    }
}
