//! The opening handshakes in progress, and which of them gives way to another connection (D10).
//!
//! A handshake can be evicted until its request is complete, however many bytes have arrived, and again
//! once its refusal was sent. It cannot while its request is being decided or answered.
//!
//! The rule: the largest group loses one, so that no address locks out others. Within the group it is one
//! that is older than [`GRACE`], at random, or else the oldest. So a reverse proxy, whose clients are a
//! single group, loses only clients that are slow, and no client can ensure that it stays.
//!
//! Every operation takes logarithmic time, amortized over the handshakes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use sansock_core::{Entropy, Instant, SystemEntropy};

use super::handle::Handle;
use crate::transport::Peer;

/// The age above which a handshake is evicted at random. A client that is not slow needs less.
const GRACE: Duration = Duration::from_secs(1);

/// A handshake in progress. Later ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(super) struct HandshakeId(u64);

/// The opening handshakes in progress.
pub(super) struct Handshakes {
    all: HashMap<HandshakeId, Handshake>,
    /// Those that can be evicted.
    groups: HashMap<Group, Members>,
    /// The groups by size. Of several of one size, the one with the oldest handshake comes last.
    by_size: BTreeMap<Rank, Group>,
    /// How many were evicted and are not removed yet.
    evicted: usize,
    next_id: u64,
    random: Random,
}

struct Handshake {
    handle: Handle,
    group: Group,
    since: Instant,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It can be evicted as the oldest of its group.
    Young,
    /// It can be evicted at random. With its index in [`Members::old`].
    Old(usize),
    /// Its request is being decided or answered.
    Kept,
    /// Its task is about to drop the transport.
    Evicted,
}

/// Whose handshakes, and connections, count together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Group {
    V4(Ipv4Addr),
    /// The first 64 bits. The others are chosen freely within one site.
    V6(u64),
    Unix,
    Unknown,
}

/// The size of a group, and its oldest handshake.
type Rank = (usize, Reverse<HandshakeId>);

/// The handshakes of one group that can be evicted.
#[derive(Default)]
struct Members {
    all: BTreeSet<HandshakeId>,
    /// Those that can be evicted at random, in no order.
    old: Vec<HandshakeId>,
    /// Those before this one were moved to `old` when they were old enough.
    next: HandshakeId,
}

impl Group {
    /// Returns the group of a peer: of the client, if a trusted proxy names it.
    pub(super) fn of(peer: &Peer) -> Self {
        match (peer, peer.ip()) {
            (_, Some(address)) => match address.to_canonical() {
                IpAddr::V4(address) => Self::V4(address),
                IpAddr::V6(address) => {
                    let [a, b, c, d, e, f, g, h, ..] = address.octets();
                    Self::V6(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
                }
            },
            (Peer::Unix, None) => Self::Unix,
            (Peer::Ip(_) | Peer::Proxied(_) | Peer::Unknown, None) => Self::Unknown,
        }
    }

    /// Whether these are the handshakes of an address, and not all of a kind.
    pub(super) const fn is_address(self) -> bool {
        match self {
            Self::V4(_) | Self::V6(_) => true,
            Self::Unix | Self::Unknown => false,
        }
    }
}

impl Handshakes {
    /// Returns an empty collection. The seed decides which of the old handshakes are evicted.
    fn new(seed: u64) -> Self {
        Self {
            all: HashMap::new(),
            groups: HashMap::new(),
            by_size: BTreeMap::new(),
            evicted: 0,
            next_id: 1,
            random: Random(seed),
        }
    }

    /// Returns how many are in progress, including those that were evicted and are not removed yet.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Returns how many are in progress and were not evicted.
    pub(super) fn in_progress(&self) -> usize {
        self.all.len().saturating_sub(self.evicted)
    }

    /// Returns how many were evicted and are not removed yet.
    pub(super) const fn evicted(&self) -> usize {
        self.evicted
    }

