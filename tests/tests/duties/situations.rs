//! Situations in which the duties were once broken, one by one, with the times and the sizes that were
//! observed.

use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use allocation_counter::measure;
use bytes::{Buf, Bytes};
use futures_lite::future::or;
use sansock::clock::VirtualClock;
use sansock::serve::{OverflowPolicy, Push, Room};
use sansock::{Error, Message, Prepared};
use sansock_core::handshake::{ClientOptions, ServerOptions};
use sansock_core::{
    ClientConnection, Connection, Deadline, Event, Negotiated, ServerConnection, Side,
};
use sansock_tests::driver::{
    End, Flood, Manner, Meter, Task, close_frame, config, frame, open_server_with, opened,
    opened_pair, opened_with, parse_frames, pipe, pipe_with, run, settle,
};

use super::deadlines::Kind;
use super::hall::{Hall, Tasks};
use super::rig::{Shared, Socket, lock, sleep};

const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// Whether a frame of this kind is among them.
fn has(bytes: &[u8], first: u8) -> bool {
    parse_frames(bytes).iter().any(|frame| frame.first == first)
}

// D1: keep reading.

/// A server whose handler sends a tick every 200 ms, and never receives. Reports when it has ended.
fn ticking(tasks: &Tasks) -> (Hall, End, Shared<Option<Duration>>) {
    let ended: Shared<Option<Duration>> = Shared::default();
    let (there, clock) = (ended.clone(), tasks.clock.clone());
    let handler = move |mut socket: Socket| {
        let (there, clock) = (there.clone(), clock.clone());
        async move {
            while socket.send("tick").await.is_ok() {
                sleep(&clock, Duration::from_millis(200)).await;
            }
            *lock(&there) = Some(clock.now().since_start());
        }
    };
    let hall = tasks.serve(config(), handler, |serve| serve);
    let (near, far) = pipe(1 << 20);
    tasks.connect(&hall, near);
    (hall, far, ended)
}

#[test]
fn d1_a_handler_that_only_sends_answers_a_ping_and_notices_a_close() {
    let mut tasks = Tasks::default();
    let (_hall, mut client, ended) = ticking(&tasks);
    tasks.run_until(seconds(1.0));
    client.take_all();
    client.put(&frame(Side::Client, PING, b"?"));
    tasks.run_until(seconds(1.2));
    assert!(has(&client.take_all(), PONG), "at the next tick");
    tasks.run_until(seconds(5.0));
    client.put(&close_frame(Side::Client, 1001, ""));
    tasks.run_until(seconds(5.2));
    assert!(has(&client.take_all(), CLOSE), "at the next tick");
    client.end();
    tasks.run_until(seconds(5.4));
    let ended = lock(&ended).expect("the handler has ended");
    assert!(ended <= seconds(5.4), "{ended:?}");
}

#[test]
fn d1_a_handler_that_only_sends_is_watched_by_keepalive() {
    let mut tasks = Tasks::default();
    let (_hall, mut client, ended) = ticking(&tasks);
    tasks.run_until(seconds(20.2));
    assert!(has(&client.take_all(), PING), "a ping after 20 s");
    tasks.run_until(seconds(41.0));
    let ended = lock(&ended).expect("a client that does not answer is given up");
    assert!(ended <= seconds(40.6), "{ended:?}");
}

#[test]
fn d1_a_shutdown_ends_a_handler_that_only_sends() {
    let mut tasks = Tasks::default();
    let (hall, mut client, ended) = ticking(&tasks);
    tasks.run_until(seconds(1.0));
    hall.server.shutdown();
    tasks.run_until(seconds(1.2));
    assert!(has(&client.take_all(), CLOSE));
    client.put(&close_frame(Side::Client, 1001, ""));
    client.end();
    tasks.run_until(seconds(1.4));
    assert!(lock(&ended).is_some());
    assert_eq!(tasks.count(), 0, "long before the timeout of 10 s");
}

#[test]
fn d1_a_healthy_peer_is_content_with_a_handler_that_only_sends() {
    let mut tasks = Tasks::default();
    let (_hall, client, ended) = ticking(&tasks);
    let ticks: Shared<usize> = Shared::default();
    let (there, clock) = (ticks.clone(), tasks.clock.clone());
    tasks.spawn(async move {
        let mut client = opened(Side::Client, client, &clock);
        while let Ok(Some(_)) = client.recv().await {
            *lock(&there) += 1;
        }
    });
    tasks.run_until(seconds(75.0));
    assert_eq!(*lock(&ended), None);
    assert!(*lock(&ticks) >= 374, "{} ticks", lock(&ticks));
}

