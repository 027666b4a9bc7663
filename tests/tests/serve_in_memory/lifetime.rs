//! How long connections may live: their greatest age, and the time without a message.

use async_channel::{Receiver, unbounded};

use super::*;

/// Answers every message with what comes from elsewhere.
async fn answer(mut ws: Ws, answers: Receiver<&'static str>) -> Result<()> {
    while ws.recv().await?.is_some() {
        let answer = answers.recv().await.unwrap();
        ws.send(answer).await?;
    }
    Ok(())
}

fn answering(answers: Receiver<&'static str>, set: impl FnOnce(Building) -> Building) -> World {
    World::with(move |ws| answer(ws, answers.clone()), set)
}

fn closing_after(age: f64) -> impl FnOnce(Building) -> Building {
    move |serve| serve.max_age(seconds(age))
}

fn idle_after(time: f64) -> impl FnOnce(Building) -> Building {
    move |serve| serve.idle_timeout(seconds(time))
}

#[test]
fn a_connection_is_closed_at_its_greatest_age() {
    let world = World::with(echo, closing_after(10.0));
    let mut client = world.open();
    for _ in 0..9 {
        world.advance(1.0);
        client.send("still here");
        world.settle();
        assert_eq!(client.take_texts(), ["still here"]);
    }
    world.advance(0.9);
    assert_eq!(client.take_frames().len(), 0);
    world.advance(0.1);
    let frames = client.take_frames();
    assert_eq!(frames.len(), 1);
    assert_eq!(frames[0].payload, b"\x03\xe9maximum age");
    client.send_close(1001);
    world.settle();
    drop(client);
    world.settle();
    assert_eq!(Vec::from_iter(world.server.snapshot().closed), [(1001, 1)]);
    assert_eq!(world.server.snapshot().handler_failures, 0);
}

#[test]
fn an_old_connection_is_closed_after_the_answer_that_is_being_prepared() {
    let (answer, answers) = unbounded();
    let world = answering(answers, closing_after(10.0));
    let mut client = world.open();
    client.send("question");
    world.advance(15.0);
    assert_eq!(client.take_frames().len(), 0);
    answer.try_send("answer").unwrap();
    world.settle();
    let frames = client.take_frames();
    assert_eq!(frames.len(), 2);
    assert_eq!(frames[0].payload, b"answer");
    assert_eq!(frames[1].first, 0x88);
}

#[test]
fn an_old_connection_is_closed_in_the_end_though_its_handler_does_not_answer() {
    let (_answer, answers) = unbounded();
    let world = answering(answers, closing_after(5.0));
    let mut client = world.open();
    client.send("question");
    world.advance(5.0);
    world.advance(9.9);
    assert_eq!(client.take_frames().len(), 0);
    world.advance(0.1);
    assert_eq!(client.take_close(), 1001);
    world.advance(5.0);
    assert!(client.is_dropped(), "the close timeout");
}

#[test]
fn an_old_connection_that_only_sends_is_closed_after_a_message() {
    let (tick, ticks) = unbounded::<&str>();
    let handler = move |mut ws: Ws| {
        let ticks = ticks.clone();
        async move {
            // What it does not read might be a question.
            while let Ok(text) = ticks.recv().await {
                ws.send(text).await?;
            }
            Ok::<_, Error>(())
        }
    };
    let world = World::with(handler, closing_after(5.0));
    let mut client = world.open();
    for _ in 0..5 {
        tick.try_send("tick").unwrap();
        world.settle();
        assert_eq!(client.take_texts(), ["tick"]);
        world.advance(1.0);
    }
    assert_eq!(client.take_close(), 1001, "nothing was received");
}

#[test]
fn ages_are_drawn_with_a_jitter_that_makes_them_less() {
    let set = |serve: Building| serve.max_age(seconds(10.0)).max_age_jitter(seconds(5.0));
    let world = World::with(echo, set);
    let mut clients: Vec<_> = (0..40).map(|_| world.open()).collect();
    world.advance(4.9);
    let mut closed = vec![0; 6];
    for count in &mut closed {
        for client in &mut clients {
            *count += client.take_frames().len();
        }
        world.advance(1.02);
    }
    assert_eq!(closed[0], 0, "{closed:?}");
    assert_eq!(closed.iter().sum::<usize>(), 40, "{closed:?}");
    let most = closed.iter().max().unwrap();
    assert!(*most < 30, "{closed:?}");
}

