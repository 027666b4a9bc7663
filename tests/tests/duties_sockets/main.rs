//! What the driver guarantees on every path, over real sockets, on smol, async-std and tokio.
//!
//! Each situation is a function that is generic over a [`Runtime`](runtime::Runtime). The peers are
//! written by hand, in blocking code on other threads, so that they behave as badly as a test needs.
//! Time is real: the bounds are generous where another process may take the processor, and far below
//! what a broken driver needs. A watchdog in another thread ends a test that hangs, since nothing else can
//! interrupt a poll that never returns.
//!
//! The labels D1 to D9 are those of the driver's documentation.

mod busy;
mod ends;
mod flood;
mod halves;
mod peer;
mod runtime;
mod sends;
mod slow;

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// After this time a test hangs.
const TOO_LONG: Duration = Duration::from_secs(20);

/// Defines each test once for each runtime, over the generic function of the same name.
macro_rules! on_every_runtime {
    ($(#[test] fn $name:ident();)*) => {
        crate::on_every_runtime!(on_smol Smol: $($name)*);
        crate::on_every_runtime!(on_async_std AsyncStd: $($name)*);
        crate::on_every_runtime!(on_tokio Tokio: $($name)*);
    };
    ($module:ident $runtime:ident: $($name:ident)*) => {
        mod $module {
            use crate::runtime::{Runtime, $runtime};
            $(
                #[test]
                fn $name() {
                    crate::watched(concat!(module_path!(), "::", stringify!($name)), || {
                        $runtime::run(1, super::$name::<$runtime>());
                    });
                }
            )*
        }
    };
}
use on_every_runtime;

/// Runs a test on another thread, and fails with its name if it is not finished in time.
fn watched(name: &'static str, test: impl FnOnce() + Send + 'static) {
    let (finished, is_finished) = channel();
    let thread = thread::Builder::new().name(name.into()).spawn(move || {
        test();
        finished.send(()).unwrap();
    });
    if is_finished.recv_timeout(TOO_LONG) == Err(RecvTimeoutError::Timeout) {
        panic!("{name} hangs: it is not finished after {TOO_LONG:?}");
    }
    if let Err(panic) = thread.unwrap().join() {
        std::panic::resume_unwind(panic);
    }
}