    /// Whether one can be evicted.
    pub(super) fn can_evict(&self) -> bool {
        !self.by_size.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Handle> {
        self.all.values().map(|handshake| &handshake.handle)
    }

    /// Adds a handshake that begins now.
    pub(super) fn insert(&mut self, handle: Handle, now: Instant) -> HandshakeId {
        let id = HandshakeId(self.next_id);
        self.next_id = self.next_id.saturating_add(1);
        let group = Group::of(handle.peer());
        let handshake = Handshake {
            handle,
            group,
            since: now,
            stage: Stage::Young,
        };
        self.all.insert(id, handshake);
        self.change(group, |members| members.all.insert(id));
        id
    }

    /// The proxy of the transport has named the client, whose handshakes count together from now on.
    pub(super) fn regroup(&mut self, id: HandshakeId) {
        let Some(handshake) = self.all.get(&id) else {
            return;
        };
        let (stage, group) = (handshake.stage, Group::of(handshake.handle.peer()));
        self.leave_group(id, Stage::Kept);
        if let Some(handshake) = self.all.get_mut(&id) {
            handshake.group = group;
        }
        if matches!(stage, Stage::Young | Stage::Old(_)) {
            self.change(group, |members| {
                members.all.insert(id);
                // It may be older than others that were moved already.
                members.next = members.next.min(id);
            });
            self.set_stage(id, Stage::Young);
        }
    }

    /// The request is complete: the handshake is not evicted any more. Returns whether it was not evicted
    /// before.
    pub(super) fn keep(&mut self, id: HandshakeId) -> bool {
        match self.all.get(&id).map(|handshake| handshake.stage) {
            Some(Stage::Evicted) | None => false,
            Some(Stage::Kept) => true,
            Some(Stage::Young | Stage::Old(_)) => {
                self.leave_group(id, Stage::Kept);
                true
            }
        }
    }

    /// The refusal was sent: the handshake can be evicted again, whatever its age.
    pub(super) fn release(&mut self, id: HandshakeId) {
        let Some(handshake) = self.all.get(&id) else {
            return;
        };
        if handshake.stage != Stage::Kept {
            return;
        }
        let group = handshake.group;
        let index = self.change(group, |members| {
            members.all.insert(id);
            members.old.push(id);
            members.old.len().saturating_sub(1)
        });
        self.set_stage(id, Stage::Old(index));
    }

    /// Removes a handshake. Returns whether it had been evicted.
    pub(super) fn remove(&mut self, id: HandshakeId) -> bool {
        self.leave_group(id, Stage::Kept);
        let removed = self.all.remove(&id);
        let was_evicted = removed.is_some_and(|handshake| handshake.stage == Stage::Evicted);
        self.evicted = self.evicted.saturating_sub(usize::from(was_evicted));
        was_evicted
    }

    /// Whether a handshake was evicted.
    pub(super) fn is_evicted(&self, id: HandshakeId) -> bool {
        let handshake = self.all.get(&id);
        handshake.is_some_and(|handshake| handshake.stage == Stage::Evicted)
    }

    /// Evicts one, if possible. The caller aborts its task, which drops the transport and removes it.
    pub(super) fn evict(&mut self, now: Instant) -> Option<Handle> {
        let (_, group) = self.by_size.last_key_value()?;
        let members = self.groups.get_mut(group)?;
        members.grow_old(&mut self.all, now);
        let id = match members.old.len() {
            0 => members.all.first(),
            size => members.old.get(self.random.below(size)),
        };
        let id = *id?;
        self.leave_group(id, Stage::Evicted);
        self.evicted = self.evicted.saturating_add(1);
        Some(self.all.get(&id)?.handle.clone())
    }

    /// Takes a handshake out of its group, if it is in one, and gives it another stage.
    fn leave_group(&mut self, id: HandshakeId, stage: Stage) {
        let Some(handshake) = self.all.get(&id) else {
            return;
        };
        let group = handshake.group;
        let index = match handshake.stage {
            Stage::Young => None,
            Stage::Old(index) => Some(index),
            Stage::Kept | Stage::Evicted => return,
        };
        let moved = self.change(group, |members| {
            members.all.remove(&id);
            let index = index.filter(|index| *index < members.old.len())?;
            members.old.swap_remove(index);
            let moved = *members.old.get(index)?;
            Some((moved, index))
        });
        if let Some((moved, index)) = moved {
            self.set_stage(moved, Stage::Old(index));
        }
        self.set_stage(id, stage);
    }

    fn set_stage(&mut self, id: HandshakeId, stage: Stage) {
        if let Some(handshake) = self.all.get_mut(&id) {
            handshake.stage = stage;
        }
    }

    /// Changes the members of a group, and its rank with them.
    fn change<R>(&mut self, group: Group, change: impl FnOnce(&mut Members) -> R) -> R {
        let members = self.groups.entry(group).or_default();
        if let Some(rank) = members.rank() {
            self.by_size.remove(&rank);
        }
        let result = change(members);
        match members.rank() {
            Some(rank) => drop(self.by_size.insert(rank, group)),
            None => drop(self.groups.remove(&group)),
        }
        result
    }
}

impl Default for Handshakes {
    /// If the system has no randomness, it can be predicted which handshake is evicted.
    fn default() -> Self {
        let [a, b, c, d, e, f, g, h, ..] = SystemEntropy.seed().unwrap_or_default();
        Self::new(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
    }
}

impl Members {
    fn rank(&self) -> Option<Rank> {
        let oldest = self.all.first()?;
        Some((self.all.len(), Reverse(*oldest)))
    }

