//! sansock on async-std, with its default configuration: limits, keepalive pings and deadlines are on. Replies are fed,
//! and go out together when the server waits.

use bench_server::{Mode, arguments, async_std::serve};
use sansock::Result;
use sansock::async_std::WebSocket;

fn main() {
    arguments(&[Mode::Echo], &[]);
    serve(|stream| async {
        if let Ok(socket) = sansock::async_std::accept(stream).await {
            let _ = echo(socket).await;
        }
    });
}

async fn echo(mut socket: WebSocket) -> Result<()> {
    while let Some(message) = socket.recv().await? {
        socket.feed(message).await?;
    }
    Ok(())
}
