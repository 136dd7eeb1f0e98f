//! Nothing is ignored in silence: each field of each specification, with a value that is not its default, changes the
//! sequences or the answer, or is named in `x-llamero-warnings`, or is refused by its name.
//!
//! Fields of the tables are walked by themselves; those inside other fields, and those that no table names, stand here.
//! Fields without effect by their nature are in [`BY_NATURE`] with the reason, and nowhere else.

use super::{
    bench::{Bench, POOR, RICH, Seen},
    fields,
    nested::{CHAT, COMPLETIONS},
    *,
};
use crate::surrogates;

/// A field, the fields that it needs beside it to have an effect, and a value that is not its default; pointer and JSON
/// texts.
pub(super) type Case = (&'static str, &'static str, &'static str);

/// Fields without effect, with the reason.
const BY_NATURE: &[(&str, &str)] = &[
    ("user", "for the operator's books; never logged"),
    ("metadata", "for the operator's books; never logged"),
    ("safety_identifier", "for the operator's books; never logged"),
    ("prompt_cache_key", "prompts are cached by what they say"),
    ("prompt_cache_retention", "what is used least leaves the cache first"),
    ("service_tier", "there is one tier"),
    ("prediction", "it makes an answer faster, not different"),
    ("response_format.json_schema.name", "a label, which OpenAI requires"),
    ("response_format.json_schema.strict", "a schema is always obeyed"),
    ("access_programs", "there are none"),
    ("max_tool_calls", "it limits tools that do not run here, and is repeated in the answer"),
    ("image", "no image is read"),
    ("cache_control", "what prompts have in common is always cached"),
    ("inference_geo", "the answer is made here"),
    ("user_profile_id", "for the operator's books; never logged"),
    ("workspace_id", "for the operator's books; never logged"),
    ("mirostat_tau", "a parameter of mirostat, which is not there"),
    ("mirostat_eta", "a parameter of mirostat, which is not there"),
    ("messages[].tool_call_id", "which call a result belongs to is said by their order; templates that print it are given it"),
    ("t_max_predict_ms", "it acts after a time, and the engine of this test takes none"),
];

/// The fields that a documented field needs beside it, and a value that differs from its default where the table's
/// example does not.
const DOCUMENTED: &[Case] = &[
    ("/stream_options", r#"{"stream":true}"#, r#"{"include_usage":true}"#),
    ("/top_logprobs", r#"{"logprobs":true}"#, "2"),
    ("/dry_base", r#"{"dry_multiplier":1}"#, "3"),
    ("/dry_allowed_length", r#"{"dry_multiplier":1}"#, "5"),
    ("/dry_penalty_last_n", r#"{"dry_multiplier":1}"#, "64"),
    ("/dry_sequence_breakers", r#"{"dry_multiplier":1}"#, r#"["x"]"#),
    ("/suffix", "{}", "\"x\""),
    ("/max_completion_tokens", r#"{"max_tokens":null}"#, "5"),
    ("/modalities", "{}", r#"["text","audio"]"#),
    ("/audio", "{}", r#"{"voice":"x"}"#),
    ("/verbosity", "{}", "\"low\""),
    ("/tool_choice", r#"{"tools":[{"type":"function","function":{"name":"f"}}]}"#, "\"required\""),
    ("/parallel_tool_calls", r#"{"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"required"}"#, "false"),
    ("/store", "{}", "true"),
    ("/separate_reasoning", "{}", "false"),
    ("/stream_reasoning", "{}", "false"),
    ("/no_stop_trim", "{}", "true"),
    ("/return_hidden_states", "{}", "true"),
    ("/continue_final_message", r#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}"#, "true"),
    ("/truncate_prompt_tokens", "{}", "4"),
    ("/content", "{}", "\"x\""),
    ("/add_special", "{}", "false"),
    ("/add_special_tokens", "{}", "false"),
    ("/dimensions", "{}", "2"),
    ("/top_k", "{}", "7"),
    ("/min_p", "{}", "0.3"),
    ("/cache_prompt", "{}", "false"),
    ("/n_indent", "{}", "5"),
    ("/n_keep", "{}", "5"),
    ("/n_cache_reuse", "{}", "5"),
    ("/t_max_prompt_ms", "{}", "5"),
    ("/timings_per_token", "{}", "true"),
    ("/return_progress", "{}", "true"),
    ("/id_slot", "{}", "5"),
    ("/min_keep", "{}", "5"),
    ("/post_sampling_probs", "{}", "true"),
    ("/n_discard", "{}", "5"),
    ("/sse_ping_interval", "{}", "5"),
    ("/lora", "{}", r#"[{"id":0,"scale":1}]"#),
    ("/mirostat", "{}", "2"),
    ("/repeat_last_n", "{}", "7"),
    ("/n_predict", "{}", "5"),
    ("/top_n", "{}", "1"),
    ("/model", "{}", "\"other\""),
];

/// As [`DOCUMENTED`], for routes whose field of this name is a different one.
const OF_ROUTES: &[(&str, Case)] = &[
    ("/v1/responses", ("/tool_choice", r#"{"tools":[{"type":"function","name":"f","parameters":{}}]}"#, "\"required\"")),
    (
        "/v1/responses",
        ("/parallel_tool_calls", r#"{"tools":[{"type":"function","name":"f","parameters":{}}],"tool_choice":"required"}"#, "false"),
    ),
    ("/infill", ("/max_tokens", r#"{"n_predict":null}"#, "5")),
    ("/v1/responses", ("/truncation", "{}", "\"auto\"")),
    ("/v1/responses", ("/context_management", "{}", r#"[{"type":"compaction"}]"#)),
    ("/v1/responses", ("/moderation", "{}", r#"{"model":"x"}"#)),
    ("/v1/responses", ("/background_options", "{}", r#"{"completion_window":"2h"}"#)),
    ("/v1/responses", ("/prompt_cache_options", "{}", r#"{"prewarm":true}"#)),
    ("/v1/messages", ("/tool_choice", r#"{"tools":[{"name":"f","input_schema":{"type":"object"}}]}"#, r#"{"type":"any"}"#)),
    ("/v1/messages", ("/speed", "{}", "\"fast\"")),
    ("/v1/messages", ("/diagnostics", "{}", r#"{"previous_message_id":"x"}"#)),
    // The embeddings of other routes are asked for by `input`.
    ("/embedding", ("/content", "{}", "\"other\"")),
    ("/embedding", ("/input", "{}", "\"other\"")),
    // Each chunk of a stream has the timings.
    ("/completion", ("/timings_per_token", r#"{"stream":true}"#, "true")),
    ("/infill", ("/timings_per_token", r#"{"stream":true}"#, "true")),
    ("/completion", ("/max_tokens", "{}", "5")),
    ("/apply-template", ("/tools", "{}", r#"[{"type":"function","function":{"name":"f"}}]"#)),
    ("/apply-template", ("/chat_template_kwargs", "{}", r#"{"frobnicate":true}"#)),
    ("/v1/messages", ("/context_management", "{}", r#"{"edits":[{"type":"x"}]}"#)),
];

/// Names of fields of vLLM, its router and llama-server that no table has.
const OTHERS: &str = "priority cache_salt timeout length_penalty early_stopping spaces_between_special_tokens detokenize \
    return_tokens_as_token_ids request_id kv_transfer_params vllm_xargs mm_processor_kwargs logprob_token_ids thinking_token_budget \
    cached_content moderation frobnicate";

/// The routes that are walked, with a request of each; `seed` and `max_tokens` so that two answers can be compared.
const ROUTES: &[(&str, &str)] = &[
    ("/v1/completions", r#"{"model":"tiny","prompt":"Hello","seed":1,"max_tokens":9}"#),
    ("/v1/chat/completions", r#"{"model":"tiny","messages":[{"role":"user","content":"Hello"}],"seed":1,"max_tokens":9}"#),
    ("/v1/responses", r#"{"model":"tiny","input":"Hello","seed":1,"max_output_tokens":9}"#),
    ("/v1/messages", r#"{"model":"tiny","messages":[{"role":"user","content":"Hello"}],"seed":1,"max_tokens":9}"#),
    ("/v1/embeddings", r#"{"model":"tiny","input":"Hello there"}"#),
    ("/v1/rerank", r#"{"model":"tiny","query":"Hello","documents":["there","now"]}"#),
    ("/v1/score", r#"{"model":"tiny","text_1":"Hello","text_2":["there"]}"#),
    ("/infill", r#"{"input_prefix":"Hello","input_suffix":"there","seed":1,"n_predict":9}"#),
    ("/completion", r#"{"prompt":"Hello","seed":1,"n_predict":9}"#),
    ("/embedding", r#"{"content":"Hello there"}"#),
    ("/apply-template", r#"{"messages":[{"role":"user","content":"Hello"}]}"#),
    ("/tokenize", r#"{"prompt":"Hello"}"#),
    ("/detokenize", r#"{"tokens":[72,73]}"#),
    ("/generate", r#"{"prompt":"Hello","max_tokens":9,"temperature":0}"#),
];

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// `/messages/1/tool_calls/0/id` as the server names it: `messages[].tool_calls[].id`.
fn name_of(pointer: &str) -> String {
    let mut name = String::new();
    for part in pointer.split('/').skip(1) {
        if part.parse::<usize>().is_ok() {
            name.push_str("[]");
        } else {
            if !name.is_empty() {
                name.push('.');
            }
            name.push_str(part);
        }
    }
    name
}

/// True if a warning names the field, or one that it is in.
fn names(warnings: &str, field: &str) -> bool {
    let words = warnings.split([' ', ',', ';', ':']).filter(|word| !word.is_empty());
    words.into_iter().any(|word| field == word || field.strip_prefix(word).is_some_and(|rest| rest.starts_with(['.', '['])))
}

/// Sends a request with and without a field. Returns the fault, if there is one.
async fn fault(bench: &Bench, path: &str, body: &Value, (pointer, beside, value): Case) -> Option<String> {
    let field = name_of(pointer);
    let first = field.split(['.', '[']).next().unwrap_or_default().to_owned();
    let mut without = body.clone();
    for (key, value) in parse(beside).as_object().unwrap() {
        without[key] = value.clone();
    }
    let mut with = without.clone();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    with.pointer_mut(parent).expect("its place is there")[key] = parse(value);
    let before = bench.post(path, &without).await;
    let after = bench.post(path, &with).await;
    let short = |seen: &Seen| format!("{seen:?}").chars().take(400).collect::<String>();
    let told = |what: &str| Some(format!("{path} {field} = {value}: {what}\n  without {}\n  with    {}", short(&before), short(&after)));
    if before.status != 200 {
        return told("the request without it is no request");
    }
    match after {
        Seen { status: 400..=499, ref param, .. } if param.as_deref().is_some_and(|param| param.starts_with(&first)) => None,
        Seen { status: 200, ref warnings, .. } if names(warnings, &field) => {
            let strict = bench.post_strictly(path, &with).await;
            // FastAPI's and Anthropic's shapes have no place for a field's name.
            // A strict request for a model that is not served is a 404.
            if [400, 404].contains(&strict.status) && (strict.param.is_some() || ["/generate", "/v1/messages"].contains(&path)) {
                None
            } else {
                told("it is reported, and a strict request goes on")
            }
        }
        Seen { status: 200, .. } if after != before => None,
        Seen { status: 200, .. } if BY_NATURE.iter().any(|(name, _)| *name == field) => None,
        Seen { status: 200, .. } => told("it is ignored in silence"),
        Seen { .. } => told("it is refused by another name, or fails"),
    }
}

/// Every field of a route: those of its tables, those inside them, and unknown ones.
fn cases(path: &str) -> Vec<Case> {
    let operation = OPERATIONS.iter().find(|operation| operation.path == path).unwrap();
    let pointer = |name: &str| -> &'static str { Box::leak(format!("/{name}").into_boxed_str()) };
    let of_table = |field: &'static dyn AnySpec| {
        let at = pointer(field.name());
        let of_route = OF_ROUTES.iter().filter(|(route, _)| *route == path).map(|(_, case)| *case);
        let told = of_route.chain(DOCUMENTED.iter().copied()).find(|(name, ..)| *name == at && field.support() != Support::Refused);
        told.unwrap_or((at, "{}", field.example()))
    };
    let nested = match path {
        "/v1/completions" => COMPLETIONS,
        "/v1/chat/completions" => CHAT,
        _ => &[],
    };
    let others = OTHERS.split_whitespace().map(|name| (pointer(name), "{}", "1"));
    fields(operation).into_iter().map(of_table).chain(nested.iter().copied()).chain(others).collect()
}

async fn faults(bench: &Bench, path: &str, body: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for case in cases(path) {
        faults.extend(fault(bench, path, &parse(body), case).await);
    }
    faults
}

#[tokio::test]
async fn no_field_of_any_route_is_ignored_in_silence() {
    let (generating, embedding) = (Bench::generating(RICH).await, Bench::embedding().await);
    let mut all = Vec::new();
    for (path, body) in ROUTES {
        let embeds = ["/v1/embeddings", "/embedding", "/v1/rerank", "/v1/score"].contains(path);
        all.extend(faults(if embeds { &embedding } else { &generating }, path, body).await);
    }

    assert!(all.is_empty(), "{} faults:\n{}", all.len(), all.join("\n"));
}

#[tokio::test]
async fn an_escape_of_half_a_character_is_read_on_every_route_and_reported_once() {
    let (generating, embedding) = (Bench::generating(RICH).await, Bench::embedding().await);
    let halves = |body: &str| {
        let body = body.replace("\"Hello", r#""\ude00Hello\ud83d\ude00"#);
        format!(r#"{},"x\ud83d":"\ud83d"}}"#, body.strip_suffix('}').unwrap())
    };
    for (path, body) in ROUTES {
        let embeds = ["/v1/embeddings", "/embedding", "/v1/rerank", "/v1/score"].contains(path);
        let bench = if embeds { &embedding } else { &generating };

        let seen = bench.send(path, halves(body), "0").await;
        assert_eq!((seen.status, seen.warnings.matches(surrogates::REPLACED).count()), (200, 1), "{path}: {seen:?}");
        assert_eq!(bench.send(path, halves(body), "1").await.status, 400, "{path}");
        let whole = bench.send(path, body.replace("\"Hello", r#""Hello\ud83d\ude00"#), "0").await;
        assert_eq!((whole.status, whole.warnings.contains("U+FFFD")), (200, false), "{path}: {whole:?}");
    }
}

#[tokio::test]
async fn what_a_models_template_does_not_show_is_reported() {
    let bench = Bench::generating(POOR).await;

    let mut faults = faults(&bench, "/v1/chat/completions", ROUTES[1].1).await;
    // The model of this bench marks no reasoning, so there is none to hide.
    faults.retain(|fault| !fault.contains("include_reasoning = false"));

    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn names_are_those_of_the_server() {
    assert_eq!(name_of("/messages/1/tool_calls/0/id"), "messages[].tool_calls[].id");
    assert!(names("ignored fields: a, tools", "tools[].function.name") && names("ignored fields: a.b", "a.b"));
    assert!(!names("ignored fields: tool", "tools") && !names("", "a"));
}
