//! Separates calls from content in the text of a model.
//!
//! ```text
//!  Text ── mark, or `{` or `[` at the beginning ──▶ Open ──▶ Object · Header ▶ Arguments · Python · Xml ──▶ After ──▶ Text
//!   ▲                                                └────────────┴──── no call after all ───┘
//! ```
//!
//! Beside a format (`Reasoning::Excluded`), the output begins in `Either`: a mark or a bare call there leads to `Open`,
//! anything else to `Plain`, because an answer in the format may quote marks. No call after all leads to `Plain` too.
//!
//! `pending` is the text read since the last decision. It becomes content if no call results, and is dropped if a call
//! does. It is never read again: a mark inside it begins nothing.

use super::call_object::{CallObject, Heard, is_blank};
use super::format::{CallSyntax, Syntax, name_in_header};
use super::json::{JsonReader, JsonStep};
use super::marks::{MarkMatcher, Seen};
use super::python::{PythonCall, WholeStep};
use super::sink::Sink;
use super::xml::XmlCall;
use super::{Calls, OutputSpec, Reasoning, ToolFormat};
use std::sync::Arc;

/// Maximum bytes before the arguments of a call with a header: a name of 128, an id and the marks between them.
const MAX_HEADER: usize = 256;

/// Reads the text after the reasoning, one character at a time.
#[derive(Debug)]
pub(super) struct CallParser {
    spec: Arc<OutputSpec>,
    syntax: Syntax,
    state: CallParserState,
    marks: MarkMatcher,
    /// White space that is dropped if it turns out to be next to a call.
    blank: String,
    pending: String,
    in_list: bool,
    /// True if all content so far is white space.
    beginning: bool,
    /// True if all content since the last call is white space.
    after_call: bool,
    /// Number of complete calls.
    complete: usize,
}

#[derive(Debug)]
enum CallParserState {
    /// No text counts as a call.
    Plain,
    /// Calls or an answer in a format must begin; only one of them comes.
    Either,
    Text,
    /// The arguments of the named function must begin.
    Named,
    /// The input of the named tool, which is the whole output.
    Alone {
        begun: bool,
    },
    /// A call, or a list of calls, must begin.
    Open,
    Object(CallObject),
    /// Within the name of a call that is no object.
    Header(String),
    Arguments(JsonReader),
    Python(PythonCall),
    Xml(XmlCall),
    /// Between the calls of a list.
    After,
}

impl CallParser {
    pub(super) fn new(spec: Arc<OutputSpec>) -> Self {
        let free = spec.format.syntax();
        let syntax = match spec.calls {
            Calls::Auto | Calls::None => free,
            // The shape that `forced_constraint` enforces.
            Calls::Required | Calls::Named(_) => Syntax { open: &[], close: &[], ..ToolFormat::Json.syntax() },
        };
        let state = match spec.calls {
            Calls::None => CallParserState::Plain,
            _ if spec.tools.is_empty() => CallParserState::Plain,
            Calls::Auto if is_beside_format(&spec) => CallParserState::Either,
            Calls::Auto | Calls::Required => CallParserState::Text,
            Calls::Named(_) if spec.text_alone().is_some() => CallParserState::Alone { begun: false },
            Calls::Named(_) => CallParserState::Named,
        };
        let marks = MarkMatcher::new([syntax.open, syntax.close].concat());
        Self {
            spec,
            syntax,
            state,
            marks,
            blank: String::new(),
            pending: String::new(),
            in_list: false,
            beginning: true,
            after_call: false,
            complete: 0,
        }
    }

    pub(super) fn push(&mut self, c: char, sink: &mut Sink) {
        // A state that cannot take the character leaves it to the next state; `Text` and `Open` end every such chain.
        while !self.take(c, sink) {}
    }

