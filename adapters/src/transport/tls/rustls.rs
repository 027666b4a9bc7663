//! TLS by rustls.
//!
//! The rule: the cryptography is passed explicitly, never taken from a process-wide default, and a
//! certificate is verified unless the application asked for the opposite by name.

use std::io;
use std::sync::Arc;

use futures_io::{AsyncRead, AsyncWrite};
use futures_rustls::rustls::client::WebPkiServerVerifier;
use futures_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use futures_rustls::rustls::crypto::{self, CryptoProvider};
use futures_rustls::rustls::{
    self, AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore,
    ServerConfig, SignatureScheme,
};
use futures_rustls::{TlsAcceptor, TlsConnector, client, server};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use super::options::{ALPN, Identity, NO_PROTOCOL, Options, certificates};
use crate::error::{TlsError, TlsErrorKind};

/// The cryptography that this build has.
fn provider() -> Arc<CryptoProvider> {
    #[cfg(feature = "aws-lc-rs")]
    let provider = crypto::aws_lc_rs::default_provider();
    #[cfg(not(feature = "aws-lc-rs"))]
    let provider = crypto::ring::default_provider();
    Arc::new(provider)
}

pub(super) fn connector(options: &Options) -> Result<TlsConnector, TlsError> {
    let provider = provider();
    let verifier = verifier(options, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match &options.identity {
        Some(identity) => builder
            .with_client_auth_cert(certificates(&identity.chain)?, private_key(identity)?)
            .map_err(unusable)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.into()];
    Ok(Arc::new(config).into())
}

/// Who decides whether a server is the one that it claims to be.
fn verifier(
    options: &Options,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    if options.accepts_invalid {
        return Ok(Arc::new(Anybody(provider.clone())));
    }
    let Some(certificates) = &options.roots else {
        let system = rustls_platform_verifier::Verifier::new(provider.clone());
        return Ok(Arc::new(system.map_err(unusable)?));
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate.clone()).map_err(unusable)?;
    }
    #[cfg(feature = "webpki-roots")]
    if options.trusts_mozilla {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let builder = WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone());
    let unusable = |error| TlsError::configuration("root certificates cannot be used", error);
    Ok(builder.build().map_err(unusable)?)
}

pub(super) fn acceptor(identity: &Identity) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(certificates(&identity.chain)?, private_key(identity)?)
        .map_err(unusable)?;
    config.alpn_protocols = vec![ALPN.into()];
    Ok(Arc::new(config))
}

/// Returns the configuration with another certificate.
pub(super) fn reloaded(
    config: &ServerConfig,
    identity: &Identity,
) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config = config.clone();
    config.cert_resolver = acceptor(identity)?.cert_resolver.clone();
    Ok(Arc::new(config))
}

/// Returns the configuration for connections over HTTP/1.1: a server that selected HTTP/2 would not understand
/// the request. Applications share one configuration with HTTP clients that offer HTTP/2.
pub(super) fn client_over_http1(mut config: Arc<ClientConfig>) -> Arc<ClientConfig> {
    if let Some(protocols) = alpn_without_http2(&config.alpn_protocols) {
        Arc::make_mut(&mut config).alpn_protocols = protocols;
    }
    config
}

/// Returns the configuration for connections over HTTP/1.1.
pub(super) fn server_over_http1(mut config: Arc<ServerConfig>) -> Arc<ServerConfig> {
    if let Some(protocols) = alpn_without_http2(&config.alpn_protocols) {
        Arc::make_mut(&mut config).alpn_protocols = protocols;
    }
    config
}

/// Returns the protocols without HTTP/2 and with HTTP/1.1; `None` if HTTP/2 is not among them.
fn alpn_without_http2(protocols: &[Vec<u8>]) -> Option<Vec<Vec<u8>>> {
    let mut kept = protocols.to_vec();
    kept.retain(|protocol| protocol != b"h2");
    if kept.len() == protocols.len() {
        return None;
    }
    if !kept.iter().any(|protocol| protocol == ALPN.as_bytes()) {
        kept.push(ALPN.into());
    }
    Some(kept)
}

fn private_key(identity: &Identity) -> Result<PrivateKeyDer<'static>, TlsError> {
    let unreadable = |error| TlsError::configuration("private key is not PEM", error);
    PrivateKeyDer::from_pem_slice(&identity.key).map_err(unreadable)
}

pub(super) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    connector: &TlsConnector,
    host: &str,
    stream: S,
) -> Result<client::TlsStream<S>, TlsError> {
    let no_name =
        |error| TlsError::configuration(format!("{host:?} is no name of a server"), error);
    let name = ServerName::try_from(host.to_owned()).map_err(no_name)?;
    let connected = connector.connect(name, stream).await;
    connected.map_err(|error| {
        explain(
            &Arc::new(error),
            host,
            "; use ws://, or http:// for a proxy, if it is a plain port",
        )
    })
}

pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    config: Arc<ServerConfig>,
    stream: S,
) -> Result<server::TlsStream<S>, TlsError> {
    let accepted = TlsAcceptor::from(config).accept(stream).await;
    accepted.map_err(|error| explain(&Arc::new(error), "the client", ""))
}

/// Tells what went wrong, in the words of whoever has to mend it.
fn explain(error: &Arc<io::Error>, peer: &str, hint: &str) -> TlsError {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    let (kind, reason) = match cause {
        Some(rustls::Error::InvalidCertificate(defect)) => {
            (TlsErrorKind::Certificate, certificate_defect(defect))
        }
        Some(rustls::Error::NoCertificatesPresented) => {
            (TlsErrorKind::Certificate, "it has none".into())
        }
        Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => {
            (TlsErrorKind::NotTls, hint.into())
        }
        Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => {
            (TlsErrorKind::Negotiation, NO_PROTOCOL.into())
        }
        Some(rustls::Error::NoApplicationProtocol) => (
            TlsErrorKind::Negotiation,
            "it offers no protocol that is accepted (ALPN)".into(),
        ),
        Some(rustls::Error::AlertReceived(alert)) => (
            TlsErrorKind::Negotiation,
            format!("it ended with the alert {alert:?}"),
        ),
        Some(_) => (
            TlsErrorKind::Negotiation,
            "the two sides do not agree".into(),
        ),
        None => (TlsErrorKind::Lost, String::new()),
    };
    TlsError::new(kind, peer, reason, error.clone())
}

/// Explains an error that came while the stream was read, if it is one of TLS: in TLS 1.3 a server judges
/// the certificate of a client after that thinks that all is well.
pub(crate) fn late(error: &Arc<io::Error>, host: &str) -> Option<TlsError> {
    let cause = error.get_ref()?;
    cause
        .is::<rustls::Error>()
        .then(|| explain(error, host, ""))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is rare is told in the words of rustls"
)]
fn certificate_defect(defect: &CertificateError) -> String {
    let known = match defect {
        CertificateError::UnknownIssuer => "nobody who is trusted has issued it",
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for another name"
        }
        CertificateError::Revoked => "it was revoked",
        CertificateError::BadEncoding => "it is malformed",
        CertificateError::BadSignature => "its signature is wrong",
        other => return other.to_string(),
    };
    known.into()
}

fn unusable(error: rustls::Error) -> TlsError {
    TlsError::configuration("certificates or key cannot be used", error)
}

/// Takes anybody for the server, whose signature must still be that of its certificate.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
