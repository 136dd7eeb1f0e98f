//! Collects deltas: joins deltas of one kind, numbers the calls and drops those that do not count.

use super::OutputDelta;

/// The deltas since the last [`Sink::take`], joined.
#[derive(Debug)]
pub(super) struct Sink {
    deltas: Vec<OutputDelta>,
    /// Number of calls that have begun, including those that do not count.
    begun: usize,
    parallel: bool,
    /// True if the output is nothing but calls, in a form that the constraint prescribes.
    of_calls: bool,
}

impl Sink {
    pub(super) fn new(parallel: bool) -> Self {
        Self { deltas: Vec::new(), begun: 0, parallel, of_calls: false }
    }

    /// A sink for an output that a constraint holds to calls: text around them is not the model's, and dropped.
    pub(super) fn of_calls(parallel: bool) -> Self {
        Self { of_calls: true, ..Self::new(parallel) }
    }

    pub(super) fn take(&mut self) -> Vec<OutputDelta> {
        std::mem::take(&mut self.deltas)
    }

    pub(super) fn has_calls(&self) -> bool {
        self.begun > 0
    }

    pub(super) fn reasoning(&mut self, c: char) {
        if let Some(OutputDelta::Reasoning(text)) = self.deltas.last_mut() {
            text.push(c);
        } else {
            self.deltas.push(OutputDelta::Reasoning(c.into()));
        }
    }

    pub(super) fn content(&mut self, more: &str) {
        if more.is_empty() || self.of_calls {
            return;
        }
        if let Some(OutputDelta::Content(text)) = self.deltas.last_mut() {
            text.push_str(more);
        } else {
            self.deltas.push(OutputDelta::Content(more.to_owned()));
        }
    }

    pub(super) fn start(&mut self, name: &str) {
        self.begun += 1;
        if self.counts() {
            self.deltas.push(OutputDelta::CallStart { index: self.begun - 1, name: name.to_owned() });
        }
    }

    /// Adds to the arguments of the call that began last.
    pub(super) fn arguments(&mut self, more: &str) {
        if more.is_empty() || !self.counts() {
            return;
        }
        if let Some(OutputDelta::CallArguments { text, .. }) = self.deltas.last_mut() {
            text.push_str(more);
        } else {
            self.deltas.push(OutputDelta::CallArguments { index: self.begun.saturating_sub(1), text: more.to_owned() });
        }
    }

    /// True if the call that began last counts.
    fn counts(&self) -> bool {
        self.parallel || self.begun == 1
    }
}
