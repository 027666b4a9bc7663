//! Conversions to and from the types of the `http` crate, for servers and clients whose HTTP is
//! done elsewhere.

use bytes::Bytes;

use crate::handshake::{HeadError, Headers, HttpVersion, Request, Response, StatusCode};

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

/// Keeps path and query; the body is ignored.
impl<B> TryFrom<&http::Request<B>> for Request {
    type Error = HeadError;

    fn try_from(request: &http::Request<B>) -> Result<Self, HeadError> {
        let uri = request.uri();
        let target = match uri.query() {
            Some(query) => alloc::format!("{}?{query}", uri.path()),
            None => uri.path().into(),
        };
        let mut converted = Self::new(request.method().as_str(), &target)?;
        converted.set_version(request.version().try_into()?);
        *converted.headers_mut() = request.headers().into();
        Ok(converted)
    }
}

impl TryFrom<&Request> for http::Request<()> {
    type Error = http::Error;

    fn try_from(request: &Request) -> Result<Self, http::Error> {
        let mut converted = Self::builder()
            .method(request.method())
            .uri(request.target())
            .version(request.version().into())
            .body(())?;
        *converted.headers_mut() = request.headers().try_into()?;
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
        }
    }
}

impl TryFrom<http::Version> for HttpVersion {
    type Error = HeadError;

    fn try_from(version: http::Version) -> Result<Self, HeadError> {
        match version {
            http::Version::HTTP_10 => Ok(Self::Http10),
            http::Version::HTTP_11 => Ok(Self::Http11),
            _ => Err(HeadError::HttpVersion),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::HeadLimits;

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
            let response = http::Response::builder().version(there);
            let response = response.body(Bytes::new()).unwrap();
            assert_eq!(Response::try_from(response).unwrap().version(), version);
        }
    }

    #[test]
    fn other_versions_are_refused() {
        let request = http::Request::get("/").version(http::Version::HTTP_2);
        let request = request.body(()).unwrap();
        assert_eq!(Request::try_from(&request), Err(HeadError::HttpVersion));
    }
}
