//! Tests every published template in `tests/fixtures/chat_templates` against the output of Python's Jinja.

use super::{
    ChatInput, ChatTemplate, TemplateError, TemplateTokens,
    messages::{read_messages, read_tools},
};
use serde_json::{Map, Value as Json};
use std::{
    fs,
    path::{Path, PathBuf},
};

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
                Err(TemplateError::Input(_) | TemplateError::Reserved(_) | TemplateError::Continuation(_)) => expected["input"].is_string(),
                Err(TemplateError::Failed(_)) => expected["failed"].is_string(),
            };
            if !equal {
                wrong.push(format!("{name}, {case}:\n  expected {expected}\n  got      {got:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ\n{}", wrong.len(), wrong.join("\n"));
}

/// A request of `requests.json`, rendered as the route does.
fn fitted(template: &ChatTemplate, request: &Json) -> Result<String, TemplateError> {
    let tools = read_tools(request.get("tools").cloned().unwrap_or_default(), &mut |_, _| {}).unwrap().values;
    let kwargs = Map::from_iter([("date_string".to_owned(), "26 Jul 2024".into())]);
    let input = ChatInput { tools: (!tools.is_empty()).then_some(tools), add_generation_prompt: true, kwargs, ..ChatInput::default() };
    let conversation = read_messages(request["messages"].clone()).unwrap();
    template.render_conversation(conversation, input).map(|fitted| fitted.prompt.text)
}

/// The requests that are not rendered as transformers does, and why. Where transformers fails or the template refuses,
/// a prompt is no difference.
const REASONS: [(&str, &str); 9] = [
    ("two system messages", "the template shows only one; here they are joined"),
    ("a system message later", "the template shows only the first or the last one; here it is part of the user turn beside it"),
    ("a system message at the end", "the template shows it nowhere or first; here it is part of the user turn beside it"),
    ("text in parts", "the template prints the list as Python does, or its first part; here the texts are joined"),
    ("answers and results in parts", "the template prints the list as Python does, or its first part; here the texts are joined"),
    ("a call and its result", "the template prints the absent content as a word; here it is empty"),
    ("a call by OpenAI's id", "the template prints the absent content as a word; here it is empty"),
    ("a call that was cut off", "the template prints the absent content as a word; here it is empty"),
    ("a thought before a call", "as above; or the template reads the thought under another key, which it has here"),
];

/// `|safe` makes Python escape the texts that are put together with it, which this template does not expect.
const WITH_SAFE: &str = "meetkai-functionary-medium-v3.1";

#[test]
fn published_templates_render_requests_as_transformers_does_or_better() {
    let requests: Vec<Json> = serde_json::from_str(&read("requests.json")).unwrap();
    let (mut templates, mut expected) = (templates(), object("expected_requests.json"));
    if let Some(folder) = std::env::var_os("LLAMERO_CHAT_TEMPLATES").map(PathBuf::from) {
        expected = serde_json::from_str(&fs::read_to_string(folder.join("expected_requests.json")).unwrap()).unwrap();
        templates = expected.keys().map(|name| (name.clone(), compiled(&folder, name))).collect();
    }
    let (mut wrong, mut same, mut explained, mut only_here, mut nowhere) = (Vec::new(), 0, 0, 0, 0);
    for (name, template) in &templates {
        for request in &requests {
            let case = request["name"].as_str().unwrap();
            let expected = &expected[name][case];
            let has_reason = name == WITH_SAFE || REASONS.iter().any(|(request, _)| *request == case);
            match (expected["text"].as_str(), fitted(template, request)) {
                (Some(text), Ok(prompt)) if text == prompt => same += 1,
                (Some(_), Ok(_)) if has_reason => explained += 1,
                (None, Ok(_)) => only_here += 1,
                (None, Err(_)) => nowhere += 1,
                (Some(_), got) => wrong.push(format!("{name}, {case}:\n  expected {expected}\n  got      {got:?}")),
            }
        }
    }
    println!("{same} are the same, {explained} differ with a reason, {only_here} are rendered here only, {nowhere} nowhere");
    assert!(wrong.is_empty(), "{} differ\n{}", wrong.len(), wrong.join("\n"));
}

/// A template of any folder, with control tokens of several families.
fn compiled(folder: &Path, name: &str) -> ChatTemplate {
    let source = fs::read_to_string(folder.join(format!("{name}.jinja"))).unwrap();
    let control = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|eot_id|>", "<|end|>"].map(str::to_owned).to_vec();
    ChatTemplate::compile(&source, TemplateTokens { bos: "<s>".to_owned(), eos: "</s>".to_owned(), control }).unwrap()
}
