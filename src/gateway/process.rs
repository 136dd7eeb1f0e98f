//! Starts engines as child processes of the gateway: the same binary, `llamero engine`.
//!
//! The child's end of a socketpair is its standard input: that needs no unsafe code before `exec`, no path and no port,
//! and the kernel closes it when either side dies. Owns one thread and, for each child, one task that reads its stderr.
//! `environment.rs` decides which variables a child gets.

mod environment;

use super::{
    death::DeathCause,
    launcher::{EngineChild, Launched, Launcher, LoadWork},
    load_watch::work_of,
    stderr_tail::{StderrTail, own_words},
};
use rustix::process::{WaitOptions, wait};
use std::{
    env, io,
    os::{fd::OwnedFd, unix::net::UnixStream as StdUnixStream},
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};
use tokio::{
    io::AsyncReadExt,
    net::UnixStream,
    process::{Child, ChildStderr, Command},
    runtime::Handle,
    sync::oneshot,
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;
use tracing::Level;

/// The hidden subcommand, and the flag for the id of the process with which the child must die.
const ENGINE_ARGUMENTS: [&str; 2] = ["engine", "--parent-pid"];

/// Time for the rest of stderr to arrive once the process has ended; a grandchild may hold stderr open for ever.
const LAST_LINES_TIMEOUT: Duration = Duration::from_millis(500);

/// Starts `llamero engine` processes.
///
/// A child asks the kernel to be killed when its parent dies (`PR_SET_PDEATHSIG`), and to the kernel the parent is the
/// *thread* that started it. So one thread, which lives as long as this value, starts all children.
#[derive(Debug)]
pub struct ProcessLauncher {
    orders: Option<mpsc::Sender<LaunchOrder>>,
    thread: Option<JoinHandle<()>>,
}

/// An order to the thread to start a child.
struct LaunchOrder {
    runtime: Handle,
    reply: oneshot::Sender<io::Result<Launched<EngineProcess>>>,
}

impl ProcessLauncher {
    /// Starts engines with the binary that is running now, even if its file is replaced meanwhile.
    ///
    /// # Errors
    /// The binary cannot be found, or no thread can be started.
    pub fn of_this_binary() -> io::Result<Self> {
        let program = if cfg!(target_os = "linux") { PathBuf::from("/proc/self/exe") } else { env::current_exe()? };
        Self::new(program)
    }

    /// Starts engines with `program`, a build of this crate's binary.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn new(program: PathBuf) -> io::Result<Self> {
        Self::with_arguments(program, &ENGINE_ARGUMENTS)
    }

    /// Starts engines with `program` and `arguments`, after which the gateway's process id follows.
    fn with_arguments(program: PathBuf, arguments: &[&str]) -> io::Result<Self> {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        // At most one order waits: the run loop has one engine at a time.
        let (orders, inbox) = mpsc::channel::<LaunchOrder>();
        let thread = thread::Builder::new().name("engine-launcher".to_owned()).spawn(move || {
            for LaunchOrder { runtime, reply } in inbox {
                // Sending fails if the supervisor was dropped meanwhile; the child is then dropped here, which kills
                // it.
                let _ = reply.send(start(&program, &arguments, &runtime));
            }
        })?;
        Ok(Self { orders: Some(orders), thread: Some(thread) })
    }
}

impl Launcher for ProcessLauncher {
    type Child = EngineProcess;

    async fn launch(&mut self) -> io::Result<Launched<EngineProcess>> {
        let gone = || io::Error::other("the thread that starts engines has ended");
        let (reply, answer) = oneshot::channel();
        let orders = self.orders.as_ref().ok_or_else(gone)?;
        orders.send(LaunchOrder { runtime: Handle::current(), reply }).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

impl Drop for ProcessLauncher {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that starts engines panicked");
        }
    }
}

