//! Peers that send without end: deadlines fire (D2), other tasks run (D3), memory is bounded (D7).

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_lite::future::zip;
use sansock::core::{ServerConnection, Side};
use sansock::{Error, WebSocket};

use crate::peer::{Answers, Flood, Peer, elsewhere};
use crate::runtime::{AsyncStd, Handled, Runtime, Smol, Tokio, Ws, opened, sleep, with_server};

crate::on_every_runtime! {
    #[test] fn close_takes_its_timeout_whatever_the_peer_floods();
    #[test] fn close_of_a_sender_takes_its_timeout_whatever_the_peer_floods();
    #[test] fn a_request_head_without_end_takes_the_open_timeout();
    #[test] fn other_tasks_run_beside_floods();
    #[test] fn a_receive_loop_yields();
    #[test] fn a_ping_keeps_little_of_a_flood();
}

const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// What a peer may flood.
const FLOODS: [&[(u8, &[u8])]; 4] = [
    &[(0x81, b"message")],
    &[(0x82, b"")],
    &[(0x89, b"ping")],
    // One message without end.
    &[(0x00, b"fragment")],
];

#[track_caller]
fn assert_took_the_timeout(began: Instant) {
    let took = began.elapsed();
    assert!(
        took > CLOSE_TIMEOUT - Duration::from_millis(100),
        "{took:?}"
    );
    assert!(took < CLOSE_TIMEOUT * 4, "{took:?}");
}

/// Returns WebSockets of peers that flood, one for each kind of flood.
fn flooded<R: Runtime>() -> Vec<(Ws<R>, Flood)> {
    let config = sansock::config()
        .close_timeout(CLOSE_TIMEOUT)
        .max_message_size(None);
    let opened = FLOODS.iter().map(|frames| {
        let (ws, mut peer) = opened::<R>(Side::Client, config.clone());
        if frames[0].0 == 0x00 {
            peer.send(0x01, b"");
        }
        (ws, peer.flood(frames, Answers::Read))
    });
    opened.collect()
}

async fn close_takes_its_timeout_whatever_the_peer_floods<R: Runtime>() {
    let began = Instant::now();
    let mut closed = Vec::new();
    for (mut ws, flood) in flooded::<R>() {
        let (result, is_closed) = std::sync::mpsc::channel();
        closed.push(is_closed);
        R::spawn(async move {
            // No Close frame comes, so there is an error.
            result
                .send((ws.close(1000, "").await, Instant::now()))
                .unwrap();
            drop(flood);
        });
    }
    for closed in closed {
        let (result, at) = elsewhere(move || closed.recv().unwrap()).await;
        assert!(result.unwrap_err().is_timeout());
        assert!(at - began > CLOSE_TIMEOUT - Duration::from_millis(100));
    }
    assert_took_the_timeout(began);
}

async fn close_of_a_sender_takes_its_timeout_whatever_the_peer_floods<R: Runtime>() {
    for (ws, _flood) in flooded::<R>().into_iter().take(1) {
        let (sender, mut receiver) = ws.split();
        let began = Instant::now();
        let receives = async {
            let mut received = 0;
            while let Ok(Some(_)) = receiver.recv().await {
                received += 1;
            }
            received
        };
        let (closed, received) = zip(sender.close(1000, ""), receives).await;
        assert!(closed.unwrap_err().is_timeout());
        assert!(received > 100, "{received}");
        assert_took_the_timeout(began);
    }
}

