//! D4: while an operation is in progress, another task that waits is woken, over every kind of readiness; and
//! tasks that wait are not polled while nothing happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Context;
use std::time::Duration;

use bytes::Bytes;
use sansock_core::Side;
use sansock_tests::driver::{
    End as PipeEnd, Far, Reactive, Reactor, Task, close_frame, config, frame, parse_frames,
    peer_of, pipe, run, settle, waker_fn,
};

use super::operations::{Class, Operation, Use};
use super::rig::{Rig, Subject};
use super::{Cell, Kept, ensure};

/// What the transport holds before its peer reads.
const CAPACITY: usize = 64;

/// The other end of a transport of either kind.
enum Peer {
    Reactor(Far),
    Pipe(PipeEnd),
}

impl Peer {
    fn put(&mut self, bytes: &[u8]) {
        match self {
            Self::Reactor(far) => far.put(bytes),
            Self::Pipe(far) => far.put(bytes),
        }
    }

    fn take_all(&mut self) -> Vec<u8> {
        match self {
            Self::Reactor(far) => far.take_all(),
            Self::Pipe(far) => far.take_all(),
        }
    }

    fn end(&mut self) {
        match self {
            Self::Reactor(far) => far.end(),
            Self::Pipe(far) => far.end(),
        }
    }
}

pub(crate) fn check(operation: &Operation) -> Cell {
    for reactor in [None, Some(Reactor::OneShot), Some(Reactor::Edge)] {
        two_tasks(operation, reactor).map_err(|what| format!("{reactor:?}: {what}"))?;
        one_task_is_done(operation, reactor).map_err(|what| format!("{reactor:?}: {what}"))?;
    }
    Ok(Kept::Yes)
}

/// Returns a connection and its peer. No ping disturbs it.
fn connect(
    rig: &mut Rig,
    operation: &Operation,
    reactor: Option<Reactor>,
    capacity: usize,
) -> (Subject, Peer) {
    let quiet = config().ping_interval(None);
    match reactor {
        Some(reactor) => {
            let (near, far) = Reactive::new(reactor, capacity);
            (
                rig.subject(operation.owner, near, quiet),
                Peer::Reactor(far),
            )
        }
        None => {
            let (near, far) = pipe(capacity);
            (rig.subject(operation.owner, near, quiet), Peer::Pipe(far))
        }
    }
}

/// One task waits to receive, or to write; the operation of the other is done at once, and must not have
/// taken its place at the transport.
fn one_task_is_done(operation: &Operation, reactor: Option<Reactor>) -> Result<(), String> {
    if matches!(
        operation.class,
        Class::Ping | Class::Attend | Class::Close | Class::Fail
    ) {
        return Ok(());
    }
    let from = peer_of(operation.owner.side());
    let mut rig = Rig::new();
    let receives = operation.class == Class::Receive;
    let capacity = if receives { CAPACITY } else { 1 << 20 };
    let (mut subject, mut far) = connect(&mut rig, operation, reactor, capacity);
    let with = Use {
        clock: rig.clock.clone(),
        payload: Bytes::from_static(b"message"),
        pause: Duration::ZERO,
    };
    for round in 0..10 {
        if receives {
            let fed = run(subject.feed(vec![2; 1000].into()));
            ensure!(fed.is_ok(), "{fed:?}");
        }
        let woken = Arc::new(AtomicUsize::new(0));
        let count = woken.clone();
        let other = waker_fn(move || {
            count.fetch_add(1, Ordering::SeqCst);
        });
        let polled = subject.poll_other(!receives, &mut Context::from_waker(&other));
        ensure!(
            polled.is_pending(),
            "the other task does not wait in round {round}"
        );
        let message = frame(from, 0x82, b"a message");
        if receives {
            far.put(&message);
        }
        let mut task = Task::new(async { (operation.run)(&mut subject, &with).await });
        task.poll();
        settle(&mut [&mut task]);
        rig.settle();
        ensure!(task.is_done(), "the operation waits in round {round}");
        drop(task);
        let before = woken.load(Ordering::SeqCst);
        if receives {
            // The task is gone; the other one goes on whenever it is woken.
            let mut last = before;
            for _ in 0..100 {
                far.take_all();
                rig.settle();
                let now = woken.load(Ordering::SeqCst);
                ensure!(
                    now > last,
                    "the task that writes was not woken in round {round}"
                );
                last = now;
                if subject
                    .poll_other(false, &mut Context::from_waker(&other))
                    .is_ready()
                {
                    break;
                }
            }
        } else {
            if operation.class == Class::SendClose {
                far.put(&close_frame(from, 1000, ""));
            } else {
                far.put(&message);
            }
            far.take_all();
            rig.settle();
            let now = woken.load(Ordering::SeqCst);
            ensure!(
                now > before,
                "the task that receives was not woken in round {round}"
            );
            if operation.class == Class::SendClose {
                break;
            }
            let received = subject.poll_other(true, &mut Context::from_waker(&other));
            ensure!(
                received.is_ready(),
                "the message was not received in round {round}"
            );
        }
        rig.run_until(Duration::from_millis(30 * (round + 1)));
    }
    Ok(())
}

