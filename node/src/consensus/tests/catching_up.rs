//! Nodes that come late.

use super::*;

/// Three members that have decided many blocks, while a fourth, who may vote, has not been there.
async fn ahead(voting: u32, blocks: usize) -> Cluster {
    let mut cluster = Cluster::new(4, voting);
    cluster.start_all(0..3).await;
    cluster.decide(0..3, blocks).await;
    cluster
}

/// Starts the fourth, whose first answers to what comes by sync are "not yet".
async fn join(cluster: &mut Cluster, not_yet: usize) {
    let (settings, application) = (cluster.settings(3), |engine| cluster.application(3, engine));
    let application = |engine| Application { not_yet, ..application(engine) };
    let node = run(validator(3), settings, application).await;
    cluster.nodes.insert(3, node);
}

/// Waits until the fourth has voted for a block that others have decided.
async fn until_it_votes(cluster: &Cluster) {
    cluster.until(0, |progress| progress.precommits.contains(&MemberId::new(3))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_two_hundred_blocks_late_catches_up_although_it_hesitates() {
    let mut cluster = ahead(3, 200).await;
    join(&mut cluster, 8).await;
    cluster.decide([3], 220).await;
    let applications = cluster.finish().await;
    assert_eq!(applications[3].not_yet, 0);
    assert!(applications[3].synced >= 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_node_catches_up_although_its_peers_restart_meanwhile() {
    let mut cluster = ahead(4, 30).await;
    join(&mut cluster, 4).await;
    for member in 0..3 {
        let before = cluster.stop(member).await;
        cluster.start(member, Some(before)).await;
        cluster.decide([3], 5).await;
    }
    cluster.decide([3], 15).await;
    until_it_votes(&cluster).await;
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_holds_a_height_back_begins_when_peers_have() {
    let mut cluster = Cluster::new(4, 4);
    cluster.start(0, None).await;
    for member in 1..4 {
        let (settings, application) =
            (cluster.settings(member), |engine| cluster.application(member, engine));
        let application = |engine| Application { is_lazy: true, ..application(engine) };
        let node = run(validator(member), settings, application).await;
        cluster.nodes.insert(member, node);
    }
    cluster.decide(0..4, 10).await;
    // Restarted, it holds back its first height, at which the others are.
    let before = cluster.stop(3).await;
    cluster.decide([0], 2).await;
    cluster.start(3, Some(before)).await;
    cluster.decide([3], 10).await;
    cluster.finish().await;
}
