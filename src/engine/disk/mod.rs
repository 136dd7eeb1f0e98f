//! A copy, in a folder, of the contents parked in host memory, so that the next start begins with them
//! (`--prefix-cache-dir`).
//!
//! The folder mirrors host memory: a content that is saved there is written, one that is dropped is removed, and files
//! are read only at the start. So no step ever waits for a disk, and the folder is at most about as large as that
//! memory. Owns the thread that reads and writes. Contents of slots are saved when the engine has been idle for a
//! moment, and when it ends.

mod file;
mod folder;
mod orders;

pub(super) use folder::Folder;

use crate::engine::{
    runner::{KvOp, ModelRunner, Parked, ParkedState},
    scheduler::{ParkedContent, Scheduler},
};
use orders::{FolderOrder, Stored};
use std::{
    collections::HashMap,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Number of changes that may wait for the disk. While so many wait, further contents are not written.
const ORDERS: usize = 1024;
/// Number of contents that were read and wait for the engine thread, in addition to the one that the reader is sending.
const RESTORED: usize = 0;
/// Time between two looks of an idle engine for contents that were read.
const RESTORE_POLL: Duration = Duration::from_millis(5);
/// Time without work after which an engine saves the contents of slots: between the turns of a conversation rather than
/// within a burst.
const IDLE: Duration = Duration::from_secs(2);

/// The engine thread's side of the disk tier. See the module.
pub(super) struct DiskTier {
    orders: SyncSender<FolderOrder>,
    /// The queue of contents that were read; set until everything was read.
    restored: Option<Receiver<Stored>>,
    /// The file names of parked contents.
    names: HashMap<Parked, String>,
    /// Time until an idle engine saves more contents of slots; `None` when all are saved.
    saves_in: Option<Duration>,
    /// Files to remove for which the queue of orders had no room. At most as many as orders and parked contents.
    to_remove: Vec<String>,
    /// True if a warning was logged since the disk last kept up.
    complained: bool,
    thread: JoinHandle<()>,
}

impl DiskTier {
    /// Begins to read the folder; see [`Self::restore`]. `None` if nothing of this runner can be kept, or no thread can
    /// be started.
    pub(super) fn start(folder: Folder, runner: &dyn ModelRunner) -> Option<Self> {
        let Some(format) = runner.state_format() else {
            tracing::warn!("--prefix-cache-dir has no effect: this model's KV cannot be saved, or there is no --swap-space");
            return None;
        };
        let folder = folder.bind(&format, runner.limits().swap.bytes);
        let (orders, inbox) = sync_channel(ORDERS);
        let (found, restored) = sync_channel(RESTORED);
        let thread = thread::Builder::new().name("prefix-cache".to_owned()).spawn(move || folder.serve(found, &inbox));
        match thread {
            Ok(thread) => {
                let (names, to_remove) = (HashMap::new(), Vec::new());
                Some(Self { orders, restored: Some(restored), names, saves_in: Some(IDLE), to_remove, complained: false, thread })
            }
            Err(error) => {
                tracing::error!(%error, "--prefix-cache-dir has no effect: no thread can be started for it");
                None
            }
        }
    }

    /// Takes one content that was read, if there is one.
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
            None => self.remove(name),
        }
    }

    /// Follows a step that was executed, successfully or not. A file that is dropped for a new one is removed after the
    /// new one is written.
    pub(super) fn follow(&mut self, kv: &[KvOp], scheduler: &Scheduler, runner: &dyn ModelRunner) {
        for op in kv {
            match op {
                KvOp::Save { to, .. } => {
                    if let (Some(content), Some(state)) = (scheduler.parked(*to), runner.parked(*to)) {
                        self.write(*to, content, &state);
                    }
                }
                KvOp::Load { from, .. } => {
                    if let Some(name) = self.names.get(from).cloned() {
                        self.order(FolderOrder::Touch { name });
                    }
                }
                KvOp::Drop { .. } | KvOp::Truncate { .. } | KvOp::Copy { .. } => {}
            }
        }
        for op in kv {
            if let KvOp::Drop { parked } = op
                && let Some(name) = self.names.remove(parked)
            {
                self.remove(name);
            }
        }
    }

    fn write(&mut self, parked: Parked, content: ParkedContent, state: &Arc<ParkedState>) {
        if usize::try_from(state.len) != Ok(content.tokens.len()) {
            tracing::error!(positions = state.len, tokens = content.tokens.len(), "a prompt is not kept: it is not what its record says");
            return;
        }
        // Otherwise a removal that still waits could remove this file.
        if !self.send_removals() {
            return;
        }
        let name = file::name(&content);
        if self.order(FolderOrder::Write { name: name.clone(), content, state: Arc::downgrade(state) }) {
            self.names.insert(parked, name);
        }
    }

    /// Removes a file, unless the same content was parked again in the meantime.
    fn remove(&mut self, name: String) {
        if !self.names.values().any(|known| *known == name) {
            self.to_remove.push(name);
            self.send_removals();
        }
    }

    /// Sends the removals that wait. Returns false if some still found no room.
    fn send_removals(&mut self) -> bool {
        while let Some(name) = self.to_remove.pop() {
            if !self.order(FolderOrder::Remove { name: name.clone() }) {
                self.to_remove.push(name);
                return false;
            }
        }
        true
    }

    /// Sends an order to the thread. Returns false if too many orders wait for the disk, or the thread has ended.
    fn order(&mut self, order: FolderOrder) -> bool {
        let why = match self.orders.try_send(order) {
            Ok(()) => {
                self.complained = false;
                return true;
            }
            Err(TrySendError::Full(_)) => "its disk is slower than the cache changes; some of it is not kept",
            Err(TrySendError::Disconnected(_)) => "the thread that writes it has ended; nothing more is kept",
        };
        if !self.complained {
            self.complained = true;
            tracing::warn!("--prefix-cache-dir: {why}");
        }
        false
    }

    // === Idle time ===

    /// Longest time that an idle engine waits for a command before it looks for contents that were read, or saves;
    /// `None`: it waits until a command comes.
    pub(super) fn patience(&self) -> Option<Duration> {
        if self.restored.is_some() { Some(RESTORE_POLL) } else { self.saves_in }
    }

    /// True if idle time may be used for saving: not before everything was read.
    pub(super) fn may_save(&self) -> bool {
        self.restored.is_none()
    }

    /// Notes that a step has changed the contents of slots.
    pub(super) fn on_step(&mut self) {
        self.saves_in = Some(IDLE);
    }

    /// Notes that an idle engine saved something (`saved`), or had nothing to save.
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
