//! What is agreed on about permessage-deflate, in handshakes as they stand on the wire (RFC 7692
//! section 7.1), and what stays out of the window.

use bytes::Buf;
use sansock_core::deflate::Deflate;
use sansock_core::handshake::{ClientOptions, HandshakeError, Uri, accept_value};
use sansock_core::{
    ClientConnection, Compression, Config, Connection, Event, Failure, FixedSeed, Instant,
    Negotiated, ProtocolError, ServerConnection, Side, State,
};

const NOW: Instant = Instant::START;

/// Offers this to a server with compression; returns what it answers.
#[track_caller]
fn answered(offer: &str) -> Option<String> {
    answered_by(Deflate::new().server_max_window_bits(15), offer)
}

#[track_caller]
fn answered_by(deflate: Deflate, offer: &str) -> Option<String> {
    let config = Config::new().deflate(deflate);
    answer_to(config, offer).expect("an upgrade")
}

/// Offers this to a server; returns the extensions that it answers with, or the status with which it refuses.
fn answer_to(config: Config, offer: &str) -> Result<Option<String>, u16> {
    let mut server = ServerConnection::new(Default::default(), config);
    let request = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Extensions: {offer}\r\n\r\n"
    );
    server.receive_data(request.as_bytes(), NOW);
    let Some(Event::Request(request)) = server.next_event() else {
        panic!("no request: {offer}")
    };
    let response = server.accept(&request);
    server.send_response(&response).unwrap();
    if server.state() != State::Open {
        return Err(response.status().number());
    }
    let answer = response.headers().get_str("Sec-WebSocket-Extensions");
    Ok(answer.map(str::to_owned))
}

/// As [`answered`], where what is no header at all may be refused with 400.
#[track_caller]
fn answered_or_refused(offer: &str) -> Result<Option<String>, u16> {
    let deflate = Deflate::new().server_max_window_bits(15);
    let answer = answer_to(Config::new().deflate(deflate), offer);
    assert!(matches!(answer, Ok(_) | Err(400)), "{answer:?}");
    answer
}

/// Answers this to a client with compression; returns why it fails, if it does.
#[track_caller]
fn refused(answer: &str) -> Option<HandshakeError> {
    refused_by(Deflate::new(), "client_max_window_bits", answer)
}

/// `offer` is what the client's offer must be.
#[track_caller]
fn refused_by(deflate: Deflate, offer: &str, answer: &str) -> Option<HandshakeError> {
    let uri: Uri = "ws://a/".parse().unwrap();
    let config = Config::new().entropy(FixedSeed([5; 32])).deflate(deflate);
    let mut client = ClientConnection::new(&uri, &ClientOptions::new(), config).unwrap();
    let request = client.connect();
    let offered = request.headers().get_str("Sec-WebSocket-Extensions");
    let offer = match offer {
        "" => String::from("permessage-deflate"),
        offer => format!("permessage-deflate; {offer}"),
    };
    assert_eq!(offered, Some(&*offer));
    let key = request.headers().get("Sec-WebSocket-Key").unwrap().to_vec();
    let accept = accept_value(&key);
    client.send_request(request).unwrap();
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Extensions: {answer}\r\n\r\n",
        std::str::from_utf8(&accept).unwrap()
    );
    client.receive_data(response.as_bytes(), NOW);
    assert!(matches!(client.next_event(), Some(Event::Response(_))));
    let error = client.handshake_error().cloned();
    let state = if error.is_none() {
        State::Open
    } else {
        State::Connecting
    };
    assert_eq!(client.state(), state, "{answer}");
    error
}

/// What may stand behind the name of a parameter of windows, as far as it is of up to three digits, in quotes or not,
/// or nearly so; and whether it may.
fn windows() -> impl Iterator<Item = (String, bool)> {
    let digits = |count: u32| {
        let numbers = 0..10_u32.pow(count);
        numbers.map(move |number| format!("{number:0width$}", width = count as usize))
    };
    let values = (1..=3).flat_map(digits).flat_map(|digits| {
        let is_valid = (8..=15).any(|bits| digits == bits.to_string());
        [format!("={digits}"), format!("=\"{digits}\"")].map(|value| (value, is_valid))
    });
    let malformed = [
        "=",
        "=\"\"",
        "=+8",
        "=-8",
        "=8.0",
        "=0x8",
        "=1e1",
        "=\" 8\"",
        "=\"8 \"",
        "=\u{661}\u{660}",
        "=8 8",
    ];
    values.chain(malformed.map(|value| (value.into(), false)))
}

#[test]
fn a_server_declines_every_window_that_is_not_8_to_15() {
    for (value, is_valid) in windows() {
        for name in ["server_max_window_bits", "client_max_window_bits"] {
            let offer = format!("permessage-deflate; {name}{value}");
            let answer = answered_or_refused(&offer);
            let agreed = matches!(&answer, Ok(Some(_)));
            assert_eq!(agreed, is_valid, "{name}{value}: {answer:?}");
        }
    }
}

