//! Applications that only send (D1), and sends that are blocked (D2).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sansock::core::{Deadline, Side};
use sansock::{CloseCode, Error};

use crate::peer::{Answers, Peer, elsewhere};
use crate::runtime::{Handled, Runtime, opened, sleep, with_server};

crate::on_every_runtime! {
    #[test] fn a_handler_that_only_sends_answers_a_ping_and_notices_a_close();
    #[test] fn a_handler_that_only_sends_ends_at_a_shutdown();
    #[test] fn a_client_that_only_sends_answers_pings_and_notices_a_close();
    #[test] fn a_client_that_never_receives_stays_connected();
    #[test] fn a_client_that_discards_what_it_gets_sees_the_close_behind_it();
    #[test] fn a_stream_of_sends_sees_pings();
    #[test] fn a_blocked_send_times_out_while_the_peer_pings();
}

const TICK: Duration = Duration::from_millis(200);

/// A broken driver never answers. A busy machine may be late by seconds.
const SOON: Duration = Duration::from_secs(10);

/// Sends a tick five times a second until that fails.
async fn tick<R: Runtime>(mut ws: Handled<R>) -> sansock::Result<()> {
    loop {
        ws.send("tick").await?;
        sleep::<R>(TICK).await;
    }
}

async fn a_handler_that_only_sends_answers_a_ping_and_notices_a_close<R: Runtime>() {
    let ticking = Arc::new(AtomicUsize::new(0));
    let counted = ticking.clone();
    let server = R::serve(move |ws| {
        let counted = counted.clone();
        async move {
            counted.fetch_add(1, Ordering::SeqCst);
            let error = tick::<R>(ws).await.unwrap_err();
            assert_eq!(error.close_code().map(CloseCode::number), Some(1001));
            counted.fetch_sub(1, Ordering::SeqCst);
        }
    });
    with_server::<R>(server, async |address, handle| {
        elsewhere(move || {
            let mut peer = Peer::connect(address, "/");
            peer.next_of(0x81);
            for number in 0..3 {
                let began = Instant::now();
                let payload = number.to_string();
                peer.send_ping(&payload);
                peer.expect_pong(&payload);
                assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
            }
            let began = Instant::now();
            peer.send_close(1001, "");
            assert_eq!(peer.expect_close(), 1001);
            peer.drain();
            assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        })
        .await;
        // The handler ends at the next tick.
        let began = Instant::now();
        while ticking.load(Ordering::SeqCst) > 0 {
            sleep::<R>(TICK / 10).await;
        }
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        assert_eq!(handle.snapshot().handler_failures, 0);
        assert_eq!(Vec::from_iter(handle.snapshot().closed), [(1001, 1)]);
    })
    .await;
}

async fn a_handler_that_only_sends_ends_at_a_shutdown<R: Runtime>() {
    let server = R::serve(tick::<R>);
    let began = Arc::new(std::sync::Mutex::new(None));
    with_server::<R>(server, async |address, _| {
        let ticking = elsewhere(move || {
            let mut peer = Peer::connect(address, "/");
            peer.next_of(0x81);
            peer
        });
        let peer = ticking.await;
        std::thread::spawn(|| peer.behave());
        *began.lock().unwrap() = Some(Instant::now());
    })
    .await;
    let took = began.lock().unwrap().unwrap().elapsed();
    assert!(took < SOON, "the shutdown took {took:?}");
}

async fn a_client_that_only_sends_answers_pings_and_notices_a_close<R: Runtime>() {
    let (mut ws, mut peer) = opened::<R>(Side::Client, sansock::config());
    let peer = elsewhere(move || {
        peer.next_of(0x81);
        for number in 0..3 {
            let payload = number.to_string();
            let began = Instant::now();
            peer.send_ping(&payload);
            // At the next operation, which is half a tick later.
            peer.expect_pong(&payload);
            assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        }
        peer.send_close(4000, "enough");
        let began = Instant::now();
        assert_eq!(peer.expect_close(), 4000);
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    });
    let ticks = async {
        loop {
            if let Err(error) = ws.send("tick").await {
                return error;
            }
            sleep::<R>(TICK / 2).await;
        }
    };
    let (error, ()) = futures_lite::future::zip(ticks, peer).await;
    assert_eq!(error.close_code().map(CloseCode::number), Some(4000));
}

