//! The handshakes with proxies: HTTP CONNECT (RFC 9110 section 9.3.6), SOCKS5 (RFC 1928, RFC 1929), SOCKS4 and
//! SOCKS4a.

use std::net::SocketAddr;

use sansock::Error;
use sansock::core::handshake::{Credentials, HeadError, StatusCode, Uri};
use sansock::proxy::{Destination, Handshake, Proxy, ProxyError, Socks4Reply, SocksReply};
use sansock_tests::driver::{Manner, Task, both, pipe, pipe_with, run, settle};

/// What the destination says right behind the proxy's answer.
const BEHIND: &[u8] = b"HTTP/1.1 101 \x05\x00\r\n\r\n";

fn handshake(proxy: &str, destination: impl Into<Destination>) -> Handshake {
    let proxy: Proxy = proxy.parse().unwrap();
    Handshake::new(&proxy, &destination.into()).unwrap()
}

fn to(url: &str) -> Destination {
    Destination::from(&url.parse::<Uri>().unwrap())
}

/// The handshake with `proxy`, after these answers: what it sends, and what comes of it.
///
/// Every answer is fed whole, byte by byte and in two parts cut at every place, each alone and with bytes
/// behind the last; the result is the same. Never more is wanted than is left of the answer.
#[track_caller]
fn talk(proxy: &str, url: &str, answers: &[&[u8]]) -> (Vec<Vec<u8>>, Result<(), ProxyError>) {
    let expected = talk_at(proxy, url, answers, &mut |left| left);
    assert_eq!(talk_at(proxy, url, answers, &mut |_| 1), expected);
    let longest = answers.iter().map(|answer| answer.len()).max();
    for cut in 1..longest.unwrap_or(1) {
        let mut fed = 0;
        let result = talk_at(proxy, url, answers, &mut |left| {
            fed = if fed == 0 { cut } else { 0 };
            if fed > 0 { cut.min(left) } else { left }
        });
        assert_eq!(result, expected, "cut at {cut}");
    }
    if expected.1 != Err(ProxyError::Ended) {
        assert_eq!(talk_with_bytes_behind(proxy, url, answers), expected);
    }
    expected
}

fn talk_at(
    proxy: &str,
    url: &str,
    answers: &[&[u8]],
    portion: &mut dyn FnMut(usize) -> usize,
) -> (Vec<Vec<u8>>, Result<(), ProxyError>) {
    let mut handshake = handshake(proxy, to(url));
    let mut sent = vec![take(&mut handshake)];
    for answer in answers {
        let mut rest = *answer;
        while !rest.is_empty() {
            let (part, after) = rest.split_at(portion(rest.len()));
            if let Err(error) = handshake.receive_data(part) {
                assert_eq!(handshake.receive_data(part), Err(error.clone()), "fused");
                assert_eq!((handshake.bytes_needed(), handshake.is_done()), (0, false));
                return (sent, Err(error));
            }
            rest = after;
            if !handshake.data_to_send().is_empty() {
                sent.push(take(&mut handshake));
            }
        }
    }
    match handshake.is_done() {
        true => (sent, Ok(())),
        false => (sent, Err(ProxyError::Ended)),
    }
}

