//! Who gets in on the consensus port.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_is_cut_off_until_it_is_admitted_and_after_it_is_not_any_more() {
    let mut cluster = Cluster::new(4, 3);
    cluster.start_all(0..3).await;
    let known = cluster.addresses(0..3);
    let admit = |cluster: &Cluster, peers: &[PeerAddress]| {
        for member in 0..3 {
            cluster.nodes[&member].0.admit(peers).expect("addresses");
        }
    };
    admit(&cluster, &known);
    // It knows where everybody is, and everybody knew it until now.
    cluster.start(3, None).await;
    cluster.decide(0..3, 100).await;
    assert_eq!(cluster.progress(3).height, Height::new(1), "it has been told nothing");
    for member in 0..3 {
        let others: Vec<_> = (0..3).filter(|&other| other != member).map(MemberId::new).collect();
        cluster.until(member, |progress| progress.connected == others).await;
    }

    admit(&cluster, &cluster.addresses(0..4));
    cluster.decide([3], 100).await;
    for member in 0..3 {
        cluster.until(member, |progress| progress.connected.contains(&MemberId::new(3))).await;
    }

    admit(&cluster, &known);
    for member in 0..3 {
        cluster.until(member, |progress| !progress.connected.contains(&MemberId::new(3))).await;
    }
    cluster.until(3, |progress| progress.connected.is_empty()).await;
    let cut_off = cluster.progress(3).height;
    cluster.decide(0..3, 50).await;
    let missed = cluster.progress(0).height.since(cluster.progress(3).height).expect("it is behind");
    assert!(missed >= 40, "cut off at {cut_off}, {missed} behind");
    cluster.finish().await;
}

#[tokio::test]
async fn admitting_an_address_that_is_none_changes_nothing() {
    let mut cluster = Cluster::new(1, 1);
    cluster.start(0, None).await;
    let engine = cluster.nodes[&0].0.clone();
    let refused = engine.admit(&[peer_address(1, "nowhere")]).expect_err("no address");
    assert_eq!(refused.rule(), "CONS-ADDRESS");
    cluster.decide([0], 2).await;
    cluster.finish().await;
}
