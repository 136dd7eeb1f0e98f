//! The documents agree with the code that reads the fields.

mod bench;
mod nested;
mod silence;
mod values;

use super::{
    docs::Body,
    listed::{OPERATIONS, Operation},
    *,
};
use crate::{
    api::{
        anthropic::request::{MessageRequest, MessagesEndpoint},
        error::ApiError,
        fields::{
            FieldError, Fields,
            ignored::Ignored,
            spec::{AnySpec, Support},
        },
        infill::request::InfillRequest,
        llama_server::{completion::LlamaCompletion, embedding::LlamaEmbedding, template},
        openai::{
            chat::request::ChatRequest,
            completions::request::CompletionRequest,
            embeddings::request::EmbeddingRequest,
            rerank::request::{RerankRequest, ScoreRequest},
            responses::request::ResponsesRequest,
            shared::limits::RequestLimits,
        },
        testing::{Setup, TestApp},
        tokens::{
            detokenize,
            tokenize::{TokenizeChat, TokenizeRequest},
        },
    },
    gateway::testing::embedding_info,
};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Reads a body as the route does, and returns the names that were ignored.
type Reader = fn(Fields) -> Result<Ignored, FieldError>;

const LIMITS: RequestLimits = RequestLimits { vocabulary_size: 100, max_num_seqs: 8, max_stop_strings: 4, max_logprobs: None };

/// The reader of each documented route with a body.
fn reader(operation: &Operation) -> Reader {
    match operation.path {
        "/v1/chat/completions" | "/v1/chat/completions/render" => chat,
        "/v1/explain" if operation.body.is_some_and(|body| body.required.contains(&"messages")) => chat,
        "/completion" | "/completions" if has_field(operation, "n_predict") => |mut fields| {
            fields.take("model");
            LlamaCompletion::read(fields, &LIMITS).map(|request| request.options.unknown)
        },
        "/v1/completions" | "/completions" | "/v1/completions/render" | "/v1/explain" => |mut fields| {
            fields.take("model");
            CompletionRequest::read(fields, &LIMITS).map(|request| request.unknown)
        },
        "/v1/responses" => |mut fields| {
            fields.take("model");
            ResponsesRequest::read(fields, &LIMITS).map(|request| both(request.chat.ignored_last, request.chat.ignored))
        },
        "/v1/messages" => |mut fields| {
            fields.take("model");
            MessageRequest::read(fields, MessagesEndpoint::Create, &LIMITS).map(|request| request.chat.ignored_last)
        },
        "/v1/messages/count_tokens" => |mut fields| {
            fields.take("model");
            MessageRequest::read(fields, MessagesEndpoint::Count, &LIMITS).map(|request| request.chat.ignored_last)
        },
        "/embedding" | "/embeddings" if has_field(operation, "content") => |mut fields| {
            fields.take("model");
            LlamaEmbedding::read(fields, &embedding_info(), 100).map(|request| request.unknown)
        },
        "/v1/embeddings" | "/embeddings" => |mut fields| {
            fields.take("model");
            EmbeddingRequest::read(fields, &embedding_info(), 100).map(|request| request.unknown)
        },
        "/v1/rerank" | "/v2/rerank" | "/rerank" => |mut fields| {
            fields.take("model");
            RerankRequest::read(fields, &embedding_info()).map(|request| request.unknown)
        },
        "/v1/score" | "/score" => |mut fields| {
            fields.take("model");
            ScoreRequest::read(fields, &embedding_info()).map(|request| request.unknown)
        },
        "/tokenize" if operation.body.is_some_and(|body| body.required.contains(&"messages")) => |mut fields| {
            fields.take("model");
            let request = TokenizeChat::read(&mut fields)?;
            let ignored = chat(Fields::new(request.chat))?;
            Ok(both(ignored, fields.finish()))
        },
        "/tokenize" => |mut fields| {
            fields.take("model");
            TokenizeRequest::read(&mut fields).map(|_| fields.finish())
        },
        "/detokenize" => |mut fields| {
            fields.take("model");
            detokenize::read(&mut fields, 100).map(|_| fields.finish())
        },
        "/infill" => |mut fields| {
            fields.take("model");
            InfillRequest::read(fields, &LIMITS).map(|request| request.options.unknown)
        },
        "/apply-template" => |mut fields| {
            fields.take("model");
            let ignored = chat(template::of_chat(&mut fields))?;
            Ok(both(ignored, fields.finish()))
        },
        path => panic!("{path} has a body and no reader here"),
    }
}

fn both(mut names: Ignored, others: Ignored) -> Ignored {
    names.extend(others);
    names
}

fn chat(mut fields: Fields) -> Result<Ignored, FieldError> {
    fields.take("model");
    ChatRequest::read(fields, &LIMITS).map(|request| request.ignored)
}

