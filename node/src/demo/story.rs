//! What the members of the demo do, in order.

use std::path::{Path, PathBuf};

use syngraph_client::key::Key;
use syngraph_client::submit::{Client, Options};
use syngraph_client::usage::import::import_csv;
use syngraph_client::usage::mapping::Mapping;
use syngraph_protocol::codes::{Act, Meter, Place, Purpose, Territory};
use syngraph_protocol::entry::Deed;
use syngraph_protocol::ids::{Hash, Id, MemberId, NetworkId, Salt};
use syngraph_protocol::ledger::Outcome;
use syngraph_protocol::ledger::agreement::{
    Countersign, Exclusivity, Grant, GrantAsset, GrantRef, Kind, Payment, Propose, Royalty, Terms,
    terms::Party,
};
use syngraph_protocol::ledger::asset::{AssetClass, Confidentiality, Owner, PublishVersion, RegisterAsset};
use syngraph_protocol::ledger::lineage::{DeclareLineage, Parent, Relation};
use syngraph_protocol::ledger::member::{AdmitKey, AdmitMember, MemberProfile, Scope, prove_possession};
use syngraph_protocol::ledger::period::{ClosePeriod, Settle};
use syngraph_protocol::ledger::proposal::Approve;
use syngraph_protocol::ledger::royalty::{PaymentTerm, Price, Scope as Counted, Tier, TierMode};
use syngraph_protocol::ledger::usage::UsageContext;
use syngraph_protocol::money::{Ppm, Rate, Weight};
use syngraph_protocol::name::Name;
use syngraph_protocol::time::{Month, Span, UtcMs};

use super::consortium::Doors;
use super::founding::{ASTER, BIRCH, CEDAR, Founded, now};
use super::{DemoError, Teller, name_of, random};

/// Agreements of the story hold from 2020 on, so that historic traces fall into them.
const TERM: Span = Span { from: UtcMs::from_ms(1_577_836_800_000), until: UtcMs::OPEN };

/// Admitted in the story; owns a part of the data.
const DAHLIA: MemberId = MemberId::new(4);

/// A member that speaks through its office key.
struct Actor {
    root: Client,
    office: Client,
}

/// The members and what they have made so far.
pub(super) struct Story {
    doors: Doors,
    /// How many members vote.
    voters: usize,
    tell: Teller,
    network: NetworkId,
    dir: PathBuf,
    aster: Actor,
    birch: Actor,
    cedar: Actor,
    dahlia: Option<Actor>,
    made: Made,
}

/// Ids that later acts refer to.
#[derive(Default)]
struct Made {
    model: Option<(Id, Id)>,
    licence: Option<Id>,
}

impl Actor {
    /// Opens a member's root key at its own node's door, and admits an office key with it.
    async fn begin(
        doors: &Doors,
        member: MemberId,
        network: NetworkId,
        root_file: &Path,
    ) -> Result<Self, DemoError> {
        let (node, others) = doors.of(member);
        let options = |file: &Path| Options { others: others.clone(), ..Options::beside(file) };
        let root_key = Key::load(root_file)?;
        let root = Client::open(node.clone(), &root_key, &options(root_file))?;
        let office = Key::generate("office")?;
        let office_file = root_file.with_file_name("office.toml");
        office.save(&office_file)?;
        let admit = AdmitKey {
            key: office.public(),
            scope: Scope::default(),
            until: None,
            possession: prove_possession(network, &root_key.public(), office.secret()),
        };
        act(&root, "admitting an office key", Deed::AdmitKey(admit)).await?;
        let office = Client::open(node, &office, &options(&office_file))?;
        Ok(Self { root, office })
    }

    async fn act(&self, what: &str, deed: Deed) -> Result<Id, DemoError> {
        act(&self.office, what, deed).await
    }

    async fn end(self) {
        self.root.close().await;
        self.office.close().await;
    }
}

/// Submits a deed and waits until it is sealed and applied.
async fn act(client: &Client, what: &str, deed: Deed) -> Result<Id, DemoError> {
    let receipt = client.act(deed).await?;
    match receipt.outcome {
        Some(Outcome::Refused { rule }) => Err(DemoError::Refused { act: what.to_owned(), rule }),
        _ => Ok(receipt.id.into()),
    }
}

