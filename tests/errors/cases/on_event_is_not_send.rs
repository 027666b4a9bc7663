//! What a server of the mode `Threads` reports to is shared by threads.

use std::cell::RefCell;
use std::rc::Rc;

use sansock::runtime::serve;
use sansock::serve::Origins;
use sansock::smol::{Smol, Socket};

async fn run() -> sansock::Result<()> {
    let events = Rc::new(RefCell::new(Vec::new()));
    let server = serve(Smol::default(), "127.0.0.1:0", async |_: Socket| {});
    server
        .origins(Origins::SameHost)
        .on_event(move |event| events.borrow_mut().push(event.to_string()))
        .await
}

fn main() {
    let _ = run();
}
