//! Conversions to and from the types of the `http` crate, for servers and clients whose HTTP is
//! done elsewhere.

use bytes::Bytes;

use crate::handshake::{
    ExtendedConnectError, HandshakeError, HeadError, Headers, HttpVersion, PseudoHeaders, Request,
    Response, StatusCode,
};

impl From<&http::HeaderMap> for Headers {
    fn from(map: &http::HeaderMap) -> Self {
        let mut headers = Self::new();
        for (name, value) in map {
            headers.push(name.as_str().as_bytes(), value.as_bytes());
        }
        headers
    }
}

impl TryFrom<&Headers> for http::HeaderMap {
    type Error = http::Error;

    fn try_from(headers: &Headers) -> Result<Self, http::Error> {
        let mut map = Self::with_capacity(headers.len());
        for (name, value) in headers.iter() {
            let name = http::HeaderName::from_bytes(name.as_bytes())?;
            map.append(name, http::HeaderValue::from_bytes(value)?);
        }
        Ok(map)
    }
}

impl Request {
    /// Converts a request of HTTP/1.1, HTTP/2 or HTTP/3; the body is ignored.
    ///
    /// `protocol` is the value of `:protocol`, for which HTTP stacks have types of their own: `hyper::ext::Protocol` and
    /// `h2::ext::Protocol` are among the [extensions](http::Request::extensions) of a request. HTTP/1.1 has none.
    ///
    /// # Errors
    ///
    /// As [`extended_connect`](Self::extended_connect); the target of a request of HTTP/1.1 is malformed; or a request of
    /// HTTP/2 or HTTP/3 has another method than `CONNECT`, or no `:protocol`. [`refuse`](super::refuse) returns the
    /// response.
    ///
    /// ```
    /// use sansock_core::handshake::{Request, ServerOptions};
    ///
    /// let received = http::Request::connect("https://example.com/chat")
    ///     .version(http::Version::HTTP_2)
    ///     .header("sec-websocket-version", "13")
    ///     .body(())?;
    /// // With hyper: received.extensions().get::<hyper::ext::Protocol>()
    /// let request = Request::from_http(&received, Some("websocket"))?;
    /// let (response, result) = ServerOptions::new().accept(&request);
    /// assert!(result.is_ok());
    /// assert_eq!(http::Response::try_from(&response)?.status(), 200);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_http<B>(
        request: &http::Request<B>,
        protocol: Option<&str>,
    ) -> Result<Self, HandshakeError> {
        let version = HttpVersion::try_from(request.version())?;
        if !version.is_multiplexed() {
            return Ok(request.try_into()?);
        }
        if request.method() != http::Method::CONNECT {
            return Err(ExtendedConnectError::Method.into());
        }
        let uri = request.uri();
        let pseudo = PseudoHeaders {
            protocol: protocol.unwrap_or_default(),
            scheme: uri.scheme_str().unwrap_or_default(),
            authority: uri.authority().map_or("", http::uri::Authority::as_str),
            path: uri
                .path_and_query()
                .map_or("", http::uri::PathAndQuery::as_str),
        };
        Self::extended_connect(version, pseudo, request.headers().into())
    }
}

/// Keeps path and query of a request of HTTP/1.1; the body is ignored. For all versions, use
/// [`Request::from_http`].
impl<B> TryFrom<&http::Request<B>> for Request {
    type Error = HeadError;

    fn try_from(request: &http::Request<B>) -> Result<Self, HeadError> {
        let version = HttpVersion::try_from(request.version())?;
        if version.is_multiplexed() {
            return Err(HeadError::HttpVersion);
        }
        let uri = request.uri();
        let target = match uri.query() {
            Some(query) => alloc::format!("{}?{query}", uri.path()),
            None => uri.path().into(),
        };
        let mut converted = Self::new(request.method().as_str(), &target)?;
        converted.set_version(version);
        *converted.headers_mut() = request.headers().into();
        Ok(converted)
    }
}

/// A request by [Extended CONNECT](Request::extended_connect) has a URI in absolute form and no `Host`. The stack's own
/// type for `:protocol` has to be inserted into its extensions.
impl TryFrom<&Request> for http::Request<()> {
    type Error = http::Error;

    fn try_from(request: &Request) -> Result<Self, http::Error> {
        let pseudo = request.pseudo_headers();
        let uri = match pseudo {
            None => http::Uri::try_from(request.target())?,
            Some(pseudo) => http::Uri::builder()
                .scheme(pseudo.scheme)
                .authority(pseudo.authority)
                .path_and_query(pseudo.path)
                .build()?,
        };
        let mut converted = Self::builder()
            .method(request.method())
            .uri(uri)
            .version(request.version().into())
            .body(())?;
        *converted.headers_mut() = request.headers().try_into()?;
        if pseudo.is_some() {
            converted.headers_mut().remove(http::header::HOST);
        }
        Ok(converted)
    }
}

