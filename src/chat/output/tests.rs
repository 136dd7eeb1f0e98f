//! What outputs mean, whole and cut anywhere.

use super::*;
use proptest::prelude::*;
use serde_json::json;
use std::time::{Duration, Instant};

/// The deltas of an output, joined.
#[derive(Debug, Default, PartialEq, Eq)]
struct Meaning {
    reasoning: String,
    content: String,
    calls: Vec<(String, String)>,
}

const THINK: Reasoning = Reasoning::Tags { open: "<think>", close: "</think>", begins_inside: false };
const THINKING: Reasoning = Reasoning::Tags { open: "<think>", close: "</think>", begins_inside: true };
const FORMATS: [ToolFormat; 8] = [
    ToolFormat::Llama3Json,
    ToolFormat::Mistral,
    ToolFormat::Hermes,
    ToolFormat::ToolCallList,
    ToolFormat::Functools,
    ToolFormat::DeepSeek,
    ToolFormat::Pythonic,
    ToolFormat::Json,
];

fn spec(format: ToolFormat) -> OutputSpec {
    let tool = |name: &str| ToolSpec { name: name.to_owned(), parameters: json!({}), strict: false };
    OutputSpec { tools: vec![tool("get_weather"), tool("add")], calls: Calls::Auto, parallel: true, format, reasoning: Reasoning::None }
}

fn meaning<'a>(spec: OutputSpec, pieces: impl IntoIterator<Item = &'a str>) -> Meaning {
    let mut parser = OutputParser::new(Arc::new(spec));
    let mut deltas: Vec<OutputDelta> = pieces.into_iter().flat_map(|piece| parser.push(piece)).collect();
    deltas.extend(parser.finish());
    let mut meaning = Meaning::default();
    for delta in deltas {
        match delta {
            OutputDelta::Content(text) => meaning.content.push_str(&text),
            OutputDelta::Reasoning(text) => meaning.reasoning.push_str(&text),
            OutputDelta::CallStart { index, name } => {
                assert_eq!(index, meaning.calls.len(), "indices have no gaps");
                meaning.calls.push((name, String::new()));
            }
            OutputDelta::CallArguments { index, text } => {
                assert_eq!(index + 1, meaning.calls.len(), "arguments belong to the last call");
                meaning.calls[index].1.push_str(&text);
            }
        }
    }
    assert_eq!(parser.has_calls(), !meaning.calls.is_empty());
    meaning
}

fn whole(format: ToolFormat, text: &str) -> Meaning {
    meaning(spec(format), [text])
}

fn said(content: &str, calls: &[(&str, &str)]) -> Meaning {
    let calls = calls.iter().map(|(name, arguments)| ((*name).to_owned(), (*arguments).to_owned())).collect();
    Meaning { reasoning: String::new(), content: content.to_owned(), calls }
}

