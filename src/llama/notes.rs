//! Measurements that are kept in the user's cache folder, so that they are made once for a machine and a build.
//!
//! One file of text, a line for each measurement: seconds with spaces between them, a tab, and the name. A file that
//! cannot be read or written costs a new measurement at each start and nothing else.

use crate::build_info;
use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
};

/// Maximum number of measurements in the file; the oldest give way.
const MOST_NOTES: usize = 128;
/// Largest file that is read, bytes.
const MOST_BYTES: u64 = 1 << 20;

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct TimeNotes {
    /// `None` if nothing is kept.
    file: Option<PathBuf>,
    /// The part of each name that says on which machine and build it was measured.
    machine: String,
}

#[derive(Debug)]
struct TimeNote {
    name: String,
    seconds: Vec<f64>,
}

impl TimeNotes {
    /// The notes in the cache folder of the user (`XDG_CACHE_HOME`, or `.cache` in the home folder), for a machine
    /// that `machine` describes.
    pub(super) fn of_user(machine: &str) -> Self {
        let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let folder = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
        Self { file: folder.map(|folder| file_in(&folder.join("llamero"))), machine: described(machine) }
    }

    /// The notes in a folder.
    #[cfg(test)]
    pub(super) fn in_folder(folder: &Path, machine: &str) -> Self {
        Self { file: Some(file_in(folder)), machine: described(machine) }
    }

    /// The seconds that were kept under a name on this machine, all positive.
    pub(super) fn get(&self, name: &str) -> Option<Vec<f64>> {
        let name = self.full(name);
        let note = read(self.file.as_deref()?).into_iter().find(|note| note.name == name)?;
        Some(note.seconds).filter(|seconds| seconds.iter().all(|seconds| seconds.is_finite() && *seconds > 0.0))
    }

    /// Keeps seconds under a name. A failure is logged.
    pub(super) fn put(&self, name: &str, seconds: &[f64]) {
        let Some(file) = &self.file else { return };
        let name = self.full(name);
        let mut notes = read(file);
        notes.retain(|note| note.name != name);
        notes.push(TimeNote { name, seconds: seconds.to_vec() });
        notes.drain(..notes.len().saturating_sub(MOST_NOTES));
        if let Err(error) = write(file, &notes) {
            tracing::debug!(path = %file.display(), %error, "measurements cannot be kept");
        }
    }

    /// The name with the machine, in one line.
    fn full(&self, name: &str) -> String {
        format!("{name} | {}", self.machine).replace(char::is_control, " ")
    }
}

fn file_in(folder: &Path) -> PathBuf {
    folder.join("calibration.txt")
}

/// The machine and the build.
fn described(machine: &str) -> String {
    format!("{machine} | llamero {} {}", build_info::VERSION, build_info::ENGINE)
}

/// The notes in a file; lines that are none are left out.
fn read(file: &Path) -> Vec<TimeNote> {
    if fs::metadata(file).map_or(true, |data| data.len() > MOST_BYTES) {
        return Vec::new();
    }
    fs::read_to_string(file).unwrap_or_default().lines().filter_map(of_line).collect()
}

fn of_line(line: &str) -> Option<TimeNote> {
    let (seconds, name) = line.split_once('\t')?;
    let seconds = seconds.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
    Some(TimeNote { name: name.to_owned(), seconds })
}

fn to_line(note: &TimeNote) -> String {
    let seconds: Vec<String> = note.seconds.iter().map(f64::to_string).collect();
    format!("{}\t{}\n", seconds.join(" "), note.name)
}

/// Replaces the file as a whole: a reader sees the old notes or the new ones.
fn write(file: &Path, notes: &[TimeNote]) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    new.write_all(notes.iter().map(to_line).collect::<String>().as_bytes())?;
    new.persist(file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_those_of_this_machine_and_survive_damage() {
        let folder = tempfile::tempdir().unwrap();
        let notes = |machine: &str| TimeNotes::in_folder(&folder.path().join("made"), machine);
        assert_eq!(notes("a").get("x"), None);

        notes("a").put("x", &[1.0, 2.0]);
        notes("b").put("x", &[3.0]);
        notes("a").put("y", &[0.0]);

        assert_eq!(notes("a").get("x"), Some(vec![1.0, 2.0]));
        assert_eq!(notes("b").get("x"), Some(vec![3.0]));
        assert_eq!(notes("a").get("y"), None, "no measurement takes no time");
        fs::write(folder.path().join("made/calibration.txt"), b"1 x\tx | a\n\xff").unwrap();
        assert_eq!(notes("a").get("x"), None);
        notes("a").put("x", &[4.0]);
        assert_eq!(notes("a").get("x"), Some(vec![4.0]));
    }

    #[test]
    fn the_oldest_notes_give_way() {
        let folder = tempfile::tempdir().unwrap();
        let notes = TimeNotes::in_folder(folder.path(), "a");
        for number in 0..=MOST_NOTES {
            notes.put(&number.to_string(), &[1.0]);
        }

        assert_eq!((notes.get("0"), notes.get("1")), (None, Some(vec![1.0])));
    }
}
