//! How the ledger says no: one enum per noun, each variant with a stable rule id.

/// Declares a noun's refusals: each variant with its fields, rule id and message. The
/// rule id is what stands in outcomes, so it never changes its meaning.
macro_rules! refusals {
    ($(#[$doc:meta])* $name:ident {
        $($variant:ident $({ $($field:ident: $kind:ty),+ $(,)? })? = $rule:literal: $message:literal,)+
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
        #[allow(missing_docs, reason = "each message names its variant's fields")]
        pub enum $name {
            $(
                #[doc = concat!("`", $rule, "`: ", $message)]
                #[error($message)]
                $variant $({ $($field: $kind),+ })?,
            )+
        }

        impl $name {
            /// Every rule id of this noun.
            pub const RULES: &'static [&'static str] = &[$($rule),+];

            /// The stable rule id of this refusal.
            #[must_use]
            pub const fn rule(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $rule,)+
                }
            }
        }
    };
}

pub(crate) use refusals;

/// Declares the union of several nouns' refusals.
macro_rules! any_refusal {
    ($(#[$doc:meta])* $name:ident { $($variant:ident($kind:ty),)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
        #[allow(missing_docs, reason = "each variant is the noun it wraps")]
        pub enum $name {
            $(#[error(transparent)] $variant(#[from] $kind),)+
        }

        impl $name {
            /// The stable rule id of this refusal.
            #[must_use]
            pub fn rule(&self) -> &'static str {
                match self {
                    $(Self::$variant(refusal) => refusal.rule(),)+
                }
            }
        }
    };
}

pub(crate) use any_refusal;
