//! Decides from pings, pongs and step counts whether an engine is alive.
//!
//! Counts ticks of the run loop instead of reading a clock: if the gateway itself was suspended (a stopped process, a
//! sleeping laptop), it missed ticks as well and does not blame the engine for them. Sends and kills nothing.

use std::time::Duration;

/// Time between two ticks, each of which sends a ping.
pub(super) const TICK: Duration = Duration::from_secs(1);

/// Consecutive unanswered pings after which the engine is dead. The engine's inbox thread answers pings during a step
/// too.
const MAX_UNANSWERED: u64 = 10;

/// Ticks of service after which earlier deaths are forgiven even if no request came.
const STABLE_TICKS: u32 = 60;

/// The pulse of one engine.
#[derive(Debug)]
pub(super) struct Heartbeat {
    stall_ticks: u32,
    /// Ticks without progress after which a load is stuck; `None` if there is no limit.
    load_ticks: Option<u32>,
    ready: bool,
    /// Ticks since the load last made progress, or since the engine was ready.
    age: u32,
    /// Number of the last ping that was sent.
    pinged: u64,
    /// Number of the last ping that was answered.
    answered: u64,
    /// Finished steps, as last reported.
    steps: u64,
    /// Consecutive pongs that reported a busy engine and no new step.
    still: u32,
    /// Ticks for which the engine has owed answers to calls.
    text_ticks: u32,
    /// [`LoadWork::count`] of the load when it was last read.
    load_work: u64,
}

/// The reason why a living engine is given up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Stall {
    /// The load makes no progress.
    #[error("the load made no progress for {0} s")]
    Load(u32),
    /// The engine's process does not run.
    #[error("no answer to {0} pings")]
    Pulse(u64),
    /// The engine thread is stuck in a step.
    #[error("busy, and no step finished in {0} s")]
    Step(u32),
    /// The engine's tokenizers are stuck.
    #[error("no text was tokenized within {0} s")]
    Text(u32),
    /// The engine's inbox thread is stuck.
    #[error("it does not read its messages")]
    Inbox,
}

impl Heartbeat {
    /// The pulse of an engine that is about to load. A load without progress for `load_timeout` is stuck, unless that
    /// is 0; so is a busy engine that finishes no step for `stall_timeout`.
    pub(super) fn new(stall_timeout: Duration, load_timeout: Duration) -> Self {
        let stall_ticks = ticks(stall_timeout);
        let load_ticks = (!load_timeout.is_zero()).then(|| ticks(load_timeout));
        Self { stall_ticks, load_ticks, load_work: 0, ready: false, age: 0, pinged: 0, answered: 0, steps: 0, still: 0, text_ticks: 0 }
    }

    /// Counts a tick; the engine has owed answers to calls for `text_ticks`. Returns the nonce of the ping to send, if
    /// one is due.
    pub(super) fn on_tick(&mut self, text_ticks: u32) -> Result<Option<u64>, Stall> {
        self.age = self.age.saturating_add(1);
        if !self.ready {
            let is_stuck = self.load_ticks.is_some_and(|max| self.age >= max);
            return if is_stuck { Err(Stall::Load(self.age)) } else { Ok(None) };
        }
        let unanswered = self.pinged.saturating_sub(self.answered);
        if unanswered >= MAX_UNANSWERED {
            return Err(Stall::Pulse(unanswered));
        }
        self.text_ticks = text_ticks;
        if text_ticks >= self.stall_ticks {
            return Err(Stall::Text(text_ticks));
        }
        self.pinged += 1;
        Ok(Some(self.pinged))
    }

    /// Records that the load made progress.
    pub(super) fn on_progress(&mut self) {
        self.age = 0;
    }

    /// Records the work done since the load began, in any unit. The load makes progress if the number has changed.
    pub(super) fn on_load_work(&mut self, done: u64) {
        if done != self.load_work && !self.ready {
            self.load_work = done;
            self.on_progress();
        }
    }

    /// Records that the engine serves.
    pub(super) fn on_ready(&mut self) {
        self.ready = true;
        self.age = 0;
    }

    /// Records the answer to a ping.
    pub(super) fn on_pong(&mut self, nonce: u64, steps: u64, busy: bool) -> Result<(), Stall> {
        // A nonce that was never sent proves nothing.
        if nonce <= self.pinged {
            self.answered = self.answered.max(nonce);
        }
        self.still = if busy && steps <= self.steps { self.still + 1 } else { 0 };
        self.steps = self.steps.max(steps);
        if self.still >= self.stall_ticks { Err(Stall::Step(self.still)) } else { Ok(()) }
    }

    /// Records the engine's report of `steps` steps in all.
    pub(super) fn on_steps(&mut self, steps: u64) {
        if steps > self.steps {
            self.steps = steps;
            self.still = 0;
        }
    }

    /// Seconds for which the engine has not done what it has to: finish steps while it is busy, answer pings and calls.
    pub(super) fn still_seconds(&self) -> u32 {
        // The latest ping was sent just now.
        let unanswered = self.pinged.saturating_sub(self.answered).saturating_sub(1);
        self.still.max(self.text_ticks).max(u32::try_from(unanswered).unwrap_or(u32::MAX))
    }

    /// True if the engine has served so long that earlier deaths no longer count as consecutive with its own.
    pub(super) fn is_stable(&self) -> bool {
        self.ready && self.age >= STABLE_TICKS
    }
}

