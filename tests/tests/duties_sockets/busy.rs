//! Handlers, and clients, that wait for something else (D9), and the order of what they send.
//!
//! A handler is busy until the test says so: what arrives before that was sent by the server.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_channel::{Receiver, Sender, bounded};
use futures_lite::future::zip;
use sansock::core::Side;
use sansock::serve::{OverflowPolicy, Room};
use sansock::{CloseCode, Error, Message, Prepared};

use crate::peer::{Peer, elsewhere};
use crate::runtime::{Handled, Runtime, Server, opened, with_server};

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

/// What a handler waits for.
#[derive(Debug, Clone)]
struct Work {
    begins: Sender<()>,
    done: Receiver<()>,
}

/// The test's side of the work of a handler.
#[derive(Debug)]
struct Boss {
    begun: Receiver<()>,
    ends: Sender<()>,
}

fn work() -> (Work, Boss) {
    let ((begins, begun), (ends, done)) = (bounded(1), bounded(1));
    (Work { begins, done }, Boss { begun, ends })
}

impl Work {
    async fn wait(&self) {
        self.begins.send(()).await.unwrap();
        self.done.recv().await.unwrap();
    }
}

impl Boss {
    /// Waits until a handler is busy.
    fn watch(&self) {
        self.begun.recv_blocking().unwrap();
    }

    /// Ends what a handler is busy with.
    fn release(&self) {
        self.ends.send_blocking(()).unwrap();
    }
}

/// How a handler keeps its connection while it is busy.
#[derive(Debug, Clone, Copy)]
enum Kept {
    Whole,
    Halves,
    InAnotherTask,
}

/// A handler that is busy once it has received a message, and then sends one.
async fn busy<R: Runtime>(mut ws: Handled<R>, kept: Kept, work: Work) -> sansock::Result<()> {
    ws.recv().await?;
    match kept {
        Kept::Whole => {
            work.wait().await;
            ws.send("done").await
        }
        Kept::Halves => {
            let (sender, _receiver) = ws.split();
            work.wait().await;
            sender.send("done").await
        }
        Kept::InAnotherTask => {
            let (ends, ended) = bounded(1);
            R::spawn(async move {
                work.wait().await;
                let sent = ws.send("done").await;
                let _ = ends.send(sent).await;
            });
            ended.recv().await.unwrap()
        }
    }
}