async fn a_request_head_without_end_takes_the_open_timeout<R: Runtime>() {
    let junk: [&[u8]; 3] = [
        b"GET / HTTP/1.1\r\nHost: h\r\n",
        b"GET /",
        b"\x16\x03\x01\x02\x00",
    ];
    for begin in junk {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut peer = Peer::new(peer, Side::Client);
        peer.send_bytes(begin);
        let _flood = Flood::start(vec![peer.into_stream()], b"x", Answers::Unread);
        let config = sansock::config().open_timeout(Duration::from_secs(1));
        let connection = ServerConnection::new(Arc::default(), config);
        let stream = R::stream(listener.accept().unwrap().0);
        let began = Instant::now();
        let opened = WebSocket::server(stream, R::timer(), connection).await;
        let (took, error) = (began.elapsed(), opened.unwrap_err());
        assert!(took < Duration::from_secs(4), "{took:?}");
        // What was wrong, and not how the waiting for the client's end has ended.
        assert!(matches!(error, Error::Handshake(_)), "{error:?}");
    }
}

/// The server of the README.
async fn echo<R: Runtime>(mut ws: Handled<R>) -> sansock::Result<()> {
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}

/// Opens connections that flood a server, and read what it sends back.
async fn flood(address: SocketAddr, count: usize, message: &'static [u8]) -> Flood {
    elsewhere(move || {
        let peers = (0..count).map(|_| Peer::connect(address, "/").into_stream());
        let frame = sansock_tests::driver::frame(Side::Client, 0x82, message);
        Flood::start(peers.collect(), &frame, Answers::Read)
    })
    .await
}

/// How late a timer may be. What is not optimised is a few times slower.
const LATE: Duration = match cfg!(debug_assertions) {
    true => Duration::from_millis(100),
    false => Duration::from_millis(50),
};

async fn other_tasks_run_beside_floods<R: Runtime>() {
    // Everything is on this thread: the server, its connections, and the timers.
    let server = R::serve(echo::<R>).spawn(|connection| R::spawn(connection));
    with_server::<R>(server, async |address, _| {
        for message in [&b"short"[..], &[7; 10_000]] {
            let flood = flood(address, 8, message).await;
            let before = flood.read();
            let late = lateness::<R>().await;
            let echoed = flood.read() - before;
            drop(flood);
            let (median, most) = (late[late.len() / 2], late[late.len() - 1]);
            let usual = late[late.len() * 95 / 100];
            println!(
                "{} bytes: {median:?}, {usual:?}, {most:?}; {echoed}",
                message.len()
            );
            assert!(median < LATE, "{late:?}");
            assert!(usual < LATE, "{late:?}");
            assert!(most < Duration::from_millis(500), "{late:?}");
            assert!(echoed > 64 << 10, "no flood: {echoed} bytes were echoed");
        }
    })
    .await;
}

/// Returns how late timers of 100 ms fire, in ascending order.
///
/// Another process may take the processor. So what counts is how much processor time this thread has
/// used since the timer was due, if that is less than the time that has passed.
async fn lateness<R: Runtime>() -> Vec<Duration> {
    const TICK: Duration = Duration::from_millis(100);
    const TIMERS: u32 = 20;
    const EACH: u32 = 10;

    struct Fired {
        due: Instant,
        at: Instant,
        processor_time: Duration,
    }

    let fired = Arc::new(Mutex::new(Vec::new()));
    let fire = |due| Fired {
        due,
        at: Instant::now(),
        processor_time: thread_time(),
    };
    fired.lock().unwrap().push(fire(Instant::now()));
    for index in 0..TIMERS {
        let fired = fired.clone();
        R::spawn(async move {
            sleep::<R>(TICK / TIMERS * index).await;
            for _ in 0..EACH {
                let due = Instant::now() + TICK;
                sleep::<R>(TICK).await;
                fired.lock().unwrap().push(fire(due));
            }
        });
    }
    while fired.lock().unwrap().len() <= (TIMERS * EACH) as usize {
        sleep::<R>(TICK).await;
    }
    let fired = std::mem::take(&mut *fired.lock().unwrap());
    let late = fired.iter().skip(1).map(|timer| {
        let before = fired.partition_point(|other| other.at <= timer.due);
        let before = fired[before.saturating_sub(1)].processor_time;
        let used = timer.processor_time - before;
        used.min(timer.at - timer.due)
    });
    let mut late: Vec<Duration> = late.collect();
    late.sort_unstable();
    late
}

