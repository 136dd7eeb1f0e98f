//! Chooses the number of threads of a step: all cores while other programs leave them idle, fewer while those use some.
//!
//! All threads of a step wait for each other hundreds of times in it, so the step is as slow as the thread whose core
//! another program has taken, and one thread less can be several times faster. So from time to time a few steps run
//! with one thread more or less (a probe), and if they are faster, the new number stays. Pure: times are arguments.
//! Only steps with the same number of rows are compared, and only with those just before them, since a step takes
//! longer as texts get longer.
//!
//! If the kernel counts the use by other programs, nearly all probes are saved: while the others leave all cores idle
//! there is nothing to find out, and cores that they have left are taken back at once.

use super::neighbours::CoreUse;
use std::{collections::VecDeque, time::Duration};

/// Number of steps before a probe with which its steps are compared.
const BASE_STEPS: usize = 8;
/// Number of steps of a probe. The first step may end the probe if it takes as long as all of them may.
const PROBE_STEPS: u32 = 3;
/// A probe wins if its steps take less than this share of the earlier time. Nearer to 1, noise would decide.
const WIN: f64 = 0.9;
/// Steps that take this many times the usual time make a probe due. A single slow step does not count.
const SUSPICIOUS: f64 = 1.3;
/// Two consecutive steps that take this many times the usual time mean that another program runs, and a probe begins at
/// once. With GNU's OpenMP, whose threads keep a core for milliseconds while they wait for a thread that has none, such
/// steps may take twenty times as long.
const ALARMING: f64 = 2.5;
/// Steps until the first probe.
const FIRST_WAIT: u32 = 16;
/// Steps between probes while all cores are used, doubled each time that a probe gains nothing. On an idle machine a
/// probe costs about two steps.
const WAIT_WITH_ALL: Wait = Wait { min: 64, max: 1024 };
/// Steps between probes while fewer cores are used.
const WAIT_WITH_FEWER: Wait = Wait { min: 128, max: 256 };
/// The time that a lost probe cost is at most this share of the time until the next probe.
const COST: f64 = 0.02;
const LONGEST_WAIT: f64 = 8192.0;
/// Part of a core whose use by other programs is ignored, because every machine has daemons.
const NEGLIGIBLE: f64 = 0.25;
/// Maximum number of consecutive readings that must show free cores before these are taken. The number is doubled each
/// time that taking them was a mistake.
const MOST_LOOKS: u32 = 64;
/// Taking cores was a mistake if a probe gives them up again within this many steps.
const MISTAKE_STEPS: u32 = 256;
/// Number of steps of another shape after which a probe is given up.
const PATIENCE: u32 = 16;

#[derive(Debug, Clone, Copy)]
struct Wait {
    min: u32,
    max: u32,
}

/// The chosen number of threads, and the measurements on which it rests.
#[derive(Debug)]
pub(super) struct Threads {
    max: u32,
    now: u32,
    /// Seconds of the latest steps with `now` threads, all of `rows` rows.
    base: VecDeque<f64>,
    rows: usize,
    /// By number of rows: seconds that such a step took when nothing was suspicious; 0 if unknown.
    usual: Vec<f64>,
    probe: Option<Probe>,
    /// True if the next probe has more threads, if both directions are possible.
    up_next: bool,
    /// True if the next probe goes half the way to the maximum or to one thread instead of by one: past several busy
    /// programs at once.
    far_next: bool,
    /// Steps until the next probe; `next_wait` is the wait after that probe if it gains nothing.
    wait: u32,
    next_wait: u32,
    /// True if other programs leave enough cores for the maximum of threads; false if that is unknown.
    alone: bool,
    /// Consecutive readings that showed more free cores than there are threads; `looks_needed` is the number needed.
    looks: u32,
    looks_needed: u32,
    /// Steps since cores that others had left were last taken.
    since_taken: u32,
}

#[derive(Debug)]
struct Probe {
    threads: u32,
    steps: u32,
    seconds: f64,
    misses: u32,
}

impl Threads {
    /// Begins with `max` threads, which is also the maximum. `max_rows` is the maximum number of rows of the steps that
    /// will be observed.
    pub(super) fn new(max: u32, max_rows: u32) -> Self {
        Self {
            max: max.max(1),
            now: max.max(1),
            base: VecDeque::with_capacity(BASE_STEPS),
            rows: 0,
            usual: vec![0.0; max_rows as usize + 1],
            probe: None,
            up_next: false,
            far_next: false,
            wait: FIRST_WAIT,
            next_wait: WAIT_WITH_ALL.min,
            alone: false,
            looks: 0,
            looks_needed: 1,
            since_taken: MISTAKE_STEPS,
        }
    }

    /// Number of threads for the next step, ≥ 1.
    pub(super) fn now(&self) -> u32 {
        self.probe.as_ref().map_or(self.now, |probe| probe.threads)
    }

    /// Number of threads for a step that cannot be compared with others.
    pub(super) fn settled(&self) -> u32 {
        self.now
    }

