//! The opening handshake through the connections of both sides, cut in every way (RFC 6455 section 4).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Buf;
use sansock_core::deflate::Deflate;
use sansock_core::handshake::{
    ClientHandshake, ClientOptions, HandshakeError, HeadError, HeadLimits, HttpVersion, Request,
    Response, ServerOptions, StatusCode, Uri,
};
use sansock_core::{
    ClientConnection, Config, Connection, ConnectionError, Deadline, Entropy, EntropyError, Event,
    Failure, FixedSeed, Instant, Negotiated, SendError, ServerConnection, State,
};

const NOW: Instant = Instant::START;

const REQUEST: &[u8] = b"GET /chat HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n\
    Connection: keep-alive, Upgrade\r\nX: \xff\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

fn after(seconds: u64) -> Instant {
    NOW.checked_add(Duration::from_secs(seconds)).unwrap()
}

/// A text frame of a client: "hi".
const FRAME: &[u8] = b"\x81\x82\x01\x02\x03\x04\x69\x6b";

/// The last event of a handshake that failed.
const FAILED: &str = "failed 1006";

/// The ways to cut bytes: not at all, after every byte, and in two at every place.
fn cuts(bytes: &[u8]) -> Vec<Vec<&[u8]>> {
    let mut cuts = vec![vec![bytes], bytes.chunks(1).collect()];
    cuts.extend((1..bytes.len()).map(|at| vec![&bytes[..at], &bytes[at..]]));
    cuts
}

/// What came out of a connection.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    events: Vec<String>,
    sent: Vec<u8>,
    ended: bool,
    state: Option<State>,
    error: Option<HandshakeError>,
}

impl Outcome {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.sent).into_owned()
    }

    fn note(&mut self, event: &Event<'_>) {
        self.events.push(match event {
            Event::Request(request) => format!("request {}", request.target()),
            Event::Response(response) => format!("response {}", response.status()),
            Event::Message(message) => format!("message {:?}", message.as_text()),
            Event::Failed(failure) => format!("failed {:?}", failure.close_code().number()),
            Event::Ping(payload) => format!("ping {payload:?}"),
            Event::Frame(_) | Event::Chunk(_) | Event::Pong { .. } | Event::Close(_) | _ => {
                panic!("unexpected {event:?}")
            }
        });
    }

    fn drain(&mut self, mut data: sansock_core::DataToSend<'_>) {
        while data.has_remaining() {
            let size = data.chunk().len();
            self.sent.extend_from_slice(data.chunk());
            data.advance(size);
        }
        self.ended |= data.take_end();
    }
}

fn server() -> ServerConnection {
    ServerConnection::new(Arc::new(ServerOptions::new()), Config::new())
}

fn accept(server: &mut ServerConnection, request: &Request) -> Response {
    server.accept(request)
}

/// Feeds a server part by part, and answers the request with `respond`.
fn serve_parts(
    mut server: ServerConnection,
    parts: &[&[u8]],
    respond: fn(&mut ServerConnection, &Request) -> Response,
) -> Outcome {
    let mut outcome = Outcome::default();
    for part in parts {
        server.receive_data(part, NOW);
        while let Some(event) = server.next_event() {
            outcome.note(&event);
            if let Event::Request(request) = event {
                let response = respond(&mut server, &request);
                server.send_response(&response).unwrap();
            }
        }
        outcome.drain(server.data_to_send());
    }
    outcome.state = Some(server.state());
    outcome.error = server.handshake_error().cloned();
    outcome
}

/// Feeds a server with bytes cut in every way; all must come to the same.
#[track_caller]
fn serve(bytes: &[u8], respond: fn(&mut ServerConnection, &Request) -> Response) -> Outcome {
    let whole = serve_parts(server(), &[bytes], respond);
    for parts in cuts(bytes) {
        assert_eq!(serve_parts(server(), &parts, respond), whole, "{parts:x?}");
    }
    whole
}

/// The request with one line replaced; without a colon, the first line.
fn request(replaced: &str, line: &str) -> Vec<u8> {
    let text = REQUEST.escape_ascii().to_string();
    let lines = text
        .split("\\r\\n")
        .map(|old| match old.starts_with(replaced) {
            true => line,
            false => old,
        });
    let lines: Vec<_> = lines.collect();
    lines.join("\r\n").replace("\\xff", "x").into_bytes()
}

#[test]
fn a_request_is_accepted_however_it_is_cut() {
    let outcome = serve(REQUEST, accept);
    assert_eq!(outcome.events, ["request /chat"]);
    assert_eq!(
        outcome.text(),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    );
    assert_eq!(outcome.state, Some(State::Open));
    assert_eq!((outcome.ended, outcome.error), (false, None));
}

#[test]
fn frames_glued_to_the_request_are_read_after_the_101() {
    let outcome = serve(&[REQUEST, FRAME].concat(), accept);
    assert_eq!(outcome.events, ["request /chat", "message Some(\"hi\")"]);
    assert_eq!(outcome.state, Some(State::Open));
}

