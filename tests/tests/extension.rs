//! A second extension, alone and beside permessage-deflate (RFC 6455 section 9).

use bytes::Buf;
use sansock_core::deflate::Deflate;
use sansock_core::extension::{Extension, ExtensionState, MessageInfo, NegotiationError, Sink};
use sansock_core::handshake::{ClientOptions, ExtensionOffer, HandshakeError, Uri, accept_value};
use sansock_core::{
    ClientConnection, Config, Delivery, Event, Failure, Fin, FixedSeed, Instant, Prepared,
    ProtocolError, ServerConnection, Side,
};
use sansock_tests::seen::{Seen, joined};

const NOW: Instant = Instant::START;

/// Ends each message with the sum of its bytes, and marks it with a reserved bit.
#[derive(Debug, Clone, Copy)]
struct Checksum {
    name: &'static str,
    bit: u8,
}

const CHECKSUM: Checksum = Checksum {
    name: "x-checksum",
    bit: 0x20,
};

impl Extension for Checksum {
    fn name(&self) -> &'static str {
        self.name
    }

    fn offers(&self) -> Vec<ExtensionOffer> {
        vec![ExtensionOffer::new(self.name)]
    }

    fn answer(&self, offer: &ExtensionOffer) -> Option<ExtensionOffer> {
        offer.params().is_empty().then(|| offer.clone())
    }

    fn start(
        &self,
        _: Side,
        answer: &ExtensionOffer,
    ) -> Result<Box<dyn ExtensionState>, NegotiationError> {
        if !answer.params().is_empty() {
            return Err(NegotiationError::new("it has no parameters"));
        }
        Ok(Box::new(Sums {
            bit: self.bit,
            ..Sums::default()
        }))
    }
}

#[derive(Debug, Default)]
struct Sums {
    bit: u8,
    sent: u8,
    received: u8,
    /// The last byte, which may be the sum.
    last: Option<u8>,
}

fn add(sum: u8, bytes: &[u8]) -> u8 {
    bytes.iter().fold(sum, |sum, byte| sum.wrapping_add(*byte))
}

impl ExtensionState for Sums {
    fn claims(&self) -> u8 {
        self.bit
    }

    fn decode_begin(&mut self, reserved: u8) -> bool {
        (self.received, self.last) = (0, None);
        reserved & self.bit != 0
    }

    fn decode(&mut self, piece: &[u8], _: usize, sink: &mut Sink<'_>) -> Result<(), ProtocolError> {
        let Some((last, start)) = piece.split_last() else {
            return Ok(());
        };
        for part in [self.last.as_slice(), start] {
            self.received = add(self.received, part);
            sink(part)?;
        }
        self.last = Some(*last);
        Ok(())
    }

    fn decode_end(&mut self, _: usize, _: &mut Sink<'_>) -> Result<(), ProtocolError> {
        match self.last == Some(self.received) {
            true => Ok(()),
            false => Err(ProtocolError::Decompression),
        }
    }

    fn encode_begin(&mut self, _: MessageInfo) -> Option<u8> {
        self.sent = 0;
        Some(self.bit)
    }

    fn encode(&mut self, payload: &[u8], fin: Fin, output: &mut Vec<u8>) {
        self.sent = add(self.sent, payload);
        output.extend_from_slice(payload);
        if fin == Fin::Last {
            output.push(self.sent);
        }
    }
}

/// Ends each long message with the sum of its bytes, and leaves short ones alone.
#[derive(Debug)]
struct OfLong(Checksum);

const LONG: usize = 10;

impl Extension for OfLong {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn offers(&self) -> Vec<ExtensionOffer> {
        self.0.offers()
    }

    fn answer(&self, offer: &ExtensionOffer) -> Option<ExtensionOffer> {
        self.0.answer(offer)
    }

    fn start(
        &self,
        _: Side,
        _: &ExtensionOffer,
    ) -> Result<Box<dyn ExtensionState>, NegotiationError> {
        let bit = self.0.bit;
        Ok(Box::new(LongSums(Sums {
            bit,
            ..Sums::default()
        })))
    }
}

#[derive(Debug)]
struct LongSums(Sums);

impl ExtensionState for LongSums {
    fn claims(&self) -> u8 {
        self.0.claims()
    }

    fn decode_begin(&mut self, reserved: u8) -> bool {
        self.0.decode_begin(reserved)
    }

