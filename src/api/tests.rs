//! Requests of agents, editors and front-ends that ask for more than there is: limits above the context, many stop
//! strings, placeholders for a model. Every route answers them and names what it changed; strict requests are refused.

use super::testing::{Answer, Setup, TestApp};
use crate::{
    chat::FALLBACK,
    gateway::testing::model_info,
    protocol::{FimTokens, ModelInfo, Token},
};
use axum::{body::Body, http::Request};
use serde_json::{Value, json};

/// A route that generates text, with the names of its fields.
struct Generating {
    path: &'static str,
    body: &'static str,
    /// The fields that limit the answer.
    limits: &'static [&'static str],
    stop: &'static str,
    /// The field of the prompt's text.
    prompt: &'static str,
}

const ROUTES: [Generating; 7] = [
    Generating {
        path: "/v1/completions",
        body: r#"{"model":"tiny","prompt":"Hello"}"#,
        limits: &["max_tokens"],
        stop: "stop",
        prompt: "prompt",
    },
    Generating {
        path: "/v1/chat/completions",
        body: r#"{"model":"tiny","messages":[{"role":"user","content":"Hello"}]}"#,
        limits: &["max_completion_tokens", "max_tokens"],
        stop: "stop",
        prompt: "messages",
    },
    Generating {
        path: "/v1/responses",
        body: r#"{"model":"tiny","input":"Hello"}"#,
        limits: &["max_output_tokens"],
        stop: "stop",
        prompt: "input",
    },
    Generating {
        path: "/v1/messages",
        body: r#"{"model":"tiny","messages":[{"role":"user","content":"Hello"}],"max_tokens":9}"#,
        limits: &["max_tokens"],
        stop: "stop_sequences",
        prompt: "messages",
    },
    Generating {
        path: "/infill",
        body: r#"{"input_prefix":"Hello","input_suffix":"there","response_fields":["content"]}"#,
        limits: &["n_predict", "max_tokens"],
        stop: "stop",
        prompt: "input_prefix",
    },
    Generating { path: "/generate", body: r#"{"prompt":"Hello"}"#, limits: &["max_tokens"], stop: "stop", prompt: "prompt" },
    Generating {
        path: "/completion",
        body: r#"{"prompt":"Hello","response_fields":["content"]}"#,
        limits: &["n_predict", "max_tokens"],
        stop: "stop",
        prompt: "prompt",
    },
];

impl Generating {
    fn with(&self, field: &str, value: Value) -> Value {
        let mut body: Value = serde_json::from_str(self.body).unwrap();
        body[field] = value;
        body
    }
}

async fn app() -> TestApp {
    app_of(Setup::default()).await
}

async fn app_of(setup: Setup) -> TestApp {
    let fim = FimTokens { prefix: Token(250), suffix: Token(251), middle: Token(252), repository: None, file: None };
    let chat_templates = vec![("default".to_owned(), FALLBACK.to_owned())];
    TestApp::of_model(setup, ModelInfo { fim: Some(fim), chat_templates, ..model_info() }).await
}

async fn strictly(app: &TestApp, path: &str, body: &Value) -> Answer {
    let request = Request::post(path).header("content-type", "application/json").header("x-llamero-strict", "1");
    app.send(request.body(Body::from(body.to_string())).unwrap()).await
}

fn json_of(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.body))
}

/// The room that a submitted prompt leaves in the context.
fn room(app: &TestApp) -> u32 {
    let submitted = app.submitted();
    model_info().max_model_len - u32::try_from(submitted.last().unwrap().prompt.len()).unwrap()
}

#[tokio::test]
async fn a_limit_above_the_room_is_reduced_to_it_and_named_on_every_route() {
    let app = app().await;
    for route in &ROUTES {
        for field in route.limits {
            let body = route.with(field, json!(32_000));
            let answer = app.post(route.path, &body.to_string()).await;

            assert_eq!(answer.status, 200, "{} {}", route.path, answer.body);
            let (left, submitted) = (room(&app), app.submitted().last().unwrap().max_tokens);
            assert_eq!(submitted, left, "{} {field}", route.path);
            let warning = format!("{field} was reduced to {left}, the room that the prompt leaves in the context");
            assert_eq!(answer.header("x-llamero-warnings"), warning, "{}", route.path);
        }
    }
}

