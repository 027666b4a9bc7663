//! D1: a ping is answered and a Close frame noticed while an operation is used alone, with pauses.

use std::time::Duration;

use bytes::Bytes;
use sansock_core::Side;
use sansock_tests::driver::{Frame, close_frame, config, frame, parse_frames, peer_of, pipe};

use super::operations::{Class, Operation, Use};
use super::rig::{Report, Rig, Shared, Subject, lock, sleep};
use super::{Cell, Kept, ensure};

/// How long the application is busy between two operations.
const PAUSE: Duration = Duration::from_millis(200);
/// What the library may take beyond the next operation.
const SLACK: Duration = Duration::from_millis(50);
const STEP: Duration = Duration::from_millis(10);

/// What an application has reported, and when.
pub(crate) type Reports = Shared<Vec<(Duration, Report)>>;

/// Calls an operation again and again, with pauses, until it reports the end.
pub(crate) async fn repeat(
    operation: Operation,
    mut subject: Subject,
    with: Use,
    reports: Reports,
) {
    loop {
        let report = call(&operation, &mut subject, &with).await;
        let is_over = report.is_err();
        lock(&reports).push((with.clock.now().since_start(), report));
        if is_over {
            break;
        }
        sleep(&with.clock, with.pause).await;
    }
}

/// Calls an operation once. What is flushed is fed before, and reports the end: a flush says no more than
/// that nothing waits.
pub(crate) async fn call(operation: &Operation, subject: &mut Subject, with: &Use) -> Report {
    if operation.class == Class::Flush {
        subject.feed(with.payload.clone()).await?;
    }
    (operation.run)(subject, with).await
}

/// Bytes for one call: the queue is full after it, so that the next one waits.
pub(crate) fn payload_of(class: Class) -> Bytes {
    match class {
        Class::Queue => vec![1; 64 << 10].into(),
        Class::Receive
        | Class::Send
        | Class::Flush
        | Class::Ping
        | Class::Attend
        | Class::SendClose
        | Class::Close
        | Class::Fail => Bytes::from_static(b"message"),
    }
}

pub(crate) fn check(operation: &Operation) -> Cell {
    let side = operation.owner.side();
    let peer = peer_of(side);
    let (near, mut far) = pipe(1 << 20);
    let mut rig = Rig::new();
    let with = Use {
        clock: rig.clock.clone(),
        payload: payload_of(operation.class),
        pause: PAUSE,
    };
    let reports = Reports::default();
    let (row, there) = (*operation, reports.clone());
    rig.start(
        operation.owner,
        near,
        config().ping_interval(None),
        move |subject| repeat(row, subject, with, there),
    );

    let mut sent: Vec<(Duration, Frame)> = Vec::new();
    let mut bytes = Vec::new();
    let mut time = Duration::ZERO;
    while !rig.is_done() && time < Duration::from_secs(8) {
        rig.run_until(time);
        bytes.extend(far.take_all());
        let frames = parse_frames(&bytes);
        if !frames.is_empty() {
            bytes.clear();
        }
        for frame in frames {
            answer(&frame, peer, &mut far);
            sent.push((time, frame));
        }
        if time == Duration::from_secs(1) {
            far.put(&frame(peer, 0x89, b"are you there"));
        }
        if time == Duration::from_secs(5) {
            far.put(&close_frame(peer, 1001, ""));
            if peer == Side::Server {
                far.end();
            }
        }
        if far.is_ended() {
            far.end();
        }
        time += STEP;
    }

    if !matches!(
        operation.class,
        Class::Close | Class::Fail | Class::SendClose
    ) {
        let pong = sent
            .iter()
            .find(|(_, frame)| frame.first == 0x8a && frame.payload == b"are you there");
        let Some((at, _)) = pong else {
            return Err("the ping was never answered".into());
        };
        let after = at.saturating_sub(Duration::from_secs(1));
        ensure!(
            after <= PAUSE + SLACK,
            "the ping was answered after {after:?}"
        );
    }
    let close = sent.iter().find(|(_, frame)| frame.first == 0x88);
    let Some((at, _)) = close else {
        return Err("no Close frame was sent".into());
    };
    let latest = Duration::from_secs(5) + PAUSE + SLACK;
    ensure!(*at <= latest, "the Close frame was answered at {at:?}");
    let reports = lock(&reports);
    let Some((at, Err(_))) = reports.last() else {
        return Err("the end was not reported".into());
    };
    ensure!(*at <= latest + PAUSE, "the end was reported at {at:?}");
    Ok(Kept::Yes)
}

/// Answers a ping as a peer does.
fn answer(received: &Frame, peer: Side, far: &mut sansock_tests::driver::End) {
    if received.first == 0x89 {
        far.put(&frame(peer, 0x8a, &received.payload));
    }
}
