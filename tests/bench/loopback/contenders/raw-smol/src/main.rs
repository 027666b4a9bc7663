//! The floor on smol.

use bench_server::{Mode, arguments, raw, smol};

fn main() {
    match arguments(&[Mode::Echo, Mode::Broadcast], &[]).0 {
        Mode::Echo | Mode::Deflate => smol::serve(async |stream| {
            let _ = raw::echo(stream).await;
        }),
        Mode::Broadcast => {
            let receivers = raw::Receivers::default();
            smol::serve(move |stream| {
                let receivers = receivers.clone();
                async move {
                    let _ = raw::broadcast(stream, receivers).await;
                }
            });
        }
    }
}
