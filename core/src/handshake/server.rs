//! The server's side of the opening handshake (RFC 6455 section 4.2).
//!
//! Every check is made on every request, in one order, and whatever fails gets a complete HTTP
//! response that closes the connection. Responses carry no `Date`, for the core has no clock: a
//! server that has one adds it with [`Response::headers_mut`].

use alloc::{
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use core::{error::Error, fmt, fmt::Write as _, str};

use bytestring::ByteString;

use crate::handshake::{
    ExtensionList, GrammarError, HandshakeError, Headers, Hosts, HttpVersion, Negotiated, Origins,
    Request, Response, StatusCode,
    ascii::is_token,
    body::parse_length,
    extended::WEBSOCKET,
    grammar::{has_token, tokens},
    headers::Lines,
    key, uri,
};

const BROWSER_HINT: &str = "\n\
    You cannot access a WebSocket server directly with a browser. You need a WebSocket client.\n";

/// The headers that decide about a request.
const NAMES: [&str; 10] = [
    "Host",
    "Content-Length",
    "Transfer-Encoding",
    "Connection",
    "Upgrade",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Version",
    "Origin",
    "Sec-WebSocket-Extensions",
    "Sec-WebSocket-Protocol",
];

type SelectSubprotocol =
    dyn Fn(&Request, &[&str]) -> Result<Option<ByteString>, HandshakeError> + Send + Sync;

/// What a server accepts.
#[derive(Clone, Default)]
pub struct ServerOptions {
    origins: Origins,
    hosts: Option<Hosts>,
    subprotocols: Vec<ByteString>,
    requires_subprotocol: bool,
    select_subprotocol: Option<Arc<SelectSubprotocol>>,
}

impl ServerOptions {
    /// Returns options that accept requests from the server's own pages and from programs, without
    /// subprotocols or extensions.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets which pages may connect. Default: [`Origins::SameHost`].
    #[must_use]
    pub fn origins(mut self, origins: impl Into<Origins>) -> Self {
        self.origins = origins.into();
        self
    }

    /// Sets the hosts to which requests may be addressed. Others are refused with 421. Default: every host.
    ///
    /// [`Origins::SameHost`] accepts every page whose host is that of the request. Without a list of hosts, that may
    /// be a name which its owner has resolve to this server (DNS rebinding).
    #[must_use]
    pub fn hosts(mut self, hosts: Hosts) -> Self {
        self.hosts = Some(hosts);
        self
    }

    /// Changes the defaults to those of a server that listens at a loopback address: under [`Origins::SameHost`],
    /// requests may be addressed to [`Hosts::Loopback`]. Other origins, and hosts that were set, stay as they are.
    ///
    /// ```
    /// use sansock_core::handshake::{HandshakeError, Request, ServerOptions};
    ///
    /// let mut request = Request::get("/")?;
    /// for (name, value) in [
    ///     ("Host", "rebound.example"),
    ///     ("Origin", "http://rebound.example"),
    ///     ("Upgrade", "websocket"),
    ///     ("Connection", "Upgrade"),
    ///     ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ///     ("Sec-WebSocket-Version", "13"),
    /// ] {
    ///     request.headers_mut().append(name, value)?;
    /// }
    /// assert!(ServerOptions::new().accept(&request).1.is_ok());
    /// let (response, result) = ServerOptions::new().on_loopback().accept(&request);
    /// assert_eq!(response.status().number(), 421);
    /// assert!(matches!(result, Err(HandshakeError::HostNotAllowed { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn on_loopback(mut self) -> Self {
        if self.origins.compares_host() {
            self.hosts.get_or_insert(Hosts::Loopback);
        }
        self
    }

    /// Sets the supported subprotocols, the preferred one first. Default: none.
    ///
    /// The first that the client offers is selected. If it offers none of them, the connection opens without a
    /// subprotocol (RFC 6455 section 4.2.2), and the client decides whether to use it: browsers that offered one
    /// close it. To refuse such clients instead, use [`require_subprotocol`](Self::require_subprotocol).
    #[must_use]
    pub fn subprotocols<I>(mut self, names: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<ByteString>,
    {
        self.subprotocols = names.into_iter().map(Into::into).collect();
        self
    }

    /// Refuses clients with 400 if no subprotocol is selected: those that offer none, or none that the server
    /// supports. Default: their connections open without a subprotocol.
    #[must_use]
    pub const fn require_subprotocol(mut self) -> Self {
        self.requires_subprotocol = true;
        self
    }

    /// Lets the application select among the offered subprotocols, which may be none.
    ///
    /// It may refuse the request, best with [`HandshakeError::rejected`]. Default: the first of
    /// [`subprotocols`](Self::subprotocols) that is offered.
    #[must_use]
    pub fn select_subprotocol<F>(mut self, select: F) -> Self
    where
        F: Fn(&Request, &[&str]) -> Result<Option<ByteString>, HandshakeError>
            + Send
            + Sync
            + 'static,
    {
        self.select_subprotocol = Some(Arc::new(select));
        self
    }

    /// Checks a request and returns the response to it: 101 if it is accepted, otherwise the one
    /// that tells the client what is wrong.
    ///
    /// A request by [Extended CONNECT](Request::extended_connect) is accepted with 200 (RFC 8441 section 5). It needs no
    /// key, and the response proves nothing. Responses to it have no headers that HTTP/2 forbids.
    pub fn accept(&self, request: &Request) -> (Response, Result<Negotiated, HandshakeError>) {
        self.accept_with_extensions(request, |_| ExtensionList::new())
    }

    /// As [`accept`](Self::accept), but `answer` decides which of the offered extensions are accepted,
    /// and with which parameters.
    pub fn accept_with_extensions(
        &self,
        request: &Request,
        answer: impl Fn(&ExtensionList) -> ExtensionList,
    ) -> (Response, Result<Negotiated, HandshakeError>) {
        match self.negotiate(request, answer) {
            Ok(acceptance) => (acceptance.response(), Ok(acceptance.negotiated)),
            Err(error) => {
                let version = request.version().max(HttpVersion::Http11);
                let mut response = refuse_over(version, &error);
                if request.is_head() {
                    response.omit_body();
                }
                (response, Err(error))
            }
        }
    }

    pub(crate) fn negotiate<'a>(
        &self,
        request: &'a Request,
        answer: impl Fn(&ExtensionList) -> ExtensionList,
    ) -> Result<Acceptance<'a>, HandshakeError> {
        let [
            host,
            length,
            coding,
            connection,
            upgrade,
            key,
            version,
            origin,
            offers,
            names,
        ] = &request.headers().lines_of(NAMES);
        check_request_line(request)?;
        let host = check_host(host)?;
        check_no_body(length, coding)?;
        let key = match request.version().is_multiplexed() {
            false => {
                check_upgrade(connection, "Upgrade")?;
                check_upgrade(upgrade, "websocket")?;
                check_key(key)?
            }
            // RFC 8441 section 5: `:protocol` takes the place of these headers, and a key is not looked at.
            true => &[],
        };
        check_version(version)?;
        if let Some(hosts) = &self.hosts {
            hosts.check(host)?;
        }
        self.origins.check(origin, host)?;
        let negotiated = Negotiated {
            extensions: extensions(offers, answer)?,
            subprotocol: self.subprotocol(request, names)?,
        };
        Ok(Acceptance {
            version: request.version(),
            key,
            negotiated,
        })
    }

    fn subprotocol(
        &self,
        request: &Request,
        lines: &Lines<'_>,
    ) -> Result<Option<ByteString>, HandshakeError> {
        let offered: Vec<&str> = match lines.is_empty() {
            true => Vec::new(),
            false => tokens(lines).collect::<Result<_, _>>()?,
        };
        match self.select(request, &offered)? {
            Some(name) if !offered.contains(&&*name) => {
                Err(HandshakeError::SubprotocolNotOffered(name))
            }
            None if self.requires_subprotocol => Err(HandshakeError::NoSubprotocol {
                offered: offered.len(),
                supported: self.subprotocols.join(", ").into(),
            }),
            selected => Ok(selected),
        }
    }

    fn select(
        &self,
        request: &Request,
        offered: &[&str],
    ) -> Result<Option<ByteString>, HandshakeError> {
        let Some(select) = &self.select_subprotocol else {
            let mut ours = self.subprotocols.iter();
            return Ok(ours.find(|name| offered.contains(&&***name)).cloned());
        };
        select(request, offered)
    }
}

