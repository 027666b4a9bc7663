//! D8: replies to the control frames before a message leave in one write, before it is delivered.

use std::time::Duration;

use bytes::Bytes;
use sansock_core::Side;
use sansock_tests::driver::{End, Frame, config, frame, parse_frames, peer_of, pipe};

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
    let mut far = Far::meet(operation);
    let mut expected = pongs_to("first");
    let mut frames = Vec::new();
    if operation.class == Class::Receive {
        frames = far.ping_around_messages(operation)?;
        expected.extend(pongs_to("second"));
    } else {
        far.ping("first");
    }
    // Where each event takes a call and a pause, there are many calls.
    let observes = operation.method == "recv_event";
    frames.extend(far.answer_pings(if observes { 60 } else { 5 }));
    ensure!(pongs(&frames) == expected, "{:?}", pongs(&frames));
    let own = lock(&far.reports).len();
    let most = match operation.method {
        "recv_event" => usize::MAX,
        // Fragments take a write each.
        "write" => 2 * own + 2,
        _ if operation.class == Class::Receive => 2,
        _ => own + 2,
    };
    let writes = far.rig.meter.work().writes - far.writes_before;
    ensure!(writes <= most, "{writes} writes, {own} of them of its own");
    Ok(Kept::Yes)
}

/// The peer of a task that does the operation again and again.
struct Far {
    rig: Rig,
    end: End,
    side: Side,
    reports: Shared<Vec<Report>>,
    writes_before: usize,
}

impl Far {
    fn meet(operation: &Operation) -> Self {
        let (near, mut end) = pipe(1 << 20);
        let mut rig = Rig::new();
        let payload = if operation.class == Class::Queue {
            vec![5; 64 << 10].into()
        } else {
            Bytes::from_static(b"message")
        };
        let with = Use {
            clock: rig.clock.clone(),
            payload,
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
        end.take_all();
        Self {
            writes_before: rig.meter.work().writes,
            side: peer_of(operation.owner.side()),
            rig,
            end,
            reports,
        }
    }

    fn pings(&self, name: &str) -> Vec<u8> {
        let pings = numbered(name).map(|payload| frame(self.side, 0x89, payload.as_bytes()));
        pings.flatten().collect()
    }

    fn ping(&mut self, name: &str) {
        let pings = self.pings(name);
        self.end.put(&pings);
    }

    /// Sends pings, a message, pings and a message, in one read. Returns what comes at once.
    fn ping_around_messages(&mut self, operation: &Operation) -> Result<Vec<Frame>, String> {
        let message = frame(self.side, 0x82, b"a message");
        let (first, second) = (self.pings("first"), self.pings("second"));
        self.end
            .put(&[first, message.clone(), second, message].concat());
        self.rig.settle();
        let frames = parse_frames(&self.end.take_all());
        let mut found = pongs(&frames);
        if operation.method == "recv_event" {
            ensure!(!found.is_empty(), "no pong");
            return Ok(frames);
        }
        let reports = lock(&self.reports).len();
        ensure!(reports == 1, "{reports} events");
        if operation.owner == Owner::Socket {
            // A server drives on behind the message that was delivered.
            found.truncate(PINGS);
        }
        ensure!(found == pongs_to("first"), "before the message: {found:?}");
        Ok(frames)
    }

    /// Lets so many calls be done. Returns what is sent, and answers the pings.
    fn answer_pings(&mut self, calls: u64) -> Vec<Frame> {
        let (mut frames, mut unparsed) = (Vec::new(), Vec::new());
        for call in 0..calls {
            self.rig.run_until(Duration::from_millis(20 + 100 * call));
            unparsed.extend(self.end.take_all());
            let sent = parse_frames(&unparsed);
            if !sent.is_empty() {
                unparsed.clear();
            }
            for ping in sent.iter().filter(|frame| frame.first == 0x89) {
                self.end.put(&frame(self.side, 0x8a, &ping.payload));
            }
            frames.extend(sent);
        }
        frames
    }
}

fn numbered(name: &str) -> impl Iterator<Item = String> {
    (0..PINGS).map(move |number| format!("{name} {number}"))
}

fn pongs_to(name: &str) -> Vec<String> {
    numbered(name).collect()
}

fn pongs(frames: &[Frame]) -> Vec<String> {
    let pongs = frames
        .iter()
        .filter(|frame| frame.first == 0x8a && !frame.payload.starts_with(b"!"));
    pongs
        .map(|frame| String::from_utf8_lossy(&frame.payload).into_owned())
        .collect()
}
