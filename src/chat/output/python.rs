//! Reads one call in Python syntax, `f(a=1, b='x')`, and writes its arguments as JSON.
//!
//! Arguments are keywords with literal values: numbers, strings, `True`, `False`, `None` (and JSON's words for them),
//! lists, tuples and dictionaries. With anything else, such as names and operators, the text is no call.

use serde_json::{Map, Number, Value};

/// Maximum nesting, so that reading takes little stack.
const MAX_DEPTH: usize = 64;

/// One call, as far as it was read. Its end is found as it arrives; at its end it is parsed, once.
#[derive(Debug)]
pub(super) struct PythonCall {
    pub(super) name: String,
    /// The text between the parentheses.
    inside: String,
    /// The quote character that ends the open string.
    quote: Option<char>,
    escaped: bool,
    depth: usize,
}

/// The effect of a character on a call that is parsed at its end.
#[derive(Debug)]
pub(super) enum WholeStep {
    /// The call goes on.
    More,
    /// The call is whole, with these arguments as a JSON object.
    Done(String),
    /// The text is no such call.
    Bad,
}

impl PythonCall {
    /// Creates the reader for the text after the opening parenthesis.
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), inside: String::new(), quote: None, escaped: false, depth: 0 }
    }

    pub(super) fn push(&mut self, c: char) -> WholeStep {
        match (self.quote, c) {
            (Some(_), _) if self.escaped => self.escaped = false,
            (Some(_), '\\') => self.escaped = true,
            (Some(quote), _) if c == quote => self.quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => self.quote = Some(c),
            (None, '(' | '[' | '{') if self.depth == MAX_DEPTH => return WholeStep::Bad,
            (None, '(' | '[' | '{') => self.depth += 1,
            (None, ')') if self.depth == 0 => {
                let whole = Literals { rest: &self.inside }.keywords();
                return whole.map_or(WholeStep::Bad, |arguments| WholeStep::Done(Value::Object(arguments).to_string()));
            }
            (None, ']' | '}') if self.depth == 0 => return WholeStep::Bad,
            (None, ')' | ']' | '}') => self.depth -= 1,
            (None, _) => {}
        }
        self.inside.push(c);
        WholeStep::More
    }
}

/// Reads literals from the front of a text.
struct Literals<'a> {
    rest: &'a str,
}

impl Literals<'_> {
    /// Reads `a=1, b=2` to the end of the text.
    fn keywords(&mut self) -> Option<Map<String, Value>> {
        let mut arguments = Map::new();
        loop {
            self.blank();
            if self.rest.is_empty() {
                return Some(arguments);
            }
            let name = self.word();
            if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !self.takes('=') {
                return None;
            }
            let value = self.value()?;
            if arguments.insert(name, value).is_some() {
                return None;
            }
            if !self.takes(',') && !self.rest.is_empty() {
                return None;
            }
        }
    }

    fn blank(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Skips white space, and takes `c` if it comes next.
    fn takes(&mut self, c: char) -> bool {
        self.blank();
        match self.rest.strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Takes letters, digits and underscores.
    fn word(&mut self) -> String {
        let end = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word.to_owned()
    }

    fn value(&mut self) -> Option<Value> {
        self.blank();
        match self.rest.chars().next()? {
            '"' | '\'' => self.string().map(Value::String),
            '[' => self.items('[', ']').map(Value::Array),
            '(' => self.items('(', ')').map(Value::Array),
            '{' => self.entries().map(Value::Object),
            '0'..='9' | '-' | '+' | '.' => self.number(),
            _ => match self.word().as_str() {
                "True" | "true" => Some(Value::Bool(true)),
                "False" | "false" => Some(Value::Bool(false)),
                "None" | "null" => Some(Value::Null),
                _ => None,
            },
        }
    }

    fn items(&mut self, open: char, close: char) -> Option<Vec<Value>> {
        let mut items = Vec::new();
        self.takes(open);
        while !self.takes(close) {
            items.push(self.value()?);
            if !self.takes(',') {
                return self.takes(close).then_some(items);
            }
        }
        Some(items)
    }

    fn entries(&mut self) -> Option<Map<String, Value>> {
        let mut entries = Map::new();
        self.takes('{');
        while !self.takes('}') {
            let Value::String(key) = self.value()? else {
                return None;
            };
            if !self.takes(':') {
                return None;
            }
            let value = self.value()?;
            entries.insert(key, value);
            if !self.takes(',') {
                return self.takes('}').then_some(entries);
            }
        }
        Some(entries)
    }

    fn number(&mut self) -> Option<Value> {
        let digits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_');
        let mut before = '+';
        let end = self.rest.find(|c: char| {
            let sign = matches!(c, '+' | '-') && matches!(before, 'e' | 'E' | '+');
            before = c;
            !sign && !digits(c)
        });
        let (number, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        let number = number.trim_start_matches('+').replace('_', "");
        if !number.contains(['.', 'e', 'E']) {
            let signed = number.parse::<i64>().map(Number::from);
            return signed.or_else(|_| number.parse::<u64>().map(Number::from)).ok().map(Value::Number);
        }
        Number::from_f64(number.parse::<f64>().ok()?).map(Value::Number)
    }

    /// Reads one string, or several adjacent ones, which Python joins. A string may span lines.
    fn string(&mut self) -> Option<String> {
        let mut text = String::new();
        while let Some(quote) = self.rest.chars().next().filter(|c| matches!(c, '"' | '\'')) {
            self.rest = &self.rest[1..];
            loop {
                let mut rest = self.rest.chars();
                let c = rest.next()?;
                self.rest = rest.as_str();
                match c {
                    _ if c == quote => break,
                    '\\' => self.escape(&mut text)?,
                    _ => text.push(c),
                }
            }
            self.blank();
        }
        Some(text)
    }

    /// Reads an escape after its backslash.
    fn escape(&mut self, text: &mut String) -> Option<()> {
        let mut rest = self.rest.chars();
        let c = rest.next()?;
        self.rest = rest.as_str();
        match c {
            '\n' => {}
            'n' => text.push('\n'),
            't' => text.push('\t'),
            'r' => text.push('\r'),
            '0' => text.push('\0'),
            'a' => text.push('\x07'),
            'b' => text.push('\x08'),
            'f' => text.push('\x0c'),
            'v' => text.push('\x0b'),
            '\\' | '\'' | '"' => text.push(c),
            'x' => text.push(self.code_point(2)?),
            'u' => text.push(self.code_point(4)?),
            'U' => text.push(self.code_point(8)?),
            // Python keeps the backslash of an unknown escape.
            _ => text.extend(['\\', c]),
        }
        Some(())
    }

    fn code_point(&mut self, digits: usize) -> Option<char> {
        let (code, rest) = self.rest.split_at_checked(digits)?;
        self.rest = rest;
        char::from_u32(u32::from_str_radix(code, 16).ok()?)
    }
}