/// The client may send from the connection itself or from a half.
#[test]
fn d1_a_client_that_sends_once_a_second_and_never_receives_stays_connected() {
    for is_split in [false, true] {
        let mut tasks = Tasks::default();
        let received: Shared<usize> = Shared::default();
        let there = received.clone();
        let handler = move |mut socket: Socket| {
            let there = there.clone();
            async move {
                while socket.recv().await?.is_some() {
                    *lock(&there) += 1;
                }
                Ok::<_, Error>(())
            }
        };
        let hall = tasks.serve(config(), handler, |serve| serve);
        let (near, far) = pipe(1 << 20);
        tasks.connect(&hall, near);
        let clock = tasks.clock.clone();
        tasks.spawn(async move {
            let mut client = opened(Side::Client, far, &clock);
            if is_split {
                let (sender, _receiver) = client.split();
                while sender.send("once a second").await.is_ok() {
                    sleep(&clock, Duration::from_secs(1)).await;
                }
            } else {
                while client.send("once a second").await.is_ok() {
                    sleep(&clock, Duration::from_secs(1)).await;
                }
            }
        });
        tasks.run_until(seconds(120.5));
        assert_eq!(*lock(&received), 121, "split: {is_split}");
    }
}

// D2: deadlines always fire.

#[test]
fn d2_close_takes_its_timeout_over_a_peer_that_always_has_more() {
    for kind in [Kind::Messages, Kind::Pings, Kind::Fragments, Kind::Junk] {
        let clock = VirtualClock::new();
        let (flood, source) = Flood::new(&clock);
        source.take_time(Duration::from_micros(500));
        kind.start(&source, Side::Server);
        let config = config().close_timeout(Duration::from_secs(1));
        let mut ws = opened_with(Side::Client, flood, &clock, config);
        let mut close = Task::new(ws.close(1000, ""));
        settle(&mut [&mut close]);
        close.output().unwrap_err();
        let time = clock.now().since_start();
        assert!(time < seconds(1.3), "{kind:?}: {time:?}");
    }
}

#[test]
fn d2_a_blocked_send_times_out_while_the_peer_pings() {
    let clock = VirtualClock::new();
    let (flood, source) = Flood::new(&clock);
    source.take_time(Duration::from_micros(500));
    source.take(0, 0);
    Kind::Pings.start(&source, Side::Server);
    let config = config().write_timeout(Duration::from_secs(1));
    let mut ws = opened_with(Side::Client, flood, &clock, config);
    let mut send = Task::new(ws.send("blocked"));
    settle(&mut [&mut send]);
    let error = send.output().unwrap_err();
    assert!(matches!(error, Error::TimedOut(Deadline::Write)), "{error}");
    let time = clock.now().since_start();
    assert!(time < seconds(1.3), "{time:?}");
}

#[test]
fn d2_the_opening_handshake_times_out_over_junk_without_end() {
    for junk in [&b"GET / HTTP/1.1\r\nX: "[..], b"a", b"\r\n", b"\0"] {
        let clock = VirtualClock::new();
        let (flood, source) = Flood::new(&clock);
        source.take_time(Duration::from_micros(500));
        source.flow(junk, 1);
        let config = config().open_timeout(Duration::from_secs(1));
        let mut open = Task::new(open_server_with(flood, &clock, config));
        settle(&mut [&mut open]);
        open.output().unwrap_err();
        let time = clock.now().since_start();
        assert!(time < seconds(1.3), "{junk:?}: {time:?}");
    }
}

// D3: yield fairly.

#[test]
fn d3_256_mib_of_frames_that_are_ready_take_a_thousand_polls() {
    let clock = VirtualClock::new();
    let (flood, source) = Flood::new(&clock);
    source.flow(&frame(Side::Server, BINARY, &vec![7; 60 << 10]), usize::MAX);
    let mut ws = opened(Side::Client, flood, &clock);
    let meter = Meter::default();
    let mut messages = 0_usize;
    let mut receive = Task::new(meter.polls(
        async {
            while messages < 256 * 1024 / 60 {
                messages += 1;
                ws.recv().await.unwrap().unwrap();
            }
        },
        |_| {},
    ));
    let polls = settle(&mut [&mut receive]);
    let () = receive.output();
    assert!((1000..10_000).contains(&polls), "{polls} polls");
}

