use syngraph_protocol::certificate::{CommitSignature, Vote, VoteKind};
use syngraph_protocol::crypto::{Domain, SecretKey};
use syngraph_protocol::ids::Hash;

use super::*;
use crate::journals::tests::{journal, ledger};

const ME: MemberId = MemberId::new(0);

/// The certificate of the one voter.
pub(crate) fn certify(ledger: &Ledger, block: &Block) -> Certificate {
    let (height, id) = (block.header.height, block.id());
    let kind = VoteKind::Precommit;
    let vote = Vote { network: ledger.network(), kind, height, round: 0, block: Some(id), member: ME };
    let signature = SecretKey::from_seed(&[11; 32]).sign(Domain::VOTE, &vote.signing_bytes());
    Certificate { height, round: 0, block: id, signatures: vec![CommitSignature { member: ME, signature }] }
}

#[test]
fn what_was_proposed_is_proposed_again() {
    let ledger = ledger();
    let entries = journal(&ledger, 10, 2);
    let now = ledger.time().plus_ms(5);
    let mut chain = Chain::new(ME, ledger.clone());
    let first = chain.propose(now, |_| entries[..1].to_vec()).expect("a block").block.clone();
    let again = chain.propose(now.plus_ms(9), |_| entries.clone()).expect("a block").block.clone();
    assert_eq!(first, again);

    // After a restart the block comes back from the disk.
    let mut restarted = Chain::new(ME, ledger);
    assert!(matches!(restarted.judge(&first, entries[..1].to_vec()), Verdict::Valid));
    let after = restarted.propose(now.plus_ms(9), |_| entries.clone()).expect("a block");
    assert_eq!(after.block, first);
}

#[test]
fn a_decision_moves_the_chain_once_it_is_stored() {
    let ledger = ledger();
    let mut chain = Chain::new(ME, ledger.clone());
    let block = chain.propose(ledger.time(), |_| journal(&ledger, 10, 2)).expect("a block").block.clone();
    let certificate = certify(&ledger, &block);
    let forged = Certificate { round: 1, ..certificate.clone() };
    assert!(matches!(chain.decide(&forged), Err(DecideError::Certificate(_))));
    let unknown = Certificate { block: BlockId::from_bytes([5; 32]), ..certificate.clone() };
    assert!(matches!(chain.decide(&unknown), Err(DecideError::Unknown { .. })));
    let executed = chain.decide(&certificate).expect("decided");
    assert_eq!(chain.ledger().height(), Height::GENESIS, "not before it is stored");
    chain.advance(executed.ledger);
    assert_eq!(chain.ledger().height(), Height::new(1));
    assert_eq!(chain.ledger().block_id(), block.id());
    assert_eq!(chain.candidates_at(Height::new(2)).count(), 0);
}

#[test]
fn clocks_delay_a_live_verdict_and_never_make_it_invalid() {
    let ledger = ledger();
    let entries = journal(&ledger, 10, 1);
    let built_at = ledger.time().plus_ms(100_000);
    let mut builder = Chain::new(ME, ledger.clone());
    let block = builder.propose(built_at, |_| entries.clone()).expect("a block").block.clone();
    let mut chain = Chain::new(MemberId::new(1), ledger);
    let mut at = |ms: i64| chain.judge_live(built_at.plus_ms(ms), &block, entries.clone());
    assert!(matches!(at(-501), Verdict::Early { until } if until == built_at.minus_ms(500)));
    assert!(matches!(at(30_001), Verdict::Stale));
    assert!(matches!(at(-500), Verdict::Valid));
    let mut other = block.clone();
    other.header.height = Height::new(2);
    assert!(matches!(chain.judge(&other, entries.clone()), Verdict::OtherHeight));
    let mut forged = block;
    forged.header.state_root = Hash::from_bytes([1; 32]);
    assert!(matches!(chain.judge(&forged, entries), Verdict::Invalid(error) if error.rule() == "RPL-HEADER"));
}

#[test]
fn a_candidate_that_made_room_can_still_be_decided() {
    let ledger = ledger();
    let mut chain = Chain::new(MemberId::new(1), ledger.clone());
    let propose = |ms: i64| {
        let mut other = Chain::new(ME, ledger.clone());
        other.propose(ledger.time().plus_ms(ms), |_| Vec::new()).expect("a block").block.clone()
    };
    let blocks: Vec<Block> = (1..).take(CANDIDATES_MAX + 1).map(propose).collect();
    for block in &blocks {
        assert!(matches!(chain.judge(block, Vec::new()), Verdict::Valid));
    }
    let first = &blocks[0];
    assert_eq!(chain.candidates_at(Height::new(1)).count(), blocks.len(), "every verdict stands");
    assert_eq!(chain.block(&first.id()), Some(first), "it can be proposed again");
    let certificate = certify(&ledger, first);
    assert!(matches!(chain.decide(&certificate), Err(DecideError::Unknown { .. })));
    let aside = chain.take_aside(&first.id()).expect("it was set aside");
    assert!(matches!(chain.judge(&aside, Vec::new()), Verdict::Valid));
    assert_eq!(chain.decide(&certificate).expect("executed again").block, *first);
}
