//! The kinds of measurement.

use std::collections::VecDeque;
use std::fmt::Write;
use std::rc::Rc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Result;
use crate::cell::{Load, Wire};
use crate::connection::Connection;
use crate::open::open;
use crate::poller::Poller;
use crate::process::{processor_time, resident};
use crate::script::Script;

/// Bytes that one read takes at most.
const BUFFER: usize = 256 << 10;
/// How long nothing may come back.
const PATIENCE: Duration = Duration::from_secs(10);
/// Handshakes that are under way at a time: a few where they are measured, many where they are not.
const IN_FLIGHT: usize = 8;
const MANY_IN_FLIGHT: usize = 64;
/// Connections that are open before memory is measured, so that what is allocated once is there.
const FIRST: usize = 32;
/// From this number of connections on, their memory stands out from everything else.
const MANY: usize = 1000;
/// When an idle connection has given back what it will.
const SETTLED: Duration = Duration::from_millis(1500);

/// The server that is measured.
pub struct Target {
    pub port: u16,
    pub pid: u32,
    pub wire: Wire,
    /// How long to measure.
    pub time: Duration,
}

/// Names and values, in order.
#[derive(Debug, Default)]
pub struct Figures(Vec<(&'static str, f64)>);

impl Figures {
    fn add(&mut self, name: &'static str, value: f64) {
        self.0.push((name, value));
    }

    pub fn to_json(&self) -> String {
        let mut json = String::new();
        for (name, value) in &self.0 {
            let comma = if json.is_empty() { "" } else { ", " };
            let _ = write!(json, "{comma}\"{name}\": {value:.1}");
        }
        format!("{{{json}}}")
    }
}

/// Each connection sends a batch, waits until all of it has come back, and sends the next.
pub fn echo(target: &Target, load: &Load) -> Result<Figures> {
    let first = (load.connections >= MANY)
        .then(|| Occupied::new(target, load))
        .transpose()?;
    let mut session = Session::open(target, load, load.connections)?;
    session
        .connections
        .iter_mut()
        .try_for_each(|connection| connection.send(load.depth))?;
    let again = |connection: &mut Connection, _: usize| match connection.in_flight {
        0 => connection.send(load.depth),
        _ => Ok(()),
    };
    session.run_for(target.time / 5, again)?;
    session.run_until_replies(2 * load.connections, again)?;
    let meter = Meter::start(target)?;
    let before = session.replies;
    session.run_for(target.time, again)?;
    // On a busy machine, either side may not have had its turn yet.
    session.run_until_replies(before + load.connections, again)?;
    let mut figures = meter.stop(session.replies - before)?;
    if let Some(first) = first {
        figures.add("resident", first.growth(target, load.connections)?);
    }
    Ok(figures)
}

/// Sends messages when they are due, whatever has come back: a late reply delays no message, and a late message counts
/// from when it was due.
pub fn latency(target: &Target, load: &Load, rate: f64) -> Result<Figures> {
    let mut session = Session::open(target, load, load.connections)?;
    let mut due: Vec<VecDeque<Instant>> = vec![VecDeque::new(); load.connections];
    let start = Instant::now();
    let (measured, end) = (
        start + target.time / 5,
        start + target.time / 5 + target.time,
    );
    let at = |number: usize| start + Duration::from_secs_f64(number as f64 / rate);
    let (mut sent, mut nanoseconds) = (0, Vec::new());
    while at(sent) < end || session.replies < sent {
        if Instant::now() > end + PATIENCE {
            return Err("the server does not keep up with half of what it did before".into());
        }
        while at(sent) < end && at(sent) <= Instant::now() {
            let index = sent % load.connections;
            due[index].push_back(at(sent));
            session.connections[index].send(1)?;
            sent += 1;
        }
        session.turn(Duration::ZERO, |index, _, completed| {
            let now = Instant::now();
            for due in due[index].drain(..completed) {
                if due >= measured {
                    nanoseconds.push((now - due).as_nanos() as f64);
                }
            }
            Ok(())
        })?;
    }
    nanoseconds.sort_by(f64::total_cmp);
    let mut figures = Figures::default();
    for (name, share) in [("p50_ns", 0.5), ("p99_ns", 0.99), ("p999_ns", 0.999)] {
        let index = (nanoseconds.len() as f64 * share) as usize;
        figures.add(name, *nanoseconds.get(index).ok_or("too few messages")?);
    }
    figures.add(
        "per_second",
        nanoseconds.len() as f64 / target.time.as_secs_f64(),
    );
    Ok(figures)
}

/// Memory of connections that are idle: when they are fresh, and after one message on each.
pub fn idle(target: &Target, load: &Load) -> Result<Figures> {
    let first = Occupied::new(target, load)?;
    let mut session = Session::open(target, load, load.connections)?;
    let mut figures = Figures::default();
    sleep(SETTLED);
    figures.add("fresh", first.growth(target, load.connections)?);
    session.one_message_each()?;
    sleep(SETTLED);
    figures.add("used", first.growth(target, load.connections)?);
    Ok(figures)
}

/// Connections that are opened and ended at once.
pub fn handshake(target: &Target, count: usize) -> Result<Figures> {
    let handshakes = |count| open(target.port, target.wire, count, IN_FLIGHT, |_, _| Ok(()));
    handshakes(count / 5)?;
    let mut meter = Meter::start(target)?;
    handshakes(count)?;
    meter.stop_clock();
    // The server has yet to see that the last ones have ended.
    sleep(Duration::from_millis(50));
    meter.stop(count)
}

/// One connection sends; once all have received it, the next.
pub fn broadcast(target: &Target, load: &Load) -> Result<Figures> {
    let mut session = Session::open(target, load, load.connections)?;
    // The server answers a handshake before it has added the connection to the receivers.
    sleep(Duration::from_millis(200));
    session.broadcast_for(target.time / 5)?;
    let meter = Meter::start(target)?;
    let before = session.replies;
    session.broadcast_for(target.time)?;
    meter.stop(session.replies - before)
}

/// What the server has used since.
struct Meter {
    pid: u32,
    start: Instant,
    elapsed: Option<Duration>,
    processor: Duration,
}

impl Meter {
    fn start(target: &Target) -> Result<Self> {
        Ok(Self {
            pid: target.pid,
            processor: processor_time(target.pid)?,
            start: Instant::now(),
            elapsed: None,
        })
    }

    fn stop_clock(&mut self) {
        self.elapsed = Some(self.start.elapsed());
    }

    fn stop(self, messages: usize) -> Result<Figures> {
        let elapsed = self.elapsed.unwrap_or_else(|| self.start.elapsed());
        let processor = processor_time(self.pid)?.saturating_sub(self.processor);
        if messages == 0 {
            return Err("no message came back".into());
        }
        let mut figures = Figures::default();
        figures.add("cpu_ns", processor.as_nanos() as f64 / messages as f64);
        figures.add("per_second", messages as f64 / elapsed.as_secs_f64());
        figures.add("messages", messages as f64);
        figures.add(
            "busy_percent",
            100.0 * processor.as_secs_f64() / elapsed.as_secs_f64(),
        );
        Ok(figures)
    }
}

/// A server that has connections already, all of which were used.
struct Occupied {
    _session: Session,
    resident: u64,
}

impl Occupied {
    fn new(target: &Target, load: &Load) -> Result<Self> {
        let mut session = Session::open(target, load, FIRST)?;
        session.one_message_each()?;
        sleep(SETTLED);
        Ok(Self {
            _session: session,
            resident: resident(target.pid)?,
        })
    }

    /// Returns bytes a connection.
    fn growth(&self, target: &Target, connections: usize) -> Result<f64> {
        let growth = resident(target.pid)? as f64 - self.resident as f64;
        Ok(growth / connections as f64)
    }
}

/// Connections to the server.
struct Session {
    connections: Vec<Connection>,
    poller: Poller,
    ready: Vec<usize>,
    buffer: Vec<u8>,
    /// How many messages have come back.
    replies: usize,
}

impl Session {
    fn open(target: &Target, load: &Load, count: usize) -> Result<Self> {
        let mut opened = Vec::with_capacity(count);
        open(
            target.port,
            target.wire,
            count,
            MANY_IN_FLIGHT.min(count),
            |stream, parameters| {
                opened.push((stream, parameters));
                Ok(())
            },
        )?;
        let (_, agreed) = opened.first().ok_or("no connection")?;
        let script = Rc::new(Script::new(load, target.wire, agreed)?);
        let poller = Poller::new()?;
        let mut connections = Vec::with_capacity(count);
        for (index, (stream, parameters)) in opened.into_iter().enumerate() {
            let connection = Connection::new(stream, script.clone(), &parameters)?;
            poller.add(connection.stream(), index)?;
            connections.push(connection);
        }
        Ok(Self {
            connections,
            poller,
            ready: Vec::new(),
            buffer: vec![0; BUFFER],
            replies: 0,
        })
    }

    /// Waits, at most that long, and goes on with what is ready; `each` is told the connection and how many of its
    /// messages came back.
    fn turn(
        &mut self,
        timeout: Duration,
        mut each: impl FnMut(usize, &mut Connection, usize) -> Result<()>,
    ) -> Result<()> {
        self.poller.wait(timeout, &mut self.ready)?;
        for &index in &self.ready {
            let connection = &mut self.connections[index];
            let completed = connection.go_on(&mut self.buffer)?;
            self.replies += completed;
            each(index, connection, completed)?;
        }
        Ok(())
    }

    fn run_for(
        &mut self,
        time: Duration,
        mut each: impl FnMut(&mut Connection, usize) -> Result<()>,
    ) -> Result<()> {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.turn(left, |_, connection, completed| each(connection, completed))?;
        }
    }

    fn run_until_replies(
        &mut self,
        replies: usize,
        mut each: impl FnMut(&mut Connection, usize) -> Result<()>,
    ) -> Result<()> {
        while self.replies < replies {
            let before = self.replies;
            let start = Instant::now();
            while self.replies == before {
                if start.elapsed() > PATIENCE {
                    return Err(format!("nothing came back in {PATIENCE:?}").into());
                }
                self.turn(PATIENCE, |_, connection, completed| {
                    each(connection, completed)
                })?;
            }
        }
        Ok(())
    }

    /// Sends one message on each connection, and waits for all replies.
    fn one_message_each(&mut self) -> Result<()> {
        for first in (0..self.connections.len()).step_by(MANY_IN_FLIGHT) {
            let last = self.connections.len().min(first + MANY_IN_FLIGHT);
            let before = self.replies;
            self.connections[first..last]
                .iter_mut()
                .try_for_each(|connection| connection.send(1))?;
            self.run_until_replies(before + (last - first), |_, _| Ok(()))?;
        }
        Ok(())
    }

    fn broadcast_for(&mut self, time: Duration) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < time {
            let count = self.connections.len();
            self.connections
                .iter_mut()
                .skip(1)
                .for_each(Connection::expect);
            self.connections[0].send(1)?;
            self.run_until_replies(self.replies + count, |_, _| Ok(()))?;
        }
        Ok(())
    }
}