/// Routes whose fields are read as [`Fields`]. `/generate` reads JSON as Python does, and `silence` compares it with
/// its table.
fn has_field(operation: &Operation, name: &str) -> bool {
    fields(operation).iter().any(|field| field.name() == name)
}

fn with_bodies() -> impl Iterator<Item = &'static Operation> {
    OPERATIONS.iter().filter(|operation| operation.body.is_some() && operation.path != "/generate")
}

fn fields(operation: &Operation) -> Vec<&'static dyn AnySpec> {
    operation.body.iter().flat_map(Body::specs).collect()
}

/// The example request of a route with one more field.
fn body_with(operation: &Operation, field: &dyn AnySpec) -> Map<String, Value> {
    let mut body: Map<String, Value> = serde_json::from_str(operation.body.as_ref().unwrap().example).unwrap();
    body.insert(field.name().to_owned(), serde_json::from_str(field.example()).unwrap());
    if field.name() == "stream_options" {
        body.insert("stream".to_owned(), json!(true));
    }
    if field.name() == "tool_choice" && operation.path.starts_with("/v1/messages") {
        body.insert("tools".to_owned(), json!([{"name": "f", "input_schema": {"type": "object"}}]));
    }
    for (name, same) in [
        ("max_completion_tokens", "max_tokens"),
        ("max_tokens", "n_predict"),
        ("data_1", "text_1"),
        ("queries", "text_1"),
        ("data_2", "text_2"),
        ("items", "text_2"),
    ] {
        if field.name() == name {
            body.remove(same);
        }
    }
    if field.name() == "documents" && operation.path.ends_with("/score") {
        body.remove("text_2");
    }
    body
}

#[test]
fn every_example_of_a_field_is_json_and_every_schema_of_an_answer_is_there() {
    let document = document::document();

    assert_eq!(document["openapi"], "3.1.0");
    for operation in &*OPERATIONS {
        for field in fields(operation) {
            assert!(serde_json::from_str::<Value>(field.example()).is_ok(), "{}: {}", field.name(), field.example());
            assert!(field.about().ends_with('.'), "{}", field.name());
        }
        for (_, schema) in operation.answers {
            assert!(
                document["components"]["schemas"].get(schema).is_some(),
                "{schema}: describe this answer in src/api/openapi/schemas.json"
            );
        }
    }
}

/// JSON Schema's rule for `type` (2020-12, validation 6.1.1); generators of clients and requests refuse other
/// documents.
#[test]
fn no_list_of_types_names_one_twice() {
    fn check(value: &Value, path: &str) {
        if let Some(kinds) = value.get("type").and_then(Value::as_array) {
            let distinct: BTreeSet<String> = kinds.iter().map(Value::to_string).collect();
            assert_eq!(distinct.len(), kinds.len(), "{path}: {kinds:?}");
        }
        match value {
            Value::Object(map) => map.iter().for_each(|(key, value)| check(value, &format!("{path}.{key}"))),
            Value::Array(list) => list.iter().for_each(|value| check(value, path)),
            _ => {}
        }
    }

    check(&document::document(), "");
}

#[test]
fn a_reader_asks_for_the_fields_of_its_table_and_for_no_others() {
    for operation in with_bodies() {
        let body = serde_json::from_str(operation.body.as_ref().unwrap().example).unwrap();
        let fields_of_example = Fields::new(body);
        let asked = fields_of_example.asked();

        reader(operation)(fields_of_example).unwrap_or_else(|error| panic!("{}: {error}", operation.path));

        let documented: BTreeSet<String> = fields(operation).iter().map(|field| field.name().to_owned()).collect();
        assert_eq!(*asked.lock().unwrap(), documented, "{}", operation.path);
    }
}

#[test]
fn every_field_is_taken_or_refused_or_reported_as_its_table_says() {
    for operation in with_bodies() {
        for field in fields(operation) {
            let read = reader(operation)(Fields::new(body_with(operation, field)));

            let shown = format!("{} {}: {read:?}", operation.path, field.name());
            match field.support() {
                Support::Works | Support::Extra | Support::Accepted => assert_eq!(read, Ok(Ignored::default()), "{shown}"),
                Support::Refused => {
                    let error = read.expect_err(&shown);
                    if let Some(reason) = field.refusal() {
                        assert_eq!(error.to_string(), format!("Unsupported parameter: '{}' {reason}.", field.name()), "{shown}");
                    }
                    let error = ApiError::from(error);
                    assert_eq!((error.status().as_u16(), error.param()), (400, Some(field.name())), "{shown}");
                }
            }
        }
    }
}

/// All required fields but `model`, which is taken before the others are read.
#[test]
fn a_field_that_is_documented_as_required_is_missed() {
    for operation in with_bodies() {
        let body = operation.body.as_ref().unwrap();
        for name in body.required.iter().filter(|name| **name != "model") {
            let mut without: Map<String, Value> = serde_json::from_str(body.example).unwrap();
            without.remove(*name);

            let error = reader(operation)(Fields::new(without)).unwrap_err();

            assert_eq!(error.to_string(), format!("Missing required parameter: '{name}'."), "{}", operation.path);
        }
    }
}

