//! The floor on async-std.

use bench_server::{Mode, arguments, async_std, raw};

fn main() {
    arguments(&[Mode::Echo], &[]);
    async_std::serve(|stream| async {
        let _ = raw::echo(stream).await;
    });
}
