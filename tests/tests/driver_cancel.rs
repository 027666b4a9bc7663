//! Every future dropped after every poll: nothing is lost, nothing is doubled, the next call goes on.

use futures_lite::{AsyncReadExt, AsyncWriteExt, StreamExt};
use sansock::clock::VirtualClock;
use sansock::core::OpCode;
use sansock::{Error, Message, Prepared, Upgrade, WebSocket};
use sansock_core::handshake::{ClientOptions, ServerOptions};
use sansock_core::{Fin, Kind, Side};
use sansock_tests::driver::{
    End, Manner, Runs, Socket, Task, both, client_connection, echo, open_client, open_server,
    opened, opened_pair, pipe_with, recreated, server_connection, settle,
};

/// A pipe at which everything takes many polls.
fn slow_pipe() -> (End, End) {
    pipe_with(
        5,
        Manner {
            read: 2,
            write: 1,
            hesitates: true,
        },
    )
}

fn slow_pair(clock: &VirtualClock) -> (Socket, Socket) {
    let (near, far) = slow_pipe();
    (
        opened(Side::Client, near, clock),
        opened(Side::Server, far, clock),
    )
}

/// Runs a task together with another one, and drops it after so many polls. Returns whether it was
/// done by then.
fn drop_after<T>(polls: usize, task: &mut Task<'_, T>, other: &mut dyn Runs) -> bool {
    while task.polls() < polls && !task.is_done() {
        assert!(task.step() | other.step(), "a wakeup was lost");
    }
    task.is_done()
}

#[test]
fn recv_send_flush_and_close_made_anew_for_every_poll() {
    let clock = VirtualClock::new();
    let (mut client, mut server) = slow_pair(&clock);
    let messages = [
        Message::text("first"),
        Message::binary(vec![1; 300]),
        Message::text(""),
        Message::text("last"),
    ];
    let talk = async {
        for message in &messages {
            recreated(async || client.feed(message).await).await?;
            recreated(async || client.flush().await).await?;
            let received = recreated(async || client.recv().await).await?;
            assert_eq!(received.as_ref(), Some(message));
        }
        recreated(async || client.close(1000, "bye").await).await?;
        assert_eq!(recreated(async || client.recv().await).await?, None);
        Ok::<_, Error>(())
    };
    let answer = async {
        while let Some(message) = recreated(async || server.recv().await).await? {
            recreated(async || server.feed(&message).await).await?;
        }
        recreated(async || server.close(1000, "").await).await
    };
    let (talked, answered) = both(talk, answer);
    talked.unwrap();
    answered.unwrap();
}

#[test]
fn lending_and_partial_receivers_made_anew_for_every_poll() {
    let clock = VirtualClock::new();
    let (mut client, mut server) = slow_pair(&clock);
    let send = async {
        for _ in 0..3 {
            client.feed_frame(OpCode::Text, "some", Fin::More).await?;
            client
                .feed_frame(OpCode::Continuation, b" text", Fin::Last)
                .await?;
        }
        client.close(1000, "").await
    };
    let receive = async {
        let lent = recreated(async || Ok::<_, Error>(server.recv_ref().await?.is_some()));
        assert!(lent.await?);
        for text in [&b"some"[..], b" text"] {
            let frame = recreated(async || {
                let frame = server.recv_frame().await?;
                Ok::<_, Error>(frame.map(|frame| frame.payload.to_vec()))
            });
            assert_eq!(frame.await?.as_deref(), Some(text));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = recreated(async || {
            let chunk = server.recv_chunk().await?;
            Ok::<_, Error>(chunk.map(|chunk| chunk.payload.to_vec()))
        })
        .await?
        {
            bytes.extend(chunk);
        }
        Ok::<_, Error>(bytes)
    };
    let (sent, received) = both(send, receive);
    sent.unwrap();
    assert_eq!(received.unwrap(), b"some text");
}

#[test]
fn a_stream_made_anew_for_every_poll() {
    let clock = VirtualClock::new();
    let (mut client, mut server) = slow_pair(&clock);
    let send = async {
        client.feed("a").await?;
        client.feed("b").await?;
        client.close(1000, "").await
    };
    let receive = async {
        let mut received = Vec::new();
        while let Some(message) = recreated(async || server.next().await).await {
            received.push(message.unwrap());
        }
        received
    };
    let (sent, received) = both(send, receive);
    sent.unwrap();
    assert_eq!(received, [Message::text("a"), Message::text("b")]);
}

#[test]
fn a_byte_stream_made_anew_for_every_poll() {
    let clock = VirtualClock::new();
    let (client, server) = slow_pair(&clock);
    let (mut client, mut server) = (client.into_byte_stream(), server.into_byte_stream());
    let bytes: Vec<u8> = (0..500).map(|i| i as u8).collect();
    let send = async {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let size = recreated(async || client.write(&rest[..rest.len().min(33)]).await);
            rest = &rest[size.await?..];
        }
        recreated(async || client.flush().await).await?;
        recreated(async || client.close().await).await
    };
    let receive = async {
        let mut received = Vec::new();
        loop {
            let mut buf = [0; 7];
            let size = recreated(async || server.read(&mut buf).await).await?;
            if size == 0 {
                return Ok::<_, std::io::Error>(received);
            }
            received.extend_from_slice(&buf[..size]);
        }
    };
    let (sent, received) = both(send, receive);
    sent.unwrap();
    assert_eq!(received.unwrap(), bytes);
}

