//! The handlers of a runtime in the mode `Threads` are shared by threads.

use std::cell::Cell;

use sansock::runtime::serve;
use sansock::serve::Origins;
use sansock::smol::{Smol, Socket};

async fn run() -> sansock::Result<()> {
    let count = Cell::new(0);
    let handler = move |_: Socket| {
        count.set(count.get() + 1);
        async {}
    };
    let server = serve(Smol::default(), "127.0.0.1:0", handler);
    server.origins(Origins::SameHost).await
}

fn main() {
    let _ = run();
}
