//! How a connection has ended is reported alike by every call (D5).

use std::time::{Duration, Instant};

use futures_lite::future::zip;
use sansock::core::Side;
use sansock::{CloseCode, Error, Message};

use crate::peer::{Peer, elsewhere};
use crate::runtime::{Runtime, Ws, open_over, opened, sleep, with_server};

crate::on_every_runtime! {
    #[test] fn a_close_before_a_reset_is_what_every_call_reports();
    #[test] fn a_close_before_a_reset_is_what_every_half_reports();
    #[test] fn messages_before_a_close_and_a_reset_are_received_first();
    #[test] fn close_of_a_sender_discards_what_is_not_received();
    #[test] fn close_of_a_sender_leaves_messages_to_a_receiver();
    #[test] fn only_a_normal_close_is_a_good_result();
    #[test] fn a_failure_of_a_handler_is_an_error_of_the_client();
}

#[track_caller]
fn assert_closed_with(error: &Error, code: u16) {
    assert!(matches!(error, Error::Closed(_)), "{error:?}");
    assert_eq!(error.close_code(), Some(CloseCode::new(code)), "{error}");
}

/// Sends until that fails.
async fn send_without_end<R: Runtime>(ws: &mut Ws<R>) -> Error {
    loop {
        if let Err(error) = ws.send(vec![0; 10_000]).await {
            return error;
        }
    }
}

async fn a_close_before_a_reset_is_what_every_call_reports<R: Runtime>() {
    for pause in [0, 0, 0, 1, 2, 5, 10, 30] {
        let (mut ws, mut peer) = opened::<R>(Side::Client, sansock::config());
        let peer = elsewhere(move || {
            peer.next_of(0x82);
            peer.send_close(4001, "moved");
            std::thread::sleep(Duration::from_millis(pause));
            peer.reset();
        });
        let (error, ()) = zip(send_without_end::<R>(&mut ws), peer).await;
        assert_closed_with(&error, 4001);
        assert!(!error.is_transient());
        assert_eq!(ws.recv().await.unwrap(), None);
        assert_closed_with(&ws.send("late").await.unwrap_err(), 4001);
        assert_closed_with(&ws.feed("late").await.unwrap_err(), 4001);
        assert_closed_with(&ws.ping().await.unwrap_err(), 4001);
        assert_closed_with(&ws.close_result().unwrap_err(), 4001);
        ws.close(1000, "").await.unwrap();
        let received = ws.closed().and_then(|closed| closed.received()).unwrap();
        assert_eq!((received.code.number(), &*received.reason), (4001, "moved"));
    }
}

async fn a_close_before_a_reset_is_what_every_half_reports<R: Runtime>() {
    for pause in [0, 0, 2, 10] {
        let (ws, mut peer) = opened::<R>(Side::Client, sansock::config());
        let (sender, mut receiver) = ws.split();
        let peer = elsewhere(move || {
            peer.next_of(0x82);
            peer.send_close(4001, "moved");
            std::thread::sleep(Duration::from_millis(pause));
            peer.reset();
        });
        let sends = async {
            loop {
                if let Err(error) = sender.send(vec![0; 10_000]).await {
                    return error;
                }
            }
        };
        let ((error, received), ()) = zip(zip(sends, receiver.recv()), peer).await;
        assert_closed_with(&error, 4001);
        assert_eq!(received.unwrap(), None);
        assert_closed_with(&sender.send("late").await.unwrap_err(), 4001);
        assert_closed_with(&sender.ping().await.unwrap_err(), 4001);
        assert_closed_with(&sender.close_result().unwrap_err(), 4001);
        assert_closed_with(&receiver.close_result().unwrap_err(), 4001);
        assert_eq!(sender.closed(), receiver.closed());
        sender.close(1000, "").await.unwrap();
    }
}

async fn messages_before_a_close_and_a_reset_are_received_first<R: Runtime>() {
    let (mut ws, mut peer) = opened::<R>(Side::Client, sansock::config());
    let peer = elsewhere(move || {
        peer.next_of(0x82);
        for number in 0..10 {
            peer.send_text(&number.to_string());
        }
        peer.send_close(4001, "moved");
        peer.reset();
    });
    let (error, ()) = zip(send_without_end::<R>(&mut ws), peer).await;
    // The messages are in the way of the reason.
    assert!(matches!(error, Error::NotSent(_)), "{error:?}");
    for number in 0..10 {
        let message = Message::text(number.to_string());
        assert_eq!(ws.recv().await.unwrap(), Some(message));
    }
    assert_eq!(ws.recv().await.unwrap(), None);
    assert_closed_with(&ws.close_result().unwrap_err(), 4001);
    assert_closed_with(&ws.send("late").await.unwrap_err(), 4001);
}

