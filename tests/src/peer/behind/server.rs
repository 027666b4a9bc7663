//! What the server does on its paths.

use std::io::{Read, stdin};
use std::thread;

use sansock::Result;
use sansock::core::handshake::StatusCode;
use sansock::serve::Origins;
use sansock::smol::{IncomingRequest, Listen, Socket, serve};
use sansock::tls::ServerTls;

use super::{Arguments, Outcome, runtime};
use crate::peer::interop::received;

/// Serves until standard input ends.
pub(super) fn run(arguments: &Arguments) -> Outcome {
    let mut listen = Listen::from("127.0.0.1:0");
    if let Some(trusted) = arguments.option("--proxy-protocol") {
        listen = Listen::proxy_protocol(listen, trusted.split(','));
    }
    if let Some(path) = arguments.option("--tls") {
        let pem = std::fs::read(path)?;
        listen = Listen::tls(listen, ServerTls::from_pem(&pem, &pem)?);
    }
    let mut serving = serve(listen, converse)
        .origins(Origins::SameHost)
        .process_request(known_path)
        .on_event(|event| eprintln!("{event}"));
    if let Some(hosts) = arguments.option("--hosts") {
        serving = serving.hosts(hosts.split(','));
    }
    if let Some(trusted) = arguments.option("--trusted-proxies") {
        serving = serving.trusted_proxies(trusted.split(','));
    }
    runtime::block_on(async {
        let server = serving.bind().await?;
        let address = server.local_addresses().next();
        println!("PORT {}", address.ok_or("no address")?.port());
        let handle = server.handle();
        thread::spawn(move || {
            let _ = stdin().read_to_end(&mut Vec::new());
            handle.shutdown();
        });
        server.run().await;
        Ok(())
    })
}

async fn known_path(request: IncomingRequest) -> sansock::smol::HandshakeDecision {
    match request.path() {
        "/echo" | "/fragments" | "/ping" | "/close" | "/peer" => request.accept(),
        _ => request.reject(StatusCode::NOT_FOUND, "no such path"),
    }
}

async fn converse(mut socket: Socket) -> Result<()> {
    let result = speak(&mut socket).await;
    if result.is_ok() {
        socket.close(1000, "").await?;
    }
    println!("CLOSED {}", received(socket.closed().as_ref()));
    result
}

async fn speak(socket: &mut Socket) -> Result<()> {
    match socket.path() {
        "/peer" => {
            let peer = socket.peer();
            let line = format!("{peer} {}", peer.transport());
            socket.send(line).await?;
            while socket.recv().await?.is_some() {}
        }
        "/close" => {
            socket.recv().await?;
            socket.close(1001, "bye").await?;
        }
        "/fragments" => {
            // Text is cut by bytes, characters in two.
            while let Some(message) = socket.recv().await? {
                let (start, rest) = message.as_bytes().split_at(message.len() / 3);
                let mut writer = socket.writer(message.kind());
                writer.write(start).await?;
                writer.write(b"").await?;
                writer.finish(rest).await?;
            }
        }
        "/ping" => {
            while let Some(message) = socket.recv().await? {
                socket.ping().await?;
                socket.send(message).await?;
            }
        }
        _ => {
            while let Some(message) = socket.recv().await? {
                socket.send(message).await?;
            }
        }
    }
    Ok(())
}