/// The fields of OpenAI's `CreateCompletionRequest`.
#[test]
fn no_field_of_openais_completions_is_missing() {
    let openai = "model prompt best_of echo frequency_penalty logit_bias logprobs max_tokens n presence_penalty seed stop stream stream_options suffix temperature top_p user";
    let operation = OPERATIONS.iter().find(|operation| operation.path == "/v1/completions").unwrap();

    let documented: BTreeSet<&str> = fields(operation).iter().map(|field| field.name()).collect();

    assert!(openai.split(' ').all(|name| documented.contains(name)));
}

/// The fields of OpenAI's `CreateChatCompletionRequest`.
#[test]
fn no_field_of_openais_chat_is_missing() {
    let openai = "messages model modalities verbosity reasoning_effort max_completion_tokens frequency_penalty presence_penalty \
                  web_search_options top_logprobs response_format audio store stream stop logit_bias logprobs max_tokens n prediction seed \
                  stream_options tools tool_choice parallel_tool_calls function_call functions metadata temperature top_p user \
                  safety_identifier service_tier prompt_cache_key prompt_cache_retention";
    let operation = OPERATIONS.iter().find(|operation| operation.path == "/v1/chat/completions").unwrap();

    let documented: BTreeSet<&str> = fields(operation).iter().map(|field| field.name()).collect();

    let missing: Vec<&str> = openai.split_whitespace().filter(|name| !documented.contains(name)).collect();
    assert_eq!(missing, [""; 0]);
}

/// The fields of OpenAI's `CreateResponse`.
#[test]
fn no_field_of_openais_responses_is_missing() {
    let openai = "access_programs background background_options context_management conversation image include input instructions \
                  max_output_tokens max_tool_calls metadata model moderation parallel_tool_calls previous_response_id prompt \
                  prompt_cache_key prompt_cache_options prompt_cache_retention reasoning safety_identifier service_tier store stream \
                  stream_options temperature text tool_choice tools top_logprobs top_p truncation user";
    let operation = OPERATIONS.iter().find(|operation| operation.path == "/v1/responses").unwrap();

    let documented: BTreeSet<&str> = fields(operation).iter().map(|field| field.name()).collect();

    let missing: Vec<&str> = openai.split_whitespace().filter(|name| !documented.contains(name)).collect();
    assert_eq!(missing, [""; 0]);
}

/// The fields of Anthropic's `MessageCreateParams` (`anthropic` 2.13), those that it has had before, and those of the
/// beta API that Claude Code sends.
#[test]
fn no_field_of_anthropics_messages_is_missing() {
    let anthropic = "max_tokens messages model cache_control container diagnostics inference_geo metadata output_config service_tier \
                     speed stop_sequences stream system thinking tool_choice tools user_profile_id workspace_id temperature top_k top_p \
                     mcp_servers context_management output_format thread";
    for path in ["/v1/messages", "/v1/messages/count_tokens"] {
        let operation = OPERATIONS.iter().find(|operation| operation.path == path).unwrap();

        let documented: BTreeSet<&str> = fields(operation).iter().map(|field| field.name()).collect();

        let missing: Vec<&str> = anthropic.split_whitespace().filter(|name| !documented.contains(name)).collect();
        assert_eq!(missing, [""; 0], "{path}");
    }
}

/// `LLAMERO_WRITE_DOCS=1 cargo test --release documents` writes the file anew.
#[test]
fn the_documents_of_routes_and_fields_are_those_of_the_tables() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/API.md");
    if std::env::var_os("LLAMERO_WRITE_DOCS").is_some() {
        std::fs::write(&path, markdown::file()).unwrap();
    }

    assert!(std::fs::read_to_string(&path).unwrap() == markdown::file(), "docs/API.md is stale; see the comment of this test");
}

#[test]
fn the_readme_names_every_route() {
    let readme = include_str!("../../../README.md");

    let missing: Vec<&str> =
        OPERATIONS.iter().map(|operation| operation.path).filter(|path| !readme.contains(&format!("{path}`"))).collect();

    assert_eq!(missing, [""; 0]);
}

/// Each POST route is sent the body `{}`, which is no valid request and may be a 400.
#[tokio::test]
async fn every_documented_route_is_there() {
    let app = TestApp::start(Setup::default()).await;

    for Operation { method, path, .. } in &*OPERATIONS {
        let path = path.replace("{id}", "tiny");
        // A page of the documents follows a redirect to its folder.
        let answer = if *method == "get" { app.get(&path).await } else { app.post(&path, "{}").await };
        assert!(![404, 405].contains(&answer.status.as_u16()), "{method} {path}: {answer:?}");
    }
}
