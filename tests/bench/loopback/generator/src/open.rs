//! Opens connections, several at a time, and checks the answers to their handshakes.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use crate::Result;
use crate::cell::Wire;
use crate::deflate::{OFFER, Parameters};

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// The key is that of RFC 6455 section 1.3, and so is the answer.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Opens connections, of which `in_flight` wait for the answer at a time, and hands each over, with what was agreed on.
pub fn open(
    port: u16,
    wire: Wire,
    count: usize,
    in_flight: usize,
    mut opened: impl FnMut(TcpStream, Parameters) -> Result<()>,
) -> Result<()> {
    let request = request(port, wire);
    let mut waiting = VecDeque::with_capacity(in_flight);
    for number in 0..count + in_flight {
        if number < count {
            waiting.push_back(ask(port, &request)?);
        }
        if number + 1 >= in_flight
            && let Some(mut stream) = waiting.pop_front()
        {
            let parameters = answer(&mut stream, wire, &request)?;
            opened(stream, parameters)?;
        }
    }
    Ok(())
}

/// A request of about 250 bytes.
fn request(port: u16, wire: Wire) -> String {
    let offer = if wire == Wire::Deflate { OFFER } else { "" };
    format!(
        "GET /chat?room=42 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n\
         Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\
         {offer}\r\n"
    )
}

fn ask(port: u16, request: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    Ok(stream)
}

/// Reads the answer: of a server that is no WebSocket server, the request.
fn answer(stream: &mut TcpStream, wire: Wire, request: &str) -> Result<Parameters> {
    let mut buffer = [0; 4096];
    let mut length = 0;
    let end = if wire == Wire::Raw {
        request
    } else {
        "\r\n\r\n"
    };
    while !buffer[..length].ends_with(end.as_bytes()) {
        match stream.read(&mut buffer[length..]) {
            Ok(0) => return Err("the server ended the connection instead of an answer".into()),
            Ok(count) => length += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err("no answer to a handshake".into());
            }
            Err(error) => return Err(error.into()),
        }
    }
    match wire {
        Wire::Raw => Ok(Parameters::default()),
        Wire::WebSocket | Wire::Deflate => check(std::str::from_utf8(&buffer[..length])?, wire),
    }
}

fn check(answer: &str, wire: Wire) -> Result<Parameters> {
    let header = |name: &str| {
        let mut headers = answer.lines().filter_map(|line| line.split_once(':'));
        headers
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    };
    if !answer.starts_with("HTTP/1.1 101 ") || header("Sec-WebSocket-Accept") != Some(ACCEPT) {
        return Err(format!("the server answered {answer:?}").into());
    }
    match (wire, header("Sec-WebSocket-Extensions")) {
        (Wire::Deflate, Some(extension)) => Parameters::parse(extension),
        (Wire::Deflate, None) => Err("the server does not compress".into()),
        (_, None) => Ok(Parameters::default()),
        (_, Some(extension)) => {
            Err(format!("the server chose {extension}, which nobody offered").into())
        }
    }
}
