//! A client and a server over a pipe of a few bytes.

use std::sync::Arc;
use std::time::Duration;

use futures_lite::StreamExt;
use sansock::clock::VirtualClock;
use sansock::core::OpCode;
use sansock::{CloseCode, Closed, Error, Message, Prepared, Upgrade, WebSocket};
use sansock_core::handshake::{ClientOptions, HandshakeError, ServerOptions, StatusCode};
use sansock_core::{
    Connection, Deadline, Fin, Instant, Kind, Negotiated, ServerConnection, Side, State,
};
use sansock_tests::driver::{
    End, Manner, Socket, Task, both, client_connection, close_frame, config, echo, frame,
    open_client, open_server, open_server_with, opened, opened_pair, parse_frames, pipe, pipe_with,
    run, server_connection, settle,
};

/// The pipes of this file, with how long a message must be to be large for them.
fn pipes() -> [((End, End), usize); 4] {
    let hesitant = Manner {
        hesitates: true,
        ..Manner::default()
    };
    let short = Manner {
        read: 2,
        write: 1,
        hesitates: true,
    };
    [
        (pipe(64 << 10), 1 << 20),
        (pipe(1), 2_000),
        (pipe_with(5, short), 2_000),
        (pipe_with(7, hesitant), 5_000),
    ]
}

#[test]
fn a_conversation_from_handshake_to_close() {
    for ((near, far), large) in pipes() {
        let clock = VirtualClock::new();
        let large: Vec<u8> = (0..large).map(|i| i as u8).collect();
        let client = async {
            let mut ws = open_client(near, &clock).await?;
            for message in [
                Message::text("text"),
                Message::text(""),
                Message::binary(&b"\x00\xff"[..]),
                Message::binary(&b""[..]),
                Message::binary(large.clone()),
                Message::text("a".repeat(large.len())),
            ] {
                ws.send(message.clone()).await?;
                assert_eq!(ws.recv().await?, Some(message));
            }

            let mut writer = ws.writer(Kind::Text);
            writer.write("hä".as_bytes()).await?;
            writer.write(b"").await?;
            writer.write(b"\xc3").await?;
            writer.finish(b"\xa4").await?;
            assert_eq!(ws.recv().await?, Some(Message::text("hää")));

            ws.send_prepared(&Prepared::new("prepared")).await?;
            assert_eq!(ws.recv().await?, Some(Message::text("prepared")));

            ws.ping().await?;
            assert_eq!(ws.latency(), Some(Duration::ZERO));
            ws.close(CloseCode::GOING_AWAY, "bye").await?;
            assert!(ws.get_ref().is_none(), "the transport is dropped");
            assert_eq!(ws.recv().await?, None);
            Ok::<_, Error>(ws.closed().cloned())
        };
        let server = async {
            let mut ws = open_server(far, &clock).await?;
            echo(&mut ws).await?;
            assert!(ws.get_ref().is_none(), "the transport is dropped");
            Ok::<_, Error>(ws.closed().cloned())
        };
        let (client, server) = both(client, server);
        let (client, server) = (client.unwrap().unwrap(), server.unwrap().unwrap());
        assert!(
            matches!(&client, Closed::SentThenReceived { sent, received }
            if sent == received && sent.code == CloseCode::GOING_AWAY && &*sent.reason == "bye")
        );
        assert!(matches!(&server, Closed::ReceivedThenSent { received, .. }
            if received.code == CloseCode::GOING_AWAY && &*received.reason == "bye"));
    }
}

#[test]
fn the_server_closes() {
    for ((near, far), _) in pipes() {
        let clock = VirtualClock::new();
        let client = async {
            let mut ws = open_client(near, &clock).await?;
            echo(&mut ws).await?;
            Ok::<_, Error>(ws.closed().and_then(Closed::received).cloned())
        };
        let server = async {
            let mut ws = open_server(far, &clock).await?;
            ws.send("last words").await?;
            assert_eq!(ws.recv().await?, Some(Message::text("last words")));
            ws.close(4321, "done").await
        };
        let (client, server) = both(client, server);
        server.unwrap();
        let received = client.unwrap().unwrap();
        assert_eq!((received.code.number(), &*received.reason), (4321, "done"));
    }
}

