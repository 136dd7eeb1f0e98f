//! An option's key, kind, range, default and spellings: one [`OptionSpec`] per option, beside the struct that the
//! option fills.
//!
//! Flag, environment variable, TOML key, `--help`, `--print-config` and `examples/config.toml` are all made from these.

use jiff::fmt::friendly::SpanParser;
use std::{fmt, time::Duration};

/// An option of `llamero serve`.
#[derive(Debug, Clone, Copy)]
pub struct OptionSpec {
    /// Key in TOML, such as `max_model_len`.
    pub key: &'static str,
    /// The values that the option takes.
    pub kind: Kind,
    /// The default in the form that a user would write; empty for "none".
    pub default: &'static str,
    /// One sentence for `--help` and the example file.
    pub help: &'static str,
    /// Other spellings of the flag, with their dashes: llama-server's and vLLM's.
    pub flag_aliases: &'static [&'static str],
    /// Other names of the environment variable, best first.
    pub env_aliases: &'static [&'static str],
}

/// The values that an option takes. Ranges are inclusive.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Any text.
    Text,
    /// One of the listed words.
    Choice(&'static [&'static str]),
    /// A whole number.
    Integer {
        /// The smallest value.
        min: u64,
        /// The largest value.
        max: u64,
        /// Words that leave the number to the server, the preferred one first.
        auto: &'static [&'static str],
    },
    /// A number with a fraction.
    Number {
        /// The smallest value.
        min: f32,
        /// The largest value.
        max: f32,
        /// Words that leave the number to the server, the preferred one first.
        auto: &'static [&'static str],
    },
    /// Seconds, or a number with the unit `ms`, `s`, `m` or `h`.
    Duration {
        /// The shortest time, s.
        min_s: u64,
        /// The longest time, s.
        max_s: u64,
    },
    /// True or false; the flag without a value means true.
    Switch,
    /// Texts: the flag may be repeated, and commas separate texts.
    List,
    /// The same as `List`, but never shown.
    Secrets,
}

impl OptionSpec {
    /// Creates an option with no other spellings.
    #[must_use]
    pub const fn new(key: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Self {
        Self { key, kind, default, help, flag_aliases: &[], env_aliases: &[] }
    }

    /// Adds other spellings of the flag and the environment variable.
    #[must_use]
    pub const fn also(self, flag_aliases: &'static [&'static str], env_aliases: &'static [&'static str]) -> Self {
        Self { flag_aliases, env_aliases, ..self }
    }

    /// The flag without its dashes, such as `max-model-len`.
    #[must_use]
    pub fn flag(&self) -> String {
        self.key.replace('_', "-")
    }

    /// The environment variable, such as `LLAMERO_MAX_MODEL_LEN`.
    #[must_use]
    pub fn env(&self) -> String {
        format!("LLAMERO_{}", self.key.to_uppercase())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => write!(f, "a text"),
            Self::Choice(words) => write!(f, "one of {}", words.join(", ")),
            Self::Integer { min, max, auto } => {
                write!(f, "a whole number from {min} to {max}")?;
                auto.first().map_or(Ok(()), |word| write!(f, ", or {word}"))
            }
            Self::Number { min, max, auto } => {
                write!(f, "a number from {min} to {max}")?;
                auto.first().map_or(Ok(()), |word| write!(f, ", or {word}"))
            }
            Self::Duration { min_s, max_s } => write!(f, "a time from {min_s}s to {max_s}s, such as 30, 30s or 500ms"),
            Self::Switch => write!(f, "true or false"),
            Self::List | Self::Secrets => write!(f, "a list of texts"),
        }
    }
}

/// Reads a number of seconds (`30`, `0.5`), or a time with units (`500ms`, `30s`, `5m`, `1h 30m`). `None` for any other
/// text, and for a negative time.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, units) = text.split_at(number_end);
    // jiff needs digits on both sides of a point, and at most nine after it.
    let number = format!("{:.9}", number.parse::<f64>().ok()?);
    let number = number.trim_end_matches('0').trim_end_matches('.');
    let units = if units.is_empty() { "s" } else { units };
    SpanParser::new().parse_unsigned_duration(format!("{number}{units}")).ok()
}

/// Reads the words that people write for yes or no.
pub(super) fn parse_switch(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "on" | "yes" => Some(true),
        "false" | "0" | "off" | "no" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_seconds_or_carry_a_unit() {
        let cases = [("30", 30_000), ("0.5", 500), ("500ms", 500), ("30s", 30_000), ("5m", 300_000), ("1 h", 3_600_000), ("0", 0)];
        let more = [(".5s", 500), ("5.s", 5_000), ("0.1", 100), ("0.0000000001s", 0), ("1h 30m", 5_400_000), ("2 minutes", 120_000)];
        for (text, ms) in cases.into_iter().chain(more) {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(ms)), "{text:?}");
        }
        for text in ["", "s", "-1", "1d", "1.2.3", "inf", "NaN", "1e9", "99999999999999999999h"] {
            assert_eq!(parse_duration(text), None, "{text:?}");
        }
    }
}
