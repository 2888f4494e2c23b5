//! What the columns of a file of events mean, and what all its rows have in common.

use serde::{Deserialize, Serialize};
use syngraph_protocol::codec;
use syngraph_protocol::ids::MemberId;
use syngraph_protocol::ledger::usage::UsageContext;

/// How a CSV file becomes usage rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    /// What every row has in common.
    pub context: UsageContext,
    /// The column that holds the moment of use.
    pub time: String,
    /// The columns whose sum is the quantity, at least one.
    pub quantity: Vec<String>,
}

impl Mapping {
    /// The bytes that bind an event's id to its agreement, grant and meter.
    pub(super) fn identity(&self) -> Vec<u8> {
        let UsageContext { agreement, grant, meter, .. } = &self.context;
        codec::encode(&(agreement, grant, meter))
    }

    /// Who pays.
    #[must_use]
    pub fn payer(&self) -> MemberId {
        self.context.payer
    }
}

/// Where the columns of a mapping stand in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    pub(super) time: usize,
    pub(super) quantity: Vec<usize>,
    /// Every other column by name: what tells events apart. Sorted, so that reordering a
    /// file's columns changes nothing.
    pub(super) content: Vec<(String, usize)>,
}

/// A file whose header does not fit the mapping.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// A column that the mapping names is missing.
    #[error("there is no column {column:?}; the header has: {header}")]
    Missing {
        /// The column.
        column: String,
        /// The header, as it stands.
        header: String,
    },
    /// Two columns of one name: which one is meant is not known.
    #[error("the column {column:?} stands twice")]
    Twice {
        /// The column.
        column: String,
    },
    /// No column for the quantity was named.
    #[error("no column was named for the quantity")]
    NoQuantity,
}

impl Columns {
    /// Finds the columns in a header.
    pub(super) fn find(mapping: &Mapping, header: &csv::StringRecord) -> Result<Self, HeaderError> {
        let mut content: Vec<(String, usize)> =
            header.iter().map(str::trim).map(str::to_owned).zip(0..).collect();
        content.sort_unstable();
        if let Some(pair) = content.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(HeaderError::Twice { column: pair[0].0.clone() });
        }
        let find = |name: &str| {
            let name = name.trim();
            let position = content.iter().find(|(column, _)| column == name).map(|(_, position)| *position);
            position.ok_or_else(|| HeaderError::Missing {
                column: name.to_owned(),
                header: header.iter().collect::<Vec<_>>().join(", ").chars().take(200).collect(),
            })
        };
        let time = find(&mapping.time)?;
        let quantity = mapping.quantity.iter().map(|name| find(name)).collect::<Result<Vec<_>, _>>()?;
        if quantity.is_empty() {
            return Err(HeaderError::NoQuantity);
        }
        content.retain(|(_, position)| *position != time);
        Ok(Self { time, quantity, content })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use syngraph_protocol::codes::{Act, Meter, Place, Purpose};
    use syngraph_protocol::ids::Id;

    pub(in crate::usage) fn mapping() -> Mapping {
        let context = UsageContext {
            agreement: Id::from_bytes([1; 32]),
            grant: 0,
            version: Id::from_bytes([2; 32]),
            act: Act::new("infer.service"),
            purpose: Purpose::new("commercial.product"),
            territory: Place::new("DE"),
            meter: Meter::new("tokens"),
            payer: MemberId::new(5),
        };
        let quantity = vec!["ContextTokens".into(), "GeneratedTokens".into()];
        Mapping { context, time: "TIMESTAMP".into(), quantity }
    }

    fn find(header: &[&str]) -> Result<Columns, HeaderError> {
        Columns::find(&mapping(), &csv::StringRecord::from(header.to_vec()))
    }

    #[test]
    fn columns_are_found_wherever_they_stand() {
        let columns =
            find(&["GeneratedTokens", "TIMESTAMP", " ContextTokens ", "region"]).expect("all there");
        assert_eq!((columns.time, &columns.quantity[..]), (1, &[2, 0][..]));
        let names: Vec<_> = columns.content.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["ContextTokens", "GeneratedTokens", "region"]);
    }

    #[test]
    fn a_header_that_does_not_fit_is_named() {
        let missing = find(&["TIMESTAMP", "ContextTokens"]).expect_err("no GeneratedTokens");
        assert!(missing.to_string().contains("GeneratedTokens"), "{missing}");
        let twice = find(&["TIMESTAMP", "a", "a", "ContextTokens", "GeneratedTokens"]);
        assert_eq!(twice, Err(HeaderError::Twice { column: "a".into() }));
    }
}
