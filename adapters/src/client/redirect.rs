//! Which redirects a client follows (RFC 9110 section 15.4).
//!
//! The rule: a redirect never leads from `wss://` to `ws://`, nor to a URL that was visited before, and
//! their number is limited.

use sansock_core::handshake::Uri;

use crate::error::{ConnectError, Error, Result};

/// Where a client has been.
pub(super) struct RedirectPolicy {
    visited: Vec<String>,
    allowed: u32,
    left: u32,
}

impl RedirectPolicy {
    pub(super) fn new(start: &Uri, allowed: u32) -> Self {
        Self {
            visited: vec![start.to_string()],
            allowed,
            left: allowed,
        }
    }

    /// Returns where to go next; `None` where the error is no redirect to be followed.
    pub(super) fn follow(&mut self, from: &Uri, error: &Error) -> Result<Option<Uri>> {
        let Some(location) = error.redirect() else {
            return Ok(None);
        };
        if self.allowed == 0 {
            return Ok(None);
        }
        let next = from
            .resolve(location)
            .map_err(ConnectError::InvalidRedirect)?;
        let to = next.to_string();
        if from.is_secure() && !next.is_secure() {
            return Err(ConnectError::InsecureRedirect { to }.into());
        }
        if self.visited.contains(&to) {
            return Err(ConnectError::RedirectLoop { to }.into());
        }
        let allowed = self.allowed;
        let Some(left) = self.left.checked_sub(1) else {
            return Err(ConnectError::TooManyRedirects { allowed, to }.into());
        };
        self.left = left;
        self.visited.push(to);
        Ok(Some(next))
    }
}
