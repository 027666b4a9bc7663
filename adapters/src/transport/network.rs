//! Networks of IP addresses, such as `10.0.0.0/8`.

use std::net::IpAddr;

/// The addresses that share a prefix. A prefix of IPv4 that is mapped to IPv6 is one of IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    prefix: u128,
    /// How many bits an address has.
    width: u32,
    /// How many of them follow the prefix.
    host_bits: u32,
}

impl Network {
    /// Returns the network of an address and the length of its prefix in bits; `None` if it is too long.
    pub(crate) fn new(address: IpAddr, length: u32) -> Option<Self> {
        // The bits of a mapped address follow 96 others.
        let length = match address.is_ipv6() && address.to_canonical().is_ipv4() {
            true => length.checked_sub(96)?,
            false => length,
        };
        let (prefix, width) = bits(address);
        Some(Self {
            prefix,
            width,
            host_bits: width.checked_sub(length)?,
        })
    }

    /// Parses an address, or an address and the length of its prefix.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let length = match length {
            // The parser of integers takes a sign as well.
            Some(length) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
                length.parse().ok()?
            }
            Some(_) => return None,
            None if address.is_ipv4() => 32,
            None => 128,
        };
        Self::new(address, length)
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let (address, width) = bits(address);
        let differences = self.prefix ^ address;
        width == self.width && differences.checked_shr(self.host_bits).unwrap_or(0) == 0
    }
}

/// Returns the bits of an address, and how many it has.
fn bits(address: IpAddr) -> (u128, u32) {
    match address.to_canonical() {
        IpAddr::V4(address) => (address.to_bits().into(), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_the_addresses_of_its_prefix() {
        let cases = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.1.2.3/8", "10.9.9.9", true),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("::ffff:10.0.0.0/104", "10.0.0.1", true),
            ("10.0.0.0/8", "a00::1", false),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("0.0.0.0/0", "203.0.113.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "203.0.113.1", false),
            ("::1", "::1", true),
            ("::1", "::2", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
        ];
        for (network, address, expected) in cases {
            let contains = Network::parse(network).unwrap();
            let contains = contains.contains(address.parse().unwrap());
            assert_eq!(contains, expected, "{network} {address}");
        }
        for text in [
            "",
            "10",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0.0/",
            "::/129",
            "a/8",
        ] {
            assert_eq!(Network::parse(text), None, "{text}");
        }
        assert_eq!(Network::parse("::ffff:10.0.0.0/95"), None);
    }
}