#[tokio::test]
async fn a_strict_request_with_a_limit_above_the_room_is_refused_by_the_field_that_was_sent() {
    let app = app().await;
    for route in &ROUTES {
        for field in route.limits {
            let answer = strictly(&app, route.path, &route.with(field, json!(32_000))).await;

            assert_eq!(answer.status, 400, "{} {}", route.path, answer.body);
            let refused = json_of(&answer);
            match route.path {
                "/v1/messages" => {
                    let message = refused["error"]["message"].as_str().unwrap();
                    let numbers = message.strip_prefix("input length and `max_tokens` exceed context limit: ").expect(message);
                    let (numbers, rest) = numbers.split_once(',').unwrap();
                    assert!(numbers.ends_with(" + 32000 > 128"), "{message}");
                    assert_eq!(rest, " decrease input length or `max_tokens` and try again");
                }
                "/generate" => assert!(refused["detail"].as_str().unwrap().contains("max_tokens was reduced"), "{refused}"),
                _ => assert_eq!(refused["error"]["param"], *field, "{refused}"),
            }
        }
    }
    assert!(app.submitted().is_empty());
}

#[tokio::test]
async fn minus_one_is_as_many_as_fit_and_no_reason_for_a_warning() {
    let app = app().await;
    for route in ROUTES.iter().filter(|route| !["/v1/messages", "/generate"].contains(&route.path)) {
        for field in route.limits {
            let answer = strictly(&app, route.path, &route.with(field, json!(-1))).await;

            assert_eq!(answer.status, 200, "{} {field} {}", route.path, answer.body);
            assert_eq!(app.submitted().last().unwrap().max_tokens, room(&app), "{} {field}", route.path);
        }
    }
}

#[tokio::test]
async fn a_prompt_that_does_not_fit_by_itself_is_refused_with_its_length_in_the_words_of_the_route() {
    let app = app().await;
    // Tokens are characters, and at most four bytes: the second text is known to be too long before it is tokenized.
    for (length, in_words) in [(200_u64, "200"), (2000, "at least 500")] {
        for route in ROUTES.iter().filter(|route| route.path != "/infill") {
            let text = "x".repeat(usize::try_from(length).unwrap());
            let value = if route.prompt == "messages" { json!([{"role": "user", "content": text}]) } else { json!(text) };
            let mut body = route.with(route.prompt, value);
            body[route.limits[0]] = json!(32_000);

            let answer = app.post(route.path, &body.to_string()).await;

            assert_eq!(answer.status, 400, "{} {}", route.path, answer.body);
            let refused = json_of(&answer);
            let message = refused["error"]["message"].as_str().or(refused["detail"].as_str()).unwrap();
            if route.path == "/v1/messages" {
                let numbers = message.strip_prefix("prompt is too long: ").and_then(|rest| rest.strip_suffix(" maximum"));
                let (tokens, maximum) = numbers.unwrap_or_else(|| panic!("{message}")).split_once(" tokens > ").unwrap();
                assert_eq!((tokens.parse::<u64>().unwrap() > 128, maximum), (true, "128"), "{message}");
                continue;
            }
            assert!(message.starts_with("This model's maximum context length is 128 tokens, however your prompt has "), "{message}");
            if route.path != "/v1/chat/completions" && route.path != "/v1/responses" {
                assert!(message.contains(&format!("has {in_words} tokens")), "{message}");
            }
            if route.path != "/generate" {
                let error = &refused["error"];
                assert_eq!((&error["param"], &error["code"]), (&json!(route.prompt), &json!("context_length_exceeded")), "{}", route.path);
            }
        }
    }
    assert!(app.submitted().is_empty());
}

