//! The demo's nodes: child processes of this program.

use std::fs::File;
use std::process::Stdio;
use std::time::{Duration, Instant};

use syngraph_client::api::Node;
use tokio::process::{Child, Command};

use super::DemoError;
use super::founding::NodePlan;

/// How long a node may take to be ready.
const READY_MAX: Duration = Duration::from_secs(30);

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
    let log_path = plan.dir.join("node.log");
    let log = File::create(&log_path).map_err(|source| DemoError::File { path: log_path, source })?;
    let program = std::env::current_exe().map_err(DemoError::Process)?;
    let child = Command::new(program)
        .arg("run")
        .arg("--dir")
        .arg(&plan.dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .map_err(DemoError::Process)?;
    let pid = child.id().ok_or_else(|| DemoError::Ended { name: plan.name.clone(), log: plan.dir.join("node.log") })?;
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
            let log = self.plan.dir.join("node.log");
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

    /// Asks the node to stop and waits until it has.
    pub(super) async fn stop(mut self) -> Result<(), DemoError> {
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw) {
            // It may have ended by itself meanwhile.
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        }
        match tokio::time::timeout(READY_MAX, self.child.wait()).await {
            Ok(ended) => ended.map(|_| ()).map_err(DemoError::Process),
            Err(_) => self.child.kill().await.map_err(DemoError::Process),
        }
    }
}
