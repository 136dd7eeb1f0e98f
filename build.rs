//! Stamps the binary with its origin: commit, engine versions and Cargo features, read by `src/build_info.rs`.
//!
//! Refuses to build when `vendor/engine.toml` and `Cargo.lock` name different engine crates, so that a version we
//! report is a version we run. Compiles nothing: llama.cpp is built by its own crate. Runs again only when one of
//! these files or git's HEAD changes.

use std::{env, error::Error, fs, path::Path, process::Command};
use toml::{Table, Value};

/// The engine's crates, which both files must agree on.
const ENGINE_CRATES: [&str; 2] = ["llama-cpp-2", "llama-cpp-sys-2"];

fn main() -> Result<(), Box<dyn Error>> {
    let root = env::var("CARGO_MANIFEST_DIR")?;
    let root = Path::new(&root);
    println!("cargo::rerun-if-changed=build.rs");

    println!("cargo::rustc-env=LLAMERO_ENGINE={}", engine(root)?);
    println!("cargo::rustc-env=LLAMERO_FEATURES={}", features());
    println!("cargo::rustc-env=LLAMERO_COMMIT={}", commit(root).unwrap_or_else(|| "unknown".to_owned()));
    if env::var_os("CARGO_FEATURE_PORTABLE").is_some() {
        ship_libraries(Path::new(&env::var("OUT_DIR")?))?;
        println!("cargo::rustc-link-arg-bins=-Wl,-rpath,$ORIGIN");
    }
    Ok(())
}

/// Puts llama.cpp's libraries beside the executable, which looks for them there. Among them are the kernels that
/// llama.cpp loads by kind of CPU: llama-cpp-sys-2 leaves those in its build folder, and links to the other libraries
/// by names that it does not make.
fn ship_libraries(out: &Path) -> Result<(), Box<dyn Error>> {
    let build = out.ancestors().nth(2).ok_or("OUT_DIR is not where cargo puts it")?;
    let beside = build.parent().ok_or("OUT_DIR is not where cargo puts it")?;
    let folders = fs::read_dir(build)?.filter_map(Result::ok).map(|entry| entry.path().join("out/build/bin"));
    let newest = folders.filter(|folder| folder.is_dir()).max_by_key(|folder| fs::metadata(folder).and_then(|data| data.modified()).ok());
    for entry in fs::read_dir(newest.ok_or("llama-cpp-sys-2 has built no libraries")?)? {
        let path = entry?.path();
        if let Some(name) = path.file_name().filter(|name| name.to_string_lossy().contains(".so")) {
            fs::copy(&path, beside.join(name))?;
        }
    }
    Ok(())
}

/// The engine's stamp, such as `llama-cpp-2 0.1.160, llama-cpp-sys-2 0.1.161, ggml 0.26.0`, after a check against
/// `Cargo.lock`.
fn engine(root: &Path) -> Result<String, Box<dyn Error>> {
    let manifest = read_toml(root, "vendor/engine.toml")?;
    let lock = read_toml(root, "Cargo.lock")?;
    let mut stamp = Vec::new();
    for name in ENGINE_CRATES {
        let said = version_in_manifest(&manifest, name)?;
        let locked = version_in_lock(&lock, name).ok_or_else(|| format!("Cargo.lock has no {name}"))?;
        if said != locked {
            return Err(format!(
                "vendor/engine.toml says {name} {said}, but Cargo.lock has {locked}: change whichever is wrong (vendor/README.md, Updating)"
            )
            .into());
        }
        stamp.push(format!("{name} {said}"));
    }
    stamp.push(format!("ggml {}", version_in_manifest(&manifest, "ggml")?));
    Ok(stamp.join(", "))
}

fn read_toml(root: &Path, name: &str) -> Result<Table, Box<dyn Error>> {
    println!("cargo::rerun-if-changed={name}");
    let text = fs::read_to_string(root.join(name)).map_err(|error| format!("cannot read {name}: {error}"))?;
    Ok(text.parse::<Table>().map_err(|error| format!("cannot parse {name}: {error}"))?)
}

fn version_in_manifest<'a>(manifest: &'a Table, name: &str) -> Result<&'a str, String> {
    let version = manifest.get(name).and_then(|entry| entry.get("version")).and_then(Value::as_str);
    version.ok_or_else(|| format!("vendor/engine.toml has no [{name}] with a version"))
}

fn version_in_lock<'a>(lock: &'a Table, name: &str) -> Option<&'a str> {
    let packages = lock.get("package")?.as_array()?;
    let package = packages.iter().find(|package| package.get("name").and_then(Value::as_str) == Some(name))?;
    package.get("version")?.as_str()
}

/// Cargo features of this build, such as `cuda,portable`; empty for the plain CPU build.
fn features() -> String {
    let mut names: Vec<String> = env::vars()
        .filter_map(|(name, _)| name.strip_prefix("CARGO_FEATURE_").map(|feature| feature.to_lowercase().replace('_', "-")))
        .filter(|feature| feature != "default")
        .collect();
    names.sort();
    names.join(",")
}

/// The commit of this checkout; `None` without git, or when a parent directory's repository would answer instead.
fn commit(root: &Path) -> Option<String> {
    let top = git(root, &["rev-parse", "--show-toplevel"])?;
    if Path::new(&top).canonicalize().ok()? != root.canonicalize().ok()? {
        return None;
    }
    // A commit, a checkout and a reset each touch one of these files. Cargo runs a script on every build if a watched
    // file does not exist, so only existing files are named. A branch without a file of its own is covered by the
    // reflog, which changes when the branch gets one.
    let branch = git(root, &["symbolic-ref", "--quiet", "HEAD"]);
    for name in ["HEAD", "logs/HEAD", "packed-refs"].into_iter().chain(branch.as_deref()) {
        let path = git(root, &["rev-parse", "--git-path", name]).map(|path| root.join(path));
        if let Some(path) = path.filter(|path| path.exists()) {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    git(root, &["rev-parse", "--short=12", "HEAD"])
}

/// The output of git, trimmed; `None` if there is no git or it fails.
fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").current_dir(root).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}
