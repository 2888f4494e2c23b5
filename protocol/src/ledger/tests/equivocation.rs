//! Evidence on the ledger: what proves a lie, what it costs, and what it doesn't.

use super::*;
use crate::certificate::{Proposal as Proposed, SignedProposal, SignedVote, Vote, VoteKind};
use crate::crypto::Domain;
use crate::entry::{Head, SignedEntry, SignedHead, Slot};
use crate::ids::{BlockId, NetworkId, PublicKey, Seq, Signature};
use crate::journal::NO_ENTRY;
use crate::ledger::equivocation::{Equivocation, Evidence, Offence, ReportEquivocation};
use crate::ledger::finding::{Severity, Subject};
use crate::ledger::member::still_open;

fn report_of(evidence: Evidence) -> Deed {
    Deed::ReportEquivocation(ReportEquivocation { evidence })
}

/// A head in a fixed place, like no other of the same `content`.
fn head(world: &World, seed: u8, seq: u64, content: u8) -> Head {
    Head {
        version: 1,
        network: world.ledger.network(),
        journal: key(seed).public(),
        member: member(1),
        seq: Seq::new(seq),
        prev: NO_ENTRY,
        claimed_at: START,
        body_hash: Hash::from_bytes([content; 32]),
    }
}

fn sign_head(seed: u8, head: Head) -> SignedHead {
    let signature = key(seed).sign(Domain::ENTRY, &crate::codec::encode(&head));
    SignedHead { head, signature }
}

/// Two entries of a journal with one number.
fn fork(world: &World, seed: u8) -> Evidence {
    let [one, other] = [1, 2].map(|content| sign_head(seed, head(world, seed, 7, content)));
    Evidence::entries(one, other).expect("a fork")
}

fn vote(world: &World, seed: u8, block: Option<u8>) -> SignedVote {
    let vote = Vote {
        network: world.ledger.network(),
        kind: VoteKind::Prevote,
        height: Height::new(9),
        round: 3,
        block: block.map(|byte| BlockId::from_bytes([byte; 32])),
        member: member(0),
    };
    sign_vote(seed, vote)
}

fn sign_vote(seed: u8, vote: Vote) -> SignedVote {
    let signature = key(seed).sign(Domain::VOTE, &vote.signing_bytes());
    SignedVote { vote, signature }
}

fn proposal(world: &World, seed: u8, block: u8, valid_round: Option<u32>) -> SignedProposal {
    let proposal = Proposed {
        network: world.ledger.network(),
        height: Height::new(9),
        round: 3,
        block: BlockId::from_bytes([block; 32]),
        valid_round,
        member: member(0),
    };
    let signature = key(seed).sign(Domain::PROPOSAL, &proposal.signing_bytes());
    SignedProposal { proposal, signature }
}

fn frozen(world: &World, seed: u8) -> Option<Height> {
    world.ledger.keys.get(&key(seed).public()).expect("registered").frozen
}

fn conduct(world: &World) -> Vec<(String, Severity, Subject)> {
    let findings = world.ledger.findings.iter();
    findings.map(|(_, finding)| (finding.rule.clone(), finding.severity, finding.subject.clone())).collect()
}

/// A block of these entries over the present state, or the rule that forbids it.
fn possible(world: &World, entries: Vec<VerifiedEntry>) -> Result<(), &'static str> {
    let plan = Plan { time: world.time.plus_ms(1), built_by: member(0) };
    world.ledger.execute(&plan, entries).map(|_| ()).map_err(|error| error.rule())
}

fn any_deed() -> Body {
    let deed = Deed::Approve(Approve { proposal: Id::from_bytes([1; 32]) });
    Body::Deed { idem: Idem::from_bytes([99; 16]), deed }
}

