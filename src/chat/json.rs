//! `tojson` with the meaning that chat templates expect: Python's `json.dumps` with its arguments, not Jinja's filter
//! for HTML.
//!
//! Written by hand: serde_json has neither Python's spaces, floats and escapes nor the arguments of `json.dumps`.
//!
//! Owns the text form of values, including floats as Python prints them. Charges the template's fuel for its output.

use minijinja::{
    Error, ErrorKind, State, Value,
    value::{Kwargs, ValueKind},
};
use std::fmt::Write as _;

/// Context variable with the marker of this render. The name has a space, so that no template can name it.
pub(super) const MARKER: &str = "llamero marker";
/// Maximum nesting that is written; serde_json reads no deeper either.
const MAX_DEPTH: usize = 128;
/// Longest indentation of one level, characters.
const MAX_INDENT: usize = 64;
/// Bytes of JSON for one unit of fuel: walking values costs more than copying them.
const BYTES_PER_FUEL: usize = 16;

/// The filter. Takes `ensure_ascii=False`, `indent=None`, `separators=None`, `sort_keys=False`, by position or by name.
pub(super) fn tojson(state: &State<'_, '_>, value: &Value, by_place: &[Value], named: &Kwargs) -> Result<Value, Error> {
    let names = ["ensure_ascii", "indent", "separators", "sort_keys"];
    if by_place.len() > names.len() {
        return Err(Error::new(ErrorKind::TooManyArguments, "tojson takes four arguments"));
    }
    let pick = |index: usize| match by_place.get(index) {
        Some(value) => Ok(Some(value.clone())),
        None => named.get::<Option<Value>>(names[index]),
    };
    let truthy = |value: Option<Value>| value.is_some_and(|value| value.is_true());
    let ensure_ascii = truthy(pick(0)?);
    let indent = indentation(pick(1)?)?;
    let (item, key) = separator_pair(pick(2)?, indent.is_some())?;
    let sort_keys = truthy(pick(3)?);
    named.assert_all_used()?;
    let marker = state.lookup(MARKER).and_then(|marker| marker.as_str().and_then(|marker| marker.chars().next()));
    let mut writer = Writer { state, out: String::new(), paid: 0, ensure_ascii, indent, item, key, sort_keys, marker };
    writer.value(value, 0)?;
    writer.pay()?;
    Ok(Value::from(writer.out))
}

fn indentation(value: Option<Value>) -> Result<Option<String>, Error> {
    let Some(value) = value.filter(|value| !value.is_none()) else { return Ok(None) };
    let text = match value.as_str() {
        Some(text) => text.to_owned(),
        None => " ".repeat(usize::try_from(value)?.min(MAX_INDENT + 1)),
    };
    match text.chars().count() {
        0..=MAX_INDENT => Ok(Some(text)),
        _ => Err(Error::new(ErrorKind::InvalidOperation, format!("tojson indents by {MAX_INDENT} characters at most"))),
    }
}

fn separator_pair(value: Option<Value>, indented: bool) -> Result<(String, String), Error> {
    let Some(value) = value.filter(|value| !value.is_none()) else {
        return Ok((if indented { "," } else { ", " }.to_owned(), ": ".to_owned()));
    };
    let parts: Vec<Value> = value.try_iter()?.collect();
    match parts.as_slice() {
        [item, key] => match (item.as_str(), key.as_str()) {
            (Some(item), Some(key)) => Ok((item.to_owned(), key.to_owned())),
            _ => Err(Error::new(ErrorKind::InvalidOperation, "tojson's separators are two strings")),
        },
        _ => Err(Error::new(ErrorKind::InvalidOperation, "tojson's separators are two strings")),
    }
}

struct Writer<'a, 't, 'e> {
    state: &'a State<'t, 'e>,
    out: String,
    /// Bytes of `out` that fuel has been paid for.
    paid: usize,
    ensure_ascii: bool,
    indent: Option<String>,
    item: String,
    key: String,
    sort_keys: bool,
    /// A character that is never escaped, because it is removed from the rendered text again.
    marker: Option<char>,
}

