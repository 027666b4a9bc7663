//! A request to open a WebSocket, and the server's decision about it.
//!
//! [`IncomingRequest`] is passed to `process_request`, which turns it into a [`HandshakeDecision`]: accept,
//! accept with another handler, or respond with something else.

use std::fmt;
use std::future::Future;

use sansock_core::handshake::{
    Credentials, Headers, Request, Response, StatusCode, basic_challenge,
};

use super::outcome::{Ending, Outcome};
use super::socket::Socket;
use crate::transport::mode::Keeps;
use crate::transport::{BoxFuture, Mode, Peer, Threads};

/// A handler that was chosen for one connection.
pub(super) type Chosen<S, T, M> = <M as Mode>::FunctionOnce<Socket<S, T>, BoxFuture<M, Ending>>;

/// A request that has come, for [`process_request`](super::Serve::process_request) to decide on.
pub struct IncomingRequest<S: 'static, T: 'static, M: Mode = Threads> {
    request: Request,
    peer: Peer,
    headers: Headers,
    chosen: Option<Chosen<S, T, M>>,
}

/// What is done about a request. Made by [`IncomingRequest`].
pub struct HandshakeDecision<S: 'static, T: 'static, M: Mode = Threads> {
    pub(super) request: Request,
    pub(super) headers: Headers,
    pub(super) answer: Answer<S, T, M>,
}

pub(super) enum Answer<S: 'static, T: 'static, M: Mode> {
    Accept(Option<Chosen<S, T, M>>),
    Respond(Response),
}

impl<S: 'static, T: 'static, M: Mode> IncomingRequest<S, T, M> {
    pub(super) const fn new(request: Request, peer: Peer, headers: Headers) -> Self {
        Self {
            request,
            peer,
            headers,
            chosen: None,
        }
    }

    /// Returns the request. It may be any request with a well-formed head, not only one that asks for a
    /// WebSocket.
    #[must_use]
    pub const fn request(&self) -> &Request {
        &self.request
    }

    /// Returns the path that is asked for, without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.request.path()
    }

    /// Returns who asks.
    #[must_use]
    pub const fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Returns the credentials of Basic authentication (RFC 7617) in the request, if it has any.
    #[must_use]
    pub fn credentials(&self) -> Option<Credentials> {
        let header = self.request.headers().get("Authorization")?;
        Credentials::from_header(header).ok()
    }

    /// Returns the headers that the response will have besides those of the handshake.
    pub const fn headers_mut(&mut self) -> &mut Headers {
        &mut self.headers
    }

    /// Accepts the request, if it is acceptable.
    #[must_use]
    pub fn accept(self) -> HandshakeDecision<S, T, M> {
        let answer = Answer::Accept(self.chosen);
        HandshakeDecision {
            request: self.request,
            headers: self.headers,
            answer,
        }
    }

    /// Accepts the request, if it is acceptable, for another handler than that of the server. The handler
    /// takes with it what was found out about the client.
    #[must_use]
    pub fn accept_with<H, F, R>(mut self, handler: H) -> HandshakeDecision<S, T, M>
    where
        H: FnOnce(Socket<S, T>) -> F + 'static,
        F: Future<Output = R> + 'static,
        R: Outcome,
        M: Keeps<H, F>,
    {
        self.chosen = Some(M::kept(handler, Outcome::into_result));
        self.accept()
    }

    /// Answers with something else than a WebSocket: a page, a redirect, an error.
    ///
    /// Only one request is answered on a connection; the response says so. A `HEAD` request gets the same headers
    /// and no body.
    #[must_use]
    pub fn respond(self, mut response: Response) -> HandshakeDecision<S, T, M> {
        let headers = response.headers_mut();
        if !headers.contains("Connection") {
            // Name and value are well-formed.
            let _ = headers.set("Connection", "close");
        }
        HandshakeDecision {
            request: self.request,
            headers: self.headers,
            answer: Answer::Respond(response),
        }
    }

    /// Answers with a status and a plain text.
    #[must_use]
    pub fn reject(self, status: StatusCode, text: &str) -> HandshakeDecision<S, T, M> {
        self.respond(Response::text(status, text))
    }

    /// Answers with 401, and asks for the credentials of Basic authentication (RFC 7617). The realm is
    /// shown to people.
    #[must_use]
    pub fn require_basic_auth(self, realm: &str) -> HandshakeDecision<S, T, M> {
        let mut response = Response::text(StatusCode::UNAUTHORIZED, "Credentials are needed.\n");
        let realm: String = realm
            .chars()
            .filter(|character| !character.is_control())
            .collect();
        // Without control characters, the value is well-formed.
        let _ = response
            .headers_mut()
            .set("WWW-Authenticate", basic_challenge(&realm));
        self.respond(response)
    }
}

impl<S: 'static, T: 'static, M: Mode> fmt::Debug for IncomingRequest<S, T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingRequest")
            .field("request", &self.request)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

impl<S: 'static, T: 'static, M: Mode> fmt::Debug for HandshakeDecision<S, T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answer = match &self.answer {
            Answer::Accept(_) => "accept".to_owned(),
            Answer::Respond(response) => response.status().to_string(),
        };
        f.debug_struct("HandshakeDecision")
            .field("answer", &answer)
            .finish_non_exhaustive()
    }
}
