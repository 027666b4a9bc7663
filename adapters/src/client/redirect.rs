//! Which redirects a client follows (RFC 9110 section 15.4).
//!
//! The rule: a redirect never leads from `wss://` to `ws://`, nor to a URL that was visited before, and
//! their number is limited. What is meant for one origin is not sent to another.

use sansock_core::handshake::{ClientOptions, Credentials, Headers, InvalidHeader, Uri};

use crate::error::{ConnectError, Error, Result};

/// Headers that hold credentials.
const CREDENTIALS: [&str; 3] = ["Authorization", "Cookie", "Proxy-Authorization"];

/// What a redirect to another origin still carries: another scheme, host or port.
///
/// By default these stay behind:
///
/// - the headers `Authorization`, `Cookie` and `Proxy-Authorization`, user and password of the URL or of
///   [`basic_auth`](crate::Connect::basic_auth), and a client's certificate;
/// - the subprotocols, since some servers take a token as one;
/// - the header `Host`, whatever is set here.
///
/// All other headers are sent. Name those that hold secrets:
///
/// ```
/// use sansock::CrossOrigin;
///
/// # #[cfg(feature = "smol")]
/// let connect = sansock::smol::connect("wss://example.com/")
///     .header("X-Api-Key", "secret")
///     .subprotocols(["chat"])
///     .redirects(2)
///     .cross_origin(
///         CrossOrigin::new()
///             .without_headers(["X-Api-Key"])
///             .subprotocols(true),
///     );
/// ```
///
/// What has stayed behind is not sent again, not even if the other origin redirects back.
#[derive(Debug, Clone, Default)]
pub struct CrossOrigin {
    credentials: bool,
    subprotocols: bool,
    without_headers: Vec<String>,
}

impl CrossOrigin {
    /// Returns the default: neither credentials nor subprotocols.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether credentials are sent to other origins, which then can use them: the headers
    /// `Authorization`, `Cookie` and `Proxy-Authorization`, user and password, and a client's certificate.
    /// Default: no.
    #[must_use]
    pub fn credentials(self, credentials: bool) -> Self {
        Self {
            credentials,
            ..self
        }
    }

    /// Sets whether subprotocols are offered to other origins. Default: no.
    #[must_use]
    pub fn subprotocols(self, subprotocols: bool) -> Self {
        Self {
            subprotocols,
            ..self
        }
    }

    /// Names headers that are not sent to other origins, besides those with credentials. Upper and lower
    /// case are the same. More can be added.
    #[must_use]
    pub fn without_headers<I>(mut self, names: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.without_headers
            .extend(names.into_iter().map(Into::into));
        self
    }

    /// Refuses a name that no header has: the header that it is meant for would be sent.
    pub(super) fn check(&self) -> Result<(), InvalidHeader> {
        let mut headers = Headers::new();
        let mut names = self.without_headers.iter();
        names.try_for_each(|name| headers.append(name, ""))
    }

    /// Whether a client's certificate is presented to other origins.
    #[cfg(any(feature = "rustls", feature = "native-tls"))]
    pub(super) const fn has_credentials(&self) -> bool {
        self.credentials
    }

    /// Removes what must not be sent to other origins than that of the URL.
    pub(super) fn apply(
        &self,
        options: &mut ClientOptions,
        from: &Uri,
    ) -> Result<(), InvalidHeader> {
        let headers = options.headers_mut();
        if self.credentials {
            // Those of the URL are not part of the next one.
            let value = from.credentials().map(Credentials::header_value);
            if let Some(value) = value.filter(|_| !headers.contains("Authorization")) {
                headers.set("Authorization", value)?;
            }
        } else {
            CREDENTIALS.iter().for_each(|name| headers.remove(name));
        }
        headers.remove("Host");
        for name in &self.without_headers {
            headers.remove(name);
        }
        if !self.subprotocols {
            *options = std::mem::take(options).subprotocols([""; 0]);
        }
        Ok(())
    }
}

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
