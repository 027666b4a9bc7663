//! D9: after any operation, the server drives the connection while its handler is busy.

use std::time::Duration;

use bytes::Bytes;
use sansock::Prepared;
use sansock::serve::{OverflowPolicy, Push};
use sansock_core::Side;
use sansock_tests::driver::{Frame, close_frame, config, frame, parse_frames, pipe};

use super::keep_reading::call;
use super::operations::{Class, Operation, Use};
use super::rig::{Owner, Report, Rig, Shared, lock, sleep};
use super::{Cell, Kept, ensure};

/// Methods whose data is borrowed: the server does not drive the connection until the next call.
const BORROWING: [&str; 4] = ["recv_ref", "recv_frame", "recv_chunk", "recv_event"];

pub(crate) fn check(operation: &Operation) -> Cell {
    if operation.owner != Owner::Socket {
        return Ok(Kept::DoesNotApply(
            "no server has this connection; see WebSocket::attend",
        ));
    }
    if matches!(operation.class, Class::Close | Class::Fail) {
        return Ok(Kept::DoesNotApply("the connection is over when it returns"));
    }
    let (near, mut far) = pipe(1 << 20);
    let mut rig = Rig::new();
    let keepalive = config()
        .ping_interval(Duration::from_secs(1))
        .ping_timeout(Duration::from_secs(1));
    let with = Use {
        clock: rig.clock.clone(),
        payload: Bytes::from_static(b"message"),
        pause: Duration::ZERO,
    };
    let reports: Shared<Vec<(Duration, Report)>> = Shared::default();
    let (row, there) = (*operation, reports.clone());
    rig.start(
        Owner::Socket,
        near,
        keepalive,
        move |mut subject| async move {
            let mut busy = Duration::from_secs(4);
            loop {
                let report = call(&row, &mut subject, &with).await;
                let is_over = report.is_err();
                lock(&there).push((with.clock.now().since_start(), report));
                if is_over {
                    break;
                }
                sleep(&with.clock, busy).await;
                busy = Duration::from_millis(100);
            }
        },
    );
    // The first call returns at once.
    if operation.class == Class::Receive {
        far.put(&frame(Side::Client, 0x82, b"a message"));
    }
    for _ in 0..3 {
        rig.settle();
        for ping in parse_frames(&far.take_all()) {
            pong(&ping, &mut far);
        }
    }
    ensure!(
        lock(&reports).len() == 1,
        "{} calls have returned",
        lock(&reports).len()
    );
    let is_borrowed = BORROWING.contains(&operation.method);

    // A ping is answered while the handler is busy, and what is pushed leaves.
    rig.run_until(Duration::from_millis(500));
    far.put(&frame(Side::Client, 0x89, b"are you there"));
    let is_closing = operation.class == Class::SendClose;
    let pushed = rig
        .handle()
        .push(&Prepared::new("pushed"), OverflowPolicy::Skip);
    ensure!(is_closing || pushed == Push::Queued, "{pushed:?}");
    rig.settle();
    let sent = parse_frames(&far.take_all());
    if is_borrowed {
        ensure!(sent.is_empty(), "driven while borrowed: {sent:?}");
        rig.run_until(Duration::from_millis(4000));
        let sent = parse_frames(&far.take_all());
        ensure!(
            has(&sent, 0x8a) && has(&sent, 0x81),
            "at the next call: {sent:?}"
        );
        return Ok(Kept::Yes);
    }
    if !is_closing {
        ensure!(has(&sent, 0x8a), "no pong while busy: {sent:?}");
        ensure!(has(&sent, 0x81), "nothing that was pushed: {sent:?}");
        // Keepalive runs.
        rig.run_until(Duration::from_millis(1600));
        let sent = parse_frames(&far.take_all());
        ensure!(has(&sent, 0x89), "no keepalive while busy: {sent:?}");
        for ping in &sent {
            pong(ping, &mut far);
        }
    }
    // A Close frame is answered, and reported by the next call.
    rig.run_until(Duration::from_millis(1700));
    far.put(&close_frame(Side::Client, 1001, ""));
    rig.settle();
    let sent = parse_frames(&far.take_all());
    ensure!(
        is_closing || has(&sent, 0x88),
        "the Close frame is not answered: {sent:?}"
    );
    far.end();
    rig.run_until(Duration::from_secs(5));
    let reports = lock(&reports);
    let Some((at, Err(_))) = reports.get(1) else {
        return Err(format!("the next call reports {:?}", reports.get(1)));
    };
    ensure!(*at < Duration::from_millis(4100), "reported at {at:?}");
    Ok(Kept::Yes)
}

fn has(frames: &[Frame], first: u8) -> bool {
    frames.iter().any(|frame| frame.first == first)
}

/// Answers a ping.
fn pong(received: &Frame, far: &mut sansock_tests::driver::End) {
    if received.first == 0x89 {
        far.put(&frame(Side::Client, 0x8a, &received.payload));
    }
}
