//! A shell script in place of the trial process, which ends in each of the ways that matter. The tests of the real
//! process are in `tests/it/constraints`.

use super::*;
use crate::constrain::{Piece, Words};
use crate::protocol::{Constraint, ConstraintError, ConstraintErrorKind};
use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command, time::Duration};

/// Shell: reads the frame with the vocabulary of [`words`], 13 bytes, and writes one with `Ready(Ok(()))`.
const READY: &str = r"head -c 13 >/dev/null; printf '\002\000\000\000\000\000' >&0";
/// Shell: reads the frame with `Try(JsonObject)`.
const ASKED: &str = "head -c 6 >/dev/null";
/// Shell: writes a frame with `Tried(Ok(5))`.
const SOUND: &str = r"printf '\003\000\000\000\001\000\005' >&0";

fn words() -> Result<Words, ConstraintError> {
    Words::new(1, |_| Piece::End(b"</s>"))
}

/// A trial process that runs this script.
struct Scripted {
    _folder: tempfile::TempDir,
    process: TrialProcess,
}

impl Scripted {
    fn new(script: &str, limits: TrialLimits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (text, path) = (folder.path().join("text"), folder.path().join("trial"));
        fs::write(&text, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&text, fs::Permissions::from_mode(0o700)).unwrap();
        // Copied by another process: a file cannot be run while this process, or a child of another test, has it open
        // for writing.
        assert!(Command::new("cp").arg(&text).arg(&path).status().unwrap().success());
        Self { _folder: folder, process: TrialProcess::new(path, limits) }
    }

    fn try_out(&mut self) -> Result<u64, ConstraintError> {
        self.process.try_out(&Constraint::JsonObject, &words)
    }
}

/// True if the trial ended with `Busy`.
fn is_busy(result: &Result<u64, ConstraintError>) -> bool {
    result.as_ref().is_err_and(|error| error.kind == ConstraintErrorKind::Busy)
}

fn patient() -> TrialLimits {
    TrialLimits { start: Duration::from_secs(600), wait: Duration::from_secs(600), ..TrialLimits::default() }
}

#[test]
fn a_constraint_that_kills_a_new_process_is_refused() {
    for signal in ["SEGV", "ABRT", "ILL", "BUS"] {
        let refused = Scripted::new(&format!("{READY}; {ASKED}; kill -{signal} $$"), patient()).try_out().unwrap_err();

        assert!(refused.is_final() && refused.message.contains("fails on it"), "{signal}: {refused:?}");
    }
}

#[test]
fn a_process_that_is_killed_from_outside_or_ends_by_itself_proves_nothing_about_a_constraint() {
    for end in ["kill -KILL $$", "kill -TERM $$", "kill -QUIT $$", "kill -XCPU $$", "exit 3"] {
        let result = Scripted::new(&format!("{READY}; {ASKED}; {end}"), patient()).try_out();

        assert!(is_busy(&result), "{end}: {result:?}");
    }
}

#[test]
fn a_constraint_that_uses_up_its_cpu_time_is_refused_and_the_process_is_gone() {
    let mut scripted = Scripted::new(&format!("{READY}; {ASKED}; while :; do :; done"), TrialLimits { cpu: Duration::ZERO, ..patient() });

    let refused = scripted.try_out().unwrap_err();

    assert_eq!(refused.kind, ConstraintErrorKind::TooCostly);
    assert!(refused.message.contains("CPU time"), "{refused:?}");
    assert_eq!(scripted.process.pid(), None);
}

#[test]
fn a_process_that_uses_no_cpu_time_and_does_not_answer_proves_nothing_about_a_constraint() {
    for (script, limits) in [
        ("read nothing".to_owned(), TrialLimits { start: Duration::ZERO, ..patient() }),
        (format!("{READY}; {ASKED}; read nothing"), TrialLimits { wait: Duration::ZERO, ..patient() }),
    ] {
        let mut scripted = Scripted::new(&script, limits);

        assert!(is_busy(&scripted.try_out()), "{script}");
        assert_eq!(scripted.process.pid(), None);
    }
}

#[test]
fn a_program_that_is_not_there_or_is_another_one_proves_nothing_about_a_constraint() {
    let mut missing = TrialProcess::new(PathBuf::from("/no/such/program"), patient());
    assert!(is_busy(&missing.try_out(&Constraint::JsonObject, &words)));

    for other in ["exit 0", "kill -ABRT $$", r"printf '\001\000\000\000\377' >&0"] {
        let result = Scripted::new(other, patient()).try_out();

        assert!(is_busy(&result), "{other}: {result:?}");
    }
}

#[test]
fn a_constraint_that_kills_a_process_that_had_others_before_is_tried_in_a_new_one() {
    let mut scripted = Scripted::new(&format!("{READY}; {ASKED}; {SOUND}; {ASKED}; kill -SEGV $$"), patient());
    assert_eq!(scripted.try_out(), Ok(5));

    // The first process died after its first answer; the second one gives its first answer again.
    assert_eq!(scripted.try_out(), Ok(5));
}
