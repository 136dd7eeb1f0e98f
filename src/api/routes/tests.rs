//! The server obeys the table: each row is requested without a key, with one, with another method and with too
//! long a body.

use super::*;
use crate::api::testing::{Answer, Setup, TestApp};
use axum::{body::Body, http::Request};
use std::collections::BTreeMap;

/// A path that the route answers.
fn path_of(route: &Route) -> String {
    route.path.replace("{*id}", "tiny")
}

async fn ask(app: &TestApp, method: &Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let request = headers.iter().fold(Request::builder().method(method).uri(path), |request, (name, value)| request.header(*name, *value));
    app.send(request.body(Body::from("{}")).unwrap()).await
}

fn method_of(route: &Route) -> Method {
    match route.verb {
        Verb::Get | Verb::Probe => Method::GET,
        Verb::Post => Method::POST,
    }
}

/// True if an error has the shape of the family.
fn has_shape(family: Family, body: &str) -> bool {
    let beginning = match family {
        Family::OpenAi => r#"{"error":{"message":"#,
        Family::Anthropic => r#"{"type":"error","#,
        Family::Legacy => r#"{"detail":"#,
    };
    body.starts_with(beginning)
}

const KEY: (&str, &str) = ("x-api-key", "good-key");

#[tokio::test]
async fn what_a_row_says_of_a_route_is_what_the_server_does() {
    let mut setup = Setup { keys: &["good-key"], ..Setup::default() };
    setup.config.requests_per_minute = Some(1_000_000);
    let app = TestApp::start(setup).await;

    for route in ROUTES {
        let (method, path) = (method_of(route), path_of(route));
        let keyless = ask(&app, &method, &path, &[]).await;
        let keyed = ask(&app, &method, &path, &[KEY]).await;
        let other = ask(&app, &Method::DELETE, &path, &[KEY]).await;
        let announced = [KEY, ("content-length", "4097")];
        let long = ask(&app, &method, &path, &announced).await;

        assert_eq!(keyless.status == 401, route.access == Access::Key, "{method} {path}");
        assert!(keyless.status != 401 || has_shape(route.family, &keyless.body), "{method} {path}: {}", keyless.body);
        assert!(![401, 404, 405].contains(&keyed.status.as_u16()), "{method} {path}: {keyed:?}");
        assert_eq!(keyed.headers.contains_key("x-ratelimit-limit-requests"), route.counts, "{method} {path}");
        let has_openais = route.family == Family::OpenAi || (route.family == Family::Legacy && route.counts);
        assert_eq!(keyed.headers.contains_key("openai-version"), has_openais, "{method} {path}");
        assert_eq!(other.status, 405, "{path}");
        assert!(has_shape(route.family, &other.body), "{path}: {}", other.body);
        assert_eq!((long.status.as_u16(), has_shape(route.family, &long.body)), (413, true), "{method} {path}");
    }
}

#[tokio::test]
async fn a_path_that_means_a_route_is_answered_as_that_route() {
    let app = TestApp::start(Setup { keys: &["good-key"], ..Setup::default() }).await;

    for route in ROUTES.iter().filter(|route| !["/", "/docs"].contains(&route.path)) {
        let (method, path) = (method_of(route), path_of(route));
        let right = ask(&app, &method, &path, &[KEY]).await;
        let below_v1 = path.strip_prefix("/v1").map(|below| [below.to_owned(), format!("/v1{path}"), format!("/v1//v1/v1{below}/")]);
        let slashes = [format!("{path}/"), format!("/{path}//"), path.replace('/', "//")];
        for other in slashes.into_iter().chain(below_v1.into_iter().flatten()) {
            let answer = ask(&app, &method, &format!("{other}?a=1"), &[KEY]).await;
            let keyless = ask(&app, &method, &other, &[]).await;

            assert_eq!(answer.status, right.status, "{method} {other}: {}", answer.body);
            assert_eq!(answer.header("content-type"), right.header("content-type"), "{method} {other}");
            assert_eq!(answer.headers.contains_key("openai-version"), right.headers.contains_key("openai-version"), "{method} {other}");
            assert_eq!(keyless.status == 401, route.access == Access::Key, "{method} {other}");
        }
    }
}