fn extensions(
    lines: &Lines<'_>,
    answer: impl Fn(&ExtensionList) -> ExtensionList,
) -> Result<ExtensionList, HandshakeError> {
    match lines.is_empty() {
        true => Ok(ExtensionList::new()),
        false => Ok(answer(&ExtensionList::from_lines(lines)?)),
    }
}

impl fmt::Debug for ServerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerOptions")
            .field("origins", &self.origins)
            .field("hosts", &self.hosts)
            .field("subprotocols", &self.subprotocols)
            .field("requires_subprotocol", &self.requires_subprotocol)
            .finish_non_exhaustive()
    }
}

/// Returns the response with which an application refuses a request: a body of plain text, after
/// which the connection is closed.
#[must_use]
pub fn reject(status: StatusCode, text: &str) -> Response {
    Response::text(status, text)
}

/// Returns the response to a request that failed so, malformed ones included.
///
/// It is a response of HTTP/1.1, unless the error is about a request by
/// [Extended CONNECT](Request::extended_connect). For other errors of such a request, see [`Response::for_version`].
#[must_use]
pub fn refuse(error: &HandshakeError) -> Response {
    let is_extended = matches!(
        error,
        HandshakeError::ExtendedConnect(_) | HandshakeError::Protocol(_)
    );
    match is_extended {
        true => refuse_over(HttpVersion::Http2, error),
        false => refuse_over(HttpVersion::Http11, error),
    }
}

