//! Tests of the bound on all bodies in work together: requests that are refused, and the moment at which room is given
//! back.

use super::*;
use crate::{
    gateway::testing::model_info,
    protocol::{EngineCall, EngineReply, FromEngine, ToEngine, Token},
};
use tokio::{sync::Notify, time::timeout};

/// A body that needs half of the budget to be read as JSON.
fn costly() -> String {
    ",".repeat(4 << 20)
}

/// A route that signals when it was entered and answers on a signal, and one that answers at once.
fn gated_routes(app: &TestApp, entered: &Arc<Notify>, open: &Arc<Notify>) -> Router {
    let (entered, open) = (Arc::clone(entered), Arc::clone(open));
    let hold = async move |_body: Bytes| {
        entered.notify_one();
        open.notified().await;
    };
    let routes = Router::new().route("/v1/hold", axum::routing::post(hold)).route("/legacy", axum::routing::post(async |_: Bytes| ()));
    wrap(routes, &app.state, HostPolicy::Any).with_state(app.state.clone())
}

#[tokio::test]
async fn bodies_in_work_have_a_bound_in_all_and_for_each_key_and_what_is_beyond_it_is_a_503() {
    let mut setup = Setup { keys: &["a", "b", "c"], ..Setup::default() };
    setup.config.max_body_bytes = 8 << 20;
    let app = TestApp::start(setup).await;
    let (entered, open) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let router = gated_routes(&app, &entered, &open);
    let ask = |path: &str, key: &str, body: Body| answer_of(router.clone(), post(path).header("x-api-key", key).body(body).unwrap());
    let held = |key: &'static str| tokio::spawn(ask("/v1/hold", key, Body::from(costly())));

    let first = held("a");
    entered.notified().await;
    let of_same_key = ask("/v1/hold", "a", Body::from("x".repeat(100_000))).await;
    let in_pieces = ask("/legacy", "a", in_frames("x".repeat(100_000))).await;
    let short = ask("/legacy", "a", Body::from("x".repeat(30_000))).await;
    let of_other_key = ask("/legacy", "b", Body::from("x".repeat(100_000))).await;
    let second = held("b");
    entered.notified().await;
    let of_third_key = ask("/legacy", "c", Body::from("x".repeat(100_000))).await;

    assert_eq!((short.status.as_u16(), of_other_key.status.as_u16()), (200, 200));
    for (refused, shape) in [
        (of_same_key, r#"{"error":{"message":"The server has"#),
        (in_pieces, r#"{"detail":"The server has"#),
        (of_third_key, r#"{"detail":"#),
    ] {
        assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (503, "1"));
        assert!(refused.body.starts_with(shape), "{}", refused.body);
    }
    open.notify_one();
    open.notify_one();
    first.await.unwrap();
    open.notify_one();
    second.await.unwrap();
    assert_eq!(ask("/legacy", "a", Body::from(costly())).await.status, 200);
}

#[tokio::test]
async fn a_body_that_finds_no_room_is_refused_before_it_is_read() {
    let mut setup = Setup::default();
    setup.config.max_body_bytes = 8 << 20;
    let app = TestApp::start(setup).await;
    let (entered, open) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let router = gated_routes(&app, &entered, &open);
    let held = tokio::spawn(answer_of(router.clone(), post("/v1/hold").body(Body::from(costly())).unwrap()));
    entered.notified().await;

    let endless = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
    let answer = answer_of(router, post("/legacy").header("content-length", 100_000).body(endless).unwrap()).await;

    assert_eq!(answer.status, 503);
    held.abort();
}

#[tokio::test]
async fn a_body_whose_request_was_submitted_takes_no_room_while_the_answer_is_made() {
    let submitted = Arc::new(Notify::new());
    let told = Arc::clone(&submitted);
    let mut setup = Setup::default();
    setup.config.max_body_bytes = 8 << 20;
    // The engine never answers a submission.
    let app = TestApp::start_with(setup, model_info(), move |message| match message {
        ToEngine::Call { id, call: EngineCall::Tokenize(_) } => {
            vec![FromEngine::Reply { id, reply: EngineReply::Tokenize(Ok(vec![Token(1)])) }]
        }
        ToEngine::Submit(_) => {
            told.notify_one();
            Vec::new()
        }
        _ => Vec::new(),
    })
    .await;
    let body = format!(r#"{{"model":"tiny","prompt":"a","user":"{}"}}"#, costly());

    let until_submitted = async || loop {
        let router = app.router.clone();
        let mut asked = tokio::spawn(answer_of(router, post("/v1/completions").body(Body::from(body.clone())).unwrap()));
        tokio::select! {
            // The engine may get the previous submission a moment before its share of the budget is given back.
            answer = &mut asked => assert_eq!(answer.unwrap().status, 503),
            () = submitted.notified() => break,
        }
    };
    for _ in 0..2 {
        timeout(Duration::from_secs(60), until_submitted()).await.expect("it was submitted");
    }
}
