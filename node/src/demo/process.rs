//! The demo's nodes: child processes of this program.

use std::fs::File;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use syngraph_client::api::Node;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::DemoError;
use super::founding::NodePlan;

/// How long a node may take to be ready.
const READY_MAX: Duration = Duration::from_secs(30);

/// How long a node may take to stop.
const STOP_MAX: Duration = Duration::from_secs(30);

/// A node's log, in its directory.
const LOG: &str = "node.log";

/// How often a starting node is asked.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// A started node. Dropping it ends the process.
#[derive(Debug)]
pub(super) struct Running {
    /// What it was started from.
    pub(super) plan: NodePlan,
    /// Its process id when it was started.
    pub(super) pid: u32,
    child: Child,
}

/// Starts a node; its log goes to `node.log` in its directory.
pub(super) fn start(plan: NodePlan) -> Result<Running, DemoError> {
    let log_path = plan.dir.join(LOG);
    let log = File::create(&log_path).map_err(|source| DemoError::File { path: log_path, source })?;
    let program = std::env::current_exe().map_err(DemoError::Process)?;
    let mut command = Command::new(program);
    // What the environment says about one node must not hold for all of the demo's.
    for name in ["SYNGRAPH_HTTP", "SYNGRAPH_PEERS", "SYNGRAPH_CONSENSUS"] {
        command.env_remove(name);
    }
    let child = command
        .arg("run")
        .arg("--dir")
        .arg(&plan.dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .map_err(DemoError::Process)?;
    let pid =
        child.id().ok_or_else(|| DemoError::Ended { name: plan.name.clone(), log: plan.dir.join(LOG) })?;
    Ok(Running { plan, pid, child })
}

impl Running {
    /// The node's API.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.plan.http)
    }

    /// Waits until the node takes part.
    pub(super) async fn ready(&mut self) -> Result<Node, DemoError> {
        let node = Node::new(&self.url())?;
        let until = Instant::now() + READY_MAX;
        loop {
            let log = self.plan.dir.join(LOG);
            if self.child.try_wait().map_err(DemoError::Process)?.is_some() {
                return Err(DemoError::Ended { name: self.plan.name.clone(), log });
            }
            match node.status().await {
                Ok(status) if status.ready => return Ok(node),
                _ if Instant::now() > until => {
                    return Err(DemoError::NotReady { name: self.plan.name.clone(), log });
                }
                _ => tokio::time::sleep(ASK_EVERY).await,
            }
        }
    }

    /// Asks the node to stop and waits until it has. One that somebody else has killed
    /// is none of our business.
    ///
    /// # Errors
    /// [`DemoError::Ended`] if it ended with an error, [`DemoError::NotStopped`].
    pub(super) async fn stop(mut self) -> Result<(), DemoError> {
        let (name, log) = (self.plan.name.clone(), self.plan.dir.join(LOG));
        if let Some(pid) = self.child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
            // It may have ended by itself meanwhile.
            kill_process(pid, Signal::TERM).ok();
        }
        match timeout(STOP_MAX, self.child.wait()).await {
            Ok(Ok(ended)) if ended.code().is_none_or(|code| code == 0) => Ok(()),
            Ok(Ok(_)) => Err(DemoError::Ended { name, log }),
            Ok(Err(error)) => Err(DemoError::Process(error)),
            Err(_) => {
                self.child.kill().await.map_err(DemoError::Process)?;
                Err(DemoError::NotStopped { name, log })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use syngraph_protocol::ids::{MemberId, PublicKey};

    use super::*;

    /// A child that runs this, in place of a node; it has ended.
    async fn ended(script: &str) -> Running {
        let any = "127.0.0.1:0".parse().expect("an address");
        let (name, dir) = ("Aster".to_owned(), std::path::PathBuf::from("aster"));
        let (member, transport) = (MemberId::new(1), PublicKey::from_bytes([0; 32]));
        let (http, peer, consensus) = (any, any, any);
        let plan = NodePlan { member, name, dir, http, peer, consensus, transport, key_files: Vec::new() };
        let mut child = Command::new("sh").args(["-c", script]).spawn().expect("a shell starts");
        let pid = child.id().expect("it runs");
        child.wait().await.expect("it ends");
        Running { plan, pid, child }
    }

    #[tokio::test]
    async fn a_node_that_failed_is_told_and_one_that_was_killed_is_not() {
        ended("exit 0").await.stop().await.expect("it was done");
        ended("kill -KILL $$").await.stop().await.expect("somebody has killed it");
        let failed = ended("exit 1").await.stop().await.expect_err("it failed");
        let text = failed.to_string();
        assert!(text.contains("Aster") && text.contains("node.log"), "{text}");
    }
}
