//! TCP connections of both shims, on async-io.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};

use async_io::Async;
use socket2::{Domain, Protocol, Socket, Type};

use crate::transport::limit_unsent;

/// Connects to an address, from a local one if it is given.
pub(crate) async fn connect(to: SocketAddr, from: Option<IpAddr>) -> io::Result<Async<TcpStream>> {
    let stream = connect_from(to, from).await?;
    limit_unsent(stream.get_ref());
    Ok(stream)
}

async fn connect_from(to: SocketAddr, from: Option<IpAddr>) -> io::Result<Async<TcpStream>> {
    let Some(from) = from else {
        return Async::<TcpStream>::connect(to).await;
    };
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    // An error says that the connection is being made, in a way of each system's own, or why it is not.
    let begun = socket.connect(&to.into());
    let stream = Async::new_nonblocking(TcpStream::from(socket))?;
    stream.writable().await?;
    if let Some(error) = stream.get_ref().take_error()? {
        return Err(error);
    }
    match (stream.get_ref().peer_addr(), begun) {
        (Ok(_), _) => Ok(stream),
        (Err(_), Err(error)) | (Err(error), Ok(())) => Err(error),
    }
}
