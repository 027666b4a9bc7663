//! Every way in which an opening handshake can fail, on both sides: its reason is in every place that has one.

use std::sync::Arc;

use bytes::Buf;
use sansock_core::handshake::{ClientOptions, HandshakeError, ServerOptions, StatusCode, Uri};
use sansock_core::{
    ClientConnection, Closed, Connection, Event, Failure, Instant, Protocol, SendError,
    ServerConnection, State,
};
use sansock_tests::end::{at, config};

const NOW: Instant = Instant::START;

/// Takes all events of a connection, as one text. The last is the failure that the connection has.
macro_rules! events_of {
    ($connection:expr) => {{
        let mut names = Vec::new();
        let mut last: Option<Failure> = None;
        while let Some(event) = $connection.next_event() {
            assert_eq!(last, None, "a failure is the last event");
            names.push(match event {
                Event::Request(_) => "request",
                Event::Response(_) => "response",
                Event::Message(_) => "message",
                Event::Close(_) => "close",
                Event::Failed(failure) => {
                    last = Some(failure);
                    "failed"
                }
                other => panic!("{other:?}"),
            });
        }
        if let Some(failure) = &last {
            assert_eq!($connection.failure(), Some(failure));
        }
        names.join(" ")
    }};
}

/// What each way leaves: the handshake error, the failure and the events, as text.
type Row<C> = (
    &'static str,
    fn(&mut C),
    &'static str,
    &'static str,
    &'static str,
);

const INCOMPLETE: &str = "did not receive a valid HTTP head";
const HANDSHAKE: &str = "opening handshake failed";
const LOST: &str = "connection lost without a close frame (1006)";
const TIMED_OUT: &str = "opening handshake timed out";
const ABORTED: &str = "opening handshake failed by this side: 1011 (internal error) why";
const LOCAL: &str = "connection failed by this side: 1011 (internal error) why";

#[rustfmt::skip]
const OF_SERVERS: &[Row<ServerConnection>] = &[
    ("end before the request", |s| s.receive_eof(NOW),
        INCOMPLETE, HANDSHAKE, "failed"),
    ("end inside the request", |s| { s.receive_data(b"GET / HT", NOW); s.receive_eof(NOW) },
        INCOMPLETE, HANDSHAKE, "failed"),
    ("end before the request is taken", |s| { receive_request(s); s.receive_eof(NOW) },
        "connection lost during the opening handshake", LOST, "request failed"),
    ("end between request and response", |s| { take_request(s); s.receive_eof(NOW) },
        "connection lost during the opening handshake", LOST, "failed"),
    ("fail before the request", |s| s.fail(1011, "why").unwrap(),
        ABORTED, LOCAL, "failed"),
    ("fail between request and response", |s| { take_request(s); s.fail(1011, "why").unwrap() },
        ABORTED, LOCAL, "failed"),
    ("time passes before the request", |s| pass_the_time(s),
        TIMED_OUT, TIMED_OUT, "failed"),
    ("time passes between request and response", |s| { take_request(s); pass_the_time(s) },
        TIMED_OUT, TIMED_OUT, "failed"),
    ("malformed request", |s| s.receive_data(b"GET / HTTP/1.1\r\nno header\r\n\r\n", NOW),
        INCOMPLETE, HANDSHAKE, "failed"),
    ("another protocol", |s| s.receive_data(b"\x16\x03\x01", NOW),
        INCOMPLETE, HANDSHAKE, "failed"),
    ("a request that is not accepted", |s| {
        s.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", NOW);
        accept(s);
    }, "Connection header does not ask for WebSocket", HANDSHAKE, "failed"),
    ("a request that is rejected", |s| {
        take_request(s);
        let response = s.reject(StatusCode::FORBIDDEN, "no");
        s.send_response(&response).unwrap();
    }, "rejected with 403 Forbidden: Forbidden", HANDSHAKE, "failed"),
    ("the transport fails to write", |s| { take_request(s); s.write_failed(); s.receive_eof(NOW) },
        "connection lost during the opening handshake", LOST, "failed"),
];

