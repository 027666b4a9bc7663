//! tungstenite with its default configuration, a thread a connection.

use std::net::TcpStream;
use std::thread;

use bench_server::{Mode, arguments, listen};
use tungstenite::{Error, accept};

fn main() {
    arguments(&[Mode::Echo], &[]);
    for stream in listen().incoming() {
        let stream = stream.expect("a connection");
        thread::spawn(move || echo(stream));
    }
}

fn echo(stream: TcpStream) -> Result<(), Error> {
    stream.set_nodelay(true)?;
    let Ok(mut socket) = accept(stream) else {
        return Ok(());
    };
    loop {
        let message = socket.read()?;
        if message.is_text() || message.is_binary() {
            socket.send(message)?;
        }
    }
}
