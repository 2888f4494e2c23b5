//! Requests under way, and alarms, in a form that a `select!` can come back to.

use std::future::Future;
use std::pin::Pin;

use tokio::time::Instant;

/// A request, if one is under way.
pub(super) type Pending<T> = Option<Pin<Box<dyn Future<Output = T> + Send>>>;

/// Polls what is under way; without anything it waits for ever.
pub(super) async fn under_way<T>(pending: &mut Pending<T>) -> T {
    match pending {
        Some(future) => {
            let result = future.await;
            *pending = None;
            result
        }
        None => std::future::pending().await,
    }
}

/// Sleeps until a moment; without one for ever.
pub(super) async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
