//! How many threads a step should have: all cores while they are ours, fewer while other programs want some of them.
//!
//! All threads of a step wait for each other hundreds of times in it, so it is as slow as the one whose core another
//! program has taken, and one thread less can be several times faster. So now and then a few steps run with one thread
//! more or less (a probe), and if they are faster it stays so. Pure: times are arguments. Only steps with the same
//! number of rows are compared, and only with those just before them, since a step takes longer the longer the texts
//! are.
//!
//! Where the kernel counts the use of other programs, that saves nearly all probes: while they leave all cores to us
//! there is nothing to find out, and cores that they have left are taken back at once.

use super::neighbours::CoreUse;
use std::{collections::VecDeque, time::Duration};

/// Steps before a probe that it is held against.
const BASE_STEPS: usize = 8;
/// Steps of a probe; the first that takes as long as all of them may ends it.
const PROBE_STEPS: u32 = 3;
/// A probe wins if its steps take less than this share of those before. Nearer to 1, noise would decide.
const WIN: f64 = 0.9;
/// Steps that take this many times the earlier time of such steps make a probe due; a single slow one is no neighbour.
const SUSPICIOUS: f64 = 1.3;
/// Two steps running that take this many times the usual are a neighbour, and there is a probe at once: with GNU's
/// OpenMP, whose threads keep a core for milliseconds while they wait for one that has none, they may take twenty times
/// as long.
const ALARMING: f64 = 2.5;
/// Steps until the first probe.
const FIRST_WAIT: u32 = 16;
/// Steps between probes, doubled each time that nothing is gained. With all cores: on an idle machine a probe costs
/// about two steps.
const WAIT_WITH_ALL: Wait = Wait { min: 64, max: 1024 };
/// With fewer.
const WAIT_WITH_FEWER: Wait = Wait { min: 128, max: 256 };
/// The time that a lost probe cost is at most this share of the time until the next one.
const COST: f64 = 0.02;
const LONGEST_WAIT: f64 = 8192.0;
/// Others that use no more cores than this, or leave that much less than whole ones, are no neighbours: everybody's
/// daemons.
const NEGLIGIBLE: f64 = 0.25;
/// Looks in a row that must show free cores before they are taken, at most: doubled each time that it was a mistake.
const MOST_LOOKS: u32 = 64;
/// A probe that takes them away again within so many steps shows one.
const MISTAKE_STEPS: u32 = 256;
/// Steps of another shape after which a probe is given up.
const PATIENCE: u32 = 16;

#[derive(Debug, Clone, Copy)]
struct Wait {
    min: u32,
    max: u32,
}

/// The chosen number, and the measurements it rests on.
#[derive(Debug)]
pub(super) struct Threads {
    max: u32,
    now: u32,
    /// The latest steps with `now` threads, all of `rows` rows.
    base: VecDeque<f64>,
    rows: usize,
    /// Seconds that steps of so many rows took when nothing was suspicious; 0 is unknown.
    usual: Vec<f64>,
    probe: Option<Probe>,
    /// True if the next probe is one with more threads, where both are possible.
    up_next: bool,
    /// True if it goes half the way to the last or first thread, and not just one: past several neighbours at once.
    far_next: bool,
    /// Steps until the next probe, and until the one after it if that one gains nothing.
    wait: u32,
    next_wait: u32,
    /// True if other programs leave as many cores as there may be threads; false where that is unknown.
    alone: bool,
    /// Looks in a row that showed more free cores than there are threads, and how many are needed.
    looks: u32,
    looks_needed: u32,
    /// Steps since cores were last taken because others had left them.
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
    /// At most `most`, which is used first. `max_rows` is of the steps that will be observed.
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

    /// Threads for the next step, 1 or more.
    pub(super) fn now(&self) -> u32 {
        self.probe.as_ref().map_or(self.now, |probe| probe.threads)
    }

    /// Threads for a step that says nothing about their number.
    pub(super) fn settled(&self) -> u32 {
        self.now
    }

    /// The present use of the cores: takes those that others have left.
    pub(super) fn see(&mut self, seen: CoreUse) {
        let free = seen.cores - seen.others;
        self.alone = free + NEGLIGIBLE >= f64::from(self.max);
        // Not negative and far below 2³²: the cast cuts off the fraction.
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

    /// A step of one row for each of `rows` sequences took so long, with as many threads as [`Self::now`] said.
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

    /// A step without a probe; perhaps the next one is the first of a probe.
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

    /// True if both of the last two steps took far longer than usual.
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

    /// A step during a probe.
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

    /// On in the same direction soon: there may be several neighbours.
    fn won(&mut self, probe: &Probe) {
        if probe.threads < self.now {
            let mistaken = self.since_taken < MISTAKE_STEPS;
            self.looks_needed = if mistaken { (2 * self.looks_needed).min(MOST_LOOKS) } else { 1 };
            self.looks = 0;
            // It is counted once, however many threads it takes to undo it.
            self.since_taken = MISTAKE_STEPS;
        }
        self.up_next = probe.threads > self.now;
        self.now = probe.threads;
        self.base.clear();
        self.next_wait = self.wait_range().min;
        self.wait = FIRST_WAIT;
    }

    fn lost(&mut self, probe: &Probe) {
        // The suspicious time is usual from now on, unless nothing was found out: longer texts, or a machine slower for
        // all.
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
        // Not negative and bounded: the cast is exact enough.
        self.wait = scheduled.max((lost_steps / COST).min(LONGEST_WAIT) as u32);
        self.base.clear();
    }

    fn wait_range(&self) -> Wait {
        if self.now == self.max { WAIT_WITH_ALL } else { WAIT_WITH_FEWER }
    }

    /// The time of an earlier step: the mean of all but the slowest. 0 before there are two.
    fn typical(&self) -> f64 {
        let slowest = self.base.iter().copied().fold(0.0, f64::max);
        (self.base.iter().sum::<f64>() - slowest) / self.base.len().saturating_sub(1).max(1) as f64
    }
}

#[cfg(test)]
mod tests;
