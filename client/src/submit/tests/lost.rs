//! Acknowledgements that are lost while what they are about goes on.

use super::*;

/// Far longer than anything here takes.
const HANG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn what_is_sealed_before_its_acknowledgement_comes_is_told_all_the_same() {
    let bench = Bench::new(Fake { sealed: Some(0), ..Fake::default() }).await;
    let client = bench.client(None);
    let mut first = client.queue(body(1)).await.expect("durable");
    first.accepted().await.expect("acknowledged");
    bench.fake(|fake| fake.faults = [Fault::DropAfter, Fault::Busy, Fault::Busy].into());
    let mut second = client.queue(body(2)).await.expect("durable");
    while bench.fake(|fake| fake.journal.len()) < 2 {
        tokio::task::yield_now().await;
    }
    // Whoever asks for the journal hears of both before the second is acknowledged.
    bench.fake(|fake| fake.sealed = None);
    let both = async { (first.sealed().await, second.sealed().await) };
    let (first, second) = tokio::time::timeout(HANG, both).await.expect("both are told");
    assert_eq!((first.expect("sealed").index, second.expect("sealed").index), (Some(0), Some(1)));
}