/// The same, with the last answer and what follows it in one piece, and as a driver would read it.
fn talk_with_bytes_behind(
    proxy: &str,
    url: &str,
    answers: &[&[u8]],
) -> (Vec<Vec<u8>>, Result<(), ProxyError>) {
    let mut handshake = handshake(proxy, to(url));
    let mut driven = self::handshake(proxy, to(url));
    let mut sent = vec![take(&mut handshake)];
    for (index, answer) in answers.iter().enumerate() {
        let is_last = index + 1 == answers.len();
        let behind = if is_last { BEHIND } else { b"" };
        let bytes = [*answer, behind].concat();
        let taken = match handshake.receive_data(&bytes) {
            Ok(taken) => taken,
            Err(error) => return (sent, Err(error)),
        };
        if is_last && !handshake.is_done() {
            return (sent, Err(ProxyError::Ended));
        }
        assert_eq!(taken, answer.len(), "all of the answer and no more");
        let mut rest = *answer;
        while !rest.is_empty() {
            let needed = driven.bytes_needed();
            assert!(
                (1..=rest.len()).contains(&needed),
                "{needed} of {}",
                rest.len()
            );
            assert_eq!(driven.receive_data(&rest[..needed]), Ok(needed));
            rest = &rest[needed..];
        }
        if !handshake.data_to_send().is_empty() {
            sent.push(take(&mut handshake));
        }
    }
    assert_eq!(handshake.receive_data(BEHIND), Ok(0));
    (sent, Ok(()))
}

fn take(handshake: &mut Handshake) -> Vec<u8> {
    let data = handshake.data_to_send().to_vec();
    for _ in &data {
        handshake.sent(1);
    }
    data
}

// HTTP CONNECT.

const HTTP: &str = "http://proxy:3128";

#[track_caller]
fn connect(answer: &[u8]) -> Result<(), ProxyError> {
    talk(HTTP, "ws://example.com/", &[answer]).1
}

#[track_caller]
fn status(answer: &str) -> StatusCode {
    connect(answer.as_bytes()).unwrap_err().status().unwrap()
}

#[test]
fn connect_names_the_destination_and_nothing_else() {
    for (url, expected) in [
        ("ws://example.com/path", "example.com:80"),
        ("wss://Example.com/", "example.com:443"),
        ("wss://user:password@example.com:8443/", "example.com:8443"),
        ("ws://127.0.0.1/", "127.0.0.1:80"),
        ("ws://[::1]:9001/", "[::1]:9001"),
        ("ws://[fe80::1%25eth0]:9001/", "[fe80::1]:9001"),
    ] {
        let request = handshake(HTTP, to(url)).data_to_send().to_vec();
        let lines = format!("CONNECT {expected} HTTP/1.1\r\nHost: {expected}\r\n\r\n");
        assert_eq!(String::from_utf8(request).unwrap(), lines);
    }
    let address: SocketAddr = "[2001:db8::1]:443".parse().unwrap();
    let request = handshake(HTTP, address).data_to_send().to_vec();
    assert!(request.starts_with(b"CONNECT [2001:db8::1]:443 HTTP/1.1\r\n"));
}

#[test]
fn connect_sends_basic_credentials() {
    let with = "http://Aladdin:open%20sesame@proxy";
    let request = handshake(with, to("ws://a/")).data_to_send().to_vec();
    let expected = b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\
        Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n";
    assert_eq!(request, expected);
    let without_password = handshake("http://Aladdin@proxy", to("ws://a/"));
    let request = String::from_utf8(without_password.data_to_send().to_vec()).unwrap();
    let header = "\r\nProxy-Authorization: Basic QWxhZGRpbjo=\r\n";
    assert!(request.contains(header), "{request}");
    let proxy: Proxy = HTTP.parse().unwrap();
    let credentials = Credentials::new("Aladdin", "open sesame").unwrap();
    let proxy = proxy.with_credentials(credentials);
    let handshake = Handshake::new(&proxy, &to("ws://a/")).unwrap();
    assert_eq!(handshake.data_to_send(), expected);
}

#[test]
fn every_2xx_opens_the_tunnel_whatever_its_headers_say() {
    for answer in [
        "HTTP/1.1 200 \r\n\r\n",
        "HTTP/1.0 200 Connection established\r\nProxy-agent: tinyproxy/1.11.1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 299 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ] {
        assert_eq!(connect(answer.as_bytes()), Ok(()), "{answer:?}");
    }
}

