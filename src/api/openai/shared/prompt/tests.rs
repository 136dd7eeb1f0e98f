//! The four shapes of `prompt`, and values of other shapes.

use super::*;
use serde_json::json;

const VOCABULARY: u32 = 100;

fn read(prompt: Value) -> Result<Vec<Prompt>, FieldError> {
    read_prompts(&mut Fields::new([("prompt".to_owned(), prompt)].into_iter().collect()), VOCABULARY)
}

fn words(words: &[&str]) -> Vec<Prompt> {
    words.iter().map(|word| Prompt::Text((*word).to_owned())).collect()
}

fn ids(ids: &[u32]) -> Prompt {
    Prompt::Tokens(ids.iter().copied().map(Token).collect())
}

#[test]
fn the_first_element_decides_the_shape() {
    assert_eq!(read(json!("a")), Ok(words(&["a"])));
    assert_eq!(read(json!("")), Ok(words(&[""])));
    assert_eq!(read(json!(["a", "b"])), Ok(words(&["a", "b"])));
    assert_eq!(read(json!([1, 2.0])), Ok(vec![ids(&[1, 2])]));
    assert_eq!(read(json!([[1, 2], [3]])), Ok(vec![ids(&[1, 2]), ids(&[3])]));
}

#[test]
fn ids_are_accepted_up_to_the_vocabulary_and_refused_past_it() {
    assert_eq!(read(json!([0, 99])), Ok(vec![ids(&[0, 99])]));
    for bad in [json!([100]), json!([-1]), json!([[0], [100]]), json!([u64::MAX]), json!([1e300])] {
        let error = read(bad.clone()).unwrap_err();
        assert_eq!(error.param(), Some("prompt"), "{bad}");
        assert!(error.to_string().contains("outside the vocabulary; ids are 0 to 99"), "{bad}: {error}");
    }
}

#[test]
fn there_may_be_32_prompts_and_no_more() {
    assert_eq!(read(json!(vec!["a"; 32])).unwrap().len(), 32);
    assert_eq!(read(json!(vec![[1]; 32])).unwrap().len(), 32);
    for many in [json!(vec!["a"; 33]), json!(vec![[1]; 33])] {
        assert_eq!(read(many).unwrap_err().to_string(), "Invalid 'prompt': there are 33 prompts; at most 32 are accepted.");
    }
    // One prompt of many tokens is one prompt.
    assert_eq!(read(json!(vec![1; 1000])).unwrap().len(), 1);
}

#[test]
fn empty_mixed_and_foreign_values_are_refused_by_name() {
    let bad = [
        json!([]),
        json!([[]]),
        json!([[1], []]),
        json!(["a", 1]),
        json!([1, "a"]),
        json!([[1], 2]),
        json!([[1], "a"]),
        json!(["a", null]),
        json!([null]),
        json!([true]),
        json!([1, true]),
        json!([1.5]),
        json!([[[1]]]),
        json!(5),
        json!({}),
        json!(null),
    ];
    for prompt in bad {
        assert_eq!(read(prompt.clone()).unwrap_err().param(), Some("prompt"), "{prompt}");
    }
}