#[test]
fn both_close_at_once() {
    for ((near, far), _) in pipes() {
        let clock = VirtualClock::new();
        let mut client = opened(Side::Client, near, &clock);
        let mut server = opened(Side::Server, far, &clock);
        let (a, b) = both(client.close(1000, "a"), server.close(1001, "b"));
        a.unwrap();
        b.unwrap();
        assert!(client.closed().is_some_and(Closed::is_clean));
        assert!(server.closed().is_some_and(Closed::is_clean));
    }
}

#[test]
fn fragments_and_chunks_arrive_as_they_were_sent() {
    let clock = VirtualClock::new();
    let (mut client, mut server) = opened_pair(3, &clock);
    let send = async {
        client.feed_frame(OpCode::Text, "one", Fin::More).await?;
        client
            .feed_frame(OpCode::Continuation, b"", Fin::More)
            .await?;
        client
            .feed_frame(OpCode::Continuation, b"two", Fin::Last)
            .await?;
        client
            .feed_frame(OpCode::Binary, b"chunks", Fin::Last)
            .await?;
        client.flush().await
    };
    let receive = async {
        for (fin, payload) in [(false, "one"), (false, ""), (true, "two")] {
            let frame = server.recv_frame().await.unwrap().unwrap();
            assert_eq!((frame.fin, &*frame.payload), (fin, payload.as_bytes()));
        }
        let mut bytes = Vec::new();
        loop {
            let chunk = server.recv_chunk().await.unwrap().unwrap();
            bytes.extend_from_slice(chunk.payload);
            if chunk.last {
                break bytes;
            }
            assert!(matches!(server.recv().await, Err(Error::InMessage)));
        }
    };
    let (sent, received) = both(send, receive);
    sent.unwrap();
    assert_eq!(received, b"chunks");
}

#[test]
fn a_message_that_began_while_this_side_sent_is_received_in_one_part() {
    let clock = VirtualClock::new();
    let text = frame(Side::Server, 0x81, b"begun early");
    for cut in [4, text.len()] {
        let begun = |peer: &mut End, ws: &mut Socket| {
            peer.put(&text[..cut]);
            let mut send = Task::new(ws.send("longer than the pipe"));
            settle(&mut [&mut send]);
            drop(send);
            peer.put(&text[cut..]);
            peer.put(&frame(Side::Server, 0x02, b"begun "));
            peer.put(&frame(Side::Server, 0x80, b"later"));
        };
        let (near, mut peer) = pipe(10);
        let mut ws = opened(Side::Client, near, &clock);
        begun(&mut peer, &mut ws);
        let frame = run(ws.recv_frame()).unwrap().unwrap();
        assert!(frame.fin && &*frame.payload == b"begun early");
        assert!(!run(ws.recv_frame()).unwrap().unwrap().fin);
        assert!(run(ws.recv_frame()).unwrap().unwrap().fin);

        let (near, mut peer) = pipe(10);
        let mut ws = opened(Side::Client, near, &clock);
        begun(&mut peer, &mut ws);
        let chunk = run(ws.recv_chunk()).unwrap().unwrap();
        assert!(chunk.first && chunk.last && chunk.payload == b"begun early");
        assert_eq!(run(ws.recv_chunk()).unwrap().unwrap().payload, b"begun ");
    }
}

