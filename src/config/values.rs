//! Converts the texts of options into typed values. A wrong value is recorded as a problem and replaced by the default,
//! so that all problems are found in one pass.

use super::{
    option::{Kind, OptionSpec, parse_duration, parse_switch},
    problem::Problem,
};
use std::{collections::BTreeMap, time::Duration};

/// The texts that were given for an option, and their place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    /// The texts as given; only lists have several.
    pub(super) texts: Vec<String>,
    /// The place: a flag, an environment variable, or a file and key.
    pub(super) at: String,
}

/// The settings of all layers together, while they are read.
#[derive(Debug, Default)]
pub(super) struct SettingsReader {
    /// Settings by the option's key.
    pub(super) settings: BTreeMap<&'static str, Setting>,
    pub(super) problems: Vec<Problem>,
    /// Keys read so far: a test compares them with the table of options.
    pub(super) read: Vec<&'static str>,
}

impl SettingsReader {
    /// The place where an option was set, for problems that concern several options.
    pub(super) fn at(&self, spec: &OptionSpec) -> String {
        self.settings.get(spec.key).map_or_else(|| format!("--{}", spec.flag()), |setting| setting.at.clone())
    }

    /// Records a problem with an option.
    pub(super) fn problem(&mut self, spec: &OptionSpec, message: impl Into<String>) {
        let at = self.at(spec);
        self.problems.push(Problem { at, message: message.into() });
    }

    /// Reads one value with `parse`, whose error names the accepted values.
    pub(super) fn parsed<T>(&mut self, spec: &OptionSpec, parse: impl Fn(&str) -> Result<T, String>) -> T {
        self.read.push(spec.key);
        let given = self.settings.get(spec.key).map(|setting| setting.texts.clone());
        let problem = match given.as_deref() {
            None => None,
            Some([text]) => match parse(text) {
                Ok(value) => return value,
                Err(accepted) => Some(format!("{text:?} is not {accepted}")),
            },
            Some(_) => Some(format!("must be {}, not a list", spec.kind)),
        };
        if let Some(message) = problem {
            self.problem(spec, message);
        }
        parse(spec.default).expect("each option accepts its own default, which a test checks")
    }

    /// Reads a text; empty if neither it nor a default is given.
    pub(super) fn text(&mut self, spec: &OptionSpec) -> String {
        self.parsed(spec, |text| Ok(text.to_owned()))
    }

    /// Reads a text; `None` if it is empty.
    pub(super) fn optional_text(&mut self, spec: &OptionSpec) -> Option<String> {
        Some(self.text(spec)).filter(|text| !text.is_empty())
    }

    /// Reads a whole number; `None` for one of the words that let the server choose.
    pub(super) fn optional_integer<T: TryFrom<u64>>(&mut self, spec: &OptionSpec) -> Option<T> {
        self.parsed(spec, |text| {
            let Kind::Integer { min, max, auto } = spec.kind else { return Err(spec.kind.to_string()) };
            if auto.contains(&text.to_lowercase().as_str()) {
                return Ok(None);
            }
            let number = text.parse::<u64>().ok().filter(|number| (min..=max).contains(number));
            number.and_then(|number| T::try_from(number).ok()).map(Some).ok_or_else(|| spec.kind.to_string())
        })
    }

    /// Reads a whole number of an option without words that let the server choose.
    pub(super) fn integer<T: TryFrom<u64>>(&mut self, spec: &OptionSpec) -> T {
        self.optional_integer(spec).expect("an option without such words never gives none")
    }

    /// Reads a number; `None` for one of the words that let the server choose.
    pub(super) fn optional_number(&mut self, spec: &OptionSpec) -> Option<f32> {
        self.parsed(spec, |text| {
            let Kind::Number { min, max, auto } = spec.kind else { return Err(spec.kind.to_string()) };
            if auto.contains(&text.to_lowercase().as_str()) {
                return Ok(None);
            }
            let number = text.parse::<f32>().ok().filter(|number| (min..=max).contains(number));
            number.map(Some).ok_or_else(|| spec.kind.to_string())
        })
    }

    /// Reads a number of an option without words that let the server choose.
    pub(super) fn number(&mut self, spec: &OptionSpec) -> f32 {
        self.optional_number(spec).expect("an option without such words never gives none")
    }

    /// Reads a time within the option's range.
    pub(super) fn duration(&mut self, spec: &OptionSpec) -> Duration {
        self.parsed(spec, |text| {
            let Kind::Duration { min_s, max_s } = spec.kind else { return Err(spec.kind.to_string()) };
            let range = Duration::from_secs(min_s)..=Duration::from_secs(max_s);
            parse_duration(text).filter(|time| range.contains(time)).ok_or_else(|| spec.kind.to_string())
        })
    }

    /// Reads a switch, on or off.
    pub(super) fn switch(&mut self, spec: &OptionSpec) -> bool {
        self.parsed(spec, |text| parse_switch(text).ok_or_else(|| spec.kind.to_string()))
    }

    /// Reads one of an option's words and converts it with `choose`, which knows them all.
    pub(super) fn choice<T>(&mut self, spec: &OptionSpec, choose: impl Fn(&str) -> Option<T>) -> T {
        self.parsed(spec, |text| choose(&text.to_lowercase()).ok_or_else(|| spec.kind.to_string()))
    }

    /// True if an option was given a text, even an empty one.
    pub(super) fn is_given(&self, spec: &OptionSpec) -> bool {
        self.settings.get(spec.key).is_some_and(|setting| !setting.texts.is_empty())
    }

    /// Reads a list: every text split at commas, trimmed, without empty parts.
    pub(super) fn list(&mut self, spec: &OptionSpec) -> Vec<String> {
        self.read.push(spec.key);
        let texts = self.settings.get(spec.key).map_or(&[][..], |setting| setting.texts.as_slice());
        let parts = texts.iter().flat_map(|text| text.split(',')).map(str::trim);
        parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }
}
