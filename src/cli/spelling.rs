//! Replaces other servers' spellings of flags by llamero's, before clap sees the arguments.
//!
//! clap has no short flags of two letters (`-np`, `-ngl`), and does not report which alias was used. Values are never
//! changed: the argument after a flag that takes a value is passed on as it is.

use crate::config::{Environment, Kind, LogFormat, OptionSpec, options};
use std::ffi::OsString;

/// `arguments` (without the program) with llamero's spelling for the aliases of `serve`'s flags, and a note for each
/// alias.
pub(super) fn canonical(arguments: Vec<OsString>) -> (Vec<OsString>, Vec<String>) {
    let mut notes = Vec::new();
    if arguments.first().is_none_or(|command| command != "serve") {
        return (arguments, notes);
    }
    let mut out = Vec::with_capacity(arguments.len());
    let mut rest = arguments.into_iter();
    while let Some(argument) = rest.next() {
        if argument == "--" {
            out.push(argument);
            out.extend(rest.by_ref());
            break;
        }
        let (spelled, value_follows) = spell(&argument, &mut notes);
        out.push(spelled.unwrap_or(argument));
        if value_follows {
            out.extend(rest.next());
        }
    }
    (out, notes)
}

/// The format that log lines will have, as far as flags and variables tell before anything else was read. Mistakes in
/// the other arguments are to be reported in it too.
pub(super) fn log_format(arguments: &[OsString], environment: &Environment) -> LogFormat {
    let flag = |at: usize| match arguments[at].to_str()?.strip_prefix("--log-format")? {
        "" => arguments.get(at + 1)?.to_str(),
        attached => attached.strip_prefix('='),
    };
    let is_serve = arguments.first().is_some_and(|command| command == "serve");
    let of_flags = (0..arguments.len()).rev().find_map(flag);
    let given = of_flags.or_else(|| environment.text("LLAMERO_LOG_FORMAT"));
    if is_serve && given.is_some_and(|format| format.eq_ignore_ascii_case("json")) { LogFormat::Json } else { LogFormat::Text }
}

/// llamero's spelling of a flag if it differs, and true if the flag's value is the next argument.
fn spell(argument: &OsString, notes: &mut Vec<String>) -> (Option<OsString>, bool) {
    let Some(text) = argument.to_str().filter(|text| text.starts_with('-')) else { return (None, false) };
    let (name, attached) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    let takes_value = |spec: &OptionSpec| attached.is_none() && !matches!(spec.kind, Kind::Switch);
    if let Some(spec) = options().find(|spec| spec.flag_aliases.contains(&name)) {
        let flag = format!("--{}", spec.flag());
        notes.push(format!("{name} is read as {flag}"));
        let spelled = attached.map_or_else(|| flag.clone(), |value| format!("{flag}={value}"));
        return (Some(spelled.into()), takes_value(spec));
    }
    let ours = name.strip_prefix("--").and_then(|flag| options().find(|spec| spec.flag() == flag));
    (None, ours.is_some_and(takes_value) || name == "--config" && attached.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn respelled(arguments: &[&str]) -> (Vec<String>, Vec<String>) {
        let (out, notes) = canonical(arguments.iter().map(OsString::from).collect());
        (out.into_iter().map(|argument| argument.into_string().unwrap()).collect(), notes)
    }

    #[test]
    fn aliases_are_spelled_our_way_and_noted() {
        let (out, notes) = respelled(&["serve", "-m", "x.gguf", "-np=4", "-ngl", "-1", "--ctx-size", "4096", "--port", "1"]);

        let expected = ["serve", "--model", "x.gguf", "--max-num-seqs=4", "--n-gpu-layers", "-1", "--max-model-len", "4096", "--port", "1"];
        assert_eq!(out, expected);
        let noted = [
            "-m is read as --model",
            "-np is read as --max-num-seqs",
            "-ngl is read as --n-gpu-layers",
            "--ctx-size is read as --max-model-len",
        ];
        assert_eq!(notes, noted);
    }

    #[test]
    fn values_that_look_like_flags_stay() {
        for arguments in [
            ["serve", "--api-key", "-np"],
            ["serve", "--model=-m", "--x"],
            ["serve", "--", "-np"],
            ["serve", "--config", "-m"],
            ["pull", "-m", "x"],
        ] {
            assert_eq!(respelled(&arguments).0, arguments);
        }
        assert_eq!(respelled(&["serve", "--insecure-no-auth", "-np", "4"]).0, ["serve", "--insecure-no-auth", "--max-num-seqs", "4"]);
    }

    #[test]
    fn the_format_of_messages_is_known_before_anything_was_read() {
        let format = |words: &[&str], variable: &str| {
            let arguments: Vec<OsString> = words.iter().map(OsString::from).collect();
            log_format(&arguments, &Environment::of([("LLAMERO_LOG_FORMAT", variable)]))
        };

        for words in [&["serve", "--log-format", "json"][..], &["serve", "--log-format=text", "--log-format=JSON", "--nonsense"]] {
            assert_eq!(format(words, ""), LogFormat::Json, "{words:?}");
        }
        assert_eq!(format(&["serve"], "json"), LogFormat::Json);
        for words in [&["serve", "--log-format", "text"][..], &["models", "--log-format=json"], &["serve", "--log-format"], &[]] {
            assert_eq!(format(words, if words.len() > 2 { "json" } else { "" }), LogFormat::Text, "{words:?}");
        }
    }

    proptest! {
        #[test]
        fn no_value_is_ever_changed(index in 0_usize..1000, value in any::<String>(), spelling in 0_usize..3) {
            let valued: Vec<&OptionSpec> = options().filter(|spec| !matches!(spec.kind, Kind::Switch)).collect();
            let spec = valued[index % valued.len()];
            let flag = match spec.flag_aliases.get(spelling) {
                Some(alias) => (*alias).to_owned(),
                None => format!("--{}", spec.flag()),
            };

            let (separate, _) = respelled(&["serve", &flag, &value, "-np", "4"]);
            let (attached, _) = respelled(&["serve", &format!("{flag}={value}")]);

            let ours = format!("--{}", spec.flag());
            prop_assert_eq!(separate, ["serve", &ours, &value, "--max-num-seqs", "4"]);
            prop_assert_eq!(attached, ["serve".to_owned(), format!("{ours}={value}")]);
        }
    }
}
