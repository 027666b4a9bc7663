//! Puts load on a WebSocket server that answers each message with one, as an echo server does, and
//! tells how long the answers take.
//!
//! ```text
//! cargo run --release --example load -- ws://127.0.0.1:9001/ --connections 100 --seconds 10
//! cargo run --release --example load -- ws://127.0.0.1:9001/ --rate 10000 --size 1024
//! ```
//!
//! Without `--rate` a connection sends the next message when an answer has come, so that a slow server
//! gets less to do. With it, messages are due at fixed times and their latency counts from then: what
//! waits behind a pause of the server counts as having waited.
//!
//! Exit status: 0; 1 where a connection failed or no answer came; 2 for a mistake in the command line.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::ffi::OsString;
use std::io::{IsTerminal, Write, stderr};
use std::process::ExitCode;
use std::rc::Rc;
use std::str::FromStr;
use std::time::{Duration, Instant};

use async_executor::LocalExecutor;
use async_io::Timer;
use futures_lite::future;
use hdrhistogram::Histogram;
use lexopt::prelude::*;
use sansock::Message;
use sansock::core::deflate::Deflate;
use sansock::smol::{Connect, WebSocket};
use sansock::tls::ClientTls;

const USAGE: &str = "\
usage: load URL [OPTIONS]

  --connections N   connections that are open at the same time (default: 10)
  --depth N         messages a connection sends before it waits for an answer (default: 1)
  --size N          bytes of a message (default: 64)
  --seconds N       how long it lasts (default: 10)
  --rate N          messages a second, over all connections (default: as fast as answers come)
  --text            text messages instead of binary ones
  --compress        offers compression
  --insecure        accepts whatever certificate the server has
";

