//! Shared parts of the tests.

pub mod end;
pub mod random;
pub mod receive;
pub mod seen;
pub mod wire;
