//! A server whose origins are not chosen is no future.

use sansock::smol::{Socket, serve};

async fn echo(_: Socket) {}

async fn run() -> sansock::Result<()> {
    serve("127.0.0.1:0", echo).await
}

fn main() {
    let _ = run();
}
