//! The same by the function for any runtime, which says what to do.

use std::rc::Rc;

use sansock::runtime::serve;
use sansock::serve::Origins;
use sansock::smol::{Smol, Socket};

async fn count(mut ws: Socket) -> sansock::Result<()> {
    let count = Rc::new(1);
    ws.send(count.to_string()).await?;
    drop(count);
    Ok(())
}

async fn run() -> sansock::Result<()> {
    let server = serve(Smol::default(), "127.0.0.1:0", count);
    server.origins(Origins::SameHost).await
}

fn main() {
    let _ = run();
}
