//! D2: a deadline passes in time, over a peer that floods and a transport that is always ready; and the clock
//! is looked at once in a poll.

use std::time::Duration;

use bytes::Bytes;
use sansock_core::Side;
use sansock_tests::driver::{Flood, Source, Work, close_frame, config, frame, peer_of, pipe};

use super::keep_reading::payload_of;
use super::operations::{Class, Operation, Use};
use super::rig::{Report, Rig, Shared, lock};
use super::{Cell, Kept, ensure};

const TIMEOUT: Duration = Duration::from_secs(1);
/// What a call of the transport takes.
const CALL: Duration = Duration::from_millis(1);
/// One budget: 256 calls.
const SLACK: Duration = Duration::from_millis(300);

/// What a peer floods with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Messages,
    Pings,
    Fragments,
    Junk,
    /// Nothing at all.
    Silence,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [
        Self::Messages,
        Self::Pings,
        Self::Fragments,
        Self::Junk,
        Self::Silence,
    ];

    /// Lets it flow, a few hundred bytes a read.
    pub(crate) fn start(self, source: &Source, peer: Side) {
        let pattern = match self {
            Self::Messages => frame(peer, 0x82, b"a message"),
            Self::Pings => frame(peer, 0x89, b"a ping"),
            Self::Fragments => {
                let first = frame(peer, 0x02, b"the first fragment");
                source.precede(&first);
                frame(peer, 0x00, b"x")
            }
            Self::Junk => vec![0xff; 100],
            Self::Silence => return,
        };
        source.flow(&pattern, 100);
    }
}

pub(crate) fn check(operation: &Operation) -> Cell {
    for kind in Kind::ALL {
        for is_blocked in [true, false] {
            let ends = matches!(operation.class, Class::Close | Class::Fail);
            // Over a transport that takes everything, only the end is waited for.
            if !is_blocked && !ends {
                continue;
            }
            let at = end_over(operation, kind, is_blocked);
            let room = if is_blocked { "blocked" } else { "writable" };
            match at {
                Some(at) if at <= TIMEOUT + SLACK => {}
                Some(at) => return Err(format!("ended at {at:?} over {kind:?}, {room}")),
                None => return Err(format!("did not end over {kind:?}, {room}")),
            }
        }
    }
    Ok(Kept::Yes)
}

/// Returns when the end is reported, if it is.
fn end_over(operation: &Operation, kind: Kind, is_blocked: bool) -> Option<Duration> {
    let mut rig = Rig::new();
    let (flood, source) = Flood::new(&rig.clock);
    let config = config()
        .ping_interval(None)
        .max_message_size(None)
        .close_timeout(TIMEOUT)
        .write_timeout(TIMEOUT);
    let with = Use {
        clock: rig.clock.clone(),
        payload: payload_of(operation.class),
        pause: Duration::from_millis(10),
    };
    let ended: Shared<Option<Duration>> = Shared::default();
    let (row, there, flooding) = (*operation, ended.clone(), source.clone());
    rig.start(
        operation.owner,
        flood,
        config,
        move |mut subject| async move {
            flooding.take_time(CALL);
            if is_blocked {
                flooding.take(0, 0);
                let _ = subject
                    .feed(Bytes::from_static(b"it cannot be written"))
                    .await;
            }
            kind.start(&flooding, peer_of(row.owner.side()));
            let mut calls = 0;
            while (row.run)(&mut subject, &with).await.is_ok() {
                calls += 1;
                if row.class == Class::SendClose || calls % 1000 == 0 {
                    super::rig::sleep(&with.clock, with.pause).await;
                }
            }
            *lock(&there) = Some(with.clock.now().since_start());
        },
    );
    for _ in 0..1_000_000 {
        if rig.is_done() || rig.time() > 3 * TIMEOUT {
            break;
        }
        if rig.is_woken() {
            rig.poll();
        } else if !rig.clock.advance_to_next_alarm() {
            break;
        }
    }
    let ended = lock(&ended);
    *ended
}

/// The clock is looked at once in a poll that calls the transport, and never more than once.
pub(crate) fn check_looks(operation: &Operation) -> Cell {
    let side = operation.owner.side();
    let peer = peer_of(side);
    let mut rig = Rig::new();
    let (near, mut far) = pipe(100_000);
    let with = Use {
        clock: rig.clock.clone(),
        payload: payload_of(operation.class),
        pause: Duration::from_millis(100),
    };
    let polls: Shared<Vec<Work>> = Shared::default();
    let (row, there, meter) = (*operation, polls.clone(), rig.meter.clone());
    rig.start(
        operation.owner,
        near,
        config(),
        move |mut subject| async move {
            loop {
                let each = |work| lock(&there).push(work);
                let report: Report = meter.polls((row.run)(&mut subject, &with), each).await;
                if report.is_err() {
                    break;
                }
                if row.class != Class::Receive {
                    super::rig::sleep(&with.clock, with.pause).await;
                }
            }
        },
    );
    // Messages, alone and many in one read, pings, waiting, alarms, the end.
    let message = frame(peer, 0x82, b"a message");
    let is_reader = operation.class == Class::Receive;
    for round in 0..40_u64 {
        rig.run_until(Duration::from_millis(round * 500));
        let written = sansock_tests::driver::parse_frames(&far.take_all());
        for ping in written.iter().filter(|frame| frame.first == 0x89) {
            far.put(&frame(peer, 0x8a, &ping.payload));
        }
        match round % 4 {
            0 if is_reader => far.put(&message),
            1 if is_reader => far.put(&message.repeat(10)),
            2 => far.put(&frame(peer, 0x89, b"?")),
            _ => {}
        }
    }
    far.put(&close_frame(peer, 1000, ""));
    far.end();
    rig.run_until(Duration::from_secs(30));
    let polls = lock(&polls);
    ensure!(!polls.is_empty(), "it was not polled");
    for (index, work) in polls.iter().enumerate() {
        // A fragment that is written and a last one are two operations.
        let most = if operation.method == "write" { 2 } else { 1 };
        ensure!(work.looks <= most, "poll {index}: {work:?}");
    }
    // The write that follows a read may do without: the read has looked.
    let calling = polls.iter().filter(|work| work.calls() > 0);
    let calling: Vec<&Work> = calling.collect();
    for two in calling.windows(2) {
        ensure!(
            two.iter().any(|work| work.looks > 0),
            "no look at the clock: {two:?}"
        );
    }
    let most = if operation.method == "write" { 2 } else { 1 };
    // How many operations there are in a poll is the other test's question.
    let looks = super::fairness::looks(operation).unwrap_or_default();
    ensure!(looks <= most, "{looks} looks in a poll that yields");
    if is_reader {
        let buffered = polls
            .iter()
            .filter(|work| work.calls() == 0 && work.looks == 0);
        ensure!(buffered.count() >= 9 * 8, "buffered messages cost a look");
    }
    Ok(Kept::Yes)
}
