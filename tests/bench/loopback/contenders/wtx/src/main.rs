//! wtx on tokio, with its default configuration.

use bench_server::{Mode, arguments, tokio::serve};
use tokio::net::TcpStream;
use wtx::collection::Vector;
use wtx::rng::Xorshift64;
use wtx::web_socket::compression::{Flate2, NegotiatedCompression};
use wtx::web_socket::{OpCode, WebSocketAcceptor, WebSocketOwned, WebSocketPayloadOrigin};

fn main() {
    let (mode, _) = arguments(&[Mode::Echo, Mode::Deflate], &[]);
    serve(move |stream| async move {
        let _ = match mode {
            Mode::Echo | Mode::Broadcast => accept_and_echo(stream).await,
            Mode::Deflate => accept_and_echo_compressed(stream).await,
        };
    });
}

async fn accept_and_echo(stream: TcpStream) -> wtx::Result<()> {
    echo(WebSocketAcceptor::default().accept(stream).await?).await
}

async fn accept_and_echo_compressed(stream: TcpStream) -> wtx::Result<()> {
    let acceptor = WebSocketAcceptor::default().compression(Flate2::default());
    echo(acceptor.accept(stream).await?).await
}

async fn echo<C>(mut socket: WebSocketOwned<C, Xorshift64, TcpStream, false>) -> wtx::Result<()>
where
    C: NegotiatedCompression,
{
    let mut buffer = Vector::new();
    let (mut common, mut reader, mut writer) = socket.split_mut();
    loop {
        buffer.clear();
        let mut frame = reader
            .read_frame(&mut buffer, &mut common, WebSocketPayloadOrigin::Adaptive)
            .await?;
        match frame.op_code() {
            OpCode::Text | OpCode::Binary => writer.write_frame(&mut common, &mut frame).await?,
            OpCode::Close => return Ok(()),
            OpCode::Continuation | OpCode::Ping | OpCode::Pong => {}
        }
    }
}