    pub(super) fn finish(&mut self, sink: &mut Sink) {
        self.alone("", sink);
        let rest = self.marks.finish();
        rest.chars().for_each(|c| self.text(c, sink));
        let pending = std::mem::take(&mut self.pending);
        let blank = std::mem::take(&mut self.blank);
        let nothing = pending.chars().all(|c| is_blank(c) || c == ',' || self.syntax.separator == Some(c));
        if !self.after_call || !nothing {
            sink.content(&blank);
            sink.content(&pending);
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.complete > 0 && (!self.spec.parallel || matches!(self.spec.calls, Calls::Named(_)))
    }

    /// Takes in `c`. True if it was used up.
    fn take(&mut self, c: char, sink: &mut Sink) -> bool {
        match &mut self.state {
            CallParserState::Plain => sink.content(c.encode_utf8(&mut [0; 4])),
            CallParserState::Either => self.decide(c, sink),
            CallParserState::Text => self.watch(c, sink),
            CallParserState::Alone { .. } => self.alone(c.encode_utf8(&mut [0; 4]), sink),
            CallParserState::Named if is_blank(c) => self.blank.push(c),
            CallParserState::Named => return self.named(c, sink),
            CallParserState::Open => return self.open(c, sink),
            CallParserState::Object(object) => match object.push(c, &self.spec.tools, sink) {
                Heard::Structure => self.pending.push(c),
                Heard::Announced => self.pending.clear(),
                Heard::Arguments => {}
                Heard::Done => self.call_is_whole(),
                Heard::Bad => return self.reject(sink),
            },
            CallParserState::Header(header) if c == self.syntax.call.header_end() => {
                let header = std::mem::take(header);
                return self.header(&header, c, sink);
            }
            CallParserState::Header(header)
                if header.len() < MAX_HEADER && (self.syntax.call == CallSyntax::ObjectOrHeader || is_name(c)) =>
            {
                header.push(c);
                self.pending.push(c);
            }
            CallParserState::Header(_) => return self.reject(sink),
            CallParserState::Arguments(reader) => {
                let mut text = String::new();
                let step = reader.push(c, &mut text);
                sink.arguments(&text);
                match step {
                    JsonStep::More => {}
                    JsonStep::Done => self.call_is_whole(),
                    JsonStep::DoneBefore | JsonStep::Bad => return self.reject(sink),
                }
            }
            CallParserState::Python(call) => {
                let step = call.push(c);
                return self.whole(c, step, sink);
            }
            CallParserState::Xml(call) => {
                let step = call.push(c);
                return self.whole(c, step, sink);
            }
            CallParserState::After => return self.after(c, sink),
        }
        true
    }
}

impl CallParser {
    /// Takes in one of the first characters of an output that is either calls or an answer in a format.
    fn decide(&mut self, c: char, sink: &mut Sink) {
        if self.marks.is_idle() && c.is_whitespace() {
            self.blank.push(c);
            return;
        }
        // No list of calls is offered without a mark, so that a list is an answer.
        if self.marks.is_idle() && c == '{' && self.begins_bare(c) {
            self.begin("");
            self.open(c, sink);
            return;
        }
        let answer = match self.marks.push(c) {
            Seen::Text(text) if text.is_empty() => return,
            Seen::Mark(text, mark) if text.is_empty() && self.syntax.open.contains(&mark) => {
                self.begin(mark);
                return;
            }
            Seen::Text(text) => text + &self.marks.finish(),
            Seen::Mark(text, mark) => text + mark,
        };
        sink.content(&std::mem::take(&mut self.blank));
        sink.content(&answer);
        self.state = CallParserState::Plain;
    }

    /// Takes in a character of content, unless a mark or a bare call begins with it.
    fn watch(&mut self, c: char, sink: &mut Sink) {
        if self.marks.is_idle() && self.begins_bare(c) {
            self.begin("");
            self.open(c, sink);
            return;
        }
        if self.marks.is_idle() && self.after_call && self.syntax.separator == Some(c) {
            self.begin(c.encode_utf8(&mut [0; 4]));
            return;
        }
        match self.marks.push(c) {
            Seen::Text(text) => text.chars().for_each(|c| self.text(c, sink)),
            Seen::Mark(text, mark) => {
                text.chars().for_each(|c| self.text(c, sink));
                if self.syntax.open.contains(&mark) {
                    self.begin(mark);
                } else if self.after_call {
                    self.blank.clear();
                } else {
                    mark.chars().for_each(|c| self.text(c, sink));
                }
            }
        }
    }

    fn named(&mut self, c: char, sink: &mut Sink) -> bool {
        let spec = Arc::clone(&self.spec);
        match &spec.calls {
            Calls::Named(name) if c == '{' => {
                self.blank.clear();
                self.announce(name, sink);
                false
            }
            _ => self.reject(sink),
        }
    }

    /// Adds to the input that is the whole output, and begins its call. Does nothing in other states.
    fn alone(&mut self, more: &str, sink: &mut Sink) {
        let CallParserState::Alone { begun } = &mut self.state else { return };
        if !std::mem::replace(begun, true) {
            sink.start(self.spec.text_alone().map_or("", |tool| &tool.name));
        }
        sink.arguments(more);
    }

