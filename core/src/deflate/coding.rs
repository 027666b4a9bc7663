//! permessage-deflate as an extension of a connection (RFC 7692 sections 6 and 7).

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::Deflate;
use super::compressor::Compressor;
use super::decompressor::Decompressor;
use super::error::DecompressError;
use super::negotiate::{EXTENSION_NAME, ParameterList};
use crate::error::ProtocolError;
use crate::extension::{Extension, ExtensionState, MessageInfo, NegotiationError, Sink};
use crate::frame::{Fin, Side};
use crate::handshake::ExtensionOffer;

/// RSV1, which marks a compressed message (section 7.2.3.1).
const COMPRESSED: u8 = 0x40;

impl Extension for Deflate {
    fn name(&self) -> &'static str {
        EXTENSION_NAME
    }

    fn offers(&self) -> Vec<ExtensionOffer> {
        Self::offers(self).map(to_offer).collect()
    }

    fn answer(&self, offer: &ExtensionOffer) -> Option<ExtensionOffer> {
        let (answer, _) = Self::answer(self, parameters(offer)).ok()?;
        Some(to_offer(answer))
    }

    fn start(
        &self,
        side: Side,
        answer: &ExtensionOffer,
    ) -> Result<Box<dyn ExtensionState>, NegotiationError> {
        let agreed = match side {
            Side::Client => self.check_answer(parameters(answer)),
            Side::Server => self.agreed_by_answer(parameters(answer)),
        };
        let agreed = agreed.map_err(|error| NegotiationError::new(error.to_string()))?;
        Ok(Box::new(MessageDeflate {
            compressor: self.compressor(agreed),
            decompressor: self.decompressor(agreed),
        }))
    }
}

fn parameters(offer: &ExtensionOffer) -> impl Iterator<Item = (&str, Option<&str>)> {
    offer
        .params()
        .iter()
        .map(|param| (param.name(), param.value()))
}

fn to_offer(parameters: ParameterList) -> ExtensionOffer {
    let offer = ExtensionOffer::new(EXTENSION_NAME);
    parameters.into_iter().fold(offer, |offer, (name, value)| {
        offer.with_param(name, value.and_then(|digits| digits.parse().ok()))
    })
}

/// The compression of one connection, both ways.
#[derive(Debug)]
struct MessageDeflate {
    compressor: Compressor,
    decompressor: Decompressor,
}

impl ExtensionState for MessageDeflate {
    fn claims(&self) -> u8 {
        COMPRESSED
    }

    fn decode_begin(&mut self, reserved: u8) -> bool {
        reserved & COMPRESSED != 0
    }

    fn decode(
        &mut self,
        piece: &[u8],
        limit: usize,
        sink: &mut Sink<'_>,
    ) -> Result<(), ProtocolError> {
        let inflated = self
            .decompressor
            .decompress(piece, limit, |bytes| sink(bytes).map_err(Inflating::Sink));
        inflated.map_err(|error| error.into_protocol_error(limit))
    }

    fn decode_end(&mut self, _: usize, _: &mut Sink<'_>) -> Result<(), ProtocolError> {
        self.decompressor
            .finish()
            .map_err(|_| ProtocolError::Decompression)
    }

    fn encode_begin(&mut self, info: MessageInfo) -> Option<u8> {
        let is_worthwhile = |length| self.compressor.is_worthwhile(length);
        (info.compress && info.length.is_none_or(is_worthwhile)).then_some(COMPRESSED)
    }

    fn encode(&mut self, payload: &[u8], fin: Fin, output: &mut Vec<u8>) {
        match fin {
            Fin::Last => self.compressor.compress_final(payload, output),
            Fin::More => self.compressor.compress_fragment(payload, output),
        }
    }

    fn share_key(&self) -> Option<u64> {
        Some(self.compressor.kind().number())
    }

    fn encode_shared(&mut self, payload: &[u8], output: &mut Vec<u8>) -> u8 {
        self.compressor.compress_prepared(payload, output);
        COMPRESSED
    }

    fn shared_sent(&mut self, payload: &[u8]) {
        self.compressor.record_prepared(payload);
    }

    fn release(&mut self) {
        self.compressor.release();
        self.decompressor.release();
    }
}

/// Why inflating stopped.
enum Inflating {
    Stream(DecompressError),
    Sink(ProtocolError),
}

impl From<DecompressError> for Inflating {
    fn from(error: DecompressError) -> Self {
        Self::Stream(error)
    }
}

impl Inflating {
    fn into_protocol_error(self, limit: usize) -> ProtocolError {
        match self {
            Self::Sink(error) => error,
            Self::Stream(DecompressError::LimitExceeded) => ProtocolError::TooBig {
                length: None,
                limit: limit as u64,
            },
            Self::Stream(_) => ProtocolError::Decompression,
        }
    }
}