#[test]
fn another_status_is_a_refusal() {
    for number in [101, 300, 302, 400, 403, 404, 407, 500, 502, 503] {
        let answer = format!("HTTP/1.1 {number} No\r\nContent-Length: 2\r\n\r\n");
        assert_eq!(status(&answer).number(), number);
    }
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(9);
    assert_eq!(status(&interim).number(), 100);
    let answered = format!(
        "{}HTTP/1.1 200 OK\r\n\r\n",
        &interim[..interim.len() / 9 * 8]
    );
    assert_eq!(connect(answered.as_bytes()), Ok(()));
}

#[test]
fn a_407_says_which_credentials_it_is_about() {
    let answer = b"HTTP/1.1 407 Who?\r\nProxy-Authenticate: Basic realm=\"a\"\r\n\r\n";
    let (_, without) = talk(HTTP, "ws://a/", &[answer]);
    let without = without.unwrap_err();
    assert!(without.is_unauthorized() && !without.is_transient());
    assert_eq!(
        without.to_string(),
        "proxy answered 407 Proxy Authentication Required; \
         give it credentials in its URL: //user:password@host:port"
    );
    let (_, with) = talk("http://alice:secret@proxy", "ws://a/", &[answer]);
    let with = with.unwrap_err();
    assert!(with.is_unauthorized());
    assert!(
        with.to_string()
            .ends_with("does not accept the credentials of the proxy's URL")
    );
    let ProxyError::Refused { response, .. } = with else {
        panic!("{with:?}");
    };
    let challenge = response.headers().get_str("Proxy-Authenticate");
    assert_eq!(challenge, Some("Basic realm=\"a\""));
    let unauthorized = connect(b"HTTP/1.0 401 Unauthorized\r\n\r\n").unwrap_err();
    assert!(unauthorized.is_unauthorized(), "some answer so");
}

#[test]
fn a_proxy_that_speaks_something_else_is_refused() {
    let cases: [(&[u8], ProxyError); 8] = [
        (b"\x15\x03\x01\x00\x02\x02\x0a", ProxyError::Tls),
        (b"\x16\x03\x01", ProxyError::Tls),
        (b"\x05\x00", HeadError::StartLine.into()),
        (b"\x00\x5a", HeadError::StartLine.into()),
        (b"HTTP/2.0 200 OK\r\n\r\n", HeadError::HttpVersion.into()),
        (b"HTTP/1.1 2 OK\r\n\r\n", HeadError::StartLine.into()),
        (
            b"HTTP/1.1 200 OK\n",
            HeadError::BareLineFeed { line: 1 }.into(),
        ),
        (b"SSH-2.0-OpenSSH\r\n\r\n", HeadError::StartLine.into()),
    ];
    for (answer, error) in cases {
        assert_eq!(connect(answer), Err(error), "{}", answer.escape_ascii());
    }
}

#[test]
fn an_answer_that_breaks_off_opens_nothing() {
    let answer = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n";
    for end in 0..answer.len() {
        let (_, result) = talk_at(HTTP, "ws://a/", &[&answer[..end]], &mut |left| left);
        assert_eq!(result, Err(ProxyError::Ended), "{end}");
    }
}

#[test]
fn an_endless_answer_is_refused_at_the_limits_of_a_handshake() {
    let refuses = |start: &str, unit: &[u8], expected: HeadError, size: usize| {
        for portion in [1, 1000, 1 << 20] {
            let mut handshake = handshake(HTTP, to("ws://a/"));
            let mut bytes = start.as_bytes().iter().chain(unit.iter().cycle());
            let mut fed = 0;
            let error = loop {
                let part: Vec<u8> = bytes.by_ref().take(portion).copied().collect();
                match handshake.receive_data(&part) {
                    Ok(taken) => assert_eq!(taken, portion),
                    Err(error) => break error,
                }
                fed += portion;
            };
            assert_eq!(error, ProxyError::Head(expected));
            assert!(fed <= size, "{fed} bytes were taken");
        }
    };
    let line = HeadError::StartLineTooLong { limit: 8192 };
    refuses("HTTP/1.1 200 ", b"a", line, 8192);
    let head = HeadError::HeadTooLarge { limit: 16384 };
    refuses("HTTP/1.1 200 \r\nA: ", b"a", head, 16384);
    let headers = HeadError::TooManyHeaders { limit: 100 };
    refuses("HTTP/1.1 200 \r\n", b"a:\r\n", headers, 450);
}

