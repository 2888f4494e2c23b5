//! Nodes that die and come back.

use super::*;
use crate::consensus::event::{Evidence, Signed};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use syngraph_protocol::crypto;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_of_four_decide_nothing_and_all_go_on_when_the_others_are_back() {
    let mut cluster = Cluster::new(4, 4);
    cluster.start_all(0..4).await;
    cluster.decide(0..4, 5).await;
    let (two, three) = (cluster.stop(2).await, cluster.stop(3).await);
    let present = [MemberId::new(0), MemberId::new(1)];
    for member in 0..2 {
        cluster.until(member, |progress| progress.connected == [present[1 - member as usize]]).await;
    }
    // Neither has, or can still get, a third voice.
    let is_stuck = |height: Height| {
        move |progress: &Progress| {
            let spoken = [&progress.prevotes, &progress.precommits];
            progress.height == height
                && progress.precommits.iter().all(|voter| present.contains(voter))
                && spoken.into_iter().any(|voters| *voters == present)
        }
    };
    cluster.until(0, |progress| is_stuck(cluster.progress(1).height)(progress)).await;
    let height = cluster.progress(0).height;
    cluster.until(1, is_stuck(height)).await;
    while cluster.decided.try_recv().is_ok() {}
    cluster.until(0, is_stuck(height)).await;
    assert!(!cluster.progress(0).waiting);
    assert!(cluster.decided.try_recv().is_err(), "half is no quorum");

    cluster.start(2, Some(two)).await;
    cluster.decide(0..3, 3).await;
    cluster.start(3, Some(three)).await;
    cluster.decide(0..4, 3).await;
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_four_go_on_from_their_logs_again_and_again() {
    let mut cluster = Cluster::new(4, 4);
    cluster.start_all(0..4).await;
    for _ in 0..3 {
        cluster.decide(0..4, 3).await;
        let mut before = Vec::new();
        for member in 0..4 {
            before.push(cluster.stop(member).await);
        }
        for (member, before) in (0..).zip(before) {
            cluster.start(member, Some(before)).await;
        }
    }
    cluster.decide(0..4, 3).await;
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_go_on_without_the_fourth_and_say_whose_vote_is_missing() {
    let mut cluster = Cluster::new(4, 4);
    cluster.start_all(0..4).await;
    cluster.decide(0..4, 4).await;
    cluster.stop(3).await;
    let dead = MemberId::new(3);
    // Its turn comes every fourth height.
    cluster.until(0, |progress| progress.proposer == Some(dead) && !progress.waiting).await;
    let stalled = cluster.progress(0);
    cluster.decide(0..3, 8).await;
    assert!(!stalled.prevotes.contains(&dead) && !stalled.precommits.contains(&dead), "{stalled:?}");
    let applications = cluster.finish().await;
    assert!(applications.iter().all(|application| application.failed_rounds >= 1));
}

/// Whether a statement bears the signature of member 3.
fn is_signed<T>(of: &Signed<T>, domain: Domain, bytes: &[u8]) -> bool {
    crypto::verify(&key(3).public(), domain, bytes, &of.signature).is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_runs_twice_is_found_out_and_the_others_go_on() {
    let mut cluster = Cluster::new(5, 4);
    let twin = MemberId::new(3);
    let mut peers = cluster.addresses(cluster.all());
    peers[4].member = twin;
    let found = Arc::new(AtomicUsize::new(0));
    for node in 0..5 {
        let settings = Settings { peers: peers.clone(), ..cluster.settings(node) };
        let identity = Identity { transport_seed: transport_seed(node), ..validator(node.min(3)) };
        let application = |engine| cluster.application(node.min(3), engine);
        let application = |engine| Application {
            block_time: i64::from(node),
            found: if node < 3 { found.clone() } else { Arc::default() },
            ..application(engine)
        };
        let node = (node, run(identity, settings, application).await);
        cluster.nodes.extend([node]);
    }
    // Its turn comes every fourth height.
    for _ in 0..100 {
        cluster.decide(0..3, 4).await;
        if found.load(Ordering::Relaxed) > 0 {
            break;
        }
    }
    let applications = cluster.finish().await;
    let evidence: Vec<_> = applications[..3].iter().flat_map(|application| &application.evidence).collect();
    assert!(!evidence.is_empty(), "its turn has come a hundred times");
    for found in evidence {
        match found {
            Evidence::Votes(pair) => {
                assert_eq!((pair.0.message.member, pair.1.message.member), (twin, twin));
                assert!(pair.0.message.block < pair.1.message.block);
                let is_signed = |vote: &Signed<syngraph_protocol::certificate::Vote>| {
                    is_signed(vote, Domain::VOTE, &vote.message.signing_bytes())
                };
                assert!(is_signed(&pair.0) && is_signed(&pair.1));
            }
            Evidence::Proposals(pair) => {
                assert_eq!((pair.0.message.member, pair.1.message.member), (twin, twin));
                assert!(pair.0.message.block < pair.1.message.block);
                let is_signed = |one: &Signed<crate::consensus::event::Proposal>| {
                    is_signed(one, Domain::PROPOSAL, &one.message.signing_bytes())
                };
                assert!(is_signed(&pair.0) && is_signed(&pair.1));
            }
        }
    }
}
