//! Submitting entries and following them.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::json;
use syngraph_protocol::codes::Place;
use syngraph_protocol::entry::Deed;
use syngraph_protocol::ids::{EntryId, Id, MemberId};
use syngraph_protocol::ledger::asset::{AssetClass, Confidentiality, Owner, RegisterAsset};
use syngraph_protocol::ledger::proposal::Approve;
use syngraph_protocol::money::Weight;
use syngraph_protocol::name::Name;

use super::world::{Sealing, World, frames, read};
use crate::gate::{COMMANDS_MAX, Command, GateError};

/// Registers an asset of the first member.
pub(super) fn register(title: &str) -> Deed {
    Deed::RegisterAsset(RegisterAsset {
        class: AssetClass::Model,
        title: Name::new(title),
        owners: vec![Owner { member: MemberId::new(0), weight: Weight::new(1) }],
        licence: "LicenseRef-consortium".into(),
        confidentiality: Confidentiality::Clear,
        jurisdiction: Place::new("DE"),
    })
}

/// A deed that passes at the door and is refused by the ledger.
fn hopeless() -> Deed {
    Deed::Approve(Approve { proposal: Id::from_bytes([5; 32]) })
}

#[tokio::test]
async fn an_entry_is_taken_sealed_and_found() {
    let mut world = World::found(1, Sealing::AtOnce);
    let entry = world.sign_deed(0, register("Model"));
    let (status, receipt) = world.post("/v1/entries?wait=sealed", frames(&[&entry])).await;
    assert_eq!(status, StatusCode::CREATED);
    let expected = json!({
        "status": 201, "id": entry.id().to_string(), "state": "sealed", "height": 1,
        "outcome": "applied", "rule": null, "detail": null,
    });
    assert_eq!(receipt, expected);
    // The same again: known, and it needs no waiting to be told the seal.
    let (status, receipt) = world.post("/v1/entries", frames(&[&entry])).await;
    assert_eq!((status, &receipt["state"]), (StatusCode::OK, &json!("sealed")));

    let found = world.must_get(&format!("/v1/entries/{}", entry.id())).await;
    let expected = json!({
        "id": entry.id().to_string(), "state": "sealed", "height": 1, "index": 0, "outcome": "applied",
        "rule": null, "rows": 0, "entry": serde_json::to_value(&entry).expect("JSON"),
    });
    assert_eq!(found, expected);
    let metrics = world.doors.metrics.render();
    assert!(metrics.contains("syngraph_entries_accepted_total 1"), "{metrics}");
}

#[tokio::test]
async fn the_ledgers_refusal_is_in_the_receipt() {
    let mut world = World::found(1, Sealing::AtOnce);
    let entry = world.sign_deed(0, hopeless());
    let (status, receipt) = world.post("/v1/entries?wait=sealed", frames(&[&entry])).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(receipt["outcome"], json!({"refused": {"rule": "PRO-UNKNOWN"}}));
    assert_eq!(receipt["rule"], "PRO-UNKNOWN");
}

#[tokio::test]
async fn several_are_answered_one_by_one_in_order() {
    let mut world = World::found(1, Sealing::AtOnce);
    let first = world.sign_deed(0, register("One"));
    let second = world.sign_deed(0, register("Two"));
    let third = world.sign_deed(0, register("Three"));
    let mut body = frames(&[&first]);
    body.extend([0, 3, 1, 2, 3]);
    body.extend(frames(&[&third, &second]));
    let (status, receipts) = world.post("/v1/entries?wait=sealed", body).await;
    assert_eq!(status, StatusCode::OK);
    let told =
        |n: usize| (receipts[n]["status"].clone(), receipts[n]["rule"].clone(), receipts[n]["state"].clone());
    assert_eq!(receipts.as_array().map(Vec::len), Some(4));
    assert_eq!(told(0), (json!(201), json!(null), json!("sealed")));
    assert_eq!(told(1), (json!(422), json!("ENC-MALFORMED"), json!(null)));
    assert_eq!(told(2), (json!(422), json!("JRN-GAP"), json!(null)));
    assert_eq!(told(3), (json!(201), json!(null), json!("sealed")));
    assert_eq!(receipts[1]["id"], json!(null));
    assert_eq!(receipts[2]["id"], json!(third.id().to_string()));
    let metrics = world.doors.metrics.render();
    assert!(metrics.contains("syngraph_entries_refused_total{rule=\"JRN-GAP\"} 1"), "{metrics}");
}

