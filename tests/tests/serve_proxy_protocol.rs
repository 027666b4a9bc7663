//! The PROXY protocol in front of a server: both versions, before TLS and inside it, in pieces, malformed, too long, never
//! complete, and from addresses that are not trusted.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_net::TcpStream;
use futures_lite::future::{or, zip};
use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use futures_rustls::TlsConnector;
use futures_rustls::rustls::{self, ClientConfig, RootCertStore};
use sansock::Error;
use sansock::serve::{Origins, ProxyProtocolError, ServerEvent, ServerHandle};
use sansock::smol::{Listen, Serve, Socket, serve};
use sansock::tls::ServerTls;
use sansock_core::handshake::StatusCode;

const LINE: &[u8] = b"PROXY TCP4 203.0.113.1 192.0.2.1 4711 443\r\n";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A header of version 2 with this command and family, and what follows the length.
fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, rest].concat()
}

const V4: &[u8] = b"\xcb\x00\x71\x01\xc0\x00\x02\x01\x12\x67\x01\xbb";

fn v6() -> Vec<u8> {
    let address: std::net::Ipv6Addr = "2001:db8::1".parse().unwrap();
    [
        &address.octets()[..],
        &address.octets(),
        b"\x12\x67\x01\xbb",
    ]
    .concat()
}

/// A server that answers every request with its peer.
fn naming(listen: Listen) -> Serve {
    let serve = serve(listen, async |_: Socket| {}).origins(Origins::SameHost);
    serve.process_request(async |request| {
        let peer = request.peer();
        let tlvs: Vec<_> = peer.tlvs().collect();
        let transport = peer.transport();
        let client = match peer == transport {
            true => "itself".to_owned(),
            false => peer.to_string(),
        };
        let transport = transport.ip().unwrap();
        let text = format!("{client} through {transport} {tlvs:?}");
        request.reject(StatusCode::OK, &text)
    })
}

/// Runs a server and a test with it, and returns what was reported.
fn with(
    serve: Serve,
    test: impl AsyncFnOnce(SocketAddr, ServerHandle),
) -> Vec<Option<ProxyProtocolError>> {
    let events = Arc::new(Mutex::new(Vec::new()));
    let reported = events.clone();
    let serve = serve.on_event(move |event| {
        let mut refusal = None;
        if let ServerEvent::Handshake(peer, Error::ProxyProtocol(error)) = event {
            assert_eq!(peer.ip().unwrap().to_string(), "127.0.0.1");
            assert!(event.to_string().contains("PROXY protocol"), "{event}");
            refusal = Some(*error);
        }
        reported.lock().unwrap().push(refusal);
    });
    let running = async {
        let server = serve.bind().await.unwrap();
        let (handle, address) = (server.handle(), server.local_addresses().next().unwrap());
        let testing = async {
            test(address, handle.clone()).await;
            handle.shutdown();
        };
        zip(server.run(), testing).await;
    };
    futures_lite::future::block_on(or(running, async {
        async_io::Timer::after(Duration::from_secs(60)).await;
        panic!("the test hangs");
    }));
    std::mem::take(&mut events.lock().unwrap())
}

fn trusted() -> Listen {
    Listen::proxy_protocol("127.0.0.1:0", ["127.0.0.0/8"])
}

/// Sends bytes, and reads the body of the answer, which is empty if there is none.
async fn answer<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, bytes: &[u8]) -> String {
    // The server may have dropped the connection already.
    let _ = stream.write_all(bytes).await;
    let mut response = Vec::new();
    let _ = stream.read_to_end(&mut response).await;
    let response = String::from_utf8(response).unwrap();
    response
        .split("\r\n\r\n")
        .nth(1)
        .unwrap_or_default()
        .to_owned()
}

async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        async_io::Timer::after(Duration::from_millis(1)).await;
    }
}

async fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