const PARIS: (&str, &str) = ("get_weather", r#"{"city": "Paris"}"#);
const SUM: (&str, &str) = ("add", r#"{"a": 1, "b": [2.5e1, null]}"#);

/// Each family's way to make the two calls, after some content where its syntax has room for it.
fn family_outputs() -> Vec<(ToolFormat, &'static str, Meaning)> {
    let both = |content: &str| said(content, &[PARIS, SUM]);
    vec![
        (
            ToolFormat::Llama3Json,
            "Let me see.\n<|python_tag|>{\"name\": \"get_weather\", \"parameters\": {\"city\": \"Paris\"}}; {\"name\": \"add\", \"parameters\": {\"a\": 1, \"b\": [2.5e1, null]}}",
            both("Let me see."),
        ),
        (
            ToolFormat::Llama3Json,
            "{\"type\": \"function\", \"name\": \"get_weather\", \"parameters\": {\"city\": \"Paris\"}}\n{\"name\": \"add\", \"parameters\": {\"a\": 1, \"b\": [2.5e1, null]}}",
            both(""),
        ),
        (
            ToolFormat::Mistral,
            "Sure. [TOOL_CALLS] [{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\"}, \"id\": \"a1B2c3D4e\"}, {\"name\": \"add\", \"arguments\": {\"a\": 1, \"b\": [2.5e1, null]}}]",
            both("Sure."),
        ),
        (
            ToolFormat::Mistral,
            "[TOOL_CALLS]get_weather[ARGS]{\"city\": \"Paris\"}[TOOL_CALLS]add[CALL_ID]123456789[ARGS]{\"a\": 1, \"b\": [2.5e1, null]}",
            both(""),
        ),
        (ToolFormat::Mistral, "[TOOL_CALLS]get_weather{\"city\": \"Paris\"}", said("", &[PARIS])),
        (
            ToolFormat::Hermes,
            "I look it up.\n<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\"}}\n</tool_call>\n<tool_call>\n{\"arguments\": {\"a\": 1, \"b\": [2.5e1, null]}, \"name\": \"add\"}\n</tool_call>",
            both("I look it up."),
        ),
        (
            ToolFormat::Hermes,
            "<tool_call>[{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\"}}, {\"name\": \"add\", \"arguments\": {\"a\": 1, \"b\": [2.5e1, null]}}]</tool_call> Done.",
            both(" Done."),
        ),
        (
            ToolFormat::ToolCallList,
            "<|tool_call|>[{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\"}}, {\"name\": \"add\", \"arguments\": {\"a\": 1, \"b\": [2.5e1, null]}}]<|/tool_call|>",
            both(""),
        ),
        (
            ToolFormat::Functools,
            "functools[{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\"}},{\"name\": \"add\", \"arguments\": {\"a\": 1, \"b\": [2.5e1, null]}}]",
            both(""),
        ),
        (
            ToolFormat::DeepSeek,
            "Wait.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n{\"city\": \"Paris\"}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>add<｜tool▁sep｜>{\"a\": 1, \"b\": [2.5e1, null]}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
            both("Wait."),
        ),
        (
            ToolFormat::Pythonic,
            "<|python_start|>[get_weather(city='Par\\'is'), add(a=-1, b=(2.5, None), c={\"x\": [True]})]<|python_end|>",
            said("", &[("get_weather", r#"{"city":"Par'is"}"#), ("add", r#"{"a":-1,"b":[2.5,null],"c":{"x":[true]}}"#)]),
        ),
        (ToolFormat::Pythonic, " [add()]", said("", &[("add", "{}")])),
        (ToolFormat::Json, "{\"name\": \"get_weather\", \"arguments\": \"{\\\"city\\\": \\\"Paris\\\"}\"}", said("", &[PARIS])),
        (ToolFormat::Json, "[{\"name\": \"add\"}]", said("", &[("add", "{}")])),
    ]
}

/// Outputs that are no calls, or only in part.
fn near_misses() -> Vec<(ToolFormat, &'static str, Meaning)> {
    let content = |text: &str| said(text, &[]);
    vec![
        (ToolFormat::Hermes, "plain  text \n", content("plain  text \n")),
        (
            ToolFormat::Hermes,
            " <tool_call> {\"name\": \"rm\", \"arguments\": {}}",
            content(" <tool_call> {\"name\": \"rm\", \"arguments\": {}}"),
        ),
        (ToolFormat::Hermes, "a <tool_call>\n{\"name\": \"add\"", content("a <tool_call>\n{\"name\": \"add\"")),
        (
            ToolFormat::Hermes,
            "<tool_call>{\"name\": \"add\", \"arguments\": 5}",
            content("<tool_call>{\"name\": \"add\", \"arguments\": 5}"),
        ),
        (
            ToolFormat::Hermes,
            "<tool_call><tool_call>{\"name\": \"add\", \"arguments\": {}}</tool_call>",
            said("<tool_call>", &[("add", "{}")]),
        ),
        (
            ToolFormat::Hermes,
            "<tool_call>{\"name\": \"add\", \"arguments\": {\"a\": 1, 2}}</tool_call>",
            said("2}}</tool_call>", &[("add", "{\"a\": 1, ")]),
        ),
        (ToolFormat::Hermes, "<tool_call>{\"name\": \"add\", \"arguments\": {\"a\": ", said("", &[("add", "{\"a\": ")])),
        (ToolFormat::Hermes, "2 < 3 </tool_call> <tool_ ", content("2 < 3 </tool_call> <tool_ ")),
        (ToolFormat::Mistral, "[TOOL_CALLS]rm[ARGS]{}", content("[TOOL_CALLS]rm[ARGS]{}")),
        (ToolFormat::Mistral, "[1] as the source says", content("[1] as the source says")),
        (ToolFormat::Llama3Json, "{\"answer\": 42}", content("{\"answer\": 42}")),
        (ToolFormat::Llama3Json, "<|python_tag|>print(1)", content("<|python_tag|>print(1)")),
        (ToolFormat::Llama3Json, "As JSON: {\"name\": \"add\"}", content("As JSON: {\"name\": \"add\"}")),
        (ToolFormat::Pythonic, "[add(a=b)]", content("[add(a=b)]")),
        (ToolFormat::Pythonic, "[add(1)]", content("[add(1)]")),
        (ToolFormat::Pythonic, "[a note] and (more)", content("[a note] and (more)")),
        (ToolFormat::Json, "[{\"name\": \"add\"}, 7]", said(", 7]", &[("add", "{}")])),
        (ToolFormat::DeepSeek, "```json\n{}\n```", content("```json\n{}\n```")),
    ]
}

#[test]
fn each_family_is_understood() {
    for (format, text, expected) in family_outputs() {
        assert_eq!(whole(format, text), expected, "{format:?}: {text}");
    }
}

#[test]
fn what_is_no_call_is_content_to_the_letter() {
    for (format, text, expected) in near_misses() {
        assert_eq!(whole(format, text), expected, "{format:?}: {text}");
    }
}

#[test]
fn two_pieces_mean_what_the_whole_means_wherever_the_cut_is() {
    for (format, text, expected) in family_outputs().into_iter().chain(near_misses()) {
        for (cut, _) in text.char_indices() {
            let (left, right) = text.split_at(cut);
            assert_eq!(meaning(spec(format), [left, right]), expected, "{format:?}: {left} | {right}");
        }
    }
}

#[test]
fn single_characters_mean_what_the_whole_means() {
    for (format, text, expected) in family_outputs().into_iter().chain(near_misses()) {
        let characters = text.char_indices().map(|(at, c)| &text[at..at + c.len_utf8()]);
        assert_eq!(meaning(spec(format), characters), expected, "{format:?}: {text}");
    }
}
