//! Reads JSON in the order, and with the errors, of CPython's scanner.

use super::{Json, JsonError, MAX_DEPTH, MAX_INT_DIGITS};
use std::collections::HashMap;

/// Reads one document.
///
/// # Errors
/// The error that `json.loads` would raise.
pub(in crate::api::legacy) fn parse(text: &str) -> Result<Json, JsonError> {
    let mut scanner = Scanner { text, at: 0, depth: 0 };
    scanner.skip_whitespace();
    let document = scanner.value().map_err(|fault| fault.locate(text))?;
    scanner.skip_whitespace();
    if scanner.at < text.len() {
        return Err(ScanError::Syntax("Extra data", scanner.at).locate(text));
    }
    Ok(document)
}

/// A [`JsonError`] whose position is still in bytes.
enum ScanError {
    Syntax(&'static str, usize),
    TooBig,
}

impl ScanError {
    fn locate(self, text: &str) -> JsonError {
        match self {
            Self::Syntax(message, at) => {
                let position = text.char_indices().take_while(|(byte, _)| *byte < at).count();
                JsonError::Syntax { message, position }
            }
            Self::TooBig => JsonError::TooBig,
        }
    }
}

struct Scanner<'a> {
    text: &'a str,
    /// The offset of the next byte; between two tokens it is always a character boundary.
    at: usize,
    depth: usize,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.byte(self.at)
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    fn skip_whitespace(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn fail<T>(&self, message: &'static str) -> Result<T, ScanError> {
        Err(ScanError::Syntax(message, self.at))
    }

    fn value(&mut self) -> Result<Json, ScanError> {
        match self.peek() {
            Some(b'"') => self.string().map(Json::String),
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            _ => {
                for (literal, value) in literals() {
                    if self.text.as_bytes()[self.at..].starts_with(literal.as_bytes()) {
                        self.at += literal.len();
                        return Ok(value);
                    }
                }
                self.number()
            }
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Json, ScanError>) -> Result<Json, ScanError> {
        if self.depth == MAX_DEPTH {
            return Err(ScanError::TooBig);
        }
        self.depth += 1;
        self.at += 1;
        self.skip_whitespace();
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn object(&mut self) -> Result<Json, ScanError> {
        let mut members: Vec<(String, Json)> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Json::Object(members));
        }
        loop {
            if self.peek() != Some(b'"') {
                return self.fail("Expecting property name enclosed in double quotes");
            }
            let key = self.string()?;
            self.skip_whitespace();
            if self.peek() != Some(b':') {
                return self.fail("Expecting ':' delimiter");
            }
            self.at += 1;
            self.skip_whitespace();
            let value = self.value()?;
            if let Some(place) = places.get(&key) {
                members[*place].1 = value;
            } else {
                places.insert(key.clone(), members.len());
                members.push((key, value));
            }
            if self.closes_with(b'}')? {
                return Ok(Json::Object(members));
            }
        }
    }

    fn array(&mut self) -> Result<Json, ScanError> {
        let mut items = Vec::new();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value()?);
            if self.closes_with(b']')? {
                return Ok(Json::Array(items));
            }
        }
    }

    /// Reads the character after a member. True if it is the closing bracket, false if it is a comma.
    fn closes_with(&mut self, bracket: u8) -> Result<bool, ScanError> {
        self.skip_whitespace();
        if self.peek() == Some(bracket) {
            self.at += 1;
            return Ok(true);
        }
        if self.peek() != Some(b',') {
            return self.fail("Expecting ',' delimiter");
        }
        self.at += 1;
        self.skip_whitespace();
        Ok(false)
    }

    /// Reads a number. Text that begins no value ends up here too and is an error.
    fn number(&mut self) -> Result<Json, ScanError> {
        let start = self.at;
        let mut at = start;
        if self.byte(at) == Some(b'-') {
            at += 1;
        }
        match self.byte(at) {
            Some(b'0') => at += 1,
            Some(b'1'..=b'9') => at = self.digits_end(at),
            _ => return self.fail("Expecting value"),
        }
        let integer_end = at;
        if self.byte(at) == Some(b'.') && self.digits_end(at + 1) > at + 1 {
            at = self.digits_end(at + 1);
        }
        if matches!(self.byte(at), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(self.byte(at + 1), Some(b'+' | b'-')));
            let exponent = at + 1 + sign;
            if self.digits_end(exponent) > exponent {
                at = self.digits_end(exponent);
            }
        }
        self.at = at;
        let number = &self.text[start..at];
        if at == integer_end {
            return integer(number);
        }
        // Rust reads every text of this grammar; a number that is too large becomes infinite, as in Python.
        number.parse().map(Json::Float).map_err(|_| ScanError::Syntax("Expecting value", start))
    }

    /// The end of the digits that begin at `at`.
    fn digits_end(&self, at: usize) -> usize {
        let digits = self.text.as_bytes().get(at..).unwrap_or_default();
        at + digits.iter().take_while(|byte| byte.is_ascii_digit()).count()
    }

    fn string(&mut self) -> Result<String, ScanError> {
        let begin = self.at;
        let mut text = String::new();
        let mut at = begin + 1;
        loop {
            let chunk = at;
            while self.byte(at).is_some_and(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
                at += 1;
            }
            text.push_str(&self.text[chunk..at]);
            match self.byte(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok(text);
                }
                Some(b'\\') => at = self.escape(begin, at, &mut text)?,
                Some(_) => return Err(ScanError::Syntax("Invalid control character at", at)),
                None => return Err(ScanError::Syntax("Unterminated string starting at", begin)),
            }
        }
    }

    /// Reads the escape at `backslash`, in the string that began at `begin`. Returns the end of the escape.
    fn escape(&self, begin: usize, backslash: usize, text: &mut String) -> Result<usize, ScanError> {
        let Some(letter) = self.byte(backslash + 1) else {
            return Err(ScanError::Syntax("Unterminated string starting at", begin));
        };
        let character = match letter {
            b'"' | b'\\' | b'/' => char::from(letter),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode_escape(backslash, text),
            _ => return Err(ScanError::Syntax("Invalid \\escape", backslash)),
        };
        text.push(character);
        Ok(backslash + 2)
    }

    fn unicode_escape(&self, backslash: usize, text: &mut String) -> Result<usize, ScanError> {
        let Some(first) = self.hex4(backslash) else {
            return Err(ScanError::Syntax("Invalid \\uXXXX escape", backslash + 1));
        };
        let end = backslash + 6;
        if (0xD800..0xDC00).contains(&first)
            && self.byte(end) == Some(b'\\')
            && let Some(second) = self.hex4(end).filter(|second| (0xDC00..0xE000).contains(second))
        {
            let joined = 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
            text.push(char::from_u32(joined).unwrap_or(char::REPLACEMENT_CHARACTER));
            return Ok(end + 6);
        }
        text.push(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
        Ok(end)
    }

    /// The value of `\uXXXX` at `backslash`. Python requires at least one character after it.
    fn hex4(&self, backslash: usize) -> Option<u32> {
        let escape = self.text.as_bytes().get(backslash..backslash + 7)?;
        let ([b'\\', b'u'], digits) = escape.split_at(2) else { return None };
        digits[..4].iter().try_fold(0, |value, digit| Some(value * 16 + char::from(*digit).to_digit(16)?))
    }
}

fn literals() -> [(&'static str, Json); 6] {
    [
        ("null", Json::Null),
        ("true", Json::Bool(true)),
        ("false", Json::Bool(false)),
        ("NaN", Json::Float(f64::NAN)),
        ("Infinity", Json::Float(f64::INFINITY)),
        ("-Infinity", Json::Float(f64::NEG_INFINITY)),
    ]
}

fn integer(digits: &str) -> Result<Json, ScanError> {
    if digits.trim_start_matches('-').len() > MAX_INT_DIGITS {
        return Err(ScanError::TooBig);
    }
    Ok(Json::Int(if digits == "-0" { "0" } else { digits }.into()))
}
