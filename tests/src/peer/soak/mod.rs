//! One server and many clients for a long time: `soak-peer`. Each answers every line of its standard
//! input but the last with a line of numbers; what they mean is in tests/README.md.

mod clients;
mod connecting;
mod server;
mod talk;
mod ways;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Arguments, Outcome};

/// Says how many bytes are allocated.
pub(crate) type Heap = fn() -> usize;

pub(crate) fn run(arguments: &Arguments, heap: Heap) -> Outcome {
    arguments.allow(&["--runtime"])?;
    let runtime = arguments.option("--runtime").unwrap_or("smol");
    match (&arguments.positional()[..], runtime) {
        (["server"], "smol") => server::smol(heap),
        (["server"], "async-std") => server::async_std(heap),
        (["clients", port, count, ramp], _) => {
            clients::run(port.parse()?, count.parse()?, ramp.parse()?, heap)
        }
        _ => Err("usage: soak-peer server [--runtime NAME] | clients PORT COUNT SECONDS".into()),
    }
}

/// Numbers by name, for the runner.
#[derive(Debug, Default)]
struct Numbers(BTreeMap<String, u64>);

impl Numbers {
    fn set(&mut self, name: impl Into<String>, number: usize) {
        self.0.insert(name.into(), number as u64);
    }

    fn set_all<K: ToString>(&mut self, prefix: &str, numbers: &BTreeMap<K, u64>) {
        for (key, number) in numbers {
            self.0
                .insert(format!("{prefix}{}", key.to_string()), *number);
        }
    }

    fn print(&self) {
        let mut line = String::from("NUMBERS");
        for (name, number) in &self.0 {
            let _ = write!(line, " {name}={number}");
        }
        println!("{line}");
    }
}
