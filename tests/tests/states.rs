//! Every state by every input: what comes of it (RFC 6455 sections 4, 5.5 and 7).

use std::sync::Arc;
use std::time::Duration;

use bytes::Buf;
use sansock_core::handshake::{ClientOptions, ServerOptions, StatusCode, Uri};
use sansock_core::{
    ClientConnection, CloseCode, Connection, DataToSend, Fin, Instant, SendError, ServerConnection,
    Side, State,
};
use sansock_tests::end::{SIDES, at, config};
use sansock_tests::seen::Seen;
use sansock_tests::wire::{BINARY, CONTINUATION, FIN, PeerOf, TEXT};

/// How an input of [`TABLE`] is done to a connection.
type Input = fn(&mut Machine) -> Result<(), SendError>;

const STATES: [&str; 7] = [
    "connecting",
    "refused",
    "open",
    "close sent",
    "both closed",
    "failed",
    "closed",
];

/// Uses the connection of a machine, of either side.
macro_rules! either {
    ($machine:expr, $connection:ident => $result:expr) => {
        match $machine {
            Machine::Client($connection) => $result,
            Machine::Server($connection) => $result,
        }
    };
}

/// The rows are inputs, the columns [`STATES`]. In a cell stand, in this order, the error of the
/// command, `>` with what was sent (`>end` closes the write side), `<` with the events, and `=` with
/// the new state. Words for one side only start with its name.
#[rustfmt::skip]
const TABLE: &[(&str, Input, [&str; 7])] = &[
    // Commands.
    ("send", |m| either!(m, it => it.send("x")),
        ["connecting", "connecting", ">text", "closing", "closing", "closing", "closed"]),
    ("send_text", |m| either!(m, it => it.send_text("x", Fin::More)),
        ["connecting", "connecting", ">text", "closing", "closing", "closing", "closed"]),
    ("send_text_part", |m| either!(m, it => it.send_text_part(b"x", Fin::More)),
        ["connecting", "connecting", ">text", "closing", "closing", "closing", "closed"]),
    ("send_binary", |m| either!(m, it => it.send_binary(b"x", Fin::Last)),
        ["connecting", "connecting", ">binary", "closing", "closing", "closing", "closed"]),
    ("send_continuation", |m| either!(m, it => it.send_continuation(b"x", Fin::Last)),
        ["not begun", "not begun", "not begun", "not begun", "not begun", "not begun", "not begun"]),
    ("send_ping", |m| either!(m, it => it.send_ping(b"x")),
        ["connecting", "connecting", ">ping", ">ping", "closing", "closing", "closed"]),
    ("send_pong", |m| either!(m, it => it.send_pong(b"x")),
        ["connecting", "connecting", ">pong", ">pong", "closing", "closing", "closed"]),
    ("ping", |m| either!(m, it => it.ping(at(0)).map(|_| ())),
        ["connecting", "connecting", ">ping", ">ping", "closing", "closing", "closed"]),
    ("send_close", |m| either!(m, it => it.send_close(CloseCode::NORMAL, "x")),
        ["connecting", "connecting", ">close =closing", "closing", "closing", "closing", "closed"]),
    ("fail", |m| either!(m, it => it.fail(CloseCode::INTERNAL_ERROR, "x")),
        [">end <failed", "", ">close server>end <failed =closing", "server>end <failed", "", "", ""]),
    ("fail with 1006", |m| either!(m, it => it.fail(CloseCode::ABNORMAL_CLOSURE, "")),
        [">end <failed", "", "server>end <failed =closing", "server>end <failed", "", "", ""]),
    // Frames. Before the response they are kept by a server, and malformed HTTP to a client.
    ("text", |m| m.receive(FIN | TEXT, b"x"),
        ["client>end client<failed", "", "<text", "<text", "", "", ""]),
    ("binary", |m| m.receive(FIN | BINARY, b"x"),
        ["client>end client<failed", "", "<binary", "<binary", "", "", ""]),
    ("continuation", |m| m.receive(FIN | CONTINUATION, b"x"),
        ["client>end client<failed", "", ">close server>end <failed =closing", "server>end <failed", "", "", ""]),
    ("ping frame", |m| m.receive(FIN | 9, b"x"),
        ["client>end client<failed", "", ">pong <ping", ">pong <ping", "", "", ""]),
    ("pong frame", |m| m.receive(FIN | 10, b"x"),
        ["client>end client<failed", "", "<pong", "<pong", "", "", ""]),
    ("close frame", |m| m.receive(FIN | 8, b""),
        ["client>end client<failed", "", ">close server>end <close =closing", "server>end <close", "", "", ""]),
    ("malformed frame", |m| m.receive(0xF3, b"x"),
        ["client>end client<failed", "", ">close server>end <failed =closing", "server>end <failed", "", "", ""]),
    // The end of the stream, and time.
    ("end of stream", |m| { m.receive_eof(); Ok(()) },
        [">end <failed =closed", "=closed", ">end <failed =closed", ">end <failed =closed",
         "client>end =closed", "client>end =closed", ""]),
    ("nothing for 4 s", |m| m.pass(4), ["", "", "", "", "", "", ""]),
    ("nothing for 6 s", |m| m.pass(6),
        ["", "=closed", "", "<failed =closed", "=closed", "=closed", ""]),
    ("nothing for 21 s", |m| m.pass(21),
        ["<failed =closed", "=closed", ">ping", "<failed =closed", "=closed", "=closed", ""]),
];