/// Whether a way of sending, dropped after so many polls, was done; and what the peer received.
fn send_dropped(
    polls: usize,
    send: impl AsyncFnOnce(&mut Socket) -> Result<(), Error>,
) -> (bool, Vec<Message>) {
    let clock = VirtualClock::new();
    let (mut client, mut server) = slow_pair(&clock);
    let mut receive = Task::new(async {
        let mut received = Vec::new();
        while let Some(message) = server.recv().await? {
            received.push(message);
        }
        Ok::<_, Error>(received)
    });
    let mut task = Task::new(send(&mut client));
    let done = drop_after(polls, &mut task, &mut receive);
    drop(task);
    let mut finish = Task::new(async {
        client.flush().await?;
        client.send("after").await?;
        client.close(1000, "").await
    });
    settle(&mut [&mut finish, &mut receive]);
    finish.output().unwrap();
    (done, receive.output().unwrap())
}

#[test]
fn a_message_whose_sending_was_dropped_is_sent_whole_or_not_at_all() {
    let message = Message::binary(vec![9; 40]);
    for polls in 0.. {
        let (done, received) = send_dropped(polls, async |ws| ws.send(&message).await);
        let expected = [message.clone(), Message::text("after")];
        // There is room in the queue: the first poll has queued it.
        assert_eq!(
            received,
            expected[usize::from(polls == 0)..],
            "{polls} polls"
        );
        if done {
            assert!(polls > 40, "the pipe is too fast for this test");
            break;
        }
    }
}

#[test]
fn a_prepared_message_whose_sending_was_dropped_is_sent_whole_or_not_at_all() {
    let prepared = Prepared::new("prepared");
    for polls in 1.. {
        let (done, received) = send_dropped(polls, async |ws| ws.send_prepared(&prepared).await);
        assert_eq!(received, ["prepared", "after"].map(Message::text));
        if done {
            break;
        }
    }
}

#[test]
fn a_fragment_made_anew_for_every_poll_is_sent_once() {
    let clock = VirtualClock::new();
    let (mut client, mut server) = slow_pair(&clock);
    let send = async {
        let mut writer = client.writer(Kind::Binary);
        // The first poll queues the fragment; what is left is to flush it.
        let first = Task::new(writer.write(b"one ")).poll();
        assert!(!first, "the pipe is too fast for this test");
        writer.finish(b"two").await?;
        client.close(1000, "").await
    };
    let receive = async {
        let received = server.recv().await.unwrap();
        assert_eq!(received, Some(Message::binary(&b"one two"[..])));
        assert_eq!(server.recv().await.unwrap(), None);
    };
    both(send, receive).0.unwrap();
}