    /// Takes in the present use of the cores: takes those that other programs have left.
    pub(super) fn see(&mut self, seen: CoreUse) {
        let free = seen.cores - seen.others;
        self.alone = free + NEGLIGIBLE >= f64::from(self.max);
        // The value is not negative and far below 2³²: the cast cuts off the fraction.
        let threads = ((free + NEGLIGIBLE) as u32).min(self.max);
        if threads <= self.now {
            self.looks = 0;
            return;
        }
        self.looks += 1;
        if self.looks >= self.looks_needed {
            self.now = threads;
            self.looks = 0;
            self.since_taken = 0;
            self.probe = None;
            self.base.clear();
            self.next_wait = self.wait_range().min;
            self.wait = self.next_wait;
        }
    }

    /// Records that a step of one row for each of `rows` sequences took `elapsed`, with [`Self::now`] threads.
    pub(super) fn observe(&mut self, rows: usize, elapsed: Duration) {
        if self.max == 1 || rows >= self.usual.len() {
            return;
        }
        let seconds = elapsed.as_secs_f64();
        self.since_taken = self.since_taken.saturating_add(1);
        match self.probe.take() {
            Some(probe) => self.judge(probe, rows, seconds),
            None => self.note(rows, seconds),
        }
    }

    /// Records a step outside a probe; may begin a probe with the next step.
    fn note(&mut self, rows: usize, seconds: f64) {
        if rows != self.rows {
            self.base.clear();
            self.rows = rows;
        }
        if self.base.len() == BASE_STEPS {
            self.base.pop_front();
        }
        self.base.push_back(seconds);
        self.wait = self.wait.saturating_sub(1);
        if self.is_alarming() {
            self.base.drain(..self.base.len() - 2);
            return self.start();
        }
        if self.base.len() < BASE_STEPS {
            return;
        }
        let (typical, usual) = (self.typical(), self.usual[rows]);
        let settled = self.now == self.max && self.alone;
        let suspicious = self.now == self.max && usual > 0.0 && typical > SUSPICIOUS * usual;
        if self.now == self.max && (usual == 0.0 || typical < usual) {
            self.usual[rows] = typical;
        }
        if !settled && (suspicious || self.wait == 0) {
            self.start();
        }
    }

    /// True if each of the last two steps took far longer than usual.
    fn is_alarming(&self) -> bool {
        let limit = ALARMING * self.usual[self.rows];
        self.now == self.max && limit > 0.0 && self.base.len() >= 2 && self.base.iter().rev().take(2).all(|seconds| *seconds > limit)
    }

    fn start(&mut self) {
        let up = self.now < self.max && (self.up_next || self.now == 1);
        let room = if up { self.max - self.now } else { self.now - 1 };
        let distance = if self.far_next { room.div_ceil(2) } else { 1 };
        let threads = if up { self.now + distance } else { self.now - distance };
        self.probe = Some(Probe { threads, steps: 0, seconds: 0.0, misses: 0 });
    }

    /// Records a step during a probe.
    fn judge(&mut self, mut probe: Probe, rows: usize, seconds: f64) {
        if rows == self.rows {
            probe.steps += 1;
            probe.seconds += seconds;
        } else {
            probe.misses += 1;
        }
        let allowed = WIN * self.typical() * f64::from(PROBE_STEPS);
        if probe.seconds >= allowed || probe.misses > PATIENCE {
            self.lost(&probe);
        } else if probe.steps == PROBE_STEPS {
            self.won(&probe);
        } else {
            self.probe = Some(probe);
        }
    }

    /// Ends a won probe. The next one goes in the same direction soon, because there may be several busy programs.
    fn won(&mut self, probe: &Probe) {
        if probe.threads < self.now {
            let mistaken = self.since_taken < MISTAKE_STEPS;
            self.looks_needed = if mistaken { (2 * self.looks_needed).min(MOST_LOOKS) } else { 1 };
            self.looks = 0;
            // A mistake is counted once, however many threads it takes to undo it.
            self.since_taken = MISTAKE_STEPS;
        }
        self.up_next = probe.threads > self.now;
        self.now = probe.threads;
        self.base.clear();
        self.next_wait = self.wait_range().min;
        self.wait = FIRST_WAIT;
    }

    fn lost(&mut self, probe: &Probe) {
        // The suspicious time counts as usual from now on, unless the probe had no steps: texts got longer, or the
        // machine slower for any number of threads.
        if self.now == self.max && probe.steps > 0 {
            self.usual[self.rows] = self.typical();
        }
        self.far_next = !self.far_next;
        self.up_next = probe.threads < self.now;
        let range = self.wait_range();
        let scheduled = self.next_wait.clamp(range.min, range.max);
        self.next_wait = scheduled.saturating_mul(2);
        let typical = self.typical().max(f64::MIN_POSITIVE);
        let lost_steps = (probe.seconds / typical - f64::from(probe.steps)).max(0.0);
        // The value is not negative and bounded: the cast is exact enough.
        self.wait = scheduled.max((lost_steps / COST).min(LONGEST_WAIT) as u32);
        self.base.clear();
    }

    fn wait_range(&self) -> Wait {
        if self.now == self.max { WAIT_WITH_ALL } else { WAIT_WITH_FEWER }
    }

    /// The typical time of an earlier step: the mean of all but the slowest. 0 before there are two.
    fn typical(&self) -> f64 {
        let slowest = self.base.iter().copied().fold(0.0, f64::max);
        (self.base.iter().sum::<f64>() - slowest) / self.base.len().saturating_sub(1).max(1) as f64
    }
}

#[cfg(test)]
mod tests;
