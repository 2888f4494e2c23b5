//! The other members' nodes that this one talks to: those of its configuration whose
//! transport keys the state knows as an active member's.
//!
//! *Invariant.* Both ports have the same list, and it follows the state: a member that is
//! suspended is cut off after the block that says so, and one that is admitted is let in.

use std::sync::Arc;

use syngraph_config::node::PeerConfig;
use syngraph_protocol::ids::MemberId;
use syngraph_protocol::ledger::Ledger;
use syngraph_protocol::ledger::member::{self, KeyPurpose};
use tokio::sync::watch;

use crate::consensus::{self, Engine};
use crate::gate::Snapshot;
use crate::peers;

/// The configured nodes, and whose they are.
#[derive(Clone, Debug)]
pub(crate) struct Neighbours {
    configured: Vec<PeerConfig>,
    known: Vec<(MemberId, PeerConfig)>,
}

impl Neighbours {
    /// Those of a configuration that the state knows. `me` is the member whose node this is.
    pub(crate) fn new(configured: Vec<PeerConfig>, ledger: &Ledger, me: MemberId) -> Self {
        let known = known(&configured, ledger);
        let unknown = |peer: &&PeerConfig| !known.iter().any(|(_, known)| known == *peer);
        for peer in configured.iter().filter(unknown) {
            tracing::warn!(name = peer.name, key = %peer.transport, "a configured peer is no active member");
        }
        for member in strangers(&known, ledger, me) {
            let name = ledger.members.get(&member).map(|member| member.profile.name.as_str());
            tracing::warn!(
                %member,
                name,
                "a member that votes has no [[peer]] section: this node does not talk to its node"
            );
        }
        Self { configured, known }
    }

    /// For the peer port.
    pub(crate) fn for_peers(&self) -> Vec<peers::PeerAddress> {
        let address = |(member, peer): &(MemberId, PeerConfig)| peers::PeerAddress {
            member: *member,
            transport: peer.transport,
            address: peer.peers.clone(),
        };
        self.known.iter().map(address).collect()
    }

    /// For the consensus port.
    pub(crate) fn for_consensus(&self) -> Vec<consensus::PeerAddress> {
        let address = |(member, peer): &(MemberId, PeerConfig)| consensus::PeerAddress {
            member: *member,
            transport: peer.transport,
            address: peer.consensus.clone(),
        };
        self.known.iter().map(address).collect()
    }

    /// Tells both ports whenever the list changes, until the core is gone.
    pub(crate) async fn follow(
        mut self,
        mut snapshot: watch::Receiver<Arc<Snapshot>>,
        peers: peers::Handle,
        engine: Engine,
    ) {
        while snapshot.changed().await.is_ok() {
            let known = known(&self.configured, &snapshot.borrow_and_update().ledger);
            if known == self.known {
                continue;
            }
            self.known = known;
            tracing::info!(members = ?self.known.iter().map(|(member, _)| member).collect::<Vec<_>>(), "neighbours");
            if let Err(error) = peers.admit(self.for_peers()) {
                tracing::error!(rule = error.rule(), %error, "the peer port keeps its list");
            }
            if let Err(error) = engine.admit(&self.for_consensus()) {
                tracing::error!(rule = error.rule(), %error, "the consensus port keeps its list");
            }
        }
    }
}

fn known(configured: &[PeerConfig], ledger: &Ledger) -> Vec<(MemberId, PeerConfig)> {
    let owner = |peer: &PeerConfig| {
        let key = ledger.keys.get(&peer.transport).filter(|key| key.purpose == KeyPurpose::Transport)?;
        member::active(ledger, key.member).is_ok().then_some(key.member)
    };
    configured.iter().filter_map(|peer| Some((owner(peer)?, peer.clone()))).collect()
}

/// The other voters whose nodes are not known.
fn strangers(known: &[(MemberId, PeerConfig)], ledger: &Ledger, me: MemberId) -> Vec<MemberId> {
    let is_known = |member: MemberId| member == me || known.iter().any(|(known, _)| *known == member);
    let voters = ledger.voters().voters().iter().map(|voter| voter.member);
    voters.filter(|member| !is_known(*member)).collect()
}

#[cfg(test)]
mod tests {
    use syngraph_protocol::crypto::SecretKey;

    use super::*;
    use crate::journals::tests::ledger;

    #[test]
    fn a_voter_without_a_section_is_missed() {
        let ledger = ledger();
        let (voter, follower) = (MemberId::new(0), MemberId::new(1));
        let transport = SecretKey::from_seed(&[12; 32]).public();
        let (peers, consensus) = ("a:1".to_owned(), "a:2".to_owned());
        let section = PeerConfig { name: "Aster".into(), transport, peers, consensus };
        assert_eq!(strangers(&[], &ledger, follower), [voter]);
        assert_eq!(strangers(&[], &ledger, voter), []);
        assert_eq!(strangers(&known(&[section], &ledger), &ledger, follower), []);
    }
}