#[tokio::test]
async fn json_does_the_same_as_frames() {
    let mut world = World::found(1, Sealing::AtOnce);
    let entries = [world.sign_deed(0, register("One")), world.sign_deed(0, register("Two"))];
    let post = |body: serde_json::Value| {
        let request = Request::post("/v1/entries").header(header::CONTENT_TYPE, "application/json");
        request.body(Body::from(body.to_string())).expect("a request")
    };
    let one = serde_json::to_value(&entries[0]).expect("JSON");
    let (status, receipt) = read(world.send(post(one)).await).await;
    assert_eq!((status, &receipt["id"]), (StatusCode::CREATED, &json!(entries[0].id().to_string())));
    let both = serde_json::to_value(&entries).expect("JSON");
    let (status, receipts) = read(world.send(post(both)).await).await;
    assert_eq!((status, &receipts[0]["status"]), (StatusCode::OK, &json!(200)));
    assert_eq!(receipts[1]["status"], json!(201));
}

#[tokio::test]
async fn a_fork_an_unknown_key_and_a_bad_signature_are_told_apart() {
    let mut world = World::found(2, Sealing::Never);
    let entry = world.sign_deed(0, register("One"));
    let (status, receipt) = world.post("/v1/entries", frames(&[&entry])).await;
    // Two members with one vote each: this node alone is no quorum.
    assert_eq!((status, &receipt["state"]), (StatusCode::CREATED, &json!("accepted")));

    let mut forked = World::found(2, Sealing::Never);
    let other = forked.sign_deed(0, register("Other"));
    let (status, problem) = world.post("/v1/entries", frames(&[&other])).await;
    assert_eq!((status, &problem["rule"]), (StatusCode::CONFLICT, &json!("JRN-FORK")));
    assert_eq!(problem["id"], json!(other.id().to_string()));
    assert_eq!(problem["instance"], "/v1/entries");

    let mut bent = entry.clone();
    bent.head.seq = syngraph_protocol::ids::Seq::new(1);
    let (status, problem) = world.post("/v1/entries", frames(&[&bent])).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(problem["rule"], "SIG-INVALID");

    let mut larger = World::found(3, Sealing::Never);
    let foreign = larger.sign_deed(0, register("Foreign"));
    let (_, problem) = world.post("/v1/entries", frames(&[&foreign])).await;
    assert_eq!(problem["rule"], "ENTRY-NETWORK");
}

