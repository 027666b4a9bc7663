//! What a client reports about servers and proxies that answer with garbage, or not to the end: at once, with
//! its cause. In memory, on a clock that is moved by hand.

use std::time::Duration;

use sansock::clock::VirtualClock;
use sansock::proxy::{Proxy, ProxyError};
use sansock::{Error, Result};
use sansock_core::handshake::{HandshakeError, HeadError, StatusCode, Uri};
use sansock_tests::driver::{
    End, Socket, Task, config, open_client, open_client_with, pipe, settle,
};

type Opening<'a> = Task<'a, Result<Socket>>;

/// A client whose request has been read.
fn asking(clock: &VirtualClock) -> (Opening<'_>, End) {
    let (near, mut peer) = pipe(1 << 16);
    let mut client = Task::new(open_client(near, clock));
    settle(&mut [&mut client]);
    assert!(peer.take_all().ends_with(b"\r\n\r\n"));
    (client, peer)
}

/// Returns what a client reports as soon as a server has answered so, which keeps the connection open.
#[track_caller]
fn answered(bytes: &[u8]) -> HandshakeError {
    let clock = VirtualClock::new();
    let (mut client, mut peer) = asking(&clock);
    peer.put(bytes);
    settle(&mut [&mut client]);
    assert!(client.is_done(), "{}", bytes.escape_ascii());
    assert!(peer.is_alone(), "the transport is dropped");
    handshake_error(client.output().unwrap_err())
}

#[track_caller]
fn handshake_error(error: Error) -> HandshakeError {
    let Error::Handshake(error) = error else {
        panic!("{error:?}");
    };
    *error
}

#[test]
fn an_answer_that_is_garbage_is_reported_at_once() {
    let start = b"SSH-2.0-OpenSSH_9.2\r\n".as_slice().into();
    let ssh = answered(b"SSH-2.0-OpenSSH_9.2\r\n");
    assert_eq!(ssh, HandshakeError::NotHttp { start });
    // It does not wait for the end of a line.
    let start = b"AMQP".as_slice().into();
    assert_eq!(answered(b"AMQP"), HandshakeError::NotHttp { start });
    let many = format!("HTTP/1.1 200 OK\r\n{}", "a: b\r\n".repeat(101));
    let cases: [(&[u8], HeadError); 5] = [
        (b"\x15\x03\x01\x00\x02\x02\x16", HeadError::LooksLikeTls),
        (b"\x00\x00\x12\x04\x00\x00", HeadError::StartLine),
        (
            b"HTTP/1.1 101 Switching Protocols\nUpgrade: websocket\n",
            HeadError::BareLineFeed { line: 1 },
        ),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\n",
            HeadError::BareLineFeed { line: 2 },
        ),
        (many.as_bytes(), HeadError::TooManyHeaders { limit: 100 }),
    ];
    for (bytes, error) in cases {
        assert_eq!(answered(bytes), HandshakeError::Head(error));
    }
    let accept = answered(
        b"HTTP/1.1 101 \r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n",
    );
    assert!(matches!(accept, HandshakeError::Accept { .. }));
}

#[test]
fn garbage_is_the_cause_though_the_transport_fails_as_well() {
    let clock = VirtualClock::new();
    // The server speaks first, and reads nothing.
    let (near, mut peer) = pipe(10);
    peer.put(b"SSH-2.0-OpenSSH_9.2\r\n");
    let mut client = Task::new(open_client(near, &clock));
    drop(peer);
    settle(&mut [&mut client]);
    let error = handshake_error(client.output().unwrap_err());
    assert!(matches!(error, HandshakeError::NotHttp { .. }), "{error}");
}

/// Returns the status of a refusal, its body, and whether it is truncated.
#[track_caller]
fn refusal(error: &Error) -> (StatusCode, Vec<u8>, bool) {
    let response = error.response().expect("a refusal");
    let body = response.body().to_vec();
    (response.status(), body, response.is_body_truncated())
}

#[test]
fn a_deadline_ends_the_body_of_a_refusal_and_not_the_handshake() {
    for (head, cut) in [
        ("", "why"),
        ("Content-Length: 100\r\n", "why"),
        ("Transfer-Encoding: chunked\r\n", "3\r\nwhy\r\n5\r\n"),
    ] {
        let clock = VirtualClock::new();
        let (mut client, mut peer) = asking(&clock);
        let response = format!("HTTP/1.1 401 Unauthorized\r\n{head}\r\n{cut}");
        peer.put(response.as_bytes());
        for _ in 0..99 {
            clock.advance(Duration::from_millis(100));
            settle(&mut [&mut client]);
        }
        assert!(!client.is_done(), "the body may still arrive");
        clock.advance(Duration::from_millis(100));
        settle(&mut [&mut client]);
        let refused = refusal(&client.output().unwrap_err());
        let expected = (StatusCode::UNAUTHORIZED, b"why".to_vec(), true);
        assert_eq!(refused, expected, "{head}");
        assert!(peer.is_alone());
    }
}

#[test]
fn a_body_without_a_length_is_complete_at_the_end_of_the_stream() {
    let clock = VirtualClock::new();
    let (mut client, mut peer) = asking(&clock);
    peer.put(b"HTTP/1.1 401 Unauthorized\r\n\r\nwhy");
    settle(&mut [&mut client]);
    peer.end();
    settle(&mut [&mut client]);
    let refused = refusal(&client.output().unwrap_err());
    assert_eq!(refused, (StatusCode::UNAUTHORIZED, b"why".to_vec(), false));
}