    fn decode(
        &mut self,
        piece: &[u8],
        limit: usize,
        sink: &mut Sink<'_>,
    ) -> Result<(), ProtocolError> {
        self.0.decode(piece, limit, sink)
    }

    fn decode_end(&mut self, limit: usize, sink: &mut Sink<'_>) -> Result<(), ProtocolError> {
        self.0.decode_end(limit, sink)
    }

    fn encode_begin(&mut self, info: MessageInfo) -> Option<u8> {
        let is_long = info.length.is_some_and(|length| length >= LONG);
        is_long.then(|| self.0.encode_begin(info)).flatten()
    }

    fn encode(&mut self, payload: &[u8], fin: Fin, output: &mut Vec<u8>) {
        self.0.encode(payload, fin, output);
    }
}

fn config() -> Config {
    Config::new().entropy(FixedSeed([5; 32]))
}

/// Alone, and with permessage-deflate in both orders.
fn configurations() -> [Config; 3] {
    [
        config().extension(CHECKSUM),
        config().extension(CHECKSUM).deflate(Deflate::new()),
        config().deflate(Deflate::new()).extension(CHECKSUM),
    ]
}

fn taken(mut data: sansock_core::DataToSend<'_>) -> Vec<u8> {
    let size = data.remaining();
    data.copy_to_bytes(size).to_vec()
}

#[track_caller]
fn open(client: Config, server: Config) -> (ClientConnection, ServerConnection) {
    let uri: Uri = "ws://localhost/".parse().unwrap();
    let mut client = ClientConnection::new(&uri, &ClientOptions::new(), client).unwrap();
    let mut server = ServerConnection::new(Default::default(), server);
    client.send_request(client.connect()).unwrap();
    server.receive_data(&taken(client.data_to_send()), NOW);
    let Some(Event::Request(request)) = server.next_event() else {
        panic!("no request")
    };
    let response = server.accept(&request);
    server.send_response(&response).unwrap();
    client.receive_data(&taken(server.data_to_send()), NOW);
    assert!(matches!(client.next_event(), Some(Event::Response(_))));
    (client, server)
}

/// What the server makes of what the client has sent, byte by byte or at once.
fn arrived(server: &mut ServerConnection, bytes: &[u8], step: usize) -> Vec<Seen> {
    let mut events = Vec::new();
    for piece in bytes.chunks(step) {
        server.receive_data(piece, NOW);
        while let Some(event) = server.next_event() {
            events.push(Seen::from(event));
        }
    }
    joined(events)
}

fn payload(events: &[Seen]) -> Vec<u8> {
    let parts = events.iter().filter_map(Seen::payload);
    parts.collect::<Vec<_>>().concat()
}

#[test]
fn messages_and_fragments_pass_in_every_order_and_delivery() {
    let text = "sums and windows ".repeat(40);
    for config in configurations() {
        for delivery in [Delivery::Messages, Delivery::Frames, Delivery::Chunks] {
            for step in [1, usize::MAX] {
                let (mut client, mut server) =
                    open(config.clone(), config.clone().delivery(delivery));
                for _ in 0..2 {
                    client.send(&text).unwrap();
                    let wire = taken(client.data_to_send());
                    assert_eq!(wire[0] & 0x20, 0x20);
                    assert_eq!(payload(&arrived(&mut server, &wire, step)), text.as_bytes());
                    client.send_text("", Fin::More).unwrap();
                    for part in text.as_bytes().chunks(99) {
                        client.send_continuation(part, Fin::More).unwrap();
                    }
                    client.send_continuation(&[], Fin::Last).unwrap();
                    let wire = taken(client.data_to_send());
                    assert_eq!(payload(&arrived(&mut server, &wire, step)), text.as_bytes());
                }
            }
        }
    }
}

#[test]
fn the_limit_is_that_of_the_message_and_not_of_what_lies_between_two_extensions() {
    for config in configurations() {
        for (size, passes) in [(1000, true), (1001, false)] {
            let (mut client, mut server) =
                open(config.clone(), config.clone().max_message_size(1000));
            client.send(vec![b'x'; size]).unwrap();
            let wire = taken(client.data_to_send());
            let events = arrived(&mut server, &wire, usize::MAX);
            let too_big = matches!(
                events[..],
                [Seen::Failed(Failure::Protocol(
                    ProtocolError::TooBig { .. }
                ))]
            );
            assert_eq!(too_big, !passes, "{size} {config:?}");
            assert!(!passes || payload(&events).len() == size);
        }
    }
}

