//! Tests every published template in `tests/fixtures/chat_templates` against the output of Python's Jinja.

use super::{ChatInput, ChatTemplate, TemplateError, TemplateTokens};
use serde_json::{Map, Value as Json};
use std::{fs, path::PathBuf};

fn read(name: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/chat_templates");
    fs::read_to_string(folder.join(name)).unwrap()
}

fn object(name: &str) -> Map<String, Json> {
    serde_json::from_str(&read(name)).unwrap()
}

/// All templates by name, with the control tokens of their models.
pub(super) fn templates() -> Vec<(String, ChatTemplate)> {
    let text = |value: &Json| value.as_str().unwrap().to_owned();
    let compiled = object("tokens.json").into_iter().map(|(name, of)| {
        let control = of["control"].as_array().unwrap().iter().map(text).collect();
        let tokens = TemplateTokens { bos: text(&of["bos"]), eos: text(&of["eos"]), control };
        let template = ChatTemplate::compile(&read(&format!("{name}.jinja")), tokens).unwrap();
        (name, template)
    });
    compiled.collect()
}

/// All conversations by name.
pub(super) fn cases() -> Vec<(String, ChatInput)> {
    let cases: Vec<Json> = serde_json::from_str(&read("cases.json")).unwrap();
    let parsed = cases.into_iter().map(|case| {
        let input = ChatInput {
            messages: case["messages"].as_array().unwrap().clone(),
            tools: case["tools"].as_array().cloned(),
            add_generation_prompt: case["add_generation_prompt"].as_bool().unwrap(),
            continue_final_message: case["continue_final_message"].as_bool().unwrap(),
            kwargs: case["kwargs"].as_object().unwrap().clone(),
        };
        (case["name"].as_str().unwrap().to_owned(), input)
    });
    parsed.collect()
}

#[test]
fn every_template_renders_every_case_as_pythons_jinja_does() {
    let expected = object("expected.json");
    let mut wrong = Vec::new();
    for (name, template) in templates() {
        for (case, input) in cases() {
            let expected = &expected[&name][&case];
            let got = template.render(&input);
            let equal = match &got {
                // Python refuses to iterate over `None`; for minijinja it is an empty list.
                Ok(_) if expected["failed"] == "TypeError: 'NoneType' object is not iterable" => true,
                Ok(prompt) => expected["text"] == prompt.text.as_str(),
                Err(TemplateError::Raised(message)) => expected["raised"] == message.as_str(),
                Err(TemplateError::Input(_) | TemplateError::Continuation(_)) => expected["input"].is_string(),
                Err(TemplateError::Failed(_)) => expected["failed"].is_string(),
            };
            if !equal {
                wrong.push(format!("{name}, {case}:\n  expected {expected}\n  got      {got:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ\n{}", wrong.len(), wrong.join("\n"));
}
