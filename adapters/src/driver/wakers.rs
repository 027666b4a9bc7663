//! Which tasks wait for a connection, and whom to wake (D4).
//!
//! A transport and a timer keep one waker for each direction. Several tasks may wait for the same
//! connection: one that receives, one that sends, and one that drives it while its owner is busy. While
//! all of them are one task, the transport gets the waker of that task. As soon as they differ, it gets
//! the waker of a [`WakerSet`], which wakes all of them. Passing each task's own waker in turn instead
//! would replace the waker of the other task at every poll.

use std::sync::{Arc, PoisonError};
use std::task::{Wake, Waker};

use super::Goal;
use super::sync::{Mutex, MutexGuard};

/// In which role an operation waits. Each role has at most one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Receive,
    Send,
    /// Drives the connection while the application waits for something else.
    Attend,
}

impl Role {
    const ALL: [Self; 3] = [Self::Receive, Self::Send, Self::Attend];

    const fn index(self) -> usize {
        self as usize
    }

    const fn id(self) -> u64 {
        self as u64
    }
}

/// The tasks that wait for a connection that is not split.
#[derive(Debug, Default)]
pub(crate) struct Wakers {
    /// The task that waited last, while there is only one.
    task: Option<Waker>,
    /// What each role waits for, `None` if it does not wait.
    goals: [Option<Goal>; Role::ALL.len()],
    /// Present once two different tasks waited at the same time.
    shared: Option<Arc<WakerSet>>,
    /// Whether the inbox knows the waker of the task, or of the set.
    is_known: bool,
    /// Whether whoever polls passes a waker of all tasks, and wakes them itself.
    left_to_owner: bool,
}

impl Wakers {
    /// Forgets all tasks: whoever polls passes a waker of all of them from now on.
    pub(super) fn leave_to_owner(&mut self) {
        *self = Self {
            left_to_owner: true,
            ..Self::default()
        };
    }

    /// Returns the waker for the transport if several tasks wait. The task is registered.
    ///
    /// An operation that does not have to wait takes it as well, or the transport would forget the task
    /// that waits.
    #[inline]
    pub(super) fn shared(&mut self, role: Role, waker: &Waker) -> Option<Waker> {
        if self.shared.is_none() && self.is_another_task(role, waker) {
            self.share(role);
        }
        let shared = self.shared.as_ref()?;
        shared.add(role.id(), waker);
        Some(Waker::from(shared.clone()))
    }

    /// Whether another task waits than the one with this waker.
    #[inline]
    fn is_another_task(&self, role: Role, waker: &Waker) -> bool {
        let is_other = |task: &Waker| !task.will_wake(waker);
        self.task.as_ref().is_some_and(is_other) && self.others(role).next().is_some()
    }

    /// Returns the other roles that wait.
    fn others(&self, role: Role) -> impl Iterator<Item = Role> {
        let others = Role::ALL.into_iter().filter(move |other| *other != role);
        others.filter(|other| self.goals[other.index()].is_some())
    }

    /// Makes the set of all tasks, of those that wait in other roles.
    #[cold]
    fn share(&mut self, role: Role) {
        if let Some(task) = self.task.take() {
            let set = WakerSet::default();
            self.others(role).for_each(|other| set.add(other.id(), &task));
            self.shared = Some(Arc::new(set));
            self.is_known = false;
        }
    }

    pub(super) const fn are_left_to_owner(&self) -> bool {
        self.left_to_owner
    }

    pub(super) const fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// Registers a task that waits, after [`shared`](Self::shared). Returns whether the inbox does not
    /// know its waker.
    #[inline]
    pub(super) fn wait(&mut self, role: Role, goal: Goal, waker: &Waker) -> bool {
        self.goals[role.index()] = Some(goal);
        let is_same = |task: &Waker| task.will_wake(waker);
        if self.shared.is_none() && !self.task.as_ref().is_some_and(is_same) {
            self.task = Some(waker.clone());
            self.is_known = false;
        }
        !std::mem::replace(&mut self.is_known, true)
    }

