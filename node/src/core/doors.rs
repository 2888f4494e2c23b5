//! What the doors ask: entries to take, and what is held.
//!
//! *Invariant.* Every answer about an entry is a promise that it is durable, so all of
//! them wait for the sync: the receipts, and what others ask meanwhile.

use std::time::Duration;

use syngraph_protocol::entry::VerifiedEntry;
use syngraph_protocol::ids::{EntryId, PublicKey, Seq};
use tokio::sync::oneshot;

use super::ports::{Disk, Now, Peers, Voting};
use super::{Core, CoreError};
use crate::gate::{Admission, Command, Held, JournalEnd, Standing};
use crate::journals::{Admitted, Via};
use crate::replicas::View;

/// How long a door without room asks to be left alone.
const NO_ROOM_RETRY: Duration = Duration::from_secs(1);

/// A door that waits for a quorum to hold an entry, or a block to cover it.
pub(super) struct Awaiting {
    journal: PublicKey,
    seq: Seq,
    reply: oneshot::Sender<()>,
}

impl<D: Disk, V: Voting, P: Peers> Core<D, V, P> {
    pub(super) fn on_command(&mut self, now: Now, command: Command) -> Result<(), CoreError> {
        match command {
            Command::Submit { entries, reply } => {
                let admissions = entries.into_iter().map(|entry| self.take(now, entry));
                let admissions = admissions.collect::<Result<Vec<_>, CoreError>>()?;
                self.answer(reply, admissions);
            }
            Command::Tip { journal, reply } => {
                let tip = self.journals.tip(self.chain.ledger(), &journal);
                let replicated = self.replicated_next(&journal);
                self.answer(reply, tip.map(|tip| JournalEnd { tip, replicated }));
            }
            Command::Standing { reply } => {
                let view = View { ledger: self.chain.ledger(), journals: &self.journals, now: now.instant };
                // What has lapsed waits for nothing.
                let unsealed = self.journals.sealable(self.chain.ledger());
                let unsealed = u64::try_from(unsealed).unwrap_or(u64::MAX);
                self.answer(reply, Standing { unsealed, missing: self.replicas.missing(view) });
            }
            Command::Find { id, reply } => {
                let found = self.journals.find(&id).map(|(entry, parked)| (entry.clone(), parked));
                let held = found.map(|(entry, parked)| {
                    let replicated = self.is_replicated(&entry.head().journal, entry.head().seq);
                    Held { entry, parked, replicated }
                });
                self.answer(reply, held);
            }
            Command::Replicated { journal, seq, reply } => {
                self.awaiting.push(Awaiting { journal, seq, reply });
            }
        }
        Ok(())
    }

    /// Answers after the next sync. A door that has given up by then finds the entries
    /// known when it asks again.
    fn answer<T: Send + 'static>(&mut self, reply: oneshot::Sender<T>, answer: T) {
        self.unanswered.push(Box::new(move || drop(reply.send(answer))));
    }

    fn is_replicated(&self, journal: &PublicKey, seq: Seq) -> bool {
        seq < self.replicated_next(journal)
    }

    /// The first number of a journal that no quorum is known to hold and no block covers.
    fn replicated_next(&self, journal: &PublicKey) -> Seq {
        let sealed = self.chain.ledger().journal_tip(journal).next;
        self.replicas.replicated().next(journal).map_or(sealed, |next| sealed.max(next))
    }

    /// Tells the doors whose entries a quorum holds; forgets those that have given up.
    pub(super) fn answer_replicated(&mut self) {
        for awaiting in std::mem::take(&mut self.awaiting) {
            if self.is_replicated(&awaiting.journal, awaiting.seq) {
                // The door may have given up.
                awaiting.reply.send(()).ok();
            } else if !awaiting.reply.is_closed() {
                self.awaiting.push(awaiting);
            }
        }
    }

    /// Hands an entry that came through our door to the journals and, if it is new, to the
    /// log. It counts only after the next sync.
    pub(super) fn take(&mut self, now: Now, entry: VerifiedEntry) -> Result<Admission, CoreError> {
        let id = entry.id();
        let admitted = self.journals.admit(self.chain.ledger(), entry.clone(), Via::Door, now.instant);
        if admitted == Admitted::New {
            self.write(&entry)?;
            self.fresh.push(entry);
        }
        self.admission(id, admitted)
    }

    /// Writes an entry that the journals have taken; durable after the next sync.
    pub(super) fn write(&mut self, entry: &VerifiedEntry) -> Result<(), CoreError> {
        self.disk.append_entry(entry)?;
        self.unsynced = true;
        Ok(())
    }

    fn admission(&self, id: EntryId, admitted: Admitted) -> Result<Admission, CoreError> {
        Ok(match admitted {
            Admitted::New => Admission::New { id },
            Admitted::Held => Admission::Known { id },
            Admitted::Parked => Admission::Parked { id },
            Admitted::Busy => Admission::Busy { id, retry_after: NO_ROOM_RETRY },
            Admitted::Sealed if self.disk.is_sealed(&id)? => Admission::Known { id },
            Admitted::Sealed => fork(id, "another entry is sealed at its place in the journal".to_owned()),
            Admitted::Fork { other } => fork(id, format!("entry {other} stands at its place in the journal")),
            Admitted::Refused(why) => Admission::Refused { id, rule: why.rule(), detail: why.to_string() },
        })
    }

    /// Takes the parked entries whose key the state now knows. No door is there to count
    /// them or to be answered.
    pub(super) fn readmit(&mut self, now: Now) -> Result<(), CoreError> {
        for entry in self.journals.unpark(self.chain.ledger()) {
            match self.take(now, entry)? {
                Admission::New { .. } => self.metrics.entry_accepted(),
                Admission::Fork { rule, .. } | Admission::Refused { rule, .. } => {
                    self.metrics.entry_refused(rule);
                }
                Admission::Known { .. } | Admission::Parked { .. } | Admission::Busy { .. } => {}
            }
        }
        Ok(())
    }
}

fn fork(id: EntryId, detail: String) -> Admission {
    Admission::Fork { id, rule: "JRN-FORK", detail }
}