/// Eight peers flood a server that echoes, on one thread, on which a timer of 100 ms runs as well. A call of the
/// transport takes 5 µs.
#[test]
fn d3_eight_peers_that_flood_an_echo_leave_time_for_others() {
    for kind in [Kind::Messages, Kind::Pings, Kind::Fragments] {
        let mut tasks = Tasks::default();
        let handler = |mut socket: Socket| async move {
            while let Some(message) = socket.recv().await? {
                socket.send(message).await?;
            }
            Ok::<_, Error>(())
        };
        let config = config().max_message_size(None);
        let hall = tasks.serve(config, handler, |serve| serve);
        for _ in 0..8 {
            let (flood, source) = Flood::new(&tasks.clock);
            source.take_time(Duration::from_micros(5));
            source.forget();
            kind.start(&source, Side::Client);
            tasks.connect(&hall, flood);
        }
        let latest: Shared<Duration> = Shared::default();
        let ticks: Shared<usize> = Shared::default();
        let (there, count, clock) = (latest.clone(), ticks.clone(), tasks.clock.clone());
        tasks.spawn(async move {
            for tick in 1..=20_u32 {
                let due = Duration::from_millis(100) * tick;
                let now = clock.now().since_start();
                sleep(&clock, due.saturating_sub(now)).await;
                let late = clock.now().since_start().saturating_sub(due);
                let mut latest = lock(&there);
                *latest = late.max(*latest);
                *lock(&count) += 1;
            }
        });
        while tasks.clock.now().since_start() < seconds(2.1) {
            assert!(tasks.turn() > 0, "{kind:?}: nobody runs");
        }
        assert_eq!(*lock(&ticks), 20, "{kind:?}");
        assert!(
            *lock(&latest) <= Duration::from_millis(50),
            "{kind:?}: {:?} late",
            lock(&latest)
        );
    }
}

/// A handler that does not look at how a call has ended. It holds `_mark` while it runs.
async fn echo_on(mut socket: Socket, _mark: Arc<()>) {
    loop {
        if let Ok(Some(message)) = socket.recv().await {
            let _ = socket.send(message).await;
        } else {
            futures_lite::future::yield_now().await;
        }
    }
}

#[test]
fn d3_a_shutdown_leaves_no_handler_over_peers_that_flood() {
    let mut tasks = Tasks::default();
    let running: Arc<()> = Arc::new(());
    let mark = running.clone();
    let handler = move |socket: Socket| echo_on(socket, mark.clone());
    let hall = tasks.serve(config(), handler, |serve| {
        serve.shutdown_timeout(Duration::from_secs(2))
    });
    for _ in 0..4 {
        let (flood, source) = Flood::new(&tasks.clock);
        source.take_time(Duration::from_micros(100));
        source.forget();
        source.flow(&frame(Side::Client, TEXT, b"again"), 1000);
        tasks.connect(&hall, flood);
    }
    for _ in 0..10 {
        tasks.turn();
    }
    let handlers = Arc::strong_count(&running);
    assert_eq!(handlers, 6, "four handlers run");
    let began = tasks.clock.now().since_start();
    hall.server.shutdown();
    let stopped: Shared<bool> = Shared::default();
    let (there, server) = (stopped.clone(), hall.server.clone());
    tasks.spawn(async move {
        server.stopped().await;
        *lock(&there) = true;
    });
    while !*lock(&stopped) {
        if tasks.turn() == 0 {
            assert!(tasks.clock.advance_to_next_alarm(), "it never stops");
        }
        let time = tasks.clock.now().since_start() - began;
        assert!(time < seconds(2.5), "the server runs for {time:?}");
    }
    assert_eq!(Arc::strong_count(&running), 2, "no handler is left");
}

// D5: one outcome.

#[test]
fn d5_a_close_before_the_transport_breaks_is_what_every_call_reports() {
    let clock = VirtualClock::new();
    let (near, mut far) = pipe(1000);
    let mut ws = opened(Side::Client, near, &clock);
    run(ws.send("before")).unwrap();
    far.put(&close_frame(Side::Server, 4001, "bye"));
    drop(far);
    let closed = match run(ws.send("after")) {
        Err(Error::Closed(closed)) => closed,
        other => panic!("{other:?}"),
    };
    assert_eq!(closed.received().unwrap().code, 4001.into());
    assert_eq!(run(ws.recv()).unwrap(), None);
    let closed = ws.closed().unwrap();
    assert_eq!(closed.received().unwrap().code, 4001.into());
    assert_eq!(closed.sent(), None, "nothing could be written: {closed}");
    let Err(Error::Closed(closed)) = ws.close_result() else {
        panic!("4001 is not a normal close");
    };
    assert_eq!(closed.received().unwrap().code, 4001.into());
    let error = run(ws.ping()).unwrap_err();
    assert!(matches!(error, Error::Closed(_)), "{error}");
    assert!(!error.is_transient());
}

