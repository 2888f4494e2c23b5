//! What a version was made from.

use std::str::FromStr;

use syngraph_protocol::entry::Deed;
use syngraph_protocol::ids::Id;
use syngraph_protocol::ledger::agreement::GrantRef;
use syngraph_protocol::ledger::lineage::{DeclareLineage, Parent, Relation};
use syngraph_protocol::money::Ppm;

use super::args::LineageArgs;
use crate::args::code;
use crate::cli::CliError;
use crate::cli::names::{AgreementName, Directory, Noun, VersionName};
use crate::cli::session::Session;
use crate::output::Answer;

/// A parent as the command line names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ParentArg {
    relation: Relation,
    version: VersionName,
    material: Option<Ppm>,
    grant: Option<(AgreementName, u16)>,
}

/// Not a parent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoParent {
    /// Not of the form.
    #[error("{0:?} is not like RELATION=VERSION[,material=PPM][,grant=AGREEMENT/NUMBER]")]
    Form(String),
    /// Another relation than the protocol has.
    #[error("{0}")]
    Relation(String),
    /// Its version has no form that a version's name has.
    #[error(transparent)]
    Version(#[from] super::super::names::NoVersion),
    /// More than the whole child.
    #[error("{0} ppm of material are more than 1000000, the whole")]
    Material(u32),
}

impl FromStr for ParentArg {
    type Err = NoParent;

    fn from_str(text: &str) -> Result<Self, NoParent> {
        let form = || NoParent::Form(text.to_owned());
        let (relation, mut rest) = text.split_once('=').ok_or_else(form)?;
        let relation = code(relation).map_err(|error| NoParent::Relation(error.to_string()))?;
        let (mut material, mut grant) = (None, None);
        // From the end, because titles may have commas in them.
        while let Some((before, option)) = rest.rsplit_once(',') {
            if let (Some(ppm), None) = (option.strip_prefix("material="), material) {
                material = Some(ppm.parse::<u32>().map_err(|_| form())?);
            } else if let (Some(named), None) = (option.strip_prefix("grant="), &grant) {
                grant = Some(grant_of(named).ok_or_else(form)?);
            } else {
                break;
            }
            rest = before;
        }
        if let Some(ppm) = material.filter(|ppm| Ppm::new(*ppm) > Ppm::ONE) {
            return Err(NoParent::Material(ppm));
        }
        Ok(Self { relation, version: rest.parse()?, material: material.map(Ppm::new), grant })
    }
}

/// Reads `AGREEMENT/NUMBER`.
fn grant_of(text: &str) -> Option<(AgreementName, u16)> {
    let (agreement, number) = text.rsplit_once('/')?;
    Some((agreement.parse().ok()?, number.parse().ok()?))
}

impl ParentArg {
    fn needs(&self) -> impl Iterator<Item = Noun> {
        let grant = self.grant.as_ref().and_then(|(agreement, _)| agreement.needs());
        self.version.needs().chain(grant)
    }

    fn resolve(&self, directory: &Directory) -> Result<Parent, CliError> {
        let grant = self.grant.as_ref().map(|(agreement, grant)| {
            Ok::<_, CliError>(GrantRef { agreement: directory.agreement(agreement)?, grant: *grant })
        });
        Ok(Parent {
            version: directory.version(&self.version)?,
            relation: self.relation,
            material: self.material,
            grant: grant.transpose()?,
        })
    }
}

fn declaration(child: Id, parents: &[ParentArg], directory: &Directory) -> Result<DeclareLineage, CliError> {
    let parents = parents.iter().map(|parent| parent.resolve(directory));
    let mut parents = parents.collect::<Result<Vec<_>, _>>()?;
    parents.sort_by_key(|parent| parent.version);
    Ok(DeclareLineage { child, parents })
}

/// Declares parents of a version.
///
/// # Errors
/// `NAME-UNKNOWN`, `NAME-AMBIGUOUS`, and as the node refuses.
pub(super) async fn declare(session: &Session, args: LineageArgs) -> Result<Answer, CliError> {
    let needed = args.parents.iter().flat_map(ParentArg::needs).chain(args.child.needs());
    let directory = session.directory(needed).await?;
    let deed = declaration(directory.version(&args.child)?, &args.parents, &directory)?;
    session.act(Deed::DeclareLineage(deed), "the lineage is declared").await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::names::tests::{directory, id};

    fn read(text: &str) -> Result<ParentArg, NoParent> {
        text.parse()
    }

    #[test]
    fn parents_are_read_with_and_without_options() {
        let plain = read("trained_on=Corpus@1.0").expect("fine");
        assert_eq!((plain.relation, plain.material, &plain.grant), (Relation::TrainedOn, None, &None));
        let full = read("adapter_of=A, B@1,grant=Deal/3,material=250000").expect("fine");
        assert_eq!(full.version, "A, B@1".parse().expect("a name"));
        assert_eq!(full.material, Some(Ppm::new(250_000)));
        assert_eq!(full.grant, Some(("Deal".parse().expect("a name"), 3)));
        assert_eq!(full.needs().collect::<Vec<_>>(), [Noun::Asset, Noun::Version, Noun::Agreement]);
    }

    #[test]
    fn what_is_no_parent_is_refused() {
        for wrong in [
            "Corpus@1.0",
            "grown_from=Corpus@1.0",
            "trained_on=Corpus",
            "trained_on=Corpus@1.0,material=much",
            "trained_on=Corpus@1.0,material=1000001",
            "trained_on=Corpus@1.0,grant=Deal",
            "trained_on=",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        let unknown = read("grown_from=Corpus@1.0").expect_err("no such relation").to_string();
        assert!(unknown.contains("`trained_on`"), "{unknown}");
    }

    #[test]
    fn a_declaration_is_sorted_by_parent() {
        let other = format!("contains={}", id(0x02));
        let parents =
            [read("trained_on=Corpus@1.0,grant=Deal/1").expect("fine"), read(&other).expect("fine")];
        let deed = declaration(id(9), &parents, &directory()).expect("known");
        let versions: Vec<_> = deed.parents.iter().map(|parent| parent.version).collect();
        assert_eq!(versions, [id(0x02), id(0x1a)]);
        assert_eq!(deed.parents[1].grant, Some(GrantRef { agreement: id(0x0c), grant: 1 }));
        assert!(deed.check().is_ok());
    }
}
