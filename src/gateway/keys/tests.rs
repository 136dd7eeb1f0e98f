//! Tests of loading and checking keys.

use super::*;
use std::io::Write as _;

fn ring(keys: &[&str]) -> KeyRing {
    KeyRing::load(&KeyConfig { keys: keys.iter().map(|key| (*key).to_owned()).collect(), file: None }).unwrap()
}

fn from_file(content: &str) -> Result<KeyRing, KeyError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content.as_bytes()).unwrap();
    KeyRing::load(&KeyConfig { keys: Vec::new(), file: Some(file.path().to_owned()) })
}

#[test]
fn without_configured_keys_everybody_is_anonymous_whatever_they_present() {
    let open = ring(&[]);

    assert!(open.is_empty());
    assert_eq!(open.authenticate(None), Ok(Principal { id: KeyId::Anonymous }));
    assert_eq!(open.authenticate(Some(b"EMPTY")), Ok(Principal { id: KeyId::Anonymous }));
}

#[test]
fn each_key_is_accepted_and_everything_else_is_not() {
    let keys = ring(&["first-key", "second-key"]);

    let first = keys.authenticate(Some(b"first-key")).unwrap();
    let second = keys.authenticate(Some(b"second-key")).unwrap();

    assert_ne!(first, second);
    assert_eq!(keys.authenticate(None), Err(AuthError::Missing));
    for wrong in ["", "first-ke", "first-key ", "First-Key", "first-keysecond-key"] {
        assert_eq!(keys.authenticate(Some(wrong.as_bytes())), Err(AuthError::Wrong), "{wrong:?}");
    }
}

#[test]
fn the_id_of_a_key_is_the_beginning_of_its_digest() {
    // sha256("abc") = ba7816bf 8f01cfea …
    let id = ring(&["abc"]).authenticate(Some(b"abc")).unwrap().id;

    assert_eq!(id.to_string(), "ba7816bf");
    assert_eq!(id.namespace(), 0xba78_16bf_8f01_cfea);
    assert_eq!(KeyId::Anonymous.to_string(), "anonymous");
    assert_eq!(KeyId::Anonymous.namespace(), 0);
}

#[test]
fn a_key_file_has_one_key_per_line_with_comments_and_blank_lines() {
    let keys = from_file("# keys of the team\n\n  alice-key  \r\n\n#bob-key\ncarol#key\n").unwrap();

    assert!(keys.authenticate(Some(b"alice-key")).is_ok());
    assert!(keys.authenticate(Some(b"carol#key")).is_ok());
    assert_eq!(keys.authenticate(Some(b"bob-key")), Err(AuthError::Wrong));
    assert_eq!(keys.authenticate(Some(b"#bob-key")), Err(AuthError::Wrong));
}

#[test]
fn a_key_file_without_keys_is_refused_instead_of_opening_the_server() {
    let error = from_file("# nothing yet\n\n").unwrap_err();

    assert!(matches!(error, KeyError::NoKeys { .. }), "{error}");
}

#[test]
fn a_missing_key_file_is_named() {
    let path = PathBuf::from("/nonexistent/keys");

    let error = KeyRing::load(&KeyConfig { keys: Vec::new(), file: Some(path) }).unwrap_err();

    assert!(error.to_string().starts_with("the key file /nonexistent/keys cannot be read:"), "{error}");
}

#[test]
fn an_unusable_key_is_named_by_its_place_and_never_shown() {
    let error = from_file("good-key\n\ntwo words\n").unwrap_err().to_string();

    assert!(error.starts_with("line 3 of "), "{error}");
    assert!(!error.contains("two"), "{error}");
    let empty = KeyRing::load(&KeyConfig { keys: vec!["ok".to_owned(), String::new()], file: None }).unwrap_err();
    assert_eq!(empty.to_string(), "API key 2 is not a usable key: it is empty");
}

#[test]
fn a_key_may_have_512_bytes_and_not_one_more() {
    let longest = "k".repeat(512);

    assert!(ring(&[&longest]).authenticate(Some(longest.as_bytes())).is_ok());
    let error = KeyRing::load(&KeyConfig { keys: vec!["k".repeat(513)], file: None }).unwrap_err();
    assert!(error.to_string().ends_with("longer than 512 bytes"), "{error}");
}

