//! Rerank and score over a scripted engine whose vectors are `[tokens, first, last, 0]`.

use super::super::embeddings::tests::answers;
use crate::{
    api::testing::{Setup, TestApp},
    gateway::testing::{embedding_info, model_info},
    protocol::{EmbedBatch, EmbeddingInfo, EngineCall, EngineReply, FromEngine, ModelInfo, Pooling, RankScore, ToEngine},
};
use serde_json::{Value, json};

async fn app(pooling: Pooling) -> TestApp {
    let info = EmbeddingInfo { pooling, ..embedding_info() };
    // The model gives no bound of bytes per token.
    let model =
        ModelInfo { kind: crate::protocol::ModelKind::Embeds(info), vocabulary_size: 0x11_0000, longest_piece: None, ..model_info() };
    let ranks = matches!(pooling, Pooling::Rank(_));
    let mut setup = Setup::default();
    setup.config.max_body_bytes = 2 << 20;
    TestApp::start_with(setup, model, move |message| match message {
        // A rank head's score is the number of tokens minus ten.
        ToEngine::Call { id, call: EngineCall::Embed(EmbedBatch { inputs, .. }) } if ranks => {
            let scores = inputs.iter().map(|input| vec![input.len() as f32 - 10.0]).collect();
            vec![FromEngine::Embedding(vec![id]), FromEngine::Reply { id, reply: EngineReply::Embed(Ok(scores)) }]
        }
        other => answers(other),
    })
    .await
}

async fn post(app: &TestApp, path: &str, body: Value) -> (u16, Value) {
    let answer = app.post(path, &body.to_string()).await;
    (answer.status.as_u16(), serde_json::from_str(&answer.body).unwrap())
}

fn scores(list: &Value, name: &str) -> Vec<(u64, f64)> {
    list.as_array().unwrap().iter().map(|entry| (entry["index"].as_u64().unwrap(), entry[name].as_f64().unwrap())).collect()
}

#[tokio::test]
async fn documents_are_ranked_by_the_cosine_of_an_embedding_model() {
    let app = app(Pooling::Mean).await;
    let body = json!({"model": "tiny", "query": "abcd", "documents": ["a", {"text": "wxyz"}, "abc"], "top_n": 2});

    let (status, body) = post(&app, "/rerank", body).await;

    assert_eq!(status, 200, "{body}");
    // The query has 6 tokens, the documents have 3, 6 and 5.
    let results = scores(&body["results"], "relevance_score");
    assert_eq!(results.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [1, 2]);
    assert!((results[0].1 - 1.0).abs() < 1e-9, "{body}");
    let expected = (6.0 * 5.0 + 5.0) / f64::sqrt((36.0 + 5.0) * (25.0 + 5.0));
    assert!((results[1].1 - expected).abs() < 1e-6, "{body}");
    assert_eq!(body["results"][0]["document"], json!({"text": "wxyz"}));
    assert_eq!(body["usage"], json!({"prompt_tokens": 20, "total_tokens": 20}));
    assert!(body["id"].as_str().unwrap().starts_with("rerank-"));
}

#[tokio::test]
async fn a_rank_head_reads_query_and_document_together() {
    let app = app(Pooling::Rank(RankScore::Logit)).await;
    let body = json!({"model": "tiny", "query": "ab", "documents": ["abcd", "abcde"], "return_documents": false});

    let (status, body) = post(&app, "/v1/rerank", body).await;

    assert_eq!(status, 200, "{body}");
    // 1 a b 2 a b c d 2: nine and ten tokens, so logits −1 and 0.
    let sigmoid = 1.0 / (1.0 + f64::exp(1.0));
    let results = scores(&body["results"], "relevance_score");
    assert_eq!(results[0], (1, 0.5));
    assert!(results[1].0 == 0 && (results[1].1 - sigmoid).abs() < 1e-9, "{body}");
    assert!(body["results"][0].get("document").is_none());
    assert_eq!(body["usage"]["prompt_tokens"], 19);
}