impl Writer<'_, '_, '_> {
    fn pay(&mut self) -> Result<(), Error> {
        let owed = (self.out.len() - self.paid) / BYTES_PER_FUEL;
        self.paid += owed * BYTES_PER_FUEL;
        self.state.consume_fuel(owed as u64 + 1)
    }

    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(Error::new(ErrorKind::InvalidOperation, format!("tojson writes {MAX_DEPTH} levels at most")));
        }
        self.pay()?;
        match value.kind() {
            ValueKind::None => self.out.push_str("null"),
            ValueKind::Bool => self.out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.number(value),
            ValueKind::String => self.string(value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable => {
                let items: Vec<Value> = value.try_iter()?.collect();
                self.container(('[', ']'), items, depth, |writer, item| writer.value(&item, depth + 1))?;
            }
            ValueKind::Map => self.map(value, depth)?,
            kind => return Err(Error::new(ErrorKind::InvalidOperation, format!("{kind} has no form in JSON"))),
        }
        Ok(())
    }

    fn map(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        let mut keys: Vec<Value> = value.try_iter()?.collect();
        if self.sort_keys {
            keys.sort();
        }
        self.container(('{', '}'), keys, depth, |writer, key| {
            match key.as_str() {
                Some(text) => writer.string(text),
                None if matches!(key.kind(), ValueKind::None | ValueKind::Bool | ValueKind::Number) => {
                    writer.out.push('"');
                    writer.value(&key, depth + 1)?;
                    writer.out.push('"');
                }
                None => return Err(Error::new(ErrorKind::InvalidOperation, format!("{} is no key in JSON", key.kind()))),
            }
            let separator = writer.key.clone();
            writer.out.push_str(&separator);
            writer.value(&value.get_item(&key)?, depth + 1)
        })
    }

    fn container(
        &mut self,
        (open, close): (char, char),
        items: Vec<Value>,
        depth: usize,
        mut write: impl FnMut(&mut Self, Value) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.out.push(open);
        let empty = items.is_empty();
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                let separator = self.item.clone();
                self.out.push_str(&separator);
            }
            self.new_line(depth + 1);
            write(self, item)?;
        }
        if !empty {
            self.new_line(depth);
        }
        self.out.push(close);
        Ok(())
    }

    fn new_line(&mut self, depth: usize) {
        if let Some(indent) = &self.indent {
            self.out.push('\n');
            for _ in 0..depth {
                self.out.push_str(indent);
            }
        }
    }

    fn number(&mut self, value: &Value) {
        match f64::try_from(value.clone()) {
            Ok(number) if !value.is_integer() => self.out.push_str(&match number {
                number if number.is_nan() => "NaN".to_owned(),
                number if number.is_infinite() => if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned(),
                number => python_float(number),
            }),
            _ => self.out.push_str(&value.to_string()),
        }
    }

    fn string(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                c if (c as u32) < 0x20 => self.unit(c as u16),
                '\u{7f}' if self.ensure_ascii => self.out.push(c),
                c if self.ensure_ascii && !c.is_ascii() && Some(c) != self.marker => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        self.unit(*unit);
                    }
                }
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }

    fn unit(&mut self, unit: u16) {
        // Writing to a String cannot fail.
        let _ = write!(self.out, "\\u{unit:04x}");
    }
}

/// The shortest text that reads back as the same number, in Python's form: `1.0`, `1e+16`, `1e-05`.
pub(super) fn python_float(number: f64) -> String {
    if !number.is_finite() {
        return if number.is_nan() { "nan".to_owned() } else { if number > 0.0 { "inf" } else { "-inf" }.to_owned() };
    }
    let scientific = format!("{number:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>() {
        Ok(-4..=15) | Err(_) => format!("{number:?}"),
        Ok(exponent) => format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs()),
    }
}
