//! The core alone over blocking sockets: no executor, no driver, a thread for each side.
//! Run it with `cargo run --example sans_io`.

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant as StdInstant};

use bytes::Buf;
use sansock_core::handshake::{ClientOptions, Uri};
use sansock_core::{ClientConnection, Config, Event, Instant, Protocol, ServerConnection, State};

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

fn main() -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = thread::spawn(move || server(listener.accept()?.0));
    client(TcpStream::connect(address)?)?;
    server.join().map_err(|_| "the server panicked")?
}

fn server(mut stream: TcpStream) -> Outcome {
    let mut server = ServerConnection::new(Default::default(), Config::new());
    loop {
        match server.next_event() {
            Some(Event::Request(request)) => {
                println!("server: {} {}", request.method(), request.target());
                let response = server.accept(&request);
                server.send_response(&response)?;
            }
            Some(Event::Message(message)) => {
                let message = message.into_owned();
                println!("server: {message:?}");
                server.send(message)?;
            }
            Some(event) => println!("server: {event:?}"),
            None => {
                if server.state() == State::Closed {
                    return Ok(());
                }
                exchange(&mut stream, &mut server)?;
            }
        }
    }
}

fn client(mut stream: TcpStream) -> Outcome {
    let uri: Uri = "ws://localhost/".parse()?;
    let mut client = ClientConnection::new(&uri, &ClientOptions::new(), Config::new())?;
    client.send_request(client.connect())?;
    loop {
        match client.next_event() {
            Some(Event::Response(response)) => {
                println!("client: {}", response.status());
                client.send("hello")?;
            }
            Some(Event::Message(message)) => {
                println!("client: {:?}", message.into_owned());
                client.send_close(1000, "that is all")?;
            }
            Some(event) => println!("client: {event:?}"),
            None => {
                if client.state() == State::Closed {
                    return Ok(());
                }
                exchange(&mut stream, &mut client)?;
            }
        }
    }
}

/// Writes what is queued, tells the time, and reads once. No driver does more than this.
fn exchange(stream: &mut TcpStream, connection: &mut impl Protocol) -> Outcome {
    let mut data = connection.data_to_send();
    while data.has_remaining() {
        let size = stream.write(data.chunk())?;
        data.advance(size);
    }
    if data.take_end() {
        stream.shutdown(Shutdown::Write)?;
    }
    connection.handle_timeout(now());
    let deadline = connection.next_timeout();
    let wait = deadline.map(|at| at.saturating_since(now()).max(Duration::from_millis(1)));
    stream.set_read_timeout(wait)?;
    match stream.read(connection.io().read_buffer()) {
        Ok(0) => connection.receive_eof(now()),
        Ok(size) => connection.io().received(size, now()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// The core has no clock either: time is told, from any start that stays the same.
fn now() -> Instant {
    thread_local!(static START: StdInstant = StdInstant::now());
    Instant::from_start(START.with(StdInstant::elapsed))
}