impl<B: Into<Bytes>> TryFrom<http::Response<B>> for Response {
    type Error = HeadError;

    fn try_from(response: http::Response<B>) -> Result<Self, HeadError> {
        let (head, body) = response.into_parts();
        let status = StatusCode::new(head.status.as_u16()).ok_or(HeadError::StartLine)?;
        let mut converted = Self::with_headers(status, (&head.headers).into());
        converted.set_version(head.version.try_into()?);
        converted.receive_body(body.into(), false);
        Ok(converted)
    }
}

impl TryFrom<&Response> for http::Response<Bytes> {
    type Error = http::Error;

    fn try_from(response: &Response) -> Result<Self, http::Error> {
        let mut converted = http::Response::builder()
            .status(response.status().number())
            .version(response.version().into())
            .body(response.sent_body().clone())?;
        *converted.headers_mut() = response.headers().try_into()?;
        Ok(converted)
    }
}

impl From<HttpVersion> for http::Version {
    fn from(version: HttpVersion) -> Self {
        match version {
            HttpVersion::Http10 => Self::HTTP_10,
            HttpVersion::Http11 => Self::HTTP_11,
            HttpVersion::Http2 => Self::HTTP_2,
            HttpVersion::Http3 => Self::HTTP_3,
        }
    }
}

impl TryFrom<http::Version> for HttpVersion {
    type Error = HeadError;

