//! Runs one cell of one library: what valgrind looks at.
//!
//!     bench-compression contenders             names the contenders and their settings
//!     bench-compression run CONTENDER CELL N   handles N messages; prints a word where it does not offer the cell
//!     bench-compression bytes CELL...          bytes a message on the wire
//!     bench-compression time CELL...           nanoseconds a message, all contenders interleaved

use std::env;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bench_compression::contenders::{CONTENDERS, Contender};
use bench_compression::{Cell, Operation, Run};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["contenders"] => {
            for contender in CONTENDERS {
                println!("{}\t{}", contender.name, contender.settings);
            }
            Ok(())
        }
        ["run", contender, cell, count] => run(contender, cell, count),
        ["bytes", ref cells @ ..] => cells.iter().try_for_each(|cell| bytes(cell)),
        ["time", ref cells @ ..] => cells.iter().try_for_each(|cell| time(cell)),
        _ => Err("usage: bench-compression contenders | run CONTENDER CELL N | bytes CELL... | time CELL...".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(contender: &str, cell: &str, count: &str) -> Result<(), String> {
    let contender = Contender::find(contender).ok_or("no such contender")?;
    let cell: Cell = cell.parse()?;
    let count = count.parse().map_err(|_| "N is a number")?;
    match contender.prepare(&cell, contender.mock(&cell)) {
        Some(mut run) => run(count),
        None => println!("none"),
    }
    Ok(())
}

/// Messages that are counted: each of them twice.
const COUNTED: usize = 512;

/// Prints a line `CELL CONTENDER BYTES` for each contender: what is written, or what is there to be read.
fn bytes(cell: &str) -> Result<(), String> {
    let cell: Cell = cell.parse()?;
    for contender in CONTENDERS {
        let mock = contender.mock(&cell);
        let written = mock.written();
        let received = mock.bytes_a_message();
        let Some(mut run) = contender.prepare(&cell, mock) else {
            continue;
        };
        run(COUNTED);
        let sent = written.load(Ordering::Relaxed) as f64 / COUNTED as f64;
        let bytes = match cell.operation {
            Operation::Send => sent,
            Operation::Recv => received,
        };
        println!("{cell} {} {bytes:.1}", contender.name);
    }
    Ok(())
}

/// Rounds of a cell. The best round counts: what is slower was disturbed.
const ROUNDS: u32 = 25;

/// Prints a line `CELL CONTENDER NANOSECONDS` for each contender.
fn time(cell: &str) -> Result<(), String> {
    let cell: Cell = cell.parse()?;
    let mut racers: Vec<(&str, Run, f64)> = CONTENDERS
        .iter()
        .filter_map(|contender| {
            let run = contender.prepare(&cell, contender.mock(&cell))?;
            Some((contender.name, run, f64::INFINITY))
        })
        .collect();
    for _ in 0..ROUNDS {
        for (_, run, best) in &mut racers {
            *best = best.min(elapsed(run).as_nanos() as f64 / COUNTED as f64);
        }
    }
    for (name, _, best) in racers {
        println!("{cell} {name} {best:.0}");
    }
    Ok(())
}

fn elapsed(run: &mut Run) -> Duration {
    let start = Instant::now();
    run(COUNTED);
    start.elapsed()
}
