//! The opening handshake (RFC 6455 section 4): from the first byte to the 101, without any I/O.
//!
//! A server feeds what arrives to [`HeadScanner::scan`] until it tells where the head ends, parses
//! that with [`Request::parse`], and answers with [`ServerOptions::accept`]. A client sends
//! [`ClientHandshake::request`], scans likewise, parses with [`Response::parse`], and asks
//! [`ClientHandshake::check`]; [`BodyReader`] takes the body of a refusal.
//!
//! ```
//! use sansock_core::handshake::{
//!     ClientHandshake, ClientOptions, HeadLimits, HeadScanner, Request, Response, ServerOptions,
//!     Uri,
//! };
//!
//! let uri = Uri::parse("ws://example.com/chat")?;
//! let random = *b"sixteen bytes of"; // from a generator that nobody can predict
//! let client = ClientHandshake::new(&uri, random, &ClientOptions::new().subprotocols(["chat"]))?;
//! let mut bytes = Vec::new();
//! client.request().write_to(&mut bytes)?;
//!
//! let limits = HeadLimits::default();
//! let end = HeadScanner::new(limits).scan(&bytes)?.expect("it has all arrived");
//! let request = Request::parse(&bytes[..end], &limits)?;
//! let (response, result) = ServerOptions::new().subprotocols(["chat"]).accept(&request);
//! assert_eq!(result?.subprotocol.as_deref(), Some("chat"));
//! bytes.clear();
//! response.write_to(&mut bytes)?;
//!
//! let response = Response::parse(&bytes, &limits)?;
//! assert_eq!(client.check(&response)?.subprotocol.as_deref(), Some("chat"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Over HTTP/2 and HTTP/3, the application's HTTP stack carries the handshake and the stream (RFC 8441, RFC 9220). A
//! server makes a request of what its stack has received with [`Request::extended_connect`], a client has its stack
//! send [`ClientHandshake::extended_connect`]; the checks are the same.
//!
//! The rule: nothing is accepted that two programs could read in two ways, and nothing is sent
//! that was not checked. What is not accepted is refused, never repaired.

mod ascii;
mod auth;
mod body;
mod client;
mod error;
mod extended;
mod grammar;
mod head;
mod headers;
mod hosts;
#[cfg(feature = "http")]
mod http_types;
mod key;
mod origin;
mod request;
mod response;
mod scanner;
mod server;
mod uri;

use bytestring::ByteString;

pub(crate) use scanner::check_first_byte;
pub(crate) use server::agreed;

pub use auth::{Credentials, InvalidCredentials, basic_challenge};
pub use body::{BodyError, BodyReader};
pub use client::{ClientHandshake, ClientOptions};
pub use error::HandshakeError;
pub use extended::{ExtendedConnectError, PseudoHeaders};
pub use grammar::{ExtensionList, ExtensionOffer, ExtensionParam, GrammarError};
pub use head::{HeadError, HeadLimits, HttpVersion, NotText};
pub use headers::{Headers, InvalidHeader};
pub use hosts::{HostList, Hosts, InvalidHost};
pub use key::accept_value;
pub use origin::{InvalidOrigin, OriginList, OriginProblem, Origins};
pub use request::Request;
pub use response::{Response, StatusCode};
pub use scanner::HeadScanner;
pub use server::{ServerOptions, refuse, reject};
pub use uri::{Uri, UriError};

/// What client and server agreed on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Negotiated {
    /// The subprotocol, if one was selected.
    pub subprotocol: Option<ByteString>,
    /// The extensions in use, as the server accepted them.
    pub extensions: ExtensionList,
}
