//! The thread that owns an outbox: takes intents in, sends them, asks how far they are.
//!
//! Before anything is sent, what the node has of the journal is compared with what was
//! signed here; again whenever the node says that an entry does not continue the journal,
//! and whenever another node is talked to. One request sends entries, one asks; both may be
//! under way at once. The one that asks is held by the node until there is news.

mod telling;
mod turning;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use syngraph_protocol::crypto::SecretKey;
use syngraph_protocol::entry::Body;
use syngraph_protocol::ids::{EntryId, NetworkId, Seq};
use syngraph_protocol::journal::Tip;
use syngraph_protocol::time::UtcMs;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

use self::telling::receipt;
use self::turning::{is_down, silent};
use super::backoff::Backoff;
use super::nodes::Nodes;
use super::pending::{Pending, sleep_until, under_way};
use super::view::{Question, View, view};
use super::{Progress, SubmitError, Wishes};
use crate::api::{Answer, ApiError, State, Wait};
use crate::outbox::{Binding, NodeTip, Outbox, OutboxError, Place, Reconciled};

/// Most entries of one request; nodes take 256.
const POST_ENTRIES_MAX: usize = 128;
/// Most bytes of one request; nodes take 16 MiB.
const POST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most intents that one fsync makes durable.
const INTAKE_MAX: usize = 256;
/// Most outcomes asked for in one go.
const OUTCOMES_MAX: usize = 128;
/// How long a node may take to acknowledge entries before another one is tried.
const SILENT_MAX: Duration = Duration::from_secs(10);
/// Time before a question is asked again whose answer was no news.
const POLL: Duration = Duration::from_millis(25);
/// The same after several such answers.
const POLL_IDLE_MAX: Duration = Duration::from_millis(500);

/// An intent on its way into the outbox.
pub(super) struct Command {
    pub(super) body: Body,
    /// Told once the intent is durable.
    pub(super) taken: oneshot::Sender<Result<(), SubmitError>>,
    /// Told how far it comes.
    pub(super) progress: watch::Sender<Progress>,
}

/// What sending came to: which intents, and what the node said of each.
type Sent = (Vec<u64>, Result<Vec<Answer>, ApiError>);

/// Sends what is in an outbox.
pub(super) struct Sender {
    nodes: Nodes,
    key: SecretKey,
    outbox: Outbox,
    patience: Option<Duration>,
    waiters: HashMap<u64, watch::Sender<Progress>>,
    wishes: Arc<Wishes>,
    /// The first number that no quorum is known to hold.
    replicated: Seq,
    network: Option<NetworkId>,
    is_reconciled: bool,
    /// The entry whose presence decides whether the journal is ours.
    ask: Option<EntryId>,
    /// 1 after a request was refused as a whole, to find the entry that it was about.
    post_entries: usize,
    post: Pending<Sent>,
    view: Pending<Result<View, ApiError>>,
    post_at: Instant,
    view_at: Instant,
    post_backoff: Backoff,
    view_backoff: Backoff,
    poll: Duration,
    last_progress: Instant,
    /// What was last in the way: its rule id and words.
    trouble: Option<(String, String)>,
    fatal: Option<SubmitError>,
}

fn now() -> UtcMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UtcMs::from_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

impl Sender {
    pub(super) fn new(
        mut nodes: Nodes,
        key: SecretKey,
        outbox: Outbox,
        patience: Option<Duration>,
        wishes: Arc<Wishes>,
    ) -> Self {
        let start = Instant::now();
        nodes.inherited(outbox.signed());
        Self {
            nodes,
            key,
            outbox,
            patience,
            waiters: HashMap::new(),
            wishes,
            replicated: Seq::FIRST,
            network: None,
            is_reconciled: false,
            ask: None,
            post_entries: POST_ENTRIES_MAX,
            post: None,
            view: None,
            post_at: start,
            view_at: start,
            post_backoff: Backoff::default(),
            view_backoff: Backoff::default(),
            poll: POLL,
            last_progress: start,
            trouble: None,
            fatal: None,
        }
    }

