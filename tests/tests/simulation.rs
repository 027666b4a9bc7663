//! Simulated worlds, a few thousand of them, none like another; see [`sansock_tests::simulation`].

use sansock_tests::simulation::{Counts, Held, Meter, Numbers, Report, play};

/// Counts what is allocated on this thread.
const METER: Meter = Meter {
    counted: |work| {
        let info = allocation_counter::measure(work);
        Held {
            left: info.bytes_current,
            most: info.bytes_max as i64,
        }
    },
    uncounted: |work| allocation_counter::opt_out(work),
};

/// Names the seed of a run that fails.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.0;
            eprintln!(
                "seed {seed} fails; to see it again: SIMULATION_SEED={seed} \
                 cargo test -p sansock-tests --test simulation one_seed -- --nocapture"
            );
        }
    }
}

fn run(seed: u64) -> Report {
    let _named = Named(seed);
    play(seed, false, METER)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn worlds() {
    let first = number("SIMULATION_FIRST").unwrap_or(0);
    let count = number("SIMULATION_COUNT").unwrap_or(400);
    let (mut fired, mut walked) = (Counts::default(), Counts::default());
    let mut numbers = Numbers::default();
    let (mut polls, mut delivered, mut clean) = (0, 0, 0);
    for seed in first..first + count {
        let report = run(seed);
        fired.add(&report.fired);
        walked.add(&report.walked);
        numbers.add(&report.numbers);
        polls += report.polls;
        delivered += report.delivered;
        clean += report.clean;
    }
    println!(
        "{count} worlds: {polls} polls, {delivered} messages, {clean} clean ends; {numbers:?}; \
         {fired:?}; {walked:?}"
    );
    let never: Vec<_> = fired.never().collect();
    assert!(never.is_empty(), "never struck: {never:?}");
    let never: Vec<_> = walked.never().collect();
    assert!(never.is_empty(), "never walked: {never:?}");
}

/// Two in four worlds are calm: everything must be delivered, both ends clean, nothing timed out.
#[test]
fn two_endpoints_agree_while_nothing_fails() {
    for seed in (0..400).filter(|seed| seed % 4 < 2) {
        assert_eq!(run(seed).clean, 2, "seed {seed}");
    }
}

#[test]
fn one_seed() {
    if let Some(seed) = number("SIMULATION_SEED") {
        let _named = Named(seed);
        println!("{:?}", play(seed, true, METER));
    }
}

#[test]
fn the_same_seed_plays_the_same_run() {
    for seed in 0..20 {
        assert_eq!(run(seed), run(seed));
    }
}