// SOCKS5.

const SOCKS: &str = "socks5h://proxy";
const SOCKS_WITH_PASSWORD: &str = "socks5h://alice:pass%20word@proxy";
const GRANTED: &[u8] = b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00";

#[test]
fn socks_asks_for_a_name() {
    let (sent, result) = talk(SOCKS, "ws://example.com/", &[b"\x05\x00", GRANTED]);
    assert_eq!(result, Ok(()));
    assert_eq!(sent[0], b"\x05\x01\x00");
    assert_eq!(sent[1], b"\x05\x01\x00\x03\x0bexample.com\x00\x50");
    assert_eq!(sent.len(), 2);
}

#[test]
fn socks_asks_for_an_address() {
    let (sent, _) = talk(SOCKS, "ws://127.0.0.1:258/", &[b"\x05\x00", GRANTED]);
    assert_eq!(sent[1], b"\x05\x01\x00\x01\x7f\x00\x00\x01\x01\x02");
    let (sent, _) = talk("socks5://proxy", "wss://[::1]/", &[b"\x05\x00", GRANTED]);
    let address = b"\x05\x01\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x01\xbb";
    assert_eq!(sent[1], address);
}

#[test]
fn socks_takes_a_reply_with_an_address_of_any_type() {
    let name = [&b"\x05\x00\x00\x03\xff"[..], &[b'n'; 255], b"\x00\x50"].concat();
    let no_name = b"\x05\x00\x00\x03\x00\x00\x50";
    let ipv6 = [&b"\x05\x00\x00\x04"[..], &[0xff; 18]].concat();
    for reply in [GRANTED, &name, no_name, &ipv6] {
        let (_, result) = talk(SOCKS, "ws://a/", &[b"\x05\x00", reply]);
        assert_eq!(result, Ok(()), "{}", reply.escape_ascii());
        for end in 0..reply.len() {
            let answers: [&[u8]; 2] = [b"\x05\x00", &reply[..end]];
            let (_, result) = talk_at(SOCKS, "ws://a/", &answers, &mut |left| left);
            assert_eq!(result, Err(ProxyError::Ended), "{end}");
        }
    }
    let (_, result) = talk(SOCKS, "ws://a/", &[b"\x05\x00", b"\x05\x00\x00\x02"]);
    assert_eq!(result, Err(ProxyError::AddressType(2)));
}

#[test]
fn socks_sends_user_and_password_where_the_proxy_asks_for_them() {
    let answers: [&[u8]; 3] = [b"\x05\x02", b"\x01\x00", GRANTED];
    let (sent, result) = talk(SOCKS_WITH_PASSWORD, "ws://a/", &answers);
    assert_eq!(result, Ok(()));
    assert_eq!(sent[0], b"\x05\x02\x00\x02");
    assert_eq!(sent[1], b"\x01\x05alice\x09pass word");
    assert_eq!(sent[2], b"\x05\x01\x00\x03\x01a\x00\x50");
    let (sent, result) = talk(SOCKS_WITH_PASSWORD, "ws://a/", &[b"\x05\x00", GRANTED]);
    assert_eq!((sent.len(), result), (2, Ok(())));
    // The version of this answer is put there as 5 by some.
    let (_, result) = talk(
        SOCKS_WITH_PASSWORD,
        "ws://a/",
        &[b"\x05\x02", b"\x05\x00", GRANTED],
    );
    assert_eq!(result, Ok(()));
}