/// Returns the processor time of this thread.
fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap()
}

async fn a_receive_loop_yields<R: Runtime>() {
    let (mut ws, peer) = opened::<R>(Side::Client, sansock::config());
    let _flood = peer.flood(&[(0x82, &[0; 1000])], Answers::Unread);
    let polls = AtomicUsize::new(0);
    let receives = async {
        let mut bytes = 0;
        while bytes < 64 << 20 {
            bytes += ws.recv().await.unwrap().unwrap().len();
        }
    };
    counted(&polls, receives).await;
    // Each budget is of 256 messages, or 256 KiB.
    let polls = polls.load(Ordering::Relaxed);
    assert!(polls >= 256, "{polls}");
}

async fn a_ping_keeps_little_of_a_flood<R: Runtime>() {
    let (mut ws, peer) = opened::<R>(Side::Client, sansock::config());
    let _flood = peer.flood(&[(0x82, b"")], Answers::Unread);
    let error = ws.ping().await.unwrap_err();
    assert!(matches!(error, Error::Backlog), "{error:?}");
    // 1 MiB, of which each empty message takes 64 bytes.
    let most = (1 << 20) / 64;
    for _ in 0..most {
        assert!(ws.recv().await.unwrap().unwrap().is_empty());
    }
    // What the buffer held besides.
    assert!(ws.stats().frames_received < 2 * most, "{:?}", ws.stats());
}

/// Counts the polls of a future.
pub(crate) async fn counted<T>(polls: &AtomicUsize, future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| {
        polls.fetch_add(1, Ordering::Relaxed);
        future.as_mut().poll(cx)
    })
    .await
}

// Two threads.

fn a_shutdown_ends_handlers_of_floods<R: Runtime>() {
    /// Counts handlers until they are dropped.
    struct Running(Arc<AtomicUsize>);

    impl Drop for Running {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    let running = Arc::new(AtomicUsize::new(0));
    let counted = running.clone();
    R::run(2, async move {
        let server = R::serve(move |mut ws: Handled<R>| {
            counted.fetch_add(1, Ordering::SeqCst);
            let running = Running(counted.clone());
            async move {
                while let Ok(Some(_)) = ws.recv().await {}
                drop(running);
            }
        });
        let server = server
            .shutdown_timeout(Duration::from_millis(500))
            .spawn(|connection| R::spawn(connection));
        let began = Mutex::new(Instant::now());
        let mut floods = Vec::new();
        with_server::<R>(server, async |address, _| {
            for _ in 0..4 {
                floods.push(flood(address, 1, b"flood").await);
            }
            while running.load(Ordering::SeqCst) < 4 {
                sleep::<R>(Duration::from_millis(10)).await;
            }
            sleep::<R>(Duration::from_millis(100)).await;
            *began.lock().unwrap() = Instant::now();
        })
        .await;
        let took = began.lock().unwrap().elapsed();
        assert_eq!(running.load(Ordering::SeqCst), 0, "handlers are running");
        assert!(took >= Duration::from_millis(450), "{took:?}");
        assert!(took < Duration::from_secs(3), "{took:?}");
    });
}

mod two_threads {
    use super::{AsyncStd, Smol, Tokio, a_shutdown_ends_handlers_of_floods};

    #[test]
    fn a_shutdown_on_smol_ends_handlers_of_floods() {
        crate::watched("on smol", a_shutdown_ends_handlers_of_floods::<Smol>);
    }

    #[test]
    fn a_shutdown_on_async_std_ends_handlers_of_floods() {
        crate::watched(
            "on async-std",
            a_shutdown_ends_handlers_of_floods::<AsyncStd>,
        );
    }

    #[test]
    fn a_shutdown_on_tokio_ends_handlers_of_floods() {
        crate::watched("on tokio", a_shutdown_ends_handlers_of_floods::<Tokio>);
    }
}