#[test]
fn d5_close_of_a_sender_discards_what_is_not_received_and_counts_it() {
    let clock = VirtualClock::new();
    let (near, mut far) = pipe(100_000);
    let (sender, mut receiver) = opened(Side::Client, near, &clock).split();
    far.put(&frame(Side::Server, TEXT, b"unread").repeat(3));
    far.put(&close_frame(Side::Server, 1000, ""));
    far.end();
    let mut close = Task::new(sender.close(1000, ""));
    settle(&mut [&mut close]);
    assert!(!close.is_done(), "a receiver has 100 ms");
    clock.advance(Duration::from_millis(100));
    settle(&mut [&mut close]);
    close.output().unwrap();
    let error = run(receiver.recv()).unwrap_err();
    assert!(matches!(error, Error::Discarded { messages: 3 }), "{error}");
}

#[test]
fn d5_close_of_a_sender_leaves_messages_to_a_receiver_that_comes_in_time() {
    let clock = VirtualClock::new();
    let (near, mut far) = pipe(100_000);
    let (sender, mut receiver) = opened(Side::Client, near, &clock).split();
    far.put(&frame(Side::Server, TEXT, b"unread").repeat(3));
    let mut close = Task::new(sender.close(1000, ""));
    settle(&mut [&mut close]);
    clock.advance(Duration::from_millis(90));
    settle(&mut [&mut close]);
    let mut receive = Task::new(async {
        let mut count = 0;
        while let Some(message) = receiver.recv().await? {
            assert_eq!(message, Message::text("unread"));
            count += 1;
        }
        Ok::<_, Error>(count)
    });
    settle(&mut [&mut receive, &mut close]);
    far.put(&close_frame(Side::Server, 1000, ""));
    far.end();
    clock.advance(Duration::from_millis(1000));
    settle(&mut [&mut receive, &mut close]);
    close.output().unwrap();
    assert_eq!(receive.output().unwrap(), 3);
}

#[test]
fn d5_a_close_that_is_not_normal_is_an_error_one_call_away() {
    for (code, is_normal) in [
        (1000, true),
        (1001, true),
        (1011, false),
        (1008, false),
        (4003, false),
    ] {
        let clock = VirtualClock::new();
        let (near, mut far) = pipe(1000);
        let mut ws = opened(Side::Client, near, &clock);
        far.put(&close_frame(Side::Server, code, "why"));
        far.end();
        assert_eq!(run(ws.recv()).unwrap(), None);
        match ws.close_result() {
            Ok(()) => assert!(is_normal, "{code}"),
            Err(Error::Closed(closed)) => {
                assert!(!is_normal, "{code}");
                let received = closed.received().unwrap();
                assert_eq!((received.code.number(), &*received.reason), (code, "why"));
            }
            Err(error) => panic!("{code}: {error}"),
        }
    }
}

// D6: progress counts as liveness.

#[test]
fn d6_a_frame_of_12_mb_over_a_link_of_200_kb_a_second_arrives() {
    let mut tasks = Tasks::default();
    let (near, mut far) = pipe(1 << 24);
    let config = config().max_message_size(16 << 20);
    let clock = tasks.clock.clone();
    let received: Shared<Option<Result<usize, String>>> = Shared::default();
    let there = received.clone();
    tasks.spawn(async move {
        let mut ws = opened_with(Side::Client, near, &clock, config);
        let message = ws.recv().await;
        let size = message.map(|message| message.map_or(0, |message| message.len()));
        *lock(&there) = Some(size.map_err(|error| error.to_string()));
    });
    let bytes = frame(Side::Server, BINARY, &vec![1; 12_000_000]);
    for (part, number) in bytes.chunks(40_000).zip(1_u32..) {
        tasks.run_until(Duration::from_millis(200) * number);
        assert_eq!(*lock(&received), None, "at {:?}", tasks.clock.now());
        far.put(part);
    }
    tasks.settle();
    assert_eq!(*lock(&received), Some(Ok(12_000_000)));
}