#[test]
fn socks_tells_how_the_authentication_failed() {
    let refused = |proxy, answers: &[&[u8]]| talk(proxy, "ws://a/", answers).1.unwrap_err();
    for status in [1, 0xff] {
        let error = refused(SOCKS_WITH_PASSWORD, &[b"\x05\x02", &[1, status]]);
        assert_eq!(error, ProxyError::CredentialsRefused);
        assert!(error.is_unauthorized());
    }
    for (proxy, had_credentials) in [(SOCKS, false), (SOCKS_WITH_PASSWORD, true)] {
        let error = refused(proxy, &[b"\x05\xff"]);
        assert_eq!(error, ProxyError::NoMethod { had_credentials });
        assert!(error.is_unauthorized() && !error.is_transient());
    }
    assert_eq!(
        refused(SOCKS, &[b"\x05\x02"]),
        ProxyError::UnexpectedMethod(2)
    );
    let gssapi = refused(SOCKS_WITH_PASSWORD, &[b"\x05\x01"]);
    assert_eq!(gssapi, ProxyError::UnexpectedMethod(1));
}

#[test]
fn every_reply_of_socks_is_an_error_of_its_own() {
    let known = [
        (SocksReply::GENERAL_FAILURE, true, "1, general failure"),
        (SocksReply::NOT_ALLOWED, false, "2, connection not allowed"),
        (
            SocksReply::NETWORK_UNREACHABLE,
            true,
            "3, network unreachable",
        ),
        (SocksReply::HOST_UNREACHABLE, true, "4, host unreachable"),
        (
            SocksReply::CONNECTION_REFUSED,
            true,
            "5, connection refused",
        ),
        (SocksReply::TTL_EXPIRED, true, "6, time to live expired"),
        (SocksReply::COMMAND_NOT_SUPPORTED, false, "7, command not"),
        (
            SocksReply::ADDRESS_TYPE_NOT_SUPPORTED,
            false,
            "8, address type",
        ),
        (SocksReply::new(9).unwrap(), false, "9, a reply"),
        (SocksReply::new(255).unwrap(), false, "255, a reply"),
    ];
    for (reply, is_transient, text) in known {
        // Some send all of it, some no more than it takes.
        for length in [2, 3, 4, 10] {
            let answer = [5, reply.number(), 0, 1, 0, 0, 0, 0, 0, 0];
            let (_, result) = talk(SOCKS, "ws://a/", &[b"\x05\x00", &answer[..length]]);
            let error = result.unwrap_err();
            assert_eq!(error, ProxyError::Reply(reply));
            assert_eq!(error.is_transient(), is_transient, "{error}");
            assert!(
                error
                    .to_string()
                    .starts_with(&format!("SOCKS proxy answered {text}"))
            );
        }
    }
    assert_eq!(SocksReply::new(0), None);
}

#[test]
fn socks_notices_another_protocol_at_the_first_byte() {
    let (_, result) = talk(SOCKS, "ws://a/", &[b"HTTP/1.0 400 Bad Request\r\n"]);
    let error = result.unwrap_err();
    assert_eq!(error, ProxyError::NotSocks { version: b'H' });
    assert!(error.to_string().contains("use http://"));
    let (_, result) = talk(SOCKS, "ws://a/", &[b"\x04"]);
    assert_eq!(result, Err(ProxyError::NotSocks { version: 4 }));
    let (_, result) = talk(SOCKS, "ws://a/", &[b"\x05\x00", b"\x00"]);
    assert_eq!(result, Err(ProxyError::NotSocks { version: 0 }));
    // A proxy that knows SOCKS4 only answers the greeting with a refusal.
    let (_, result) = talk(SOCKS, "ws://a/", &[b"\x00\x5b\0\0\0\0\0\0"]);
    assert!(result.unwrap_err().to_string().contains("use socks4a://"));
}

// SOCKS4 and SOCKS4a.

