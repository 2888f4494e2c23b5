//! What the door refuses, and how it says so.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode, header};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tower::ServiceExt;

use super::submit::register;
use super::world::{Sealing, World, frames, read};
use crate::gate::{Readiness, Snapshot};
use crate::http::body::{BODY_BYTES_MAX, ENTRIES_MAX};
use crate::http::doors::{BODIES_KIB_MAX, Doors};
use crate::http::{bind, router};
use crate::telemetry::Metrics;

async fn refusal(world: &World, request: Request<Body>) -> (u16, String) {
    let (status, problem) = read(world.send(request).await).await;
    assert_eq!(problem["status"], json!(status.as_u16()));
    assert_eq!(
        problem["type"],
        json!(format!("urn:syngraph:rule:{}", problem["rule"].as_str().expect("a rule")))
    );
    (status.as_u16(), problem["rule"].as_str().expect("a rule").to_owned())
}

fn post(kind: &str, body: Body) -> Request<Body> {
    Request::post("/v1/entries").header(header::CONTENT_TYPE, kind).body(body).expect("a request")
}

const FRAMES: &str = "application/octet-stream";

#[tokio::test]
async fn bad_bodies_are_refused_as_a_whole() {
    let world = World::found(1, Sealing::Never);
    for (kind, body, expected) in [
        (FRAMES, Vec::new(), (400, "HTTP-NO-ENTRIES")),
        (FRAMES, vec![0, 9, 1], (400, "HTTP-FRAME")),
        (FRAMES, vec![0; 2 * ENTRIES_MAX + 2], (413, "HTTP-TOO-MANY-ENTRIES")),
        ("application/json", b"[]".to_vec(), (400, "HTTP-NO-ENTRIES")),
        ("application/json", b"{\"head\": 5}".to_vec(), (400, "HTTP-JSON")),
        ("application/json", b"{\"head\"".to_vec(), (400, "HTTP-JSON")),
        ("text/csv", b"a,b".to_vec(), (415, "HTTP-CONTENT-TYPE")),
        (FRAMES, vec![0, 0], (422, "ENC-MALFORMED")),
    ] {
        let got = refusal(&world, post(kind, body.into())).await;
        assert_eq!((got.0, got.1.as_str()), expected);
    }
}

#[tokio::test]
async fn long_bodies_are_refused_before_they_are_read() {
    let world = World::found(1, Sealing::Never);
    let announced = Request::post("/v1/entries")
        .header(header::CONTENT_TYPE, FRAMES)
        .header(header::CONTENT_LENGTH, BODY_BYTES_MAX + 1)
        .body(Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>()));
    let expected = (413, "HTTP-BODY-TOO-LARGE".to_owned());
    assert_eq!(refusal(&world, announced.expect("a request")).await, expected);
    // Without a length the reading stops at the limit, however much would come.
    let piece = Bytes::from(vec![0; 1024 * 1024]);
    let endless = futures::stream::repeat_with(move || Ok::<_, std::io::Error>(piece.clone()));
    assert_eq!(refusal(&world, post(FRAMES, Body::from_stream(endless))).await, expected);
    let broken = futures::stream::once(async { Err::<Bytes, _>(std::io::Error::other("gone")) });
    let expected = (400, "HTTP-BODY".to_owned());
    assert_eq!(refusal(&world, post(FRAMES, Body::from_stream(broken))).await, expected);
}

#[tokio::test]
async fn the_budget_for_bodies_is_shared_and_given_back() {
    let mut world = World::found(1, Sealing::Never);
    let entry = world.sign_deed(0, register("One"));
    let room = world.doors.body_room(BODIES_KIB_MAX as usize * 1024).expect("nothing else is under way");
    let response = world.send(post(FRAMES, frames(&[&entry]).into())).await;
    assert!(response.headers().contains_key(header::RETRY_AFTER));
    assert_eq!(read(response).await.1["rule"], "HTTP-BUSY");
    drop(room);
    let (status, _) = world.post("/v1/entries", frames(&[&entry])).await;
    assert_eq!(status, StatusCode::CREATED);
}

