//! What the client does in its scenarios.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use futures_lite::future;
use sansock::Result;
use sansock::core::Closed;
use sansock::core::handshake::StatusCode;
use sansock::smol::{WebSocket, connect};
use sansock::tls::ClientTls;
use socket2::{Domain, Type};

use super::{Arguments, Outcome, check};
use crate::peer::interop::client as interop;
use crate::peer::runtime::Timer;

pub(super) const OPTIONS: &[&str] = &[
    "--to",
    "--from",
    "--roots",
    "--origin",
    "--forwarded-for",
    "--seconds",
];

const TIMEOUT: Duration = Duration::from_secs(15);

pub(super) async fn run(url: &str, scenario: &str, arguments: &Arguments) -> Outcome {
    let idle = Duration::from_secs(arguments.option("--seconds").unwrap_or("0").parse()?);
    let conversation = async {
        let url = format!("{url}{}", path(scenario));
        let opened = open(&url, arguments).await?;
        match scenario {
            "peer" => peer(opened?).await,
            "idle" => be_idle(opened?, idle).await,
            "shutdown" => shutdown(opened?).await,
            "refused" => refused(opened),
            _ => interop::converse(opened?, scenario, 1).await,
        }
    };
    future::or(conversation, async {
        Timer::after(TIMEOUT + idle).await;
        Err("it takes too long".into())
    })
    .await
}

/// The path on which a scenario is run.
fn path(scenario: &str) -> String {
    match scenario {
        "peer" => "/peer".into(),
        "refused" | "idle" | "shutdown" => "/echo".into(),
        _ => interop::path(scenario, 1),
    }
}

/// Connects to the proxy, whatever the host of the URL.
async fn open(url: &str, arguments: &Arguments) -> Outcome<Result<WebSocket>> {
    let to = arguments.option("--to").ok_or("--to is missing")?.parse()?;
    let from = match arguments.option("--from") {
        Some(address) => address.parse()?,
        None => Ipv4Addr::LOCALHOST.into(),
    };
    let mut connecting = connect(url).open_timeout(TIMEOUT);
    if let Some(path) = arguments.option("--roots") {
        connecting = connecting.tls(ClientTls::new().roots_pem(std::fs::read(path)?)?);
    }
    if let Some(origin) = arguments.option("--origin") {
        connecting = connecting.origin(origin);
    }
    if let Some(forged) = arguments.option("--forwarded-for") {
        connecting = connecting.header("X-Forwarded-For", forged);
    }
    let stream = async_net::TcpStream::try_from(tcp(from, to)?)?;
    Ok(connecting.over(stream).await)
}

fn tcp(from: IpAddr, to: SocketAddr) -> Outcome<TcpStream> {
    let socket = socket2::Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    socket.connect_timeout(&to.into(), TIMEOUT)?;
    Ok(socket.into())
}

/// Prints the first message, in which the server names its peer.
async fn peer(mut socket: WebSocket) -> Outcome {
    let message = socket.recv().await?.ok_or("no message came")?;
    println!("PEER {}", message.as_text().ok_or("no text came")?);
    close(socket).await
}

/// Receives nothing for a while. After it, the connection must still work.
async fn be_idle(mut socket: WebSocket, time: Duration) -> Outcome {
    let ends = async {
        Timer::after(time).await;
        Outcome::Ok(())
    };
    let received = async {
        let received = socket.recv().await?;
        Err(format!("while idle, {received:?} came").into())
    };
    future::or(received, ends).await?;
    echo(&mut socket).await?;
    close(socket).await
}

/// Waits for the server to shut down.
async fn shutdown(mut socket: WebSocket) -> Outcome {
    echo(&mut socket).await?;
    println!("OPEN");
    let after = socket.recv().await?;
    check(after.is_none(), || format!("{after:?} came"))?;
    let close = socket.closed().and_then(Closed::received);
    check(close.is_some_and(|frame| frame.code == 1001.into()), || {
        format!("the server's Close said {close:?}, not 1001")
    })
}

async fn echo(socket: &mut WebSocket) -> Outcome {
    socket.send("hello").await?;
    let came = socket.recv().await?;
    check(came == Some("hello".into()), || format!("{came:?} came"))
}

async fn close(mut socket: WebSocket) -> Outcome {
    socket.close(1000, "").await?;
    let is_clean = socket.closed().is_some_and(Closed::is_clean);
    check(is_clean, || "the end was not clean".into())
}

/// Succeeds if the server refuses the origin, and the proxy passes its response on.
fn refused(opened: Result<WebSocket>) -> Outcome {
    let Err(error) = opened else {
        return Err("the handshake was accepted".into());
    };
    match error.response() {
        Some(response) => check(response.status() == StatusCode::FORBIDDEN, || {
            format!("status {}, not 403", response.status())
        }),
        None => Err(error.into()),
    }
}