#[test]
fn a_client_fails_on_every_window_that_is_not_8_to_15() {
    for (value, is_valid) in windows() {
        for name in ["server_max_window_bits", "client_max_window_bits"] {
            let error = refused(&format!("permessage-deflate; {name}{value}"));
            assert_eq!(error.is_none(), is_valid, "{name}{value}: {error:?}");
        }
    }
}

#[test]
fn what_is_malformed_is_declined_by_a_server_and_fails_a_client() {
    for params in [
        "server_max_window_bits=08",
        "server_max_window_bits=+8",
        "server_max_window_bits",
        "server_no_context_takeover=1",
        "server_no_context_takeover; server_no_context_takeover",
        "server_max_window_bits=10; server_max_window_bits=10",
        "client_max_window_bits=10; client_max_window_bits=10",
        "window=10",
    ] {
        let whole = format!("permessage-deflate; {params}");
        assert_eq!(answered(&whole), None, "{params}");
        assert!(refused(&whole).is_some(), "{params}");
    }
    assert!(refused("permessage-deflate; client_max_window_bits").is_some());
    assert!(refused("permessage-deflate, permessage-deflate").is_some());
    assert!(refused("permessage-inflate").is_some());
}

#[test]
fn a_value_may_be_quoted() {
    let quoted = r#"permessage-deflate; server_max_window_bits="10""#;
    assert!(answered(quoted).is_some_and(|answer| answer.contains("server_max_window_bits=10")));
    assert_eq!(refused(quoted), None);
}

#[test]
fn of_several_offers_the_first_that_is_acceptable_is_answered() {
    let offers = "x-unknown, permessage-deflate; window=1, \
                  permessage-deflate; server_max_window_bits=9, permessage-deflate";
    let answer = answered(offers).unwrap();
    assert!(answer.contains("server_max_window_bits=9"), "{answer}");
    assert_eq!(answer.matches("permessage-deflate").count(), 1);
}

/// Where HTTP is done elsewhere, the configuration answers in place of the connection.
#[test]
fn a_configuration_answers_as_a_server_does() {
    let offers =
        "x-unknown, permessage-deflate; window=1, permessage-deflate; server_max_window_bits=9";
    let config = Config::new().deflate(Deflate::new());
    let answer = config.answer_extensions(&offers.parse().unwrap());
    assert_eq!(
        answer.to_string(),
        "permessage-deflate; server_max_window_bits=9"
    );
    assert_eq!(answer_to(config, offers), Ok(Some(answer.to_string())));
    let none = Config::new().answer_extensions(&offers.parse().unwrap());
    assert_eq!(none.to_string(), "");
}

/// What the server wants, what it is offered, and what it answers.
#[test]
fn a_server_answers_with_the_stricter_of_both() {
    let bounded = || {
        Deflate::new()
            .server_max_window_bits(11)
            .client_max_window_bits(10)
    };
    let alone = || {
        Deflate::new()
            .server_no_context_takeover()
            .client_no_context_takeover()
    };
    for (deflate, offer, answer) in [
        // Its own default is not sent to a client that did not ask: some fail then.
        (Deflate::new(), "", ""),
        (
            Deflate::new(),
            "; client_max_window_bits",
            "; client_max_window_bits=12",
        ),
        (
            Deflate::new(),
            "; server_max_window_bits=15",
            "; server_max_window_bits=12",
        ),
        // In the order of the RFC, whatever the order of the offer.
        (
            Deflate::new(),
            "; client_max_window_bits=9; server_max_window_bits=8; client_no_context_takeover; \
             server_no_context_takeover",
            "; server_no_context_takeover; client_no_context_takeover; \
             server_max_window_bits=8; client_max_window_bits=9",
        ),
        (bounded(), "", "; server_max_window_bits=11"),
        (
            bounded(),
            "; server_max_window_bits=15; client_max_window_bits=15",
            "; server_max_window_bits=11; client_max_window_bits=10",
        ),
        (
            bounded(),
            "; server_max_window_bits=9; client_max_window_bits=8",
            "; server_max_window_bits=9; client_max_window_bits=8",
        ),
        (
            alone(),
            "; client_max_window_bits",
            "; server_no_context_takeover; client_no_context_takeover; \
             client_max_window_bits=12",
        ),
    ] {
        let offer = format!("permessage-deflate{offer}");
        let answer = format!("permessage-deflate{answer}");
        assert_eq!(answered_by(deflate, &offer), Some(answer), "{offer}");
    }
    let requires = bounded().require_client_max_window_bits();
    assert_eq!(answered_by(requires.clone(), "permessage-deflate"), None);
    let offer = "permessage-deflate; client_max_window_bits";
    assert!(answered_by(requires, offer).is_some());
}

#[test]
fn a_client_reports_which_parameter_was_refused() {
    for (answer, problem) in [
        (
            "server_max_window_bits=11",
            "server_max_window_bits was asked for and not granted",
        ),
        (
            "server_max_window_bits=10; client_max_window_bits",
            "missing value of client_max_window_bits",
        ),
        (
            "server_max_window_bits=16",
            "invalid value \"16\" of server_max_window_bits",
        ),
        ("mem_level=9", "unknown parameter \"mem_level\""),
    ] {
        let deflate = Deflate::new().server_max_window_bits(10);
        let offer = "server_max_window_bits=10; client_max_window_bits";
        let error = refused_by(deflate, offer, &format!("permessage-deflate; {answer}"));
        let text = error.map(|error| error.to_string());
        let expected = format!("extension permessage-deflate: {problem}");
        assert_eq!(text, Some(expected));
    }
}

