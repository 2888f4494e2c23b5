//! Controlled vocabularies: acts, purposes, meters, territories.
//!
//! A code of a tree is a dotted path and a parent covers its children: a grant of
//! `infer` permits `infer.service`. Territories are ISO 3166-1 alpha-2 codes, ISO 3166-2
//! subdivisions of them, and groups. The tables are pinned: [`TABLES_VERSION`] names the
//! edition, and a new edition needs a new `rules_version`.

use serde::{Deserialize, Serialize};

use crate::limits::CODE_BYTES_MAX;

/// Edition of every table in this module.
pub const TABLES_VERSION: u16 = 1;

/// What may be done with an asset.
pub const ACTS: &[&str] = &[
    "access",
    "access.label",
    "access.mine",
    "adapt",
    "adapt.distill",
    "adapt.fine_tune",
    "adapt.merge",
    "adapt.quantize",
    "assign",
    "commercialise_model",
    "distribute",
    "evaluate",
    "evaluate.benchmark",
    "evaluate.publish",
    "infer",
    "infer.autonomous",
    "infer.ground",
    "infer.index",
    "infer.internal",
    "infer.search",
    "infer.service",
    "modify",
    "output",
    "output.commercialise",
    "output.train_on",
    "output.use",
    "reproduce",
    "reverse_engineer",
    "sublicense",
    "train",
    "train.generative",
    "train.predictive",
];

/// What it may be done for.
pub const PURPOSES: &[&str] = &[
    "commercial",
    "commercial.product",
    "commercial.service",
    "internal",
    "regulated",
    "regulated.credit",
    "regulated.employment",
    "regulated.law_enforcement",
    "regulated.medical",
    "research",
    "research.academic",
];

/// What is counted. Each has one unit, in its name where it is not a count.
pub const METERS: &[&str] = &[
    "bytes",
    "calls",
    "decisions",
    "gpu_ms",
    "revenue_minor",
    "samples",
    "seats",
    "tokens",
    "tokens.in",
    "tokens.out",
];

/// ISO 3166-1 alpha-2, officially assigned.
const COUNTRIES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ \
BR BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES \
ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO \
IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK \
ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR \
PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK \
TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW";

/// Groups of countries, by name.
const GROUPS: &[(&str, &str)] = &[
    ("EEA", "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IS IT LI LT LU LV MT NL NO PL PT RO SE SI SK"),
    ("EU", "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK"),
];

/// A code that its table does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code:?} is not in the table of {table}")]
pub struct UnknownCode {
    /// The table that was searched.
    pub table: &'static str,
    /// The code that was given.
    pub code: String,
}

impl UnknownCode {
    /// The stable rule id of this refusal.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        "CODE-UNKNOWN"
    }
}

