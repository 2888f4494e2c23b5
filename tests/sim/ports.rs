//! Between a core and its world: what the core says, in one queue, in order.
//!
//! *Invariant.* Nothing is carried out while the core speaks: the world does it afterwards.

use std::sync::mpsc;

use syngraph_node::core::ports::{Event, Judged, Peers, Reply, Start, SyncVerdict, Voting};
use syngraph_node::replicas::message::{Request, Response, Ticket};
use syngraph_protocol::block::Block;
use syngraph_protocol::certificate::Certificate;
use syngraph_protocol::ids::{BlockId, Height, MemberId};

use crate::engine::News;

/// What a core says.
#[derive(Debug)]
pub(crate) enum Said {
    Start(Start),
    Known(Vec<Judged>),
    Built { height: Height, round: u32, block: BlockId },
    Stored(Height),
    Blocks { to: MemberId, request: u64, blocks: Vec<(Block, Certificate)> },
    Synced { verdict: SyncVerdict, judged: Judged },
    Judged(Judged),
    Publish { height: Height, round: u32, proposer: MemberId, block: Box<Block> },
    Ask { to: MemberId, ticket: Ticket, request: Request },
    Answer { to: MemberId, ticket: Ticket, response: Response },
}

/// The core's voice.
#[derive(Clone, Debug)]
pub(crate) struct Voice(mpsc::Sender<Said>);

impl Voice {
    /// A voice and where it is heard.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Said>) {
        let (say, said) = mpsc::channel();
        (Self(say), said)
    }

    fn say(&self, said: Said) {
        // Whoever died does not listen.
        self.0.send(said).ok();
    }

    fn reply<T: 'static>(&self, say: impl FnOnce(T) -> Said + Send + 'static) -> Reply<T> {
        let voice = self.clone();
        Reply::new(move |answer| voice.say(say(answer)))
    }

    /// The engine's news as the core takes them, with the ways back.
    pub(crate) fn event(&self, news: News) -> Event {
        match news {
            News::Ready => Event::Ready { reply: self.reply(Said::Start) },
            News::RoundStarted { height, round, proposer } => {
                Event::RoundStarted { height, round, proposer, reply: self.reply(Said::Known) }
            }
            News::Build { height, round } => {
                let reply = self.reply(move |block| Said::Built { height, round, block });
                Event::Build { height, round, reply }
            }
            News::Restream { height, round, proposer, block } => {
                Event::Restream { height, round, proposer, block }
            }
            News::Proposal { height, round, proposer, block } => {
                Event::Proposal { height, round, proposer, block }
            }
            News::PeerStarted { height } => Event::PeerStarted { height },
            News::Decided { certificate } => {
                let height = certificate.height;
                Event::Decided { certificate, reply: self.reply(move |()| Said::Stored(height)) }
            }
            News::Finalized { evidence } => Event::Finalized { evidence, reply: self.reply(Said::Start) },
            News::BlocksWanted { by, request, from, to } => {
                let reply = self.reply(move |blocks| Said::Blocks { to: by, request, blocks });
                Event::DecidedRange { from, to, reply }
            }
            News::Synced { height, round, proposer, block } => {
                let id = block.id();
                let judged = move |valid| Judged { height, round, proposer, block: id, valid };
                let reply = self.reply(move |verdict| Said::Synced {
                    verdict,
                    judged: judged(verdict == SyncVerdict::Valid),
                });
                Event::Synced { block, reply }
            }
        }
    }
}

impl Voting for Voice {
    fn judged(&mut self, judged: Judged) {
        self.say(Said::Judged(judged));
    }

    fn publish(&mut self, height: Height, round: u32, proposer: MemberId, block: &Block) {
        self.say(Said::Publish { height, round, proposer, block: Box::new(block.clone()) });
    }

    fn is_halted(&self) -> bool {
        false
    }
}

impl Peers for Voice {
    fn ask(&mut self, to: MemberId, ticket: Ticket, request: Request) {
        self.say(Said::Ask { to, ticket, request });
    }

    fn answer(&mut self, to: MemberId, ticket: Ticket, response: Response) {
        self.say(Said::Answer { to, ticket, response });
    }
}
