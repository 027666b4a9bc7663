//! A stream of bytes over binary messages.

use std::io::ErrorKind;

use futures_lite::{AsyncReadExt, AsyncWriteExt, io};
use sansock::ByteStream;
use sansock::clock::{VirtualClock, VirtualTimer};
use sansock_core::Side;
use sansock_tests::driver::{
    End, Task, both, close_frame, frame, opened, opened_pair, parse_frames, pipe, run, settle,
};

type Bytes = ByteStream<End, VirtualTimer>;

/// A client's stream, and its peer.
fn stream() -> (Bytes, End) {
    let clock = VirtualClock::new();
    let (near, peer) = pipe(1 << 20);
    (opened(Side::Client, near, &clock).into_byte_stream(), peer)
}

/// Numbers that look random, the same in every run.
fn numbers(mut state: u32) -> impl FnMut(usize) -> usize {
    move |below| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % below
    }
}

#[test]
fn bytes_pass_both_ways_whatever_the_sizes() {
    for (capacity, total) in [(3, 4_000), (1000, 200_000), (1 << 20, 1 << 20)] {
        let clock = VirtualClock::new();
        let (client, server) = opened_pair(capacity, &clock);
        let (mut client, server) = (client.into_byte_stream(), server.into_byte_stream());
        let bytes: Vec<u8> = (0..total).map(|i| (i * 7) as u8).collect();
        let largest = total / 10;

        let talk = async {
            let mut random = numbers(1);
            let (mut sent, mut received) = (0, Vec::new());
            while received.len() < bytes.len() {
                let size = random(largest).min(bytes.len() - sent);
                client.write_all(&bytes[sent..sent + size]).await?;
                client.flush().await?;
                sent += size;
                // Leaves some of it for later.
                while received.len() + largest < sent
                    || (sent == bytes.len() && received.len() < sent)
                {
                    let mut buf = vec![0; 1 + random(largest)];
                    let size = client.read(&mut buf).await?;
                    received.extend_from_slice(&buf[..size]);
                }
            }
            client.close().await?;
            Ok::<_, io::Error>(received)
        };
        let answer = async {
            let (mut reader, mut writer) = io::split(server);
            let copied = io::copy(&mut reader, &mut writer).await?;
            writer.close().await?;
            Ok::<_, io::Error>(copied)
        };
        let (received, copied) = both(talk, answer);
        assert!(received.unwrap() == bytes);
        assert_eq!(copied.unwrap(), bytes.len() as u64);
    }
}

#[test]
fn one_message_is_read_in_any_portions() {
    for portion in 1..8 {
        let (mut stream, mut peer) = stream();
        peer.put(&frame(Side::Server, 0x02, b"one"));
        peer.put(&frame(Side::Server, 0x00, b""));
        peer.put(&frame(Side::Server, 0x80, b" message"));
        peer.put(&frame(Side::Server, 0x82, b""));
        peer.put(&frame(Side::Server, 0x82, b", another"));
        peer.put(&close_frame(Side::Server, 1000, ""));
        peer.end();
        let mut bytes = Vec::new();
        loop {
            let mut buf = vec![0; portion];
            let size = run(stream.read(&mut buf)).unwrap();
            if size == 0 {
                break;
            }
            bytes.extend_from_slice(&buf[..size]);
        }
        assert_eq!(bytes, b"one message, another");
        assert_eq!(
            run(stream.read(&mut [0])).unwrap(),
            0,
            "the end comes again"
        );
    }
}

#[test]
fn a_part_of_a_message_is_read_before_the_rest_arrives() {
    let (mut stream, mut peer) = stream();
    peer.put(&frame(Side::Server, 0x82, b"message")[..5]);
    let mut buf = [0; 100];
    assert_eq!(run(stream.read(&mut buf)).unwrap(), 3);
    assert_eq!(&buf[..3], b"mes");
}

#[test]
fn an_empty_buffer_reads_and_writes_nothing() {
    let (mut stream, mut peer) = stream();
    assert_eq!(run(stream.read(&mut [])).unwrap(), 0);
    assert_eq!(run(stream.write(&[])).unwrap(), 0);
    run(stream.flush()).unwrap();
    assert!(peer.take_all().is_empty());
}

#[test]
fn what_was_written_is_sent_on_flush() {
    let (mut stream, mut peer) = stream();
    run(stream.write_all(b"bytes")).unwrap();
    assert_eq!(peer.arrived(), 0);
    run(stream.flush()).unwrap();
    assert_eq!(parse_frames(&peer.take_all())[0].payload, b"bytes");
}

#[test]
fn a_connection_that_is_lost_is_an_error() {
    let (mut stream, mut peer) = stream();
    peer.put(&frame(Side::Server, 0x82, b"x"));
    peer.end();
    let mut buf = [0; 10];
    assert_eq!(run(stream.read(&mut buf)).unwrap(), 1);
    for _ in 0..2 {
        let error = run(stream.read(&mut buf)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    }
    assert!(run(stream.write(b"x")).is_err());
}

#[test]
fn after_a_clean_close_reading_ends_and_writing_fails() {
    let (mut stream, mut peer) = stream();
    peer.put(&close_frame(Side::Server, 1000, ""));
    peer.end();
    assert_eq!(run(stream.read(&mut [0; 10])).unwrap(), 0);
    let error = run(stream.write(b"x")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    run(stream.close()).unwrap();
}

#[test]
fn a_text_message_is_refused() {
    let (mut stream, mut peer) = stream();
    peer.put(&frame(Side::Server, 0x82, b"ok"));
    peer.put(&frame(Side::Server, 0x81, b"text"));
    peer.put(&frame(Side::Server, 0x82, b"late"));
    let mut buf = [0; 10];
    assert_eq!(run(stream.read(&mut buf)).unwrap(), 2);
    let error = run(stream.read(&mut buf)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    // The peer is told before the error is: the caller may drop the stream now.
    let told = parse_frames(&peer.take_all());
    assert_eq!(
        (told[0].first, &told[0].payload[..2]),
        (0x88, &b"\x03\xeb"[..])
    );
    peer.end();
    assert!(run(stream.read(&mut buf)).is_err(), "nothing more is read");
    assert!(run(stream.write(b"x")).is_err());
}

#[test]
fn closing_waits_for_the_peer() {
    let (mut stream, mut peer) = stream();
    run(stream.write_all(b"last")).unwrap();
    let mut close = Task::new(stream.close());
    settle(&mut [&mut close]);
    let sent = parse_frames(&peer.take_all());
    assert_eq!((&sent[0].payload[..], sent[1].first), (&b"last"[..], 0x88));
    assert!(!close.is_done());
    peer.put(&close_frame(Side::Server, 1000, ""));
    peer.end();
    settle(&mut [&mut close]);
    close.output().unwrap();
}
