//! Sets the peer that the events of the feature `tracing` name. The core emits the events.
//!
//! Without the feature the address is never looked up.

use std::fmt;

use sansock_core::Io;

/// Names the peer, where it is known. Without the feature, nobody is asked.
#[cfg(feature = "tracing")]
pub(crate) fn peer<P: fmt::Display>(io: Io<'_>, peer: impl FnOnce() -> Option<P>) {
    if let Some(peer) = peer() {
        io.set_peer(peer);
    }
}

#[cfg(not(feature = "tracing"))]
#[inline(always)]
pub(crate) fn peer<P: fmt::Display>(_: Io<'_>, _: impl FnOnce() -> Option<P>) {}
