//! smol, on one thread or several.

use std::future::pending;
use std::sync::LazyLock;
use std::{io, thread};

use async_executor::Executor;
use sansock::runtime::{BoxFuture, Threads};
pub use sansock::smol::Smol as R;

/// Returns the runtime for a server on one thread: connections run in the task that runs the server.
pub fn runtime() -> R {
    R::default()
}

pub fn block_on<T>(program: impl Future<Output = T>) -> io::Result<T> {
    Ok(async_io::block_on(program))
}

/// Runs a connection on two threads, as `smol::spawn` does on as many as it has.
pub fn spawn(connection: BoxFuture<Threads, ()>) {
    static EXECUTOR: LazyLock<Executor<'_>> = LazyLock::new(|| {
        for _ in 0..2 {
            thread::spawn(|| async_io::block_on(EXECUTOR.run(pending::<()>())));
        }
        Executor::new()
    });

    EXECUTOR.spawn(connection).detach();
}
