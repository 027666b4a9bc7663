//! Requests and responses of the opening handshake: the same however they are cut, and what opens a
//! connection keeps the rules of RFC 6455 section 4, read strictly.

use std::sync::{Arc, LazyLock};

use bytes::Buf;
use sansock_core::deflate::Deflate;
use sansock_core::handshake::{
    ClientOptions, HandshakeError, Request, Response, ServerOptions, Uri, accept_value,
};
use sansock_core::{
    ClientConnection, Config, Connection, DataToSend, Event, FixedSeed, Instant, ServerConnection,
    State,
};

use super::input::Input;
use crate::seen::Seen;

/// What came of a head.
#[derive(Debug, PartialEq)]
struct Outcome {
    events: Vec<Got>,
    sent: Vec<u8>,
    state: State,
    error: Option<HandshakeError>,
}

/// An event.
#[derive(Debug, PartialEq)]
enum Got {
    Request(Request),
    Response(Response),
    Other(Seen),
}

fn take(mut data: DataToSend<'_>) -> Vec<u8> {
    let size = data.remaining();
    let bytes = data.copy_to_bytes(size).to_vec();
    let _ = data.take_end();
    bytes
}

fn config() -> Config {
    static CONFIG: LazyLock<Config> = LazyLock::new(|| {
        let config = Config::new().entropy(FixedSeed([3; 32]));
        config.deflate(Deflate::new())
    });
    CONFIG.clone()
}

/// A request is judged the same in any pieces; an accepted one keeps every rule, and one that keeps them
/// beyond doubt is accepted.
pub(super) fn server_head(data: &[u8]) {
    let mut input = Input(data);
    let mut cuts = input.cuts();
    let wire = input.0;
    let whole = serve(&[wire]);
    assert_eq!(serve(&cuts.pieces(wire)), whole);
    if whole.state != State::Connecting {
        assert!(whole.sent.starts_with(b"HTTP/1.1 101 "));
        assert!(is_request(wire), "accepted");
        return;
    }
    assert!(!is_plain_request(wire), "not accepted: {:?}", whole.error);
    if !whole.sent.is_empty() {
        assert!(whole.sent.starts_with(b"HTTP/1.1 4") || whole.sent.starts_with(b"HTTP/1.1 505 "));
        assert!(whole.error.is_some());
    }
}

/// A server that takes whatever subprotocol is offered.
fn options() -> Arc<ServerOptions> {
    static OPTIONS: LazyLock<Arc<ServerOptions>> = LazyLock::new(|| {
        let last = |_: &Request, offers: &[&str]| Ok(offers.last().map(|name| (*name).into()));
        Arc::new(ServerOptions::new().select_subprotocol(last))
    });
    OPTIONS.clone()
}

fn serve(pieces: &[&[u8]]) -> Outcome {
    let mut server = ServerConnection::new(options(), config());
    let (mut events, mut sent) = (Vec::new(), Vec::new());
    for piece in pieces {
        server.receive_data(piece, Instant::START);
        while let Some(event) = server.next_event() {
            let Event::Request(request) = event else {
                events.push(Got::Other(event.into()));
                continue;
            };
            let response = server.accept(&request);
            server.send_response(&response).expect("the first response");
            events.push(Got::Request(request));
        }
        sent.extend(take(server.data_to_send()));
    }
    // How many pings are answered behind the response depends on when output is taken (RFC 6455 section 5.5.3).
    if server.state() != State::Connecting {
        sent.truncate(end_of_head(&sent).unwrap_or_default());
    }
    Outcome {
        events,
        sent,
        state: state_of(&server),
        error: server.handshake_error().cloned(),
    }
}

/// The state, as far as the handshake is concerned.
fn state_of(connection: &Connection) -> State {
    match connection.state() {
        State::Connecting => State::Connecting,
        State::Open | State::Closing | State::Closed => State::Open,
    }
}

/// Where the bytes behind a head begin.
fn end_of_head(wire: &[u8]) -> Option<usize> {
    let end = wire.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some(end + 4)
}

