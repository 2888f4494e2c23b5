//! Metered use on its way into the ledger, and whether the books are right in the end.

use std::path::Path;

use serde_json::Value;
use syngraph_client::api::Node as Api;
use syngraph_client::archive::export;
use syngraph_client::audit::{AuditReport, Verdict, audit};
use syngraph_client::submit::{Client, Options};
use syngraph_client::usage::import::{ImportReport, import_csv};
use syngraph_client::usage::mapping::Mapping;
use syngraph_config::key::Key;
use syngraph_protocol::entry::Deed;
use syngraph_protocol::ledger::period::ClosePeriod;

use crate::consortium::Consortium;
use crate::files::Trace;
use crate::licence::{Licensed, MONTH};
use crate::node::Node;
use crate::signer::Signer;

/// Runs what the SDK gives to wait for.
///
/// # Panics
/// If the system gives no thread.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("the system gives threads").block_on(future)
}

/// Imports a trace with the SDK, however long the node takes. The outbox lies beside the
/// key's file, so that a second import with the key goes on with what waits there.
///
/// # Panics
/// If the import fails.
#[must_use]
pub fn import(api: Api, key_file: &Path, trace: &Path, mapping: &Mapping) -> ImportReport {
    let key = Key::load(key_file).expect("a key was stored");
    block_on(async {
        let client = Client::open(api, &key, &Options::beside(key_file)).expect("an outbox");
        let report = import_csv(&client, trace, mapping, &mut |_| {}).await;
        client.close().await;
        report.expect("the import ends")
    })
}

/// Every row of the file went in, and none twice.
///
/// # Panics
/// If that is not what the report says.
#[track_caller]
pub fn took_everything(report: &ImportReport, trace: &Trace) {
    assert_eq!((report.rows_read, report.rows_new), (trace.rows, trace.rows));
    assert_eq!((report.rows_duplicate, report.rows_flagged, report.rows_refused_total), (0, 0, 0));
    assert_eq!(report.quantity, trace.quantity.to_string());
}

/// Every row is there once: in the counters, in the money, and in the history that an
/// auditor replays. The month is closed on the way, by `closer`.
///
/// # Panics
/// If the books are wrong.
#[track_caller]
pub fn balance(
    consortium: &Consortium,
    node: &Node,
    licensed: &Licensed,
    closer: &mut Signer,
    (rows, quantity): (u64, u64),
) {
    assert_eq!(node.status().rows_sealed, rows);
    let month = MONTH.parse().expect("a month");
    node.act(closer, Deed::ClosePeriod(ClosePeriod { month }));
    let statement = node.must_get(&format!("/v1/statements/{MONTH}"));
    let [line] = statement["lines"].as_array().expect("lines").as_slice() else { panic!("{statement}") };
    assert_eq!(line["quantity"], quantity.to_string(), "{line}");
    assert_eq!(
        (&line["held"], &line["agreement"]),
        (&Value::Null, &Value::from(licensed.agreement.to_string()))
    );
    assert_eq!(node.must_get("/v1/findings")["items"], Value::Array(Vec::new()));
    assert_eq!(audited(consortium, node).rows, rows);
}

/// Exports the history of a node and replays it: it is sound, and ends where the node was
/// then or since, with the node's root of that height.
///
/// # Panics
/// If it does not.
#[track_caller]
pub fn audited(consortium: &Consortium, node: &Node) -> AuditReport {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let archive = folder.path().join("archive");
    let before = node.status().height;
    block_on(export(&node.api(), &archive, None, &mut |_| {})).expect("the history is exported");
    let report = audit(&archive, &consortium.genesis, &mut |_| {}).expect("there is something to audit");
    assert_eq!((report.verdict, &report.error), (Verdict::Ok, &None));
    assert!((before..=node.status().height).contains(&report.height), "{before} {}", report.height);
    assert_eq!(report.state_root.to_string(), node.root_at(report.height));
    report
}