#[test]
fn a_forked_journal_is_frozen_and_nothing_else_is() {
    let mut world = World::new();
    let (asset, _) = world.model();
    let evidence = fork(&world, 10);
    let hash = evidence.hash();
    let report = world.act(1, report_of(evidence)).expect("recorded");

    let (since, offence) = (world.ledger.height(), Offence::Journal(key(10).public()));
    let record = Equivocation { since, reported_by: member(1), report, evidence: hash };
    let recorded: Vec<_> = world.ledger.equivocations.iter().collect();
    assert_eq!(recorded, [(&(member(0), offence), &record)]);
    let subject = Subject::Conduct { member: member(0), offence };
    assert_eq!(conduct(&world), [("EQV-JOURNAL".into(), Severity::E, subject)]);

    // Nothing more of this journal: not at a door, not under a block.
    let next = world.sign(0, any_deed());
    assert_eq!(world.ledger.may_say(&next).map_err(|e| e.rule()), Err("KEY-FROZEN"));
    let record = world.ledger.keys.get(&key(10).public()).expect("registered");
    assert_eq!(still_open(record, world.time).map_err(|e| e.rule()), Err("KEY-FROZEN"));
    let seq = next.head().seq;
    assert_eq!(possible(&world, vec![next]), Err("KEY-FROZEN"));
    let ends = |seed| world.ledger.journal_ends(&key(seed).public()).map(|(seq, why)| (seq, why.rule()));
    assert_eq!([10, 13].map(ends), [Some((seq, "KEY-FROZEN")), None], "the rest has lapsed");

    // The member's other journals go on, its votes count, and what it owns stays its own.
    assert_eq!([11, 12, 13].map(|seed| frozen(&world, seed)), [None; 3]);
    let by_node = world.sign_as(13, member(0), any_deed());
    let refused = Outcome::Refused { rule: "PRO-UNKNOWN".into() };
    assert_eq!(world.block(vec![by_node]).outcomes, [refused]);
    assert_eq!(world.ledger.voters().get(member(0)).map(|voter| voter.power), Some(1));
    assert_eq!(world.ledger.assets.get(&asset).expect("known").controller, member(0));
}

#[test]
fn what_is_sealed_with_the_report_stands_by_its_order_in_the_log() {
    let mut seen = std::collections::BTreeSet::new();
    for blocks in 0..16 {
        let mut world = World::new();
        (0..blocks).for_each(|_| drop(world.block(vec![])));
        let by_forker = world.sign(2, any_deed());
        let evidence = fork(&world, 30);
        let report = world.deed(1, report_of(evidence));
        let executed = world.block(vec![by_forker.clone(), report]);
        let rules = executed.entries.iter().zip(&executed.outcomes).map(|(entry, outcome)| match outcome {
            Outcome::Refused { rule } => (entry.id() == by_forker.id(), rule.as_str()),
            _ => (entry.id() == by_forker.id(), ""),
        });
        let rules: Vec<_> = rules.collect();
        let before = [(true, "PRO-UNKNOWN"), (false, "")];
        let after = [(false, ""), (true, "KEY-FROZEN")];
        assert!(rules == before || rules == after, "{rules:?}");
        seen.insert(rules == before);
        assert_eq!(frozen(&world, 30), Some(world.ledger.height()));
        assert_eq!(world.ledger.journal_tip(&key(30).public()).last, by_forker.id(), "sealed either way");
    }
    assert_eq!(seen.len(), 2, "both orders occur");
}

#[test]
fn an_offence_is_recorded_once() {
    let mut world = World::new();
    let again = |world: &World| {
        let [one, other] = [3, 4].map(|content| sign_head(20, head(world, 20, 8, content)));
        report_of(Evidence::entries(one, other).expect("a fork"))
    };
    let first = report_of(fork(&world, 20));
    world.act(0, first.clone()).expect("recorded");
    let since = frozen(&world, 20);
    assert_eq!(world.act(2, first), Err("EQV-KNOWN".into()));
    let other = again(&world);
    assert_eq!(world.act(2, other), Err("EQV-KNOWN".into()), "a journal forks once");

    let pairs = [(None, Some(5)), (Some(5), Some(6)), (None, Some(6))];
    let reports = pairs.map(|(one, other)| {
        let pair = Evidence::votes(vote(&world, 11, other), vote(&world, 11, one));
        report_of(pair.expect("two votes"))
    });
    let outcomes = reports.map(|report| world.act(0, report).map(|_| ()));
    assert_eq!(outcomes, [Ok(()), Err("EQV-KNOWN".into()), Err("EQV-KNOWN".into())]);
    assert_eq!((world.ledger.equivocations.len(), world.ledger.findings.len()), (2, 2));
    assert_eq!(frozen(&world, 20), since);
}

#[test]
fn votes_and_proposals_are_findings_and_cost_no_vote() {
    let mut world = World::new();
    let votes = Evidence::votes(vote(&world, 11, Some(1)), vote(&world, 11, None)).expect("two votes");
    let conflicting = |round, others: [(u8, Option<u32>); 2]| {
        let [one, other] = others.map(|(block, valid_round)| {
            let mut signed = proposal(&world, 11, block, valid_round);
            signed.proposal.round = round;
            signed.signature = key(11).sign(Domain::PROPOSAL, &signed.proposal.signing_bytes());
            signed
        });
        Evidence::proposals(other, one).expect("two proposals")
    };
    let (first, second) = (conflicting(1, [(1, None), (2, None)]), conflicting(3, [(3, None), (3, Some(0))]));
    for evidence in [votes, first, second] {
        world.act(2, report_of(evidence)).expect("recorded");
    }
    let height = Height::new(9);
    let offences = [
        Offence::Vote { height, round: 3, kind: VoteKind::Prevote },
        Offence::Proposal { height, round: 1 },
        Offence::Proposal { height, round: 3 },
    ];
    let recorded: Vec<_> = world.ledger.equivocations.iter().map(|(key, _)| *key).collect();
    assert_eq!(recorded, offences.map(|offence| (member(0), offence)));
    let mut found: Vec<_> = conduct(&world).into_iter().map(|(rule, ..)| rule).collect();
    found.sort_unstable();
    assert_eq!(found, ["EQV-PROPOSAL", "EQV-PROPOSAL", "EQV-VOTE"]);
    assert_eq!([10, 11, 12, 13].map(|seed| frozen(&world, seed)), [None; 4]);
    assert_eq!(world.ledger.voters().total_power(), 1);
}

