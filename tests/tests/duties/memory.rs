//! D7: what queues is bounded, and nothing remains of what is gone.

use std::time::Duration;

use allocation_counter::measure;
use bytes::Bytes;
use sansock_tests::driver::{Flood, Task, config, frame, peer_of, pipe};

use super::keep_reading::call;
use super::operations::{Class, Operation, Use};
use super::rig::Rig;
use super::{Cell, Kept, ensure};

/// What one connection may hold over a flood: the backlog of a ping, and its buffers.
const MOST: u64 = 3 << 20;

/// What a queue of 64 KiB may take, in a buffer that grows by doubling, and what else a connection holds.
const QUEUE: i64 = 136 << 10;

pub(crate) fn check(operation: &Operation) -> Cell {
    tasks_that_come_and_go(operation)?;
    flood(operation)?;
    Ok(Kept::Yes)
}

/// A thousand tasks begin the operation and are dropped: nothing of them remains.
fn tasks_that_come_and_go(operation: &Operation) -> Result<(), String> {
    let mut rig = Rig::new();
    // Too small for anything to leave.
    let (near, far) = pipe(1);
    let mut subject = rig.subject(operation.owner, near, config().ping_interval(None));
    let with = Use {
        clock: rig.clock.clone(),
        payload: vec![6; 1000].into(),
        pause: Duration::from_secs(1),
    };
    let mut begin = |tasks: usize| {
        for _ in 0..tasks {
            Task::new(async { call(operation, &mut subject, &with).await }).poll();
            rig.settle();
        }
    };
    // Twice what fills the queue: frames of a thousand bytes, or of at least six.
    let queued = measure(|| {
        begin(match operation.class {
            Class::Ping => 22_000,
            Class::Send if operation.method.contains("_p") => 22_000,
            Class::Receive
            | Class::Send
            | Class::Queue
            | Class::Flush
            | Class::Attend
            | Class::SendClose
            | Class::Close
            | Class::Fail => 200,
        });
    });
    let queued = queued.bytes_current;
    ensure!(queued <= QUEUE, "{queued} bytes were queued");
    let grown = measure(|| begin(1000)).bytes_current;
    ensure!(
        grown <= 2048,
        "a thousand tasks that are gone left {grown} bytes"
    );
    drop(far);
    Ok(())
}

/// The peer floods with empty messages, in which an overhead is all there is.
fn flood(operation: &Operation) -> Result<(), String> {
    let peer = peer_of(operation.owner.side());
    for (pattern, polls) in [(frame(peer, 0x82, b""), 20), (frame(peer, 0x89, b""), 3)] {
        let mut rig = Rig::new();
        let (flood, source) = Flood::new(&rig.clock);
        let with = Use {
            clock: rig.clock.clone(),
            payload: Bytes::from_static(b"message"),
            pause: Duration::from_secs(1),
        };
        let row = *operation;
        let config = config().ping_interval(None);
        rig.start(
            operation.owner,
            flood,
            config,
            move |mut subject| async move {
                source.take_time(Duration::from_micros(1));
                source.flow(&pattern, 16 << 10);
                source.forget();
                let mut calls = 0;
                while call(&row, &mut subject, &with).await.is_ok() && calls < 2000 {
                    calls += 1;
                }
            },
        );
        let held = measure(|| {
            for _ in 0..polls {
                if rig.is_woken() {
                    rig.poll();
                } else if !rig.clock.advance_to_next_alarm() {
                    break;
                }
            }
        });
        ensure!(
            held.bytes_max <= MOST,
            "{} bytes were held over a flood",
            held.bytes_max
        );
    }
    Ok(())
}
