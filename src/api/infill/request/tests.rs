//! The texts of a request; the other fields are tested in `llama_server/options/tests.rs`.

use super::*;
use serde_json::json;

const LIMITS: RequestLimits = RequestLimits { vocabulary_size: 100, max_num_seqs: 8, max_stop_strings: 4, max_logprobs: None };

fn read(body: Value) -> Result<InfillRequest, FieldError> {
    let Value::Object(mut map) = body else { panic!("{body} is no object") };
    map.entry("input_prefix").or_insert(json!("p"));
    map.entry("input_suffix").or_insert(json!("s"));
    InfillRequest::read(Fields::new(map), &LIMITS)
}

#[test]
fn the_prompt_is_the_line_before_the_cursor() {
    let texts = read(json!({"input_prefix": "a\n", "prompt": "  b", "input_suffix": "c"})).unwrap().take_texts();

    assert_eq!(texts, Texts { prefix: "a\n  b".into(), suffix: "c".into(), extra: vec![] });
}

#[test]
fn other_files_have_names_and_texts() {
    let mut request = read(json!({"input_extra": [{"filename": "a.c", "text": "x", "time": 5}, {}]})).unwrap();

    let file = |filename: &str, text: &str| ExtraFile { filename: filename.into(), text: text.into() };
    assert_eq!(request.take_texts().extra, [file("a.c", "x"), file("tmp", "")]);
    assert!(request.options.unknown.is_empty());
    let error = read(json!({"input_extra": vec![json!({}); 129]})).unwrap_err();
    assert_eq!(error.param(), Some("input_extra"));
}

#[test]
fn a_fault_in_a_file_names_the_file() {
    for (files, path) in [(json!([{}, {"text": 1}]), "input_extra[1].text"), (json!([{"filename": []}]), "input_extra[0].filename")] {
        assert_eq!(read(json!({"input_extra": files})).unwrap_err().param(), Some(path));
    }
}
