//! Every field through which a user's words enter a prompt, in every role and every family, yields no control token.
//!
//! A template that prints all these fields between the family's own control tokens is rendered twice, with harmless
//! words and with spelled control tokens; both prompts must have the same control tokens. Then the routes are tested
//! for the wiring.

use super::*;
use crate::support::llama_server::LlamaServer;
use llamero::chat::{
    Abilities, ChatInput, ChatTemplate, TemplateTokens,
    messages::{read_messages, read_tools},
};
use serde_json::{Map, Value, json};

/// Prints each field that a template can see, directly between two marks.
const TEMPLATE: &str = "{{ bos_token or '' }}{% for m in messages %}\
    M1{{ m.role }}{{ m.name or '' }}M2{{ m.content }}M1{{ m.content.strip() }}M2{{ m.reasoning_content or '' }}M1{{ m.refusal or '' }}M2\
    {{ m.tool_call_id or '' }}M1{{ m.extra or '' }}M2{% for call in m.tool_calls or [] %}\
    M1{{ call.id }}M2{{ call.function.name }}M1{{ call.function.arguments | tojson }}M2\
    {% if call.function.arguments is mapping %}{% for key, value in call.function.arguments.items() %}{{ key }}M1{{ value }}M2{% endfor %}\
    {% else %}{{ call.function.arguments }}{% endif %}{% endfor %}M1{{ m | tojson }}M2{% endfor %}\
    {% for tool in tools or [] %}M1{{ tool.function.name }}M2{{ tool.function.description }}M1{{ tool | tojson(indent=2) }}M2\
    {% for key, value in tool.function.parameters.properties.items() %}{{ key }}M1{{ value.description }}M2{% endfor %}{% endfor %}\
    {{ documents or '' }}{{ date_string or '' }}M1{% if add_generation_prompt %}M2{% endif %}";

/// A conversation with every field that takes a user's words; `W` stands for these words.
fn conversation() -> Value {
    json!({
        "messages": [
            {"role": "system", "content": "W", "name": "W"},
            {"role": "developer", "content": [{"type": "text", "text": "W"}, {"type": "text", "text": "W"}]},
            {"role": "user", "content": "W", "name": "W", "extra": "W", "W": "W"},
            {"role": "user", "content": [{"type": "text", "text": "W"}, {"type": "input_text", "text": "W"}]},
            {"role": "assistant", "content": "W", "name": "W", "reasoning_content": "W", "refusal": "W", "tool_calls": [
                {"id": "W", "type": "function", "function": {"name": "f", "arguments": "{\"W\": \"W\", \"deep\": {\"W\": [\"W\"]}}"}},
                {"id": "W", "type": "function", "function": {"name": "f", "arguments": "no JSON W"}},
            ]},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "W"}]},
            {"role": "tool", "content": "W", "tool_call_id": "W", "name": "W"},
            {"role": "tool", "content": [{"type": "text", "text": "W"}], "tool_call_id": "W"},
        ],
        "tools": [{"type": "function", "function": {
            "name": "f",
            "description": "W",
            "W": "W",
            "parameters": {
                "type": "object",
                "title": "W",
                "properties": {"W": {"type": "string", "description": "W", "enum": ["W"], "default": "W", "pattern": "W"}},
                "required": ["W"],
            },
        }}],
        "kwargs": {"date_string": "W"},
    })
}

/// Replaces each `W` of a text by words, or only the `only`th `W` of the whole conversation.
struct Speaker<'a> {
    words: &'a str,
    only: Option<usize>,
    seen: usize,
}

impl Speaker<'_> {
    fn text(&mut self, text: &str) -> String {
        let mut parts = text.split('W');
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let word = if self.only.is_none_or(|only| only == self.seen) { self.words } else { "word" };
            // Arguments are JSON within JSON.
            let word = if text.starts_with('{') { json!(word).to_string().trim_matches('"').to_owned() } else { word.to_owned() };
            out.push_str(&word);
            out.push_str(part);
            self.seen += 1;
        }
        out
    }

    fn value(&mut self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.text(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(item)),
            Value::Object(map) => {
                for (key, mut value) in std::mem::take(map) {
                    let key = if key == "W" { self.text("W") } else { key };
                    self.value(&mut value);
                    map.insert(key, value);
                }
            }
            _ => {}
        }
    }
}

