//! The terms of an agreement: who grants what to whom, and what it costs.

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::codes::{Act, Meter, Place, Purpose, Territory, UnknownCode};
use crate::crypto::{self, Domain};
use crate::ids::{Hash, Id, MemberId, Salt};
use crate::ledger::royalty::{PaymentTerm, Price, TermError};
use crate::limits::{GRANT_LIST_MAX, GRANTS_MAX, PARTIES_MAX, PAYMENT_TERMS_MAX, UPSTREAM_MAX};
use crate::merkle;
use crate::money::Ppm;
use crate::name::{Name, NameError};
use crate::refusal::{any_refusal, refusals};
use crate::time::Span;

/// The meter of reported revenue, in minor units of its currency.
const REVENUE_METER: &str = "revenue_minor";

/// What kind of agreement it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is the kind of its name")]
pub enum Kind {
    Licence,
    CrossLicence,
    Pool,
    Sublicence,
    Contribution,
    Services,
}

/// Complete terms. Lists are in the order the parties wrote them; a grant is named by
/// its position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// What kind of agreement it is.
    pub kind: Kind,
    /// Its title.
    pub title: Name,
    /// Everyone who must sign, sorted by member.
    pub parties: Vec<Party>,
    /// The grants that licensors rely on for what they do not own.
    #[serde(default)]
    pub upstream: Vec<GrantRef>,
    /// Who may do what.
    pub grants: Vec<Grant>,
    /// What it costs.
    #[serde(default)]
    pub payments: Vec<Payment>,
    /// When it is in force.
    pub term: Span,
    /// Days from a statement to its due date.
    #[serde(default)]
    pub due_days: u16,
    /// The place whose law governs it.
    pub governing_law: Option<Place>,
    /// SHA-256 of the document that states the terms in prose.
    pub document: Option<Hash>,
}

/// A party and the part it plays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Party {
    /// The member.
    pub member: MemberId,
    /// What it is called in the agreement: licensor, licensee, contributor…
    pub role: Name,
}

/// Names a grant of an agreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantRef {
    /// The agreement.
    pub agreement: Id,
    /// Position among its grants, from 0.
    pub grant: u16,
}

/// A right: every dimension must be satisfied for it to permit something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Who grants.
    pub licensor: MemberId,
    /// To whom, sorted; all parties but the licensor if empty.
    #[serde(default)]
    pub licensees: Vec<MemberId>,
    /// On what, sorted by asset.
    pub assets: Vec<GrantAsset>,
    /// To do what, sorted.
    pub acts: Vec<Act>,
    /// For what, sorted; anything if empty.
    #[serde(default)]
    pub purposes: Vec<Purpose>,
    /// Where.
    pub territory: Territory,
    /// When; within the term of the agreement.
    pub span: Span,
    /// Whether others may have the same.
    pub exclusivity: Exclusivity,
    /// How much.
    #[serde(default)]
    pub caps: Vec<Cap>,
    /// What the licensed asset is owed by what is made from it.
    pub derivatives: Royalty,
    /// Whose reports are charged; the licensee's own if none.
    pub reporter: Option<MemberId>,
}

/// An asset, or some of its versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantAsset {
    /// The asset.
    pub asset: Id,
    /// Which of its versions, sorted; all if empty.
    #[serde(default)]
    pub versions: Vec<Id>,
}

/// Whether others may have the same right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exclusivity {
    /// Others may.
    NonExclusive,
    /// Only the licensor besides.
    Sole,
    /// Nobody, not even the licensor.
    Exclusive,
}

/// A limit on quantity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cap {
    /// What is counted.
    pub meter: Meter,
    /// How much is allowed, inclusive.
    #[serde(with = "crate::money::decimal")]
    pub quantity: u64,
    /// Whether over each month or in all.
    pub per_period: bool,
    /// What happens beyond.
    pub on_excess: OnExcess,
}

/// What happens to use beyond a cap. It is flagged in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnExcess {
    /// It is charged all the same.
    Rate,
    /// It is not licensed, so it is not charged.
    Block,
}

/// What an asset is owed by those derived from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Royalty {
    /// Nothing.
    None,
    /// A share of the net revenue of any descendant.
    Absolute(Ppm),
    /// A share of what the child receives.
    Relative(Ppm),
}

/// A payment term: who pays what for which grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payment {
    /// Names the term, unique in the agreement; an amendment keeps it.
    pub id: Name,
    /// The grant it prices.
    pub grant: u16,
    /// Who pays.
    pub payer: MemberId,
    /// What is counted.
    pub meter: Meter,
    /// How use becomes an amount.
    pub term: PaymentTerm,
}

