//! How many connections each address has.

use std::collections::HashMap;

use super::handshakes::Group;

/// The open connections of each address that has one: of an IPv4 address, or of the first 64 bits of an IPv6 address.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    counts: HashMap<Group, usize>,
}

impl Addresses {
    /// Counts one more connection, unless the address has the most it may have. Returns whether it is counted.
    pub(super) fn add(&mut self, group: Group, most: usize) -> bool {
        if !group.is_address() {
            return true;
        }
        let count = self.counts.get(&group).copied().unwrap_or_default();
        let may_open = count < most;
        if may_open {
            self.counts.insert(group, count.saturating_add(1));
        }
        may_open
    }

    /// A connection that was counted has ended. Nothing is kept of an address without connections.
    pub(super) fn remove(&mut self, group: Group) {
        match self.counts.get_mut(&group) {
            Some(count) if *count > 1 => *count = count.saturating_sub(1),
            Some(_) => drop(self.counts.remove(&group)),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::transport::Peer;

    fn group(address: &str) -> Group {
        Group::of(&SocketAddr::new(address.parse().unwrap(), 1).into())
    }

    #[test]
    fn an_address_has_up_to_the_limit_and_is_forgotten_with_its_last_connection() {
        let mut addresses = Addresses::default();
        assert!(addresses.add(group("192.0.2.1"), 2));
        assert!(addresses.add(group("::ffff:192.0.2.1"), 2));
        assert!(!addresses.add(group("192.0.2.1"), 2));
        assert!(addresses.add(group("192.0.2.2"), 2));
        addresses.remove(group("192.0.2.1"));
        assert!(addresses.add(group("192.0.2.1"), 2));
        assert!(!addresses.add(group("192.0.2.1"), 2));
        for address in ["192.0.2.1", "192.0.2.1", "192.0.2.2"] {
            addresses.remove(group(address));
        }
        assert!(addresses.counts.is_empty());
        assert!(!addresses.add(group("192.0.2.1"), 0));
        addresses.remove(group("192.0.2.1"));
        assert!(addresses.counts.is_empty());
    }

    #[test]
    fn the_first_half_of_an_ipv6_address_counts_and_what_has_no_address_does_not() {
        let mut addresses = Addresses::default();
        assert!(addresses.add(group("2001:db8::1"), 1));
        assert!(!addresses.add(group("2001:db8::ffff:2"), 1));
        assert!(addresses.add(group("2001:db8:0:1::1"), 1));
        for peer in [Peer::Unix, Peer::Unix, Peer::Unknown, Peer::Unknown] {
            assert!(addresses.add(Group::of(&peer), 1));
            addresses.remove(Group::of(&peer));
        }
        assert_eq!(addresses.counts.len(), 2);
    }
}
