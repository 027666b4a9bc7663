//! A server that drains: what it answers, whom it closes when, and what it does not cut off.

use async_channel::{Receiver, unbounded};
use futures_lite::future::or;

use super::*;

/// Asks the handler for its next answer by a message, and gets it from elsewhere, later.
fn answering(answers: Receiver<&'static str>) -> World {
    World::new(move |mut ws: Ws| {
        let answers = answers.clone();
        async move {
            while ws.recv().await?.is_some() {
                let answer = answers.recv().await.unwrap();
                ws.send(answer).await?;
            }
            Ok::<_, Error>(())
        }
    })
}

fn drain(world: &World, deadline: f64, spread: f64) {
    world.server.drain(seconds(deadline), seconds(spread));
    world.settle();
}

/// Takes the frames, without the pings of the server.
fn frames(client: &mut Client) -> Vec<Frame> {
    let frames = client.take_frames().into_iter();
    frames.filter(|frame| frame.first != 0x89).collect()
}

/// Answers a Close frame, and ends the stream.
fn leave(world: &World, mut client: Client) {
    client.send_close(1001);
    world.settle();
    drop(client);
    world.settle();
}

#[test]
fn a_server_that_drains_answers_every_request_with_503_and_a_time_to_try_again() {
    let events = Arc::new(AtomicUsize::new(0));
    let counter = events.clone();
    let world = World::with(echo, |serve| {
        serve
            .process_request(|request| async { request.reject(StatusCode::OK, "healthy\n") })
            .on_event(move |_| {
                counter.fetch_add(1, Ordering::Relaxed);
            })
    });
    let mut dribbling = world.ask(&REQUEST[..50]);
    let mut secured = world.knock();
    assert!(world.ask(REQUEST).take_response().ends_with("healthy\n"));
    drain(&world, 30.0, 10.0);
    dribbling.end.put(&REQUEST[50..]);
    secured.end.put(REQUEST);
    world.settle();
    for mut client in [dribbling, secured, world.ask(REQUEST)] {
        let response = client.take_response();
        assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
        assert!(response.contains("\r\nRetry-After: 10\r\n"), "{response}");
        drop(client);
        world.settle();
    }
    assert_eq!(world.server.snapshot().rejected.get(&503), Some(&3));
    assert_eq!(events.load(Ordering::Relaxed), 0, "it was asked for");
}

#[test]
fn a_request_that_is_looked_at_when_the_drain_begins_gets_503() {
    let (answer, answers) = unbounded::<()>();
    let look = move |serve: Building| {
        serve.process_request(move |request| {
            let answers = answers.clone();
            async move {
                answers.recv().await.unwrap();
                request.accept()
            }
        })
    };
    let world = World::with(echo, look);
    let mut client = world.ask(REQUEST);
    drain(&world, 0.5, 0.0);
    assert_eq!(client.take_response(), "");
    answer.try_send(()).unwrap();
    world.settle();
    let response = client.take_response();
    assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
    assert!(response.contains("\r\nRetry-After: 1\r\n"), "{response}");
}

#[test]
fn a_drain_leaves_connections_alone_and_then_spreads_the_closes() {
    let world = echoing();
    let mut clients: Vec<_> = (0..10).map(|_| world.open()).collect();
    drain(&world, 30.0, 10.0);
    let closed = |clients: &mut Vec<Client>| {
        let mut closed = 0;
        for client in clients {
            match client.take_frames().last() {
                Some(frame) if frame.first == 0x88 => {
                    assert_eq!(frame.payload, 1001_u16.to_be_bytes());
                    closed += 1;
                }
                _ => {}
            }
        }
        closed
    };
    world.advance(19.9);
    clients[3].send("still here");
    world.settle();
    assert_eq!(clients[3].take_texts(), ["still here"]);
    assert_eq!(closed(&mut clients), 0);
    world.advance(0.1);
    for _ in 0..9 {
        assert_eq!(closed(&mut clients), 1);
        world.advance(0.9);
        assert_eq!(closed(&mut clients), 0);
        world.advance(0.1);
    }
    assert_eq!(closed(&mut clients), 1);
    for client in clients {
        leave(&world, client);
    }
    assert!(world.has_stopped(), "nothing is left");
    assert_eq!(Vec::from_iter(world.server.snapshot().closed), [(1001, 10)]);
}

