//! On tokio: axum serves ordinary pages and a WebSocket on one port, and a client visits it. The adapter of
//! tokio is the file `adapters/docs/tokio.rs`: copy it.
//!
//! ```text
//! cargo run --example axum                       a server, and a client that visits it
//! cargo run --example axum -- 127.0.0.1:9001     the server alone; see http://127.0.0.1:9001/
//! ```

use std::error::Error;
use std::net::SocketAddr;
use std::sync::LazyLock;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::upgrade::{self, Upgraded};
use hyper_util::rt::TokioIo;
use sansock::core::deflate::Deflate;
use sansock::core::handshake;
use sansock::runtime::{Runtime, connect};
use sansock::serve::{Origins, Serve};
use sansock::{Config, serve};
use tokio::net::TcpListener;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

#[expect(unreachable_pub, reason = "it is a file to copy")]
#[path = "../adapters/docs/tokio.rs"]
mod runtime;

use runtime::Tokio;

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// What axum hands over, with a timer of tokio.
type Stream = Compat<TokioIo<Upgraded>>;
type Socket = serve::Socket<Stream, <Tokio as Runtime>::Timer>;
type Acceptor = serve::Acceptor<Stream, <Tokio as Runtime>::Timer>;

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

/// Serves until axum fails. The WebSockets are served as those of a server that does their HTTP itself.
async fn serve(listener: TcpListener) -> Outcome {
    let spawn = |connection| drop(tokio::spawn(connection));
    let server = Serve::new(echo, || Tokio.timer(), spawn)
        .origins(Origins::SameHost)
        .hosts(["localhost", "127.0.0.1"])
        .config(CONFIG.clone())
        .on_event(|event| eprintln!("{event}"))
        .bind()
        .await?;
    let app = Router::new()
        .route("/", get("The WebSocket is at /echo\n"))
        .route("/echo", get(open))
        .with_state(server.acceptor())
        .into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(server.run());
    axum::serve(listener, app).await?;
    Ok(())
}

/// Checks the request, and returns the response to it. Where that is 101, axum hands over the stream
/// once it has been sent.
async fn open(
    State(acceptor): State<Acceptor>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
) -> Result<Response, (StatusCode, String)> {
    let bad_request = |error: handshake::HeadError| (StatusCode::BAD_REQUEST, error.to_string());
    let asked = handshake::Request::try_from(&request).map_err(bad_request)?;
    let response = match acceptor.admit(asked, peer).await {
        Ok(admission) => {
            let response = admission.response().clone();
            // Bytes that were read beyond the request come out of this stream first.
            let upgrade = upgrade::on(&mut request);
            let stream = async { Ok::<_, hyper::Error>(TokioIo::new(upgrade.await?).compat()) };
            tokio::spawn(admission.serve_upgrade(stream));
            response
        }
        Err(refusal) => refusal,
    };
    let response = axum::http::Response::try_from(&response);
    let failed = |error: axum::http::Error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
    Ok(response.map_err(failed)?.map(Body::from).into_response())
}

async fn echo(mut ws: Socket) -> sansock::Result<()> {
    while let Some(message) = ws.recv().await? {
        ws.feed(message).await?;
    }
    if let Some(closed) = ws.closed() {
        println!("{closed}");
    }
    Ok(())
}

// The client.

async fn visit(address: &str) -> Outcome {
    let url = format!("ws://{address}/echo");
    let mut ws = connect(Tokio, &url).config(CONFIG.clone()).await?;
    let agreed = &ws.connection().negotiated().extensions;
    println!("client: connected, with {agreed}");

    ws.send("hello").await?;
    println!("client: came back: {:?}", ws.recv().await?);
    println!("client: ping took {:?}", ws.ping().await?);
    ws.close(1000, "that is all").await?;
    println!("client: closed");
    Ok(())
}
