//! What a handler returns, and what goes wrong in a server.

use std::error::Error as StdError;
use std::{fmt, io};

use crate::error::Error;
use crate::transport::Peer;
use crate::transport::mode::Borrowed;

/// Any error of a handler.
pub type HandlerError = Box<dyn StdError + Send + Sync>;

/// How a handler has ended.
pub(super) type Ending = Result<(), HandlerError>;

/// What a handler returns: nothing, or a result whose error can become a boxed one, as those of this
/// crate, of the standard library and of `anyhow` can.
pub trait Outcome {
    /// Returns whether the handler has done its work.
    ///
    /// # Errors
    /// Why it could not.
    fn into_result(self) -> Result<(), HandlerError>;
}

impl Outcome for () {
    fn into_result(self) -> Result<(), HandlerError> {
        Ok(())
    }
}

impl<E: Into<HandlerError>> Outcome for Result<(), E> {
    fn into_result(self) -> Result<(), HandlerError> {
        self.map_err(Into::into)
    }
}

/// A failure that does not stop the server. It is reported to [`on_event`](super::Serve::on_event), for a
/// log.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerEvent<'a> {
    /// A connection could not be accepted. The server tries again.
    Accept(&'a io::Error),
    /// A handshake failed, or a request was refused for another reason than the application's decision.
    /// Reported at once. What becomes of the transport after a refusal is not reported, nor are checks of load
    /// balancers: clients that leave without a byte, and requests of HTTP/1.0. The
    /// [numbers](super::Snapshot) of the server include them.
    Handshake(&'a Peer, &'a Error),
    /// A handler returned an error, other than that its connection is over; it is closed with 1011.
    Handler(&'a Peer, &'a HandlerError),
    /// A handler, or what looks at requests, panicked; its connection is closed with 1011, its request
    /// answered with 500.
    Panic(&'a Peer),
}

/// [`ServerEvent`], whatever it borrows.
#[derive(Debug)]
pub enum AnyEvent {}

impl Borrowed for AnyEvent {
    type For<'a> = ServerEvent<'a>;
}

impl fmt::Display for ServerEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept(error) => write!(f, "cannot accept connections: {error}"),
            Self::Handshake(peer, error) => {
                write!(f, "{peer}: {error}")?;
                match error.source() {
                    Some(cause) => write!(f, ": {cause}"),
                    None => Ok(()),
                }
            }
            Self::Handler(peer, error) => write!(f, "{peer}: handler failed: {error}"),
            Self::Panic(peer) => write!(f, "{peer}: handler panicked"),
        }
    }
}
