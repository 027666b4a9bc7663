//! One program over every runtime that sansock is tried on.
//!
//! `suite.rs` is the program. It is compiled once for each runtime, against the names `R`, `runtime` and `block_on`
//! of one file of `adapters/`, so that it is the same for those whose tasks move between threads and those whose
//! tasks do not.
//!
//! Prints a row for each runtime that is named, or for all: whether it passed, how many scenarios, and what it does not
//! support; then a line for each scenario that failed. The exit status is 0 if all passed, 1 if one failed, and
//! otherwise 3, if one could not start.

mod adapters;
mod authority;
mod peer;
mod proxy;
mod report;

use std::io;
use std::process::ExitCode;

use report::Report;

/// Compiles the program for a runtime. `notes` adds to the row, `spawn` is where the connections of servers run.
macro_rules! runtimes {
    ($($(#[$cfg:meta])* $name:literal => $module:ident: $adapter:path $(, notes $notes:path)? $(, spawn $spawn:path)?;)*) => {
        $(
            $(#[$cfg])*
            #[path = "."]
            mod $module {
                use std::io;

                use sansock::runtime::Runtime;

                use $adapter as adapter;
                use adapter::{R, block_on, runtime};
                use crate::report::Report;

                #[path = "suite.rs"]
                mod suite;

                type Serve = sansock::serve::Serve<
                    sansock::Stream<R>,
                    <R as Runtime>::Timer,
                    <R as Runtime>::Mode,
                >;

                pub fn run() -> io::Result<Report> {
                    block_on(async {
                        let report = suite::run().await;
                        $(let report = report.note($notes());)?
                        report
                    })
                }

                /// Sets where the connections of a server run.
                fn placed(serve: Serve) -> Serve {
                    serve$(.spawn($spawn))?
                }
            }
        )*

        /// The runtimes that are built in, and their programs.
        const RUNTIMES: &[(&str, fn() -> io::Result<Report>)] =
            &[$($(#[$cfg])* ($name, $module::run),)*];
    };
}

runtimes! {
    "smol" => smol: crate::adapters::smol;
    "smol-threads" => smol_threads: crate::adapters::smol, spawn crate::adapters::smol::spawn;
    "async-std" => async_std: crate::adapters::async_std;
    "tokio" => tokio: crate::adapters::tokio;
    "tokio-threads" => tokio_threads: crate::adapters::tokio::threads;
    "local" => local: crate::adapters::local;
    "polling" => polling: crate::adapters::polling;
    #[cfg(feature = "compio")]
    "compio" => compio: crate::adapters::compio, notes crate::adapters::compio::driver;
    #[cfg(feature = "glommio")]
    "glommio" => glommio: crate::adapters::glommio;
    #[cfg(feature = "gio")]
    "gio" => gio: crate::adapters::gio;
}

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if wanted == ["--list"] {
        RUNTIMES.iter().for_each(|(name, _)| println!("{name}"));
        return ExitCode::SUCCESS;
    }
    let (mut failed, mut not_run) = (false, false);
    for (name, run) in RUNTIMES {
        if !wanted.is_empty() && !wanted.iter().any(|wanted| wanted == name) {
            continue;
        }
        match run() {
            Ok(report) => {
                println!("{name:<16}{report}");
                failed |= report.has_failures();
            }
            Err(error) => {
                println!("{name:<16}not run: {error}");
                not_run = true;
            }
        }
    }
    match (failed, not_run) {
        (true, _) => ExitCode::from(1),
        (false, true) => ExitCode::from(3),
        (false, false) => ExitCode::SUCCESS,
    }
}
