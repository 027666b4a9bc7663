//! Where unpredictable bytes come from (RFC 6455 section 10.3).
//!
//! The core asks for one seed per client connection and expands it itself, so that a masking key
//! costs no system call. A seed that repeats, or can be guessed, makes masking useless: production
//! seeds come from the operating system, fixed ones belong in tests.

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

impl fmt::Display for EntropyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no entropy for masking keys; give the configuration a source of seeds")
    }
}

impl Error for EntropyError {}

/// The source of a configuration that was given none: it has nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoEntropy;

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
