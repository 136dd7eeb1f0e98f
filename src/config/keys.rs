//! Options of the keys that callers need. Keys are held in plain form until the gateway hashes them; they are never
//! printed.

use super::{Kind, OptionSpec, values::SettingsReader};
use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

/// The keys that callers need.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct KeyConfig {
    /// The keys themselves, from flags, environment and configuration.
    pub keys: Vec<String>,
    /// A file with one key per line.
    pub file: Option<PathBuf>,
}

// Debug is not derived: a log line of the configuration must not show keys.
impl fmt::Debug for KeyConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyConfig").field("keys", &format_args!("{} not shown", self.keys.len())).field("file", &self.file).finish()
    }
}

const API_KEY: OptionSpec = OptionSpec::new(
    "api_key",
    Kind::Secrets,
    "",
    "A key that callers must show; repeat it for several. Better in the environment or a file: others can see flags.",
)
.also(&[], &["LLAMA_API_KEY", "VLLM_API_KEY"]);
const API_KEY_FILE: OptionSpec =
    OptionSpec::new("api_key_file", Kind::Text, "", "A file with one key per line.").also(&[], &["LLAMA_ARG_API_KEY_FILE"]);

pub(super) const OPTIONS: &[OptionSpec] = &[API_KEY, API_KEY_FILE];

impl KeyConfig {
    /// True if neither a key nor a file of keys is configured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.file.is_none()
    }

    /// Drops the keys but keeps their number: the gateway has their hashes.
    pub fn forget(&mut self) {
        self.keys.fill(String::new());
    }

    pub(super) fn read(values: &mut SettingsReader) -> Self {
        let config = Self { keys: values.list(&API_KEY), file: values.optional_text(&API_KEY_FILE).map(PathBuf::from) };
        if config.keys.is_empty() && values.is_given(&API_KEY) {
            // For example from `--api-key "$UNSET"`, whose author wants keys.
            values.problem(&API_KEY, "it has no key in it; leave it out to serve without keys".to_owned());
        }
        if let Some(problem) = config.file.as_deref().and_then(unusable) {
            values.problem(&API_KEY_FILE, problem);
        }
        config
    }
}

/// The reason why a key file cannot be read, as far as its name tells; a pipe (`<(…)` of a shell) can.
fn unusable(file: &Path) -> Option<String> {
    let shown = file.display();
    match fs::metadata(file) {
        Ok(found) if found.is_dir() => Some(format!("{shown} is a folder; give a file with one key per line")),
        Ok(_) => None,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(format!("there is no file {shown}")),
        Err(error) => Some(format!("{shown} cannot be read: {error}")),
    }
}
