//! The waterfall: from one line's charge to every owner's share.
//!
//! Steps 6 to 10 of domain §6: consortium fee, absolute edges of the ancestor closure
//! (each once), relative edges from descendants to ancestors, owners or pool weights.
//! Every hop is one posting, split by largest remainder in micros.
//!
//! *Invariants.* Each [`Posting`] sums to 0. Node accounts are 0 at the end. A share that
//! falls back to the payer goes back to the account that was charged: nobody owes it, and
//! the distribution states it as the self leg; so charge = receivables + self leg.
//! [`Distribution::prove`] re-proves all of it for an auditor.
//!
//! *Deliberately absent:* the currency (one line has one), and memory: a correction is a
//! second distribution and the [`difference`] of the two.

use std::collections::BTreeMap;
use std::fmt::{Debug, Display};

use serde::{Deserialize, Serialize};

use crate::ids::MemberId;
use crate::money::{Micro, MoneyError, Ppm, Weight, largest_remainder};

use super::graph::{GraphError, Lineage};

/// Why a charge cannot be distributed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WaterfallError<K: Debug + Display> {
    /// A sum out of range, a negative charge.
    #[error(transparent)]
    Money(#[from] MoneyError),
    /// An absolute stack above 100 %.
    #[error(transparent)]
    Graph(#[from] GraphError<K>),
    /// A fee above 100 %.
    #[error("a fee of {ppm} ppm is more than 100 %")]
    FeeOver100 {
        /// The fee.
        ppm: u32,
    },
    /// A charge on no asset at all.
    #[error("the line names no asset")]
    NoAsset,
    /// An asset whose owners have no weight together.
    #[error("the owners' weights of {asset} sum to 0")]
    Orphan {
        /// The asset.
        asset: K,
    },
    /// One member twice among an asset's owners.
    #[error("member {member} stands twice among the owners of {asset}")]
    DuplicateOwner {
        /// The asset.
        asset: K,
        /// The member.
        member: MemberId,
    },
}

impl<K: Debug + Display> WaterfallError<K> {
    /// The stable rule id of this refusal.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Money(error) => error.rule(),
            Self::Graph(error) => error.rule(),
            Self::FeeOver100 { .. } => "FEE-OVER-100",
            Self::NoAsset => "LINE-NO-ASSET",
            Self::Orphan { .. } => "SPLIT-ORPHAN",
            Self::DuplicateOwner { .. } => "SPLIT-DUPLICATE",
        }
    }
}

/// One owner of an asset, or one participant of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owner {
    /// Who.
    pub member: MemberId,
    /// Its share of what the asset keeps.
    pub weight: Weight,
}

/// What the consortium keeps of every charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fee {
    /// Share of the charge, at most 100 %.
    pub ppm: Ppm,
    /// Who receives it.
    pub member: MemberId,
}

/// Where micros can stand.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Account<K> {
    /// What a member is charged; negative by the charge less its self leg.
    Payer(MemberId),
    /// On its way through an asset.
    Node(K),
    /// What a member other than the payer is owed.
    Payee(MemberId),
}

/// Which step moved the micros.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hop<K> {
    /// From the payer to the fee and the asset that was used.
    Charge(K),
    /// From the asset that was used along all absolute edges of its closure.
    Absolute(K),
    /// From an asset to its parents.
    Relative(K),
    /// From an asset to its owners.
    Owners(K),
}

/// One side of a posting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leg<K> {
    /// Where.
    pub account: Account<K>,
    /// For a leg along an edge, the child of that edge.
    pub via: Option<K>,
    /// How much comes (above 0) or goes; never 0.
    pub micros: Micro,
}

/// A balanced movement: its legs sum to 0. The first leg is the one that is split, the
/// others stand in the order of domain §6's ties.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Posting<K> {
    /// Which step.
    pub hop: Hop<K>,
    /// The sides; none of them 0.
    pub legs: Vec<Leg<K>>,
}

