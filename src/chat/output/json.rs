//! Checks JSON one character at a time, so that a value can be passed on before its end has come.

/// Deeper is refused; `serde_json` and Python stop at 128 and 1,000.
const MAX_DEPTH: usize = 120;

/// One value, read as far as it came.
#[derive(Debug)]
pub(super) struct JsonReader {
    /// Of the open containers, which are objects.
    open: Vec<bool>,
    state: State,
}

/// What a character did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It belongs to the value, which goes on.
    More,
    /// It ended the value.
    Done,
    /// The value, a number, ended before it.
    DoneBefore,
    /// It cannot stand here.
    Bad,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Value,
    /// A value, or the end of the array.
    FirstItem,
    Key,
    /// A key, or the end of the object.
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
        Self { open: Vec::new(), state: State::Value }
    }

    /// Reads `c` and appends to `text` what it is in JSON: itself, or in a string its escape if it may not stand bare.
    pub(super) fn push(&mut self, c: char, text: &mut String) -> Step {
        let step = self.step(c);
        if matches!(step, Step::More | Step::Done) {
            match (self.state, c) {
                (State::String { .. }, '\n') => text.push_str("\\n"),
                (State::String { .. }, '\r') => text.push_str("\\r"),
                (State::String { .. }, '\t') => text.push_str("\\t"),
                (State::String { .. }, '\0'..'\x20') => text.push_str(&format!("\\u{:04x}", u32::from(c))),
                _ => text.push(c),
            }
        }
        step
    }

    fn step(&mut self, c: char) -> Step {
        match (self.state, c) {
            (State::String { key }, '"') => return self.end_of_string(key),
            (State::String { key }, '\\') => self.state = State::Escape { key },
            (State::String { .. }, _) => {}
            (State::Escape { key }, 'u') => self.state = State::Unicode { key, left: 4 },
            (State::Escape { key }, '"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't') => self.state = State::String { key },
            (State::Unicode { key, left: 1 }, _) if c.is_ascii_hexdigit() => self.state = State::String { key },
            (State::Unicode { key, left }, _) if c.is_ascii_hexdigit() => self.state = State::Unicode { key, left: left - 1 },
            (State::Literal(rest), _) => return self.literal(rest, c),
            (State::Number(number), _) => return self.number(number, c),
            (State::Ended, _) => return Step::Bad,
            (_, ' ' | '\n' | '\r' | '\t') => {}
            (State::Value | State::FirstItem, '{') => return self.enter(true),
            (State::Value | State::FirstItem, '[') => return self.enter(false),
            (State::FirstItem, ']') => return self.leave(false),
            (State::Value | State::FirstItem, _) => return self.scalar(c),
            (State::Key | State::FirstKey, '"') => self.state = State::String { key: true },
            (State::Colon, ':') => self.state = State::Value,
            (State::AfterItem, ',') => self.state = if self.in_object() { State::Key } else { State::Value },
            (State::FirstKey | State::AfterItem, '}') => return self.leave(true),
            (State::AfterItem, ']') => return self.leave(false),
            _ => return Step::Bad,
        }
        Step::More
    }

    fn in_object(&self) -> bool {
        self.open.last() == Some(&true)
    }

    fn enter(&mut self, object: bool) -> Step {
        if self.open.len() == MAX_DEPTH {
            return Step::Bad;
        }
        self.open.push(object);
        self.state = if object { State::FirstKey } else { State::FirstItem };
        Step::More
    }

    fn leave(&mut self, object: bool) -> Step {
        if self.open.pop() == Some(object) { self.end_of_value() } else { Step::Bad }
    }

    fn end_of_value(&mut self) -> Step {
        if self.open.is_empty() {
            self.state = State::Ended;
            return Step::Done;
        }
        self.state = State::AfterItem;
        Step::More
    }

    fn end_of_string(&mut self, key: bool) -> Step {
        if key {
            self.state = State::Colon;
            return Step::More;
        }
        self.end_of_value()
    }

    fn scalar(&mut self, c: char) -> Step {
        self.state = match c {
            '"' => State::String { key: false },
            't' => State::Literal("rue"),
            'f' => State::Literal("alse"),
            'n' => State::Literal("ull"),
            '-' => State::Number(Number::Minus),
            '0' => State::Number(Number::Zero),
            '1'..='9' => State::Number(Number::Integer),
            _ => return Step::Bad,
        };
        Step::More
    }

    fn literal(&mut self, rest: &'static str, c: char) -> Step {
        match rest.strip_prefix(c) {
            Some("") => self.end_of_value(),
            Some(rest) => {
                self.state = State::Literal(rest);
                Step::More
            }
            None => Step::Bad,
        }
    }

    fn number(&mut self, number: Number, c: char) -> Step {
        let next = match (number, c) {
            (Number::Minus, '0') => Number::Zero,
            (Number::Minus, '1'..='9') | (Number::Integer, '0'..='9') => Number::Integer,
            (Number::Zero | Number::Integer, '.') => Number::Point,
            (Number::Point | Number::Fraction, '0'..='9') => Number::Fraction,
            (Number::Zero | Number::Integer | Number::Fraction, 'e' | 'E') => Number::Exponent,
            (Number::Exponent, '+' | '-') => Number::Sign,
            (Number::Exponent | Number::Sign | Number::Power, '0'..='9') => Number::Power,
            (Number::Minus | Number::Point | Number::Exponent | Number::Sign, _) => return Step::Bad,
            // A number ends where something follows that does not belong to it.
            (Number::Zero | Number::Integer | Number::Fraction | Number::Power, _) => {
                return match self.end_of_value() {
                    Step::Done => Step::DoneBefore,
                    _ => self.step(c),
                };
            }
        };
        self.state = State::Number(next);
        Step::More
    }
}