fn refuse_over(version: HttpVersion, error: &HandshakeError) -> Response {
    let status = error.status();
    let is_upgrade_required = status == StatusCode::UPGRADE_REQUIRED && !version.is_multiplexed();
    let mut text = explanation(error);
    if is_upgrade_required {
        text.push_str(BROWSER_HINT);
    }
    let mut response = Response::text(status, text);
    let headers = response.headers_mut();
    if *error == HandshakeError::Method {
        headers.push(b"Allow", b"GET");
    }
    if *error == HandshakeError::WebSocketVersion {
        headers.push(b"Sec-WebSocket-Version", b"13");
    }
    if is_upgrade_required {
        headers.push(b"Upgrade", b"websocket");
    }
    response.for_version(version)
}

fn explanation(error: &HandshakeError) -> String {
    if let HandshakeError::Rejected { text, .. } = error {
        return text.to_string();
    }
    if error.status() == StatusCode::INTERNAL_SERVER_ERROR {
        return "Failed to open a WebSocket connection. See the server's log.\n".into();
    }
    let mut text = String::from("Failed to open a WebSocket connection: ");
    let _ = write!(text, "{error}");
    if let Some(cause) = error.source() {
        let _ = write!(text, "; {cause}");
    }
    text.push_str(".\n");
    text
}

/// §4.2.2: what the response says that opens the connection.
pub(crate) struct Acceptance<'a> {
    version: HttpVersion,
    /// Empty over HTTP/2 and HTTP/3.
    key: &'a [u8],
    pub(crate) negotiated: Negotiated,
}

impl Acceptance<'_> {
    fn response(&self) -> Response {
        let mut headers = Headers::with_capacity(5, 192);
        let status = match self.version.is_multiplexed() {
            false => {
                headers.push(b"Upgrade", b"websocket");
                headers.push(b"Connection", b"Upgrade");
                headers.push(b"Sec-WebSocket-Accept", &key::accept_value(self.key));
                StatusCode::SWITCHING_PROTOCOLS
            }
            // RFC 8441 section 5: any 2xx.
            true => StatusCode::OK,
        };
        self.agreed(|name, value| headers.push(name, value));
        let mut response = Response::with_headers(status, headers);
        response.set_version(self.version);
        response
    }

    /// Passes on the response as it goes over the wire in HTTP/1.1.
    pub(crate) fn pieces(&self, mut put: impl FnMut(&[u8])) {
        put(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Accept: ",
        );
        put(&key::accept_value(self.key));
        self.agreed(|name, value| {
            for piece in [b"\r\n", name, b": ", value] {
                put(piece);
            }
        });
        put(b"\r\n\r\n");
    }

    /// Gives out the headers that tell what was agreed on.
    fn agreed(&self, mut put: impl FnMut(&[u8], &[u8])) {
        let Negotiated {
            subprotocol,
            extensions,
        } = &self.negotiated;
        if !extensions.is_empty() {
            let extensions = extensions.to_string();
            put(b"Sec-WebSocket-Extensions", extensions.as_bytes());
        }
        if let Some(name) = subprotocol {
            put(b"Sec-WebSocket-Protocol", name.as_bytes());
        }
    }
}

/// Returns what a client and a server agree on with this response, whoever made it.
pub(crate) fn agreed(response: &Response) -> Result<Negotiated, HandshakeError> {
    let names = ["Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol"];
    let [extensions, subprotocol] = response.headers().lines_of(names);
    let selected = match subprotocol.single()? {
        Some(name) if is_token(name) => str::from_utf8(name).ok().map(ByteString::from),
        Some(_) => return Err(subprotocol.invalid(GrammarError::new("a token", 0))),
        None => None,
    };
    Ok(Negotiated {
        subprotocol: selected,
        extensions: ExtensionList::from_lines(&extensions)?,
    })
}

/// §4.2.1 item 1.
fn check_request_line(request: &Request) -> Result<(), HandshakeError> {
    if !request.is_get() {
        return check_protocol(request);
    }
    match request.version() == HttpVersion::Http11 {
        true => Ok(()),
        false => Err(HandshakeError::HttpVersion(request.version())),
    }
}

/// RFC 9220 section 3: a `:protocol` that is not supported gets 501.
#[cold]
fn check_protocol(request: &Request) -> Result<(), HandshakeError> {
    match request.protocol() {
        Some(protocol) if protocol.eq_ignore_ascii_case(WEBSOCKET) => Ok(()),
        Some(protocol) => Err(HandshakeError::Protocol(protocol.into())),
        None => Err(HandshakeError::Method),
    }
}

