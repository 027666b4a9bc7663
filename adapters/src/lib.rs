//! WebSockets for every runtime that speaks futures-io.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "async-std")]
pub mod async_std;
mod byte_stream;
pub mod clock;
mod driver;
mod error;
mod futures;
#[cfg(any(feature = "smol", feature = "async-std"))]
mod shim;
#[cfg(feature = "smol")]
pub mod smol;
mod split;
mod system;
mod timer;
mod upgrade;
mod websocket;

pub use sansock_core as core;

pub use crate::byte_stream::ByteStream;
pub use crate::error::{Error, Result};
pub use crate::split::{Receiver, Sender};
pub use crate::system::{SystemEntropy, ThreadBuffers, config};
pub use crate::timer::{NoTimer, Timer};
pub use crate::upgrade::Upgrade;
pub use crate::websocket::{MessageWriter, WebSocket};
pub use sansock_core::{CloseCode, CloseFrame, Closed, Config, Message, MessageRef, Prepared};
