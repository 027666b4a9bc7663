//! The locks and atomics that tasks share: those of the standard library.
//!
//! The tests in `tests/concurrency` compile this crate with those of a model checker instead, which tries
//! the tasks in many orders. The published crate depends on none.

#[cfg(not(other_locks))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic};

#[cfg(other_locks)]
pub(crate) use locks::sync::{Mutex, MutexGuard, atomic};
