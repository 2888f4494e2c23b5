//! What is said in the entries: founders admit keys, license a model and report its use.

use syngraph_protocol::codes::Place;
use syngraph_protocol::crypto::{SecretKey, sha256};
use syngraph_protocol::entry::{Body, Deed};
use syngraph_protocol::genesis::{Charter, Founder, GENESIS_VERSION};
use syngraph_protocol::ids::{EntryId, Idem, MemberId, NetworkId, Salt};
use syngraph_protocol::ledger::agreement::{Countersign, Propose};
use syngraph_protocol::ledger::asset::PublishVersion;
use syngraph_protocol::ledger::member::{AdmitKey, MemberProfile, NodeKeys, Scope, prove_possession};
use syngraph_protocol::ledger::params::Params;
use syngraph_protocol::name::Name;
use syngraph_tests::consortium::{ASTER, CEDAR, params};
use syngraph_tests::licence;
use syngraph_tests::random::Random;

use crate::net::NodeId;
use crate::node::Keys;
use crate::time::EPOCH;

const SALT: Salt = Salt::from_bytes([9; 32]);
/// The month's use is reported by a member of this consortium only if it has so many.
const CAST: [&str; 8] = ["Aster", "Birch", "Cedar", "Dogwood", "Elder", "Fir", "Ginkgo", "Hazel"];

/// A founding document of so many members that vote with the same power.
pub(crate) fn charter(members: usize) -> Charter {
    let founder = |number: NodeId| {
        let keys = Keys::of(number);
        let node = NodeKeys {
            validator: keys.validator.public(),
            transport: keys.transport.public(),
            journal: keys.journal.public(),
        };
        let profile = MemberProfile {
            name: Name::new(CAST[number % CAST.len()]),
            jurisdiction: Place::new("DE"),
            root: keys.root.public(),
            node: Some(node),
        };
        Founder { power: 1, profile }
    };
    Charter {
        version: GENESIS_VERSION,
        name: Name::new("Simulated consortium"),
        time: EPOCH.plus_ms(-60_000),
        params: Params { heartbeat_ms: 30_000, ..params() },
        members: (0..members).map(founder).collect(),
    }
}

/// The key that signs two branches.
pub(crate) fn forked_key() -> SecretKey {
    SecretKey::from_seed(&[201; 32])
}

/// What a step of the business is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tag {
    Key,
    Asset,
    Version,
    Agreement,
    Signature,
}

/// How far the business is.
#[derive(Debug, Default)]
pub(crate) struct Business {
    count: u64,
    admitted: Vec<MemberId>,
    asset: Option<EntryId>,
    version: Option<EntryId>,
    agreement: Option<EntryId>,
    signed: Option<EntryId>,
}

impl Business {
    fn deed(&mut self, deed: Deed) -> Body {
        self.count += 1;
        let mut idem = [0; 16];
        idem[..8].copy_from_slice(&self.count.to_be_bytes());
        Body::Deed { idem: Idem::from_bytes(idem), deed }
    }

    /// What a member's root key has to say now.
    pub(crate) fn next(
        &mut self,
        member: MemberId,
        keys: &Keys,
        extra: Option<SecretKey>,
        network: NetworkId,
        sealed: impl Fn(&EntryId) -> bool,
    ) -> Vec<(Tag, Body)> {
        let mut said = Vec::new();
        if !self.admitted.contains(&member) {
            self.admitted.push(member);
            for key in [Some(keys.app.clone()), extra].into_iter().flatten() {
                let possession = prove_possession(network, &keys.root.public(), &key);
                let scope = Scope { bodies: None, agreements: None };
                let admit = AdmitKey { key: key.public(), scope, until: None, possession };
                said.push((Tag::Key, self.deed(Deed::AdmitKey(admit))));
            }
        }
        let is_sealed = |entry: Option<EntryId>| entry.filter(|entry| sealed(entry));
        if member == ASTER {
            if self.asset.is_none() {
                said.push((Tag::Asset, self.deed(licence::register(licence::MODEL))));
            } else if let (Some(asset), None) = (is_sealed(self.asset), self.version) {
                let publish = PublishVersion {
                    asset: asset.into(),
                    label: Name::new(licence::LABEL),
                    content: sha256(&[b"M1"]),
                    size_bytes: 2,
                    released: EPOCH,
                    risk: None,
                    training_flop_log2: None,
                };
                said.push((Tag::Version, self.deed(Deed::PublishVersion(publish))));
            } else if let (Some(asset), Some(_), None) = (self.asset, is_sealed(self.version), self.agreement)
            {
                let terms = licence::terms(licence::LICENCE, CEDAR, asset.into());
                let propose = Propose { terms, salt: SALT, deadline: None };
                said.push((Tag::Agreement, self.deed(Deed::Propose(propose))));
            }
        }
        if let (true, Some(asset), Some(agreement), None) =
            (member == CEDAR, self.asset, is_sealed(self.agreement), self.signed)
        {
            let terms_hash = licence::terms(licence::LICENCE, CEDAR, asset.into()).root(&SALT, None);
            let sign = Countersign { agreement: agreement.into(), version: 1, terms_hash };
            said.push((Tag::Signature, self.deed(Deed::Countersign(sign))));
        }
        said
    }

    /// What was said has become an entry.
    pub(crate) fn wrote(&mut self, tag: Tag, id: EntryId) {
        match tag {
            Tag::Key => {}
            Tag::Asset => self.asset = Some(id),
            Tag::Version => self.version = Some(id),
            Tag::Agreement => self.agreement = Some(id),
            Tag::Signature => self.signed = Some(id),
        }
    }

    /// What an application has to say.
    pub(crate) fn body(&mut self, random: &mut Random, member: MemberId) -> Body {
        let licensed = (member, self.agreement, self.version, self.signed);
        if let (CEDAR, Some(agreement), Some(version), Some(_)) = licensed {
            let context = licence::inference(agreement.into(), version.into(), CEDAR);
            let quantities: Vec<u64> = (0..=random.below(5)).map(|_| random.below(10_000)).collect();
            return licence::report(context, random.bits(), &quantities);
        }
        let mut deed = licence::register(&format!("Asset {}", self.count));
        if let Deed::RegisterAsset(asset) = &mut deed {
            asset.owners.iter_mut().for_each(|owner| owner.member = member);
        }
        self.deed(deed)
    }
}
