//! Key files, and the keys that the ledger knows.

pub(crate) mod args;

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;
use syngraph_client::key::{Key, KeyError};
use syngraph_config::file::ConfigError;
use syngraph_protocol::entry::Deed;
use syngraph_protocol::ids::PublicKey;
use syngraph_protocol::ledger::member::{AdmitKey, Scope, prove_possession};

use super::CliError;
use super::session::Session;
use super::view::{self, Column};
use crate::output::{Answer, Table};
use args::{AdmitKeyArgs, KeyCommand, ListKeys, NewKey};

/// Keys of a member, as the ledger has them.
pub(super) const KEYS: &[Column] = &[
    ("key", "/key"),
    ("purpose", "/purpose"),
    ("since block", "/since"),
    ("until", "/until"),
    ("revoked after", "/revoked/seq"),
    ("frozen since block", "/frozen"),
    ("scope", "/scope"),
];

/// A key file, without what is secret in it.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct KeyView {
    public: PublicKey,
    purpose: String,
    file: PathBuf,
}

impl KeyView {
    fn new(key: &Key, file: &Path) -> Self {
        Self { public: key.public(), purpose: key.purpose().to_owned(), file: file.to_owned() }
    }
}

/// Does what the command line asks for.
///
/// # Errors
/// What is wrong with a file, and as the node refuses.
pub(super) async fn run(session: &Session, command: KeyCommand) -> Result<Answer, CliError> {
    match command {
        KeyCommand::New(new) => make(&new),
        KeyCommand::List(list) if list.paths.is_empty() => of_member(session, list).await,
        KeyCommand::List(list) => Ok(local(&files(&list.paths)?)),
        KeyCommand::Admit(admit) => admit_key(session, admit).await,
    }
}

fn make(new: &NewKey) -> Result<Answer, CliError> {
    let key = Key::generate(&new.purpose)?;
    key.save(&new.file)?;
    let view = KeyView::new(&key, &new.file);
    let text =
        format!("{} in {}; keep the file to yourself, and a copy of it", view.public, view.file.display());
    Ok(Answer::new(&view).text(text))
}

fn local(keys: &[KeyView]) -> Answer {
    let mut table = Table::new(["key", "purpose", "file"]);
    for key in keys {
        table.push([key.public.to_string(), key.purpose.clone(), key.file.display().to_string()]);
    }
    Answer::new(&keys).table(table, "no key files")
}

/// The key files that were named, and those in the folders that were named. What is no key
/// file is passed over in folders, and refused when it was named itself.
fn files(paths: &[PathBuf]) -> Result<Vec<KeyView>, CliError> {
    let mut keys = Vec::new();
    for path in paths {
        if !path.is_dir() {
            keys.push(KeyView::new(&Key::load(path)?, path));
            continue;
        }
        for path in in_folder(path)? {
            match Key::load(&path) {
                Ok(key) => keys.push(KeyView::new(&key, &path)),
                Err(KeyError::File(_) | KeyError::Open { .. }) if !is_key_file(&path) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(keys)
}

/// Whether a file says of itself that it holds a private key.
fn is_key_file(path: &Path) -> bool {
    let text = syngraph_config::file::read_text(path).unwrap_or_default();
    text.lines().any(|line| line.trim_start().starts_with("seed"))
}

fn in_folder(folder: &Path) -> Result<Vec<PathBuf>, CliError> {
    let unreadable = |source| ConfigError::Read { path: folder.to_owned(), source };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

async fn of_member(session: &Session, list: ListKeys) -> Result<Answer, CliError> {
    let member = match &list.member {
        Some(name) => session.member(name).await?,
        None => session.own_member().await?,
    };
    let found: Value = session.node()?.get(&format!("/v1/members/{member}")).await?;
    let keys = view::items(&found, "/keys");
    Ok(Answer::new(&keys).table(view::table(keys, KEYS), "no keys"))
}

async fn admit_key(session: &Session, admit: AdmitKeyArgs) -> Result<Answer, CliError> {
    let (root, new) = (session.key()?, Key::load(&admit.file)?);
    let needed = admit.agreements.iter().filter_map(|agreement| agreement.needs());
    let directory = session.directory(needed).await?;
    let network = session.node()?.status().await?.network;
    let agreements = admit.agreements.iter().map(|agreement| directory.agreement(agreement));
    let scope =
        Scope { bodies: sorted(admit.bodies), agreements: sorted(agreements.collect::<Result<_, _>>()?) };
    let possession = prove_possession(network, &root.public(), new.secret());
    let deed = AdmitKey { key: new.public(), scope, until: admit.until, possession };
    session.act(Deed::AdmitKey(deed), &format!("key {} is admitted", new.public())).await
}

/// A list as scopes have it: sorted, each once; none for an empty one.
fn sorted<T: Ord>(mut list: Vec<T>) -> Option<Vec<T>> {
    list.sort();
    list.dedup();
    Some(list).filter(|list| !list.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_searched_and_what_is_no_key_is_passed_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("b.key");
        let answer = make(&NewKey { file: path.clone(), purpose: "app".into() }).expect("new");
        assert!(!answer.json().contains("seed") && !answer.plain().contains("seed"));
        make(&NewKey { file: folder.path().join("a.key"), purpose: "root".into() }).expect("new");
        std::fs::write(folder.path().join("notes.txt"), "not a key").expect("written");
        let found = files(&[folder.path().to_owned()]).expect("readable");
        let purposes: Vec<_> = found.iter().map(|key| key.purpose.as_str()).collect();
        assert_eq!(purposes, ["root", "app"]);
        assert_eq!(
            files(std::slice::from_ref(&path)).expect("a key"),
            [found.into_iter().nth(1).expect("two")]
        );
        assert!(make(&NewKey { file: path, purpose: "app".into() }).is_err());
    }

    #[test]
    fn a_damaged_key_file_is_named_and_not_passed_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.key");
        make(&NewKey { file: path.clone(), purpose: "app".into() }).expect("new");
        let text = std::fs::read_to_string(&path).expect("there").replace("version = 1", "version = ");
        std::fs::write(&path, text).expect("own file");
        let refused = files(&[folder.path().to_owned()]).expect_err("damaged").to_string();
        assert!(refused.contains("a.key:"), "{refused}");
        let missing = files(&[folder.path().join("none.key")]).expect_err("no file");
        assert_eq!(missing.rule(), "CFG-READ");
    }

    #[test]
    fn scopes_are_sorted_and_empty_ones_are_none() {
        assert_eq!(sorted(vec![3, 1, 3]), Some(vec![1, 3]));
        assert_eq!(sorted::<u8>(Vec::new()), None);
    }
}
