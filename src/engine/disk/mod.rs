//! What is parked in host memory, kept in a folder too, so that the next start begins with it (`--prefix-cache-dir`).
//!
//! The folder mirrors host memory: what is saved there is written, what is dropped is removed, and no content is read but at the
//! start. So no step ever waits for a disk, and the folder is no larger than that memory. Owns the thread that reads and
//! writes. What slots hold is saved when the engine has been idle for a moment, and when it ends.

mod file;
mod folder;

pub(super) use folder::Folder;

use crate::engine::{
    runner::{KvOp, ModelRunner, Parked, ParkedState},
    scheduler::{ParkedContent, Scheduler},
};
use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Changes that may wait for the disk. Beyond them nothing more is kept until it has caught up.
const ORDERS: usize = 1024;
/// Contents that were read and wait for the engine thread: each takes its memory beside the swap space.
const RESTORED: usize = 1;
/// An idle engine looks for what was read this often.
const RESTORE_POLL: Duration = Duration::from_millis(5);
/// Without work for so long, an engine saves what slots hold: between the turns of a conversation rather than within a burst.
const IDLE: Duration = Duration::from_secs(2);

/// What was read.
struct Stored {
    name: String,
    content: ParkedContent,
    state: ParkedState,
}

/// A change of the folder.
enum Order {
    /// Write this, unless host memory has dropped it meanwhile.
    Write { name: String, content: ParkedContent, state: Weak<ParkedState> },
    /// It was used: among the last to go.
    Touch { name: String },
    /// It was dropped.
    Remove { name: String },
}

/// See the module. Used by the engine thread.
pub(super) struct DiskTier {
    orders: SyncSender<Order>,
    /// Set until everything was read.
    restored: Option<Receiver<Stored>>,
    /// Files of what is parked.
    names: HashMap<Parked, String>,
    /// When an idle engine saves more of what slots hold; `None` when that is all saved.
    saves_in: Option<Duration>,
    is_behind: bool,
    thread: JoinHandle<()>,
}

impl DiskTier {
    /// Begins to read the folder; see [`Self::restore`]. `None` if nothing of this runner can be kept, or no thread be started.
    pub(super) fn start(folder: Folder, runner: &dyn ModelRunner) -> Option<Self> {
        let Some(format) = runner.state_format() else {
            tracing::warn!("--prefix-cache-dir: nothing can be kept of this model, or there is no swap space");
            return None;
        };
        let folder = folder.bind(&format, runner.limits().swap.bytes);
        let (orders, inbox) = sync_channel(ORDERS);
        let (found, restored) = sync_channel(RESTORED);
        let thread = thread::Builder::new().name("prefix-cache".to_owned()).spawn(move || folder.serve(found, &inbox));
        match thread {
            Ok(thread) => {
                let (names, restored, saves_in) = (HashMap::new(), Some(restored), Some(IDLE));
                Some(Self { orders, restored, names, saves_in, is_behind: false, thread })
            }
            Err(error) => {
                tracing::error!(%error, "--prefix-cache-dir: no thread for it; nothing is kept");
                None
            }
        }
    }

    /// Takes one content that was read, if one is there.
    pub(super) fn restore(&mut self, scheduler: &mut Scheduler, runner: &mut dyn ModelRunner) {
        let Some(restored) = &self.restored else { return };
        let Stored { name, content, state } = match restored.try_recv() {
            Ok(stored) => stored,
            Err(TryRecvError::Empty) => return,
            Err(TryRecvError::Disconnected) => {
                self.restored = None;
                return;
            }
        };
        match scheduler.adopt(content, |parked| runner.adopt(parked, Arc::new(state))) {
            Some(parked) => drop(self.names.insert(parked, name)),
            // It may have been computed and written anew meanwhile.
            None if self.names.values().any(|known| *known == name) => {}
            None => self.order(Order::Remove { name }),
        }
    }

    /// Keeps up with a step that was executed, whatever came of it.
    pub(super) fn follow(&mut self, kv: &[KvOp], scheduler: &Scheduler, runner: &dyn ModelRunner) {
        for op in kv {
            match op {
                KvOp::Save { to, .. } => {
                    if let (Some(content), Some(state)) = (scheduler.parked(*to), runner.parked(*to)) {
                        let name = file::name(&content);
                        self.names.insert(*to, name.clone());
                        self.order(Order::Write { name, content, state: Arc::downgrade(&state) });
                    }
                }
                KvOp::Load { from, .. } => {
                    if let Some(name) = self.names.get(from).cloned() {
                        self.order(Order::Touch { name });
                    }
                }
                KvOp::Drop { parked } => {
                    if let Some(name) = self.names.remove(parked) {
                        self.order(Order::Remove { name });
                    }
                }
                KvOp::Truncate { .. } | KvOp::Copy { .. } => {}
            }
        }
    }

    fn order(&mut self, order: Order) {
        match self.orders.try_send(order) {
            Ok(()) => self.is_behind = false,
            Err(TrySendError::Full(_)) if self.is_behind => {}
            Err(TrySendError::Full(_)) => {
                self.is_behind = true;
                tracing::warn!("--prefix-cache-dir: its disk is slower than the cache changes; some of it is not kept");
            }
            Err(TrySendError::Disconnected(_)) => tracing::debug!("the thread that keeps the prefix cache has ended"),
        }
    }

    // === Idle time ===

    /// How long an idle engine waits for commands before it asks [`Self::may_save`]; `None`: until one comes.
    pub(super) fn patience(&self) -> Option<Duration> {
        if self.restored.is_some() { Some(RESTORE_POLL) } else { self.saves_in }
    }

    /// Whether idle time is for saving: not before everything was read.
    pub(super) fn may_save(&self) -> bool {
        self.restored.is_none()
    }

    /// Slots hold something else than before.
    pub(super) fn on_step(&mut self) {
        self.saves_in = Some(IDLE);
    }

    /// An idle engine saved something, or had nothing to save.
    pub(super) fn on_idle(&mut self, saved: bool) {
        self.saves_in = saved.then_some(Duration::ZERO);
    }

    /// Waits until everything is written.
    pub(super) fn close(self) {
        drop((self.orders, self.restored));
        if self.thread.join().is_err() {
            tracing::error!("the thread that keeps the prefix cache panicked");
        }
    }
}