/// §4.2.1 item 2.
fn check_host<'a>(lines: &Lines<'a>) -> Result<&'a [u8], HandshakeError> {
    let host = lines.required()?;
    match uri::is_authority(host) {
        true => Ok(host),
        false => Err(lines.invalid(GrammarError::new("a host and an optional port", 0))),
    }
}

/// A body would be taken for the first frames by us and for a body by a proxy.
fn check_no_body(length: &Lines<'_>, coding: &Lines<'_>) -> Result<(), HandshakeError> {
    let is_zero = |length| parse_length(length, 10) == Some(0);
    match coding.is_empty() && length.iter().all(is_zero) {
        true => Ok(()),
        false => Err(HandshakeError::RequestBody),
    }
}

/// §4.2.1 items 3 and 4.
fn check_upgrade(lines: &Lines<'_>, token: &str) -> Result<(), HandshakeError> {
    match has_token(lines, token)? {
        true => Ok(()),
        false => Err(HandshakeError::NoUpgrade { name: lines.name() }),
    }
}

/// §4.2.1 item 5.
fn check_key<'a>(lines: &Lines<'a>) -> Result<&'a [u8], HandshakeError> {
    let key = lines.required()?;
    match key::is_valid(key) {
        true => Ok(key),
        false => Err(lines.invalid(GrammarError::new("the base64 of 16 bytes", 0))),
    }
}

