//! The compression that a peer was asked for: the one place to configure it.

use sansock::Config;

use super::Outcome;

/// Returns the configuration with these parameters of permessage-deflate.
///
/// `None` is no compression, and all that there is in this build.
pub(crate) fn configured(config: Config, params: Option<&str>) -> Outcome<Config> {
    match params {
        Some(_) => Err("--deflate: this build has no permessage-deflate".into()),
        None => Ok(config),
    }
}
