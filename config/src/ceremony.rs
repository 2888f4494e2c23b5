//! The ceremony: how founders arrive at one genesis that all of them signed.
//!
//! ```text
//! draft ─▶ add (a card each) ─▶ sign (each founder, on the one file or on copies) ─▶ merge ─▶ standing
//! ```
//!
//! *Invariants.* A signature is never lost unseen: what founders signed is not changed
//! while a signature stands under it. Nobody signs a charter that could found nothing, or
//! one in which it stands with other keys than its own card has. Signatures come in any
//! order.
//!
//! *Deliberately absent:* files (`genesis`, `card`, `key`), and the rules of a genesis
//! itself, which are `Genesis::verify`'s.

use std::path::{Path, PathBuf};

use syngraph_protocol::codec;
use syngraph_protocol::crypto::{self, Domain};
use syngraph_protocol::genesis::{
    Charter, CharterError, Founder, FounderSignature, GENESIS_VERSION, Genesis, GenesisError,
};
use syngraph_protocol::ids::{MemberId, NetworkId, PublicKey};
use syngraph_protocol::ledger::member::{MemberProfile, check_node_keys};
use syngraph_protocol::ledger::params::Params;
use syngraph_protocol::limits::MEMBERS_MAX;
use syngraph_protocol::name::Name;
use syngraph_protocol::time::UtcMs;

use crate::card::MemberCard;
use crate::file::{self, ConfigError};
use crate::key::Key;

/// Voting power of a founder that runs a node, if nobody says otherwise.
const POWER_DEFAULT: u64 = 1;

/// Why a step of the ceremony is refused.
#[derive(Debug, thiserror::Error)]
pub enum CeremonyError {
    /// The charter is no founding document.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// Signatures stand under what would change.
    #[error(
        "signatures under this charter: {count}; they would not hold for a changed one (--drop-signatures takes \
         them away)"
    )]
    Signed {
        /// How many.
        count: usize,
    },
    /// The founder is in already.
    #[error("{name}: the charter has {what} already")]
    FounderTwice {
        /// The founder's name.
        name: Name,
        /// What of it stands there: `this name` or a key.
        what: String,
    },
    /// The key is not a founder's root key.
    #[error("{root} is the root key of no founder in this charter")]
    NoFounder {
        /// The key.
        root: PublicKey,
    },
    /// A founder stands in the charter otherwise than in its own card.
    #[error("{name}: {what} in the charter is not what the card has; somebody changed it, so do not sign")]
    CardDiffers {
        /// The founder's name in its card.
        name: Name,
        /// What differs.
        what: &'static str,
    },
    /// Two copies are not of one charter.
    #[error("{} and {} are different charters: networks {network} and {other_network}",
        path.display(), other.display())]
    ChartersDiffer {
        /// The first copy.
        path: PathBuf,
        /// Another.
        other: PathBuf,
        /// What the first would found.
        network: NetworkId,
        /// What the other would found.
        other_network: NetworkId,
    },
    /// A copy has a signature that does not hold.
    #[error("{}: {source}", path.display())]
    Copy {
        /// The copy.
        path: PathBuf,
        /// What is wrong.
        source: CharterError,
    },
}

impl CeremonyError {
    /// The stable rule id of this refusal.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Genesis(error) => error.rule(),
            Self::Signed { .. } => "CER-SIGNED",
            Self::FounderTwice { .. } => "CER-FOUNDER-TWICE",
            Self::NoFounder { .. } => "CER-NO-FOUNDER",
            Self::CardDiffers { .. } => "CER-CARD-DIFFERS",
            Self::ChartersDiffer { .. } => "CER-CHARTERS-DIFFER",
            Self::Copy { source, .. } => source.rule(),
        }
    }
}

impl From<CharterError> for CeremonyError {
    fn from(error: CharterError) -> Self {
        Self::Genesis(error.into())
    }
}

/// Parameters with what these assignments say: `usage_grace_ms=7776000000`,
/// `fee.member=0`. What none says has its default.
///
/// # Errors
/// `CFG-SYNTAX` naming the parameter.
pub fn params(assignments: &[String]) -> Result<Params, ConfigError> {
    // Joined they are a TOML document, which knows types, dotted keys and repetitions.
    file::parse(&assignments.join("\n"), Path::new("--param"))
}

/// A charter without founders.
///
/// # Errors
/// `NAME-FORM`, `PAR-RULES`, `PAR-RANGE`.
pub fn draft(name: &str, time: UtcMs, params: Params) -> Result<Genesis, CeremonyError> {
    let name = Name::new(name);
    name.check().map_err(GenesisError::from)?;
    params.check().map_err(GenesisError::from)?;
    let charter = Charter { version: GENESIS_VERSION, name, time, params, members: Vec::new() };
    Ok(Genesis { charter, signatures: Vec::new() })
}