/// Whole ticks of a duration, at least one.
fn ticks(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loading(load_seconds: u64) -> Heartbeat {
        Heartbeat::new(Duration::from_secs(1), Duration::from_secs(load_seconds))
    }

    fn ready(stall_seconds: u64) -> Heartbeat {
        let mut heartbeat = Heartbeat::new(Duration::from_secs(stall_seconds), Duration::from_secs(1));
        heartbeat.on_ready();
        heartbeat
    }

    #[test]
    fn ten_pings_without_an_answer_are_a_death_and_nine_are_not() {
        let mut heartbeat = ready(100);

        for nonce in 1..=10 {
            assert_eq!(heartbeat.on_tick(0), Ok(Some(nonce)));
        }

        assert_eq!(heartbeat.on_tick(0), Err(Stall::Pulse(10)));
    }

    #[test]
    fn an_answer_makes_all_earlier_pings_good_but_an_invented_one_does_not() {
        let mut heartbeat = ready(100);
        for _ in 0..10 {
            heartbeat.on_tick(0).unwrap();
        }
        let mut deceived = ready(100);
        for _ in 0..10 {
            deceived.on_tick(0).unwrap();
        }

        heartbeat.on_pong(9, 0, false).unwrap();
        deceived.on_pong(99, 0, false).unwrap();

        assert_eq!(heartbeat.on_tick(0), Ok(Some(11)));
        assert_eq!(deceived.on_tick(0), Err(Stall::Pulse(10)));
    }

    #[test]
    fn a_busy_engine_whose_step_count_stands_still_is_stuck_and_an_idle_one_is_not() {
        let mut busy = ready(3);
        let mut idle = ready(3);

        for nonce in 1..=3 {
            busy.on_tick(0).unwrap();
            idle.on_tick(0).unwrap();
            let verdict = busy.on_pong(nonce, 0, true);
            assert_eq!(verdict, if nonce < 3 { Ok(()) } else { Err(Stall::Step(3)) });
            assert_eq!(idle.on_pong(nonce, 0, false), Ok(()));
        }
    }

    #[test]
    fn an_engine_is_still_while_it_is_busy_without_a_step_or_owes_answers() {
        let mut busy = ready(100);
        let mut silent = ready(100);
        let mut well = ready(100);
        let (mut counts, mut nonce) = (Vec::new(), 0);
        for _ in 0..4 {
            for heartbeat in [&mut busy, &mut silent, &mut well] {
                heartbeat.on_tick(0).unwrap();
            }
            nonce += 1;
            busy.on_pong(nonce, 7, true).unwrap();
            well.on_pong(nonce, nonce, true).unwrap();
            counts.push([&busy, &silent, &well].map(Heartbeat::still_seconds));
        }
        busy.on_steps(8);

        // The first pong of `busy` reports seven new steps.
        assert_eq!(counts, [[0, 0, 0], [1, 1, 0], [2, 2, 0], [3, 3, 0]]);
        assert_eq!(busy.still_seconds(), 0);
        well.on_tick(5).unwrap();
        assert_eq!(well.still_seconds(), 5, "it owes answers to calls");
    }

    #[test]
    fn a_finished_step_starts_the_count_anew() {
        let mut heartbeat = ready(2);
        heartbeat.on_pong(0, 0, true).unwrap();

        heartbeat.on_steps(1);

        assert_eq!(heartbeat.on_pong(0, 1, true), Ok(()));
        assert_eq!(heartbeat.on_pong(0, 1, true), Err(Stall::Step(2)));
    }

    #[test]
    fn a_load_may_take_long_while_it_progresses() {
        let mut heartbeat = loading(300);

        for tick in 0..1_000 {
            assert_eq!(heartbeat.on_tick(0), Ok(None));
            if tick % 200 == 0 {
                heartbeat.on_progress();
            }
        }
        let stuck = (0..300).find_map(|_| heartbeat.on_tick(0).err());

        assert_eq!(stuck, Some(Stall::Load(300)));
    }

    #[test]
    fn a_load_of_which_nothing_is_heard_goes_on_while_its_process_does_anything() {
        let mut heartbeat = loading(300);

        for tick in 0..10_000_u64 {
            assert_eq!(heartbeat.on_tick(0), Ok(None));
            // One change every four minutes, and the same number in between.
            heartbeat.on_load_work(tick / 240);
        }
        let stuck = (0..301).find_map(|_| {
            heartbeat.on_load_work(10_000 / 240);
            heartbeat.on_tick(0).err()
        });

        assert!(matches!(stuck, Some(Stall::Load(300))), "{stuck:?}");
    }

    #[test]
    fn a_load_may_take_as_long_as_the_option_says_and_for_ever_without_one() {
        let first_error = |seconds| {
            let mut heartbeat = loading(seconds);
            (1..=100_000).find(|_| heartbeat.on_tick(0).is_err())
        };

        assert_eq!([first_error(1), first_error(7), first_error(0)], [Some(1), Some(7), None]);
    }

    #[test]
    fn a_text_that_is_not_tokenized_in_time_means_stuck_tokenizers() {
        let mut heartbeat = ready(5);

        assert_eq!(heartbeat.on_tick(4), Ok(Some(1)));
        assert_eq!(heartbeat.on_tick(5), Err(Stall::Text(5)));
    }
}