impl<K: Clone> Posting<K> {
    /// The posting that undoes this one. A correction posts the old ones reversed, then
    /// the new ones.
    ///
    /// # Errors
    /// [`MoneyError::Range`] for a leg of the lowest i128, which no split produces.
    pub fn reversed(&self) -> Result<Self, MoneyError> {
        let turn = |leg: &Leg<K>| Ok(Leg { micros: leg.micros.checked_neg()?, ..leg.clone() });
        Ok(Self { hop: self.hop.clone(), legs: self.legs.iter().map(turn).collect::<Result<_, _>>()? })
    }
}

/// What a member gets of a line, or of a correction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// Who.
    pub member: MemberId,
    /// How much; negative only in a correction, never 0.
    pub micros: Micro,
}

/// Where one line's charge went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distribution<K> {
    /// Who pays.
    pub payer: MemberId,
    /// What was charged.
    pub charge: Micro,
    /// Every hop, in order.
    pub postings: Vec<Posting<K>>,
    /// Everybody's share, by member, the payer's own included. Sums to the charge.
    pub shares: Vec<Share>,
}

/// The rules of one run: they hold for every line of it.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a, K, O> {
    /// The royalty edges.
    pub lineage: &'a Lineage<K>,
    /// The owners, or pool weights, of an asset, in any order; none if it is unknown.
    pub owners: O,
    /// The consortium's fee.
    pub fee: Fee,
}

/// Distributes the charge of one line.
///
/// `assets` are the asset versions that the line names, each with the quantity used. The
/// charge is split over them by quantity, or equally if nothing was used.
///
/// # Errors
/// See [`WaterfallError`]. A charge of 0 has no posting, and is refused for the same
/// reasons as any other.
pub fn distribute<K, O>(
    payer: MemberId,
    charge: Micro,
    assets: &[(K, u64)],
    rules: &Rules<'_, K, O>,
) -> Result<Distribution<K>, WaterfallError<K>>
where
    K: Ord + Clone + Debug + Display,
    O: Fn(&K) -> Vec<Owner>,
{
    let mut run = Run { payer, rules, postings: Vec::new(), nodes: BTreeMap::new(), shares: BTreeMap::new() };
    for (asset, part) in split_over(charge, assets)? {
        run.line(&asset, part)?;
    }
    let shares = run.shares.into_iter().map(|(member, micros)| Share { member, micros });
    let shares = shares.filter(|share| !share.micros.is_zero()).collect();
    Ok(Distribution { payer, charge, postings: run.postings, shares })
}

/// The charge of each asset, by asset id.
fn split_over<K>(charge: Micro, assets: &[(K, u64)]) -> Result<Vec<(K, Micro)>, WaterfallError<K>>
where
    K: Ord + Clone + Debug + Display,
{
    let mut used: BTreeMap<&K, u128> = BTreeMap::new();
    for (asset, quantity) in assets {
        let sum = used.entry(asset).or_default();
        *sum = sum.checked_add(u128::from(*quantity)).ok_or(MoneyError::Range)?;
    }
    if used.is_empty() {
        return Err(WaterfallError::NoAsset);
    }
    let unused = used.values().all(|&quantity| quantity == 0);
    let weights: Vec<u128> = used.values().map(|&quantity| if unused { 1 } else { quantity }).collect();
    let parts = largest_remainder(charge.get(), &weights)?;
    Ok(used.into_keys().cloned().zip(parts.into_iter().map(Micro::new)).collect())
}

/// Where a part of a split goes: an account, and the child of the edge that leads there.
type Target<K> = (Account<K>, Option<K>);

struct Run<'a, K, O> {
    payer: MemberId,
    rules: &'a Rules<'a, K, O>,
    postings: Vec<Posting<K>>,
    /// What each asset has received and not yet passed on.
    nodes: BTreeMap<K, Micro>,
    shares: BTreeMap<MemberId, Micro>,
}

