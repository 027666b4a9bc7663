//! A reference for received frames: tables and strict rules, written from RFC 6455 sections 5 and 8.1.

use sansock_core::Side;

/// What comes of received bytes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Item {
    /// A data frame: opcode, FIN and payload.
    Data(u8, bool, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// The last one: a Close frame's code and reason.
    Close(u16, String),
    /// The last one: what is wrong, as the code that says so.
    Error(u16),
}

/// What may be sent in a Close frame.
fn is_close_code(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// What each opcode is.
const OPCODES: [Opcode; 16] = {
    use Opcode::{Continuation, Control, Data, Reserved};
    [
        Continuation,
        Data,
        Data,
        Reserved,
        Reserved,
        Reserved,
        Reserved,
        Reserved,
        Control,
        Control,
        Control,
        Reserved,
        Reserved,
        Reserved,
        Reserved,
        Reserved,
    ]
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opcode {
    Continuation,
    Data,
    Control,
    Reserved,
}

/// What the frames of an unfinished message have come to.
#[derive(Debug, Default)]
struct Open {
    is_text: bool,
    payload: Vec<u8>,
    empty: u32,
}

/// Judges what a side receives, with a limit for messages and one for empty fragments in a row.
pub(super) struct Reference<'a> {
    pub(super) side: Side,
    pub(super) limit: u64,
    pub(super) most_empty: u32,
    rest: &'a [u8],
    open: Option<Open>,
    items: Vec<Item>,
}

/// The rest is not enough to go on.
struct Incomplete;

type Step = Result<bool, Incomplete>;

impl<'a> Reference<'a> {
    pub(super) const fn new(side: Side, limit: u64, most_empty: u32, wire: &'a [u8]) -> Self {
        Self {
            side,
            limit,
            most_empty,
            rest: wire,
            open: None,
            items: Vec::new(),
        }
    }

    pub(super) fn judge(mut self) -> Vec<Item> {
        while let Ok(true) = self.frame() {}
        self.items
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Incomplete> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Incomplete)?;
        self.rest = rest;
        Ok(taken)
    }

    fn error(&mut self, code: u16) -> Step {
        self.items.push(Item::Error(code));
        Ok(false)
    }

    /// Judges one frame. Returns whether more may follow.
    fn frame(&mut self) -> Step {
        let first = self.take(1)?[0];
        let (fin, reserved, opcode) = (first & 0x80 != 0, first & 0x70, first & 0xf);
        let kind = OPCODES[usize::from(opcode)];
        let out_of_order = match kind {
            Opcode::Continuation => self.open.is_none(),
            Opcode::Data => self.open.is_some(),
            Opcode::Control => !fin,
            Opcode::Reserved => true,
        };
        if reserved != 0 || out_of_order {
            return self.error(1002);
        }
        let second = self.take(1)?[0];
        let is_control = kind == Opcode::Control;
        let masked = second & 0x80 != 0;
        if masked != (self.side == Side::Server) || is_control && second & 0x7f > 125 {
            return self.error(1002);
        }
        let Some(length) = self.length(second & 0x7f)? else {
            return self.error(1002);
        };
        let before = self
            .open
            .as_ref()
            .map_or(0, |open| open.payload.len() as u64);
        if !is_control && length > self.limit - before {
            return self.error(1009);
        }
        let key = match masked {
            true => self.take(4)?,
            false => &[0; 4],
        };
        let have = self
            .rest
            .len()
            .min(usize::try_from(length).unwrap_or(usize::MAX));
        let payload: Vec<u8> = self.rest[..have]
            .iter()
            .zip(key.iter().cycle())
            .map(|(byte, key)| byte ^ key)
            .collect();
        let is_whole = have as u64 == length;
        match is_control {
            true if !is_whole => Err(Incomplete),
            true => {
                self.take(have)?;
                self.control(opcode, &payload)
            }
            false => self.data(opcode, fin, is_whole, payload),
        }
    }

    /// Returns the length, `None` where it is malformed at the bytes that there are.
    fn length(&mut self, seven_bits: u8) -> Result<Option<u64>, Incomplete> {
        let size = match seven_bits {
            126 => 2,
            127 => 8,
            length => return Ok(Some(u64::from(length))),
        };
        if size == 8 && self.rest.first().is_some_and(|byte| byte & 0x80 != 0) {
            return Ok(None);
        }
        let bytes = self.take(size)?;
        let length = bytes
            .iter()
            .fold(0, |length, byte| length << 8 | u64::from(*byte));
        let smallest = if size == 2 { 126 } else { 0x1_0000 };
        Ok((length >= smallest).then_some(length))
    }

    fn control(&mut self, opcode: u8, payload: &[u8]) -> Step {
        match opcode {
            9 => self.items.push(Item::Ping(payload.to_vec())),
            10 => self.items.push(Item::Pong(payload.to_vec())),
            _ => return self.close(payload),
        }
        Ok(true)
    }

    fn close(&mut self, payload: &[u8]) -> Step {
        let Some((code, reason)) = payload.split_first_chunk::<2>() else {
            return match payload {
                [] => {
                    self.items.push(Item::Close(1005, String::new()));
                    Ok(false)
                }
                _ => self.error(1002),
            };
        };
        let code = u16::from_be_bytes(*code);
        match std::str::from_utf8(reason) {
            Err(_) => self.error(1007),
            Ok(_) if !is_close_code(code) => self.error(1002),
            Ok(reason) => {
                self.items.push(Item::Close(code, reason.to_owned()));
                Ok(false)
            }
        }
    }

    fn data(&mut self, opcode: u8, fin: bool, is_whole: bool, payload: Vec<u8>) -> Step {
        let open = self.open.get_or_insert_with(|| Open {
            is_text: opcode == 1,
            ..Open::default()
        });
        open.empty = match is_whole && payload.is_empty() && !fin {
            true => open.empty + 1,
            false => 0,
        };
        open.payload.extend(&payload);
        let text = std::str::from_utf8(&open.payload);
        let is_bad =
            open.is_text && text.is_err_and(|error| error.error_len().is_some() || is_whole && fin);
        let too_empty = open.empty > self.most_empty;
        if is_bad {
            return self.error(1007);
        }
        if too_empty {
            return self.error(1008);
        }
        if !is_whole {
            return Err(Incomplete);
        }
        self.take(payload.len())?;
        self.items.push(Item::Data(opcode, fin, payload));
        if fin {
            self.open = None;
        }
        Ok(true)
    }
}
