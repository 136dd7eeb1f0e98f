//! Tests of the deltas of outputs, whole and cut anywhere.

mod forced;
mod properties;

use super::*;
use serde_json::json;

/// An output's deltas of each kind, joined.
#[derive(Debug, Default, PartialEq, Eq)]
struct Meaning {
    reasoning: String,
    content: String,
    calls: Vec<(String, String)>,
}

const THINK: Reasoning = Reasoning::Tags { open: "<think>", close: "</think>", begins_inside: false };
const THINKING: Reasoning = Reasoning::Tags { open: "<think>", close: "</think>", begins_inside: true };
const FORMATS: [ToolFormat; 9] = [
    ToolFormat::FunctionXml,
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
    let tool = |name: &str| ToolSpec { name: name.to_owned(), parameters: json!({}), strict: false, input: ToolInput::Arguments };
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

/// Two calls in each family's syntax, after some content where the syntax allows it.
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
        (
            ToolFormat::FunctionXml,
            "So.\n<tool_call>\n<function=get_weather>\n<parameter=city>\nPa<ris\n\n</parameter>\n</function>\n</tool_call>\n<function=add>{\"a\": 1}</function>",
            said("So.", &[("get_weather", r#"{"city":"Pa<ris\n"}"#), ("add", r#"{"a":1}"#)]),
        ),
        (ToolFormat::Pythonic, " [add()]", said("", &[("add", "{}")])),
        (ToolFormat::Json, "{\"name\": \"get_weather\", \"arguments\": \"{\\\"city\\\": \\\"Paris\\\"}\"}", said("", &[PARIS])),
        (ToolFormat::Json, "[{\"name\": \"add\"}]", said("", &[("add", "{}")])),
    ]
}

/// Outputs that are no calls, or only partly.
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
        (ToolFormat::FunctionXml, "<tool_call>\n<function=rm>\n</function>", content("<tool_call>\n<function=rm>\n</function>")),
        (ToolFormat::FunctionXml, "<function=add><parameter=a>1</function>", content("<function=add><parameter=a>1</function>")),
        (ToolFormat::FunctionXml, "<function=add>\n<parameter=a>", content("<function=add>\n<parameter=a>")),
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

fn thinking(text: &str, reasoning: Reasoning) -> (String, String) {
    let spec = || OutputSpec { reasoning, ..spec(ToolFormat::Hermes) };
    let expected = meaning(spec(), [text]);
    for (cut, _) in text.char_indices() {
        let (left, right) = text.split_at(cut);
        assert_eq!(meaning(spec(), [left, right]), expected, "{left} | {right}");
    }
    (expected.reasoning, expected.content)
}

fn parts(reasoning: &str, content: &str) -> (String, String) {
    (reasoning.to_owned(), content.to_owned())
}

#[test]
fn thoughts_are_told_from_what_is_said() {
    assert_eq!(thinking("<think>\nHm.\n\nSo: 1 < 2.\n</think>\n\nYes. ", THINK), parts("Hm.\n\nSo: 1 < 2.", "Yes. "));
    assert_eq!(thinking("Hm.\n</think>\n\nYes.", THINKING), parts("Hm.", "Yes."));
    assert_eq!(thinking("<think>\n\n</think>\n\nYes.", THINK), parts("", "Yes."));
}

#[test]
fn a_thought_without_end_is_all_thought() {
    assert_eq!(thinking("\n<think>\nHm, </thi ", THINK), parts("Hm, </thi ", ""));
    assert_eq!(thinking("Hm. <", THINKING), parts("Hm. <", ""));
}

#[test]
fn a_model_may_open_again_what_its_prompt_opened() {
    assert_eq!(thinking("<think>\nHm.</think>Yes.", THINKING), parts("Hm.", "Yes."));
    assert_eq!(thinking("The tag <think> opens.</think>Yes.", THINKING), parts("The tag <think> opens.", "Yes."));
}

#[test]
fn a_model_may_repeat_only_the_tag_of_its_prompt_and_that_once() {
    assert_eq!(thinking("<think><think>Hm.</think>Yes.", THINKING), parts("<think>Hm.", "Yes."));
    assert_eq!(thinking("<think><think>Hm.</think>Yes.", THINK), parts("<think>Hm.", "Yes."));
}

#[test]
fn tags_within_an_answer_are_part_of_it() {
    assert_eq!(thinking("Write <think>x</think>.", THINK), parts("", "Write <think>x</think>."));
    assert_eq!(thinking("<think>a</think>b<think>c</think>", THINK), parts("a", "b<think>c</think>"));
    assert_eq!(thinking(" <thin", THINK), parts("", " <thin"));
}

#[test]
fn calls_follow_thoughts_but_are_none_within() {
    let text = "<think>I could <tool_call>{\"name\": \"add\"}</tool_call></think>\n<tool_call>{\"name\": \"add\"}</tool_call>";
    let heard = meaning(OutputSpec { reasoning: THINK, ..spec(ToolFormat::Hermes) }, [text]);
    assert_eq!(heard.reasoning, "I could <tool_call>{\"name\": \"add\"}</tool_call>");
    assert_eq!((heard.content.as_str(), heard.calls), ("", vec![("add".to_owned(), "{}".to_owned())]));
}

#[test]
fn templates_and_prompts_tell_how_a_model_thinks() {
    assert_eq!(Reasoning::detect("{{ '<think>' }}", "<|im_start|>assistant\n<think>\n"), THINKING);
    assert_eq!(Reasoning::detect("{{ '<think>' }}", "<|im_start|>assistant\n"), THINK);
    assert_eq!(Reasoning::detect("{{ content.split('</think>') }}", "<think>\n\n</think>\n\n"), THINK);
    assert_eq!(Reasoning::detect("{{ bos_token }}", "<think>"), Reasoning::None);
}

#[test]
fn templates_and_names_tell_how_a_model_calls() {
    assert_eq!(ToolFormat::detect("… <tool_call> …", "llama", "x"), ToolFormat::Hermes);
    assert_eq!(ToolFormat::detect("{{ '[TOOL_CALLS]' }}", "llama", "x"), ToolFormat::Mistral);
    assert_eq!(ToolFormat::detect("<|start_header_id|> <|python_tag|>", "llama", "x"), ToolFormat::Llama3Json);
    assert_eq!(ToolFormat::detect("", "llama", "Mistral-7B-Instruct-v0.3"), ToolFormat::Mistral);
    assert_eq!(ToolFormat::detect("", "llama", "Llama 3.1 8B Instruct"), ToolFormat::Llama3Json);
    assert_eq!(ToolFormat::detect("", "qwen3", "x"), ToolFormat::Hermes);
    assert_eq!(ToolFormat::detect("", "llama4", "x"), ToolFormat::Pythonic);
    assert_eq!(ToolFormat::detect("", "gemma", "x"), ToolFormat::Json);
}

#[test]
fn without_tools_or_with_none_chosen_no_text_is_a_call() {
    for (format, text, _) in family_outputs() {
        let none = OutputSpec { calls: Calls::None, ..spec(format) };
        assert_eq!(meaning(none, [text]), said(text, &[]), "{format:?}");
        let no_tools = OutputSpec { tools: Vec::new(), ..spec(format) };
        assert_eq!(meaning(no_tools, [text]), said(text, &[]), "{format:?}");
    }
}

#[test]
fn only_the_first_call_counts_unless_they_may_be_parallel() {
    let text = "<tool_call>{\"name\": \"add\"}</tool_call>\n<tool_call>{\"name\": \"get_weather\"}</tool_call> Done.";
    let single = OutputSpec { parallel: false, ..spec(ToolFormat::Hermes) };
    assert_eq!(meaning(single.clone(), [text]), said(" Done.", &[("add", "{}")]));
    let mut parser = OutputParser::new(Arc::new(single));
    let first = text.find("}<").unwrap();
    let _ = parser.push(&text[..first]);
    assert!(!parser.is_done());
    let _ = parser.push(&text[first..=first]);
    assert!(parser.is_done());
}

#[test]
fn beside_a_format_an_output_is_either_calls_or_an_answer_that_may_quote_marks() {
    let beside = |format| OutputSpec { reasoning: Reasoning::Excluded, ..spec(format) };
    let answers = [
        (ToolFormat::Hermes, r#"{"doc": "<tool_call>{\"name\": \"add\"}</tool_call>", "x": "<tool_call>"}"#),
        (ToolFormat::Hermes, r#" "<tool_call>{}""#),
        (ToolFormat::Mistral, r#"{"doc": "[TOOL_CALLS]add{}"}"#),
        (ToolFormat::Mistral, r#"["[TOOL_CALLS]add{}"]"#),
        (ToolFormat::Mistral, r#"[[TOOL_CALLS]add{}"#),
        (ToolFormat::FunctionXml, r#"{"doc":"<function=add></function>"}"#),
        (ToolFormat::Functools, r#"{"doc": "functools[{\"name\": \"add\"}]"}"#),
        (ToolFormat::Functools, "false"),
        (ToolFormat::DeepSeek, "\n{\"doc\": \"<｜tool▁call▁begin｜>add<｜tool▁sep｜>{}\"}"),
        (ToolFormat::Json, r#"{"doc": "x", "more": "<tool_call>{\"name\": \"add\", \"arguments\": {}}</tool_call>"}"#),
        (ToolFormat::Json, r#"[{"name": "add", "arguments": {}}]"#),
        (ToolFormat::Llama3Json, r#"{"name": "rm", "parameters": {}}; {"name": "add", "parameters": {}}"#),
        (ToolFormat::Pythonic, "[add(a=1)]"),
    ];
    for (format, text) in answers {
        assert_eq!(meaning(beside(format), [text]), said(text, &[]), "{format:?}");
        let single: Vec<String> = text.chars().map(String::from).collect();
        assert_eq!(meaning(beside(format), single.iter().map(String::as_str)), said(text, &[]), "{format:?}");
    }
    let call = "<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": \"<tool_call>\"}}\n</tool_call>";
    let two = format!("\n{call}\n{call}");
    let sum = ("add", "{\"a\": \"<tool_call>\"}");
    assert_eq!(meaning(beside(ToolFormat::Hermes), [two.as_str()]), said("", &[sum, sum]));
    let bare = "{\"name\": \"add\", \"parameters\": {}}; {\"name\": \"add\", \"parameters\": {}}";
    assert_eq!(meaning(beside(ToolFormat::Llama3Json), [bare]), said("", &[("add", "{}"), ("add", "{}")]));
    let cut = "[TOOL_";
    assert_eq!(meaning(beside(ToolFormat::Mistral), [cut]), said(cut, &[]));
    let none = OutputSpec { calls: Calls::None, ..beside(ToolFormat::Hermes) };
    assert_eq!(meaning(none, [call]), said(call, &[]));
}

#[test]
fn arguments_stream_before_their_end_has_come() {
    let mut parser = OutputParser::new(Arc::new(spec(ToolFormat::Hermes)));
    assert_eq!(parser.push("<tool_call>{\"name\": \"add\", \"arg"), []);
    let start = OutputDelta::CallStart { index: 0, name: "add".to_owned() };
    let arguments = |text: &str| OutputDelta::CallArguments { index: 0, text: text.to_owned() };
    assert_eq!(parser.push("uments\": {\"a\""), [start, arguments("{\"a\"")]);
    assert_eq!(parser.push(": 1"), [arguments(": 1")]);
}

#[test]
fn parameters_in_tags_have_the_type_that_the_schema_gives_them() {
    let mut spec = spec(ToolFormat::FunctionXml);
    let kind = |kind: &str| json!({"type": kind});
    spec.tools[1].parameters = json!({"properties": {"i": kind("integer"), "s": kind("string"), "b": kind("boolean"), "l": kind("array")}});
    let parameters = [("i", "7"), ("s", "7"), ("b", "True"), ("l", "[1]"), ("other", "7"), ("i2", "x")];
    let parameters: String = parameters.iter().map(|(name, text)| format!("<parameter={name}>\n{text}\n</parameter>\n")).collect();
    let text = format!("<function=add>\n{parameters}</function>");
    let expected = r#"{"i":7,"s":"7","b":true,"l":[1],"other":"7","i2":"x"}"#;
    assert_eq!(meaning(spec, [text.as_str()]), said("", &[("add", expected)]));
}

#[test]
fn control_characters_in_strings_are_escaped() {
    let text = "<tool_call>{\"name\": \"add\", \"arguments\": {\"a\": \"x\ny\tz\u{1}\"}}</tool_call>";
    let expected = said("", &[("add", "{\"a\": \"x\\ny\\tz\\u0001\"}")]);
    assert_eq!(whole(ToolFormat::Hermes, text), expected);
}

#[test]
fn the_input_of_a_text_tool_is_the_text_in_its_arguments_in_every_syntax() {
    let mut spec = spec(ToolFormat::Hermes);
    spec.tools[1].input = ToolInput::Text { grammar: None };
    let text = "<tool_call>{\"name\": \"add\", \"arguments\": {\"input\": \"a\\nb\"}}</tool_call>";
    assert_eq!(meaning(spec.clone(), [text]).calls, [("add".to_owned(), "a\nb".to_owned())]);
    let other = "<tool_call>{\"arguments\": {\"patch\": \"a\"}, \"name\": \"add\"}</tool_call>later";
    let seen = meaning(spec.clone(), other.split_inclusive(' '));
    assert_eq!((seen.calls, seen.content.as_str()), (vec![("add".to_owned(), "a".to_owned())], "later"));
    spec.format = ToolFormat::FunctionXml;
    let xml = "<tool_call><function=add><parameter=input>a\nb</parameter></function></tool_call>";
    assert_eq!(meaning(spec, [xml]).calls, [("add".to_owned(), "a\nb".to_owned())]);
}

#[test]
fn a_grammar_makes_the_whole_output_the_input_of_the_named_tool() {
    let grammar = Constraint::Grammar("start: /a+/".to_owned());
    let mut spec = OutputSpec { calls: Calls::Named("add".to_owned()), ..spec(ToolFormat::Hermes) };
    spec.tools[1].input = ToolInput::Text { grammar: Some(grammar.clone()) };

    assert_eq!(forced_constraint(&spec), Some(grammar));
    assert_eq!(meaning(spec.clone(), ["a \"", "{b"]).calls, [("add".to_owned(), "a \"{b".to_owned())]);
    assert_eq!(meaning(spec, [""]).calls, [("add".to_owned(), String::new())]);
}
