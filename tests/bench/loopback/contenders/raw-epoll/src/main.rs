//! The floor on epoll, without a runtime. All connections share one buffer.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Result, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};

use bench_server::{Mode, arguments, listen};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

fn main() -> Result<()> {
    arguments(&[Mode::Echo], &[]);
    Server::new(listen())?.run()
}

struct Server {
    epoll: OwnedFd,
    listener: TcpListener,
    connections: HashMap<u64, Connection>,
    buffer: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    /// What the socket has not taken yet; nothing is read until it has.
    unsent: Vec<u8>,
}

impl Server {
    fn new(listener: TcpListener) -> Result<Self> {
        let server = Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            listener,
            connections: HashMap::new(),
            buffer: vec![0; 64 << 10],
        };
        let key = EventData::new_u64(key(&server.listener));
        epoll::add(&server.epoll, &server.listener, key, EventFlags::IN)?;
        Ok(server)
    }

    fn run(&mut self) -> Result<()> {
        let mut events: Vec<Event> = Vec::with_capacity(1024);
        loop {
            events.clear();
            epoll::wait(&self.epoll, spare_capacity(&mut events), None)?;
            for event in &events {
                let ready = event.data.u64();
                if ready == key(&self.listener) {
                    self.accept()?;
                } else {
                    self.go_on(ready)?;
                }
            }
        }
    }

    fn accept(&mut self) -> Result<()> {
        let (stream, _) = self.listener.accept()?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let key = key(&stream);
        epoll::add(
            &self.epoll,
            &stream,
            EventData::new_u64(key),
            EventFlags::IN,
        )?;
        let unsent = Vec::new();
        self.connections.insert(key, Connection { stream, unsent });
        Ok(())
    }

    fn go_on(&mut self, key: u64) -> Result<()> {
        let Some(connection) = self.connections.get_mut(&key) else {
            return Ok(());
        };
        let blocked = !connection.unsent.is_empty();
        if !connection.echo(&mut self.buffer).unwrap_or(false) {
            self.connections.remove(&key);
            return Ok(());
        }
        let blocks = !connection.unsent.is_empty();
        if blocks != blocked {
            let flags = if blocks {
                EventFlags::OUT
            } else {
                EventFlags::IN
            };
            epoll::modify(
                &self.epoll,
                &connection.stream,
                EventData::new_u64(key),
                flags,
            )?;
        }
        Ok(())
    }
}

impl Connection {
    /// Reads once and writes once; false at the end of the stream.
    fn echo(&mut self, buffer: &mut [u8]) -> Result<bool> {
        if !self.unsent.is_empty() {
            let written = self.stream.write(&self.unsent)?;
            self.unsent.drain(..written);
            return Ok(true);
        }
        let count = self.stream.read(buffer)?;
        let written = match self.stream.write(&buffer[..count]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            result => result?,
        };
        self.unsent.extend(&buffer[written..count]);
        Ok(count > 0)
    }
}

fn key(socket: &impl AsRawFd) -> u64 {
    socket.as_raw_fd() as u64
}
