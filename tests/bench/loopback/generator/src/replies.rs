//! Compares what comes back with what must come back.

use std::rc::Rc;

use crate::Result;
use crate::cell::Wire;
use crate::deflate::{Inflater, Parameters};
use crate::payload::Random;
use crate::script::{Script, push_masked};

/// The replies of one connection, cut anywhere.
pub struct Replies {
    script: Rc<Script>,
    /// The message that comes next, and how much of it has come.
    index: usize,
    at: usize,
    /// The beginning of a frame that is not compared as it comes.
    frame: Vec<u8>,
    /// The beginning of a compressed message.
    message: Vec<u8>,
    inflater: Option<Inflater>,
    /// Pongs that are to be sent.
    pub pongs: Vec<u8>,
}

impl Replies {
    pub fn new(script: Rc<Script>, parameters: &Parameters) -> Self {
        let inflater = (script.wire == Wire::Deflate).then(|| Inflater::new(parameters));
        Self {
            script,
            index: 0,
            at: 0,
            frame: Vec::new(),
            message: Vec::new(),
            inflater,
            pongs: Vec::new(),
        }
    }

    /// Takes what has come; returns how many messages it completed.
    pub fn receive(&mut self, mut bytes: &[u8]) -> Result<usize> {
        let mut completed = 0;
        while !bytes.is_empty() {
            if self.is_compared(bytes[0]) {
                bytes = self.compare(bytes, &mut completed)?;
            } else {
                bytes = self.take_frame(bytes, &mut completed)?;
            }
        }
        Ok(completed)
    }

    /// Whether this byte belongs to what must come byte by byte.
    fn is_compared(&self, byte: u8) -> bool {
        const CONTROL: u8 = 0x08;
        match self.script.wire {
            Wire::Raw => true,
            Wire::WebSocket => self.at > 0 || (self.frame.is_empty() && byte & CONTROL == 0),
            Wire::Deflate => false,
        }
    }

    fn compare<'a>(&mut self, bytes: &'a [u8], completed: &mut usize) -> Result<&'a [u8]> {
        let expected = &self.script.expected.get(self.index)[self.at..];
        let (now, later) = bytes.split_at(bytes.len().min(expected.len()));
        if now != &expected[..now.len()] {
            return Err(format!(
                "reply {} came back changed, past byte {}",
                self.index, self.at
            )
            .into());
        }
        self.at += now.len();
        if now.len() == expected.len() {
            self.complete(completed);
        }
        Ok(later)
    }

    fn complete(&mut self, completed: &mut usize) {
        self.at = 0;
        self.index = self.script.after(self.index);
        *completed += 1;
    }

    /// Collects a frame, and deals with it once it is there.
    fn take_frame<'a>(&mut self, bytes: &'a [u8], completed: &mut usize) -> Result<&'a [u8]> {
        let mut taken = 0;
        loop {
            let missing = frame_size(&self.frame).saturating_sub(self.frame.len());
            if missing == 0 {
                break;
            }
            let count = missing.min(bytes.len() - taken);
            if count == 0 {
                return Ok(&[]);
            }
            self.frame.extend(&bytes[taken..taken + count]);
            taken += count;
        }
        let frame = std::mem::take(&mut self.frame);
        self.handle(&frame, completed)?;
        self.frame = frame;
        self.frame.clear();
        Ok(&bytes[taken..])
    }

    fn handle(&mut self, frame: &[u8], completed: &mut usize) -> Result<()> {
        let payload = &frame[header_size(frame)..];
        match frame[0] & 0x0f {
            8 => Err(format!("the server closed: {payload:?}").into()),
            9 => {
                self.pongs.extend([0x8a, 0x80 | payload.len() as u8]);
                push_masked(&mut self.pongs, payload, Random::new().masking_key());
                Ok(())
            }
            0..=2 => self.inflate(frame, completed),
            _ => Ok(()),
        }
    }

    fn inflate(&mut self, frame: &[u8], completed: &mut usize) -> Result<()> {
        let Some(inflater) = &mut self.inflater else {
            return Err("a reply came in fragments".into());
        };
        if self.message.is_empty() && frame[0] & 0x4f != 0x41 {
            return Err("a reply came back without compression".into());
        }
        self.message.extend(&frame[header_size(frame)..]);
        if frame[0] & 0x80 == 0 {
            return Ok(());
        }
        let expected = self.script.expected.get(self.index);
        if inflater.inflate(&mut self.message, expected.len())? != expected {
            return Err(format!("reply {} came back changed", self.index).into());
        }
        self.message.clear();
        self.complete(completed);
        Ok(())
    }
}

/// Bytes of the header (RFC 6455 section 5.2) of a frame that is not masked, as far as they say how many there are.
fn header_size(frame: &[u8]) -> usize {
    match frame.get(1) {
        Some(127) => 10,
        Some(126) => 4,
        _ => 2,
    }
}

/// Bytes of the frame; of its header, where that has not come yet.
fn frame_size(frame: &[u8]) -> usize {
    let header = header_size(frame);
    let Some(length) = frame.get(2..header) else {
        return header;
    };
    let long = length
        .iter()
        .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    header
        + if header > 2 {
            long
        } else {
            frame.get(1).map_or(0, |byte| usize::from(*byte))
        }
}
