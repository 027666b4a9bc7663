//! Compression of messages: permessage-deflate (RFC 7692).
//!
//! [`Deflate`] configures it: [`Config::deflate`](crate::Config::deflate) turns it on. Its `Compressor`
//! and `Decompressor`, one each per connection, carry it out.
//!
//! Theory: what RFC 7692 requires to be kept between messages is the last window of plain bytes. So an
//! idle direction keeps just these bytes; a message borrows a compressor or decompressor from a
//! [`CodecPool`], primed with them, a stream of messages keeps it, and
//! `release` gives it back.
//!
//! Hostile bytes are inflated by code of our own, for two reasons: a general inflater has a window of
//! 32 KiB whatever was agreed, and so lets a peer refer to more than it may; and it weighs as much.

mod coding;
mod compressor;
mod config;
mod decompressor;
mod deflater;
mod error;
mod history;
mod inflate;
mod negotiate;
mod pool;
#[cfg(test)]
mod testing;

pub use config::Deflate;
#[cfg(feature = "std")]
pub use pool::BoundedPool;
pub use pool::{Codec, CodecKind, CodecPool};