#[test]
fn nothing_behind_the_request_is_read_before_the_101() {
    for parts in cuts(&[REQUEST, FRAME].concat()) {
        let mut server = server();
        let mut requests = Vec::new();
        for part in parts {
            server.receive_data(part, NOW);
            match server.next_event() {
                Some(Event::Request(request)) => requests.push(request),
                Some(event) => panic!("{event:?}"),
                None => {}
            }
            assert!(!server.parse_next());
            assert!(server.data_to_send().is_empty());
        }
        let response = server.accept(&requests[0]);
        server.send_response(&response).unwrap();
        let message = server.next_event();
        assert!(matches!(message, Some(Event::Message(_))), "{message:?}");
        assert_eq!(requests.len(), 1);
    }
}

#[test]
fn a_request_behind_an_accepted_one_is_a_malformed_frame() {
    let outcome = serve(&[REQUEST, REQUEST].concat(), accept);
    assert_eq!(outcome.events, ["request /chat", "failed 1002"]);
}

#[test]
fn nothing_behind_a_refused_request_is_ever_read() {
    for first in [
        &b"GET / HTTP/2.0\r\n\r\n"[..],
        b"GET / HTTP/1.1\nHost: a\r\n\r\n",
        &request("Sec-WebSocket-Version", "Sec-WebSocket-Version: 1337"),
        &request("X:", "Content-Length: 5"),
    ] {
        for rest in [REQUEST, FRAME] {
            let outcome = serve(&[first, rest].concat(), accept);
            let (last, others) = outcome.events.split_last().unwrap();
            assert!(last == FAILED && others.len() <= 1, "{others:?}");
            assert_eq!(outcome.text().matches("HTTP/1.1 ").count(), 1);
            assert!(outcome.ended && outcome.error.is_some());
            assert_eq!(outcome.state, Some(State::Connecting));
        }
    }
}

#[test]
fn nothing_behind_a_rejected_request_is_ever_read() {
    let reject = |server: &mut ServerConnection, _: &Request| {
        server.reject(StatusCode::UNAUTHORIZED, "who are you?")
    };
    let outcome = serve(&[REQUEST, REQUEST, FRAME].concat(), reject);
    assert_eq!(outcome.events, ["request /chat", FAILED]);
    let text = outcome.text();
    assert!(text.starts_with("HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n"));
    assert!(text.ends_with("\r\n\r\nwho are you?"));
    assert!(outcome.ended);
    let Some(error) = outcome.error else { panic!() };
    assert_eq!(error.status(), StatusCode::UNAUTHORIZED);
}

#[test]
fn a_malformed_head_is_answered_once_and_fails() {
    let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(8192));
    let many = format!("GET / HTTP/1.1\r\n{}", "a: b\r\n".repeat(101));
    let large = format!("GET / HTTP/1.1\r\na: {}", "b".repeat(16_384));
    let cases: [(&[u8], u16); 23] = [
        (b"GET / HTTP/2.0\r\n\r\n", 505),
        (b"GET / HTTP/0.9\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET /\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1 \r\n\r\n", 400),
        (b"GET\t/ HTTP/1.1\r\n\r\n", 400),
        (b"GET /#f HTTP/1.1\r\n\r\n", 400),
        (b"GET /\xc3\xa9 HTTP/1.1\r\n\r\n", 400),
        (b"GET /\x00 HTTP/1.1\r\n\r\n", 400),
        (b"\r\n\r\nGET / HTTP/1.1\r\n\r\n", 400),
        (b"\nGET / HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET / HTTP/1.1\r\nA: b\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA : b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: \x01\r\n\r\n", 400),
        (many.as_bytes(), 431),
        // The long ones are not cut in every way below.
        (long.as_bytes(), 414),
        (large.as_bytes(), 431),
    ];
    for (head, status) in cases {
        let outcome = match head.len() {
            0..1000 => serve(head, accept),
            _ => {
                let bytewise: Vec<_> = head.chunks(1).collect();
                let outcome = serve_parts(server(), &bytewise, accept);
                assert_eq!(outcome, serve_parts(server(), &[head], accept));
                outcome
            }
        };
        let shown = head[..head.len().min(60)].escape_ascii();
        assert_eq!(outcome.events, [FAILED], "{shown}");
        let text = outcome.text();
        assert!(
            text.starts_with(&format!("HTTP/1.1 {status} ")),
            "{shown}: {text}"
        );
        assert!(
            text.contains("\r\nConnection: close\r\n"),
            "{shown}: {text}"
        );
        assert!(outcome.ended, "{shown}");
        assert!(matches!(outcome.error, Some(HandshakeError::Head(_))));
    }
}

#[test]
fn a_limit_refuses_with_the_byte_that_exceeds_it() {
    let limits = HeadLimits {
        line: 40,
        head: 100,
        headers: 2,
    };
    let cases: [(&str, usize, HeadError); 3] = [
        ("GET /", 41, HeadError::StartLineTooLong { limit: 40 }),
        (
            "GET / HTTP/1.1\r\na: ",
            101,
            HeadError::HeadTooLarge { limit: 100 },
        ),
        (
            "GET / HTTP/1.1\r\na: b\r\na: b\r\n",
            29,
            HeadError::TooManyHeaders { limit: 2 },
        ),
    ];
    for (start, allowed, error) in cases {
        let config = Config::new().head_limits(limits);
        let mut server = ServerConnection::new(Default::default(), config);
        let endless = start.bytes().chain(std::iter::repeat(b'x'));
        for (count, byte) in (1..).zip(endless.take(allowed)) {
            assert_eq!(server.handshake_error(), None, "{error} at {count}");
            server.receive_data(&[byte], NOW);
            assert_eq!(server.parse_next(), count == allowed);
        }
        assert_eq!(server.handshake_error(), Some(&HandshakeError::Head(error)));
    }
}

