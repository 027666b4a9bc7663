//! Every life of a connection, on either side, with and without its opening handshake; and what becomes of it without
//! one of its deadlines.

use sansock_core::{Deadline, Side};
use sansock_model::Life;
use sansock_model::world::Action::{self, *};
use sansock_model::world::{DEADLINES, Setting};
use stateright::{Checker, HasDiscoveries, Model};

const SIDES: [Side; 2] = [Side::Server, Side::Client];

/// More than there are: something grows for ever.
const TOO_MANY: usize = 5_000_000;

/// Ends of every life in which the peer falls silent. A Close frame that the transport does not take was not sent.
const SILENCE: [&str; 3] = [
    "keepalive ping timed out: no close frame received or sent",
    "keepalive ping timed out: sent 1011 (internal error) keepalive ping timeout; no close frame received",
    "write timed out: no close frame received or sent",
];

/// And of those in which this side has sent a Close frame.
const UNANSWERED: [&str; 3] = [
    "closing handshake timed out: no close frame received or sent",
    "closing handshake timed out: sent 1000 (OK); no close frame received",
    "keepalive ping timed out: sent 1000 (OK); no close frame received",
];

fn setting(side: Side, actions: &'static [Action]) -> Setting {
    let opening = actions.contains(&HalfHead);
    Setting {
        side,
        opening,
        actions,
        without: None,
        faithful: false,
        blocked: false,
    }
}

const fn name_of(side: Side) -> &'static str {
    match side {
        Side::Server => "server",
        Side::Client => "client",
    }
}

/// Explores a life until nothing new comes, and sees that it has all its properties and ends in these ways. None leads
/// back to where it was, so that whatever does not end is stuck somewhere, which the explorer sees; but with a peer that
/// answers every ping.
#[track_caller]
fn explore(name: &str, setting: Setting, endings: &[&str]) {
    let side = setting.side;
    let faithful = setting.faithful;
    let checker = Life::new(setting)
        .checker()
        .target_state_count(TOO_MANY)
        .spawn_bfs()
        .join();
    checker.assert_properties();
    assert!(
        checker.is_done() && checker.state_count() < TOO_MANY,
        "there is no fixed point"
    );
    let life = checker.model();
    assert_eq!(life.goes_round(), faithful);
    let mut endings = endings.to_vec();
    endings.sort_unstable();
    assert_eq!(Vec::from_iter(life.endings()), endings);
    let (states, depth) = (checker.unique_state_count(), checker.max_depth());
    println!(
        "{name}, {}: {states} states, fixed point after {depth} steps",
        name_of(side)
    );
}

#[test]
fn every_closing_handshake_ends() {
    let endings = [
        "connection lost without a close frame (1006): no close frame received or sent",
        "connection lost without a close frame (1006): sent 1000 (OK); no close frame received",
        "received 1000 (OK); no close frame sent",
        "received 1000 (OK); then sent 1000 (OK)",
        "sent 1000 (OK); then received 1000 (OK)",
    ];
    let endings = [&endings[..], &SILENCE, &UNANSWERED].concat();
    for side in SIDES {
        explore(
            "closing",
            setting(side, &[Close, PeerClose, PeerText, PeerEnd]),
            &endings,
        );
    }
}

#[test]
fn every_failure_ends() {
    let endings = [
        "connection failed by this side: 1011 (internal error): no close frame received or sent",
        "connection failed by this side: 1011 (internal error): sent 1000 (OK); no close frame received",
        "connection failed by this side: 1011 (internal error): sent 1011 (internal error); no close frame received",
        "received 1000 (OK); no close frame sent",
        "received 1000 (OK); then sent 1000 (OK)",
        "sent 1000 (OK); then received 1000 (OK)",
        "the peer broke the protocol: no close frame received or sent",
        "the peer broke the protocol: sent 1000 (OK); no close frame received",
        "the peer broke the protocol: sent 1002 (protocol error) reserved opcode 0x3; no close frame received",
    ];
    let endings = [&endings[..], &SILENCE, &UNANSWERED].concat();
    for side in SIDES {
        explore(
            "failing",
            setting(side, &[Close, Fail, PeerClose, PeerNonsense]),
            &endings,
        );
    }
}

#[test]
fn every_life_with_pings_ends() {
    for side in SIDES {
        let endings = [&SILENCE[..], &UNANSWERED].concat();
        explore(
            "pings",
            setting(side, &[Close, PeerPing, PeerPong]),
            &endings,
        );
    }
}

#[test]
fn pings_that_are_answered_keep_alive_for_ever_and_no_longer() {
    for side in SIDES {
        let faithful = Setting {
            faithful: true,
            ..setting(side, &[Ping, Send, PeerPong])
        };
        explore("kept alive", faithful, &SILENCE);
    }
}

#[test]
fn every_opening_handshake_ends() {
    let endings = [
        "connection lost without a close frame (1006): no close frame received or sent",
        "opening handshake failed: no close frame received or sent",
        "opening handshake timed out: no close frame received or sent",
        "received 1000 (OK); no close frame sent",
        "received 1000 (OK); then sent 1000 (OK)",
    ];
    let endings = [&endings[..], &SILENCE].concat();
    for side in SIDES {
        let actions = &[
            HalfHead, WholeHead, NoHead, Accept, Refuse, PeerClose, PeerEnd,
        ];
        explore("opening", setting(side, actions), &endings);
    }
}

#[test]
fn without_any_one_of_the_deadlines_some_life_does_not_end() {
    for side in SIDES {
        for deadline in DEADLINES {
            let actions: &[Action] = match deadline {
                Deadline::Open => &[HalfHead],
                Deadline::Close => &[Close],
                _ => &[],
            };
            let blocked = deadline == Deadline::Write;
            let with = Setting {
                blocked,
                ..setting(side, actions)
            };
            let without = Some(deadline);
            assert!(!hangs(with.clone()), "{side:?} with {deadline}");
            assert!(
                hangs(Setting { without, ..with }),
                "{side:?} without {deadline}"
            );
        }
        println!(
            "without a deadline, {}: 5 deadlines, each missed",
            name_of(side)
        );
    }
}

/// Whether some life in this setting does not end.
fn hangs(setting: Setting) -> bool {
    let explored = Life::new(setting)
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let found: Vec<_> = explored.discoveries().into_keys().collect();
    assert!(found.is_empty() || found == ["ends"], "{found:?}");
    !found.is_empty()
}
