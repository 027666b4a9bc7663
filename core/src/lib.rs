//! The WebSocket protocol (RFC 6455) as a pure state machine: bytes and time go in, bytes and events come out.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(any(feature = "std", test)), no_std)]
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

extern crate alloc;

#[cfg(feature = "deflate")]
pub mod deflate;
pub mod frame;
pub mod handshake;
mod time;

pub use crate::time::Instant;
