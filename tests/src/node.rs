//! A running `syngraphd run`.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::thread;

use serde_json::{Value, json};
use syngraph_client::api::{Node as Api, Status};
use syngraph_config::file;
use syngraph_config::node::{NodeConfig, NodeDir};
use syngraph_protocol::entry::{Deed, SignedEntry};
use syngraph_protocol::ids::{Hash, Height, Id};

use crate::binaries::Program;
use crate::http::{self, Answer, FRAMES};
use crate::process::Process;
use crate::signer::{Signer, frames};
use crate::tool::{Ran, run};
use crate::wait::until;

/// Most lines of a log that are shown when a test fails.
const LOG_LINES_SHOWN: usize = 150;

/// A node as a process of its own. If the test fails its log is shown.
#[derive(Debug)]
pub struct Node {
    process: Option<Process>,
    http: SocketAddr,
    dir: PathBuf,
}

impl Node {
    /// Starts the node of a directory and waits until it is ready.
    ///
    /// # Panics
    /// If it ends instead, or does not get ready.
    #[must_use]
    #[track_caller]
    pub fn start(dir: &Path) -> Self {
        let mut node = Self::launch(dir);
        node.get_ready();
        node
    }

    /// Waits until it is ready.
    ///
    /// # Panics
    /// If it ends instead, or does not get ready.
    #[track_caller]
    pub fn get_ready(&mut self) {
        until("the node is ready", || self.look().filter(|status| status.ready));
    }

    /// Waits until its doors are open, ready or not.
    ///
    /// # Panics
    /// If it ends instead, or does not answer.
    #[track_caller]
    pub fn answer(&mut self) {
        until("the node answers", || self.look());
    }

    /// Where it stands, if it answers.
    ///
    /// # Panics
    /// If it has ended.
    #[track_caller]
    pub fn look(&mut self) -> Option<Status> {
        if let Some(status) = self.process_mut().ended().expect("a child is asked") {
            panic!("the node in {} ended with {status}", self.dir.display());
        }
        self.try_status()
    }

    /// Starts the node of a directory.
    ///
    /// # Panics
    /// If its configuration cannot be read or the program cannot be started.
    #[must_use]
    pub fn launch(dir: &Path) -> Self {
        Self::launch_as(Program::Node.command(), dir)
    }

    /// Starts the node of a directory with a program that takes the arguments of
    /// `syngraphd`.
    ///
    /// # Panics
    /// As [`Self::launch`].
    #[must_use]
    pub fn launch_as(mut command: Command, dir: &Path) -> Self {
        let http = config(dir).http.listen;
        command.arg("run").arg("--dir").arg(dir);
        let process = Process::start(command, "node", dir).expect("the node is started");
        Self { process: Some(process), http, dir: dir.to_owned() }
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("it is there until it is stopped or killed")
    }

    fn process_mut(&mut self) -> &mut Process {
        self.process.as_mut().expect("it is there until it is stopped or killed")
    }

    /// Where its API listens.
    #[must_use]
    pub const fn http(&self) -> SocketAddr {
        self.http
    }

