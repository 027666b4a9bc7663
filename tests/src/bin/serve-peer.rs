//! A server, and many clients, as processes of their own: for what needs more descriptors than one
//! process has, or fewer.
//!
//! `serve-peer server RUNTIME` prints `PORT n`. For each line of standard input it prints
//! `NUMBERS open handshakes opened accept-errors`; when the input ends it shuts down and exits.
//!
//! `serve-peer clients PORT COUNT` opens connections, and prints `OPEN`. When all have ended it prints
//! `CODE code count` for each code that the server has closed with.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::stdin;
use std::process::ExitCode;
use std::thread;

use async_executor::LocalExecutor;
use sansock::serve::{Origins, ServerHandle};
use sansock::{Closed, Error, Result};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["server", "smol"] => async_io::block_on(smol()),
        ["server", "async-std"] => async_io::block_on(async_std()),
        ["clients", port, count] => match count.parse() {
            Ok(count) => async_io::block_on(clients(port, count)),
            Err(_) => return ExitCode::from(2),
        },
        _ => return ExitCode::from(2),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}: {:?}", std::error::Error::source(&error));
            ExitCode::FAILURE
        }
    }
}

macro_rules! server {
    ($name:ident, $shim:ident) => {
        async fn $name() -> Result<()> {
            let echo = async |mut ws: sansock::$shim::Socket| {
                while let Some(message) = ws.recv().await? {
                    ws.send(message).await?;
                }
                Ok::<_, Error>(())
            };
            let serving = sansock::$shim::serve("127.0.0.1:0", echo);
            let server = serving.origins(Origins::SameHost).bind().await?;
            if let Some(address) = server.local_addresses().next() {
                println!("PORT {}", address.port());
            }
            run(server.handle(), server.run()).await;
            Ok(())
        }
    };
}

server!(smol, smol);
server!(async_std, async_std);

/// Runs a server until standard input ends.
async fn run(handle: ServerHandle, running: impl Future<Output = ()>) {
    thread::spawn(move || {
        for _line in stdin().lines() {
            let numbers = handle.snapshot();
            println!(
                "NUMBERS {} {} {} {}",
                numbers.open, numbers.handshakes, numbers.opened, numbers.accept_errors
            );
        }
        handle.shutdown();
    });
    running.await;
}

async fn clients(port: &str, count: usize) -> Result<()> {
    let executor = LocalExecutor::new();
    let url = format!("ws://127.0.0.1:{port}/");
    let running = async {
        let mut opened = Vec::new();
        for _ in 0..count {
            opened.push(sansock::smol::connect(&url).await?);
        }
        println!("OPEN");
        let tasks = opened.into_iter().map(|mut ws| {
            executor.spawn(async move {
                while let Ok(Some(_)) = ws.recv().await {}
                let closed = ws.closed().and_then(Closed::received);
                closed.map_or(1006, |frame| frame.code.number())
            })
        });
        let tasks: Vec<_> = tasks.collect();
        let mut codes = BTreeMap::new();
        for task in tasks {
            *codes.entry(task.await).or_insert(0) += 1;
        }
        for (code, count) in codes {
            println!("CODE {code} {count}");
        }
        Ok(())
    };
    executor.run(running).await
}
