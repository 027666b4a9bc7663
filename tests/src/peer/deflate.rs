//! The compression that a peer was asked for: the one place to configure it.

use super::{Arguments, Outcome};

/// Fails where compression is asked for, as there is none.
pub(crate) fn check(arguments: &Arguments) -> Outcome {
    match arguments.option("--deflate") {
        Some(_) => Err("--deflate: this build has no permessage-deflate".into()),
        None => Ok(()),
    }
}