#[test]
fn a_message_that_began_in_parts_while_this_side_sent_is_received_in_any_way() {
    let clock = VirtualClock::new();
    let text = frame(Side::Server, 0x81, b"begun early");
    for cut in [1, 4, text.len()] {
        for in_frames in [false, true] {
            let begun = || {
                let (near, mut peer) = pipe(10);
                let mut ws = opened(Side::Client, near, &clock);
                peer.put(&frame(Side::Server, 0x81, b"first"));
                if in_frames {
                    assert!(run(ws.recv_frame()).unwrap().is_some());
                } else {
                    assert!(run(ws.recv_chunk()).unwrap().is_some());
                }
                peer.put(&text[..cut]);
                let mut send = Task::new(ws.send("longer than the pipe"));
                settle(&mut [&mut send]);
                drop(send);
                peer.put(&text[cut..]);
                (ws, peer)
            };
            let (mut ws, _peer) = begun();
            let message = run(ws.recv()).unwrap();
            assert_eq!(message, Some(Message::text("begun early")));

            let (mut ws, _peer) = begun();
            let message = run(ws.recv_ref()).unwrap().unwrap();
            assert_eq!(message.as_text(), Some("begun early"));

            let (mut ws, _peer) = begun();
            let frame = run(ws.recv_frame()).unwrap().unwrap();
            assert!(frame.fin && &*frame.payload == b"begun early");

            let (mut ws, _peer) = begun();
            let mut bytes = Vec::new();
            loop {
                let chunk = run(ws.recv_chunk()).unwrap().unwrap();
                assert_eq!(chunk.first, bytes.is_empty());
                bytes.extend_from_slice(chunk.payload);
                if chunk.last {
                    break;
                }
            }
            assert_eq!(bytes, b"begun early");
        }
    }
}

#[test]
fn lent_messages_are_those_that_were_sent() {
    let clock = VirtualClock::new();
    let (mut client, mut server) = opened_pair(6, &clock);
    let send = async {
        client.feed("lent").await?;
        client.feed(&[1, 2, 3]).await?;
        client.close(1000, "").await
    };
    let receive = async {
        let text = server.recv_ref().await.unwrap().unwrap();
        assert_eq!(text.as_text(), Some("lent"));
        let bytes = server.recv_ref().await.unwrap().unwrap();
        assert_eq!(bytes.as_bytes(), [1, 2, 3]);
        assert!(server.recv_ref().await.unwrap().is_none());
    };
    both(send, receive).0.unwrap();
}

#[test]
fn a_stream_yields_every_message_and_ends() {
    let clock = VirtualClock::new();
    let (mut client, mut server) = opened_pair(6, &clock);
    let send = async {
        for text in ["a", "b", "c"] {
            client.feed(text).await?;
        }
        client.close(1000, "").await
    };
    let receive = async {
        let mut texts = Vec::new();
        while let Some(message) = server.next().await {
            texts.push(message.unwrap());
        }
        assert!(server.next().await.is_none());
        texts
    };
    let (sent, texts) = both(send, receive);
    sent.unwrap();
    assert_eq!(texts, ["a", "b", "c"].map(Message::text));
}

#[test]
fn a_ping_measures_the_round_trip_and_keeps_what_comes_before_the_pong() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(1000);
    let mut client = opened(Side::Client, near, &clock);
    let mut ping = Task::new(client.ping());
    settle(&mut [&mut ping]);
    clock.advance(Duration::from_millis(30));
    let pings = parse_frames(&peer.take_all());
    assert_eq!(pings.len(), 1);
    peer.put(&frame(Side::Server, 0x81, b"early"));
    peer.put(&frame(Side::Server, 0x82, b"bird"));
    settle(&mut [&mut ping]);
    assert!(!ping.is_done());
    peer.put(&frame(Side::Server, 0x8a, &pings[0].payload));
    settle(&mut [&mut ping]);
    assert_eq!(ping.output().unwrap(), Duration::from_millis(30));
    assert_eq!(run(client.recv()).unwrap(), Some(Message::text("early")));
    assert_eq!(
        run(client.recv()).unwrap(),
        Some(Message::binary(&b"bird"[..]))
    );
}