refusals! {
    /// Why terms cannot be those of any agreement.
    FormError {
        Parties = "AGR-PARTIES": "an agreement has 2 to 256 parties, sorted by member, each once",
        NoGrants = "AGR-GRANTS": "an agreement has 1 to 256 grants, and relies on at most 16 others",
        Payments = "AGR-PAYMENTS": "an agreement has at most 256 payment terms, each id once",
        EmptyTerm = "AGR-TERM-EMPTY": "the term ends before it begins",
        GrantEmpty { grant: usize } = "AGR-GRANT-EMPTY": "grant {grant} names no asset or no act",
        GrantList { grant: usize } = "AGR-GRANT-LIST": "a list of grant {grant} is too long, unsorted or repeats itself",
        GrantSpan { grant: usize } = "AGR-GRANT-SPAN": "the span of grant {grant} is empty or outside the term",
        GrantParty { grant: usize } = "AGR-GRANT-PARTY": "grant {grant} names somebody who is no party, or licenses its licensor",
        Territory { grant: usize } = "AGR-TERRITORY": "the territory of grant {grant} is empty, or lists places besides the world",
        PaymentGrant { grant: u16 } = "AGR-PAYMENT-GRANT": "a payment term prices grant {grant}, which does not exist",
        PaymentPayer { payer: MemberId } = "AGR-PAYMENT-PAYER": "payer {payer} is no licensee of the grant",
        RevenueMeter { meter: Meter } = "AGR-REVENUE-METER": "a share of revenue is counted by revenue_minor, not by {meter}",
        RoyaltyOver100 { grant: usize } = "AGR-ROYALTY-OVER-100": "the royalty of grant {grant} is above 100 %",
    }
}

any_refusal! {
    /// Why terms are refused.
    TermsError {
        Form(FormError),
        Name(NameError),
        Code(UnknownCode),
        Payment(TermError),
    }
}

fn strictly_sorted<T: Ord>(list: &[T]) -> bool {
    list.len() <= GRANT_LIST_MAX && list.is_sorted_by(|a, b| a < b)
}

impl Terms {
    /// The party that is this member.
    #[must_use]
    pub fn party(&self, member: MemberId) -> Option<&Party> {
        self.parties.iter().find(|party| party.member == member)
    }

    /// The leaves that are signed: each clause by its path, with its canonical bytes.
    fn clauses(&self) -> Vec<(String, Vec<u8>)> {
        let mut clauses = vec![
            ("kind".to_owned(), codec::encode(&self.kind)),
            ("title".to_owned(), codec::encode(&self.title)),
            ("parties".to_owned(), codec::encode(&self.parties)),
            ("upstream".to_owned(), codec::encode(&self.upstream)),
            ("term".to_owned(), codec::encode(&self.term)),
            ("due_days".to_owned(), codec::encode(&self.due_days)),
            ("governing_law".to_owned(), codec::encode(&self.governing_law)),
            ("document".to_owned(), codec::encode(&self.document)),
        ];
        let grants = self.grants.iter().enumerate();
        clauses.extend(grants.map(|(n, grant)| (format!("grants/{n}"), codec::encode(grant))));
        let payments = self.payments.iter().enumerate();
        clauses.extend(payments.map(|(n, payment)| (format!("payments/{n}"), codec::encode(payment))));
        clauses
    }

    /// The terms hash: RFC 6962 root over the salted clauses, the hash of the version
    /// before among them.
    #[must_use]
    pub fn root(&self, salt: &Salt, previous: Option<&Hash>) -> Hash {
        let mut clauses = self.clauses();
        clauses.push(("previous".to_owned(), codec::encode(&previous)));
        let leaves = clauses.iter().map(|(path, value)| clause_leaf(salt, path, value));
        merkle::root(&leaves.collect::<Vec<_>>())
    }

    /// Stateless check.
    ///
    /// # Errors
    /// [`TermsError`] naming the rule.
    pub fn check(&self) -> Result<(), TermsError> {
        self.title.check()?;
        let sorted = self.parties.is_sorted_by(|a, b| a.member < b.member);
        if !(2..=PARTIES_MAX).contains(&self.parties.len()) || !sorted {
            return Err(FormError::Parties.into());
        }
        self.parties.iter().try_for_each(|party| party.role.check())?;
        if self.grants.is_empty() || self.grants.len() > GRANTS_MAX || self.upstream.len() > UPSTREAM_MAX {
            return Err(FormError::NoGrants.into());
        }
        if self.term.is_empty() {
            return Err(FormError::EmptyTerm.into());
        }
        self.governing_law.as_ref().map_or(Ok(()), Place::check)?;
        self.grants.iter().enumerate().try_for_each(|(number, grant)| self.check_grant(number, grant))?;
        self.check_payments()
    }