#[test]
fn a_connection_without_a_message_for_a_time_is_closed() {
    let world = World::with(echo, idle_after(10.0));
    let mut client = world.open();
    for _ in 0..3 {
        world.advance(9.9);
        client.end.put(&frame(Side::Client, 0x8a, b""));
        client.send("still here");
        world.settle();
        assert_eq!(client.take_texts(), ["still here"]);
    }
    world.advance(9.9);
    assert_eq!(client.take_texts().len(), 0);
    world.advance(0.1);
    let frames = client.take_frames();
    assert_eq!(frames.last().unwrap().payload, b"\x03\xe9idle");
}

#[test]
fn messages_in_one_direction_keep_a_connection() {
    // The handler neither receives nor sends.
    let world = World::with(
        async |ws: Ws| {
            let _ws = ws;
            pending::<()>().await;
        },
        idle_after(10.0),
    );
    let mut client = world.open();
    for _ in 0..3 {
        world.advance(6.0);
        let push = world
            .only()
            .push(&Prepared::new("news"), OverflowPolicy::Skip);
        assert_eq!(push, Push::Queued);
        world.settle();
        assert_eq!(client.take_texts(), ["news"]);
    }
    world.advance(9.9);
    assert_eq!(client.take_texts().len(), 0);
    world.advance(0.1);
    assert_eq!(client.take_close(), 1001);

    let discards = async |mut ws: Ws| {
        while ws.recv().await?.is_some() {}
        Ok::<_, Error>(())
    };
    let world = World::with(discards, idle_after(10.0));
    let mut client = world.open();
    for opcode in [0x01, 0x00, 0x80] {
        world.advance(6.0);
        client.end.put(&frame(Side::Client, opcode, b"part"));
        world.settle();
    }
    world.advance(9.9);
    assert_ne!(
        client.take_frames().last().map(|frame| frame.first),
        Some(0x88)
    );
    world.advance(0.1);
    assert_eq!(client.take_close(), 1001);
}

#[test]
fn pings_do_not_keep_a_connection() {
    let pinging = |serve: Building| {
        let config = sansock::config().ping_interval(seconds(1.0));
        serve.config(config).idle_timeout(seconds(10.0))
    };
    let world = World::with(echo, pinging);
    let mut client = world.open();
    for _ in 0..9 {
        world.advance(1.0);
        let frames = client.take_frames();
        assert!(frames.iter().any(|frame| frame.first == 0x89), "{frames:?}");
        for ping in frames.iter().filter(|frame| frame.first == 0x89) {
            client.end.put(&frame(Side::Client, 0x8a, &ping.payload));
        }
        client
            .end
            .put(&frame(Side::Client, 0x89, b"are you there?"));
        world.settle();
    }
    world.advance(1.0);
    assert_eq!(client.take_close(), 1001);
}

#[test]
fn halves_in_other_tasks_and_what_was_taken_out_are_kept_by_messages() {
    let executor = Arc::new(Executor::new());
    for split in [true, false] {
        let spawner = executor.clone();
        let handler = move |ws: Ws| {
            let spawner = spawner.clone();
            async move {
                let (done, is_done) = unbounded::<()>();
                let task = async move {
                    let _done = done;
                    echo_apart(ws, split).await
                };
                spawner.spawn(task).detach();
                let _ = is_done.recv().await;
            }
        };
        let world = World::with(handler, idle_after(10.0));
        let settle = || {
            for _ in 0..3 {
                while executor.try_tick() {}
                world.settle();
            }
        };
        let mut client = world.open();
        settle();
        for _ in 0..3 {
            world.advance(9.0);
            client.send("still here");
            settle();
            assert_eq!(client.take_texts(), ["still here"]);
        }
        for _ in 0..3 {
            world.advance(10.0);
            settle();
        }
        assert_eq!(client.take_close(), 1001, "split: {split}");
    }
}