const SOCKS4: &str = "socks4://proxy";
const SOCKS4A: &str = "socks4a://proxy";
const GRANTED4: &[u8] = b"\x00\x5a\x00\x00\x00\x00\x00\x00";

#[test]
fn socks4_asks_for_an_address_of_ipv4() {
    let (sent, result) = talk(SOCKS4, "ws://127.0.0.1:258/", &[GRANTED4]);
    assert_eq!(result, Ok(()));
    assert_eq!(sent, [b"\x04\x01\x01\x02\x7f\x00\x00\x01\x00"]);
    let (sent, _) = talk(SOCKS4A, "ws://127.0.0.1:258/", &[GRANTED4]);
    assert_eq!(sent, [b"\x04\x01\x01\x02\x7f\x00\x00\x01\x00"]);
    let (sent, _) = talk(SOCKS4, "ws://[::ffff:127.0.0.1]:258/", &[GRANTED4]);
    assert_eq!(sent, [b"\x04\x01\x01\x02\x7f\x00\x00\x01\x00"]);
}

#[test]
fn socks4a_asks_for_a_name() {
    let (sent, result) = talk(SOCKS4A, "wss://example.com/", &[GRANTED4]);
    assert_eq!(result, Ok(()));
    assert_eq!(
        sent,
        [b"\x04\x01\x01\xbb\x00\x00\x00\x01\x00example.com\x00"]
    );
}

#[test]
fn socks4_sends_the_user_and_no_password() {
    for user_info in ["alice", "alice:", "alice:secret"] {
        let proxy = format!("socks4a://{user_info}@proxy");
        let (sent, result) = talk(&proxy, "ws://a/", &[GRANTED4]);
        assert_eq!(result, Ok(()));
        assert_eq!(sent, [b"\x04\x01\x00\x50\x00\x00\x00\x01alice\x00a\x00"]);
    }
}

#[test]
fn socks4_does_not_lead_to_ipv6() {
    for proxy in [SOCKS4, SOCKS4A] {
        let proxy: Proxy = proxy.parse().unwrap();
        let error = Handshake::new(&proxy, &to("ws://[2001:db8::1]/")).unwrap_err();
        assert_eq!(error, ProxyError::Ipv6);
        assert!(error.to_string().contains("socks5h://"));
        assert!(!error.is_transient());
    }
}

#[test]
fn socks4_ignores_the_address_of_the_reply() {
    let (_, result) = talk(SOCKS4A, "ws://a/", &[b"\x00\x5a\xff\xff\xff\xff\xff\xff"]);
    assert_eq!(result, Ok(()));
    for end in 0..GRANTED4.len() {
        let (_, result) = talk_at(SOCKS4A, "ws://a/", &[&GRANTED4[..end]], &mut |left| left);
        assert_eq!(result, Err(ProxyError::Ended), "{end}");
    }
}

#[test]
fn every_reply_of_socks4_is_a_separate_error() {
    for (reply, is_transient, is_unauthorized, text) in [
        (Socks4Reply::REJECTED, true, false, "91, request rejected"),
        (Socks4Reply::NO_IDENTD, false, true, "92, no identd"),
        (Socks4Reply::OTHER_USER, false, true, "93, identd names"),
        (Socks4Reply::new(0).unwrap(), false, false, "0, a reply"),
        (Socks4Reply::new(255).unwrap(), false, false, "255, a reply"),
    ] {
        for length in [2, 3, 8] {
            let answer = [0, reply.number(), 0, 0, 0, 0, 0, 0];
            let (_, result) = talk(SOCKS4A, "ws://a/", &[&answer[..length]]);
            let error = result.unwrap_err();
            assert_eq!(error, ProxyError::Reply4(reply));
            assert_eq!(error.is_transient(), is_transient, "{error}");
            assert_eq!(error.is_unauthorized(), is_unauthorized, "{error}");
            let expected = format!("SOCKS proxy answered {text}");
            assert!(error.to_string().starts_with(&expected), "{error}");
        }
    }
    assert_eq!(Socks4Reply::new(90), None);
}

