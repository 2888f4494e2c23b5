//! May I? Whether a grant permits a use, and why.
//!
//! *Invariants.* Three-valued and fail closed: each dimension is satisfied, unsatisfied
//! or unknown, and unknown is never satisfied. The answer holds for the whole span it
//! names, so that a batch is judged once per context and span, not once per row.
//!
//! *Deliberately absent:* quantities. Caps are counted where usage is metered.

use serde::{Deserialize, Serialize};

use super::agreement::{self, Grant, GrantRef, Terms};
use super::{Ledger, member};
use crate::codes::{Act, Place, Purpose};
use crate::ids::{Id, MemberId};
use crate::limits::UPSTREAM_VISITS_MAX;
use crate::time::{Span, UtcMs};

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every dimension is satisfied.
    Permit,
    /// Some dimension is not.
    Deny,
    /// None is unsatisfied, some are unknown.
    Undetermined,
}

/// What a use is measured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    /// The licensee takes part in the consortium.
    Member,
    /// The agreement is in force at the moment of use.
    Agreement,
    /// The agreement has such a grant.
    Grant,
    /// It is granted to this member.
    Licensee,
    /// On this version.
    Asset,
    /// To do this.
    Act,
    /// For this.
    Purpose,
    /// Here.
    Territory,
    /// Now.
    Time,
    /// And the licensor may license it: as controller, or by a chain of grants that each
    /// cover this use and let it be sublicensed. Asked if all else is satisfied.
    Title,
}

/// How a dimension was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// As granted.
    Satisfied,
    /// Not as granted.
    Unsatisfied,
    /// The ledger does not know.
    Unknown,
}

/// What is asked: may this member do this under this grant?
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Who uses.
    pub member: MemberId,
    /// The agreement relied on.
    pub agreement: Id,
    /// The grant relied on.
    pub grant: u16,
    /// What is used.
    pub version: Id,
    /// What is done with it.
    pub act: &'a Act,
    /// What for.
    pub purpose: &'a Purpose,
    /// Where.
    pub place: &'a Place,
    /// The moment of use.
    pub at: UtcMs,
}

/// The answer with its proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// The answer.
    pub verdict: Verdict,
    /// How each dimension was answered, in the order they were asked; dimensions that
    /// make no sense without an earlier one are left out.
    pub facts: Vec<(Dimension, Answer)>,
    /// The version of the agreement that was in force.
    pub agreement_version: Option<u32>,
    /// The moments around the asked one for which the answer is the same.
    pub steady: Span,
}

impl Judgement {
    /// The dimensions that were not satisfied.
    pub fn failed(&self) -> impl Iterator<Item = Dimension> {
        self.facts.iter().filter(|(_, answer)| *answer != Answer::Satisfied).map(|(dimension, _)| *dimension)
    }

    fn of(facts: Vec<(Dimension, Answer)>, agreement_version: Option<u32>, steady: Span) -> Self {
        let any = |wanted| facts.iter().any(|(_, answer)| *answer == wanted);
        let verdict = match (any(Answer::Unsatisfied), any(Answer::Unknown)) {
            (true, _) => Verdict::Deny,
            (false, true) => Verdict::Undetermined,
            (false, false) => Verdict::Permit,
        };
        Self { verdict, facts, agreement_version, steady }
    }
}

fn answer(satisfied: bool) -> Answer {
    if satisfied { Answer::Satisfied } else { Answer::Unsatisfied }
}

