//! Limits of the rate of messages and bytes of a connection.

use async_channel::unbounded;
use sansock::serve::RateLimit;

use super::*;

fn limited(limit: RateLimit) -> World {
    World::with(echo, move |serve| serve.rate_limit(limit))
}

/// Sends messages at once.
fn flood(client: &mut Client, message: &[u8], count: usize) {
    for _ in 0..count {
        client.end.put(&frame(Side::Client, 0x82, message));
    }
}

fn frames_without_pings(client: &mut Client) -> Vec<Frame> {
    let frames = client.take_frames().into_iter();
    frames.filter(|frame| frame.first != 0x89).collect()
}

/// Counts the data frames that have come.
fn echoes(client: &mut Client) -> usize {
    let frames = client.take_frames();
    frames.iter().filter(|frame| frame.first == 0x82).count()
}

#[test]
fn messages_beyond_the_burst_pass_at_the_rate() {
    let world = limited(RateLimit::new().messages(10, 5));
    let mut client = world.open();
    let mut passed = 0;
    for _ in 0..5 {
        flood(&mut client, b"x", 1);
        world.settle();
        passed += echoes(&mut client);
    }
    assert_eq!(passed, 5, "the burst");
    let mut times = Vec::new();
    for _ in 0..5 {
        flood(&mut client, b"x", 1);
        world.settle();
    }
    assert_eq!(echoes(&mut client), 0);
    for tenth in 1..=20 {
        world.advance(0.1);
        times.extend(std::iter::repeat_n(tenth, echoes(&mut client)));
        if tenth == 1 {
            flood(&mut client, b"x", 1);
            world.settle();
        }
    }
    assert_eq!(times, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn the_rate_holds_in_the_long_run() {
    let world = limited(RateLimit::new().messages(10, 5));
    let mut client = world.open();
    let mut passed = 0;
    for _ in 0..1000 {
        flood(&mut client, b"x", 3);
        world.advance(0.01);
        passed += echoes(&mut client);
    }
    // The burst, and ten messages a second for ten seconds.
    assert!((104..=105).contains(&passed), "{passed}");
}

#[test]
fn bytes_beyond_the_burst_pass_at_the_rate_and_none_sooner() {
    let world = limited(RateLimit::new().bytes(1000, 2000));
    let mut client = world.open();
    flood(&mut client, &[0; 994], 20);
    world.settle();
    // Two whole frames of 1,002 bytes do not fit in the burst.
    assert_eq!(echoes(&mut client), 1);
    for second in 1..=10 {
        world.advance(0.5);
        world.advance(0.5);
        let received = world.server.snapshot().bytes_received - REQUEST.len() as u64;
        let allowed = 2000 + second * 1000;
        assert!(
            (allowed - 60..=allowed).contains(&received),
            "{received} of {allowed}"
        );
        assert_eq!(echoes(&mut client), 1);
    }
}

#[test]
fn a_connection_that_was_quiet_has_its_burst_again() {
    let world = limited(RateLimit::new().messages(1, 3));
    let mut client = world.open();
    for _ in 0..3 {
        for passes in [1, 1, 1, 0] {
            flood(&mut client, b"x", 1);
            world.settle();
            assert_eq!(echoes(&mut client), passes);
        }
        world.advance(1.0);
        assert_eq!(echoes(&mut client), 1);
        world.advance(3.0);
    }
}

#[test]
fn a_connection_that_exceeds_its_limit_may_be_closed_with_1008() {
    for limit in [
        RateLimit::new().messages(10, 5),
        RateLimit::new().bytes(100, 40),
    ] {
        let world = limited(limit.closes());
        let mut client = world.open();
        for _ in 0..5 {
            flood(&mut client, b"x", 1);
            world.settle();
        }
        assert_eq!(echoes(&mut client), 5);
        world.advance(0.1);
        flood(&mut client, b"x", 3);
        world.settle();
        assert_eq!(client.take_close(), 1008);
        drop(client);
        world.settle();
        assert_eq!(Vec::from_iter(world.server.snapshot().closed), [(1008, 1)]);
        assert_eq!(world.server.snapshot().handler_failures, 0);
    }
}

#[test]
fn pings_are_answered_in_their_place_and_messages_leave_meanwhile() {
    let world = limited(RateLimit::new().messages(1, 1));
    let mut client = world.open();
    let firsts = |client: &mut Client| {
        let frames = client.take_frames();
        Vec::from_iter(frames.iter().map(|frame| frame.first))
    };
    flood(&mut client, b"x", 1);
    client
        .end
        .put(&frame(Side::Client, 0x89, b"before it waits"));
    world.settle();
    assert_eq!(firsts(&mut client), [0x82, 0x8a]);
    flood(&mut client, b"x", 1);
    client
        .end
        .put(&frame(Side::Client, 0x89, b"behind a message"));
    world.settle();
    let push = world
        .only()
        .push(&Prepared::new("news"), OverflowPolicy::Skip);
    assert_eq!(push, Push::Queued);
    world.settle();
    assert_eq!(firsts(&mut client), [0x81]);
    world.advance(0.9);
    assert_eq!(firsts(&mut client), [0_u8; 0]);
    world.advance(0.1);
    assert_eq!(firsts(&mut client), [0x82, 0x8a]);
}

/// The peer may have sent its pong, which is not read.
#[test]
fn the_deadline_of_a_pong_does_not_run_while_a_connection_is_not_read() {
    let world = World::with(echo, |serve| {
        let config = sansock::config()
            .ping_interval(seconds(5.0))
            .ping_timeout(seconds(5.0));
        let limit = RateLimit::new().messages(1, 1);
        serve.config(config).rate_limit(limit)
    });
    let mut client = world.open();
    flood(&mut client, b"x", 40);
    world.settle();
    let mut passed = echoes(&mut client);
    for _ in 0..39 {
        world.advance(1.0);
        passed += echoes(&mut client);
    }
    assert_eq!(passed, 40);
    assert_eq!(world.server.snapshot().closed.len(), 0);
    // It is read again, and nothing has come.
    for _ in 0..12 {
        world.advance(1.0);
    }
    assert_eq!(client.take_close(), 1011);
}

/// This side is what makes the message slow.
#[test]
fn a_message_that_the_limit_slows_is_not_too_slow() {
    let world = World::with(echo, |serve| {
        let config = sansock::config().min_receive_rate(1000);
        let limit = RateLimit::new().bytes(100, 200);
        serve.config(config).rate_limit(limit)
    });
    let mut client = world.open();
    flood(&mut client, &[0; 2000], 1);
    for _ in 0..1900 {
        world.advance(0.01);
        assert_eq!(world.server.snapshot().closed.len(), 0);
    }
    assert_eq!(echoes(&mut client), 1);
}

#[test]
fn a_connection_that_waits_for_its_limit_is_closed_in_time() {
    let world = World::with(echo, |serve| {
        let limit = RateLimit::new().messages(1, 1);
        serve.rate_limit(limit).max_age(seconds(5.0))
    });
    let mut client = world.open();
    flood(&mut client, b"x", 100);
    let mut passed = 0;
    for _ in 0..15 {
        world.settle();
        let frames = frames_without_pings(&mut client);
        assert!(frames.iter().all(|frame| frame.first == 0x82), "{frames:?}");
        passed += frames.len();
        world.advance(1.0);
    }
    assert_eq!(passed, 15);
    assert_eq!(client.take_close(), 1001);
    // The answer does not wait for the messages before it.
    client.send_close(1001);
    world.settle();
    drop(client);
    world.settle();
    assert_eq!(Vec::from_iter(world.server.snapshot().closed), [(1001, 1)]);
}

#[test]
fn halves_are_limited_as_well() {
    let world = World::with(
        async |ws: Ws| {
            let (sender, mut receiver) = ws.split();
            while let Some(message) = receiver.recv().await? {
                sender.send(message).await?;
            }
            Ok::<_, Error>(())
        },
        |serve| serve.rate_limit(RateLimit::new().messages(1, 1)),
    );
    let mut client = world.open();
    for passes in [1, 0] {
        flood(&mut client, b"x", 1);
        world.settle();
        assert_eq!(echoes(&mut client), passes);
    }
    world.advance(1.0);
    assert_eq!(echoes(&mut client), 1);
}

#[test]
fn a_handler_that_sends_is_not_slowed() {
    let (tick, ticks) = unbounded::<()>();
    let world = World::with(
        move |mut ws: Ws| {
            let ticks = ticks.clone();
            async move {
                // The next one is held.
                ws.recv().await?;
                while ticks.recv().await.is_ok() {
                    ws.send("tick").await?;
                }
                Ok::<_, Error>(())
            }
        },
        |serve| serve.rate_limit(RateLimit::new().messages(1, 1)),
    );
    let mut client = world.open();
    flood(&mut client, b"x", 10);
    for _ in 0..100 {
        tick.try_send(()).unwrap();
        world.settle();
    }
    assert_eq!(client.take_texts().len(), 100);
}
