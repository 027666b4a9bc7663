//! "Opening a connection", on the client side and on the server side.

use std::sync::Arc;

use bytes::Buf;
use sansock_core::handshake::{ClientOptions, HandshakeError, ServerOptions, StatusCode, Uri};
use sansock_core::{ClientConnection, Config, Event, ServerConnection, State};
use sansock_tests::end::config;

use crate::NOW;

fn client_to(uri: &str) -> ClientConnection {
    let uri: Uri = uri.parse().expect("a URI");
    ClientConnection::new(&uri, &ClientOptions::new(), config()).expect("a client")
}

fn new_server() -> ServerConnection {
    ServerConnection::new(Arc::new(ServerOptions::new()), Config::new())
}

fn request_of(client: &mut ClientConnection) -> bytes::Bytes {
    let request = client.connect();
    client.send_request(request).expect("a first request");
    drain!(client).0
}

#[test]
fn opening_a_connection_client_side() {
    let uri: Uri = "ws://example.com/".parse().unwrap();
    assert_eq!(
        (uri.host(), uri.port(), uri.is_secure()),
        ("example.com", 80, false)
    );
    let mut client = ClientConnection::new(&uri, &ClientOptions::new(), config()).unwrap();

    let request = client.connect();
    client.send_request(request).unwrap();
    let (request, ends) = drain!(client);
    assert!(request.starts_with(b"GET / HTTP/1.1\r\nHost: example.com\r\n"));
    assert!(!ends);

    client.receive_data(&answer_to(&request), NOW);
    let Some(Event::Response(response)) = client.next_event() else {
        panic!("the first event is the response");
    };
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(client.handshake_error(), None);
    assert_eq!(client.state(), State::Open);
}

/// What a server answers to this request.
fn answer_to(request: &[u8]) -> bytes::Bytes {
    let mut server = new_server();
    server.receive_data(request, NOW);
    let Some(Event::Request(request)) = server.next_event() else {
        panic!("a request");
    };
    let response = server.accept(&request);
    server.send_response(&response).expect("a first response");
    drain!(server).0
}

#[test]
fn opening_a_connection_client_side_tells_why_it_failed() {
    let mut client = client_to("ws://example.com/");
    request_of(&mut client);
    client.receive_data(
        b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno",
        NOW,
    );
    let Some(Event::Response(response)) = client.next_event() else {
        panic!("the first event is the response, also where it refuses");
    };
    assert_eq!(&response.body()[..], b"no");
    assert!(matches!(
        client.handshake_error(),
        Some(HandshakeError::Refused(_))
    ));
    assert!(client.close_expected());
    assert!(
        drain!(client).1,
        "after a failed handshake the client ends its stream at once"
    );
    client.receive_eof(NOW);
    assert_eq!(client.state(), State::Closed);
}

#[test]
fn opening_a_connection_server_side() {
    let request = request_of(&mut client_to("ws://example.com/chat"));
    let mut server = new_server();
    server.receive_data(&request, NOW);
    let Some(Event::Request(request)) = server.next_event() else {
        panic!("the first event is the request");
    };
    assert_eq!(request.target(), "/chat");

    let response = server.accept(&request);
    server.send_response(&response).unwrap();
    let (response, ends) = drain!(server);
    assert!(response.starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"));
    assert!(!ends);
    assert_eq!(server.handshake_error(), None);
    assert_eq!(server.state(), State::Open);
}

#[test]
fn opening_a_connection_server_side_may_reject() {
    let request = request_of(&mut client_to("ws://example.com/"));
    let mut server = new_server();
    server.receive_data(&request, NOW);
    assert!(matches!(server.next_event(), Some(Event::Request(_))));
    let response = server.reject(StatusCode::NOT_FOUND, "nothing here\n");
    server.send_response(&response).unwrap();
    let (response, ends) = drain!(server);
    assert!(response.starts_with(b"HTTP/1.1 404 Not Found\r\n"));
    assert!(response.ends_with(b"\r\n\r\nnothing here\n"));
    assert!(ends);
    assert!(server.handshake_error().is_some());
    assert!(server.close_expected());
}

#[test]
fn opening_a_connection_server_side_fails_though_accept_was_called() {
    let mut server = new_server();
    server.receive_data(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", NOW);
    let Some(Event::Request(request)) = server.next_event() else {
        panic!("a request");
    };
    let response = server.accept(&request);
    server.send_response(&response).unwrap();
    let (response, ends) = drain!(server);
    assert!(response.starts_with(b"HTTP/1.1 4"));
    assert!(ends);
    assert!(server.handshake_error().is_some());
    assert_eq!(server.state(), State::Connecting);
}
