//! Counts what a message costs the allocator and the transport. A binary of its own, so that counting
//! costs the others nothing.
//!
//!     count CELL...
//!
//! Prints a line `CELL CONTENDER ALLOCATIONS BYTES READS WRITES` for each contender, a message each.

use std::env;

use allocation_counter::measure;
use bench_memory::contenders::CONTENDERS;
use bench_memory::{Cell, Mock};

/// Messages that are counted; a multiple of sixteen.
const COUNT: usize = 4096;

fn main() {
    for name in env::args().skip(1) {
        let cell: Cell = name.parse().expect("a cell");
        for (contender, prepare) in CONTENDERS {
            let stream = Mock::of(&cell);
            let calls = stream.calls();
            let Some(mut run) = prepare(&cell, stream) else {
                continue;
            };
            let count = if cell.size > 1 << 16 {
                COUNT / 16
            } else {
                COUNT
            };
            run(count);
            let (reads, writes) = (calls.reads.get(), calls.writes.get());
            let allocated = measure(|| run(count));
            let each = |number: u64| number as f64 / count as f64;
            println!(
                "{cell} {contender} {:.3} {:.0} {:.3} {:.3}",
                each(allocated.count_total),
                each(allocated.bytes_total),
                each(calls.reads.get() - reads),
                each(calls.writes.get() - writes),
            );
        }
    }
}
