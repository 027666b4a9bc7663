//! Where unpredictable bytes come from (RFC 6455 section 10.3).
//!
//! The core asks for one seed per client connection and expands it itself, so that a masking key
//! costs no system call. A seed that repeats, or can be guessed, makes masking useless: production
//! seeds come from the operating system ([`SystemEntropy`]), fixed ones belong in tests.

use alloc::boxed::Box;
use core::error::Error;
use core::fmt;

use chacha20::ChaCha8Rng;
use chacha20::rand_core::{Rng, SeedableRng};

/// A source of seeds.
pub trait Entropy: fmt::Debug + Send + Sync {
    /// Returns 32 unpredictable bytes.
    ///
    /// # Errors
    /// [`EntropyError`] where the source has none to give.
    fn seed(&self) -> Result<[u8; 32], EntropyError>;
}

/// No unpredictable bytes could be had, so that a client connection cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntropyError;

impl EntropyError {
    const TEXT: &str = match cfg!(feature = "getrandom") {
        true => "the source of seeds for masking keys failed (Config::entropy)",
        false => {
            "no source of seeds for masking keys; enable the feature `getrandom` of sansock-core, \
             or set one with Config::entropy"
        }
    };
}

impl fmt::Display for EntropyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::TEXT)
    }
}

impl Error for EntropyError {}

/// The generator of the operating system.
#[cfg(feature = "getrandom")]
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

#[cfg(feature = "getrandom")]
impl Entropy for SystemEntropy {
    fn seed(&self) -> Result<[u8; 32], EntropyError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|_| EntropyError)?;
        Ok(seed)
    }
}

/// The source of a configuration that was given none.
#[cfg(feature = "getrandom")]
pub(crate) type DefaultEntropy = SystemEntropy;

/// The source of a configuration that was given none.
#[cfg(not(feature = "getrandom"))]
pub(crate) type DefaultEntropy = NoEntropy;

/// A source that has nothing.
#[cfg(not(feature = "getrandom"))]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct NoEntropy;

#[cfg(not(feature = "getrandom"))]
impl Entropy for NoEntropy {
    fn seed(&self) -> Result<[u8; 32], EntropyError> {
        Err(EntropyError)
    }
}

/// A source that gives the same seed again and again, for tests that compare bytes.
#[derive(Debug, Clone, Copy)]
pub struct FixedSeed(pub [u8; 32]);

impl Entropy for FixedSeed {
    fn seed(&self) -> Result<[u8; 32], EntropyError> {
        Ok(self.0)
    }
}

/// The generator of one client connection: masking keys, and the nonce of its handshake.
#[derive(Debug)]
pub(crate) struct Generator(Box<ChaCha8Rng>);

impl Generator {
    pub(crate) fn new(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let seed = entropy.seed()?;
        Ok(Self(Box::new(ChaCha8Rng::from_seed(seed))))
    }

    #[inline]
    pub(crate) fn masking_key(&mut self) -> [u8; 4] {
        self.0.next_u32().to_ne_bytes()
    }

    pub(crate) fn nonce(&mut self) -> [u8; 16] {
        let mut nonce = [0; 16];
        self.0.fill_bytes(&mut nonce);
        nonce
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use crate::frame::Side;
    use crate::{Config, Connection, ConnectionError, Negotiated};

    use super::*;

    #[cfg(feature = "getrandom")]
    #[test]
    fn seeds_of_the_system_differ() {
        let [one, two] = [(); 2].map(|()| SystemEntropy.seed().unwrap());
        assert_ne!(one, two);
    }

    #[test]
    fn the_default_configuration_has_a_source_or_says_what_is_missing() {
        let client = Connection::new(Side::Client, Negotiated::default(), Config::new());
        match cfg!(feature = "getrandom") {
            true => assert!(client.is_ok()),
            false => {
                assert!(matches!(
                    client,
                    Err(ConnectionError::Entropy(EntropyError))
                ));
                assert!(EntropyError.to_string().contains("feature `getrandom`"));
            }
        }
    }
}
