//! Handlers, and clients, that wait for something else (D9), and the order of what they send.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_channel::bounded;
use futures_lite::future::zip;
use sansock::core::Side;
use sansock::serve::{OverflowPolicy, Room};
use sansock::{Error, Message, Prepared};

use crate::peer::{Peer, elsewhere};
use crate::runtime::{Handled, Runtime, opened, sleep, with_server};

crate::on_every_runtime! {
    #[test] fn a_busy_handler_answers_and_pushes();
    #[test] fn a_busy_handler_with_halves_answers_and_pushes();
    #[test] fn a_socket_in_another_busy_task_answers_and_pushes();
    #[test] fn a_handler_learns_of_the_close_at_its_next_operation();
    #[test] fn a_handler_that_has_taken_the_websocket_drives_it_itself();
    #[test] fn a_handler_that_borrows_a_message_drives_the_connection_itself();
    #[test] fn a_client_that_attends_answers_and_is_closed();
    #[test] fn what_a_handler_broadcasts_and_sends_leaves_in_order();
}

/// How long a handler is busy.
const BUSY: Duration = Duration::from_secs(1);

/// What counts as at once.
const SOON: Duration = Duration::from_millis(400);

/// How a handler keeps its connection while it is busy.
#[derive(Debug, Clone, Copy)]
enum Kept {
    Whole,
    Halves,
    InAnotherTask,
}

/// A handler that is busy once it has received a message, and then sends one.
async fn busy<R: Runtime>(mut ws: Handled<R>, kept: Kept) -> sansock::Result<()> {
    ws.recv().await?;
    match kept {
        Kept::Whole => {
            sleep::<R>(BUSY).await;
            ws.send("done").await
        }
        Kept::Halves => {
            let (sender, _receiver) = ws.split();
            sleep::<R>(BUSY).await;
            sender.send("done").await
        }
        Kept::InAnotherTask => {
            let (ends, ended) = bounded(1);
            R::spawn(async move {
                sleep::<R>(BUSY).await;
                let sent = ws.send("done").await;
                let _ = ends.send(sent).await;
            });
            ended.recv().await.unwrap()
        }
    }
}

async fn answers_and_pushes<R: Runtime>(kept: Kept) {
    let server = R::serve(move |ws| busy::<R>(ws, kept));
    with_server::<R>(server, async |address, handle| {
        let (opened, is_opened) = bounded(1);
        let (pushes, is_pushed) = bounded(1);
        let peer = elsewhere(move || {
            let mut peer = Peer::connect(address, "/");
            peer.send_text("work");
            let began = Instant::now();
            for number in 0..3 {
                let payload = number.to_string();
                peer.send_ping(&payload);
                peer.expect_pong(&payload);
            }
            opened.send_blocking(()).unwrap();
            is_pushed.recv_blocking().unwrap();
            assert_eq!(peer.next_of(0x81).payload, b"pushed");
            assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
            // A message that is not received does not change that, and is not passed over.
            peer.send_text("unread");
            peer.send_ping("behind a message");
            assert_eq!(peer.next_of(0x81).payload, b"done");
            peer
        });
        let pushing = async {
            is_opened.recv().await.unwrap();
            let connection = handle.connections().remove(0);
            connection.push(&Prepared::new("pushed"), OverflowPolicy::Skip);
            pushes.send(()).await.unwrap();
        };
        let (mut peer, ()) = zip(peer, pushing).await;
        // The handler has returned.
        assert_eq!(elsewhere(move || peer.expect_close()).await, 1000);

        // And a Close frame is answered.
        elsewhere(move || {
            let mut peer = Peer::connect(address, "/");
            peer.send_text("work");
            peer.send_ping("it has begun");
            peer.expect_pong("it has begun");
            let began = Instant::now();
            peer.send_close(4001, "");
            assert_eq!(peer.expect_close(), 4001);
            assert_eq!(peer.drain(), 0);
            assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        })
        .await;
    })
    .await;
}

async fn a_busy_handler_answers_and_pushes<R: Runtime>() {
    answers_and_pushes::<R>(Kept::Whole).await;
}

async fn a_busy_handler_with_halves_answers_and_pushes<R: Runtime>() {
    answers_and_pushes::<R>(Kept::Halves).await;
}

async fn a_socket_in_another_busy_task_answers_and_pushes<R: Runtime>() {
    answers_and_pushes::<R>(Kept::InAnotherTask).await;
}

