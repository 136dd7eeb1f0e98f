//! Writes `docs/OPTIONS.md`: the table of options for people.

use super::{GROUPS, OptionSpec, prose::wrapped};
use std::fmt::Write;

/// The reason why a `write!` is expected to succeed.
const NEVER_FAILS: &str = "writing to a string cannot fail";

/// The beginning of `docs/OPTIONS.md`.
const HEAD: &str = "\
# Options of `llamero serve`

This file is generated from the option table in `src/config`, and a test holds it against that table. Do not edit it by
hand: `LLAMERO_WRITE_DOCS=1 cargo test --release documents` writes it.

Each option can be set in three places. The flag wins over the variable, and the variable over the file.

| place | spelling |
| --- | --- |
| flag | `--max-num-seqs 32` |
| environment variable | `LLAMERO_MAX_NUM_SEQS=32` |
| TOML file, named by `--config FILE` or `LLAMERO_CONFIG` | `max_num_seqs = 32` |

All problems of a configuration are reported at once. Options that list several values take a repeated flag, or commas.
A switch as a flag alone means true. [OPERATIONS.md](OPERATIONS.md) says how the options work together.

- `llamero serve --help` lists every option.
- `llamero serve --check-config` reports every problem of the configuration and the model's file, and ends.
- `llamero serve --print-config` prints the whole configuration as TOML, with the origin of each value, and ends.
  [examples/config.toml](../examples/config.toml) is that print with all defaults.
";

/// The whole text of `docs/OPTIONS.md`.
pub(super) fn file() -> String {
    let mut text = format!("{HEAD}\n## All options\n\n| option | default | other spellings |\n| --- | --- | --- |\n");
    for spec in GROUPS.iter().flat_map(|(_, options)| *options) {
        let flag = spec.flag();
        writeln!(text, "| [`--{flag}`](#--{flag}) | {} | {} |", default(spec), spellings(spec)).expect(NEVER_FAILS);
    }
    for (title, options) in GROUPS {
        writeln!(text, "\n## {title}").expect(NEVER_FAILS);
        for spec in *options {
            let about = format!("{} Takes {}. The default is {}.", spec.help, spec.kind, default(spec));
            writeln!(text, "\n### `--{}`\n\n{}", spec.flag(), wrapped("", "", &about)).expect(NEVER_FAILS);
        }
    }
    text
}

fn default(spec: &OptionSpec) -> String {
    if spec.default.is_empty() { "none".to_owned() } else { format!("`{}`", spec.default) }
}

fn spellings(spec: &OptionSpec) -> String {
    let all = spec.flag_aliases.iter().chain(spec.env_aliases);
    all.map(|spelling| format!("`{spelling}`")).collect::<Vec<_>>().join(" ")
}
