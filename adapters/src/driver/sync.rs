//! The locks and atomics through which tasks meet: those of std.
//!
//! The tests of concurrency put others in their place, by which a checker tries the tasks in every order. The
//! published crate depends on none.

#[cfg(not(other_locks))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic};

#[cfg(other_locks)]
pub(crate) use locks::sync::{Mutex, MutexGuard, atomic};
