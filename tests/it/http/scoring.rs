//! Scored prompts (`echo` with `logprobs`), and the tokens at which a generation may end.

use crate::support::{
    fake_runner::{EOG, FakeTokenizer, continuation, logits_behind},
    server::TestServer,
};
use llamero::{
    engine::runner::Tokenizer,
    protocol::{SpecialText, Token},
    sampling::{Scratch, score},
};
use serde_json::{Value, json};

fn tokens_of(prompt: &str) -> Vec<Token> {
    FakeTokenizer::default().encode(prompt, true, &SpecialText::Recognised).unwrap()
}

/// The log-probability of each token except the first.
fn expected_scores(tokens: &[Token]) -> Vec<f64> {
    let logits = logits_behind(tokens);
    let mut scratch = Scratch::default();
    let scores = logits.iter().zip(&tokens[1..]).map(|(logits, next)| score(logits, *next, 0, &mut scratch).unwrap().chosen);
    scores.map(|score| serde_json::to_string(&score).unwrap().parse().unwrap()).collect()
}

fn scores(choice: &Value) -> Vec<f64> {
    let scores = choice["logprobs"]["token_logprobs"].as_array().unwrap();
    assert!(scores[0].is_null());
    scores[1..].iter().map(|score| score.as_f64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prompts_are_scored_without_generating_whatever_is_cached_and_however_long_they_are() {
    let server = TestServer::start().await;
    let prompts =
        ["a".to_owned(), "The same beginning, one end".to_owned(), "The same beginning, another end".to_owned(), "long ".repeat(300)];
    let body = json!({"model": "fake", "prompt": prompts, "max_tokens": 0, "echo": true, "logprobs": 1});

    // The second time the whole prompt is in the prefix cache.
    for _ in 0..2 {
        let answer = server.post("/v1/completions", &body).await.json();

        for (prompt, choice) in prompts.iter().zip(answer["choices"].as_array().unwrap()) {
            let tokens = tokens_of(prompt);
            assert_eq!((&choice["text"], &choice["finish_reason"]), (&json!(prompt), &json!("length")));
            assert_eq!(scores(choice), expected_scores(&tokens), "{prompt}");
            let logprobs = &choice["logprobs"];
            let lengths = ["tokens", "token_logprobs", "top_logprobs", "text_offset"].map(|key| logprobs[key].as_array().unwrap().len());
            assert_eq!(lengths, [tokens.len(); 4], "{prompt}");
        }
        assert_eq!(
            (&answer["usage"]["completion_tokens"], &answer["usage"]["prompt_tokens_details"]["cached_tokens"]),
            (&json!(0), &json!(0))
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_likeliest_tokens_score_is_the_highest_of_its_alternatives_bit_for_bit() {
    let server = TestServer::start().await;
    let prompt: Vec<u32> = std::iter::once(104).chain(continuation(&[Token(104)], 30).iter().map(|token| token.0)).collect();
    let body = json!({"model": "fake", "prompt": [prompt], "max_tokens": 1, "echo": true, "logprobs": 1, "temperature": 0});

    let answer = server.post("/v1/completions", &body).await.json();

    let logprobs = &answer["choices"][0]["logprobs"];
    let (scores, tops) = (logprobs["token_logprobs"].as_array().unwrap(), logprobs["top_logprobs"].as_array().unwrap());
    assert_eq!(scores.len(), prompt.len() + 1);
    for (score, top) in scores.iter().zip(tops).skip(1) {
        let highest = top.as_object().unwrap().values().map(|value| value.as_f64().unwrap()).fold(f64::MIN, f64::max);
        assert_eq!(score.as_f64().unwrap(), highest, "{top}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scores_are_streamed_before_the_completion() {
    let server = TestServer::start().await;
    let prompt = "stream ".repeat(60);
    let body = json!({"model": "fake", "prompt": prompt, "max_tokens": 3, "echo": true, "logprobs": 0, "stream": true, "ignore_eos": true});

    let chunks = server.post("/v1/completions", &body).await.chunks();

    let all =
        |key: &str| -> Vec<Value> { chunks.iter().flat_map(|c| c["choices"][0]["logprobs"][key].as_array().unwrap().clone()).collect() };
    let tokens = tokens_of(&prompt);
    assert_eq!(all("tokens").len(), tokens.len() + 3);
    let scores: Vec<f64> = all("token_logprobs")[1..tokens.len()].iter().map(|score| score.as_f64().unwrap()).collect();
    assert_eq!(scores, expected_scores(&tokens));
    let text: String = chunks.iter().map(|chunk| chunk["choices"][0]["text"].as_str().unwrap()).collect();
    assert!(text.starts_with(&prompt));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_dies_while_it_scores_repeats_no_score() {
    let server = TestServer::start().await;
    let prompt = "death ".repeat(200);
    let body = json!({"model": "fake", "prompt": prompt, "max_tokens": 2, "echo": true, "logprobs": 0, "ignore_eos": true});
    server.gate().hold_after(3);

    let (answer, ()) = tokio::join!(server.post("/v1/completions", &body), async {
        server.until(|stats| stats.totals.steps >= 3).await;
        server.kill_engine();
    });

    let answer = answer.json();
    let tokens = tokens_of(&prompt);
    assert_eq!(scores(&answer["choices"][0])[..tokens.len() - 1], expected_scores(&tokens));
    assert_eq!(answer["choices"][0]["logprobs"]["tokens"].as_array().unwrap().len(), tokens.len() + 2);
}

/// A prompt after which the fake model ends within `most` tokens, but not with the first.
fn that_ends(most: u32) -> (String, usize) {
    let prompts = (0..500).map(|number| format!("end {number}"));
    let lengths = prompts.map(|prompt| {
        let length = continuation(&tokens_of(&prompt), most).len();
        (prompt, length)
    });
    let usable = |(_, length): &(String, usize)| (2..most as usize).contains(length);
    lengths.into_iter().find(usable).expect("one text in 64 ends with each token")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_ends_the_text_is_scored_behind_an_echoed_prompt() {
    let server = TestServer::start().await;
    let (prompt, length) = that_ends(20);
    let body = |echo| json!({"model": "fake", "prompt": prompt, "max_tokens": 30, "temperature": 0, "echo": echo, "logprobs": 1});

    let plain = server.post("/v1/completions", &body(false)).await.json();
    let echoed = server.post("/v1/completions", &body(true)).await.json();

    let (plain, echoed) = (&plain["choices"][0], &echoed["choices"][0]);
    let count = |choice: &Value, key: &str| choice["logprobs"][key].as_array().unwrap().len();
    assert_eq!((&echoed["finish_reason"], count(plain, "tokens")), (&json!("stop"), length - 1));
    let all = ["tokens", "token_logprobs", "top_logprobs", "text_offset"].map(|key| count(echoed, key));
    assert_eq!(all, [tokens_of(&prompt).len() + length; 4]);
    assert_eq!(echoed["text"], format!("{prompt}{}", plain["text"].as_str().unwrap()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_does_not_end_before_min_tokens() {
    let server = TestServer::start().await;
    let (prompt, length) = that_ends(20);
    let body = |min_tokens| json!({"model": "fake", "prompt": prompt, "max_tokens": 30, "temperature": 0, "min_tokens": min_tokens});

    let usual = server.post("/v1/completions", &body(0)).await.json();
    let longer = server.post("/v1/completions", &body(length + 3)).await.json();

    assert_eq!(usual["usage"]["completion_tokens"], length);
    assert!(longer["usage"]["completion_tokens"].as_u64().unwrap() >= length as u64 + 3, "{longer}");
    let (usual, longer) = (usual["choices"][0]["text"].as_str().unwrap(), longer["choices"][0]["text"].as_str().unwrap());
    assert!(longer.starts_with(usual) && longer.len() > usual.len(), "{usual:?}, {longer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_token_ends_the_text_and_is_named_and_shown_only_if_asked_for() {
    let server = TestServer::start().await;
    let tokens = continuation(&tokens_of("stop token"), 12);
    let stop = tokens[5];
    assert_ne!(stop, EOG);
    let position = tokens.iter().position(|token| *token == stop).unwrap();
    let body = |include| {
        json!({"model": "fake", "prompt": "stop token", "max_tokens": 12, "temperature": 0, "stop_token_ids": [stop.0],
            "include_stop_str_in_output": include, "return_token_ids": true})
    };
    let tokenizer = FakeTokenizer::default();
    let text = |tokens: &[Token]| -> String {
        String::from_utf8_lossy(&tokens.iter().flat_map(|token| tokenizer.piece(*token, false).to_vec()).collect::<Vec<u8>>()).into_owned()
    };

    for (include, shown) in [(false, position), (true, position + 1)] {
        let answer = server.post("/v1/completions", &body(include)).await.json();

        let choice = &answer["choices"][0];
        assert_eq!((&choice["finish_reason"], &choice["stop_reason"]), (&json!("stop"), &json!(stop.0)));
        assert_eq!(choice["text"], text(&tokens[..shown]));
        assert_eq!(choice["token_ids"], json!(tokens[..=position].iter().map(|token| token.0).collect::<Vec<_>>()));
        assert_eq!(choice["prompt_token_ids"].as_array().unwrap().len(), "stop token".len() + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_string_stays_in_the_text_if_asked_for() {
    let server = TestServer::start().await;
    let whole = continuation(&tokens_of("keep stop"), 30).len();
    assert!(whole > 20, "another prompt is needed");
    let body = |stop: Option<&str>| json!({"model": "fake", "prompt": "keep stop", "max_tokens": 30, "temperature": 0, "stop": stop, "include_stop_str_in_output": true});
    let text = server.post("/v1/completions", &body(None)).await.json()["choices"][0]["text"].as_str().unwrap().to_owned();
    let stop: String = text.chars().skip(8).take(3).collect();

    let answer = server.post("/v1/completions", &body(Some(&stop))).await.json();

    let end = text.find(&stop).unwrap() + stop.len();
    assert_eq!(answer["choices"][0]["text"], text[..end]);
    assert_eq!(answer["choices"][0]["stop_reason"], stop.as_str());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn best_of_shows_the_likeliest_candidates_and_counts_them_all() {
    let server = TestServer::start().await;
    let body = |fields: Value| {
        let mut body = json!({"model": "fake", "prompt": "dice", "max_tokens": 10, "temperature": 1.5, "seed": 3, "ignore_eos": true});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        body
    };
    let mean = |choice: &Value| {
        let scores = choice["logprobs"]["token_logprobs"].as_array().unwrap();
        scores.iter().map(|score| score.as_f64().unwrap()).sum::<f64>() / scores.len() as f64
    };
    let all = server.post("/v1/completions", &body(json!({"n": 4, "logprobs": 0}))).await.json();
    let mut expected: Vec<(f64, String)> =
        all["choices"].as_array().unwrap().iter().map(|choice| (mean(choice), choice["text"].as_str().unwrap().to_owned())).collect();
    expected.sort_by(|a, b| b.0.total_cmp(&a.0));

    let best = server.post("/v1/completions", &body(json!({"n": 2, "best_of": 4}))).await.json();

    let texts: Vec<&str> = best["choices"].as_array().unwrap().iter().map(|choice| choice["text"].as_str().unwrap()).collect();
    assert_eq!(texts, [expected[0].1.as_str(), expected[1].1.as_str()]);
    assert_eq!((&best["usage"]["completion_tokens"], &best["choices"][0]["logprobs"]), (&json!(40), &Value::Null));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prompt_that_is_too_long_is_cut_where_that_was_asked_for_and_the_answer_says_so() {
    let server = TestServer::start().await;
    let body =
        json!({"model": "fake", "prompt": "0123456789", "max_tokens": 1, "echo": true, "truncate_prompt_tokens": 4, "ignore_eos": true});

    let answer = server.post("/v1/completions", &body).await;

    assert_eq!(answer.header("x-llamero-warnings"), "the first 7 tokens of a prompt were dropped");
    let text = answer.json()["choices"][0]["text"].as_str().unwrap().to_owned();
    assert!(text.contains("789") && !text.contains('6'), "{text:?}");
    assert_eq!(answer.json()["usage"]["prompt_tokens"], 4);
}
