//! One program over every runtime that sansock is tried on.
//!
//! `suite.rs` is the program. It is compiled once for each runtime, against the names `R`, `runtime` and `block_on`
//! of one file of `adapters/`, so that it is the same for those whose tasks move between threads and those whose
//! tasks do not.
//!
//! Prints a line for each scenario that fails, then a row: the runtime, how many scenarios passed and failed, and
//! what it does not support.

mod adapters;
mod authority;
mod proxy;

/// Compiles the program for a runtime.
macro_rules! runtimes {
    ($($(#[$cfg:meta])* $name:literal => $module:ident: $adapter:path;)*) => {
        $(
            $(#[$cfg])*
            #[path = "."]
            mod $module {
                use $adapter as adapter;
                use adapter::{R, block_on, runtime};

                #[path = "suite.rs"]
                mod suite;

                pub fn run() -> bool {
                    block_on(suite::run())
                }
            }
        )*

        /// The runtimes that are built in, and their programs.
        const RUNTIMES: &[(&str, fn() -> bool)] = &[$($(#[$cfg])* ($name, $module::run),)*];
    };
}

runtimes! {
    "smol" => smol: crate::adapters::smol;
    "async-std" => async_std: crate::adapters::async_std;
    "tokio" => tokio: crate::adapters::tokio;
    "tokio-threads" => tokio_threads: crate::adapters::tokio::threads;
    "local" => local: crate::adapters::local;
    "polling" => polling: crate::adapters::polling;
    #[cfg(feature = "compio")]
    "compio" => compio: crate::adapters::compio;
    #[cfg(feature = "glommio")]
    "glommio" => glommio: crate::adapters::glommio;
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let mut passed = true;
    for (name, run) in RUNTIMES {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            print!("{name:<16}");
            passed &= run();
        }
    }
    std::process::exit(i32::from(!passed));
}