    /// The role does not wait any more.
    #[inline]
    pub(super) fn stop_waiting(&mut self, role: Role) {
        self.goals[role.index()] = None;
        if let Some(shared) = &self.shared {
            drop(shared.remove(role.id()));
        }
    }

    /// Whether another role waits for something that this one may bring about.
    #[inline]
    pub(super) const fn others_wait(&self, role: Role) -> bool {
        let [receive, send, _] = &self.goals;
        !self.left_to_owner
            && match role {
                Role::Receive => send.is_some(),
                Role::Send => receive.is_some(),
                Role::Attend => receive.is_some() || send.is_some(),
            }
    }

    /// Wakes the other roles whose goal is met: nothing else would, as the transport was used by this
    /// one.
    pub(super) fn wake_others(&mut self, role: Role, is_met: impl Fn(Goal) -> bool) {
        for other in Role::ALL {
            let goal = &mut self.goals[other.index()];
            if other == role || !goal.is_some_and(&is_met) {
                continue;
            }
            *goal = None;
            self.wake(other);
        }
    }

    /// Wakes the roles that wait for something else than a message.
    #[cold]
    pub(super) fn wake_readers(&self) {
        self.others(Role::Receive).for_each(|other| self.wake(other));
    }

    fn wake(&self, role: Role) {
        match (&self.shared, &self.task) {
            (Some(shared), _) => shared.wake_one(role.id()),
            (None, Some(task)) => task.wake_by_ref(),
            (None, None) => {}
        }
    }
}

/// Wakers of several tasks that wait for the same connection. Waking the set wakes all of them.
///
/// A waker may run any code when it is woken, cloned or dropped, so this never happens under a lock.
/// Wakes that occur during a poll of the connection are delivered after it: see [`begin_poll`](Self::begin_poll).
#[derive(Debug, Default)]
pub(crate) struct WakerSet {
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    wakers: Vec<(u64, Waker)>,
    /// The connection is being polled.
    polling: bool,
    /// All tasks are to be woken after the poll.
    woken: bool,
}

impl WakerSet {
    /// Registers the waker of a task, in place of an earlier one.
    pub(crate) fn add(&self, id: u64, waker: &Waker) {
        let mut list = self.list();
        let old = match list.wakers.iter_mut().find(|(waiting, _)| *waiting == id) {
            Some((_, old)) if old.will_wake(waker) => None,
            Some((_, old)) => Some(std::mem::replace(old, waker.clone())),
            None => {
                list.wakers.push((id, waker.clone()));
                None
            }
        };
        drop(list);
        drop(old);
    }

    /// Takes a waker out, to be dropped by the caller while it holds no lock.
    pub(crate) fn remove(&self, id: u64) -> Option<Waker> {
        let wakers = &mut self.list().wakers;
        let index = wakers.iter().position(|(waiting, _)| *waiting == id)?;
        Some(wakers.swap_remove(index).1)
    }

    /// Wakes all tasks but `id`; after the poll if one is in progress. A task that still waits registers
    /// again when it is polled: one that has given up is woken no more than once.
    pub(crate) fn wake_others(&self, id: Option<u64>) {
        let mut list = self.list();
        if list.polling {
            list.woken = true;
            return;
        }
        let all = std::mem::take(&mut list.wakers).into_iter();
        let (own, others): (Vec<_>, Vec<_>) = all.partition(|(waiting, _)| Some(*waiting) == id);
        list.wakers = own;
        drop(list);
        others.into_iter().for_each(|(_, waker)| waker.wake());
    }

    fn wake_one(&self, id: u64) {
        let waker = self.remove(id);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Delays wakes until [`end_poll`](Self::end_poll): the caller holds the lock of the connection.
    pub(crate) fn begin_poll(&self) {
        self.list().polling = true;
    }

    /// Returns whether the set was woken during the poll.
    pub(crate) fn end_poll(&self) -> bool {
        let mut list = self.list();
        list.polling = false;
        std::mem::take(&mut list.woken)
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for WakerSet {
    fn wake(self: Arc<Self>) {
        self.wake_others(None);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_others(None);
    }
}
