use super::*;
use crate::consensus::context::Address;
use crate::consensus::tests::{NETWORK, block, peer, roster, vote, voters};
use arc_malachitebft_app::types::MisbehaviorEvidence;
use arc_malachitebft_core_types::{CommitCertificate, Round};
use std::time::Duration;
use syngraph_protocol::ids::BlockId;
use tokio::sync::oneshot;

const BLOCK: BlockId = BlockId::from_bytes([3; 32]);

fn height(number: u64) -> Height {
    Height(ids::Height::new(number))
}

/// A host, and the application's end of its queue.
fn host() -> (HostState, mpsc::Receiver<Event>) {
    let (events, application) = mpsc::channel(EVENTS_MAX);
    let timeouts = LinearTimeouts::default();
    let roster = roster(&[0, 1, 2, 3]);
    let view = View::new(NETWORK, roster.clone(), ids::Height::new(6));
    let parts = PartStreams::new(roster.clone());
    (HostState { network: NETWORK, timeouts, parts, events, roster, view }, application)
}

/// Hands the host a question and gives the event it becomes, with the engine's end of the reply.
fn ask<E>(
    message: impl FnOnce(RpcReplyPort<E>) -> HostMsg<Context>,
) -> (Option<Event>, oneshot::Receiver<E>) {
    let (mut host, mut application) = host();
    let (port, engine) = oneshot::channel();
    host.handle(message(port.into())).expect("the application listens");
    (application.try_recv().ok(), engine)
}

fn ask_synced(bytes: Bytes) -> (Option<Event>, oneshot::Receiver<SyncedValueOutcome<Context>>) {
    let proposer = Address(MemberId::new(2));
    let (height, round, value_bytes) = (height(7), Round::new(1), bytes);
    ask(|reply_to| HostMsg::ProcessSyncedValue { height, round, proposer, value_bytes, reply_to })
}

#[test]
fn the_start_says_who_votes_and_how_long_steps_take() {
    let (event, mut engine) = ask(|reply_to| HostMsg::ConsensusReady { reply_to });
    let Some(Event::Ready { reply }) = event else { panic!("{event:?}") };
    assert!(engine.try_recv().is_err(), "nothing is answered for the application");
    reply.send(Start { height: ids::Height::new(5), voters: voters(4) });
    let (at, parameters) = engine.try_recv().expect("answered");
    assert_eq!(
        (at, parameters.timeouts, parameters.target_time),
        (height(5), LinearTimeouts::default(), None)
    );
    assert_eq!(parameters.validator_set, ValidatorSet::from(&voters(4)));
}

#[test]
fn a_round_goes_out_with_its_proposer_and_comes_back_with_the_verdicts() {
    let proposer = Address(MemberId::new(2));
    let role = arc_malachitebft_app::consensus::Role::Validator;
    let (height, round) = (height(7), Round::new(3));
    let (event, mut engine) =
        ask(|reply_to| HostMsg::StartedRound { height, round, proposer, role, reply_to });
    let Some(Event::RoundStarted { height, round: 3, proposer, reply }) = event else { panic!("{event:?}") };
    reply.send(vec![Judged { height, round: 1, proposer, block: BLOCK, valid: true }]);
    let known = engine.try_recv().expect("answered");
    let [value] = &known[..] else { panic!("one verdict, not {known:?}") };
    assert_eq!((value.value, value.round, value.validity.is_valid()), (Value(BLOCK), Round::new(1), true));
}

#[test]
fn a_built_block_is_named_for_the_round_it_was_asked_for() {
    let timeout = Duration::from_millis(700);
    let (height, round) = (height(7), Round::new(3));
    let (event, mut engine) = ask(|reply_to| HostMsg::GetValue { height, round, timeout, reply_to });
    let Some(Event::Build { reply, round: 3, .. }) = event else { panic!("{event:?}") };
    reply.send(BLOCK);
    assert_eq!(engine.try_recv().ok(), Some(LocallyProposedValue::new(height, round, Value(BLOCK))));
}

#[test]
fn synced_bytes_that_are_no_block_are_the_peers_fault() {
    let mut forged = block(ids::Height::new(7));
    forged.cut.points.push(syngraph_protocol::block::CutPoint {
        journal: syngraph_protocol::ids::PublicKey::from_bytes([1; 32]),
        seq: syngraph_protocol::ids::Seq::FIRST,
        entry: syngraph_protocol::ids::EntryId::from_bytes([1; 32]),
    });
    let elsewhere = block(ids::Height::new(8));
    for bytes in [vec![1, 2, 3], canonical::encode(&forged), canonical::encode(&elsewhere)] {
        let (event, mut engine) = ask_synced(bytes.into());
        assert!(event.is_none());
        assert!(matches!(engine.try_recv(), Ok(SyncedValueOutcome::PeerFault)));
    }
}

#[test]
fn a_synced_block_comes_back_with_its_verdict() {
    let block = block(ids::Height::new(7));
    for verdict in [SyncVerdict::Valid, SyncVerdict::Invalid, SyncVerdict::NotYet] {
        let (event, mut engine) = ask_synced(canonical::encode(&block).into());
        let Some(Event::Synced { block: got, reply }) = event else { panic!("{event:?}") };
        assert_eq!(*got, block);
        reply.send(verdict);
        let valid = match engine.try_recv().expect("answered") {
            SyncedValueOutcome::Verdict(value) => {
                assert_eq!((value.value, value.round), (Value(block.id()), Round::new(1)));
                Some(value.validity.is_valid())
            }
            SyncedValueOutcome::LocalTransientError => None,
            SyncedValueOutcome::PeerFault => panic!("the peer is innocent"),
        };
        let expected = [(SyncVerdict::Valid, Some(true)), (SyncVerdict::Invalid, Some(false))];
        assert_eq!(valid, expected.iter().find(|(of, _)| *of == verdict).and_then(|(_, valid)| *valid));
    }
}