#[test]
fn a_ping_that_is_not_answered_tells_how_the_connection_ended() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(1000);
    let mut client = opened(Side::Client, near, &clock);
    let mut ping = Task::new(client.ping());
    settle(&mut [&mut ping]);
    peer.end();
    settle(&mut [&mut ping]);
    assert!(matches!(ping.output(), Err(Error::Lost(None))));
}

#[test]
fn the_subprotocol_is_agreed_on() {
    let clock = VirtualClock::new();
    let (near, far) = pipe(4);
    let client = client_connection(&ClientOptions::new().subprotocols(["soap", "wamp"]));
    let client = WebSocket::client(near, clock.timer(), client);
    let server = server_connection(ServerOptions::new().subprotocols(["wamp", "mqtt"]));
    let server = WebSocket::server(far, clock.timer(), server);
    let (client, server) = both(client, server);
    let (client, response) = client.unwrap();
    assert_eq!(client.subprotocol(), Some("wamp"));
    assert_eq!(
        response.headers().get_str("sec-websocket-protocol"),
        Some("wamp")
    );
    assert_eq!(server.unwrap().subprotocol(), Some("wamp"));
}

#[test]
fn a_refusal_reaches_the_client_with_its_body() {
    for ((near, far), _) in pipes() {
        let clock = VirtualClock::new();
        let client = open_client(near, &clock);
        let server = async {
            let connection = server_connection(ServerOptions::new());
            let upgrade = Upgrade::read(far, clock.timer(), connection).await?;
            assert_eq!(upgrade.request().target(), "/chat");
            assert!(upgrade.get_ref().arrived() == 0);
            upgrade.reject(StatusCode::FORBIDDEN, "no entry").await
        };
        let (client, server) = both(client, server);
        server.unwrap();
        let error = client.unwrap_err();
        let response = error.response().unwrap();
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        assert_eq!(&response.body()[..], b"no entry");
    }
}

#[test]
fn a_request_is_looked_at_before_it_is_accepted() {
    let clock = VirtualClock::new();
    let (near, far) = pipe(11);
    let client = client_connection(&ClientOptions::new());
    let client = WebSocket::client(near, clock.timer(), client);
    let server = async {
        let connection = server_connection(ServerOptions::new());
        let upgrade = Upgrade::read(far, clock.timer(), connection).await?;
        futures_lite::future::yield_now().await;
        let edit = |response: &mut sansock_core::handshake::Response| {
            response.headers_mut().append("X-Extra", "1").unwrap();
        };
        upgrade.accept_with_response(edit).await
    };
    let (client, server) = both(client, server);
    assert_eq!(server.unwrap().state(), State::Open);
    let (client, response) = client.unwrap();
    assert_eq!(client.state(), State::Open);
    assert_eq!(response.headers().get_str("x-extra"), Some("1"));
}

#[test]
fn a_request_that_is_looked_at_for_too_long_is_not_accepted() {
    let clock = VirtualClock::new();
    let (mut peer, far) = pipe(1000);
    peer.put(REQUEST);
    let connection = server_connection(ServerOptions::new());
    let mut read = Task::new(Upgrade::read(far, clock.timer(), connection));
    settle(&mut [&mut read]);
    let upgrade = read.output().unwrap();
    clock.advance(Duration::from_secs(10));
    let mut accept = Task::new(upgrade.accept());
    settle(&mut [&mut accept]);
    assert!(matches!(
        accept.output(),
        Err(Error::TimedOut(Deadline::Open))
    ));
    assert_eq!(peer.take_all(), b"");
    assert!(peer.is_alone());
}

#[test]
fn a_malformed_request_is_answered_and_reported() {
    let clock = VirtualClock::new();
    let (mut peer, far) = pipe(1000);
    peer.put(b"GET / HTTP/1.1\r\nHost: a b\r\nNonsense\r\n\r\n");
    let mut server = Task::new(open_server(far, &clock));
    settle(&mut [&mut server]);
    assert!(peer.take_all().starts_with(b"HTTP/1.1 400 "));
    assert!(peer.is_ended(), "the server ends the stream first");
    peer.end();
    settle(&mut [&mut server]);
    assert!(matches!(server.output(), Err(Error::Handshake(_))));
    assert!(peer.is_alone());
}

