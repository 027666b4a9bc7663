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

    const fn bit(self) -> u8 {
        1 << self as u8
    }

    const fn id(self) -> u64 {
        self as u64
    }
}

/// The tasks that wait for a connection that is not split.
#[derive(Debug)]
pub(crate) struct Wakers {
    /// The task that waited last, while there is only one.
    task: Option<Waker>,
    /// The roles that wait, as bits.
    waiting: u8,
    /// What each role waits for, if it does.
    goals: [Goal; Role::ALL.len()],
    /// Present once two different tasks waited at the same time.
    shared: Option<Arc<WakerSet>>,
}

impl Default for Wakers {
    fn default() -> Self {
        Self {
            task: None,
            waiting: 0,
            goals: [Goal::End; Role::ALL.len()],
            shared: None,
        }
    }
}

impl Wakers {
    /// Returns the waker for the transport if several tasks wait. The task is registered.
    #[inline]
    pub(super) fn shared(&self, role: Role, waker: &Waker) -> Option<Waker> {
        let shared = self.shared.as_ref()?;
        shared.add(role.id(), waker);
        Some(Waker::from(shared.clone()))
    }

    /// Registers a task that waits. Returns whether its waker is new to the transport's owner, and
    /// whether the transport has to be polled again, with the waker of all tasks.
    #[inline]
    pub(super) fn wait(&mut self, role: Role, goal: Goal, waker: &Waker) -> Registered {
        self.waiting |= role.bit();
        self.goals[role.index()] = goal;
        if self.shared.is_some() {
            return Registered::Known;
        }
        match &self.task {
            Some(task) if task.will_wake(waker) => Registered::Known,
            Some(_) | None => self.wait_as_another_task(role, waker),
        }
    }

    #[cold]
    fn wait_as_another_task(&mut self, role: Role, waker: &Waker) -> Registered {
        if self.task.is_some() && self.another_waits(role) {
            self.share();
            if let Some(shared) = &self.shared {
                shared.add(role.id(), waker);
            }
            return Registered::Shared;
        }
        self.task = Some(waker.clone());
        Registered::New
    }

    /// Whether no other task waits.
    #[inline]
    pub(super) fn is_alone(&self, role: Role, waker: &Waker) -> bool {
        let task = self.task.as_ref();
        !self.another_waits(role) || task.is_none_or(|task| task.will_wake(waker))
    }

    /// Whether no operation in this role waits, and no other task does.
    #[inline]
    pub(super) fn is_first(&self, role: Role, waker: &Waker) -> bool {
        self.waiting == 0 || (!self.waits(role) && self.is_alone(role, waker))
    }

    /// Whether another role waits.
    #[inline]
    pub(super) const fn another_waits(&self, role: Role) -> bool {
        self.waiting & !role.bit() != 0
    }

    /// Moves the task that waits to a set, to which another one is added.
    #[cold]
    pub(super) fn share(&mut self) {
        let Some(task) = self.task.take() else {
            return;
        };
        let set = Arc::new(WakerSet::default());
        for role in Role::ALL {
            if self.waiting & role.bit() != 0 {
                set.add(role.id(), &task);
            }
        }
        self.shared = Some(set);
    }

    /// Whether this role waits.
    #[inline]
    pub(super) const fn waits(&self, role: Role) -> bool {
        self.waiting & role.bit() != 0
    }

    /// The role does not wait any more.
    #[inline(always)]
    pub(super) fn stop_waiting(&mut self, role: Role) {
        if self.waits(role) {
            self.forget(role);
        }
    }

    #[inline(never)]
    fn forget(&mut self, role: Role) {
        self.waiting &= !role.bit();
        if let Some(shared) = &self.shared {
            drop(shared.remove(role.id()));
        }
    }

    /// Whether another role waits for something that this one may bring about.
    #[inline]
    pub(super) const fn others_wait(&self, role: Role) -> bool {
        self.waiting & !role.bit() & !Role::Attend.bit() != 0
    }

    /// Wakes the other roles whose goal is met: nothing else would, as the transport was used by this
    /// one.
    pub(super) fn wake_others(&mut self, role: Role, mut is_met: impl FnMut(Goal) -> bool) {
        for other in Role::ALL {
            if other != role && self.waits(other) && is_met(self.goals[other.index()]) {
                self.waiting &= !other.bit();
                self.wake(other);
            }
        }
    }

    /// Wakes the other roles that wait for something else than a message.
    #[cold]
    pub(super) fn wake_readers(&self, role: Role) {
        for reader in [Role::Send, Role::Attend] {
            if reader != role && self.waits(reader) {
                self.wake(reader);
            }
        }
    }

    fn wake(&self, role: Role) {
        match (&self.shared, &self.task) {
            (Some(shared), _) => shared.wake_one(role.id()),
            (None, Some(task)) => task.wake_by_ref(),
            (None, None) => {}
        }
    }

    pub(super) const fn is_shared(&self) -> bool {
        self.shared.is_some()
    }
}

/// What came of registering a waker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Registered {
    /// The transport has a waker that wakes this task.
    Known,
    /// As `Known`, and the waker is another one than before.
    New,
    /// Another task waits as well: the transport must be polled again, with the waker of both.
    Shared,
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

impl List {
    fn get(&mut self, id: u64) -> Option<&mut Waker> {
        let mut wakers = self.wakers.iter_mut();
        wakers.find_map(|(waiting, waker)| (*waiting == id).then_some(waker))
    }
}

impl WakerSet {
    /// Registers the waker of a task, in place of an earlier one.
    pub(crate) fn add(&self, id: u64, waker: &Waker) {
        if self.list().get(id).is_some_and(|old| old.will_wake(waker)) {
            return;
        }
        let new = waker.clone();
        let mut list = self.list();
        let old = match list.get(id) {
            Some(old) => Some(std::mem::replace(old, new)),
            None => {
                list.wakers.push((id, new));
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

    /// Wakes all tasks but `id`; after the poll if one is in progress.
    pub(crate) fn wake_others(&self, id: Option<u64>) {
        let mut list = self.list();
        if list.polling {
            list.woken = true;
            return;
        }
        let others = list.wakers.iter();
        let others = others.filter(|(waiting, _)| Some(*waiting) != id);
        let others: Vec<Waker> = others.map(|(_, waker)| waker.clone()).collect();
        drop(list);
        others.into_iter().for_each(Waker::wake);
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
