//! Tests with a shell in place of the engine.

use super::*;
use tokio::io::AsyncWriteExt;

/// A shell that runs `script`, with the gateway's process id as `$0`.
async fn shell(script: &str) -> Launched<EngineProcess> {
    let mut launcher = ProcessLauncher::with_arguments(PathBuf::from("/bin/sh"), &["-c", script]).unwrap();
    launcher.launch().await.unwrap()
}

#[tokio::test]
async fn the_child_s_standard_input_is_the_socket_and_closing_it_ends_the_child() {
    let Launched { mut stream, mut child } = shell("cat >&0; exit 3").await;
    let mut echoed = [0_u8; 5];

    stream.write_all(b"hello").await.unwrap();
    stream.read_exact(&mut echoed).await.unwrap();
    drop(stream);

    assert_eq!(&echoed, b"hello");
    assert_eq!(child.wait().await, DeathCause::Exit(3));
}

#[tokio::test]
async fn the_last_lines_on_stderr_are_kept_and_the_parent_s_process_id_is_passed() {
    let Launched { mut child, .. } = shell("echo first >&2; echo parent $0 >&2; kill -SEGV $$").await;

    assert_eq!(child.wait().await, DeathCause::Signal(11));

    assert_eq!(child.last_lines(), ["first".to_owned(), format!("parent {}", std::process::id())]);
}

#[tokio::test]
async fn a_killed_child_is_gone_and_waiting_twice_says_the_same() {
    let Launched { stream: _stream, mut child } = shell("cat").await;

    child.kill();

    assert_eq!(child.wait().await, DeathCause::Signal(9));
    assert_eq!(child.wait().await, DeathCause::Signal(9));
    assert!(child.pid().is_some());
}

#[tokio::test]
async fn a_dropped_child_does_not_live_on() {
    let Launched { mut stream, child } = shell("exec cat >/dev/null").await;

    drop(child);

    // Only the child holds the other end: the stream ends when the process does.
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_binary_that_is_not_there_is_an_error() {
    let mut launcher = ProcessLauncher::new(PathBuf::from("/no/such/binary")).unwrap();

    let error = launcher.launch().await.unwrap_err();

    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

#[tokio::test]
async fn the_child_has_the_variables_of_the_list_and_no_others() {
    let Launched { mut child, .. } = shell("env >&2").await;

    child.wait().await;

    let lines = child.last_lines();
    let names: Vec<&str> = lines.iter().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    assert!(names.contains(&"PATH") && names.contains(&"GGML_NO_BACKTRACE"), "{names:?}");
    // Variables that a shell sets by itself.
    let of_shell = ["PWD", "OLDPWD", "SHLVL", "_"];
    let others: Vec<_> = names.iter().filter(|name| !of_shell.contains(name) && !environment::passes(name.as_ref())).collect();
    assert!(others.is_empty(), "{others:?}");
}
