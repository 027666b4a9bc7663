//! Both sides of reverse proxies: the server behind them, and the client in front.

mod client;
mod server;

use super::{Arguments, Outcome, check, runtime};

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    match arguments.positional()[..] {
        ["server"] => {
            arguments.allow(&["--hosts", "--trusted-proxies", "--proxy-protocol", "--tls"])?;
            server::run(arguments)
        }
        ["client", url, scenario] => {
            arguments.allow(client::OPTIONS)?;
            runtime::block_on(client::run(url, scenario, arguments))
        }
        _ => Err("usage: behind-peer server|client URL SCENARIO [OPTIONS]".into()),
    }
}
