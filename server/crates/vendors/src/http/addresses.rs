//! Which addresses may be called: public ones, and those that the operator allows.

use std::{
    error::Error,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
    sync::Arc,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The private addresses that the operator lets workspaces call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum AllowList {
    /// None: only public addresses are called.
    #[default]
    None,
    /// All: every address is called.
    All,
    /// Those in these ranges, beside the public ones.
    Ranges(Vec<IpNet>),
}

/// An allow-list that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct AllowListError(Vec<String>);

impl FromStr for AllowList {
    type Err = AllowListError;

    /// Reads `all`, `none`, or addresses and ranges separated by commas, such as `127.0.0.0/8,10.1.2.3`. Blank: none.
    ///
    /// # Errors
    /// Names every part that is neither.
    fn from_str(text: &str) -> Result<Self, AllowListError> {
        let parts: Vec<_> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
        match parts.as_slice() {
            [] | ["none"] => return Ok(Self::None),
            ["all"] => return Ok(Self::All),
            _ => {}
        }
        let (mut ranges, mut wrong) = (Vec::new(), Vec::new());
        for part in parts {
            match part.parse::<IpNet>().or_else(|_| part.parse::<IpAddr>().map(IpNet::from)) {
                Ok(range) => ranges.push(range),
                Err(_) if part == "all" || part == "none" => wrong.push(format!("`{part}` must stand alone")),
                Err(_) => wrong.push(format!(
                    "`{part}` is not an address or a range such as 10.1.0.0/16; `all` allows everything"
                )),
            }
        }
        if wrong.is_empty() { Ok(Self::Ranges(ranges)) } else { Err(AllowListError(wrong)) }
    }
}

impl AllowList {
    /// Tells whether an address may be called.
    pub(super) fn permits(&self, address: IpAddr) -> bool {
        let address = effective(address);
        match self {
            Self::All => true,
            Self::None => is_public(address),
            Self::Ranges(ranges) => ranges.iter().any(|range| range.contains(&address)) || is_public(address),
        }
    }

    /// Resolves a name and drops the addresses that may not be called.
    pub(super) async fn resolve(&self, host: &str) -> Result<Vec<SocketAddr>, ResolveError> {
        let mut dropped = None;
        let mut permitted = Vec::new();
        for address in tokio::net::lookup_host((host, 0)).await.map_err(ResolveError::Dns)? {
            if self.permits(address.ip()) {
                permitted.push(address);
            } else {
                dropped = Some(address.ip());
            }
        }
        match dropped {
            Some(address) if permitted.is_empty() => {
                Err(ResolveError::Forbidden(Forbidden { name: Some(host.to_owned()), address }))
            }
            _ => Ok(permitted),
        }
    }
}

/// A target at an address that may not be called. Its text follows a field's name or stands after a colon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Forbidden {
    /// The name that leads there, if it was not the address itself.
    pub(super) name: Option<String>,
    /// The address.
    pub(super) address: IpAddr,
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} leads to {}, a private address", self.address)?,
            None => write!(f, "{} is a private address", self.address)?,
        }
        f.write_str("; ask the operator to allow it, or use a public one")
    }
}

impl Error for Forbidden {}

#[derive(Debug, thiserror::Error)]
pub(super) enum ResolveError {
    #[error(transparent)]
    Dns(std::io::Error),
    #[error(transparent)]
    Forbidden(Forbidden),
}

/// Gives the HTTP client its addresses. The connection is made to one of those that were checked here, so a name whose
/// answer changes between a check and the call gains nothing.
pub(super) struct CheckedResolver(pub(super) Arc<AllowList>);

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allow = Arc::clone(&self.0);
        Box::pin(async move {
            match allow.resolve(name.as_str()).await {
                Ok(addresses) => Ok(Box::new(addresses.into_iter()) as Addrs),
                // Unwrapped, so that whoever walks the chain of causes meets the type itself.
                Err(ResolveError::Forbidden(forbidden)) => Err(forbidden.into()),
                Err(ResolveError::Dns(error)) => Err(error.into()),
            }
        })
    }
}

