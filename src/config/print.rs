//! Writes a configuration as TOML, for `--print-config` and, with the defaults, for `examples/config.toml`.

use super::{
    GROUPS, Kind, OptionSpec,
    option::{parse_duration, parse_switch},
    prose::wrapped,
    values::Setting,
};
use std::{collections::BTreeMap, fmt::Write};

const HEAD: &str = "\
# Configuration of `llamero serve`, for --config or LLAMERO_CONFIG.
# Every option is here; an option that is left out has its default.
# A key max_num_seqs is also the variable LLAMERO_MAX_NUM_SEQS and the flag --max-num-seqs. File < environment < flag.
";

/// Every option with its value. An option that was set has a comment that names the place of its setting. Keys are not
/// shown.
pub(super) fn render(settings: &BTreeMap<&'static str, Setting>) -> String {
    let mut out = HEAD.to_owned();
    for (title, options) in GROUPS {
        write!(out, "\n# === {title} ===\n").expect("a String takes everything");
        for spec in *options {
            let setting = settings.get(spec.key);
            let from = setting.map_or(String::new(), |setting| format!("  # from {}", setting.at));
            let takes = match spec.kind {
                Kind::Text | Kind::Switch | Kind::List | Kind::Secrets => String::new(),
                Kind::Choice(_) | Kind::Integer { .. } | Kind::Number { .. } | Kind::Duration { .. } => format!("# Takes {}.\n", spec.kind),
            };
            let help = wrapped("# ", "# ", spec.help);
            write!(out, "\n{help}\n{takes}{} = {}{from}\n", spec.key, value(spec, setting)).expect("a String takes everything");
        }
    }
    out
}

fn value(spec: &OptionSpec, setting: Option<&Setting>) -> String {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let text = setting.and_then(|setting| setting.texts.first()).map_or(spec.default, String::as_str);
    match spec.kind {
        Kind::Secrets | Kind::List if setting.is_none() => "[]".to_owned(),
        Kind::Secrets => "[]  # not shown".to_owned(),
        Kind::List => {
            let texts = setting.map_or(&[][..], |setting| setting.texts.as_slice());
            format!("[{}]", texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", "))
        }
        Kind::Switch => parse_switch(text).unwrap_or(false).to_string(),
        Kind::Integer { .. } => text.parse::<u64>().map_or_else(|_| quoted(text), |number| number.to_string()),
        Kind::Number { .. } => text.parse::<f32>().map_or_else(|_| quoted(text), |number| format!("{number:?}")),
        Kind::Duration { .. } => parse_duration(text).map_or_else(|| quoted(text), |time| quoted(&format!("{}s", time.as_secs_f64()))),
        Kind::Text | Kind::Choice(_) => quoted(text),
    }
}
