//! Members and newcomers.
//!
//! ```text
//! newcomer: apply ─file─▶ member: admit ─proposal─▶ other members: approve
//! ```

pub(crate) mod args;

use std::path::Path;

use serde_json::Value;
use syngraph_client::key::Key;
use syngraph_config::genesis::load_genesis;
use syngraph_protocol::crypto::SecretKey;
use syngraph_protocol::entry::Deed;
use syngraph_protocol::ids::NetworkId;
use syngraph_protocol::ledger::member::{AdmitMember, MemberProfile, NodeKeys, prove_possession};
use syngraph_protocol::name::Name;

use super::session::Session;
use super::view::{self, Column};
use super::{CliError, file, key, proposal};
use crate::args::AsOf;
use crate::cli::names::MemberName;
use crate::output::Answer;
use args::{Apply, MemberCommand};

const MEMBERS: &[Column] = &[
    ("id", "/id"),
    ("name", "/name"),
    ("jurisdiction", "/jurisdiction"),
    ("status", "/status"),
    ("power", "/power"),
    ("since block", "/since"),
    ("root key", "/root"),
];

/// Does what the command line asks for.
///
/// # Errors
/// What is wrong with a file, and as the node refuses.
pub(super) async fn run(session: &Session, command: MemberCommand) -> Result<Answer, CliError> {
    match command {
        MemberCommand::List => view::list(session, "/v1/members", MEMBERS, "no members").await,
        MemberCommand::Show { member, as_of } => show(session, &member, as_of).await,
        MemberCommand::Apply(application) => apply(session, &application).await,
        MemberCommand::Admit { file } => {
            let deed = read(&file)?;
            session.act(Deed::AdmitMember(deed), "the admission is proposed").await
        }
        MemberCommand::Approve { proposal } => proposal::approve(session, proposal).await,
    }
}

async fn show(session: &Session, name: &MemberName, as_of: AsOf) -> Result<Answer, CliError> {
    let id = session.member(name).await?;
    let member: Value = session.node()?.get(&view::as_of(format!("/v1/members/{id}"), as_of)).await?;
    let keys = view::table(view::items(&member, "/keys"), key::KEYS);
    Ok(Answer::new(&member).text(view::fields(&member, MEMBERS)).text("").table(keys, "no keys"))
}

async fn apply(session: &Session, application: &Apply) -> Result<Answer, CliError> {
    let network = match &application.genesis {
        Some(path) => network_of(path)?,
        None => session.node()?.status().await?.network,
    };
    let deed = application_of(application, network)?;
    check(&deed, &application.out)?;
    let text = serde_json::to_string_pretty(&deed).expect("text keys and plain values are always JSON");
    file::write_new(&application.out, &format!("{text}\n"))?;
    let text = format!(
        "application of {} to network {network} in {}; a member hands it in: syngraph member admit",
        application.name,
        application.out.display()
    );
    Ok(Answer::new(&deed).text(text))
}

fn network_of(genesis: &Path) -> Result<NetworkId, CliError> {
    let path = genesis.to_owned();
    load_genesis(genesis)?.verify().map_err(|source| CliError::Genesis { path, source })
}

/// The profile with a proof for each key, in the order of [`MemberProfile::keys`].
fn application_of(application: &Apply, network: NetworkId) -> Result<AdmitMember, CliError> {
    let root = Key::load(&application.root)?;
    let node = [&application.validator, &application.transport, &application.journal];
    let node = node.into_iter().flatten().map(|path| Key::load(path)).collect::<Result<Vec<_>, _>>()?;
    let node_keys = match node.as_slice() {
        [validator, transport, journal] => Some(NodeKeys {
            validator: validator.public(),
            transport: transport.public(),
            journal: journal.public(),
        }),
        _ => None,
    };
    let profile = MemberProfile {
        name: Name::new(&application.name),
        jurisdiction: application.jurisdiction.clone(),
        root: root.public(),
        node: node_keys,
    };
    let prove = |key: &SecretKey| prove_possession(network, &root.public(), key);
    let possession = std::iter::once(&root).chain(&node).map(|key| prove(key.secret())).collect();
    Ok(AdmitMember { profile, possession })
}

fn read(path: &Path) -> Result<AdmitMember, CliError> {
    let deed: AdmitMember = file::read(path)?;
    check(&deed, path)?;
    Ok(deed)
}

fn check(deed: &AdmitMember, path: &Path) -> Result<(), CliError> {
    deed.check().map_err(|refusal| CliError::Refused {
        path: path.to_owned(),
        rule: refusal.rule().to_owned(),
        detail: refusal.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use syngraph_protocol::codes::Place;

    fn key_file(folder: &Path, name: &str) -> PathBuf {
        let path = folder.join(name);
        Key::generate(name).expect("randomness").save(&path).expect("new");
        path
    }

    fn application(folder: &Path, node: bool) -> Apply {
        let node_key = |name| node.then(|| key_file(folder, name));
        Apply {
            name: "Cedar".into(),
            jurisdiction: Place::new("FR"),
            root: key_file(folder, "root"),
            validator: node_key("validator"),
            transport: node_key("transport"),
            journal: node_key("journal"),
            genesis: None,
            out: folder.join("cedar.json"),
        }
    }

    #[test]
    fn an_application_proves_every_key_and_reads_back() {
        for (node, proofs) in [(true, 4), (false, 1)] {
            let folder = tempfile::tempdir().expect("a folder");
            let application = application(folder.path(), node);
            let deed = application_of(&application, NetworkId::from_bytes([1; 32])).expect("readable keys");
            assert_eq!((deed.possession.len(), deed.profile.keys().count()), (proofs, proofs));
            let text = serde_json::to_string(&deed).expect("plain values");
            file::write_new(&application.out, &text).expect("new");
            assert_eq!(read(&application.out).expect("own file"), deed);
        }
    }

    #[test]
    fn a_bad_application_is_refused_with_its_rule() {
        let folder = tempfile::tempdir().expect("a folder");
        let application = application(folder.path(), false);
        let mut deed = application_of(&application, NetworkId::from_bytes([1; 32])).expect("readable keys");
        deed.possession.clear();
        let text = serde_json::to_string(&deed).expect("plain values");
        file::write_new(&application.out, &text).expect("new");
        assert_eq!(read(&application.out).expect_err("no proof").rule(), "KEY-POSSESSION");
        file::write_over(&application.out, &text.replace("\"name\"", "\"nome\"")).expect("replaced");
        let refused = read(&application.out).expect_err("unknown field").to_string();
        assert!(refused.contains("cedar.json:1: profile.nome: unknown field"), "{refused}");
    }
}
