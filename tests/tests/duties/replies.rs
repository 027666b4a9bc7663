//! D8: replies to the control frames before a message leave in one write, before it is delivered.

use std::time::Duration;

use bytes::Bytes;
use sansock_tests::driver::{Frame, config, frame, parse_frames, peer_of, pipe};

use super::operations::{Class, Operation, Use};
use super::rig::{Owner, Report, Rig, Shared, lock, sleep};
use super::{Cell, Kept, ensure};

/// Pings that arrive together. All are answered.
const PINGS: usize = 10;

pub(crate) fn check(operation: &Operation) -> Cell {
    if matches!(
        operation.class,
        Class::Close | Class::Fail | Class::SendClose
    ) {
        return Ok(Kept::DoesNotApply("a Close frame is the last frame"));
    }
    let side = operation.owner.side();
    let peer = peer_of(side);
    let (near, mut far) = pipe(1 << 20);
    let mut rig = Rig::new();
    let pings = |name: &str| {
        let pings =
            (0..PINGS).map(|number| frame(peer, 0x89, format!("{name} {number}").as_bytes()));
        pings.flatten().collect::<Vec<u8>>()
    };
    let message = frame(peer, 0x82, b"a message");
    let with = Use {
        clock: rig.clock.clone(),
        payload: if operation.class == Class::Queue {
            vec![5; 64 << 10].into()
        } else {
            Bytes::from_static(b"message")
        },
        pause: Duration::from_millis(100),
    };
    let reports: Shared<Vec<Report>> = Shared::default();
    let (row, there) = (*operation, reports.clone());
    rig.start(
        operation.owner,
        near,
        config().ping_interval(None),
        move |mut subject| async move {
            loop {
                let report = (row.run)(&mut subject, &with).await;
                let is_over = report.is_err();
                lock(&there).push(report);
                if is_over {
                    break;
                }
                sleep(&with.clock, with.pause).await;
            }
        },
    );
    rig.run_until(Duration::from_millis(10));
    far.take_all();
    let before = rig.meter.work();

    let mut frames = Vec::new();
    let pongs_to = |name: &str| -> Vec<String> {
        (0..PINGS)
            .map(|number| format!("{name} {number}"))
            .collect()
    };
    let mut expected = pongs_to("first");
    let is_reader = operation.class == Class::Receive;
    if is_reader {
        // Pings, a message, pings and a message in one read.
        let bytes = [pings("first"), message.clone(), pings("second"), message].concat();
        far.put(&bytes);
        rig.settle();
        frames.extend(parse_frames(&far.take_all()));
        if operation.method == "recv_event" {
            ensure!(!pongs(&frames).is_empty(), "no pong");
        } else {
            ensure!(lock(&reports).len() == 1, "{} events", lock(&reports).len());
            // A server drives on behind the message that was delivered.
            let found = pongs(&frames);
            let found = if operation.owner == Owner::Socket {
                &found[..found.len().min(PINGS)]
            } else {
                &found[..]
            };
            ensure!(found == expected, "before the message: {found:?}");
        }
        expected.extend(pongs_to("second"));
    } else {
        far.put(&pings("first"));
    }
    // Each event of every kind takes a call, and a pause.
    let calls = if operation.method == "recv_event" {
        60
    } else {
        5
    };
    let mut unparsed = Vec::new();
    for call in 0..calls {
        rig.run_until(Duration::from_millis(20 + 100 * call));
        unparsed.extend(far.take_all());
        let sent = parse_frames(&unparsed);
        if !sent.is_empty() {
            unparsed.clear();
        }
        for ping in sent.iter().filter(|frame| frame.first == 0x89) {
            far.put(&frame(peer, 0x8a, &ping.payload));
        }
        frames.extend(sent);
    }
    if operation.method == "recv_event" {
        // Each ping is an event that is observed.
        ensure!(pongs(&frames) == expected, "{:?}", pongs(&frames));
        return Ok(Kept::Yes);
    }
    ensure!(pongs(&frames) == expected, "{:?}", pongs(&frames));
    let writes = (rig.meter.work() - before).writes;
    let own = lock(&reports).len();
    // Fragments take a write each.
    let own = if operation.method == "write" {
        2 * own
    } else {
        own
    };
    let most = if is_reader { 2 } else { own + 2 };
    ensure!(writes <= most, "{writes} writes, {own} of them of its own");
    Ok(Kept::Yes)
}

fn pongs(frames: &[Frame]) -> Vec<String> {
    let pongs = frames
        .iter()
        .filter(|frame| frame.first == 0x8a && !frame.payload.starts_with(b"!"));
    pongs
        .map(|frame| String::from_utf8_lossy(&frame.payload).into_owned())
        .collect()
}
