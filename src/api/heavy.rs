//! Threads of their own for work whose size the client chose: reading long bodies, writing long answers.
//!
//! The runtime's threads answer every probe and carry every stream; half a second of JSON on one of them is half a second of
//! silence for all. So requests with a long body are answered on these threads from the first byte that is read, whatever
//! their handler does, and long answers are written here. There are [`THREADS`] of them: so much of such work runs at once, and
//! the rest of it waits its turn, while short requests pass.

use super::error::ApiError;
use axum::{
    http::header,
    response::{IntoResponse as _, Response},
};
use serde::Serialize;
use std::{panic::resume_unwind, sync::LazyLock};
use tokio::runtime::{Builder, Runtime};
use tokio_util::task::AbortOnDropHandle;

/// Heavy work that runs at once.
const THREADS: usize = 2;
/// Bodies of this size are heavy, bytes: less is read as JSON in a millisecond or two.
pub(super) const HEAVY_BODY: u64 = 64 * 1024;

/// They live as long as the process. `None` if the system gives no threads: then everything is done where it comes up.
static RUNTIME: LazyLock<Option<Runtime>> = LazyLock::new(|| {
    let runtime = Builder::new_multi_thread().worker_threads(THREADS).thread_name("llamero-heavy").enable_all().build();
    runtime.inspect_err(|error| tracing::error!(%error, "there are no threads for long requests: they keep others waiting")).ok()
});

/// Runs `work` on these threads. Dropping the future ends it where it next waits for something; a panic goes on here.
pub(super) async fn run<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let Some(runtime) = &*RUNTIME else { return work.await };
    match AbortOnDropHandle::new(runtime.spawn(work)).await {
        Ok(done) => done,
        // Nobody aborts it but this future's own end.
        Err(error) => resume_unwind(error.into_panic()),
    }
}

/// Runs `work` there if it is heavy, else here: the way there is not free, and others may be before it.
pub(super) async fn run_if<T: Send + 'static>(is_heavy: bool, work: impl Future<Output = T> + Send + 'static) -> T {
    if is_heavy { run(work).await } else { work.await }
}

/// An answer, written as JSON there if it is long.
///
/// # Errors
/// `Internal` for a value that has no JSON.
pub(super) async fn json<T: Serialize + Send + 'static>(is_long: bool, value: T) -> Result<Response, ApiError> {
    let json = run_if(is_long, async move { serde_json::to_vec(&value) }).await.map_err(|error| {
        tracing::error!(%error, "an answer could not be written as JSON");
        ApiError::Internal
    })?;
    Ok(([(header::CONTENT_TYPE, "application/json")], json).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use std::panic::AssertUnwindSafe;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn work_runs_on_a_thread_of_its_own_and_its_panic_is_the_callers() {
        let name = run(async { std::thread::current().name().map(str::to_owned) }).await;
        let panic = AssertUnwindSafe(run(async { panic!("boom") })).catch_unwind().await.unwrap_err();

        assert_eq!(name.as_deref(), Some("llamero-heavy"));
        assert_eq!(panic.downcast_ref(), Some(&"boom"));
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_any_more_is_dropped() {
        let (held, dropped) = oneshot::channel::<()>();
        let mut work = Box::pin(run(async move {
            let _held = held;
            std::future::pending::<()>().await;
        }));
        assert!((&mut work).now_or_never().is_none());

        drop(work);

        assert!(dropped.await.is_err());
    }
}