    fn check_grant(&self, number: usize, grant: &Grant) -> Result<(), TermsError> {
        let grant_number = number;
        if grant.assets.is_empty() || grant.acts.is_empty() {
            return Err(FormError::GrantEmpty { grant: grant_number }.into());
        }
        if !grant.lists_are_sorted() {
            return Err(FormError::GrantList { grant: grant_number }.into());
        }
        if grant.span.is_empty() || !self.term.covers(&grant.span) {
            return Err(FormError::GrantSpan { grant: grant_number }.into());
        }
        let mut named = grant.licensees.iter().chain(&grant.reporter).chain([&grant.licensor]);
        if grant.licensees.contains(&grant.licensor) || named.any(|member| self.party(*member).is_none()) {
            return Err(FormError::GrantParty { grant: grant_number }.into());
        }
        if grant.territory.world != grant.territory.include.is_empty() {
            return Err(FormError::Territory { grant: grant_number }.into());
        }
        if matches!(grant.derivatives, Royalty::Absolute(ppm) | Royalty::Relative(ppm) if ppm > Ppm::ONE) {
            return Err(FormError::RoyaltyOver100 { grant: grant_number }.into());
        }
        grant.check_codes()
    }

    fn check_payments(&self) -> Result<(), TermsError> {
        let mut ids: Vec<_> = self.payments.iter().map(|payment| &payment.id).collect();
        ids.sort_unstable();
        if ids.len() > PAYMENT_TERMS_MAX || !ids.is_sorted_by(|a, b| a < b) {
            return Err(FormError::Payments.into());
        }
        for payment in &self.payments {
            payment.id.check()?;
            payment.meter.check()?;
            payment.term.check()?;
            let revenue = matches!(payment.term.price, Price::Revenue { .. });
            if revenue != (payment.meter.as_str() == REVENUE_METER) {
                return Err(FormError::RevenueMeter { meter: payment.meter.clone() }.into());
            }
            let grant = self.grants.get(usize::from(payment.grant));
            let grant = grant.ok_or(FormError::PaymentGrant { grant: payment.grant })?;
            if !grant.licenses(payment.payer) || self.party(payment.payer).is_none() {
                return Err(FormError::PaymentPayer { payer: payment.payer }.into());
            }
        }
        Ok(())
    }
}

/// The leaf hash of one clause. Its salt is derived, so that a clause can be shown with
/// its own salt and without those of the others.
fn clause_leaf(salt: &Salt, path: &str, value: &[u8]) -> Hash {
    let own_salt = crypto::hash(Domain::TERM_SALT, &[salt.as_bytes(), path.as_bytes()]);
    let clause = codec::encode(&(own_salt, path, value));
    merkle::leaf_hash(crypto::hash(Domain::TERM_LEAF, &[&clause]).as_bytes())
}

impl Grant {
    fn lists_are_sorted(&self) -> bool {
        strictly_sorted(&self.licensees)
            && self.assets.is_sorted_by(|a, b| a.asset < b.asset)
            && self.assets.len() <= GRANT_LIST_MAX
            && self.assets.iter().all(|granted| strictly_sorted(&granted.versions))
            && strictly_sorted(&self.acts)
            && strictly_sorted(&self.purposes)
            && strictly_sorted(&self.territory.include)
            && strictly_sorted(&self.territory.exclude)
            && self.caps.len() <= GRANT_LIST_MAX
    }

    fn check_codes(&self) -> Result<(), TermsError> {
        self.acts.iter().try_for_each(Act::check)?;
        self.purposes.iter().try_for_each(Purpose::check)?;
        self.territory.include.iter().chain(&self.territory.exclude).try_for_each(Place::check)?;
        self.caps.iter().try_for_each(|cap| cap.meter.check())?;
        Ok(())
    }

    /// Whether it is granted to this member. Which parties there are is the
    /// agreement's business.
    #[must_use]
    pub fn licenses(&self, member: MemberId) -> bool {
        if self.licensees.is_empty() {
            return member != self.licensor;
        }
        self.licensees.contains(&member)
    }

    /// Whether it covers this version of this asset.
    #[must_use]
    pub fn covers_asset(&self, asset: Id, version: Id) -> bool {
        let covers = |granted: &GrantAsset| {
            granted.asset == asset && (granted.versions.is_empty() || granted.versions.contains(&version))
        };
        self.assets.iter().any(covers)
    }

    /// Whether it covers everything that another grants but its assets: what it is done
    /// for, where and when.
    #[must_use]
    pub fn covers_use(&self, other: &Self) -> bool {
        let act = |wanted| self.acts.iter().any(|act| act.covers(wanted));
        let purpose = |wanted| self.purposes.iter().any(|purpose| purpose.covers(wanted));
        let for_all = self.purposes.is_empty();
        other.acts.iter().all(act)
            && (for_all || (!other.purposes.is_empty() && other.purposes.iter().all(purpose)))
            && self.territory.covers(&other.territory)
            && self.span.covers(&other.span)
    }

    /// Whether it lets its licensees license others.
    #[must_use]
    pub fn is_sublicensable(&self) -> bool {
        let sublicense = Act::new("sublicense");
        self.acts.iter().any(|act| act.covers(&sublicense))
    }

    /// Whose reports are charged to this licensee.
    #[must_use]
    pub fn reporter_for(&self, licensee: MemberId) -> MemberId {
        self.reporter.unwrap_or(licensee)
    }
}