#[test]
fn socks4_notices_another_protocol_at_the_first_byte() {
    for (answer, version, hint) in [
        (&b"HTTP/1.0 400 Bad Request\r\n"[..], b'H', "use http://"),
        (b"\x05\xff", 5, "use socks5h://"),
        (b"\x04\x5a\0\0\0\0\0\0", 4, "version 4 instead of 0"),
        (b"\x15", 0x15, "version 21 instead of 0"),
    ] {
        let (_, result) = talk(SOCKS4A, "ws://a/", &[answer]);
        let error = result.unwrap_err();
        assert_eq!(error, ProxyError::NotSocks4 { version });
        assert!(error.to_string().contains(hint), "{error}");
    }
}

#[test]
fn what_cannot_be_sent_is_refused() {
    let name = |length: usize| to(&format!("ws://{}/", "a".repeat(length)));
    for proxy in [HTTP, SOCKS, SOCKS4A] {
        let proxy: Proxy = proxy.parse().unwrap();
        assert!(Handshake::new(&proxy, &name(255)).is_ok());
        let error = Handshake::new(&proxy, &name(256)).unwrap_err();
        assert_eq!(error, ProxyError::HostTooLong { length: 256 });
    }
    for (user, password, fits) in [
        (255, 255, true),
        (256, 1, false),
        (1, 256, false),
        (0, 0, true),
    ] {
        let user_info = format!("{}:{}", "u".repeat(user), "p".repeat(password));
        let proxy: Proxy = format!("socks5://{user_info}@proxy").parse().unwrap();
        let result = Handshake::new(&proxy, &to("ws://a/"));
        assert_eq!(result.is_ok(), fits);
        assert!(fits || matches!(result, Err(ProxyError::CredentialsTooLong)));
        let proxy: Proxy = format!("http://{user_info}@proxy").parse().unwrap();
        assert!(Handshake::new(&proxy, &to("ws://a/")).is_ok());
        let proxy: Proxy = format!("socks4a://{user_info}@proxy").parse().unwrap();
        let result = Handshake::new(&proxy, &to("ws://a/"));
        assert_eq!(result.is_ok(), user <= 255, "a password is not sent");
        assert!(user <= 255 || matches!(result, Err(ProxyError::CredentialsTooLong)));
    }
}

#[test]
fn nothing_shows_the_credentials() {
    let mut shown = Vec::new();
    for scheme in ["http", "https", "socks4", "socks4a", "socks5", "socks5h"] {
        let url = format!("{scheme}://alice:secret@proxy");
        let proxy: Proxy = url.parse().unwrap();
        let mut handshake = handshake(&url, to("ws://a/"));
        let error = handshake
            .receive_data(b"HTTP/1.1 407 \r\n\r\n")
            .unwrap_err();
        let outer = Error::from(error.clone());
        shown.push(format!(
            "{proxy:?} {proxy} {handshake:?} {error:?} {error} {outer:?} {outer}"
        ));
    }
    for url in [
        "ftp://alice:secret@proxy",
        "socks6://alice:secret@proxy",
        "alice:secret://x@proxy",
        "http://alice:secret@proxy:port",
        "http://alice:secret@",
        "http://alice:secret@proxy/path",
        "http://alice:sec/secret@proxy",
        "http://alice:secret%@proxy",
        "http://ali ce:secret@proxy",
        "http://alicesecret%@proxy",
    ] {
        let error = Proxy::parse(url).unwrap_err();
        let uri = "ws://a/".parse().unwrap();
        let environment = Proxy::from_variables(&uri, |_| Some(url.into()));
        shown.push(format!("{error:?} {error} {environment:?}"));
    }
    for text in shown {
        assert!(
            !text.contains("alice") && !text.contains("secret"),
            "{text}"
        );
        assert!(!text.contains("YWxpY2U6"), "{text}");
    }
}