#[test]
fn more_headers_than_usual_are_read_where_they_are_allowed() {
    let many = "a: b\r\n".repeat(200);
    let request = request("X:", many.trim_end());
    let limits = HeadLimits {
        headers: usize::MAX,
        ..HeadLimits::default()
    };
    let config = Config::new().head_limits(limits);
    let mut server = ServerConnection::new(Default::default(), config);
    server.receive_data(&request, NOW);
    let Some(Event::Request(request)) = server.next_event() else {
        panic!("{:?}", server.handshake_error())
    };
    assert_eq!(request.headers().get_all("A").count(), 200);
}

#[test]
fn requests_that_ask_for_something_else_are_refused() {
    let cases = [
        ("GET", "POST /chat HTTP/1.1", 405),
        ("GET", "GET /chat HTTP/1.0", 505),
        ("Host", "X: y", 400),
        ("Host", "Host: a\r\nHost: a", 400),
        ("Host", "Host: a b", 400),
        ("Upgrade", "X: y", 426),
        ("Upgrade", "Upgrade: h2c", 426),
        ("Connection", "Connection: keep-alive", 426),
        ("Sec-WebSocket-Key", "X: y", 400),
        (
            "Sec-WebSocket-Key",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=",
            400,
        ),
        ("Sec-WebSocket-Version", "Sec-WebSocket-Version: 7", 426),
        ("X:", "Content-Length: 1", 400),
        ("X:", "Transfer-Encoding: chunked", 400),
        ("X:", "Origin: null", 403),
        ("X:", "Origin: https://evil.example", 403),
        ("X:", "Sec-WebSocket-Extensions: a;b=\"", 400),
    ];
    for (replaced, line, status) in cases {
        let outcome = serve(&request(replaced, line), accept);
        assert_eq!(outcome.events, ["request /chat", FAILED], "{line}");
        let text = outcome.text();
        assert!(
            text.starts_with(&format!("HTTP/1.1 {status} ")),
            "{line}: {text}"
        );
        assert!(text.contains("\r\nConnection: close\r\n"), "{line}: {text}");
        assert!(outcome.ended && outcome.error.is_some(), "{line}");
    }
}

#[test]
fn a_refused_origin_is_reported_with_the_host_that_it_was_compared_with() {
    let request = request("X:", "Origin: https://evil.example/\u{202e}");
    let text = serve(&request, accept).text();
    let expected = "Origin https://evil.example/\\u{202e} is not allowed: the Host of the request is example.com.";
    assert!(text.contains(expected), "{text}");
}

/// How a server answers a request.
type Respond = fn(&mut ServerConnection, &Request) -> Response;

#[test]
fn the_answer_to_a_head_request_has_no_body_and_its_length() {
    let refusals: [(Vec<u8>, Respond); 3] = [
        (request("GET", "HEAD /chat HTTP/1.1"), accept),
        (request("GET", "HEAD /chat HTTP/1.1"), |server, _| {
            server.reject(StatusCode::OK, "ok\n")
        }),
        (b"HEAD / HTTP/1.1\r\n(: b\r\n\r\n".to_vec(), accept),
    ];
    for (request, respond) in refusals {
        let outcome = serve(&request, respond);
        let text = outcome.text();
        assert!(text.ends_with("\r\n\r\n"), "{text}");
        assert!(text.contains("\r\nContent-Length: "), "{text}");
        assert!(!text.contains("\r\nContent-Length: 0\r\n"), "{text}");
        assert!(outcome.ended && outcome.error.is_some());
    }
    let mut server = server();
    server.receive_data(&request("GET", "HEAD /chat HTTP/1.1"), NOW);
    let Some(Event::Request(request)) = server.next_event() else {
        panic!("{:?}", server.handshake_error())
    };
    server.answer(&request).unwrap();
    let mut outcome = Outcome::default();
    outcome.drain(server.data_to_send());
    assert!(outcome.text().starts_with("HTTP/1.1 405 "));
    assert!(outcome.text().ends_with("\r\n\r\n"));
    let (response, _) = ServerOptions::new().accept(&request);
    let mut written = Vec::new();
    response.write_to(&mut written).unwrap();
    assert_eq!(written, outcome.sent);
}

#[test]
fn an_answer_whose_status_forbids_a_body_has_none() {
    let statuses: [(Respond, bool); 4] = [
        (|server, _| server.reject(status(103), "wait\n"), false),
        (|server, _| server.reject(status(204), "gone\n"), false),
        (|server, _| server.reject(status(304), "same\n"), true),
        (|server, _| server.reject(status(205), ""), true),
    ];
    for (respond, has_length) in statuses {
        let text = serve(REQUEST, respond).text();
        assert!(text.ends_with("\r\n\r\n"), "{text}");
        assert_eq!(text.contains("Content-Length"), has_length, "{text}");
    }
}

