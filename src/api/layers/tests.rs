//! Tests of the layers around the real routes, in the shapes of their families.

use super::*;
use crate::api::{
    error::ApiError,
    request_id::RequestId,
    route::Access,
    testing::{Answer, Setup, TestApp, answer_of, answer_of_exactly},
};
use axum::{
    body::{Body, Bytes},
    http::{Method, Request, Version},
    routing::get,
};
use futures_util::{StreamExt as _, stream};
use std::{convert::Infallible, time::Duration};

mod budget;
mod coding;

const GENERATE: &str = r#"{"prompt":"hello"}"#;

fn post(path: &str) -> axum::http::request::Builder {
    Request::post(path).header("content-type", "application/json")
}

async fn with_headers(app: &TestApp, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    app.send(request.body(Body::empty()).unwrap()).await
}

// === identify ===

#[tokio::test]
async fn a_sane_request_id_is_kept_and_any_other_is_replaced() {
    let app = TestApp::start(Setup::default()).await;
    let longest = "i".repeat(128);

    for sane in ["abc-1", "{}:/", &longest] {
        let answer = with_headers(&app, Method::GET, "/livez", &[("x-request-id", sane)]).await;
        assert_eq!(answer.header("x-request-id"), sane);
    }
    for odd in ["", "with space", "i\u{e9}", &"i".repeat(129)] {
        let answer = with_headers(&app, Method::GET, "/livez", &[("x-request-id", odd)]).await;
        assert_ne!(answer.header("x-request-id"), odd);
        assert_eq!(answer.header("x-request-id").len(), 32, "{odd:?}");
    }
}

// === authenticate ===

#[tokio::test]
async fn a_key_is_taken_from_each_of_its_headers() {
    let app = TestApp::start(Setup { keys: &["good-key"], ..Setup::default() }).await;

    let accepted: [&[(&str, &str)]; 7] = [
        &[("authorization", "Bearer good-key")],
        &[("authorization", "bEARER   good-key ")],
        &[("x-api-key", "good-key")],
        &[("api-key", "good-key")],
        &[("authorization", "Basic dXNlcg=="), ("x-api-key", "good-key")],
        &[("x-api-key", ""), ("authorization", "Bearer good-key")],
        &[("authorization", "Bearer good-key"), ("x-api-key", "other")],
    ];
    for headers in accepted {
        assert_eq!(with_headers(&app, Method::GET, "/metrics", headers).await.status, 200, "{headers:?}");
    }
    let refused: [&[(&str, &str)]; 7] = [
        &[],
        &[("authorization", "good-key")],
        &[("authorization", "Bearer")],
        &[("authorization", "Bearer ")],
        &[("authorization", "Bearer good-ke")],
        &[("authorization", "Bearer wrong"), ("x-api-key", "good-key")],
        &[("authorization", "Bearer good-key"), ("authorization", "Bearer good-key")],
    ];
    for headers in refused {
        assert_eq!(with_headers(&app, Method::GET, "/metrics", headers).await.status, 401, "{headers:?}");
    }
    assert_eq!(app.get("/metrics?api_key=good-key").await.status, 401);
}

#[tokio::test]
async fn everything_but_the_open_paths_needs_a_key_unknown_routes_too() {
    let app = TestApp::start(Setup { keys: &["good-key"], ..Setup::default() }).await;

    for open in ["/", "/health", "/livez", "/readyz", "/livez/", "//livez", "/docs/", "/openapi.json"] {
        assert_eq!(app.get(open).await.status, 200, "{open}");
    }
    for closed in ["/metrics", "/generate", "/nope", "/v1/models", "/v1/nope", "/livez/x", "//metrics"] {
        assert_eq!(app.get(closed).await.status, 401, "{closed}");
    }
}

