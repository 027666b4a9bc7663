//! Why a compressed message cannot be inflated (RFC 1951, RFC 7692 section 7.2.2).

use core::fmt;

/// Why a compressed message cannot be inflated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub(super) enum DecompressError {
    /// The payload is not DEFLATE data (RFC 1951).
    Corrupt,
    /// A match reaches beyond the agreed window (RFC 7692 section 7.1.2) or before the start of the context.
    WindowExceeded,
    /// The message ends in the middle of a block, or before the header of the block that ends it (RFC 7692 section 7.2.1).
    Truncated,
    /// More came out than the limit allows.
    LimitExceeded,
    /// An earlier error ended decompression.
    Failed,
}

impl fmt::Display for DecompressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Corrupt => "compressed data is corrupt",
            Self::WindowExceeded => "compressed data refers to bytes outside the window",
            Self::Truncated => "compressed data is truncated",
            Self::LimitExceeded => "inflated message exceeds the limit",
            Self::Failed => "decompression has failed before",
        })
    }
}

impl core::error::Error for DecompressError {}
