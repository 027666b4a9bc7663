//! The client's side of the opening handshake (RFC 6455 section 4.1).
//!
//! The request is the one source of truth: the key, the subprotocols and the extensions that a response
//! must answer are read from it, so that a request edited before it is sent is checked as it was sent.

use alloc::{
    boxed::Box,
    string::{String, ToString},
    vec::Vec,
};

use bytestring::ByteString;

use crate::handshake::{
    Credentials, ExtensionList, ExtensionOffer, HandshakeError, Headers, HttpVersion,
    InvalidHeader, Negotiated, Request, Response, StatusCode, Uri,
    grammar::{has_token, tokens},
    headers::check_token,
    key,
};

/// Headers that only the handshake itself may set.
const RESERVED: [&str; 9] = [
    "Upgrade",
    "Connection",
    "Content-Length",
    "Transfer-Encoding",
    "Sec-WebSocket-Accept",
    "Sec-WebSocket-Extensions",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Version",
];

/// What a client asks for besides the URI.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientOptions {
    subprotocols: Vec<ByteString>,
    extensions: ExtensionList,
    origin: Option<ByteString>,
    user_agent: Option<ByteString>,
    headers: Headers,
}

impl ClientOptions {
    /// Returns options that ask for nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Offers subprotocols, the preferred one first. Default: none.
    #[must_use]
    pub fn subprotocols<I>(mut self, names: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<ByteString>,
    {
        self.subprotocols = names.into_iter().map(Into::into).collect();
        self
    }

    /// Offers extensions, the preferred one first: those of the configuration.
    #[must_use]
    pub(crate) fn extensions(mut self, offers: ExtensionList) -> Self {
        self.extensions = offers;
        self
    }

    /// Sends an `Origin`. Default: none, as is right for programs other than browsers.
    #[must_use]
    pub fn origin(mut self, origin: impl Into<ByteString>) -> Self {
        self.origin = Some(origin.into());
        self
    }

    /// Sends a `User-Agent`. Default: none.
    #[must_use]
    pub fn user_agent(mut self, user_agent: impl Into<ByteString>) -> Self {
        self.user_agent = Some(user_agent.into());
        self
    }

    /// Sends more headers, after the others. `Host`, `Authorization`, `Origin` and `User-Agent` replace
    /// what would be sent otherwise.
    #[must_use]
    pub fn headers(mut self, headers: Headers) -> Self {
        self.headers = headers;
        self
    }
}

/// The request that a client sends, and the check of the response to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientHandshake {
    request: Request,
}

impl ClientHandshake {
    /// Makes the request for a URI. The nonce must be 16 random bytes (RFC 6455 section 4.1).
    ///
    /// # Errors
    ///
    /// An option cannot be sent as a header, or a header belongs to the handshake itself.
    pub fn new(uri: &Uri, nonce: [u8; 16], options: &ClientOptions) -> Result<Self, InvalidHeader> {
        let headers = headers(uri, nonce, options)?;
        Ok(Self {
            request: Request::get_known(uri.resource_name(), headers),
        })
    }

    /// Returns the handshake of a request that was made, or edited, elsewhere: the response is checked
    /// against what it offers.
    #[must_use]
    pub const fn of(request: Request) -> Self {
        Self { request }
    }

    /// Returns the request to send.
    #[must_use]
    pub const fn request(&self) -> &Request {
        &self.request
    }

    /// Checks the server's response to the request.
    ///
    /// The parameters of the extensions it accepts are for the extensions to judge.
    ///
    /// # Errors
    ///
    /// The server refused, or its response does not follow RFC 6455 section 4.1.
    pub fn check(&self, response: &Response) -> Result<Negotiated, HandshakeError> {
        let headers = response.headers();
        check_status(response)?;
        if !has_token(headers, "Connection", "upgrade")? {
            return Err(HandshakeError::NoUpgrade { name: "Connection" });
        }
        check_upgrade(headers)?;
        self.check_accept(headers)?;
        Ok(Negotiated {
            extensions: self.extensions(headers)?,
            subprotocol: self.subprotocol(headers)?,
        })
    }

    fn check_accept(&self, headers: &Headers) -> Result<(), HandshakeError> {
        let key = self.request.headers().required("Sec-WebSocket-Key")?;
        let received = headers.required("Sec-WebSocket-Accept")?;
        let expected = key::accept_value(key);
        match received == expected {
            true => Ok(()),
            false => Err(HandshakeError::Accept {
                expected: printable(&expected),
                received: printable(received),
            }),
        }
    }

