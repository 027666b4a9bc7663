//! One module a library. To add one: write a module with a `prepare`, and name it in [`CONTENDERS`].

mod async_tungstenite;
mod fastwebsockets;
mod sansock;
mod soketto;

use crate::Prepare;

/// The libraries by name, in the order of the table.
pub const CONTENDERS: &[(&str, Prepare)] = &[
    ("sansock", sansock::prepare_lent),
    ("sansock-owned", sansock::prepare_owned),
    ("async-tungstenite", async_tungstenite::prepare),
    ("soketto", soketto::prepare),
    ("fastwebsockets", fastwebsockets::prepare),
];

/// Returns the library of that name.
pub fn find(name: &str) -> Option<Prepare> {
    CONTENDERS
        .iter()
        .find(|contender| contender.0 == name)
        .map(|contender| contender.1)
}
