//! What the driver takes and gives in parts.

use std::future::IntoFuture;

use async_net::TcpListener;
use futures_lite::future;
use sansock::core::OpCode;
use sansock::core::{Event, Fin};
use sansock::{Message, Result, WebSocket};

type Socket = sansock::smol::WebSocket;

/// A client and a server that are connected.
async fn connected() -> Result<(Socket, Socket)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("ws://{}/", listener.local_addr()?);
    let server = async {
        let (stream, _) = listener.accept().await?;
        sansock::smol::accept(stream).await
    };
    future::try_zip(sansock::smol::connect(&url).into_future(), server).await
}

#[test]
fn text_may_begin_with_a_frame_that_ends_inside_a_character() {
    async_io::block_on(async {
        let (mut client, mut server) = connected().await?;
        client
            .feed_frame(OpCode::Text, b"\xe5\xaf", Fin::More)
            .await?;
        client
            .feed_frame(OpCode::Continuation, b"\xbf", Fin::Last)
            .await?;
        client.flush().await?;
        assert_eq!(server.recv().await?, Some(Message::text("寿")));
        Result::<()>::Ok(())
    })
    .unwrap();
}

#[test]
fn text_that_is_not_utf8_is_not_sent() {
    async_io::block_on(async {
        let (mut client, mut server) = connected().await?;
        let error = client
            .feed_frame(OpCode::Text, b"\xff", Fin::More)
            .await
            .unwrap_err();
        assert!(error.is_misuse());
        client.send("after").await?;
        assert_eq!(server.recv().await?, Some(Message::text("after")));
        Result::<()>::Ok(())
    })
    .unwrap();
}

#[test]
fn a_socket_that_was_taken_apart_goes_on_where_it_was() {
    async_io::block_on(async {
        let (mut client, mut server) = connected().await?;
        client.feed("one").await?;
        client.send("two").await?;
        assert_eq!(server.recv().await?, Some(Message::text("one")));

        let (stream, timer, mut connection) = server.into_parts().unwrap();
        let Some(Event::Message(message)) = connection.next_event() else {
            panic!("what was received is lost");
        };
        assert_eq!(message.as_text(), Some("two"));

        let mut server = WebSocket::new(stream, timer, connection);
        client.send("three").await?;
        assert_eq!(server.recv().await?, Some(Message::text("three")));
        Result::<()>::Ok(())
    })
    .unwrap();
}