#[test]
fn only_slashes_and_v1_may_differ_from_the_path_of_a_route() {
    let cases = [
        ("//", "/"),
        ("/docs//", "/docs/"),
        ("/chat/completions", "/v1/chat/completions"),
        ("/messages/", "/v1/messages"),
        ("/v1/v1/messages/count_tokens", "/v1/messages/count_tokens"),
        ("/models/a/b", "/v1/models/a/b"),
    ];
    for (path, route) in cases {
        assert_eq!(respelled(path).as_deref(), Some(route), "{path}");
    }
    for path in ["/", "/docs/", "/docs/a//b", "/v1/models/a//b", "/v1/metrics", "/v1", "/v1/", "/nope", "/V1/models", "/v2/models", ""] {
        assert_eq!(respelled(path), None, "{path}");
    }
    assert!(respelled(&"/v1".repeat(5000)).is_none() && respelled(&"/".repeat(16_000)).is_some());
}

#[tokio::test]
async fn health_checks_are_answered_alike_to_get_head_and_options() {
    for allowed_origins in [vec![], vec!["*".to_owned()]] {
        for loads in [true, false] {
            let mut setup = Setup { loads, keys: &["good-key"], ..Setup::default() };
            setup.config.allowed_origins.clone_from(&allowed_origins);
            let app = TestApp::start(setup).await;
            for path in ["/", "/health", "/livez", "/readyz"] {
                let get = ask(&app, &Method::GET, path, &[]).await;
                let head = ask(&app, &Method::HEAD, path, &[]).await;
                let options = ask(&app, &Method::OPTIONS, path, &[]).await;

                assert_eq!((head.status, options.status), (get.status, get.status), "{path}");
                assert_eq!((&*head.body, &options.body), ("", &get.body), "{path}");
                assert_eq!((get.header("allow"), options.header("allow")), ("", "GET,HEAD,OPTIONS"), "{path}");
            }
        }
    }
}

#[tokio::test]
async fn a_websocket_is_refused_with_426_where_there_is_a_post() {
    let app = TestApp::start(Setup::default()).await;
    let upgrade = [("upgrade", "WebSocket"), ("connection", "upgrade"), ("sec-websocket-version", "13")];

    let openai = ask(&app, &Method::GET, "/v1/responses", &upgrade).await;
    let anthropic = ask(&app, &Method::GET, "/v1/messages", &upgrade).await;
    let plain = ask(&app, &Method::GET, "/v1/responses", &[]).await;

    assert_eq!((openai.status.as_u16(), openai.header("upgrade"), openai.header("allow")), (426, "HTTP/1.1", "POST"));
    assert!(openai.body.contains("POST to /v1/responses"), "{}", openai.body);
    assert_eq!((anthropic.status.as_u16(), has_shape(Family::Anthropic, &anthropic.body)), (426, true));
    assert_eq!(plain.status, 405);
}

