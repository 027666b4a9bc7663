//! The seam for extensions (RFC 6455 section 9): what changes messages between the application and
//! the frames.
//!
//! An [`Extension`] is configured once and shared by many connections. Where a connection agrees on
//! it, it makes an [`ExtensionState`], which holds the state of that connection. Messages that are sent pass
//! through the codings in the order of the agreement, messages that are received through the same in
//! reverse. Control frames pass by.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use bytestring::ByteString;

use crate::error::ProtocolError;
use crate::frame::{Fin, Side};
use crate::handshake::{ExtensionList, ExtensionOffer};

/// An extension as it is configured; see [`Config::extension`](crate::Config::extension).
pub trait Extension: fmt::Debug + Send + Sync {
    /// Returns the name under which it is registered.
    fn name(&self) -> &'static str;

    /// Returns what a client offers, the preferred parameters first.
    fn offers(&self) -> Vec<ExtensionOffer>;

    /// Returns a server's answer to an offer of this name, `None` to decline it.
    fn answer(&self, offer: &ExtensionOffer) -> Option<ExtensionOffer>;

    /// Returns the state of a connection that agreed on this answer.
    ///
    /// # Errors
    /// [`NegotiationError`] where the answer is none to what this side offered; the handshake then fails.
    fn start(
        &self,
        side: Side,
        answer: &ExtensionOffer,
    ) -> Result<Box<dyn ExtensionState>, NegotiationError>;
}

/// The answer of a server that a client cannot agree with; what is wrong, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NegotiationError(ByteString);

impl NegotiationError {
    /// Returns the error with a text that completes "extension x: ". It should name the parameter that is wrong,
    /// and show what the peer chose with [`escaped`](crate::escaped).
    #[must_use]
    pub fn new(problem: impl Into<ByteString>) -> Self {
        Self(problem.into())
    }

    pub(crate) fn into_problem(self) -> ByteString {
        self.0
    }
}

/// What is known of a message before its first frame is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MessageInfo {
    /// The length of the payload in bytes, where the message is not sent in fragments.
    pub length: Option<usize>,
    /// Whether the application wants it compressed, where that is worth it.
    pub compress: bool,
}

/// Where decoded bytes go. It fails where they are too many, or not what they should be; then decoding
/// must stop at once.
pub type Sink<'a> = dyn FnMut(&[u8]) -> Result<(), ProtocolError> + 'a;

/// The state of an extension in one connection.
///
/// Bytes come and go in pieces of any size, in order.
pub trait ExtensionState: fmt::Debug + Send + Sync {
    /// Returns the reserved bits that it uses in the first frame of a message, as they stand in the
    /// first byte: 0x40 for RSV1, 0x20, 0x10.
    fn claims(&self) -> u8;

    /// A message begins to arrive, with these of the claimed bits set. Returns whether its payload is
    /// to be decoded.
    fn decode_begin(&mut self, reserved: u8) -> bool;

    /// Decodes a piece of the payload. `limit` is how many bytes may still come out of the message;
    /// past that, `sink` fails, so that there is no use in producing more.
    ///
    /// # Errors
    /// Where the payload cannot be decoded, or `sink` fails. Nothing is decoded after that.
    fn decode(
        &mut self,
        piece: &[u8],
        limit: usize,
        sink: &mut Sink<'_>,
    ) -> Result<(), ProtocolError>;

    /// The message is complete.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    fn decode_end(&mut self, limit: usize, sink: &mut Sink<'_>) -> Result<(), ProtocolError>;

    /// A message is about to be sent. Returns the claimed bits to set in its first frame, and `None`
    /// to let its payload pass as it is.
    fn encode_begin(&mut self, info: MessageInfo) -> Option<u8>;

    /// Encodes the payload of a frame, and appends what the frame will hold to `output`.
    fn encode(&mut self, payload: &[u8], fin: Fin, output: &mut Vec<u8>);