    fn try_from(version: http::Version) -> Result<Self, HeadError> {
        match version {
            http::Version::HTTP_10 => Ok(Self::Http10),
            http::Version::HTTP_11 => Ok(Self::Http11),
            http::Version::HTTP_2 => Ok(Self::Http2),
            http::Version::HTTP_3 => Ok(Self::Http3),
            _ => Err(HeadError::HttpVersion),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::{ClientHandshake, ClientOptions, HeadLimits, ServerOptions, Uri};

    #[test]
    fn requests_survive_the_way_there_and_back() {
        let head = b"GET /chat?a=b HTTP/1.1\r\nhost: a\r\nx: 1\r\ny: \xff\r\nx: 2\r\n\r\n";
        let request = Request::parse(head, &HeadLimits::default()).unwrap();
        let there = http::Request::try_from(&request).unwrap();
        assert_eq!(there.uri(), "/chat?a=b");
        assert_eq!(there.headers().get_all("x").iter().count(), 2);
        assert_eq!(Request::try_from(&there), Ok(request));
    }

    #[test]
    fn responses_survive_the_way_there_and_back() {
        let response = Response::text(StatusCode::NOT_FOUND, "nothing");
        let there = http::Response::try_from(&response).unwrap();
        assert_eq!(there.status(), 404);
        assert_eq!(Response::try_from(there), Ok(response));
    }

    #[test]
    fn a_body_that_the_status_forbids_is_left_behind() {
        let response = Response::text(StatusCode::new(304).unwrap(), "the same");
        let there = http::Response::try_from(&response).unwrap();
        assert_eq!(there.body(), "");
        assert_eq!(there.headers()["content-length"], "8");
    }

    #[test]
    fn a_uri_in_absolute_form_becomes_its_path() {
        let request = http::Request::get("https://h?q").body(()).unwrap();
        assert_eq!(Request::try_from(&request).unwrap().target(), "/?q");
    }

    #[test]
    fn versions_survive_the_way_there_and_back() {
        for (version, there) in [
            (HttpVersion::Http10, http::Version::HTTP_10),
            (HttpVersion::Http11, http::Version::HTTP_11),
        ] {
            assert_eq!(http::Version::from(version), there);
            assert_eq!(HttpVersion::try_from(there), Ok(version));
            let request = http::Request::get("/").version(there).body(()).unwrap();
            assert_eq!(Request::try_from(&request).unwrap().version(), version);
        }
        for (version, there) in [
            (HttpVersion::Http10, http::Version::HTTP_10),
            (HttpVersion::Http11, http::Version::HTTP_11),
            (HttpVersion::Http2, http::Version::HTTP_2),
            (HttpVersion::Http3, http::Version::HTTP_3),
        ] {
            assert_eq!(http::Version::from(version), there);
            assert_eq!(HttpVersion::try_from(there), Ok(version));
            let response = http::Response::builder().version(there);
            let response = response.body(Bytes::new()).unwrap();
            assert_eq!(Response::try_from(response).unwrap().version(), version);
        }
    }

    #[test]
    fn other_versions_are_refused() {
        for version in [
            http::Version::HTTP_09,
            http::Version::HTTP_2,
            http::Version::HTTP_3,
        ] {
            let request = http::Request::get("/").version(version);
            let request = request.body(()).unwrap();
            assert_eq!(Request::try_from(&request), Err(HeadError::HttpVersion));
        }
        let request = http::Request::get("/").version(http::Version::HTTP_09);
        let error = Request::from_http(&request.body(()).unwrap(), None);
        assert_eq!(error, Err(HeadError::HttpVersion.into()));
    }

    #[test]
    fn a_request_of_http_1_1_needs_no_protocol() {
        let request = http::Request::get("/a?b").body(()).unwrap();
        let converted = Request::from_http(&request, None).unwrap();
        assert_eq!(converted.target(), "/a?b");
        assert_eq!(converted.protocol(), None);
        let request = http::Request::get("/").version(http::Version::HTTP_10);
        let converted = Request::from_http(&request.body(()).unwrap(), None).unwrap();
        assert_eq!(converted.version(), HttpVersion::Http10);
    }

    #[test]
    fn extended_connect_survives_the_way_to_the_server_and_back() {
        let uri = Uri::parse("wss://example.com:1/chat?a=b").unwrap();
        let options = ClientOptions::new().subprotocols(["chat"]);
        let (version, config) = (HttpVersion::Http2, crate::Config::new());
        let client = ClientHandshake::extended_connect(&uri, version, &options, &config).unwrap();
        let there = http::Request::try_from(client.request()).unwrap();
        assert_eq!(there.method(), http::Method::CONNECT);
        assert_eq!(there.version(), http::Version::HTTP_2);
        assert_eq!(there.uri(), "https://example.com:1/chat?a=b");
        assert_eq!(there.headers().len(), 2);

        let received = Request::from_http(&there, Some("websocket")).unwrap();
        assert_eq!(received.pseudo_headers(), client.request().pseudo_headers());
        assert_eq!(received.headers().get_str("Host"), Some("example.com:1"));
        let again = http::Request::try_from(&received).unwrap();
        assert!(!again.headers().contains_key("host"));

        let server = ServerOptions::new().subprotocols(["chat"]);
        let (response, result) = server.accept(&received);
        let back = http::Response::try_from(&response).unwrap();
        assert_eq!(back.version(), http::Version::HTTP_2);
        assert_eq!(back.status(), 200);
        let back = Response::try_from(back).unwrap();
        assert_eq!(client.check(&back), result);
        assert_eq!(result.unwrap().subprotocol.as_deref(), Some("chat"));
    }

    #[test]
    fn cookies_in_several_headers_are_joined() {
        let request = http::Request::connect("https://h/")
            .version(http::Version::HTTP_3)
            .header("cookie", "a=1")
            .header("x", "y")
            .header("cookie", "b=2");
        let request = request.body(()).unwrap();
        let converted = Request::from_http(&request, Some("websocket")).unwrap();
        let cookies: alloc::vec::Vec<_> = converted.headers().get_all("Cookie").collect();
        assert_eq!(cookies, [b"a=1; b=2"]);
    }

    #[test]
    fn requests_of_http_2_that_open_no_websocket_are_refused() {
        let convert = |method: &str, uri: &str, protocol| {
            let request = http::Request::builder()
                .method(method)
                .uri(uri)
                .version(http::Version::HTTP_2);
            Request::from_http(&request.body(()).unwrap(), protocol).map(|_| ())
        };
        let uri = "https://h/";
        assert_eq!(convert("CONNECT", uri, Some("websocket")), Ok(()));
        for (method, uri, protocol, error) in [
            ("GET", uri, None, ExtendedConnectError::Method),
            ("POST", uri, Some("websocket"), ExtendedConnectError::Method),
            ("CONNECT", uri, None, ExtendedConnectError::NoProtocol),
            ("CONNECT", "h:80", None, ExtendedConnectError::NoProtocol),
            (
                "CONNECT",
                "h:80",
                Some("websocket"),
                ExtendedConnectError::Scheme,
            ),
            (
                "CONNECT",
                "/",
                Some("websocket"),
                ExtendedConnectError::Scheme,
            ),
        ] {
            let error = Err(HandshakeError::ExtendedConnect(error));
            assert_eq!(convert(method, uri, protocol), error, "{method} {uri}");
        }
    }
}