/// Returns what a client reports at its deadline, after these bytes.
#[track_caller]
fn late(bytes: &[u8]) -> Error {
    let clock = VirtualClock::new();
    let (near, mut peer) = pipe(1 << 16);
    let config = config().open_timeout(Duration::from_secs(2));
    let mut client = Task::new(open_client_with(near, &clock, config));
    settle(&mut [&mut client]);
    peer.put(bytes);
    settle(&mut [&mut client]);
    assert!(!client.is_done());
    clock.advance(Duration::from_secs(2));
    settle(&mut [&mut client]);
    client.output().unwrap_err()
}

#[test]
fn at_the_deadline_the_cause_is_what_has_arrived() {
    assert!(late(b"").is_timeout());
    assert!(late(b"HTTP/1.1 101 Switching").is_timeout());
    let refused = refusal(&late(b"HTTP/1.1 503 Busy\r\n\r\n"));
    assert_eq!(refused.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[test]
fn a_response_that_breaks_off_keeps_its_cause() {
    let clock = VirtualClock::new();
    let (mut client, mut peer) = asking(&clock);
    peer.put(b"HTTP/1.1 101");
    peer.end();
    settle(&mut [&mut client]);
    let error = handshake_error(client.output().unwrap_err());
    let bytes = 12;
    assert_eq!(error, HandshakeError::Head(HeadError::Incomplete { bytes }));
}

// Proxies.

/// Returns what is reported as soon as a proxy has answered so, which keeps the connection open.
#[track_caller]
fn tunnelled(proxy: &str, bytes: &[u8]) -> ProxyError {
    let proxy: Proxy = proxy.parse().unwrap();
    let uri: Uri = "ws://a/".parse().unwrap();
    let (mut near, mut far) = pipe(1 << 10);
    let mut task = Task::new(proxy.tunnel(&mut near, &uri));
    settle(&mut [&mut task]);
    far.put(bytes);
    settle(&mut [&mut task]);
    assert!(task.is_done(), "{}", bytes.escape_ascii());
    let error = task.output().unwrap_err();
    let Error::Proxy(error) = error else {
        panic!("{error:?}");
    };
    *error
}

#[test]
fn a_proxy_that_answers_with_garbage_is_reported_at_once() {
    let many = format!("HTTP/1.1 200 OK\r\n{}", "a: b\r\n".repeat(101));
    let cases: [(&[u8], ProxyError); 8] = [
        (b"SSH-2.0-OpenSSH_9.2\r\n", HeadError::StartLine.into()),
        (b"220", HeadError::StartLine.into()),
        (b"HTTP 1.1 200 OK\r\n", HeadError::StartLine.into()),
        (b"\x05\xff", HeadError::StartLine.into()),
        (b"\x15\x03\x01\x00\x02\x02\x16", ProxyError::Tls),
        (
            b"HTTP/1.1 200 OK\nA: b\n",
            HeadError::BareLineFeed { line: 1 }.into(),
        ),
        (b"HTTP/2 200 OK\r\n\r\n", HeadError::StartLine.into()),
        (
            many.as_bytes(),
            HeadError::TooManyHeaders { limit: 100 }.into(),
        ),
    ];
    for (bytes, error) in cases {
        assert_eq!(tunnelled("http://proxy", bytes), error);
    }
    let refused = tunnelled("http://proxy", b"HTTP/1.1 407 Who\r\n\r\nwhy");
    assert_eq!(refused.status().unwrap().number(), 407);
    let cases: [(&[u8], ProxyError); 4] = [
        (
            b"SSH-2.0-OpenSSH_9.2\r\n",
            ProxyError::NotSocks { version: b'S' },
        ),
        (b"\x15", ProxyError::NotSocks { version: 0x15 }),
        (b"\x05\x07", ProxyError::UnexpectedMethod(7)),
        (b"\x05\x00\x04", ProxyError::NotSocks { version: 4 }),
    ];
    for (bytes, error) in cases {
        assert_eq!(tunnelled("socks5h://proxy", bytes), error);
    }
    for bytes in [&b"SSH-2.0-OpenSSH_9.2\r\n"[..], b"S"] {
        let error = ProxyError::NotSocks4 { version: b'S' };
        assert_eq!(tunnelled("socks4a://proxy", bytes), error);
    }
}

#[test]
fn the_answer_of_a_proxy_is_the_cause_though_the_transport_fails_as_well() {
    for (proxy, answer) in [
        ("http://proxy", &b"HTTP/1.1 403 No\r\n\r\n"[..]),
        ("http://proxy", b"SSH-2.0-OpenSSH_9.2\r\n"),
        ("socks5h://proxy", b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        ("socks5h://proxy", b"\x05\xff"),
    ] {
        let proxy: Proxy = proxy.parse().unwrap();
        let uri: Uri = "ws://a/".parse().unwrap();
        let (mut near, mut far) = pipe(1);
        far.put(answer);
        let mut task = Task::new(proxy.tunnel(&mut near, &uri));
        settle(&mut [&mut task]);
        assert!(!task.is_done(), "there is no room for the request");
        drop(far);
        settle(&mut [&mut task]);
        let error = task.output().unwrap_err();
        assert!(matches!(error, Error::Proxy(_)), "{error:?}");
    }
}
