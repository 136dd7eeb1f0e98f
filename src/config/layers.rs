//! Gathers the settings of each option from file < environment < flags, and notes for users, such as about an ignored
//! variable.

use super::{
    OptionSpec,
    environment::Environment,
    option::Kind,
    options,
    problem::{Problem, closest},
    values::{Setting, SettingsReader},
};
use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

/// Largest configuration file, bytes: a file given by mistake must not be read into memory whole.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The settings of the command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// TOML keys of options, each with its values.
    pub values: Vec<(&'static str, Vec<String>)>,
    /// The path given with `--config`.
    pub config: Option<PathBuf>,
    /// Notes to log once logging is set up, such as which aliases were used.
    pub notes: Vec<String>,
}

impl Flags {
    /// The configuration file that the flags or, if they name none, the environment names.
    #[must_use]
    pub fn config_file(&self, environment: &Environment) -> Option<PathBuf> {
        self.config.clone().or_else(|| environment.path("LLAMERO_CONFIG"))
    }
}

/// Merges all layers, and returns notes for the log.
pub(super) fn gather(flags: &Flags, environment: &Environment) -> (SettingsReader, Vec<String>) {
    let mut values = SettingsReader::default();
    let mut notes = flags.notes.clone();
    if let Some(path) = flags.config_file(environment) {
        add_file(&mut values, &path);
    }
    add_environment(&mut values, environment, &mut notes);
    for (key, texts) in &flags.values {
        let at = format!("--{}", key.replace('_', "-"));
        values.settings.insert(key, Setting { texts: texts.clone(), at });
    }
    (values, notes)
}

/// The fault of a file with its line number, without the line itself: it may hold a key.
fn syntax(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count() + 1);
    let place = line.map_or_else(String::new, |line| format!("line {line}: "));
    format!("{place}{}", error.message())
}

fn add_file(values: &mut SettingsReader, path: &Path) {
    let at = path.display().to_string();
    let problem = |message: String| Problem { at: at.clone(), message };
    let table = match read_capped(path) {
        Ok(text) => text.parse::<toml::Table>().map_err(|error| problem(syntax(&text, &error))),
        Err(error) => Err(problem(format!("the configuration file cannot be read: {error}"))),
    };
    let table = match table {
        Ok(table) => table,
        Err(problem) => return values.problems.push(problem),
    };
    for (key, value) in table {
        let at = format!("{}: {key}", path.display());
        let result = match options().find(|spec| spec.key == key) {
            Some(spec) => texts_of(spec, &value).map(|texts| (spec.key, texts)),
            None => Err(unknown_key(&key)),
        };
        match result {
            Ok((key, texts)) => {
                values.settings.insert(key, Setting { texts, at });
            }
            Err(message) => values.problems.push(Problem { at, message }),
        }
    }
}

fn read_capped(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    // The size of a pipe is not known before.
    let read = fs::File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    if !u64::try_from(read).is_ok_and(|read| read <= MAX_FILE_BYTES) {
        return Err(io::Error::other(format!("it has more than {MAX_FILE_BYTES} bytes")));
    }
    // Editors of Windows write a byte order mark.
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

fn unknown_key(key: &str) -> String {
    let alias = |spec: &&OptionSpec| spec.flag_aliases.iter().any(|alias| alias.trim_start_matches('-').replace('-', "_") == key);
    let meant = options().find(alias).map(|spec| spec.key).or_else(|| closest(key, options().map(|spec| spec.key)));
    match meant {
        Some(meant) => format!("there is no such option; did you mean {meant}?"),
        None => "there is no such option; `llamero serve --help` lists them all".to_owned(),
    }
}

/// A TOML value as texts, in the form that flags and variables have.
fn texts_of(spec: &OptionSpec, value: &toml::Value) -> Result<Vec<String>, String> {
    let scalar = |value: &toml::Value| match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(yes) => Some(yes.to_string()),
        toml::Value::Array(_) | toml::Value::Table(_) | toml::Value::Datetime(_) => None,
    };
    let texts = match (value, spec.kind) {
        (toml::Value::Array(items), Kind::List | Kind::Secrets) => items.iter().map(scalar).collect(),
        (other, _) => scalar(other).map(|text| vec![text]),
    };
    texts.ok_or_else(|| format!("must be {}", spec.kind))
}

fn add_environment(values: &mut SettingsReader, environment: &Environment, notes: &mut Vec<String>) {
    for spec in options() {
        let canonical = spec.env();
        let names = std::iter::once(canonical.as_str()).chain(spec.env_aliases.iter().copied());
        for name in names {
            let Some(value) = environment.get(name) else { continue };
            if is_service_link(name, value.to_str()) {
                notes.push(format!("{name} is ignored: it was set by Kubernetes for a service of that name"));
                continue;
            }
            match value.to_str() {
                Some(text) => {
                    values.settings.insert(spec.key, Setting { texts: vec![text.to_owned()], at: name.to_owned() });
                }
                None => values.problems.push(Problem { at: name.to_owned(), message: "is not UTF-8".into() }),
            }
            if name != canonical {
                notes.push(format!("{name} is read as {canonical}"));
            }
            break;
        }
    }
    note_unknown_variables(environment, notes);
}

/// True for a variable set by Kubernetes. It gives every pod `<SERVICE>_PORT=tcp://…` for each service: a service
/// called `llamero` must not break the configuration.
fn is_service_link(name: &str, value: Option<&str>) -> bool {
    name == "LLAMERO_PORT" && value.is_some_and(|value| value.starts_with("tcp://"))
}

/// Adds a note for each variable that belongs to no option, because a mistyped one would otherwise be ignored silently.
/// It is no error, because other tools may use the prefix.
fn note_unknown_variables(environment: &Environment, notes: &mut Vec<String>) {
    let known: Vec<String> = options().map(OptionSpec::env).chain(["LLAMERO_CONFIG".to_owned()]).collect();
    let service_link = |name: &str| name.starts_with("LLAMERO_PORT_") || name.starts_with("LLAMERO_SERVICE_");
    for name in environment.names("LLAMERO_").filter(|name| !service_link(name)) {
        if known.iter().all(|known| known != name) {
            let meant = closest(name, known.iter().map(String::as_str));
            let meant = meant.map_or(String::new(), |meant| format!("; did you mean {meant}?"));
            notes.push(format!("{name} is not an option and is ignored{meant}"));
        }
    }
}
