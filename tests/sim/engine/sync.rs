//! Catching up on decided blocks: who is ahead, what was asked of whom, what came.
//!
//! *Invariants.* One request at a time, never for a height that is decided here. What the
//! application cannot judge yet is handed to it again after a growing pause.

use std::collections::BTreeMap;
use std::fmt;

use arc_malachitebft_core_consensus::PeerId;
use arc_malachitebft_core_types::{ExtendedCommitCertificate, ValueResponse, VoteExtensions};
use syngraph_protocol::block::Block;
use syngraph_protocol::certificate::Certificate;
use syngraph_protocol::codec;
use syngraph_protocol::ids::{Height, MemberId};

use super::context::Context;
use super::votes::commit_certificate;
use super::{Heard, Out};
use crate::net::Packet;
use crate::time::{MS, SECOND, Virtual};

/// Most blocks asked for at once, as in the node.
const BLOCKS_MAX: u64 = 5;
/// How long an answer may take, as in the node.
const ANSWER_WAIT: Virtual = 10 * SECOND;
/// The longest pause before a block is judged again.
const PAUSE_MAX: Virtual = SECOND;

/// The state of catching up.
pub(crate) struct Sync {
    /// The last height stored here.
    tip: Height,
    /// The height under way.
    wanted: Option<Height>,
    tips: BTreeMap<MemberId, Height>,
    asked: Option<(u64, Virtual)>,
    last_request: u64,
    /// The last asked, so that the next request goes to another.
    last_peer: Option<MemberId>,
    blocks: BTreeMap<Height, (Block, Certificate)>,
    /// The height being judged.
    judging: Option<Height>,
    pause: Virtual,
    again: Option<Virtual>,
    /// Heights whose certificate the core refused.
    pub(crate) rejected: Vec<Height>,
}

impl fmt::Debug for Sync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tip, wanted, have) = (self.tip, self.wanted, self.blocks.len());
        write!(f, "tip {tip} wants {wanted:?} asked {:?} has {have} judging {:?}", self.asked, self.judging)
    }
}

impl Sync {
    pub(crate) fn new(tip: Height) -> Self {
        Self {
            tip,
            wanted: None,
            tips: BTreeMap::new(),
            asked: None,
            last_request: 0,
            last_peer: None,
            blocks: BTreeMap::new(),
            judging: None,
            pause: 100 * MS,
            again: None,
            rejected: Vec::new(),
        }
    }

    pub(crate) fn begun(&mut self, height: Height) {
        self.wanted = Some(height);
        self.blocks = self.blocks.split_off(&height);
        (self.judging, self.again, self.pause) = (None, None, 100 * MS);
    }

    /// A decision is stored here: it is announced.
    pub(crate) fn stored(&mut self, height: Height, out: &mut Vec<Out>) {
        self.tip = self.tip.max(height);
        self.wanted = self.wanted.filter(|wanted| *wanted > height);
        out.push(Out::Broadcast(Packet::Status(self.tip)));
    }

    pub(crate) fn announced(&mut self, by: MemberId, tip: Height) {
        self.tips.insert(by, tip);
    }

    pub(crate) fn announce(&self, out: &mut Vec<Out>) {
        out.push(Out::Broadcast(Packet::Status(self.tip)));
    }

    pub(crate) fn arrived(&mut self, request: u64, blocks: Vec<(Block, Certificate)>) {
        if self.asked.take_if(|(asked, _)| *asked == request).is_none() {
            return;
        }
        for (block, certificate) in blocks {
            if Some(block.header.height) >= self.wanted {
                self.blocks.insert(block.header.height, (block, certificate));
            }
        }
    }

    /// The application cannot say yet: it is asked again after the pause that is returned.
    pub(crate) fn not_yet(&mut self, height: Height, now: Virtual) -> Virtual {
        let pause = self.pause;
        if self.judging == Some(height) {
            self.judging = None;
            self.again = Some(now + pause);
            self.pause = (2 * pause).min(PAUSE_MAX);
        }
        pause
    }

    /// What is to be done now: a block for the core, or a request. To be called whenever
    /// something has changed, and now and then.
    pub(crate) fn step(&mut self, now: Virtual, out: &mut Vec<Out>) -> Option<Heard> {
        for height in std::mem::take(&mut self.rejected) {
            self.blocks.remove(&height);
            self.judging = self.judging.filter(|judging| *judging != height);
        }
        let wanted = self.wanted?;
        if self.asked.is_some_and(|(_, until)| until <= now) {
            self.asked = None;
        }
        if self.judging.is_none()
            && self.again.is_none_or(|at| at <= now)
            && let Some((block, certificate)) = self.blocks.get(&wanted)
        {
            self.judging = Some(wanted);
            return Some(Heard::Decided(response(block, certificate)));
        }
        let next = (0..).map(|more| Height::new(wanted.get() + more));
        let lacking = next.take(2 * BLOCKS_MAX as usize).find(|height| !self.blocks.contains_key(height));
        if self.asked.is_none()
            && let Some(from) = lacking
            && let Some(peer) = self.helper(from)
        {
            self.last_request += 1;
            self.asked = Some((self.last_request, now + ANSWER_WAIT));
            self.last_peer = Some(peer);
            let to = Height::new(from.get() + BLOCKS_MAX - 1);
            out.push(Out::Send(peer, Packet::BlocksWanted { request: self.last_request, from, to }));
        }
        None
    }

    fn helper(&self, height: Height) -> Option<MemberId> {
        let mut able = self.tips.iter().filter(|(_, tip)| **tip >= height).map(|(peer, _)| *peer);
        able.clone().find(|peer| Some(*peer) > self.last_peer).or_else(|| able.next())
    }
}

fn response(block: &Block, from: &Certificate) -> ValueResponse<Context> {
    // An identity that nobody looks at: a key of zeros in libp2p's form.
    let mut peer = [0_u8; 38];
    peer[..6].copy_from_slice(&[0, 36, 8, 1, 18, 32]);
    let peer = PeerId::from_bytes(&peer).expect("the form of a peer id");
    let none = VoteExtensions::new(Vec::new());
    let extended =
        ExtendedCommitCertificate::from_commit_certificate_and_extensions(commit_certificate(from), none);
    ValueResponse::new(peer, codec::encode(block).into(), extended)
}
