//! Text that people write into records: bounded, visible, in one form.

use serde::{Deserialize, Serialize};

use crate::limits::NAME_BYTES_MAX;
use crate::refusal::refusals;

refusals! {
    /// Why a name is refused.
    NameError {
        Form { name: String } = "NAME-FORM": "{name:?} is empty, longer than 200 bytes, padded, or has control characters",
    }
}

/// A name or title: 1 to 200 bytes of UTF-8 without control characters and without
/// white space at its ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Name(String);

impl Name {
    /// Takes the text as it is; [`Self::check`] says whether it may stand.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Checks the form.
    ///
    /// # Errors
    /// `NAME-FORM`.
    pub fn check(&self) -> Result<(), NameError> {
        let text = self.as_str();
        let fits = (1..=NAME_BYTES_MAX).contains(&text.len());
        if fits && text.trim() == text && !text.chars().any(char::is_control) {
            return Ok(());
        }
        Err(NameError::Form { name: text.chars().take(80).collect() })
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_visible_and_bounded() {
        assert_eq!(Name::new("Aster Ltd, München").check(), Ok(()));
        for bad in ["", " a", "a\n", "a\u{7}b", &"x".repeat(201)] {
            assert_eq!(Name::new(bad).check().map_err(|e| e.rule()), Err("NAME-FORM"), "{bad:?}");
        }
    }
}
