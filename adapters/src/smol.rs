//! WebSockets over the sockets of smol.
//!
//! ```no_run
//! # async fn run() -> sansock::Result<()> {
//! let mut ws = sansock::smol::connect("ws://localhost:9001/").await?;
//! ws.send("hello").await?;
//! while let Some(message) = ws.recv().await? {
//!     println!("{message:?}");
//! }
//! # Ok(())
//! # }
//! ```

use async_net::TcpStream;
use async_net::TcpStream as Stream;

crate::shim::tcp_shim!();
