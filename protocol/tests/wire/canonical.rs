//! One value, one encoding: whatever the value, whatever is done to its bytes.

use std::fmt::Debug;
use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::Index;
use serde::{Serialize, de::DeserializeOwned};
use syngraph_protocol::block::{Block, Cut, Header};
use syngraph_protocol::certificate::{self, Certificate, MemberSet, Vote};
use syngraph_protocol::codec::{decode, encode};
use syngraph_protocol::entry::{Body, Head, SignedEntry, VerifiedEntry};
use syngraph_protocol::genesis::{Charter, Genesis};
use syngraph_protocol::ids::Signature;
use syngraph_protocol::journal::Tip;
use syngraph_protocol::ledger::Outcome;
use syngraph_protocol::ledger::agreement::{Agreement, AgreementVersion, Pin, Terms};
use syngraph_protocol::ledger::asset::{Asset, Version};
use syngraph_protocol::ledger::equivocation::{Equivocation, Evidence, Offence};
use syngraph_protocol::ledger::finding::Finding;
use syngraph_protocol::ledger::lineage::Link;
use syngraph_protocol::ledger::member::{Key, Member};
use syngraph_protocol::ledger::params::Params;
use syngraph_protocol::ledger::period::{Accrual, Carried, Due, Line, LineKey, LineTotal, Period};
use syngraph_protocol::ledger::proposal::Proposal;
use syngraph_protocol::ledger::usage::event_ids::EventDay;
use syngraph_protocol::ledger::usage::{Metered, Total};
use syngraph_protocol::merkle::Frontier;

use crate::generate::{Generate, Source};
use crate::samples::{NETWORK, bodies, signed};

/// Longer than anything the generator makes.
const LEN_MAX: usize = 1 << 20;

/// Bytes that a value is made of.
fn seed() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..1_500)
}

/// What is done to the bytes of a message.
#[derive(Clone, Debug)]
enum Damage {
    Change { at: Index, by: u8 },
    Cut { at: Index },
    Extend { with: Vec<u8> },
    Insert { at: Index, byte: u8 },
    Drop { at: Index },
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<Index>;
    prop_oneof![
        4 => (at(), 1..=u8::MAX).prop_map(|(at, by)| Damage::Change { at, by }),
        1 => at().prop_map(|at| Damage::Cut { at }),
        1 => prop::collection::vec(any::<u8>(), 1..4).prop_map(|with| Damage::Extend { with }),
        1 => (at(), any::<u8>()).prop_map(|(at, byte)| Damage::Insert { at, byte }),
        1 => at().prop_map(|at| Damage::Drop { at }),
    ]
}

impl Damage {
    /// The damaged bytes; the same ones if there was nothing to damage.
    fn on(&self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        let len = bytes.len();
        match self {
            Self::Extend { with } => bytes.extend(with),
            Self::Insert { at, byte } => bytes.insert(at.index(len + 1), *byte),
            _ if len == 0 => {}
            Self::Change { at, by } => bytes[at.index(len)] ^= by,
            Self::Cut { at } => bytes.truncate(at.index(len)),
            Self::Drop { at } => {
                bytes.remove(at.index(len));
            }
        }
        bytes
    }
}

/// Checks the laws of one type on one value and one damage.
fn laws<T>(seed: &[u8], damage: &Damage) -> Result<(), TestCaseError>
where
    T: Generate + Serialize + DeserializeOwned + PartialEq + Debug,
{
    let value: T = Source::new(seed).make();
    let bytes = encode(&value);
    let read = decode::<T>(&bytes, LEN_MAX);
    prop_assert_eq!(read.as_ref(), Ok(&value));
    let too_short = bytes.len().checked_sub(1).map(|max| decode::<T>(&bytes, max).map_err(|e| e.rule()));
    prop_assert!(matches!(too_short, None | Some(Err("ENC-TOO-LONG"))));
    let damaged = damage.on(&bytes);
    if damaged == bytes {
        return Ok(());
    }
    match decode::<T>(&damaged, LEN_MAX) {
        // Encodings are prefix-free: less or more of one is none.
        Ok(_) if matches!(damage, Damage::Cut { .. } | Damage::Extend { .. }) => {
            return Err(TestCaseError::fail("a cut or extended encoding was accepted"));
        }
        Ok(other) => prop_assert_ne!(other, value),
        Err(_) => {}
    }
    Ok(())
}

