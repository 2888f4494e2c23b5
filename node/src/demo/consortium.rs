//! The demo's nodes together: started, found ready, brought to one state, stopped.
//!
//! *Invariant.* A node that somebody kills while the story is told ends nothing: its members
//! go on at the others' doors, and the result says that it is gone.

use std::time::{Duration, Instant};

use syngraph_client::api::{Node, Status};
use syngraph_protocol::ids::MemberId;

use super::founding::NodePlan;
use super::process::{self, Running};
use super::{DemoError, Teller};

/// How long the nodes may take to come to one state.
const SETTLE_MAX: Duration = Duration::from_secs(30);

/// How often they are asked.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// The started nodes, by member.
#[derive(Debug)]
pub(super) struct Consortium {
    pub(super) nodes: Vec<Running>,
}

/// The doors of the nodes, as the members use them.
#[derive(Clone, Debug)]
pub(super) struct Doors(Vec<(MemberId, Node)>);

impl Doors {
    /// The door that a member uses: its own node's, or the first one's if it runs none; and
    /// the others, to go on with.
    pub(super) fn of(&self, member: MemberId) -> (Node, Vec<Node>) {
        let Self(doors) = self;
        let own = doors.iter().position(|(owner, _)| *owner == member).unwrap_or(0);
        let others = doors.iter().enumerate().filter(|(position, _)| *position != own);
        let (_, node) = doors.get(own).expect("a demo has a node");
        (node.clone(), others.map(|(_, (_, node))| node.clone()).collect())
    }
}

/// Where all nodes that still run have come to.
pub(super) struct Settled {
    /// A door of one that runs.
    pub(super) api: Node,
    /// What it and all others that run have said.
    pub(super) status: Status,
    /// The members whose nodes have said it.
    pub(super) members: Vec<MemberId>,
}

impl Consortium {
    /// Starts the nodes.
    pub(super) fn start(plans: &[NodePlan]) -> Result<Self, DemoError> {
        let nodes = plans.iter().cloned().map(process::start).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { nodes })
    }

    /// Waits until all of them take part.
    pub(super) async fn ready(&mut self, tell: Teller) -> Result<Doors, DemoError> {
        let mut doors = Vec::new();
        for node in &mut self.nodes {
            doors.push((node.plan.member, node.ready().await?));
            let (name, url, pid) = (&node.plan.name, node.url(), node.pid);
            tell.step(&format!("the node of {name} is up: {url} (process {pid})"));
        }
        Ok(Doors(doors))
    }

    /// Waits until all nodes that run have the same state at the same height.
    pub(super) async fn settle(&self) -> Result<Settled, DemoError> {
        let until = Instant::now() + SETTLE_MAX;
        loop {
            let mut said = Vec::new();
            for node in &self.nodes {
                let api = Node::new(&node.url())?;
                // One that has gone says nothing.
                if let Ok(status) = api.status().await {
                    said.push((api, status));
                }
            }
            if let Some(settled) = agreed(said) {
                return Ok(settled);
            }
            if Instant::now() > until {
                return Err(DemoError::Unsettled);
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// Stops all nodes; those that fail to are told after all were asked.
    pub(super) async fn stop(self) -> Result<(), DemoError> {
        let stopped = futures::future::join_all(self.nodes.into_iter().map(Running::stop)).await;
        stopped.into_iter().collect()
    }
}

/// What all have said, if they have said the same.
fn agreed(said: Vec<(Node, Status)>) -> Option<Settled> {
    let members = said.iter().map(|(_, status)| status.member).collect();
    let same = |(_, status): &(Node, Status)| (status.height, status.state_root);
    let first = said.first().map(same)?;
    let all = said.iter().all(|one| same(one) == first);
    let (api, status) = said.into_iter().next().filter(|_| all)?;
    Some(Settled { api, status, members })
}
