//! WebSockets and ordinary HTTP on one port: hyper speaks HTTP, on smol, and hands over the stream of a
//! request that asks for a WebSocket.
//!
//! ```text
//! cargo run --example hyper                       a server, and a client that visits it
//! cargo run --example hyper -- 127.0.0.1:9001     the server alone; see http://127.0.0.1:9001/
//! ```

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_executor::Executor;
use async_io::Timer;
use async_net::{TcpListener, TcpStream};
use bytes::Bytes;
use futures_lite::{AsyncRead, AsyncWrite};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Sleep, Write};
use hyper::service::service_fn;
use hyper::upgrade::{self, OnUpgrade};
use hyper::{Request, Response, StatusCode, client, server};
use sansock::core::deflate::Deflate;
use sansock::core::handshake::{self, ClientHandshake, Uri};
use sansock::core::{ClientConnection, Connection, Negotiated, Side};
use sansock::{ClientOptions, Config, ServerOptions, Timer as _, WebSocket};

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

static EXECUTOR: Executor = Executor::new();

fn main() -> Outcome {
    async_io::block_on(EXECUTOR.run(async {
        let address = std::env::args().nth(1);
        let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:0")).await?;
        let bound = listener.local_addr()?.to_string();
        println!("listening on http://{bound}/ and ws://{bound}/echo");
        let server = EXECUTOR.spawn(serve(listener));
        match address {
            Some(_) => server.await,
            None => visit(&bound).await,
        }
    }))
}

/// One configuration for all, whose clones share it: so they share the pool of compressors too.
static CONFIG: LazyLock<Config> = LazyLock::new(|| sansock::config().deflate(Deflate::new()));

// The server.

async fn serve(listener: TcpListener) -> Outcome {
    loop {
        let (stream, peer) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let service = service_fn(async |request| Ok::<_, Infallible>(answer(request)));
        let http = server::conn::http1::Builder::new()
            .timer(Sleeper)
            .serve_connection(HyperIo(stream), service)
            .with_upgrades();
        let conversation = async move {
            if let Err(error) = http.await {
                println!("{peer}: {error}");
            }
        };
        EXECUTOR.spawn(conversation).detach();
    }
}

fn answer(request: Request<Incoming>) -> Response<Full<Bytes>> {
    match request.uri().path() {
        "/" => Response::new("The WebSocket is at /echo\n".into()),
        "/echo" => open(request).unwrap_or_else(|error| {
            let mut response = Response::new(format!("{error}\n").into());
            *response.status_mut() = StatusCode::BAD_REQUEST;
            response
        }),
        _ => {
            let mut response = Response::new("There is nothing here\n".into());
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    }
}

/// Checks the request, and returns the response to it. Where that is 101, hyper hands over the stream
/// once it has been sent.
fn open(mut request: Request<Incoming>) -> Outcome<Response<Full<Bytes>>> {
    let asked = handshake::Request::try_from(&request)?;
    let (response, negotiated) = ServerOptions::new()
        .accept_with_extensions(&asked, |offers| CONFIG.answer_extensions(offers));
    if let Ok(negotiated) = negotiated {
        let stream = upgrade::on(&mut request);
        let conversation = async {
            match echo(stream, negotiated).await {
                Ok(closed) => println!("{closed}"),
                Err(error) => println!("{error}"),
            }
        };
        EXECUTOR.spawn(conversation).detach();
    }
    Ok(Response::try_from(&response)?.map(Full::new))
}

async fn echo(stream: OnUpgrade, negotiated: Negotiated) -> Outcome<String> {
    // What hyper was given comes out of it again, with what it has read beyond the request.
    let upgraded = stream.await?.downcast::<HyperIo<TcpStream>>();
    let parts = upgraded.map_err(|_| "hyper was given another stream")?;
    let timer = Timer::never();
    let mut connection = Connection::new(Side::Server, negotiated, CONFIG.clone())?;
    connection.receive_data(&parts.read_buf, timer.now());
    let mut ws = WebSocket::new(parts.io.0, timer, connection);
    while let Some(message) = ws.recv().await? {
        ws.feed(message).await?;
    }
    Ok(ws.closed().map(ToString::to_string).unwrap_or_default())
}

// The client.

async fn visit(address: &str) -> Outcome {
    let stream = HyperIo(TcpStream::connect(address).await?);
    let (mut http, connection) = client::conn::http1::handshake(stream).await?;
    EXECUTOR.spawn(connection.with_upgrades()).detach();

    let request = Request::get("/").header("Host", address);
    let request = request.body(Full::<Bytes>::default())?;
    let response = http.send_request(request).await?;
    let (status, body) = (response.status(), response.collect().await?.to_bytes());
    println!(
        "client: {status}: {}",
        String::from_utf8_lossy(&body).trim()
    );

    // The same connection becomes a WebSocket.
    let uri: Uri = format!("ws://{address}/echo").parse()?;
    let request = ClientConnection::new(&uri, &ClientOptions::new(), CONFIG.clone())?.connect();
    http.ready().await?;
    let sent = Request::try_from(&request)?.map(|()| Full::default());
    let mut response = http.send_request(sent).await?;
    let stream = upgrade::on(&mut response);
    let head = handshake::Response::try_from(response.map(|_| Bytes::new()))?;
    let negotiated = ClientHandshake::from(request).check(&head)?;
    println!("client: {}, with {}", head.status(), negotiated.extensions);

    // Here the stream stays wrapped, as it must be where its type is not known. What hyper has read
    // beyond the response comes out of it first.
    let connection = Connection::new(Side::Client, negotiated, CONFIG.clone())?;
    let mut ws = WebSocket::new(HyperIo(stream.await?), Timer::never(), connection);
    ws.send("hello").await?;
    println!("client: came back: {:?}", ws.recv().await?);
    ws.close(1000, "that is all").await?;
    println!("client: closed");
    Ok(())
}

// The adapters, both ways: hyper reads, writes and sleeps through traits of its own.

struct HyperIo<S>(S);

impl<S: AsyncRead + Unpin> Read for HyperIo<S> {
    /// By way of a buffer, as only unsafe code can fill hyper's own. Only HTTP goes this way.
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut room = [0; 4096];
        let size = room.len().min(buf.remaining());
        let read = ready!(Pin::new(&mut self.0).poll_read(cx, &mut room[..size]))?;
        buf.put_slice(&room[..read]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Write for HyperIo<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

impl<S: Read + Unpin> AsyncRead for HyperIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(buf);
        ready!(Pin::new(&mut self.0).poll_read(cx, buf.unfilled()))?;
        Poll::Ready(Ok(buf.filled().len()))
    }
}

impl<S: Write + Unpin> AsyncWrite for HyperIo<S> {
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

/// Lets hyper end a connection on which no request comes.
struct Sleeper;

impl hyper::rt::Timer for Sleeper {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(Asleep(Timer::after(duration)))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Asleep(Timer::at(deadline)))
    }
}

struct Asleep(Timer);

impl Sleep for Asleep {}

impl Future for Asleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(|_| ())
    }
}