#[tokio::test]
async fn scores_are_of_one_text_with_many_or_of_pairs() {
    let app = app(Pooling::Rank(RankScore::Probability)).await;
    let score = async |left: Value, right: Value| post(&app, "/v1/score", json!({"model": "tiny", "text_1": left, "text_2": right})).await;

    let (status, one) = score(json!("abcdef"), json!("a")).await;
    assert_eq!(status, 200, "{one}");
    assert_eq!((&one["object"], &one["data"][0]["object"]), (&json!("list"), &json!("score")));
    assert_eq!(scores(&one["data"], "score"), [(0, 0.0)]);
    assert_eq!(scores(&score(json!("abcdef"), json!(["a", "ab"])).await.1["data"], "score"), [(0, 0.0), (1, 1.0)]);
    assert_eq!(scores(&score(json!(["abcdef", "abcde"]), json!(["a", "a"])).await.1["data"], "score"), [(0, 0.0), (1, -1.0)]);
    let (status, unequal) = score(json!(["a", "b"]), json!("c")).await;
    assert_eq!((status, &unequal["error"]["param"]), (400, &json!("text_1")));
}

#[tokio::test]
async fn cosines_go_by_pairs_too() {
    let app = app(Pooling::Cls).await;

    let (status, body) = post(&app, "/score", json!({"model": "tiny", "text_1": ["abc", "abcd"], "text_2": ["abc", "a"]})).await;

    assert_eq!(status, 200, "{body}");
    let results = scores(&body["data"], "score");
    assert!((results[0].1 - 1.0).abs() < 1e-9 && results[1].1 < 0.97, "{body}");
    assert_eq!(body["usage"]["prompt_tokens"], 5 + 6 + 5 + 3);
}

#[tokio::test]
async fn what_cannot_be_ranked_is_refused_by_its_place() {
    let app = app(Pooling::Rank(RankScore::Logit)).await;
    let long = "a".repeat(12);

    for (body, param) in [
        (json!({"documents": ["a"]}), "query"),
        (json!({"query": "", "documents": ["a"]}), "query"),
        (json!({"query": "a"}), "documents"),
        (json!({"query": "a", "documents": []}), "documents"),
        (json!({"query": "a", "documents": ["a", ""]}), "documents[1]"),
        (json!({"query": "a", "documents": [{"txt": "a"}]}), "documents[0].text"),
        (json!({"query": "a", "documents": [7]}), "documents[0]"),
        (json!({"query": "a", "documents": vec!["a"; 2048]}), "documents"),
        (json!({"query": "a", "documents": ["a"], "top_n": 0}), "top_n"),
        (json!({"query": "ab", "documents": ["a", long]}), "documents[1]"),
    ] {
        let mut body = body;
        body["model"] = json!("tiny");
        let (status, answer) = post(&app, "/v1/rerank", body).await;
        assert_eq!((status, &answer["error"]["param"]), (400, &json!(param)), "{answer}");
    }
}

#[tokio::test]
async fn a_pair_that_is_too_long_can_be_cut_in_its_document() {
    let app = app(Pooling::Rank(RankScore::Probability)).await;
    let body = json!({"model": "tiny", "query": "ab", "documents": ["a".repeat(40)], "truncate_prompt_tokens": 12});

    let (status, body) = post(&app, "/v1/rerank", body).await;

    assert_eq!(status, 200, "{body}");
    assert_eq!(scores(&body["results"], "relevance_score"), [(0, 2.0)]);
}