/// Judges a use under the grant it relies on.
#[must_use]
pub fn judge(ledger: &Ledger, question: &Question<'_>) -> Judgement {
    let active = member::active(ledger, question.member).is_ok();
    let mut facts = vec![(Dimension::Member, answer(active))];
    let everywhen = Span { from: UtcMs::from_ms(i64::MIN), until: UtcMs::OPEN };
    let steady = ledger.agreements.get(&question.agreement).map_or(everywhen, |a| a.steady_span(question.at));
    let Some((number, terms)) = agreement::terms_at(ledger, question.agreement, question.at) else {
        facts.push((Dimension::Agreement, Answer::Unsatisfied));
        return Judgement::of(facts, None, steady);
    };
    facts.push((Dimension::Agreement, Answer::Satisfied));
    let Some(grant) = terms.grants.get(usize::from(question.grant)) else {
        facts.push((Dimension::Grant, Answer::Unsatisfied));
        return Judgement::of(facts, Some(number), steady);
    };
    facts.extend(dimensions(ledger, terms, grant, question));
    let steady = narrow(steady, grant.span, question.at);
    if facts.iter().any(|(_, answer)| *answer != Answer::Satisfied) {
        return Judgement::of(facts, Some(number), steady);
    }
    let mut title = Title { ledger, question, steady, visits: 0 };
    facts.push((Dimension::Title, answer(title.is_held(terms, grant.licensor))));
    Judgement::of(facts, Some(number), title.steady)
}

/// A walk up the chain of grants that a licensor's right comes from.
struct Title<'a> {
    ledger: &'a Ledger,
    question: &'a Question<'a>,
    /// The moments for which what was found holds.
    steady: Span,
    /// How many grants were asked.
    visits: usize,
}

impl Title<'_> {
    /// Whether a licensor controls what is used, or holds a right to sublicense it.
    fn is_held(&mut self, terms: &Terms, licensor: MemberId) -> bool {
        let version = self.ledger.versions.get(&self.question.version);
        let asset = version.and_then(|known| self.ledger.assets.get(&known.published.asset));
        asset.is_some_and(|asset| asset.controller == licensor)
            || terms.upstream.iter().any(|upstream| self.is_granted(upstream, licensor))
    }

    /// Whether a grant covers the use, and its own licensor has a title.
    fn is_granted(&mut self, upstream: &GrantRef, licensee: MemberId) -> bool {
        // A chain that is too long, or turns back on itself, ends here.
        self.visits = self.visits.saturating_add(1);
        if self.visits > UPSTREAM_VISITS_MAX {
            return false;
        }
        let (ledger, at) = (self.ledger, self.question.at);
        let Some(agreement) = ledger.agreements.get(&upstream.agreement) else { return false };
        self.steady = narrow(self.steady, agreement.steady_span(at), at);
        let Some((_, terms)) = agreement::terms_at(ledger, upstream.agreement, at) else { return false };
        let Some(grant) = terms.grants.get(usize::from(upstream.grant)) else { return false };
        self.steady = narrow(self.steady, grant.span, at);
        let question = Question { member: licensee, ..*self.question };
        let is_satisfied = |(_, answer): &(Dimension, Answer)| *answer == Answer::Satisfied;
        grant.is_sublicensable()
            && dimensions(ledger, terms, grant, &question).iter().all(is_satisfied)
            && self.is_held(terms, grant.licensor)
    }
}

/// The dimensions of the grant itself.
fn dimensions(
    ledger: &Ledger,
    terms: &Terms,
    grant: &Grant,
    question: &Question<'_>,
) -> [(Dimension, Answer); 6] {
    let licensed = grant.licenses(question.member) && terms.party(question.member).is_some();
    let asset = match ledger.versions.get(&question.version) {
        None => Answer::Unknown,
        Some(version) => answer(grant.covers_asset(version.published.asset, question.version)),
    };
    let act = grant.acts.iter().any(|granted| granted.covers(question.act));
    let purpose =
        grant.purposes.is_empty() || grant.purposes.iter().any(|granted| granted.covers(question.purpose));
    [
        (Dimension::Licensee, answer(licensed)),
        (Dimension::Asset, asset),
        (Dimension::Act, answer(act)),
        (Dimension::Purpose, answer(purpose)),
        (Dimension::Territory, answer(grant.territory.contains(question.place))),
        (Dimension::Time, answer(grant.span.contains(question.at))),
    ]
}

/// The part of `steady` in which `span` answers as it does at `at`.
fn narrow(steady: Span, span: Span, at: UtcMs) -> Span {
    let (mut from, mut until) = (steady.from, steady.until);
    for bound in [span.from, span.until] {
        if bound <= at {
            from = from.max(bound);
        } else {
            until = until.min(bound);
        }
    }
    Span { from, until }
}