/// The ping is behind up to 64 KiB; each end is ours.
#[test]
fn d6_an_upload_of_64_kib_at_10_kib_a_second_survives_a_ping_every_second() {
    let mut tasks = Tasks::default();
    let keepalive = || {
        config()
            .ping_interval(Duration::from_secs(1))
            .ping_timeout(Duration::from_secs(1))
    };
    let received: Shared<Vec<usize>> = Shared::default();
    let there = received.clone();
    let handler = move |mut socket: Socket| {
        let there = there.clone();
        async move {
            while let Some(message) = socket.recv().await? {
                lock(&there).push(message.len());
            }
            Ok::<_, Error>(())
        }
    };
    let hall = tasks.serve(keepalive(), handler, |serve| serve);
    let (near, mut slow_near) = pipe(1 << 20);
    let (mut slow_far, far) = pipe(1 << 20);
    tasks.connect(&hall, near);
    let clock = tasks.clock.clone();
    let sent: Shared<Option<Result<(), String>>> = Shared::default();
    let outcome = sent.clone();
    tasks.spawn(async move {
        let mut client = opened_with(Side::Client, far, &clock, config());
        let result = client.send(vec![1; 64 << 10]).await;
        *lock(&outcome) = Some(result.map_err(|error| error.to_string()));
        let _ = client.recv().await;
    });
    // The link: 10 KiB a second upwards.
    let mut queue = std::collections::VecDeque::new();
    for number in 0..100_u32 {
        tasks.run_until(Duration::from_millis(100) * number);
        queue.extend(slow_far.take_all());
        let size = queue.len().min(1024);
        let part: Vec<u8> = queue.drain(..size).collect();
        slow_near.put(&part);
        let down = slow_near.take_all();
        slow_far.put(&down);
        if !lock(&received).is_empty() {
            break;
        }
    }
    assert_eq!(*lock(&received), [64 << 10], "{:?}", lock(&sent));
    assert_eq!(hall.server.snapshot().failed, 0);
}

#[test]
fn d6_a_peer_that_reads_slowly_while_we_send_megabytes_survives() {
    let mut tasks = Tasks::default();
    let (near, mut far) = pipe(10_000);
    let clock = tasks.clock.clone();
    let sent: Shared<Option<Result<(), String>>> = Shared::default();
    let there = sent.clone();
    tasks.spawn(async move {
        let mut ws = opened(Side::Client, near, &clock);
        let result = ws.send(vec![1; 3_000_000]).await;
        *lock(&there) = Some(result.map_err(|error| error.to_string()));
    });
    // It answers no ping before it has read it.
    let mut taken = 0;
    for number in 1..=200_u32 {
        tasks.run_until(Duration::from_millis(500) * number);
        taken += far.take_all().len();
        if let Some(Err(error)) = &*lock(&sent) {
            panic!("{error} after {number} halves of a second");
        }
        for _ in 0..1 {
            tasks.settle();
            taken += far.take_all().len();
        }
    }
    assert_eq!(*lock(&sent), Some(Ok(())), "{taken}");
}

/// Alone with `attend`, in a server's handler without it.
#[test]
fn d6_a_handler_that_is_busy_for_120_s_with_two_unread_messages_survives() {
    let mut tasks = Tasks::default();
    let ended: Shared<Vec<Result<usize, String>>> = Shared::default();
    let (there, clock) = (ended.clone(), tasks.clock.clone());
    let handler = move |mut socket: Socket| {
        let (there, clock) = (there.clone(), clock.clone());
        async move {
            sleep(&clock, Duration::from_secs(120)).await;
            let mut count = 0;
            let result = loop {
                match socket.recv().await {
                    Ok(Some(_)) => count += 1,
                    Ok(None) => break Ok(count),
                    Err(error) => break Err(error.to_string()),
                }
            };
            lock(&there).push(result);
        }
    };
    let hall = tasks.serve(config(), handler, |serve| serve);
    let (near, far) = pipe(1 << 20);
    tasks.connect(&hall, near);
    // The client answers pings, and has one of its own answered within its timeout if it sends one.
    let clock = tasks.clock.clone();
    tasks.spawn(async move {
        let quiet = config().ping_interval(None);
        let mut client = opened_with(Side::Client, far, &clock, quiet);
        client.send("first").await.unwrap();
        client.send("second").await.unwrap();
        client.attend(sleep(&clock, Duration::from_secs(121))).await;
        let _ = client.close(1000, "").await;
    });
    tasks.run_until(seconds(130.0));
    assert_eq!(*lock(&ended), [Ok(2)]);
}

// D7: bounded memory.

