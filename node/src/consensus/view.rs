//! What can be seen of the consensus step from outside: how far it is, and who has spoken.
//!
//! *Invariants.* Nobody waits for the engine here, and the engine for nobody: what it and its network
//! tell is noted as it comes, under a lock that is held for a moment only, and read at leisure.
//! [`Progress`] counts a vote or proposal only if its signature is its member's; to keep that cheap, it
//! is checked when somebody asks. What is kept is bounded: [`CANDIDATES_MAX`] messages for each voter and
//! kind, one tip for each connected member, and [`HEIGHTS_AHEAD_MAX`] heights.
//!
//! *Deliberately absent:* influence on any vote. It tells the application when peers have gone on, and
//! nothing else.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arc_malachitebft_app::consensus::SignedConsensusMsg;
use arc_malachitebft_app::engine::network::NetworkEvent;
use arc_malachitebft_app::engine::util::events;
use arc_malachitebft_app::types::PeerId;
use arc_malachitebft_core_types::{SignedProposal, SignedVote, VoteType};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use syngraph_protocol::ids::{Height, MemberId, NetworkId};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tracing::info;

use super::context::Context;
use super::event::Event;
use super::host::offer;
use super::parts::HEIGHTS_AHEAD_MAX;
use super::roster::Roster;
use super::signer::{is_proposal_signed, is_vote_signed};

/// How many votes of one kind in the name of one voter are kept, and how many proposals of one: those
/// whose signature is another's must not keep the voter's own out.
const CANDIDATES_MAX: usize = 4;

/// How far the consensus step is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The height under way; if `waiting`, the last that is closed.
    pub(crate) height: Height,
    /// Whether no height is under way: the next one begins when the application says so.
    pub(crate) waiting: bool,
    /// The round under way. Every one before it at this height has failed.
    pub(crate) round: u32,
    /// When the round began, or the height closed.
    pub(crate) since: Instant,
    /// Whose turn it is to propose; none before the first height.
    pub(crate) proposer: Option<MemberId>,
    /// Whether its proposal for this round has come.
    pub(crate) proposal_seen: bool,
    /// The voters whose prevotes in this round have come, for a block or for none; sorted.
    pub(crate) prevotes: Vec<MemberId>,
    /// The voters whose precommits in this round have come, for a block or for none; sorted.
    pub(crate) precommits: Vec<MemberId>,
    /// The members whose nodes are connected to this one; sorted.
    pub(crate) connected: Vec<MemberId>,
}

/// What is known; shared.
#[derive(Clone, Debug)]
pub(super) struct View {
    network: NetworkId,
    roster: Roster,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    height: Height,
    round: u32,
    since: Instant,
    waiting: bool,
    /// Whether the application knows that peers have begun the height after this one.
    told: bool,
    /// Heights after this one at which peers have voted or proposed, by their own account.
    ahead: BTreeSet<Height>,
    /// The peers that are connected, with the last height they say to have decided.
    tips: BTreeMap<PeerId, Height>,
    prevotes: BTreeMap<MemberId, VecDeque<SignedVote<Context>>>,
    precommits: BTreeMap<MemberId, VecDeque<SignedVote<Context>>>,
    proposals: BTreeMap<MemberId, VecDeque<SignedProposal<Context>>>,
}

