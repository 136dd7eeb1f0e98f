//! The file of a model is replaced, changed or removed after the server opened it, and another engine loads it.

use crate::support::gguf;
use llamero::{
    llama::{GeneratingModel, load_generating},
    models::opened::OpenedModel,
    protocol::{EngineOptions, LoadError},
};
use std::{fs, path::Path, time::SystemTime};

fn load_opened(opened: &OpenedModel) -> Result<GeneratingModel, LoadError> {
    let options = gguf::engine_options(&opened.files[0].name);
    load_generating(&EngineOptions { model_files: opened.files.clone(), ..options }, |_| {})
}

fn name(loaded: &GeneratingModel) -> String {
    loaded.info(&loaded.runner().unwrap()).name
}

fn refusal(opened: &OpenedModel) -> LoadError {
    load_opened(opened).err().expect("it must be refused")
}

#[test]
fn a_later_engine_loads_the_model_that_was_opened_and_not_the_one_that_has_its_name_by_then() {
    let folder = tempfile::tempdir().unwrap();
    let served = folder.path().join("served.gguf");
    fs::copy(gguf::llama3_like().write(), &served).unwrap();
    let opened = OpenedModel::open(&served).unwrap();
    let first = name(&load_opened(&opened).unwrap());

    fs::copy(gguf::qwen_like().write(), folder.path().join("other.gguf")).unwrap();
    fs::rename(folder.path().join("other.gguf"), &served).unwrap();

    assert_eq!(name(&load_opened(&opened).unwrap()), first);
    fs::remove_file(&served).unwrap();
    assert_eq!(name(&load_opened(&opened).unwrap()), first, "it was removed");
}

#[test]
fn a_model_in_parts_is_loaded_as_it_was_opened_too() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = gguf::llama3_like().write_parts(folder.path(), "m");
    let opened = OpenedModel::open(&first).unwrap();
    assert_eq!(opened.files.len(), 2);
    let expected = name(&load_opened(&opened).unwrap());

    let other = gguf::qwen_like().write_parts(folder.path(), "other");
    for (other, part) in other.iter().zip([&first, &second]) {
        fs::rename(other, part).unwrap();
    }

    assert_eq!(name(&load_opened(&opened).unwrap()), expected);
}

#[test]
fn a_file_that_was_written_to_in_place_is_refused_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let served = folder.path().join("served.gguf");
    fs::copy(gguf::llama3_like().write(), &served).unwrap();
    let later = |path: &Path| fs::File::options().write(true).open(path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    let opened = OpenedModel::open(&served).unwrap();

    later(&served);

    let LoadError::Changed(reason) = refusal(&opened) else { panic!("it was changed") };
    assert!(reason.contains("served.gguf: it was written to"), "{reason}");
    let [first, second] = gguf::llama3_like().write_parts(folder.path(), "m");
    let opened = OpenedModel::open(&first).unwrap();
    later(&second);
    let LoadError::Changed(reason) = refusal(&opened) else { panic!("its second part was changed") };
    assert!(reason.contains("m-00002-of-00002.gguf"), "{reason}");
}

#[test]
fn where_descriptors_are_not_to_be_seen_another_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = gguf::llama3_like().write_parts(folder.path(), "m");
    let mut opened = OpenedModel::open(&first).unwrap();
    opened.files.iter_mut().for_each(|file| file.held = Some("/proc/0/fd/0".into()));
    assert!(load_opened(&opened).is_ok());

    fs::copy(&second, folder.path().join("copy")).unwrap();
    fs::rename(folder.path().join("copy"), &second).unwrap();

    let LoadError::Changed(reason) = refusal(&opened) else { panic!("it is another file") };
    assert!(reason.contains("another file has its name"), "{reason}");
    fs::remove_file(&second).unwrap();
    assert!(matches!(refusal(&opened), LoadError::NotFound(_)), "it may come back");
}
