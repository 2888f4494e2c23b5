//! Agreement files: the protocol's `Terms` as people write them.
//!
//! ```toml
//! kind = "licence"
//! title = "Aster for Birch"
//! deadline = "2026-10-31T00:00:00Z"       # lapses unless all have signed; optional
//! term = { from = "2026-10-01T00:00:00Z" } # without until: no end
//! parties = [{ member = "Aster", role = "licensor" }, { member = "Birch", role = "licensee" }]
//!
//! [[grants]]
//! licensor = "Aster"
//! assets = [{ asset = "Aster base", versions = ["1.0"] }]
//! acts = ["infer"]
//! territory = { include = ["EU"] }
//! exclusivity = "non_exclusive"
//! derivatives = { relative = 50000 }      # 5 %, in parts per million
//!
//! [[payments]]
//! id = "tokens"
//! grant = 0
//! payer = "Birch"
//! meter = "tokens"
//! term = { price = { per_unit = "2.50 EUR per 1000000" }, minimum = "100.00 EUR" }
//! ```
//!
//! Everything that the protocol's own JSON of terms says is read as well. Members, assets
//! and versions may be called by name. Lists whose order means nothing are sorted.
//!
//! *Invariants.* Unknown fields and floats are refused; what is left out has the meaning
//! that is said here. The result has passed the protocol's own check.

use std::path::Path;

use serde::Deserialize;
use syngraph_protocol::codes::{Act, Meter, Place, Purpose, Territory};
use syngraph_protocol::ids::{Hash, Id};
use syngraph_protocol::ledger::agreement::terms::Party;
use syngraph_protocol::ledger::agreement::{
    Cap, Exclusivity, Grant, GrantAsset, GrantRef, Kind, OnExcess, Payment, Royalty, Terms,
};
use syngraph_protocol::name::Name;
use syngraph_protocol::time::{Span, UtcMs};

use super::amount::FileCount;
use super::price::FileTerm;
use crate::cli::CliError;
use crate::cli::names::{AgreementName, AssetName, Directory, MemberName, Noun};

/// An agreement as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AgreementFile {
    kind: Kind,
    title: Name,
    parties: Vec<FileParty>,
    #[serde(default)]
    upstream: Vec<FileGrantRef>,
    grants: Vec<FileGrant>,
    #[serde(default)]
    payments: Vec<FilePayment>,
    term: FileSpan,
    #[serde(default)]
    due_days: u16,
    governing_law: Option<Place>,
    document: Option<Hash>,
    deadline: Option<UtcMs>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileParty {
    member: MemberName,
    role: Name,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileGrantRef {
    agreement: AgreementName,
    grant: u16,
}

/// A span; without an end it is open.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileSpan {
    from: UtcMs,
    #[serde(default = "open")]
    until: UtcMs,
}