#[test]
fn a_spread_longer_than_the_deadline_begins_at_once() {
    let world = echoing();
    let mut clients = [world.open(), world.open()];
    drain(&world, 10.0, 60.0);
    let is_closed = |client: &mut Client| !client.take_frames().is_empty();
    let count = |clients: &mut [Client; 2]| {
        clients
            .iter_mut()
            .filter_map(|client| is_closed(client).then_some(()))
            .count()
    };
    assert_eq!(count(&mut clients), 1);
    world.advance(4.9);
    assert_eq!(count(&mut clients), 0);
    world.advance(0.1);
    assert_eq!(count(&mut clients), 1);
}

#[test]
fn an_answer_that_is_being_prepared_leaves_before_the_close_frame() {
    let (answer, answers) = unbounded();
    let world = answering(answers);
    let mut client = world.open();
    client.send("question");
    world.settle();
    drain(&world, 30.0, 30.0);
    world.advance(10.0);
    assert_eq!(frames(&mut client).len(), 0, "it is not closed yet");
    answer.try_send("answer").unwrap();
    world.settle();
    let frames = frames(&mut client);
    assert_eq!(frames.len(), 2);
    assert_eq!(frames[0].payload, b"answer");
    assert_eq!(frames[1].payload, 1001_u16.to_be_bytes());
}

#[test]
fn a_handler_that_does_not_answer_is_closed_at_the_deadline() {
    let (_answer, answers) = unbounded();
    let world = answering(answers);
    let mut client = world.open();
    client.send("question");
    world.settle();
    drain(&world, 30.0, 10.0);
    world.advance(29.9);
    assert_eq!(frames(&mut client).len(), 0);
    world.advance(0.1);
    assert_eq!(client.take_close(), 1001);
    world.advance(10.0);
    assert!(client.is_dropped());
    assert!(world.has_stopped(), "aborted, as in a shutdown");
}

#[test]
fn a_message_that_is_unread_or_incomplete_is_answered_before_the_close_frame() {
    let (answer, answers) = unbounded();
    let world = answering(answers);
    let mut client = world.open();
    client.send("first");
    client.send("second");
    client.end.put(&frame(Side::Client, 0x01, b"thi"));
    world.settle();
    drain(&world, 30.0, 30.0);
    for text in ["1", "2"] {
        answer.try_send(text).unwrap();
        world.settle();
        assert_eq!(client.take_texts(), [text]);
    }
    client.end.put(&frame(Side::Client, 0x80, b"rd")[..1]);
    world.settle();
    assert_eq!(frames(&mut client).len(), 0);
    client.end.put(&frame(Side::Client, 0x80, b"rd")[1..]);
    answer.try_send("3").unwrap();
    world.settle();
    let frames = frames(&mut client);
    assert_eq!(frames.len(), 2);
    assert_eq!(frames[0].payload, b"3");
    assert_eq!(frames[1].first, 0x88);
}

/// Sends whatever comes from elsewhere, and never receives.
fn sending(ticks: Receiver<(OpCode, Fin)>) -> World {
    World::new(move |mut ws: Ws| {
        let ticks = ticks.clone();
        async move {
            while let Ok((opcode, fin)) = ticks.recv().await {
                ws.feed_frame(opcode, "tick", fin).await?;
                ws.flush().await?;
            }
            Ok::<_, Error>(())
        }
    })
}

#[test]
fn a_connection_that_only_sends_is_closed_between_its_messages() {
    let (tick, ticks) = unbounded();
    let world = sending(ticks);
    let mut client = world.open();
    // What the client sends is not received: it might be answered.
    client.send("go");
    tick.try_send((OpCode::Text, Fin::More)).unwrap();
    world.settle();
    assert_eq!(frames(&mut client).len(), 1);
    drain(&world, 30.0, 30.0);
    tick.try_send((OpCode::Continuation, Fin::More)).unwrap();
    world.settle();
    assert_eq!(frames(&mut client).len(), 1, "inside a message");
    world.advance(29.9);
    assert_eq!(frames(&mut client).len(), 0);

    let (tick, ticks) = unbounded();
    let world = sending(ticks);
    let mut client = world.open();
    tick.try_send((OpCode::Text, Fin::More)).unwrap();
    world.settle();
    drain(&world, 30.0, 30.0);
    assert_eq!(frames(&mut client).len(), 1, "inside a message");
    tick.try_send((OpCode::Continuation, Fin::Last)).unwrap();
    world.settle();
    let frames = frames(&mut client);
    assert_eq!(frames.len(), 2);
    assert_eq!(frames[1].first, 0x88);
}

