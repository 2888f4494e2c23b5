//! Ports of this machine that nobody uses.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Where ports are looked for: below those that systems give to outgoing connections
/// (from 32768 on Linux, from 49152 elsewhere). A node that is down for a moment would
/// otherwise find its port taken by somebody's connection.
const FIRST: u16 = 10_000;
/// How many are looked at.
const COUNT: u16 = 20_000;

/// So many different addresses on loopback that are free and are given to nobody else in
/// this process. Another process may still take one first: whoever binds it says so, and
/// the test fails with that.
///
/// # Panics
/// If there are not so many.
#[must_use]
pub fn free<const N: usize>() -> [SocketAddr; N] {
    std::array::from_fn(|_| next())
}

fn next() -> SocketAddr {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    // Processes that run at the same time begin at different places.
    let start = std::process::id().wrapping_mul(97) % u32::from(COUNT);
    for _ in 0..COUNT {
        let offset = (start + u32::from(GIVEN.fetch_add(1, Ordering::Relaxed))) % u32::from(COUNT);
        let port = FIRST + u16::try_from(offset).expect("below the count");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no port from {FIRST} on is free");
}

#[cfg(test)]
mod tests {
    #[test]
    fn ports_differ() {
        let mut ports = [super::free::<4>(), super::free::<4>()].concat();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 8);
    }
}
