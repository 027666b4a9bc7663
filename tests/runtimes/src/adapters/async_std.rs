//! async-std, on its threads.

pub use sansock::async_std::AsyncStd as R;

pub fn runtime() -> R {
    R
}

pub fn block_on<T>(program: impl Future<Output = T>) -> T {
    async_io::block_on(program)
}
