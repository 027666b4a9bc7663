//! soketto on smol, with its default configuration, over a buffered reader and writer, as its examples have it. The
//! check of text is left to its user.
//!
//! The variant `feed` is batching by hand: replies are queued while messages are ready, and flushed before the server
//! waits.

use async_net::TcpStream;
use bench_server::{Mode, arguments, smol::serve};
use futures_util::io::{BufReader, BufWriter};
use futures_util::{FutureExt, pin_mut};
use soketto::handshake::Server;
use soketto::handshake::server::Response;
use soketto::{BoxedError, Data};

type Stream = BufReader<BufWriter<TcpStream>>;
type Sender = soketto::Sender<Stream>;
type Receiver = soketto::Receiver<Stream>;

fn main() {
    let (_, variant) = arguments(&[Mode::Echo], &["feed"]);
    serve(move |stream| {
        let feeds = variant == "feed";
        async move {
            let Ok((sender, receiver)) = accept(stream).await else {
                return;
            };
            let _ = match feeds {
                true => echo_by_feed(sender, receiver).await,
                false => echo(sender, receiver).await,
            };
        }
    });
}

async fn accept(stream: TcpStream) -> Result<(Sender, Receiver), BoxedError> {
    let mut server = Server::new(BufReader::new(BufWriter::new(stream)));
    let key = server.receive_request().await?.key();
    let accept = Response::Accept {
        key,
        protocol: None,
    };
    server.send_response(&accept).await?;
    Ok(server.into_builder().finish())
}

async fn echo(mut sender: Sender, mut receiver: Receiver) -> Result<(), BoxedError> {
    let mut message = Vec::new();
    loop {
        message.clear();
        let data = receiver.receive_data(&mut message).await?;
        reply(&mut sender, &data, &message).await?;
        sender.flush().await?;
    }
}

async fn echo_by_feed(mut sender: Sender, mut receiver: Receiver) -> Result<(), BoxedError> {
    let mut message = Vec::new();
    loop {
        message.clear();
        let data = {
            // It must not be dropped before it is ready.
            let receive = receiver.receive_data(&mut message);
            pin_mut!(receive);
            match receive.as_mut().now_or_never() {
                Some(data) => data?,
                None => {
                    sender.flush().await?;
                    receive.await?
                }
            }
        };
        reply(&mut sender, &data, &message).await?;
    }
}

async fn reply(sender: &mut Sender, data: &Data, message: &[u8]) -> Result<(), BoxedError> {
    match data {
        Data::Text(_) => sender.send_text(str::from_utf8(message)?).await?,
        Data::Binary(_) => sender.send_binary(message).await?,
    }
    Ok(())
}