/// Adds a founder. Without `power` it has 1 if it runs a node, else 0.
///
/// # Errors
/// `CER-SIGNED`, `CER-FOUNDER-TWICE`, `GEN-MEMBERS`, `MEM-NEEDS-NODE`.
pub fn add(genesis: &mut Genesis, card: &MemberCard, power: Option<u64>) -> Result<MemberId, CeremonyError> {
    let members = &mut genesis.charter.members;
    if !genesis.signatures.is_empty() {
        return Err(CeremonyError::Signed { count: genesis.signatures.len() });
    }
    let count = members.len().saturating_add(1);
    if count > MEMBERS_MAX {
        return Err(CharterError::Members { count }.into());
    }
    let profile = card.profile.clone();
    let twice = |what: String| CeremonyError::FounderTwice { name: profile.name.clone(), what };
    if members.iter().any(|founder| founder.profile.name == profile.name) {
        return Err(twice("a founder of this name".to_owned()));
    }
    let known: Vec<PublicKey> = members.iter().flat_map(|founder| keys(&founder.profile)).collect();
    if let Some(key) = keys(&profile).into_iter().find(|key| known.contains(key)) {
        return Err(twice(format!("key {key}")));
    }
    let power = power.unwrap_or(if profile.node.is_some() { POWER_DEFAULT } else { 0 });
    check_node_keys(power, &profile).map_err(GenesisError::from)?;
    let id = u32::try_from(members.len()).unwrap_or(u32::MAX);
    members.push(Founder { profile, power });
    Ok(MemberId::new(id))
}

fn keys(profile: &MemberProfile) -> Vec<PublicKey> {
    profile.keys().map(|(key, _)| key).collect()
}

/// Signs with a founder's root key, and says whether the signature is new. `card` is the
/// signer's own: what it wants to stand there.
///
/// # Errors
/// `CER-NO-FOUNDER`, `CER-CARD-DIFFERS`; whatever keeps the charter from founding a
/// network; `GEN-SIGNATURE` and `GEN-STRANGER` for what is signed already.
pub fn sign(genesis: &mut Genesis, root: &Key, card: Option<&MemberCard>) -> Result<bool, CeremonyError> {
    let charter = &genesis.charter;
    charter.check()?;
    let key = root.public();
    let founder = charter.members.iter().find(|founder| founder.profile.root == key);
    let founder = founder.ok_or(CeremonyError::NoFounder { root: key })?;
    if let Some(card) = card {
        same(card, founder)?;
    }
    check_signatures(genesis)?;
    if genesis.signatures.iter().any(|signature| signature.root == key) {
        return Ok(false);
    }
    let signature = charter.sign(root.secret());
    genesis.signatures.push(signature);
    sort(genesis);
    Ok(true)
}

/// Compares a founder with its card.
fn same(card: &MemberCard, founder: &Founder) -> Result<(), CeremonyError> {
    let (own, theirs) = (&card.profile, &founder.profile);
    let differing = [
        ("the root key", own.root != theirs.root),
        ("the name", own.name != theirs.name),
        ("the jurisdiction", own.jurisdiction != theirs.jurisdiction),
        ("a key of the node", own.node != theirs.node),
    ];
    match differing.into_iter().find(|(_, differs)| *differs) {
        Some((what, _)) => Err(CeremonyError::CardDiffers { name: own.name.clone(), what }),
        None => Ok(()),
    }
}

/// Every signature is a founder's, holds, and stands once.
fn check_signatures(genesis: &Genesis) -> Result<(), CharterError> {
    let message = codec::encode(&genesis.charter);
    for (position, FounderSignature { root, signature }) in genesis.signatures.iter().enumerate() {
        let founder = genesis.charter.members.iter().any(|founder| founder.profile.root == *root);
        let earlier = genesis.signatures.iter().take(position).any(|other| other.root == *root);
        if !founder || earlier {
            return Err(CharterError::Stranger { root: *root });
        }
        crypto::verify(root, Domain::GENESIS, &message, signature)
            .map_err(|_| CharterError::Signature { root: *root })?;
    }
    Ok(())
}

/// Puts signatures in the order of the founders, so that copies with the same signatures
/// are the same file.
fn sort(genesis: &mut Genesis) {
    let members = &genesis.charter.members;
    let place = |root: &PublicKey| members.iter().position(|founder| founder.profile.root == *root);
    genesis.signatures.sort_by_key(|signature| place(&signature.root));
}

