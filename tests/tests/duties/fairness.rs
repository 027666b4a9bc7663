//! D3: one poll does a bounded amount of work, and a chain of operations that are ready yields.

use std::time::Duration;

use bytes::Bytes;
use sansock_tests::driver::{Flood, Work, config, frame, peer_of};

use super::operations::{Class, Operation, Use};
use super::rig::{Rig, Shared, lock};
use super::{Cell, Kept, ensure};

/// What a poll may do at most: a budget, and what may go beyond it.
/// Each of 256 writes may be flushed.
const MOST_CALLS: usize = 2 * 256 + 16;
const MOST_BYTES: usize = (256 << 10) + (128 << 10);
const MOST_OPERATIONS: usize = 300;

/// How the transport is always ready.
#[derive(Debug, Clone, Copy)]
enum Ready {
    SmallMessages,
    LargeMessages,
    Pings,
    /// One byte a call.
    Bytes,
    /// It takes everything, and has nothing to read.
    Writes,
}

pub(crate) fn check(operation: &Operation) -> Cell {
    for ready in [
        Ready::SmallMessages,
        Ready::LargeMessages,
        Ready::Pings,
        Ready::Bytes,
        Ready::Writes,
    ] {
        chain(operation, ready).map_err(|what| format!("{ready:?}: {what}"))?;
    }
    Ok(Kept::Yes)
}

/// Returns the most looks at the clock in one poll of an operation that yields.
pub(crate) fn looks(operation: &Operation) -> Result<usize, String> {
    Ok(chain(operation, Ready::SmallMessages)?.max(chain(operation, Ready::Pings)?))
}

/// Calls an operation again and again without a pause, and looks at each poll.
/// Returns the most looks at the clock in one poll of an operation.
fn chain(operation: &Operation, ready: Ready) -> Result<usize, String> {
    let side = operation.owner.side();
    let peer = peer_of(side);
    let mut rig = Rig::new();
    let (flood, source) = Flood::new(&rig.clock);
    source.answer_pings(peer);
    source.take_time(Duration::from_micros(1));
    let with = Use {
        clock: rig.clock.clone(),
        payload: match (operation.class, ready) {
            (Class::Queue, _) | (_, Ready::LargeMessages) => vec![1; 32 << 10].into(),
            _ => Bytes::from_static(b"message"),
        },
        pause: Duration::from_secs(1000),
    };
    let calls: Shared<usize> = Shared::default();
    let looks: Shared<usize> = Shared::default();
    let (row, there, looking) = (*operation, calls.clone(), looks.clone());
    let meter = rig.meter.clone();
    let flooding = source.clone();
    rig.start(
        operation.owner,
        flood,
        config(),
        move |mut subject| async move {
            match ready {
                Ready::SmallMessages => flooding.flow(&frame(peer, 0x82, b"a message"), usize::MAX),
                Ready::LargeMessages => {
                    flooding.flow(&frame(peer, 0x82, &vec![2; 48 << 10]), usize::MAX);
                }
                Ready::Pings => flooding.flow(&frame(peer, 0x89, b"a ping"), usize::MAX),
                Ready::Bytes => {
                    flooding.flow(&frame(peer, 0x89, b"a ping"), 1);
                    flooding.take(usize::MAX, 1);
                }
                Ready::Writes => {}
            }
            while *lock(&there) < 2_000 {
                let each = |work: Work| {
                    let mut looks = lock(&looking);
                    *looks = work.looks.max(*looks);
                };
                let report = meter.polls((row.run)(&mut subject, &with), each).await;
                *lock(&there) += 1;
                if report.is_err() {
                    break;
                }
            }
        },
    );
    rig.poll();
    let mut first = *lock(&calls);
    for poll in 0..6 {
        if rig.is_done() {
            break;
        }
        let (before, called) = (rig.meter.work(), *lock(&calls));
        rig.poll();
        let work = rig.meter.work() - before;
        let called = *lock(&calls) - called;
        first = first.max(called);
        ensure!(
            work.calls() <= MOST_CALLS,
            "{} calls in poll {poll}",
            work.calls()
        );
        ensure!(
            work.bytes <= MOST_BYTES,
            "{} bytes in poll {poll}",
            work.bytes
        );
    }
    ensure!(first <= MOST_OPERATIONS, "{first} operations in one poll");
    let goes_on = matches!(operation.class, Class::Send | Class::Queue | Class::Flush)
        || matches!(
            (operation.class, ready),
            (Class::Receive, Ready::SmallMessages | Ready::LargeMessages)
        );
    if goes_on {
        ensure!(rig.is_woken(), "it does not go on");
    }
    let looks = *lock(&looks);
    Ok(looks)
}
