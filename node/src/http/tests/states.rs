//! How far entries have come, following many of them, and why blocks don't come.

use axum::http::StatusCode;
use serde_json::{Value, json};
use syngraph_protocol::codes::{Act, Meter, Place, Purpose};
use syngraph_protocol::entry::{Body, Deed, SignedEntry, SignedHead, Slot};
use syngraph_protocol::ids::{Height, Id, MemberId};
use syngraph_protocol::ledger::equivocation::{Evidence, ReportEquivocation};
use syngraph_protocol::ledger::usage::{ReportUsage, UsageContext, UsageRow};

use super::money::event_id;
use super::submit::register;
use super::world::{Sealing, World, frames, idle};
use crate::consensus::Progress;

/// The same place of a journal, filled otherwise.
fn fork_of(world: &World, member: usize, entry: &SignedEntry) -> SignedEntry {
    let head = &entry.head;
    let slot = Slot {
        network: head.network,
        member: head.member,
        seq: head.seq,
        prev: head.prev,
        claimed_at: head.claimed_at.plus_ms(1),
    };
    SignedEntry::sign(&world.keys[member].journal, slot, entry.body.clone())
}

/// Proves that a member's journal has forked: it is frozen.
async fn freeze(world: &mut World, one: &SignedEntry, other: &SignedEntry) {
    let head = |entry: &SignedEntry| SignedHead { head: entry.head.clone(), signature: entry.signature };
    let evidence = Evidence::entries(head(one), head(other)).expect("they contradict");
    let report = world.sign_deed(0, Deed::ReportEquivocation(ReportEquivocation { evidence }));
    world.seal(&report).await;
}

#[tokio::test]
async fn what_a_frozen_key_has_said_beyond_the_last_block_has_lapsed() {
    let mut world = World::found(2, Sealing::AtOnce);
    let sealed = world.sign_deed(1, super::submit::register_of(1));
    world.seal(&sealed).await;
    let late = world.sign_deed(1, super::submit::register_of(1));
    let other = fork_of(&world, 1, &late);
    freeze(&mut world, &late, &other).await;

    // Nobody waits for what can never come, and nothing is said to keep it.
    let (status, receipt) = world.post("/v1/entries?wait=sealed", frames(&[&late])).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!((&receipt["state"], &receipt["rule"]), (&json!("lapsed"), &json!("KEY-FROZEN")));
    assert_eq!(receipt.get("waiting_for"), None);
    let shown = world.must_get(&format!("/v1/entries/{}?wait=sealed", late.id())).await;
    assert_eq!((&shown["state"], &shown["rule"]), (&json!("lapsed"), &json!("KEY-FROZEN")));
    // What was sealed before stays so.
    let shown = world.must_get(&format!("/v1/entries/{}", sealed.id())).await;
    assert_eq!((&shown["state"], &shown["rule"]), (&json!("sealed"), &Value::Null));
    let journal = world.keys[1].journal.public();
    let view = world.must_get(&format!("/v1/journals/{journal}?until_sealed=1")).await;
    assert_eq!(view["ends"], json!({"seq": 1, "rule": "KEY-FROZEN"}));
}

fn report() -> Body {
    let context = UsageContext {
        agreement: Id::from_bytes([1; 32]),
        grant: 0,
        version: Id::from_bytes([2; 32]),
        act: Act::new("infer.service"),
        purpose: Purpose::new("commercial.service"),
        territory: Place::new("NL"),
        meter: Meter::new("tokens"),
        payer: MemberId::new(0),
    };
    let row = UsageRow { event_id: event_id("2026-10-01T00:00:00Z", 7), context: 0, quantity: 5 };
    Body::ReportUsage(ReportUsage { contexts: vec![context], rows: vec![row] })
}

#[tokio::test]
async fn the_body_of_a_report_is_shown_on_request() {
    let mut world = World::found(1, Sealing::AtOnce);
    let entry = world.sign(0, report());
    world.post("/v1/entries?wait=sealed", frames(&[&entry])).await;
    let shown = async |query: &str| world.must_get(&format!("/v1/entries/{}{query}", entry.id())).await;
    let (brief, full) = (shown("").await, shown("?body=true").await);
    assert_eq!((&brief["rows"], brief["entry"].get("body")), (&json!(1), None));
    assert_eq!(full["entry"], serde_json::to_value(&entry).expect("JSON"));
    let deed = world.sign_deed(0, register("Model"));
    world.seal(&deed).await;
    let without = world.must_get(&format!("/v1/entries/{}?body=false", deed.id())).await;
    assert_eq!(without["entry"].get("body"), None);
}

