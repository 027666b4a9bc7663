//! smol, on one thread.

pub use sansock::smol::Smol as R;

pub fn runtime() -> R {
    R::serving()
}

pub fn block_on<T>(program: impl Future<Output = T>) -> T {
    async_io::block_on(program)
}