#[test]
fn d7_a_ping_over_a_flood_of_empty_messages_keeps_a_megabyte() {
    let clock = VirtualClock::new();
    let (flood, source) = Flood::new(&clock);
    source.flow(&frame(Side::Server, BINARY, b""), 16 << 10);
    let mut ws = opened(Side::Client, flood, &clock);
    let mut ping = Task::new(ws.ping());
    let mut longest = 0;
    let held = measure(|| {
        for _ in 0..100 {
            ping.poll();
            longest += 1;
            if ping.is_done() {
                break;
            }
        }
    });
    assert!(held.bytes_max < 3 << 20, "{} bytes", held.bytes_max);
    assert!(ping.is_done(), "the error comes late");
    let error = ping.output().unwrap_err();
    assert!(matches!(error, Error::Backlog), "{error}");
    // They are there.
    for _ in 0..1000 {
        assert_eq!(run(ws.recv()).unwrap(), Some(Message::binary(Bytes::new())));
    }
}

/// What was read is parsed before more is read, also by a task that comes back after it has yielded.
#[test]
fn d7_a_read_buffer_does_not_grow_over_a_flood_of_pings() {
    let clock = VirtualClock::new();
    let (flood, source) = Flood::new(&clock);
    source.forget();
    source.flow(&frame(Side::Server, PING, b"?"), usize::MAX);
    let mut ws = opened(Side::Client, flood, &clock);
    let mut receive = Task::new(ws.recv_ref());
    let held = measure(|| {
        for _ in 0..8 {
            receive.poll();
        }
    });
    assert!(held.bytes_max < 64 << 10, "{} bytes", held.bytes_max);
}

#[test]
fn d7_a_backlog_of_pushes_holds_its_limit() {
    let mut tasks = Tasks::default();
    let clock = tasks.clock.clone();
    let handler = move |_socket: Socket| {
        let clock = clock.clone();
        async move { sleep(&clock, Duration::from_secs(10)).await }
    };
    let hall = tasks.serve(config(), handler, |serve| serve.max_backlog(10_000));
    // The client reads nothing.
    let (near, _client) = pipe(1000);
    tasks.connect(&hall, near);
    tasks.settle();
    let handle = hall.server.connections().remove(0);
    let empty = Prepared::new("");
    let mut push = |count: usize, policy: OverflowPolicy| {
        for _ in 0..count {
            let _ = handle.push(&empty, policy);
            tasks.settle();
        }
    };
    push(50_000, OverflowPolicy::Skip);
    assert!(handle.backlog() <= 10_000, "{} bytes", handle.backlog());
    let more = handle.push(&empty, OverflowPolicy::Skip);
    assert_eq!(more, Push::Overflow, "empty messages take room as well");
    let grown = measure(|| push(1000, OverflowPolicy::DropOldest)).bytes_current;
    assert!(grown < 1000, "{grown} bytes");
    assert!(handle.backlog() <= 10_000, "{} bytes", handle.backlog());
}

#[test]
fn d7_handlers_that_race_with_the_stop_of_the_server_leave_nothing() {
    let mut tasks = Tasks::default();
    let server: Shared<Option<sansock::serve::ServerHandle>> = Shared::default();
    let there = server.clone();
    let handler = move |mut socket: Socket| {
        let server = lock(&there).clone();
        async move {
            let stopped = async {
                match server {
                    Some(server) => server.stopped().await,
                    None => pending().await,
                }
                Ok(None)
            };
            let _ = or(socket.recv(), stopped).await;
        }
    };
    let hall = tasks.serve(config(), handler, |serve| serve);
    *lock(&server) = Some(hall.server.clone());
    let mut connections = |count: usize| {
        for _ in 0..count {
            let (near, mut far) = pipe(1 << 16);
            tasks.connect(&hall, near);
            tasks.settle();
            far.put(&close_frame(Side::Client, 1000, ""));
            far.end();
            tasks.settle();
            assert_eq!(tasks.count(), 1, "the server alone");
        }
    };
    connections(200);
    let grown = measure(|| connections(200)).bytes_current;
    assert!(grown < 200, "{grown} bytes are left of 200 connections");
}

// D8: few replies, sent first.

#[test]
fn d8_174_763_pings_are_answered_in_about_a_write_a_read() {
    let clock = VirtualClock::new();
    let (near, mut far) = pipe(1 << 22);
    let meter = Meter::default();
    let mut ws = opened(Side::Client, meter.transport(near), &clock);
    far.put(&frame(Side::Server, PING, b"ping").repeat(174_763));
    let mut receive = Task::new(ws.recv());
    settle(&mut [&mut receive]);
    let work = meter.work();
    assert!(work.writes <= work.reads + work.reads / 10, "{work:?}");
}

