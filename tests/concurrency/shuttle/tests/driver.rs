//! Whole drivers at both ends of a pipe, in halves that many tasks share, on schedules that are drawn at random: every
//! task ends, and what arrives is whole and in order.
//!
//! `SCHEDULES` says how many each test plays, half of them with few interruptions (PCT), half with as many as it comes.
//! A schedule that fails prints itself, and is played again by `shuttle::replay`.

mod pipe;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use locks as shuttle;
use sansock::clock::{VirtualClock, VirtualTimer};
use sansock::core::{Connection, FixedSeed, Negotiated, Side};
use sansock::{Config, Error, Receiver, Result, Sender, WebSocket};
use shuttle::Runner;
use shuttle::future::{JoinHandle, block_on, spawn, yield_now};
use shuttle::rand::{self, Rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler};

use pipe::{End, pipe};

type Halves = (Sender<End, VirtualTimer>, Receiver<End, VirtualTimer>);

/// Plays a scenario on many schedules.
fn play(name: &str, scenario: impl Fn() + Send + Sync + 'static) {
    let count = std::env::var("SCHEDULES").map_or(1000, |count| count.parse().expect("a number"));
    let scenario = Arc::new(scenario);
    let mut played = 0;
    for scheduler in 0..2 {
        let scenario = scenario.clone();
        let mut config = shuttle::Config::new();
        config.stack_size = 1 << 18;
        let (half, seed) = (count / 2, 0);
        played += match scheduler {
            0 => Runner::new(RandomScheduler::new_from_seed(seed, half), config)
                .run(move || scenario()),
            _ => Runner::new(PctScheduler::new_from_seed(seed, 3, half), config)
                .run(move || scenario()),
        };
    }
    println!("{name}: {played} schedules");
}

fn halves(side: Side, end: End, clock: &VirtualClock) -> Halves {
    let config = Config::new().entropy(FixedSeed([7; 32]));
    let connection = Connection::new(side, Negotiated::default(), config).unwrap();
    WebSocket::new(end, clock.timer(), connection).split()
}

/// A client and a server over a pipe of a few bytes.
fn pair(clock: &VirtualClock) -> (Halves, Halves) {
    let (near, far) = pipe(16);
    (
        halves(Side::Client, near, clock),
        halves(Side::Server, far, clock),
    )
}

/// Waits for tasks.
fn join<T>(tasks: Vec<JoinHandle<T>>) -> Vec<T> {
    tasks
        .into_iter()
        .map(|task| block_on(task).unwrap())
        .collect()
}

/// Receives until the connection is closed.
async fn receive_all(mut receiver: Receiver<End, VirtualTimer>) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    while let Some(message) = receiver.recv().await? {
        texts.push(message.as_text().unwrap().to_string());
    }
    Ok(texts)
}

/// Sends some messages of different sizes, until the connection is closed. Returns how many were sent.
async fn send_some(sender: Sender<End, VirtualTimer>, name: char) -> usize {
    for number in 0..3 {
        match sender.send(text(name, number).as_str()).await {
            Ok(()) => {}
            Err(error) => {
                assert!(!error.is_timeout(), "{error}");
                return number;
            }
        }
    }
    3
}

fn text(name: char, number: usize) -> String {
    format!("{name}{number}{}", "-".repeat(number * 9))
}

/// Sees that the texts of each sender are whole and in order.
#[track_caller]
fn assert_in_order(texts: &[String], names: &[char]) {
    for name in names {
        let of_sender = texts.iter().filter(|text| text.starts_with(*name));
        for (number, came) in of_sender.enumerate() {
            assert_eq!(*came, text(*name, number));
        }
    }
    assert!(texts.iter().all(|text| text.starts_with(names)));
}