#[test]
fn an_error_of_the_extension_fails_the_connection_once() {
    let config = config().extension(CHECKSUM);
    let (mut client, mut server) = open(config.clone(), config);
    client.send("good").unwrap();
    let mut wire = taken(client.data_to_send());
    *wire.last_mut().unwrap() ^= 1;
    let failed = Seen::Failed(Failure::Protocol(ProtocolError::Decompression));
    assert_eq!(arrived(&mut server, &wire, 1), [failed]);
    taken(server.data_to_send());
    client.send("more").unwrap();
    assert_eq!(arrived(&mut server, &taken(client.data_to_send()), 1), []);
    assert_eq!(taken(server.data_to_send()), []);
}

#[test]
fn a_server_declines_an_extension_whose_bits_are_taken() {
    let second = Checksum {
        name: "x-other",
        ..CHECKSUM
    };
    let config = config().extension(CHECKSUM).extension(second);
    let (client, _) = open(config.clone(), config);
    assert_eq!(client.negotiated().extensions.to_string(), "x-checksum");
}

/// RFC 7692 section 6, for any bit.
#[test]
fn a_client_fails_where_two_extensions_share_a_bit() {
    let second = Checksum {
        name: "x-other",
        ..CHECKSUM
    };
    let apart = Checksum {
        bit: 0x10,
        ..second
    };
    for (other, agrees) in [(second, false), (apart, true)] {
        let config = config().extension(CHECKSUM).extension(other);
        let uri: Uri = "ws://localhost/".parse().unwrap();
        let mut client = ClientConnection::new(&uri, &ClientOptions::new(), config).unwrap();
        let request = client.connect();
        let accept = accept_value(request.headers().get("Sec-WebSocket-Key").unwrap());
        client.send_request(request).unwrap();
        let response = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Extensions: x-checksum, x-other\r\n\r\n",
            std::str::from_utf8(&accept).unwrap()
        );
        client.receive_data(response.as_bytes(), NOW);
        assert!(matches!(client.next_event(), Some(Event::Response(_))));
        let error = client.handshake_error();
        let failed = matches!(error, Some(HandshakeError::Extension { .. }));
        assert_eq!(failed, !agrees, "{error:?}");
    }
}

#[test]
fn a_prepared_message_passes_two_extensions() {
    for config in configurations() {
        let prepared = Prepared::new("news ".repeat(100).as_str());
        let (mut client, mut server) = open(config.clone(), config);
        for _ in 0..3 {
            client.send_prepared(&prepared).unwrap();
            let wire = taken(client.data_to_send());
            let events = arrived(&mut server, &wire, usize::MAX);
            assert_eq!(events, [Seen::Text("news ".repeat(100))]);
        }
    }
}

/// RFC 6455 section 9.1: each message passes those that its first frame names.
#[test]
fn a_message_passes_one_of_two_extensions_or_both() {
    let of_long = || {
        OfLong(Checksum {
            name: "x-long",
            bit: 0x10,
        })
    };
    let configurations = [
        config().extension(CHECKSUM).extension(of_long()),
        config().extension(of_long()).extension(CHECKSUM),
    ];
    for config in configurations {
        for step in [1, usize::MAX] {
            let (mut client, mut server) = open(config.clone(), config.clone());
            let mut pass = |text: &str, bits: u8| {
                client.send(text).unwrap();
                let wire = taken(client.data_to_send());
                assert_eq!(wire[0] & 0x70, bits, "{text:?}");
                assert_eq!(arrived(&mut server, &wire, step), [Seen::Text(text.into())]);
            };
            pass("short", 0x20);
            pass("long enough", 0x30);
            pass("short", 0x20);
        }
    }
}

#[test]
fn eight_extensions_are_agreed_on_and_no_more() {
    const NAMES: [&str; 9] = [
        "x-1", "x-2", "x-3", "x-4", "x-5", "x-6", "x-7", "x-8", "x-9",
    ];
    let config = NAMES.into_iter().fold(config(), |config, name| {
        config.extension(Checksum { name, bit: 0 })
    });
    let (client, _) = open(config.clone(), config);
    assert_eq!(
        client.negotiated().extensions.to_string(),
        NAMES[..8].join(", ")
    );
}