impl Story {
    /// Gives every member an office key.
    pub(super) async fn begin(doors: Doors, founded: &Founded, tell: Teller) -> Result<Self, DemoError> {
        let network = founded.genesis.charter.network();
        let root_of = |member: MemberId| {
            let position = usize::try_from(member.get()).unwrap_or(usize::MAX);
            founded.roots.get(position).cloned().unwrap_or_default()
        };
        let actor = async |member| Actor::begin(&doors, member, network, &root_of(member)).await;
        let (aster, birch, cedar) = (actor(ASTER).await?, actor(BIRCH).await?, actor(CEDAR).await?);
        tell.step("Aster, Birch and Cedar admitted a key for their office each");
        let dir = founded.genesis_path.parent().map(Path::to_owned).unwrap_or_default();
        let made = Made::default();
        let voters = founded.nodes.len();
        Ok(Self { doors, voters, tell, network, dir, aster, birch, cedar, dahlia: None, made })
    }

    /// Everything before the first metered call.
    pub(super) async fn prologue(&mut self) -> Result<(), DemoError> {
        self.admit_dahlia().await?;
        let (dataset, data_version) = self.register_data().await?;
        let (model, model_version) = self.register_model().await?;
        let cross = self.cross_license(dataset, model).await?;
        self.declare_lineage(model_version, data_version, cross).await?;
        let licence = self.license(model).await?;
        self.made = Made { model: Some((model, model_version)), licence: Some(licence) };
        Ok(())
    }

    async fn admit_dahlia(&mut self) -> Result<(), DemoError> {
        let file = self.dir.join("dahlia").join("keys").join("root.toml");
        let parent = file.parent().map(Path::to_owned).unwrap_or_default();
        std::fs::create_dir_all(&parent).map_err(|source| DemoError::File { path: parent, source })?;
        let root = Key::generate("root")?;
        root.save(&file)?;
        let profile = MemberProfile {
            name: Name::new("Dahlia"),
            jurisdiction: Place::new("ES"),
            root: root.public(),
            node: None,
        };
        let possession = vec![prove_possession(self.network, &root.public(), root.secret())];
        let admit = Deed::AdmitMember(AdmitMember { profile, possession });
        let proposal = self.aster.act("admitting Dahlia", admit).await?;
        // Strictly more than two thirds of the voters, Aster among them.
        let needed = self.voters * 2 / 3;
        let approvers = [("Cedar", &self.cedar), ("Birch", &self.birch)];
        for (_, member) in approvers.iter().take(needed) {
            member.act("approving Dahlia", Deed::Approve(Approve { proposal })).await?;
        }
        self.dahlia = Some(Actor::begin(&self.doors, DAHLIA, self.network, &file).await?);
        let names: Vec<&str> = approvers.iter().take(needed).map(|(name, _)| *name).collect();
        self.tell.step(&match names[..] {
            [] => "Aster, who holds all voting power, admitted Dahlia".to_owned(),
            _ => format!("Aster proposed to admit Dahlia; {} approved", names.join(" and ")),
        });
        Ok(())
    }

    async fn register_data(&self) -> Result<(Id, Id), DemoError> {
        let owners = [(BIRCH, 7), (DAHLIA, 5)];
        let asset = asset(AssetClass::Dataset, "Conversations D1", "CC-BY-4.0", &owners);
        let dataset = self.birch.act("registering the dataset", Deed::RegisterAsset(asset)).await?;
        if let Some(dahlia) = &self.dahlia {
            let approve = Deed::Approve(Approve { proposal: dataset });
            dahlia.act("approving the owners of the dataset", approve).await?;
        }
        let version = self.birch.act("publishing the dataset", publish(dataset, "2023.1", b"D1")).await?;
        self.tell.step("Birch registered dataset D1; Dahlia agreed to own 5 of its 12 parts");
        Ok((dataset, version))
    }

    async fn register_model(&self) -> Result<(Id, Id), DemoError> {
        let asset = asset(AssetClass::Model, "Model M1", "LicenseRef-Aster-M1", &[(ASTER, 1)]);
        let model = self.aster.act("registering the model", Deed::RegisterAsset(asset)).await?;
        let version = self.aster.act("publishing the model", publish(model, "1.0", b"M1")).await?;
        self.tell.step("Aster registered model M1 and published version 1.0");
        Ok((model, version))
    }

