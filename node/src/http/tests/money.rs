//! From a signed agreement to a settled statement, as the API shows it.

use serde_json::{Value, json};
use syngraph_protocol::codes::{Act, Meter, Place, Purpose, Territory};
use syngraph_protocol::entry::{Body, Deed};
use syngraph_protocol::ids::{EntryId, EventId, Hash, Id, MemberId, Salt};
use syngraph_protocol::ledger::agreement::terms::Party;
use syngraph_protocol::ledger::agreement::{
    Countersign, Exclusivity, Grant, GrantAsset, Kind, Payment, Propose, Royalty, Terms,
};
use syngraph_protocol::ledger::asset::{PublishVersion, RiskClass};
use syngraph_protocol::ledger::period::{ClosePeriod, Settle};
use syngraph_protocol::ledger::royalty::{PaymentTerm, Price, Scope};
use syngraph_protocol::ledger::usage::{ReportUsage, UsageContext, UsageRow};
use syngraph_protocol::money::{Currency, Rate};
use syngraph_protocol::name::Name;
use syngraph_protocol::time::{Span, UtcMs};

use super::submit::register;
use super::world::{FOUNDED, Sealing, World};

const ASTER: MemberId = MemberId::new(0);
const BIRCH: MemberId = MemberId::new(1);

fn span() -> Span {
    Span { from: FOUNDED, until: UtcMs::OPEN }
}

/// Aster lets Birch serve its model, for EUR 2.50 a million tokens.
fn terms(asset: Id) -> Terms {
    let party = |member, role: &str| Party { member, role: Name::new(role) };
    let grant = Grant {
        licensor: ASTER,
        licensees: vec![BIRCH],
        assets: vec![GrantAsset { asset, versions: vec![] }],
        acts: vec![Act::new("infer.service")],
        purposes: vec![],
        territory: Territory { world: false, include: vec![Place::new("EU")], exclude: vec![] },
        span: span(),
        exclusivity: Exclusivity::NonExclusive,
        caps: vec![],
        derivatives: Royalty::None,
        reporter: None,
    };
    let term = PaymentTerm {
        currency: Currency::from_bytes(*b"EUR").expect("a currency"),
        price: Price::PerUnit(Rate::new(250, 1_000_000).expect("a rate")),
        multiplier: None,
        minimum: None,
        cap: None,
        advance: None,
        scope: Scope::Period,
    };
    Terms {
        kind: Kind::Licence,
        title: Name::new("Serving licence"),
        parties: vec![party(ASTER, "licensor"), party(BIRCH, "licensee")],
        upstream: vec![],
        grants: vec![grant],
        payments: vec![Payment {
            id: Name::new("tokens"),
            grant: 0,
            payer: BIRCH,
            meter: Meter::new("tokens"),
            term,
        }],
        term: span(),
        due_days: 30,
        governing_law: None,
        document: None,
    }
}

pub(super) fn event_id(at: &str, rest: u8) -> EventId {
    let ms = UtcMs::parse(at).expect("a moment").ms().to_be_bytes();
    let mut bytes = [rest; 16];
    bytes[..6].copy_from_slice(&ms[2..]);
    bytes[6] = 0x70;
    bytes[8] = 0x80;
    EventId::from_bytes(bytes)
}

fn report(agreement: Id, version: Id) -> Body {
    let context = |territory: &str| UsageContext {
        agreement,
        grant: 0,
        version,
        act: Act::new("infer.service"),
        purpose: Purpose::new("commercial"),
        territory: Place::new(territory),
        meter: Meter::new("tokens"),
        payer: BIRCH,
    };
    let at = "2026-10-02T12:00:00Z";
    let row = |rest, context, quantity| UsageRow { event_id: event_id(at, rest), context, quantity };
    Body::ReportUsage(ReportUsage {
        contexts: vec![context("DE"), context("US")],
        rows: vec![row(1, 0, 1_234_567), row(2, 1, 9)],
    })
}