async fn a_client_that_never_receives_stays_connected<R: Runtime>() {
    // The default keepalive, some forty times as fast.
    let config = || {
        sansock::config()
            .ping_interval(Duration::from_millis(300))
            .ping_timeout(Duration::from_millis(600))
    };
    let received = Arc::new(AtomicUsize::new(0));
    let counted = received.clone();
    let server = R::serve(move |mut ws| {
        let counted = counted.clone();
        async move {
            while ws.recv().await?.is_some() {
                counted.fetch_add(1, Ordering::SeqCst);
            }
            ws.close_result()
        }
    });
    with_server::<R>(server.config(config()), async |address, handle| {
        let socket = elsewhere(move || Peer::connect(address, "/").into_stream()).await;
        let mut ws = crate::runtime::open_over::<R>(socket, Side::Client, config());
        for number in 0..25 {
            ws.send("hello").await.unwrap();
            sleep::<R>(Duration::from_millis(100)).await;
            assert_eq!(handle.snapshot().open, 1, "{number}");
        }
        assert!(ws.stats().pings_received > 3);
        ws.close(1000, "").await.unwrap();
        assert_eq!(received.load(Ordering::SeqCst), 25);
    })
    .await;
}

async fn a_client_that_discards_what_it_gets_sees_the_close_behind_it<R: Runtime>() {
    let (mut ws, mut peer) = opened::<R>(Side::Client, sansock::config());
    ws.close_read(1000);
    let peer = elsewhere(move || {
        for _ in 0..10 {
            peer.send_text("unwanted");
        }
        peer.send_ping("behind");
        peer.expect_pong("behind");
        peer.send(0x82, &[0; 1000]);
        // Too much: 1008.
        peer.expect_close()
    });
    let sends = async {
        loop {
            if let Err(error) = ws.send("tick").await {
                return error;
            }
            sleep::<R>(Duration::from_millis(20)).await;
        }
    };
    let (error, code) = futures_lite::future::zip(sends, peer).await;
    assert_eq!(code, 1008);
    assert!(error.is_closed(), "{error}");
}

async fn a_stream_of_sends_sees_pings<R: Runtime>() {
    let (mut ws, mut peer) = opened::<R>(Side::Server, sansock::config());
    // The pong is behind what the system holds: few frames.
    let more = "more".repeat(1000);
    let peer = elsewhere(move || {
        for number in 0..5 {
            let payload = number.to_string();
            let began = Instant::now();
            peer.send_ping(&payload);
            peer.expect_pong(&payload);
            assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        }
        peer.send_close(1000, "");
        peer.expect_close()
    });
    let sends = async {
        // Nothing else is ever awaited.
        while ws.send(&*more).await.is_ok() {}
    };
    let ((), code) = futures_lite::future::zip(sends, peer).await;
    assert_eq!(code, 1000);
    ws.close_result().unwrap();
}

async fn a_blocked_send_times_out_while_the_peer_pings<R: Runtime>() {
    let config = sansock::config().write_timeout(Duration::from_secs(1));
    let (mut ws, peer) = opened::<R>(Side::Server, config);
    peer.keep_little();
    let _flood = peer.flood(&[(0x89, b"are you there?")], Answers::Unread);
    let began = Instant::now();
    let error = ws.send(vec![0; 32 << 20]).await.unwrap_err();
    let took = began.elapsed();
    assert!(
        matches!(error, Error::TimedOut(Deadline::Write)),
        "{error:?}"
    );
    assert!(took >= Duration::from_millis(900), "{took:?}");
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert!(ws.stats().pings_received > 1000);
}