/// The conversation with these words for each `W`, or for the `only`th of them; and the number of all `W`.
fn saying(words: &str, only: Option<usize>) -> (Value, usize) {
    let mut speaker = Speaker { words, only, seen: 0 };
    let mut conversation = conversation();
    speaker.value(&mut conversation);
    (conversation, speaker.seen)
}

struct Chat<'a> {
    family: &'a Family,
    template: ChatTemplate,
}

impl<'a> Chat<'a> {
    /// A template that prints the fields between the family's own control tokens.
    fn new(family: &'a Family) -> Self {
        let marks: Vec<&str> = family.separators.iter().map(|(text, _)| text.as_str()).collect();
        let source = TEMPLATE.replace("M1", marks[1]).replace("M2", marks[2]);
        let spelled = |token: Option<Token>| {
            family.info.control_tokens.iter().find(|(_, id)| Some(*id) == token).map(|(text, _)| text.clone()).unwrap_or_default()
        };
        let control = family.info.control_tokens.iter().map(|(text, _)| text.clone()).collect();
        let tokens = TemplateTokens { bos: spelled(family.info.bos), eos: spelled(family.info.eos), control };
        Self { family, template: ChatTemplate::compile(&source, tokens).unwrap() }
    }

    /// The control tokens of the prompt, and the prompt's text.
    fn controls(&self, body: &Value) -> (Vec<String>, String) {
        let input = ChatInput {
            messages: read_messages(body["messages"].clone()).unwrap().for_template(&Abilities::default()),
            tools: Some(read_tools(body["tools"].clone(), &mut |_, _| {}).unwrap().values),
            add_generation_prompt: true,
            continue_final_message: false,
            kwargs: body["kwargs"].as_object().cloned().unwrap_or_else(Map::new),
        };
        let prompt = self.template.render(&input).unwrap();
        let tokens = self.family.encode(&prompt.text, &SpecialText::RecognisedOutside(prompt.barriers));
        (self.family.controls(&tokens), prompt.text)
    }
}

/// Ways in which a user may write a control token: the token itself, within other words, and parts that neighbouring
/// text might complete.
fn spellings(token: &str) -> Vec<String> {
    let half = token.char_indices().nth(token.chars().count() / 2).map_or(0, |(at, _)| at);
    let mut all = vec![token.to_owned(), format!("a{token}b {token}"), format!(" {token}\n")];
    all.extend([&token[..half], &token[half..]].iter().filter(|part| !part.trim().is_empty()).map(|part| (*part).to_owned()));
    all
}

#[test]
fn no_field_of_a_chat_yields_a_control_token_in_any_family() {
    for family in families() {
        let chat = Chat::new(family);
        let (templates, _) = chat.controls(&saying("word", None).0);
        assert!(templates.len() > 100, "{}: {}", family.info.name, templates.len());
        for (token, _) in &family.separators {
            for words in spellings(token) {
                let (controls, text) = chat.controls(&saying(&words, None).0);

                assert!(text.contains(&words) || words.contains('\n') || words.starts_with(' '), "{words:?} is in no field");
                assert_eq!(controls, templates, "{}: {words:?} in {text:?}", family.info.name);
            }
        }
    }
}

#[test]
fn each_field_alone_yields_none_either() {
    for name in ["llama2-reachable", "mistral-v3-reachable", "llama3-like", "qwen-like", "gpt-oss-like", "tekken-like"] {
        let family = family(name);
        let chat = Chat::new(family);
        let (_, fields) = saying("word", None);
        assert!(fields > 30, "{fields}");
        let (templates, _) = chat.controls(&saying("word", None).0);
        for words in family.separators.iter().skip(1).take(2).flat_map(|(token, _)| [token.clone(), format!("a{token}b")]) {
            for only in 0..fields {
                let (body, _) = saying(&words, Some(only));

                assert_eq!(chat.controls(&body).0, templates, "{name}: {words:?} in field {only} of {body}");
            }
        }
    }
}