/// What was signed and sealed.
struct Deal {
    world: World,
    asset: String,
    version: String,
    agreement: String,
}

async fn deal() -> Deal {
    let mut world = World::found(2, Sealing::AtOnce);
    let entry = world.sign_deed(0, register("Model"));
    let asset = world.seal(&entry).await;
    let version = PublishVersion {
        asset: asset.into(),
        label: Name::new("1.0"),
        content: Hash::from_bytes([9; 32]),
        size_bytes: 9_007_199_254_740_993,
        released: FOUNDED,
        risk: Some(RiskClass::Limited),
        training_flop_log2: None,
    };
    let entry = world.sign_deed(0, Deed::PublishVersion(version));
    let version = world.seal(&entry).await;
    let salt = Salt::from_bytes([3; 32]);
    let terms = terms(asset.into());
    let terms_hash = terms.root(&salt, None);
    let entry = world.sign_deed(0, Deed::Propose(Propose { terms, salt, deadline: None }));
    let agreement = world.seal(&entry).await;
    world.must_wait_for(&agreement, "Birch").await;
    let countersign = Countersign { agreement: agreement.into(), version: 1, terms_hash };
    let entry = world.sign_deed(1, Deed::Countersign(countersign));
    world.seal(&entry).await;
    let [asset, version, agreement] = [asset, version, agreement].map(|id| id.to_string());
    Deal { world, asset, version, agreement }
}

impl World {
    /// The proposal is shown with the party whose signature is missing.
    async fn must_wait_for(&self, agreement: &EntryId, name: &str) {
        let shown = self.must_get(&format!("/v1/agreements/{agreement}")).await;
        assert_eq!((&shown["status"], &shown["proposed"]), (&json!("proposed"), &Value::Null));
        assert_eq!(shown["version"]["missing"], json!([{"member": 1, "member_name": name}]));
    }
}

#[tokio::test]
async fn an_agreement_is_shown_with_what_was_signed() {
    let Deal { world, asset, version, agreement } = deal().await;
    let shown = world.must_get(&format!("/v1/agreements/{agreement}")).await;
    let (_, signed) = world.get(&format!("/v1/agreements/{agreement}/versions/1")).await;
    assert_eq!(shown["version"], signed);
    assert_eq!(shown["title"], "Serving licence");
    assert_eq!(
        shown["parties"],
        json!([
            {"member": 0, "member_name": "Aster", "role": "licensor"},
            {"member": 1, "member_name": "Birch", "role": "licensee"},
        ])
    );
    assert_eq!(shown["status"], "active");
    assert_eq!(signed["missing"], json!([]));
    assert_eq!(shown["history"].as_array().map(Vec::len), Some(1));
    // What a signer needs: terms and salt give the hash.
    let terms: Terms =
        serde_json::from_value(signed["terms"].clone()).expect("the terms as they were signed");
    let salt: Salt = serde_json::from_value(signed["salt"].clone()).expect("the salt");
    assert_eq!(json!(terms.root(&salt, None).to_string()), signed["terms_hash"]);
    let list = world.must_get("/v1/agreements").await;
    assert_eq!(list["items"][0]["id"], json!(agreement));
    // As it was before the second signature.
    let before = world.must_get(&format!("/v1/agreements/{agreement}?as_of=3")).await;
    assert_eq!(before["status"], "proposed");

    let shown = world.must_get(&format!("/v1/versions/{version}")).await;
    let expected = json!({
        "id": version, "asset": asset, "asset_name": "Model", "label": "1.0", "content": "09".repeat(32),
        "size_bytes": "9007199254740993", "released": "2026-10-01T00:00:00.000Z", "risk": "limited",
        "training_flop_log2": null, "since": 2, "metered": false, "parents": [],
    });
    assert_eq!(shown, expected);
}

