//! Two tasks that use one connection: both are woken, and neither is polled while nothing happens (D4).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_channel::{Sender, bounded};
use futures_lite::future::or;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use futures_util::{SinkExt, StreamExt};
use sansock::Message;
use sansock::core::Side;
use sansock::runtime::{BoxFuture, Threads};

use crate::flood::counted;
use crate::peer::elsewhere;
use crate::runtime::{Runtime, Ws, opened, sleep};

crate::on_every_runtime! {
    #[test] fn halves_of_a_byte_stream_are_woken_and_do_not_spin();
    #[test] fn halves_of_a_stream_and_a_sink_are_woken_and_do_not_spin();
    #[test] fn a_receiver_and_a_sender_are_woken_and_do_not_spin();
}

/// What one task sends: more than the system keeps.
const MUCH: usize = 16 << 20;

/// The two tasks of a connection.
struct Halves {
    /// Reports each message to the channel, which it closes at the end.
    read: BoxFuture<Threads, ()>,
    /// Sends [`MUCH`].
    write: BoxFuture<Threads, ()>,
}

/// Blocks the task that writes, then has the other one read, then lets both end.
async fn read_while_writing_is_blocked<R: Runtime>(
    halves: impl FnOnce(Ws<R>, Sender<Vec<u8>>) -> Halves,
) {
    let (ws, mut peer) = opened::<R>(Side::Server, sansock::config());
    let (receives, received) = bounded(100);
    let Halves { read, write } = halves(ws, receives);
    let polls = Arc::new(AtomicUsize::new(0));
    let (writes, written) = bounded::<()>(1);
    let (counts, counts_too) = (polls.clone(), polls.clone());
    R::spawn(async move { counted(&counts, read).await });
    R::spawn(async move {
        counted(&counts_too, write).await;
        drop(writes);
    });

    sleep::<R>(Duration::from_millis(300)).await;
    assert!(!written.is_closed(), "the system keeps everything");
    let polls_while_idle = async || {
        let before = polls.load(Ordering::Relaxed);
        sleep::<R>(Duration::from_millis(400)).await;
        polls.load(Ordering::Relaxed) - before
    };
    let idle = polls_while_idle().await;
    assert!(idle <= 2, "{idle} polls while nothing happens");

    peer.send(0x82, b"hello");
    let message = async { Some(received.recv().await.unwrap()) };
    let late = async {
        sleep::<R>(Duration::from_secs(2)).await;
        None
    };
    let message = or(message, late).await;
    assert_eq!(message.as_deref(), Some(&b"hello"[..]), "not woken");
    let idle = polls_while_idle().await;
    assert!(idle <= 2, "{idle} polls while nothing happens");

    let peer = elsewhere(move || {
        let mut left = MUCH;
        while left > 0 {
            left -= peer.next_of(0x82).payload.len();
        }
        peer
    });
    let mut peer = peer.await;
    assert!(written.recv().await.is_err());
    peer.send_close(1000, "");
    assert!(received.recv().await.is_err());
    elsewhere(move || assert_eq!(peer.expect_close(), 1000)).await;
}

async fn halves_of_a_byte_stream_are_woken_and_do_not_spin<R: Runtime>() {
    read_while_writing_is_blocked::<R>(|ws, receives| {
        let (mut reader, mut writer) = futures_lite::io::split(ws.into_byte_stream());
        Halves {
            read: Box::pin(async move {
                let mut buf = [0; 100];
                loop {
                    match reader.read(&mut buf).await.unwrap() {
                        0 => break,
                        size => receives.send(buf[..size].into()).await.unwrap(),
                    }
                }
            }),
            write: Box::pin(async move {
                writer.write_all(&vec![7; MUCH]).await.unwrap();
                writer.flush().await.unwrap();
            }),
        }
    })
    .await;
}

async fn halves_of_a_stream_and_a_sink_are_woken_and_do_not_spin<R: Runtime>() {
    read_while_writing_is_blocked::<R>(|ws, receives| {
        let (mut sink, mut stream) = StreamExt::split(ws);
        Halves {
            read: Box::pin(async move {
                while let Some(message) = stream.next().await {
                    let message = message.unwrap().as_bytes().to_vec();
                    receives.send(message).await.unwrap();
                }
            }),
            write: Box::pin(async move {
                for _ in 0..16 {
                    let message = Message::binary(vec![7; MUCH / 16]);
                    sink.send(message).await.unwrap();
                }
            }),
        }
    })
    .await;
}

async fn a_receiver_and_a_sender_are_woken_and_do_not_spin<R: Runtime>() {
    read_while_writing_is_blocked::<R>(|ws, receives| {
        let (sender, mut receiver) = ws.split();
        Halves {
            read: Box::pin(async move {
                while let Some(message) = receiver.recv().await.unwrap() {
                    let message = message.as_bytes().to_vec();
                    receives.send(message).await.unwrap();
                }
            }),
            write: Box::pin(async move {
                for _ in 0..16 {
                    sender.send(vec![7; MUCH / 16]).await.unwrap();
                }
            }),
        }
    })
    .await;
}