fn status(number: u16) -> StatusCode {
    StatusCode::new(number).unwrap()
}

#[test]
fn a_request_that_breaks_off_at_any_byte_is_not_answered() {
    for bytes in 0..REQUEST.len() {
        for parts in [
            vec![&REQUEST[..bytes]],
            REQUEST[..bytes].chunks(1).collect(),
        ] {
            let mut server = server();
            for part in parts {
                server.receive_data(part, NOW);
                assert!(server.next_event().is_none());
            }
            server.receive_eof(NOW);
            assert!(matches!(server.next_event(), Some(Event::Failed(_))));
            assert!(server.next_event().is_none());
            let error = HandshakeError::Head(HeadError::Incomplete { bytes });
            assert_eq!(server.handshake_error(), Some(&error));
            assert!(server.data_to_send().is_empty());
            assert_eq!(server.state(), State::Closed);
        }
    }
}

#[test]
fn a_client_that_leaves_behind_its_request_is_not_answered() {
    let mut server = server();
    server.receive_data(REQUEST, NOW);
    server.receive_eof(NOW);
    let Some(Event::Request(request)) = server.next_event() else {
        panic!("no request")
    };
    let response = server.accept(&request);
    let refused = server.send_response(&response);
    assert_eq!(refused, Err(SendError::State(State::Closed)));
    assert!(server.data_to_send().is_empty());
}

#[test]
fn a_slow_request_runs_into_the_deadline() {
    let mut server = server();
    server.handle_timeout(NOW);
    for (second, byte) in (0..).step_by(9).zip(REQUEST.iter().take(2)) {
        server.receive_data(&[*byte], after(second));
        server.handle_timeout(after(second));
        assert_eq!(server.state(), State::Connecting);
    }
    server.handle_timeout(after(10));
    assert_eq!(server.state(), State::Closed);
    assert_eq!(server.failure(), Some(&Failure::TimedOut(Deadline::Open)));
    assert!(server.data_to_send().is_empty());
}

#[test]
fn one_response_is_sent() {
    let mut server = server();
    server.receive_data(REQUEST, NOW);
    let Some(Event::Request(request)) = server.next_event() else {
        panic!("no request")
    };
    let response = server.accept(&request);
    server.send_response(&response).unwrap();
    let again = server.send_response(&response);
    assert_eq!(again, Err(SendError::State(State::Open)));

    let mut server = self::server();
    server.receive_data(b"?", NOW);
    assert!(matches!(server.next_event(), Some(Event::Failed(_))));
    let again = server.send_response(&response);
    assert_eq!(again, Err(SendError::State(State::Connecting)));
}

/// Has a server answer a request, in the way of `answer`, and returns what came of it.
fn answered(
    bytes: &[u8],
    answer: fn(&mut ServerConnection, &Request) -> Result<(), SendError>,
) -> (Outcome, Negotiated) {
    let options = ServerOptions::new().subprotocols(["chat", "superchat"]);
    let config = Config::new().deflate(Deflate::new());
    let mut server = ServerConnection::new(Arc::new(options), config);
    server.receive_data(bytes, NOW);
    let Some(Event::Request(request)) = server.next_event() else {
        panic!("no request")
    };
    answer(&mut server, &request).unwrap();
    let again = answer(&mut server, &request);
    assert_eq!(again, Err(SendError::State(server.state())));
    let mut outcome = Outcome::default();
    outcome.drain(server.data_to_send());
    outcome.state = Some(server.state());
    outcome.error = server.handshake_error().cloned();
    (outcome, server.negotiated().clone())
}

#[test]
fn to_answer_is_to_accept_and_to_send_the_response() {
    let deflate = "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10";
    let subprotocols = "Sec-WebSocket-Protocol: superchat, other";
    let both = format!("{deflate}\r\n{subprotocols}");
    let mut opened = 0;
    for (replaced, line) in [
        ("X:", "X: y"),
        ("X:", deflate),
        ("X:", subprotocols),
        ("X:", &both),
        ("X:", "Origin: http://other"),
        ("X:", "Sec-WebSocket-Protocol: a b"),
        ("GET", "POST /chat HTTP/1.1"),
        ("Sec-WebSocket-Version", "Sec-WebSocket-Version: 12"),
    ] {
        let bytes = request(replaced, line);
        let at_once = answered(&bytes, ServerConnection::answer);
        let in_steps = answered(&bytes, |server, request| {
            let response = server.accept(request);
            server.send_response(&response)
        });
        assert_eq!(at_once, in_steps, "{line}");
        opened += usize::from(at_once.0.state == Some(State::Open));
    }
    assert_eq!(opened, 4);
}

