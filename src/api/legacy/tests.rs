//! The legacy routes as a client sees them, first of all against the answers of real FastAPI
//! (`tests/fixtures/fastapi.txt`).

use crate::api::testing::{Answer, Setup, TestApp};
use axum::{
    body::Body,
    http::{Method, Request},
};
use std::collections::BTreeSet;

const GOLDEN: &str = include_str!("../../../tests/fixtures/fastapi.txt");

/// A line of the golden file.
#[derive(Debug)]
struct Golden<'a> {
    name: &'a str,
    status: u16,
    content_type: &'a str,
    /// A Python dict of at most one header.
    headers: &'a str,
    body: &'a str,
}

fn golden() -> Vec<Golden<'static>> {
    let parse = |line: &'static str| {
        let (name, rest) = line.split_once(" -> ").unwrap();
        let (status, rest) = rest.split_once(' ').unwrap();
        let (before, rest) = rest.split_once('{').unwrap();
        let (headers, body) = rest.split_once('}').unwrap();
        Golden { name, status: status.parse().unwrap(), content_type: before.trim(), headers, body: body.trim() }
    };
    GOLDEN.lines().skip(1).map(parse).collect()
}

/// The bodies that were posted to `/generate`, by the name of their case.
const BODIES: [(&str, &str); 24] = [
    ("missing", "{}"),
    ("badint", r#"{"prompt":"a","max_tokens":"x"}"#),
    ("strint", r#"{"prompt":"a","max_tokens":"100"}"#),
    ("floatint", r#"{"prompt":"a","max_tokens":100.0}"#),
    ("floatfrac", r#"{"prompt":"a","max_tokens":100.5}"#),
    ("boolint", r#"{"prompt":"a","max_tokens":true}"#),
    ("stopstr", r#"{"prompt":"a","stop":"x"}"#),
    ("stopints", r#"{"prompt":"a","stop":[1]}"#),
    ("promptint", r#"{"prompt":5}"#),
    ("promptnull", r#"{"prompt":null}"#),
    ("nulls", r#"{"prompt":"a","max_tokens":null,"stop":null}"#),
    ("badjson", r#"{"prompt": }"#),
    ("badjson2", "{prompt:1}"),
    ("badjson3", r#"{"prompt":"a",}"#),
    ("empty", ""),
    ("list", "[1]"),
    ("str", r#""abc""#),
    ("extra", r#"{"prompt":"a","foo":1}"#),
    ("tempstr", r#"{"prompt":"a","temperature":"hot"}"#),
    ("two", r#"{"max_tokens":"x"}"#),
    ("bigint", r#"{"prompt":"a","max_tokens":99999999999999999999}"#),
    ("form-ct", r#"{"prompt":"a"}"#),
    ("text-ct", r#"{"prompt":"a"}"#),
    ("vnd+json", r#"{"prompt":"a"}"#),
];

/// Cases that other tests cover, with the reason.
const ELSEWHERE: [(&str, &str); 10] = [
    ("nan", "we answer 422: request/tests.rs"),
    ("no-ct", "we read it as JSON: request/tests.rs"),
    ("badutf8", "request/tests.rs"),
    ("boom", "layers/tests.rs"),
    ("slash", "we answer at once: routes/tests.rs"),
    ("head", "we answer as GET: routes/tests.rs"),
    ("opts", "we answer as GET: routes/tests.rs"),
    ("503", "below"),
    ("sec", "below"),
    ("sec-bad", "below"),
];

/// The requests that are no post to `/generate`.
const CALLS: [(&str, Method, &str); 3] =
    [("get", Method::GET, "/generate"), ("404", Method::GET, "/nope"), ("health", Method::GET, "/health")];

async fn replay(app: &TestApp, name: &str) -> Option<Answer> {
    if let Some((_, body)) = BODIES.iter().find(|(case, _)| *case == name) {
        let content_type = match name {
            "form-ct" => "application/x-www-form-urlencoded",
            "text-ct" => "text/plain",
            "vnd+json" => "application/vnd.api+json",
            _ => "application/json",
        };
        let request = Request::post("/generate").header("content-type", content_type);
        return Some(app.send(request.body(Body::from(*body)).unwrap()).await);
    }
    let (_, method, path) = CALLS.iter().find(|(case, ..)| *case == name)?;
    Some(app.send(Request::builder().method(method).uri(*path).body(Body::empty()).unwrap()).await)
}

#[tokio::test]
async fn every_case_of_the_golden_file_is_answered_as_fastapi_did() {
    let app = TestApp::start(Setup::default()).await;
    let mut seen = BTreeSet::new();
    for golden in golden() {
        seen.insert(golden.name);
        let Some(answer) = replay(&app, golden.name).await else {
            assert!(ELSEWHERE.iter().any(|(name, _)| *name == golden.name), "no case for {golden:?}");
            continue;
        };

        assert_eq!(answer.status.as_u16(), golden.status, "{golden:?} {answer:?}");
        if let Some((name, value)) = golden.headers.split_once(": ") {
            assert_eq!(answer.header(name.trim_matches('\'')), value.trim_matches('\''), "{golden:?}");
        }
        if golden.content_type != "None" {
            assert_eq!(answer.header("content-type"), golden.content_type, "{golden:?}");
        }
        // FastAPI's 200 echoes the fields; `request/tests.rs` compares them.
        if golden.status != 200 || golden.name == "health" {
            assert_eq!(answer.body, golden.body, "{golden:?}");
        }
    }
    let cases: BTreeSet<&str> = BODIES.iter().map(|(name, _)| *name).chain(CALLS.iter().map(|(name, ..)| *name)).collect();
    assert!(cases.is_subset(&seen), "cases without a golden line: {:?}", cases.difference(&seen));
}

fn golden_body(name: &str) -> &'static str {
    golden().into_iter().find(|golden| golden.name == name).unwrap().body
}

#[tokio::test]
async fn before_the_model_is_loaded_generate_is_the_golden_503_and_health_says_loading() {
    let app = TestApp::start(Setup { loads: false, ..Setup::default() }).await;

    let generate = app.post("/generate", r#"{"prompt":"a"}"#).await;
    let health = app.get("/health").await;
    let ready = app.get("/readyz").await;

    assert_eq!((generate.status.as_u16(), generate.body.as_str()), (503, golden_body("503")));
    assert_eq!((generate.header("retry-after"), generate.header("retry-after-ms")), ("2", "2000"));
    assert_eq!((health.status.as_u16(), health.header("retry-after")), (503, "2"));
    assert_eq!(health.body, r#"{"status":"loading","model_loaded":false,"load_percent":0}"#);
    assert_eq!(ready.status, 503);
    assert_eq!(app.get("/livez").await.status, 200);
    assert_eq!(app.get("/").await.status, 200);
}

#[tokio::test]
async fn without_credentials_the_answer_is_the_golden_401() {
    let app = TestApp::start(Setup { keys: &["key"], ..Setup::default() }).await;

    for (case, header) in [("sec", ("x-none", "")), ("sec-bad", ("authorization", "Basic dXNlcg=="))] {
        let request = Request::post("/generate").header("content-type", "application/json").header(header.0, header.1);
        let answer = app.send(request.body(Body::from(r#"{"prompt":"a"}"#)).unwrap()).await;

        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (401, golden_body(case)), "{case}");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
}

#[tokio::test]
async fn the_answer_has_the_completion_alone_the_prompt_and_the_model() {
    let app = TestApp::start(Setup::default()).await;

    let answer = app.post("/generate", r#"{"prompt":"hello \"é\""}"#).await;

    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/json"));
    assert_eq!(answer.body, r#"{"text":" world","prompt":"hello \"é\"","model":"tiny"}"#);
    assert_eq!(answer.header("x-llamero-warnings"), "");
}

#[tokio::test]
async fn parameters_and_defaults_reach_the_engine() {
    let app = TestApp::start(Setup { keys: &["key"], ..Setup::default() }).await;
    let send = async |body: &'static str| {
        let request = Request::post("/generate").header("x-api-key", "key").header("content-type", "application/json");
        assert_eq!(app.send(request.body(Body::from(body)).unwrap()).await.status, 200, "{body}");
    };

    send(r#"{"prompt":"ab"}"#).await;
    send(r#"{"prompt":"ab","max_tokens":7,"temperature":0.000001,"top_p":1e-60,"stop":["\n","END"]}"#).await;

    let [default, explicit] = app.submitted().try_into().unwrap();
    assert_eq!(default.prompt.iter().map(|token| token.0).collect::<Vec<_>>(), [97, 98]);
    assert_eq!((default.max_tokens, default.sampling.temperature, default.sampling.top_p), (100, 0.7, 0.9));
    assert_eq!((default.sampling.top_k, default.sampling.min_p, default.sampling.repetition_penalty), (0, 0.0, 1.0));
    assert_eq!((default.logprobs, default.ignore_eos), (None, false));
    assert!(default.stop.is_empty());
    assert_eq!((explicit.max_tokens, explicit.sampling.temperature), (7, 0.0));
    assert!(explicit.sampling.top_p > 0.0);
    assert_eq!(explicit.stop, ["\n", "END"]);
    assert_ne!(default.sampling.seed, explicit.sampling.seed, "each request draws its own");
    // sha256("key") = 2c70e12b 7a0646f9 …
    assert_eq!((default.namespace, explicit.namespace), (0x2c70_e12b_7a06_46f9, 0x2c70_e12b_7a06_46f9));
}

#[tokio::test]
async fn max_tokens_beyond_the_context_is_reduced_and_said_aloud() {
    let app = TestApp::start(Setup::default()).await;

    // The context has 128 tokens, the prompt 5.
    let fits = app.post("/generate", r#"{"prompt":"hello","max_tokens":123}"#).await;
    let reduced = app.post("/generate", r#"{"prompt":"hello","max_tokens":124}"#).await;
    let huge = app.post("/generate", r#"{"prompt":"hello","max_tokens":99999999999999999999}"#).await;

    assert_eq!((fits.status.as_u16(), fits.header("x-llamero-warnings")), (200, ""));
    let warning = "max_tokens was reduced to 123, the room that the prompt leaves in the context";
    assert_eq!((reduced.status.as_u16(), reduced.header("x-llamero-warnings")), (200, warning));
    assert_eq!((huge.status.as_u16(), huge.header("x-llamero-warnings")), (200, warning));
    assert!(app.submitted().iter().all(|request| request.max_tokens == 123));
}

#[tokio::test]
async fn a_prompt_that_fills_the_context_is_a_400_and_one_token_less_is_not() {
    let app = TestApp::start(Setup::default()).await;
    let call = async |tokens: usize| app.post("/generate", &format!(r#"{{"prompt":"{}"}}"#, "a".repeat(tokens))).await;

    let fits = call(127).await;
    let full = call(128).await;
    let empty = call(0).await;

    assert_eq!(fits.status, 200);
    assert_eq!(full.status, 400);
    assert!(full.body.starts_with(r#"{"detail":"This model's maximum context length is 128 tokens"#), "{}", full.body);
    assert_eq!(empty.status, 400);
    assert_eq!(empty.body, r#"{"detail":"The prompt has no tokens. Please send at least one character."}"#);
}

#[tokio::test]
async fn ignored_fields_are_named_in_a_header_however_odd_their_names_are() {
    let app = TestApp::start(Setup::default()).await;
    let many: String = (0..40).map(|number| format!(r#""field{number}":1,"#)).collect();

    let few = app.post("/generate", r#"{"prompt":"a","stream":true,"a\r\nb: é":1}"#).await;
    let more = app.post("/generate", &format!(r#"{{{many}"prompt":"a"}}"#)).await;

    assert_eq!(few.header("x-llamero-warnings"), "ignored fields: stream, ab:");
    assert!(more.header("x-llamero-warnings").ends_with("field15, and 24 more"), "{}", more.header("x-llamero-warnings"));
}

#[tokio::test]
async fn the_root_names_the_model() {
    let app = TestApp::start(Setup::default()).await;

    assert_eq!(app.get("/").await.body, r#"{"message":"llamero is running","model":"tiny"}"#);
}
