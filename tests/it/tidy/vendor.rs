//! The engine's versions: those in vendor/engine.toml, in Cargo.toml and in Cargo.lock must be the same.

use toml::{Table, Value};

/// The crates of the engine.
const CRATES: [&str; 2] = ["llama-cpp-2", "llama-cpp-sys-2"];

/// The differences between the texts of the three files; empty if there are none.
pub(super) fn disagreements(engine: &str, manifest: &str, lock: &str) -> Vec<String> {
    let [engine, manifest, lock] = [engine, manifest, lock].map(|text| text.parse::<Table>().expect("the file is TOML"));
    let mut problems = Vec::new();
    for name in CRATES {
        let said = version(&engine, name);
        let pinned = manifest.get("dependencies").and_then(Value::as_table).map_or(String::new(), |table| version(table, name));
        if pinned != format!("={said}") {
            problems.push(format!("{name}: vendor/engine.toml says `{said}`, Cargo.toml `{pinned}` instead of `={said}`"));
        }
        let locked = locked(&lock, name);
        if locked != [said.clone()] {
            problems.push(format!("{name}: vendor/engine.toml says `{said}`, Cargo.lock {locked:?}"));
        }
    }
    for (name, entry) in &engine {
        if entry.get("why").and_then(Value::as_str).is_none_or(str::is_empty) {
            problems.push(format!("{name}: vendor/engine.toml does not say why it is pinned"));
        }
    }
    if version(&engine, "ggml").split('.').count() != 3 {
        problems.push("ggml: vendor/engine.toml has no full version".to_owned());
    }
    problems
}

/// The version in `name = "1"` or `name = { version = "1" }`; empty if neither is there.
fn version(table: &Table, name: &str) -> String {
    let entry = table.get(name);
    let text = entry.and_then(Value::as_str).or_else(|| entry?.get("version")?.as_str());
    text.unwrap_or_default().to_owned()
}

/// Every version of a crate in the lock file; more than one would be linked twice.
fn locked(lock: &Table, name: &str) -> Vec<String> {
    let packages = lock.get("package").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let wanted = packages.iter().filter(|package| package.get("name").and_then(Value::as_str) == Some(name));
    wanted.filter_map(|package| Some(package.get("version")?.as_str()?.to_owned())).collect()
}
