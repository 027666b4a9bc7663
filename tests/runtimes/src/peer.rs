//! A client in blocking code, which behaves as badly as a scenario needs.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// After this time the peer has waited in vain.
const IN_VAIN: Duration = Duration::from_secs(10);

pub const BINARY: u8 = 0x82;
pub const CLOSE: u8 = 0x88;
pub const PING: u8 = 0x89;
pub const PONG: u8 = 0x8a;

/// Runs blocking code on another thread.
pub async fn elsewhere<T: Send + 'static>(script: impl FnOnce() -> T + Send + 'static) -> T {
    blocking::unblock(script).await
}

pub struct Peer(TcpStream);

impl Peer {
    /// Opens a connection.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(IN_VAIN))?;
        stream.set_write_timeout(Some(IN_VAIN))?;
        let request = format!(
            "GET / HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        );
        stream.write_all(request.as_bytes())?;
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        match head.starts_with(b"HTTP/1.1 101 ") {
            true => Ok(Self(stream)),
            false => Err(io::Error::other("the server refused the handshake")),
        }
    }

    /// Sends a frame of less than 64 KiB, with a masking key of zeros.
    pub fn send(&mut self, first: u8, payload: &[u8]) -> io::Result<()> {
        let size = u16::try_from(payload.len()).map_err(io::Error::other)?;
        let mut frame = vec![first];
        match size {
            0..126 => frame.push(0x80 | size as u8),
            126.. => {
                frame.push(0x80 | 126);
                frame.extend(size.to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend(payload);
        self.0.write_all(&frame)
    }

    /// Returns the first byte and the payload of the next frame.
    pub fn next(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let [first, size] = self.read()?;
        let size = match size {
            126 => u64::from(u16::from_be_bytes(self.read()?)),
            127 => u64::from_be_bytes(self.read()?),
            size => u64::from(size),
        };
        let mut payload = vec![0; usize::try_from(size).map_err(io::Error::other)?];
        self.0.read_exact(&mut payload)?;
        Ok((first, payload))
    }

    /// Returns the payload of the next frame with this first byte. Others are passed over.
    pub fn next_of(&mut self, wanted: u8) -> io::Result<Vec<u8>> {
        loop {
            let (first, payload) = self.next()?;
            if first == wanted {
                return Ok(payload);
            }
        }
    }

    /// Whether the server has ended the stream.
    pub fn is_at_end(&mut self) -> io::Result<bool> {
        Ok(self.0.read(&mut [0])? == 0)
    }

    fn read<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}