    /// Moves those that are older than [`GRACE`] to `old`. Each is moved once.
    fn grow_old(&mut self, all: &mut HashMap<HandshakeId, Handshake>, now: Instant) {
        for id in self.all.range(self.next..) {
            let Some(handshake) = all.get_mut(id) else {
                continue;
            };
            if now.saturating_since(handshake.since) <= GRACE {
                self.next = *id;
                return;
            }
            if handshake.stage == Stage::Young {
                handshake.stage = Stage::Old(self.old.len());
                self.old.push(*id);
            }
        }
        let last = self.all.last();
        self.next = last.map_or(self.next, |last| HandshakeId(last.0.saturating_add(1)));
    }
}

/// A generator of numbers that are hard to predict without its seed (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `bound`, with a bias that does not matter.
    fn below(&mut self, bound: usize) -> usize {
        let product = u128::from(self.next()) * bound as u128;
        usize::try_from(product >> u64::BITS).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use super::*;

    fn handle(address: &str) -> Handle {
        let address = SocketAddr::new(address.parse().unwrap(), 1);
        Handle::new(address.into(), Arc::default(), 0)
    }

    fn at(millis: u64) -> Instant {
        Instant::from_start(Duration::from_millis(millis))
    }

    /// Evicts and removes one. Returns its address.
    fn evict(handshakes: &mut Handshakes, millis: u64) -> Option<String> {
        let evicted = handshakes.evict(at(millis))?;
        let mut all = handshakes.all.iter();
        let (id, _) = all.find(|(_, handshake)| handshake.handle == evicted)?;
        let id = *id;
        assert!(handshakes.is_evicted(id));
        assert!(!handshakes.keep(id), "it is too late");
        assert!(handshakes.remove(id));
        Some(evicted.peer().address()?.ip().to_string())
    }

    #[test]
    fn groups_are_ipv4_addresses_and_the_first_half_of_ipv6_addresses() {
        let group = |address: &str| Group::of(handle(address).peer());
        assert_eq!(group("10.0.0.1"), group("::ffff:10.0.0.1"));
        assert_ne!(group("10.0.0.1"), group("10.0.0.2"));
        assert_eq!(group("2001:db8:1:2::1"), group("2001:db8:1:2:ffff::2"));
        assert_ne!(group("2001:db8:1:2::1"), group("2001:db8:1:3::1"));
        assert_ne!(Group::of(&Peer::Unix), Group::of(&Peer::Unknown));
    }

    #[test]
    fn the_largest_group_loses_one_and_of_equals_the_one_that_waits_longest() {
        let mut handshakes = Handshakes::new(1);
        for address in ["1.1.1.1", "2.2.2.2", "3.3.3.3", "2.2.2.2", "3.3.3.3"] {
            handshakes.insert(handle(address), at(0));
        }
        let order: Vec<_> = std::iter::from_fn(|| evict(&mut handshakes, 0)).collect();
        let expected = ["2.2.2.2", "3.3.3.3", "1.1.1.1", "2.2.2.2", "3.3.3.3"];
        assert_eq!(order, expected);
        assert_eq!((handshakes.len(), handshakes.evicted()), (0, 0));
        assert!(handshakes.groups.is_empty() && handshakes.by_size.is_empty());
    }

    #[test]
    fn a_handshake_counts_with_the_client_that_a_proxy_names() {
        let mut handshakes = Handshakes::new(1);
        let named = |client: &str| {
            let proxied = handle("10.0.0.1");
            let client = SocketAddr::new(client.parse().unwrap(), 0);
            let client = proxied.peer().proxied(client);
            (proxied, client)
        };
        let mut ids = Vec::new();
        for client in ["1.1.1.1", "2.2.2.2", "1.1.1.1"] {
            let (proxied, client) = named(client);
            let id = handshakes.insert(proxied.clone(), at(0));
            proxied.set_client(client);
            ids.push((id, proxied));
        }
        let group = handshakes.groups.get(&Group::of(handle("10.0.0.1").peer()));
        assert_eq!(group.unwrap().all.len(), 3, "they are not regrouped yet");
        // The members of the old group have been moved to those that are evicted at random.
        let group = Group::of(handle("10.0.0.1").peer());
        let members = handshakes.groups.get_mut(&group).unwrap();
        members.grow_old(&mut handshakes.all, at(2000));
        assert_eq!(members.old.len(), 3);
        for (id, _) in &ids {
            handshakes.regroup(*id);
        }
        assert_eq!(handshakes.groups.len(), 2);
        assert_eq!(handshakes.by_size.len(), 2);
        let order = || evict(&mut handshakes, 3000);
        let order: Vec<_> = std::iter::from_fn(order).collect();
        assert_eq!(order.len(), 3);
        assert_eq!(order[0], "1.1.1.1", "the larger group");
        assert!(handshakes.groups.is_empty() && handshakes.by_size.is_empty());

        let (proxied, client) = named("1.1.1.1");
        let kept = handshakes.insert(proxied.clone(), at(0));
        assert!(handshakes.keep(kept));
        proxied.set_client(client);
        handshakes.regroup(kept);
        assert!(!handshakes.can_evict(), "its request is being decided");
        handshakes.release(kept);
        assert_eq!(evict(&mut handshakes, 0).as_deref(), Some("1.1.1.1"));
        handshakes.regroup(kept);
        assert!(handshakes.groups.is_empty());
    }

    #[test]
    fn the_old_are_evicted_at_random_and_the_young_in_their_order() {
        // Which of ten is the first to go, in a thousand attempts.
        let mut first = [0_u32; 10];
        for seed in 0..1000 {
            let mut handshakes = Handshakes::new(seed);
            let old: Vec<_> = (0..10)
                .map(|_| handshakes.insert(handle("1.1.1.1"), at(0)))
                .collect();
            let young = handshakes.insert(handle("1.1.1.1"), at(1));
            handshakes.evict(at(1001)).unwrap();
            let index = old.iter().position(|id| handshakes.is_evicted(*id));
            first[index.expect("an old one")] += 1;
            assert!(!handshakes.is_evicted(young), "it is no older than 1 s");
        }
        assert!(
            first.iter().all(|count| (50..200).contains(count)),
            "{first:?}"
        );
        let mut handshakes = Handshakes::new(1);
        let young: Vec<_> = (0..10)
            .map(|_| handshakes.insert(handle("1.1.1.1"), at(0)))
            .collect();
        for (index, id) in young.iter().enumerate() {
            handshakes.evict(at(1000)).unwrap();
            assert!(handshakes.is_evicted(*id), "{index}");
        }
    }

    /// Does what a server does, in an order that is drawn from the seed, and compares with a list that is
    /// searched from one end to the other.
    #[test]
    fn what_is_evicted_is_what_the_rule_says() {
        struct Known {
            id: HandshakeId,
            group: Group,
            since: u64,
            kept: bool,
            released: bool,
        }

        for seed in 0..50 {
            let mut random = Random(seed);
            let mut handshakes = Handshakes::new(seed);
            let mut known: Vec<Known> = Vec::new();
            let mut now = 0;
            for _ in 0..400 {
                now += random.below(300) as u64;
                let some = random.below(known.len().max(1));
                match (random.below(8), known.get_mut(some)) {
                    (0..=3, _) | (_, None) => {
                        let address = format!("10.0.0.{}", random.below(5));
                        let handle = handle(&address);
                        let group = Group::of(handle.peer());
                        known.push(Known {
                            id: handshakes.insert(handle, at(now)),
                            group,
                            since: now,
                            kept: false,
                            released: false,
                        });
                    }
                    (4, Some(one)) => {
                        assert!(handshakes.keep(one.id));
                        one.kept = true;
                    }
                    (5, Some(one)) => {
                        handshakes.release(one.id);
                        one.released |= one.kept;
                        one.kept = false;
                    }
                    (6, Some(one)) => {
                        assert!(!handshakes.remove(one.id));
                        known.remove(some);
                    }
                    (_, Some(_)) => {
                        let free = || known.iter().filter(|one| !one.kept);
                        let size = |group| free().filter(|one| one.group == group).count();
                        let largest = free().map(|one| size(one.group)).max();
                        let Some(evicted) = handshakes.evict(at(now)) else {
                            assert_eq!(largest, None);
                            continue;
                        };
                        let is_evicted = |one: &Known| handshakes.is_evicted(one.id);
                        let index = known.iter().position(is_evicted).unwrap();
                        let group = known[index].group;
                        assert_eq!(Group::of(evicted.peer()), group);
                        assert_eq!(Some(size(group)), largest);
                        let largest = free().find(|one| Some(size(one.group)) == largest);
                        assert_eq!(largest.unwrap().group, group, "it waits longest");
                        let is_old =
                            |one: &Known| one.released || now.saturating_sub(one.since) > 1000;
                        let mut members = free().filter(|one| one.group == group);
                        let oldest = members.next().unwrap().id;
                        let has_old = free().any(|one| one.group == group && is_old(one));
                        match has_old {
                            true => assert!(is_old(&known[index])),
                            false => assert_eq!(known[index].id, oldest),
                        }
                        assert!(handshakes.remove(known.remove(index).id));
                    }
                }
                assert_eq!(handshakes.len(), known.len());
                assert_eq!(handshakes.in_progress(), known.len());
                let can_evict = known.iter().any(|one| !one.kept);
                assert_eq!(handshakes.can_evict(), can_evict);
            }
        }
    }
}