/// The loop of the documentation of [`Connection`]: output, events, output.
#[test]
fn d8_data_to_send_has_the_pongs_of_several_pings() {
    let mut connection = Connection::new(Side::Server, Negotiated::default(), config()).unwrap();
    let now = sansock_core::Instant::START;
    for name in [b"a", b"b", b"c"] {
        connection.receive_data(&frame(Side::Client, PING, name), now);
    }
    let mut written = Vec::new();
    let mut write = |connection: &mut Connection| {
        let mut data = connection.data_to_send();
        written.extend_from_slice(&data.copy_to_bytes(data.remaining()));
    };
    write(&mut connection);
    while let Some(event) = connection.next_event() {
        assert!(matches!(event, Event::Ping(_)));
    }
    write(&mut connection);
    assert!(connection.is_flushed());
    let pongs = parse_frames(&written);
    let pongs = pongs.iter().map(|pong| (pong.first, &pong.payload[..]));
    assert!(pongs.eq([b"a", b"b", b"c"].map(|name| (PONG, &name[..]))));
}

// D9: the server drives connections whose handler is busy.

#[test]
fn d9_a_ping_is_answered_while_the_handler_awaits_a_query() {
    let mut tasks = Tasks::default();
    let clock = tasks.clock.clone();
    let handler = move |mut socket: Socket| {
        let clock = clock.clone();
        async move {
            while let Some(message) = socket.recv().await? {
                sleep(&clock, Duration::from_secs(4)).await;
                socket.send(message).await?;
            }
            Ok::<_, Error>(())
        }
    };
    let hall = tasks.serve(config(), handler, |serve| serve);
    let (near, mut client) = pipe(1 << 16);
    tasks.connect(&hall, near);
    tasks.run_until(seconds(1.0));
    client.put(&frame(Side::Client, TEXT, b"query"));
    tasks.run_until(seconds(1.3));
    client.put(&frame(Side::Client, PING, b"?"));
    tasks.settle();
    assert!(has(&client.take_all(), PONG));
    tasks.run_until(seconds(5.0));
    assert!(has(&client.take_all(), TEXT));
}

/// A socket that was moved to another task, and halves.
#[test]
fn d9_holds_for_halves_and_for_a_socket_in_another_task() {
    for is_split in [false, true] {
        let mut tasks = Tasks::default();
        let clock = tasks.clock.clone();
        let spawned: Shared<Vec<Socket>> = Shared::default();
        let there = spawned.clone();
        let handler = move |socket: Socket| {
            let (there, clock) = (there.clone(), clock.clone());
            async move {
                if is_split {
                    let (_sender, _receiver) = socket.split();
                    sleep(&clock, Duration::from_secs(100)).await;
                } else {
                    lock(&there).push(socket);
                    pending::<()>().await;
                }
            }
        };
        let hall = tasks.serve(config(), handler, |serve| serve);
        let (near, mut client) = pipe(1 << 16);
        tasks.connect(&hall, near);
        tasks.run_until(seconds(1.0));
        client.put(&frame(Side::Client, PING, b"?"));
        tasks.settle();
        assert!(has(&client.take_all(), PONG), "split: {is_split}");
        let handle = hall.server.connections().remove(0);
        let _ = handle.push(&Prepared::new("pushed"), OverflowPolicy::Skip);
        tasks.settle();
        assert!(has(&client.take_all(), TEXT), "split: {is_split}");
        client.put(&close_frame(Side::Client, 1000, ""));
        tasks.settle();
        assert!(has(&client.take_all(), CLOSE), "split: {is_split}");
    }
}

#[test]
fn d9_a_standalone_connection_is_attended() {
    let clock = VirtualClock::new();
    let (near, mut far) = pipe(1000);
    let mut ws = opened(Side::Client, near, &clock);
    let mut attend = Task::new(ws.attend(sleep(&clock, Duration::from_secs(4))));
    settle(&mut [&mut attend]);
    far.put(&frame(Side::Server, PING, b"?"));
    settle(&mut [&mut attend]);
    assert!(has(&far.take_all(), PONG));
    clock.advance(Duration::from_secs(4));
    settle(&mut [&mut attend]);
    let () = attend.output();
}

// Order.

#[test]
fn what_a_handler_broadcasts_and_sends_leaves_in_the_order_of_its_calls() {
    let mut tasks = Tasks::default();
    let handler = |mut socket: Socket| async move {
        let room = Room::new();
        room.join(socket.handle());
        while socket.recv().await?.is_some() {
            let _ = room.broadcast(&Prepared::new("1"), OverflowPolicy::Skip);
            socket.send("2").await?;
            let _ = room.broadcast(&Prepared::new("3"), OverflowPolicy::Skip);
            socket.feed("4").await?;
            let _ = room.broadcast(&Prepared::new("5"), OverflowPolicy::Skip);
        }
        Ok::<_, Error>(())
    };
    let hall = tasks.serve(config(), handler, |serve| serve);
    let (near, mut client) = pipe(1 << 16);
    tasks.connect(&hall, near);
    tasks.settle();
    client.put(&frame(Side::Client, TEXT, b"begin"));
    tasks.settle();
    let frames = parse_frames(&client.take_all());
    let texts = frames
        .iter()
        .map(|frame| String::from_utf8_lossy(&frame.payload));
    assert_eq!(Vec::from_iter(texts), ["1", "2", "3", "4", "5"]);
}

