//! A server that tells Prometheus what it does, on the port of its WebSockets.
//!
//! ```text
//! cargo run --example prometheus -- 127.0.0.1:9001
//! curl http://127.0.0.1:9001/metrics
//! ```

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::future;
use std::sync::OnceLock;

use async_io::Timer;
use sansock::core::handshake::{Response, StatusCode};
use sansock::serve::{HandshakeDecision, Origins, ServerHandle, Snapshot};
use sansock::smol::{IncomingRequest, Socket, Stream, serve};

/// The server, for those who look at its numbers. It is there before the first request is.
static SERVER: OnceLock<ServerHandle> = OnceLock::new();

fn main() -> sansock::Result<()> {
    let Some(address) = std::env::args().nth(1) else {
        eprintln!("usage: prometheus ADDRESS, for example 127.0.0.1:9001");
        std::process::exit(2);
    };
    async_io::block_on(async {
        let server = serve(address, echo)
            .origins(Origins::SameHost)
            .process_request(|request| future::ready(route(request)))
            .bind()
            .await?;
        SERVER.get_or_init(|| server.handle());
        for address in server.local_addresses() {
            println!("listening on http://{address}/metrics and ws://{address}/");
        }
        server.await;
        Ok(())
    })
}

async fn echo(mut ws: Socket) -> sansock::Result<()> {
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}

fn route(request: IncomingRequest) -> HandshakeDecision<Stream, Timer> {
    match request.path() {
        "/" => request.accept(),
        "/metrics" => request.respond(metrics()),
        _ => request.reject(StatusCode::NOT_FOUND, "There is nothing here.\n"),
    }
}

fn metrics() -> Response {
    let snapshot = SERVER.get().map(ServerHandle::snapshot);
    let text = exposition(&snapshot.unwrap_or_default());
    let mut response = Response::text(StatusCode::OK, text);
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    // It is well-formed.
    let _ = response.headers_mut().set("Content-Type", kind);
    response
}

/// Writes the numbers in the text format of Prometheus. Its counters only ever grow: how much a minute,
/// and since when, is for who asks to find out.
fn exposition(numbers: &Snapshot) -> String {
    let mut text = String::new();
    let gauges = [
        ("connections", "Connections that are open.", numbers.open),
        (
            "handshakes",
            "Opening handshakes in progress.",
            numbers.handshakes,
        ),
    ];
    for (name, help, value) in gauges {
        family(&mut text, name, "gauge", help, [("", value)]);
    }
    let counters = [
        ("accepted_total", "Transports accepted.", numbers.accepted),
        ("opened_total", "Connections opened.", numbers.opened),
        (
            "handshakes_failed_total",
            "Opening handshakes without an answer.",
            numbers.failed,
        ),
        (
            "handshakes_evicted_total",
            "Opening handshakes that gave way to others.",
            numbers.evicted,
        ),
        (
            "handlers_failed_total",
            "Handlers that failed.",
            numbers.handler_failures,
        ),
        (
            "accept_errors_total",
            "Failures to accept.",
            numbers.accept_errors,
        ),
        (
            "received_bytes_total",
            "Bytes received.",
            numbers.bytes_received,
        ),
        ("sent_bytes_total", "Bytes sent.", numbers.bytes_sent),
    ];
    for (name, help, value) in counters {
        family(&mut text, name, "counter", help, [("", value)]);
    }
    let rejected = labelled("status", &numbers.rejected);
    let help = "Requests answered with another status than 101.";
    family(&mut text, "rejected_total", "counter", help, rejected);
    let closed = labelled("code", &numbers.closed);
    let help = "Connections closed, by the first close code.";
    family(&mut text, "closed_total", "counter", help, closed);
    text
}

/// Writes the values of one name, each behind its labels.
fn family<L: Display, V: Display>(
    text: &mut String,
    name: &str,
    kind: &str,
    help: &str,
    values: impl IntoIterator<Item = (L, V)>,
) {
    // A string takes all that is written to it.
    let _ = writeln!(text, "# HELP websocket_{name} {help}");
    let _ = writeln!(text, "# TYPE websocket_{name} {kind}");
    for (labels, value) in values {
        let _ = writeln!(text, "websocket_{name}{labels} {value}");
    }
}

fn labelled(label: &str, counts: &BTreeMap<u16, u64>) -> impl Iterator<Item = (String, u64)> {
    let counts = counts.iter();
    counts.map(move |(number, count)| (format!("{{{label}=\"{number}\"}}"), *count))
}
