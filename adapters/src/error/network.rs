//! An entry of a list of networks that is none.

use std::error::Error as StdError;
use std::fmt;

use sansock_core::escaped;

/// An entry of a list of networks that is not a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidNetwork {
    /// The entry as given.
    pub network: String,
}

impl fmt::Display for InvalidNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "\"{}\" is not a network; write an address, an address and the length of its prefix such as \
             10.0.0.0/8, or unix",
            escaped(&self.network)
        )
    }
}

impl StdError for InvalidNetwork {}
