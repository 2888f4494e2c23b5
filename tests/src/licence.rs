//! The business of the test consortium: a model, a licence, and its metered use.

use syngraph_client::usage::mapping::Mapping;
use syngraph_protocol::codes::{Act, Meter, Place, Purpose, Territory};
use syngraph_protocol::crypto::sha256;
use syngraph_protocol::entry::{Body, Deed};
use syngraph_protocol::ids::{EventId, Id, MemberId, Salt};
use syngraph_protocol::ledger::agreement::{
    Countersign, Exclusivity, Grant, GrantAsset, Kind, Payment, Propose, Royalty, Terms, terms::Party,
};
use syngraph_protocol::ledger::asset::{AssetClass, Confidentiality, Owner, PublishVersion, RegisterAsset};
use syngraph_protocol::ledger::royalty::{PaymentTerm, Price, Scope, Tier, TierMode};
use syngraph_protocol::ledger::usage::{ReportUsage, UsageContext, UsageRow};
use syngraph_protocol::money::{Rate, Weight};
use syngraph_protocol::name::Name;
use syngraph_protocol::time::{Span, UtcMs};

use crate::consortium::{ASTER, CEDAR};
use crate::node::Node;
use crate::random::Random;
use crate::signer::Signer;

/// The title of the model.
pub const MODEL: &str = "Model M1";
/// The label of its version.
pub const LABEL: &str = "1.0";
/// The version as people name it.
pub const VERSION: &str = "Model M1@1.0";
/// The title of the licence.
pub const LICENCE: &str = "Inference licence";
/// The month of the metered use.
pub const MONTH: &str = "2023-11";

/// Agreements hold from 2020 on, so that historic traces fall into them.
const TERM: Span = Span { from: UtcMs::from_ms(1_577_836_800_000), until: UtcMs::OPEN };
const SALT: Salt = Salt::from_bytes([9; 32]);

/// A model and the licence that somebody uses it under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Licensed {
    /// The model.
    pub asset: Id,
    /// Its version.
    pub version: Id,
    /// The licence.
    pub agreement: Id,
}

/// Aster registers a model and licenses it to Cedar for EUR 2.50, 1.90 and 1.35 per
/// million tokens, by tier; both sign.
///
/// # Panics
/// If anything of it is refused.
#[track_caller]
pub fn license(node: &Node, aster: &mut Signer, cedar: &mut Signer) -> Licensed {
    let (asset, version) = model(node, aster);
    let terms = terms(LICENCE, CEDAR, asset);
    let agreement = propose(node, aster, terms.clone());
    node.act(cedar, countersign(agreement, &terms));
    Licensed { asset, version, agreement }
}

/// Aster registers a model and publishes a version.
///
/// # Panics
/// If anything of it is refused.
#[track_caller]
pub fn model(node: &Node, aster: &mut Signer) -> (Id, Id) {
    let asset = node.act(aster, register(MODEL));
    let publish = PublishVersion {
        asset,
        label: Name::new(LABEL),
        content: sha256(&[b"M1"]),
        size_bytes: 2,
        released: TERM.from,
        risk: None,
        training_flop_log2: None,
    };
    (asset, node.act(aster, Deed::PublishVersion(publish)))
}

/// Aster registers an asset of its own.
#[must_use]
pub fn register(title: &str) -> Deed {
    Deed::RegisterAsset(RegisterAsset {
        class: AssetClass::Model,
        title: Name::new(title),
        owners: vec![Owner { member: ASTER, weight: Weight::new(1) }],
        licence: "LicenseRef-Aster".into(),
        confidentiality: Confidentiality::Green,
        jurisdiction: Place::new("EU"),
    })
}

/// Proposes an agreement, and thereby signs it.
///
/// # Panics
/// If it is refused.
#[track_caller]
pub fn propose(node: &Node, proposer: &mut Signer, terms: Terms) -> Id {
    node.act(proposer, Deed::Propose(Propose { terms, salt: SALT, deadline: None }))
}

/// Signs terms that were proposed with [`propose`].
#[must_use]
pub fn countersign(agreement: Id, terms: &Terms) -> Deed {
    Deed::Countersign(Countersign { agreement, version: 1, terms_hash: terms.root(&SALT, None) })
}

