//! The peer of foreign libraries: a server whose paths, and a client whose scenarios, are named in
//! tests/README.md.

pub(super) mod client;
mod random;
mod server;

use sansock::Config;
use sansock::core::Closed;

use super::runtime::{self, Runtime};
use super::{Arguments, Outcome, Socket, deflate};

/// The one that servers support.
const SUBPROTOCOL: &str = "interop.two";

pub(crate) fn run<R: Runtime>(arguments: &Arguments) -> Outcome {
    arguments.allow(&["--runtime", "--max-message", "--deflate", "--seed"])?;
    let limit = match arguments.option("--max-message") {
        Some(limit) => limit.parse()?,
        None => 32 << 20,
    };
    let config = sansock::config().max_message_size(limit);
    let config = deflate::configured(config, arguments.option("--deflate"))?;
    match arguments.positional()[..] {
        ["server"] => serve::<R>(config),
        ["client", url, scenario] => {
            let seed = arguments.option("--seed").unwrap_or("1").parse()?;
            runtime::block_on(client::run::<R>(url, scenario, seed, config))
        }
        _ => Err("usage: interop-peer server|client URL SCENARIO [OPTIONS]".into()),
    }
}

fn serve<R: Runtime>(config: Config) -> Outcome {
    runtime::serve::<R, _>(move |stream| server::serve::<R>(stream, config.clone()))
}

/// What the peer's Close frame said: the code, and the reason where there is one.
pub(super) fn received(closed: Option<&Closed>) -> String {
    match closed.and_then(Closed::received) {
        Some(frame) if frame.reason.is_empty() => frame.code.number().to_string(),
        Some(frame) => format!("{} {}", frame.code.number(), frame.reason),
        None => "1006".into(),
    }
}
