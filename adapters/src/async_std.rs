//! WebSockets over the sockets of async-std.
//!
//! ```no_run
//! # async fn run() -> sansock::Result<()> {
//! let mut ws = sansock::async_std::connect("ws://localhost:9001/").await?;
//! ws.send("hello").await?;
//! while let Some(message) = ws.recv().await? {
//!     println!("{message:?}");
//! }
//! # Ok(())
//! # }
//! ```

use async_std::net::TcpStream;

crate::shim::tcp_shim!();
