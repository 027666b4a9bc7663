//! The client's side of the opening handshake (RFC 6455 section 4.1).
//!
//! The request is the one source of truth: the key, the subprotocols and the extensions that a
//! response must answer are read from it, so that a request edited before it is sent is checked as
//! it was sent.

use alloc::{
    boxed::Box,
    string::{String, ToString},
    vec::Vec,
};

use bytestring::ByteString;

use crate::handshake::{
    Credentials, ExtensionList, ExtensionOffer, HandshakeError, Headers, HttpVersion,
    InvalidHeader, Negotiated, PseudoHeaders, Request, Response, StatusCode, Uri,
    extended::WEBSOCKET,
    grammar::{has_token, tokens},
    headers::{Lines, check_token},
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

    /// Sends more headers, after the others. `Host`, `Authorization`, `Origin` and `User-Agent`
    /// replace what would be sent otherwise.
    #[must_use]
    pub fn headers(mut self, headers: Headers) -> Self {
        self.headers = headers;
        self
    }

    /// Returns these headers for editing.
    pub const fn headers_mut(&mut self) -> &mut Headers {
        &mut self.headers
    }

    /// Returns the authority to ask: that of a `Host` header that was given, or else that of the URI.
    pub(crate) fn authority(&self, uri: &Uri) -> String {
        match self.headers.get_str("Host") {
            Some(host) => host.to_string(),
            None => uri.authority(),
        }
    }

    /// Returns the headers of a request by Extended CONNECT, their names in lower case (RFC 9113 section 8.2.1).
    pub(crate) fn extended_headers(&self, uri: &Uri) -> Result<Headers, InvalidHeader> {
        let mut headers = Headers::with_capacity(16, 256);
        check_reserved(&self.headers)?;
        append_identity(&mut headers, uri, self)?;
        headers.push(b"Sec-WebSocket-Version", b"13");
        append_offers(&mut headers, self)?;
        append_rest(&mut headers, self)?;
        let mut lower_case = Headers::with_capacity(headers.len(), 256);
        for (name, value) in headers.iter() {
            lower_case.push(name.to_ascii_lowercase().as_bytes(), value);
        }
        Ok(lower_case)
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

    /// Makes the request for a URI over HTTP/2 or HTTP/3, with the headers of
    /// [`ClientOptions::extended_headers`].
    pub(crate) fn with_extended_connect(
        uri: &Uri,
        version: HttpVersion,
        authority: &str,
        headers: Headers,
    ) -> Result<Self, HandshakeError> {
        let pseudo = PseudoHeaders {
            protocol: WEBSOCKET,
            scheme: match uri.is_secure() {
                true => "https",
                false => "http",
            },
            authority,
            path: uri.resource_name(),
        };
        let mut request = Request::extended_connect(version, pseudo, headers)?;
        // RFC 9113 section 8.3.1: `:authority` takes its place.
        request.headers_mut().remove("Host");
        Ok(Self { request })
    }

    /// Returns the request to send.
    #[must_use]
    pub const fn request(&self) -> &Request {
        &self.request
    }

    /// Checks the server's response to the request: 101, or any 2xx over HTTP/2 and HTTP/3.
    ///
    /// The parameters of the extensions it accepts are for the extensions to judge.
    ///
    /// # Errors
    ///
    /// The server refused, or its response does not follow RFC 6455 section 4.1 or RFC 8441 section 5.
    pub fn check(&self, response: &Response) -> Result<Negotiated, HandshakeError> {
        let headers = response.headers();
        match self.request.version().is_multiplexed() {
            false => {
                check_status(response)?;
                check_connection(headers)?;
                check_upgrade(headers)?;
                self.check_accept(headers)?;
            }
            true => check_success(response, self.request.version())?,
        }
        Ok(Negotiated {
            extensions: self.extensions(headers)?,
            subprotocol: self.subprotocol(headers)?,
        })
    }

    fn sent(&self, name: &'static str) -> Lines<'_> {
        self.request.headers().lines(name)
    }

    fn check_accept(&self, headers: &Headers) -> Result<(), HandshakeError> {
        let key = self.sent("Sec-WebSocket-Key").required()?;
        let received = headers.lines("Sec-WebSocket-Accept").required()?;
        let expected = key::accept_value(key);
        match received == expected {
            true => Ok(()),
            false => Err(HandshakeError::Accept {
                expected: printable(&expected),
                received: printable(received),
            }),
        }
    }

    /// §4.1: an extension that was not offered fails the handshake; so does one accepted twice.
    fn extensions(&self, headers: &Headers) -> Result<ExtensionList, HandshakeError> {
        const NAME: &str = "Sec-WebSocket-Extensions";

        let accepted = ExtensionList::from_lines(&headers.lines(NAME))?;
        if accepted.is_empty() {
            return Ok(accepted);
        }
        let offered = ExtensionList::from_lines(&self.sent(NAME))?;
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

        let lines = headers.lines(NAME);
        let mut selected = tokens(&lines);
        let Some(name) = selected.next().transpose()? else {
            return Ok(None);
        };
        if selected.next().is_some() {
            return Err(HandshakeError::RepeatedHeader(NAME));
        }
        for offer in tokens(&self.sent(NAME)) {
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
    append_default(&mut headers, given, "Host", Some(&uri.authority()))?;
    append_identity(&mut headers, uri, options)?;
    headers.push(b"Upgrade", b"websocket");
    headers.push(b"Connection", b"Upgrade");
    headers.push(b"Sec-WebSocket-Key", &key::encode(nonce));
    headers.push(b"Sec-WebSocket-Version", b"13");
    append_offers(&mut headers, options)?;
    append_rest(&mut headers, options)?;
    Ok(headers)
}

/// Appends the headers that say who asks.
fn append_identity(
    headers: &mut Headers,
    uri: &Uri,
    options: &ClientOptions,
) -> Result<(), InvalidHeader> {
    let given = &options.headers;
    let authorization = uri.credentials().map(Credentials::header_value);
    append_default(headers, given, "Authorization", authorization.as_deref())?;
    append_default(headers, given, "Origin", options.origin.as_deref())
}

/// Appends the headers that follow those of the handshake.
fn append_rest(headers: &mut Headers, options: &ClientOptions) -> Result<(), InvalidHeader> {
    let given = &options.headers;
    append_default(headers, given, "User-Agent", options.user_agent.as_deref())?;
    for (name, value) in given.iter() {
        headers.append(name, value)?;
    }
    Ok(())
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
    for (index, subprotocol) in options.subprotocols.iter().enumerate() {
        check_token(PROTOCOL, subprotocol)?;
        // §4.1: the elements must all be unique.
        if options
            .subprotocols
            .iter()
            .take(index)
            .any(|earlier| earlier == subprotocol)
        {
            let name = PROTOCOL.into();
            return Err(InvalidHeader::Repeated { name });
        }
    }
    headers.append(PROTOCOL, options.subprotocols.join(", "))
}

fn check_status(response: &Response) -> Result<(), HandshakeError> {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(HandshakeError::Refused(Box::new(response.clone())));
    }
    match response.version() == HttpVersion::Http11 {
        true => Ok(()),
        false => Err(HandshakeError::HttpVersion(response.version())),
    }
}

/// RFC 8441 section 5: any 2xx. HTTP/2 and HTTP/3 have no 101 (RFC 9113 section 8.6).
fn check_success(response: &Response, version: HttpVersion) -> Result<(), HandshakeError> {
    if response.status().is_success() {
        return Ok(());
    }
    let mut refusal = response.clone();
    refusal.set_version(version);
    Err(HandshakeError::Refused(Box::new(refusal)))
}

fn check_connection(headers: &Headers) -> Result<(), HandshakeError> {
    match has_token(&headers.lines("Connection"), "Upgrade")? {
        true => Ok(()),
        false => Err(HandshakeError::NoUpgrade { name: "Connection" }),
    }
}

/// §4.1: the server names the one protocol that it switches to.
fn check_upgrade(headers: &Headers) -> Result<(), HandshakeError> {
    let lines = headers.lines("Upgrade");
    let mut protocols = tokens(&lines);
    let first = protocols.next().transpose()?;
    match (first, protocols.next().transpose()?) {
        (Some(name), None) if name.eq_ignore_ascii_case("websocket") => Ok(()),
        _ => Err(HandshakeError::NoUpgrade { name: "Upgrade" }),
    }
}

fn printable(value: &[u8]) -> ByteString {
    String::from_utf8_lossy(value).into_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::{ExtendedConnectError, HeadLimits};
    use crate::{Config, ConnectionError};

    const NAME: &str = "Sec-WebSocket-Protocol";

    fn handshake(uri: &str, options: &ClientOptions) -> Result<ClientHandshake, InvalidHeader> {
        ClientHandshake::new(&Uri::parse(uri).unwrap(), *b"the sample nonce", options)
    }

    fn lines(handshake: &ClientHandshake) -> Vec<String> {
        let mut out = Vec::new();
        handshake.request().write_to(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        text.split("\r\n").map(String::from).collect()
    }

    /// The response of a server that accepts, with one header replaced by these lines.
    fn response(replaced: &str, values: &[&str]) -> Response {
        let mut response = Response::new(StatusCode::SWITCHING_PROTOCOLS);
        let headers = response.headers_mut();
        headers.append("Upgrade", "websocket").unwrap();
        headers.append("Connection", "Upgrade").unwrap();
        let accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        headers.append("Sec-WebSocket-Accept", accept).unwrap();
        headers.remove(replaced);
        for value in values {
            headers.append(replaced, value).unwrap();
        }
        response
    }

    fn check(
        options: &ClientOptions,
        replaced: &str,
        values: &[&str],
    ) -> Result<Negotiated, HandshakeError> {
        let handshake = handshake("ws://h", options).unwrap();
        handshake.check(&response(replaced, values))
    }

    #[test]
    fn the_request_has_its_headers_in_order() {
        let mut extra = Headers::new();
        extra.append("X-Extra", "1").unwrap();
        let options = ClientOptions::new()
            .subprotocols(["chat", "superchat"])
            .extensions("x; y=1, z".parse().unwrap())
            .origin("http://example.com")
            .user_agent("test/1")
            .headers(extra);
        let handshake = handshake("wss://u:p@Example.com:1/chat?x", &options).unwrap();
        let expected = [
            "GET /chat?x HTTP/1.1",
            "Host: example.com:1",
            "Authorization: Basic dTpw",
            "Origin: http://example.com",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Extensions: x; y=1, z",
            "Sec-WebSocket-Protocol: chat, superchat",
            "User-Agent: test/1",
            "X-Extra: 1",
            "",
            "",
        ];
        assert_eq!(lines(&handshake), expected);
    }

    #[test]
    fn what_is_not_asked_for_is_not_sent() {
        let handshake = handshake("ws://h", &ClientOptions::new()).unwrap();
        let expected = [
            "GET / HTTP/1.1",
            "Host: h",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
            "",
            "",
        ];
        assert_eq!(lines(&handshake), expected);
    }

    #[test]
    fn given_headers_replace_defaults_but_not_those_of_the_handshake() {
        let mut extra = Headers::new();
        extra.append("host", "other").unwrap();
        extra.append("authorization", "Bearer x").unwrap();
        let options = ClientOptions::new().headers(extra);
        let request = handshake("ws://u:p@h", &options).unwrap().request;
        let values = |name| request.headers().get_all(name).collect::<Vec<_>>();
        assert_eq!(values("Host"), [b"other"]);
        assert_eq!(values("Authorization"), [b"Bearer x"]);

        for reserved in RESERVED {
            let mut extra = Headers::new();
            extra.append(&reserved.to_lowercase(), "x").unwrap();
            let options = ClientOptions::new().headers(extra);
            let name = reserved.into();
            let error = Err(InvalidHeader::Reserved { name });
            assert_eq!(handshake("ws://h", &options), error);
        }
    }

    #[test]
    fn injection_through_options_is_refused() {
        let value = |name: &str, byte, offset| {
            let name = name.into();
            Err(InvalidHeader::Value { name, byte, offset })
        };
        let options = ClientOptions::new();
        let cases = [
            (
                options.clone().origin("a\r\nX: b"),
                value("Origin", b'\r', 1),
            ),
            (
                options.clone().user_agent("a\nb"),
                value("User-Agent", b'\n', 1),
            ),
            (
                options.clone().subprotocols(["a", "b\r\n"]),
                value(NAME, b'\r', 1),
            ),
            (options.clone().subprotocols(["a,b"]), value(NAME, b',', 1)),
            (options.clone().subprotocols(["a b"]), value(NAME, b' ', 1)),
            (
                options.subprotocols([""]),
                Err(InvalidHeader::Empty { name: NAME.into() }),
            ),
        ];
        for (options, error) in cases {
            assert_eq!(handshake("ws://h", &options), error);
        }
    }

    #[test]
    fn a_subprotocol_is_offered_once() {
        let offer = |names: [&'static str; 3]| {
            handshake("ws://h", &ClientOptions::new().subprotocols(names)).map(|_| ())
        };
        let name = NAME.into();
        let repeated = Err(InvalidHeader::Repeated { name });
        assert_eq!(offer(["a", "b", "a"]), repeated);
        assert_eq!(offer(["a", "b", "A"]), Ok(()));
    }

    #[test]
    fn a_good_response_is_accepted() {
        let options = ClientOptions::new();
        let agreed = Ok(Negotiated::default());
        assert_eq!(check(&options, "X", &[]), agreed);
        assert_eq!(check(&options, "Upgrade", &["WebSocket"]), agreed);
        assert_eq!(
            check(&options, "Connection", &["keep-alive, UPGRADE"]),
            agreed
        );
        assert_eq!(
            check(&options, "Connection", &["keep-alive", "upgrade"]),
            agreed
        );
        assert_eq!(check(&options, "Content-Length", &["5"]), agreed);
        assert_eq!(check(&options, "Transfer-Encoding", &["chunked"]), agreed);
    }

    #[test]
    fn connection_and_upgrade_must_name_the_change() {
        let options = ClientOptions::new();
        for (name, values) in [
            ("Connection", &[][..]),
            ("Connection", &["close"]),
            ("Connection", &["upgraded"]),
            ("Upgrade", &[]),
            ("Upgrade", &["h2c"]),
            ("Upgrade", &["websocket, h2c"]),
            ("Upgrade", &["websocket", "websocket"]),
        ] {
            let error = Err(HandshakeError::NoUpgrade { name });
            assert_eq!(check(&options, name, values), error, "{values:?}");
        }
        for name in ["Connection", "Upgrade"] {
            let result = check(&options, name, &["a b"]);
            assert!(matches!(result, Err(HandshakeError::InvalidHeader { .. })));
        }
    }

    #[test]
    fn accept_must_belong_to_the_key() {
        const ACCEPT: &str = "Sec-WebSocket-Accept";

        let options = ClientOptions::new();
        let missing = Err(HandshakeError::MissingHeader(ACCEPT));
        assert_eq!(check(&options, ACCEPT, &[]), missing);
        let expected = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        let repeated = Err(HandshakeError::RepeatedHeader(ACCEPT));
        assert_eq!(check(&options, ACCEPT, &[expected, expected]), repeated);
        for received in [
            "",
            "S3PPLMBITXAQ9KYGZZHZRBK+XOO=",
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo",
            "x",
        ] {
            let error = HandshakeError::Accept {
                expected: expected.into(),
                received: received.into(),
            };
            assert_eq!(check(&options, ACCEPT, &[received]), Err(error));
        }
    }

    #[test]
    fn extensions_must_have_been_offered() {
        const EXTENSIONS: &str = "Sec-WebSocket-Extensions";

        let none = ClientOptions::new();
        let offers = ClientOptions::new().extensions("x; a, y".parse().unwrap());
        let agreed = check(&offers, EXTENSIONS, &["y; b=1", "x"]).unwrap();
        assert_eq!(agreed.extensions.to_string(), "y; b=1, x");
        let error = |name: &str, problem: &str| {
            let (name, problem) = (name.into(), problem.into());
            Err(HandshakeError::Extension { name, problem })
        };
        let not_offered = "accepted by the server but not offered";
        assert_eq!(check(&none, EXTENSIONS, &["x"]), error("x", not_offered));
        assert_eq!(
            check(&offers, EXTENSIONS, &["x, z"]),
            error("z", not_offered)
        );
        assert_eq!(check(&offers, EXTENSIONS, &["X"]), error("X", not_offered));
        let twice = error("x", "accepted twice by the server");
        assert_eq!(check(&offers, EXTENSIONS, &["x, y, x"]), twice);
        for malformed in ["", "x;", "x; a=\"", "x y"] {
            let result = check(&offers, EXTENSIONS, &[malformed]);
            assert!(matches!(result, Err(HandshakeError::InvalidHeader { .. })));
        }
    }

    #[test]
    fn the_subprotocol_must_be_one_that_was_offered() {
        let none = ClientOptions::new();
        let offers = ClientOptions::new().subprotocols(["chat", "superchat"]);
        let agreed = check(&offers, NAME, &["superchat"]).unwrap();
        assert_eq!(agreed.subprotocol.as_deref(), Some("superchat"));
        assert_eq!(check(&offers, NAME, &[]).unwrap().subprotocol, None);
        for (options, selected) in [(&none, "chat"), (&offers, "other"), (&offers, "Chat")] {
            let error = HandshakeError::UnexpectedSubprotocol(selected.into());
            assert_eq!(check(options, NAME, &[selected]), Err(error));
        }
        let empty = check(&offers, NAME, &[""]);
        assert!(matches!(empty, Err(HandshakeError::InvalidHeader { .. })));
        let several = Err(HandshakeError::RepeatedHeader(NAME));
        assert_eq!(check(&offers, NAME, &["chat, superchat"]), several);
        assert_eq!(check(&offers, NAME, &["chat", "chat"]), several);
    }

    #[test]
    fn any_other_status_is_given_out_with_its_response() {
        let handshake = handshake("ws://h", &ClientOptions::new()).unwrap();
        for status in [100, 200, 204, 301, 401, 407, 426, 500] {
            let status = StatusCode::new(status).unwrap();
            let response = Response::text(status, "because");
            let error = HandshakeError::Refused(Box::new(response.clone()));
            assert_eq!(handshake.check(&response), Err(error));
        }
    }

    #[test]
    fn http_1_0_cannot_switch() {
        let head = b"HTTP/1.0 101 Switching Protocols\r\n\r\n";
        let response = Response::parse(head, &HeadLimits::default()).unwrap();
        let handshake = handshake("ws://h", &ClientOptions::new()).unwrap();
        let error = HandshakeError::HttpVersion(HttpVersion::Http10);
        assert_eq!(handshake.check(&response), Err(error));
    }

    fn extended(uri: &str, options: &ClientOptions) -> Result<ClientHandshake, ConnectionError> {
        let uri = Uri::parse(uri).unwrap();
        ClientHandshake::extended_connect(&uri, HttpVersion::Http2, options, &Config::new())
    }

    #[test]
    fn extended_connect_has_its_headers_in_order() {
        let mut extra = Headers::new();
        extra.append("X-Extra", "1").unwrap();
        let options = ClientOptions::new()
            .subprotocols(["chat", "superchat"])
            .origin("http://example.com")
            .user_agent("test/1")
            .headers(extra);
        let handshake = extended("wss://u:p@Example.com:1/chat?x", &options).unwrap();
        let request = handshake.request();
        let pseudo = PseudoHeaders {
            protocol: "websocket",
            scheme: "https",
            authority: "example.com:1",
            path: "/chat?x",
        };
        assert_eq!(request.pseudo_headers(), Some(pseudo));
        assert_eq!(request.method(), "CONNECT");
        assert_eq!(request.version(), HttpVersion::Http2);
        let expected: [(&str, &[u8]); 6] = [
            ("authorization", b"Basic dTpw"),
            ("origin", b"http://example.com"),
            ("sec-websocket-version", b"13"),
            ("sec-websocket-protocol", b"chat, superchat"),
            ("user-agent", b"test/1"),
            ("x-extra", b"1"),
        ];
        assert_eq!(request.headers().iter().collect::<Vec<_>>(), expected);
        let handshake = extended("ws://h", &ClientOptions::new()).unwrap();
        assert_eq!(handshake.request().scheme(), Some("http"));
        assert_eq!(handshake.request().headers().len(), 1);
    }

    #[test]
    fn a_given_host_is_the_authority_of_extended_connect() {
        let with_host = |host| {
            let mut options = ClientOptions::new();
            options.headers_mut().append("Host", host).unwrap();
            extended("wss://h", &options)
        };
        let handshake = with_host("other:1").unwrap();
        let request = handshake.request();
        assert_eq!(request.pseudo_headers().unwrap().authority, "other:1");
        assert!(!request.headers().contains("Host"));
        assert_eq!(
            with_host("u@other"),
            Err(ConnectionError::Negotiated(
                ExtendedConnectError::Authority.into()
            ))
        );
    }

    #[test]
    fn extended_connect_refuses_what_it_cannot_send() {
        let uri = Uri::parse("ws://h").unwrap();
        let (options, config) = (ClientOptions::new(), Config::new());
        let version = HttpVersion::Http11;
        let error = ExtendedConnectError::HttpVersion(version).into();
        assert_eq!(
            ClientHandshake::extended_connect(&uri, version, &options, &config),
            Err(ConnectionError::Negotiated(error))
        );
        for reserved in RESERVED {
            let mut options = ClientOptions::new();
            options.headers_mut().append(reserved, "x").unwrap();
            let name = reserved.into();
            let error = ConnectionError::Header(InvalidHeader::Reserved { name });
            assert_eq!(extended("ws://h", &options), Err(error));
        }
        let name = NAME.into();
        let error = ConnectionError::Header(InvalidHeader::Repeated { name });
        let options = options.subprotocols(["a", "a"]);
        assert_eq!(extended("ws://h", &options), Err(error));
        let invalid = |name: &str, offset| {
            let (name, byte) = (name.into(), b'\n');
            Err(ConnectionError::Header(InvalidHeader::Value {
                name,
                byte,
                offset,
            }))
        };
        let options = ClientOptions::new().origin("a\n");
        assert_eq!(extended("ws://h", &options), invalid("Origin", 1));
        let options = ClientOptions::new().user_agent("ab\n");
        assert_eq!(extended("ws://h", &options), invalid("User-Agent", 2));
    }

    #[test]
    fn extended_connect_succeeds_with_any_2xx() {
        let handshake = extended("ws://h", &ClientOptions::new()).unwrap();
        for status in [200, 204, 299] {
            let response = Response::new(StatusCode::new(status).unwrap());
            assert_eq!(handshake.check(&response), Ok(Negotiated::default()));
        }
        for status in [101, 199, 300, 403, 501] {
            let status = StatusCode::new(status).unwrap();
            let error = handshake.check(&Response::new(status)).unwrap_err();
            let text = format!("server answered {status} instead of 200");
            assert_eq!(error.to_string(), text);
            let HandshakeError::Refused(response) = error else {
                panic!("{error}");
            };
            assert_eq!(response.version(), HttpVersion::Http2);
        }
    }

    #[test]
    fn extended_connect_is_answered_with_what_was_offered() {
        const EXTENSIONS: &str = "Sec-WebSocket-Extensions";

        let check = |options: &ClientOptions, name: &str, value: &str| {
            let mut response = Response::new(StatusCode::OK);
            response.headers_mut().append(name, value).unwrap();
            extended("ws://h", options).unwrap().check(&response)
        };
        let none = ClientOptions::new();
        let chat = ClientOptions::new().subprotocols(["chat"]);
        let agreed = check(&chat, NAME, "chat").unwrap();
        assert_eq!(agreed.subprotocol.as_deref(), Some("chat"));
        let unexpected = |name: &str| Err(HandshakeError::UnexpectedSubprotocol(name.into()));
        assert_eq!(check(&none, NAME, "chat"), unexpected("chat"));
        assert_eq!(check(&chat, NAME, "other"), unexpected("other"));
        let error = HandshakeError::Extension {
            name: "x".into(),
            problem: "accepted by the server but not offered".into(),
        };
        assert_eq!(check(&none, EXTENSIONS, "x"), Err(error));
        // RFC 8441 section 5: not looked at.
        let agreed = Ok(Negotiated::default());
        assert_eq!(check(&none, "Sec-WebSocket-Accept", "x"), agreed);
    }

    #[cfg(feature = "deflate")]
    #[test]
    fn extended_connect_offers_the_extensions_of_the_configuration() {
        let uri = Uri::parse("ws://h").unwrap();
        let config = Config::new().deflate(crate::deflate::Deflate::new());
        let options = ClientOptions::new();
        let handshake =
            ClientHandshake::extended_connect(&uri, HttpVersion::Http3, &options, &config).unwrap();
        let offered = handshake.request().headers();
        let offered = offered.get_str("sec-websocket-extensions").unwrap();
        assert!(offered.starts_with("permessage-deflate"), "{offered}");
    }

    #[test]
    fn an_edited_request_is_checked_as_it_was_sent() {
        let mut request = handshake("ws://h", &ClientOptions::new()).unwrap().request;
        request.headers_mut().append(NAME, "chat").unwrap();
        let handshake = ClientHandshake::from(request);
        let negotiated = handshake.check(&response(NAME, &["chat"])).unwrap();
        assert_eq!(negotiated.subprotocol.as_deref(), Some("chat"));
    }
}
