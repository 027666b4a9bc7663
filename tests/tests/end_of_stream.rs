//! The end of the TCP stream after the closing handshake (RFC 6455 section 7.1.1), over both shims.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use sansock::Config;
use sansock::core::handshake::ServerOptions;

const REQUEST: &[u8] =
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const CLOSE: &[u8] = &[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8];

/// A server that, as a client, waits for ever for the other side to end the stream.
fn patient() -> Config {
    sansock::config().close_timeout(None)
}

/// Opens and closes, and reads to the end while it keeps its own side of the stream open.
#[track_caller]
fn assert_ends(port: u16) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let safety = Some(Duration::from_secs(10));
    stream.set_read_timeout(safety).unwrap();
    stream.write_all(&[REQUEST, CLOSE].concat()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.ends_with(&[0x88, 2, 0x03, 0xe8]));
}

#[test]
fn server_over_smol_ends_tcp_first_after_the_closing_handshake() {
    let listening = async_net::TcpListener::bind("127.0.0.1:0");
    let listener = async_io::block_on(listening).unwrap();
    let port = listener.local_addr().unwrap().port();
    let client = thread::spawn(move || assert_ends(port));
    async_io::block_on(async {
        let (stream, _) = listener.accept().await.unwrap();
        let options = Arc::new(ServerOptions::new());
        let upgrade = sansock::smol::upgrade(stream, options, patient());
        let mut socket = upgrade.await.unwrap().accept().await.unwrap();
        assert_eq!(socket.recv().await.unwrap(), None);
    });
    client.join().unwrap();
}

#[test]
fn server_over_async_std_ends_tcp_first_after_the_closing_handshake() {
    let listening = async_std::net::TcpListener::bind("127.0.0.1:0");
    let listener = async_io::block_on(listening).unwrap();
    let port = listener.local_addr().unwrap().port();
    let client = thread::spawn(move || assert_ends(port));
    async_io::block_on(async {
        let (stream, _) = listener.accept().await.unwrap();
        let options = Arc::new(ServerOptions::new());
        let upgrade = sansock::async_std::upgrade(stream, options, patient());
        let mut socket = upgrade.await.unwrap().accept().await.unwrap();
        assert_eq!(socket.recv().await.unwrap(), None);
    });
    client.join().unwrap();
}
