//! What the published core wants done.

use std::collections::BTreeMap;
use std::convert::Infallible;

use arc_malachitebft_core_consensus::{Effect, LivenessMsg, Resumable as _, Resume, VoteExtensionError};
use arc_malachitebft_core_types::{Timeout, TimeoutKind};
use syngraph_protocol::codec;
use syngraph_protocol::ids;
use syngraph_protocol::limits::BLOCK_BODY_BYTES_MAX;

use super::context::{Context, number};
use super::votes::{Notary, certificate};
use super::wal::Wal;
use super::{News, Out, TIMEOUTS};
use crate::net::Packet;

/// What carries effects out.
pub(crate) struct Hand<'a> {
    pub(crate) notary: &'a Notary,
    pub(crate) timers: &'a mut BTreeMap<(u8, i64), u64>,
    pub(crate) last_timer: &'a mut u64,
    pub(crate) begun: &'a mut ids::Height,
    pub(crate) recovering: bool,
    pub(crate) wal: &'a mut Wal,
    pub(crate) out: &'a mut Vec<Out>,
    pub(crate) rejected: &'a mut Vec<ids::Height>,
}

/// What tells timers apart.
pub(crate) fn timer_key(timeout: Timeout) -> (u8, i64) {
    let kind = match timeout.kind {
        TimeoutKind::Propose => 0,
        TimeoutKind::Prevote => 1,
        TimeoutKind::Precommit => 2,
        TimeoutKind::Rebroadcast => 3,
        TimeoutKind::FinalizeHeight(_) => 4,
    };
    (kind, timeout.round.as_i64())
}

impl Hand<'_> {
    fn news(&mut self, news: News) {
        self.out.push(Out::News(news));
    }

    fn broadcast(&mut self, packet: Packet) {
        self.out.push(Out::Broadcast(packet));
    }

    fn sync(&mut self) {
        if !self.recovering {
            self.wal.sync();
        }
    }

    fn schedule(&mut self, timeout: Timeout) {
        *self.last_timer += 1;
        let (number, after) = (*self.last_timer, TIMEOUTS.duration_for(timeout));
        self.timers.insert(timer_key(timeout), number);
        self.out.push(Out::Timer { timeout, number, after });
    }

    /// Carries out one effect.
    pub(crate) fn carry_out(&mut self, effect: Effect<Context>) -> Result<Resume<Context>, Infallible> {
        Ok(match effect {
            Effect::CancelAllTimeouts(r) => {
                self.timers.clear();
                r.resume_with(())
            }
            Effect::CancelTimeout(timeout, r) => {
                self.timers.remove(&timer_key(timeout));
                r.resume_with(())
            }
            Effect::ScheduleTimeout(timeout, r) => {
                self.schedule(timeout);
                r.resume_with(())
            }
            Effect::SignVote(vote, r) => r.resume_with(self.notary.sign_vote(vote)),
            Effect::SignProposal(proposal, r) => r.resume_with(self.notary.sign_proposal(proposal)),
            Effect::WalAppend(height, entry, r) => {
                if !self.recovering {
                    self.wal.append(height.0, entry);
                }
                r.resume_with(())
            }
            Effect::ExtendVote(.., r) => r.resume_with(None),
            Effect::VerifyVoteExtension(.., r) => {
                r.resume_with(Err(VoteExtensionError::InvalidVoteExtension))
            }
            effect => return Ok(self.check_or_tell(effect)),
        })
    }

    fn check_or_tell(&mut self, effect: Effect<Context>) -> Resume<Context> {
        match effect {
            Effect::VerifySignature(signed, key, r) => r.resume_with(self.notary.holds(&signed, &key)),
            Effect::VerifyCommitCertificate(commit, voters, _, r) => {
                r.resume_with(self.notary.check_commit(&commit, &voters))
            }
            Effect::VerifyExtendedCommitCertificate(commit, voters, _, _, r) => {
                r.resume_with(self.notary.check_commit(&commit.trim_vote_extensions(), &voters))
            }
            Effect::VerifyPolkaCertificate(polka, voters, _, r) => {
                r.resume_with(self.notary.check_polka(&polka, &voters))
            }
            Effect::VerifyRoundCertificate(round, voters, _, r) => {
                r.resume_with(self.notary.check_round(&round, &voters))
            }
            effect => self.tell(effect),
        }
    }

    fn tell(&mut self, effect: Effect<Context>) -> Resume<Context> {
        match effect {
            Effect::StartRound(height, round, proposer, _, r) => {
                self.sync();
                *self.begun = height.0;
                let (height, round, proposer) = (height.0, number(round), proposer.0);
                self.news(News::RoundStarted { height, round, proposer });
                r.resume_with(())
            }
            Effect::PublishConsensusMsg(signed, r) => {
                self.sync();
                self.broadcast(Packet::Consensus(signed));
                r.resume_with(())
            }
            Effect::PublishLivenessMsg(message, r) => {
                self.broadcast(Packet::Liveness(message));
                r.resume_with(())
            }
            Effect::RepublishVote(vote, r) => {
                self.broadcast(Packet::Liveness(LivenessMsg::Vote(vote)));
                r.resume_with(())
            }
            Effect::RepublishRoundCertificate(skip, r) => {
                self.broadcast(Packet::Liveness(LivenessMsg::SkipRoundCertificate(skip)));
                r.resume_with(())
            }
            Effect::GetValue(height, round, _, r) => {
                self.news(News::Build { height: height.0, round: number(round) });
                r.resume_with(())
            }
            Effect::RestreamProposal(height, round, _, proposer, block, r) => {
                let (round, proposer, block) = (number(round), proposer.0, block.0);
                self.news(News::Restream { height: height.0, round, proposer, block });
                r.resume_with(())
            }
            Effect::Decide(commit, _, r) => {
                self.sync();
                self.news(News::Decided { certificate: certificate(&commit) });
                r.resume_with(())
            }
            Effect::Finalize(_, _, seen, r) => {
                self.news(News::Finalized { evidence: self.notary.evidence(&seen) });
                r.resume_with(())
            }
            Effect::CertRejectedSyncValue(_, height, _, r) => {
                self.rejected.push(height.0);
                r.resume_with(())
            }
            Effect::CertVerifiedSyncValue(value, proposer, r) => {
                let block = codec::decode(&value.value_bytes, BLOCK_BODY_BYTES_MAX);
                let block = Box::new(block.expect("peers that lie about blocks are not simulated"));
                let (height, round) = (value.certificate.height.0, number(value.certificate.round));
                self.news(News::Synced { height, round, proposer: proposer.0, block });
                r.resume_with(())
            }
            other => unreachable!("every other effect was carried out before: {other:?}"),
        }
    }
}
