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
        Verb::Get => Method::GET,
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
async fn slashes_at_the_end_are_redirected_where_the_row_says_so_and_are_no_route_elsewhere() {
    let app = TestApp::start(Setup::default()).await;

    // The documents have pages below them, and the slash of `/` is its name.
    for route in ROUTES.iter().filter(|route| !["/", "/docs"].contains(&route.path)) {
        let path = path_of(route);
        let answer = ask(&app, &method_of(route), &format!("{path}//?a=1"), &[]).await;

        let expected = if route.redirects_slashes { (307, format!("{path}?a=1")) } else { (404, String::new()) };
        assert_eq!((answer.status.as_u16(), answer.header("location").to_owned()), expected, "{path}");
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
    for path in ["/v1", "/v1/", "/v1/completions", "/v1/nope", "/tokenize", "/infill", "/rerank", "/v2/rerank", "/score"] {
        assert_eq!(family_of(path), Family::OpenAi, "{path}");
    }
    for path in ["/", "/generate", "/v1x", "/v10/completions", "/x/v1/", "/tokenize/", "/x/infill", "/v2/", "/rerank/x"] {
        assert_eq!(family_of(path), Family::Legacy, "{path}");
    }
}

#[test]
fn messages_and_what_lies_below_is_anthropics() {
    for path in ["/v1/messages", "/v1/messages/", "/v1/messages/count_tokens", "/v1/messages/batches/x"] {
        assert_eq!(family_of(path), Family::Anthropic, "{path}");
    }
    assert_eq!(family_of("/v1/messagesx"), Family::OpenAi);
    assert_eq!(family_of("/messages"), Family::Legacy);
}

#[test]
fn posts_to_generate_and_below_v1_count_be_there_a_route_or_not() {
    let counts = |method: &Method, path: &str| Rules::of(method, path).counts;

    for path in ["/generate", "/v1/completions", "/v1/nope", "/v1/models", "/rerank", "/tokenize", "/tokenizer_info"] {
        assert!(counts(&Method::POST, path), "{path}");
        assert!(!counts(&Method::GET, path), "{path}");
    }
    for path in ["/v1", "/generate/", "/health", "/nope", "/docs"] {
        assert!(!counts(&Method::POST, path), "{path}");
    }
}

#[test]
fn open_routes_are_open_to_every_method_and_nothing_below_them_is() {
    for method in [Method::GET, Method::HEAD, Method::POST] {
        for path in ["/", "/health", "/livez", "/readyz"] {
            assert_eq!(Rules::of(&method, path).access, Access::Open, "{method} {path}");
        }
        for path in ["/livez/", "//livez", "/health/x", "/metrics", "/nope", "/v1/models/x", "/docs/x"] {
            assert_eq!(Rules::of(&method, path).access, Access::Key, "{method} {path}");
        }
    }
}
