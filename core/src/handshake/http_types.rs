//! Conversions to and from the types of the `http` crate, for servers and clients whose HTTP is done
//! elsewhere.

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
        let target = request
            .uri()
            .path_and_query()
            .map_or("/", http::uri::PathAndQuery::as_str);
        let mut converted = Self::new(request.method().as_str().as_bytes(), target.as_bytes())?;
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
            .body(response.body().clone())?;
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