#[test]
fn every_input_in_every_state_does_what_the_table_says() {
    let mut wrong = Vec::new();
    for side in SIDES {
        for (input, perform, cells) in TABLE {
            for (state, cell) in STATES.iter().zip(cells) {
                let mut machine = Machine::in_state(side, state);
                let before = machine.state();
                let result = perform(&mut machine);
                let (happened, expected) = (machine.describe(before, result), for_side(cell, side));
                if happened != expected {
                    wrong.push(format!(
                        "{side:?}, {state}: {input} does {happened:?}, not {expected:?}"
                    ));
                }
                assert_eq!(
                    machine.describe(machine.state(), Ok(())),
                    "",
                    "something of itself"
                );
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_request_or_response_follows_a_handshake_that_failed() {
    let mut client = ClientConnection::new(&uri(), &ClientOptions::new(), config()).unwrap();
    client.receive_data(b"the server speaks first\r\n\r\n", Instant::START);
    assert!(client.data_to_send().take_end());
    let error = Err(SendError::State(State::Connecting));
    assert_eq!(client.send_request(client.connect()), error);
    assert!(client.is_flushed());

    let Machine::Server(mut server) = Machine::in_state(Side::Server, "connecting") else {
        panic!("a server");
    };
    server.fail(CloseCode::INTERNAL_ERROR, "").unwrap();
    assert!(server.data_to_send().take_end());
    let response = server.reject(StatusCode::FORBIDDEN, "no");
    assert_eq!(server.send_response(&response), error);
    assert!(server.is_flushed());
}

fn uri() -> Uri {
    "ws://example.com/".parse().expect("a URI")
}

/// Leaves the words out that are for the other side.
fn for_side(cell: &str, side: Side) -> String {
    let (this, other) = match side {
        Side::Client => ("client", "server"),
        Side::Server => ("server", "client"),
    };
    let words = cell.split(' ').filter(|word| !word.starts_with(other));
    let words: Vec<&str> = words
        .map(|word| word.strip_prefix(this).unwrap_or(word))
        .collect();
    words.join(" ")
}

/// A connection from its first byte on.
enum Machine {
    Client(ClientConnection),
    Server(ServerConnection),
}

impl Machine {
    #[track_caller]
    fn in_state(side: Side, state: &str) -> Self {
        let mut machine = Self::connecting(side);
        match state {
            "connecting" => {}
            "refused" => machine.refuse(),
            _ => machine.open(),
        }
        match state {
            "close sent" | "both closed" => {
                either!(&mut machine, it => it.send_close(1000, "")).expect("open");
            }
            "failed" | "closed" => either!(&mut machine, it => it.fail(1011, "")).expect("open"),
            _ => {}
        }
        if state == "both closed" {
            machine.receive(FIN | 8, b"").expect("a frame");
        }
        if state == "closed" {
            machine.receive_eof();
        }
        machine.take();
        either!(&mut machine, it => it.handle_timeout(Instant::START));
        machine
    }

    /// A client that has sent its request, or a server that has given one out.
    fn connecting(side: Side) -> Self {
        let options = ClientOptions::new();
        let mut client = ClientConnection::new(&uri(), &options, config()).expect("a client");
        client
            .send_request(client.connect())
            .expect("a first request");
        if side == Side::Client {
            return Self::Client(client);
        }
        let mut data = client.data_to_send();
        let request = data.copy_to_bytes(data.remaining());
        let mut server = ServerConnection::new(Arc::new(ServerOptions::new()), config());
        server.receive_data(&request, Instant::START);
        let mut machine = Self::Server(server);
        machine.take();
        machine
    }

    fn open(&mut self) {
        match self {
            Self::Client(client) => {
                let request = client.connect();
                let (response, _) = ServerOptions::new().accept(&request);
                let mut head = Vec::new();
                response.write_to(&mut head).unwrap();
                client.receive_data(&head, Instant::START);
            }
            Self::Server(server) => {
                let Self::Client(client) = Self::connecting(Side::Client) else {
                    return;
                };
                let response = server.accept(&client.connect());
                server.send_response(&response).expect("a first response");
            }
        }
        self.take();
        assert_eq!(self.state(), State::Open);
    }

    fn refuse(&mut self) {
        match self {
            Self::Client(client) => {
                let refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
                client.receive_data(refusal, Instant::START);
            }
            Self::Server(server) => {
                let response = server.reject(StatusCode::FORBIDDEN, "no");
                server.send_response(&response).expect("a first response");
            }
        }
    }

    fn receive(&mut self, first: u8, payload: &[u8]) -> Result<(), SendError> {
        let frame = PeerOf(self.side()).frame(first, payload);
        either!(self, it => it.receive_data(&frame, Instant::START));
        Ok(())
    }

    fn receive_eof(&mut self) {
        either!(self, connection => connection.receive_eof(Instant::START));
    }

    fn pass(&mut self, seconds: u64) -> Result<(), SendError> {
        let now = Instant::from_start(Duration::from_secs(seconds));
        either!(self, it => it.handle_timeout(now));
        Ok(())
    }

    fn data_to_send(&mut self) -> DataToSend<'_> {
        either!(self, connection => connection.data_to_send())
    }

    /// Takes output and events, and says what they were.
    fn take(&mut self) -> Vec<String> {
        let (mut sent, mut events) = (Vec::new(), Vec::new());
        loop {
            let mut data = self.data_to_send();
            let bytes = data.copy_to_bytes(data.remaining());
            let ends = data.take_end();
            if let [first, _, ..] = bytes[..] {
                sent.push(format!(">{}", name_of(first)));
            }
            if ends {
                sent.push(">end".to_owned());
            }
            let event = either!(self, connection => connection.next_event().map(Seen::from));
            let Some(event) = event else { break };
            let debug = format!("{event:?}").to_lowercase();
            let name = debug.split('(').next().unwrap_or_default();
            events.push(format!("<{name}"));
        }
        sent.extend(events);
        sent
    }

    /// Says what came of an input, as a cell of the table does.
    fn describe(&mut self, before: State, result: Result<(), SendError>) -> String {
        let mut words = match result {
            Ok(()) => Vec::new(),
            Err(SendError::State(state)) => vec![state.to_string()],
            Err(SendError::UnexpectedContinuation) => vec!["not begun".to_owned()],
            Err(error) => vec![error.to_string()],
        };
        words.extend(self.take());
        if self.state() != before {
            words.push(format!("={}", self.state()));
        }
        words.join(" ")
    }
}

fn name_of(first: u8) -> &'static str {
    match first & 0xF {
        1 => "text",
        2 => "binary",
        8 => "close",
        9 => "ping",
        10 => "pong",
        _ => "something",
    }
}

impl std::ops::Deref for Machine {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        either!(self, connection => connection)
    }
}
