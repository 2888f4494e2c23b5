//! Who may speak on the consensus port, and whose turn it is.
//!
//! *Invariants.* A proposed block is taken only from a peer whose key proves the member that it says
//! it is, and only if it is that member's turn. So a member that floods others with blocks does so in
//! its own name, its own turns, and once each.
//!
//! *Deliberately absent:* the votes. The engine checks their signatures.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_malachitebft_app::consensus::HIDDEN_LOCK_ROUND;
use arc_malachitebft_app::types::PeerId;
use arc_malachitebft_core_types::{Context as _, Round, Validator as _, ValidatorSet as _};
use syngraph_protocol::certificate::MemberSet;
use syngraph_protocol::ids::{Height, MemberId, PublicKey};

use super::address::Peer;
use super::context::{self, Address, Context, ValidatorSet};

/// Why a proposed block is not wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TurnError {
    /// The publisher is no member's node.
    #[error("its publisher is no member's node")]
    Stranger,
    /// A member that has no vote.
    #[error("member {0} has no vote")]
    NoVoter(MemberId),
    /// Somebody speaks for somebody else.
    #[error("member {publisher} publishes in the name of member {proposer}")]
    InAnothersName { publisher: MemberId, proposer: MemberId },
    /// Somebody speaks out of turn.
    #[error("it is not the turn of member {0}")]
    OutOfTurn(MemberId),
}

/// The peers that are let in, and the voters of the height that was begun last; shared.
#[derive(Clone, Debug, Default)]
pub(super) struct Roster {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    peers: BTreeMap<PeerId, Peer>,
    /// The height that was begun last, and its voters.
    height: Option<(Height, ValidatorSet)>,
}

impl Roster {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Every change of it is a single assignment, so a panic elsewhere leaves it whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts other peers in the place of those that are let in. Gives those that are not let in any
    /// more, and those that are new; one whose address has changed is in both.
    pub(super) fn admit(&self, peers: Vec<Peer>) -> (Vec<Peer>, Vec<Peer>) {
        let peers: BTreeMap<PeerId, Peer> = peers.into_iter().map(|peer| (peer.id, peer)).collect();
        let mut inner = self.inner();
        let without = |all: &BTreeMap<PeerId, Peer>, known: &BTreeMap<PeerId, Peer>| {
            let address = |peer: &Peer| known.get(&peer.id).map(|known| known.address.clone());
            all.values().filter(|peer| address(peer) != Some(peer.address.clone())).cloned().collect()
        };
        let (gone, new) = (without(&inner.peers, &peers), without(&peers, &inner.peers));
        inner.peers = peers;
        (gone, new)
    }

    /// Goes on to a height with its voters.
    pub(super) fn begin(&self, height: Height, voters: &MemberSet) {
        let voters = ValidatorSet::from(voters);
        self.inner().height = Some((height, voters));
    }

    /// The member whose node this is.
    pub(super) fn member(&self, peer: &PeerId) -> Option<MemberId> {
        self.inner().peers.get(peer).map(|peer| peer.member)
    }

    /// Whose turn it is, once a height has begun.
    pub(super) fn proposer(&self, height: Height, round: u32) -> Option<MemberId> {
        self.inner().height.as_ref().map(|(_, voters)| turn(voters, height, round))
    }

    /// The key by which a voter's votes are checked.
    pub(super) fn key(&self, voter: MemberId) -> Option<PublicKey> {
        Some(*self.inner().height.as_ref()?.1.get_by_address(&Address(voter))?.public_key())
    }

    /// Whether more than a third of the voting power is among these: then one of them is honest.
    /// Before any height has begun nobody is known to vote, and one of them is enough.
    pub(super) fn is_credible(&self, peers: impl Iterator<Item = PeerId>) -> bool {
        let inner = self.inner();
        let mut members: Vec<_> = peers.filter_map(|peer| Some(inner.peers.get(&peer)?.member)).collect();
        let Some((_, voters)) = &inner.height else { return !members.is_empty() };
        members.sort_unstable();
        members.dedup();
        let power = |member: MemberId| voters.get_by_address(&Address(member)).map(|v| v.voting_power());
        let power: u128 = members.into_iter().filter_map(power).map(u128::from).sum();
        3 * power > u128::from(voters.total_voting_power())
    }

