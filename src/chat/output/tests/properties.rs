//! Properties of every output: the pieces do not matter, nothing is lost, nothing panics, time is linear.

use super::*;
use crate::chat::output::json::{JsonReader, JsonStep};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Pieces of syntaxes, whole and broken.
const FRAGMENTS: [&str; 63] = [
    "<tool_call>",
    "</tool_call>",
    "<tool_",
    "[TOOL_CALLS]",
    "[TOOL",
    "[ARGS]",
    "[CALL_ID]",
    "<|python_tag|>",
    "<|tool_call|>",
    "<|/tool_call|>",
    "functools",
    "functools[",
    "<|python_start|>",
    "<|python_end|>",
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁call▁begin｜>",
    "<｜tool▁sep｜>",
    "<｜tool▁call▁end｜>",
    "```json\n",
    "```",
    "<think>",
    "</think>",
    "</thi",
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    "\"",
    "'",
    "\\",
    ",",
    ":",
    ";",
    "=",
    " ",
    "\n",
    "{\"name\": \"add\", \"arguments\": ",
    "{\"name\": \"add\"",
    "\"name\"",
    "\"add\"",
    "\"get_weather\"",
    "\"parameters\": {",
    "\"arguments\"",
    "add",
    "get_weather",
    "a=1",
    "add(a='x')",
    "[add(",
    "true",
    "nul",
    "-1.5e3",
    "0",
    "é",
    "🦀",
    "Hello",
    "\u{1}",
    "<function=",
    "<function=add>",
    "</function>",
    "<parameter=a>",
    "</parameter>",
];

fn messy() -> impl Strategy<Value = String> {
    prop::collection::vec(select(&FRAGMENTS[..]), 0..24).prop_map(|fragments| fragments.concat())
}

/// Cuts `text` at some boundaries of characters.
fn cut<'a>(text: &'a str, cuts: &[Index]) -> Vec<&'a str> {
    let boundaries: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let mut at: Vec<usize> = cuts.iter().map(|cut| *cut.get(&boundaries)).chain([0, text.len()]).collect();
    at.sort_unstable();
    at.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect()
}

fn is_subsequence(part: &str, text: &str) -> bool {
    let mut rest = text.chars();
    part.chars().all(|c| rest.any(|other| other == c))
}

/// JSON values without floats, whose text is not unique.
fn arguments() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from)
    ];
    let value = leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z\"\\\\]{1,4}", inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    });
    prop::collection::btree_map("[a-z_]{1,5}", value, 0..4).prop_map(|map| map.into_iter().collect())
}

/// Calls in a family's syntax.
fn written(format: ToolFormat, calls: &[(&str, Value)]) -> String {
    let objects =
        |key: &str| calls.iter().map(|(name, arguments)| format!("{{\"name\": \"{name}\", \"{key}\": {arguments}}}")).collect::<Vec<_>>();
    let list = |key: &str| format!("[{}]", objects(key).join(", "));
    match format {
        ToolFormat::Llama3Json => format!("<|python_tag|>{}", objects("parameters").join("; ")),
        ToolFormat::Mistral => calls.iter().map(|(name, arguments)| format!("[TOOL_CALLS]{name}[ARGS]{arguments}")).collect(),
        ToolFormat::Hermes | ToolFormat::Json => {
            objects("arguments").iter().map(|call| format!("<tool_call>\n{call}\n</tool_call>\n")).collect()
        }
        ToolFormat::ToolCallList => format!("<|tool_call|>{}", list("arguments")),
        ToolFormat::Functools => format!("functools{}", list("arguments")),
        ToolFormat::DeepSeek => {
            let call =
                |(name, arguments): &(&str, Value)| format!("<｜tool▁call▁begin｜>{name}<｜tool▁sep｜>{arguments}<｜tool▁call▁end｜>");
            format!("{}<｜tool▁calls▁end｜>", calls.iter().map(call).collect::<String>())
        }
        ToolFormat::FunctionXml => calls.iter().map(|(name, arguments)| format!("<function={name}>\n{arguments}\n</function>\n")).collect(),
        ToolFormat::Pythonic => {
            let keywords = |arguments: &Value| {
                let members = arguments.as_object().unwrap().iter();
                members.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ")
            };
            let calls: Vec<String> = calls.iter().map(|(name, arguments)| format!("{name}({})", keywords(arguments))).collect();
            format!("<|python_start|>[{}]<|python_end|>", calls.join(", "))
        }
    }
}

