//! Lists, single things, history.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use super::submit::register;
use super::world::{FOUNDED, GENESIS_TOML, Sealing, World, bytes};

#[tokio::test]
async fn status_and_genesis_say_what_this_node_is() {
    let mut world = World::found(1, Sealing::AtOnce);
    let network = world.gate.info().network.to_string();
    let status = world.must_get("/v1/status").await;
    let expected = json!({
        "network": network, "member": 0, "name": "aster-1", "height": 0, "block": "00".repeat(32),
        "state_root": status["state_root"], "log_size": 0, "rows_sealed": 0, "ready": true, "peers_connected": 0,
        "time": FOUNDED.to_string(),
    });
    assert_eq!(status, expected);
    assert_eq!(status["time"], "2026-10-01T00:00:00.000Z");
    let entry = world.sign_deed(0, register("One"));
    world.seal(&entry).await;
    let later = world.must_get("/v1/status").await;
    assert_eq!((&later["height"], &later["log_size"]), (&json!(1), &json!(1)));
    let block = world.must_get("/v1/blocks/1").await;
    assert_eq!((&block["id"], &block["state_root"]), (&later["block"], &later["state_root"]));

    let request = Request::get("/v1/genesis").body(Body::empty()).expect("a request");
    assert_eq!(bytes(world.send(request).await).await, GENESIS_TOML.as_bytes());
}

#[tokio::test]
async fn pages_add_up_to_the_whole_list() {
    let mut world = World::found(1, Sealing::AtOnce);
    let mut ids = BTreeSet::new();
    for number in 0..5 {
        let entry = world.sign_deed(0, register(&format!("Model {number}")));
        ids.insert(world.seal(&entry).await.to_string());
    }
    let mut seen = Vec::new();
    let mut uri = "/v1/assets?limit=2".to_owned();
    let mut sizes = Vec::new();
    loop {
        let page = world.must_get(&uri).await;
        let items = page["items"].as_array().expect("a list").clone();
        sizes.push(items.len());
        seen.extend(items.iter().map(|item| item["id"].as_str().expect("an id").to_owned()));
        let Some(cursor) = page["next"].as_str() else { break };
        uri = format!("/v1/assets?limit=2&cursor={cursor}");
        assert_eq!(world.refused(&format!("/v1/members?cursor={cursor}")).await, (400, "HTTP-CURSOR".into()));
    }
    assert_eq!(sizes, [2, 2, 1]);
    assert_eq!(seen, ids.into_iter().collect::<Vec<_>>());
    // A page that ends exactly at the end says so.
    assert_eq!(world.must_get("/v1/assets?limit=5").await["next"], Value::Null);
}

#[tokio::test]
async fn a_member_is_shown_with_its_keys() {
    let world = World::found(2, Sealing::Never);
    let list = world.must_get("/v1/members").await;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(2));
    let member = world.must_get("/v1/members/0").await;
    let keys = member["keys"].as_array().expect("keys").clone();
    let purposes: BTreeSet<_> = keys.iter().map(|key| key["purpose"].as_str().expect("a word")).collect();
    assert_eq!(purposes, BTreeSet::from(["journal", "root", "transport", "validator"]));
    let journal = world.keys[0].journal.public().to_string();
    let key = keys.iter().find(|key| key["key"] == journal).expect("its journal key");
    let expected = json!({
        "key": journal, "purpose": "journal", "scope": null, "since": 0, "until": null, "revoked": null,
        "frozen": null,
    });
    assert_eq!(*key, expected);
    let mut shown = member.clone();
    shown.as_object_mut().expect("an object").remove("keys");
    let expected = json!({
        "id": 0, "name": "Aster", "jurisdiction": "DE", "status": "active", "power": 1, "since": 0,
        "root": member["root"], "node": {
            "validator": member["node"]["validator"], "transport": member["node"]["transport"], "journal": journal,
        },
    });
    assert_eq!(shown, expected);
    assert_eq!(list["items"][0], expected);
    assert_eq!(world.must_get("/v1/members/0?as_of=0").await, member);
}

#[tokio::test]
async fn an_asset_is_shown_as_it_was() {
    let mut world = World::found(1, Sealing::AtOnce);
    for title in ["First", "Second"] {
        let entry = world.sign_deed(0, register(title));
        world.seal(&entry).await;
    }
    let list = world.must_get("/v1/assets").await;
    let second = list["items"].as_array().expect("a list").iter().find(|item| item["title"] == "Second");
    let id = second.expect("it is registered")["id"].as_str().expect("an id").to_owned();
    let expected = json!({
        "id": id, "class": "model", "title": "Second", "controller": 0, "controller_name": "Aster",
        "licence": "LicenseRef-consortium", "confidentiality": "clear", "jurisdiction": "DE", "since": 2,
        "owners": [{"member": 0, "member_name": "Aster", "weight": "1"}],
        "splits": [{"from": null, "owners": [{"member": 0, "member_name": "Aster", "weight": "1"}]}],
        "versions_total": 0, "versions": [],
    });
    assert_eq!(world.must_get(&format!("/v1/assets/{id}")).await, expected);
    assert_eq!(world.must_get(&format!("/v1/assets/{id}?as_of=2")).await, expected);
    let before = world.refused(&format!("/v1/assets/{id}?as_of=1")).await;
    assert_eq!(before, (404, "AST-UNKNOWN".into()));
    let future = world.refused(&format!("/v1/assets/{id}?as_of=3")).await;
    assert_eq!(future, (400, "ASOF-FUTURE".into()));
}

#[tokio::test]
async fn a_block_is_shown_with_its_proof() {
    let mut world = World::found(2, Sealing::AtOnce);
    let entry = world.sign_deed(0, register("One"));
    world.seal(&entry).await;
    let block = world.must_get("/v1/blocks/1").await;
    assert_eq!(block["height"], json!(1));
    assert_eq!((&block["built_by"], &block["built_by_name"]), (&json!(0), &json!("Aster")));
    let journal = world.keys[0].journal.public().to_string();
    assert_eq!(block["cut"], json!([{"journal": journal, "seq": 0, "entry": entry.id().to_string()}]));
    let signatures = block["certificate"]["signatures"].as_array().expect("a list");
    let signers: Vec<_> = signatures.iter().map(|signature| signature["member_name"].clone()).collect();
    assert_eq!(signers, [json!("Aster"), json!("Birch")]);
}

#[tokio::test]
async fn metrics_follow_the_state() {
    let mut world = World::found(1, Sealing::AtOnce);
    let entry = world.sign_deed(0, register("One"));
    world.seal(&entry).await;
    let request = Request::get("/metrics").body(Body::empty()).expect("a request");
    let text = String::from_utf8(bytes(world.send(request).await).await).expect("text");
    for line in [
        "syngraph_height 1",
        "syngraph_log_size 1",
        "syngraph_ready 1",
        "syngraph_rows_sealed_total 0",
        "syngraph_http_requests_total{route=\"/v1/entries\",method=\"POST\",status=\"201\"} 1",
    ] {
        assert!(text.lines().any(|got| got == line), "{line} is missing in\n{text}");
    }
}
