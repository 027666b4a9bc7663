//! The clients: so many of them, shared out over the ways to live, each opening its next connection when
//! the last one has ended; and what became of all of them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::stdin;
use std::rc::Rc;
use std::time::Duration;

use async_executor::LocalExecutor;
use async_io::Timer;
use async_std::channel::{Receiver, Sender, bounded};
use futures_lite::future;

use crate::random::Random;

use super::connecting::Connecting;
use super::ways::{SHARES, Way};
use super::{Heap, Numbers, Outcome};

/// How many faults are told, of those that are counted.
const TOLD: u64 = 20;
/// After a fault, so that one does not become a thousand.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) fn run(port: u16, count: usize, ramp: u64, heap: Heap) -> Outcome {
    let executor = LocalExecutor::new();
    let (ending, over) = bounded(1);
    let world = Rc::new(World::new(port, over));
    let (asking, asked) = bounded(1);
    std::thread::spawn(move || ask(&asking));
    async_io::block_on(executor.run(async {
        let pace = Duration::from_secs(ramp) / u32::try_from(count)?.max(1);
        let starting = async {
            for number in 0..count {
                executor.spawn(world.clone().live(number)).detach();
                Timer::after(pace).await;
            }
            future::pending::<()>().await;
        };
        let answering = async {
            while asked.recv().await.is_ok() {
                world.print(heap());
            }
        };
        future::or(starting, answering).await;
        // The last line of all was the end.
        ending.close();
        while world.clients.get() > 0 {
            Timer::after(Duration::from_millis(50)).await;
        }
        world.print(heap());
        Ok(())
    }))
}

/// Passes on each line of standard input, and its end.
fn ask(asking: &Sender<()>) {
    for _line in stdin().lines() {
        let _ = asking.send_blocking(());
    }
    asking.close();
}

/// What all clients share.
pub(super) struct World {
    pub(super) connecting: Connecting,
    over: Receiver<()>,
    clients: Cell<usize>,
    counts: RefCell<BTreeMap<String, u64>>,
}

impl World {
    fn new(port: u16, over: Receiver<()>) -> Self {
        Self {
            connecting: Connecting::new(port),
            over,
            clients: Cell::new(0),
            counts: RefCell::default(),
        }
    }

    /// One client, from its first connection to the end of the run.
    async fn live(self: Rc<Self>, number: usize) {
        self.clients.set(self.clients.get() + 1);
        let way = way_of(number);
        let mut random = Random::new(number as u64);
        while !self.is_over() {
            if let Err(error) = way.live(&self, &mut random).await {
                self.fault(way, &*error);
                let _ = self.until_over(Timer::after(PAUSE)).await;
            }
        }
        self.clients.set(self.clients.get() - 1);
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.is_closed()
    }

    /// What comes out of it, or nothing where the run is over before.
    pub(super) async fn until_over<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let over = async {
            let _ = self.over.recv().await;
            None
        };
        future::or(over, async { Some(work.await) }).await
    }

    pub(super) fn count(&self, name: impl Into<String>) {
        *self.counts.borrow_mut().entry(name.into()).or_default() += 1;
    }

    fn fault(&self, way: Way, error: &dyn std::error::Error) {
        self.count("faults");
        self.count(format!("faults_{way}"));
        if self.counts.borrow()["faults"] <= TOLD {
            eprintln!("{way}: {}", crate::peer::in_one_line(error));
        }
    }

    fn print(&self, heap: usize) {
        let mut numbers = Numbers::default();
        numbers.set("heap", heap);
        numbers.set("clients", self.clients.get());
        numbers.set_all("", &self.counts.borrow());
        numbers.print();
    }
}

/// The way of a client: each hundred of them is shared out in the same way.
fn way_of(number: usize) -> Way {
    // Spread over the hundred, so that few clients have all ways among them too.
    let mut place = number * 37 % 100;
    for (way, share) in SHARES {
        if place < share {
            return way;
        }
        place -= share;
    }
    Way::Idle
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_clients_are_shared_out_as_it_is_written() {
        assert_eq!(SHARES.iter().map(|(_, share)| share).sum::<usize>(), 100);
        for (way, share) in SHARES {
            let of_it = (0..100).filter(|number| way_of(*number) == way);
            assert_eq!(of_it.count(), share, "{way}");
        }
    }
}