impl<K, O> Run<'_, K, O>
where
    K: Ord + Clone + Debug + Display,
    O: Fn(&K) -> Vec<Owner>,
{
    fn line(&mut self, asset: &K, charge: Micro) -> Result<(), WaterfallError<K>> {
        let Rules { lineage, fee, .. } = *self.rules;
        let net = fee.ppm.rest().ok_or(WaterfallError::FeeOver100 { ppm: fee.ppm.get() })?;
        let split = [(self.member(fee.member), fee.ppm), (Account::Node(asset.clone()), net)];
        let split = split.map(|(account, ppm)| ((account, None), weight(ppm)));
        self.post(Hop::Charge(asset.clone()), Account::Payer(self.payer), charge, split.to_vec())?;

        let absolute = lineage.absolute(asset)?;
        let edges = absolute.into_iter().map(|edge| (&edge.child, &edge.parent, edge.ppm));
        self.along(Hop::Absolute(asset.clone()), asset, edges)?;
        for node in lineage.order(asset) {
            let edges = lineage.relative(node).map(|edge| (&edge.child, &edge.parent, edge.ppm));
            self.along(Hop::Relative(node.clone()), node, edges)?;
            self.pay_owners(node)?;
        }
        Ok(())
    }

    /// Moves what edges take of a node; its own share stays where it is.
    fn along<'e>(
        &mut self,
        hop: Hop<K>,
        from: &K,
        edges: impl Iterator<Item = (&'e K, &'e K, Ppm)>,
    ) -> Result<(), WaterfallError<K>>
    where
        K: 'e,
    {
        let mut own = u128::from(Ppm::ONE.get());
        let mut split = Vec::new();
        for (child, parent, ppm) in edges {
            // The lineage proved that a stack takes no more than 100 %.
            own = own.checked_sub(weight(ppm)).ok_or(MoneyError::Range)?;
            split.push(((Account::Node(parent.clone()), Some(child.clone())), weight(ppm)));
        }
        split.push(((Account::Node(from.clone()), None), own));
        let received = self.nodes.get(from).copied().unwrap_or_default();
        self.post(hop, Account::Node(from.clone()), received, split)
    }

    fn pay_owners(&mut self, node: &K) -> Result<(), WaterfallError<K>> {
        let mut owners = (self.rules.owners)(node);
        owners.sort_by_key(|owner| owner.member);
        for (owner, next) in owners.iter().zip(owners.iter().skip(1)) {
            if owner.member == next.member {
                return Err(WaterfallError::DuplicateOwner { asset: node.clone(), member: owner.member });
            }
        }
        let target = |owner: &Owner| ((self.member(owner.member), None), u128::from(owner.weight.get()));
        let split = owners.iter().map(target).collect();
        let own = self.nodes.get(node).copied().unwrap_or_default();
        let posted = self.post(Hop::Owners(node.clone()), Account::Node(node.clone()), own, split);
        posted.map_err(|error| match error {
            WaterfallError::Money(MoneyError::NoWeight) => WaterfallError::Orphan { asset: node.clone() },
            other => other,
        })
    }

    /// A member's account: the charged one if it is the payer.
    fn member(&self, member: MemberId) -> Account<K> {
        if member == self.payer { Account::Payer(member) } else { Account::Payee(member) }
    }

    /// Splits `total` over the targets and books it. What comes back to `from` is no
    /// movement, unless `from` is the payer: that is its self leg.
    fn post(
        &mut self,
        hop: Hop<K>,
        from: Account<K>,
        total: Micro,
        split: Vec<(Target<K>, u128)>,
    ) -> Result<(), WaterfallError<K>> {
        let weights: Vec<u128> = split.iter().map(|(_, weight)| *weight).collect();
        let parts = largest_remainder(total.get(), &weights)?;
        let mut moved = Micro::ZERO;
        let mut legs = Vec::new();
        for (((account, via), _), part) in split.into_iter().zip(parts) {
            let stays = account == from && matches!(account, Account::Node(_));
            if stays || part == 0 {
                continue;
            }
            let micros = Micro::new(part);
            moved = moved.checked_add(micros)?;
            self.receive(&account, micros)?;
            legs.push(Leg { account, via, micros });
        }
        if moved.is_zero() {
            return Ok(());
        }
        if let Account::Node(asset) = &from {
            let left = self.nodes.entry(asset.clone()).or_default();
            *left = left.checked_sub(moved)?;
        }
        legs.insert(0, Leg { account: from, via: None, micros: moved.checked_neg()? });
        self.postings.push(Posting { hop, legs });
        Ok(())
    }

    fn receive(&mut self, account: &Account<K>, micros: Micro) -> Result<(), MoneyError> {
        let balance = match account {
            Account::Node(asset) => self.nodes.entry(asset.clone()).or_default(),
            Account::Payer(member) | Account::Payee(member) => self.shares.entry(*member).or_default(),
        };
        *balance = balance.checked_add(micros)?;
        Ok(())
    }
}

