//! Masking, against the algorithm as RFC 6455 section 5.3 writes it.

use sansock_core::Side;

use super::input::Input;
use crate::end::End;
use crate::seen::Seen;
use crate::wire::{BINARY, FIN};

/// What a client masks a server unmasks, at any cut and with any key; on the wire stands what the RFC
/// says.
pub(super) fn mask(data: &[u8]) {
    let mut input = Input(data);
    let key = [0; 4].map(|_: u8| input.byte());
    let mut cuts = input.cuts();
    let payload = input.0;
    let masked: Vec<u8> = payload
        .iter()
        .enumerate()
        .map(|(index, byte)| byte ^ key[index % 4])
        .collect();

    let mut wire = End::open(Side::Server)
        .peer()
        .header(FIN | BINARY, payload.len() as u64);
    let key_at = wire.len() - 4;
    wire[key_at..].copy_from_slice(&key);
    wire.extend(&masked);
    let expected = [Seen::Binary(payload.to_vec())];
    for pieces in [vec![&wire[..]], cuts.pieces(&wire)] {
        let mut server = End::open(Side::Server);
        let events: Vec<Seen> = pieces
            .into_iter()
            .flat_map(|piece| server.events_of(piece))
            .collect();
        assert_eq!(events, expected);
    }

    // What is sent, borrowed or by reference, is unmasked by hand.
    let mut client = End::open(Side::Client);
    client.send(payload).expect("an open end");
    client.send(payload.to_vec()).expect("room for one more");
    for frame in client.frames() {
        assert_eq!((frame.first, &frame.payload[..]), (FIN | BINARY, payload));
    }
}
