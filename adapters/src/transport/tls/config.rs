//! The TLS settings of clients and servers, independent of the library that carries them out.
//!
//! A configuration is built at the first connection and shared by all clones, as loading the roots of the
//! system takes time. The rule: a setter that changes it discards what was built.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use futures_io::{AsyncRead, AsyncWrite};
use rustls_pki_types::CertificateDer;

use super::options::{Identity, Options, certificates};
use crate::error::{Result, TlsError};

/// A library that does TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// rustls, with the roots of the operating system.
    #[cfg(feature = "rustls")]
    Rustls,
    /// The library of the operating system; OpenSSL on Linux.
    #[cfg(feature = "native-tls")]
    NativeTls,
}

/// rustls where it is there.
impl Default for Backend {
    fn default() -> Self {
        #[cfg(feature = "rustls")]
        return Self::Rustls;
        #[cfg(not(feature = "rustls"))]
        return Self::NativeTls;
    }
}

/// A stream that is encrypted by either library.
pub(crate) enum TlsStream<S> {
    #[cfg(feature = "rustls")]
    Rustls(Box<futures_rustls::TlsStream<S>>),
    #[cfg(feature = "native-tls")]
    NativeTls(Box<super::native::TlsStream<S>>),
}

/// How a client does TLS: whom it trusts, and who it is. A clone shares what was made of it.
///
/// ```
/// # fn main() -> sansock::Result<()> {
/// # #[cfg(feature = "smol")] {
/// use sansock::tls::ClientTls;
///
/// # let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
/// let tls = ClientTls::new().roots_pem(pem)?;
/// let connecting = sansock::smol::connect("wss://localhost:9001/").tls(tls);
/// # }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ClientTls {
    backend: Backend,
    options: Options,
    ready: Arc<OnceLock<Connector>>,
}

#[derive(Clone)]
enum Connector {
    #[cfg(feature = "rustls")]
    Rustls(futures_rustls::TlsConnector),
    #[cfg(feature = "native-tls")]
    NativeTls(native_tls::TlsConnector),
}

impl ClientTls {
    /// Trusts the roots of the operating system, with the default [`Backend`].
    #[must_use]
    pub fn new() -> Self {
        Self::with_backend(Backend::default())
    }

    /// Trusts the roots of the operating system.
    #[must_use]
    pub fn with_backend(backend: Backend) -> Self {
        Self {
            backend,
            options: Options::default(),
            ready: Arc::default(),
        }
    }

    /// What `wss://` URLs use by default. Reading the roots of the system takes time, so that it is done
    /// once.
    pub(crate) fn shared() -> Self {
        static SHARED: OnceLock<ClientTls> = OnceLock::new();
        SHARED.get_or_init(Self::new).clone()
    }

    /// Trusts these root certificates, in PEM, and no longer those of the system. More can be added.
    ///
    /// # Errors
    /// The text has no certificate, or is malformed.
    pub fn roots_pem(mut self, pem: impl AsRef<[u8]>) -> Result<Self, TlsError> {
        let certificates = certificates(pem.as_ref())?;
        self.options
            .roots
            .get_or_insert_default()
            .extend(certificates);
        Ok(self.renewed())
    }

    /// Trusts this root certificate, in DER, and no longer those of the system. More can be added.
    #[must_use]
    pub fn root_der(mut self, der: impl Into<Vec<u8>>) -> Self {
        let certificate = CertificateDer::from(der.into());
        self.options.roots.get_or_insert_default().push(certificate);
        self.renewed()
    }

    /// Trusts the roots of Mozilla that are compiled in, and no longer those of the system. More can be
    /// added. It takes [`Backend::Rustls`].
    #[cfg(feature = "webpki-roots")]
    #[must_use]
    pub fn webpki_roots(mut self) -> Self {
        self.backend = Backend::Rustls;
        self.options.trusts_mozilla = true;
        self.options.roots.get_or_insert_default();
        self.renewed()
    }

    /// Presents a certificate to servers that ask for one: its chain, the own first, and its private
    /// key, both in PEM. For `Backend::NativeTls` the key must be in PKCS #8.
    #[must_use]
    pub fn identity_pem(mut self, chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        let (chain, key) = (chain.into(), key.into());
        self.options.identity = Some(Identity { chain, key });
        self.renewed()
    }