/// One genesis with every signature that any copy has; `None` without a copy.
///
/// # Errors
/// `CER-CHARTERS-DIFFER`; `GEN-SIGNATURE` and `GEN-STRANGER` naming the copy.
pub fn merge(copies: &[(PathBuf, Genesis)]) -> Result<Option<Genesis>, CeremonyError> {
    let Some((path, first)) = copies.first() else { return Ok(None) };
    let mut merged = Genesis { charter: first.charter.clone(), signatures: Vec::new() };
    for (other, copy) in copies {
        if copy.charter != first.charter {
            let (network, other_network) = (first.charter.network(), copy.charter.network());
            let (path, other) = (path.clone(), other.clone());
            return Err(CeremonyError::ChartersDiffer { path, other, network, other_network });
        }
        check_signatures(copy).map_err(|source| CeremonyError::Copy { path: other.clone(), source })?;
        for signature in &copy.signatures {
            if merged.signatures.iter().all(|known| known.root != signature.root) {
                merged.signatures.push(signature.clone());
            }
        }
    }
    sort(&mut merged);
    Ok(Some(merged))
}

/// How far a ceremony has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The network that the charter founds once all have signed it.
    pub network: NetworkId,
    /// The founders, in order of their ids.
    pub founders: Vec<FounderStanding>,
    /// What keeps it from founding a network; `None` if nothing does.
    pub missing: Option<GenesisError>,
}

/// How far one founder has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FounderStanding {
    /// Its id.
    pub member: MemberId,
    /// Its name.
    pub name: Name,
    /// Its voting power.
    pub power: u64,
    /// Its root key.
    pub root: PublicKey,
    /// Whether a signature of it stands there and holds.
    pub signed: bool,
}

/// How far the ceremony has come.
#[must_use]
pub fn standing(genesis: &Genesis) -> Standing {
    let message = codec::encode(&genesis.charter);
    let holds = |root: &PublicKey, signed: &FounderSignature| {
        signed.root == *root && crypto::verify(root, Domain::GENESIS, &message, &signed.signature).is_ok()
    };
    let founders = genesis.charter.numbered().map(|(member, Founder { profile, power })| FounderStanding {
        member,
        name: profile.name.clone(),
        power: *power,
        root: profile.root,
        signed: genesis.signatures.iter().any(|signed| holds(&profile.root, signed)),
    });
    Standing {
        network: genesis.charter.network(),
        founders: founders.collect(),
        missing: genesis.verify().err(),
    }
}

#[cfg(test)]
mod tests {
    use syngraph_protocol::crypto::SecretKey;

    use super::*;
    use crate::card::tests::card;

    fn root(seed: u8) -> Key {
        Key::new(SecretKey::from_seed(&[seed; 32]), "root")
    }

    fn cast() -> [MemberCard; 3] {
        [card("Aster", 10), card("Birch", 20), card("Cedar", 30)]
    }

    fn drafted() -> Genesis {
        let mut genesis =
            draft("Example", UtcMs::from_ms(1_700_000_000_000), Params::default()).expect("sound");
        for card in cast() {
            add(&mut genesis, &card, None).expect("a new founder");
        }
        genesis
    }

