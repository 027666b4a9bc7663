//! Benches over a transport that costs nothing: what a library itself spends on a message.
//!
//! A [`Cell`] says what is measured. Each module of [`contenders`] prepares a cell for one library; what
//! it returns handles as many messages as it is told. Instructions are the difference of two such
//! numbers of messages, so that set-up cancels.

pub mod cell;
pub mod contenders;
pub mod mock;
pub mod wire;

pub use cell::Cell;
pub use mock::Mock;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Handles that many messages.
pub type Run = Box<dyn FnMut(usize)>;

/// Prepares a cell; `None` where the library does not offer it.
pub type Prepare = fn(&Cell, Mock) -> Option<Run>;

/// Polls until the future is ready. The transport never makes it wait; a library that lets others run
/// is polled again.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
    }
}