    /// Verifies the certificate for this name, and asks the server for it, in place of the host of the
    /// URL.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.options.server_name = Some(name.into());
        self
    }

    /// Accepts whatever certificate a server has, and so whoever is in between, who can read and change
    /// everything. For development only.
    #[must_use]
    pub fn danger_accept_invalid_certificates(mut self) -> Self {
        self.options.accepts_invalid = true;
        self.renewed()
    }

    /// Presents no certificate.
    pub(crate) fn without_identity(mut self) -> Self {
        if self.options.identity.take().is_some() {
            self = self.renewed();
        }
        self
    }

    /// Negotiates TLS with the server `host`.
    pub(crate) async fn connect<S>(&self, host: &str, stream: S) -> Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let host = self.options.server_name.as_deref().unwrap_or(host);
        Ok(match self.connector()? {
            #[cfg(feature = "rustls")]
            Connector::Rustls(connector) => {
                let stream = super::rustls::connect(&connector, host, stream).await?;
                TlsStream::Rustls(Box::new(stream.into()))
            }
            #[cfg(feature = "native-tls")]
            Connector::NativeTls(connector) => {
                let stream = super::native::connect(&connector, host, stream).await?;
                TlsStream::NativeTls(Box::new(stream))
            }
        })
    }

    /// Makes the configuration, once.
    fn connector(&self) -> Result<Connector, TlsError> {
        if let Some(connector) = self.ready.get() {
            return Ok(connector.clone());
        }
        let connector = match self.backend {
            #[cfg(feature = "rustls")]
            Backend::Rustls => Connector::Rustls(super::rustls::connector(&self.options)?),
            #[cfg(feature = "native-tls")]
            Backend::NativeTls => Connector::NativeTls(super::native::connector(&self.options)?),
        };
        Ok(self.ready.get_or_init(|| connector).clone())
    }

    /// To be made anew after a change.
    fn renewed(mut self) -> Self {
        self.ready = Arc::default();
        self
    }
}

impl Default for ClientTls {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls")
            .field("backend", &self.backend)
            .field("accepts_invalid", &self.options.accepts_invalid)
            .finish_non_exhaustive()
    }
}

/// Uses a configuration as it is, a certificate of the client for whatever server included. What is set on
/// the result later, but for the name of the server, makes another.
///
/// The one exception: `http/1.1` replaces `h2` in its protocols (ALPN), because the request is one of HTTP/1.1. So
/// you can share a configuration with a client of HTTP/2.
#[cfg(feature = "rustls")]
impl From<Arc<futures_rustls::rustls::ClientConfig>> for ClientTls {
    fn from(config: Arc<futures_rustls::rustls::ClientConfig>) -> Self {
        Self {
            ready: Arc::new(OnceLock::from(Connector::Rustls(
                super::rustls::client_over_http1(config).into(),
            ))),
            ..Self::with_backend(Backend::Rustls)
        }
    }
}

/// How a server does TLS: the certificate that it presents. A clone shares it, also when it is
/// [reloaded](Self::reload).
///
/// # Versions of TLS
///
/// [`Backend::Rustls`] speaks TLS 1.2 and 1.3, or what a configuration that is given to it says.
/// `Backend::NativeTls` speaks what the library of the system allows a server: TLS 1.2 alone with OpenSSL, whose
/// settings for servers (`mozilla_intermediate` of the crate `openssl`) leave out TLS 1.3, and with the
/// libraries of Windows and macOS from TLS 1.0 or 1.2 up to what they support. Use rustls if clients insist on
/// TLS 1.3.
#[derive(Clone)]
pub struct ServerTls(Arc<Mutex<Acceptor>>);

#[derive(Clone)]
enum Acceptor {
    #[cfg(feature = "rustls")]
    Rustls(Arc<futures_rustls::rustls::ServerConfig>),
    #[cfg(feature = "native-tls")]
    NativeTls(native_tls::TlsAcceptor),
}