/// One task waits to receive, or to write; the other has the operation in progress.
fn two_tasks(operation: &Operation, reactor: Option<Reactor>) -> Result<(), String> {
    let side = operation.owner.side();
    let from = peer_of(side);
    let mut rig = Rig::new();
    let (mut subject, mut far) = connect(&mut rig, operation, reactor, CAPACITY);
    let with = Use {
        clock: rig.clock.clone(),
        payload: Bytes::from(vec![1; 70_000]),
        pause: Duration::from_secs(1_000_000),
    };
    let receives = operation.class == Class::Receive;
    let is_small = matches!(operation.method, "send_ping" | "send_pong");
    if receives || is_small || operation.class == Class::Flush {
        // Something waits to be written, more than the transport holds.
        let fed = run(subject.feed(vec![2; 1000].into()));
        ensure!(fed.is_ok(), "{fed:?}");
    }
    if operation.class == Class::Queue {
        // The queue is full, whatever the transport takes of it. A byte stream sends 64 KiB a message.
        let fed = run(subject.feed(vec![2; 63 << 10].into()));
        ensure!(fed.is_ok(), "{fed:?}");
        let fed = run(subject.feed(vec![2; 63 << 10].into()));
        ensure!(fed.is_ok(), "{fed:?}");
    }

    // The other task waits.
    let woken = Arc::new(AtomicUsize::new(0));
    let count = woken.clone();
    let other = waker_fn(move || {
        count.fetch_add(1, Ordering::SeqCst);
    });
    let polled = subject.poll_other(!receives, &mut Context::from_waker(&other));
    ensure!(polled.is_pending(), "the other task does not wait");

    // The operation is in progress.
    let mut task = Task::new(async { (operation.run)(&mut subject, &with).await });
    settle(&mut [&mut task]);
    ensure!(rig.settle() < 100, "the server's task spins");
    let waits = !matches!(operation.class, Class::SendClose);
    ensure!(!waits || !task.is_done(), "the operation does not wait");
    settle(&mut [&mut task]);

    // Nothing happens for a minute. It was woken so far as a waker that replaces another wakes it.
    let (before, polls) = (woken.load(Ordering::SeqCst), task.polls());
    if !matches!(
        operation.class,
        Class::Close | Class::Fail | Class::SendClose
    ) {
        rig.run_until(Duration::from_secs(20));
        settle(&mut [&mut task]);
        ensure!(task.polls() == polls, "it is polled while nothing happens");
        let woken = woken.load(Ordering::SeqCst);
        ensure!(
            woken == before,
            "the other task is woken while nothing happens"
        );
    }
    ensure!(polls <= 4, "{polls} polls before anything has happened");
    ensure!(before <= 4, "{before} wakes before anything has happened");

    // What the other task waits for happens.
    if receives {
        let mut taken = Vec::new();
        for _ in 0..100 {
            taken.extend(far.take_all());
            settle(&mut [&mut task]);
            rig.settle();
        }
        ensure!(taken.len() >= 1000, "what was fed does not leave");
    } else if matches!(
        operation.class,
        Class::Close | Class::Fail | Class::SendClose
    ) {
        // It waits for the end.
        far.put(&close_frame(from, 1000, ""));
        for _ in 0..20 {
            far.take_all();
            settle(&mut [&mut task]);
            rig.settle();
        }
        far.end();
    } else {
        far.put(&frame(from, 0x82, b"a message"));
    }
    for _ in 0..3 {
        settle(&mut [&mut task]);
        rig.settle();
    }
    ensure!(
        woken.load(Ordering::SeqCst) > before,
        "the other task was not woken"
    );

    // And so does what the operation waits for.
    finish(operation, from, &mut far, &mut task, &mut rig)?;
    Ok(())
}

/// Lets the operation come to its end.
fn finish(
    operation: &Operation,
    from: Side,
    far: &mut Peer,
    task: &mut Task<'_, super::rig::Report>,
    rig: &mut Rig,
) -> Result<(), String> {
    if operation.class == Class::Receive {
        far.put(&frame(from, 0x82, b"a message"));
    }
    // A pong that follows a message is not seen until that is received.
    if operation.class == Class::Attend || operation.class == Class::Ping {
        return Ok(());
    }
    let mut bytes = Vec::new();
    for _ in 0..5000 {
        settle(&mut [task]);
        rig.settle();
        if task.is_done() {
            return Ok(());
        }
        bytes.extend(far.take_all());
        let frames = parse_frames(&bytes);
        if let Some(ping) = frames.iter().find(|frame| frame.first == 0x89) {
            far.put(&frame(from, 0x8a, &ping.payload));
            bytes.clear();
        }
    }
    Err("the operation is not woken".into())
}