    /// Checks that a block proposed for `height` and `round` in the name of `proposer` may come from
    /// `publisher`. In late rounds every voter publishes again what it has locked on, whoever had
    /// proposed it.
    ///
    /// For heights that have not begun the voters of the current one stand in; a block that is missed
    /// because they changed comes by sync.
    pub(super) fn check(
        &self,
        publisher: &PeerId,
        height: Height,
        round: u32,
        proposer: MemberId,
    ) -> Result<(), TurnError> {
        let inner = self.inner();
        let publisher = inner.peers.get(publisher).ok_or(TurnError::Stranger)?.member;
        if publisher != proposer && Round::new(round) < HIDDEN_LOCK_ROUND {
            return Err(TurnError::InAnothersName { publisher, proposer });
        }
        let Some((begun, voters)) = &inner.height else { return Ok(()) };
        for member in [publisher, proposer] {
            voters.get_by_address(&Address(member)).ok_or(TurnError::NoVoter(member))?;
        }
        if height == *begun && turn(voters, height, round) != proposer {
            return Err(TurnError::OutOfTurn(proposer));
        }
        Ok(())
    }
}

fn turn(voters: &ValidatorSet, height: Height, round: u32) -> MemberId {
    Context.select_proposer(voters, context::Height(height), Round::new(round)).address().0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consensus::address::{self, Transport};
    use crate::consensus::tests::{peer, peer_address, voters};

    fn peers(members: &[u32]) -> Vec<Peer> {
        let peer = |&m: &u32| address::peer(Transport::Tcp, &peer_address(m, &format!("h:{}", m + 1)));
        members.iter().map(peer).collect::<Result<_, _>>().expect("addresses")
    }

    fn roster(members: &[u32]) -> Roster {
        let roster = Roster::default();
        roster.admit(peers(members));
        roster
    }

    #[test]
    fn a_block_comes_from_its_proposer_in_its_turn() {
        let roster = roster(&[0, 1, 2, 3, 4]);
        let check = |publisher, height, round, proposer| {
            roster.check(&peer(publisher), Height::new(height), round, MemberId::new(proposer))
        };
        assert_eq!(check(1, 7, 0, 1), Ok(()), "nobody knows the voters yet");
        roster.begin(Height::new(7), &voters(4));
        assert_eq!(roster.proposer(Height::new(7), 0), Some(MemberId::new(3)));
        let (two, three) = (MemberId::new(2), MemberId::new(3));
        for (publisher, height, round, proposer, expected) in [
            (3, 7, 0, 3, Ok(())),
            (0, 7, 1, 0, Ok(())),
            (2, 7, 0, 2, Err(TurnError::OutOfTurn(two))),
            (2, 7, 0, 3, Err(TurnError::InAnothersName { publisher: two, proposer: three })),
            (3, 7, 0, 2, Err(TurnError::InAnothersName { publisher: three, proposer: two })),
            (9, 7, 0, 3, Err(TurnError::Stranger)),
            (4, 8, 0, 4, Err(TurnError::NoVoter(MemberId::new(4)))),
            (2, 8, 0, 2, Ok(())),
            (2, 7, 12, 3, Ok(())),
            (4, 7, 12, 3, Err(TurnError::NoVoter(MemberId::new(4)))),
            (2, 7, 12, 2, Err(TurnError::OutOfTurn(two))),
        ] {
            let got = check(publisher, height, round, proposer);
            assert_eq!(got, expected, "{publisher} for {proposer} at {height}, {round}");
        }
    }

    #[test]
    fn more_than_a_third_of_the_power_is_believed() {
        let roster = roster(&[0, 1, 2, 3, 4]);
        let credible = |members: &[u32]| roster.is_credible(members.iter().map(|&m| peer(m)));
        assert!(credible(&[4]) && !credible(&[9]) && !credible(&[]));
        roster.begin(Height::new(7), &voters(4));
        assert!(credible(&[0, 1]) && !credible(&[0]) && !credible(&[0, 0]) && !credible(&[0, 4, 9]));
        roster.begin(Height::new(8), &voters(3));
        assert!(!credible(&[0]), "a third is not more than a third");
        roster.begin(Height::new(9), &voters(2));
        assert!(credible(&[0]));
    }

    #[test]
    fn admitting_tells_who_goes_and_who_is_new() {
        let roster = roster(&[0, 1]);
        let mut moved = peers(&[1]);
        moved[0].address = peers(&[2])[0].address.clone();
        let (gone, new) = roster.admit([moved.clone(), peers(&[3])].concat());
        assert_eq!(gone, peers(&[0, 1]).into_iter().collect::<Vec<_>>().tap_sorted());
        assert_eq!(new, [moved, peers(&[3])].concat().tap_sorted());
        assert_eq!(roster.member(&peer(0)), None);
        assert_eq!(roster.member(&peer(3)), Some(MemberId::new(3)));
    }

    /// In the order in which the roster keeps them.
    trait Sorted {
        fn tap_sorted(self) -> Self;
    }

    impl Sorted for Vec<Peer> {
        fn tap_sorted(mut self) -> Self {
            self.sort_by_key(|peer| peer.id);
            self
        }
    }
}