/// §4.2.1 item 6; §4.4 tells how to answer other versions.
fn check_version(lines: &Lines<'_>) -> Result<(), HandshakeError> {
    match lines.single() {
        Ok(Some(b"13")) => Ok(()),
        _ => Err(HandshakeError::WebSocketVersion),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::handshake::{
        HeadError, HeadLimits, PseudoHeaders, StatusCode as Status, extended::CONNECTION_SPECIFIC,
    };

    const PROTOCOL: &str = "Sec-WebSocket-Protocol";
    const EXTENSIONS: &str = "Sec-WebSocket-Extensions";

    /// The request of the RFC's example, with one header replaced by these lines.
    fn request(replaced: &str, values: &[&str]) -> Request {
        let mut request = Request::get("/chat").unwrap();
        let headers = request.headers_mut();
        for (name, value) in [
            ("Host", "server.example.com"),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("Sec-WebSocket-Version", "13"),
        ] {
            headers.append(name, value).unwrap();
        }
        headers.remove(replaced);
        for value in values {
            headers.append(replaced, value).unwrap();
        }
        request
    }

    fn status(replaced: &str, values: &[&str]) -> u16 {
        let (response, result) = ServerOptions::new().accept(&request(replaced, values));
        match result {
            Ok(_) => assert_eq!(response.status(), Status::SWITCHING_PROTOCOLS),
            Err(error) => assert_eq!(response, refuse(&error)),
        }
        response.status().number()
    }

    fn negotiate(options: &ServerOptions, request: &Request) -> (Response, Negotiated) {
        let first = |offers: &ExtensionList| offers.iter().take(1).cloned().collect();
        let (response, result) = options.accept_with_extensions(request, first);
        (response, result.unwrap())
    }

    fn written(response: &Response) -> String {
        let mut out = Vec::new();
        response.write_to(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_example_of_the_rfc_is_accepted() {
        let options = ServerOptions::new().subprotocols(["superchat", "chat"]);
        let mut request = request(PROTOCOL, &["chat, superchat"]);
        request
            .headers_mut()
            .append(EXTENSIONS, "x; y=1, z")
            .unwrap();
        let (response, negotiated) = negotiate(&options, &request);
        let expected = "HTTP/1.1 101 Switching Protocols\r\n\
            Upgrade: websocket\r\n\
            Connection: Upgrade\r\n\
            Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
            Sec-WebSocket-Extensions: x; y=1\r\n\
            Sec-WebSocket-Protocol: superchat\r\n\r\n";
        assert_eq!(written(&response), expected);
        assert_eq!(negotiated.subprotocol.as_deref(), Some("superchat"));
        assert_eq!(negotiated.extensions.to_string(), "x; y=1");
    }

    #[test]
    fn options_are_heeded_and_shown() {
        let elsewhere = request("Origin", &["https://example.org"]);
        let (response, _) = ServerOptions::new().accept(&elsewhere);
        assert_eq!(response.status(), Status::FORBIDDEN);
        let options = ServerOptions::new()
            .origins(Origins::list(["https://example.org"]).unwrap())
            .subprotocols(["chat"]);
        assert!(options.accept(&elsewhere).1.is_ok());
        let shown = format!("{options:?}");
        assert!(
            shown.contains("example.org") && shown.contains("chat"),
            "{shown}"
        );
    }

    #[test]
    fn a_missing_upgrade_is_told_by_its_header() {
        for name in ["Upgrade", "Connection"] {
            let (_, result) = ServerOptions::new().accept(&request(name, &["h2c"]));
            assert_eq!(result, Err(HandshakeError::NoUpgrade { name }));
        }
    }

    #[test]
    fn what_was_agreed_on_stands_in_the_response() {
        let mut response = Response::new(Status::SWITCHING_PROTOCOLS);
        assert_eq!(agreed(&response), Ok(Negotiated::default()));
        response.headers_mut().append(EXTENSIONS, "x; y=1").unwrap();
        response.headers_mut().append(PROTOCOL, "chat").unwrap();
        let negotiated = agreed(&response).unwrap();
        assert_eq!(negotiated.subprotocol.as_deref(), Some("chat"));
        assert_eq!(negotiated.extensions.to_string(), "x; y=1");
        response.headers_mut().remove(PROTOCOL);
        response.headers_mut().append(PROTOCOL, "a, b").unwrap();
        assert!(matches!(
            agreed(&response),
            Err(HandshakeError::InvalidHeader { .. })
        ));
    }

    #[test]
    fn every_header_is_checked() {
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        let cases: [(&str, &[&str], u16); 54] = [
            ("Host", &["a:8080"], 101),
            ("Host", &[], 400),
            ("Host", &["a", "a"], 400),
            ("Host", &[""], 400),
            ("Host", &["a b"], 400),
            ("Host", &["a@b"], 400),
            ("Host", &["[::1"], 400),
            ("Content-Length", &["0"], 101),
            ("Content-Length", &["5"], 400),
            ("Content-Length", &["0", "5"], 400),
            ("Content-Length", &["+0"], 400),
            ("Content-Length", &[""], 400),
            ("Transfer-Encoding", &["chunked"], 400),
            ("Transfer-Encoding", &[""], 400),
            ("Connection", &["keep-alive, Upgrade"], 101),
            ("Connection", &["keep-alive", "upgrade"], 101),
            ("Connection", &[], 426),
            ("Connection", &["close"], 426),
            ("Connection", &[""], 400),
            ("Connection", &["Upgrade Upgrade"], 400),
            ("Upgrade", &["WebSocket"], 101),
            ("Upgrade", &["h2c, websocket"], 101),
            ("Upgrade", &["HTTP/2.0, websocket"], 101),
            ("Upgrade", &[], 426),
            ("Upgrade", &["h2c"], 426),
            ("Upgrade", &["websocket2"], 426),
            ("Upgrade", &["websocket;"], 400),
            ("Upgrade", &[",,"], 400),
            ("Sec-WebSocket-Key", &[], 400),
            ("Sec-WebSocket-Key", &[key, key], 400),
            ("Sec-WebSocket-Key", &["dGhlIHNhbXBsZSBub25jZR=="], 101),
            ("Sec-WebSocket-Key", &["dGhlIHNhbXBsZSBub25j"], 400),
            ("Sec-WebSocket-Key", &["not base64"], 400),
            ("Sec-WebSocket-Version", &[], 426),
            ("Sec-WebSocket-Version", &["7"], 426),
            ("Sec-WebSocket-Version", &["8"], 426),
            ("Sec-WebSocket-Version", &["13, 8"], 426),
            ("Sec-WebSocket-Version", &["013"], 426),
            ("Sec-WebSocket-Version", &["1337"], 426),
            ("Sec-WebSocket-Version", &["13", "13"], 426),
            ("Origin", &["https://server.example.com"], 101),
            ("Origin", &["https://evil.example"], 403),
            ("Origin", &["null"], 403),
            (
                "Origin",
                &["https://server.example.com", "https://evil.example"],
                400,
            ),
            (EXTENSIONS, &["permessage-deflate, unknown; a=\"b\""], 101),
            (EXTENSIONS, &["a;b=\"c"], 400),
            (EXTENSIONS, &[""], 400),
            (PROTOCOL, &["chat", "chat, other"], 101),
            (PROTOCOL, &["chat,,other"], 101),
            (PROTOCOL, &["chat other"], 400),
            (PROTOCOL, &["(chat)"], 400),
            (PROTOCOL, &["chat, a/b"], 400),
            (PROTOCOL, &["chat; q=1"], 400),
            (PROTOCOL, &[""], 400),
        ];
        for (name, values, expected) in cases {
            assert_eq!(status(name, values), expected, "{name}: {values:?}");
        }
    }

    #[test]
    fn every_check_is_made_even_for_an_old_version() {
        let mut request = request("Upgrade", &[]);
        request.headers_mut().remove("Connection");
        request
            .headers_mut()
            .set("Sec-WebSocket-Version", "7")
            .unwrap();
        let (response, _) = ServerOptions::new().accept(&request);
        assert_eq!(response.status(), Status::UPGRADE_REQUIRED);
    }

    #[test]
    fn request_lines_are_checked() {
        let accept = |line: &str| {
            let head = format!("{line}\r\nHost: a\r\n\r\n");
            let request = Request::parse(head.as_bytes(), &HeadLimits::default()).unwrap();
            ServerOptions::new().accept(&request).0
        };
        let response = accept("POST / HTTP/1.1");
        assert_eq!(response.status(), Status::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers().get_str("Allow"), Some("GET"));
        assert_eq!(
            accept("get / HTTP/1.1").status(),
            Status::METHOD_NOT_ALLOWED
        );
        let version = Status::HTTP_VERSION_NOT_SUPPORTED;
        assert_eq!(accept("GET / HTTP/1.0").status(), version);
    }

    /// A request by Extended CONNECT with one header replaced by these lines.
    fn extended(protocol: &str, replaced: &str, values: &[&str]) -> Request {
        let mut headers = Headers::new();
        for (name, value) in [
            ("sec-websocket-version", "13"),
            ("origin", "https://server.example.com"),
        ] {
            headers.append(name, value).unwrap();
        }
        headers.remove(replaced);
        for value in values {
            headers.append(replaced, value).unwrap();
        }
        let pseudo = PseudoHeaders {
            protocol,
            scheme: "https",
            authority: "server.example.com",
            path: "/chat",
        };
        Request::extended_connect(HttpVersion::Http3, pseudo, headers).unwrap()
    }

    #[track_caller]
    fn assert_fits_http_2(response: &Response, version: HttpVersion) {
        assert_eq!(response.version(), version);
        for name in CONNECTION_SPECIFIC {
            assert!(!response.headers().contains(name), "{response:?}");
        }
        assert!(!response.headers().contains("Sec-WebSocket-Accept"));
    }

    #[test]
    fn extended_connect_has_its_statuses() {
        const VERSION: &str = "Sec-WebSocket-Version";

        let cases: [(&str, &str, &[&str], u16); 21] = [
            ("websocket", "X", &[], 200),
            ("WebSocket", "X", &[], 200),
            ("websockets", "X", &[], 501),
            ("connect-udp", VERSION, &[], 501),
            ("websocket", "Sec-WebSocket-Key", &["not base64"], 200),
            ("websocket", "Sec-WebSocket-Key", &["a", "b"], 200),
            ("websocket", VERSION, &[], 400),
            ("websocket", VERSION, &["8"], 400),
            ("websocket", VERSION, &["13", "13"], 400),
            ("websocket", "Host", &["SERVER.example.com"], 200),
            ("websocket", "Host", &["server.example.com"; 2], 400),
            ("websocket", "Content-Length", &["0"], 200),
            ("websocket", "Content-Length", &["5"], 400),
            ("websocket", "Origin", &[], 200),
            ("websocket", "Origin", &["https://evil.example"], 403),
            ("websocket", "Origin", &["null"], 403),
            ("websocket", EXTENSIONS, &["permessage-deflate"], 200),
            ("websocket", EXTENSIONS, &["a;b=\"c"], 400),
            ("websocket", PROTOCOL, &["chat, other"], 200),
            ("websocket", PROTOCOL, &["chat other"], 400),
            ("websocket", PROTOCOL, &[""], 400),
        ];
        for (protocol, name, values, expected) in cases {
            let request = extended(protocol, name, values);
            let (response, result) = ServerOptions::new().accept(&request);
            let case = format!("{protocol}, {name}: {values:?}");
            assert_eq!(response.status().number(), expected, "{case}");
            assert_eq!(result.is_ok(), expected == 200, "{case}");
            assert_fits_http_2(&response, HttpVersion::Http3);
            let supported = response.headers().get_str(VERSION);
            let is_asked = result == Err(HandshakeError::WebSocketVersion);
            assert_eq!(supported, is_asked.then_some("13"), "{case}");
        }
    }

    #[test]
    fn extended_connect_to_another_host_gets_421() {
        let listed = |host| ServerOptions::new().hosts(Hosts::list([host]).unwrap());
        let request = extended("websocket", "X", &[]);
        let (response, _) = listed("server.example.com").accept(&request);
        assert_eq!(response.status(), Status::OK);
        let (response, _) = listed("other.example.com").accept(&request);
        assert_eq!(response.status(), Status::MISDIRECTED_REQUEST);
        assert_fits_http_2(&response, HttpVersion::Http3);
    }

    #[test]
    fn extended_connect_agrees_on_subprotocol_and_extensions() {
        let options = ServerOptions::new().subprotocols(["superchat", "chat"]);
        let mut request = extended("websocket", PROTOCOL, &["chat, superchat"]);
        let headers = request.headers_mut();
        headers.append(EXTENSIONS, "x; y=1, z").unwrap();
        let (response, negotiated) = negotiate(&options, &request);
        assert_eq!(response.status(), Status::OK);
        assert_eq!(response.headers().len(), 2);
        assert_eq!(agreed(&response), Ok(negotiated.clone()));
        assert_eq!(negotiated.subprotocol.as_deref(), Some("superchat"));
        assert_eq!(negotiated.extensions.to_string(), "x; y=1");
        assert!(response.body().is_empty());
    }

    #[test]
    fn an_application_refuses_extended_connect_as_any_request() {
        let options = ServerOptions::new().select_subprotocol(|request, _| {
            assert_eq!((request.path(), request.method()), ("/chat", "CONNECT"));
            Err(HandshakeError::rejected(Status::NOT_FOUND, "gone\n"))
        });
        let (response, _) = options.accept(&extended("websocket", "X", &[]));
        assert_eq!(response.status(), Status::NOT_FOUND);
        assert_eq!(response.body(), "gone\n");
        assert_fits_http_2(&response, HttpVersion::Http3);
    }

    #[test]
    fn a_refusal_of_extended_connect_asks_for_no_upgrade() {
        let error = HandshakeError::Protocol("connect-udp".into());
        let response = refuse(&error);
        assert_eq!(response.status(), Status::NOT_IMPLEMENTED);
        assert_fits_http_2(&response, HttpVersion::Http2);
        let expected = "Failed to open a WebSocket connection: \
            :protocol is \"connect-udp\", not \"websocket\".\n";
        assert_eq!(response.body(), expected);

        let (response, result) =
            ServerOptions::new().accept(&extended("websocket", "Sec-WebSocket-Version", &["8"]));
        assert_eq!(result, Err(HandshakeError::WebSocketVersion));
        let expected = "Failed to open a WebSocket connection: Sec-WebSocket-Version is not 13.\n";
        assert_eq!(response.body(), expected);
        assert_eq!(response.reason(), "Bad Request");
    }

    #[test]
    fn a_refusal_closes_the_connection_and_says_why() {
        let response = refuse(&HandshakeError::WebSocketVersion);
        let headers = response.headers();
        assert_eq!(headers.get_str("Connection"), Some("close"));
        assert_eq!(headers.get_str("Sec-WebSocket-Version"), Some("13"));
        assert_eq!(headers.get_str("Upgrade"), Some("websocket"));
        let body = String::from_utf8_lossy(response.body());
        let expected = "Failed to open a WebSocket connection: Sec-WebSocket-Version is not 13.\n";
        assert_eq!(body.strip_suffix(BROWSER_HINT), Some(expected));

        let response = refuse(&HandshakeError::Head(HeadError::FoldedLine { line: 3 }));
        let expected = "Failed to open a WebSocket connection: \
            did not receive a valid HTTP head; line 3 begins with whitespace.\n";
        assert_eq!(response.body(), expected);
    }

    #[test]
    fn no_refusal_repeats_a_secret() {
        for name in [
            "Authorization",
            "Cookie",
            "Connection",
            "Sec-WebSocket-Key",
            "Host",
        ] {
            let (response, _) = ServerOptions::new().accept(&request(name, &["hunter2 hunter2"]));
            assert!(!written(&response).contains("hunter2"), "{name}");
        }
    }

    #[test]
    fn an_application_rejects_with_status_and_text() {
        let expected = "HTTP/1.1 401 Unauthorized\r\n\
            Connection: close\r\n\
            Content-Length: 3\r\n\
            Content-Type: text/plain; charset=utf-8\r\n\r\nNo\n";
        assert_eq!(written(&reject(Status::UNAUTHORIZED, "No\n")), expected);
    }

    #[test]
    fn the_server_prefers_among_subprotocols_and_goes_on_without() {
        let ours = ServerOptions::new().subprotocols(["b", "a"]);
        let cases: [(&ServerOptions, &[&str], Option<&str>); 5] = [
            (&ours, &["a, b"], Some("b")),
            (&ours, &["a", "c"], Some("a")),
            (&ours, &["c, B"], None),
            (&ours, &[], None),
            (&ServerOptions::new(), &["a"], None),
        ];
        for (options, offers, expected) in cases {
            let (response, negotiated) = negotiate(options, &request(PROTOCOL, offers));
            assert_eq!(negotiated.subprotocol.as_deref(), expected, "{offers:?}");
            assert_eq!(response.headers().get_str(PROTOCOL), expected);
        }
    }

    #[test]
    fn a_server_may_require_a_subprotocol() {
        let ours = ServerOptions::new()
            .subprotocols(["b", "a"])
            .require_subprotocol();
        let (_, negotiated) = negotiate(&ours, &request(PROTOCOL, &["c, a"]));
        assert_eq!(negotiated.subprotocol.as_deref(), Some("a"));
        let selecting = ServerOptions::new()
            .select_subprotocol(|_, _| Ok(None))
            .require_subprotocol();
        let cases: [(&ServerOptions, &[&str], &str); 4] = [
            (
                &ours,
                &["secret", "B"],
                "no subprotocol of the 2 that the client offers is supported; supported: b, a",
            ),
            (
                &ours,
                &[],
                "the client offers no subprotocol; supported: b, a",
            ),
            (
                &selecting,
                &["a"],
                "no subprotocol of the 1 that the client offers is supported",
            ),
            (&selecting, &[], "the client offers no subprotocol"),
        ];
        for (options, offers, expected) in cases {
            let (response, result) = options.accept(&request(PROTOCOL, offers));
            assert_eq!(response.status(), Status::BAD_REQUEST);
            let text = result.unwrap_err().to_string();
            assert_eq!(text, expected);
            let body = String::from_utf8_lossy(response.body());
            assert!(body.contains(&text), "{body}");
        }
    }

    #[test]
    fn ten_thousand_subprotocols_are_one_list() {
        let offers = format!("{}b", "a,".repeat(10_000));
        let options = ServerOptions::new().subprotocols(["b"]);
        let (_, negotiated) = negotiate(&options, &request(PROTOCOL, &[&offers]));
        assert_eq!(negotiated.subprotocol.as_deref(), Some("b"));
    }

    #[test]
    fn a_request_to_another_host_gets_421() {
        let origin = |host: &str, options: ServerOptions| {
            let mut request = request("Host", &[host]);
            let origin = alloc::format!("http://{host}");
            request.headers_mut().append("Origin", origin).unwrap();
            let (response, result) = options.accept(&request);
            if let Err(error) = result {
                assert_eq!(response, refuse(&error));
            }
            response.status()
        };
        let listed = || ServerOptions::new().hosts(Hosts::list(["a"]).unwrap());
        let (accepted, refused) = (Status::SWITCHING_PROTOCOLS, Status::MISDIRECTED_REQUEST);
        assert_eq!(origin("a", listed()), accepted);
        assert_eq!(origin("b", listed()), refused);
        assert_eq!(origin("b", listed().origins(Origins::Any)), refused);
        assert_eq!(origin("a", listed().on_loopback()), accepted);
        assert_eq!(origin("localhost", listed().on_loopback()), refused);

        let options = ServerOptions::new;
        assert_eq!(origin("b", options()), accepted);
        assert_eq!(origin("b", options().on_loopback()), refused);
        assert_eq!(origin("localhost:1", options().on_loopback()), accepted);
        let any = options().origins(Origins::Any);
        assert_eq!(origin("b", any.on_loopback()), accepted);
    }

    #[test]
    fn the_application_selects_the_subprotocol() {
        let options = ServerOptions::new().select_subprotocol(|request, offers| {
            assert_eq!(request.path(), "/chat");
            match offers {
                [] => Err(HandshakeError::rejected(Status::BAD_REQUEST, "offer one\n")),
                ["ours", ..] => Ok(Some("forged\r\nX: y".into())),
                _ => Ok(offers.last().map(|name| (*name).into())),
            }
        });
        let (_, negotiated) = negotiate(&options, &request(PROTOCOL, &["a", "b"]));
        assert_eq!(negotiated.subprotocol.as_deref(), Some("b"));

        let (response, result) = options.accept(&request(PROTOCOL, &[]));
        assert_eq!(response.status(), Status::BAD_REQUEST);
        assert_eq!(response.body(), "offer one\n");
        assert!(matches!(result, Err(HandshakeError::Rejected { .. })));

        let (response, result) = options.accept(&request(PROTOCOL, &["ours"]));
        assert_eq!(response.status(), Status::INTERNAL_SERVER_ERROR);
        assert!(!written(&response).contains("forged"));
        let error = HandshakeError::SubprotocolNotOffered("forged\r\nX: y".into());
        assert_eq!(result, Err(error));
    }

    #[test]
    fn heads_that_were_not_understood_have_their_status() {
        let limit = 1;
        let cases = [
            (HeadError::StartLineTooLong { limit }, Status::URI_TOO_LONG),
            (
                HeadError::HeadTooLarge { limit },
                Status::REQUEST_HEADER_FIELDS_TOO_LARGE,
            ),
            (
                HeadError::TooManyHeaders { limit },
                Status::REQUEST_HEADER_FIELDS_TOO_LARGE,
            ),
            (HeadError::HttpVersion, Status::HTTP_VERSION_NOT_SUPPORTED),
            (HeadError::LooksLikeTls, Status::BAD_REQUEST),
            (HeadError::Target { offset: 1 }, Status::BAD_REQUEST),
            (HeadError::ControlCharacter { line: 1 }, Status::BAD_REQUEST),
        ];
        for (error, status) in cases {
            assert_eq!(refuse(&error.into()).status(), status, "{error}");
        }
    }
}
