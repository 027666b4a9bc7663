//! The runtimes: one file each, which an application can copy.
//!
//! Each has a type `R` that implements [`Runtime`](sansock::runtime::Runtime), a function `runtime` that returns a
//! value of it, and `block_on`, which runs the program, or returns why the runtime does not start.

pub mod async_std;
#[cfg(feature = "compio")]
pub mod compio;
#[cfg(feature = "gio")]
pub mod gio;
#[cfg(feature = "glommio")]
pub mod glommio;
pub mod local;
pub mod polling;
pub mod smol;
pub mod tokio;