macro_rules! all_types {
    ($($name:ident: $type:ty,)+) => {
        proptest! {
            #![proptest_config(ProptestConfig::with_cases(1_000))]
            $(
                #[test]
                fn $name(seed in seed(), damage in damage()) {
                    laws::<$type>(&seed, &damage)?;
                }
            )+
        }
    };
}

all_types! {
    head: Head,
    signed_entry: SignedEntry,
    body: Body,
    cut: Cut,
    header: Header,
    block: Block,
    vote: Vote,
    certificate: Certificate,
    member_set: MemberSet,
    charter: Charter,
    genesis: Genesis,
    outcome: Outcome,
    params: Params,
    tip: Tip,
    frontier: Frontier,
    member: Member,
    key: Key,
    proposal: Proposal,
    asset: Asset,
    version: Version,
    link: Link,
    terms: Terms,
    agreement: Agreement,
    agreement_version: AgreementVersion,
    pin: Pin,
    metered: Metered,
    total: Total,
    event_day: EventDay,
    period: Period,
    line: Line,
    line_total: LineTotal,
    accrual: Accrual,
    carried: Carried,
    due: Due,
    finding: Finding,
    proposed: certificate::Proposal,
    evidence: Evidence,
    offence: Offence,
    equivocation: Equivocation,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Any bytes at all: a value in its one encoding, or a refusal.
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(entry) = decode::<SignedEntry>(&bytes, LEN_MAX) {
            prop_assert_eq!(encode(&entry), bytes.as_slice());
        }
        if let Ok(line) = decode::<LineKey>(&bytes, LEN_MAX) {
            prop_assert_eq!(encode(&line), bytes.as_slice());
        }
        prop_assert!(VerifiedEntry::decode(&bytes, NETWORK).is_err());
    }

    /// The stateless checks answer whatever is asked, and their refusals have a rule id.
    #[test]
    fn any_body_is_checked(seed in seed()) {
        let body: Body = Source::new(&seed).make();
        if let Err(refusal) = body.check() {
            prop_assert!(refusal.rule().bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-'));
        }
        let genesis: Genesis = Source::new(&seed).make();
        prop_assert!(genesis.verify().is_err());
    }

    /// In JSON the same fields: an entry that goes through it keeps its bytes.
    #[test]
    fn json_keeps_an_entry(seed in seed()) {
        let entry: SignedEntry = Source::dated(&seed).make();
        let json = serde_json::to_string(&entry).expect("entries have a JSON form");
        let read: SignedEntry = serde_json::from_str(&json).expect("its own output");
        prop_assert_eq!(encode(&read), encode(&entry));
    }

    #[test]
    fn a_damaged_entry_is_refused(which in any::<Index>(), damage in damage()) {
        let bytes = &entries()[which.index(entries().len())];
        let damaged = damage.on(bytes);
        let refused = VerifiedEntry::decode(&damaged, NETWORK).is_err();
        prop_assert_eq!(refused, damaged != *bytes);
    }
}

/// The bytes of one signed entry of each kind.
fn entries() -> &'static [Vec<u8>] {
    static ENTRIES: LazyLock<Vec<Vec<u8>>> =
        LazyLock::new(|| bodies().into_iter().map(|(_, body)| encode(&signed(body))).collect());
    &ENTRIES
}

#[test]
fn no_bit_of_an_entry_is_loose() {
    for bytes in entries() {
        assert!(VerifiedEntry::decode(bytes, NETWORK).is_ok());
        for (at, bit) in (0..bytes.len()).zip([1_u8, 2, 4, 8, 16, 32, 64, 128].into_iter().cycle()) {
            let mut flipped = bytes.clone();
            flipped[at] ^= bit;
            assert!(VerifiedEntry::decode(&flipped, NETWORK).is_err(), "bit {bit} of byte {at}");
        }
    }
}

/// RFC 8032 §5.1.7: S must be below the group order L, or S + L would be a second
/// signature over the same head, and another entry id.
#[test]
fn a_signature_has_no_twin() {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    for (_, body) in bodies() {
        let mut entry = signed(body);
        let mut twin = *entry.signature.as_bytes();
        let mut carry = 0;
        for (byte, order) in twin[32..].iter_mut().zip(ORDER) {
            let [sum, over] = (u16::from(*byte) + u16::from(order) + carry).to_le_bytes();
            (*byte, carry) = (sum, u16::from(over));
        }
        assert_eq!(carry, 0, "S + L fits its 32 bytes");
        entry.signature = Signature::from_bytes(twin);
        let refused = VerifiedEntry::verify(entry, NETWORK).map_err(|error| error.rule());
        assert_eq!(refused.map(|_| ()), Err("SIG-INVALID"));
    }
}
