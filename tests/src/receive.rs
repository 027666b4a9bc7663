//! The one way in which received bytes are tested: however they are cut, they must mean the same.

use std::env;
use std::sync::LazyLock;

use sansock_core::{Closed, Config, Failure, Side, State};

use crate::end::End;
use crate::seen::{Seen, joined};
use crate::wire::sent_by;

/// What came of received bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The events, neighbouring chunks of one message joined.
    pub events: Vec<Seen>,
    /// What was sent, as pairs of first byte and payload.
    pub sent: Vec<(u8, Vec<u8>)>,
    /// Whether the write side was closed.
    pub has_ended: bool,
    /// The state.
    pub state: State,
    /// Which Close frames were exchanged.
    pub closed: Option<Closed>,
    /// Why the connection failed.
    pub failure: Option<Failure>,
}

/// Receives `bytes` with the default configuration; see [`received_by`].
#[track_caller]
pub fn received(side: Side, bytes: &[u8]) -> Outcome {
    received_with(side, &crate::end::config(), bytes)
}

/// Receives `bytes` with a configuration; see [`received_by`].
#[track_caller]
pub fn received_with(side: Side, config: &Config, bytes: &[u8]) -> Outcome {
    received_by(|| End::with(side, config.clone()), bytes)
}

/// Receives whole frames in one piece, byte by byte, in two pieces cut everywhere, with bytes behind
/// them, and with the events taken late; checks that all this is the same, also after the end of the
/// stream, and returns it.
///
/// In three pieces as well, cut everywhere, where there are few bytes; with `EVERY_CUT_OF_TWO` in the environment
/// always.
#[track_caller]
pub fn received_by(make: impl Fn() -> End, bytes: &[u8]) -> Outcome {
    let whole = run(make(), [bytes], Taking::AtOnce);
    let byte_by_byte = run(make(), bytes.chunks(1), Taking::AtOnce);
    assert_eq!(byte_by_byte, whole, "byte by byte");
    let late = run(make(), bytes.chunks(1), Taking::Late);
    assert_eq!(late, whole, "byte by byte, events taken late");
    for cut in cuts(bytes.len()) {
        let (start, rest) = bytes.split_at(cut);
        let in_two = run(make(), [start, rest], Taking::AtOnce);
        assert_eq!(in_two, whole, "cut at {cut} of {}", bytes.len());
    }
    in_three(&make, bytes, &whole);
    // The start of a ping, which may follow any frame and does nothing yet.
    let followed = [bytes, &[0x89]].concat();
    let with_more = run(make(), [&followed[..]], Taking::AtOnce);
    assert_eq!(with_more, whole, "with a further byte");
    if whole.0.closed.is_some() {
        let noise = [bytes, &[0xFF; 300], bytes].concat();
        let with_noise = run(make(), [&noise[..]], Taking::AtOnce);
        assert_eq!(with_noise, whole, "with noise behind the end");
    }
    whole.0
}

/// As [`received_by`], and in three pieces however many bytes there are.
#[track_caller]
pub fn received_in_three(make: impl Fn() -> End, bytes: &[u8]) -> Outcome {
    let outcome = received_by(&make, bytes);
    let whole = run(make(), [bytes], Taking::AtOnce);
    at_two_places(&make, bytes, &whole);
    outcome
}

/// Receives bytes in three pieces, where there are few, or that is wanted.
#[track_caller]
fn in_three(make: &impl Fn() -> End, bytes: &[u8], whole: &(Outcome, Outcome)) {
    /// Bytes that are always cut at two places.
    const FEW: usize = 24;
    static EVERY: LazyLock<bool> = LazyLock::new(|| env::var_os("EVERY_CUT_OF_TWO").is_some());
    if bytes.len() <= FEW || *EVERY {
        let pairs = at_two_places(make, bytes, whole);
        if *EVERY {
            let all = if bytes.len() <= ALL { "all" } else { "some" };
            println!("cuts: {all} {pairs}");
        }
    }
}

/// Receives bytes in three pieces, none of them empty. Returns in how many ways.
#[track_caller]
fn at_two_places(make: &impl Fn() -> End, bytes: &[u8], whole: &(Outcome, Outcome)) -> usize {
    let cuts: Vec<_> = cuts(bytes.len()).collect();
    let cuts = &cuts[1..cuts.len().max(2) - 1];
    for (index, &first) in cuts.iter().enumerate() {
        for &second in &cuts[index + 1..] {
            let (start, rest) = bytes.split_at(first);
            let (middle, end) = rest.split_at(second - first);
            let in_three = run(make(), [start, middle, end], Taking::AtOnce);
            assert_eq!(
                &in_three,
                whole,
                "cut at {first} and {second} of {}",
                bytes.len()
            );
        }
    }
    cuts.len() * cuts.len().saturating_sub(1) / 2
}

/// Up to how many bytes every place is one to cut at.
const ALL: usize = 300;

/// Every cut of a short input; of a long one those near its ends, and some between.
fn cuts(length: usize) -> impl Iterator<Item = usize> {
    let step = (length / 64).max(1);
    (0..=length)
        .filter(move |&cut| length <= ALL || cut < 32 || length - cut < 32 || cut % step == 0)
}

/// When events are taken.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Taking {
    /// After every feed.
    AtOnce,
    /// When everything was fed.
    Late,
}

/// Feeds the pieces, then the end of the stream; returns the outcome before and after that.
#[track_caller]
fn run<'a>(
    mut end: End,
    pieces: impl IntoIterator<Item = &'a [u8]>,
    taking: Taking,
) -> (Outcome, Outcome) {
    let mut seen = Record::default();
    for piece in pieces {
        end.receive(piece);
        if taking == Taking::AtOnce {
            seen.take_from(&mut end);
        }
    }
    seen.take_from(&mut end);
    let before = seen.outcome(&end);
    end.end_of_stream();
    seen.take_from(&mut end);
    assert_eq!(end.state(), State::Closed);
    assert!(end.has_ended(), "the write side must be closed at the end");
    (before, seen.outcome(&end))
}

#[derive(Default)]
struct Record {
    events: Vec<Seen>,
    output: Vec<u8>,
}

impl Record {
    #[track_caller]
    fn take_from(&mut self, end: &mut End) {
        loop {
            self.output.extend(end.output());
            end.mind_the_time();
            let Some(event) = end.event() else { break };
            self.events.push(event);
        }
        self.output.extend(end.output());
    }

    #[track_caller]
    fn outcome(&self, end: &End) -> Outcome {
        let sent = sent_by(end.side(), &self.output).into_iter();
        Outcome {
            events: joined(self.events.clone()),
            sent: sent.map(|frame| (frame.first, frame.payload)).collect(),
            has_ended: end.has_ended(),
            state: end.state(),
            closed: end.closed().cloned(),
            failure: end.failure().cloned(),
        }
    }
}