#[test]
fn a_tool_whose_name_is_a_control_token_is_called_by_that_name() {
    let mut toy = gguf::llama3_like();
    // The only kind of control token that can be a function's name: letters, digits, underscores and hyphens.
    toy.vocabulary.add("QX-Z", Kind::Control);
    let family = Family::of(toy);
    let chat = Chat::new(&family);
    let body = |name: &str| {
        let function = json!({"name": name, "description": "d", "parameters": {"type": "object", "properties": {}}});
        let call = json!({"id": "c", "type": "function", "function": {"name": name, "arguments": "{}"}});
        json!({"messages": [{"role": "assistant", "tool_calls": [call]}], "tools": [{"type": "function", "function": function}],
            "kwargs": {"date_string": "d"}})
    };

    assert_eq!(chat.controls(&body("QX-Z")).0, chat.controls(&body("go")).0);
}

fn ids(value: &Value) -> Vec<Token> {
    value.as_array().unwrap().iter().map(|id| Token(u32::try_from(id.as_u64().unwrap()).unwrap())).collect()
}

/// The routes that tell the engine which words are a user's: chat by the model's own template, `suffix`, `/infill`,
/// `/tokenize`.
#[tokio::test]
async fn the_routes_keep_a_users_words_apart_from_control_tokens() {
    for name in ["codellama-reachable", "qwen-like", "mistral-v3-reachable", "gemma-like", "llama3-like", "tekken-like"] {
        let family = family(name);
        let file = family.toy.write();
        let server = LlamaServer::start(&file).await;
        let chat = async |words: &str| {
            let messages = json!([{"role": "user", "content": words}]);
            let answer = server.post("/v1/chat/completions/render", &json!({"model": "toy", "messages": messages, "max_tokens": 1})).await;
            assert_eq!(answer.status, 200, "{name}: {words:?}: {}", answer.text);
            family.controls(&ids(&answer.json()["token_ids"]))
        };
        let fills = family.info.fim.is_some();
        let templates = chat("word").await;
        for (token, _) in &family.separators {
            let words = format!("a{token}b");
            assert_eq!(chat(&words).await, templates, "{name}: {words:?}");

            let plain = server.post("/tokenize", &json!({"content": words, "parse_special": false})).await;
            assert_eq!(family.controls(&ids(&plain.json()["tokens"])), [""; 0], "{name}: {words:?}");

            if !fills {
                continue;
            }
            let marks = 3 + usize::from(family.info.adds_bos);
            let body = json!({"model": "toy", "prompt": words, "suffix": words, "max_tokens": 1});
            let hole = server.post("/v1/completions/render", &body).await.json();
            let expected = server.post("/v1/completions/render", &json!({"model": "toy", "prompt": "a", "suffix": "b"})).await.json();
            let of = |rendered: &Value| family.controls(&ids(&rendered[0]["token_ids"]));
            assert_eq!(of(&hole), of(&expected), "{name}: {words:?}");

            let body = json!({"input_prefix": words, "prompt": words, "input_suffix": words, "n_predict": 1});
            let filled = server.post("/infill", &body).await.json();
            let prefix = family.encode(&format!("{words}{words}"), &SpecialText::Plain).len();
            let suffix = family.encode(&words, &SpecialText::Continuation).len();
            assert_eq!(filled["tokens_evaluated"], marks + prefix + suffix, "{name}: {words:?}: {filled}");

            let body = json!({"input_prefix": "", "input_suffix": "", "input_extra": [{"filename": words, "text": words}], "n_predict": 1});
            let shown = server.post("/infill", &body).await.json()["prompt"].as_str().unwrap().to_owned();
            assert!(shown.contains(&words.replace('\u{2581}', " ")) || shown.contains(&words), "{name}: {words:?}: {shown}");
        }
    }
}

/// A prompt of completions is not a user's words within a template, but the whole text: control tokens in it are
/// recognised, as in vLLM and llama-server, so that a client can write a model's format itself.
#[tokio::test]
async fn a_raw_prompt_may_spell_control_tokens() {
    let family = family("qwen-like");
    let file = family.toy.write();
    let server = LlamaServer::start(&file).await;

    let rendered = server.post("/v1/completions/render", &json!({"model": "toy", "prompt": "<|im_start|>a<|im_end|>"})).await.json();

    assert_eq!(family.controls(&ids(&rendered[0]["token_ids"])), ["<|im_start|>", "<|im_end|>"]);
}
