//! Ports of this machine that nobody uses.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// So many different addresses on loopback that were free a moment ago. Another process
/// may still take one first: whoever binds it says so, and the test fails with that.
///
/// # Panics
/// If the machine gives no port.
#[must_use]
pub fn free<const N: usize>() -> [SocketAddr; N] {
    // All are held until all are known, so that they differ.
    let held: [TcpListener; N] =
        std::array::from_fn(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback gives a port"));
    held.each_ref().map(|listener| listener.local_addr().expect("a bound socket has an address"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn ports_differ() {
        let mut ports = super::free::<8>().map(|address| address.port()).to_vec();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 8);
    }
}
