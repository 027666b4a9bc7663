//! D6: a peer that makes progress is alive, and a connection that is not read misses no pong.

use std::time::Duration;

use bytes::Bytes;
use sansock_tests::driver::{config, frame, parse_frames, peer_of, pipe};

use super::keep_reading::{call, payload_of};
use super::operations::{Class, Operation, Use};
use super::rig::{End, Rig, Shared, lock, sleep};
use super::{Cell, Kept, ensure};

pub(crate) fn check(operation: &Operation) -> Cell {
    if matches!(
        operation.class,
        Class::Close | Class::Fail | Class::SendClose
    ) {
        return Ok(Kept::DoesNotApply(
            "no pong is awaited once the connection closes",
        ));
    }
    silent_peer(operation)?;
    match operation.class {
        Class::Receive => slow_message(operation)?,
        Class::Send | Class::Queue | Class::Flush => {
            slow_reader(operation)?;
            unread_messages(operation)?;
        }
        Class::Ping | Class::Attend => unread_messages(operation)?,
        Class::Close | Class::Fail | Class::SendClose => {}
    }
    Ok(Kept::Yes)
}

/// What a connection has ended with.
type Ended = Shared<Option<End>>;

/// Calls an operation until it reports the end.
fn start(
    operation: &Operation,
    rig: &mut Rig,
    near: sansock_tests::driver::End,
    payload: Bytes,
) -> Ended {
    let keepalive = config()
        .ping_interval(Duration::from_secs(1))
        .ping_timeout(Duration::from_secs(1));
    let with = Use {
        clock: rig.clock.clone(),
        payload,
        pause: Duration::from_millis(100),
    };
    let ended = Ended::default();
    let (row, there) = (*operation, ended.clone());
    rig.start(
        operation.owner,
        near,
        keepalive,
        move |mut subject| async move {
            loop {
                if let Err(end) = call(&row, &mut subject, &with).await {
                    *lock(&there) = Some(end);
                    break;
                }
                sleep(&with.clock, with.pause).await;
            }
        },
    );
    ended
}

/// A peer that is gone, behind a transport that takes whatever is sent: that proves nothing.
fn silent_peer(operation: &Operation) -> Result<(), String> {
    let (near, far) = pipe(1 << 24);
    let mut rig = Rig::new();
    let ended = start(operation, &mut rig, near, payload_of(operation.class));
    // The interval, the timeout, and as much again for what is on its way; then the grace for a last word.
    rig.run_until(Duration::from_millis(3300));
    let ended = lock(&ended);
    let Some(End::Failed(error)) = &*ended else {
        return Err(format!("a silent peer: {:?} at {:?}", *ended, rig.time()));
    };
    ensure!(error.contains("timed out"), "a silent peer: {error}");
    drop(far);
    Ok(())
}

/// A message that takes 10 s to arrive, while no ping is answered.
fn slow_message(operation: &Operation) -> Result<(), String> {
    let peer = peer_of(operation.owner.side());
    let (near, mut far) = pipe(1 << 20);
    let mut rig = Rig::new();
    let ended = start(operation, &mut rig, near, Bytes::new());
    let message = frame(peer, 0x82, &[3; 10_000]);
    for (part, tenth) in message.chunks(100).zip(0..) {
        rig.run_until(Duration::from_millis(tenth * 100));
        far.put(part);
        far.take_all();
        let ended = lock(&ended);
        ensure!(
            ended.is_none(),
            "a slow message: {:?} at {:?}",
            *ended,
            rig.time()
        );
    }
    Ok(())
}

/// A peer that reads a little at a time, and answers a ping once it has read so far.
fn slow_reader(operation: &Operation) -> Result<(), String> {
    let (near, mut far) = pipe(1000);
    let mut rig = Rig::new();
    let payload: Bytes = match operation.method {
        // What they carry is smaller.
        "send_ping" | "send_pong" => Bytes::new(),
        _ => vec![4; 20_000].into(),
    };
    if payload.is_empty() {
        return Ok(());
    }
    let ended = start(operation, &mut rig, near, payload);
    for round in 0..100 {
        rig.run_until(Duration::from_millis(round * 100));
        far.take_all();
        let ended = lock(&ended);
        ensure!(
            ended.is_none(),
            "a slow reader: {:?} at {:?}",
            *ended,
            rig.time()
        );
    }
    Ok(())
}

/// Two messages are unread for two minutes; the pong comes behind them.
fn unread_messages(operation: &Operation) -> Result<(), String> {
    let peer = peer_of(operation.owner.side());
    let (near, mut far) = pipe(1 << 20);
    let mut rig = Rig::new();
    let ended = start(operation, &mut rig, near, Bytes::from_static(b"message"));
    far.put(&frame(peer, 0x82, b"first"));
    far.put(&frame(peer, 0x82, b"second"));
    for second in 0..120 {
        rig.run_until(Duration::from_secs(second));
        for ping in parse_frames(&far.take_all()) {
            if ping.first == 0x89 {
                far.put(&frame(peer, 0x8a, &ping.payload));
            }
        }
        let ended = lock(&ended);
        ensure!(
            ended.is_none(),
            "unread messages: {:?} at {:?}",
            *ended,
            rig.time()
        );
    }
    Ok(())
}
