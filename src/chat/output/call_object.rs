//! Reads one call that is a JSON object: `{"name": …, "arguments": {…}}`.
//!
//! Its members may come in any order; `parameters` means the same as `arguments`. Once the name is known to be that of
//! a tool, arguments are passed on as they arrive.

use super::ToolSpec;
use super::json::{JsonReader, JsonStep};
use super::sink::Sink;

/// One call, as far as it was read.
#[derive(Debug)]
pub(super) struct CallObject {
    state: CallObjectState,
    name: Option<String>,
    /// Arguments that came before the name, or that are not written as an object.
    early: Option<String>,
    /// True if all members must be known ones, as for an object that no mark announced.
    strict: bool,
    announced: bool,
}

/// The effect of a character on a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// The character is a part of the call that is not passed on.
    Structure,
    /// The character is part of the arguments, which were passed on.
    Arguments,
    /// With this character the call was recognised and announced.
    Announced,
    /// The character ended the call.
    Done,
    /// The character cannot stand here, so the text is no call, or not a further part of one.
    Bad,
}

#[derive(Debug)]
enum CallObjectState {
    /// Before a key; if `first`, the object may also end.
    Key {
        first: bool,
    },
    InKey(JsonReader, String),
    Colon(Member),
    Value(Member, JsonReader, String),
    /// Within arguments that are passed on.
    Arguments(JsonReader),
    AfterValue,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Member {
    Name,
    Arguments,
    Other,
}

impl CallObject {
    /// Creates the reader for the text after the opening brace.
    pub(super) fn new(strict: bool) -> Self {
        Self { state: CallObjectState::Key { first: true }, name: None, early: None, strict, announced: false }
    }

    /// Reads a character. Announces the call and passes arguments on to `sink`.
    pub(super) fn push(&mut self, c: char, tools: &[ToolSpec], sink: &mut Sink) -> Heard {
        match &mut self.state {
            CallObjectState::Key { .. } | CallObjectState::Colon(_) | CallObjectState::AfterValue if is_blank(c) => Heard::Structure,
            CallObjectState::Value(_, _, text) if text.is_empty() && is_blank(c) => Heard::Structure,
            CallObjectState::Key { first: true } | CallObjectState::AfterValue if c == '}' => self.end(sink),
            CallObjectState::Key { .. } if c == '"' => {
                let (reader, text) = begin(c);
                self.state = CallObjectState::InKey(reader, text);
                Heard::Structure
            }
            CallObjectState::InKey(reader, text) => match reader.push(c, text) {
                JsonStep::More => Heard::Structure,
                JsonStep::Done => {
                    let key = std::mem::take(text);
                    self.key(&key)
                }
                JsonStep::DoneBefore | JsonStep::Bad => Heard::Bad,
            },
            CallObjectState::Colon(member) if c == ':' => {
                self.state = CallObjectState::Value(*member, JsonReader::new(), String::new());
                Heard::Structure
            }
            CallObjectState::Value(Member::Arguments, _, text) if c == '{' && text.is_empty() && self.name.is_some() && !self.announced => {
                let (reader, text) = begin(c);
                self.state = CallObjectState::Arguments(reader);
                self.announce(&text, sink)
            }
            CallObjectState::Value(member, reader, text) => {
                let member = *member;
                match reader.push(c, text) {
                    JsonStep::More => Heard::Structure,
                    JsonStep::Done => {
                        let text = std::mem::take(text);
                        self.value(member, &text, tools, sink)
                    }
                    JsonStep::DoneBefore => {
                        self.state = CallObjectState::AfterValue;
                        // The value was a number, which is neither a name nor arguments.
                        if member == Member::Other { self.push(c, tools, sink) } else { Heard::Bad }
                    }
                    JsonStep::Bad => Heard::Bad,
                }
            }
            CallObjectState::Arguments(reader) => {
                let mut text = String::new();
                let step = reader.push(c, &mut text);
                sink.arguments(&text);
                match step {
                    JsonStep::More => Heard::Arguments,
                    JsonStep::Done => {
                        self.state = CallObjectState::AfterValue;
                        Heard::Arguments
                    }
                    JsonStep::DoneBefore | JsonStep::Bad => Heard::Bad,
                }
            }
            CallObjectState::AfterValue if c == ',' => {
                self.state = CallObjectState::Key { first: false };
                Heard::Structure
            }
            CallObjectState::Key { .. } | CallObjectState::Colon(_) | CallObjectState::AfterValue => Heard::Bad,
        }
    }

    fn key(&mut self, text: &str) -> Heard {
        let member = match serde_json::from_str::<String>(text).as_deref() {
            Ok("name") => Member::Name,
            Ok("arguments" | "parameters") => Member::Arguments,
            Ok("id" | "type") => Member::Other,
            Ok(_) if !self.strict => Member::Other,
            _ => return Heard::Bad,
        };
        self.state = CallObjectState::Colon(member);
        Heard::Structure
    }

    /// Takes in a complete value.
    fn value(&mut self, member: Member, text: &str, tools: &[ToolSpec], sink: &mut Sink) -> Heard {
        self.state = CallObjectState::AfterValue;
        match member {
            Member::Other => return Heard::Structure,
            Member::Name => match serde_json::from_str::<String>(text) {
                Ok(name) if self.name.is_none() && is_tool(&name, tools) => self.name = Some(name),
                _ => return Heard::Bad,
            },
            Member::Arguments => match arguments(text) {
                Some(arguments) if self.early.is_none() && !self.announced => self.early = Some(arguments),
                _ => return Heard::Bad,
            },
        }
        match self.early.take_if(|_| self.name.is_some()) {
            Some(early) => self.announce(&early, sink),
            None => Heard::Structure,
        }
    }

    fn announce(&mut self, arguments: &str, sink: &mut Sink) -> Heard {
        self.announced = true;
        sink.start(self.name.as_deref().unwrap_or_default());
        sink.arguments(arguments);
        Heard::Announced
    }

    /// Takes in the closing brace. A call without arguments gets `{}`.
    fn end(&mut self, sink: &mut Sink) -> Heard {
        if self.name.is_none() {
            return Heard::Bad;
        }
        if !self.announced {
            self.announce("{}", sink);
        }
        Heard::Done
    }
}

/// True for white space in JSON.
pub(super) fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\n' | '\r' | '\t')
}

/// True if `name` is a function that may be called.
fn is_tool(name: &str, tools: &[ToolSpec]) -> bool {
    tools.iter().any(|tool| tool.name == name)
}

fn begin(c: char) -> (JsonReader, String) {
    let (mut reader, mut text) = (JsonReader::new(), String::new());
    reader.push(c, &mut text);
    (reader, text)
}

/// The JSON object that `text`, a JSON value, means: itself, an object that the model wrote into a string, or `{}` for
/// `null`.
fn arguments(text: &str) -> Option<String> {
    match text.as_bytes().first()? {
        b'{' => Some(text.to_owned()),
        b'n' => Some("{}".to_owned()),
        b'"' => serde_json::from_str::<String>(text)
            .ok()
            .filter(|inner| serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(inner).is_ok()),
        _ => None,
    }
}
