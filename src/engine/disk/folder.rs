//! The folder of the disk tier, and the thread that reads and writes it.
//!
//! Owns the lock on the folder. Other programs' files are left alone; files of ours that cannot be used are removed.

use super::{
    file::{self, Binding, EXTENSION, UNFINISHED, Unusable, open_plain},
    orders::{FolderOrder, Stored},
};
use crate::build_info::{ENGINE, FEATURES, VERSION};
use crate::priority::give_way;
use crate::protocol::{LoadError, PrefixCacheFolder};
use rustix::fs::OFlags;
use std::{
    ffi::OsStr,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::{Duration, SystemTime},
};

const LOCK: &str = "lock";
/// Longest wait for the lock: an engine that was killed releases it when its memory is freed.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
/// Number of digits in a file's name.
const NAME_DIGITS: usize = 32;
/// Niceness of the thread, the lowest priority (`setpriority`): a step is as slow as its slowest thread.
const NICE: i32 = 19;

/// A folder that no other engine uses.
pub(in crate::engine) struct Folder {
    options: PrefixCacheFolder,
    /// Released when this is dropped, or the process ends.
    _lock: File,
}

impl Folder {
    /// Locks the folder, and empties it if `discard` is set.
    ///
    /// # Errors
    /// `Unsupported`, with the option to change, if the folder cannot be used or another server uses it.
    pub(in crate::engine) fn open(options: &PrefixCacheFolder) -> Result<Self, LoadError> {
        Self::open_within(options, LOCK_PATIENCE)
    }

    fn open_within(options: &PrefixCacheFolder, patience: Duration) -> Result<Self, LoadError> {
        let shown = options.path.display();
        let unusable = |error: io::Error| LoadError::Unsupported(format!("--prefix-cache-dir {shown} cannot be used: {error}"));
        let lock = open_plain(&options.path.join(LOCK), OFlags::WRONLY | OFlags::CREATE).map_err(unusable)?;
        let used = || LoadError::Unsupported(format!("--prefix-cache-dir {shown} is used by another server; give each its own"));
        let lock = match lock.try_lock() {
            Ok(()) => lock,
            Err(TryLockError::WouldBlock) => wait_for(lock, patience).ok_or_else(used)?.map_err(unusable)?,
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        };
        if options.discard {
            for (_, path) in ours(&options.path).map_err(unusable)? {
                remove(&path);
            }
        }
        Ok(Self { options: options.clone(), _lock: lock })
    }

    /// Binds the folder to states of this format. `max_bytes` is the room for states in host memory.
    pub(super) fn bind(self, state_format: &str, max_bytes: u64) -> BoundFolder {
        let binding = Binding::new(&[VERSION, ENGINE, FEATURES, &self.options.model_checksum, state_format]);
        BoundFolder { folder: self, binding, max_bytes, write_failed: false }
    }
}

/// Locks a file that another process has locked. `None` if that process does not release it in time; the thread that
/// waits then ends with this process.
fn wait_for(lock: File, patience: Duration) -> Option<io::Result<File>> {
    let (locked, waiting) = sync_channel(1);
    let wait = move || {
        // Fails if the wait was given up: the lock is released then.
        let _ = locked.send(lock.lock().map(|()| lock));
    };
    match thread::Builder::new().name("prefix-cache-lock".to_owned()).spawn(wait) {
        Ok(_detached) => waiting.recv_timeout(patience).ok(),
        Err(error) => Some(Err(error)),
    }
}

/// A folder, and the binding that its files must have.
pub(super) struct BoundFolder {
    folder: Folder,
    binding: Binding,
    max_bytes: u64,
    /// True if the last write failed and a line in the log says so.
    write_failed: bool,
}