#[test]
fn a_request_that_was_not_given_out_is_not_answered() {
    let mut server = server();
    let request = Request::parse(REQUEST, &HeadLimits::default()).unwrap();
    server.receive_data(REQUEST, NOW);
    let early = server.answer(&request);
    assert!(matches!(early, Err(SendError::SwitchingProtocols(_))));
    assert_eq!(server.state(), State::Connecting);
    assert!(server.io().output().is_empty());
}

#[test]
fn a_server_may_refuse_before_it_has_read_the_request_but_not_accept() {
    let mut server = server();
    server.receive_data(REQUEST, NOW);
    let response = Response::new(StatusCode::SWITCHING_PROTOCOLS);
    let early = server.send_response(&response);
    assert!(matches!(early, Err(SendError::SwitchingProtocols(_))));
    assert_eq!(server.state(), State::Connecting);
    assert!(server.io().output().is_empty());

    let response = server.reject(StatusCode::SERVICE_UNAVAILABLE, "too many of you");
    server.send_response(&response).unwrap();
    let mut outcome = Outcome::default();
    outcome.drain(server.data_to_send());
    assert!(outcome.text().starts_with("HTTP/1.1 503 ") && outcome.ended);
    assert!(matches!(server.next_event(), Some(Event::Failed(_))));
    assert!(server.next_event().is_none());
}

/// RFC 8441: an HTTP stack sends such requests and the responses to them.
#[test]
fn nothing_of_extended_connect_is_written_as_text() {
    let uri: Uri = "ws://example.com/chat".parse().unwrap();
    for version in [HttpVersion::Http2, HttpVersion::Http3] {
        let error = Err(SendError::HttpVersion(version));
        let options = ClientOptions::new();
        let handshake =
            ClientHandshake::extended_connect(&uri, version, &options, &Config::new()).unwrap();
        let mut client = client();
        assert_eq!(client.send_request(handshake.request().clone()), error);
        assert!(client.data_to_send().is_empty());
        client.send_request(client.connect()).unwrap();

        let pseudo = handshake.request().pseudo_headers().unwrap();
        let headers = handshake.request().headers().clone();
        let request = Request::extended_connect(version, pseudo, headers).unwrap();
        let mut server = server();
        server.receive_data(REQUEST, NOW);
        assert!(matches!(server.next_event(), Some(Event::Request(_))));
        assert_eq!(server.answer(&request), error);
        let response = server.accept(&request);
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(server.send_response(&response), error);
        assert_eq!(server.state(), State::Connecting);
        assert!(server.data_to_send().is_empty());
    }
}

fn deflating() -> ServerConnection {
    let config = Config::new().deflate(Deflate::new());
    ServerConnection::new(Default::default(), config)
}

/// A server that has the request for a compressed connection, and its response to it.
fn deflate_offered() -> (ServerConnection, Response) {
    let offer = "Sec-WebSocket-Extensions: permessage-deflate";
    let mut server = deflating();
    server.receive_data(&request("X:", offer), NOW);
    let Some(Event::Request(request)) = server.next_event() else {
        panic!("no request")
    };
    let response = server.accept(&request);
    assert!(response.headers().contains("Sec-WebSocket-Extensions"));
    (server, response)
}

