//! The runtimes: each implements [`Runtime`](crate::transport::Runtime) over its own sockets, and has the
//! functions `connect`, `accept`, `upgrade` and `serve` over them.
//!
//! The rule: no other module names a runtime, and either shim can be deleted without touching another
//! file. What both have in common, as both run on async-io, is in `common.rs` and `serve.rs`.

#[cfg(feature = "async-std")]
pub mod async_std;
mod common;
mod serve;
#[cfg(feature = "smol")]
pub mod smol;
