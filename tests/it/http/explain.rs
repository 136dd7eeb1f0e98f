//! `/v1/explain` and the two `render` routes: their statements match the later requests.

use crate::support::{server::TestServer, shapes};
use serde_json::{Value, json};

fn complete(mut request: Value) -> Value {
    request["model"] = json!("fake");
    if request["max_tokens"].is_null() {
        request["max_tokens"] = json!(3);
    }
    request
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prompt_tokens_are_those_of_the_later_usage_for_every_shape_of_prompt() {
    let server = TestServer::start().await;
    for request in shapes::completions("fake") {
        let explained = server.post("/v1/explain", &request).await;
        let rendered = server.post("/v1/completions/render", &request).await;
        let done = server.post("/v1/completions", &request).await;

        assert_eq!((explained.status.as_u16(), done.status.as_u16()), (200, 200), "{request}: {explained:?} {done:?}");
        let usage = &done.json()["usage"];
        assert_eq!(explained.json()["prompt_tokens"], usage["prompt_tokens"], "{request}");
        let ids: usize = rendered.json().as_array().unwrap().iter().map(|prompt| prompt["token_ids"].as_array().unwrap().len()).sum();
        assert_eq!(json!(ids), usage["prompt_tokens"], "{request}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chats_prompt_is_that_of_the_later_usage_too() {
    let server = TestServer::start().await;
    for request in shapes::chats("fake") {
        let explained = server.post("/v1/explain", &request).await;
        let rendered = server.post("/v1/chat/completions/render", &request).await;
        let done = server.post("/v1/chat/completions", &request).await;

        assert_eq!((explained.status.as_u16(), done.status.as_u16()), (200, 200), "{request}: {explained:?} {done:?}");
        let usage = &done.json()["usage"];
        assert_eq!(explained.json()["prompt_tokens"], usage["prompt_tokens"], "{request}");
        assert_eq!(explained.json()["endpoint"], "/v1/chat/completions");
        assert_eq!(explained.json()["prompts"][0]["text"], rendered.json()["prompt"], "{request}");
        assert_eq!(json!(rendered.json()["token_ids"].as_array().unwrap().len()), usage["prompt_tokens"], "{request}");
        for answer in [&explained, &rendered] {
            assert_eq!(answer.header("x-llamero-warnings"), done.header("x-llamero-warnings"), "{request}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_is_explained_with_its_parameters_and_what_has_no_effect() {
    let server = TestServer::start().await;
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    let request = json!({"model": "fake", "messages": [{"role": "user", "content": "Hi"}], "tools": tools, "tool_choice": "required",
        "reasoning_effort": "low", "foo": 1, "top_k": 4, "typical_p": 0.5, "max_completion_tokens": 9});

    let told = server.post("/v1/explain", &request).await.json();
    let rendered = server.post("/v1/chat/completions/render", &request).await.json();

    assert_eq!(server.engine.stats().totals.steps, 0);
    let ignored: Vec<&str> = told["ignored_fields"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert!(["foo", "reasoning_effort"].iter().all(|name| ignored.contains(name)), "{told}");
    let parameters = &told["parameters"];
    assert_eq!((&parameters["tool_choice"], &parameters["tools"]), (&json!("required"), &json!(["f"])));
    assert_eq!((&parameters["constraint"], &parameters["skip_special_tokens"]), (&json!("json_schema"), &json!(true)));
    assert_eq!((&parameters["top_k"], &parameters["typical_p"], &parameters["max_tokens"]), (&json!(4), &json!(0.5), &json!(9)));
    assert_eq!(rendered["sampling_params"], json!({"n": 1, "max_tokens": 9}));
    assert!(rendered["request_id"].as_str().unwrap().starts_with("chatcmpl-"));
}

/// An agent's request (issue 14).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation_of_any_route_is_told_what_fills_its_prompt() {
    let server = TestServer::start().await;
    let (system, asked, said, newest) = ("s".repeat(40), "a".repeat(30), "b".repeat(20), "c".repeat(10));
    let turns = |key: &str| {
        let turn = |role: &str, text: &str| json!({"role": role, key: text});
        vec![turn("user", &asked), turn("assistant", &said), turn("user", &newest)]
    };
    let mut chat = vec![json!({"role": "system", "content": system})];
    chat.extend(turns("content"));
    let rows = [
        ("/v1/chat/completions", json!({"model": "fake", "messages": chat, "max_tokens": 3})),
        ("/v1/messages", json!({"model": "fake", "system": system, "messages": turns("content"), "max_tokens": 3})),
        ("/v1/responses", json!({"model": "fake", "instructions": system, "input": turns("content"), "max_output_tokens": 3})),
    ];
    for (endpoint, request) in rows {
        let told = server.post("/v1/explain", &request).await.json();

        let parts = &told["prompt_parts"];
        let expected = json!({"system": 40, "tools": 0, "history": 50, "newest_turn": 10, "template": parts["template"]});
        assert_eq!((&told["endpoint"], parts), (&json!(endpoint), &expected), "{told}");
        let sum: u64 = parts.as_object().unwrap().values().map(|part| part.as_u64().unwrap()).sum();
        assert_eq!(json!(sum), told["prompt_tokens"], "{told}");
    }
    let completion = server.post("/v1/explain", &complete(json!({"prompt": "a"}))).await.json();
    assert_eq!(completion["prompt_parts"], Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_be_refused_in_a_chat_is_refused_with_the_same_words() {
    let server = TestServer::start().await;
    for request in [
        json!({"model": "fake", "messages": []}),
        json!({"model": 5, "messages": [{"role": "user", "content": "Hi"}]}),
        json!({"model": "fake", "messages": [{"role": "robot", "content": "Hi"}]}),
        json!({"model": "fake", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": -2}),
        json!({"model": "fake", "messages": [{"role": "user", "content": "Hi"}], "guided_regex": "("}),
    ] {
        let done = server.post("/v1/chat/completions", &request).await;
        let explained = server.post("/v1/explain", &request).await;
        let rendered = server.post("/v1/chat/completions/render", &request).await;

        assert!(done.status.is_client_error(), "{request}: {done:?}");
        assert_eq!((explained.status, explained.json()), (done.status, done.json()), "{request}");
        assert_eq!((rendered.status, rendered.json()), (done.status, done.json()), "{request}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cached_tokens_are_those_of_the_later_usage() {
    let server = TestServer::start().await;
    let long = "a prompt that is longer than what is worth a copy, and then some more of it";
    let prompts = [long.to_owned(), long.to_owned(), format!("{long}!"), long[..50].to_owned(), "other".to_owned()];
    for prompt in prompts {
        let request = complete(json!({"prompt": prompt, "temperature": 0}));
        let explained = server.post("/v1/explain", &request).await.json();
        let done = server.post("/v1/completions", &request).await.json();

        assert_eq!(explained["cached_tokens"], done["usage"]["prompt_tokens_details"]["cached_tokens"], "{prompt}: {explained}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_runs_and_everything_is_told() {
    let server = TestServer::with(&[("rpm", "5")]).await;
    let request = json!({"model": "fake", "prompt": ["ab", "c"], "suffix": "d", "n": 2, "stop": "x", "foo": 1, "max_tokens": 9});

    let answer = server.post("/v1/explain", &request).await;

    assert_eq!(server.engine.stats().totals.steps, 0);
    let told = answer.json();
    assert_eq!(answer.header("x-llamero-warnings"), "ignored fields: foo");
    assert_eq!((&told["ignored_fields"], &told["warnings"]), (&json!(["foo"]), &json!(["ignored fields: foo"])));
    assert_eq!(told["prompts"][0], json!({"text": "<s><PRE>ab<SUF>d<MID>", "prompt_tokens": 7, "cached_tokens": 0, "max_tokens": 9}));
    assert_eq!((&told["parameters"]["temperature"], &told["parameters"]["seed"]), (&json!(1.0), &Value::Null));
    assert_eq!((&told["parameters"]["best_of"], &told["parameters"]["stop"]), (&json!(2), &json!(["x"])));
    assert_eq!(told["limits"]["context_left"], 4096 - 7 - 9);
    assert_eq!(told["limits"]["requests_per_minute"], json!({"limit": 5, "remaining": 4}));
    assert_eq!((&told["limits"]["sequences"], &told["limits"]["accepted"]), (&json!(4), &json!(true)));
    let prediction = &told["prediction"];
    assert_eq!((&prediction["queue_seconds"], &prediction["total_seconds"]), (&json!(0.0), &Value::Null), "nothing was measured yet");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_are_predicted_once_steps_were_measured() {
    let server = TestServer::start().await;
    let request = complete(json!({"prompt": "measure this prompt", "ignore_eos": true, "max_tokens": 20}));
    server.post("/v1/completions", &request).await;
    server.until(|stats| stats.gauges.running == 0).await;

    let prediction = server.post("/v1/explain", &request).await.json()["prediction"].clone();

    let seconds = |key: &str| prediction[key].as_f64().unwrap_or_else(|| panic!("{key} of {prediction}"));
    assert_eq!(seconds("queue_seconds"), 0.0);
    assert!(seconds("first_token_seconds") > 0.0 && seconds("total_seconds") > seconds("first_token_seconds"), "{prediction}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_be_refused_is_refused_with_the_same_words() {
    let server = TestServer::start().await;
    for request in [
        json!({"model": "fake"}),
        json!({"model": 5, "prompt": "a"}),
        json!({"model": "fake", "prompt": [9999]}),
        json!({"model": "fake", "prompt": "a", "max_tokens": -2}),
        json!({"model": "fake", "prompt": [97], "suffix": "b"}),
        json!({"model": "fake", "prompt": "a", "suffix": "b", "truncate_prompt_tokens": 3}),
        json!({"model": "fake", "prompt": "a", "suffix": "b", "echo": true, "logprobs": 0}),
        json!({"model": "fake", "prompt": "a", "suffix": 5}),
    ] {
        let done = server.post("/v1/completions", &request).await;
        let explained = server.post("/v1/explain", &request).await;
        let rendered = server.post("/v1/completions/render", &request).await;

        assert!(done.status.is_client_error(), "{request}: {done:?}");
        assert_eq!((explained.status, explained.json()), (done.status, done.json()), "{request}");
        assert_eq!((rendered.status, rendered.json()), (done.status, done.json()), "{request}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suffix_puts_the_prompt_in_front_of_the_hole_and_echo_shows_it_alone() {
    let server = TestServer::start().await;
    let request = json!({"model": "fake", "prompt": "ab", "suffix": "cd", "max_tokens": 4, "temperature": 0, "echo": true});

    let rendered = server.post("/v1/completions/render", &request).await.json();
    let done = server.post("/v1/completions", &request).await.json();
    let by_tokens = json!({"model": "fake", "prompt": rendered[0]["token_ids"], "max_tokens": 4, "temperature": 0});
    let same = server.post("/v1/completions", &by_tokens).await.json();

    assert_eq!(rendered[0]["token_ids"], json!([256, 265, 97, 98, 266, 99, 100, 267]));
    assert_eq!(rendered[0]["prompt"], "<s><PRE>ab<SUF>cd<MID>");
    assert_eq!(rendered[0]["sampling_params"]["max_tokens"], 4);
    let text = |answer: &Value| answer["choices"][0]["text"].as_str().unwrap().to_owned();
    assert_eq!(text(&done), format!("ab{}", text(&same)));
}