// Over a transport.

#[test]
fn a_tunnel_is_open_and_the_destinations_bytes_are_in_it() {
    use futures_lite::{AsyncReadExt, AsyncWriteExt};

    let socks: [&[u8]; 3] = [b"\x05\x02", b"\x01\x00", GRANTED];
    let http: [&[u8]; 1] = [b"HTTP/1.1 200 Connection established\r\nA: b\r\n\r\n"];
    let socks4: [&[u8]; 1] = [GRANTED4];
    for (proxy, answers) in [
        ("http://a:b@proxy", &http[..]),
        ("socks4a://a@proxy", &socks4),
        (SOCKS_WITH_PASSWORD, &socks[..]),
    ] {
        let (expected, _) = talk(proxy, "ws://example.com/", answers);
        let proxy: Proxy = proxy.parse().unwrap();
        let uri: Uri = "ws://example.com/".parse().unwrap();
        for (capacity, portion) in [(1, 1), (3, 2), (1 << 10, usize::MAX)] {
            let manner = Manner {
                read: portion,
                write: portion,
                hesitates: true,
            };
            let (mut near, mut far) = pipe_with(capacity, manner);
            let client = async {
                proxy.tunnel(&mut near, &uri).await?;
                let mut bytes = vec![0; BEHIND.len()];
                near.read_exact(&mut bytes).await?;
                Ok::<_, Error>(bytes)
            };
            let server = async {
                for (index, (request, answer)) in expected.iter().zip(answers).enumerate() {
                    let mut received = vec![0; request.len()];
                    far.read_exact(&mut received).await.unwrap();
                    assert_eq!(&received, request);
                    // The destination may speak as soon as it is connected.
                    let behind = if index + 1 == answers.len() {
                        BEHIND
                    } else {
                        b""
                    };
                    far.write_all(&[*answer, behind].concat()).await.unwrap();
                }
            };
            let (bytes, ()) = both(client, server);
            assert_eq!(bytes.unwrap(), BEHIND);
        }
    }
}

#[test]
fn a_proxy_that_hangs_up_is_a_transient_error() {
    for proxy in [HTTP, SOCKS, SOCKS4A] {
        let proxy: Proxy = proxy.parse().unwrap();
        let uri: Uri = "ws://a/".parse().unwrap();
        let (mut near, mut far) = pipe(1 << 10);
        far.end();
        let error = run(proxy.tunnel(&mut near, &uri)).unwrap_err();
        assert!(matches!(&error, Error::Proxy(cause) if **cause == ProxyError::Ended));
        assert!(error.is_transient());
        drop(far);
        let error = run(proxy.tunnel(&mut near, &uri)).unwrap_err();
        assert!(matches!(error, Error::Io(_)), "{error:?}");
    }
}

#[test]
fn a_proxy_that_says_nothing_is_waited_for() {
    let proxy: Proxy = HTTP.parse().unwrap();
    let uri: Uri = "ws://a/".parse().unwrap();
    let (mut near, mut far) = pipe(1 << 10);
    let mut task = Task::new(proxy.tunnel(&mut near, &uri));
    settle(&mut [&mut task]);
    assert!(!task.is_done());
    assert!(far.take_all().ends_with(b"\r\n\r\n"));
    far.put(b"HTTP/1.1 403 No\r\n\r\n");
    settle(&mut [&mut task]);
    let error = task.output().unwrap_err();
    let Error::Proxy(cause) = &error else {
        panic!("{error:?}");
    };
    assert_eq!(cause.status(), Some(StatusCode::FORBIDDEN));
    let text = "no tunnel through the proxy: proxy answered 403 Forbidden";
    assert_eq!(error.to_string(), text);
    assert!(!error.is_transient());
}
