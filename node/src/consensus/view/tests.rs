use super::*;
use crate::consensus::context::{self, Address, Proposal, Value};
use crate::consensus::tests::{NETWORK, key, peer, roster, vote, voters};
use arc_malachitebft_app::engine::network::Status;
use arc_malachitebft_core_types::{Round, SignedMessage};
use syngraph_protocol::crypto::Domain;
use syngraph_protocol::ids::BlockId;

const HEIGHT: Height = Height::new(7);

fn members(numbers: &[u32]) -> Vec<MemberId> {
    numbers.iter().copied().map(MemberId::new).collect()
}

/// Four of five members vote, and height 7 is under way.
fn view() -> View {
    let roster = roster(&[0, 1, 2, 3, 4]);
    roster.begin(HEIGHT, &voters(4));
    let view = View::new(NETWORK, roster, Height::new(6));
    view.begin(HEIGHT, 0);
    view
}

fn proposal(member: u32, round: u32, signer: u32) -> SignedConsensusMsg<Context> {
    let proposal = Proposal {
        height: context::Height(HEIGHT),
        round: Round::new(round),
        value: Value(BlockId::from_bytes([3; 32])),
        valid_round: Round::Nil,
        proposer: Address(MemberId::new(member)),
    };
    let form = proposal.signed_form(NETWORK).expect("its round is defined");
    let signature = key(signer).sign(Domain::PROPOSAL, &form.signing_bytes());
    SignedConsensusMsg::Proposal(SignedMessage::new(proposal, signature))
}

/// A vote in another's name.
fn forged(member: u32, round: u32) -> SignedConsensusMsg<Context> {
    let (SignedConsensusMsg::Vote(own), SignedConsensusMsg::Vote(foreign)) =
        (vote(member, 7, round), vote(member + 1, 7, round))
    else {
        unreachable!("votes")
    };
    SignedConsensusMsg::Vote(SignedMessage::new(own.message, foreign.signature))
}

#[test]
fn whose_votes_have_come_is_seen_for_the_round_under_way() {
    let view = view();
    for heard in [vote(2, 7, 0), vote(0, 7, 0), vote(1, 7, 1), vote(3, 8, 0), vote(4, 7, 0), forged(1, 0)] {
        view.hear(heard);
    }
    let progress = view.progress();
    assert_eq!((progress.height, progress.round, progress.waiting), (HEIGHT, 0, false));
    assert_eq!(progress.prevotes, members(&[0, 2]));
    assert_eq!((progress.precommits, progress.proposer), (Vec::new(), Some(MemberId::new(3))));
    view.begin(HEIGHT, 1);
    let later = view.progress();
    assert_eq!((later.prevotes, later.proposer), (members(&[1]), Some(MemberId::new(0))));
    assert!(later.since >= progress.since);
}

#[test]
fn votes_in_anothers_name_do_not_keep_its_own_out() {
    let view = view();
    for round in (0..20).rev() {
        view.hear(forged(1, round));
    }
    view.hear(vote(1, 7, 0));
    assert_eq!(view.progress().prevotes, members(&[1]));
    assert!(view.inner().prevotes.values().all(|votes| votes.len() <= CANDIDATES_MAX));
}

#[test]
fn a_proposal_counts_if_its_proposer_has_signed_it() {
    let view = view();
    for heard in [proposal(2, 0, 2), proposal(3, 0, 2), proposal(3, 4, 3)] {
        view.hear(heard);
        assert!(!view.progress().proposal_seen);
    }
    view.hear(proposal(3, 0, 3));
    assert!(view.progress().proposal_seen);
    view.begin(HEIGHT, 1);
    assert!(!view.progress().proposal_seen);
}

#[test]
fn what_is_far_away_leaves_nothing() {
    let view = view();
    for height in [0, 6, 18, u64::MAX] {
        view.hear(vote(1, height, 0));
    }
    for height in 8..=17 {
        view.hear(vote(1, height, 0));
    }
    let inner = view.inner();
    assert_eq!(inner.ahead.len() as u64, HEIGHTS_AHEAD_MAX);
    assert_eq!(inner.prevotes[&MemberId::new(1)].len(), CANDIDATES_MAX);
}

#[test]
fn peers_are_connected_until_they_are_not() {
    let view = view();
    for event in [4, 2, 9].map(|n| NetworkEvent::PeerConnected(peer(n))) {
        view.hear_event(event);
    }
    assert_eq!(view.progress().connected, members(&[2, 4]));
    view.hear_event(NetworkEvent::PeerDisconnected(peer(2)));
    assert_eq!(view.progress().connected, members(&[4]));
}

#[tokio::test]
async fn a_decided_height_is_believed_when_more_than_a_third_tell_it() {
    let view = view();
    let (events, mut application) = mpsc::channel(crate::consensus::host::EVENTS_MAX);
    view.wait(|| ());
    let mut tell = |member, tip| {
        let status = Status::new(context::Height(Height::new(tip)), context::Height(Height::new(1)));
        view.hear_event(NetworkEvent::Status(peer(member), status));
        view.tell(&events);
        match application.try_recv() {
            Ok(Event::PeerStarted { height }) => Some(height.get()),
            _ => None,
        }
    };
    assert_eq!(tell(0, u64::MAX), None, "one of four may lie");
    assert_eq!(tell(4, 9), None, "and who has no vote adds nothing");
    assert_eq!(tell(1, 7), None, "everybody here has decided that");
    assert_eq!(tell(1, 9), Some(8));
    assert_eq!(tell(2, 9), None, "once");
    view.begin(Height::new(8), 0);
    view.wait(|| ());
    view.tell(&events);
    assert!(application.try_recv().is_ok(), "nobody has to say it again");
}