impl ServerTls {
    /// Presents this chain of certificates, the own first, with its private key, both in PEM, by the
    /// default [`Backend`].
    ///
    /// # Errors
    /// Chain or key are malformed, or do not belong together; the latter some libraries find out when a
    /// client comes.
    pub fn from_pem(chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<Self, TlsError> {
        Self::from_pem_with(Backend::default(), chain, key)
    }

    /// Presents this chain of certificates, the own first, with its private key, both in PEM. For
    /// `Backend::NativeTls` the key must be in PKCS #8.
    ///
    /// # Errors
    /// As [`from_pem`](Self::from_pem).
    pub fn from_pem_with(
        backend: Backend,
        chain: impl AsRef<[u8]>,
        key: impl AsRef<[u8]>,
    ) -> Result<Self, TlsError> {
        let identity = Identity {
            chain: chain.as_ref().into(),
            key: key.as_ref().into(),
        };
        Ok(Self::with_acceptor(match backend {
            #[cfg(feature = "rustls")]
            Backend::Rustls => Acceptor::Rustls(super::rustls::acceptor(&identity)?),
            #[cfg(feature = "native-tls")]
            Backend::NativeTls => Acceptor::NativeTls(super::native::acceptor(&identity)?),
        }))
    }

    fn with_acceptor(acceptor: Acceptor) -> Self {
        Self(Arc::new(Mutex::new(acceptor)))
    }

    /// Presents another chain of certificates, with its private key, to the clients that negotiate from now on:
    /// before the old certificate expires, for example. Servers that were given this value or a clone of it use
    /// the new one, without a restart. Connections that are open keep theirs. It may be called on any thread.
    ///
    /// All other settings remain: the library and, in a configuration of rustls, the authentication of clients, the
    /// protocols and the sessions. A client that resumes a session is not shown a certificate again. The new
    /// chain replaces a resolver that has chosen certificates by the name that the client asks for.
    ///
    /// # Errors
    /// As [`from_pem`](Self::from_pem); then the old certificate stays in use.
    ///
    /// ```no_run
    /// use sansock::serve::{Listen, Origins};
    /// use sansock::smol::{Socket, serve};
    /// use sansock::tls::ServerTls;
    ///
    /// # async fn echo(ws: Socket) {}
    /// # fn renewed() -> impl Iterator<Item = ()> { std::iter::empty() }
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let tls = ServerTls::from_pem(std::fs::read("chain.pem")?, std::fs::read("key.pem")?)?;
    /// let shared = tls.clone();
    /// std::thread::spawn(move || {
    ///     for () in renewed() {
    ///         let chain = std::fs::read("chain.pem").unwrap_or_default();
    ///         let key = std::fs::read("key.pem").unwrap_or_default();
    ///         if let Err(error) = shared.reload(chain, key) {
    ///             eprintln!("the old certificate stays in use: {error}");
    ///         }
    ///     }
    /// });
    /// serve(Listen::tls("0.0.0.0:9001", tls), echo)
    ///     .origins(Origins::SameHost)
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn reload(&self, chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<(), TlsError> {
        let identity = Identity {
            chain: chain.as_ref().into(),
            key: key.as_ref().into(),
        };
        // Parsing takes time; no handshake waits for it.
        let old = self.acceptor().clone();
        let new = match old {
            #[cfg(feature = "rustls")]
            Acceptor::Rustls(config) => {
                Acceptor::Rustls(super::rustls::reloaded(&config, &identity)?)
            }
            #[cfg(feature = "native-tls")]
            Acceptor::NativeTls(_) => Acceptor::NativeTls(super::native::acceptor(&identity)?),
        };
        *self.acceptor() = new;
        Ok(())
    }

    fn acceptor(&self) -> MutexGuard<'_, Acceptor> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Negotiates TLS with a client that has connected.
    pub(crate) async fn negotiate<S>(&self, stream: S) -> Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = self.acceptor().clone();
        Ok(match acceptor {
            #[cfg(feature = "rustls")]
            Acceptor::Rustls(config) => {
                let stream = super::rustls::accept(config, stream).await?;
                TlsStream::Rustls(Box::new(stream.into()))
            }
            #[cfg(feature = "native-tls")]
            Acceptor::NativeTls(acceptor) => {
                let stream = super::native::accept(&acceptor, stream).await?;
                TlsStream::NativeTls(Box::new(stream))
            }
        })
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

/// Uses a configuration unchanged, except that `http/1.1` replaces `h2` in its protocols (ALPN): this server speaks
/// HTTP/1.1.
#[cfg(feature = "rustls")]
impl From<Arc<futures_rustls::rustls::ServerConfig>> for ServerTls {
    fn from(config: Arc<futures_rustls::rustls::ServerConfig>) -> Self {
        Self::with_acceptor(Acceptor::Rustls(super::rustls::server_over_http1(config)))
    }
}