#[test]
fn a_header_of_either_version_names_the_client() {
    let tlvs = b"\x01\x00\x02h2\x02\x00\x0bexample.com\x05\x00\x03\x01\x02\x03\xe0\x00\x00";
    let with_tlvs = [V4, tlvs].concat();
    let client = "203.0.113.1:4711 through 127.0.0.1";
    let itself = "itself through 127.0.0.1 []";
    let shown = format!(
        "{client} [(1, {:?}), (2, {:?}), (5, [1, 2, 3]), (224, [])]",
        b"h2", b"example.com"
    );
    let cases = [
        (LINE.to_vec(), format!("{client} []")),
        (
            b"PROXY TCP6 2001:db8::1 2001:db8::2 4711 443\r\n".to_vec(),
            "[2001:db8::1]:4711 through 127.0.0.1 []".to_owned(),
        ),
        (b"PROXY UNKNOWN\r\n".to_vec(), itself.to_owned()),
        (b"PROXY UNKNOWN ffff:f 1 2\r\n".to_vec(), itself.to_owned()),
        (binary(0x21, 0x11, V4), format!("{client} []")),
        (binary(0x21, 0x11, &with_tlvs), shown),
        (
            binary(0x21, 0x21, &v6()),
            "[2001:db8::1]:4711 through 127.0.0.1 []".to_owned(),
        ),
        (binary(0x20, 0x00, b""), itself.to_owned()),
        (binary(0x20, 0x11, V4), itself.to_owned()),
        (binary(0x21, 0x00, b""), itself.to_owned()),
    ];
    let events = with(naming(trusted()), async |address, _| {
        for (header, expected) in cases {
            let whole = [&header[..], REQUEST].concat();
            assert_eq!(answer(connect(address).await, &whole).await, expected);
        }
    });
    assert_eq!(events, []);
}

#[test]
fn a_header_may_arrive_in_pieces() {
    let events = with(naming(trusted()), async |address, _| {
        let tlvs = [V4, b"\x05\x00\x01\x01"].concat();
        for header in [LINE.to_vec(), binary(0x21, 0x11, &tlvs)] {
            let mut stream = connect(address).await;
            for byte in &header {
                stream.write_all(&[*byte]).await.unwrap();
                async_io::Timer::after(Duration::from_millis(1)).await;
            }
            let answer = answer(stream, REQUEST).await;
            assert!(answer.starts_with("203.0.113.1:4711 through"), "{answer}");
        }
    });
    assert_eq!(events, []);
}

