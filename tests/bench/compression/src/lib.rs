//! Servers that send and receive compressed JSON over a transport that costs nothing.
//!
//! Each module of [`contenders`] prepares a cell for one library; what it returns handles as many messages
//! as it is told. Instructions are the difference of two such numbers, so that set-up cancels.

pub mod contenders;
pub mod json;
pub mod mock;
pub mod wire;
pub mod zlib;

pub use mock::Mock;

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::str::FromStr;
use std::task::{Context, Poll, Waker};

use tokio::runtime::{Builder, Runtime};

/// Handles that many messages.
pub type Run = Box<dyn FnMut(usize)>;

/// What the two sides have agreed on, for both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreement {
    pub window_bits: u8,
    /// Whether messages refer to earlier ones.
    pub takeover: bool,
}

/// What is measured, written `send/1024`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    pub operation: Operation,
    /// Bytes of JSON in a message.
    pub size: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Send messages, and flush each.
    Send,
    /// Receive messages, and look at their text.
    Recv,
}

impl FromStr for Cell {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let (operation, size) = name
            .split_once('/')
            .ok_or("a cell is send/SIZE or recv/SIZE")?;
        let operation = match operation {
            "send" => Operation::Send,
            "recv" => Operation::Recv,
            other => return Err(format!("no operation is called {other}")),
        };
        let size = size.parse().map_err(|_| format!("{name} has no size"))?;
        Ok(Self { operation, size })
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operation = match self.operation {
            Operation::Send => "send",
            Operation::Recv => "recv",
        };
        write!(f, "{operation}/{}", self.size)
    }
}

/// Polls until the future is ready: the transport never makes it wait.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
    }
}

/// For libraries that need one.
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime")
}