#[tokio::test]
async fn many_entries_are_followed_with_two_questions() {
    let mut world = World::found(1, Sealing::AtOnce);
    let entries = ["One", "Two", "Three"].map(|title| world.sign_deed(0, register(title)));
    let journal = world.keys[0].journal.public();
    let follow = format!("/v1/journals/{journal}?until_sealed=1&until_replicated=2");
    let (view, _) =
        tokio::join!(world.must_get(&follow), world.post("/v1/entries", frames(&[&entries[0], &entries[1]])));
    assert_eq!((&view["sealed_next_seq"], &view["replicated_next_seq"]), (&json!(2), &json!(2)));
    let ids = entries.iter().map(|entry| entry.id().to_string()).collect::<Vec<_>>().join(",");
    let outcomes = world.must_get(&format!("/v1/outcomes?ids={ids}")).await;
    let expected = json!([
        {"id": entries[0].id(), "height": 1, "index": 0, "outcome": "applied"},
        {"id": entries[1].id(), "height": 1, "index": 1, "outcome": "applied"},
    ]);
    assert_eq!(outcomes, expected, "what is not sealed is left out");
    assert_eq!(world.refused("/v1/outcomes?ids=5").await, (400, "HTTP-QUERY".to_owned()));
    assert_eq!(world.refused("/v1/outcomes").await, (400, "HTTP-QUERY".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn following_ends_although_nothing_comes() {
    let world = World::found(2, Sealing::Never);
    let journal = world.keys[0].journal.public();
    let begun = tokio::time::Instant::now();
    let view = world.must_get(&format!("/v1/journals/{journal}?until_sealed=0")).await;
    assert_eq!((&view["sealed_next_seq"], begun.elapsed().as_secs()), (&json!(0), 30));
    assert_eq!(
        world.refused(&format!("/v1/journals/{}?until_sealed=0", super::world::stranger())).await.1,
        "KEY-UNKNOWN"
    );
    assert_eq!(begun.elapsed().as_secs(), 30, "nobody waits for a key that is unknown");
}

fn under_way(world: &World, progress: Progress) {
    *world.step.lock().expect("no test panics with it") = progress;
}

#[tokio::test]
async fn a_stall_names_who_is_waited_for() {
    let world = World::found(3, Sealing::Never);
    let idle_view = world.must_get("/v1/status/stall").await;
    assert_eq!((&idle_view["reason"], &idle_view["waiting_for"]), (&json!("nothing to seal"), &json!([])));
    assert_eq!((&idle_view["height"], &idle_view["proposer"]), (&json!(1), &Value::Null));

    let members = |ids: &[u32]| ids.iter().map(|id| MemberId::new(*id)).collect::<Vec<_>>();
    let progress = Progress {
        height: Height::new(1),
        waiting: false,
        round: 2,
        proposer: Some(MemberId::new(2)),
        connected: members(&[1]),
        ..idle()
    };
    under_way(&world, progress.clone());
    let view = world.must_get("/v1/status/stall").await;
    assert_eq!(view["reason"], "round 2 waits for the proposal of Cedar, whose node is not connected");
    assert_eq!(
        (&view["proposer"], &view["proposer_name"], &view["round"]),
        (&json!(2), &json!("Cedar"), &json!(2))
    );

    let voted = Progress { proposal_seen: true, prevotes: members(&[0, 1]), ..progress };
    under_way(&world, voted);
    let view = world.must_get("/v1/status/stall").await;
    let silent = |member: u32, name: &str, connected: bool, missing: &[&str]| json!({"member": member, "name": name, "connected": connected, "missing": missing});
    let expected = json!([
        silent(0, "Aster", true, &["precommit"]),
        silent(1, "Birch", true, &["precommit"]),
        silent(2, "Cedar", false, &["prevote", "precommit"]),
    ]);
    assert_eq!(view["waiting_for"], expected);
    assert_eq!(view["reason"], "round 2 waits for prevotes of a quorum: none from Cedar");
    assert_eq!((&view["entries_missing"], &view["entries_unsealed"]), (&json!(0), &json!(0)));
    assert_eq!(world.must_get("/v1/status").await["peers_connected"], 0);
}