    fn begins_bare(&self, c: char) -> bool {
        let opens = match c {
            '[' => self.beginning,
            '{' => (self.beginning || self.after_call) && self.syntax.call != CallSyntax::Python,
            _ => false,
        };
        self.syntax.bare && opens
    }

    /// Enters the state in which a call may begin, after `mark`.
    fn begin(&mut self, mark: &str) {
        self.pending = std::mem::take(&mut self.blank);
        self.pending.push_str(mark);
        self.beginning = false;
        self.state = CallParserState::Open;
    }

    /// Takes in a character that is no part of a call.
    fn text(&mut self, c: char, sink: &mut Sink) {
        if c.is_whitespace() {
            self.blank.push(c);
            return;
        }
        self.beginning = false;
        self.after_call = false;
        sink.content(&std::mem::take(&mut self.blank));
        sink.content(c.encode_utf8(&mut [0; 4]));
    }

    fn open(&mut self, c: char, sink: &mut Sink) -> bool {
        let header = match self.syntax.call {
            CallSyntax::Object => false,
            CallSyntax::ObjectOrHeader => !self.in_list,
            CallSyntax::Python => self.in_list,
            CallSyntax::Xml => true,
        };
        let object = matches!(self.syntax.call, CallSyntax::Object | CallSyntax::ObjectOrHeader);
        self.state = match c {
            _ if is_blank(c) => CallParserState::Open,
            '{' if object => CallParserState::Object(CallObject::new(self.syntax.bare)),
            '[' if !self.in_list && self.syntax.call != CallSyntax::Xml => {
                self.in_list = true;
                CallParserState::Open
            }
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '-' if header => CallParserState::Header(c.into()),
            _ => return self.reject(sink),
        };
        self.pending.push(c);
        true
    }

    /// Takes in a complete header of a call, whose arguments begin with `c`.
    fn header(&mut self, header: &str, c: char, sink: &mut Sink) -> bool {
        let name = name_in_header(header);
        let Some(tool) = self.spec.tools.iter().find(|tool| tool.name == name) else {
            return self.reject(sink);
        };
        self.state = match self.syntax.call {
            CallSyntax::Python => CallParserState::Python(PythonCall::new(name)),
            CallSyntax::Xml => CallParserState::Xml(XmlCall::new(name, &tool.parameters)),
            CallSyntax::Object | CallSyntax::ObjectOrHeader => {
                self.announce(name, sink);
                return false;
            }
        };
        self.pending.push(c);
        true
    }

    /// Announces the call of `name`, of which only the arguments follow.
    fn announce(&mut self, name: &str, sink: &mut Sink) {
        sink.start(name);
        self.pending.clear();
        self.state = CallParserState::Arguments(JsonReader::new());
    }

    /// Takes in a character of a call that is parsed at its end.
    fn whole(&mut self, c: char, step: WholeStep, sink: &mut Sink) -> bool {
        match (step, &self.state) {
            (WholeStep::More, _) => self.pending.push(c),
            (WholeStep::Done(arguments), CallParserState::Python(PythonCall { name, .. }) | CallParserState::Xml(XmlCall { name, .. })) => {
                sink.start(name);
                sink.arguments(&arguments);
                self.call_is_whole();
            }
            _ => return self.reject(sink),
        }
        true
    }

    fn after(&mut self, c: char, sink: &mut Sink) -> bool {
        match c {
            ']' => {
                self.in_list = false;
                self.pending.clear();
                self.state = CallParserState::Text;
                return true;
            }
            ',' => self.state = CallParserState::Open,
            _ if is_blank(c) => {}
            _ => return self.reject(sink),
        }
        self.pending.push(c);
        true
    }

    fn call_is_whole(&mut self) {
        self.pending.clear();
        self.complete += 1;
        self.after_call = true;
        self.state = if self.in_list { CallParserState::After } else { CallParserState::Text };
    }

    /// Makes the pending text content. The character that decided this may be content too.
    fn reject(&mut self, sink: &mut Sink) -> bool {
        sink.content(&std::mem::take(&mut self.pending));
        self.in_list = false;
        self.after_call = false;
        self.state = if is_beside_format(&self.spec) { CallParserState::Plain } else { CallParserState::Text };
        false
    }
}

/// True if the output is either calls or an answer in a format.
fn is_beside_format(spec: &OutputSpec) -> bool {
    spec.calls == Calls::Auto && spec.reasoning == Reasoning::Excluded
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}
