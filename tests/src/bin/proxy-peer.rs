//! A client that goes through a proxy; see tests/README.md.

use std::process::ExitCode;

fn main() -> ExitCode {
    sansock_tests::peer::proxied()
}
