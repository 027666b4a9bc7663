//! Our client and server behind the command line that every peer has; see tests/README.md.

use std::process::ExitCode;

fn main() -> ExitCode {
    sansock_tests::peer::interop()
}