#[test]
fn an_edited_response_opens_with_what_it_says() {
    let (mut server, mut response) = deflate_offered();
    response.headers_mut().remove("Sec-WebSocket-Extensions");
    let name = "Sec-WebSocket-Protocol";
    response.headers_mut().append(name, "chat").unwrap();
    server.send_response(&response).unwrap();
    assert!(server.negotiated().extensions.is_empty());
    assert_eq!(server.subprotocol(), Some("chat"));
    let mut outcome = Outcome::default();
    outcome.drain(server.data_to_send());
    server
        .send("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
        .unwrap();
    assert_eq!(server.data_to_send().chunk()[0], 0x81);
}

#[test]
fn a_101_made_by_hand_opens_without_extensions() {
    let (mut server, _) = deflate_offered();
    let mut response = Response::new(StatusCode::SWITCHING_PROTOCOLS);
    response.headers_mut().append("X", "by hand").unwrap();
    server.send_response(&response).unwrap();
    assert_eq!(server.state(), State::Open);
    assert!(server.negotiated().extensions.is_empty());
}

#[test]
fn a_101_that_cannot_open_changes_nothing() {
    let mut body = Response::new(StatusCode::SWITCHING_PROTOCOLS);
    body.set_body("\u{1}\u{1}");
    let named = |name: &str, value: &str| {
        let mut response = Response::new(StatusCode::SWITCHING_PROTOCOLS);
        response.headers_mut().append(name, value).unwrap();
        response
    };
    for bad in [
        body,
        named("Sec-WebSocket-Extensions", "unknown"),
        named("Sec-WebSocket-Extensions", "permessage-deflate, unknown"),
        named(
            "Sec-WebSocket-Extensions",
            "permessage-deflate, permessage-deflate",
        ),
        named("Sec-WebSocket-Extensions", "a;"),
        named("Sec-WebSocket-Protocol", "a b"),
    ] {
        let (mut server, good) = deflate_offered();
        let refused = server.send_response(&bad);
        assert!(
            matches!(refused, Err(SendError::SwitchingProtocols(_))),
            "{bad:?}"
        );
        assert_eq!(server.state(), State::Connecting, "{bad:?}");
        assert!(server.data_to_send().is_empty(), "{bad:?}");
        server.send_response(&good).unwrap();
        assert_eq!(server.state(), State::Open);
        assert_eq!(server.negotiated().extensions.len(), 1);
    }
}

fn client() -> ClientConnection {
    client_with(Config::new())
}

fn client_with(config: Config) -> ClientConnection {
    let uri: Uri = "ws://example.com/chat".parse().unwrap();
    let config = config.entropy(FixedSeed([7; 32]));
    ClientConnection::new(&uri, &ClientOptions::new(), config).unwrap()
}

/// The response of our server to our client, as it goes over the wire.
fn accepted() -> Vec<u8> {
    let mut client = client();
    client.send_request(client.connect()).unwrap();
    let mut sent = Outcome::default();
    sent.drain(client.data_to_send());
    serve_parts(server(), &[&sent.sent], accept).sent
}

fn connect_parts(parts: &[&[u8]], eof: bool) -> Outcome {
    let mut client = client();
    let mut outcome = Outcome::default();
    client.send_request(client.connect()).unwrap();
    outcome.drain(client.data_to_send());
    outcome.sent.clear();
    for part in parts {
        client.receive_data(part, NOW);
        while let Some(event) = client.next_event() {
            outcome.note(&event);
        }
        outcome.drain(client.data_to_send());
    }
    if eof {
        client.receive_eof(NOW);
        while let Some(event) = client.next_event() {
            outcome.note(&event);
        }
        outcome.drain(client.data_to_send());
    }
    outcome.state = Some(client.state());
    outcome.error = client.handshake_error().cloned();
    outcome
}

/// Feeds a client with bytes cut in every way; all must come to the same.
#[track_caller]
fn connect(bytes: &[u8], eof: bool) -> Outcome {
    let whole = connect_parts(&[bytes], eof);
    for parts in cuts(bytes) {
        assert_eq!(connect_parts(&parts, eof), whole, "{parts:x?}");
    }
    whole
}

#[test]
fn frames_glued_to_the_101_are_given_in_order() {
    let frames = b"\x81\x01a\x81\x01b\x89\x00\x81\x01c";
    let outcome = connect(&[&accepted()[..], frames].concat(), false);
    let expected = [
        "response 101 Switching Protocols",
        "message Some(\"a\")",
        "message Some(\"b\")",
        "ping []",
        "message Some(\"c\")",
    ];
    assert_eq!(outcome.events, expected);
    assert_eq!(outcome.state, Some(State::Open));
    assert_eq!(outcome.error, None);
}

#[test]
fn eight_interim_responses_are_skipped_and_no_more() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    for count in [1, 8] {
        let bytes = [interim.repeat(count).as_bytes(), &accepted()].concat();
        let outcome = connect(&bytes, false);
        assert_eq!(outcome.events, ["response 101 Switching Protocols"]);
    }
    let bytes = [interim.repeat(9).as_bytes(), &accepted()].concat();
    let outcome = connect(&bytes, false);
    assert_eq!(outcome.events, ["response 103", FAILED]);
    assert!(outcome.ended && outcome.sent.is_empty());
}

#[test]
fn a_101_that_does_not_answer_the_request_fails() {
    let good = String::from_utf8(accepted()).unwrap();
    let cases = [
        ("Upgrade: websocket", "Upgrade: h2c"),
        ("Upgrade: websocket\r\n", ""),
        ("Connection: Upgrade", "Connection: close"),
        ("Sec-WebSocket-Accept: ", "Sec-WebSocket-Accept: x"),
        ("Sec-WebSocket-Accept: ", "X: "),
        (
            "\r\n\r\n",
            "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
        ),
        ("\r\n\r\n", "\r\nSec-WebSocket-Protocol: chat\r\n\r\n"),
        ("HTTP/1.1", "HTTP/1.0"),
    ];
    for (from, to) in cases {
        let bytes = [good.replace(from, to).as_bytes(), b"\x81\x01a"].concat();
        let outcome = connect(&bytes, false);
        let response = "response 101 Switching Protocols";
        assert_eq!(outcome.events, [response, FAILED], "{to}");
        assert!(outcome.error.is_some(), "{to}");
        assert!(outcome.ended && outcome.sent.is_empty(), "{to}");
        assert_eq!(outcome.state, Some(State::Connecting), "{to}");
    }
}

#[test]
fn what_is_no_response_fails() {
    let cases: [&[u8]; 10] = [
        b"\r\nHTTP/1.1 101 X\r\n\r\n",
        b"HTTP/2.0 101 X\r\n\r\n",
        b"HTTP/1.1  101 X\r\n\r\n",
        b"HTTP/1.1 600 X\r\n\r\n",
        b"HTTP/1.1 099 X\r\n\r\n",
        b"HTTP/1.1 101 X\nA: b\n\n",
        b"HTTP/1.1 101 X\r\n A: b\r\n\r\n",
        b"HTTP/1.1 101 X\r\nA : b\r\n\r\n",
        b"HTTP/1.1 101 \x00\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
    ];
    for bytes in cases {
        let outcome = connect(bytes, false);
        let shown = bytes.escape_ascii();
        assert_eq!(outcome.events, [FAILED], "{shown}");
        assert!(
            matches!(outcome.error, Some(HandshakeError::Head(_))),
            "{shown}"
        );
        assert!(outcome.ended && outcome.sent.is_empty(), "{shown}");
    }
}

