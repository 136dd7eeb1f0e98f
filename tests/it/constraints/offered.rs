//! An answer in a format beside calls that the model may make: for every family the grammar compiles, takes answers in
//! the format and calls in the family's syntax, and nothing else; and the parser finds the calls.

use llamero::{
    chat::output::{Calls, OutputDelta, OutputParser, OutputSpec, Reasoning, ToolFormat, ToolInput, ToolSpec, offered_constraint},
    constrain::{Compiler, Piece, Vocabulary, Words},
    protocol::{Constraint, Token},
};
use serde_json::json;
use std::sync::Arc;

const END: Token = Token(256);
/// Control tokens, from id 257 on.
const CONTROL: [&str; 9] = [
    "[TOOL_CALLS]",
    "[ARGS]",
    "<|python_tag|>",
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁call▁begin｜>",
    "<｜tool▁sep｜>",
    "<｜tool▁call▁end｜>",
    "<｜tool▁calls▁end｜>",
    "<|tool_call|>",
];

fn compiler() -> Compiler {
    let bytes: Vec<[u8; 1]> = (0..=255).map(|byte| [byte]).collect();
    let piece = |token: Token| match token.0 {
        256 => Piece::End(b"</s>"),
        id @ 0..256 => Piece::Text(&bytes[id as usize]),
        id => Piece::Special(CONTROL[id as usize - 257].as_bytes()),
    };
    let words = Words::new(257 + CONTROL.len() as u32, piece).unwrap();
    let spell = |text: &str| text.bytes().map(|byte| Token(byte.into())).collect();
    Compiler::new(Vocabulary::new(&words, Arc::new(spell)).unwrap())
}

fn control(text: &str) -> Option<Token> {
    CONTROL.iter().position(|known| *known == text).map(|index| Token(257 + index as u32))
}

/// The tokens of a text, control tokens as such.
fn tokens(mut text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    while let Some(first) = text.bytes().next() {
        let known = CONTROL.iter().find(|known| text.starts_with(**known));
        tokens.push(known.and_then(|known| control(known)).unwrap_or(Token(first.into())));
        match known {
            Some(known) => text = &text[known.len()..],
            // One byte of a character of several; none of the texts here cuts one.
            None => text = text.get(1..).unwrap_or_else(|| panic!("not ASCII: {text}")),
        }
    }
    tokens
}

fn spec(format: ToolFormat, parallel: bool) -> OutputSpec {
    let tool = |name: &str| ToolSpec { name: name.to_owned(), parameters: json!({}), strict: false, input: ToolInput::Arguments };
    OutputSpec { tools: vec![tool("get_weather"), tool("add")], calls: Calls::Auto, parallel, format, reasoning: Reasoning::Excluded }
}

fn offered(spec: &OutputSpec, format: &Constraint) -> Option<Constraint> {
    offered_constraint(&spec.tools, spec.parallel, spec.format, format, control)
}

/// True if exactly this text can be generated.
fn accepts(compiler: &Compiler, constraint: &Constraint, text: &str) -> bool {
    let mut matcher = compiler.compile(constraint).unwrap_or_else(|error| panic!("{error}: {constraint:?}")).matcher();
    let mut may = |token: Token, advance: bool| {
        let (word, bit) = (token.0 as usize / 32, token.0 % 32);
        let allowed = !matcher.is_finished() && matcher.allowed().is_ok_and(|allowed| allowed[word] >> bit & 1 == 1);
        (allowed && (!advance || matcher.advance(token).is_ok())) || (!advance && matcher.is_finished())
    };
    tokens(text).into_iter().all(|token| may(token, true)) && may(END, false)
}

/// The names of the calls and the content that the parser finds.
fn parsed(spec: OutputSpec, text: &str) -> (Vec<String>, String) {
    let mut parser = OutputParser::new(Arc::new(spec));
    let mut deltas = parser.push(text);
    deltas.extend(parser.finish());
    let (mut names, mut content) = (Vec::new(), String::new());
    for delta in deltas {
        match delta {
            OutputDelta::CallStart { name, .. } => names.push(name),
            OutputDelta::Content(text) => content.push_str(&text),
            OutputDelta::Reasoning(_) | OutputDelta::CallArguments { .. } => {}
        }
    }
    (names, content)
}

