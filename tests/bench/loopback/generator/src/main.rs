//! Loads one server over loopback, and prints what it cost the server as one line of JSON.
//!
//! ```text
//! bench-generator PORT PID WIRE CELL SECONDS
//! ```
//!
//! WIRE is `raw`, `websocket` or `deflate`; CELL is one of
//!
//! ```text
//! echo/CONTENT/CONNECTIONSxDEPTHxSIZE           each connection sends DEPTH messages, waits for all of them, sends the next
//! latency/CONTENT/CONNECTIONSxSIZE/RATE         messages at fixed times, RATE a second in all, whatever comes back
//! idle/CONTENT/CONNECTIONSxSIZE                 memory of idle connections: fresh, and after one message each
//! handshake/CONNECTIONS                         opened and ended one after the other, eight at a time
//! broadcast/CONTENT/CONNECTIONSxSIZE            one sends, all receive
//! ```
//!
//! It measures for SECONDS, after a fifth of that to warm up; `idle` and `handshake` count connections instead.
//! Everything that comes back is compared with what must come back; the first difference ends the run.

mod cell;
mod connection;
mod deflate;
mod measure;
mod open;
mod payload;
mod poller;
mod process;
mod replies;
mod script;

use std::process::ExitCode;
use std::time::Duration;

use crate::cell::Cell;
use crate::measure::Target;

/// What went wrong, for a person to read.
type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    match run() {
        Ok(figures) => {
            println!("{figures}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<String> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [port, pid, wire, cell, seconds] = &words[..] else {
        return Err("usage: bench-generator PORT PID WIRE CELL SECONDS".into());
    };
    let target = Target {
        port: port.parse()?,
        pid: pid.parse()?,
        wire: wire.parse()?,
        time: Duration::try_from_secs_f64(seconds.parse()?)?,
    };
    let figures = match cell.parse()? {
        Cell::Echo(load) => measure::echo(&target, &load)?,
        Cell::Latency(load, rate) => measure::latency(&target, &load, rate)?,
        Cell::Idle(load) => measure::idle(&target, &load)?,
        Cell::Handshake(count) => measure::handshake(&target, count)?,
        Cell::Broadcast(load) => measure::broadcast(&target, &load)?,
    };
    Ok(figures.to_json())
}