#[test]
fn forged_evidence_is_refused() {
    let mut world = World::new();
    let elsewhere = NetworkId::from_bytes([5; 32]);
    let forked = |world: &World, seed, change: &dyn Fn(&mut Head)| {
        let heads = [1, 2].map(|content| {
            let mut head = head(world, seed, 7, content);
            change(&mut head);
            sign_head(seed, head)
        });
        let [one, other] = heads;
        Evidence::entries(one, other).expect("a fork")
    };
    let voted = |one: SignedVote, other: SignedVote| Evidence::votes(one, other).expect("two votes");
    let stranger =
        |signed: SignedVote, number, seed| sign_vote(seed, Vote { member: member(number), ..signed.vote });
    let nil = vote(&world, 11, None);
    let some = vote(&world, 11, Some(1));
    let not_mine = SignedVote { signature: some.signature, ..vote(&world, 11, Some(2)) };
    let as_vote = SignedProposal {
        signature: key(11).sign(Domain::VOTE, &proposal(&world, 11, 1, None).proposal.signing_bytes()),
        ..proposal(&world, 11, 1, None)
    };
    let mut borrowed = forked(&world, 20, &|_| {});
    if let Evidence::Entries(pair) = &mut borrowed {
        pair.1.head.claimed_at = START.plus_ms(1);
        borrowed = Evidence::entries(pair.0.clone(), pair.1.clone()).expect("two ids");
    }
    let cases = [
        (forked(&world, 20, &|head| head.network = elsewhere), "EQV-NETWORK"),
        (forked(&world, 99, &|_| {}), "EQV-STRANGER"),
        (forked(&world, 11, &|_| {}), "EQV-STRANGER"),
        (forked(&world, 12, &|_| {}), "EQV-STRANGER"),
        (forked(&world, 20, &|head| head.journal = key(30).public()), "EQV-SIGNATURE"),
        (borrowed, "EQV-SIGNATURE"),
        (voted(nil.clone(), not_mine), "EQV-SIGNATURE"),
        (voted(vote(&world, 10, None), vote(&world, 10, Some(1))), "EQV-SIGNATURE"),
        (voted(stranger(nil.clone(), 1, 20), stranger(some.clone(), 1, 20)), "EQV-STRANGER"),
        (voted(stranger(nil, 7, 11), stranger(some, 7, 11)), "EQV-STRANGER"),
        (
            Evidence::proposals(as_vote, proposal(&world, 11, 2, None)).expect("two proposals"),
            "EQV-SIGNATURE",
        ),
    ];
    for (evidence, rule) in cases {
        assert_eq!(world.act(2, report_of(evidence.clone())), Err(rule.into()), "{evidence:?}");
    }
    assert!(world.ledger.equivocations.is_empty() && world.ledger.findings.is_empty());
    assert!(world.ledger.keys.iter().all(|(_, key)| key.frozen.is_none()));
}

fn check(evidence: Evidence) -> Result<(), &'static str> {
    let body = Body::Deed { idem: Idem::from_bytes([1; 16]), deed: report_of(evidence) };
    body.check().map_err(|refusal| refusal.rule())
}