/// NAT64, <https://www.rfc-editor.org/rfc/rfc6052>.
const NAT64: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);

/// The address that is reached in the end: IPv6 forms that only carry an IPv4 address are that address.
fn effective(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if NAT64.contains(&v6) => {
            let [.., a, b, c, d] = v6.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        }
        other => other,
    }
}

/// What IANA's registry of special purposes does not call globally reachable, and multicast.
/// <https://www.iana.org/assignments/iana-ipv4-special-registry>
const SPECIAL_V4: [Ipv4Net; 15] = [
    v4([0, 0, 0, 0], 8),
    v4([10, 0, 0, 0], 8),
    v4([100, 64, 0, 0], 10),
    v4([127, 0, 0, 0], 8),
    v4([169, 254, 0, 0], 16),
    v4([172, 16, 0, 0], 12),
    v4([192, 0, 0, 0], 24),
    v4([192, 0, 2, 0], 24),
    v4([192, 88, 99, 0], 24),
    v4([192, 168, 0, 0], 16),
    v4([198, 18, 0, 0], 15),
    v4([198, 51, 100, 0], 24),
    v4([203, 0, 113, 0], 24),
    v4([224, 0, 0, 0], 4),
    v4([240, 0, 0, 0], 4),
];

/// Of IPv6 only this range has been given out as global unicast.
const GLOBAL_V6: Ipv6Net = v6([0x2000, 0], 3);

/// What is special inside it: protocol assignments with Teredo, documentation, 6to4 (which carries an IPv4 address).
/// <https://www.iana.org/assignments/iana-ipv6-special-registry>
const SPECIAL_V6: [Ipv6Net; 4] =
    [v6([0x2001, 0], 23), v6([0x2001, 0xdb8], 32), v6([0x2002, 0], 16), v6([0x3fff, 0], 20)];

const fn v4([a, b, c, d]: [u8; 4], length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

const fn v6([a, b]: [u16; 2], length: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0), length)
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !SPECIAL_V4.iter().any(|range| range.contains(&v4)),
        IpAddr::V6(v6) => GLOBAL_V6.contains(&v6) && !SPECIAL_V6.iter().any(|range| range.contains(&v6)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_called() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "172.15.0.1",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
        ] {
            assert!(AllowList::None.permits(text.parse().unwrap()), "{text}");
        }
        assert!(AllowList::None.permits("64:ff9b::8.8.8.8".parse().unwrap()));
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.7",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:2::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!AllowList::None.permits(text.parse().unwrap()), "{text}");
            assert!(AllowList::All.permits(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn the_operator_opens_ranges() {
        let list: AllowList = "127.0.0.0/8, 10.1.2.3,fd00::/8".parse().unwrap();
        for text in ["127.0.0.1", "::ffff:127.0.0.1", "10.1.2.3", "fd00::7", "1.1.1.1"] {
            assert!(list.permits(text.parse().unwrap()), "{text}");
        }
        for text in ["10.1.2.4", "192.168.0.1", "::1", "fe80::1"] {
            assert!(!list.permits(text.parse().unwrap()), "{text}");
        }
        assert_eq!("".parse(), Ok(AllowList::None));
        assert_eq!(" none ".parse(), Ok(AllowList::None));
        assert_eq!("all".parse(), Ok(AllowList::All));
    }

    #[test]
    fn every_wrong_part_of_the_list_is_named() {
        let error = "10.0.0.0/8,all,10.0.0.0/99,lan".parse::<AllowList>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "`all` must stand alone; `10.0.0.0/99` is not an address or a range such as 10.1.0.0/16; `all` allows \
             everything; `lan` is not an address or a range such as 10.1.0.0/16; `all` allows everything"
        );
    }
}
