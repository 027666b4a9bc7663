//! The two runtimes that come with the crate: each implements [`Runtime`](crate::runtime::Runtime) over its own
//! sockets, and has the functions `connect`, `accept`, `upgrade` and `serve` for it.
//!
//! Both run on async-io. What they share is in the other files.
//!
//! The rule: no other module uses the crates of a runtime, but for async-io, and either shim can be deleted
//! without a change outside this folder and `lib.rs`.

#[cfg(feature = "async-std")]
pub mod async_std;
mod dial;
mod listener;
#[cfg(feature = "smol")]
pub mod smol;
mod socket;
