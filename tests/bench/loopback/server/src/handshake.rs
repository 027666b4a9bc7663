//! The opening handshake, for libraries that leave it to an HTTP server: as little of it as a load generator needs.

use std::io::{Error, ErrorKind, Result};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Answers a request, with this `Sec-WebSocket-Extensions` where the client offers any.
pub async fn answer(stream: &mut TcpStream, extensions: Option<&str>) -> Result<()> {
    let head = read_head(stream).await?;
    let key = header(&head, "Sec-WebSocket-Key").ok_or(ErrorKind::InvalidData)?;
    let mut sha1 = Sha1::new();
    sha1.update(key);
    sha1.update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let accept = STANDARD.encode(sha1.finalize());
    let mut answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n"
    );
    if let (Some(extensions), Some(_)) = (extensions, header(&head, "Sec-WebSocket-Extensions")) {
        answer += &format!("Sec-WebSocket-Extensions: {extensions}\r\n");
    }
    answer += "\r\n";
    stream.write_all(answer.as_bytes()).await
}

async fn read_head(stream: &mut TcpStream) -> Result<String> {
    let mut head = [0; 2048];
    let mut length = 0;
    while !head[..length].ends_with(b"\r\n\r\n") {
        match stream.read(&mut head[length..]).await? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => length += count,
        }
    }
    String::from_utf8(head[..length].to_vec())
        .map_err(|error| Error::new(ErrorKind::InvalidData, error))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut headers = head.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = headers.find(|(other, _)| other.eq_ignore_ascii_case(name))?;
    Some(value.trim())
}
