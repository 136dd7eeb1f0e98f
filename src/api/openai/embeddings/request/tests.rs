//! Each field of an embeddings request: the accepted and the refused values, and the field that an error names.

use super::*;
use crate::gateway::testing::embedding_info;
use serde_json::json;

fn read(body: &Value) -> Result<EmbeddingRequest, FieldError> {
    EmbeddingRequest::read(Fields::parse(body.to_string().as_bytes()).unwrap(), &embedding_info(), 100)
}

fn refused(body: &Value) -> (String, String) {
    let error = read(body).unwrap_err();
    (error.param().unwrap_or_default().to_owned(), error.to_string())
}

#[test]
fn inputs_come_in_four_shapes() {
    let inputs = |input: Value| read(&json!({ "input": input })).unwrap().inputs;
    let tokens = |ids: &[u32]| Prompt::Tokens(ids.iter().map(|id| Token(*id)).collect());

    assert_eq!(inputs(json!("a")), [Prompt::Text("a".to_owned())]);
    assert_eq!(inputs(json!(["a", "b"])), [Prompt::Text("a".to_owned()), Prompt::Text("b".to_owned())]);
    assert_eq!(inputs(json!([1, 99])), [tokens(&[1, 99])]);
    assert_eq!(inputs(json!([[1], [2, 3]])), [tokens(&[1]), tokens(&[2, 3])]);
}

#[test]
fn inputs_that_mean_nothing_are_refused_by_their_place() {
    for (input, param) in [
        (json!([]), "input"),
        (json!(""), "input"),
        (json!(["a", ""]), "input[1]"),
        (json!(["a", 1]), "input[1]"),
        (json!([[1], []]), "input[1]"),
        (json!([[1], "a"]), "input[1]"),
        (json!([1, 100]), "input"),
        (json!([-1]), "input"),
        (json!([1, "a"]), "input"),
        (json!({"text": "a"}), "input"),
        (json!([null]), "input"),
        (json!(null), "input"),
    ] {
        assert_eq!(refused(&json!({ "input": input })).0, param, "{input}");
    }
}

#[test]
fn as_many_inputs_are_taken_as_openai_takes_and_not_one_more() {
    assert_eq!(read(&json!({"input": vec!["a"; MAX_INPUTS]})).unwrap().inputs.len(), MAX_INPUTS);
    assert!(refused(&json!({"input": vec!["a"; MAX_INPUTS + 1]})).1.contains("2049 inputs; at most 2048"));
}

#[test]
fn encodings_and_dimensions_are_those_that_can_be_had() {
    let request = |more: Value| {
        let mut body = json!({"input": "a"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let plain = read(&request(json!({}))).unwrap();
    let asked = read(&request(json!({"encoding_format": "base64", "dimensions": 2, "user": 7, "input_type": "query"}))).unwrap();

    assert_eq!((plain.encoding, plain.dimensions, plain.truncate, plain.add_special), (VectorEncoding::Float, 4, None, true));
    assert_eq!((asked.encoding, asked.dimensions), (VectorEncoding::Base64, 2));
    assert_eq!(asked.unknown, ["input_type"]);
    assert_eq!(refused(&request(json!({"encoding_format": "int8"}))).0, "encoding_format");
    assert!(refused(&request(json!({"dimensions": 5}))).1.contains("from 1 to 4"));
    assert_eq!(refused(&request(json!({"dimensions": 0}))).0, "dimensions");
}

#[test]
fn truncation_leaves_room_for_the_special_tokens() {
    let truncate = |tokens: i64| read(&json!({"input": "a", "truncate_prompt_tokens": tokens})).map(|request| request.truncate);

    assert_eq!((truncate(-1), truncate(4), truncate(16)), (Ok(Some(16)), Ok(Some(4)), Ok(Some(16))));
    for tokens in [-2, 0, 3, 17] {
        assert_eq!(truncate(tokens).unwrap_err().param(), Some("truncate_prompt_tokens"), "{tokens}");
    }
}