#[rustfmt::skip]
const OF_CLIENTS: &[Row<ClientConnection>] = &[
    ("end before the response", |c| c.receive_eof(NOW),
        INCOMPLETE, HANDSHAKE, "failed"),
    ("end inside the response", |c| { c.receive_data(b"HTTP/1.1 1", NOW); c.receive_eof(NOW) },
        INCOMPLETE, HANDSHAKE, "failed"),
    ("fail before the response", |c| c.fail(1011, "why").unwrap(),
        ABORTED, LOCAL, "failed"),
    ("fail inside the response", |c| {
        c.receive_data(b"HTTP/1.1 1", NOW);
        c.fail(1011, "why").unwrap();
    }, ABORTED, LOCAL, "failed"),
    ("time passes before the response", |c| pass_the_time(c),
        TIMED_OUT, TIMED_OUT, "failed"),
    ("malformed response", |c| c.receive_data(b"HTTP/1.1 101\r\nno header\r\n\r\n", NOW),
        INCOMPLETE, HANDSHAKE, "failed"),
    ("another protocol", |c| c.receive_data(b"SSH-2.0-x\r\n", NOW),
        "server does not speak HTTP; it began with \"SSH-2.0-x\\r\\n\"", HANDSHAKE, "failed"),
    ("a refusal", |c| c.receive_data(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", NOW),
        "server answered 403 Forbidden instead of 101; first bytes of body: \"no\"", HANDSHAKE, "response failed"),
    ("end inside the body of a refusal", |c| { refuse_in_part(c); c.receive_eof(NOW) },
        "server answered 403 Forbidden instead of 101; first bytes of body: \"n\"", HANDSHAKE, "response failed"),
    ("time passes inside the body of a refusal", |c| { refuse_in_part(c); pass_the_time(c) },
        "server answered 403 Forbidden instead of 101; first bytes of body: \"n\"", TIMED_OUT, "response failed"),
    ("a response to another key", |c| c.receive_data(b"HTTP/1.1 101 Switching Protocols\r\n\
            Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n", NOW),
        "Sec-WebSocket-Accept is \"x\", expected \"gnY+fC2G+KsZsZeuWSWgTfk6xI0=\"", HANDSHAKE, "response failed"),
    ("an extension that was not offered", |c| accept_with(c, "Sec-WebSocket-Extensions: x\r\n"),
        "extension x: accepted by the server but not offered", HANDSHAKE, "response failed"),
    ("the transport fails to write", |c| { c.write_failed(); c.receive_eof(NOW) },
        INCOMPLETE, HANDSHAKE, "failed"),
];

#[test]
fn a_server_whose_handshake_fails_has_the_reason_everywhere() {
    for (way, perform, error, failure, events) in OF_SERVERS {
        let options = Arc::new(ServerOptions::new());
        let mut server = ServerConnection::new(options, config());
        server.handle_timeout(NOW);
        perform(&mut server);
        assert_eq!(events_of!(server), *events, "{way}");
        assert_eq!(text(server.handshake_error()), *error, "{way}");
        server.receive_eof(NOW);
        assert_eq!(text(server.handshake_error()), *error, "{way}: at the end");
        assert_eq!(events_of!(server), "", "{way}");
        assert_ended(way, &server.into_connection(), failure);
    }
}

#[test]
fn a_client_whose_handshake_fails_has_the_reason_everywhere() {
    for (way, perform, error, failure, events) in OF_CLIENTS {
        let mut client = client();
        client.handle_timeout(NOW);
        client.send_request(client.connect()).unwrap();
        drain(&mut client);
        perform(&mut client);
        assert_eq!(events_of!(client), *events, "{way}");
        assert_eq!(text(client.handshake_error()), *error, "{way}");
        client.receive_eof(NOW);
        assert_eq!(text(client.handshake_error()), *error, "{way}: at the end");
        assert_eq!(events_of!(client), "", "{way}");
        assert_ended(way, &client.into_connection(), failure);
    }
}

#[test]
fn a_handshake_that_succeeds_has_no_reason() {
    let mut client = client();
    client.send_request(client.connect()).unwrap();
    accept_with(&mut client, "");
    assert_eq!(events_of!(client), "response");
    assert_eq!((client.handshake_error(), client.failure()), (None, None));
    client.receive_eof(NOW);
    assert_eq!(events_of!(client), "failed");
    assert_eq!(client.handshake_error(), None);
}

#[test]
fn a_client_that_could_not_send_all_still_receives() {
    let mut client = client();
    client.send_request(client.connect()).unwrap();
    client.write_failed();
    accept_with(&mut client, "");
    assert_eq!(events_of!(client), "response");
    let closing = Err(SendError::State(State::Closing));
    assert_eq!(client.send("not any more"), closing);
    client.receive_data(b"\x81\x02hi\x88\x02\x0f\xa1", NOW);
    assert_eq!(events_of!(client), "message close");
    let closed = client.closed().expect("nothing can be sent");
    assert!(matches!(closed, Closed::Received(frame) if frame.code.number() == 4001));
}

#[test]
fn accepting_is_judged_before_it_is_sent() {
    let options = Arc::new(ServerOptions::new());
    let mut server = ServerConnection::new(options, config());
    server.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", NOW);
    let Some(Event::Request(request)) = server.next_event() else {
        panic!("a request");
    };
    server.accept(&request);
    assert!(matches!(
        server.handshake_error(),
        Some(HandshakeError::NoUpgrade { .. })
    ));
    assert_eq!(server.failure(), None, "nothing was sent");
}

fn client() -> ClientConnection {
    let uri: Uri = "ws://example.com/".parse().unwrap();
    ClientConnection::new(&uri, &ClientOptions::new(), config()).unwrap()
}

fn drain(client: &mut ClientConnection) -> Vec<u8> {
    let mut data = client.data_to_send();
    data.copy_to_bytes(data.remaining()).to_vec()
}

/// Receives the request of a client.
fn receive_request(server: &mut ServerConnection) {
    let mut client = client();
    client.send_request(client.connect()).unwrap();
    server.receive_data(&drain(&mut client), NOW);
}

fn take_request(server: &mut ServerConnection) {
    receive_request(server);
    assert!(matches!(server.next_event(), Some(Event::Request(_))));
}

fn accept(server: &mut ServerConnection) {
    let Some(Event::Request(request)) = server.next_event() else {
        panic!("a request");
    };
    let response = server.accept(&request);
    server.send_response(&response).unwrap();
}

/// Receives the response that accepts the request, with further headers.
fn accept_with(client: &mut ClientConnection, headers: &str) {
    let (mut response, _) = ServerOptions::new().accept(&client.connect());
    let mut head = Vec::new();
    for line in headers.lines() {
        let (name, value) = line.split_once(": ").unwrap();
        response.headers_mut().append(name, value).unwrap();
    }
    response.write_to(&mut head).unwrap();
    client.receive_data(&head, NOW);
}

/// Receives a refusal without the end of its body.
fn refuse_in_part(client: &mut ClientConnection) {
    client.receive_data(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nn", NOW);
    assert!(client.next_event().is_none());
}

fn pass_the_time(connection: &mut impl Protocol) {
    connection.handle_timeout(at(10_000));
}

fn text(error: Option<&HandshakeError>) -> String {
    error.map(ToString::to_string).unwrap_or_default()
}

#[track_caller]
fn assert_ended(way: &str, connection: &Connection, failure: &str) {
    let ended = connection.failure().map(ToString::to_string);
    assert_eq!(ended.as_deref(), Some(failure), "{way}");
    assert_eq!(connection.state(), State::Closed, "{way}");
    assert_eq!(connection.closed(), Some(&Closed::Abnormal), "{way}");
}
