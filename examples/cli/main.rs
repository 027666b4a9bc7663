//! A client for the command line: to look at a server, or to use one in a script.
//!
//! ```text
//! cargo run --example cli -- ws://127.0.0.1:9001/
//! printf 'one\ntwo\n' | cargo run --example cli -- ws://127.0.0.1:9001/
//! ```
//!
//! Each line of the input is a message, and each message that comes is a line of the output; all else
//! goes to standard error. `--help` lists the options, the commands of a terminal, and the exit status.

mod command;
mod console;
mod options;

use std::cell::Cell;
use std::error::Error as _;
use std::io::{self, BufRead, stdin};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use async_io::Timer;
use futures_lite::future;
use sansock::core::deflate::Deflate;
use sansock::smol::{Connect, Receiver, Sender, WebSocket};
use sansock::tls::ClientTls;
use sansock::{CloseCode, Closed, Error, Message};

use command::Command;
use console::Console;
use options::Options;

/// What a script can tell from the exit status.
#[derive(Clone, Copy)]
enum Status {
    /// The connection was closed as it should be.
    Closed = 0,
    /// It was lost, or closed for a reason that is no good one.
    Broken = 1,
    /// A mistake in the command line or in the input.
    Usage = 2,
    /// The server could not be reached.
    Unreachable = 3,
    /// The server was reached, and did not open a WebSocket.
    Refused = 4,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status as u8)
    }
}

fn main() -> ExitCode {
    let options = match Options::parse(lexopt::Parser::from_env()) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("cli: {error}; see --help");
            return Status::Usage.into();
        }
    };
    async_io::block_on(run(&options)).into()
}

async fn run(options: &Options) -> Status {
    let console = Console::new(options.quiet);
    let connect = match connect(options) {
        Ok(connect) => connect,
        Err(error) => return mistaken(&console, &error),
    };
    let begin = Instant::now();
    let ws = match connect.await {
        Ok(ws) => ws,
        Err(error) => return refused(&console, &error),
    };
    console.note(&connected(&ws, begin.elapsed()));
    let (sender, mut receiver) = ws.split();

    let mistaken = Cell::new(false);
    let sending = async {
        mistaken.set(send(&sender, options, &console).await.is_err());
        // The server answers what was sent before this frame first. How the connection ends, the
        // receiver tells.
        let _ = sender.close(CloseCode::NORMAL, "").await;
        future::pending().await
    };
    let receiving = receive(&mut receiver, options, &console);
    let status = future::or(receiving, sending).await;
    console.finish();
    match mistaken.get() {
        true => Status::Usage,
        false => status,
    }
}

fn connect(options: &Options) -> sansock::Result<Connect> {
    let mut config = sansock::config()
        .max_message_size(options.max_size)
        .open_timeout(options.timeout)
        .ping_interval(options.ping_interval);
    if options.compress {
        config = config.deflate(Deflate::new());
    }
    let mut tls = ClientTls::new();
    for file in &options.roots {
        tls = tls.roots_pem(std::fs::read(file)?)?;
    }
    if options.insecure {
        tls = tls.danger_accept_invalid_certificates();
    }
    let mut connect = sansock::smol::connect(&options.url)
        .options(options.client.clone())
        .config(config)
        .redirects(options.redirects)
        .tls(tls);
    if let Some((user, password)) = &options.user {
        connect = connect.basic_auth(user, password);
    }
    if let Some(proxy) = &options.proxy {
        connect = connect.proxy(proxy.clone());
    }
    Ok(connect)
}

fn connected(ws: &WebSocket, took: Duration) -> String {
    let mut text = format!("connected in {took:.1?}");
    if let Some(name) = ws.subprotocol() {
        text.push_str(&format!(", subprotocol {name}"));
    }
    let extensions = &ws.connection().negotiated().extensions;
    if !extensions.is_empty() {
        text.push_str(&format!(", {extensions}"));
    }
    text
}

/// Says what is wrong with the command line.
fn mistaken(console: &Console, error: &Error) -> Status {
    console.note(&with_causes(error));
    Status::Usage
}

/// Says why there is no connection.
fn refused(console: &Console, error: &Error) -> Status {
    console.note(&with_causes(error));
    if let Some(response) = error.response() {
        for line in String::from_utf8_lossy(response.body()).lines().take(10) {
            console.note(&format!("| {line}"));
        }
    }
    if matches!(error, Error::Uri(_) | Error::Connection(_)) {
        return Status::Usage;
    }
    match error.is_protocol() {
        true => Status::Refused,
        false => Status::Unreachable,
    }
}

fn with_causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// The input holds what cannot be sent; that has been said.
struct Mistake;

/// Sends what is typed, or what comes through the pipe, until that ends.
async fn send(sender: &Sender, options: &Options, console: &Console) -> Result<(), Mistake> {
    let commands = options.commands || console.is_interactive();
    loop {
        console.prompt();
        // By a thread, as reading the input blocks.
        let command = match blocking::unblock(read_line).await {
            Ok(None) => break,
            Ok(Some(line)) => Command::parse(line, commands, options.binary),
            Err(error) => Err(error.to_string()),
        };
        match command {
            Ok(command) => {
                if !obey(command, sender, console).await {
                    return Ok(());
                }
            }
            Err(mistake) => {
                console.note(&mistake);
                // Somebody who types can type it again.
                if !console.is_interactive() {
                    return Err(Mistake);
                }
            }
        }
    }
    if let Some(wait) = options.wait {
        Timer::after(wait).await;
    }
    Ok(())
}

/// Returns whether more can be sent.
async fn obey(command: Command, sender: &Sender, console: &Console) -> bool {
    let outcome = match command {
        // Only queued: the receiver writes all that there is before it waits.
        Command::Send(message) => sender.feed(message).await,
        Command::Ping => sender.ping().await.map(|latency| {
            console.note(&format!("pong after {latency:.1?}"));
        }),
        Command::Close(code, reason) => sender.close(code, reason).await,
        Command::Help => {
            console.note(options::COMMANDS);
            Ok(())
        }
    };
    match outcome {
        Ok(()) => true,
        Err(error) if error.is_misuse() => {
            console.note(&error.to_string());
            true
        }
        Err(_) => false,
    }
}

/// Prints what comes until the end, and says how that came about.
async fn receive(receiver: &mut Receiver, options: &Options, console: &Console) -> Status {
    loop {
        match receiver.recv().await {
            Ok(Some(message)) => show(&message, options, console),
            Ok(None) => break,
            Err(error) => {
                console.note(&with_causes(&error));
                return Status::Broken;
            }
        }
    }
    let Some(closed) = receiver.closed() else {
        return Status::Broken;
    };
    let latency = receiver.stats().latency;
    let latency = latency.map(|latency| format!("; last round trip {latency:.1?}"));
    console.note(&format!("{closed}{}", latency.unwrap_or_default()));
    // What this side closes with is up to the user.
    let is_ours = matches!(closed, Closed::SentThenReceived { .. });
    match is_ours || receiver.close_result().is_ok() {
        true => Status::Closed,
        false => Status::Broken,
    }
}

fn show(message: &Message, options: &Options, console: &Console) {
    match message {
        Message::Text(text) => console.text(text),
        Message::Binary(bytes) if options.binary && !console.is_interactive() => {
            console.bytes(bytes);
        }
        Message::Binary(bytes) => console.text(&command::binary(bytes)),
    }
}

/// Reads a line, without what ends it; `None` at the end of the input.
fn read_line() -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    if stdin().lock().read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    for end in [b'\n', b'\r'] {
        if line.last() == Some(&end) {
            line.pop();
        }
    }
    Ok(Some(line))
}
