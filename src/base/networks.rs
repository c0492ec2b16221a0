//! Networks of IP addresses: the proxies that are believed, and by what network an address is counted.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Networks as a setting names them: `"10.0.0.0/8, ::1"`, or a list of such texts. A single address is a network of one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Listed", into = "String")]
pub struct Networks(Vec<IpNet>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Listed {
    One(String),
    Many(Vec<String>),
}

impl Networks {
    /// Whether an address is in one of them. An IPv4 address may be given as an IPv6 one (`::ffff:10.0.0.1`).
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address.to_canonical()))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<Listed> for Networks {
    type Error = String;

    fn try_from(listed: Listed) -> Result<Self, String> {
        let texts = match listed {
            Listed::One(text) => vec![text],
            Listed::Many(texts) => texts,
        };
        let words = texts.iter().flat_map(|text| text.split([',', ' '])).filter(|word| !word.is_empty());
        let network = |word: &str| {
            let whole = word.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
            whole.or_else(|_| word.parse::<IpNet>()).map_err(|_| format!("\"{word}\" is no network like 10.0.0.0/8 or fd00::/8"))
        };
        words.map(network).collect::<Result<_, _>>().map(Self)
    }
}

impl From<Networks> for String {
    fn from(networks: Networks) -> Self {
        networks.to_string()
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
    }
}

/// What an address is counted by: an IPv4 address itself, the /64 of an IPv6 one, for whoever has one address of it has them all. A text
/// that is no address stands for itself.
pub fn network_of(address: &str) -> String {
    match address.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V6(address)) => {
            let prefix = Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX));
            format!("{prefix}/64")
        }
        Ok(address @ IpAddr::V4(_)) => address.to_string(),
        Err(_) => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(text: &str) -> Result<Networks, String> {
        Networks::try_from(Listed::One(text.to_owned()))
    }

    #[test]
    fn a_setting_names_networks_and_single_addresses() {
        let some = networks("10.0.0.0/8, 192.0.2.7 fd00::/8").unwrap();
        for inside in ["10.9.8.7", "192.0.2.7", "fd00::1", "::ffff:10.0.0.1"] {
            assert!(some.contains(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["11.0.0.1", "192.0.2.8", "fe80::1"] {
            assert!(!some.contains(outside.parse().unwrap()), "{outside}");
        }
        assert_eq!(some.to_string(), "10.0.0.0/8, 192.0.2.7/32, fd00::/8");
        assert!(networks("").unwrap().is_empty());
        assert!(networks("proxy.local").unwrap_err().contains("proxy.local"));
    }

    #[test]
    fn an_address_is_counted_by_what_its_owner_has() {
        for (address, network) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::", "2001:db8:1:2::/64"),
            ("unknown", "unknown"),
        ] {
            assert_eq!(network_of(address), network);
        }
    }
}
