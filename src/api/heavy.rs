//! Separate threads for work whose size the client chose: reading long bodies, writing long answers.
//!
//! The runtime's threads answer every probe and carry every stream; half a second of JSON on one of them is half a
//! second of silence for all. So requests with a long body are answered on these threads from the first byte that is
//! read, whatever their handler does, and long answers are written on them. There are [`THREADS`] of them; further
//! heavy work waits while short requests pass. Callers take turns: work has a permit only while it runs, and asks for
//! another one each time that it goes on. The threads have a low priority, so that they do not slow the engine's steps.

use super::{
    caller,
    error::ApiError,
    turns::{TurnPermit, Turns},
};
use crate::priority::give_way;
use axum::{
    http::header,
    response::{IntoResponse as _, Response},
};
use futures_util::future::BoxFuture;
use serde::Serialize;
use std::{
    panic::resume_unwind,
    pin::pin,
    sync::{Arc, LazyLock},
    task::{Context, ready},
};
use tokio::runtime::{Builder, Runtime};
use tokio_util::task::AbortOnDropHandle;

/// Number of these threads, and thereby of pieces of heavy work that run at once.
const THREADS: usize = 2;
/// The size from which a body is heavy, bytes: a smaller one is read as JSON in a millisecond or two.
pub(super) const HEAVY_BODY: u64 = 64 * 1024;

/// Niceness of these threads. A step of the engine is as slow as its slowest thread; on a machine that computes on all
/// cores, each heavy thread would take half of a core. With this niceness it takes a tenth of one there, and a whole
/// core where one is free.
const NICE: i32 = 10;

/// The runtime of these threads, which run as long as the process. `None` if the system cannot start threads: then all
/// work runs on the caller's thread.
static RUNTIME: LazyLock<Option<Runtime>> = LazyLock::new(|| {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(THREADS).thread_name("llamero-heavy").on_thread_start(|| give_way(NICE)).enable_all();
    let runtime = builder.build();
    runtime
        .inspect_err(|error| tracing::error!(%error, "no threads for long requests can be started; long requests will delay others"))
        .ok()
});

/// The permits of work that runs.
static TURNS: LazyLock<Arc<Turns>> = LazyLock::new(|| Turns::new(THREADS));

/// Runs `work` on these threads, when it is the present caller's turn. Dropping the future ends `work` where it next
/// waits for something; a panic of `work` continues in the caller.
pub(super) async fn run<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let Some(runtime) = &*RUNTIME else { return work.await };
    let key = caller::present();
    let work = caller::scope(key, in_turns(Arc::clone(&TURNS), key, work));
    match AbortOnDropHandle::new(runtime.spawn(work)).await {
        Ok(done) => done,
        // Only the end of this future aborts the work, so the error is a panic.
        Err(error) => resume_unwind(error.into_panic()),
    }
}

/// Runs `work` with a permit of `turns`, which it holds only while it is polled.
async fn in_turns<T>(turns: Arc<Turns>, caller: u64, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    let mut waiting: Option<BoxFuture<'static, TurnPermit>> = None;
    std::future::poll_fn(move |cx: &mut Context<'_>| {
        let wait = waiting.get_or_insert_with(|| Box::pin(Arc::clone(&turns).wait(caller)));
        let _permit = ready!(wait.as_mut().poll(cx));
        waiting = None;
        work.as_mut().poll(cx)
    })
    .await
}

/// Runs `work` on the heavy threads if `is_heavy`, else on the caller's; queueing has a cost.
pub(super) async fn run_if<T: Send + 'static>(is_heavy: bool, work: impl Future<Output = T> + Send + 'static) -> T {
    if is_heavy { run(work).await } else { work.await }
}

/// A response of `value` as JSON, written on the heavy threads if it is long.
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
    async fn work_has_a_place_only_while_it_runs_and_the_caller_s_own_one() {
        let turns = Turns::new(1);
        let mut waits = Box::pin(in_turns(Arc::clone(&turns), 1, std::future::pending::<()>()));
        assert!((&mut waits).now_or_never().is_none());
        let permit = {
            let mut asks = Box::pin(Arc::clone(&turns).wait(2));
            (&mut asks).now_or_never().expect("the permit is free")
        };

        let mut behind = Box::pin(in_turns(turns, 1, async { caller::present() }));
        assert!((&mut behind).now_or_never().is_none(), "the permit is taken");
        drop(permit);

        assert_eq!((&mut behind).now_or_never(), Some(0));
        assert_eq!(caller::scope(7, run(async { caller::present() })).await, 7);
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
