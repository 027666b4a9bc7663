//! The runtimes: each implements [`Runtime`](crate::transport::Runtime) with its own sockets, and has the
//! functions `connect`, `accept`, `upgrade` and `serve`.
//!
//! Both run on async-io. What they share is in `common.rs` and `serve.rs`.
//!
//! The rule: no other module uses the crates of a runtime, but for async-io, and either shim can be deleted
//! without a change outside this folder and `lib.rs`.

#[cfg(feature = "async-std")]
pub mod async_std;
mod common;
mod serve;
#[cfg(feature = "smol")]
pub mod smol;