#[tokio::test]
async fn a_prompt_that_just_fills_the_context_leaves_no_room_and_is_said_to_be_too_long() {
    let app = app().await;
    let template_tokens = {
        app.post("/v1/messages", ROUTES[3].body).await;
        app.submitted()[0].prompt.len() - "Hello".len()
    };
    let text = "x".repeat(128 - template_tokens);

    let answer = app.post("/v1/messages", &ROUTES[3].with("messages", json!([{"role": "user", "content": text}])).to_string()).await;

    assert_eq!(json_of(&answer)["error"]["message"], "prompt is too long: 128 tokens > 127 maximum");
}

#[tokio::test]
async fn sixty_four_stop_strings_are_taken_on_every_route_and_the_option_sets_their_number() {
    let (app, mut setup) = (app().await, Setup::default());
    setup.config.max_stop_strings = 2;
    let few = app_of(setup).await;
    let strings = |count: usize| json!((0..count).map(|index| format!("{index}:")).collect::<Vec<_>>());
    for route in &ROUTES {
        let ask = async |app: &TestApp, count| app.post(route.path, &route.with(route.stop, strings(count)).to_string()).await;

        let taken = ask(&app, 64).await;
        assert_eq!(taken.status, 200, "{} {}", route.path, taken.body);
        assert_eq!(app.submitted().last().unwrap().stop.len(), 64, "{}", route.path);
        assert_eq!(ask(&few, 2).await.status, 200, "{}", route.path);
        let wrong = if route.path == "/generate" { 422 } else { 400 };
        for refused in [ask(&app, 65).await, ask(&few, 3).await] {
            assert_eq!(refused.status, wrong, "{}", route.path);
            assert!(refused.body.contains(route.stop), "{} {}", route.path, refused.body);
        }
    }
}

#[tokio::test]
async fn without_a_model_or_with_a_placeholder_the_one_model_answers_and_is_named() {
    let app = app().await;
    let rows = [
        (Value::Null, "no model was named, so tiny answered"),
        (json!("gpt-4o-mini"), "model gpt-4o-mini is not served here, so tiny answered"),
        (json!(""), "the model that was named is not served here, so tiny answered"),
        (json!("Tiny"), "model Tiny is not served here, so tiny answered"),
    ];
    for route in ROUTES.iter().filter(|route| route.path.starts_with("/v1")) {
        for (name, warning) in &rows {
            let body = route.with("model", name.clone());

            let answer = app.post(route.path, &body.to_string()).await;

            assert_eq!((answer.status.as_u16(), answer.header("x-llamero-warnings")), (200, *warning), "{} {name}", route.path);
            assert_eq!(json_of(&answer)["model"], "tiny", "{} {name}", route.path);
            let refused = strictly(&app, route.path, &body).await;
            assert_eq!(refused.status, if name.is_null() { 400 } else { 404 }, "{} {name}", route.path);
        }
    }
}

#[tokio::test]
async fn where_the_model_is_optional_only_a_placeholder_is_named() {
    let app = app().await;
    let rows = [
        ("/infill", ROUTES[4].body),
        ("/completion", ROUTES[6].body),
        ("/tokenize", r#"{"prompt":"a"}"#),
        ("/tokenize", r#"{"messages":[{"role":"user","content":"a"}]}"#),
    ];
    for (path, body) in rows {
        let mut named: Value = serde_json::from_str(body).unwrap();
        named["model"] = json!("gpt");

        let (absent, other) = (strictly(&app, path, &serde_json::from_str(body).unwrap()).await, app.post(path, &named.to_string()).await);

        assert_eq!((absent.status.as_u16(), absent.header("x-llamero-warnings")), (200, ""), "{path} {}", absent.body);
        assert_eq!((other.status.as_u16(), other.header("x-llamero-warnings")), (200, "model gpt is not served here, so tiny answered"));
        assert_eq!(strictly(&app, path, &named).await.status, 404, "{path}");
    }
}