impl BoundFolder {
    /// The body of the thread: sends the stored contents, then follows orders until their sender is gone.
    pub(super) fn serve(mut self, found: SyncSender<Stored>, orders: &Receiver<FolderOrder>) {
        give_way(NICE);
        self.read(&found);
        drop(found);
        while let Ok(order) = orders.recv() {
            self.follow(order);
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.options.path.join(name)
    }

    /// Sends the usable files, the one that was used last first, and removes the others. Sends nothing if all files
    /// were to be removed, even if that failed.
    fn read(&self, found: &SyncSender<Stored>) {
        if self.folder.options.discard {
            return;
        }
        let folder = self.folder.options.path.as_path();
        let files = match ours(folder) {
            Ok(files) => files,
            Err(error) => {
                tracing::warn!(%error, folder = %folder.display(), "the prefix cache cannot be read");
                return;
            }
        };
        let (mut contents, mut tokens, mut removed) = (0, 0, 0);
        for (_, path) in files {
            match self.read_file(&path) {
                Some(stored) => {
                    contents += 1;
                    tokens += stored.content.tokens.len();
                    if found.send(stored).is_err() {
                        return; // The engine has ended.
                    }
                }
                None => {
                    removed += 1;
                    remove(&path);
                }
            }
        }
        tracing::info!(contents, tokens, removed, folder = %folder.display(), "the prefix cache was read");
    }

    fn read_file(&self, path: &Path) -> Option<Stored> {
        if path.extension().is_some_and(|extension| extension == UNFINISHED) {
            return None;
        }
        match file::read(path, self.binding, self.max_bytes) {
            Ok((content, state)) => {
                let name = file::name(&content);
                // A file that somebody renamed would be written twice.
                path.ends_with(&name).then_some(Stored { name, content, state })
            }
            Err(Unusable::Foreign) => None,
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "a cached prompt is removed");
                None
            }
        }
    }

    fn follow(&mut self, order: FolderOrder) {
        match order {
            FolderOrder::Write { name, content, state } => {
                let Some(state) = state.upgrade() else { return };
                match file::write(&self.path(&name), self.binding, &content, &state) {
                    Ok(()) => self.write_failed = false,
                    Err(error) if !self.write_failed => {
                        self.write_failed = true;
                        tracing::warn!(%error, folder = %self.folder.options.path.display(), "a prompt cannot be kept on disk");
                    }
                    Err(_) => {}
                }
            }
            FolderOrder::Touch { name } => {
                let file = open_plain(&self.path(&name), OFlags::WRONLY);
                let touched = file.and_then(|file| file.set_modified(SystemTime::now()));
                if let Err(error) = touched {
                    tracing::debug!(%error, name, "a cached prompt keeps its time");
                }
            }
            FolderOrder::Remove { name } => remove(&self.path(&name)),
        }
    }
}

/// Our files with their times, latest first. A file that cannot be examined, such as one that is just being removed, is
/// skipped.
fn ours(folder: &Path) -> io::Result<Vec<(SystemTime, PathBuf)>> {
    let look = |path: PathBuf| {
        let metadata = path.symlink_metadata().ok().filter(fs::Metadata::is_file)?;
        Some((metadata.modified().ok()?, path))
    };
    let paths = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| is_ours(path));
    let mut files: Vec<_> = paths.filter_map(look).collect();
    files.sort_by(|a, b| b.cmp(a));
    Ok(files)
}

