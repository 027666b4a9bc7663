//! Certificates for `localhost`, made here.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use sansock::tls::{ClientTls, ServerTls};

/// Returns both sides of TLS, which trust each other.
pub fn tls() -> (ClientTls, ServerTls) {
    let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let authority = CertifiedIssuer::self_signed(params, key).expect("a certificate");
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, &authority).expect("a certificate");
    let client = ClientTls::new().roots_pem(authority.pem()).expect("a root");
    let server = ServerTls::from_pem(certificate.pem(), key.serialize_pem());
    (client, server.expect("a certificate"))
}
