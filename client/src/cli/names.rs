//! Names for ids: members, assets, versions and agreements as people call them.
//!
//! *Invariants.* What has the form of an id is one and is not looked up; a name stands for
//! exactly one thing or is refused.
//!
//! *Deliberately absent:* trust. A node can answer with the wrong id for a name; whoever
//! does not trust it uses ids, and whoever signs is shown what the ids are.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};
use syngraph_client::api::Node;
use syngraph_protocol::ids::{Id, MemberId};

use super::CliError;

/// A name that is empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name or id is missing")]
pub(crate) struct NoName;

fn filled(text: &str) -> Result<&str, NoName> {
    if text.trim().is_empty() { Err(NoName) } else { Ok(text) }
}

/// A member, by number or name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MemberName {
    /// Its id.
    Id(MemberId),
    /// Its name.
    Name(String),
}

impl FromStr for MemberName {
    type Err = NoName;

    fn from_str(text: &str) -> Result<Self, NoName> {
        let id = filled(text)?.parse().map(MemberId::new);
        Ok(id.map_or_else(|_| Self::Name(text.to_owned()), Self::Id))
    }
}

impl<'de> Deserialize<'de> for MemberName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(MemberVisitor)
    }
}

struct MemberVisitor;

impl de::Visitor<'_> for MemberVisitor {
    type Value = MemberName;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name or number")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<MemberName, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<MemberName, E> {
        let refused = |_| E::invalid_value(de::Unexpected::Unsigned(number), &self);
        u32::try_from(number).map(|number| MemberName::Id(MemberId::new(number))).map_err(refused)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<MemberName, E> {
        let refused = |_| E::invalid_value(de::Unexpected::Signed(number), &self);
        u64::try_from(number).map_err(refused).and_then(|number| self.visit_u64(number))
    }
}

/// Something with an [`Id`] and a title.
macro_rules! titled {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub(crate) enum $name {
            /// Its id.
            Id(Id),
            /// Its title.
            Title(String),
        }

        impl FromStr for $name {
            type Err = NoName;

            fn from_str(text: &str) -> Result<Self, NoName> {
                Ok(filled(text)?.parse().map_or_else(|_| Self::Title(text.to_owned()), Self::Id))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

titled! {
    /// An asset, by id or title.
    AssetName
}
titled! {
    /// An agreement, by id or title.
    AgreementName
}

/// A version, by id or as `TITLE@LABEL`; within a known asset the label alone will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum VersionName {
    /// Its id.
    Id(Id),
    /// Its asset and its label.
    Labelled(AssetName, String),
}

/// A version's name without its asset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither the id of a version nor like TITLE@LABEL")]
pub(crate) struct NoVersion(String);

impl FromStr for VersionName {
    type Err = NoVersion;

    fn from_str(text: &str) -> Result<Self, NoVersion> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        let parts = text
            .rsplit_once('@')
            .and_then(|(asset, label)| Some((asset.parse().ok()?, filled(label).ok()?.to_owned())));
        let (asset, label) = parts.ok_or_else(|| NoVersion(text.to_owned()))?;
        Ok(Self::Labelled(asset, label))
    }
}

/// An asset or one of its versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AssetOrVersion(String);

impl FromStr for AssetOrVersion {
    type Err = NoName;

    fn from_str(text: &str) -> Result<Self, NoName> {
        filled(text).map(|text| Self(text.to_owned()))
    }
}

/// Which of the two an [`AssetOrVersion`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// An asset.
    Asset(Id),
    /// A version.
    Version(Id),
}

/// A kind of thing that has names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Noun {
    /// Members.
    Member,
    /// Assets.
    Asset,
    /// Versions of assets.
    Version,
    /// Agreements.
    Agreement,
}

impl Noun {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Asset => "asset",
            Self::Version => "version",
            Self::Agreement => "agreement",
        }
    }
}

impl MemberName {
    /// What must be known to find its id.
    pub(crate) fn needs(&self) -> Option<Noun> {
        matches!(self, Self::Name(_)).then_some(Noun::Member)
    }
}

impl AssetName {
    /// What must be known to find its id.
    pub(crate) fn needs(&self) -> Option<Noun> {
        matches!(self, Self::Title(_)).then_some(Noun::Asset)
    }
}

impl AgreementName {
    /// What must be known to find its id.
    pub(crate) fn needs(&self) -> Option<Noun> {
        matches!(self, Self::Title(_)).then_some(Noun::Agreement)
    }
}

impl VersionName {
    /// What must be known to find its id.
    pub(crate) fn needs(&self) -> impl Iterator<Item = Noun> {
        let asset = match self {
            Self::Id(_) => None,
            Self::Labelled(asset, _) => Some(asset),
        };
        asset.into_iter().flat_map(|asset| asset.needs().into_iter().chain([Noun::Version]))
    }
}

#[derive(Clone, Debug, Deserialize)]
struct MemberItem {
    id: MemberId,
    name: String,
}

#[derive(Clone, Debug, Deserialize)]
struct TitledItem {
    id: Id,
    title: String,
}

