//! Slow peers that make progress stay connected, and dead ones do not (D6).

use std::time::{Duration, Instant};

use futures_lite::future::zip;
use sansock::core::{Deadline, Side};
use sansock::{Config, Error};
use sansock_tests::driver::frame;

use crate::peer::elsewhere;
use crate::runtime::{Runtime, opened, sleep};

crate::on_every_runtime! {
    #[test] fn a_large_frame_over_a_slow_link_arrives();
    #[test] fn a_peer_that_is_silent_is_given_up();
    #[test] fn an_application_that_does_not_read_gives_nobody_up();
}

const PING_EVERY: Duration = Duration::from_millis(300);
const PING_TIMEOUT: Duration = Duration::from_millis(600);

fn short_keepalive() -> Config {
    sansock::config()
        .max_message_size(None)
        .ping_interval(PING_EVERY)
        .ping_timeout(PING_TIMEOUT)
}

async fn a_large_frame_over_a_slow_link_arrives<R: Runtime>() {
    let (mut ws, mut peer) = opened::<R>(Side::Client, short_keepalive());
    let peer = elsewhere(move || {
        // One megabyte in more than two seconds. A ping cannot be answered inside a frame.
        let frame = frame(Side::Server, 0x82, &[7; 1 << 20]);
        for part in frame.chunks(frame.len() / 48) {
            peer.send_bytes(part);
            std::thread::sleep(Duration::from_millis(50));
        }
        peer.behave();
    });
    let receives = async {
        let message = ws.recv().await.unwrap().unwrap();
        assert_eq!(message.len(), 1 << 20);
        ws.close(1000, "").await.unwrap();
    };
    zip(receives, peer).await;
}

async fn a_peer_that_is_silent_is_given_up<R: Runtime>() {
    let (mut ws, peer) = opened::<R>(Side::Client, short_keepalive());
    let began = Instant::now();
    let error = ws.recv().await.unwrap_err();
    let took = began.elapsed();
    assert!(
        matches!(error, Error::TimedOut(Deadline::Pong)),
        "{error:?}"
    );
    assert!(took < (PING_EVERY + PING_TIMEOUT) * 3, "{took:?}");
    drop(peer);

    // Nor does it help that the system takes what is sent.
    let (mut ws, peer) = opened::<R>(Side::Client, short_keepalive());
    let began = Instant::now();
    let error = loop {
        match ws.send("is anyone there?").await {
            Ok(()) => sleep::<R>(Duration::from_millis(20)).await,
            Err(error) => break error,
        }
    };
    let took = began.elapsed();
    assert!(
        matches!(error, Error::TimedOut(Deadline::Pong)),
        "{error:?}"
    );
    assert!(took < (PING_EVERY + PING_TIMEOUT) * 3, "{took:?}");
    drop(peer);
}

async fn an_application_that_does_not_read_gives_nobody_up<R: Runtime>() {
    let (mut ws, mut peer) = opened::<R>(Side::Client, short_keepalive());
    // Two messages: the second is in the way of the pongs behind it.
    peer.send_text("one");
    peer.send_text("two");
    let peer = elsewhere(move || peer.behave());
    let works = async {
        let busy = sleep::<R>((PING_EVERY + PING_TIMEOUT) * 2);
        ws.attend(busy).await;
        assert!(ws.recv().await.unwrap().is_some());
        assert!(ws.recv().await.unwrap().is_some());
        ws.close(1000, "").await.unwrap();
    };
    zip(works, peer).await;
}