async fn answers_and_pushes<R: Runtime>(kept: Kept) {
    let (work, boss) = work();
    let server = R::serve(move |ws| busy::<R>(ws, kept, work.clone()));
    with_server::<R>(server, async |address, handle| {
        elsewhere(move || {
            let mut peer = Peer::connect(address, "/");
            peer.send_text("work");
            boss.watch();
            for number in 0..3 {
                let payload = number.to_string();
                peer.send_ping(&payload);
                peer.expect_pong(&payload);
            }
            let connection = handle.connections().remove(0);
            connection.push(&Prepared::new("pushed"), OverflowPolicy::Skip);
            assert_eq!(peer.next_of(0x81).payload, b"pushed");
            // A message that is not received is in the way of what follows, but of nothing else.
            peer.send_text("unread");
            peer.send_ping("behind a message");
            connection.push(&Prepared::new("pushed again"), OverflowPolicy::Skip);
            assert_eq!(peer.next_of(0x81).payload, b"pushed again");
            boss.release();
            assert_eq!(peer.next_of(0x81).payload, b"done");
            assert_eq!(peer.expect_close(), 1000);

            // And a Close frame is answered, to the end of the stream.
            let mut peer = Peer::connect(address, "/");
            peer.send_text("work");
            boss.watch();
            peer.send_close(4001, "");
            assert_eq!(peer.expect_close(), 4001);
            assert_eq!(peer.drain(), 0);
            boss.release();
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
    let (work, boss) = work();
    let ends = Arc::new(Mutex::new(Vec::new()));
    let reports = ends.clone();
    let server = R::serve(move |mut ws: Handled<R>| {
        let (work, reports) = (work.clone(), reports.clone());
        async move {
            work.wait().await;
            let error = ws.send("too late").await.unwrap_err();
            let received = ws.recv().await;
            let result = ws.close_result();
            reports.lock().unwrap().push((error, received, result));
        }
    });
    with_server::<R>(server, async |address, _| {
        elsewhere(move || {
            let mut peer = Peer::connect(address, "/");
            boss.watch();
            peer.send_close(4001, "");
            assert_eq!(peer.expect_close(), 4001);
            peer.drain();
            boss.release();
        })
        .await;
    })
    .await;
    let ends = std::mem::take(&mut *ends.lock().unwrap());
    let [(sent, received, result)] = ends.try_into().unwrap();
    assert!(matches!(sent, Error::Closed(_)), "{sent:?}");
    assert_eq!(sent.close_code().map(CloseCode::number), Some(4001));
    assert_eq!(received.unwrap(), None);
    assert!(matches!(result, Err(Error::Closed(_))), "{result:?}");
}

/// While a handler that drives its connection itself is busy, nothing is answered and nothing pushed.
async fn nothing_happens<R: Runtime>(server: Server<R>, boss: Boss) {
    with_server::<R>(server, async |address, handle| {
        elsewhere(move || {
            let mut peer = Peer::connect(address, "/");
            peer.send_text("work");
            boss.watch();
            peer.send_ping("later");
            let connection = handle.connections().remove(0);
            connection.push(&Prepared::new("pushed"), OverflowPolicy::Skip);
            assert!(peer.hears_nothing_for(Duration::from_millis(200)));
            boss.release();
            // Both, in either order.
            let mut heard = [peer.next().unwrap(), peer.next().unwrap()];
            heard.sort_by_key(|frame| frame.first);
            let heard = heard.map(|frame| (frame.first, frame.payload));
            assert_eq!(heard, [(0x81, b"pushed".into()), (0x8a, b"later".into())]);
            peer.send_close(1000, "");
            assert_eq!(peer.expect_close(), 1000);
        })
        .await;
    })
    .await;
}

async fn a_handler_that_has_taken_the_websocket_drives_it_itself<R: Runtime>() {
    let (work, boss) = work();
    let server = R::serve(move |ws: Handled<R>| {
        let work = work.clone();
        async move {
            let mut ws = ws.into_inner();
            ws.recv().await?;
            work.wait().await;
            assert_eq!(ws.recv().await?, None);
            ws.close(1000, "").await
        }
    });
    nothing_happens::<R>(server, boss).await;
}

async fn a_handler_that_borrows_a_message_drives_the_connection_itself<R: Runtime>() {
    let (work, boss) = work();
    let server = R::serve(move |mut ws: Handled<R>| {
        let work = work.clone();
        async move {
            let message = ws.recv_ref().await?;
            work.wait().await;
            assert_eq!(message.unwrap().as_bytes(), b"work");
            assert_eq!(ws.recv().await?, None);
            Ok::<_, Error>(())
        }
    });
    nothing_happens::<R>(server, boss).await;
}

async fn a_client_that_attends_answers_and_is_closed<R: Runtime>() {
    let (mut ws, mut peer) = opened::<R>(Side::Client, sansock::config());
    let (work, boss) = work();
    let peer = elsewhere(move || {
        boss.watch();
        peer.send_ping("soon");
        peer.expect_pong("soon");
        peer.send_close(4001, "");
        assert_eq!(peer.expect_close(), 4001);
        drop(peer);
        boss.release();
    });
    zip(ws.attend(work.wait()), peer).await;
    let error = ws.send("too late").await.unwrap_err();
    assert_eq!(error.close_code().map(CloseCode::number), Some(4001));
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
                    let _ = room.broadcast(&pushed, OverflowPolicy::Skip);
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