    /// §4.1: an extension that was not offered fails the handshake, and so does one accepted twice.
    fn extensions(&self, headers: &Headers) -> Result<ExtensionList, HandshakeError> {
        let accepted = ExtensionList::from_headers(headers)?;
        if accepted.is_empty() {
            return Ok(accepted);
        }
        let offered = ExtensionList::from_headers(self.request.headers())?;
        for (index, extension) in accepted.iter().enumerate() {
            let is_same = |other: &ExtensionOffer| other.name() == extension.name();
            if !offered.iter().any(is_same) {
                return Err(extension.error("accepted by the server but not offered"));
            }
            if accepted.iter().take(index).any(is_same) {
                return Err(extension.error("accepted twice by the server"));
            }
        }
        Ok(accepted)
    }

    fn subprotocol(&self, headers: &Headers) -> Result<Option<ByteString>, HandshakeError> {
        const NAME: &str = "Sec-WebSocket-Protocol";

        let mut selected = tokens(headers, NAME);
        let Some(name) = selected.next().transpose()? else {
            return Ok(None);
        };
        if selected.next().is_some() {
            return Err(HandshakeError::RepeatedHeader(NAME));
        }
        for offer in tokens(self.request.headers(), NAME) {
            if offer? == name {
                return Ok(Some(name.into()));
            }
        }
        Err(HandshakeError::UnexpectedSubprotocol(name.into()))
    }
}

/// Checks the response to a request that some other HTTP client sent.
impl From<Request> for ClientHandshake {
    fn from(request: Request) -> Self {
        Self { request }
    }
}

/// §4.1: the header lines of the request, those of the handshake first.
fn headers(uri: &Uri, nonce: [u8; 16], options: &ClientOptions) -> Result<Headers, InvalidHeader> {
    let mut headers = Headers::with_capacity(16, 256);
    let given = &options.headers;
    check_reserved(given)?;
    let authorization = uri.credentials().map(Credentials::header_value);
    append_default(&mut headers, given, "Host", Some(&uri.authority()))?;
    append_default(
        &mut headers,
        given,
        "Authorization",
        authorization.as_deref(),
    )?;
    append_default(&mut headers, given, "Origin", options.origin.as_deref())?;
    headers.push(b"Upgrade", b"websocket");
    headers.push(b"Connection", b"Upgrade");
    headers.push(b"Sec-WebSocket-Key", &key::encode(nonce));
    headers.push(b"Sec-WebSocket-Version", b"13");
    append_offers(&mut headers, options)?;
    append_default(
        &mut headers,
        given,
        "User-Agent",
        options.user_agent.as_deref(),
    )?;
    for (name, value) in given.iter() {
        headers.append(name, value)?;
    }
    Ok(headers)
}

fn check_reserved(given: &Headers) -> Result<(), InvalidHeader> {
    match RESERVED.into_iter().find(|name| given.contains(name)) {
        Some(name) => Err(InvalidHeader::Reserved { name: name.into() }),
        None => Ok(()),
    }
}

fn append_default(
    headers: &mut Headers,
    given: &Headers,
    name: &str,
    value: Option<&str>,
) -> Result<(), InvalidHeader> {
    match value {
        Some(value) if !given.contains(name) => headers.append(name, value),
        _ => Ok(()),
    }
}

fn append_offers(headers: &mut Headers, options: &ClientOptions) -> Result<(), InvalidHeader> {
    const PROTOCOL: &str = "Sec-WebSocket-Protocol";

    if !options.extensions.is_empty() {
        headers.append("Sec-WebSocket-Extensions", options.extensions.to_string())?;
    }
    if options.subprotocols.is_empty() {
        return Ok(());
    }
    for name in &options.subprotocols {
        check_token(PROTOCOL, name)?;
    }
    headers.append(PROTOCOL, options.subprotocols.join(", "))
}

fn check_status(response: &Response) -> Result<(), HandshakeError> {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(HandshakeError::Refused(Box::new(response.clone())));
    }
    match response.version() {
        HttpVersion::Http11 => Ok(()),
        version @ HttpVersion::Http10 => Err(HandshakeError::HttpVersion(version)),
    }
}

/// §4.1: the server names the one protocol that it switches to.
fn check_upgrade(headers: &Headers) -> Result<(), HandshakeError> {
    let mut protocols = tokens(headers, "Upgrade");
    let first = protocols.next().transpose()?;
    match (first, protocols.next().transpose()?) {
        (Some(name), None) if name.eq_ignore_ascii_case("websocket") => Ok(()),
        _ => Err(HandshakeError::NoUpgrade { name: "Upgrade" }),
    }
}

fn printable(value: &[u8]) -> ByteString {
    String::from_utf8_lossy(value).into_owned().into()
}
