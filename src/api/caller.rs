//! Remembers for each task the caller whose request it answers, so that callers can take turns (`turns.rs`). A caller
//! is known by the namespace of its key; 0 without keys.

tokio::task_local! {
    static CALLER: u64;
}

/// Runs `work` in the name of this caller.
pub(super) async fn scope<T>(caller: u64, work: impl Future<Output = T>) -> T {
    CALLER.scope(caller, work).await
}

/// The caller whose request this task answers; 0 outside of a request.
pub(super) fn present() -> u64 {
    CALLER.try_with(|caller| *caller).unwrap_or(0)
}
