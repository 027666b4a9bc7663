//! fastwebsockets on tokio, with its default configuration. The handshake is not its own, which is made for hyper.

use bench_server::{Mode, arguments, handshake, tokio::serve};
use fastwebsockets::{FragmentCollector, Frame, OpCode, Role, WebSocket, WebSocketError};
use tokio::net::TcpStream;

fn main() {
    arguments(&[Mode::Echo], &[]);
    serve(|stream| async {
        let _ = echo(stream).await;
    });
}

async fn echo(mut stream: TcpStream) -> Result<(), WebSocketError> {
    handshake::answer(&mut stream, None).await?;
    let mut socket = FragmentCollector::new(WebSocket::after_handshake(stream, Role::Server));
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Text | OpCode::Binary => {
                let reply = Frame::new(true, frame.opcode, None, frame.payload);
                socket.write_frame(reply).await?;
            }
            OpCode::Close => return Ok(()),
            OpCode::Continuation | OpCode::Ping | OpCode::Pong => {}
        }
    }
}