/// What the client asks for, and the answers that grant it and that do not.
#[test]
fn a_client_accepts_what_it_asked_for_or_stricter() {
    let (client, server) = ("client_max_window_bits", "server_max_window_bits");
    for (deflate, offer, granted, refusals) in [
        (
            Deflate::new().server_max_window_bits(10),
            format!("{server}=10; {client}"),
            vec![format!("{server}=10"), format!("{server}=8; {client}=8")],
            vec![
                String::new(),
                format!("{server}=11"),
                format!("{client}=10"),
            ],
        ),
        (
            Deflate::new().client_max_window_bits(10),
            format!("{client}=10"),
            vec![String::new(), format!("{client}=10"), format!("{client}=8")],
            vec![format!("{client}=11"), client.into()],
        ),
        (
            Deflate::new().omit_client_max_window_bits(),
            String::new(),
            vec![String::new(), format!("{server}=10")],
            vec![format!("{client}=10"), client.into()],
        ),
        (
            Deflate::new().server_no_context_takeover(),
            format!("server_no_context_takeover; {client}"),
            vec!["server_no_context_takeover".into()],
            vec![String::new(), "client_no_context_takeover".into()],
        ),
        (
            Deflate::new().client_no_context_takeover(),
            format!("client_no_context_takeover; {client}"),
            vec![String::new(), "client_no_context_takeover".into()],
            vec![],
        ),
        (
            Deflate::new(),
            client.into(),
            vec![
                String::new(),
                format!(
                    "server_no_context_takeover; client_no_context_takeover; {server}=8; {client}=8"
                ),
            ],
            vec![],
        ),
    ] {
        let answer = |params: &String| match params.is_empty() {
            true => String::from("permessage-deflate"),
            false => format!("permessage-deflate; {params}"),
        };
        for params in &granted {
            let refused = refused_by(deflate.clone(), &offer, &answer(params));
            assert_eq!(refused, None, "{offer}: {params}");
        }
        for params in &refusals {
            let refused = refused_by(deflate.clone(), &offer, &answer(params));
            assert!(refused.is_some(), "{offer}: {params}");
        }
    }
}

/// Two ends that have agreed on compression with windows of 12 bits.
fn ends() -> (Connection, Connection) {
    let agreed = || Negotiated {
        extensions: "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12"
            .parse()
            .unwrap(),
        ..Negotiated::default()
    };
    let config = Config::new()
        .entropy(FixedSeed([5; 32]))
        .deflate(Deflate::new())
        .max_message_size(100_000);
    let client = Connection::new(Side::Client, agreed(), config.clone()).unwrap();
    (
        client,
        Connection::new(Side::Server, agreed(), config).unwrap(),
    )
}

fn written(connection: &mut Connection) -> Vec<u8> {
    let mut data = connection.data_to_send();
    let size = data.remaining();
    data.copy_to_bytes(size).to_vec()
}

#[test]
fn a_message_that_opts_out_has_no_rsv1_and_does_not_enter_the_window() {
    let secret = "session=9c3f1b77aa20e4d5; ".repeat(4);
    let sizes = [true, false].map(|opts_out| {
        let (_, mut server) = ends();
        let compression = match opts_out {
            true => Compression::Never,
            false => Compression::Auto,
        };
        server.send_with(secret.as_str(), compression).unwrap();
        let first = written(&mut server);
        assert_eq!(first[0] & 0x40 == 0, opts_out);
        server.send(secret.as_str()).unwrap();
        written(&mut server).len()
    });
    let (_, mut fresh) = ends();
    fresh.send(secret.as_str()).unwrap();
    assert_eq!(sizes[0], written(&mut fresh).len(), "nothing to refer to");
    assert!(sizes[1] < sizes[0] / 2, "{sizes:?}");
}

#[test]
fn a_bomb_that_refers_to_the_window_is_stopped_at_the_limit() {
    let (mut sender, mut receiver) = ends();
    let mut sender_of = |size: usize| {
        sender.send(vec![b'a'; size]).unwrap();
        written(&mut sender)
    };
    for size in [4096, 100_000] {
        receiver.receive_data(&sender_of(size), NOW);
        assert!(matches!(receiver.next_event(), Some(Event::Message(_))));
    }
    let bomb = sender_of(10_000_000);
    assert!(bomb.len() < 20_000);
    receiver.receive_data(&bomb, NOW);
    let Some(Event::Failed(Failure::Protocol(error))) = receiver.next_event() else {
        panic!("the bomb went through")
    };
    let limit = 100_000;
    let length = None;
    assert_eq!(error, ProtocolError::TooBig { length, limit });
    // Nothing comes out any more, whatever goes in.
    receiver.receive_data(&sender_of(10), NOW);
    assert!(receiver.next_event().is_none());
    assert_eq!(receiver.state(), State::Closing);
}
