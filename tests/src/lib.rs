//! Shared parts of the tests.

pub mod deflate;
pub mod driver;
pub mod end;
pub mod peer;
pub mod properties;
pub mod random;
pub mod receive;
pub mod seen;
pub mod simulation;
pub mod table;
pub mod transcripts;
pub mod wire;

/// The code of the README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

/// The code of the guide to runtimes.
#[cfg(doctest)]
#[doc = include_str!("../../adapters/docs/runtimes.md")]
pub struct Runtimes;

/// The code of the guide to HTTP/2.
#[cfg(doctest)]
#[doc = include_str!("../../adapters/docs/http2.md")]
pub struct Http2;
