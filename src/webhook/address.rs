//! Which addresses are called: those of the public network, and those that the operator of this platform names. A name is judged by what it
//! resolves to at the moment of the call, and only such addresses are given to the connector, so a name that resolves anew gains nothing.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::base::error::{Error, Result};
use crate::base::networks::Networks;

/// Longest address in bytes.
const MAX_URL: usize = 500;

/// Whether an address is of the public network. Clouds answer for their machines at `169.254.169.254` (link-local), `fd00:ec2::254` (unique
/// local), `100.100.100.200` (shared), `192.0.0.192` (protocol assignments) and `168.63.129.16`, which is none of these.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            let special = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_documentation();
            let shared = a == 100 && (64..128).contains(&b);
            let assigned = a == 192 && b == 0 && c == 0 || a == 198 && (18..20).contains(&b) || a == 192 && b == 88 && c == 99;
            // `0.0.0.0/8`, and all from `224.0.0.0`: multicast, reserved, broadcast.
            !(special || shared || assigned || a == 0 || a >= 224 || v4 == Ipv4Addr::new(168, 63, 129, 16))
        }
        IpAddr::V6(v6) => {
            let [first, second, ..] = v6.segments();
            // Global unicast is `2000::/3` (RFC 4291); of it documentation, and what carries an IPv4 address in it (Teredo, 6to4).
            let documentation = first == 0x2001 && second == 0xdb8 || first == 0x3fff && second < 0x1000;
            let carries = first == 0x2001 && second < 0x200 || first == 0x2002;
            first & 0xe000 == 0x2000 && !documentation && !carries
        }
    }
}

/// Reads an address as typed.
///
/// # Errors
/// On the field `url`: `webhook-url`; `webhook-address-private` for a number that is not called. What a name stands for shows at each call.
pub fn parse(text: &str, private: &Networks) -> Result<Url> {
    let malformed = || Error::field("url", "webhook-url");
    let url = Url::parse(text.trim()).ok().filter(|url| url.as_str().len() <= MAX_URL).ok_or_else(malformed)?;
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    // Without TLS only where this platform calls networks of its own.
    let scheme = url.scheme() == "https" || url.scheme() == "http" && !private.is_empty();
    if !plain || !scheme || url.host_str().is_none_or(str::is_empty) {
        return Err(malformed());
    }
    match literal(&url) {
        Some(address) if !is_called(address, url.scheme() == "https", private) => Err(Error::field("url", "webhook-address-private")),
        _ => Ok(url),
    }
}

/// The host of a kept address: the rest of it may hold a secret of its receiver, and is in no record and no message.
pub fn host(url: &str) -> String {
    Url::parse(url).ok().and_then(|url| url.host_str().map(ToOwned::to_owned)).unwrap_or_default()
}

/// The number that an address names instead of a host.
pub fn literal(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Whether an address is called: with TLS the public ones, and those of named networks in any case.
pub fn is_called(address: IpAddr, tls: bool, private: &Networks) -> bool {
    tls && is_public(address) || private.contains(address)
}

/// A name has no address that is called.
#[derive(Debug, thiserror::Error)]
#[error("no address of this name is called")]
pub struct NotCalled;

/// Resolves names to addresses that are called. A name with one that is not is not called at all: whoever mixes them is up to something.
#[derive(Debug, Clone)]
pub struct Resolver {
    pub tls: bool,
    pub private: Networks,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let own = self.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            Ok(Box::new(own.called(found)?.into_iter()) as Addrs)
        })
    }
}

