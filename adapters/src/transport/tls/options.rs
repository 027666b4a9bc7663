//! The settings that both TLS libraries are configured from.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::error::TlsError;

/// The only protocol that is negotiated for what is inside (RFC 7301).
pub(super) const ALPN: &str = "http/1.1";

/// What is wrong if a peer accepts none of the protocols.
pub(super) const NO_PROTOCOL: &str = "it accepts none of the protocols that were offered (ALPN)";

#[derive(Clone, Default)]
pub(super) struct Options {
    /// The roots to trust in place of those of the system.
    pub(super) roots: Option<Vec<CertificateDer<'static>>>,
    pub(super) identity: Option<Identity>,
    pub(super) accepts_invalid: bool,
    #[cfg(feature = "webpki-roots")]
    pub(super) trusts_mozilla: bool,
    pub(super) server_name: Option<String>,
}

/// A chain of certificates and its private key, in PEM.
#[derive(Clone)]
pub(super) struct Identity {
    pub(super) chain: Vec<u8>,
    pub(super) key: Vec<u8>,
}

/// Parses a chain of at least one certificate.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |error| TlsError::configuration("certificate is not PEM", error);
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found.map_err(unreadable)? {
        none if none.is_empty() => Err(unreadable(rustls_pki_types::pem::Error::NoItemsFound)),
        some => Ok(some),
    }
}
