//! The export, read back file by file.

use std::collections::BTreeMap;
use std::io::Read;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use syngraph_protocol::archive::{Manifest, block_records, bundle_entries};
use syngraph_protocol::crypto;
use syngraph_protocol::entry::VerifiedEntry;
use syngraph_protocol::ids::Height;

use super::submit::register;
use super::world::{GENESIS_TOML, Sealing, World, bytes};
use crate::http::doors::ARCHIVES_MAX;

async fn download(world: &World, uri: &str) -> Vec<u8> {
    let response = world.send(Request::get(uri).body(Body::empty()).expect("a request")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(
        response.headers().get(header::CONTENT_TYPE).map(|v| v.as_bytes()),
        Some(&b"application/zstd"[..])
    );
    bytes(response).await
}

/// The files of an archive, in order.
fn unpack(stream: &[u8]) -> Vec<(String, Vec<u8>)> {
    let tar = zstd::decode_all(stream).expect("zstd");
    let mut archive = tar::Archive::new(&tar[..]);
    let read = |entry: std::io::Result<tar::Entry<'_, _>>| {
        let mut entry = entry.expect("a tar entry");
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("its bytes");
        (entry.path().expect("a path").display().to_string(), bytes)
    };
    archive.entries().expect("a tar").map(read).collect()
}

fn names(files: &[(String, Vec<u8>)]) -> Vec<&str> {
    files.iter().map(|(name, _)| name.as_str()).collect()
}

async fn history(blocks: u32) -> World {
    let mut world = World::found(1, Sealing::AtOnce);
    for number in 0..blocks {
        let entry = world.sign_deed(0, register(&format!("Model {number}")));
        world.seal(&entry).await;
    }
    world
}

#[tokio::test]
async fn it_holds_the_whole_history() {
    let world = history(3).await;
    let stream = download(&world, "/archive").await;
    let files = unpack(&stream);
    assert_eq!(names(&files), ["genesis.toml", "blocks/000.p/3", "entries/000.p/3", "manifest.json"]);
    let content: BTreeMap<_, _> = files.iter().cloned().collect();
    assert_eq!(content["genesis.toml"], GENESIS_TOML.as_bytes());

    let text = String::from_utf8(content["manifest.json"].clone()).expect("text");
    let manifest: Manifest = serde_json::from_str(&text).expect("JSON");
    assert_eq!(manifest.to_string(), text);
    for file in &manifest.files {
        let bytes = &content[&file.path];
        assert_eq!(file.size, u64::try_from(bytes.len()).expect("small"), "{}", file.path);
        assert_eq!(file.sha256, crypto::sha256(&[bytes]), "{}", file.path);
    }
    let snapshot = world.gate.snapshot();
    assert_eq!((manifest.last_height, manifest.log_size), (Height::new(3), 3));
    assert_eq!(manifest.state_root, snapshot.ledger.state_root());
    assert_eq!(manifest.block, snapshot.ledger.block_id());

    let records: Vec<_> =
        block_records(&content["blocks/000.p/3"]).map(|record| record.expect("a block")).collect();
    for (height, (header, certificate)) in (1..).zip(&records) {
        let voters = snapshot.ledger.voters();
        certificate.verify(header.network, Height::new(height), header.id(), voters).expect("a certificate");
    }
    let entries = bundle_entries(&content["entries/000.p/3"]);
    for entry in entries {
        VerifiedEntry::decode(entry.expect("framed"), manifest.network).expect("an entry");
    }
    // The same history gives the same bytes.
    assert_eq!(download(&world, "/archive?from=1").await, stream);
}

#[tokio::test]
async fn it_can_end_earlier_and_can_be_empty() {
    let world = history(2).await;
    let files = unpack(&download(&world, "/archive?to=1").await);
    assert_eq!(names(&files), ["genesis.toml", "blocks/000.p/1", "entries/000.p/1", "manifest.json"]);
    let world = World::found(1, Sealing::Never);
    let files = unpack(&download(&world, "/archive").await);
    assert_eq!(names(&files), ["genesis.toml", "manifest.json"]);
}

#[tokio::test]
async fn its_places_are_counted_and_given_back() {
    let world = history(1).await;
    let places: Vec<_> = (0..ARCHIVES_MAX).map(|_| world.doors.archive_place().expect("a place")).collect();
    assert_eq!(world.refused("/archive").await, (503, "ARCHIVE-BUSY".into()));
    drop(places);
    assert!(!download(&world, "/archive").await.is_empty());
}

#[tokio::test]
async fn a_stopping_node_breaks_it_off() {
    let world = history(1).await;
    world.stop.send_replace(true);
    let response = world.send(Request::get("/archive").body(Body::empty()).expect("a request")).await;
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await;
    assert!(body.is_err(), "a part must not pass for the whole");
}