#[test]
fn a_message_that_waits_for_room_is_not_sent_when_its_sending_is_dropped() {
    let clock = VirtualClock::new();
    let (mut client, mut server) = opened_pair(100, &clock);
    let big = Message::binary(vec![1; 70_000]);
    let mut feed = Task::new(client.feed(&big));
    settle(&mut [&mut feed]);
    feed.output().unwrap();
    for _ in 0..5 {
        let mut waits = Task::new(client.send("dropped"));
        settle(&mut [&mut waits]);
        assert!(!waits.is_done(), "the queue is full");
    }
    let send = async {
        client.send("kept").await?;
        client.close(1000, "").await
    };
    let receive = async {
        assert_eq!(server.recv().await.unwrap(), Some(big.clone()));
        assert_eq!(server.recv().await.unwrap(), Some(Message::text("kept")));
        assert_eq!(server.recv().await.unwrap(), None);
    };
    both(send, receive).0.unwrap();
}

#[test]
fn a_ping_that_was_dropped_harms_nothing() {
    for polls in 0.. {
        let clock = VirtualClock::new();
        let (mut client, mut server) = slow_pair(&clock);
        let mut answer = Task::new(async {
            server.send("hello").await?;
            echo(&mut server).await
        });
        let mut ping = Task::new(client.ping());
        let done = drop_after(polls, &mut ping, &mut answer);
        drop(ping);
        let mut rest = Task::new(async {
            client.ping().await?;
            assert_eq!(client.recv().await?, Some(Message::text("hello")));
            client.send("echo").await?;
            assert_eq!(client.recv().await?, Some(Message::text("echo")));
            client.close(1000, "").await
        });
        settle(&mut [&mut rest, &mut answer]);
        rest.output().unwrap();
        answer.output().unwrap();
        if done {
            assert!(polls > 10, "the pipe is too fast for this test");
            break;
        }
    }
}

#[test]
fn a_close_that_was_dropped_goes_on_with_the_next_call() {
    for polls in 1.. {
        let clock = VirtualClock::new();
        let (mut client, mut server) = slow_pair(&clock);
        let mut answer = Task::new(async {
            assert_eq!(server.recv().await.unwrap(), None);
            server.closed().cloned()
        });
        let mut close = Task::new(client.close(1001, "first"));
        let done = drop_after(polls, &mut close, &mut answer);
        drop(close);
        let mut again = Task::new(client.close(1002, "second"));
        settle(&mut [&mut again, &mut answer]);
        again.output().unwrap();
        let closed = answer.output().unwrap();
        assert_eq!(closed.received().unwrap().code.number(), 1001);
        if done {
            break;
        }
    }
}

#[test]
fn a_handshake_that_is_dropped_drops_its_transport() {
    let clock = VirtualClock::new();
    for polls in 0.. {
        let (near, far) = slow_pipe();
        let (watch_near, watch_far) = (near.watch(), far.watch());
        let mut server = Task::new(open_server(far, &clock));
        let mut client = Task::new(open_client(near, &clock));
        let done = drop_after(polls, &mut client, &mut server);
        assert!(!watch_near.is_dropped());
        drop(client);
        assert!(watch_near.is_dropped());
        if !server.is_done() {
            settle(&mut [&mut server]);
        }
        // What became of the server depends on how far the client came; it has ended at any rate.
        drop(server.output());
        assert!(watch_far.is_dropped());
        if done {
            break;
        }
    }
}

#[test]
fn a_server_that_is_dropped_in_its_handshake_drops_its_transport() {
    for polls in 0.. {
        let clock = VirtualClock::new();
        let (near, far) = slow_pipe();
        let watch = far.watch();
        let connection = client_connection(&ClientOptions::new());
        let mut client = Task::new(WebSocket::client(near, clock.timer(), connection));
        let mut server = Task::new(async {
            let connection = server_connection(ServerOptions::new());
            let upgrade = Upgrade::read(far, clock.timer(), connection).await?;
            futures_lite::future::yield_now().await;
            upgrade.accept().await
        });
        let done = drop_after(polls, &mut server, &mut client);
        drop(server);
        assert!(watch.is_dropped());
        settle(&mut [&mut client]);
        drop(client.output());
        if done {
            break;
        }
    }
}
