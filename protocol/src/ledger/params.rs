//! The consortium's parameters: what a governance act may change.

use serde::{Deserialize, Serialize};

pub use super::royalty::waterfall::Fee;
use super::table::Record;
use crate::money::Ppm;
use crate::refusal::refusals;
use crate::time::DAY_MS;

/// The edition of the rules that this code applies.
pub const RULES_VERSION: u32 = 1;

/// Parameters in force. Durations are in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// Which edition of the rules applies.
    pub rules_version: u32,
    /// How long after its moment usage may still be sealed.
    pub usage_grace_ms: i64,
    /// How far ahead of block time a moment of use may lie.
    pub usage_future_ms: i64,
    /// How long after its end a month stays open for usage before it may be closed.
    pub period_grace_ms: i64,
    /// How long an idempotency key is remembered.
    pub idem_window_ms: i64,
    /// Most usage rows of one member with moments on one day.
    pub rows_per_member_day_max: u64,
    /// Least time between two blocks under load.
    pub block_interval_ms_min: u32,
    /// Longest time between two blocks when nothing happens.
    pub heartbeat_ms: u32,
    /// After this long an entry that no quorum has announced is sealed all the same.
    pub unreplicated_grace_ms: u32,
    /// What the consortium keeps of each charge.
    pub fee: Option<Fee>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            rules_version: RULES_VERSION,
            usage_grace_ms: 90_i64.saturating_mul(DAY_MS),
            usage_future_ms: 300_000,
            period_grace_ms: 10_i64.saturating_mul(DAY_MS),
            idem_window_ms: 7_i64.saturating_mul(DAY_MS),
            rows_per_member_day_max: 100_000_000,
            block_interval_ms_min: 100,
            heartbeat_ms: 30_000,
            unreplicated_grace_ms: 2_000,
            fee: None,
        }
    }
}

impl Record for Params {
    type Key = ();
    const KIND: u8 = 2;
}

refusals! {
    /// Why parameters are refused.
    ParamsError {
        Rules { got: u32 } = "PAR-RULES": "rules of version {got} are not known here",
        Range { field: &'static str } = "PAR-RANGE": "{field} is out of range",
    }
}

impl Params {
    /// Checks that every figure makes sense.
    ///
    /// # Errors
    /// `PAR-RULES`, `PAR-RANGE`.
    pub fn check(&self) -> Result<(), ParamsError> {
        if self.rules_version != RULES_VERSION {
            return Err(ParamsError::Rules { got: self.rules_version });
        }
        let century = 36_525_i64.saturating_mul(DAY_MS);
        let within = |ms: i64| (0..=century).contains(&ms);
        let fields = [
            ("usage_grace_ms", within(self.usage_grace_ms)),
            ("usage_future_ms", within(self.usage_future_ms)),
            ("period_grace_ms", within(self.period_grace_ms)),
            ("idem_window_ms", within(self.idem_window_ms)),
            ("rows_per_member_day_max", self.rows_per_member_day_max > 0),
            ("block_interval_ms_min", self.block_interval_ms_min <= 60_000),
            ("heartbeat_ms", (100..=3_600_000).contains(&self.heartbeat_ms)),
            ("unreplicated_grace_ms", self.unreplicated_grace_ms <= 3_600_000),
            ("fee.ppm", self.fee.is_none_or(|fee| fee.ppm <= Ppm::ONE)),
        ];
        match fields.into_iter().find(|(_, fine)| !fine) {
            Some((field, _)) => Err(ParamsError::Range { field }),
            None => Ok(()),
        }
    }
}