fn main() -> ExitCode {
    let options = match Options::parse(lexopt::Parser::from_env()) {
        Ok(options) => Rc::new(options),
        Err(error) => {
            eprint!("load: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let executor = LocalExecutor::new();
    match async_io::block_on(executor.run(run(&executor, options))) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

struct Options {
    url: String,
    connections: usize,
    depth: usize,
    size: usize,
    lasts: Duration,
    rate: Option<f64>,
    text: bool,
    compress: bool,
    insecure: bool,
}

impl Options {
    fn parse(mut arguments: lexopt::Parser) -> Result<Self, lexopt::Error> {
        let mut options = Self {
            url: String::new(),
            connections: 10,
            depth: 1,
            size: 64,
            lasts: Duration::from_secs(10),
            rate: None,
            text: false,
            compress: false,
            insecure: false,
        };
        while let Some(argument) = arguments.next()? {
            match argument {
                Value(url) if options.url.is_empty() => options.url = url.string()?,
                Long("connections") => options.connections = positive(&arguments.value()?)?,
                Long("depth") => options.depth = positive(&arguments.value()?)?,
                Long("size") => options.size = arguments.value()?.parse()?,
                Long("seconds") => {
                    let seconds = positive::<f64>(&arguments.value()?)?;
                    options.lasts =
                        Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?;
                }
                Long("rate") => options.rate = Some(positive(&arguments.value()?)?),
                Long("text") => options.text = true,
                Long("compress") => options.compress = true,
                Long("insecure") => options.insecure = true,
                Short(_) | Long(_) | Value(_) => return Err(argument.unexpected()),
            }
        }
        match options.url.is_empty() {
            true => Err("a URL is missing".into()),
            false => Ok(options),
        }
    }

    /// Describes the connections, all alike.
    fn connect(&self) -> Connect {
        let mut config = sansock::config().max_message_size(self.size.max(1 << 20));
        if self.compress {
            config = config.deflate(Deflate::new());
        }
        let connect = sansock::smol::connect(&self.url).config(config);
        match self.insecure {
            true => connect.tls(ClientTls::new().danger_accept_invalid_certificates()),
            false => connect,
        }
    }

    fn message(&self) -> Message {
        let digits = (0..self.size).map(|at| b'0' + (at % 10) as u8);
        match self.text {
            true => Message::text(digits.map(char::from).collect::<String>()),
            false => Message::binary(digits.collect::<Vec<_>>()),
        }
    }
}

fn positive<N>(value: &OsString) -> Result<N, lexopt::Error>
where
    N: FromStr + Default + PartialOrd,
    N::Err: Into<Box<dyn Error + Send + Sync>>,
{
    let number = value.parse::<N>()?;
    match number > N::default() {
        true => Ok(number),
        false => Err("a number above 0 is needed".into()),
    }
}

/// Connects, puts on the load, and reports. Returns whether all went well.
async fn run(executor: &LocalExecutor<'_>, options: Rc<Options>) -> bool {
    let report = Rc::new(Report::default());
    let sockets = connect(executor, &options, &report).await;
    eprintln!(
        "{} of {} connections are open",
        sockets.len(),
        options.connections
    );

    let start = Instant::now();
    report.open.set(sockets.len());
    let talks = sockets.into_iter().enumerate().map(|(index, ws)| {
        let (options, report) = (options.clone(), report.clone());
        executor.spawn(async move {
            let pace = Pace::new(start, index, &options);
            let outcome = talk(ws, pace, start + options.lasts, &options, &report).await;
            report.open.set(report.open.get() - 1);
            report.note(outcome);
        })
    });
    let talks: Vec<_> = talks.collect();
    let progress = executor.spawn(show_progress(start, report.clone()));
    for talk in talks {
        talk.await;
    }
    progress.cancel().await;
    report.summarise(&options)
}

/// Opens all connections, a few at the same time.
async fn connect(
    executor: &LocalExecutor<'_>,
    options: &Options,
    report: &Rc<Report>,
) -> Vec<WebSocket> {
    const AT_ONCE: usize = 64;

    let left = Rc::new(Cell::new(options.connections));
    let connect = options.connect();
    let workers = (0..AT_ONCE).map(|_| {
        let (connect, report, left) = (connect.clone(), report.clone(), left.clone());
        executor.spawn(async move {
            let mut sockets = Vec::new();
            while let Some(fewer) = left.get().checked_sub(1) {
                left.set(fewer);
                match connect.clone().await {
                    Ok(ws) => sockets.push(ws),
                    Err(error) => report.note(Err(error)),
                }
            }
            sockets
        })
    });
    let mut sockets = Vec::new();
    for worker in workers.collect::<Vec<_>>() {
        sockets.append(&mut worker.await);
    }
    sockets
}

/// Sends and receives on one connection until the end.
async fn talk(
    mut ws: WebSocket,
    mut pace: Pace,
    end: Instant,
    options: &Options,
    report: &Report,
) -> sansock::Result<()> {
    let message = options.message();
    // When each message that was not yet answered was due.
    let mut waiting = VecDeque::with_capacity(options.depth);
    let mut alarm = Timer::at(end);
    let mut alarm_at = end;
    while Instant::now() < end {
        while waiting.len() < options.depth {
            let Some(due) = pace.next() else { break };
            // Only queued: `recv_ref` writes all of them together before it waits.
            ws.feed(&message).await?;
            waiting.push_back(due);
        }
        let wake_at = match waiting.len() < options.depth {
            true => pace.due.min(end),
            false => end,
        };
        if wake_at != alarm_at {
            alarm.set_at(wake_at);
            alarm_at = wake_at;
        }
        // To drop the future that receives, as here when the alarm rings first, loses nothing.
        let receive = async { Some(ws.recv_ref().await.map(|answer| answer.is_some())) };
        let wait = async {
            (&mut alarm).await;
            None
        };
        match future::or(receive, wait).await.transpose()? {
            None => {}
            Some(true) => report.record(waiting.pop_front()),
            Some(false) => {
                // The code and the reason, unless the close was normal.
                ws.close_result()?;
                report.count("closed before the end");
                return Ok(());
            }
        }
    }
    ws.close(1000, "").await
}

/// When the messages of one connection are due.
struct Pace {
    due: Instant,
    /// From one to the next; none where a message is due when there is room for it.
    interval: Option<Duration>,
}

impl Pace {
    /// The connections take turns.
    fn new(start: Instant, index: usize, options: &Options) -> Self {
        let turn = options.rate.map(|rate| Duration::from_secs_f64(1.0 / rate));
        let before = turn.unwrap_or_default().mul_f64(index as f64);
        Self {
            due: start + before,
            interval: turn.map(|turn| turn.mul_f64(options.connections as f64)),
        }
    }

    /// Returns when the next message was due, if that is now or before.
    fn next(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let Some(interval) = self.interval else {
            return Some(now);
        };
        let due = self.due;
        if due > now {
            return None;
        }
        self.due = due + interval;
        Some(due)
    }
}

/// What is known so far.
struct Report {
    /// Latencies in nanoseconds since the last line of progress.
    recent: RefCell<Histogram<u64>>,
    /// And those before.
    total: RefCell<Histogram<u64>>,
    open: Cell<usize>,
    errors: RefCell<BTreeMap<String, usize>>,
}

impl Default for Report {
    fn default() -> Self {
        // Three digits are kept of each value, whatever its size.
        let histogram =
            || Histogram::new(3).unwrap_or_else(|_| unreachable!("3 digits are allowed"));
        Self {
            recent: RefCell::new(histogram()),
            total: RefCell::new(histogram()),
            open: Cell::new(0),
            errors: RefCell::default(),
        }
    }
}

impl Report {
    fn record(&self, due: Option<Instant>) {
        let Some(due) = due else {
            return self.count("an answer came to no message");
        };
        let latency = u64::try_from(due.elapsed().as_nanos()).unwrap_or(u64::MAX);
        // The histogram grows as it must.
        let _ = self.recent.borrow_mut().record(latency);
    }

    fn note(&self, outcome: sansock::Result<()>) {
        let Err(error) = outcome else { return };
        let mut text = error.to_string();
        if let Some(cause) = error.source() {
            text = format!("{text}: {cause}");
        }
        self.count(&text);
    }

    fn count(&self, error: &str) {
        *self.errors.borrow_mut().entry(error.into()).or_default() += 1;
    }

    /// Moves what is recent to the total, and returns it.
    fn take_recent(&self) -> Histogram<u64> {
        let mut recent = self.recent.borrow_mut();
        let taken = recent.clone();
        recent.reset();
        let _ = self.total.borrow_mut().add(&taken);
        taken
    }

    /// Prints the result, and returns whether all went well.
    fn summarise(&self, options: &Options) -> bool {
        self.take_recent();
        let total = self.total.borrow();
        let rate = total.len() as f64 / options.lasts.as_secs_f64();
        let megabytes = rate * options.size as f64 / 1e6;
        println!(
            "{} answers, {rate:.0} a second, {megabytes:.1} MB/s each way",
            total.len()
        );
        println!(
            "latency: {}, max {}",
            percentiles(&total),
            milliseconds(total.max())
        );
        let errors = self.errors.borrow();
        for (error, count) in &*errors {
            println!("{count} times: {error}");
        }
        errors.is_empty() && !total.is_empty()
    }
}

/// Prints a line each second; on a terminal, each in place of the one before.
async fn show_progress(start: Instant, report: Rc<Report>) {
    let (before, after) = match stderr().is_terminal() {
        true => ("\r\x1b[K", ""),
        false => ("", "\n"),
    };
    for second in 1.. {
        Timer::at(start + Duration::from_secs(second)).await;
        let recent = report.take_recent();
        let (rate, open) = (recent.len(), report.open.get());
        let line = format!(
            "{second:3} s  {rate:8} a second  {}  {open} open",
            percentiles(&recent)
        );
        eprint!("{before}{line}{after}");
        let _ = stderr().flush();
    }
}

fn percentiles(histogram: &Histogram<u64>) -> String {
    let at = |quantile| milliseconds(histogram.value_at_quantile(quantile));
    format!("p50 {}, p99 {}, p99.9 {}", at(0.5), at(0.99), at(0.999))
}

fn milliseconds(nanoseconds: u64) -> String {
    format!("{:.3} ms", nanoseconds as f64 / 1e6)
}
