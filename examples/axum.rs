//! On tokio: axum serves ordinary pages and a WebSocket on one port, and a client visits it. The adapter of
//! tokio is the file `adapters/docs/tokio.rs`: copy it.
//!
//! ```text
//! cargo run --example axum                       a server, and a client that visits it
//! cargo run --example axum -- 127.0.0.1:9001     the server alone; see http://127.0.0.1:9001/
//! ```

use std::error::Error;
use std::sync::LazyLock;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::upgrade::{self, OnUpgrade};
use hyper_util::rt::TokioIo;
use sansock::core::deflate::Deflate;
use sansock::core::handshake;
use sansock::core::{Connection, Negotiated, Side};
use sansock::runtime::{Runtime, connect};
use sansock::{Config, ServerOptions, WebSocket};
use tokio::net::TcpListener;
use tokio_util::compat::TokioAsyncReadCompatExt;

#[expect(unreachable_pub, reason = "it is a file to copy")]
#[path = "../adapters/docs/tokio.rs"]
mod runtime;

use runtime::Tokio;

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
    let stream = TokioIo::new(stream.await?).compat();
    let connection = Connection::new(Side::Server, negotiated, CONFIG.clone())?;
    let mut ws = WebSocket::new(stream, Tokio.timer(), connection);
    while let Some(message) = ws.recv().await? {
        ws.feed(message).await?;
    }
    Ok(ws.closed().map(ToString::to_string).unwrap_or_default())
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