fn weight(ppm: Ppm) -> u128 {
    u128::from(ppm.get())
}

/// What fails to hold of a distribution that claims to conserve money.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("money is not conserved: {what}")]
pub struct NotConserved {
    /// The law that is broken.
    pub what: &'static str,
}

impl NotConserved {
    /// The stable rule id of this refusal.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        "MONEY-NOT-CONSERVED"
    }
}

impl<K: Ord> Distribution<K> {
    /// What falls back to the payer: a memo, owed by nobody.
    #[must_use]
    pub fn self_leg(&self) -> Micro {
        let own = self.shares.iter().find(|share| share.member == self.payer);
        own.map_or(Micro::ZERO, |share| share.micros)
    }

    /// What the payer owes to others, by member.
    pub fn receivables(&self) -> impl Iterator<Item = &Share> {
        self.shares.iter().filter(|share| share.member != self.payer)
    }

    /// Proves from the postings alone that every posting is balanced, that nothing stays
    /// on a node, and that the shares are what the postings paid and sum to the charge.
    ///
    /// # Errors
    /// [`NotConserved`] naming the first law that is broken.
    pub fn prove(&self) -> Result<(), NotConserved> {
        let law = |holds: bool, what| if holds { Ok(()) } else { Err(NotConserved { what }) };
        let mut balances: BTreeMap<&Account<K>, Micro> = BTreeMap::new();
        for posting in &self.postings {
            let sum = Micro::sum(posting.legs.iter().map(|leg| leg.micros));
            law(sum == Ok(Micro::ZERO), "a posting does not sum to 0")?;
            for leg in &posting.legs {
                let balance = balances.entry(&leg.account).or_default();
                *balance = balance
                    .checked_add(leg.micros)
                    .map_err(|_| NotConserved { what: "a balance overflows" })?;
            }
        }
        let mut shares = BTreeMap::new();
        let mut payer = Micro::ZERO;
        for (account, balance) in balances {
            match account {
                Account::Node(_) => law(balance.is_zero(), "an asset keeps money")?,
                Account::Payee(member) => drop(shares.insert(*member, balance)),
                Account::Payer(member) => {
                    law(*member == self.payer, "somebody else is charged")?;
                    payer = balance;
                }
            }
        }
        let receivables: BTreeMap<_, _> =
            self.receivables().map(|share| (share.member, share.micros)).collect();
        law(shares == receivables, "the shares are not what was posted")?;
        let owed = self.charge.checked_sub(self.self_leg()).and_then(Micro::checked_neg);
        law(owed == Ok(payer), "the charge is not receivables and self leg")
    }
}

/// A correction: the new distribution less the old one, by member, without zeros. Never
/// the distribution of the difference, which would round differently.
///
/// # Errors
/// [`MoneyError::Range`] outside i128.
pub fn difference(new: &[Share], old: &[Share]) -> Result<Vec<Share>, MoneyError> {
    let mut by_member: BTreeMap<MemberId, Micro> = BTreeMap::new();
    for share in new {
        let sum = by_member.entry(share.member).or_default();
        *sum = sum.checked_add(share.micros)?;
    }
    for share in old {
        let sum = by_member.entry(share.member).or_default();
        *sum = sum.checked_sub(share.micros)?;
    }
    let shares = by_member.into_iter().map(|(member, micros)| Share { member, micros });
    Ok(shares.filter(|share| !share.micros.is_zero()).collect())
}

#[cfg(test)]
mod tests;