impl View {
    /// Before the engine has asked for its first height; `decided` is the last that is closed.
    pub(super) fn new(network: NetworkId, roster: Roster, decided: Height) -> Self {
        let inner = Inner {
            height: decided,
            round: 0,
            since: Instant::now(),
            waiting: false,
            told: false,
            ahead: BTreeSet::new(),
            tips: BTreeMap::new(),
            prevotes: BTreeMap::new(),
            precommits: BTreeMap::new(),
            proposals: BTreeMap::new(),
        };
        Self { network, roster, inner: Arc::new(Mutex::new(inner)) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // What a panic elsewhere leaves of it is at worst out of date.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The engine asks for the height after the last one; `ask` passes that on. The answer may come at
    /// once from elsewhere, and has to wait until both are done.
    pub(super) fn wait<T>(&self, ask: impl FnOnce() -> T) -> T {
        let mut inner = self.inner();
        (inner.waiting, inner.told, inner.since) = (true, false, Instant::now());
        ask()
    }

    /// A round of a height begins.
    pub(super) fn begin(&self, height: Height, round: u32) {
        let mut inner = self.inner();
        (inner.height, inner.round, inner.since, inner.waiting) = (height, round, Instant::now(), false);
        inner.ahead.retain(|&ahead| ahead > height);
        let now = (height, round);
        let Inner { prevotes, precommits, proposals, .. } = &mut *inner;
        for votes in prevotes.values_mut().chain(precommits.values_mut()) {
            votes.retain(|vote| at(vote.height.0, vote.round) >= now);
        }
        proposals.values_mut().for_each(|all| all.retain(|one| at(one.height.0, one.round) >= now));
    }

    /// Tells the application, once, if a height that it holds back has been begun by peers.
    pub(super) fn tell(&self, application: &mpsc::Sender<Event>) {
        let mut inner = self.inner();
        let Some(height) = inner.height.next().filter(|_| inner.waiting && !inner.told) else { return };
        let decided = inner.tips.iter().filter(|&(_, &tip)| tip >= height).map(|(&peer, _)| peer);
        if inner.ahead.contains(&height) || self.roster.is_credible(decided) {
            inner.told = offer(application, Event::PeerStarted { height });
        }
    }

    /// Notes what somebody has said, verified or not.
    pub(super) fn hear(&self, message: SignedConsensusMsg<Context>) {
        match message {
            SignedConsensusMsg::Vote(vote) => self.hear_vote(vote),
            SignedConsensusMsg::Proposal(proposal) => self.hear_proposal(proposal),
        }
    }

    fn hear_vote(&self, vote: SignedVote<Context>) {
        let (height, round, voter) = (vote.height.0, vote.round, vote.voter.0);
        let mut inner = self.inner();
        inner.note(height);
        if !inner.is_near(height, round.as_u32()) || self.roster.key(voter).is_none() {
            return;
        }
        let votes = match vote.kind {
            VoteType::Prevote => &mut inner.prevotes,
            VoteType::Precommit => &mut inner.precommits,
        };
        keep(votes.entry(voter).or_default(), vote);
    }

    fn hear_proposal(&self, proposal: SignedProposal<Context>) {
        let (height, round, proposer) = (proposal.height.0, proposal.round, proposal.proposer.0);
        let mut inner = self.inner();
        inner.note(height);
        if inner.is_near(height, round.as_u32()) && self.roster.key(proposer).is_some() {
            keep(inner.proposals.entry(proposer).or_default(), proposal);
        }
    }

    fn hear_peer(&self, peer: PeerId, tip: Option<Height>) {
        let Some(member) = self.roster.member(&peer) else { return };
        let mut inner = self.inner();
        let known = inner.tips.entry(peer).or_insert_with(|| {
            info!(%member, %peer, "a member's node has connected");
            Height::GENESIS
        });
        *known = tip.unwrap_or(*known);
    }

    fn lose_peer(&self, peer: PeerId) {
        if self.inner().tips.remove(&peer).is_some() {
            let member = self.roster.member(&peer).map(|member| member.to_string());
            info!(member, %peer, "a member's node has gone");
        }
    }

    fn hear_event(&self, event: NetworkEvent<Context>) {
        match event {
            NetworkEvent::Vote(_, vote) => self.hear_vote(vote),
            NetworkEvent::Proposal(_, proposal) => self.hear_proposal(proposal),
            NetworkEvent::RoundCertificate(_, proof) => self.inner().note(proof.height.0),
            NetworkEvent::PolkaCertificate(_, proof) => self.inner().note(proof.height.0),
            NetworkEvent::Status(peer, status) => self.hear_peer(peer, Some(status.tip_height.0)),
            NetworkEvent::PeerConnected(peer) => self.hear_peer(peer, None),
            NetworkEvent::PeerDisconnected(peer) => self.lose_peer(peer),
            _ => {}
        }
    }

    /// How far it is now. Signatures are checked when nobody can be waiting for this view any more.
    pub(super) fn progress(&self) -> Progress {
        let inner = self.inner();
        let (height, round) = (inner.height, inner.round);
        let mut progress = Progress {
            height,
            waiting: inner.waiting,
            round,
            since: inner.since,
            proposer: self.roster.proposer(height, round),
            proposal_seen: false,
            prevotes: Vec::new(),
            precommits: Vec::new(),
            connected: inner.tips.keys().filter_map(|peer| self.roster.member(peer)).collect(),
        };
        let now = |votes: &BTreeMap<MemberId, VecDeque<SignedVote<Context>>>| {
            let all =
                votes.values().flatten().filter(|vote| at(vote.height.0, vote.round) == (height, round));
            all.cloned().collect::<Vec<_>>()
        };
        let (prevotes, precommits) = (now(&inner.prevotes), now(&inner.precommits));
        let proposals = progress.proposer.and_then(|proposer| inner.proposals.get(&proposer).cloned());
        drop(inner);

        progress.connected.sort_unstable();
        progress.prevotes = self.voters(prevotes);
        progress.precommits = self.voters(precommits);
        let mut proposals = proposals.into_iter().flatten();
        progress.proposal_seen = proposals
            .any(|one| at(one.height.0, one.round) == (height, round) && self.is_proposal_signed(&one));
        progress
    }

    /// Those who have signed these votes, which come in order of their voters.
    fn voters(&self, votes: Vec<SignedVote<Context>>) -> Vec<MemberId> {
        let is_signed = |vote: &SignedVote<Context>| {
            let key = self.roster.key(vote.voter.0);
            key.is_some_and(|key| is_vote_signed(&vote.message, self.network, &vote.signature, &key))
        };
        let mut voters: Vec<_> = votes.into_iter().filter(is_signed).map(|vote| vote.voter.0).collect();
        voters.dedup();
        voters
    }

    fn is_proposal_signed(&self, proposal: &SignedProposal<Context>) -> bool {
        let key = self.roster.key(proposal.proposer.0);
        key.is_some_and(|key| is_proposal_signed(&proposal.message, self.network, &proposal.signature, &key))
    }
}

impl Inner {
    /// Notes that somebody is at a height.
    fn note(&mut self, height: Height) {
        if height.since(self.height).is_some_and(|ahead| (1..=HEIGHTS_AHEAD_MAX).contains(&ahead)) {
            self.ahead.insert(height);
        }
    }

    /// Whether it may be shown now or later.
    fn is_near(&self, height: Height, round: Option<u32>) -> bool {
        let ahead = height.since(self.height);
        ahead.is_some_and(|ahead| ahead <= HEIGHTS_AHEAD_MAX)
            && round.is_some_and(|round| height > self.height || round >= self.round)
    }
}

fn at(height: Height, round: arc_malachitebft_core_types::Round) -> (Height, u32) {
    (height, round.as_u32().unwrap_or(u32::MAX))
}

/// Keeps a message beside the others, once; the oldest makes room.
fn keep<T: PartialEq>(all: &mut VecDeque<T>, message: T) {
    if all.contains(&message) {
        return;
    }
    if all.len() >= CANDIDATES_MAX {
        all.pop_front();
    }
    all.push_back(message);
}

/// Hears what the engine's network receives, whether the engine is ready for it or not.
pub(super) struct Ear {
    pub(super) view: View,
    pub(super) application: mpsc::Sender<Event>,
}

/// Something the network has received.
pub(super) struct Heard(NetworkEvent<Context>);

impl From<NetworkEvent<Context>> for Heard {
    fn from(event: NetworkEvent<Context>) -> Self {
        Self(event)
    }
}

#[ractor::async_trait]
impl Actor for Ear {
    type Msg = Heard;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Heard>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<Heard>,
        Heard(event): Heard,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        self.view.hear_event(event);
        self.view.tell(&self.application);
        Ok(())
    }
}

/// Notes what this node itself says. Ends with the engine.
pub(super) async fn hear_ourselves(mut engine: events::RxEvent<Context>, view: View) {
    loop {
        match engine.recv().await {
            Ok(events::Event::Published(message)) => view.hear(message),
            // Votes said again, and what was missed, are for the next round to show.
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

#[cfg(test)]
mod tests;
