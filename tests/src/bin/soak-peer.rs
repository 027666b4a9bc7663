//! A server, and thousands of clients that use it in every way there is; see tests/README.md.
//!
//! Its allocator counts what is allocated, so that the runner can see whether it grows.

use std::alloc::System;
use std::process::ExitCode;

use cap::Cap;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

fn main() -> ExitCode {
    sansock_tests::peer::soak(|| ALLOCATOR.allocated())
}