#[derive(Clone, Debug, Deserialize)]
struct VersionItem {
    id: Id,
    asset: Id,
    label: String,
}

/// The names that a node's ledger knows, as far as they were asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Directory {
    members: Vec<MemberItem>,
    assets: Vec<TitledItem>,
    versions: Vec<VersionItem>,
    agreements: Vec<TitledItem>,
}

impl Directory {
    /// Asks a node for the names of these kinds.
    ///
    /// # Errors
    /// As the node refuses.
    pub(crate) async fn fetch(node: &Node, nouns: impl IntoIterator<Item = Noun>) -> Result<Self, CliError> {
        let mut directory = Self::default();
        for noun in nouns.into_iter().collect::<BTreeSet<_>>() {
            match noun {
                Noun::Member => directory.members = node.list("/v1/members").await?,
                Noun::Asset => directory.assets = node.list("/v1/assets").await?,
                Noun::Version => directory.versions = node.list("/v1/versions").await?,
                Noun::Agreement => directory.agreements = node.list("/v1/agreements").await?,
            }
        }
        Ok(directory)
    }

    /// The id of a member.
    ///
    /// # Errors
    /// `NAME-UNKNOWN`, `NAME-AMBIGUOUS`.
    pub(crate) fn member(&self, name: &MemberName) -> Result<MemberId, CliError> {
        match name {
            MemberName::Id(id) => Ok(*id),
            MemberName::Name(name) => {
                let found = self.members.iter().filter(|item| item.name == *name).map(|item| item.id);
                one(Noun::Member, name, found)
            }
        }
    }

    /// The id of an asset.
    ///
    /// # Errors
    /// `NAME-UNKNOWN`, `NAME-AMBIGUOUS`.
    pub(crate) fn asset(&self, name: &AssetName) -> Result<Id, CliError> {
        match name {
            AssetName::Id(id) => Ok(*id),
            AssetName::Title(title) => one(Noun::Asset, title, with_title(&self.assets, title)),
        }
    }

    /// The id of an agreement.
    ///
    /// # Errors
    /// `NAME-UNKNOWN`, `NAME-AMBIGUOUS`.
    pub(crate) fn agreement(&self, name: &AgreementName) -> Result<Id, CliError> {
        match name {
            AgreementName::Id(id) => Ok(*id),
            AgreementName::Title(title) => one(Noun::Agreement, title, with_title(&self.agreements, title)),
        }
    }

    /// The id of a version.
    ///
    /// # Errors
    /// `NAME-UNKNOWN`, `NAME-AMBIGUOUS`, of the version or of its asset.
    pub(crate) fn version(&self, name: &VersionName) -> Result<Id, CliError> {
        match name {
            VersionName::Id(id) => Ok(*id),
            VersionName::Labelled(asset, label) => self.version_of(self.asset(asset)?, label),
        }
    }

    /// The id of an asset's version, by its label or id.
    ///
    /// # Errors
    /// `NAME-UNKNOWN`, `NAME-AMBIGUOUS`.
    pub(crate) fn version_of(&self, asset: Id, label: &str) -> Result<Id, CliError> {
        if let Ok(id) = label.parse() {
            return Ok(id);
        }
        let of_asset = self.versions.iter().filter(|item| item.asset == asset && item.label == label);
        one(Noun::Version, label, of_asset.map(|item| item.id))
    }

    /// The asset of this id or title, else the version of this id or name. Both kinds must
    /// be known.
    ///
    /// # Errors
    /// `NAME-UNKNOWN`, `NAME-AMBIGUOUS`.
    pub(crate) fn asset_or_version(&self, name: &AssetOrVersion) -> Result<Found, CliError> {
        let text = name.0.as_str();
        if let Ok(id) = text.parse() {
            let is_version = self.versions.iter().any(|item| item.id == id);
            return Ok(if is_version { Found::Version(id) } else { Found::Asset(id) });
        }
        let is_title = self.assets.iter().any(|item| item.title == text);
        match text.parse::<VersionName>() {
            Ok(version) if !is_title => self.version(&version).map(Found::Version),
            _ => self.asset(&AssetName::Title(text.to_owned())).map(Found::Asset),
        }
    }

    /// How a member is called: `Aster (0)`.
    pub(crate) fn call_member(&self, id: MemberId) -> String {
        let known = self.members.iter().find(|item| item.id == id);
        known.map_or_else(|| format!("member {id}"), |item| format!("{} ({id})", item.name))
    }

    /// How an asset is called: `Corpus (9f86…)`, with the whole id.
    pub(crate) fn call_asset(&self, id: Id) -> String {
        let known = self.assets.iter().find(|item| item.id == id);
        known.map_or_else(|| id.to_string(), |item| format!("{} ({id})", item.title))
    }

    /// How a version is called: `1.0 (60303a…)`, with the whole id.
    pub(crate) fn call_version(&self, id: Id) -> String {
        let known = self.versions.iter().find(|item| item.id == id);
        known.map_or_else(|| id.to_string(), |item| format!("{} ({id})", item.label))
    }
}

