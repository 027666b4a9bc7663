//! tokio, over its own sockets: the adapter of the documentation.

use std::io;

use tokio::runtime::Builder;

#[path = "../../../../adapters/docs/tokio.rs"]
mod adapter;

pub use adapter::Tokio as R;

pub fn runtime() -> R {
    R
}

pub fn block_on<T>(program: impl Future<Output = T>) -> io::Result<T> {
    let runtime = Builder::new_current_thread().enable_all().build();
    Ok(runtime?.block_on(program))
}

/// On several threads.
pub mod threads {
    use super::*;

    pub use super::{R, runtime};

    pub fn block_on<T>(program: impl Future<Output = T>) -> io::Result<T> {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_all().build();
        Ok(runtime?.block_on(program))
    }
}
