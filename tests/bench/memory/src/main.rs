//! Runs one cell of one library: what valgrind looks at.
//!
//!     bench-memory CONTENDER CELL N     handles N messages
//!     bench-memory contenders           names the contenders
//!     bench-memory time CELL...         nanoseconds a message, all contenders interleaved

use std::env;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bench_memory::contenders::{CONTENDERS, find};
use bench_memory::{Cell, Mock, Run};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["contenders"] => {
            CONTENDERS.iter().for_each(|(name, _)| println!("{name}"));
            Ok(())
        }
        ["time", ref cells @ ..] => cells.iter().try_for_each(|cell| time(cell)),
        [contender, cell, count] => run(contender, cell, count),
        _ => Err("usage: bench-memory CONTENDER CELL N | contenders | time CELL...".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Handles that many messages. Prints a word where the contender does not offer the cell.
fn run(contender: &str, cell: &str, count: &str) -> Result<(), String> {
    let prepare = find(contender).ok_or_else(|| format!("no contender is called {contender}"))?;
    let cell: Cell = cell.parse()?;
    let count = count
        .parse()
        .map_err(|_| format!("{count} is not a number"))?;
    match prepare(&cell, Mock::of(&cell)) {
        Some(mut run) => run(count),
        None => println!("none"),
    }
    Ok(())
}

/// Rounds of a cell. The best round counts: what is slower was disturbed.
const ROUNDS: u32 = 15;

/// How long one contender runs in one round.
const ROUND: Duration = Duration::from_millis(10);

/// Prints a line `CELL CONTENDER NANOSECONDS` for each contender.
fn time(cell: &str) -> Result<(), String> {
    let cell: Cell = cell.parse()?;
    let mut racers: Vec<_> = CONTENDERS
        .iter()
        .filter_map(|(name, prepare)| Racer::new(name, prepare(&cell, Mock::of(&cell))?))
        .collect();
    for _ in 0..ROUNDS {
        racers.iter_mut().for_each(Racer::round);
    }
    for racer in racers {
        println!("{cell} {} {:.1}", racer.name, racer.best);
    }
    Ok(())
}

struct Racer {
    name: &'static str,
    run: Run,
    /// Messages in one round.
    count: usize,
    /// Nanoseconds a message.
    best: f64,
}

impl Racer {
    fn new(name: &'static str, mut run: Run) -> Option<Self> {
        let mut count = 16;
        while elapsed(&mut run, count) < ROUND {
            count *= 2;
        }
        Some(Self {
            name,
            run,
            count,
            best: f64::INFINITY,
        })
    }

    fn round(&mut self) {
        let nanoseconds = elapsed(&mut self.run, self.count).as_nanos() as f64;
        self.best = self.best.min(nanoseconds / self.count as f64);
    }
}

fn elapsed(run: &mut Run, count: usize) -> Duration {
    let start = Instant::now();
    run(count);
    start.elapsed()
}