#[tokio::test]
async fn a_refused_key_is_a_401_in_the_familys_shape_and_is_never_repeated() {
    let app = TestApp::start(Setup { keys: &["good-key"], ..Setup::default() }).await;

    let missing = app.post("/generate", GENERATE).await;
    let wrong = with_headers(&app, Method::POST, "/v1/completions", &[("authorization", "Bearer bad-key")]).await;

    assert_eq!((missing.status.as_u16(), missing.header("www-authenticate")), (401, "Bearer"));
    assert_eq!(missing.body, r#"{"detail":"Not authenticated"}"#);
    assert_eq!((wrong.status.as_u16(), wrong.header("www-authenticate")), (401, "Bearer"));
    assert!(wrong.body.starts_with(r#"{"error":{"message":"#), "{}", wrong.body);
    assert!(wrong.body.contains(r#""code":"invalid_api_key""#), "{}", wrong.body);
    assert!(!wrong.body.contains("bad-key"), "{}", wrong.body);
}

#[tokio::test]
async fn a_route_for_administrators_takes_no_key_yet() {
    let app = TestApp::start(Setup { keys: &["good-key"], ..Setup::default() }).await;
    let mut request = Request::get("/").header("x-api-key", "good-key").body(Body::empty()).unwrap();

    assert_eq!(authenticate(&app.state, Access::Key, &mut request), Ok(()));
    assert_eq!(authenticate(&app.state, Access::Admin, &mut request), Err(ApiError::WrongKey));
}

// === quota ===

#[tokio::test]
async fn the_request_after_the_last_of_the_quota_is_a_429_that_says_when_to_come_back() {
    let mut setup = Setup { keys: &["a", "b"], ..Setup::default() };
    setup.config.requests_per_minute = Some(2);
    let app = TestApp::start(setup).await;
    let call = async |path: &str, key: &str| app.send(post(path).header("x-api-key", key).body(Body::from(GENERATE)).unwrap()).await;

    let first = call("/generate", "a").await;
    let second = call("/generate", "a").await;
    let legacy = call("/generate", "a").await;
    let openai = call("/v1/completions", "a").await;
    let other_key = call("/generate", "b").await;

    assert_eq!((first.status.as_u16(), first.header("x-ratelimit-remaining-requests")), (200, "1"));
    assert_eq!((second.status.as_u16(), second.header("x-ratelimit-remaining-requests")), (200, "0"));
    assert_eq!(first.header("x-ratelimit-limit-requests"), "2");
    assert_eq!(first.header("x-ratelimit-reset-requests"), "30s");
    assert_eq!(other_key.status, 200);
    for (refused, shape) in [(legacy, r#"{"detail":"Rate limit"#), (openai, r#"{"error":{"message":"Rate limit"#)] {
        assert_eq!(refused.status, 429);
        assert!(refused.body.starts_with(shape), "{}", refused.body);
        assert!((1..=30).contains(&refused.header("retry-after").parse::<u32>().unwrap()));
        assert!((1..=30_000).contains(&refused.header("retry-after-ms").parse::<u32>().unwrap()));
        assert_eq!(refused.header("x-ratelimit-remaining-requests"), "0");
        assert!(refused.header("x-ratelimit-reset-requests").ends_with('s'));
    }
}

#[tokio::test]
async fn only_generations_count_and_refused_keys_do_not() {
    let mut setup = Setup { keys: &["a"], ..Setup::default() };
    setup.config.requests_per_minute = Some(1);
    let app = TestApp::start(setup).await;

    for _ in 0..5 {
        assert_eq!(app.post("/generate", GENERATE).await.status, 401);
        assert_eq!(with_headers(&app, Method::GET, "/metrics", &[("x-api-key", "a")]).await.status, 200);
        assert_eq!(app.get("/health").await.status, 200);
    }
    let generation = app.send(post("/generate").header("x-api-key", "a").body(Body::from(GENERATE)).unwrap()).await;

    assert_eq!(generation.status, 200);
}

// === body ===

/// A body in frames, without an announced length.
fn in_frames(body: String) -> Body {
    let frames: Vec<Bytes> = body.into_bytes().chunks(100).map(Bytes::copy_from_slice).collect();
    Body::from_stream(stream::iter(frames).map(Ok::<_, Infallible>))
}

fn prompt_of_size(bytes: usize) -> String {
    let frame = r#"{"prompt":"a","x":""}"#.len();
    format!(r#"{{"prompt":"a","x":"{}"}}"#, "x".repeat(bytes - frame))
}

#[tokio::test]
async fn a_body_of_the_limit_is_read_and_one_byte_more_is_a_413_that_names_the_limit() {
    let app = TestApp::start(Setup::default()).await;

    for body in [Body::from(prompt_of_size(4096)), in_frames(prompt_of_size(4096))] {
        assert_eq!(app.send(post("/generate").body(body).unwrap()).await.status, 200);
    }
    for (path, shape) in [("/generate", r#"{"detail":"#), ("/v1/completions", r#"{"error":{"#)] {
        for size in [4097, 4 * 4096 + 1] {
            let announced = post(path).header("content-length", size).body(Body::from(prompt_of_size(size))).unwrap();
            let unannounced = post(path).body(in_frames(prompt_of_size(size))).unwrap();
            for request in [announced, unannounced] {
                let answer = app.send(request).await;

                assert_eq!(answer.status, 413, "{path} {size}");
                assert!(answer.body.starts_with(shape) && answer.body.contains("4096 bytes"), "{}", answer.body);
            }
        }
    }
}

#[tokio::test]
async fn a_route_may_have_a_limit_of_its_own() {
    let app = TestApp::start(Setup::default()).await;
    let rules = Rules { body_limit: Some(10), ..Rules::of(&Method::POST, "/generate") };
    let buffer = async |length: usize| {
        let request = post("/generate").body(Body::from("x".repeat(length))).unwrap();
        let mut part = Arc::new(BodyBudget::default()).part(0);
        body::buffer(&app.state, &rules, request, &mut part).await.map(drop).map_err(|refusal| refusal.status().as_u16())
    };

    assert_eq!((buffer(10).await, buffer(11).await), (Ok(()), Err(413)));
}

#[tokio::test]
async fn a_client_that_asks_first_is_refused_before_it_sends() {
    let app = TestApp::start(Setup::default()).await;
    let request = post("/generate").header("content-length", 4097).header("expect", "100-continue");

    let answer = app.send(request.body(Body::from_stream(stream::pending::<Result<Bytes, Infallible>>())).unwrap()).await;

    assert_eq!(answer.status, 413);
}

#[tokio::test]
async fn a_body_that_does_not_arrive_in_time_is_a_408() {
    let mut setup = Setup::default();
    setup.config.body_timeout = Duration::from_millis(5);
    let app = TestApp::start(setup).await;
    let endless = || Body::from_stream(stream::iter([Ok::<_, Infallible>(Bytes::from("{"))]).chain(stream::pending()));

    let legacy = app.send(post("/generate").body(endless()).unwrap()).await;
    let openai = app.send(post("/v1/completions").body(endless()).unwrap()).await;

    assert_eq!((legacy.status.as_u16(), legacy.header("connection")), (408, "close"));
    assert!(legacy.body.starts_with(r#"{"detail":"#), "{}", legacy.body);
    assert_eq!((openai.status.as_u16(), openai.header("connection")), (408, "close"));
    assert!(openai.body.contains(r#""type":"timeout""#), "{}", openai.body);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_a_400() {
    let app = TestApp::start(Setup::default()).await;
    let broken = Body::from_stream(stream::iter([Ok(Bytes::from("{")), Err(std::io::Error::other("reset"))]));

    let answer = app.send(post("/generate").body(broken).unwrap()).await;

    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (400, r#"{"detail":"The request body could not be read."}"#));
}

// === heavy ===

#[tokio::test]
async fn a_long_body_is_answered_on_a_thread_of_its_own_with_the_request_s_id_and_log_line() {
    async fn here(body: Bytes) -> String {
        crate::api::request_log::has_line();
        let thread = std::thread::current();
        format!("{} {} {}", body.len(), thread.name().unwrap_or_default(), RequestId::present().unwrap().as_str())
    }
    let mut setup = Setup::default();
    setup.config.max_body_bytes = 1 << 20;
    let app = TestApp::start(setup).await;
    let router = wrap(Router::new().route("/here", axum::routing::post(here)), &app.state, HostPolicy::Any).with_state(app.state.clone());
    let ask = async |length: usize| {
        let request = post("/here").header("x-request-id", "mine").body(Body::from("x".repeat(length))).unwrap();
        answer_of(router.clone(), request).await.body
    };

    assert_eq!(ask(65536).await, "65536 llamero-heavy mine");
    let short = ask(65535).await;
    assert!(short.starts_with("65535 ") && !short.contains("heavy") && short.ends_with(" mine"), "{short}");
}

#[tokio::test]
async fn a_panic_over_a_long_body_is_a_500_too() {
    async fn boom() {
        panic!("boom")
    }
    let mut setup = Setup::default();
    setup.config.max_body_bytes = 1 << 20;
    let app = TestApp::start(setup).await;
    let router = wrap(Router::new().route("/boom", axum::routing::post(boom)), &app.state, HostPolicy::Any).with_state(app.state.clone());

    let answer = answer_of(router, post("/boom").body(Body::from("x".repeat(100_000))).unwrap()).await;

    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (500, "Internal Server Error"));
}

// === recover ===

#[tokio::test]
async fn a_panic_is_a_500_in_the_familys_shape_and_says_nothing_of_its_cause() {
    async fn boom() {
        panic!("secret path")
    }
    let app = TestApp::start(Setup::default()).await;
    let routes = Router::new().route("/boom", get(boom)).route("/v1/boom", get(boom));
    let router = wrap(routes, &app.state, HostPolicy::Any).with_state(app.state.clone());

    let legacy = answer_of(router.clone(), Request::get("/boom").body(Body::empty()).unwrap()).await;
    let openai = answer_of(router, Request::get("/v1/boom").body(Body::empty()).unwrap()).await;

    assert_eq!((legacy.status.as_u16(), legacy.body.as_str()), (500, "Internal Server Error"));
    assert_eq!(legacy.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(openai.status, 500);
    assert!(openai.body.contains(r#""code":"internal_error""#) && !openai.body.contains("secret"), "{}", openai.body);
    assert_eq!(openai.header("x-request-id").len(), 32);
}

// === stamp ===

#[tokio::test]
async fn generations_and_v1_carry_openais_headers_and_nothing_else_does() {
    let app = TestApp::start(Setup::default()).await;

    for answer in [app.post("/generate", GENERATE).await, app.get("/v1/nope").await] {
        assert_eq!(answer.header("openai-version"), "2020-10-01");
        assert!(answer.header("openai-processing-ms").parse::<u64>().unwrap() < 60_000);
    }
    let probe = app.get("/livez").await;
    assert_eq!((probe.header("openai-version"), probe.header("openai-processing-ms")), ("", ""));
}

// === cors ===

async fn preflight(app: &TestApp, origin: &str) -> Answer {
    let headers = [
        ("origin", origin),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,content-type,x-stainless-lang"),
    ];
    with_headers(app, Method::OPTIONS, "/generate", &headers).await
}

#[tokio::test]
async fn a_configured_origin_may_call_with_the_sdks_headers_and_read_ours_without_a_key_for_the_preflight() {
    let mut setup = Setup { keys: &["key"], ..Setup::default() };
    setup.config.allowed_origins = vec!["https://app.example/".to_owned()];
    let app = TestApp::start(setup).await;

    let allowed = preflight(&app, "https://app.example").await;
    let other = preflight(&app, "https://evil.example").await;
    let refused = with_headers(&app, Method::GET, "/metrics", &[("origin", "https://app.example")]).await;

    assert_eq!(allowed.status, 200);
    assert_eq!(allowed.header("access-control-allow-origin"), "https://app.example");
    assert!(allowed.header("access-control-allow-headers").contains("x-stainless-lang"));
    assert!(allowed.header("access-control-allow-methods").contains("POST"));
    assert_eq!((other.status.as_u16(), other.header("access-control-allow-origin")), (403, ""));
    assert!(other.body.contains("--cors-origins https://evil.example"), "{}", other.body);
    assert_eq!((refused.status.as_u16(), refused.header("access-control-allow-origin")), (401, "https://app.example"));
    for name in ["x-request-id", "x-ratelimit-remaining-requests", "retry-after-ms", "openai-processing-ms", "x-llamero-warnings"] {
        assert!(refused.header("access-control-expose-headers").contains(name), "{name}");
    }
}

#[tokio::test]
async fn a_star_allows_every_origin() {
    let mut setup = Setup::default();
    setup.config.allowed_origins = vec!["*".to_owned()];
    let app = TestApp::start(setup).await;

    assert_eq!(preflight(&app, "https://any.example").await.header("access-control-allow-origin"), "*");
}

#[tokio::test]
async fn on_loopback_without_keys_pages_of_this_machine_may_call_and_read_without_any_option() {
    let app = on_loopback(&["llm.example"]).await;

    for origin in ["http://localhost:3000", "http://127.0.0.1:8080", "http://[::1]:5173", "https://app.localhost", "https://llm.example"] {
        let allowed = preflight(&app, origin).await;
        assert_eq!((allowed.status.as_u16(), allowed.header("access-control-allow-origin")), (200, origin));
        assert!(allowed.header("access-control-allow-headers").contains("x-stainless-lang"), "{origin}");
        let answer = with_headers(&app, Method::GET, "/v1/models", &[("host", "localhost:8000"), ("origin", origin)]).await;
        assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (200, origin));
        assert!(answer.header("vary").to_ascii_lowercase().contains("origin"), "{origin}");
    }
}

#[tokio::test]
async fn other_pages_are_refused_and_told_the_option_that_allows_them() {
    for app in [on_loopback(&[]).await, TestApp::start(Setup::default()).await] {
        for origin in ["https://app.example", "http://localhost.evil.example:3000", "file://localhost"] {
            let refused = preflight(&app, origin).await;

            assert_eq!((refused.status.as_u16(), refused.header("access-control-allow-origin")), (403, ""), "{origin}");
            assert!(refused.body.contains(&format!("Allow them with --cors-origins {origin}.")), "{}", refused.body);
        }
    }
    let long = preflight(&on_loopback(&[]).await, &format!("https://{}", "x".repeat(5000))).await;
    assert!(long.body.len() < 500, "{}", long.body);
}

#[tokio::test]
async fn a_server_with_keys_or_for_other_machines_allows_no_page_by_itself() {
    let app = TestApp::start(Setup::default()).await;

    let answer = preflight(&app, "http://localhost:3000").await;

    assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (403, ""));
    let read = with_headers(&app, Method::GET, "/v1/models", &[("origin", "http://localhost:3000")]).await;
    assert_eq!((read.status.as_u16(), read.header("access-control-allow-origin")), (200, ""));
}

// === hosts ===

async fn on_loopback(allowed_hosts: &[&str]) -> TestApp {
    let allowed_hosts = allowed_hosts.iter().map(|host| (*host).to_owned()).collect();
    TestApp::start(Setup { hosts: HostPolicy::ThisMachine { allowed_hosts, allowed_origins: [].into() }, ..Setup::default() }).await
}

#[tokio::test]
async fn on_loopback_without_keys_foreign_hosts_and_origins_are_refused_in_the_familys_shape() {
    let app = on_loopback(&[]).await;

    let status = async |path: &str, headers: &[(&str, &str)]| with_headers(&app, Method::GET, path, headers).await.status.as_u16();
    assert_eq!(status("/metrics", &[("host", "localhost:8000")]).await, 200);
    assert_eq!(status("/metrics", &[("host", "127.0.0.1:8000"), ("origin", "http://localhost:3000")]).await, 200);
    assert_eq!(status("/metrics", &[("host", "localhost"), ("origin", "https://evil.example")]).await, 403);
    assert_eq!(status("/metrics", &[("host", "localhost"), ("host", "evil.example")]).await, 400);
    assert_eq!(status("http://evil.example/metrics", &[("host", "localhost")]).await, 403);
    let legacy = with_headers(&app, Method::GET, "/metrics", &[("host", "evil.example")]).await;
    let openai = with_headers(&app, Method::GET, "/v1/models", &[("host", "evil.example"), ("origin", "http://evil.example")]).await;
    let page = with_headers(&app, Method::GET, "/v1/models", &[("host", "localhost"), ("origin", "https://evil.example")]).await;
    assert_eq!(legacy.status, 403);
    assert!(legacy.body.starts_with(r#"{"detail":"The host name 'evil.example'"#), "{}", legacy.body);
    assert!(openai.body.contains(r#""type":"permission_error""#) && openai.body.contains("--allowed-hosts"), "{}", openai.body);
    assert!(page.body.contains("origin 'https://evil.example'") && page.body.contains("--cors-origins"), "{}", page.body);
    assert!(page.body.contains(r#""code":"origin_not_allowed""#), "{}", page.body);
}

#[tokio::test]
async fn an_allowed_host_may_be_called_by_its_name_and_from_its_own_pages() {
    let app = on_loopback(&["llm.example"]).await;
    let any = on_loopback(&["*"]).await;

    let status = async |app: &TestApp, host: &str, origin: &str| {
        with_headers(app, Method::GET, "/metrics", &[("host", host), ("origin", origin)]).await.status.as_u16()
    };
    assert_eq!(status(&app, "llm.example:8000", "http://llm.example:8000").await, 200);
    assert_eq!(status(&app, "localhost:8000", "https://llm.example").await, 200, "a proxy may send its own host");
    assert_eq!(status(&app, "llm.example", "https://evil.example").await, 403);
    assert_eq!(status(&app, "other.example", "http://other.example").await, 403);
    assert_eq!(status(&any, "other.example", "http://other.example").await, 200);
    assert_eq!(status(&any, "other.example", "http://evil.example").await, 403);
}

#[tokio::test]
async fn health_checks_may_name_any_host() {
    let app = on_loopback(&[]).await;

    for path in ["/", "/health", "/livez", "/readyz"] {
        for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
            assert_eq!(with_headers(&app, method.clone(), path, &[("host", "10.1.2.3:8000")]).await.status, 200, "{method} {path}");
        }
        assert_eq!(with_headers(&app, Method::POST, path, &[("host", "10.1.2.3:8000")]).await.status, 403, "{path}");
    }
}

#[tokio::test]
async fn of_http_1_1_one_sound_host_is_required_and_of_1_0_none() {
    let app = TestApp::start(Setup { keys: &["key"], ..Setup::default() }).await;
    let ask = async |path: &str, version: Version, hosts: &[&str]| {
        let request = hosts.iter().fold(Request::get(path).version(version), |request, host| request.header("host", *host));
        answer_of_exactly(app.router.clone(), request.body(Body::empty()).unwrap()).await
    };

    for hosts in [&[][..], &["a", "a"], &["a b"], &["user@a"]] {
        let legacy = ask("/livez", Version::HTTP_11, hosts).await;
        let openai = ask("/v1/models", Version::HTTP_11, hosts).await;
        let anthropic = ask("/v1/messages", Version::HTTP_11, hosts).await;
        assert_eq!([legacy.status, openai.status, anthropic.status], [400; 3], "{hosts:?}");
        assert!(legacy.body.starts_with(r#"{"detail":"The "#), "{}", legacy.body);
        assert!(openai.body.contains(r#""type":"invalid_request_error""#), "{}", openai.body);
        assert!(anthropic.body.starts_with(r#"{"type":"error","#), "{}", anthropic.body);
    }
    assert_eq!(ask("/livez", Version::HTTP_11, &["a"]).await.status, 200);
    assert_eq!(ask("/livez", Version::HTTP_11, &[""]).await.status, 200);
    assert_eq!(ask("/livez", Version::HTTP_10, &[]).await.status, 200);
    assert_eq!(ask("/livez", Version::HTTP_10, &["a", "a"]).await.status, 400);
}

// === routes ===

#[tokio::test]
async fn unknown_routes_and_methods_are_refused_in_the_familys_shape() {
    let app = TestApp::start(Setup::default()).await;

    let unknown = app.get("/v1/nope").await;
    let method = with_headers(&app, Method::DELETE, "/readyz", &[]).await;

    assert_eq!(unknown.status, 404);
    assert!(unknown.body.contains(r#""message":"Invalid URL (GET /v1/nope)""#), "{}", unknown.body);
    assert_eq!((method.status.as_u16(), method.header("allow")), (405, "GET,HEAD,OPTIONS"));
    assert_eq!(method.body, r#"{"detail":"Method Not Allowed"}"#);
}