// Why an opening handshake has failed.

/// The stream ends, the application fails it, or the deadline passes: there is a reason and a last event.
#[test]
fn a_handshake_that_fails_has_a_reason_in_every_place() {
    let later = sansock_core::Instant::from_start(Duration::from_secs(11));
    let now = sansock_core::Instant::START;
    for way in ["end", "failure", "timeout"] {
        for has_begun in [false, true] {
            let uri = "ws://example.com/".parse().unwrap();
            let mut client = ClientConnection::new(&uri, &ClientOptions::new(), config()).unwrap();
            let request = client.connect();
            client.send_request(request).unwrap();
            let mut server = ServerConnection::new(Arc::new(ServerOptions::new()), config());
            client.handle_timeout(now);
            server.handle_timeout(now);
            if has_begun {
                client.receive_data(b"HTTP/1.1 101", now);
                server.receive_data(b"GET / HTTP/1.1\r\n", now);
            }
            match way {
                "end" => {
                    client.receive_eof(now);
                    server.receive_eof(now);
                }
                "failure" => {
                    client.fail(1011, "").unwrap();
                    server.fail(1011, "").unwrap();
                }
                _ => {
                    client.handle_timeout(later);
                    server.handle_timeout(later);
                }
            }
            let name = format!("{way}, begun: {has_begun}");
            assert!(
                matches!(client.next_event(), Some(Event::Failed(_))),
                "client, {name}"
            );
            assert!(client.handshake_error().is_some(), "client, {name}");
            assert!(client.failure().is_some(), "client, {name}");
            assert!(
                matches!(server.next_event(), Some(Event::Failed(_))),
                "server, {name}"
            );
            assert!(server.handshake_error().is_some(), "server, {name}");
            assert!(server.failure().is_some(), "server, {name}");
        }
    }
}

/// A transport that takes and gives one byte a call, and is always ready.
#[test]
fn d3_a_transport_of_single_bytes_is_bounded_too() {
    let clock = VirtualClock::new();
    let manner = Manner {
        read: 1,
        write: 1,
        hesitates: false,
    };
    let (near, mut far) = pipe_with(1 << 20, manner);
    let meter = Meter::default();
    let mut ws = opened(Side::Client, meter.transport(near), &clock);
    far.put(&frame(Side::Server, BINARY, &[1; 10_000]));
    let mut most = 0;
    let mut both = Task::new(async {
        let each = |work: sansock_tests::driver::Work| most = work.calls().max(most);
        meter.polls(ws.send(vec![2; 10_000]), each).await.unwrap();
    });
    settle(&mut [&mut both]);
    let () = both.output();
    assert!(most <= 300, "{most} calls in a poll");
}

/// Who waits for the peer is polled when something comes, and not before.
#[test]
fn d4_two_tasks_that_wait_are_not_polled_while_nothing_happens() {
    let clock = VirtualClock::new();
    let (client, _server) = opened_pair(64, &clock);
    let (sender, mut receiver) = client.split();
    let mut send = Task::new(sender.send(vec![1; 1000]));
    let mut receive = Task::new(receiver.recv());
    settle(&mut [&mut send, &mut receive]);
    let polls = send.polls() + receive.polls();
    assert!(polls <= 6, "{polls} polls");
    clock.advance(Duration::from_secs(10));
    assert_eq!(settle(&mut [&mut send, &mut receive]), 0);
}

/// A future of the standard library's kind, for a poll that must not be ready.
#[test]
fn d3_a_flood_lets_a_race_be_decided() {
    let clock = VirtualClock::new();
    let (flood, source) = Flood::new(&clock);
    source.flow(&frame(Side::Server, PING, b"?"), 100);
    let mut ws = opened(Side::Client, flood, &clock);
    let mut polls = 0;
    let other = poll_fn(|_| {
        polls += 1;
        match polls > 3 {
            true => Poll::Ready(Ok(None)),
            false => Poll::Pending,
        }
    });
    let mut race = Task::new(or(ws.recv(), other));
    settle(&mut [&mut race]);
    assert_eq!(race.output().unwrap(), None);
}