macro_rules! tree_code {
    ($(#[$doc:meta])* $name:ident, $table:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes the text as it is; [`Self::check`] says whether the table has it.
            #[must_use]
            pub fn new(code: impl Into<String>) -> Self {
                Self(code.into())
            }

            /// The dotted path.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Checks that the table has this code.
            ///
            /// # Errors
            /// `CODE-UNKNOWN` otherwise.
            pub fn check(&self) -> Result<(), UnknownCode> {
                match $table.binary_search(&self.0.as_str()) {
                    Ok(_) => Ok(()),
                    Err(_) => Err(unknown($what, &self.0)),
                }
            }

            /// Whether this code is `other` or one of its ancestors.
            #[must_use]
            pub fn covers(&self, other: &Self) -> bool {
                covers(&self.0, &other.0, '.')
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

fn unknown(table: &'static str, code: &str) -> UnknownCode {
    UnknownCode { table, code: code.chars().take(CODE_BYTES_MAX).collect() }
}

/// Whether `path` is `parent` itself or lies below it.
fn covers(parent: &str, path: &str, separator: char) -> bool {
    path.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest.starts_with(separator))
}

tree_code! {
    /// An act: `infer.service`, `train.generative`…
    Act, ACTS, "acts"
}
tree_code! {
    /// A purpose: `commercial.product`, `research`…
    Purpose, PURPOSES, "purposes"
}
tree_code! {
    /// A meter: `tokens`, `calls`…
    Meter, METERS, "meters"
}

/// A place: country (`DE`), subdivision (`DE-BY`) or group (`EU`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Place(String);

impl Place {
    /// Takes the text as it is; [`Self::check`] says whether it is a place.
    #[must_use]
    pub fn new(code: impl Into<String>) -> Self {
        Self(code.into())
    }

    /// The code.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Checks that this is a country, a subdivision of one, or a group. The part of a
    /// subdivision after the country is checked for its form: 1 to 3 letters or digits.
    ///
    /// # Errors
    /// `CODE-UNKNOWN` otherwise.
    pub fn check(&self) -> Result<(), UnknownCode> {
        let (country, subdivision) = match self.0.split_once('-') {
            Some((country, rest)) => (country, Some(rest)),
            None => (self.0.as_str(), None),
        };
        let well_formed = subdivision.is_none_or(|part| {
            (1..=3).contains(&part.len())
                && part.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
        });
        let known = COUNTRIES.split(' ').any(|known| known == country)
            || (subdivision.is_none() && group(country).is_some());
        if known && well_formed { Ok(()) } else { Err(unknown("territories", &self.0)) }
    }

    /// Whether this place contains `other`: the same, a country of this group, or a
    /// subdivision of this country or of a country of this group.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let mine = group(&self.0).unwrap_or(&self.0);
        let covered = |place: &str| mine.split(' ').any(|country| covers(country, place, '-'));
        self == other || group(&other.0).unwrap_or(&other.0).split(' ').all(covered)
    }

    /// Whether one of the two covers the other.
    fn meets(&self, other: &Self) -> bool {
        self.covers(other) || other.covers(self)
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

fn group(name: &str) -> Option<&'static str> {
    GROUPS.iter().find(|(group, _)| *group == name).map(|(_, countries)| *countries)
}

/// Where a grant holds: the world or the listed places, without the excluded ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Territory {
    /// Everywhere; then `include` must be empty.
    pub world: bool,
    /// Places inside, sorted.
    pub include: Vec<Place>,
    /// Places taken out again, sorted.
    pub exclude: Vec<Place>,
}

impl Territory {
    /// Everywhere.
    #[must_use]
    pub const fn world() -> Self {
        Self { world: true, include: Vec::new(), exclude: Vec::new() }
    }

    /// Whether a place lies inside. A group does only if no part of it is excluded.
    #[must_use]
    pub fn contains(&self, place: &Place) -> bool {
        let included = self.world || self.include.iter().any(|inside| inside.covers(place));
        let excluded = self.exclude.iter().any(|outside| outside.meets(place));
        included && !excluded
    }

    /// Whether every place inside `other` lies inside this one, as far as the codes tell:
    /// a group is covered by itself, not by a list of its countries.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let left_out = |outside: &Place| other.exclude.iter().any(|known| known.covers(outside));
        if other.world {
            return self.world && self.exclude.iter().all(left_out);
        }
        other.include.iter().all(|place| {
            let included = self.world || self.include.iter().any(|inside| inside.covers(place));
            included && self.exclude.iter().filter(|outside| outside.meets(place)).all(left_out)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sorted_so_that_search_finds() {
        for table in [ACTS, PURPOSES, METERS] {
            assert!(table.is_sorted());
            // Every child's parent exists, or covering it would be impossible.
            for (code, parent) in table.iter().filter_map(|code| Some((code, code.rsplit_once('.')?.0))) {
                assert!(table.binary_search(&parent).is_ok(), "{code}");
            }
        }
        assert_eq!(COUNTRIES.split(' ').count(), 249);
    }

    #[test]
    fn parents_cover_children_only() {
        let act = |code: &str| Act::new(code);
        assert!(act("infer").covers(&act("infer.service")));
        assert!(!act("infer.service").covers(&act("infer")));
        assert!(!act("train").covers(&act("trainer")));
        assert_eq!(act("infer.teleport").check().map_err(|e| e.rule()), Err("CODE-UNKNOWN"));
    }

    #[test]
    fn territories_include_and_exclude() {
        let place = |code: &str| Place::new(code);
        let eu_without_bavaria =
            Territory { world: false, include: vec![place("EU")], exclude: vec![place("DE-BY")] };
        for (code, inside) in
            [("FR", true), ("DE-BE", true), ("DE-BY", false), ("DE", false), ("NO", false), ("EU", false)]
        {
            assert_eq!(eu_without_bavaria.contains(&place(code)), inside, "{code}");
        }
        assert!(Territory::world().contains(&place("JP")));
        let territory = |include: &[&str], exclude: &[&str]| Territory {
            world: include.is_empty(),
            include: include.iter().map(|code| place(code)).collect(),
            exclude: exclude.iter().map(|code| place(code)).collect(),
        };
        for (include, exclude, covered) in [
            (&["FR"][..], &[][..], true),
            (&["EU"], &["DE-BY"], true),
            (&["EU"], &["DE"], true),
            (&["EU"], &[], false),
            (&["DE"], &[], false),
            (&["DE-BY"], &[], false),
            (&["FR", "NO"], &[], false),
            (&[], &["DE-BY"], false),
        ] {
            let inside = territory(include, exclude);
            assert_eq!(eu_without_bavaria.covers(&inside), covered, "{inside:?}");
            assert!(Territory::world().covers(&inside));
        }
        assert!(!territory(&[], &["EEA"]).covers(&territory(&["EU"], &[])));
        for bad in ["", "XX", "EU-BY", "DE-", "DE-ABCD", "de"] {
            assert!(place(bad).check().is_err(), "{bad}");
        }
    }
}
