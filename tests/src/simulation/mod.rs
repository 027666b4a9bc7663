//! Whole connections in a world that is made up from one number: its clock, its network, the order in
//! which tasks are polled, what the applications do, and everything that goes wrong.
//!
//! Two endpoints of the library, or one and a hostile peer, run over the real driver. After every poll
//! it is checked that
//!
//! - what is delivered is a prefix of what was sent, whole and in order, and nothing follows the end;
//! - each side has written at most one Close frame, and no data behind it;
//! - a task that asks to be polled again has got somewhere, and idle tasks do not wake each other;
//! - the calls, the bytes and the ready operations of one poll stay below the budget;
//! - what an endpoint holds stays below its bound;
//!
//! and whenever no task is woken, that
//!
//! - no ping and no Close frame waits for its answer, no message for a task that receives, and no
//!   message that was pushed for the transport, unless the application is in the way;
//! - no deadline has passed unnoticed;
//!
//! and at the end, that every endpoint has ended in time, and that all its operations report the same
//! end; where nothing goes wrong, that everything was delivered and both ends are clean.
//!
//! Each side takes one of the [paths](Path) of an application, over one of the transports.
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
