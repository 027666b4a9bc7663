//! Whole connections in a world that is made up from one number: its clock, its network, the order in
//! which tasks are polled, what the applications do, and everything that goes wrong.
//!
//! Two endpoints of the library, or one and a hostile peer, run over the real driver. After every poll
//! it is checked that
//!
//! - what is delivered is a prefix of what was sent, whole and in order, and nothing follows the end;
//! - each side has written at most one Close frame, and no data behind it;
//! - a task that asks to be polled again has got somewhere;
//! - what an endpoint holds stays below its bound;
//!
//! and at the end, that every endpoint has ended in time and tells its end alike; where nothing goes
//! wrong, that everything was delivered and both ends are clean.
//!
//! The same seed plays the same run. Nothing here may depend on anything else than the [`World`].

mod application;
mod duties;
mod faults;
mod hostile;
mod ledger;
mod local;
mod monitor;
mod network;
mod paths;
mod run;
mod switches;
mod time;
mod world;

pub use duties::Numbers;
pub use faults::Fault;
pub use paths::Path;
pub use run::{Report, play};
pub use switches::{Counts, Set, Switch};
pub use world::{Held, Meter, World};
