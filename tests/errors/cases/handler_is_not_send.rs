//! The tasks of smol move between threads, and so must the future of a handler.

use std::rc::Rc;

use sansock::serve::Origins;
use sansock::smol::{Socket, serve};

async fn count(mut ws: Socket) -> sansock::Result<()> {
    let count = Rc::new(1);
    ws.send(count.to_string()).await?;
    drop(count);
    Ok(())
}

async fn run() -> sansock::Result<()> {
    serve("127.0.0.1:0", count).origins(Origins::SameHost).await
}

fn main() {
    let _ = run();
}