async fn a_handler_learns_of_the_close_at_its_next_operation<R: Runtime>() {
    let ends = Arc::new(Mutex::new(Vec::new()));
    let reports = ends.clone();
    let server = R::serve(move |mut ws: Handled<R>| {
        let reports = reports.clone();
        async move {
            sleep::<R>(Duration::from_millis(300)).await;
            let error = ws.send("too late").await.unwrap_err();
            let received = ws.recv().await;
            let result = ws.close_result();
            reports.lock().unwrap().push((error, received, result));
        }
    });
    with_server::<R>(server, async |address, _| {
        elsewhere(move || {
            let mut peer = Peer::connect(address, "/");
            peer.send_close(4001, "");
            assert_eq!(peer.expect_close(), 4001);
            peer.drain();
        })
        .await;
    })
    .await;
    let ends = std::mem::take(&mut *ends.lock().unwrap());
    let [(sent, received, result)] = ends.try_into().unwrap();
    assert!(matches!(sent, Error::Closed(_)), "{sent:?}");
    assert_eq!(sent.close_code().map(|code| code.number()), Some(4001));
    assert_eq!(received.unwrap(), None);
    assert!(matches!(result, Err(Error::Closed(_))), "{result:?}");
}

/// Pings a handler that drives its connection itself, while it is busy.
async fn is_answered_only_later<R: Runtime>(server: crate::runtime::Server<R>) {
    with_server::<R>(server, async |address, _| {
        elsewhere(move || {
            let mut peer = Peer::connect(address, "/");
            peer.send_text("work");
            assert_eq!(peer.next_of(0x81).payload, b"busy");
            peer.send_ping("later");
            assert!(peer.hears_nothing_for(Duration::from_millis(200)));
            peer.expect_pong("later");
            peer.send_close(1000, "");
            assert_eq!(peer.expect_close(), 1000);
        })
        .await;
    })
    .await;
}

async fn a_handler_that_has_taken_the_websocket_drives_it_itself<R: Runtime>() {
    let server = R::serve(|ws: Handled<R>| async {
        let mut ws = ws.into_inner();
        ws.recv().await?;
        ws.send("busy").await?;
        sleep::<R>(Duration::from_millis(500)).await;
        assert_eq!(ws.recv().await?, None);
        ws.close(1000, "").await
    });
    is_answered_only_later::<R>(server).await;
}

async fn a_handler_that_borrows_a_message_drives_the_connection_itself<R: Runtime>() {
    let server = R::serve(|mut ws: Handled<R>| async move {
        let handle = ws.handle().clone();
        {
            let message = ws.recv_ref().await?;
            handle.push(&Prepared::new("busy"), OverflowPolicy::Skip);
            sleep::<R>(Duration::from_millis(500)).await;
            assert_eq!(message.unwrap().as_bytes(), b"work");
        }
        assert_eq!(ws.recv().await?, None);
        Ok::<_, Error>(())
    });
    with_server::<R>(server, async |address, _| {
        elsewhere(move || {
            let mut peer = Peer::connect(address, "/");
            peer.send_text("work");
            std::thread::sleep(Duration::from_millis(100));
            peer.send_ping("later");
            // Neither the pong nor what was pushed leaves while the message is borrowed.
            assert!(peer.hears_nothing_for(Duration::from_millis(200)));
            assert_eq!(peer.next_of(0x81).payload, b"busy");
            peer.expect_pong("later");
            peer.send_close(1000, "");
            assert_eq!(peer.expect_close(), 1000);
        })
        .await;
    })
    .await;
}

async fn a_client_that_attends_answers_and_is_closed<R: Runtime>() {
    let (mut ws, mut peer) = opened::<R>(Side::Client, sansock::config());
    let peer = elsewhere(move || {
        let began = Instant::now();
        peer.send_ping("soon");
        peer.expect_pong("soon");
        peer.send_close(4001, "");
        assert_eq!(peer.expect_close(), 4001);
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    });
    let (answer, ()) = zip(
        ws.attend(async {
            sleep::<R>(BUSY).await;
            42
        }),
        peer,
    )
    .await;
    assert_eq!(answer, 42);
    let error = ws.send("too late").await.unwrap_err();
    assert_eq!(error.close_code().map(|code| code.number()), Some(4001));
    assert_eq!(ws.recv().await.unwrap(), None);
}

async fn what_a_handler_broadcasts_and_sends_leaves_in_order<R: Runtime>() {
    let room = Room::new();
    let server = R::serve(move |mut ws: Handled<R>| {
        let room = room.clone();
        async move {
            room.join(ws.handle());
            while let Some(Message::Text(number)) = ws.recv().await? {
                let number: u32 = number.parse().unwrap();
                for each in number..number + 10 {
                    let pushed = Prepared::new((each * 2).to_string());
                    room.broadcast(&pushed, OverflowPolicy::Skip);
                    let sent = (each * 2 + 1).to_string();
                    match each % 2 {
                        0 => ws.send(sent).await?,
                        _ => ws.feed(sent).await?,
                    }
                }
            }
            Ok::<_, Error>(())
        }
    });
    with_server::<R>(server, async |address, _| {
        elsewhere(move || {
            let mut peer = Peer::connect(address, "/");
            let mut expected = 0;
            for number in 0..20 {
                peer.send_text(&(number * 10).to_string());
                for _ in 0..20 {
                    let got = String::from_utf8(peer.next_of(0x81).payload).unwrap();
                    assert_eq!(got, expected.to_string());
                    expected += 1;
                }
            }
            peer.send_close(1000, "");
            peer.expect_close();
        })
        .await;
    })
    .await;
}