#[test]
fn a_model_either_calls_or_answers_in_the_format_in_every_family() {
    let compiler = compiler();
    let hermes = "<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 1}}\n</tool_call>";
    let calls = [
        (ToolFormat::Hermes, hermes),
        (ToolFormat::Json, hermes),
        (ToolFormat::Json, "{\"name\": \"add\", \"arguments\": {\"a\": 1}}"),
        (ToolFormat::Llama3Json, "{\"name\": \"add\", \"parameters\": {\"a\": 1}}"),
        (ToolFormat::Llama3Json, "<|python_tag|>{\"name\": \"add\", \"parameters\": {\"a\": 1}}"),
        (ToolFormat::ToolCallList, "<|tool_call|>[{\"name\": \"add\", \"arguments\": {\"a\": 1}}]"),
        (ToolFormat::Functools, "functools[{\"name\": \"add\", \"arguments\": {\"a\": 1}}]"),
        (ToolFormat::Mistral, "[TOOL_CALLS] [{\"name\": \"add\", \"arguments\": {\"a\": 1}}]"),
        (ToolFormat::Mistral, "[TOOL_CALLS]add[ARGS]{\"a\": 1}"),
        (
            ToolFormat::DeepSeek,
            "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>add\n```json\n{\"a\": 1}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        ),
        (
            ToolFormat::DeepSeek,
            "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>add<｜tool▁sep｜>{\"a\": 1}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        ),
    ];
    let format = Constraint::JsonSchema(
        json!({"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"], "additionalProperties": false}).to_string(),
    );
    for (family, call) in calls {
        for parallel in [true, false] {
            let constraint = offered(&spec(family, parallel), &format).unwrap();
            assert!(accepts(&compiler, &constraint, call), "{family:?}: {call}");
            assert!(accepts(&compiler, &constraint, "{\"x\": 5}"), "{family:?}");
            let unknown = call.replace("add", "rm");
            for wrong in ["{\"y\": 5}", "hello", "", unknown.as_str()] {
                assert!(!accepts(&compiler, &constraint, wrong), "{family:?}: {wrong}");
            }
        }
        assert_eq!(parsed(spec(family, true), call), (vec!["add".to_owned()], String::new()), "{family:?}");
        assert_eq!(parsed(spec(family, true), "{\"x\": 5}"), (Vec::new(), "{\"x\": 5}".to_owned()), "{family:?}");
    }
    let two = format!("{hermes}\n{hermes}");
    for (parallel, expected) in [(true, true), (false, false)] {
        let constraint = offered(&spec(ToolFormat::Hermes, parallel), &Constraint::JsonObject).unwrap();
        assert_eq!(accepts(&compiler, &constraint, &two), expected);
    }
}

/// The families in which calls are offered beside a format.
const FAMILIES: [ToolFormat; 7] = [
    ToolFormat::Hermes,
    ToolFormat::Json,
    ToolFormat::Llama3Json,
    ToolFormat::ToolCallList,
    ToolFormat::Functools,
    ToolFormat::Mistral,
    ToolFormat::DeepSeek,
];

#[test]
fn marks_within_an_answer_in_the_format_are_text() {
    let compiler = compiler();
    let texts = [
        "{\"x\": \"<tool_call>{\\\"name\\\": \\\"add\\\", \\\"arguments\\\": {}}</tool_call>\"}",
        "{\"x\": \"functools[{}]\"}",
        "{\"x\": \"<function=add></function>\"}",
    ];
    for family in FAMILIES {
        let constraint = offered(&spec(family, true), &Constraint::JsonObject).unwrap();
        for text in texts {
            assert!(accepts(&compiler, &constraint, text), "{family:?}: {text}");
            assert_eq!(parsed(spec(family, true), text), (Vec::new(), text.to_owned()), "{family:?}");
        }
    }
    // A model without the control token writes the mark as text.
    let text = "{\"x\": \"[TOOL_CALLS]add{}\"}";
    assert_eq!(parsed(spec(ToolFormat::Mistral, true), text), (Vec::new(), text.to_owned()));
}

#[test]
fn formats_that_are_no_json_and_families_whose_calls_are_no_json_rule_the_whole_answer() {
    let hermes = spec(ToolFormat::Hermes, true);
    for format in [Constraint::Regex("a+".to_owned()), Constraint::Choice(vec!["a".to_owned()]), Constraint::JsonSchema("{".to_owned())] {
        assert_eq!(offered(&hermes, &format), None, "{format:?}");
    }
    let long = Constraint::JsonSchema(json!({"description": "x".repeat(50_000)}).to_string());
    assert_eq!(offered(&hermes, &long), None);
    assert_eq!(offered(&OutputSpec { tools: Vec::new(), ..hermes }, &Constraint::JsonObject), None);
    for family in [ToolFormat::Pythonic, ToolFormat::FunctionXml] {
        assert_eq!(offered(&spec(family, true), &Constraint::JsonObject), None, "{family:?}");
    }
}

#[test]
fn a_grammar_that_is_too_long_for_the_engine_is_not_offered() {
    let compiler = compiler();
    let tool = |at: usize| ToolSpec { name: format!("f{at:_<127}"), parameters: json!({}), strict: false, input: ToolInput::Arguments };
    let schema = |length: usize| Constraint::JsonSchema(json!({"type": "object", "description": "x".repeat(length)}).to_string());
    for family in FAMILIES {
        let spec = OutputSpec { tools: (0..128).map(tool).collect(), ..spec(family, true) };
        let constraint = offered(&spec, &schema(10)).unwrap();
        compiler.compile(&constraint).unwrap_or_else(|error| panic!("{family:?}: {error}"));
        let Some(Constraint::Grammar(grammar)) = offered(&spec, &schema(40_000)) else { continue };
        assert!(grammar.len() <= 64 << 10, "{family:?}: {}", grammar.len());
    }
    let mistral = OutputSpec { tools: (0..128).map(tool).collect(), ..spec(ToolFormat::Mistral, true) };
    assert_eq!(offered(&mistral, &schema(40_000)), None);
}

/// A left-over of issue 13: such an answer was taken for a call.
#[test]
fn tools_are_not_offered_where_an_answer_would_look_like_a_call() {
    let answer = |required: serde_json::Value| {
        let schema = json!({"type": "object", "properties": {"name": {}, "parameters": {}, "why": {}}, "required": required});
        Constraint::JsonSchema(schema.to_string())
    };
    for family in [ToolFormat::Json, ToolFormat::Llama3Json] {
        assert_eq!(offered(&spec(family, true), &answer(json!(["name"]))), None, "{family:?}");
        assert!(offered(&spec(family, true), &answer(json!(["name", "why"]))).is_some(), "{family:?}");
    }
    assert!(offered(&spec(ToolFormat::Hermes, true), &answer(json!([]))).is_some());
}

/// A left-over of issue 13: the grammar was refused, although the schema alone is not.
#[test]
fn a_schema_that_is_too_deep_for_a_grammar_stands_alone() {
    let compiler = compiler();
    let deep = |levels: usize| {
        let schema = (0..levels).fold(json!({"type": "string"}), |inner, _| json!({"type": "object", "properties": {"a": inner}}));
        Constraint::JsonSchema(schema.to_string())
    };
    for family in FAMILIES {
        let constraint = offered(&spec(family, true), &deep(39)).unwrap();
        compiler.compile(&constraint).unwrap_or_else(|error| panic!("{family:?}: {error}"));
    }
    assert_eq!(offered(&spec(ToolFormat::Hermes, true), &deep(46)), None);
}
