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

/// The block that is proposed.
fn propose(chain: &mut Chain, now: UtcMs, round: u32, entries: &[VerifiedEntry]) -> Block {
    let proposed = chain.propose(now, round, |_| entries.to_vec()).expect("a block");
    proposed.executed.block.clone()
}

#[test]
fn what_was_proposed_is_proposed_again() {
    let ledger = ledger();
    let entries = journal(&ledger, 10, 2);
    let now = ledger.time().plus_ms(5);
    let mut chain = Chain::new(ME, ledger.clone());
    let first = propose(&mut chain, now, 0, &entries[..1]);
    assert_eq!(propose(&mut chain, now.plus_ms(9), 1, &entries), first);
    let later = now.plus_ms(PROPOSE_AGAIN_MS + 1);
    let second = propose(&mut chain, later, 3, &entries);
    assert_ne!(second, first, "by now the others would find it stale");
    assert_eq!(propose(&mut chain, later, 0, &entries), first, "one round, one proposal");

    // After a restart the block comes back from the disk.
    let mut restarted = Chain::new(ME, ledger);
    assert!(matches!(restarted.judge(&first, entries[..1].to_vec()), Verdict::Valid));
    restarted.proposed_in(0, first.id());
    assert_eq!(propose(&mut restarted, later, 0, &entries), first);
    assert_eq!(propose(&mut restarted, now.plus_ms(9), 5, &entries), first);
}

#[test]
fn a_decision_moves_the_chain_once_it_is_stored() {
    let ledger = ledger();
    let mut chain = Chain::new(ME, ledger.clone());
    let block = propose(&mut chain, ledger.time(), 0, &journal(&ledger, 10, 2));
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
    let block = propose(&mut builder, built_at, 0, &entries);
    let mut chain = Chain::new(MemberId::new(1), ledger.clone());
    let mut at = |ms: i64, height_for: Duration| {
        let moment = Moment { wall: built_at.plus_ms(ms), height_for };
        chain.judge_live(moment, &block, entries.clone())
    };
    let soon = Duration::ZERO;
    assert!(matches!(at(-501, soon), Verdict::Early { until } if until == built_at.minus_ms(500)));
    assert!(matches!(at(30_001, soon), Verdict::Stale));
    assert!(matches!(at(-500, soon), Verdict::Valid));
    assert!(matches!(at(30_001, soon), Verdict::Valid), "a verdict stands");
    let mut late = Chain::new(MemberId::new(1), ledger);
    let moment = Moment { wall: built_at.plus_ms(30_001), height_for: TROUBLE };
    let verdict = late.judge_live(moment, &block, entries.clone());
    assert!(matches!(verdict, Verdict::Valid), "after so long at a height an old time says nothing");
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
    let at = |ms: i64| {
        let mut other = Chain::new(ME, ledger.clone());
        propose(&mut other, ledger.time().plus_ms(ms), 0, &[])
    };
    let blocks: Vec<Block> = (1..).take(CANDIDATES_MAX + 1).map(at).collect();
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