    /// The address of its API.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.http)
    }

    /// Its API, for the SDK.
    ///
    /// # Panics
    /// Never: the address was made from a socket's.
    #[must_use]
    pub fn api(&self) -> Api {
        Api::new(&self.url()).expect("the address of a socket")
    }

    /// Its data directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where it stands; none while it does not answer.
    #[must_use]
    pub fn try_status(&self) -> Option<Status> {
        let answer = http::get(self.http, "/v1/status").ok().filter(|answer| answer.status == 200)?;
        serde_json::from_slice(&answer.body).ok()
    }

    /// Where it stands.
    ///
    /// # Panics
    /// If it does not say.
    #[must_use]
    #[track_caller]
    pub fn status(&self) -> Status {
        self.try_status().expect("the node says where it stands")
    }

    /// The state that it has arrived at.
    ///
    /// # Panics
    /// If it does not say.
    #[must_use]
    #[track_caller]
    pub fn state(&self) -> (Height, Hash) {
        let status = self.status();
        (status.height, status.state_root)
    }

    /// A figure of `/metrics`, the sum over all labels; 0 if it is not there, as is so for
    /// what was never counted.
    ///
    /// # Panics
    /// If the node does not answer.
    #[must_use]
    #[track_caller]
    pub fn metric(&self, name: &str) -> f64 {
        let answer = self.get("/metrics");
        let text = String::from_utf8(answer.body).expect("metrics are UTF-8");
        let value = |line: &str| {
            let rest = line.strip_prefix(name).filter(|rest| rest.starts_with([' ', '{']))?;
            rest.rsplit(' ').next()?.parse::<f64>().ok()
        };
        text.lines().filter_map(value).sum()
    }

    /// A block as the node shows it.
    ///
    /// # Panics
    /// If it does not have it.
    #[must_use]
    #[track_caller]
    pub fn block(&self, height: Height) -> Value {
        self.must_get(&format!("/v1/blocks/{height}"))
    }

    /// The state after a block.
    ///
    /// # Panics
    /// If the node does not have the block.
    #[must_use]
    #[track_caller]
    pub fn root_at(&self, height: Height) -> String {
        let block = self.block(height);
        block["state_root"].as_str().expect("a header has the root of the state").to_owned()
    }

    /// How far an entry has come here; none if it is not held.
    ///
    /// # Panics
    /// If the node does not answer.
    #[must_use]
    #[track_caller]
    pub fn state_of(&self, entry: &SignedEntry) -> Option<String> {
        let answer = self.get(&format!("/v1/entries/{}", entry.id()));
        (answer.status == 200).then(|| answer.json()["state"].as_str().expect("a state").to_owned())
    }

    /// Memory that its process has in use, in bytes; none where the system does not say.
    #[must_use]
    pub fn resident_bytes(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process().id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib * 1024)
    }

    /// Everything it has logged, earlier runs included.
    ///
    /// # Panics
    /// If its log cannot be read.
    #[must_use]
    pub fn log(&self) -> String {
        self.process().log().expect("the log of a node")
    }

    /// Takes the processor from it; its connections stand.
    ///
    /// # Panics
    /// If it cannot be signalled.
    pub fn pause(&self) {
        self.process().pause().expect("it is signalled");
    }

    /// Lets it go on.
    ///
    /// # Panics
    /// If it cannot be signalled.
    pub fn resume(&self) {
        self.process().resume().expect("it is signalled");
    }

    /// Asks for a path.
    ///
    /// # Panics
    /// If it does not answer.
    #[must_use]
    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        http::get(self.http, path).unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// The JSON of a path that must be there.
    ///
    /// # Panics
    /// If it is not.
    #[must_use]
    #[track_caller]
    pub fn must_get(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
        answer.json()
    }

    /// Posts a body to `/v1/entries`.
    ///
    /// # Panics
    /// If it does not answer.
    #[must_use]
    #[track_caller]
    pub fn post(&self, kind: &str, body: &[u8]) -> Answer {
        http::post(self.http, "/v1/entries", kind, body).expect("the node answers")
    }

    /// Posts entries and waits until they are sealed; gives a receipt for each.
    ///
    /// # Panics
    /// If that is not what happens.
    #[must_use]
    #[track_caller]
    pub fn seal(&self, entries: &[SignedEntry]) -> Vec<Value> {
        let answer = http::post(self.http, "/v1/entries?wait=sealed", FRAMES, &frames(entries));
        let receipts = match answer.expect("the node answers").json() {
            Value::Array(receipts) => receipts,
            receipt => vec![receipt],
        };
        assert_eq!(receipts.len(), entries.len());
        assert!(receipts.iter().all(|receipt| receipt["state"] == "sealed"), "{receipts:?}");
        receipts
    }

    /// Does something, which the ledger must apply; gives the entry's id.
    ///
    /// # Panics
    /// If it is refused.
    #[track_caller]
    pub fn act(&self, signer: &mut Signer, deed: Deed) -> Id {
        let entry = signer.deed(deed);
        let receipt = self.seal(std::slice::from_ref(&entry)).remove(0);
        assert_eq!(receipt["outcome"], json!("applied"), "{receipt}");
        entry.id().into()
    }

    /// Asks it to stop, as an operator would, and waits until it has.
    ///
    /// # Panics
    /// If it does not end with success.
    #[track_caller]
    pub fn stop(mut self) {
        let ended = self.process.take().expect("it runs").stop().expect("it is signalled");
        assert!(ended.success(), "a node that is asked to stop ends with {ended}");
    }

    /// Ends it at once, as a crash would.
    ///
    /// # Panics
    /// If it cannot be ended.
    pub fn kill(mut self) -> ExitStatus {
        self.process.take().expect("it runs").kill().expect("it is ended")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(process) = self.process.take().filter(|_| thread::panicking()) {
            // Best effort on the way down.
            let log = process.log().unwrap_or_default();
            let lines: Vec<_> = log.lines().rev().take(LOG_LINES_SHOWN).collect();
            eprintln!("the end of the log of the node in {}:", self.dir.display());
            lines.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

/// The configuration of a node's directory.
///
/// # Panics
/// If it cannot be read.
#[must_use]
pub fn config(dir: &Path) -> NodeConfig {
    let path = NodeDir::new(dir).config();
    let text = file::read_text(&path).expect("a node has a configuration");
    file::parse(&text, &path).expect("a node's configuration is sound")
}

/// Starts the node of a directory, which must refuse; gives what it says on the way out.
///
/// # Panics
/// If it does not end with exit code 1.
#[must_use]
#[track_caller]
pub fn refused(dir: &Path) -> String {
    let mut command = Program::Node.command();
    command.arg("run").arg("--dir").arg(dir);
    let Ran { stderr, .. } = run(command).ending(1);
    stderr.lines().last().unwrap_or_default().to_owned()
}
