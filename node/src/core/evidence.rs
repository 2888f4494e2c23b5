//! Evidence against members, put on the ledger by the node in its own journal.
//!
//! *Invariants.* An offence is reported once per run of the node, and not if the ledger has
//! it. What cannot be reported now, for want of room, is seen again or by another node.

use std::collections::BTreeSet;

use syngraph_protocol::certificate::{Proposal, SignedProposal, SignedVote, Vote};
use syngraph_protocol::entry::{Body, Deed, SignedEntry, Slot, VerifiedEntry};
use syngraph_protocol::ids::{Hash, Idem};
use syngraph_protocol::ledger::equivocation::{Evidence, ReportEquivocation};

use super::ports::{Disk, Now, Peers, Voting};
use super::{Core, CoreError};
use crate::consensus::{Evidence as Seen, Signed};
use crate::gate::Admission;

/// Most reports of one run of the node. Beyond, a member that signs twice without end would
/// fill the log with its evidence.
const REPORTS_MAX: usize = 1_024;

/// What was reported by this run.
#[derive(Debug, Default)]
pub(super) struct Reported(BTreeSet<Hash>);

impl<D: Disk, V: Voting, P: Peers> Core<D, V, P> {
    /// Reports the members that were seen to vote or propose twice.
    pub(super) fn report_double_signers(&mut self, now: Now, seen: Vec<Seen>) -> Result<(), CoreError> {
        for pair in seen {
            let evidence = match pair {
                Seen::Votes(pair) => Evidence::votes(vote(pair.0), vote(pair.1)),
                Seen::Proposals(pair) => Evidence::proposals(proposal(pair.0), proposal(pair.1)),
            };
            if let Some(evidence) = evidence {
                self.report(now, evidence)?;
            }
        }
        Ok(())
    }

    /// Reports the journals that were seen to fork.
    pub(super) fn report_forks(&mut self, now: Now) -> Result<(), CoreError> {
        for fork in self.journals.take_forks() {
            if let Some(evidence) = Evidence::entries(fork.held, fork.came) {
                self.report(now, evidence)?;
            }
        }
        Ok(())
    }

    fn report(&mut self, now: Now, evidence: Evidence) -> Result<(), CoreError> {
        let (hash, Reported(reported)) = (evidence.hash(), &self.reported);
        let is_said = reported.contains(&hash) || evidence.is_known(self.chain.ledger());
        if is_said || reported.len() >= REPORTS_MAX {
            return Ok(());
        }
        tracing::warn!(?evidence, "a member has signed two statements that contradict each other");
        let Some(entry) = self.sign(now, hash, Deed::ReportEquivocation(ReportEquivocation { evidence }))
        else {
            return Ok(());
        };
        match self.take(now, entry)? {
            Admission::New { .. } => {
                self.reported.0.insert(hash);
                self.metrics.entry_accepted();
            }
            admission => tracing::warn!(?admission, "the node's own report is not taken"),
        }
        Ok(())
    }

    /// Signs a deed into the node's own journal; none if its key is unknown. The
    /// idempotency key comes from what is said, so that a restart says it once.
    fn sign(&self, now: Now, about: Hash, deed: Deed) -> Option<VerifiedEntry> {
        let ledger = self.chain.ledger();
        let tip = self.journals.tip(ledger, &self.own.journal.public())?;
        let network = ledger.network();
        let slot =
            Slot { network, member: self.own.member, seq: tip.next, prev: tip.last, claimed_at: now.wall };
        let idem = Idem::from_bytes(*about.as_bytes().first_chunk::<16>()?);
        let body = Body::Deed { idem, deed };
        VerifiedEntry::verify(SignedEntry::sign(&self.own.journal, slot, body), network).ok()
    }
}

fn vote(Signed { message, signature }: Signed<Vote>) -> SignedVote {
    SignedVote { vote: message, signature }
}

fn proposal(Signed { message, signature }: Signed<Proposal>) -> SignedProposal {
    SignedProposal { proposal: message, signature }
}