#[test]
fn a_server_of_another_protocol_is_told_by_its_first_line() {
    let long = [b'x'; 100];
    let cases: [(&[u8], &[u8]); 4] = [
        (b"SSH-2.0-OpenSSH_9.2\r\n", b"SSH-2.0-OpenSSH_9.2\r\n"),
        (b"220 mail\r\n250 more\r\n", b"220 mail\r\n"),
        (b"http/1.1 101 X\n", b"http/1.1 101 X\n"),
        (&long, &[b'x'; 32]),
    ];
    for (bytes, first) in cases {
        let outcome = connect(bytes, false);
        let start = first.to_vec().into();
        assert_eq!(outcome.error, Some(HandshakeError::NotHttp { start }));
        assert_eq!(outcome.events, [FAILED]);
        assert!(outcome.ended);
    }
    let start = b"+OK".as_slice().into();
    let broken_off = connect(b"+OK", true);
    assert_eq!(broken_off.error, Some(HandshakeError::NotHttp { start }));
}

#[test]
fn an_endless_head_of_a_response_fails_at_the_limit() {
    let many = format!("HTTP/1.1 101 X\r\n{}", "a: b\r\n".repeat(101));
    let large = format!("HTTP/1.1 101 X\r\na: {}", "b".repeat(16_384));
    let long = format!("HTTP/1.1 101 {}", "b".repeat(8192));
    for (head, error) in [
        (many, HeadError::TooManyHeaders { limit: 100 }),
        (large, HeadError::HeadTooLarge { limit: 16_384 }),
        (long, HeadError::StartLineTooLong { limit: 8192 }),
    ] {
        let outcome = connect_parts(&[head.as_bytes()], false);
        assert_eq!(outcome.error, Some(HandshakeError::Head(error)));
        let bytewise: Vec<_> = head.as_bytes().chunks(1).collect();
        assert_eq!(connect_parts(&bytewise, false), outcome);
    }
}

#[test]
fn a_response_that_breaks_off_at_any_byte_is_incomplete() {
    let response = accepted();
    for bytes in 0..response.len() {
        let whole = connect_parts(&[&response[..bytes]], true);
        let error = HandshakeError::Head(HeadError::Incomplete { bytes });
        assert_eq!(whole.error, Some(error));
        assert_eq!(whole.state, Some(State::Closed));
        let bytewise: Vec<_> = response[..bytes].chunks(1).collect();
        assert_eq!(connect_parts(&bytewise, true), whole);
    }
}

/// Returns the response in the error, which is also the event.
#[track_caller]
fn refusal(bytes: &[u8], eof: bool) -> Response {
    let outcome = connect(bytes, eof);
    let Some(HandshakeError::Refused(response)) = outcome.error else {
        panic!("{:?}", outcome.error)
    };
    let event = format!("response {}", response.status());
    assert_eq!(outcome.events, [&event, FAILED]);
    assert!(outcome.ended && outcome.sent.is_empty());
    *response
}

#[test]
fn a_refusal_is_given_with_its_body() {
    let cases = [
        (
            "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno",
            false,
            "no",
        ),
        (
            "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno HTTP/1.1 101",
            false,
            "no",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n",
            false,
            "hi",
        ),
        (
            "HTTP/1.1 302 Found\r\nLocation: javascript:0\r\nContent-Length: 0\r\n\r\n",
            false,
            "",
        ),
        ("HTTP/1.1 407 X\r\n\r\nuntil the end", true, "until the end"),
        (
            "HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n",
            false,
            "",
        ),
    ];
    for (bytes, eof, body) in cases {
        let response = refusal(bytes.as_bytes(), eof);
        assert_eq!(response.body(), body, "{bytes}");
        assert!(!response.is_body_truncated(), "{bytes}");
    }
}

#[test]
fn a_refusal_is_given_though_its_body_is_malformed_or_breaks_off() {
    let cases = [
        ("Content-Length: x\r\n\r\nno", false, ""),
        (
            "Content-Length: 1\r\nContent-Length: 2\r\n\r\nno",
            false,
            "",
        ),
        ("Transfer-Encoding: gzip, chunked\r\n\r\nno", false, ""),
        (
            "Transfer-Encoding: chunked\r\n\r\n2\r\nno\r\n?\r\n",
            false,
            "no",
        ),
        ("Content-Length: 9\r\n\r\nno", true, "no"),
        ("Transfer-Encoding: chunked\r\n\r\n9\r\nno", true, "no"),
    ];
    for (rest, eof, body) in cases {
        let response = refusal(format!("HTTP/1.1 503 X\r\n{rest}").as_bytes(), eof);
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.body(), body, "{rest}");
        assert!(response.is_body_truncated(), "{rest}");
    }
}