/// Starts one child. Runs on the thread with which the child will die.
fn start(program: &Path, arguments: &[String], runtime: &Handle) -> io::Result<Launched<EngineProcess>> {
    let _runtime = runtime.enter();
    let (ours, theirs) = StdUnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let mut command = Command::new(program);
    command
        .arg0("llamero")
        .args(arguments)
        .arg(std::process::id().to_string())
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .env_clear()
        .envs(environment::of_engine(env::vars_os()))
        // Without this variable ggml starts a debugger for a backtrace before it dies.
        .env("GGML_NO_BACKTRACE", "1")
        // Ctrl-C is for the gateway: it drains, and the engine must live until the drain is over.
        .process_group(0)
        .kill_on_drop(true);
    let mut child = command.spawn()?;
    let tail = Arc::new(Mutex::new(StderrTail::default()));
    let pump = child.stderr.take().map(|stderr| AbortOnDropHandle::new(runtime.spawn(pump(stderr, Arc::clone(&tail)))));
    Ok(Launched { stream: UnixStream::from_std(ours)?, child: EngineProcess { pid: child.id(), child, tail, pump } })
}

/// Reads stderr to its end, so that the child never blocks on it.
async fn pump(mut stderr: ChildStderr, tail: Arc<Mutex<StderrTail>>) {
    let mut buffer = [0_u8; 4096];
    loop {
        let read = stderr.read(&mut buffer).await.unwrap_or(0);
        let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = if read == 0 { tail.finish() } else { tail.push(&buffer[..read]) };
        drop(tail);
        for line in lines {
            log(&line);
        }
        if read == 0 {
            return;
        }
    }
}

/// Logs a line of an engine: lines of this program at their own level, all others (llama.cpp, a panic) at `debug`.
fn log(line: &str) {
    const TARGET: &str = "llamero::engine::stderr";
    match own_words(line) {
        Some((Level::ERROR, words)) => tracing::error!(target: TARGET, "engine: {words}"),
        Some((Level::WARN, words)) => tracing::warn!(target: TARGET, "engine: {words}"),
        Some((Level::INFO, words)) => tracing::info!(target: TARGET, "engine: {words}"),
        Some(_) | None => tracing::debug!(target: TARGET, "{line}"),
    }
}

/// An engine process. Dropping it kills it.
#[derive(Debug)]
pub struct EngineProcess {
    /// The process id, kept after the end of the process; `Child` does not keep it.
    pid: Option<u32>,
    child: Child,
    tail: Arc<Mutex<StderrTail>>,
    pump: Option<AbortOnDropHandle<()>>,
}

/// Reaps children of engines that have died. As process 1 of a container the gateway inherits them, and each one that
/// nobody waits for keeps its pid. No engine runs now, so there are no other children. A child that is about to end is
/// reaped at the next death.
fn reap_orphans() {
    if std::process::id() == 1 {
        // An error means that there are no children.
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
    }
}

impl EngineChild for EngineProcess {
    fn pid(&self) -> Option<u32> {
        self.pid
    }

    fn load_work(&self) -> Option<LoadWork> {
        work_of(self.child.id()?)
    }

    async fn wait(&mut self) -> DeathCause {
        let cause = match self.child.wait().await {
            Ok(status) => DeathCause::of_exit(status),
            Err(error) => {
                // The exit status was taken elsewhere (SIGCHLD ignored): the process has ended by an unknown cause.
                tracing::warn!(%error, "no exit status of the engine");
                DeathCause::Exit(-1)
            }
        };
        if let Some(pump) = &mut self.pump
            && timeout(LAST_LINES_TIMEOUT, pump).await.is_ok()
        {
            self.pump = None;
        }
        reap_orphans();
        cause
    }

    fn kill(&mut self) {
        // Killing fails if the process has ended already, which is as good.
        let _ = self.child.start_kill();
    }

    fn last_lines(&self) -> Vec<String> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner).lines()
    }
}

#[cfg(test)]
mod tests;
