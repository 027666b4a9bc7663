//! async-std, on its threads.

use std::io;

pub use sansock::async_std::AsyncStd as R;

pub fn runtime() -> R {
    R
}

pub fn block_on<T>(program: impl Future<Output = T>) -> io::Result<T> {
    Ok(async_io::block_on(program))
}