#[test]
fn a_handler_that_has_received_nothing_owes_no_answer() {
    let world = World::new(async |ws: Ws| {
        let _ws = ws;
        pending::<()>().await;
    });
    let mut client = world.open();
    drain(&world, 30.0, 10.0);
    world.advance(20.0);
    assert_eq!(client.take_close(), 1001);
}

#[test]
fn a_drain_reaches_halves_and_what_was_taken_out() {
    for split in [true, false] {
        let world = World::new(move |ws| echo_apart(ws, split));
        let mut client = world.open();
        client.send("hello");
        world.settle();
        assert_eq!(client.take_texts(), ["hello"]);
        drain(&world, 30.0, 30.0);
        assert_eq!(client.take_close(), 1001, "split: {split}");
        leave(&world, client);
        assert!(world.has_stopped());
    }
}

#[test]
fn a_handler_that_finishes_when_the_server_drains_is_closed_with_1001() {
    for shuts_down in [false, true] {
        let world = World::new(async |mut ws: Ws| {
            let mut draining = ws.draining();
            loop {
                let drained = async {
                    (&mut draining).await;
                    Ok(None)
                };
                let Some(message) = or(drained, ws.recv()).await? else {
                    // Refused after a shutdown.
                    let _ = ws.send("goodbye").await;
                    return Ok::<_, Error>(());
                };
                ws.send(message).await?;
            }
        });
        let mut client = world.open();
        client.send("hello");
        world.settle();
        assert_eq!(client.take_texts(), ["hello"]);
        match shuts_down {
            true => world.server.shutdown(),
            false => world.server.drain(seconds(30.0), seconds(10.0)),
        }
        world.settle();
        let frames = frames(&mut client);
        let texts = frames.iter().filter(|frame| frame.first == 0x81);
        assert_eq!(texts.count(), usize::from(!shuts_down));
        let last = frames.last().expect("a Close frame");
        assert_eq!(last.payload, 1001_u16.to_be_bytes());
        leave(&world, client);
        assert!(world.has_stopped());
    }
}

#[test]
fn waiting_for_the_drain_can_be_cancelled_and_repeated() {
    let world = World::new(async |ws: Ws| {
        for _ in 0..100 {
            assert!(
                futures_lite::future::poll_once(ws.draining())
                    .await
                    .is_none()
            );
        }
        let (first, second) = (ws.draining(), ws.draining());
        first.await;
        second.await;
        ws.draining().await;
    });
    let mut client = world.open();
    drain(&world, 30.0, 10.0);
    assert_eq!(client.take_close(), 1001);
}

#[test]
fn a_drain_ends_when_nothing_is_left() {
    let world = echoing();
    let client = world.open();
    drain(&world, 30.0, 10.0);
    world.advance(5.0);
    assert!(!world.has_stopped());
    leave(&world, client);
    assert!(world.has_stopped());

    let world = echoing();
    drain(&world, 30.0, 10.0);
    assert!(world.has_stopped());
}

#[test]
fn a_shutdown_cuts_a_drain_short_and_a_second_drain_changes_nothing() {
    let world = echoing();
    let mut client = world.open();
    drain(&world, 30.0, 10.0);
    drain(&world, 1.0, 1.0);
    world.advance(5.0);
    assert_eq!(frames(&mut client).len(), 0);
    world.server.shutdown_with(1012, "");
    world.settle();
    assert_eq!(client.take_close(), 1012);
    drain(&world, 30.0, 10.0);
    world.advance(10.0);
    assert!(world.has_stopped());
}

#[test]
fn pushes_are_sent_until_the_connection_is_closed() {
    let world = World::new(async |ws: Ws| {
        let _ws = ws;
        pending::<()>().await;
    });
    let mut client = world.open();
    // It is not answered, so that the connection waits for the handler.
    client.send("question");
    world.settle();
    drain(&world, 30.0, 30.0);
    assert_eq!(frames(&mut client).len(), 0);
    let push = world
        .only()
        .push(&Prepared::new("news"), OverflowPolicy::Skip);
    assert_eq!(push, Push::Queued);
    world.settle();
    assert_eq!(client.take_texts(), ["news"]);
}
