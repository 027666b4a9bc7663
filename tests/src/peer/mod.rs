//! The peers that foreign libraries, the Autobahn suite and foreign proxies are tested against:
//! `interop-peer`, `autobahn-peer`, `proxy-peer` and `behind-peer`; and `soak-peer`, which is tested against itself. Their
//! command lines and what they do are described in tests/README.md.

mod arguments;
mod autobahn;
mod behind;
mod by_hand;
mod deflate;
mod interop;
mod proxied;
mod runtime;
mod soak;

use std::error::Error;
use std::fmt::Write as _;
use std::process::ExitCode;

use sansock::WebSocket;

use arguments::Arguments;
use runtime::{AsyncStd, Smol, Timer};

/// The result of whatever a peer does: an error is its last words.
type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// A WebSocket as both runtimes have it.
type Socket<S> = WebSocket<S, Timer>;

/// Runs `interop-peer`.
#[must_use]
pub fn interop() -> ExitCode {
    exit_code(Arguments::of_process().and_then(|arguments| {
        match arguments.option("--runtime").unwrap_or("smol") {
            "smol" => interop::run::<Smol>(&arguments),
            "async-std" => interop::run::<AsyncStd>(&arguments),
            other => Err(format!("no runtime is called {other:?}").into()),
        }
    }))
}

/// Runs `autobahn-peer`.
#[must_use]
pub fn autobahn() -> ExitCode {
    exit_code(Arguments::of_process().and_then(|arguments| {
        match arguments.option("--runtime").unwrap_or("smol") {
            "smol" => autobahn::run::<Smol>(&arguments),
            "async-std" => autobahn::run::<AsyncStd>(&arguments),
            other => Err(format!("no runtime is called {other:?}").into()),
        }
    }))
}

/// Runs `proxy-peer`.
#[must_use]
pub fn proxied() -> ExitCode {
    exit_code(Arguments::of_process().and_then(|arguments| proxied::run(&arguments)))
}

/// Runs `behind-peer`.
#[must_use]
pub fn behind() -> ExitCode {
    exit_code(Arguments::of_process().and_then(|arguments| behind::run(&arguments)))
}

/// Runs `soak-peer`, whose allocator says how many bytes are allocated.
#[must_use]
pub fn soak(heap: fn() -> usize) -> ExitCode {
    exit_code(Arguments::of_process().and_then(|arguments| soak::run(&arguments, heap)))
}

/// Says in one line on standard error why it failed.
fn exit_code(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", in_one_line(&*error));
            ExitCode::FAILURE
        }
    }
}

/// The error and its causes.
fn in_one_line(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(line, ": {error}");
        cause = error.source();
    }
    line.replace(['\n', '\r'], " ")
}

/// Fails unless the condition holds.
fn check(holds: bool, reason: impl FnOnce() -> String) -> Outcome {
    match holds {
        true => Ok(()),
        false => Err(reason().into()),
    }
}