fn is_ours(path: &Path) -> bool {
    let is_name = |stem: &str| stem.len() == NAME_DIGITS && stem.bytes().all(|byte| byte.is_ascii_hexdigit());
    path.extension().is_some_and(|extension| extension == EXTENSION || extension == UNFINISHED)
        && path.file_stem().and_then(OsStr::to_str).is_some_and(is_name)
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Ok(()) => {}
        // The file was never written: its content was dropped before its turn, or there was no room.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(%error, path = %path.display(), "a cached prompt cannot be removed"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;
    use crate::engine::{runner::ParkedState, scheduler::ParkedContent};
    use crate::protocol::Token;
    use std::sync::Arc;

    fn options(path: &Path) -> PrefixCacheFolder {
        PrefixCacheFolder { path: path.to_owned(), model_checksum: "abc".to_owned(), discard: false }
    }

    fn content(first: u32) -> ParkedContent {
        ParkedContent { tokens: vec![Token(first), Token(2)], namespace: 0, hits: 0 }
    }

    /// The contents that the thread sends before it follows these orders.
    fn serve(options: &PrefixCacheFolder, orders: Vec<FolderOrder>) -> Vec<ParkedContent> {
        let (found, restored) = sync_channel(10);
        let (sender, inbox) = sync_channel(10);
        orders.into_iter().for_each(|order| sender.send(order).unwrap());
        drop(sender);
        Folder::open(options).unwrap().bind("format", 100).serve(found, &inbox);
        restored.iter().map(|stored| stored.content).collect()
    }

    fn write(content: &ParkedContent, state: &Arc<ParkedState>) -> FolderOrder {
        FolderOrder::Write { name: file::name(content), content: content.clone(), state: Arc::downgrade(state) }
    }

    fn files(folder: &Path) -> usize {
        ours(folder).unwrap().len()
    }

    #[test]
    fn what_was_written_is_handed_over_at_the_next_start_last_used_first() {
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path());
        let state = Arc::new(ParkedState { bytes: vec![7; 9], len: 2 });
        let contents = [content(1), content(5), content(9)];
        assert_eq!(serve(&options, contents.iter().map(|content| write(content, &state)).collect()), []);
        for (age, content) in (1..).zip(&contents) {
            let file = File::options().write(true).open(folder.path().join(file::name(content))).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age * 100)).unwrap();
        }

        let touched = vec![FolderOrder::Touch { name: file::name(&content(9)) }, FolderOrder::Remove { name: file::name(&content(1)) }];
        assert_eq!(serve(&options, touched), contents);
        assert_eq!(serve(&options, Vec::new()), [content(9), content(5)]);
    }

    #[test]
    fn what_host_memory_has_dropped_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let state = Arc::new(ParkedState { bytes: vec![7; 9], len: 2 });
        let order = write(&content(1), &state);
        drop(state);

        serve(&options(folder.path()), vec![order, FolderOrder::Remove { name: file::name(&content(1)) }]);

        assert_eq!(files(folder.path()), 0);
    }

    #[test]
    fn ours_that_are_of_no_use_are_removed_and_others_files_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let state = Arc::new(ParkedState { bytes: vec![7; 9], len: 2 });
        let all = |options: &PrefixCacheFolder| serve(options, vec![write(&content(1), &state)]);
        let digits = "0123456789abcdef".repeat(2);
        let others = ["llama.prefix".to_owned(), "model.gguf.part".to_owned(), format!("{digits}.txt")];
        for name in [format!("{digits}.prefix"), format!("{digits}.part")].iter().chain(&others) {
            fs::write(folder.path().join(name), "what is this").unwrap();
        }
        assert_eq!(files(folder.path()), 2);
        all(&options(folder.path()));
        assert_eq!(files(folder.path()), 1);

        let other_model = PrefixCacheFolder { model_checksum: "def".to_owned(), ..options(folder.path()) };
        assert_eq!(serve(&other_model, Vec::new()), []);
        assert_eq!(files(folder.path()), 0);

        all(&options(folder.path()));
        assert_eq!(serve(&PrefixCacheFolder { discard: true, ..options(folder.path()) }, Vec::new()), []);
        assert_eq!(files(folder.path()), 0);
        assert!(others.iter().all(|name| folder.path().join(name).exists()));
    }

    #[test]
    fn what_could_not_be_removed_is_not_read_either() {
        let folder = tempfile::tempdir().unwrap();
        let state = Arc::new(ParkedState { bytes: vec![7; 9], len: 2 });
        serve(&options(folder.path()), vec![write(&content(1), &state)]);
        let file = folder.path().join(file::name(&content(1)));
        let bytes = fs::read(&file).unwrap();
        let emptied = Folder::open(&PrefixCacheFolder { discard: true, ..options(folder.path()) }).unwrap();
        assert!(!file.exists());
        fs::write(&file, bytes).unwrap();

        let ((found, restored), (orders, inbox)) = (sync_channel(1), sync_channel(1));
        drop(orders);
        emptied.bind("format", 100).serve(found, &inbox);

        assert_eq!(restored.iter().count(), 0);
        drop(state);
    }

    #[test]
    fn a_folder_is_for_one_engine_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = Folder::open(&options(folder.path())).unwrap();
        let refused = Folder::open_within(&options(folder.path()), Duration::ZERO).err().unwrap().to_string();
        assert!(refused.contains("--prefix-cache-dir") && refused.contains("another server"), "{refused}");

        drop(first);
        assert!(Folder::open(&options(folder.path())).is_ok());
        fs::remove_file(folder.path().join(LOCK)).unwrap();
        std::os::unix::fs::symlink(folder.path().join("target"), folder.path().join(LOCK)).unwrap();
        assert!(Folder::open(&options(folder.path())).is_err(), "the lock is a link");
        assert!(!folder.path().join("target").exists());
        let missing = Folder::open(&options(&folder.path().join("no"))).err().unwrap().to_string();
        assert!(missing.contains("cannot be used"), "{missing}");
    }
}