fn with_title<'a>(items: &'a [TitledItem], title: &'a str) -> impl Iterator<Item = Id> + 'a {
    items.iter().filter(move |item| item.title == title).map(|item| item.id)
}

/// The only one that was found.
fn one<T: Copy + fmt::Display>(
    noun: Noun,
    name: &str,
    found: impl Iterator<Item = T>,
) -> Result<T, CliError> {
    let (noun, name) = (noun.as_str(), name.to_owned());
    match found.collect::<Vec<_>>().as_slice() {
        [] => Err(CliError::NameUnknown { noun, name }),
        [id] => Ok(*id),
        several => {
            let ids = several.iter().map(ToString::to_string).collect();
            Err(CliError::NameAmbiguous { noun, name, ids })
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn id(byte: u8) -> Id {
        Id::from_bytes([byte; 32])
    }

    /// Members Aster 0 and Birch 1; asset Corpus 0x0a with version 1.0 = 0x1a, two assets
    /// called Twin; agreement Deal 0x0c.
    pub(crate) fn directory() -> Directory {
        let member = |number, name: &str| MemberItem { id: MemberId::new(number), name: name.into() };
        let titled = |byte, title: &str| TitledItem { id: id(byte), title: title.into() };
        Directory {
            members: vec![member(0, "Aster"), member(1, "Birch")],
            assets: vec![titled(0x0a, "Corpus"), titled(0x0b, "Twin"), titled(0x0e, "Twin")],
            versions: vec![VersionItem { id: id(0x1a), asset: id(0x0a), label: "1.0".into() }],
            agreements: vec![titled(0x0c, "Deal")],
        }
    }

    #[test]
    fn ids_are_ids_and_everything_else_is_a_name() {
        assert_eq!("7".parse(), Ok(MemberName::Id(MemberId::new(7))));
        assert_eq!("Aster".parse(), Ok(MemberName::Name("Aster".into())));
        assert_eq!(" ".parse::<MemberName>(), Err(NoName));
        assert_eq!(id(5).to_string().parse(), Ok(AssetName::Id(id(5))));
        let labelled = VersionName::Labelled(AssetName::Title("A@B".into()), "1.0".into());
        assert_eq!("A@B@1.0".parse(), Ok(labelled));
        assert!("Corpus".parse::<VersionName>().is_err());
        assert!("@1.0".parse::<VersionName>().is_err());
    }

    #[test]
    fn names_stand_for_one_thing_or_are_refused() {
        let known = directory();
        assert_eq!(known.member(&MemberName::Name("Birch".into())).expect("known"), MemberId::new(1));
        assert_eq!(known.version(&"Corpus@1.0".parse().expect("a name")).expect("known"), id(0x1a));
        assert_eq!(known.agreement(&"Deal".parse().expect("a name")).expect("known"), id(0x0c));
        for (name, rule) in [("Corpse", "NAME-UNKNOWN"), ("Twin", "NAME-AMBIGUOUS")] {
            let refused = known.asset(&name.parse().expect("a name")).expect_err(rule);
            assert_eq!(refused.rule(), rule);
        }
        let twice = known.asset(&"Twin".parse().expect("a name")).expect_err("two").to_string();
        assert!(twice.contains(&id(0x0b).to_string()) && twice.contains(&id(0x0e).to_string()), "{twice}");
    }

    #[test]
    fn an_asset_and_its_version_are_told_apart() {
        let known = directory();
        let find = |text: &str| known.asset_or_version(&text.parse().expect("a name")).expect("known");
        assert_eq!(find("Corpus"), Found::Asset(id(0x0a)));
        assert_eq!(find("Corpus@1.0"), Found::Version(id(0x1a)));
        assert_eq!(find(&id(0x1a).to_string()), Found::Version(id(0x1a)));
        assert_eq!(find(&id(0x77).to_string()), Found::Asset(id(0x77)));
    }

    #[test]
    fn only_names_need_a_list() {
        let version: VersionName = "Corpus@1.0".parse().expect("a name");
        assert_eq!(version.needs().collect::<Vec<_>>(), [Noun::Asset, Noun::Version]);
        let version: VersionName = format!("{}@1.0", id(0x0a)).parse().expect("a name");
        assert_eq!(version.needs().collect::<Vec<_>>(), [Noun::Version]);
        assert_eq!(VersionName::Id(id(1)).needs().count(), 0);
        assert_eq!(MemberName::Id(MemberId::new(0)).needs(), None);
    }

    #[test]
    fn files_name_members_by_name_or_number() {
        let read = |json: &str| serde_json::from_str::<MemberName>(json);
        assert_eq!(read("0").expect("a number"), MemberName::Id(MemberId::new(0)));
        assert_eq!(read("\"0\"").expect("the same"), MemberName::Id(MemberId::new(0)));
        assert_eq!(read("\"Aster\"").expect("a name"), MemberName::Name("Aster".into()));
        for wrong in ["-1", "4294967296", "1.5", "\"\"", "true"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
