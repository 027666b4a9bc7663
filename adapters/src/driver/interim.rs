//! Interim.
#![allow(dead_code)]
pub(crate) trait Interim {
    fn write_blocked(&mut self) {}
}
impl Interim for sansock_core::Connection {}
