//! Collects deltas: joins deltas of one kind, numbers the calls, drops those that do not count, and reads the input of
//! tools whose input is a text.

use super::{OutputDelta, OutputSpec, forced::is_forced, input::InputReader};

/// The deltas since the last [`Sink::take`], joined.
#[derive(Debug)]
pub(super) struct Sink {
    deltas: Vec<OutputDelta>,
    /// Number of calls that have begun, including those that do not count.
    begun: usize,
    parallel: bool,
    /// True if the output is nothing but calls, in a form that the constraint prescribes: text around them is not the
    /// model's, and dropped.
    of_calls: bool,
    /// Names of the tools whose input is a text that stands in the arguments.
    texts: Vec<String>,
    /// The input of the call that began last, if it is such a text.
    input: Option<InputReader>,
}

impl Sink {
    pub(super) fn new(spec: &OutputSpec) -> Self {
        let stands_alone = spec.text_alone().map(|tool| &tool.name);
        let texts = spec.tools.iter().filter(|tool| tool.is_text() && Some(&tool.name) != stands_alone);
        Self {
            deltas: Vec::new(),
            begun: 0,
            parallel: spec.parallel,
            of_calls: is_forced(spec),
            texts: texts.map(|tool| tool.name.clone()).collect(),
            input: None,
        }
    }

    pub(super) fn take(&mut self) -> Vec<OutputDelta> {
        std::mem::take(&mut self.deltas)
    }

    pub(super) fn has_calls(&self) -> bool {
        self.begun > 0
    }

    pub(super) fn reasoning(&mut self, c: char) {
        self.end_call();
        if let Some(OutputDelta::Reasoning(text)) = self.deltas.last_mut() {
            text.push(c);
        } else {
            self.deltas.push(OutputDelta::Reasoning(c.into()));
        }
    }

    pub(super) fn content(&mut self, more: &str) {
        if !more.is_empty() {
            self.end_call();
        }
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
        self.end_call();
        self.input = self.texts.iter().any(|text| text == name).then(InputReader::default);
        self.begun += 1;
        if self.counts() {
            self.deltas.push(OutputDelta::CallStart { index: self.begun - 1, name: name.to_owned() });
        }
    }

    /// Adds to the arguments of the call that began last.
    pub(super) fn arguments(&mut self, more: &str) {
        match &mut self.input {
            None => self.add_input(more),
            Some(input) => {
                let text = input.push(more);
                self.add_input(&text);
            }
        }
    }

    /// Ends the input of the call that began last.
    pub(super) fn end_call(&mut self) {
        if let Some(input) = self.input.take() {
            self.add_input(&input.finish());
        }
    }

    fn add_input(&mut self, more: &str) {
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
