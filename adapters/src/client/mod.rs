//! The client: from a URL to an open WebSocket, over any [`Runtime`](crate::transport::Runtime).
//!
//! [`Connect`] holds the options. `steps.rs` does the work, one phase after another: name resolution,
//! TCP (`dial.rs`), the [`proxy`], TLS, the opening handshake. `deadline.rs` limits the time of all phases
//! together, `redirect.rs` decides which redirects to follow, and [`reconnect`] replaces a connection that
//! has ended.
//!
//! The rule: credentials and certificates that are meant for one server are never sent to another.

mod connect;
mod deadline;
mod dial;
pub mod proxy;
pub mod reconnect;
mod redirect;
mod steps;
#[cfg(test)]
mod tests;

pub use connect::{Connect, Opens};
pub use redirect::CrossOrigin;
