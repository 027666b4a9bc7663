//! Why TLS failed: which peer, and what is wrong with its certificate or with the negotiation.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// Why TLS could not be set up or negotiated.
#[derive(Debug, Clone)]
pub struct TlsError {
    kind: TlsErrorKind,
    peer: String,
    reason: String,
    cause: Option<Arc<dyn StdError + Send + Sync>>,
}

/// What kind of failure of TLS it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsErrorKind {
    /// The certificate of the peer is not accepted.
    Certificate,
    /// The peer does not speak TLS.
    NotTls,
    /// The peer ended the negotiation, or there is nothing that both sides support.
    Negotiation,
    /// The connection was lost while TLS was negotiated.
    Lost,
    /// The certificates, keys or names that were given cannot be used.
    Configuration,
}

impl TlsError {
    /// Returns what kind of failure it was.
    #[must_use]
    pub const fn kind(&self) -> TlsErrorKind {
        self.kind
    }

    /// Whether the certificate of the peer is not accepted.
    #[must_use]
    pub const fn is_certificate(&self) -> bool {
        matches!(self.kind, TlsErrorKind::Certificate)
    }

    #[cfg(any(feature = "rustls", feature = "native-tls"))]
    pub(crate) fn new(
        kind: TlsErrorKind,
        peer: &str,
        reason: impl Into<String>,
        cause: impl StdError + Send + Sync + 'static,
    ) -> Self {
        Self {
            kind,
            peer: peer.into(),
            reason: reason.into(),
            cause: Some(Arc::new(cause)),
        }
    }

    #[cfg(any(feature = "rustls", feature = "native-tls"))]
    pub(crate) fn configuration(
        reason: impl Into<String>,
        cause: impl StdError + Send + Sync + 'static,
    ) -> Self {
        Self::new(TlsErrorKind::Configuration, "", reason, cause)
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { peer, reason, .. } = self;
        match self.kind {
            TlsErrorKind::Certificate => {
                write!(f, "certificate of {peer} is not accepted: {reason}")
            }
            TlsErrorKind::NotTls => write!(f, "{peer} does not speak TLS{reason}"),
            TlsErrorKind::Negotiation => write!(f, "TLS with {peer} failed: {reason}"),
            TlsErrorKind::Lost => write!(f, "connection lost while TLS was negotiated with {peer}"),
            TlsErrorKind::Configuration => write!(f, "TLS cannot be set up: {reason}"),
        }
    }
}

impl StdError for TlsError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}
