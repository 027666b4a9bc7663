//! A request that has come, and what is to be done about it.

use std::fmt;
use std::future::Future;

use sansock_core::handshake::{
    Credentials, Headers, Request, Response, StatusCode, basic_challenge,
};

use super::outcome::{Ending, Outcome};
use super::socket::Socket;
use crate::transport::{Boxed, Peer};

/// A handler that was chosen for one connection.
pub(super) type Chosen<S, T> = Box<dyn FnOnce(Socket<S, T>) -> Boxed<'static, Ending> + Send>;

/// A request that has come, for [`process_request`](super::Serve::process_request) to decide on.
pub struct Opening<S, T> {
    request: Request,
    peer: Peer,
    headers: Headers,
    chosen: Option<Chosen<S, T>>,
}

/// What is done about a request. Made by [`Opening`].
pub struct Verdict<S, T> {
    pub(super) request: Request,
    pub(super) headers: Headers,
    pub(super) decision: Decision<S, T>,
}

pub(super) enum Decision<S, T> {
    Accept(Option<Chosen<S, T>>),
    Respond(Response),
}

impl<S, T> Opening<S, T> {
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
    pub fn accept(self) -> Verdict<S, T> {
        let decision = Decision::Accept(self.chosen);
        Verdict {
            request: self.request,
            headers: self.headers,
            decision,
        }
    }

    /// Accepts the request, if it is acceptable, for another handler than that of the server. The handler
    /// takes with it what was found out about the client.
    #[must_use]
    pub fn accept_with<F, R>(
        mut self,
        handler: impl FnOnce(Socket<S, T>) -> F + Send + 'static,
    ) -> Verdict<S, T>
    where
        F: Future<Output = R> + Send + 'static,
        R: Outcome,
    {
        self.chosen = Some(Box::new(|socket| {
            let running = handler(socket);
            Box::pin(async { running.await.ending() })
        }));
        self.accept()
    }

    /// Answers with something else than a WebSocket: a page, a redirect, an error.
    ///
    /// Only one request is answered on a connection; the response says so.
    #[must_use]
    pub fn respond(self, mut response: Response) -> Verdict<S, T> {
        let headers = response.headers_mut();
        if !headers.contains("Connection") {
            // Name and value are well-formed.
            let _ = headers.set("Connection", "close");
        }
        Verdict {
            request: self.request,
            headers: self.headers,
            decision: Decision::Respond(response),
        }
    }

    /// Answers with a status and a plain text.
    #[must_use]
    pub fn reject(self, status: StatusCode, text: &str) -> Verdict<S, T> {
        self.respond(Response::text(status, text))
    }

    /// Answers with 401, and asks for the credentials of Basic authentication (RFC 7617). The realm is
    /// shown to people.
    #[must_use]
    pub fn ask_for_credentials(self, realm: &str) -> Verdict<S, T> {
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

impl<S, T> fmt::Debug for Opening<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opening")
            .field("request", &self.request)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

impl<S, T> fmt::Debug for Verdict<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decision = match &self.decision {
            Decision::Accept(_) => "accept".to_owned(),
            Decision::Respond(response) => response.status().to_string(),
        };
        f.debug_struct("Verdict")
            .field("decision", &decision)
            .finish_non_exhaustive()
    }
}