#[test]
fn what_is_not_a_header_is_refused_at_once() {
    use ProxyProtocolError::{Malformed, Missing, TooLong};

    let long_line = [b"PROXY UNKNOWN ", &[b'x'; 200][..]].concat();
    let longest_line = [b"PROXY UNKNOWN ", &[b'x'; 92][..], b"\r\n"].concat();
    assert_eq!(longest_line.len(), 108);
    let mut announced = binary(0x21, 0x11, V4);
    announced[14..16].copy_from_slice(&4097_u16.to_be_bytes());
    let cases: Vec<(Vec<u8>, ProxyProtocolError)> = vec![
        (REQUEST.to_vec(), Missing),
        (b"P".to_vec(), Malformed),
        (b"G".to_vec(), Missing),
        (b"\r\n\r\n\0\r\nQUIX".to_vec(), Missing),
        (
            b"PROXY TCP4 203.0.113.256 192.0.2.1 1 1\r\n".to_vec(),
            Malformed,
        ),
        (
            b"PROXY TCP4 203.0.113.1 192.0.2.1 1\r\n".to_vec(),
            Malformed,
        ),
        (
            b"PROXY TCP4 203.0.113.1 192.0.2.1 1 65536\r\n".to_vec(),
            Malformed,
        ),
        (
            b"PROXY TCP4 2001:db8::1 192.0.2.1 1 1\r\n".to_vec(),
            Malformed,
        ),
        (
            b"PROXY UDP4 203.0.113.1 192.0.2.1 1 1\r\n".to_vec(),
            Malformed,
        ),
        (b"PROXY \r\n".to_vec(), Malformed),
        (b"PROXY TCP4 203.0.113.1\n 192.0.2.1".to_vec(), Malformed),
        (b"PROXY UNKNOWN\rX\r\n".to_vec(), Malformed),
        (LINE[..30].to_vec(), Malformed),
        (binary(0x21, 0x11, V4)[..20].to_vec(), Malformed),
        (binary(0x11, 0x11, V4), Malformed),
        (binary(0x22, 0x11, V4), Malformed),
        (binary(0x21, 0x12, V4), Malformed),
        (binary(0x21, 0x41, V4), Malformed),
        (binary(0x21, 0x11, &V4[1..]), Malformed),
        (binary(0x21, 0x21, V4), Malformed),
        (
            binary(0x21, 0x11, &[V4, b"\x01\x00\x02x"].concat()),
            Malformed,
        ),
        (binary(0x21, 0x11, &[V4, b"\x01"].concat()), Malformed),
        (long_line, TooLong),
        (longest_line, TooLong),
        (announced, TooLong),
    ];
    let expected: Vec<_> = cases.iter().map(|(_, error)| Some(*error)).collect();
    let serve = naming(trusted()).open_timeout(None);
    let events = with(serve, async |address, server| {
        let refused = cases.len();
        for (number, (header, error)) in cases.into_iter().enumerate() {
            let mut stream = connect(address).await;
            stream.write_all(&header).await.unwrap();
            // A header that is incomplete is refused when the stream ends.
            let is_cut = header.len() < 16 && error == Malformed || matches!(number, 12 | 13);
            if is_cut {
                stream.shutdown(std::net::Shutdown::Write).unwrap();
            }
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
            assert_eq!(rest, b"", "{header:?}");
        }
        until(|| server.snapshot().failed == refused as u64).await;
        assert_eq!(server.snapshot().handshakes, 0);
    });
    assert_eq!(events, expected);
}

#[test]
fn the_longest_headers_are_accepted() {
    let longest_line = [b"PROXY UNKNOWN ", &[b'x'; 91][..], b"\r\n"].concat();
    assert_eq!(longest_line.len(), 107);
    let tlv = [b"\x04\x0f\xf1", &[0; 4081][..]].concat();
    let longest = binary(0x21, 0x11, &[V4, &tlv].concat());
    assert_eq!(longest.len(), 4112);
    let events = with(naming(trusted()), async |address, _| {
        for header in [longest_line, longest] {
            let whole = [&header[..], REQUEST].concat();
            let answer = answer(connect(address).await, &whole).await;
            assert!(answer.contains(" through 127.0.0.1 ["), "{answer}");
        }
    });
    assert_eq!(events, []);
}

#[test]
fn a_header_that_does_not_come_is_waited_for_until_the_deadline_of_the_handshake() {
    let serve = naming(trusted()).open_timeout(Duration::from_millis(200));
    let events = with(serve, async |address, server| {
        for start in [&b""[..], &LINE[..20], &SIGNATURE[..5]] {
            let mut stream = connect(address).await;
            stream.write_all(start).await.unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
            assert_eq!(rest, b"");
        }
        until(|| server.snapshot().failed == 3).await;
        // Others are served meanwhile.
        let _silent = connect(address).await;
        let whole = [LINE, REQUEST].concat();
        let answer = answer(connect(address).await, &whole).await;
        assert!(answer.starts_with("203.0.113.1:4711 "), "{answer}");
    });
    assert_eq!(events[..3], [None, None, None], "they are timeouts");
}