    /// Birch lets Aster train, for 12 % of what the model earns; Aster lets Birch use
    /// the model inside.
    async fn cross_license(&self, dataset: Id, model: Id) -> Result<Id, DemoError> {
        let train = Grant {
            derivatives: Royalty::Relative(Ppm::new(120_000)),
            ..grant(BIRCH, ASTER, dataset, &["commercialise_model", "train"])
        };
        let inside = grant(ASTER, BIRCH, model, &["infer.internal"]);
        let terms = Terms {
            kind: Kind::CrossLicence,
            ..terms("Cross-licence of D1 and M1", ASTER, BIRCH, vec![train, inside], Vec::new())
        };
        let agreement = self.agree(&self.birch, &self.aster, terms).await?;
        self.tell.step("Birch and Aster signed a cross-licence: training for 12 % of what M1 earns");
        Ok(agreement)
    }

    async fn declare_lineage(&self, child: Id, parent: Id, cross: Id) -> Result<(), DemoError> {
        let grant = Some(GrantRef { agreement: cross, grant: 0 });
        let parent = Parent { version: parent, relation: Relation::TrainedOn, material: None, grant };
        let declare = Deed::DeclareLineage(DeclareLineage { child, parents: vec![parent] });
        self.aster.act("declaring the model's lineage", declare).await?;
        self.tell.step("Aster declared that M1 1.0 was trained on D1 2023.1");
        Ok(())
    }

    async fn license(&self, model: Id) -> Result<Id, DemoError> {
        let infer = grant(ASTER, CEDAR, model, &["infer.service"]);
        let rate = |minor| Rate::new(minor, 1_000_000).expect("a million is above 0");
        let tiers = vec![
            Tier { up_to: Some(10_000_000), rate: rate(250) },
            Tier { up_to: Some(50_000_000), rate: rate(190) },
            Tier { up_to: None, rate: rate(135) },
        ];
        let payment = Payment {
            id: Name::new("tokens"),
            grant: 0,
            payer: CEDAR,
            meter: Meter::new("tokens"),
            term: PaymentTerm {
                currency: "EUR".parse().expect("the euro is a currency"),
                price: Price::Tiered { mode: TierMode::Graduated, tiers },
                multiplier: None,
                minimum: None,
                cap: None,
                advance: None,
                scope: Counted::Period,
            },
        };
        let terms = terms("Inference licence for M1", ASTER, CEDAR, vec![infer], vec![payment]);
        let agreement = self.agree(&self.aster, &self.cedar, terms).await?;
        self.tell.step("Aster licensed M1 to Cedar: EUR 2.50, 1.90, 1.35 per million tokens, by tier");
        Ok(agreement)
    }

    /// One member proposes, the other signs the same terms.
    async fn agree(&self, proposer: &Actor, signer: &Actor, terms: Terms) -> Result<Id, DemoError> {
        let salt = new_salt()?;
        let terms_hash = terms.root(&salt, None);
        let propose = Deed::Propose(Propose { terms, salt, deadline: None });
        let agreement = proposer.act("proposing an agreement", propose).await?;
        let sign = Countersign { agreement, version: 1, terms_hash };
        signer.act("countersigning an agreement", Deed::Countersign(sign)).await?;
        Ok(agreement)
    }

    /// Cedar imports its trace, and once more to show that nothing is counted twice.
    /// Gives rows per second, from the first submission to the last seal.
    pub(super) async fn import(&self, file: &Path) -> Result<f64, DemoError> {
        let (Some((_, version)), Some(agreement)) = (self.made.model, self.made.licence) else {
            return Ok(0.0);
        };
        let mapping = Mapping {
            context: inference(agreement, version, CEDAR),
            time: "TIMESTAMP".to_owned(),
            quantity: vec!["ContextTokens".to_owned(), "GeneratedTokens".to_owned()],
        };
        let office = &self.cedar.office;
        let first = import_csv(office, file, &mapping, &mut |_| {}).await?;
        self.tell.step(&format!(
            "{} imported {} of {} rows, sealed at {:.0} rows/s; {} refused",
            name_of(CEDAR),
            first.rows_new,
            first.rows_read,
            first.rows_per_s,
            first.rows_refused_total,
        ));
        let again = import_csv(office, file, &mapping, &mut |_| {}).await?;
        self.tell.step(&format!(
            "imported the same file again: {} new, {} already recorded",
            again.rows_new, again.rows_duplicate
        ));
        Ok(first.rows_per_s)
    }

