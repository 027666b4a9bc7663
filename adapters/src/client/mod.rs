//! The client: from a URL to an open WebSocket, over whatever runtime a shim supplies.
//!
//! [`Connect`] is what can be asked for; `steps.rs` does it, one phase after the other, under the one
//! deadline of `deadline.rs`: resolve, `dial.rs`, [`proxy`], TLS, the opening handshake. `redirect.rs`
//! decides where to go next, [`reconnect`] makes the next connection where one ends.
//!
//! The rule: what is meant for one server reaches no other.

mod connect;
mod deadline;
mod dial;
pub mod proxy;
pub mod reconnect;
mod redirect;
mod steps;
#[cfg(test)]
mod tests;

pub use connect::Connect;
