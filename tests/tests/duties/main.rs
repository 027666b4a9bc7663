//! Every operation keeps every duty of the driver: a table, in virtual time.
//!
//! The rows are all operations ([`operations`]), the columns the duties D1 to D9. A cell is a check that is
//! run, or a reason why there is none. An operation of the library that has no row fails the test.

mod busy;
mod deadlines;
mod fairness;
mod hall;
mod keep_reading;
mod liveness;
mod memory;
mod opening;
mod operations;
mod outcome;
mod replies;
mod rig;
mod situations;
mod source;
mod splits;
mod wakers;

use operations::Operation;

/// What came of a check: the duty is kept, or why it does not apply; the error says what is wrong.
type Cell = Result<Kept, String>;

enum Kept {
    Yes,
    DoesNotApply(&'static str),
}

/// Returns an error from a check unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $($what:tt)+) => {
        if !$condition {
            return Err(format!($($what)+));
        }
    };
}
pub(crate) use ensure;

/// Checks one duty for all operations. All cells are printed, and those that fail are counted.
#[track_caller]
fn check_all(duty: &str, check: fn(&Operation) -> Cell) {
    let only = std::env::var("ROW").unwrap_or_default();
    let mut failed = 0;
    for operation in operations::all() {
        let name = operation.name();
        if !name.contains(&only) {
            continue;
        }
        match check(&operation) {
            Ok(Kept::Yes) => println!("{duty} {name}: kept"),
            Ok(Kept::DoesNotApply(reason)) => println!("{duty} {name}: does not apply, {reason}"),
            Err(what) => {
                failed += 1;
                println!("{duty} {name}: FAILED, {what}");
            }
        }
    }
    assert_eq!(failed, 0, "operations break {duty}");
}

#[test]
fn d1_every_operation_keeps_reading() {
    check_all("D1", keep_reading::check);
}

#[test]
fn d2_no_operation_delays_a_deadline() {
    check_all("D2", deadlines::check);
}

#[test]
fn d2_every_operation_looks_at_the_clock_once_a_poll() {
    check_all("D2", deadlines::check_looks);
}

#[test]
fn d3_every_operation_yields() {
    check_all("D3", fairness::check);
}

#[test]
fn d4_every_operation_wakes_the_other_task() {
    check_all("D4", wakers::check);
}

#[test]
fn d5_every_operation_reports_the_same_end() {
    check_all("D5", outcome::check);
}

#[test]
fn d6_every_operation_counts_progress_as_liveness() {
    check_all("D6", liveness::check);
}

#[test]
fn d7_every_operation_has_bounded_memory() {
    check_all("D7", memory::check);
}

#[test]
fn d8_every_operation_sends_few_replies_and_first() {
    check_all("D8", replies::check);
}

#[test]
fn d9_the_server_drives_while_the_handler_is_busy_after_every_operation() {
    check_all("D9", busy::check);
}
