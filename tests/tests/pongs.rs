//! Answers to pings, over the driver (RFC 6455 sections 5.5.2 and 5.5.3).

use sansock::clock::VirtualClock;
use sansock_core::{Event, Side};
use sansock_tests::driver::{Task, frame, opened, parse_frames, pipe};

const PING: u8 = 0x89;

/// Pings with two bytes each, as a client sends them.
fn pings(payloads: impl IntoIterator<Item = u16>) -> Vec<u8> {
    payloads
        .into_iter()
        .flat_map(|payload| frame(Side::Client, PING, &payload.to_be_bytes()))
        .collect()
}

fn payloads_of(pongs: &[u8]) -> Vec<u16> {
    parse_frames(pongs)
        .iter()
        .map(|frame| u16::from_be_bytes(frame.payload[..].try_into().unwrap()))
        .collect()
}

#[test]
fn a_few_pings_that_come_together_are_all_answered() {
    let (mut client, server) = pipe(64 << 10);
    let mut server = opened(Side::Server, server, &VirtualClock::new());
    client.put(&pings(0..10));
    let mut receiving = Task::new(server.recv());
    receiving.poll();
    assert_eq!(payloads_of(&client.take_all()), Vec::from_iter(0..10));
}

#[test]
fn of_many_pings_that_come_together_the_latest_of_each_read_are_answered() {
    let (mut client, server) = pipe(64 << 10);
    let mut server = opened(Side::Server, server, &VirtualClock::new());
    client.put(&pings(0..1000));
    let mut receiving = Task::new(server.recv());
    receiving.poll();
    while receiving.is_woken() {
        receiving.poll();
    }
    let answered = payloads_of(&client.take_all());
    // 8 KB of pings are two reads or three; 128 bytes are 32 pongs.
    assert!((2..=3 * 32).contains(&answered.len()), "{answered:?}");
    assert!(answered.is_sorted(), "{answered:?}");
    assert_eq!(answered.last(), Some(&999));
}

#[test]
fn of_pings_that_come_while_the_transport_is_blocked_the_latest_is_answered() {
    let (mut client, server) = pipe(2);
    let mut server = opened(Side::Server, server, &VirtualClock::new());
    client.put(&pings(0..1000));
    let mut receiving = Task::new(server.recv());
    let mut written = Vec::new();
    for _ in 0..100 {
        receiving.poll();
        written.extend(client.take_all());
    }
    let answered = payloads_of(&written);
    assert_eq!(answered.last(), Some(&999));
    assert!(answered.len() <= 2 * 32 + 1, "{answered:?}");
}

#[test]
fn pings_and_pongs_are_events_for_those_who_ask() {
    let (mut client, server) = pipe(64);
    let mut server = opened(Side::Server, server, &VirtualClock::new());
    client.put(&pings([7]));
    let mut task = Task::new(async {
        match server.recv_event().await {
            Some(Event::Ping(payload)) => payload.to_vec(),
            other => panic!("{other:?}"),
        }
    });
    task.poll();
    assert_eq!(task.output(), [0, 7]);
    assert_eq!(payloads_of(&client.take_all()), [7]);
}
