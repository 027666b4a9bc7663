//! Servers and clients in processes of their own, with as many descriptors as they need, or too few.

use std::io::{BufRead, BufReader, Lines, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use futures_lite::future::block_on;
use sansock::Message;
use sansock::smol::connect;

/// A `serve-peer`, ended when the test ends.
struct Peer {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    /// Starts one with a limit of descriptors: a number, or `$(ulimit -Hn)` for as many as are allowed.
    fn start(limit: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new("sh")
            .args(["-c", &format!("ulimit -n {limit}; exec \"$@\"")])
            .args(["sh", env!("CARGO_BIN_EXE_serve-peer")])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Self {
            input: child.stdin.take(),
            child,
            output,
        }
    }

    fn server(limit: &str, runtime: &str) -> (Self, u16) {
        let mut peer = Self::start(limit, &["server", runtime]);
        let line = peer.line();
        let port = line.strip_prefix("PORT ").expect(&line).parse().unwrap();
        (peer, port)
    }

    #[track_caller]
    fn line(&mut self) -> String {
        self.output.next().expect("the peer goes on").unwrap()
    }

    /// Asks a server for its numbers: open, handshakes, opened, errors.
    fn numbers(&mut self) -> Vec<u64> {
        self.input.as_mut().unwrap().write_all(b"\n").unwrap();
        let line = self.line();
        let numbers = line.strip_prefix("NUMBERS ").expect(&line).split(' ');
        numbers.map(|number| number.parse().unwrap()).collect()
    }

    /// Asks until the numbers are so; no longer than half a minute.
    #[track_caller]
    fn wait_for(&mut self, so: impl Fn(&[u64]) -> bool) -> Vec<u64> {
        for _ in 0..1500 {
            let numbers = self.numbers();
            if so(&numbers) {
                return numbers;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("the numbers stay at {:?}", self.numbers());
    }

    /// Ends the input of a server, and waits for its end.
    #[track_caller]
    fn shut_down(mut self) {
        drop(self.input.take());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It has ended, where all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Every client of a large server sees 1001, and the server ends before it has to abort anybody.
fn shuts_down_with_5000_clients(runtime: &str) {
    let most = "$(ulimit -Hn)";
    let (mut server, port) = Peer::server(most, runtime);
    let mut clients = Peer::start(most, &["clients", &port.to_string(), "5000"]);
    assert_eq!(clients.line(), "OPEN");
    server.wait_for(|numbers| numbers[0] == 5000);
    server.shut_down();
    assert_eq!(clients.line(), "CODE 1001 5000");
}

#[test]
fn a_server_on_smol_shuts_down_with_5000_clients() {
    shuts_down_with_5000_clients("smol");
}

#[test]
fn a_server_on_async_std_shuts_down_with_5000_clients() {
    shuts_down_with_5000_clients("async-std");
}

/// A server that has no descriptors left goes on, does not spin, and accepts again when it has.
fn survives_a_lack_of_descriptors(runtime: &str) {
    let (mut server, port) = Peer::server("64", runtime);
    let url = format!("ws://127.0.0.1:{port}/");
    let mut ws = block_on(async { connect(&url).await }).unwrap();
    let talk = |ws: &mut sansock::smol::WebSocket| {
        block_on(async {
            ws.send("hello").await.unwrap();
            assert_eq!(ws.recv().await.unwrap(), Some(Message::text("hello")));
        });
    };
    let crowd: Vec<_> = (0..100)
        .map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap())
        .collect();
    server.wait_for(|numbers| numbers[3] > 0);
    thread::sleep(Duration::from_millis(500));
    let numbers = server.numbers();
    assert!(numbers[3] < 100, "it spins: {numbers:?}");
    talk(&mut ws);
    drop(crowd);
    let mut late = block_on(async { connect(&url).await }).unwrap();
    talk(&mut late);
    talk(&mut ws);
    drop((ws, late));
    server.shut_down();
}

#[test]
fn a_server_on_smol_survives_a_lack_of_descriptors() {
    survives_a_lack_of_descriptors("smol");
}

#[test]
fn a_server_on_async_std_survives_a_lack_of_descriptors() {
    survives_a_lack_of_descriptors("async-std");
}
