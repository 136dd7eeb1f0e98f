//! A line of callers that wait for a place: they take turns, and none has more than its share of the places.
//!
//! Knows neither constraints nor threads. Has no bound of its own: its owner bounds the entries.

use std::collections::{BTreeMap, VecDeque};

/// Jobs by caller. A caller is known by a number.
#[derive(Debug)]
pub(super) struct Line<T> {
    /// Callers that have jobs, in the order of their turns.
    turns: VecDeque<u64>,
    jobs: BTreeMap<u64, VecDeque<T>>,
    /// Number of places that each caller has.
    places: BTreeMap<u64, usize>,
    /// Most places that one caller may have.
    share: usize,
}

impl<T> Line<T> {
    /// Nobody waits. `share` places are for one caller at most.
    pub(super) fn new(share: usize) -> Self {
        Self { turns: VecDeque::new(), jobs: BTreeMap::new(), places: BTreeMap::new(), share }
    }

    /// Puts a job behind the other ones of its caller.
    pub(super) fn push(&mut self, caller: u64, job: T) {
        let jobs = self.jobs.entry(caller).or_default();
        if jobs.is_empty() {
            self.turns.push_back(caller);
        }
        jobs.push_back(job);
    }

    /// Jobs of a caller that wait.
    pub(super) fn waiting(&self, caller: u64) -> usize {
        self.jobs.get(&caller).map_or(0, VecDeque::len)
    }

    /// Gives a place to the next caller that may have one. [`Self::leave`] takes it back.
    pub(super) fn take(&mut self) -> Option<(u64, T)> {
        let may_have = |caller: &u64| self.places.get(caller).is_none_or(|places| *places < self.share);
        let at = self.turns.iter().position(may_have)?;
        let caller = self.turns.remove(at)?;
        let jobs = self.jobs.get_mut(&caller)?;
        let job = jobs.pop_front()?;
        if jobs.is_empty() {
            self.jobs.remove(&caller);
        } else {
            self.turns.push_back(caller);
        }
        *self.places.entry(caller).or_default() += 1;
        Some((caller, job))
    }

    /// Takes a place back.
    pub(super) fn leave(&mut self, caller: u64) {
        if let Some(places) = self.places.get_mut(&caller) {
            *places -= 1;
            if *places == 0 {
                self.places.remove(&caller);
            }
        }
    }

    /// Takes out the jobs of which `which` is true, in no order between callers. They get no place.
    pub(super) fn take_out(&mut self, which: impl Fn(&T) -> bool) -> Vec<T> {
        let mut out = Vec::new();
        for jobs in self.jobs.values_mut() {
            let (taken, left): (VecDeque<T>, VecDeque<T>) = std::mem::take(jobs).into_iter().partition(&which);
            *jobs = left;
            out.extend(taken);
        }
        self.jobs.retain(|_, jobs| !jobs.is_empty());
        self.turns.retain(|caller| self.jobs.contains_key(caller));
        out
    }

    /// Whether nobody waits.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// Forgets all jobs; places stay taken.
    pub(super) fn clear(&mut self) {
        self.turns.clear();
        self.jobs.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(jobs: &[(u64, &'static str)]) -> Line<&'static str> {
        let mut line = Line::new(1);
        jobs.iter().for_each(|(caller, job)| line.push(*caller, *job));
        line
    }

    #[test]
    fn callers_take_turns_and_each_one_s_jobs_keep_their_order() {
        let mut line = line(&[(1, "a"), (1, "b"), (1, "c"), (2, "x"), (3, "y")]);

        let mut order = Vec::new();
        while let Some((caller, job)) = line.take() {
            order.push(job);
            line.leave(caller);
        }

        assert_eq!(order, ["a", "x", "y", "b", "c"]);
    }

    #[test]
    fn a_caller_has_no_more_than_its_share_of_the_places() {
        let mut line = line(&[(1, "a"), (1, "b")]);
        assert_eq!(line.take(), Some((1, "a")));

        assert_eq!(line.take(), None);
        line.push(2, "x");
        assert_eq!(line.take(), Some((2, "x")));
        assert_eq!((line.waiting(1), line.waiting(2)), (1, 0));

        line.leave(1);
        assert_eq!(line.take(), Some((1, "b")));
    }

    #[test]
    fn what_is_taken_out_has_no_turn_and_no_place() {
        let mut line = line(&[(1, "a"), (1, "b"), (2, "a"), (3, "c")]);

        assert_eq!(line.take_out(|job| *job == "a"), ["a", "a"]);

        assert_eq!(line.take(), Some((1, "b")));
        assert_eq!(line.take(), Some((3, "c")));
        assert_eq!(line.take(), None);
    }

    #[test]
    fn a_line_that_was_cleared_is_empty() {
        let mut line = line(&[(1, "a"), (2, "b")]);
        let taken = line.take();

        line.clear();

        assert_eq!((taken, line.take(), line.waiting(2)), (Some((1, "a")), None, 0));
    }
}