/// The terms under which Aster lets a licensee infer with a model, within the EEA.
#[must_use]
pub fn terms(title: &str, licensee: MemberId, asset: Id) -> Terms {
    let party = |member, role| Party { member, role: Name::new(role) };
    Terms {
        kind: Kind::Licence,
        title: Name::new(title),
        parties: vec![party(ASTER, "licensor"), party(licensee, "licensee")],
        upstream: Vec::new(),
        grants: vec![Grant {
            licensor: ASTER,
            licensees: vec![licensee],
            assets: vec![GrantAsset { asset, versions: Vec::new() }],
            acts: vec![Act::new("infer.service")],
            purposes: Vec::new(),
            territory: Territory { world: false, include: vec![Place::new("EEA")], exclude: Vec::new() },
            span: TERM,
            exclusivity: Exclusivity::NonExclusive,
            caps: Vec::new(),
            derivatives: Royalty::None,
            reporter: None,
        }],
        payments: vec![payment(licensee)],
        term: TERM,
        due_days: 30,
        governing_law: Some(Place::new("DE")),
        document: None,
    }
}

fn payment(payer: MemberId) -> Payment {
    let rate = |minor| Rate::new(minor, 1_000_000).expect("a million is above 0");
    let tiers = vec![
        Tier { up_to: Some(10_000_000), rate: rate(250) },
        Tier { up_to: Some(50_000_000), rate: rate(190) },
        Tier { up_to: None, rate: rate(135) },
    ];
    Payment {
        id: Name::new("tokens"),
        grant: 0,
        payer,
        meter: Meter::new("tokens"),
        term: PaymentTerm {
            currency: "EUR".parse().expect("the euro is a currency"),
            price: Price::Tiered { mode: TierMode::Graduated, tiers },
            multiplier: None,
            minimum: None,
            cap: None,
            advance: None,
            scope: Scope::Period,
        },
    }
}

/// Inference with a version under the first grant of an agreement.
#[must_use]
pub fn inference(agreement: Id, version: Id, payer: MemberId) -> UsageContext {
    UsageContext {
        agreement,
        grant: 0,
        version,
        act: Act::new("infer.service"),
        purpose: Purpose::new("commercial.service"),
        territory: Place::new("NL"),
        meter: Meter::new("tokens"),
        payer,
    }
}

impl Licensed {
    /// What Cedar's calls have in common.
    #[must_use]
    pub fn context(&self) -> UsageContext {
        inference(self.agreement, self.version, CEDAR)
    }

    /// How a trace becomes Cedar's usage.
    #[must_use]
    pub fn mapping(&self) -> Mapping {
        let quantity = vec!["ContextTokens".to_owned(), "GeneratedTokens".to_owned()];
        Mapping { context: self.context(), time: "TIMESTAMP".to_owned(), quantity }
    }

    /// A report of calls at moments of [`MONTH`], with ids of a seed.
    #[must_use]
    pub fn report(&self, seed: u64, quantities: &[u64]) -> Body {
        report(self.context(), seed, quantities)
    }
}

/// A report of events at moments of [`MONTH`], with ids of a seed.
#[must_use]
pub fn report(context: UsageContext, seed: u64, quantities: &[u64]) -> Body {
    let mut random = Random::new(seed);
    let row = |&quantity: &u64| UsageRow { event_id: event(&mut random), context: 0, quantity };
    let rows = quantities.iter().map(row).collect();
    Body::ReportUsage(ReportUsage { contexts: vec![context], rows })
}

/// A UUIDv7 of 15 November 2023.
fn event(random: &mut Random) -> EventId {
    let ms = 1_700_006_400_000 + random.below(86_400_000);
    let mut bytes = (u128::from(ms) << 80 | u128::from(random.bits())).to_be_bytes();
    (bytes[6], bytes[8]) = (0x70, 0x80 | bytes[8] & 0x3f);
    EventId::from_bytes(bytes)
}

/// The arguments of `syngraph usage import` for a file of Cedar's, in the names that
/// people use.
#[must_use]
pub fn import_args<'a>(file: &'a str, url: &'a str, key: &'a str) -> Vec<&'a str> {
    vec![
        "usage",
        "import",
        file,
        "--agreement",
        LICENCE,
        "--grant",
        "0",
        "--asset",
        VERSION,
        "--act",
        "infer.service",
        "--purpose",
        "commercial.service",
        "--territory",
        "NL",
        "--meter",
        "tokens",
        "--time",
        "TIMESTAMP",
        "--quantity",
        "ContextTokens,GeneratedTokens",
        "--node",
        url,
        "--key",
        key,
        "--json",
    ]
}
