//! How the clients connect: from several addresses, as one has 28,000 ports only.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use async_io::{Async, Timer};
use async_net::TcpStream;
use sansock::core::deflate::Deflate;
use sansock::core::handshake::{ClientOptions, Uri};
use sansock::core::{ClientConnection, Config};
use sansock::smol::{Stream, WebSocket};
use socket2::{Domain, SockRef, Socket, Type};

use crate::peer::Outcome;

/// 127.0.0.2 and those that follow.
const ADDRESSES: u8 = 16;
/// A bound for a busy machine.
const OPEN_TIMEOUT: Duration = Duration::from_secs(60);
/// What the system may keep for a client that reads slowly; it takes the double.
const LITTLE: usize = 8 << 10;

pub(super) struct Connecting {
    port: u16,
    next: Cell<u8>,
    plain: Config,
    /// Of all that compress: they share a pool of compressors.
    compressing: Config,
}

impl Connecting {
    pub(super) fn new(port: u16) -> Self {
        Self {
            port,
            next: Cell::new(0),
            plain: sansock::config(),
            compressing: sansock::config().deflate(Deflate::new()),
        }
    }

    fn address(&self) -> IpAddr {
        self.next.set((self.next.get() + 1) % ADDRESSES);
        Ipv4Addr::new(127, 0, 0, 2 + self.next.get()).into()
    }

    fn url(&self, path: &str) -> String {
        format!("ws://127.0.0.1:{}{path}", self.port)
    }

    /// Connects as a user of the library does.
    pub(super) async fn open(&self, path: &str, deflate: bool) -> Outcome<WebSocket> {
        let config = if deflate {
            &self.compressing
        } else {
            &self.plain
        };
        let connect = sansock::smol::connect(&self.url(path)).config(config.clone());
        let connect = connect.open_timeout(OPEN_TIMEOUT);
        Ok(connect.local_address(self.address()).await?)
    }

    /// Connects over a socket that the system keeps little for; it does not look whether the server is
    /// still there.
    pub(super) async fn open_narrow(&self, path: &str) -> Outcome<WebSocket> {
        let tcp = self.tcp(Some(LITTLE)).await?;
        let config = self.plain.clone().ping_interval(None);
        self.open_over(tcp, path, config).await
    }

    /// Connects over a socket that is also returned, to reset it.
    pub(super) async fn open_brittle(&self, path: &str) -> Outcome<(WebSocket, Brittle)> {
        let tcp = self.tcp(None).await?;
        let brittle = Brittle(tcp.clone());
        let ws = self.open_over(tcp, path, self.plain.clone()).await?;
        Ok((ws, brittle))
    }

    async fn open_over(&self, tcp: TcpStream, path: &str, config: Config) -> Outcome<WebSocket> {
        let config = config.open_timeout(OPEN_TIMEOUT);
        let uri = Uri::parse(&self.url(path))?;
        let connection = ClientConnection::new(&uri, &ClientOptions::new(), config)?;
        let (ws, _) = WebSocket::client(Stream::from(tcp), Timer::never(), connection).await?;
        Ok(ws)
    }

    /// Connects a socket, no more.
    pub(super) async fn tcp(&self, receive_buffer: Option<usize>) -> Outcome<TcpStream> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        if let Some(size) = receive_buffer {
            socket.set_recv_buffer_size(size)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddr::new(self.address(), 0).into())?;
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        // What it says now is that it has begun; what became of it is asked below.
        let _ = socket.connect(&server.into());
        let stream = Async::new_nonblocking(std::net::TcpStream::from(socket))?;
        stream.writable().await?;
        match stream.get_ref().take_error()? {
            Some(error) => Err(error.into()),
            None => Ok(stream.into()),
        }
    }
}

/// A socket whose end is a reset, wherever the conversation is.
pub(super) struct Brittle(TcpStream);

impl Drop for Brittle {
    fn drop(&mut self) {
        let _ = SockRef::from(&self.0).set_linger(Some(Duration::ZERO));
    }
}