    /// Aster drafts an agreement that Birch never signs: it binds nobody.
    pub(super) async fn unsigned_draft(&self) -> Result<(), DemoError> {
        let Some((model, _)) = self.made.model else { return Ok(()) };
        let draft = grant(ASTER, BIRCH, model, &["infer.service"]);
        let terms = terms("Draft licence of M1", ASTER, BIRCH, vec![draft], Vec::new());
        let propose = Propose { terms, salt: new_salt()?, deadline: None };
        self.aster.act("proposing a draft", Deed::Propose(propose)).await?;
        self.tell.step("Aster proposed a draft to Birch, who did not sign: it is in force for nobody");
        Ok(())
    }

    /// Closes and settles the months of the trace whose grace has ended.
    pub(super) async fn close_and_settle(&self, months: &[Month]) -> Result<Vec<Month>, DemoError> {
        let grace_ms = syngraph_protocol::ledger::params::Params::default().period_grace_ms;
        let ended = |month: &&Month| month.span().is_some_and(|span| span.until.plus_ms(grace_ms) < now());
        let (due, open): (Vec<&Month>, Vec<&Month>) = months.iter().partition(ended);
        for month in &due {
            let month = **month;
            self.birch.act("closing a month", Deed::ClosePeriod(ClosePeriod { month })).await?;
            self.aster.act("settling a month", Deed::Settle(Settle { month })).await?;
            self.tell.step(&format!("Birch closed {month}, Aster settled it"));
        }
        for month in open {
            self.tell.step(&format!("{month} or its grace has not ended, so it stays open"));
        }
        Ok(due.into_iter().copied().collect())
    }

    /// Stops the members' outboxes.
    pub(super) async fn end(self) {
        for actor in [self.aster, self.birch, self.cedar].into_iter().chain(self.dahlia) {
            actor.end().await;
        }
    }
}

fn asset(class: AssetClass, title: &str, licence: &str, owners: &[(MemberId, u64)]) -> RegisterAsset {
    let owner = |&(member, weight): &(MemberId, u64)| Owner { member, weight: Weight::new(weight) };
    RegisterAsset {
        class,
        title: Name::new(title),
        owners: owners.iter().map(owner).collect(),
        licence: licence.to_owned(),
        confidentiality: Confidentiality::Green,
        jurisdiction: Place::new("EU"),
    }
}

fn publish(asset: Id, label: &str, content: &[u8]) -> Deed {
    Deed::PublishVersion(PublishVersion {
        asset,
        label: Name::new(label),
        content: syngraph_protocol::crypto::sha256(&[content]),
        size_bytes: u64::try_from(content.len()).unwrap_or(0),
        released: TERM.from,
        risk: None,
        training_flop_log2: None,
    })
}

fn grant(licensor: MemberId, licensee: MemberId, asset: Id, acts: &[&str]) -> Grant {
    Grant {
        licensor,
        licensees: vec![licensee],
        assets: vec![GrantAsset { asset, versions: Vec::new() }],
        acts: acts.iter().map(|act| Act::new(*act)).collect(),
        purposes: Vec::new(),
        territory: Territory { world: false, include: vec![Place::new("EEA")], exclude: Vec::new() },
        span: TERM,
        exclusivity: Exclusivity::NonExclusive,
        caps: Vec::new(),
        derivatives: Royalty::None,
        reporter: None,
    }
}

fn terms(title: &str, a: MemberId, b: MemberId, grants: Vec<Grant>, payments: Vec<Payment>) -> Terms {
    let party = |member: MemberId| Party { member, role: Name::new("party") };
    let mut parties = vec![party(a), party(b)];
    parties.sort_by_key(|party| party.member);
    Terms {
        kind: Kind::Licence,
        title: Name::new(title),
        parties,
        upstream: Vec::new(),
        grants,
        payments,
        term: TERM,
        due_days: 30,
        governing_law: Some(Place::new("DE")),
        document: Some(Hash::from_bytes(*syngraph_protocol::crypto::sha256(&[title.as_bytes()]).as_bytes())),
    }
}

fn inference(agreement: Id, version: Id, payer: MemberId) -> UsageContext {
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

fn new_salt() -> Result<Salt, DemoError> {
    Ok(Salt::from_bytes(random()?))
}