async fn close_of_a_sender_discards_what_is_not_received<R: Runtime>() {
    let (ws, mut peer) = opened::<R>(Side::Client, sansock::config());
    let (sender, mut receiver) = ws.split();
    let peer = elsewhere(move || {
        for number in 0..10 {
            peer.send_text(&number.to_string());
        }
        let code = peer.expect_close();
        peer.send_close(code, "");
    });
    // Until they have arrived.
    sleep::<R>(Duration::from_millis(50)).await;
    let began = Instant::now();
    let (closed, ()) = zip(sender.close(1000, ""), peer).await;
    let took = began.elapsed();
    closed.unwrap();
    assert!(took > Duration::from_millis(90), "{took:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    let error = receiver.recv().await.unwrap_err();
    assert!(
        matches!(error, Error::Discarded { messages: 10 }),
        "{error:?}"
    );
    let error = receiver.recv().await.unwrap_err();
    assert!(matches!(error, Error::Discarded { .. }), "{error:?}");
}

async fn close_of_a_sender_leaves_messages_to_a_receiver<R: Runtime>() {
    let (ws, mut peer) = opened::<R>(Side::Client, sansock::config());
    let (sender, mut receiver) = ws.split();
    let peer = elsewhere(move || {
        for number in 0..10 {
            peer.send_text(&number.to_string());
        }
        let code = peer.expect_close();
        peer.send_close(code, "");
    });
    let receives = async {
        let mut received = 0;
        while receiver.recv().await?.is_some() {
            received += 1;
        }
        Ok::<_, Error>(received)
    };
    let began = Instant::now();
    let ((closed, received), ()) = zip(zip(sender.close(1000, ""), receives), peer).await;
    closed.unwrap();
    assert_eq!(received.unwrap(), 10);
    assert!(began.elapsed() < Duration::from_secs(2));
    receiver.close_result().unwrap();
}

async fn only_a_normal_close_is_a_good_result<R: Runtime>() {
    let server = R::serve(|mut ws| async move {
        let code: u16 = ws.path()[1..].parse().unwrap();
        ws.close(code, "because").await
    });
    with_server::<R>(server, async |address, _| {
        for code in [1000, 1001, 1008, 1011, 4003] {
            for is_split in [false, true] {
                let path = format!("/{code}");
                let socket = elsewhere(move || Peer::connect(address, &path).into_stream());
                let mut ws = open_over::<R>(socket.await, Side::Client, sansock::config());
                let (result, closed) = match is_split {
                    false => {
                        assert!(ws.close_result().is_err(), "it has not ended");
                        assert_eq!(ws.recv().await.unwrap(), None);
                        (ws.close_result(), ws.closed().cloned())
                    }
                    true => {
                        let (sender, mut receiver) = ws.split();
                        assert_eq!(receiver.recv().await.unwrap(), None);
                        assert_eq!(
                            sender.close_result().is_ok(),
                            receiver.close_result().is_ok()
                        );
                        (receiver.close_result(), receiver.closed())
                    }
                };
                let closed = closed.unwrap();
                assert_eq!(closed.received().unwrap().code.number(), code);
                match code {
                    1000 | 1001 => result.unwrap(),
                    _ => {
                        let error = result.unwrap_err();
                        assert_closed_with(&error, code);
                        assert!(error.to_string().contains("because"), "{error}");
                    }
                }
            }
        }
    })
    .await;
    // And without a code.
    let (mut ws, mut peer) = opened::<R>(Side::Client, sansock::config());
    peer.send(0x88, b"");
    let peer = elsewhere(move || peer.next_of(0x88));
    let (received, close) = zip(ws.recv(), peer).await;
    assert_eq!(received.unwrap(), None);
    assert!(close.payload.is_empty());
    ws.close_result().unwrap();
}

async fn a_failure_of_a_handler_is_an_error_of_the_client<R: Runtime>() {
    let server = R::serve(|_| async { Err(std::io::Error::other("no database")) });
    with_server::<R>(server, async |address, _| {
        let socket = elsewhere(move || Peer::connect(address, "/").into_stream()).await;
        let mut ws = open_over::<R>(socket, Side::Client, sansock::config());
        assert_eq!(ws.recv().await.unwrap(), None);
        assert_closed_with(&ws.close_result().unwrap_err(), 1011);
    })
    .await;
}
