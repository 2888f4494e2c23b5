//! What a node does: its core's steps, its engine's, and what they come to.

use arc_malachitebft_core_consensus::{LivenessMsg, SignedConsensusMsg};
use arc_malachitebft_core_types::ValueOrigin;
use syngraph_node::core::ports::{Input, SyncVerdict};

use super::{Do, Step, World};
use crate::engine::{Heard, News, Out};
use crate::net::{NodeId, Packet};
use crate::node::{Running, node_of};
use crate::ports::Said;
use crate::time::{MS, SECOND, Virtual};

/// Most inputs that a core takes together, as in the node.
const BATCH_MAX: usize = 64;

impl World {
    fn running(&mut self, node: NodeId) -> &mut Running {
        self.nodes[node].running.as_mut().expect("only a running node acts")
    }

    pub(super) fn act(&mut self, node: NodeId, what: Do) -> Step {
        match what {
            Do::Core => self.core(node),
            Do::Settle => self.settle(node),
            Do::Alarm(alarm) => {
                let running = self.running(node);
                if running.alarm == alarm && !running.busy {
                    running.busy = true;
                    self.oracle.woken(node, self.at)?;
                    return self.core(node);
                }
                Ok(())
            }
            Do::Hear(heard) => self.hear(node, heard),
            Do::Arrive(from, packet) => self.arrive(node, from, packet),
            Do::Timer(timeout, number) => {
                self.note(&format!("{node} timer {timeout} #{number}"));
                self.hear(node, Heard::Timeout(timeout, number))
            }
            Do::Tick(regular) => self.tick(node, regular),
            Do::AskFails(ticket) => {
                if let Some(to) = self.net.asked_of(node, self.nodes[node].life, ticket) {
                    self.note(&format!("{node} gets no answer to #{}", ticket.0));
                    self.ask_fails(node, to, ticket);
                }
                Ok(())
            }
        }
    }

    /// The engine listens.
    pub(super) fn ready(&mut self, node: NodeId) {
        self.news(node, News::Ready);
    }

    fn news(&mut self, node: NodeId, news: News) {
        self.note(&format!("{node} engine: {news:?}"));
        let event = self.running(node).voice.event(news);
        self.tell(node, Input::Event(event));
    }

    /// Hands a core an input, which it takes soon.
    pub(crate) fn tell(&mut self, node: NodeId, input: Input) {
        let Some(running) = &mut self.nodes[node].running else { return };
        running.inbox.push_back(input);
        if !running.busy {
            running.busy = true;
            let slow = self.random.below(100) == 0;
            let after = if slow { self.between(2 * MS, 20 * MS) } else { self.between(30, 300) };
            self.node_later(node, after, Do::Core);
        }
    }

    /// The core takes what waits. Its disk is at work until it settles.
    fn core(&mut self, node: NodeId) -> Step {
        let now = self.now(node);
        for _ in 0..BATCH_MAX {
            let running = self.running(node);
            let Some(input) = running.inbox.pop_front() else { break };
            running.core.handle(now, input).map_err(|error| format!("core {node}: {error}"))?;
        }
        self.listen(node)?;
        let slow = self.random.below(50) == 0;
        let after = if slow { self.between(10 * MS, 60 * MS) } else { self.between(200, 2 * MS) };
        self.node_later(node, after, Do::Settle);
        Ok(())
    }

    fn settle(&mut self, node: NodeId) -> Step {
        let now = self.now(node);
        let running = self.running(node);
        running.core.settle(now).map_err(|error| format!("core {node}: {error}"))?;
        self.listen(node)?;
        self.load.listen(&mut self.oracle, node, self.at)?;
        let clock = self.clock;
        let at = self.at;
        let running = self.running(node);
        running.alarm += 1;
        let (alarm, wake) = (running.alarm, running.core.wake_at(now));
        let waiting = !running.inbox.is_empty();
        running.busy = waiting;
        if waiting {
            self.node_later(node, 10, Do::Core);
        } else if let Some(wake) = wake {
            let after = clock.at(wake).saturating_sub(at).max(50);
            self.node_later(node, after, Do::Alarm(alarm));
        }
        Ok(())
    }

    /// Carries out what a core has said, and looks at what it has written.
    fn listen(&mut self, node: NodeId) -> Step {
        let committed = self.nodes[node].platter.borrow_mut().take_committed();
        for committed in committed {
            let (height, block) = (committed.height, committed.block);
            self.note(&format!("{node} commits h{height} {block} of {} entries", committed.entries));
            self.oracle.committed(node, &committed)?;
        }
        let said: Vec<_> = self.running(node).said.try_iter().collect();
        said.into_iter().try_for_each(|said| self.carry_out(node, said))
    }