#[tokio::test]
async fn a_document_with_a_hundred_thousand_fields_is_ranked_and_a_few_of_them_are_named() {
    let app = app(Pooling::Mean).await;
    let mut document = json!({"text": "wxyz"});
    document.as_object_mut().unwrap().extend((0..100_000).map(|number| (format!("f{number:x}"), json!(1))));

    let answer = app.post("/rerank", &json!({"model": "tiny", "query": "abcd", "documents": ["a", document]}).to_string()).await;

    assert_eq!(answer.status, 200, "{}", answer.body);
    let warnings = answer.header("x-llamero-warnings");
    assert!(warnings.starts_with("ignored fields: documents[].f0, documents[].f1, ") && warnings.ends_with("and 99984 more"), "{warnings}");
}

#[tokio::test]
async fn a_query_that_fits_no_document_is_refused_by_its_name_before_it_is_copied_for_each() {
    let app = app(Pooling::Rank(RankScore::Logit)).await;
    // 2,047 copies of the query's tokens would take 4 GB.
    let body = json!({"model": "tiny", "query": "q".repeat(500_000), "documents": vec!["d"; 2047]});

    let (status, body) = post(&app, "/rerank", body).await;

    assert_eq!((status, &body["error"]["param"]), (400, &json!("query")), "{body}");
}

#[tokio::test]
async fn texts_that_cannot_fit_are_refused_before_the_engine_sees_any() {
    for pooling in [Pooling::Mean, Pooling::Rank(RankScore::Logit)] {
        let model = ModelInfo { kind: crate::protocol::ModelKind::Embeds(EmbeddingInfo { pooling, ..embedding_info() }), ..model_info() };
        let app = TestApp::start_with(Setup::default(), model, |message| match message {
            ToEngine::Call { id, call: EngineCall::Tokenize(_) } => {
                // An answer to another question is a 503: the test fails if this is asked.
                vec![FromEngine::Reply { id, reply: EngineReply::Detokenize(Ok("it was asked".to_owned())) }]
            }
            other => answers(other),
        })
        .await;
        // The model takes 16 tokens of at most 4 bytes each.
        let long = "x".repeat(65);
        for (path, body, param) in [
            ("/v1/rerank", json!({"model": "tiny", "query": long, "documents": ["a"]}), "query"),
            ("/v1/rerank", json!({"model": "tiny", "query": "a", "documents": ["a", long]}), "documents[1]"),
            ("/v1/score", json!({"model": "tiny", "text_1": long, "text_2": "a"}), "text_1"),
            ("/v1/score", json!({"model": "tiny", "text_1": "a", "text_2": ["a", long]}), "text_2[1]"),
        ] {
            let (status, answer) = post(&app, path, body).await;

            assert_eq!((status, &answer["error"]["param"]), (400, &json!(param)), "{answer}");
        }
    }
}

#[tokio::test]
async fn the_sides_of_a_score_have_vllms_other_names_too() {
    let app = app(Pooling::Rank(RankScore::Probability)).await;
    let score = async |left: &str, right: &str| {
        let body = json!({"model": "tiny", left: "abc", right: ["abc", "a"]});
        post(&app, "/v1/score", body).await
    };
    let (_, expected) = score("text_1", "text_2").await;

    for (left, right) in [("data_1", "data_2"), ("queries", "documents"), ("queries", "items")] {
        let (status, body) = score(left, right).await;
        assert_eq!((status, &body["data"]), (200, &expected["data"]), "{left} {right}");
        let (_, unequal) = post(&app, "/v1/score", json!({"model": "tiny", left: ["a", "b", "c"], right: ["a", "b"]})).await;
        assert_eq!(unequal["error"]["param"], left, "{unequal}");
        assert!(unequal.to_string().contains(&format!("'{right}' has 2")), "{unequal}");
    }
    let (status, both) = post(&app, "/v1/score", json!({"model": "tiny", "text_1": "a", "queries": "a", "text_2": "b"})).await;
    assert_eq!((status, &both["error"]["param"]), (400, &json!("queries")), "{both}");
    let (status, none) = post(&app, "/v1/score", json!({"model": "tiny", "text_1": "a"})).await;
    assert_eq!((status, &none["error"]["param"]), (400, &json!("text_2")), "{none}");
}
