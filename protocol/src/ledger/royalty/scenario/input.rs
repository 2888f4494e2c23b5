//! What a scenario file says.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::ids::MemberId;
use crate::ledger::royalty::graph::EdgeMode;
use crate::ledger::royalty::terms::{Price, RevenueBase, Tier, TierMode};
use crate::money::{Currency, MoneyError, Ppm, Rate};

/// A whole scenario: who owns what, who takes a share of what, and what was used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The consortium's fee, ppm of every charge, at most 1,000,000.
    pub fee_ppm: u32,
    /// Who receives the fee.
    pub fee_member: MemberId,
    /// Assets by name.
    #[serde(deserialize_with = "unique_names")]
    pub assets: BTreeMap<String, Asset>,
    /// Royalty edges, in any order.
    #[serde(default)]
    pub edges: Vec<RoyaltyEdge>,
    /// What was used, each line rated by itself.
    pub lines: Vec<Line>,
    /// What turned out to be different later.
    #[serde(default)]
    pub corrections: Vec<Correction>,
}

/// An asset and its owners.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asset {
    /// In any order; each member once, at least one with a weight.
    pub owners: Vec<OwnerWeight>,
}

/// One owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnerWeight {
    /// Who.
    pub member: MemberId,
    /// Share: weight ÷ sum of weights.
    pub weight: u64,
}

/// The parent takes a share of what the child earns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoyaltyEdge {
    /// Name of the asset that was made from the parent.
    pub child: String,
    /// Name of the asset that earns.
    pub parent: String,
    /// `abs` or `rel`.
    pub mode: EdgeMode,
    /// The share.
    pub ppm: u32,
}

/// What one payer used of one asset in the period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Name of the line, unique.
    pub id: String,
    /// Who pays.
    pub payer: MemberId,
    /// Name of the asset that was used.
    pub asset: String,
    /// Of every amount of the line.
    pub currency: Currency,
    /// Units of the meter; minor units for a share of revenue. A flat term needs none.
    #[serde(default)]
    pub quantity: Option<u64>,
    /// The price.
    pub term: Term,
    /// The dynamic factor; 1,000,000 if absent.
    #[serde(default)]
    pub multiplier_ppm: Option<u32>,
    /// Minimum, minor units.
    #[serde(default)]
    pub min_minor: Option<u64>,
    /// Cap, minor units; wins over the minimum.
    #[serde(default)]
    pub cap_minor: Option<u64>,
}

/// The price of a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Term {
    /// Nothing.
    Free {},
    /// `minor` ÷ `per`, whatever was used.
    Flat {
        /// Minor units.
        minor: u64,
        /// Prorating divisor.
        per: u64,
    },
    /// `minor` for every `per` units, in proportion.
    PerUnit {
        /// Minor units.
        minor: u64,
        /// Units.
        per: u64,
    },
    /// `minor` for every package of `per` units begun.
    Package {
        /// Minor units.
        minor: u64,
        /// Units.
        per: u64,
    },
    /// A rate by quantity.
    Tiered {
        /// `graduated` or `volume`.
        mode: TierMode,
        /// Rising, the last open.
        tiers: Vec<TermTier>,
    },
    /// A share of revenue; the line's quantity is gross revenue in minor units.
    Revenue {
        /// The share, at most 1,000,000.
        ppm: u32,
    },
}

/// One tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TermTier {
    /// Last unit of the tier, inclusive; `null` for the last tier.
    pub up_to: Option<u64>,
    /// Minor units.
    pub minor: u64,
    /// Units.
    pub per: u64,
}

/// The quantity a line should have had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Correction {
    /// Id of the line.
    pub line: String,
    /// The right quantity.
    pub quantity: u64,
}

impl Term {
    /// The ledger's own type for this price.
    ///
    /// # Errors
    /// [`MoneyError::RatePerZero`] for a `per` of 0.
    pub fn price(&self) -> Result<Price, MoneyError> {
        Ok(match self {
            Self::Free {} => Price::Free,
            Self::Flat { minor, per } => Price::Flat(Rate::new(*minor, *per)?),
            Self::PerUnit { minor, per } => Price::PerUnit(Rate::new(*minor, *per)?),
            Self::Package { minor, per } => Price::Package(Rate::new(*minor, *per)?),
            Self::Tiered { mode, tiers } => {
                let tier =
                    |tier: &TermTier| Ok(Tier { up_to: tier.up_to, rate: Rate::new(tier.minor, tier.per)? });
                Price::Tiered {
                    mode: *mode,
                    tiers: tiers.iter().map(tier).collect::<Result<_, MoneyError>>()?,
                }
            }
            Self::Revenue { ppm } => Price::Revenue { share: Ppm::new(*ppm), base: RevenueBase::Gross },
        })
    }
}

/// A map whose names are all different: a repeated one would replace the first unseen.
fn unique_names<'de, D, V>(from: D) -> Result<BTreeMap<String, V>, D::Error>
where
    D: Deserializer<'de>,
    V: Deserialize<'de>,
{
    struct Unique<V>(PhantomData<V>);

    impl<'de, V: Deserialize<'de>> de::Visitor<'de> for Unique<V> {
        type Value = BTreeMap<String, V>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map of names that are all different")
        }

        fn visit_map<A: de::MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
            let mut map = BTreeMap::new();
            while let Some(name) = entries.next_key::<String>()? {
                let value = entries.next_value()?;
                if map.contains_key(&name) {
                    return Err(de::Error::custom(format_args!("the name {name:?} stands twice")));
                }
                map.insert(name, value);
            }
            Ok(map)
        }
    }

    from.deserialize_map(Unique(PhantomData))
}