    fn carry_out(&mut self, node: NodeId, said: Said) -> Step {
        match said {
            Said::Start(start) => self.engine_hears(node, Heard::Start(start)),
            Said::Known(known) => {
                for judged in known {
                    self.engine_hears(node, Heard::Judged(judged, ValueOrigin::Consensus));
                }
            }
            Said::Built { height, round, block } => {
                self.engine_hears(node, Heard::Propose { height, round, block });
            }
            Said::Judged(judged) => self.engine_hears(node, Heard::Judged(judged, ValueOrigin::Consensus)),
            Said::Synced { verdict: SyncVerdict::NotYet, judged } => {
                let at = self.at;
                let pause = self.running(node).engine.sync.not_yet(judged.height, at);
                self.node_later(node, pause, Do::Tick(false));
            }
            Said::Synced { judged, .. } => self.engine_hears(node, Heard::Judged(judged, ValueOrigin::Sync)),
            Said::Stored(height) => {
                let mut out = Vec::new();
                self.running(node).engine.sync.stored(height, &mut out);
                return self.come_of(node, out);
            }
            Said::Blocks { to, request, blocks } => {
                self.send(node, node_of(to), &Packet::Blocks { request, blocks });
            }
            Said::Publish { height, round, proposer, block } => {
                self.broadcast(node, &Packet::Body { height, round, proposer, block });
            }
            Said::Ask { to, ticket, request } => self.ask(node, to, ticket, request),
            Said::Answer { to, ticket, response } => return self.reply(node, to, ticket, response),
        }
        Ok(())
    }

    /// The engine hears the core a moment later, in order.
    fn engine_hears(&mut self, node: NodeId, heard: Heard) {
        let soon = self.at + self.between(20, 200);
        let running = self.running(node);
        running.heard = running.heard.max(soon);
        let after = running.heard - self.at;
        self.node_later(node, after, Do::Hear(heard));
    }

    fn hear(&mut self, node: NodeId, heard: Heard) -> Step {
        if let Heard::Judged(judged, origin) = &heard {
            self.note(&format!("{node} judged {judged:?} {origin:?}"));
        }
        let mut out = Vec::new();
        let platter = self.nodes[node].platter.clone();
        let at = self.at;
        let running = self.running(node);
        let mut next = Some(heard);
        while let Some(heard) = next {
            let wal = &mut platter.borrow_mut().wal;
            let heard = running.engine.hear(wal, heard, &mut out);
            heard.map_err(|error| format!("engine {node}: {error}"))?;
            next = running.engine.sync.step(at, &mut out);
        }
        self.come_of(node, out)
    }

    fn come_of(&mut self, node: NodeId, out: Vec<Out>) -> Step {
        for out in out {
            match out {
                Out::News(news) => self.news(node, news),
                Out::Send(to, packet) => self.send(node, node_of(to), &packet),
                Out::Timer { timeout, number, after } => {
                    let after = Virtual::try_from(after.as_micros()).expect("a few seconds");
                    self.node_later(node, after, Do::Timer(timeout, number));
                }
                Out::Broadcast(packet) => {
                    match &packet {
                        Packet::Consensus(SignedConsensusMsg::Vote(vote))
                        | Packet::Liveness(LivenessMsg::Vote(vote)) => {
                            self.oracle.voted(node, &vote.message)?;
                        }
                        Packet::Consensus(SignedConsensusMsg::Proposal(proposal)) => {
                            self.oracle.proposed(node, &proposal.message)?;
                        }
                        _ => {}
                    }
                    self.broadcast(node, &packet);
                }
            }
        }
        Ok(())
    }

    fn broadcast(&mut self, node: NodeId, packet: &Packet) {
        for to in (0..self.nodes.len()).filter(|to| *to != node) {
            self.send(node, to, packet);
        }
    }

    fn arrive(&mut self, node: NodeId, from: NodeId, packet: Packet) -> Step {
        self.note(&format!("{from}→{node} {}", packet.describe()));
        match packet {
            Packet::Consensus(signed) => return self.hear(node, Heard::Consensus(signed)),
            Packet::Liveness(message) => return self.hear(node, Heard::Liveness(message)),
            Packet::Body { height, round, proposer, block } => {
                self.news(node, News::Proposal { height, round, proposer, block });
            }
            Packet::Status(tip) => {
                let by = self.nodes[from].member;
                self.running(node).engine.sync.announced(by, tip);
                return self.catch_up(node);
            }
            Packet::BlocksWanted { request, from: first, to } => {
                let by = self.nodes[from].member;
                self.news(node, News::BlocksWanted { by, request, from: first, to });
            }
            Packet::Blocks { request, blocks } => {
                self.running(node).engine.sync.arrived(request, blocks);
                return self.catch_up(node);
            }
            Packet::Ask { ticket, request } => self.asked(node, from, ticket, request),
            Packet::Answer { ticket, response } => self.answered(node, from, ticket, response),
        }
        Ok(())
    }

    fn tick(&mut self, node: NodeId, regular: bool) -> Step {
        if regular {
            let mut out = Vec::new();
            self.running(node).engine.sync.announce(&mut out);
            self.come_of(node, out)?;
            self.node_later(node, SECOND, Do::Tick(true));
        }
        self.catch_up(node)
    }

    fn catch_up(&mut self, node: NodeId) -> Step {
        let mut out = Vec::new();
        let at = self.at;
        let heard = self.running(node).engine.sync.step(at, &mut out);
        self.come_of(node, out)?;
        match heard {
            Some(heard) => self.hear(node, heard),
            None => Ok(()),
        }
    }
}
