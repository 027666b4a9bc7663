//! D5: however a connection has ended, every operation reports the same, whichever is called first.

use std::io;
use std::time::Duration;

use sansock::Closed;
use sansock_tests::driver::{close_frame, config, frame, parse_frames, peer_of, pipe};

use super::keep_reading::{call, payload_of};
use super::operations::{self, Class, Operation, Use};
use super::rig::{End, Report, Rig, Shared, lock, sleep};
use super::{Cell, Kept, ensure};

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// The peer closes it, and is gone before it can be answered.
    ClosedAndGone,
    /// The peer closes it with 1000, and waits for the answer.
    ClosedNormally,
    /// The stream ends without a Close frame.
    Lost,
    /// The stream breaks, in both directions.
    Reset,
    /// The peer breaks the protocol.
    Protocol,
    /// The peer does not answer a ping.
    Silence,
    /// Nothing: the operation ends it.
    Healthy,
}

impl How {
    const ALL: [Self; 6] = [
        Self::ClosedAndGone,
        Self::ClosedNormally,
        Self::Lost,
        Self::Reset,
        Self::Protocol,
        Self::Silence,
    ];
}

/// What is compared: the error, or the Close frames with which the connection was closed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fact {
    Closed(Option<(u16, String)>, Option<u16>),
    Failed(String),
}

impl Fact {
    fn of_closed(closed: &Closed) -> Self {
        let received = closed.received();
        Self::Closed(
            received.map(|frame| (frame.code.number(), frame.reason.to_string())),
            closed.sent().map(|frame| frame.code.number()),
        )
    }

    /// A closing handshake whose frames the operation does not show is what the connection says it was.
    fn of(end: &End, closed: Option<&Closed>) -> Self {
        match (end, closed) {
            (End::Failed(error), _) => Self::Failed(error.clone()),
            (End::Closed(Some(closed)), _) | (End::Closed(None), Some(closed)) => {
                Self::of_closed(closed)
            }
            (End::Closed(None), None) => Self::Closed(None, None),
        }
    }
}

pub(crate) fn check(operation: &Operation) -> Cell {
    for how in How::ALL {
        // What a call of its own ends is reported as its own.
        if matches!(
            operation.class,
            Class::Fail | Class::Close | Class::SendClose
        ) && how != How::ClosedAndGone
            && how != How::Lost
        {
            continue;
        }
        if operation.class == Class::Fail {
            continue;
        }
        let expected = expected(how);
        let facts = ends(operation, how);
        ensure!(!facts.is_empty(), "{how:?}: it reports no end");
        for (name, fact) in &facts {
            let (name, found) = (name, fact);
            ensure!(
                *found == expected,
                "{how:?}: {name} reports {found:?} instead of {expected:?}"
            );
        }
    }
    if operation.class == Class::Fail {
        own_failure(operation)
    } else {
        Ok(Kept::Yes)
    }
}

/// A failure of the caller's own is what every operation reports then.
fn own_failure(operation: &Operation) -> Cell {
    let facts = ends(operation, How::Healthy);
    let Some((_, Fact::Failed(error))) = facts.first() else {
        return Err(format!("{facts:?}"));
    };
    for (name, fact) in &facts {
        ensure!(
            *fact == Fact::Failed(error.clone()),
            "{name} reports {fact:?} instead of {error}"
        );
    }
    Ok(Kept::Yes)
}

fn expected(how: How) -> Fact {
    let failed = |error: &str| Fact::Failed(error.into());
    match how {
        How::ClosedAndGone => Fact::Closed(Some((4001, "bye".into())), None),
        How::ClosedNormally => Fact::Closed(Some((1000, String::new())), Some(1000)),
        How::Lost => failed(&sansock::Error::Lost(None).to_string()),
        How::Reset => {
            let error: io::Error = io::ErrorKind::ConnectionReset.into();
            failed(&sansock::Error::Lost(Some(error.into())).to_string())
        }
        How::Protocol => {
            let error = sansock_core::ProtocolError::ReservedOpcode(3);
            failed(&sansock::Error::Protocol(error).to_string())
        }
        How::Silence => {
            let error = sansock::Error::TimedOut(sansock_core::Deadline::Pong);
            failed(&error.to_string())
        }
        How::Healthy => Fact::Closed(None, None),
    }
}

/// Calls an operation until it reports the end, then every other one. Returns what each has reported.
fn ends(operation: &Operation, how: How) -> Vec<(String, Fact)> {
    let side = operation.owner.side();
    let peer = peer_of(side);
    let (near, far) = pipe(1 << 20);
    let mut far = Some(far);
    let mut rig = Rig::new();
    let config = if how == How::Silence {
        config()
            .ping_interval(Duration::from_secs(1))
            .ping_timeout(Duration::from_secs(1))
    } else {
        config().ping_interval(None)
    };
    let with = Use {
        clock: rig.clock.clone(),
        payload: payload_of(operation.class),
        pause: Duration::from_millis(200),
    };
    let ended: Shared<Vec<(String, End)>> = Shared::default();
    let closed: Shared<Option<Closed>> = Shared::default();
    let (row, there, closed_there) = (*operation, ended.clone(), closed.clone());
    rig.start(
        operation.owner,
        near,
        config,
        move |mut subject| async move {
            // The connection is in use.
            sleep(&with.clock, Duration::from_millis(500)).await;
            let mut end: Report = Ok(());
            for _ in 0..100 {
                end = call(&row, &mut subject, &with).await;
                if end.is_err() {
                    break;
                }
                sleep(&with.clock, with.pause).await;
            }
            let Err(end) = end else {
                return;
            };
            lock(&there).push((row.name(), end));
            let others = operations::all().into_iter().filter(|other| {
                other.owner == row.owner
                    && !(other.method == "poll_next" && row.method == "poll_next")
            });
            for other in others {
                // An end may still be on its way to where it is waited for.
                if let Err(end) = call(&other, &mut subject, &with).await {
                    lock(&there).push((other.name(), end));
                } else if !matches!(other.class, Class::Attend | Class::SendClose | Class::Flush) {
                    lock(&there).push((other.name(), End::Failed("nothing".into())));
                }
            }
            *lock(&closed_there) = subject.closed();
        },
    );
    rig.run_until(Duration::from_millis(100));
    if let Some(end) = &mut far {
        match how {
            How::ClosedAndGone => end.put(&close_frame(peer, 4001, "bye")),
            How::ClosedNormally => end.put(&close_frame(peer, 1000, "")),
            How::Lost => end.end(),
            How::Reset => end.reset(),
            How::Protocol => end.put(&frame(peer, 0x83, b"?")),
            How::Silence | How::Healthy => {}
        }
    }
    if how == How::ClosedAndGone {
        far = None;
    }
    for round in 0..100 {
        rig.run_until(Duration::from_millis(200 + round * 100));
        if let Some(end) = &mut far {
            let sent = parse_frames(&end.take_all());
            let is_answered = sent.iter().any(|frame| frame.first == 0x88);
            if is_answered || end.is_ended() {
                end.end();
            }
        }
    }
    let (ended, closed) = (lock(&ended), lock(&closed));
    let facts = ended.iter();
    facts
        .map(|(name, end)| (name.clone(), Fact::of(end, closed.as_ref())))
        .collect()
}