#[test]
fn vote_extensions_are_refused_on_the_spot() {
    let (height, round, value_id) = (height(7), Round::new(0), Value(BLOCK));
    let extensions = vec![(Address(MemberId::new(2)), ())];
    let (event, mut engine) =
        ask(|reply_to| HostMsg::VerifyVoteExtensions { height, round, value_id, extensions, reply_to });
    assert!(event.is_none());
    let answers = engine.try_recv().expect("answered");
    assert!(matches!(&answers[..], [(Address(member), Err(_))] if member.get() == 2));
}

/// A block for height 7 in parts, as the one whose turn it is in a round publishes it.
fn publish(host: &mut HostState, round: u32, block: &Block) {
    let (name, proposer) = (round.to_be_bytes(), (7 + round) % 4);
    let stream = arc_malachitebft_app::streaming::StreamId::new(Bytes::copy_from_slice(&name));
    let parts = super::super::parts::cut(ids::Height::new(7), round, MemberId::new(proposer), block);
    for (sequence, part) in (0..).zip(parts) {
        let content = arc_malachitebft_app::streaming::StreamContent::Data(part);
        host.receive(peer(1), Some(peer(proposer)), StreamMessage::new(stream.clone(), sequence, content));
    }
}

#[test]
fn what_peers_send_leaves_room_for_the_engines_questions() {
    let (mut host, mut application) = host();
    let block = block(ids::Height::new(7));
    host.roster.begin(ids::Height::new(7), &voters(4));
    for round in 0..EVENTS_MAX as u32 {
        host.parts.advance(ids::Height::new(7), round);
        publish(&mut host, round, &block);
    }
    let mut questions = 0;
    while host.emit(Event::PeerStarted { height: ids::Height::new(8) }).is_ok() {
        questions += 1;
    }
    assert_eq!(questions, EVENTS_RESERVED);
    let mut proposals = 0;
    while let Ok(Event::Proposal { round, .. }) = application.try_recv() {
        assert_eq!(round, proposals, "the first are kept, in order");
        proposals += 1;
    }
    assert_eq!(proposals as usize, EVENTS_MAX - EVENTS_RESERVED);
    while application.try_recv().is_ok() {}
    let last = EVENTS_MAX as u32 - 1;
    publish(&mut host, last, &block);
    let again = std::iter::from_fn(|| application.try_recv().ok());
    let again = again.filter(|event| matches!(event, Event::Proposal { round, .. } if *round == last));
    assert_eq!(again.count(), 1, "what was dropped may come again");
}

#[test]
fn the_host_fails_when_nobody_listens_or_the_engine_contradicts_itself() {
    let (mut host, application) = host();
    let (height, value) = (height(7), Value(BLOCK));
    let (port, _engine) = oneshot::channel();
    let certificate = CommitCertificate::new(height, Round::Nil, value, Vec::new());
    let extensions = arc_malachitebft_core_types::VoteExtensions::new(Vec::new());
    let nowhere = HostMsg::Decided { certificate, extensions, reply_to: port.into() };
    assert!(host.handle(nowhere).is_err());
    drop(application);
    let (port, _engine) = oneshot::channel();
    assert!(host.handle(HostMsg::GetHistoryMinHeight { reply_to: port.into() }).is_err());
}

#[test]
fn peers_that_have_gone_on_are_reported_after_the_question() {
    let (mut host, mut application) = host();
    let certificate = CommitCertificate::new(height(7), Round::new(0), Value(BLOCK), Vec::new());
    let finalized = |port: oneshot::Sender<Next<Context>>| HostMsg::Finalized {
        certificate: certificate.clone(),
        extensions: arc_malachitebft_core_types::VoteExtensions::new(Vec::new()),
        evidence: MisbehaviorEvidence { proposals: Default::default(), votes: Default::default() },
        reply_to: port.into(),
    };
    let (port, _engine) = oneshot::channel();
    host.handle(HostMsg::ConsensusReady { reply_to: port.into() }).expect("the application listens");
    let Ok(Event::Ready { reply }) = application.try_recv() else { panic!("asked") };
    // While it waits for its first height, the engine hears nothing of this.
    host.view.hear(vote(3, 7, 0));
    host.view.tell(&host.events);
    host.view.tell(&host.events);
    assert!(matches!(application.try_recv(), Ok(Event::PeerStarted { height }) if height.get() == 7));
    reply.send(Start { height: ids::Height::new(7), voters: voters(4) });
    host.view.hear(vote(3, 8, 0));
    host.view.tell(&host.events);
    assert!(application.try_recv().is_err(), "once, and not while height 7 is under way");
    let (port, _engine) = oneshot::channel();
    host.handle(finalized(port)).expect("the application listens");
    assert!(matches!(application.try_recv(), Ok(Event::Finalized { .. })));
    assert!(matches!(application.try_recv(), Ok(Event::PeerStarted { height }) if height.get() == 8));
    assert!(application.try_recv().is_err());
}