#[test]
fn what_is_no_contradiction_is_no_entry() {
    let world = World::new();
    let entries =
        |one: &SignedHead, other: &SignedHead| Evidence::Entries(Box::new((one.clone(), other.clone())));
    let at = |seed, seq, content| sign_head(seed, head(&world, seed, seq, content));
    let Evidence::Entries(pair) = fork(&world, 20) else { panic!("entries") };
    assert_eq!(check(entries(&pair.0, &pair.1)), Ok(()));
    assert_eq!(check(entries(&pair.1, &pair.0)), Err("EQV-ORDER"));
    for (one, other) in
        [(at(20, 7, 1), at(20, 7, 1)), (at(20, 7, 1), at(20, 8, 1)), (at(20, 7, 1), at(30, 7, 1))]
    {
        assert_eq!(check(entries(&one, &other)), Err("EQV-NO-CONFLICT"));
        assert_eq!(Evidence::entries(one, other), None);
    }

    let votes =
        |one: &SignedVote, other: &SignedVote| Evidence::Votes(Box::new((one.clone(), other.clone())));
    let (nil, some) = (vote(&world, 11, None), vote(&world, 11, Some(1)));
    let like = |change: &dyn Fn(&mut Vote)| {
        let mut vote = some.vote.clone();
        change(&mut vote);
        sign_vote(11, vote)
    };
    assert_eq!(check(votes(&nil, &some)), Ok(()));
    assert_eq!(check(votes(&some, &nil)), Err("EQV-ORDER"));
    let unsigned = SignedVote { signature: Signature::from_bytes([0; 64]), ..some.clone() };
    for (one, other) in [
        (&some, &unsigned),
        (&nil, &like(&|vote| vote.round = 4)),
        (&nil, &like(&|vote| vote.height = Height::new(10))),
        (&nil, &like(&|vote| vote.kind = VoteKind::Precommit)),
        (&nil, &like(&|vote| vote.member = member(1))),
        (&nil, &like(&|vote| vote.network = NetworkId::from_bytes([5; 32]))),
    ] {
        assert_eq!(check(votes(one, other)), Err("EQV-NO-CONFLICT"));
        assert_eq!(Evidence::votes(other.clone(), one.clone()), None);
    }

    let (one, other) = (proposal(&world, 11, 1, None), proposal(&world, 11, 1, Some(0)));
    let proposals =
        |a: &SignedProposal, b: &SignedProposal| Evidence::Proposals(Box::new((a.clone(), b.clone())));
    assert_eq!(check(proposals(&one, &other)), Ok(()));
    assert_eq!(check(proposals(&other, &one)), Err("EQV-ORDER"));
    assert_eq!(check(proposals(&one, &one)), Err("EQV-NO-CONFLICT"));
}

/// The entry id covers the signature: two valid signatures over one head are two entries.
#[test]
fn two_signatures_over_one_head_are_a_fork() {
    let mut world = World::new();
    let head = head(&world, 20, 0, 1);
    let bytes = crate::codec::encode(&head);
    let [one, other] = [41, 42].map(|nonce| {
        let signature = key(20).sign_with_nonce(&key(nonce), Domain::ENTRY, &bytes);
        SignedHead { head: head.clone(), signature }
    });
    let evidence = Evidence::entries(one, other).expect("two ids");
    world.act(0, report_of(evidence)).expect("both signatures are valid");
    assert_eq!(frozen(&world, 20), Some(world.ledger.height()));
}

#[test]
fn evidence_survives_saving_and_loading() {
    let mut world = World::new();
    let evidence = fork(&world, 20);
    world.act(0, report_of(evidence)).expect("recorded");
    let saved = world.ledger.dump().into_iter().filter_map(|change| Some((change.key, change.value?)));
    let loaded = Ledger::load(world.ledger.block_id(), saved, []).expect("loads");
    assert_eq!((loaded.state_root(), loaded.dump()), (world.ledger.state_root(), world.ledger.dump()));
    let mut again = World::new();
    for (_, _, entries) in &world.blocks {
        again.block(entries.clone());
    }
    assert_eq!(again.ledger.state_root(), world.ledger.state_root());
}

/// What a real journal's two branches give: the ids that nodes see, and the heads they keep.
#[test]
fn the_branches_of_a_journal_are_the_evidence() {
    let mut world = World::new();
    let network = world.ledger.network();
    let sealed = world.sign(1, any_deed());
    let slot =
        Slot { network, member: member(1), seq: Seq::FIRST, prev: NO_ENTRY, claimed_at: START.plus_ms(1) };
    let forked = SignedEntry::sign(&key(20), slot, any_deed());
    let forked = VerifiedEntry::verify(forked, network).expect("well formed");
    world.block(vec![sealed.clone()]);
    let evidence = Evidence::entries(forked.signed_head(), sealed.signed_head());
    let Some(Evidence::Entries(pair)) = &evidence else { panic!("the two differ in their claimed times") };
    let mut ids = [sealed.id(), forked.id()];
    ids.sort_unstable();
    assert_eq!([pair.0.id(), pair.1.id()], ids);
    world.act(0, report_of(evidence.expect("a fork"))).expect("recorded");
    let culprit: Vec<PublicKey> =
        world.ledger.keys.iter().filter(|(_, key)| key.frozen.is_some()).map(|(id, _)| *id).collect();
    assert_eq!(culprit, [key(20).public()]);
}
