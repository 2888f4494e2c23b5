//! ISO 4217 currency codes and the number of decimals of each.
//!
//! *Invariants.* A [`Currency`] is always a code of the table below, so its exponent is
//! always known. In JSON and TOML it is the three letters; on the wire, three bytes.
//!
//! *Deliberately absent:* exchange rates, names and symbols; precious metals, special
//! drawing rights and test codes (XAU, XDR, XXX…), which have no minor unit.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::MoneyError;

// The table is pinned with the rules version: a code that is added or changes its
// exponent changes what nodes accept. Source: ISO 4217 list one and its amendments up
// to 2025 (SLE, VED, ZWG, XCG, XAD included). Each part is sorted for binary search.

/// No minor unit: 1 JPY is 1 minor unit.
const EXPONENT_0: [&[u8; 3]; 17] = [
    b"BIF", b"CLP", b"DJF", b"GNF", b"ISK", b"JPY", b"KMF", b"KRW", b"PYG", b"RWF", b"UGX", b"UYI", b"VND",
    b"VUV", b"XAF", b"XOF", b"XPF",
];

/// Two decimals. ANG, BGN, CUC, HRK, SLL and ZWL have been withdrawn; old agreements
/// still name them.
const EXPONENT_2: [&[u8; 3]; 145] = [
    b"AED", b"AFN", b"ALL", b"AMD", b"ANG", b"AOA", b"ARS", b"AUD", b"AWG", b"AZN", b"BAM", b"BBD", b"BDT",
    b"BGN", b"BMD", b"BND", b"BOB", b"BOV", b"BRL", b"BSD", b"BTN", b"BWP", b"BYN", b"BZD", b"CAD", b"CDF",
    b"CHE", b"CHF", b"CHW", b"CNY", b"COP", b"COU", b"CRC", b"CUC", b"CUP", b"CVE", b"CZK", b"DKK", b"DOP",
    b"DZD", b"EGP", b"ERN", b"ETB", b"EUR", b"FJD", b"FKP", b"GBP", b"GEL", b"GHS", b"GIP", b"GMD", b"GTQ",
    b"GYD", b"HKD", b"HNL", b"HRK", b"HTG", b"HUF", b"IDR", b"ILS", b"INR", b"IRR", b"JMD", b"KES", b"KGS",
    b"KHR", b"KPW", b"KYD", b"KZT", b"LAK", b"LBP", b"LKR", b"LRD", b"LSL", b"MAD", b"MDL", b"MGA", b"MKD",
    b"MMK", b"MNT", b"MOP", b"MRU", b"MUR", b"MVR", b"MWK", b"MXN", b"MXV", b"MYR", b"MZN", b"NAD", b"NGN",
    b"NIO", b"NOK", b"NPR", b"NZD", b"PAB", b"PEN", b"PGK", b"PHP", b"PKR", b"PLN", b"QAR", b"RON", b"RSD",
    b"RUB", b"SAR", b"SBD", b"SCR", b"SDG", b"SEK", b"SGD", b"SHP", b"SLE", b"SLL", b"SOS", b"SRD", b"SSP",
    b"STN", b"SVC", b"SYP", b"SZL", b"THB", b"TJS", b"TMT", b"TOP", b"TRY", b"TTD", b"TWD", b"TZS", b"UAH",
    b"USD", b"USN", b"UYU", b"UZS", b"VED", b"VES", b"WST", b"XAD", b"XCD", b"XCG", b"YER", b"ZAR", b"ZMW",
    b"ZWG", b"ZWL",
];

/// Three decimals.
const EXPONENT_3: [&[u8; 3]; 7] = [b"BHD", b"IQD", b"JOD", b"KWD", b"LYD", b"OMR", b"TND"];

/// Four decimals: units of account.
const EXPONENT_4: [&[u8; 3]; 2] = [b"CLF", b"UYW"];

/// A currency of ISO 4217 with a known minor unit. Ordered by its letters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    /// The code, if it is one of the pinned table.
    ///
    /// # Errors
    /// [`MoneyError::UnknownCurrency`] for anything else, lower case included.
    pub fn from_bytes(code: [u8; 3]) -> Result<Self, MoneyError> {
        match exponent_of(&code) {
            Some(_) => Ok(Self(code)),
            None => Err(MoneyError::UnknownCurrency { code: String::from_utf8_lossy(&code).into_owned() }),
        }
    }

    /// The three ASCII capitals as bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 3] {
        &self.0
    }

    /// The three ASCII capitals.
    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("every code of the table is ASCII")
    }

    /// Decimals of the major unit: 0 for JPY, 2 for EUR, 3 for BHD, at most 4.
    #[must_use]
    pub fn exponent(self) -> u8 {
        exponent_of(&self.0).expect("a currency is only ever made from the table")
    }
}

fn exponent_of(code: &[u8; 3]) -> Option<u8> {
    let tables: [(&[&[u8; 3]], u8); 4] =
        [(&EXPONENT_2, 2), (&EXPONENT_0, 0), (&EXPONENT_3, 3), (&EXPONENT_4, 4)];
    tables.into_iter().find(|(codes, _)| codes.binary_search(&code).is_ok()).map(|(_, exponent)| exponent)
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Currency {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        match text.as_bytes().try_into() {
            Ok(code) => Self::from_bytes(code),
            Err(_) => Err(MoneyError::UnknownCurrency { code: text.chars().take(20).collect() }),
        }
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() { to.serialize_str(self.as_str()) } else { self.0.serialize(to) }
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if from.is_human_readable() {
            return String::deserialize(from)?.parse().map_err(de::Error::custom);
        }
        Self::from_bytes(<[u8; 3]>::deserialize(from)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

    #[test]
    fn tables_are_sorted_and_disjoint() {
        let tables: [&[&[u8; 3]]; 4] = [&EXPONENT_0, &EXPONENT_2, &EXPONENT_3, &EXPONENT_4];
        for table in tables {
            assert!(table.is_sorted_by(|a, b| a < b));
        }
        let mut all = tables.concat();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn exponents_follow_iso_4217() {
        for (code, exponent) in [("JPY", 0), ("EUR", 2), ("BHD", 3), ("CLF", 4), ("MGA", 2), ("XCG", 2)] {
            assert_eq!(code.parse::<Currency>().map(Currency::exponent), Ok(exponent), "{code}");
        }
    }

    #[test]
    fn refuses_what_is_not_in_the_table() {
        for code in ["eur", "XXX", "XAU", "EU", "EURO", "", "\u{20ac}"] {
            assert_eq!(code.parse::<Currency>().map_err(|e| e.rule()), Err("CCY-UNKNOWN"), "{code}");
        }
    }

    #[test]
    fn json_is_text_and_the_wire_three_bytes() {
        let eur: Currency = "EUR".parse().expect("a known code");
        assert_eq!(serde_json::to_string(&eur).expect("a string"), "\"EUR\"");
        assert!(serde_json::from_str::<Currency>("\"eur\"").is_err());
        assert_eq!(codec::encode(&eur), b"EUR");
        assert_eq!(codec::decode::<Currency>(b"EUR", 3), Ok(eur));
        assert!(codec::decode::<Currency>(b"eur", 3).is_err());
    }
}
