//! Limits the chat templates that are rendered at a time, of all models together. Callers take turns.

use super::turns::{TurnPermit, Turns};
use crate::gateway::keys::Principal;
use std::sync::Arc;

/// Number of templates rendered at a time: rendering takes the processor from the engine.
const MAX_RENDERS: usize = 2;

/// The turns of callers at rendering; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Renders(Arc<Turns>);

impl Default for Renders {
    fn default() -> Self {
        Self(Turns::new(MAX_RENDERS))
    }
}

impl Renders {
    /// Waits for the caller's turn to render, which lasts until the permit is dropped.
    pub(super) async fn turn(&self, caller: Principal) -> TurnPermit {
        Arc::clone(&self.0).wait(caller.id.namespace()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::keys::KeyId;
    use futures_util::FutureExt as _;

    const ONE: Principal = Principal { id: KeyId::Key(1) };
    const OTHER: Principal = Principal { id: KeyId::Key(2) };

    #[tokio::test]
    async fn one_caller_s_many_renders_do_not_keep_another_one_waiting() {
        let renders = Renders::default();
        let mut taken = Vec::new();
        for _ in 0..MAX_RENDERS {
            taken.push(renders.turn(ONE).await);
        }
        let mut many: Vec<_> = (0..1000).map(|_| Box::pin(renders.turn(ONE))).collect();
        assert!(many.iter_mut().all(|turn| turn.now_or_never().is_none()));
        let mut other = Box::pin(renders.turn(OTHER));
        assert!((&mut other).now_or_never().is_none());

        taken.pop();

        assert!((&mut other).now_or_never().is_some());
    }
}
