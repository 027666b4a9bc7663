//! The client that goes through a proxy: over sockets of async-net, step by step.

use std::time::Duration;

use async_net::TcpStream;
use futures_lite::future;
use sansock::core::handshake::{ClientOptions, Uri};
use sansock::core::{ClientConnection, Closed};
use sansock::proxy::{Destination, Proxy};
use sansock::{Message, Result, WebSocket};

use super::runtime::{self, Timer};
use super::{Arguments, Outcome, check};

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    arguments.allow(&["--proxy"])?;
    let [url] = arguments.positional()[..] else {
        return Err("usage: proxy-peer URL [--proxy PROXY]".into());
    };
    let uri = url.parse::<Uri>()?;
    let proxy = match arguments.option("--proxy") {
        Some(proxy) => Some(proxy.parse()?),
        None => Proxy::from_environment(&uri)?,
    };
    let conversation = converse(&uri, proxy.as_ref());
    runtime::block_on(future::or(conversation, async {
        Timer::after(Duration::from_secs(10)).await;
        Err("it takes too long".into())
    }))
}

async fn converse(uri: &Uri, proxy: Option<&Proxy>) -> Outcome {
    let stream = match proxy {
        Some(proxy) => tunnel(uri, proxy).await?,
        None => TcpStream::connect((uri.host(), uri.port())).await?,
    };
    let connection = ClientConnection::new(uri, &ClientOptions::new(), sansock::config())?;
    let (mut socket, _) = WebSocket::client(stream, Timer::never(), connection).await?;
    match proxy {
        Some(proxy) => println!("THROUGH {proxy}"),
        None => println!("DIRECT"),
    }
    for message in [Message::text("hällo"), Message::binary(vec![7; 1 << 19])] {
        socket.send(&message).await?;
        let came = socket.recv().await?;
        check(came == Some(message), || "another message came back".into())?;
    }
    socket.close(1000, "").await?;
    let is_clean = socket.closed().is_some_and(Closed::is_clean);
    check(is_clean, || "the end was not clean".into())
}

async fn tunnel(uri: &Uri, proxy: &Proxy) -> Result<TcpStream> {
    let mut stream = TcpStream::connect((proxy.host(), proxy.port())).await?;
    let destination = match proxy.resolves_names() {
        true => Destination::from(uri),
        false => look_up(uri).await?,
    };
    proxy.tunnel(&mut stream, destination).await?;
    Ok(stream)
}

/// An IPv4 address, for the servers of these tests listen on no other.
async fn look_up(uri: &Uri) -> std::io::Result<Destination> {
    let addresses = async_net::resolve((uri.host(), uri.port())).await?;
    let address = addresses.into_iter().find(std::net::SocketAddr::is_ipv4);
    address
        .map(Destination::from)
        .ok_or_else(|| std::io::ErrorKind::NotFound.into())
}
