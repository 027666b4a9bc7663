//! One connection under load: it never blocks.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::rc::Rc;

use crate::Result;
use crate::deflate::Parameters;
use crate::replies::Replies;
use crate::script::Script;

pub struct Connection {
    stream: TcpStream,
    script: Rc<Script>,
    /// The message that is sent next, and how many are to be sent that are not in `unsent` yet.
    next: usize,
    waiting: usize,
    /// What is being sent, in the script's bytes.
    unsent: Range<usize>,
    replies: Replies,
    /// Messages that were sent and have not come back.
    pub in_flight: usize,
}

impl Connection {
    pub fn new(stream: TcpStream, script: Rc<Script>, parameters: &Parameters) -> Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            replies: Replies::new(script.clone(), parameters),
            script,
            next: 0,
            waiting: 0,
            unsent: 0..0,
            in_flight: 0,
        })
    }

    pub const fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends the next messages, in one write where they go.
    pub fn send(&mut self, count: usize) -> Result<()> {
        self.waiting += count;
        self.in_flight += count;
        self.write()
    }

    /// Expects the next message, which another connection sends.
    pub const fn expect(&mut self) {
        self.in_flight += 1;
    }

    /// Goes on after the socket has become ready; returns how many messages came back.
    pub fn go_on(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.write()?;
        let completed = self.read(buffer)?;
        self.in_flight = self
            .in_flight
            .checked_sub(completed)
            .ok_or("more came back than was sent")?;
        Ok(completed)
    }

    fn write(&mut self) -> Result<()> {
        while self.waiting > 0 || !self.unsent.is_empty() {
            if self.unsent.is_empty() {
                self.take_messages();
            }
            match self
                .stream
                .write(&self.script.sent.bytes()[self.unsent.clone()])
            {
                Ok(count) => self.unsent.start += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        self.write_pongs()
    }

    fn take_messages(&mut self) {
        let count = self.waiting.min(self.script.len() - self.next);
        self.unsent = self.script.sent.range(self.next, count);
        self.waiting -= count;
        self.next = self.script.after(self.next + count - 1);
    }

    /// Pings come once in many seconds: there is room for the answer.
    fn write_pongs(&mut self) -> Result<()> {
        if !self.replies.pongs.is_empty() {
            self.stream.write_all(&self.replies.pongs)?;
            self.replies.pongs.clear();
        }
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut completed = 0;
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err("the server ended a connection".into()),
                Ok(count) => {
                    completed += self.replies.receive(&buffer[..count])?;
                    self.write_pongs_if_idle()?;
                    // What comes after a read that did not fill the buffer makes the socket ready anew.
                    if count < buffer.len() {
                        return Ok(completed);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(completed),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// A pong must not come into the middle of a frame.
    fn write_pongs_if_idle(&mut self) -> Result<()> {
        if self.unsent.is_empty() {
            self.write_pongs()
        } else {
            Ok(())
        }
    }
}
