//! What every contender's server does besides WebSockets.
//!
//! ```text
//! SERVER MODE [VARIANT]
//! ```
//!
//! It listens on loopback, at a port that the system chooses, prints `PORT n`, and serves until its standard input
//! ends. Everything is on one thread, where the runtime can do that. Small messages are not delayed (`TCP_NODELAY`).

use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::process::exit;

#[cfg(feature = "async-std")]
pub mod async_std;
#[cfg(feature = "handshake")]
pub mod handshake;
#[cfg(any(feature = "smol", feature = "async-std"))]
pub mod raw;
#[cfg(feature = "smol")]
pub mod smol;
#[cfg(feature = "tokio")]
pub mod tokio;

/// What the server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Sends every message back.
    Echo,
    /// The same, with permessage-deflate where a client offers it.
    Deflate,
    /// Sends every message to all connections, that from which it came among them.
    Broadcast,
}

/// Returns what the command line asks for; ends the process where it asks for something else.
pub fn arguments(modes: &[Mode], variants: &[&str]) -> (Mode, String) {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mode = match words.first().map(String::as_str) {
        Some("echo") => Mode::Echo,
        Some("deflate") => Mode::Deflate,
        Some("broadcast") => Mode::Broadcast,
        _ => usage(modes, variants),
    };
    let variant = words.get(1).cloned().unwrap_or_default();
    if !modes.contains(&mode) || !(variant.is_empty() || variants.contains(&&*variant)) {
        usage(modes, variants);
    }
    (mode, variant)
}

fn usage(modes: &[Mode], variants: &[&str]) -> ! {
    eprintln!(
        "usage: SERVER MODE [VARIANT], with a mode of {modes:?} and a variant of {variants:?}"
    );
    exit(2);
}

/// Listens, says where, and sees to it that the process ends with its standard input.
pub fn listen() -> TcpListener {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    println!("PORT {}", listener.local_addr().expect("an address").port());
    std::thread::spawn(|| {
        while matches!(std::io::stdin().read(&mut [0; 64]), Ok(1..)) {}
        exit(0);
    });
    listener
}