#[tokio::test]
async fn what_waits_for_its_seal_can_be_asked_for() {
    let mut world = World::found(2, Sealing::Never);
    let entry = world.sign_deed(0, register("One"));
    world.post("/v1/entries", frames(&[&entry])).await;
    let found = world.must_get(&format!("/v1/entries/{}", entry.id())).await;
    assert_eq!((&found["state"], &found["height"]), (&json!("accepted"), &json!(null)));
    let journal = world.keys[0].journal.public();
    let expected = json!({
        "journal": journal.to_string(), "member": 0, "next_seq": 1,
        "last_entry": entry.id().to_string(), "replicated_next_seq": 0, "sealed_next_seq": 0, "ends": null,
    });
    assert_eq!(world.must_get(&format!("/v1/journals/{journal}")).await, expected);
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_with_the_state_that_was_reached() {
    // With both votes missing nothing is sealed: the wait runs out.
    let mut world = World::found(2, Sealing::Never);
    for wait in ["sealed", "replicated"] {
        let entry = world.sign_deed(0, register(wait));
        let (status, receipt) = world.post(&format!("/v1/entries?wait={wait}"), frames(&[&entry])).await;
        assert_eq!((status, &receipt["state"]), (StatusCode::CREATED, &json!("accepted")), "{wait}");
        let told = receipt["waiting_for"].as_str().expect("what it waits for");
        let expected = match wait {
            "sealed" => "1 entries wait for nodes with a quorum of the voting power: Birch not connected",
            _ => "nodes with a quorum of the voting power: Birch not connected",
        };
        assert_eq!(told, expected);
    }
    // A stopping node does not keep anybody waiting.
    let entry = world.sign_deed(0, register("late"));
    world.stop.send_replace(true);
    let begun = tokio::time::Instant::now();
    let (_, receipt) = world.post("/v1/entries?wait=sealed", frames(&[&entry])).await;
    assert_eq!((&receipt["state"], begun.elapsed().as_secs()), (&json!("accepted"), 0));
}

#[tokio::test]
async fn a_member_with_a_quorum_of_its_own_replicates_alone() {
    let mut world = World::found(1, Sealing::Never);
    let entry = world.sign_deed(0, register("One"));
    let (_, receipt) = world.post("/v1/entries?wait=replicated", frames(&[&entry])).await;
    assert_eq!(receipt["state"], "replicated");
}

#[tokio::test]
async fn replicated_follows_from_the_seal_otherwise() {
    let mut world = World::found(2, Sealing::AtOnce);
    let entry = world.sign_deed(1, register_of(1));
    let (_, receipt) = world.post("/v1/entries?wait=replicated", frames(&[&entry])).await;
    assert_eq!((&receipt["state"], &receipt["height"]), (&json!("sealed"), &json!(1)));
}

pub(super) fn register_of(member: u32) -> Deed {
    let Deed::RegisterAsset(mut deed) = register("Theirs") else { unreachable!("it registers an asset") };
    deed.owners[0].member = MemberId::new(member);
    Deed::RegisterAsset(deed)
}

#[tokio::test]
async fn a_full_channel_is_told_at_once() {
    let mut world = World::found(1, Sealing::Never);
    let snapshot = world.gate.snapshot().as_ref().clone();
    let (gate, core) = world.second_gate(snapshot);
    let id = EntryId::from_bytes([0; 32]);
    let asking: Vec<_> = (0..COMMANDS_MAX)
        .map(|_| {
            let gate = gate.clone();
            tokio::spawn(async move { gate.find(id).await.map(|held| held.is_some()) })
        })
        .collect();
    while gate.waiting() < COMMANDS_MAX {
        tokio::task::yield_now().await;
    }
    let entry = world.sign_deed(0, register("One"));
    let verified =
        syngraph_protocol::entry::VerifiedEntry::verify(entry, gate.info().network).expect("valid");
    assert_eq!(gate.submit(vec![verified]).await, Err(GateError::Busy));
    // Whoever was let in and then left unanswered is told that the node is stopping.
    drop(core);
    for asked in asking {
        assert_eq!(asked.await.expect("no panic"), Err(GateError::Closed));
    }
    assert!(matches!(gate.tip(world.keys[0].journal.public()).await, Err(GateError::Closed)));
}

#[tokio::test]
async fn commands_arrive_in_the_order_they_were_given() {
    let mut world = World::found(1, Sealing::Never);
    let snapshot = world.gate.snapshot().as_ref().clone();
    let (gate, mut core) = world.second_gate(snapshot);
    let journal = world.keys[0].journal.public();
    let entry = world.sign_deed(0, register("One"));
    let verified =
        syngraph_protocol::entry::VerifiedEntry::verify(entry, gate.info().network).expect("valid");
    let asked = tokio::spawn(async move { tokio::join!(gate.submit(vec![verified]), gate.tip(journal)) });
    let Some(Command::Submit { entries, reply }) = core.commands.recv().await else {
        panic!("submitted first")
    };
    assert_eq!(entries.len(), 1);
    reply.send(Vec::new()).expect("the asker waits");
    let Some(Command::Tip { reply, .. }) = core.commands.recv().await else { panic!("then asked") };
    reply.send(None).expect("the asker waits");
    assert_eq!(asked.await.expect("no panic"), (Ok(Vec::new()), Ok(None)));
}