    fn rule<T>(result: Result<T, CeremonyError>) -> Option<&'static str> {
        result.err().map(|error| error.rule())
    }

    #[test]
    fn founders_sign_in_any_order_and_the_file_is_the_same() {
        let (mut one, mut other) = (drafted(), drafted());
        let copies = [30, 10, 20].map(|seed| {
            assert!(sign(&mut one, &root(seed), None).expect("a founder"));
            let mut copy = drafted();
            let [aster, birch, cedar] = cast();
            let card = [(10, aster), (20, birch), (30, cedar)].into_iter().find(|(own, _)| *own == seed);
            sign(&mut copy, &root(seed), card.as_ref().map(|(_, card)| card)).expect("as its card");
            (PathBuf::from(format!("{seed}.toml")), copy)
        });
        for seed in [10, 20, 30] {
            sign(&mut other, &root(seed), None).expect("a founder");
        }
        assert!(!sign(&mut one, &root(10), None).expect("a founder"), "signed already");
        let merged = merge(&copies).expect("one charter").expect("copies");
        assert_eq!((&one, &one), (&other, &merged));
        assert_eq!(standing(&one).missing, None);
        assert_eq!(one.verify(), Ok(standing(&one).network));
    }

    #[test]
    fn who_has_not_signed_is_named() {
        let mut genesis = drafted();
        sign(&mut genesis, &root(20), None).expect("a founder");
        let standing = standing(&genesis);
        let signed: Vec<_> = standing.founders.iter().map(|f| (f.name.as_str(), f.power, f.signed)).collect();
        assert_eq!(signed, [("Aster", 1, false), ("Birch", 1, true), ("Cedar", 1, false)]);
        assert_eq!(standing.missing.map(|error| error.rule()), Some("GEN-UNSIGNED"));
    }

    #[test]
    fn a_founder_is_added_once_and_before_anybody_signs() {
        let mut genesis = drafted();
        assert_eq!(rule(add(&mut genesis, &card("Aster", 40), None)), Some("CER-FOUNDER-TWICE"));
        assert_eq!(rule(add(&mut genesis, &card("Dill", 32), None)), Some("CER-FOUNDER-TWICE"));
        let mut without = card("Dill", 40);
        (without.profile.node, without.reach) = (None, None);
        assert_eq!(rule(add(&mut genesis, &without, Some(1))), Some("MEM-NEEDS-NODE"));
        let id = add(&mut genesis, &without, None).expect("no node, no power");
        assert_eq!((id.get(), genesis.charter.members[3].power), (3, 0));
        sign(&mut genesis, &root(10), None).expect("a founder");
        assert_eq!(rule(add(&mut genesis, &card("Elder", 50), None)), Some("CER-SIGNED"));
    }

    #[test]
    fn nobody_signs_what_it_should_not() {
        let signing = |genesis: &mut Genesis, seed, card: &MemberCard| sign(genesis, &root(seed), Some(card));
        let [aster, birch, _] = cast();
        assert_eq!(rule(signing(&mut drafted(), 90, &aster)), Some("CER-NO-FOUNDER"));
        assert_eq!(rule(signing(&mut drafted(), 10, &birch)), Some("CER-CARD-DIFFERS"));
        let mut changed = drafted();
        changed.charter.members[0].profile.node = card("Aster", 60).profile.node;
        assert_eq!(rule(signing(&mut changed, 10, &aster)), Some("CER-CARD-DIFFERS"));
        let mut powerless = drafted();
        powerless.charter.members.iter_mut().for_each(|founder| founder.power = 0);
        assert_eq!(rule(signing(&mut powerless, 10, &aster)), Some("GEN-POWER"));
        let mut tampered = drafted();
        signing(&mut tampered, 10, &aster).expect("as its card");
        tampered.charter.members[1].power = 2;
        assert_eq!(rule(signing(&mut tampered, 20, &birch)), Some("GEN-SIGNATURE"));
        assert!(standing(&tampered).founders.iter().all(|founder| !founder.signed));
    }

    #[test]
    fn copies_that_do_not_belong_together_are_refused() {
        let copy = |change: fn(&mut Genesis)| {
            let mut genesis = drafted();
            sign(&mut genesis, &root(10), None).expect("a founder");
            change(&mut genesis);
            (PathBuf::from("copy.toml"), genesis)
        };
        assert!(merge(&[]).expect("nothing is wrong").is_none());
        for (change, expected) in [
            (
                (|genesis| genesis.charter.name = Name::new("Other")) as fn(&mut Genesis),
                "CER-CHARTERS-DIFFER",
            ),
            (|genesis| genesis.signatures[0].root = root(20).public(), "GEN-SIGNATURE"),
            (|genesis| genesis.signatures[0].root = root(90).public(), "GEN-STRANGER"),
            (|genesis| genesis.signatures.push(genesis.signatures[0].clone()), "GEN-STRANGER"),
        ] {
            assert_eq!(rule(merge(&[copy(|_| {}), copy(change)])), Some(expected));
        }
    }

    #[test]
    fn parameters_are_set_by_name() {
        let set = |assignments: &[&str]| {
            params(&assignments.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(set(&[]).expect("nothing is wrong"), Params::default());
        let given = set(&["heartbeat_ms=500", "fee.member = 0", "fee.ppm=25000"]).expect("known");
        assert_eq!((given.heartbeat_ms, given.fee.map(|fee| fee.ppm.get())), (500, Some(25_000)));
        for (text, expected) in [
            ("heartbeat=5", "--param:1: heartbeat: unknown field"),
            ("heartbeat_ms=\"a\"", "--param:1: heartbeat_ms: invalid type"),
            ("heartbeat_ms=1\nheartbeat_ms=2", "--param:2: heartbeat_ms: duplicate key"),
            ("heartbeat_ms", "--param:1: "),
        ] {
            let error = set(&[text]).expect_err(text);
            assert!(error.to_string().starts_with(expected), "{error}");
        }
        let bad = Params { heartbeat_ms: 1, ..Params::default() };
        assert_eq!(rule(draft("Example", UtcMs::from_ms(0), bad)), Some("PAR-RANGE"));
        assert_eq!(rule(draft(" ", UtcMs::from_ms(0), Params::default())), Some("NAME-FORM"));
    }
}
