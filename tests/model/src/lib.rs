//! The closing handshake and the deadlines of a real connection, explored until nothing new comes.
//!
//! A state is the history of what has happened, played to a fresh connection; two histories are the same state where
//! all that the connection holds is the same, and all that was seen of it. The deadlines are a few ticks long: what
//! counts is their order.

mod dump;
pub mod world;

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;

use sansock_core::Deadline;
use stateright::{Model, Property};

use world::{Action, Setting, View, World, ticks};

/// Everything that may happen to one connection.
#[derive(Debug)]
pub struct Life {
    setting: Setting,
    endings: Mutex<BTreeSet<String>>,
    /// From where to where every step leads.
    steps: Mutex<HashMap<u64, Vec<u64>>>,
}

/// A state, and one way to it.
#[derive(Debug, Clone)]
pub struct Moment {
    pub history: Vec<Action>,
    possible: Vec<Action>,
    pub view: View,
}

impl PartialEq for Moment {
    fn eq(&self, other: &Self) -> bool {
        self.view == other.view
    }
}

impl Hash for Moment {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.view.hash(state);
    }
}

impl Life {
    pub fn new(setting: Setting) -> Self {
        Self {
            setting,
            endings: Mutex::default(),
            steps: Mutex::default(),
        }
    }

    /// In which ways the connection has ended, in words.
    pub fn endings(&self) -> BTreeSet<String> {
        self.endings.lock().unwrap().clone()
    }

    fn moment(&self, history: Vec<Action>) -> Moment {
        let mut world = World::after(&self.setting, &history);
        let view = world.view();
        if view.is_over() {
            self.endings.lock().unwrap().insert(view.ending.clone());
        }
        Moment {
            possible: world.possible(),
            view,
            history,
        }
    }

    /// Whether some way that was gone leads back to where it was.
    pub fn goes_round(&self) -> bool {
        let steps = self.steps.lock().unwrap();
        let mut left = HashMap::new();
        for start in steps.keys() {
            let mut way = vec![(*start, 0)];
            while let Some((here, next)) = way.last_mut() {
                let to = steps.get(here).and_then(|steps| steps.get(*next));
                *next += 1;
                match to.map(|to| (*to, left.get(to))) {
                    None => {
                        left.insert(*here, true);
                        way.pop();
                    }
                    Some((_, Some(true))) => {}
                    Some((_, Some(false))) => return true,
                    Some((to, None)) => {
                        left.insert(to, false);
                        way.push((to, 0));
                    }
                }
            }
        }
        false
    }
}

fn name(moment: &Moment) -> u64 {
    let mut hasher = DefaultHasher::new();
    moment.hash(&mut hasher);
    hasher.finish()
}

impl Model for Life {
    type State = Moment;
    type Action = Action;

    fn init_states(&self) -> Vec<Moment> {
        vec![self.moment(Vec::new())]
    }

    fn actions(&self, moment: &Moment, actions: &mut Vec<Action>) {
        actions.extend(&moment.possible);
    }

    fn next_state(&self, moment: &Moment, action: Action) -> Option<Moment> {
        let mut history = moment.history.clone();
        history.push(action);
        let next = self.moment(history);
        self.steps
            .lock()
            .unwrap()
            .entry(name(moment))
            .or_default()
            .push(name(&next));
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always("one Close frame at most", |_, moment: &Moment| {
                moment.view.seen.closes <= 1
            }),
            Property::always("no frame behind a Close frame", |_, moment: &Moment| {
                !moment.view.seen.more_behind_close
            }),
            Property::always(
                "one end of the stream, and nothing behind it",
                |_, moment: &Moment| {
                    moment.view.seen.ends <= 1 && !moment.view.seen.more_behind_end
                },
            ),
            Property::always(
                "one last event, and none behind it",
                |_, moment: &Moment| {
                    moment.view.seen.terminal <= 1 && !moment.view.seen.more_behind_terminal
                },
            ),
            Property::always("closed for ever", |_, moment: &Moment| {
                !moment.view.seen.reopened
            }),
            Property::always("calls make progress", |_, moment: &Moment| {
                moment.view.seen.calls <= 2 && !moment.view.seen.acts_twice
            }),
            Property::always(
                "nothing is waited for behind the end",
                |_, moment: &Moment| !moment.view.waits_in_vain(),
            ),
            Property::always("opens in time", |life: &Self, moment: &Moment| {
                life.within(moment.view.seen.opening, &[Deadline::Open, Deadline::Close])
            }),
            Property::always("closes in time", |life: &Self, moment: &Moment| {
                life.within(moment.view.seen.closing, &[Deadline::Close])
            }),
            Property::always("silence ends in time", |life: &Self, moment: &Moment| {
                life.within(
                    Some(moment.view.seen.quiet),
                    &[Deadline::Ping, Deadline::Write],
                )
            }),
        ];
        // With a peer that answers every ping, a connection may be open for ever.
        if !self.setting.faithful {
            properties.push(Property::eventually("ends", |_, moment: &Moment| {
                moment.view.is_over()
            }));
        }
        properties
    }
}

impl Life {
    /// Whether no more ticks have passed than these deadlines leave together; so it is where one is not there.
    fn within(&self, passed: Option<u32>, deadlines: &[Deadline]) -> bool {
        let there = deadlines
            .iter()
            .all(|deadline| self.setting.without != Some(*deadline));
        let most = deadlines.iter().map(|deadline| ticks(*deadline)).sum();
        !there || passed.is_none_or(|passed| passed <= most)
    }
}