proptest! {
    #[test]
    fn pieces_do_not_matter(text in messy(), cuts in prop::collection::vec(any::<Index>(), 0..12), format in select(&FORMATS[..]),
        reasoning in select(vec![Reasoning::None, Reasoning::Excluded, THINK, THINKING]), parallel: bool,
        calls in select(vec![Calls::Auto, Calls::Required, Calls::Named("add".to_owned())]))
    {
        let spec = || OutputSpec { reasoning, parallel, calls: calls.clone(), ..spec(format) };
        prop_assert_eq!(meaning(spec(), cut(&text, &cuts)), meaning(spec(), [text.as_str()]));
    }

    #[test]
    fn without_a_call_the_content_is_the_text(text in messy(), format in select(&FORMATS[..])) {
        let heard = whole(format, &text);
        if heard.calls.is_empty() {
            prop_assert_eq!(heard.content, text);
        } else {
            prop_assert!(is_subsequence(&heard.content, &text), "{:?} of {:?}", heard.content, text);
        }
    }

    #[test]
    fn thoughts_and_content_are_the_text_but_for_tags_and_blanks(text in messy(), reasoning in select(vec![THINK, THINKING])) {
        let heard = meaning(OutputSpec { reasoning, tools: Vec::new(), ..spec(ToolFormat::Hermes) }, [text.as_str()]);
        let dense = |text: &str| text.replace(char::is_whitespace, "");
        let parts = dense(&format!("{}{}", heard.reasoning, heard.content));
        let text = dense(&text);
        prop_assert!(is_subsequence(&parts, &text));
        prop_assert!(text.len() - parts.len() <= "<think></think>".len());
    }

    #[test]
    fn any_text_is_understood_somehow(text in any::<String>(), format in select(&FORMATS[..])) {
        prop_assert_eq!(whole(format, &text).content, text);
    }

    #[test]
    fn well_written_calls_are_understood_exactly(given in prop::collection::vec((select(vec!["add", "get_weather"]), arguments()), 1..4),
        format in select(&FORMATS[..]), cuts in prop::collection::vec(any::<Index>(), 0..12))
    {
        let text = format!("So:\n{}", written(format, &given));
        let heard = meaning(spec(format), cut(&text, &cuts));
        prop_assert_eq!(heard.content.as_str(), "So:", "{}", text);
        let calls: Vec<(&str, Value)> =
            heard.calls.iter().map(|(name, arguments)| (name.as_str(), serde_json::from_str(arguments).unwrap())).collect();
        prop_assert_eq!(calls, given, "{}", text);
    }

    #[test]
    fn json_is_what_serde_takes_for_json(fragments in prop::collection::vec(select(vec![
        "{", "}", "[", "]", ",", ":", "\"a\"", "\"\\n\\u00e9\"", "1", "-0", "01", "2.5", "1.", "1e5", "1e+", "-", "true", "nul", "null", " ", "\n", "é"]), 0..12))
    {
        let text = format!("{{{}", fragments.concat());
        let (mut reader, mut kept, mut last) = (JsonReader::new(), String::new(), JsonStep::More);
        for c in text.trim_end().chars() {
            last = if last == JsonStep::More { reader.push(c, &mut kept) } else { JsonStep::Bad };
        }
        prop_assert_eq!(last == JsonStep::Done, serde_json::from_str::<Value>(&text).is_ok(), "{}", text);
        if last == JsonStep::Done {
            prop_assert_eq!(kept, text.trim_end());
        }
    }
}

#[test]
fn a_megabyte_in_single_characters_takes_linear_time() {
    let long = |begin: &str, unit: &str| format!("{begin}{}", unit.repeat((1 << 20) / unit.len()));
    let texts = [
        (ToolFormat::Hermes, long("", " ")),
        (ToolFormat::Hermes, long("", "<tool_cal")),
        (ToolFormat::Hermes, long("", "<tool_call>")),
        (ToolFormat::Hermes, long("", "<tool_call>{\"name\": \"add\"}</tool_call>")),
        (ToolFormat::Hermes, long("<tool_call>{\"name\": \"add\", \"arguments\": {\"a\": \"", "x")),
        (ToolFormat::Hermes, long("<tool_call>{\"arguments\": {\"a\": [", "0,")),
        (ToolFormat::Json, long("{\"", "\\\\")),
        (ToolFormat::Llama3Json, long("{\"name\": \"", "x")),
        (ToolFormat::Llama3Json, long("", "{")),
        (ToolFormat::Json, long("[", " ")),
        (ToolFormat::Mistral, long("", "[TOOL_CALLS]add")),
        (ToolFormat::Mistral, long("[TOOL_CALLS]add[ARGS]{\"a\":", "[")),
        (ToolFormat::DeepSeek, long("<｜tool▁call▁begin｜>", "add<｜tool▁sep｜>")),
        (ToolFormat::Pythonic, format!("{}])]", long("[add(a=[", "1,"))),
        (ToolFormat::Pythonic, format!("{})]", long("[add(a=", "\"x\" "))),
        (ToolFormat::Pythonic, long("[", "add(),")),
        (ToolFormat::Pythonic, long("[add(a=", "(")),
        (ToolFormat::FunctionXml, format!("{}</function>", long("<function=add>", "<parameter=a>1</parameter>"))),
        (ToolFormat::FunctionXml, long("<function=add><parameter=a>", "</function</parameter")),
        (ToolFormat::FunctionXml, long("", "<function=add></function>")),
        (ToolFormat::Hermes, long("<think>", "</thin")),
        (ToolFormat::Hermes, long("<think>a", " ")),
    ];
    for (format, text) in texts {
        let mut parser = OutputParser::new(Arc::new(OutputSpec { reasoning: THINK, ..spec(format) }));
        let begun = Instant::now();
        let pushed: usize = text.chars().map(|c| parser.push(c.encode_utf8(&mut [0; 4])).len()).sum();
        let deltas = pushed + parser.finish().len();
        // Linear time is a second, or a few in an unoptimized build on a busy machine. Quadratic time is hours.
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?} and {deltas} deltas for {format:?}", begun.elapsed());
    }
}
