//! Our client and server as the Autobahn suite wants them; see tests/README.md.

use std::process::ExitCode;

fn main() -> ExitCode {
    sansock_tests::peer::autobahn()
}