/// The lines of a head.
fn lines(wire: &[u8]) -> Option<(String, Vec<(String, String)>)> {
    let end = end_of_head(wire)? - 4;
    // Bytes from 0x80 are opaque: one character each.
    let head: String = wire[..end].iter().map(|byte| char::from(*byte)).collect();
    let mut lines = head.split("\r\n");
    let start = lines.next()?.to_owned();
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        let is_text = |c: char| c == '\t' || !c.is_ascii_control();
        let valid = !name.is_empty() && name.chars().all(is_token) && value.chars().all(is_text);
        let value = value.trim_matches([' ', '\t']).to_owned();
        valid.then(|| (name.to_ascii_lowercase(), value))
    });
    Some((start, headers.collect::<Option<_>>()?))
}

fn values<'a>(headers: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    let of_name = headers.iter().filter(|header| header.0 == name);
    of_name.map(|header| &header.1[..]).collect()
}

fn has_token(headers: &[(String, String)], name: &str, token: &str) -> bool {
    let values = values(headers, name);
    let mut tokens = values.iter().flat_map(|value| value.split(','));
    tokens.any(|found| found.trim_matches([' ', '\t']).eq_ignore_ascii_case(token))
}

/// 16 bytes in base64. The bits of the last digit that encode nothing may be set (RFC 4648 section 3.5).
fn is_key(key: &str) -> bool {
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || c == '+' || c == '/';
    key.strip_suffix("==")
        .is_some_and(|digits| digits.len() == 22 && digits.chars().all(is_base64))
}

/// Section 4.2.1. An empty line in front is ignored (RFC 9112 section 2.2).
fn is_request(wire: &[u8]) -> bool {
    let wire = wire.strip_prefix(b"\r\n").unwrap_or(wire);
    let Some((start, headers)) = lines(wire) else {
        return false;
    };
    let parts: Vec<&str> = start.split(' ').collect();
    let [method, target, version] = parts[..] else {
        return false;
    };
    let length_is_0 = |value: &&str| !value.is_empty() && value.chars().all(|c| c == '0');
    method == "GET"
        && version == "HTTP/1.1"
        && !target.is_empty()
        && target.chars().all(|c| c.is_ascii_graphic() && c != '#')
        && matches!(values(&headers, "host")[..], [host] if !host.is_empty())
        && has_token(&headers, "upgrade", "websocket")
        && has_token(&headers, "connection", "upgrade")
        && values(&headers, "sec-websocket-version") == ["13"]
        && matches!(values(&headers, "sec-websocket-key")[..], [key] if is_key(key))
        && values(&headers, "transfer-encoding").is_empty()
        && values(&headers, "content-length").iter().all(length_is_0)
        && values(&headers, "origin").len() <= 1
}

/// Headers in which a server has a choice, or may find fault in its own way.
const OF_CHOICE: [&str; 3] = [
    "origin",
    "sec-websocket-extensions",
    "sec-websocket-protocol",
];

/// Whether nothing about a request is left to choose or to doubt.
fn is_plain_request(wire: &[u8]) -> bool {
    if !wire.starts_with(b"GET /") {
        return false;
    }
    let Some((start, headers)) = lines(wire) else {
        return false;
    };
    let is_name = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric());
    let host = values(&headers, "host");
    is_request(wire)
        && headers.len() <= 64
        && start[5..].split(' ').next().is_some_and(is_name)
        && host.iter().all(|host| is_name(host))
        && values(&headers, "content-length").is_empty()
        && is_plain_upgrade(&headers)
}

fn is_plain_upgrade(headers: &[(String, String)]) -> bool {
    let is_one = |name, value: &str| {
        let values = values(headers, name);
        values.len() == 1 && values[0].eq_ignore_ascii_case(value)
    };
    is_one("upgrade", "websocket")
        && is_one("connection", "upgrade")
        && OF_CHOICE
            .iter()
            .all(|name| values(headers, name).is_empty())
}

/// Stands in an input for the right `Sec-WebSocket-Accept`.
const ACCEPT: &[u8] = b"ACCEPT";

