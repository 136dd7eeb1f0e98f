//! Checks JSON one character at a time, so that a value can be passed on before its end arrives.

/// Maximum nesting; `serde_json` and Python stop at 128 and 1,000.
const MAX_DEPTH: usize = 120;

/// One value, as far as it was read.
#[derive(Debug)]
pub(super) struct JsonReader {
    /// The open containers, outermost first; true for an object, false for an array.
    open: Vec<bool>,
    state: JsonReaderState,
}

/// The effect of a character on the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JsonStep {
    /// The character belongs to the value, which goes on.
    More,
    /// The character ended the value.
    Done,
    /// The value, a number, ended before the character.
    DoneBefore,
    /// The character cannot stand here.
    Bad,
}

#[derive(Debug, Clone, Copy)]
enum JsonReaderState {
    Value,
    /// A value, or the end of the array, must follow.
    FirstItem,
    Key,
    /// A key, or the end of the object, must follow.
    FirstKey,
    Colon,
    AfterItem,
    String {
        key: bool,
    },
    Escape {
        key: bool,
    },
    Unicode {
        key: bool,
        left: u8,
    },
    Literal(&'static str),
    Number(Number),
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    Minus,
    Zero,
    Integer,
    Point,
    Fraction,
    Exponent,
    Sign,
    Power,
}

impl JsonReader {
    pub(super) fn new() -> Self {
        Self { open: Vec::new(), state: JsonReaderState::Value }
    }

    /// Reads `c` and appends its JSON form to `text`: itself, or an escape if it must not stand bare in a string.
    pub(super) fn push(&mut self, c: char, text: &mut String) -> JsonStep {
        let step = self.step(c);
        if matches!(step, JsonStep::More | JsonStep::Done) {
            match (self.state, c) {
                (JsonReaderState::String { .. }, '\n') => text.push_str("\\n"),
                (JsonReaderState::String { .. }, '\r') => text.push_str("\\r"),
                (JsonReaderState::String { .. }, '\t') => text.push_str("\\t"),
                (JsonReaderState::String { .. }, '\0'..'\x20') => text.push_str(&format!("\\u{:04x}", u32::from(c))),
                _ => text.push(c),
            }
        }
        step
    }

    fn step(&mut self, c: char) -> JsonStep {
        match (self.state, c) {
            (JsonReaderState::String { key }, '"') => return self.end_of_string(key),
            (JsonReaderState::String { key }, '\\') => self.state = JsonReaderState::Escape { key },
            (JsonReaderState::String { .. }, _) => {}
            (JsonReaderState::Escape { key }, 'u') => self.state = JsonReaderState::Unicode { key, left: 4 },
            (JsonReaderState::Escape { key }, '"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't') => {
                self.state = JsonReaderState::String { key }
            }
            (JsonReaderState::Unicode { key, left: 1 }, _) if c.is_ascii_hexdigit() => self.state = JsonReaderState::String { key },
            (JsonReaderState::Unicode { key, left }, _) if c.is_ascii_hexdigit() => {
                self.state = JsonReaderState::Unicode { key, left: left - 1 }
            }
            (JsonReaderState::Literal(rest), _) => return self.literal(rest, c),
            (JsonReaderState::Number(number), _) => return self.number(number, c),
            (JsonReaderState::Ended, _) => return JsonStep::Bad,
            (_, ' ' | '\n' | '\r' | '\t') => {}
            (JsonReaderState::Value | JsonReaderState::FirstItem, '{') => return self.enter(true),
            (JsonReaderState::Value | JsonReaderState::FirstItem, '[') => return self.enter(false),
            (JsonReaderState::FirstItem, ']') => return self.leave(false),
            (JsonReaderState::Value | JsonReaderState::FirstItem, _) => return self.scalar(c),
            (JsonReaderState::Key | JsonReaderState::FirstKey, '"') => self.state = JsonReaderState::String { key: true },
            (JsonReaderState::Colon, ':') => self.state = JsonReaderState::Value,
            (JsonReaderState::AfterItem, ',') => self.state = if self.in_object() { JsonReaderState::Key } else { JsonReaderState::Value },
            (JsonReaderState::FirstKey | JsonReaderState::AfterItem, '}') => return self.leave(true),
            (JsonReaderState::AfterItem, ']') => return self.leave(false),
            _ => return JsonStep::Bad,
        }
        JsonStep::More
    }

    fn in_object(&self) -> bool {
        self.open.last() == Some(&true)
    }

    fn enter(&mut self, object: bool) -> JsonStep {
        if self.open.len() == MAX_DEPTH {
            return JsonStep::Bad;
        }
        self.open.push(object);
        self.state = if object { JsonReaderState::FirstKey } else { JsonReaderState::FirstItem };
        JsonStep::More
    }

    fn leave(&mut self, object: bool) -> JsonStep {
        if self.open.pop() == Some(object) { self.end_of_value() } else { JsonStep::Bad }
    }

    fn end_of_value(&mut self) -> JsonStep {
        if self.open.is_empty() {
            self.state = JsonReaderState::Ended;
            return JsonStep::Done;
        }
        self.state = JsonReaderState::AfterItem;
        JsonStep::More
    }

    fn end_of_string(&mut self, key: bool) -> JsonStep {
        if key {
            self.state = JsonReaderState::Colon;
            return JsonStep::More;
        }
        self.end_of_value()
    }

    fn scalar(&mut self, c: char) -> JsonStep {
        self.state = match c {
            '"' => JsonReaderState::String { key: false },
            't' => JsonReaderState::Literal("rue"),
            'f' => JsonReaderState::Literal("alse"),
            'n' => JsonReaderState::Literal("ull"),
            '-' => JsonReaderState::Number(Number::Minus),
            '0' => JsonReaderState::Number(Number::Zero),
            '1'..='9' => JsonReaderState::Number(Number::Integer),
            _ => return JsonStep::Bad,
        };
        JsonStep::More
    }

    fn literal(&mut self, rest: &'static str, c: char) -> JsonStep {
        match rest.strip_prefix(c) {
            Some("") => self.end_of_value(),
            Some(rest) => {
                self.state = JsonReaderState::Literal(rest);
                JsonStep::More
            }
            None => JsonStep::Bad,
        }
    }

    fn number(&mut self, number: Number, c: char) -> JsonStep {
        let next = match (number, c) {
            (Number::Minus, '0') => Number::Zero,
            (Number::Minus, '1'..='9') | (Number::Integer, '0'..='9') => Number::Integer,
            (Number::Zero | Number::Integer, '.') => Number::Point,
            (Number::Point | Number::Fraction, '0'..='9') => Number::Fraction,
            (Number::Zero | Number::Integer | Number::Fraction, 'e' | 'E') => Number::Exponent,
            (Number::Exponent, '+' | '-') => Number::Sign,
            (Number::Exponent | Number::Sign | Number::Power, '0'..='9') => Number::Power,
            (Number::Minus | Number::Point | Number::Exponent | Number::Sign, _) => return JsonStep::Bad,
            // A number ends before a character that does not belong to it.
            (Number::Zero | Number::Integer | Number::Fraction | Number::Power, _) => {
                return match self.end_of_value() {
                    JsonStep::Done => JsonStep::DoneBefore,
                    _ => self.step(c),
                };
            }
        };
        self.state = JsonReaderState::Number(next);
        JsonStep::More
    }
}
