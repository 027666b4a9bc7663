//! On tokio: axum serves ordinary pages and a WebSocket on one port, and a client visits it. Two
//! adapters are all it takes, one for streams and one for time.
//!
//! ```text
//! cargo run --example axum                       a server, and a client that visits it
//! cargo run --example axum -- 127.0.0.1:9001     the server alone; see http://127.0.0.1:9001/
//! ```

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, ready};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_lite::{AsyncRead, AsyncWrite};
use hyper::upgrade::{self, OnUpgrade};
use hyper_util::rt::TokioIo;
use sansock::core::deflate::Deflate;
use sansock::core::handshake::{self, Uri};
use sansock::core::{ClientConnection, Connection, Instant, Negotiated, Side};
use sansock::{ClientOptions, Config, ServerOptions, Timer, WebSocket};
use tokio::io::ReadBuf;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant as TokioInstant, Sleep, sleep_until};

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// One configuration for all, whose clones share it: so they share the pool of compressors too.
static CONFIG: LazyLock<Config> = LazyLock::new(|| sansock::config().deflate(Deflate::new()));

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let address = std::env::args().nth(1);
    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:0")).await?;
    let bound = listener.local_addr()?.to_string();
    println!("listening on http://{bound}/ and ws://{bound}/echo");
    let server = tokio::spawn(serve(listener));
    match address {
        Some(_) => server.await?,
        None => visit(&bound).await,
    }
}

// The server.

async fn serve(listener: TcpListener) -> Outcome {
    let app = Router::new()
        .route("/", get("The WebSocket is at /echo\n"))
        .route("/echo", get(open));
    axum::serve(listener, app).await?;
    Ok(())
}

/// Checks the request, and returns the response to it. Where that is 101, axum hands over the stream
/// once it has been sent.
async fn open(mut request: Request) -> Result<Response, (StatusCode, String)> {
    let bad_request = |error: handshake::HeadError| (StatusCode::BAD_REQUEST, error.to_string());
    let asked = handshake::Request::try_from(&request).map_err(bad_request)?;
    let (response, negotiated) = ServerOptions::new()
        .accept_with_extensions(&asked, |offers| CONFIG.answer_extensions(offers));
    if let Ok(negotiated) = negotiated {
        let stream = upgrade::on(&mut request);
        tokio::spawn(async {
            match echo(stream, negotiated).await {
                Ok(closed) => println!("{closed}"),
                Err(error) => println!("{error}"),
            }
        });
    }
    let response = axum::http::Response::try_from(&response);
    let failed = |error: axum::http::Error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
    Ok(response.map_err(failed)?.map(Body::from).into_response())
}

async fn echo(stream: OnUpgrade, negotiated: Negotiated) -> Outcome<String> {
    // Bytes that were read beyond the request come out of this stream first.
    let stream = Tokio(TokioIo::new(stream.await?));
    let connection = Connection::new(Side::Server, negotiated, CONFIG.clone())?;
    let mut ws = WebSocket::new(stream, Alarm::default(), connection);
    while let Some(message) = ws.recv().await? {
        ws.feed(message).await?;
    }
    Ok(ws.closed().map(ToString::to_string).unwrap_or_default())
}

// The client.

async fn visit(address: &str) -> Outcome {
    let uri: Uri = format!("ws://{address}/echo").parse()?;
    let connection = ClientConnection::new(&uri, &ClientOptions::new(), CONFIG.clone())?;
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let opened = WebSocket::client(Tokio(stream), Alarm::default(), connection).await;
    let (mut ws, response) = opened?;
    let agreed = &ws.connection().negotiated().extensions;
    println!("client: {}, with {agreed}", response.status());

    ws.send("hello").await?;
    println!("client: came back: {:?}", ws.recv().await?);
    println!("client: ping took {:?}", ws.ping().await?);
    ws.close(1000, "that is all").await?;
    println!("client: closed");
    Ok(())
}

// The adapters.

/// A stream of tokio's, as futures-io has it.
struct Tokio<S>(S);

impl<S: tokio::io::AsyncRead + Unpin> AsyncRead for Tokio<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(buf);
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut buf))?;
        Poll::Ready(Ok(buf.filled().len()))
    }
}

impl<S: tokio::io::AsyncWrite + Unpin> AsyncWrite for Tokio<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    /// Passed on, so that a large message leaves with its header in one system call, and without a copy.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// The time of tokio. A connection has one alarm, which it sets again and again.
#[derive(Default)]
struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// The start of time, the same for all.
    fn start() -> TokioInstant {
        static START: LazyLock<TokioInstant> = LazyLock::new(TokioInstant::now);
        *START
    }
}

impl Timer for Alarm {
    fn now(&self) -> Instant {
        Instant::from_start(Self::start().elapsed())
    }

    fn set(&mut self, deadline: Option<Instant>) {
        let at = deadline.and_then(|at| Self::start().checked_add(at.since_start()));
        match (&mut self.0, at) {
            (Some(sleep), Some(at)) => sleep.as_mut().reset(at),
            (sleep, at) => *sleep = at.map(|at| Box::pin(sleep_until(at))),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(sleep) = &mut self.0 else {
            return Poll::Pending;
        };
        sleep.as_mut().poll(cx)
    }
}