/// A response is judged the same in any pieces; one that opens keeps every rule, and one that keeps them
/// beyond doubt opens.
pub(super) fn client_response(data: &[u8]) {
    let mut input = Input(data);
    let (ends, mut cuts) = (input.flag(), input.cuts());
    let accept = accept();
    let wire = replaced(input.0, accept);
    let whole = connect(&[&wire], ends);
    assert_eq!(connect(&cuts.pieces(&wire), ends), whole);
    assert_eq!(
        whole.sent, b"",
        "nothing before the connection is open but the request"
    );
    let is_open = whole.state == State::Open && whole.error.is_none() && !whole.events.is_empty();
    if is_open {
        assert!(is_response(&wire, accept), "accepted");
    } else {
        let plain = is_plain_response(&wire, accept);
        assert!(!plain, "not accepted: {:?}", whole.error);
    }
}

fn replaced(mut bytes: &[u8], accept: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::new();
    while let Some((byte, rest)) = bytes.split_first() {
        match bytes.strip_prefix(ACCEPT) {
            Some(rest) => {
                replaced.extend(accept);
                bytes = rest;
            }
            None => {
                replaced.push(*byte);
                bytes = rest;
            }
        }
    }
    replaced
}

/// What the server must answer to the request, the same one every time.
fn accept() -> &'static [u8; 28] {
    static ACCEPT: LazyLock<[u8; 28]> = LazyLock::new(|| {
        let request = client().connect();
        accept_value(request.headers().get("Sec-WebSocket-Key").expect("a key"))
    });
    &ACCEPT
}

fn client() -> ClientConnection {
    static TARGET: LazyLock<(Uri, ClientOptions)> = LazyLock::new(|| {
        let uri = "ws://example.com/".parse().expect("a URI");
        let options = ClientOptions::new();
        (uri, options.subprotocols(["chat", "superchat"]))
    });
    ClientConnection::new(&TARGET.0, &TARGET.1, config()).expect("a client")
}

/// A client that has sent its request.
fn connecting() -> ClientConnection {
    let mut client = client();
    let request = client.connect();
    client.send_request(request).expect("the first request");
    take(client.data_to_send());
    client
}

fn connect(pieces: &[&[u8]], ends: bool) -> Outcome {
    let mut client = connecting();
    let mut events = Vec::new();
    let mut sent = Vec::new();
    let mut note = |client: &mut ClientConnection| {
        while let Some(event) = client.next_event() {
            // What follows the handshake is another property's.
            if let Event::Response(response) = event {
                events.push(Got::Response(response));
            }
        }
        let output = take(client.data_to_send());
        if client.state() == State::Connecting {
            sent.extend(output);
        }
    };
    for piece in pieces {
        client.receive_data(piece, Instant::START);
        note(&mut client);
    }
    if ends {
        client.receive_eof(Instant::START);
        note(&mut client);
    }
    Outcome {
        events,
        sent,
        state: state_of(&client),
        error: client.handshake_error().cloned(),
    }
}

/// Section 4.1, of the response behind those that are interim. Where the phrase is missing, so may be the
/// space before it.
fn is_response(mut wire: &[u8], accept: &[u8]) -> bool {
    loop {
        let Some((start, headers)) = lines(wire) else {
            return false;
        };
        let is_switching = start == "HTTP/1.1 101" || start.starts_with("HTTP/1.1 101 ");
        let is_interim = start.starts_with("HTTP/1.") && !is_switching;
        if is_interim && start.as_bytes().get(9) == Some(&b'1') {
            wire = &wire[end_of_head(wire).expect("a head")..];
            continue;
        }
        let protocols = values(&headers, "sec-websocket-protocol");
        let is_offered = |name: &&str| {
            let name = name.trim_matches([' ', '\t', ',']);
            name == "chat" || name == "superchat"
        };
        let accept = std::str::from_utf8(accept).expect("base64");
        return is_switching
            && has_token(&headers, "upgrade", "websocket")
            && has_token(&headers, "connection", "upgrade")
            && values(&headers, "sec-websocket-accept") == [accept]
            && protocols.iter().all(is_offered);
    }
}

/// Whether nothing about a response is left to doubt.
fn is_plain_response(wire: &[u8], accept: &[u8]) -> bool {
    if !wire.starts_with(b"HTTP/1.1 101 ") {
        return false;
    }
    let Some((start, headers)) = lines(wire) else {
        return false;
    };
    let is_phrase = |c: char| c == ' ' || c.is_ascii_alphabetic();
    start[13..].chars().all(is_phrase)
        && headers.len() <= 64
        && is_plain_upgrade(&headers)
        && is_response(wire, accept)
}
