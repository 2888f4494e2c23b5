//! `GET /v1/status/stall`: why blocks aren't coming.
//!
//! *Invariants.* What is told is what this node has seen: a vote that is missing here may
//! have reached others. Asking never waits for the engine, and for the core no longer than
//! [`CORE_MAX`].

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Json;
use serde::Serialize;
use syngraph_protocol::certificate::MemberSet;
use syngraph_protocol::ids::{Height, MemberId};
use syngraph_protocol::ledger::Ledger;
use syngraph_protocol::time::UtcMs;
use tokio::time::timeout;

use super::extract;
use super::views::member_name;
use crate::consensus::Progress;
use crate::gate::{Gate, Readiness, Standing};

/// How long the core may take to say what is held. It answers between two writes.
const CORE_MAX: Duration = Duration::from_secs(2);

/// Why blocks aren't coming.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct StallView {
    /// The height that is under way, or comes next.
    height: Height,
    /// The round under way; every one before it at this height has failed.
    round: u32,
    /// Since when this round is under way, or no height is.
    since: UtcMs,
    /// Whose turn it is to propose, while a height is under way.
    proposer: Option<MemberId>,
    proposer_name: Option<String>,
    /// Whether its proposal has come.
    proposal_seen: bool,
    /// The voters whose votes of this round have not come.
    waiting_for: Vec<Silent>,
    /// Entries that others hold or propose and that are not here; none if the ledger's
    /// thread is too busy to tell.
    entries_missing: Option<u64>,
    /// Entries that are held here, that no block covers, and that one may; none likewise.
    entries_unsealed: Option<u64>,
    /// The same in words.
    reason: String,
}

/// A voter whose votes have not come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Silent {
    member: MemberId,
    name: String,
    /// Whether its node is connected to this one.
    connected: bool,
    missing: Vec<&'static str>,
}

impl StallView {
    /// What is said in words.
    pub(super) fn into_reason(self) -> String {
        self.reason
    }
}

/// `GET /v1/status/stall`.
pub(super) async fn show(extract::Gate(gate): extract::Gate) -> Json<StallView> {
    Json(view(&gate).await)
}

/// Why blocks aren't coming, by what is known now.
pub(super) async fn view(gate: &Gate) -> StallView {
    let standing = timeout(CORE_MAX, gate.standing()).await.ok().and_then(Result::ok);
    let (progress, snapshot) = (gate.progress(), gate.snapshot());
    let me = gate.info().member;
    let seen = Seen { progress, ledger: &snapshot.ledger, me, standing, replicating: &snapshot.connected };
    let view = seen.view();
    match &snapshot.readiness {
        Readiness::Ready => view,
        Readiness::Starting => {
            StallView { reason: "the consensus engine has not started yet".into(), ..view }
        }
        Readiness::Stopping { reason } => StallView { reason: format!("stopping: {reason}"), ..view },
    }
}

/// If nodes with a quorum of the power cannot be reached from here: that, in words.
pub(super) fn unreachable(gate: &Gate) -> Option<String> {
    let snapshot = gate.snapshot();
    beyond_reach(&snapshot.ledger, gate.info().member, &snapshot.connected)
}

fn beyond_reach(ledger: &Ledger, me: MemberId, connected: &[MemberId]) -> Option<String> {
    let voters = ledger.voters();
    let away = voters.voters().iter().map(|voter| voter.member);
    let away: Vec<_> = away.filter(|member| *member != me && !connected.contains(member)).collect();
    let reached = voters.total_power().saturating_sub(voters.power_of(away.iter().copied()));
    (!voters.is_quorum(reached))
        .then(|| format!("nodes with a quorum of the voting power: {} not connected", names(ledger, &away)))
}

/// Everything that the answer is made of.
struct Seen<'a> {
    progress: Progress,
    ledger: &'a Ledger,
    me: MemberId,
    standing: Option<Standing>,
    /// The members whose nodes are connected on the peer port.
    replicating: &'a [MemberId],
}

