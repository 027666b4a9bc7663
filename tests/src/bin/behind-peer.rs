//! A server that runs behind reverse proxies, and a client that connects to them; see tests/README.md.

use std::process::ExitCode;

fn main() -> ExitCode {
    sansock_tests::peer::behind()
}