#[test]
fn an_unacceptable_request_is_answered_and_reported() {
    let clock = VirtualClock::new();
    let (mut peer, far) = pipe(1000);
    peer.put(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut server = Task::new(open_server(far, &clock));
    settle(&mut [&mut server]);
    assert!(peer.take_all().starts_with(b"HTTP/1.1 4"));
    peer.end();
    settle(&mut [&mut server]);
    let Err(Error::Handshake(error)) = server.output() else {
        panic!()
    };
    assert!(matches!(error.status().number(), 400 | 426));
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

#[test]
fn frames_behind_the_request_are_not_lost() {
    let clock = VirtualClock::new();
    for cut in 0..4 {
        let (mut peer, far) = pipe(1000);
        let bytes = [REQUEST, &frame(Side::Client, 0x81, b"glued")].concat();
        let (now, later) = bytes.split_at(REQUEST.len() - 2 + cut);
        peer.put(now);
        let mut server = Task::new(open_server(far, &clock));
        settle(&mut [&mut server]);
        peer.put(later);
        settle(&mut [&mut server]);
        let mut server = server.output().unwrap();
        assert_eq!(run(server.recv()).unwrap(), Some(Message::text("glued")));
    }
}

#[test]
fn bytes_that_were_read_before_the_handshake_are_fed_to_it() {
    let clock = VirtualClock::new();
    let (mut peer, far) = pipe(1000);
    let mut connection = server_connection(ServerOptions::new());
    connection.receive_data(REQUEST, Instant::START);
    connection.receive_data(&frame(Side::Client, 0x81, b"leftover"), Instant::START);
    let mut server = run(WebSocket::server(far, clock.timer(), connection)).unwrap();
    assert!(peer.take_all().starts_with(b"HTTP/1.1 101 "));
    assert_eq!(run(server.recv()).unwrap(), Some(Message::text("leftover")));
}

#[test]
fn frames_behind_the_response_are_not_lost() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(1000);
    let mut client = Task::new(open_client(near, &clock));
    settle(&mut [&mut client]);
    let request = peer.take_all();
    let limits = sansock_core::handshake::HeadLimits::default();
    let request = sansock_core::handshake::Request::parse(&request, &limits).unwrap();
    let (response, accepted) = ServerOptions::new().accept(&request);
    accepted.unwrap();
    let mut bytes = Vec::new();
    response.write_to(&mut bytes).unwrap();
    bytes.extend(frame(Side::Server, 0x81, b"glued"));
    bytes.extend(close_frame(Side::Server, 1000, ""));
    peer.put(&bytes);
    peer.end();
    settle(&mut [&mut client]);
    let mut client = client.output().unwrap();
    assert_eq!(run(client.recv()).unwrap(), Some(Message::text("glued")));
    assert_eq!(run(client.recv()).unwrap(), None);
}

#[test]
fn another_http_stack_has_done_the_handshake() {
    let clock = VirtualClock::new();
    let (mut peer, far) = pipe(1000);
    let negotiated = Negotiated {
        subprotocol: Some("chat".into()),
        ..Negotiated::default()
    };
    let mut connection = Connection::new(Side::Server, negotiated, config()).unwrap();
    let (read_ahead, rest) = (frame(Side::Client, 0x81, b"ahead"), &b"\x81\x80"[..]);
    connection.receive_data(&[&read_ahead[..], rest].concat(), Instant::START);
    let mut server = WebSocket::new(far, clock.timer(), connection);
    assert_eq!(server.subprotocol(), Some("chat"));
    assert_eq!(run(server.recv()).unwrap(), Some(Message::text("ahead")));
    peer.put(&[0; 4]);
    assert_eq!(run(server.recv()).unwrap(), Some(Message::text("")));
}

#[test]
fn a_refusal_is_reported_where_the_transport_fails_as_well() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(10);
    // The server answers before it has read the request, and reads no more.
    peer.put(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy");
    let mut client = Task::new(open_client(near, &clock));
    drop(peer);
    settle(&mut [&mut client]);
    let error = client.output().unwrap_err();
    let Error::Handshake(handshake) = &error else {
        panic!("{error:?}");
    };
    assert!(matches!(&**handshake, HandshakeError::Refused(response)
        if &response.body()[..] == b"busy"));
}

#[test]
fn a_refused_client_that_does_not_end_its_stream_is_left_at_the_open_timeout() {
    let config = || config().open_timeout(Duration::from_secs(1));
    for is_read_first in [false, true] {
        let clock = VirtualClock::new();
        let (mut near, far) = pipe(1000);
        let mut server = Task::new(async {
            match is_read_first {
                false => open_server_with(far, &clock, config()).await.map(drop),
                true => {
                    let connection = ServerConnection::new(Arc::default(), config());
                    let upgrade = Upgrade::read(far, clock.timer(), connection).await;
                    upgrade.map(drop)
                }
            }
        });
        settle(&mut [&mut server]);
        near.put(b"no HTTP\r\n\r\n");
        settle(&mut [&mut server]);
        assert!(near.take_all().starts_with(b"HTTP/1.1 400 "));
        clock.advance(Duration::from_millis(999));
        settle(&mut [&mut server]);
        assert!(!server.is_done(), "the client may be reading the response");
        clock.advance(Duration::from_millis(1));
        settle(&mut [&mut server]);
        let error = server.output().unwrap_err();
        assert!(matches!(error, Error::Handshake(_)), "{error:?}");
    }
}

#[test]
fn a_handshake_that_is_not_finished_in_time_fails() {
    let clock = VirtualClock::new();
    let (near, far) = pipe(1000);
    let mut client = Task::new(open_client(near, &clock));
    settle(&mut [&mut client]);
    clock.advance(Duration::from_secs(9));
    settle(&mut [&mut client]);
    assert!(!client.is_done());
    clock.advance(Duration::from_secs(1));
    settle(&mut [&mut client]);
    assert!(client.output().unwrap_err().is_timeout());
    assert!(far.is_alone(), "the transport is dropped");

    let (mut near, far) = pipe(1000);
    let mut server = Task::new(open_server(far, &clock));
    // A byte now and then does not put it off.
    for byte in &REQUEST[..5] {
        settle(&mut [&mut server]);
        clock.advance(Duration::from_secs(2));
        near.put(&[*byte]);
    }
    settle(&mut [&mut server]);
    assert!(server.output().unwrap_err().is_timeout());
}

#[test]
fn sending_both_ways_at_once_does_not_block() {
    let clock = VirtualClock::new();
    let (mut client, mut server): (Socket, Socket) = opened_pair(5, &clock);
    let message = Message::binary(vec![7; 3000]);
    let talk = async |ws: &mut Socket| {
        ws.send(message.clone()).await.unwrap();
        ws.recv().await.unwrap()
    };
    let (a, b) = both(talk(&mut client), talk(&mut server));
    assert_eq!(a.as_ref(), Some(&message));
    assert_eq!(b.as_ref(), Some(&message));
}

#[test]
fn a_ping_does_not_keep_a_side_that_sends_from_reading() {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(10);
    let mut ws = opened(Side::Client, near, &clock);
    let mut send = Task::new(ws.send("a message longer than the pipe"));
    settle(&mut [&mut send]);
    peer.put(&frame(Side::Server, 0x89, b"?"));
    peer.put(&frame(Side::Server, 0x82, &[7; 100_000]));
    settle(&mut [&mut send]);
    assert!(!send.is_done());
    assert_eq!(peer.unread(), 0, "the peer can write all that it has");
}
