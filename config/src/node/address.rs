//! Addresses of other machines, as people write them: `host:port`.
//!
//! *Invariants.* What is parsed can be dialled: its port is not 0, and it is not the
//! address that means "every interface".
//!
//! *Deliberately absent:* looking names up. Whoever dials does, each time.

use std::net::{IpAddr, Ipv6Addr};

/// Longest name of a host, in bytes (RFC 1035).
const HOST_BYTES_MAX: usize = 253;
/// Longest part of a name between dots, in bytes (RFC 1035).
const LABEL_BYTES_MAX: usize = 63;

/// What stands before the port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// An address.
    Ip(IpAddr),
    /// A name for the domain name system.
    Name(String),
}

/// Reads `host:port`: `10.0.0.2:8442`, `node.example:8442`, `[2001:db8::1]:8442`. `None`
/// for anything else, for port 0, and for `0.0.0.0` and `[::]`.
#[must_use]
pub fn parse(text: &str) -> Option<(Host, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|port| digits && *port != 0)?;
    Some((parse_host(host)?, port))
}

/// Reads a host: an address, IPv6 in brackets, or a name.
#[must_use]
pub fn parse_host(text: &str) -> Option<Host> {
    let ip = match text.strip_prefix('[') {
        Some(rest) => Some(IpAddr::from(rest.strip_suffix(']')?.parse::<Ipv6Addr>().ok()?)),
        None => text.parse().ok().filter(IpAddr::is_ipv4),
    };
    match ip {
        Some(ip) => (!ip.is_unspecified()).then_some(Host::Ip(ip)),
        None => is_name(text).then(|| Host::Name(text.to_owned())),
    }
}

fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    // A last part of digits alone is a mistyped address.
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= HOST_BYTES_MAX
        && text.split('.').all(label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_dialled_is_read() {
        let name = |name: &str| Host::Name(name.into());
        for (text, expected) in [
            ("10.0.0.2:8442", (Host::Ip([10, 0, 0, 2].into()), 8442)),
            ("[::1]:1", (Host::Ip(Ipv6Addr::LOCALHOST.into()), 1)),
            ("localhost:65535", (name("localhost"), 65_535)),
            ("node-1.birch.example:80", (name("node-1.birch.example"), 80)),
        ] {
            assert_eq!(parse(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn nothing_else_is() {
        let long = format!("{}:1", "a.".repeat(130) + "a");
        for text in [
            "",
            ":1",
            "host",
            "host:",
            "host:0",
            "host:+1",
            "host:65536",
            "host:8x",
            "a b:1",
            "a..b:1",
            "10.0.0.300:1",
            "0.0.0.0:1",
            "[::]:1",
            "::1:1",
            "[10.0.0.1]:1",
            "[::1:1",
            "http://a:1",
            &long,
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