#[test]
fn an_incomplete_header_gives_way_to_other_connections() {
    let serve = naming(trusted()).max_handshakes(1).open_timeout(None);
    let events = with(serve, async |address, server| {
        let mut silent = connect(address).await;
        silent.write_all(&LINE[..20]).await.unwrap();
        until(|| server.snapshot().handshakes == 1).await;
        let whole = [LINE, REQUEST].concat();
        let answer = answer(connect(address).await, &whole).await;
        assert!(answer.starts_with("203.0.113.1:4711 "), "{answer}");
        assert_eq!(server.snapshot().evicted, 1);
        drop(silent);
    });
    assert_eq!(events, []);
}

#[test]
fn a_connection_from_an_address_that_is_not_trusted_is_refused() {
    let listen = Listen::proxy_protocol("127.0.0.1:0", ["10.0.0.0/8", "127.0.0.2", "unix"]);
    let events = with(
        naming(listen).open_timeout(None),
        async |address, server| {
            for bytes in [&[LINE, REQUEST].concat()[..], REQUEST, b""] {
                assert_eq!(answer(connect(address).await, bytes).await, "");
            }
            until(|| server.snapshot().failed == 3).await;
        },
    );
    assert_eq!(events, [Some(ProxyProtocolError::Untrusted); 3]);
}

#[test]
fn the_header_comes_before_tls_or_inside_it() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let pem = made.cert.pem();
    let tls = ServerTls::from_pem(&pem, made.signing_key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(client));
    let secure = |stream| connector.connect("localhost".try_into().unwrap(), stream);
    let expected = "203.0.113.1:4711 through 127.0.0.1 []";

    let before = naming(Listen::tls(trusted(), tls.clone()));
    let events = with(before, async |address, _| {
        let mut stream = connect(address).await;
        stream.write_all(LINE).await.unwrap();
        let stream = secure(stream).await.unwrap();
        assert_eq!(answer(stream, REQUEST).await, expected);
    });
    assert_eq!(events, []);

    let listen = Listen::tls("127.0.0.1:0", tls.clone());
    let inside = naming(Listen::proxy_protocol(listen, ["127.0.0.1"]));
    let events = with(inside, async |address, _| {
        let stream = secure(connect(address).await).await.unwrap();
        assert_eq!(answer(stream, &[LINE, REQUEST].concat()).await, expected);
        let stream = secure(connect(address).await).await.unwrap();
        assert_eq!(answer(stream, REQUEST).await, "");
    });
    assert_eq!(events, [Some(ProxyProtocolError::Missing)]);

    // Both: the proxy in front of TLS names another, which is trusted as well.
    let listen = Listen::proxy_protocol("127.0.0.1:0", ["127.0.0.1"]);
    let listen = Listen::proxy_protocol(Listen::tls(listen, tls), ["127.0.0.1", "10.0.0.0/8"]);
    let events = with(naming(listen), async |address, _| {
        let mut stream = connect(address).await;
        let outer = b"PROXY TCP4 10.0.0.7 192.0.2.1 1 443\r\n";
        stream.write_all(outer).await.unwrap();
        let stream = secure(stream).await.unwrap();
        assert_eq!(answer(stream, &[LINE, REQUEST].concat()).await, expected);
    });
    assert_eq!(events, []);
}

#[test]
fn headers_of_requests_are_read_from_the_client_that_the_header_names() {
    let serve = naming(trusted()).trusted_proxies(["203.0.113.0/24"]);
    let events = with(serve, async |address, _| {
        let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 198.51.100.9\r\n\r\n";
        let header = binary(0x21, 0x11, &[V4, b"\x05\x00\x01\x07"].concat());
        let whole = [&header[..], request].concat();
        let answer = answer(connect(address).await, &whole).await;
        assert_eq!(answer, "198.51.100.9 through 127.0.0.1 [(5, [7])]");
    });
    assert_eq!(events, []);
}

#[test]
fn a_network_that_is_none_is_an_error_before_the_server_starts() {
    let listen = Listen::proxy_protocol("127.0.0.1:0", ["10.0.0.0/33"]);
    let error = futures_lite::future::block_on(naming(listen).bind()).unwrap_err();
    assert!(matches!(error, Error::Network(_)), "{error}");
}