#[tokio::test]
async fn the_documents_work_without_a_key_and_under_a_prefix() {
    let app = TestApp::start(Setup { keys: &["good-key"], ..Setup::default() }).await;

    let folder = app.get("/docs").await;
    let page = app.get("/docs/").await;
    let script = app.get("/docs/swagger-initializer.js").await;
    let missing = app.get("/docs/nope").await;
    let document: serde_json::Value = serde_json::from_str(&app.get("/openapi.json").await.body).unwrap();

    assert_eq!((folder.status.as_u16(), folder.header("location")), (307, "docs/"));
    assert_eq!((page.status.as_u16(), page.header("content-type")), (200, "text/html"));
    assert!(script.body.contains(r#""../openapi.json""#), "{}", script.body);
    assert_eq!((missing.status.as_u16(), missing.body.as_str()), (404, r#"{"detail":"Not Found"}"#));
    assert_eq!(document["servers"][0]["url"], "./");
}

#[tokio::test]
async fn every_example_of_the_document_names_the_served_model() {
    let mut setup = Setup::default();
    setup.config.served_model_names = vec![r#"a "model""#.to_owned()];
    let app = TestApp::start(setup).await;

    let text = app.get("/openapi.json").await.body;
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();

    assert!(!text.contains("MODEL"), "a placeholder is left");
    let bodies: Vec<_> = document["paths"].as_object().unwrap().values().filter_map(|path| path["post"].get("requestBody")).collect();
    let examples = bodies.iter().map(|body| &body["content"]["application/json"]);
    for content in examples.filter(|content| content["schema"].to_string().contains(r#""model""#)) {
        let named = content["example"].get("model").is_none_or(|name| name == r#"a "model""#);
        let of_field = &content["schema"]["properties"]["model"]["examples"][0];
        assert!(named && (of_field.is_null() || of_field == r#"a "model""#), "{content}");
    }
}

#[test]
fn routes_that_share_a_label_share_their_handler_s_documents() {
    let mut labels: BTreeMap<&str, &Route> = BTreeMap::new();
    for route in ROUTES {
        assert!(route.path.starts_with('/') && route.summary.ends_with('.') && !route.docs.is_empty(), "{}", route.path);
        assert!(route.label.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') && !route.label.is_empty(), "{}", route.label);
        let first = labels.entry(route.label).or_insert(route);
        let may_be_401 = route.docs.iter().all(|docs| docs.refusals.contains(&401));
        assert_eq!(may_be_401, route.access != Access::Open, "the documented refusals of {}", route.path);
        assert!(std::ptr::eq(first.docs, route.docs), "{} and {} are both called {}", first.path, route.path, route.label);
    }
}

#[test]
fn v1_and_what_lies_below_or_beside_it_is_openai() {
    for path in
        ["/v1", "/v1/", "/v1/completions", "/v1/nope", "/tokenize", "/infill", "/rerank", "/v2/rerank", "/score", "/tokenize/", "/models"]
    {
        assert_eq!(family_of(path), Family::OpenAi, "{path}");
    }
    for path in ["/", "/generate", "/v1x", "/v10/completions", "/x/v1/", "/x/infill", "/v2/", "/rerank/x"] {
        assert_eq!(family_of(path), Family::Legacy, "{path}");
    }
}

#[test]
fn messages_and_what_lies_below_is_anthropics() {
    for path in ["/v1/messages", "/v1/messages/", "/v1/messages/count_tokens", "/v1/messages/batches/x"] {
        assert_eq!(family_of(path), Family::Anthropic, "{path}");
    }
    assert_eq!(family_of("/v1/messagesx"), Family::OpenAi);
    assert_eq!(family_of("/messages"), Family::Anthropic);
}

#[test]
fn posts_to_generate_and_below_v1_count_be_there_a_route_or_not() {
    let counts = |method: &Method, path: &str| Rules::of(method, path).counts;

    for path in ["/generate", "/v1/completions", "/v1/nope", "/v1/models", "/rerank", "/tokenize", "/tokenizer_info"] {
        assert!(counts(&Method::POST, path), "{path}");
        assert!(!counts(&Method::GET, path), "{path}");
    }
    for path in ["/v1", "/generate/x", "/health", "/nope", "/docs"] {
        assert!(!counts(&Method::POST, path), "{path}");
    }
}

#[test]
fn open_routes_are_open_to_every_method_and_only_the_documents_have_pages_below() {
    for method in [Method::GET, Method::HEAD, Method::POST] {
        for path in ["/", "/health", "/livez", "/readyz", "/livez/", "//livez", "/docs", "/docs/x", "/openapi.json"] {
            assert_eq!(Rules::of(&method, path).access, Access::Open, "{method} {path}");
        }
        for path in ["/health/x", "/metrics", "//metrics/", "/nope", "/v1/models/x", "/docsx", "/v1/docs"] {
            assert_eq!(Rules::of(&method, path).access, Access::Key, "{method} {path}");
        }
    }
}