    /// Runs until `stop` is told or dropped.
    pub(super) async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut stop: oneshot::Receiver<()>,
    ) {
        let wishes = self.wishes.clone();
        loop {
            self.start();
            let wake = self.wakes_at();
            let has_room = !self.outbox.is_full();
            tokio::select! {
                biased;
                _ = &mut stop => return,
                sent = under_way(&mut self.post) => self.on_sent(sent),
                view = under_way(&mut self.view) => self.on_view(view),
                () = sleep_until(wake) => self.on_time(),
                () = wishes.changed.notified() => self.on_wish(),
                command = commands.recv(), if has_room => match command {
                    Some(command) => self.take_in(command, &mut commands),
                    None => return,
                },
            }
        }
    }

    /// Starts what is due.
    fn start(&mut self) {
        let now = Instant::now();
        if self.fatal.is_some() {
            return;
        }
        if self.is_reconciled && self.post.is_none() && now >= self.post_at && self.outbox.has_unsent() {
            self.start_post();
        }
        let wants_view = !self.is_reconciled || self.outbox.unsealed().next().is_some();
        // While the journals are being compared nothing is sent.
        let may_ask = self.is_reconciled || self.post.is_none();
        if wants_view && may_ask && self.view.is_none() && now >= self.view_at {
            self.start_view();
        }
    }

    fn start_post(&mut self) {
        let batch = self.outbox.batch(self.post_entries, POST_BYTES_MAX);
        let node = self.nodes.current().clone();
        self.nodes.sent(&batch.numbers);
        let patience = self.nodes.are_many().then_some(SILENT_MAX);
        self.post = Some(Box::pin(async move {
            let post = node.post_entries(batch.frames, Wait::Accepted);
            let answers = match patience {
                Some(patience) => {
                    timeout(patience, post).await.unwrap_or_else(|_| Err(silent(&node, patience)))
                }
                None => post.await,
            };
            (batch.numbers, answers)
        }));
    }

    fn start_view(&mut self) {
        let awaited = self.outbox.unsealed().filter(|place| self.is_awaited(place));
        let awaited: Vec<Place> = awaited.take(OUTCOMES_MAX).collect();
        // A comparison must not wait for anything.
        let oldest = self.outbox.unsealed().next().filter(|_| self.is_reconciled);
        let wanted = self.wishes.replicated.load(Ordering::Relaxed) && self.is_reconciled;
        let behind = self.outbox.unsealed().find(|place| wanted && place.seq >= self.replicated);
        let question = Question {
            key: self.key.public(),
            network: self.network,
            ask: self.ask,
            sealed: oldest.map(|place| place.seq),
            replicated: behind.map(|place| place.seq),
            awaited,
        };
        self.view = Some(Box::pin(view(self.nodes.current().clone(), question)));
    }

    /// Somebody wants to know more than what is being asked.
    fn on_wish(&mut self) {
        if self.is_reconciled {
            (self.view, self.view_at) = (None, Instant::now());
        }
    }

    /// Whether somebody waits for the outcome of an entry.
    fn is_awaited(&self, place: &Place) -> bool {
        self.waiters.get(&place.number).is_some_and(|waiter| !waiter.is_closed())
    }

    /// When something is due although nothing arrives.
    fn wakes_at(&self) -> Option<Instant> {
        if self.fatal.is_some() {
            return None;
        }
        let post =
            (self.is_reconciled && self.post.is_none() && self.outbox.has_unsent()).then_some(self.post_at);
        let wants_view = !self.is_reconciled || self.outbox.unsealed().next().is_some();
        let view = (wants_view && self.view.is_none()).then_some(self.view_at);
        let give_up =
            self.patience.filter(|_| !self.waiters.is_empty()).map(|patience| self.last_progress + patience);
        [post, view, give_up].into_iter().flatten().min()
    }

    fn on_time(&mut self) {
        let Some(patience) = self.patience else { return };
        if self.waiters.is_empty() || self.last_progress.elapsed() < patience {
            return;
        }
        let silent = || {
            (
                "SUBMIT-TIMEOUT".to_owned(),
                format!("{} has sealed nothing for {patience:?}", self.nodes.current().url()),
            )
        };
        let (rule, reason) = self.trouble.clone().unwrap_or_else(silent);
        self.give_up(reason, &rule);
    }

    /// Tells everybody who waits that it may take longer than they would wait.
    fn give_up(&mut self, reason: String, rule: &str) {
        let error = SubmitError::Unavailable { reason, rule: rule.to_owned() };
        self.fail_all(&error);
    }

    fn fail_all(&mut self, error: &SubmitError) {
        for (_, waiter) in self.waiters.drain() {
            waiter.send_replace(Progress::Failed(error.clone()));
        }
    }

    /// Nothing can be sent any more with this outbox.
    fn stop(&mut self, error: OutboxError) {
        tracing::error!(rule = error.rule(), %error, "outbox stopped");
        let error = SubmitError::Outbox(Arc::new(error));
        self.fail_all(&error);
        self.fatal = Some(error);
    }

    fn moved(&mut self) {
        self.last_progress = Instant::now();
        self.trouble = None;
    }

    /// Takes in as many intents as are there, with one fsync.
    fn take_in(&mut self, first: Command, commands: &mut mpsc::Receiver<Command>) {
        let mut taken = Vec::new();
        let mut next = Some(first);
        while let Some(Command { body, taken: told, progress }) = next.take() {
            if let Some(error) = &self.fatal {
                told.send(Err(error.clone())).ok();
                continue;
            }
            if self.waiters.is_empty() {
                // Patience begins when somebody begins to wait.
                self.last_progress = Instant::now();
            }
            let number = self.outbox.add(body);
            taken.push((number, told, progress));
            if taken.len() < INTAKE_MAX && !self.outbox.is_full() {
                next = commands.try_recv().ok();
            }
        }
        if self.is_reconciled {
            self.outbox.sign(&self.key, now());
        }
        // Nobody is told, and nothing is sent, before this returns.
        let synced = self.outbox.sync();
        for (number, told, progress) in taken {
            let answer = match &synced {
                Ok(()) => Ok(()),
                Err(error) => Err(SubmitError::System(error.to_string())),
            };
            // A caller that went away leaves its intent behind: it was durable.
            told.send(answer).ok();
            self.waiters.insert(number, progress);
        }
        if let Err(error) = synced {
            self.stop(error);
        }
    }

    fn on_sent(&mut self, (numbers, answers): Sent) {
        let answers = match answers {
            Ok(answers) if answers.len() == numbers.len() => answers,
            Ok(answers) => {
                let what = format!("{} answers for {} entries", answers.len(), numbers.len());
                return self.retry_post(None, what, "NODE-ANSWER");
            }
            Err(error) => return self.on_refused_request(&numbers, &error),
        };
        self.post_entries = POST_ENTRIES_MAX;
        let mut withdrew = false;
        for (number, answer) in numbers.into_iter().zip(answers) {
            match answer.status {
                200 | 201 => self.on_accepted(number, &answer),
                202 => {
                    let reason = "the node does not know this key yet";
                    self.retry_post(answer.retry_after_s, reason.into(), "KEY-UNKNOWN");
                    break;
                }
                429 | 500..=599 => {
                    let (rule, detail) = told(answer.rule, answer.detail);
                    self.retry_post(answer.retry_after_s, detail, &rule);
                    break;
                }
                _ => {
                    withdrew = self.on_refused(number, answer);
                    break;
                }
            }
        }
        if withdrew {
            // What followed was signed after an entry that never was; it gets new places.
            self.outbox.sign(&self.key, now());
        }
        if let Err(error) = self.outbox.sync() {
            self.stop(error);
        }
    }

    fn on_accepted(&mut self, number: u64, answer: &Answer) {
        self.outbox.accepted(number);
        self.post_backoff.reset();
        self.moved();
        self.nodes.went_well();
        (self.poll, self.view_at) = (POLL, self.view_at.min(Instant::now()));
        let Some(place) = self.outbox.place(number) else { return };
        // Whether it is sealed or has lapsed is told with its outcome.
        let state = answer.state.filter(|state| *state == State::Replicated).unwrap_or(State::Accepted);
        if let Some(waiter) = self.waiters.get(&number) {
            waiter.send_replace(Progress::Held(receipt(place, state)));
        }
    }

    /// One entry was refused: because the journals differ, or for what it says. Says
    /// whether it was taken out of the journal.
    fn on_refused(&mut self, number: u64, answer: Answer) -> bool {
        let (rule, detail) = told(answer.rule, answer.detail);
        if answer.status == 409 || rule.starts_with("JRN-") {
            // The comparison finds out whether somebody else uses the key.
            self.trouble = Some((rule, detail));
            let after = self.post_backoff.next(None);
            self.compare_again(after);
            return false;
        }
        if !self.nodes.is_only_here(number) {
            self.keep_refused(number, rule, detail);
            return false;
        }
        self.withdraw(number, rule, detail);
        true
    }

    fn withdraw(&mut self, number: u64, rule: String, detail: String) {
        tracing::warn!(rule, detail, "an entry was refused at the door");
        self.outbox.refused(number);
        self.moved();
        if let Some(waiter) = self.waiters.remove(&number) {
            waiter.send_replace(Progress::Failed(SubmitError::Refused { rule, detail }));
        }
    }

    /// The request as a whole has no answer.
    fn on_refused_request(&mut self, numbers: &[u64], error: &ApiError) {
        let ApiError::Problem(problem) = error else {
            self.retry_post(None, error.to_string(), error.rule());
            return self.turn_away();
        };
        match (problem.status, numbers) {
            (400 | 413 | 415, [_, _, ..]) => self.post_entries = 1,
            (429 | 500..=599, _) => {
                self.retry_post(problem.retry_after_s, error.to_string(), &problem.rule);
                if is_down(&problem.rule) {
                    self.turn_away();
                }
            }
            _ => {
                // Not a node, or one that does not let us in: waiting won't help. Nothing is
                // withdrawn: this answer says nothing about the entries, and a node may have
                // taken them when they were sent before.
                self.give_up(error.to_string(), &problem.rule);
                self.retry_post(problem.retry_after_s, error.to_string(), &problem.rule);
            }
        }
    }

    fn retry_post(&mut self, asked_s: Option<u64>, reason: String, rule: &str) {
        tracing::debug!(rule, reason, "sending is tried again later");
        self.post_at = Instant::now() + self.post_backoff.next(asked_s);
        self.hindered(reason, rule);
    }

    /// Remembers what is in the way; [`Self::on_time`] tells those whose patience is over.
    fn hindered(&mut self, reason: String, rule: &str) {
        self.trouble = Some((rule.to_owned(), reason));
    }

    fn on_view(&mut self, view: Result<View, ApiError>) {
        let view = match view {
            Ok(view) => view,
            Err(error) => {
                self.view_at = Instant::now() + self.view_backoff.next(None);
                self.hindered(error.to_string(), error.rule());
                if !matches!(error, ApiError::Problem(_)) || is_down(error.rule()) {
                    self.turn_away();
                }
                return;
            }
        };
        self.view_backoff.reset();
        self.network = Some(view.network);
        if !self.is_reconciled && !self.reconcile(&view) {
            return;
        }
        self.on_sealed(view);
        if let Err(error) = self.outbox.sync() {
            self.stop(error);
        }
    }

    /// Compares the journals; says whether sending may go on.
    fn reconcile(&mut self, view: &View) -> bool {
        let journal = &view.journal;
        let Some(member) = journal.member else {
            self.view_at = Instant::now() + self.view_backoff.next(None);
            return false;
        };
        let tip = Tip { next: journal.next_seq, last: journal.last_entry };
        let node = NodeTip { binding: Binding { network: view.network, member }, tip };
        match self.outbox.reconcile(node, view.contains) {
            Ok(Reconciled::Ready) => {
                (self.is_reconciled, self.ask) = (true, None);
                (self.post_at, self.view_at) = (Instant::now(), Instant::now());
                self.nodes.went_well();
                self.outbox.sign(&self.key, now());
                self.tell_accepted();
                true
            }
            Ok(Reconciled::Ask(id)) => {
                self.ask = Some(id);
                false
            }
            Ok(Reconciled::Behind) => {
                self.view_at = Instant::now() + self.view_backoff.next(None);
                let url = self.nodes.current().url();
                let reason = format!("{url} lacks entries that were acknowledged before");
                self.hindered(reason, "OUTBOX-NODE-BEHIND");
                self.turn_away();
                false
            }
            Err(error) => {
                self.stop(error);
                false
            }
        }
    }
}

fn told(rule: Option<String>, detail: Option<String>) -> (String, String) {
    (
        rule.unwrap_or_else(|| "NODE-ANSWER".into()),
        detail.unwrap_or_else(|| "the node gives no reason".into()),
    )
}
