//! What the doors ask: entries to take, and what is held.
//!
//! *Invariant.* Every answer about an entry is a promise that it is durable, so all of
//! them wait for the sync: the receipts, and what others ask meanwhile.

use tokio::sync::oneshot;

use super::{Core, CoreError};
use crate::gate::{Admission, Command, Held};
use crate::journals::Admitted;
use std::time::{Duration, Instant};
use syngraph_protocol::entry::VerifiedEntry;
use syngraph_protocol::ids::EntryId;

/// Most commands that are taken together before their entries are synced.
const BATCH_MAX: usize = 64;

/// How long a door without room asks to be left alone.
const NO_ROOM_RETRY: Duration = Duration::from_secs(1);

impl Core {
    /// Takes a command and those that wait behind it, syncs once, then answers.
    pub(super) fn on_commands(&mut self, first: Command) -> Result<(), CoreError> {
        self.on_command(first)?;
        for _ in 1..BATCH_MAX {
            let Ok(next) = self.commands.try_recv() else { break };
            self.on_command(next)?;
        }
        self.sync_and_answer()
    }

    pub(super) fn on_command(&mut self, command: Command) -> Result<(), CoreError> {
        match command {
            Command::Submit { entries, reply } => {
                let admissions = entries.into_iter().map(|entry| self.take(entry));
                let admissions = admissions.collect::<Result<Vec<_>, CoreError>>()?;
                self.answer(reply, admissions);
            }
            Command::Tip { journal, reply } => {
                let tip = self.journals.tip(self.chain.ledger(), &journal);
                self.answer(reply, tip);
            }
            Command::Find { id, reply } => {
                let found = self.journals.find(&id);
                let held = found.map(|(entry, parked)| Held { entry: entry.clone(), parked });
                self.answer(reply, held);
            }
        }
        Ok(())
    }

    /// Answers after the next sync. A door that has given up by then finds the entries
    /// known when it asks again.
    fn answer<T: Send + 'static>(&mut self, reply: oneshot::Sender<T>, answer: T) {
        self.unanswered.push(Box::new(move || drop(reply.send(answer))));
    }

    /// Hands an entry to the journals and, if it is new, to the log. It counts only
    /// after the next sync.
    fn take(&mut self, entry: VerifiedEntry) -> Result<Admission, CoreError> {
        let id = entry.id();
        let admitted = self.journals.admit(self.chain.ledger(), entry.clone());
        if admitted == Admitted::New {
            self.store.append_entry(&entry)?;
            self.unsynced = true;
        }
        self.admission(id, admitted)
    }

    fn admission(&self, id: EntryId, admitted: Admitted) -> Result<Admission, CoreError> {
        Ok(match admitted {
            Admitted::New => Admission::New { id },
            Admitted::Held => Admission::Known { id },
            Admitted::Parked => Admission::Parked { id },
            Admitted::Busy => Admission::Busy { id, retry_after: NO_ROOM_RETRY },
            Admitted::Sealed if self.reader.find(&id)?.is_some() => Admission::Known { id },
            Admitted::Sealed => fork(id, "another entry is sealed at its place in the journal".to_owned()),
            Admitted::Fork { other } => fork(id, format!("entry {other} stands at its place in the journal")),
            Admitted::Refused(why) => Admission::Refused { id, rule: why.rule(), detail: why.to_string() },
        })
    }

    /// A crash before the sync leaves entries that nobody was promised; start-up keeps
    /// those that are whole. A crash after it loses nothing: start-up finds them in the
    /// log and seals them.
    pub(super) fn sync_and_answer(&mut self) -> Result<(), CoreError> {
        if std::mem::take(&mut self.unsynced) {
            let began = Instant::now();
            self.store.sync()?;
            self.metrics.fsynced("entries", began.elapsed().as_secs_f64());
            self.journals.synced();
            self.judge_again()?;
        }
        self.unanswered.drain(..).for_each(|answer| answer());
        Ok(())
    }

    /// Takes the parked entries whose key the state now knows. No door is there to count
    /// them or to be answered.
    pub(super) fn readmit(&mut self) -> Result<(), CoreError> {
        for entry in self.journals.unpark(self.chain.ledger()) {
            match self.take(entry)? {
                Admission::New { .. } => self.metrics.entry_accepted(),
                Admission::Fork { rule, .. } | Admission::Refused { rule, .. } => {
                    self.metrics.entry_refused(rule);
                }
                Admission::Known { .. } | Admission::Parked { .. } | Admission::Busy { .. } => {}
            }
        }
        self.sync_and_answer()
    }
}

fn fork(id: EntryId, detail: String) -> Admission {
    Admission::Fork { id, rule: "JRN-FORK", detail }
}