const fn open() -> UtcMs {
    UtcMs::OPEN
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileGrant {
    licensor: MemberName,
    #[serde(default)]
    licensees: Vec<MemberName>,
    assets: Vec<FileAsset>,
    acts: Vec<Act>,
    #[serde(default)]
    purposes: Vec<Purpose>,
    territory: FileTerritory,
    /// The term of the agreement if left out.
    span: Option<FileSpan>,
    exclusivity: Exclusivity,
    #[serde(default)]
    caps: Vec<FileCap>,
    derivatives: Royalty,
    reporter: Option<MemberName>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileAsset {
    asset: AssetName,
    /// Labels or ids.
    #[serde(default)]
    versions: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileTerritory {
    #[serde(default)]
    world: bool,
    #[serde(default)]
    include: Vec<Place>,
    #[serde(default)]
    exclude: Vec<Place>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileCap {
    meter: Meter,
    quantity: FileCount,
    per_period: bool,
    on_excess: OnExcess,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FilePayment {
    id: Name,
    grant: u16,
    payer: MemberName,
    meter: Meter,
    term: FileTerm,
}

/// Terms that may be proposed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Draft {
    pub(super) terms: Terms,
    pub(super) deadline: Option<UtcMs>,
}

impl From<FileSpan> for Span {
    fn from(FileSpan { from, until }: FileSpan) -> Self {
        Self { from, until }
    }
}

impl AgreementFile {
    /// The kinds of names that it uses.
    pub(super) fn needs(&self) -> Vec<Noun> {
        let grants = self
            .grants
            .iter()
            .flat_map(|grant| grant.licensees.iter().chain([&grant.licensor]).chain(&grant.reporter));
        let members = self.parties.iter().map(|party| &party.member).chain(grants);
        let payers =
            self.payments.iter().flat_map(|payment| payment.term.observers().chain([&payment.payer]));
        let assets = || self.grants.iter().flat_map(|grant| &grant.assets);
        let has_labels = assets().flat_map(|asset| &asset.versions).any(|label| label.parse::<Id>().is_err());
        members
            .chain(payers)
            .filter_map(MemberName::needs)
            .chain(assets().filter_map(|asset| asset.asset.needs()))
            .chain(has_labels.then_some(Noun::Version))
            .chain(self.upstream.iter().filter_map(|grant| grant.agreement.needs()))
            .collect()
    }

    /// Finds the ids of what is named and checks the terms; `path` only names the file in
    /// errors.
    ///
    /// # Errors
    /// `NAME-UNKNOWN`, `NAME-AMBIGUOUS`, and the protocol's refusals of terms.
    pub(super) fn resolve(self, known: &Directory, path: &Path) -> Result<Draft, CliError> {
        let deadline = self.deadline;
        let term: Span = self.term.into();
        let parties = self.parties.into_iter().map(|party| party.resolve(known));
        let upstream = self
            .upstream
            .iter()
            .map(|grant| Ok(GrantRef { agreement: known.agreement(&grant.agreement)?, grant: grant.grant }));
        let terms = Terms {
            kind: self.kind,
            title: self.title,
            parties: sorted_by_key(parties, |party| party.member)?,
            upstream: upstream.collect::<Result<_, CliError>>()?,
            grants: self
                .grants
                .into_iter()
                .map(|grant| grant.resolve(known, term))
                .collect::<Result<_, _>>()?,
            payments: self
                .payments
                .into_iter()
                .map(|payment| payment.resolve(known))
                .collect::<Result<_, _>>()?,
            term,
            due_days: self.due_days,
            governing_law: self.governing_law,
            document: self.document,
        };
        let refused = |refusal: syngraph_protocol::ledger::agreement::TermsError| CliError::Refused {
            path: path.to_owned(),
            rule: refusal.rule().to_owned(),
            detail: refusal.to_string(),
        };
        terms.check().map_err(refused)?;
        Ok(Draft { terms, deadline })
    }
}

/// Sorts what could be resolved, as the protocol has its lists.
fn sorted_by_key<T, K: Ord>(
    items: impl Iterator<Item = Result<T, CliError>>,
    key: impl Fn(&T) -> K,
) -> Result<Vec<T>, CliError> {
    let mut items = items.collect::<Result<Vec<_>, _>>()?;
    items.sort_by_key(key);
    Ok(items)
}

fn sorted<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort();
    items
}

impl FileParty {
    fn resolve(self, known: &Directory) -> Result<Party, CliError> {
        Ok(Party { member: known.member(&self.member)?, role: self.role })
    }
}

impl FileGrant {
    fn resolve(self, known: &Directory, term: Span) -> Result<Grant, CliError> {
        let licensees = self.licensees.iter().map(|member| known.member(member));
        let assets = self.assets.iter().map(|asset| asset.resolve(known));
        let caps = self.caps.into_iter().map(|cap| Cap {
            meter: cap.meter,
            quantity: cap.quantity.0,
            per_period: cap.per_period,
            on_excess: cap.on_excess,
        });
        Ok(Grant {
            licensor: known.member(&self.licensor)?,
            licensees: sorted_by_key(licensees, |member| *member)?,
            assets: sorted_by_key(assets, |asset| asset.asset)?,
            acts: sorted(self.acts),
            purposes: sorted(self.purposes),
            territory: Territory {
                world: self.territory.world,
                include: sorted(self.territory.include),
                exclude: sorted(self.territory.exclude),
            },
            span: self.span.map_or(term, Span::from),
            exclusivity: self.exclusivity,
            caps: caps.collect(),
            derivatives: self.derivatives,
            reporter: self.reporter.map(|member| known.member(&member)).transpose()?,
        })
    }
}

impl FileAsset {
    fn resolve(&self, known: &Directory) -> Result<GrantAsset, CliError> {
        let asset = known.asset(&self.asset)?;
        let versions = self.versions.iter().map(|label| known.version_of(asset, label));
        Ok(GrantAsset { asset, versions: sorted_by_key(versions, |version| *version)? })
    }
}

impl FilePayment {
    fn resolve(self, known: &Directory) -> Result<Payment, CliError> {
        Ok(Payment {
            id: self.id,
            grant: self.grant,
            payer: known.member(&self.payer)?,
            meter: self.meter,
            term: self.term.resolve(known)?,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cli::file::parse_json;
    use crate::cli::names::tests::{directory, id};
    use syngraph_config::file::parse;
    use syngraph_protocol::ids::MemberId;
    use syngraph_protocol::ledger::royalty::Price;
    use syngraph_protocol::money::{Minor, Rate};

    pub(in crate::cli::agreement) const TOML: &str = r#"
kind = "licence"
title = "Aster for Birch"
deadline = "2026-09-30T00:00:00Z"
term = { from = "2026-10-01T00:00:00Z" }
parties = [{ member = "Birch", role = "licensee" }, { member = "Aster", role = "licensor" }]

[[grants]]
licensor = "Aster"
assets = [{ asset = "Corpus", versions = ["1.0"] }]
acts = ["train", "infer"]
territory = { include = ["FR", "DE"] }
exclusivity = "non_exclusive"
derivatives = { relative = 50000 }
caps = [{ meter = "tokens", quantity = 5000000, per_period = true, on_excess = "rate" }]

[[payments]]
id = "tokens"
grant = 0
payer = "Birch"
meter = "tokens"
term = { price = { per_unit = "2.50 EUR per 1000000" }, minimum = "100.00 EUR" }
"#;

    pub(in crate::cli::agreement) fn draft(toml: &str) -> Result<Draft, CliError> {
        let file: AgreementFile = parse(toml, Path::new("deal.toml"))?;
        file.resolve(&directory(), Path::new("deal.toml"))
    }

    #[test]
    fn names_amounts_and_defaults_become_terms() {
        let Draft { terms, deadline } = draft(TOML).expect("sound");
        assert_eq!(deadline.map(|at| at.to_string()).as_deref(), Some("2026-09-30T00:00:00.000Z"));
        assert_eq!(terms.parties.iter().map(|party| party.member.get()).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(terms.term.until, UtcMs::OPEN);
        let (grant, payment) = (&terms.grants[0], &terms.payments[0]);
        assert_eq!(grant.assets, [GrantAsset { asset: id(0x0a), versions: vec![id(0x1a)] }]);
        assert_eq!(grant.acts.iter().map(Act::as_str).collect::<Vec<_>>(), ["infer", "train"]);
        assert_eq!((grant.span, grant.caps[0].quantity), (terms.term, 5_000_000));
        assert_eq!(payment.payer, MemberId::new(1));
        assert_eq!(payment.term.price, Price::PerUnit(Rate::new(250, 1_000_000).expect("a rate")));
        assert_eq!(payment.term.minimum, Some(Minor::new(10_000)));
        assert_eq!(payment.term.currency.to_string(), "EUR");
    }

    #[test]
    fn the_protocol_s_own_json_reads_back_without_any_names() {
        let Draft { terms, .. } = draft(TOML).expect("sound");
        let json = serde_json::to_string(&terms).expect("plain values");
        let file: AgreementFile = parse_json(&json, Path::new("deal.json")).expect("own form");
        assert!(file.needs().is_empty());
        let again = file.resolve(&Directory::default(), Path::new("deal.json")).expect("sound");
        assert_eq!(again, Draft { terms, deadline: None });
    }

    #[test]
    fn only_names_that_are_used_are_asked_for() {
        let file: AgreementFile = parse(TOML, Path::new("deal.toml")).expect("readable");
        let mut needs = file.needs();
        needs.sort();
        needs.dedup();
        assert_eq!(needs, [Noun::Member, Noun::Asset, Noun::Version]);
    }

    #[test]
    fn what_is_wrong_is_named_with_line_and_field() {
        for (from, to, expected) in [
            ("[[payments]]", "[[payment]]", "deal.toml:17: payment: unknown field `payment`"),
            (
                "quantity = 5000000",
                "quantity = 5.5",
                "deal.toml:15: grants.caps: invalid type: floating point",
            ),
            ("2.50 EUR per", "2.505 EUR per", "deal.toml:22: payments.term: \"2.505\" is no amount in EUR"),
            (
                "minimum = \"100.00 EUR\"",
                "minimum = 100",
                "deal.toml:22: payments.term: invalid type: integer",
            ),
            (
                "minimum = \"100.00 EUR\"",
                "minimum = \"1 USD\"",
                "deal.toml:22: payments.term: amounts in EUR and USD",
            ),
            ("kind = \"licence\"", "kind = \"licenze\"", "deal.toml:2: kind: unknown variant `licenze`"),
        ] {
            assert!(TOML.contains(from), "{from}");
            let refused = draft(&TOML.replacen(from, to, 1)).expect_err(to);
            assert!(refused.to_string().starts_with(expected), "{refused}");
            assert_eq!(refused.rule(), "CFG-SYNTAX");
        }
    }

    #[test]
    fn terms_that_nobody_could_sign_are_refused_with_their_rule() {
        for (from, to, rule) in [
            ("\"Corpus\"", "\"Twin\"", "NAME-AMBIGUOUS"),
            ("payer = \"Birch\"", "payer = \"Cedar\"", "NAME-UNKNOWN"),
            ("payer = \"Birch\"", "payer = \"Aster\"", "AGR-PAYMENT-PAYER"),
            ("\"train\", \"infer\"", "\"train\", \"train\"", "AGR-GRANT-LIST"),
            ("\"train\", \"infer\"", "\"teleport\"", "CODE-UNKNOWN"),
            ("include = [\"FR\", \"DE\"]", "", "AGR-TERRITORY"),
            ("relative = 50000", "relative = 5000000", "AGR-ROYALTY-OVER-100"),
        ] {
            assert!(TOML.contains(from), "{from}");
            let refused = draft(&TOML.replacen(from, to, 1)).expect_err(rule);
            assert_eq!(refused.rule(), rule, "{refused}");
        }
    }
}