#[test]
fn an_echo_gives_everything_back() {
    play("echo", || {
        let clock = VirtualClock::new();
        let ((sender, receiver), (to_client, mut from_client)) = pair(&clock);
        let pinger = to_client.clone();
        let serve = spawn(async move {
            while let Some(message) = from_client.recv().await? {
                to_client.feed(message).await?;
            }
            Ok::<_, Error>(())
        });
        let receive = spawn(receive_all(receiver));
        let ping = spawn(async move { pinger.ping().await });
        let senders = vec![
            spawn(send_some(sender.clone(), 'a')),
            spawn(send_some(sender.clone(), 'b')),
        ];
        let last = spawn(async move {
            sender.ping().await.unwrap();
            sender
        });
        assert_eq!(join(senders), [3, 3]);
        let sender = block_on(last).unwrap();
        block_on(ping).unwrap().unwrap();
        // Its pong comes behind everything that was given back.
        block_on(sender.ping()).unwrap();
        block_on(sender.close(1000, "")).unwrap();
        block_on(serve).unwrap().unwrap();
        let texts = block_on(receive).unwrap().unwrap();
        assert_in_order(&texts, &['a', 'b']);
        assert_eq!(texts.len(), 6);
    });
}

#[test]
fn a_close_in_the_middle_ends_both_ends() {
    play("close in the middle", || {
        let clock = VirtualClock::new();
        let ((client, near), (server, far)) = pair(&clock);
        let received = vec![spawn(receive_all(near)), spawn(receive_all(far))];
        let sent = vec![
            spawn(send_some(client.clone(), 'a')),
            spawn(send_some(server.clone(), 'b')),
        ];
        let mut closing = vec![client, server];
        if rand::thread_rng().gen_bool(0.5) {
            closing.remove(usize::from(rand::thread_rng().gen_bool(0.5)));
        }
        let closed: Vec<_> = closing
            .into_iter()
            .map(|sender| spawn(async move { sender.close(1000, "").await }))
            .collect();
        join(closed).into_iter().for_each(|closed| closed.unwrap());
        let sent = join(sent);
        let received = join(received).into_iter().map(|texts| texts.unwrap());
        for ((texts, sent), name) in received.zip(sent.into_iter().rev()).zip(['b', 'a']) {
            assert_in_order(&texts, &[name]);
            assert!(
                texts.len() <= sent + 1,
                "only the last may have been sent unseen"
            );
        }
    });
}

#[test]
fn halves_that_are_dropped_keep_nobody_waiting() {
    play("dropped halves", || {
        let clock = VirtualClock::new();
        let ((client, near), (server, far)) = pair(&clock);
        let sent = vec![
            spawn(send_some(client.clone(), 'a')),
            spawn(send_some(server.clone(), 'b')),
        ];
        let pinging = server.clone();
        let ping = spawn(async move { pinging.ping().await });
        let leaving = vec![
            spawn(async move { drop(far) }),
            spawn(async move { drop(server) }),
        ];
        let received = spawn(receive_all(near));
        join(leaving);
        join(sent);
        let pinged = block_on(ping).unwrap();
        assert!(pinged.is_ok(), "{pinged:?}");
        drop(client);
        // The server is gone with its last half.
        assert!(block_on(received).unwrap().is_err());
    });
}

#[test]
fn a_peer_that_is_silent_ends_everybody_in_time() {
    play("silent peer", || {
        let clock = VirtualClock::new();
        let (near, silent) = pipe(16);
        let (sender, receiver) = halves(Side::Client, near, &clock);
        let closer = sender.clone();
        let receive = receive_all(receiver);
        let tasks = [
            spawn(async move { receive.await.map(drop) }),
            spawn(async move { send_some_forever(sender).await }),
            spawn(async move { closer.close(1000, "").await }),
        ];
        let left = Arc::new(AtomicUsize::new(tasks.len()));
        let counted = tasks.map(|task| {
            let left = left.clone();
            spawn(async move {
                let result = task.await.unwrap();
                left.fetch_sub(1, Ordering::SeqCst);
                result
            })
        });
        let passing = spawn(async move {
            while left.load(Ordering::SeqCst) > 0 {
                clock.advance(Duration::from_secs(1));
                yield_now().await;
            }
        });
        let results = join(counted.into());
        block_on(passing).unwrap();
        assert!(results.iter().all(|result| result.is_err()), "{results:?}");
        drop(silent);
    });
}

async fn send_some_forever(sender: Sender<End, VirtualTimer>) -> Result<()> {
    loop {
        sender.send("more than the pipe has room for").await?;
    }
}
