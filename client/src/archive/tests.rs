use super::*;
use syngraph_protocol::archive::ManifestFile;
use syngraph_protocol::crypto;
use syngraph_protocol::ids::{BlockId, Hash, Height, NetworkId};

/// Packs files into a `.tar.zst`.
pub(crate) fn pack(files: &[(String, Vec<u8>)], to: &Path) {
    let encoder =
        zstd::stream::write::Encoder::new(File::create(to).expect("writable"), 3).expect("an encoder");
    let mut tar = tar::Builder::new(encoder);
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, &bytes[..]).expect("writable");
    }
    tar.into_inner().and_then(zstd::stream::write::Encoder::finish).expect("writable");
}

/// Writes files below a folder.
pub(crate) fn spread(files: &[(String, Vec<u8>)], to: &Path) {
    for (name, bytes) in files {
        let path = to.join(name);
        fs::create_dir_all(path.parent().expect("below the folder")).expect("writable");
        fs::write(path, bytes).expect("writable");
    }
}

/// The manifest of some files.
pub(crate) fn listed(files: &[(String, Vec<u8>)]) -> Vec<ManifestFile> {
    let list = |(path, bytes): &(String, Vec<u8>)| ManifestFile {
        path: path.clone(),
        size: bytes.len() as u64,
        sha256: crypto::sha256(&[bytes]),
    };
    files.iter().map(list).collect()
}

fn small() -> Vec<(String, Vec<u8>)> {
    let mut files =
        vec![("genesis.toml".to_owned(), b"g".to_vec()), ("blocks/000.p/1".to_owned(), b"block".to_vec())];
    let manifest = Manifest {
        version: MANIFEST_VERSION,
        network: NetworkId::from_bytes([1; 32]),
        first_height: Height::new(1),
        last_height: Height::new(1),
        block: BlockId::from_bytes([2; 32]),
        state_root: Hash::from_bytes([3; 32]),
        log_size: 0,
        files: listed(&files),
    };
    files.push((MANIFEST_PATH.to_owned(), manifest.to_string().into_bytes()));
    files
}

fn walked(path: &Path) -> Result<Vec<(String, Vec<u8>)>, &'static str> {
    let mut files = Vec::new();
    walk(path, &mut |name, bytes| {
        files.push((name.to_owned(), bytes));
        true
    })
    .map_err(|error| error.rule())?;
    Ok(files)
}

#[test]
fn both_forms_and_a_repacked_one_give_the_same_files() {
    let dir = tempfile::tempdir().expect("a folder");
    let (folder, tar) = (dir.path().join("d"), dir.path().join("a.tar.zst"));
    let mut files = small();
    spread(&files, &folder);
    pack(&files, &tar);
    assert_eq!(walked(&folder), Ok(files.clone()));
    assert_eq!(walked(&tar), Ok(files.clone()));
    files.reverse();
    for prefix in ["", "./", "archive/"] {
        let again: Vec<_> =
            files.iter().map(|(name, bytes)| (format!("{prefix}{name}"), bytes.clone())).collect();
        pack(&again, &tar);
        assert_eq!(walked(&tar).map(|files| files.len()), Ok(3), "{prefix:?}");
    }
}

#[test]
fn names_that_lead_outside_are_refused() {
    for bad in ["../x", "/etc/x", "a//b", "a/./b", "", "a/", "A", "a b", "a/../../b"] {
        assert_eq!(check_name(bad).map_err(|e| e.rule()), Err("ARC-NAME"), "{bad:?}");
    }
    assert!(check_name("entries/x001/000.p/9").is_ok());
}

#[test]
fn damage_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    assert_eq!(walked(&dir.path().join("none")), Err("ARC-UNREADABLE"));
    let folder = dir.path().join("d");
    spread(&small(), &folder);
    fs::create_dir(folder.join("statements")).expect("writable");
    assert_eq!(walked(&folder).map(|files| files.len()), Ok(3), "an empty folder says nothing");
    let note = folder.join("statements/2026-10.json");
    fs::write(&note, "{}").expect("writable");
    assert_eq!(walked(&folder), Err("ARC-SURPLUS"));
    fs::remove_file(note).expect("there");
    fs::remove_file(folder.join("blocks/000.p/1")).expect("there");
    assert_eq!(walked(&folder), Err("ARC-MISSING"));
    let text = fs::read_to_string(folder.join(MANIFEST_PATH)).expect("there");
    fs::write(folder.join(MANIFEST_PATH), text.replacen("  ", " ", 1)).expect("writable");
    assert_eq!(walked(&folder), Err("ARC-MANIFEST"));
    let tar = dir.path().join("a.tar.zst");
    fs::write(&tar, b"no archive").expect("writable");
    assert_eq!(walked(&tar), Err("ARC-TAR"));
}
