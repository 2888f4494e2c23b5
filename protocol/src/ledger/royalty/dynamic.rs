//! Dynamic terms: from a period's observations to the multiplier.
//!
//! *Invariants.* Every observer has one vote, its last observation. Without a quorum the
//! factor is 1 and the reading says so, which callers turn into a finding.
//!
//! *Deliberately absent:* which observations belong to the period and are known as of a
//! height; callers pass those, in the order in which the ledger applied them.

use crate::ids::MemberId;
use crate::money::Ppm;

use super::terms::{Aggregation, Multiplier, Step};

/// Rule id of the finding when too few observed and the multiplier stays 1.
pub const UNOBSERVED: &str = "DYN-UNOBSERVED";

/// One observation of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// Who observed.
    pub observer: MemberId,
    /// The value, in the metric's own unit.
    pub value: i64,
}

/// What a multiplier made of the observations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The factor to charge with.
    pub factor: Ppm,
    /// The aggregated value; `None` when fewer than the quorum observed.
    pub value: Option<i64>,
}

impl Multiplier {
    /// Reads the observations of a period, oldest first. Those of others than the named
    /// observers don't count.
    #[must_use]
    pub fn read(&self, observations: &[Observation]) -> Reading {
        let mut votes: Vec<Observation> = Vec::new();
        for observation in observations.iter().rev() {
            let named = self.observers.contains(&observation.observer);
            if named && votes.iter().all(|vote| vote.observer != observation.observer) {
                votes.push(*observation);
            }
        }
        // Nothing observed decides nothing, even under a quorum that was never checked.
        if votes.is_empty() || votes.len() < usize::from(self.quorum) {
            return Reading { factor: Ppm::ONE, value: None };
        }
        let value = self.aggregation.of(&votes);
        Reading { factor: value.map_or(Ppm::ONE, |value| self.factor_at(value)), value }
    }

    /// The factor for a value of the metric.
    #[must_use]
    pub fn factor_at(&self, value: i64) -> Ppm {
        let reached = |step: &&Step| step.from <= value;
        self.steps.iter().take_while(reached).last().map_or(self.below, |step| step.ppm)
    }
}

impl Aggregation {
    /// One value of the votes, which are in order of time, the latest first.
    fn of(self, votes: &[Observation]) -> Option<i64> {
        let mut values: Vec<i64> = votes.iter().map(|vote| vote.value).collect();
        match self {
            Self::Last => values.first().copied(),
            Self::Min => values.into_iter().min(),
            Self::Median => {
                values.sort_unstable();
                let lower_middle = values.len().saturating_sub(1) >> 1;
                values.get(lower_middle).copied()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn multiplier(aggregation: Aggregation, quorum: u16) -> Multiplier {
        Multiplier {
            metric: "accuracy".into(),
            below: Ppm::new(800_000),
            steps: vec![
                Step { from: 850_000, ppm: Ppm::ONE },
                Step { from: 920_000, ppm: Ppm::new(1_100_000) },
            ],
            aggregation,
            observers: [1, 2, 3, 4].map(MemberId::new).to_vec(),
            quorum,
        }
    }

    fn seen(list: &[(u32, i64)]) -> Vec<Observation> {
        list.iter().map(|&(member, value)| Observation { observer: MemberId::new(member), value }).collect()
    }

    #[test]
    fn steps_are_inclusive() {
        let term = multiplier(Aggregation::Median, 1);
        for (value, ppm) in [
            (0, 800_000),
            (849_999, 800_000),
            (850_000, 1_000_000),
            (920_000, 1_100_000),
            (i64::MIN, 800_000),
        ] {
            assert_eq!(term.factor_at(value), Ppm::new(ppm), "{value}");
        }
    }

    #[test]
    fn votes_are_aggregated() {
        let observations = seen(&[(1, 5), (1, 931_250), (2, 700), (9, 1), (3, 900_000), (4, 950_000)]);
        for (aggregation, value) in
            [(Aggregation::Median, 900_000), (Aggregation::Min, 700), (Aggregation::Last, 950_000)]
        {
            let reading = multiplier(aggregation, 4).read(&observations);
            assert_eq!(reading.value, Some(value), "{aggregation:?}");
        }
    }

    #[test]
    fn without_a_quorum_the_factor_is_one() {
        let neutral = Reading { factor: Ppm::ONE, value: None };
        assert_eq!(multiplier(Aggregation::Min, 1).read(&[]), neutral);
        assert_eq!(multiplier(Aggregation::Min, 2).read(&seen(&[(1, 5), (1, 6), (9, 7)])), neutral);
    }
}
