//! The locks and atomics that tasks share: those of the standard library.
//!
//! The tests in `tests/concurrency` compile this crate with those of a model checker instead, which tries
//! the tasks in many orders. The published crate depends on none.

#[cfg(not(other_locks))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic};

#[cfg(other_locks)]
pub(crate) use locks::sync::{Mutex, MutexGuard, atomic};

#[cfg(not(other_locks))]
thread_local! {
    static HERE: u8 = const { 0 };
}

#[cfg(other_locks)]
locks::thread_local! {
    static HERE: u8 = 0;
}

/// Returns a number that no other running thread has.
#[inline]
pub(crate) fn this_thread() -> usize {
    HERE.with(|here| std::ptr::from_ref(here).addr())
}