    /// Returns what tells codings apart whose shared messages differ; `None` where messages cannot be
    /// shared.
    ///
    /// A shared message is encoded once, and sent by any connection whose coding has the same kind.
    fn share_key(&self) -> Option<u64> {
        None
    }

    /// Encodes a whole message to be shared, and returns the bits to set in its frame. What this
    /// connection has sent before must not matter to it.
    fn encode_shared(&mut self, _payload: &[u8], _output: &mut Vec<u8>) -> u8 {
        0
    }

    /// A shared message of this payload is sent on this connection.
    fn shared_sent(&mut self, _payload: &[u8]) {}

    /// The connection has been quiet for a while: gives back what can be had again.
    fn release(&mut self) {}
}

/// Answers the offers of a client, each extension once, in the client's order (RFC 6455 section 9.1).
/// What cannot be used together with those before it is declined.
pub(crate) fn answer(offers: &ExtensionList, extensions: &[Arc<dyn Extension>]) -> ExtensionList {
    let mut answers = ExtensionList::new();
    let mut codings = Codings::default();
    for offer in offers.iter() {
        let is_new = !answers.iter().any(|other| other.name() == offer.name());
        let mut candidates = extensions.iter().filter(|_| is_new);
        let Some(extension) = candidates.find(|extension| extension.name() == offer.name()) else {
            continue;
        };
        let Some(answer) = extension.answer(offer) else {
            continue;
        };
        let coding = extension.start(Side::Server, &answer);
        if coding.and_then(|coding| codings.push(coding)).is_ok() {
            answers.push(answer);
        }
    }
    answers
}

/// The codings of one connection; nothing where it agreed on none.
#[derive(Debug, Default)]
pub(crate) struct Codings(Option<Box<Agreed>>);

#[derive(Debug, Default)]
struct Agreed {
    list: Vec<Box<dyn ExtensionState>>,
    claims: u8,
    /// Encoded payloads on their way to the output queue.
    scratch: [Vec<u8>; 2],
}

/// Which codings a message passes through, a bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CodingMask(u8);

impl CodingMask {
    #[inline]
    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    const fn has(self, index: usize) -> bool {
        index < Codings::MAX && self.0 & (1 << index) != 0
    }

    fn add(&mut self, index: usize) {
        if index < Codings::MAX {
            self.0 |= 1 << index;
        }
    }
}

impl Codings {
    /// There are three reserved bits; extensions that use none are still bounded.
    const MAX: usize = 8;

    /// Adds a coding; fails where another one uses its bits.
    pub(crate) fn push(&mut self, coding: Box<dyn ExtensionState>) -> Result<(), NegotiationError> {
        let agreed = self.0.get_or_insert_default();
        if agreed.claims & coding.claims() != 0 || agreed.list.len() == Self::MAX {
            return Err(NegotiationError::new(
                "uses the reserved bits of another extension",
            ));
        }
        agreed.claims |= coding.claims();
        agreed.list.push(coding);
        Ok(())
    }

    #[inline]
    pub(crate) fn claims(&self) -> u8 {
        self.0.as_ref().map_or(0, |agreed| agreed.claims)
    }

    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    fn list(&mut self) -> &mut [Box<dyn ExtensionState>] {
        self.0.as_mut().map_or(&mut [], |agreed| &mut agreed.list)
    }

    /// A message begins to arrive.
    pub(crate) fn decode_begin(&mut self, reserved: u8) -> CodingMask {
        let mut coding_mask = CodingMask::default();
        for (index, coding) in self.list().iter_mut().enumerate() {
            if coding.decode_begin(reserved & coding.claims()) {
                coding_mask.add(index);
            }
        }
        coding_mask
    }

