//! A chat: rooms, and a web page for them on the same port. Several of these servers share their rooms
//! through Redis.
//!
//! ```text
//! cargo run --example chat -- 127.0.0.1:9001
//! cargo run --example chat -- 127.0.0.1:9002 --redis redis://127.0.0.1:6379
//! ```
//!
//! Then open http://127.0.0.1:9001/ in two windows. The first message on a WebSocket is a name, those
//! after it are said by that name in the room that the path names. Ctrl-C ends the server properly: the
//! pages are told, and come back when it does.

mod exchange;
mod rooms;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;

use async_io::Timer;
use async_signal::{Signal, Signals};
use bytestring::ByteString;
use futures_lite::{StreamExt, future};
use sansock::core::handshake::{Response, StatusCode};
use sansock::serve::{HandshakeDecision, Origins};
use sansock::smol::{IncomingRequest, Socket, Stream, serve};
use sansock::{CloseCode, Message};

use crate::exchange::Exchange;
use crate::rooms::Rooms;

const PAGE: &str = include_str!("page.html");

/// Nobody types more at once.
const LONGEST_MESSAGE: usize = 4 << 10;

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    match options().and_then(|(address, redis)| async_io::block_on(run(address, redis))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chat: {error}\nusage: chat [ADDRESS] [--redis URL]");
            ExitCode::FAILURE
        }
    }
}

/// Returns where to listen, and where Redis is.
fn options() -> Outcome<(String, Option<String>)> {
    use lexopt::prelude::*;

    let (mut address, mut redis) = (String::from("127.0.0.1:9001"), None);
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("redis") => redis = Some(arguments.value()?.string()?),
            Value(value) => address = value.string()?,
            Short(_) | Long(_) => return Err(argument.unexpected().into()),
        }
    }
    Ok((address, redis))
}

async fn run(address: String, redis: Option<String>) -> Outcome {
    // What is said goes through the exchange, where there is one, and comes back from it.
    let (rooms, exchange) = match redis {
        Some(url) => {
            let (exchange, outgoing) = Exchange::new(&url)?;
            (Rooms::new(Some(outgoing)), Some(exchange))
        }
        None => (Rooms::new(None), None),
    };
    let rooms = Arc::new(rooms);
    let handler = {
        let rooms = rooms.clone();
        move |ws| talk(ws, rooms.clone())
    };
    let server = serve(address, handler)
        // Pages of other sites may not speak in the name of who visits them.
        .origins(Origins::SameHost)
        .config(sansock::config().max_message_size(LONGEST_MESSAGE))
        .process_request(|request| future::ready(route(request)))
        .on_event(|event| eprintln!("{event}"))
        .bind()
        .await?;
    for address in server.local_addresses() {
        println!("listening on http://{address}/");
    }

    let handle = server.handle();
    let mut signals = Signals::new([Signal::Int, Signal::Term])?;
    let until_told = async {
        signals.next().await;
        handle.shutdown_with(CloseCode::SERVICE_RESTART, "the server restarts");
        future::pending::<()>().await;
    };
    let exchanging = async {
        match exchange {
            Some(exchange) => exchange.run(&rooms).await,
            None => future::pending().await,
        }
    };
    future::or(server.run(), future::or(until_told, exchanging)).await;
    Ok(())
}

/// Answers a request: with the page, or by opening a WebSocket.
fn route(request: IncomingRequest) -> HandshakeDecision<Stream, Timer> {
    if room_of(request.path()).is_some() {
        return request.accept();
    }
    match request.path() {
        "/" => request.respond(page()),
        _ => request.reject(StatusCode::NOT_FOUND, "There is no such room.\n"),
    }
}

fn page() -> Response {
    let mut page = Response::text(StatusCode::OK, PAGE);
    let headers = page.headers_mut();
    // Both are well-formed.
    let _ = headers.set("Content-Type", "text/html; charset=utf-8");
    let _ = headers.set("Cache-Control", "no-cache");
    page
}

/// Returns the room that a path names.
fn room_of(path: &str) -> Option<&str> {
    let name = path.strip_prefix("/rooms/")?;
    let fits = (1..=32).contains(&name.len());
    let plain = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    (fits && plain).then_some(name)
}

/// One visitor, from the opening handshake to the end.
async fn talk(mut ws: Socket, rooms: Arc<Rooms>) -> sansock::Result<()> {
    let room = room_of(ws.path()).unwrap_or_default().to_owned();
    let Some(name) = hear(&mut ws).await? else {
        return Ok(());
    };
    rooms.enter(&room, ws.handle());
    rooms.say(&room, format!("{name} is here")).await;
    // What others say is sent by the server while this waits.
    let outcome = loop {
        match hear(&mut ws).await {
            Ok(Some(text)) => rooms.say(&room, format!("{name}: {text}")).await,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    rooms.leave(&room, ws.handle());
    rooms.say(&room, format!("{name} has left")).await;
    outcome
}

/// Receives a text; `None` where the visitor has gone, or sends something else.
async fn hear(ws: &mut Socket) -> sansock::Result<Option<ByteString>> {
    match ws.recv().await? {
        Some(Message::Text(text)) => Ok(Some(text)),
        Some(Message::Binary(_)) => {
            ws.close(CloseCode::UNSUPPORTED_DATA, "text only").await?;
            Ok(None)
        }
        None => Ok(None),
    }
}