impl Seen<'_> {
    fn view(&self) -> StallView {
        let Progress { height, waiting, round, proposer, proposal_seen, .. } = self.progress;
        let proposer = proposer.filter(|_| !waiting);
        StallView {
            height: if waiting { height.next().unwrap_or(height) } else { height },
            round: if waiting { 0 } else { round },
            since: self.since(),
            proposer,
            proposer_name: proposer.map(|member| member_name(self.ledger, member)),
            proposal_seen: proposal_seen && !waiting,
            waiting_for: if waiting { self.away() } else { self.silent() },
            entries_missing: self.standing.map(|standing| standing.missing),
            entries_unsealed: self.standing.map(|standing| standing.unsealed),
            reason: if waiting { self.why_no_height() } else { self.why_no_decision() },
        }
    }

    /// The engine tells by the steady clock; whoever reads this has the other.
    fn since(&self) -> UtcMs {
        let began = SystemTime::now().checked_sub(self.progress.since.elapsed()).unwrap_or(UNIX_EPOCH);
        let ms = began.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        UtcMs::from_ms(i64::try_from(ms).unwrap_or(i64::MAX))
    }

    fn voters(&self) -> &MemberSet {
        self.ledger.voters()
    }

    fn is_connected(&self, member: MemberId) -> bool {
        member == self.me || self.progress.connected.contains(&member)
    }

    /// Without a quorum no height begins: whose nodes that is for.
    fn away(&self) -> Vec<Silent> {
        if self.has_nothing_to_seal() || beyond_reach(self.ledger, self.me, self.replicating).is_none() {
            return Vec::new();
        }
        let away = self.voters().voters().iter().map(|voter| voter.member);
        let away = away.filter(|member| *member != self.me && !self.replicating.contains(member));
        let silent = away.map(|member| Silent {
            member,
            name: member_name(self.ledger, member),
            connected: false,
            missing: vec!["prevote", "precommit"],
        });
        silent.collect()
    }

    fn has_nothing_to_seal(&self) -> bool {
        matches!(self.standing, Some(Standing { unsealed: 0, missing: 0 }))
    }

    fn silent(&self) -> Vec<Silent> {
        let Progress { prevotes, precommits, .. } = &self.progress;
        let of = |member: MemberId| {
            let kinds = [("prevote", prevotes), ("precommit", precommits)];
            let missing = kinds.into_iter().filter(|(_, votes)| !votes.contains(&member));
            let missing: Vec<_> = missing.map(|(kind, _)| kind).collect();
            let (name, connected) = (member_name(self.ledger, member), self.is_connected(member));
            (!missing.is_empty()).then_some(Silent { member, name, connected, missing })
        };
        self.voters().voters().iter().filter_map(|voter| of(voter.member)).collect()
    }

    fn why_no_height(&self) -> String {
        match self.standing {
            None => "the ledger's thread is busy and has not answered".to_owned(),
            Some(Standing { unsealed: 0, missing: 0 }) => "nothing to seal".to_owned(),
            Some(Standing { unsealed: 0, missing }) => {
                format!("{missing} entries have not come from others yet")
            }
            Some(Standing { unsealed, .. }) => match beyond_reach(self.ledger, self.me, self.replicating) {
                Some(beyond) => format!("{unsealed} entries wait for {beyond}"),
                None => format!("{unsealed} entries wait for the next height to begin"),
            },
        }
    }

    fn why_no_decision(&self) -> String {
        let Progress { proposer, proposal_seen, prevotes, precommits, round, .. } = &self.progress;
        let what = match proposer.filter(|_| !proposal_seen) {
            Some(proposer) => {
                let away = if self.is_connected(proposer) { "" } else { ", whose node is not connected" };
                format!("the proposal of {}{away}", member_name(self.ledger, proposer))
            }
            None => match self.standing {
                Some(Standing { missing, .. }) if missing > 0 && !prevotes.contains(&self.me) => {
                    format!("{missing} entries that others hold, to judge the proposal")
                }
                _ if !self.is_quorum(prevotes) => self.votes_of("prevotes", prevotes),
                _ if !self.is_quorum(precommits) => self.votes_of("precommits", precommits),
                _ => "the decision to be stored".to_owned(),
            },
        };
        format!("round {round} waits for {what}")
    }

    fn is_quorum(&self, members: &[MemberId]) -> bool {
        self.voters().is_quorum(self.voters().power_of(members.iter().copied()))
    }

    fn votes_of(&self, kind: &str, have: &[MemberId]) -> String {
        let silent = self.voters().voters().iter().map(|voter| voter.member);
        let silent: Vec<_> = silent.filter(|member| !have.contains(member)).collect();
        format!("{kind} of a quorum: none from {}", names(self.ledger, &silent))
    }
}

fn names(ledger: &Ledger, members: &[MemberId]) -> String {
    let names: Vec<_> = members.iter().map(|member| member_name(ledger, *member)).collect();
    names.join(", ")
}
