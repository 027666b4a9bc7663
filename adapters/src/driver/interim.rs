//! Interim.
#![allow(dead_code)]
pub(crate) trait Interim {
    fn write_blocked(&mut self) {}
}
impl Interim for sansock_core::Connection {}
pub(crate) trait InterimClosed {
    fn is_normal(&self) -> bool;
}
impl InterimClosed for sansock_core::Closed {
    fn is_normal(&self) -> bool {
        matches!(super::inbox::first_code(self).number(), 1000 | 1001 | 1005)
    }
}