impl Resolver {
    /// The addresses that a name stands for at a call, where all of them are called.
    fn called(&self, found: Vec<SocketAddr>) -> std::result::Result<Vec<SocketAddr>, NotCalled> {
        let called = !found.is_empty() && found.iter().all(|address| is_called(address.ip(), self.tls, &self.private));
        if called { Ok(found) } else { Err(NotCalled) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(text: &str) -> Networks {
        toml::Value::String(text.into()).try_into().unwrap()
    }

    #[test]
    fn only_the_public_network_is_called() {
        let none = Networks::default();
        let refused = "127.0.0.1 127.8.8.8 0.0.0.0 0.1.2.3 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 169.254.169.254 100.64.0.1 \
                       100.100.100.200 192.0.0.192 192.0.2.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.1.1.1 240.0.0.1 \
                       255.255.255.255 168.63.129.16 192.88.99.1 :: ::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::127.0.0.1 64:ff9b::7f00:1 fc00::1 \
                       fd00:ec2::254 fe80::1 ff02::1 2001:db8::1 2001::1 2002:7f00:1:: 3fff::1 100::1 4000::1";
        for text in refused.split_whitespace() {
            let address: IpAddr = text.parse().unwrap();
            assert!(!is_called(address, true, &none), "{text}");
        }
        for text in
            ["1.1.1.1", "8.8.8.8", "114.114.114.114", "172.32.0.1", "100.128.0.1", "2400:3200::1", "2606:4700::1111", "::ffff:8.8.8.8"]
        {
            let address: IpAddr = text.parse().unwrap();
            assert!(is_called(address, true, &none), "{text}");
            assert!(!is_called(address, false, &none), "{text} without TLS");
        }
        let own = networks("127.0.0.1, 10.1.0.0/16");
        assert!(is_called("127.0.0.1".parse().unwrap(), false, &own) && is_called("10.1.2.3".parse().unwrap(), true, &own));
        assert!(!is_called("127.0.0.2".parse().unwrap(), true, &own) && !is_called("10.2.0.1".parse().unwrap(), true, &own));
    }

    #[test]
    fn an_address_is_read_strictly() {
        let code = |text: &str, private: &Networks| parse(text, private).map(|_| ()).map_err(|e| e.fields[0].code);
        let none = Networks::default();
        for text in ["https://example.com/hook", " https://example.com:8443/a?b=c ", "https://8.8.8.8/", "https://[2606:4700::1111]/"] {
            assert_eq!(code(text, &none), Ok(()), "{text}");
        }
        let long = format!("https://example.com/{}", "x".repeat(MAX_URL));
        for text in [
            "",
            "example.com",
            "http://example.com/",
            "ftp://example.com/",
            "https://a:b@example.com/",
            "https://example.com/#x",
            "https:///",
            &long,
        ] {
            assert_eq!(code(text, &none), Err("webhook-url"), "{text}");
        }
        // Numbers in every notation of browsers are the same number.
        for text in [
            "https://127.0.0.1/",
            "https://0x7f.1/",
            "https://2130706433/",
            "https://[::1]/",
            "https://[::ffff:10.0.0.1]/",
            "https://169.254.169.254/latest",
        ] {
            assert_eq!(code(text, &none), Err("webhook-address-private"), "{text}");
        }
        let own = networks("127.0.0.1");
        assert_eq!(code("http://127.0.0.1:9000/hook", &own), Ok(()));
        assert_eq!(code("http://8.8.8.8/", &own), Err("webhook-address-private"));
        assert_eq!(code("http://example.com/", &own), Ok(()), "what it stands for shows at the call");
    }

    /// A name that stands for another address at its second call is judged anew, and one private address among public ones ends it.
    #[test]
    fn a_name_is_judged_by_all_of_its_addresses_at_each_call() {
        let resolver = Resolver { tls: true, private: Networks::default() };
        let called =
            |addresses: &[&str]| resolver.called(addresses.iter().map(|text| text.parse().unwrap()).collect()).map(|all| all.len());
        assert_eq!(called(&["8.8.8.8:0", "[2606:4700::1111]:0"]).ok(), Some(2));
        for mixed in [&["8.8.8.8:0", "10.0.0.1:0"], &["127.0.0.1:0", "8.8.8.8:0"], &["8.8.8.8:0", "[::ffff:169.254.169.254]:0"]] {
            assert!(called(mixed).is_err(), "{mixed:?}");
        }
        assert!(called(&["10.0.0.1:0"]).is_err() && called(&[]).is_err());
    }

    #[tokio::test]
    async fn a_name_of_a_private_address_resolves_to_nothing() {
        let resolver = |private: &str, tls| Resolver { tls, private: networks(private) };
        let resolve = async |resolver: Resolver| resolver.resolve("localhost".parse().unwrap()).await.map(Iterator::count);
        let refused = resolve(resolver("", true)).await.unwrap_err();
        assert!(refused.downcast_ref::<NotCalled>().is_some(), "{refused}");
        assert!(resolve(resolver("127.0.0.0/8, ::1", false)).await.unwrap() > 0);
    }
}
