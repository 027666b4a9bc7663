//! Answers to pings (RFC 6455 sections 5.5.2 and 5.5.3).

use bytes::Buf;
use sansock::core::{Config, Connection, Instant, Negotiated, Side};

/// A server, and what it read: a ping with each payload, masked with a key of zeros.
fn pinged(payloads: impl IntoIterator<Item = u16>) -> Connection {
    let config = Config::new().control_events(false);
    let mut server = Connection::new(Side::Server, Negotiated::default(), config).unwrap();
    let ping = |payload: u16| [&[0x89, 0x82, 0, 0, 0, 0][..], &payload.to_be_bytes()].concat();
    let pings: Vec<u8> = payloads.into_iter().flat_map(ping).collect();
    server.receive_data(&pings, Instant::START);
    server
}

/// Takes what the server sends, and returns the payloads of its pongs.
#[track_caller]
fn pongs(server: &mut Connection) -> Vec<u16> {
    let mut data = server.data_to_send();
    let bytes = data.copy_to_bytes(data.remaining());
    let frames = bytes.chunks_exact(4).map(|frame| {
        assert_eq!(frame[..2], [0x8a, 2]);
        u16::from_be_bytes([frame[2], frame[3]])
    });
    frames.collect()
}

#[test]
fn pings_that_come_together_are_all_answered() {
    let mut server = pinged(0..10);
    assert_eq!(pongs(&mut server), Vec::from_iter(0..10));
    assert!(pongs(&mut server).is_empty());
}

#[test]
fn of_a_flood_the_latest_ping_is_answered_last() {
    let mut server = pinged(0..1000);
    assert_eq!(pongs(&mut server), Vec::from_iter(0..16));
    assert_eq!(pongs(&mut server), [999]);
    assert!(pongs(&mut server).is_empty());
}

#[test]
fn after_a_flood_pings_are_all_answered_again() {
    let mut server = pinged(0..1000);
    while !pongs(&mut server).is_empty() {}
    let ping = |payload| [0x89, 0x82, 0, 0, 0, 0, 0, payload];
    let pings: Vec<u8> = (0..16).flat_map(ping).collect();
    server.receive_data(&pings, Instant::START);
    assert_eq!(pongs(&mut server), Vec::from_iter(0..16));
}
