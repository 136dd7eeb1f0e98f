//! Reads GBNF. The order of cases, and the places at which lines may end, follow llama.cpp's `llama_grammar_parser`.

use super::{Grammar, MAX_RULES, Node, Nodes};
use crate::protocol::{
    ConstraintError,
    ConstraintErrorKind::{Invalid, TooLarge},
    ConstraintPlace,
};
use std::fmt::Write;

/// Largest number of repetitions (llama.cpp's `MAX_REPETITION_THRESHOLD`).
const MAX_REPEAT: u32 = 2_000;

pub(super) fn parse(text: &str) -> Result<Grammar, ConstraintError> {
    let mut parser = Parser { text, at: 0, grammar: Grammar::default() };
    parser.space(true);
    while !parser.rest().is_empty() {
        parser.rule()?;
    }
    Ok(parser.grammar)
}

/// True if a character can stand in the name of a rule.
pub(super) fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

struct Parser<'a> {
    text: &'a str,
    /// Offset of the next character.
    at: usize,
    grammar: Grammar,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn line(&self) -> usize {
        self.text[..self.at].matches('\n').count() + 1
    }

    /// An error in the line of the next character.
    fn invalid(&self, message: impl Into<String>) -> ConstraintError {
        ConstraintPlace::GrammarLine(self.line()).sentence(Invalid, message)
    }

    /// Passes `wanted` if it comes next. Returns whether it did.
    fn eat(&mut self, wanted: &str) -> bool {
        let found = self.rest().starts_with(wanted);
        self.at += if found { wanted.len() } else { 0 };
        found
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let taken = &rest[..rest.find(|c| !wanted(c)).unwrap_or(rest.len())];
        self.at += taken.len();
        taken
    }

    /// Passes blanks and comments, and with `lines` also line ends.
    fn space(&mut self, lines: bool) {
        loop {
            let before = self.at;
            self.take_while(|c| c == ' ' || c == '\t' || (lines && (c == '\n' || c == '\r')));
            if self.peek() == Some('#') {
                self.take_while(|c| c != '\n' && c != '\r');
            }
            if self.at == before {
                return;
            }
        }
    }

    /// Reads `name ::= alternatives`, to the end of its line.
    fn rule(&mut self) -> Result<(), ConstraintError> {
        let rule = self.name()?;
        self.space(false);
        if !self.eat("::=") {
            return Err(self.invalid("expected '::=' after the name of a rule"));
        }
        self.space(true);
        let alternatives = self.alternatives(false)?;
        if !self.rest().is_empty() && !self.rest().starts_with(['\n', '\r']) {
            return Err(match self.peek() {
                Some('<' | '!') => self.invalid("tokens are not supported in GBNF; a grammar in Lark's notation can name them"),
                other => self.invalid(format!("unexpected '{}'", other.unwrap_or_default())),
            });
        }
        if self.grammar.rules[rule].replace(alternatives).is_some() {
            return Err(self.invalid(format!("the rule '{}' is defined twice", self.grammar.names[rule])));
        }
        self.space(true);
        Ok(())
    }

    /// Reads the name of a rule and returns the rule's index.
    fn name(&mut self) -> Result<usize, ConstraintError> {
        let name = self.take_while(is_name_char);
        if name.is_empty() {
            return Err(self.invalid("expected the name of a rule"));
        }
        if let Some(known) = self.grammar.names.iter().position(|known| known == name) {
            return Ok(known);
        }
        if self.grammar.names.len() == MAX_RULES {
            return Err(ConstraintPlace::GrammarLine(self.line()).sentence(TooLarge, format!("more than {MAX_RULES} rules")));
        }
        self.grammar.names.push(name.to_owned());
        self.grammar.rules.push(None);
        Ok(self.grammar.names.len() - 1)
    }

    /// Reads lists of nodes between `|`; if `nested` (inside parentheses), lines may end anywhere.
    fn alternatives(&mut self, nested: bool) -> Result<Vec<Nodes>, ConstraintError> {
        let mut alternatives = vec![self.nodes(nested)?];
        while self.eat("|") {
            self.space(true);
            alternatives.push(self.nodes(nested)?);
        }
        Ok(alternatives)
    }

    fn nodes(&mut self, nested: bool) -> Result<Nodes, ConstraintError> {
        let mut nodes = Vec::new();
        while let Some(next) = self.peek() {
            let node = match next {
                '"' => Node::Literal(self.literal()?),
                '[' => Node::Class(self.class()?),
                '.' => {
                    self.at += 1;
                    Node::Class("(?s:.)".to_owned())
                }
                '(' => {
                    self.at += 1;
                    self.space(true);
                    let alternatives = self.alternatives(true)?;
                    if !self.eat(")") {
                        return Err(self.invalid("expected ')'"));
                    }
                    Node::Group(alternatives)
                }
                '*' | '+' | '?' | '{' => {
                    let (min, max) = self.times()?;
                    let last = nodes.pop().ok_or_else(|| self.invalid(format!("'{next}' has nothing before it to repeat")))?;
                    Node::Repeat(Box::new(last), min, max)
                }
                c if is_name_char(c) => Node::Rule(self.name()?),
                _ => break,
            };
            nodes.push(node);
            self.space(nested);
        }
        Ok(nodes)
    }

    /// Reads `*`, `+`, `?`, `{n}`, `{n,}` or `{n,m}`.
    fn times(&mut self) -> Result<(u32, Option<u32>), ConstraintError> {
        for (sign, times) in [("*", (0, None)), ("+", (1, None)), ("?", (0, Some(1)))] {
            if self.eat(sign) {
                return Ok(times);
            }
        }
        self.at += 1;
        let min = self.number()?;
        let max = if !self.eat(",") {
            Some(min)
        } else if self.peek() == Some('}') {
            None
        } else {
            Some(self.number()?)
        };
        if !self.eat("}") || max.is_some_and(|max| max < min) {
            return Err(self.invalid("expected '{n}', '{n,}' or '{n,m}' with n up to m"));
        }
        Ok((min, max))
    }

    fn number(&mut self) -> Result<u32, ConstraintError> {
        self.space(false);
        let number = self.take_while(|c| c.is_ascii_digit()).parse().ok().filter(|number| *number <= MAX_REPEAT);
        self.space(false);
        number.ok_or_else(|| self.invalid(format!("expected a number of repetitions, up to {MAX_REPEAT}")))
    }

    fn literal(&mut self) -> Result<String, ConstraintError> {
        self.at += 1;
        let mut text = String::new();
        while !self.eat("\"") {
            text.push(self.character()?);
        }
        Ok(text)
    }

    /// Reads `[a-z]` or `[^a-z]` and returns a regular expression in which every character is written as its number.
    fn class(&mut self) -> Result<String, ConstraintError> {
        self.at += 1;
        let mut class = String::from(if self.eat("^") { "[^" } else { "[" });
        let empty = class.len();
        while !self.eat("]") {
            let first = self.character()?;
            let is_range = self.rest().starts_with('-') && !self.rest().starts_with("-]");
            let last = if is_range {
                self.at += 1;
                self.character()?
            } else {
                first
            };
            if last < first {
                return Err(self.invalid(format!("the range from '{first}' to '{last}' is empty")));
            }
            // Writing to a string cannot fail.
            let _ = write!(class, "\\x{{{:x}}}-\\x{{{:x}}}", u32::from(first), u32::from(last));
        }
        if class.len() == empty {
            return Err(self.invalid("a class of characters is empty"));
        }
        class.push(']');
        Ok(class)
    }

    /// Reads one character of a literal or class, with its escapes.
    fn character(&mut self) -> Result<char, ConstraintError> {
        let c = self.peek().ok_or_else(|| self.invalid("the grammar ends inside a text or class"))?;
        self.at += c.len_utf8();
        if c != '\\' {
            return Ok(c);
        }
        let escape = self.peek().ok_or_else(|| self.invalid("the grammar ends inside a text or class"))?;
        self.at += escape.len_utf8();
        match escape {
            'x' => self.hex(2),
            'u' => self.hex(4),
            'U' => self.hex(8),
            't' => Ok('\t'),
            'r' => Ok('\r'),
            'n' => Ok('\n'),
            '\\' | '"' | '[' | ']' => Ok(escape),
            other => Err(self.invalid(format!("unknown escape '\\{other}'"))),
        }
    }

    fn hex(&mut self, digits: usize) -> Result<char, ConstraintError> {
        let code = self.rest().get(..digits).filter(|code| code.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let c = code.and_then(|code| u32::from_str_radix(code, 16).ok()).and_then(char::from_u32);
        self.at += if c.is_some() { digits } else { 0 };
        c.ok_or_else(|| self.invalid(format!("expected {digits} hexadecimal digits of a character")))
    }
}