/// Reports, closes and settles October.
async fn settle(deal: &mut Deal) {
    let id = |text: &str| text.parse::<Id>().expect("an id");
    let body = report(id(&deal.agreement), id(&deal.version));
    deal.world.set_clock("2026-10-02T13:00:00Z");
    let entry = deal.world.sign(1, body);
    deal.world.seal(&entry).await;
    deal.world.set_clock("2026-11-12T00:00:00Z");
    let month = "2026-10".parse().expect("a month");
    for deed in [Deed::ClosePeriod(ClosePeriod { month }), Deed::Settle(Settle { month })] {
        let entry = deal.world.sign_deed(0, deed);
        deal.world.seal(&entry).await;
    }
}

#[tokio::test]
async fn a_statement_shows_where_the_money_went() {
    let mut deal = deal().await;
    settle(&mut deal).await;
    let Deal { world, asset, version, agreement } = deal;
    let statement = world.must_get("/v1/statements/2026-10").await;
    // 1,234,567 tokens at 250 cents a million are 308.64175 cents.
    let line = json!({
        "month": "2026-10", "agreement": agreement, "agreement_name": "Serving licence", "term": "tokens",
        "grant": 0, "payer": 1, "payer_name": "Birch", "asset": asset, "asset_name": "Model",
        "versions": [{"version": version, "version_name": "1.0", "quantity": "1234567"}],
        "currency": "EUR", "quantity": "1234567", "charge_micros": "308641750", "amount": "3.0864175",
        "recouped": {"micros": "0", "amount": "0.00"},
        "shares": [{"member": 0, "member_name": "Aster", "micros": "308641750", "amount": "3.0864175"}],
        "held": null,
    });
    let expected = json!({
        "month": "2026-10", "closed": 6, "settled": 7, "lines_total": 1, "statement": statement["statement"],
        "accruals": [{
            "currency": "EUR", "from": 1, "from_name": "Birch", "to": 0, "to_name": "Aster",
            "micros": "308641750", "amount": "3.0864175",
        }],
        "positions": [
            {"currency": "EUR", "member": 0, "member_name": "Aster", "minor": "308", "amount": "3.08"},
            {"currency": "EUR", "member": 1, "member_name": "Birch", "minor": "-308", "amount": "-3.08"},
        ],
        "payments": [{
            "currency": "EUR", "from": 1, "from_name": "Birch", "to": 0, "to_name": "Aster",
            "minor": "308", "amount": "3.08",
        }],
        "lines": [line], "lines_next": null,
    });
    assert_eq!(statement, expected);
    let lines = world.must_get("/v1/statements/2026-10/lines").await;
    assert_eq!(lines, json!({"items": [line], "next": null}));
    let carries = world.must_get("/v1/carries").await;
    let expected = json!([{
        "currency": "EUR", "a": 0, "a_name": "Aster", "b": 1, "b_name": "Birch",
        "a_owes_b_micros": "-641750", "amount": "-0.0064175",
    }]);
    assert_eq!(carries["items"], expected);
    let before = world.must_get("/v1/statements/2026-10?as_of=6").await;
    assert_eq!((&before["settled"], &before["payments"]), (&Value::Null, &json!([])));
}

#[tokio::test]
async fn a_finding_names_its_subject() {
    let mut deal = deal().await;
    settle(&mut deal).await;
    let list = deal.world.must_get("/v1/findings").await;
    let finding = &list["items"][0];
    let expected = json!({
        "id": finding["id"], "rule": "USE-OUT-TERR", "severity": "E",
        "subject": {
            "agreement": deal.agreement, "agreement_name": "Serving licence", "grant": 0,
            "member": 1, "member_name": "Birch", "month": "2026-10",
        },
        "rows": 1, "quantity": "9", "first": 5, "last": 5,
    });
    assert_eq!(*finding, expected);
    let id = finding["id"].as_str().expect("an id");
    assert_eq!(deal.world.must_get(&format!("/v1/findings/{id}")).await, expected);
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1));
}
