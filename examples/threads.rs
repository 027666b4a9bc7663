//! A server on several threads: on one executor for all of them, or on an executor for each.
//!
//! ```text
//! cargo run --release --example threads -- 127.0.0.1:9001
//! cargo run --release --example threads -- 127.0.0.1:9001 --threads 4 --executor-per-thread
//! ```
//!
//! Binary messages are echoed. A text message goes to every connection, on whichever thread it is served.
//! Ctrl-C shuts the server down on all threads.

use std::error::Error;
use std::future::IntoFuture;
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use async_channel::Receiver;
use async_executor::Executor;
use async_signal::{Signal, Signals};
use futures_lite::{StreamExt, future};
use sansock::serve::{Origins, OverflowPolicy, Room, Server, ServerHandle};
use sansock::smol::{Serve, Socket, serve};
use sansock::{Message, Prepared};

const USAGE: &str = "usage: threads ADDRESS [--threads N] [--executor-per-thread]";

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

struct Options {
    address: String,
    threads: usize,
    executor_per_thread: bool,
}

fn main() -> ExitCode {
    match options().and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("threads: {error}\n{USAGE}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Outcome<Options> {
    use lexopt::prelude::*;

    let mut address = None;
    let mut threads = thread::available_parallelism().map_or(1, usize::from);
    let mut executor_per_thread = false;
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("threads") => threads = arguments.value()?.parse()?,
            Long("executor-per-thread") => executor_per_thread = true,
            Value(value) if address.is_none() => address = Some(value.string()?),
            Short(_) | Long(_) | Value(_) => return Err(argument.unexpected().into()),
        }
    }
    Ok(Options {
        address: address.ok_or("an address is missing")?,
        threads: threads.max(1),
        executor_per_thread,
    })
}

fn run(options: &Options) -> Outcome {
    let signals = Signals::new([Signal::Int, Signal::Term])?;
    let listener = TcpListener::bind(&options.address)?;
    println!("listening on ws://{}/", listener.local_addr()?);
    match options.executor_per_thread {
        true => on_an_executor_each(&listener, options.threads, signals),
        false => on_one_executor(listener, options.threads, signals),
    }
}

/// Runs one server. Each thread runs whichever connection is ready next.
fn on_one_executor(listener: TcpListener, threads: usize, signals: Signals) -> Outcome {
    let executor: Arc<Executor<'static>> = Arc::default();
    let connections = executor.clone();
    let server = server(listener, Room::new())
        .spawn(move |connection| connections.spawn(connection).detach());
    let server = future::block_on(server.bind())?;
    let handle = server.handle();
    // As a separate task the server is polled only when it was woken. `Executor::run` polls its argument each
    // time that the thread wakes.
    let serving = executor.spawn(server.into_future());
    let (running, stopped) = async_channel::bounded(1);

    thread::scope(|scope| {
        for number in 0..threads {
            let (executor, stopped) = (executor.clone(), stopped.clone());
            worker(number).spawn_scoped(scope, move || work(&executor, &stopped))?;
        }
        shut_down_on_signal(signals, &[handle]);
        future::block_on(serving);
        drop(running);
        Ok(())
    })
}

/// Runs the tasks of the executor until the channel closes.
fn work(executor: &Executor<'_>, stopped: &Receiver<()>) {
    let _ = async_io::block_on(executor.run(stopped.recv()));
}

/// Runs a server on each thread. They accept from the same listener, and a connection stays on the thread that
/// has accepted it.
fn on_an_executor_each(listener: &TcpListener, threads: usize, signals: Signals) -> Outcome {
    // Connections of all servers can be in the same room.
    let room = Room::new();
    let servers: Vec<_> = (0..threads)
        .map(|_| {
            let server = server(listener.try_clone()?, room.clone());
            Ok(future::block_on(server.bind())?)
        })
        .collect::<Outcome<_>>()?;
    let handles: Vec<_> = servers.iter().map(Server::handle).collect();

    thread::scope(|scope| {
        for (number, server) in servers.into_iter().enumerate() {
            worker(number).spawn_scoped(scope, move || async_io::block_on(server.into_future()))?;
        }
        shut_down_on_signal(signals, &handles);
        Ok(())
    })
}

fn server(listener: TcpListener, room: Room) -> Serve {
    serve(listener, move |ws| talk(ws, room.clone())).origins(Origins::SameHost)
}

fn worker(number: usize) -> thread::Builder {
    thread::Builder::new().name(format!("worker {number}"))
}

/// Shuts the servers down on Ctrl-C. Their threads end when their connections have ended.
fn shut_down_on_signal(mut signals: Signals, handles: &[ServerHandle]) {
    // Unlike the function of async-io, this `block_on` only waits: the workers poll the sockets.
    future::block_on(signals.next());
    for (number, handle) in handles.iter().enumerate() {
        let opened = handle.snapshot().opened;
        println!("server {number}: {opened} connections opened");
        handle.shutdown();
    }
}

async fn talk(mut ws: Socket, room: Room) -> sansock::Result<()> {
    room.join(ws.handle());
    while let Some(message) = ws.recv().await? {
        match message {
            Message::Text(text) => {
                let _ = room.broadcast(&Prepared::new(text), OverflowPolicy::Disconnect);
            }
            // `feed` only queues: `recv` writes all replies together before it waits.
            Message::Binary(_) => ws.feed(message).await?,
        }
    }
    Ok(())
}