#[test]
fn ten_thousand_keys_are_accepted_and_not_one_more_and_repeated_ones_count_once() {
    let mut keys: Vec<String> = (0..10_000).map(|number| format!("key-{number}")).collect();
    keys.push("key-7".to_owned());

    let ring = KeyRing::load(&KeyConfig { keys: keys.clone(), file: None }).unwrap();
    keys.push("one-more".to_owned());
    let error = KeyRing::load(&KeyConfig { keys, file: None }).unwrap_err();

    assert!(ring.authenticate(Some(b"key-9999")).is_ok());
    assert!(matches!(error, KeyError::TooMany { count: 10_001 }), "{error}");
}

#[test]
fn debug_output_shows_how_many_keys_there_are_and_nothing_of_them() {
    assert_eq!(format!("{:?}", ring(&["secret-one", "secret-two"])), "KeyRing { keys: 2 }");
}

#[test]
fn a_reload_accepts_new_keys_of_the_file_and_refuses_those_that_left_it() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "old\nstays\n").unwrap();
    let keys = KeyRing::load(&KeyConfig { keys: vec!["given".to_owned()], file: Some(file.path().to_owned()) }).unwrap();
    let accepted = |key: &str| keys.authenticate(Some(key.as_bytes())).is_ok();

    std::fs::write(file.path(), "stays\nnew\n").unwrap();
    assert!(accepted("old") && !accepted("new"), "nothing changes before the reload");

    assert_eq!(keys.reload().unwrap(), Some(3));

    let known = ["given", "stays", "new", "old"].map(accepted);
    assert_eq!(known, [true, true, true, false]);
}

#[test]
fn a_broken_file_changes_nothing_and_its_problem_is_said() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "old\n").unwrap();
    let keys = KeyRing::load(&KeyConfig { keys: Vec::new(), file: Some(file.path().to_owned()) }).unwrap();

    for (content, said) in [("new\nno key\n", "line 2 of"), ("# none\n", "holds no key"), ("\u{0}\n", "line 1 of")] {
        std::fs::write(file.path(), content).unwrap();
        let error = keys.reload().unwrap_err().to_string();
        assert!(error.contains(said) && !error.contains('\n'), "{content:?}: {error}");
        assert!(keys.authenticate(Some(b"old")).is_ok() && keys.authenticate(Some(b"new")).is_err(), "{content:?}");
    }
    file.close().unwrap();
    assert!(matches!(keys.reload(), Err(KeyError::Unreadable { .. })));
    assert!(keys.authenticate(Some(b"old")).is_ok());
}

#[test]
fn without_a_key_file_there_is_nothing_to_read_again() {
    assert_eq!(ring(&["key"]).reload().unwrap(), None);
    assert_eq!(ring(&[]).reload().unwrap(), None);
}

#[test]
fn a_key_file_has_a_limit() {
    let at = from_file(&format!("key\n#{}", "x".repeat(usize::try_from(MAX_FILE_BYTES).unwrap() - 5)));
    let past = from_file(&format!("key\n#{}", "x".repeat(usize::try_from(MAX_FILE_BYTES).unwrap() - 4)));

    assert!(at.is_ok(), "{at:?}");
    assert!(past.unwrap_err().to_string().contains("cannot be read: it has more than"));
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_key() {
    let keys = from_file("\u{feff}first\r\nsecond\r\n").unwrap();

    assert!(keys.authenticate(Some(b"first")).is_ok() && keys.authenticate(Some(b"second")).is_ok());
}

#[test]
fn a_pipe_is_read_once_and_a_reload_says_so_and_keeps_its_keys() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("keys");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR, 0).unwrap();
    let name = pipe.clone();
    let writer = std::thread::spawn(move || std::fs::write(name, "key\n").unwrap());

    let keys = KeyRing::load(&KeyConfig { keys: Vec::new(), file: Some(pipe) }).unwrap();
    writer.join().unwrap();

    assert!(matches!(keys.reload(), Err(KeyError::Pipe { .. })));
    assert!(keys.authenticate(Some(b"key")).is_ok());
}