#[tokio::test]
async fn wrong_addresses_are_problems_too() {
    let world = World::found(1, Sealing::Never);
    let zeros = "0".repeat(64);
    for (uri, status, rule) in [
        ("/nothing", 404, "HTTP-NOT-FOUND"),
        ("/v1/nothing", 404, "HTTP-NOT-FOUND"),
        ("/v1/entries/xyz", 400, "HTTP-PATH"),
        (&format!("/v1/entries/{zeros}"), 404, "ENTRY-UNKNOWN"),
        (&format!("/v1/journals/{zeros}"), 404, "KEY-UNKNOWN"),
        ("/v1/members/aster", 400, "HTTP-PATH"),
        ("/v1/members/9", 404, "MEM-UNKNOWN"),
        (&format!("/v1/assets/{zeros}"), 404, "AST-UNKNOWN"),
        (&format!("/v1/versions/{zeros}"), 404, "AST-VERSION-UNKNOWN"),
        (&format!("/v1/agreements/{zeros}"), 404, "AGR-UNKNOWN"),
        (&format!("/v1/agreements/{zeros}/versions/1"), 404, "AGR-VERSION-UNKNOWN"),
        (&format!("/v1/agreements/{zeros}/versions/x"), 400, "HTTP-PATH"),
        (&format!("/v1/findings/{zeros}"), 404, "FND-UNKNOWN"),
        (&format!("/v1/proposals/{zeros}"), 404, "PRO-UNKNOWN"),
        (&format!("/v1/agreements/{zeros}/versions/%ff"), 400, "HTTP-PATH"),
        ("/v1/entries/%ff", 400, "HTTP-PATH"),
        ("/v1/statements/2026-10", 404, "PER-OPEN"),
        ("/v1/statements/october", 400, "HTTP-PATH"),
        ("/v1/statements/2026-10/lines", 404, "PER-OPEN"),
        ("/v1/blocks/0", 404, "BLOCK-UNKNOWN"),
        ("/v1/blocks/1", 404, "BLOCK-UNKNOWN"),
        ("/v1/blocks/-1", 400, "HTTP-PATH"),
        ("/v1/members?limit=0", 400, "HTTP-LIMIT"),
        ("/v1/members?limit=1001", 400, "HTTP-LIMIT"),
        ("/v1/members?limit=many", 400, "HTTP-QUERY"),
        ("/v1/members?page=2", 400, "HTTP-QUERY"),
        ("/v1/members?cursor=00", 400, "HTTP-CURSOR"),
        ("/v1/members/0?as_of=1", 400, "ASOF-FUTURE"),
        ("/v1/members/0?as_of=now", 400, "HTTP-QUERY"),
        ("/archive?from=2", 400, "ARCHIVE-FROM"),
        ("/archive?to=1", 400, "ARCHIVE-TO"),
        ("/archive?to=0", 400, "ARCHIVE-TO"),
    ] {
        assert_eq!(world.refused(uri).await, (status, rule.to_owned()), "{uri}");
    }
    let (status, problem) = world.post("/v1/entries?wait=forever", frames(&[])).await;
    assert_eq!((status.as_u16(), &problem["rule"]), (400, &json!("HTTP-QUERY")));
}

#[tokio::test]
async fn a_wrong_method_names_the_right_ones() {
    let world = World::found(1, Sealing::Never);
    let request = Request::delete("/v1/status").body(Body::empty()).expect("a request");
    let response = world.send(request).await;
    assert_eq!(response.headers().get(header::ALLOW).map(|value| value.as_bytes()), Some(&b"GET,HEAD"[..]));
    assert_eq!(
        response.headers().get(header::CACHE_CONTROL).map(|value| value.as_bytes()),
        Some(&b"no-store"[..])
    );
    let (status, problem) = read(response).await;
    assert_eq!((status.as_u16(), &problem["rule"]), (405, &json!("HTTP-METHOD")));
    assert_eq!(problem["instance"], "/v1/status");
}

#[tokio::test]
async fn a_starting_node_answers_and_says_so() {
    let (_stop, stopping) = watch::channel(false);
    let app = router(Arc::new(Doors::new(Metrics::default(), stopping)));
    let get = |uri: &str| app.clone().oneshot(Request::get(uri).body(Body::empty()).expect("a request"));
    for uri in ["/readyz", "/v1/status", "/v1/members", "/archive"] {
        let response = get(uri).await.expect("an answer");
        assert!(response.headers().contains_key(header::RETRY_AFTER), "{uri}");
        let (status, problem) = read(response).await;
        assert_eq!((status.as_u16(), &problem["rule"]), (503, &json!("NODE-STARTING")), "{uri}");
    }
    for uri in ["/livez", "/metrics"] {
        assert_eq!(get(uri).await.expect("an answer").status(), StatusCode::OK, "{uri}");
    }
}

#[tokio::test]
async fn readiness_follows_the_snapshot() {
    let world = World::found(1, Sealing::Never);
    let ready = |readiness| {
        let first = Snapshot { readiness, ..world.gate.snapshot().as_ref().clone() };
        let (gate, core) = world.second_gate(first);
        let (stop, stopping) = watch::channel(false);
        let doors = Arc::new(Doors::new(Metrics::default(), stopping));
        doors.open(gate);
        let request = Request::get("/readyz").body(Body::empty()).expect("a request");
        async move {
            let response = router(doors).oneshot(request).await.expect("an answer");
            drop((core, stop));
            response
        }
    };
    assert_eq!(ready(Readiness::Ready).await.status(), StatusCode::OK);
    assert_eq!(read(ready(Readiness::Starting).await).await.1["rule"], "NODE-STARTING");
    let reason = "the disk is full".to_owned();
    let (status, problem) = read(ready(Readiness::Stopping { reason }).await).await;
    assert_eq!(status.as_u16(), 503);
    assert_eq!((&problem["rule"], &problem["detail"]), (&json!("NODE-STOPPING"), &json!("the disk is full")));
}

async fn talk(address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("the door is open");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers and closes");
    answer
}

#[tokio::test]
async fn the_door_opens_serves_and_closes() {
    let world = World::found(1, Sealing::Never);
    let bound = bind("127.0.0.1:0".parse().expect("an address")).await.expect("a free port");
    let address = bound.address;
    let server = bound.serve(Metrics::default());
    let taken = bind(address).await.err().expect("the port is in use");
    assert_eq!(taken.rule(), "HTTP-BIND");
    assert!(taken.to_string().contains(&address.to_string()), "{taken}");

    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n");
    assert!(talk(address, &get("/v1/status")).await.contains("NODE-STARTING"));
    server.open(world.gate.clone());
    let status = talk(address, &get("/v1/status")).await;
    assert!(status.starts_with("HTTP/1.1 200"), "{status}");
    assert!(status.contains("\"name\":\"aster-1\""), "{status}");
    server.stop().await.expect("it was healthy");
    assert!(TcpStream::connect(address).await.is_err());
}
