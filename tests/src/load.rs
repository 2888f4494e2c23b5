//! Work for nodes while things happen to them.

use syngraph_protocol::entry::{Deed, SignedEntry};
use syngraph_protocol::ids::{Height, MemberId};

use crate::cluster::Cluster;
use crate::consortium::ASTER;
use crate::http::FRAMES;
use crate::licence::{Licensed, register};
use crate::node::Node;
use crate::signer::{Signer, frames};

/// Most entries of one request.
const POST_ENTRIES: usize = 64;

/// A deed of Aster's that the ledger applies, whatever came before.
#[must_use]
pub fn deed(number: u64) -> Deed {
    deed_of(ASTER, number)
}

/// A deed of a member's that the ledger applies, whatever came before.
///
/// # Panics
/// Never: it registers an asset of one owner.
#[must_use]
pub fn deed_of(member: MemberId, number: u64) -> Deed {
    let mut deed = register(&format!("Asset {member}.{number}"));
    let Deed::RegisterAsset(register) = &mut deed else { unreachable!("it registers an asset") };
    register.owners[0].member = member;
    deed
}

/// Members that are not among those.
#[must_use]
pub fn others(all: &[MemberId], without: &[MemberId]) -> Vec<MemberId> {
    all.iter().copied().filter(|member| !without.contains(member)).collect()
}

/// Has reports of use taken by a node, so many of so many rows each; none is waited for.
/// Event ids come from seeds that count on from `first`.
///
/// # Panics
/// If the node does not take one.
#[track_caller]
pub fn report(
    node: &Node,
    signer: &mut Signer,
    licensed: &Licensed,
    first: u64,
    (reports, rows): (u64, usize),
) -> Vec<SignedEntry> {
    let quantities = vec![1; rows];
    let sign = |seed| signer.sign(licensed.report(seed, &quantities));
    let entries: Vec<_> = (first..first + reports).map(sign).collect();
    for chunk in entries.chunks(POST_ENTRIES) {
        take(node, chunk);
    }
    entries
}

/// Has entries taken by a node; none is waited for.
///
/// # Panics
/// If the node does not take one.
#[track_caller]
pub fn take(node: &Node, entries: &[SignedEntry]) {
    let answer = node.post(FRAMES, &frames(entries));
    let statuses: Vec<_> = match answer.json() {
        serde_json::Value::Array(answers) => answers.iter().map(|answer| answer["status"].clone()).collect(),
        one => vec![one["status"].clone()],
    };
    assert!(statuses.iter().all(|status| *status == 201), "{}", String::from_utf8_lossy(&answer.body));
}

/// The rounds in which blocks were decided, from one height to another.
///
/// # Panics
/// If a node does not have them.
#[must_use]
#[track_caller]
pub fn rounds(cluster: &Cluster, member: MemberId, from: Height, to: Height) -> Vec<u64> {
    let node = cluster.node(member);
    let round = |height| node.block(height)["certificate"]["round"].as_u64().expect("a round");
    (from.get()..=to.get()).map(Height::new).map(round).collect()
}