#[test]
fn an_endless_refusal_is_cut_and_not_waited_for() {
    let mut client = client();
    client.send_request(client.connect()).unwrap();
    client.receive_data(b"HTTP/1.1 500 X\r\n\r\n", NOW);
    for count in 0.. {
        assert!(count < 100, "the client goes on reading");
        client.receive_data(&[b'x'; 100], NOW);
        if let Some(Event::Response(response)) = client.next_event() {
            assert_eq!(response.body().len(), 4096);
            assert!(response.is_body_truncated());
            break;
        }
    }
    assert!(matches!(client.next_event(), Some(Event::Failed(_))));
    assert!(client.next_event().is_none());
}

#[test]
fn of_a_refusal_as_much_is_kept_as_was_asked_for() {
    for (limit, body) in [
        (0, ""),
        (9, "123456789"),
        (10, "1234567890"),
        (11, "1234567890"),
    ] {
        let mut client = client_with(Config::new().max_refusal_body(limit));
        client.send_request(client.connect()).unwrap();
        client.receive_data(
            b"HTTP/1.1 403 X\r\nContent-Length: 10\r\n\r\n1234567890",
            NOW,
        );
        let Some(Event::Response(response)) = client.next_event() else {
            panic!("no response with a limit of {limit}")
        };
        assert_eq!(response.body(), body.as_bytes());
        assert_eq!(response.is_body_truncated(), limit < 10);
    }
}

#[test]
fn a_request_is_sent_once_and_nothing_else_before_the_101() {
    let mut client = client();
    let request = client.connect();
    client.send_request(request.clone()).unwrap();
    let again = client.send_request(request);
    assert_eq!(again, Err(SendError::State(State::Connecting)));
    assert_eq!(
        client.send("early"),
        Err(SendError::State(State::Connecting))
    );
    let mut outcome = Outcome::default();
    outcome.drain(client.data_to_send());
    assert!(
        outcome
            .text()
            .starts_with("GET /chat HTTP/1.1\r\nHost: example.com\r\n")
    );
    assert!(outcome.text().ends_with("\r\n\r\n") && !outcome.ended);
}

#[test]
fn every_connection_has_a_key_of_its_own() {
    let uri: Uri = "ws://example.com/chat".parse().unwrap();
    let mut keys = HashSet::new();
    for _ in 0..100 {
        let client = ClientConnection::new(&uri, &ClientOptions::new(), sansock::config());
        let request = client.unwrap().connect();
        let response = server().accept(&request);
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        keys.insert(
            request
                .headers()
                .get("Sec-WebSocket-Key")
                .map(<[u8]>::to_vec),
        );
    }
    assert_eq!(keys.len(), 100);
}

/// A source that fails.
#[derive(Debug)]
struct Nothing;

impl Entropy for Nothing {
    fn seed(&self) -> Result<[u8; 32], EntropyError> {
        Err(EntropyError)
    }
}

#[test]
fn without_entropy_there_is_no_client() {
    let uri: Uri = "ws://example.com/chat".parse().unwrap();
    let config = Config::new().entropy(Nothing);
    let client = ClientConnection::new(&uri, &ClientOptions::new(), config);
    assert!(matches!(client, Err(ConnectionError::Entropy(_))));
    let client = ClientConnection::new(&uri, &ClientOptions::new(), Config::new());
    assert!(client.is_ok(), "the default is the operating system's");
}

#[test]
fn a_server_that_speaks_first_is_not_believed() {
    let mut client = client();
    client.receive_data(
        b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        NOW,
    );
    assert!(matches!(client.next_event(), Some(Event::Response(_))));
    assert!(matches!(
        client.handshake_error(),
        Some(HandshakeError::Accept { .. })
    ));
    let late = client.send_request(client.connect());
    assert_eq!(late, Err(SendError::State(State::Connecting)));
}

#[test]
fn the_connection_behind_the_handshake_goes_on_where_it_was() {
    let mut server = server();
    server.receive_data(&[REQUEST, &FRAME[..3]].concat(), NOW);
    let Some(Event::Request(request)) = server.next_event() else {
        panic!("no request")
    };
    let response = server.accept(&request);
    server.send_response(&response).unwrap();
    let mut connection: Connection = server.into_connection();
    assert!(connection.next_event().is_none());
    connection.receive_data(&FRAME[3..], NOW);
    assert!(matches!(connection.next_event(), Some(Event::Message(_))));
}

/// A subprotocol is a token (RFC 6455 section 4.1), also if the application would take another name.
#[test]
fn what_is_accepted_can_be_sent() {
    for offered in ["a", "a/b", "a/b, a"] {
        let options = ServerOptions::new().subprotocols(["a/b", "a"]);
        let mut server = ServerConnection::new(Arc::new(options), Config::new());
        let request = format!(
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: {offered}\r\n\r\n"
        );
        server.receive_data(request.as_bytes(), NOW);
        let Some(Event::Request(request)) = server.next_event() else {
            panic!("a request");
        };
        let response = server.accept(&request);
        assert_eq!(server.send_response(&response), Ok(()), "{offered}");
        let expected = if offered == "a" { 101 } else { 400 };
        assert_eq!(response.status().number(), expected, "{offered}");
    }
}