    /// Decodes a piece of a message, and its end where `fin` says so.
    pub(crate) fn decode(
        &mut self,
        coding_mask: CodingMask,
        piece: &[u8],
        fin: bool,
        limit: usize,
        sink: &mut Sink<'_>,
    ) -> Result<(), ProtocolError> {
        decode(self.list(), coding_mask, piece, limit, sink)?;
        if fin {
            decode_end(self.list(), coding_mask, limit, sink)?;
        }
        Ok(())
    }

    /// A message is about to be sent. Returns what it passes through, and the bits of its first frame.
    pub(crate) fn encode_begin(&mut self, info: MessageInfo) -> (CodingMask, u8) {
        let (mut coding_mask, mut reserved) = (CodingMask::default(), 0);
        for (index, coding) in self.list().iter_mut().enumerate() {
            if let Some(bits) = coding.encode_begin(info) {
                coding_mask.add(index);
                reserved |= bits & coding.claims();
            }
        }
        (coding_mask, reserved)
    }

    /// Encodes the payload of a frame. Give it back with [`recycle`](Self::recycle).
    pub(crate) fn encode(&mut self, coding_mask: CodingMask, payload: &[u8], fin: Fin) -> Vec<u8> {
        let Some(agreed) = &mut self.0 else {
            return payload.into();
        };
        let [mut done, mut next] = core::mem::take(&mut agreed.scratch);
        let mut begun = false;
        for (index, coding) in agreed.list.iter_mut().enumerate() {
            if coding_mask.has(index) {
                next.clear();
                coding.encode(if begun { &done } else { payload }, fin, &mut next);
                core::mem::swap(&mut done, &mut next);
                begun = true;
            }
        }
        agreed.scratch = [Vec::new(), next];
        done
    }

    /// Takes back what [`encode`](Self::encode) returned.
    pub(crate) fn recycle(&mut self, encoded: Vec<u8>) {
        if let Some(agreed) = &mut self.0 {
            let [slot, _] = &mut agreed.scratch;
            *slot = encoded;
        }
    }

    /// Returns the one coding, where there is one only: others could not share with it.
    pub(crate) fn only(&mut self) -> Option<&mut dyn ExtensionState> {
        match self.list() {
            [coding] => Some(&mut **coding),
            _ => None,
        }
    }

    /// The connection has been quiet for a while.
    pub(crate) fn release(&mut self) {
        if let Some(agreed) = &mut self.0 {
            agreed.scratch = Default::default();
            agreed.list.iter_mut().for_each(|coding| coding.release());
        }
    }
}

fn decode(
    codings: &mut [Box<dyn ExtensionState>],
    coding_mask: CodingMask,
    piece: &[u8],
    limit: usize,
    sink: &mut Sink<'_>,
) -> Result<(), ProtocolError> {
    let Some((last, rest)) = codings.split_last_mut() else {
        return sink(piece);
    };
    if coding_mask.has(rest.len()) {
        last.decode(piece, own_limit(coding_mask, rest, limit), &mut |decoded| {
            decode(rest, coding_mask, decoded, limit, sink)
        })
    } else {
        decode(rest, coding_mask, piece, limit, sink)
    }
}

/// The limit of a coding before `rest`: what lies between two codings may be longer than the message,
/// whose end stops them all.
fn own_limit(coding_mask: CodingMask, rest: &[Box<dyn ExtensionState>], limit: usize) -> usize {
    match (0..rest.len()).any(|index| coding_mask.has(index)) {
        true => usize::MAX,
        false => limit,
    }
}

fn decode_end(
    codings: &mut [Box<dyn ExtensionState>],
    coding_mask: CodingMask,
    limit: usize,
    sink: &mut Sink<'_>,
) -> Result<(), ProtocolError> {
    let Some((last, rest)) = codings.split_last_mut() else {
        return Ok(());
    };
    if coding_mask.has(rest.len()) {
        last.decode_end(own_limit(coding_mask, rest, limit), &mut |decoded| {
            decode(rest, coding_mask, decoded, limit, sink)
        })?;
    }
    decode_end(rest, coding_mask, limit, sink)
}
