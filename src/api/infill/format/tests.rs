//! The objects that scripted events make.

use super::*;
use crate::{
    gateway::testing::{begun, token},
    protocol::SequenceId,
};

const USAGE: Usage = Usage { prompt_tokens: 10, cached_tokens: 4, completion_tokens: 2, accepted_drafts: 0, rejected_drafts: 0 };

fn format(max_tokens: u32, is_cut_short: bool) -> InfillFormat {
    let head = InfillHead {
        model: "m".into(),
        prompt: None,
        prompt_tokens: 10,
        settings: json!({"n_predict": max_tokens}),
        max_tokens,
        is_cut_short,
    };
    InfillFormat {
        head,
        stop: vec!["END".into()],
        response_fields: vec![],
        return_tokens: true,
        shows_progress: true,
        clock: Clock { submitted: Instant::now(), queue: Duration::ZERO, first: None, last: None },
        content: String::new(),
        tokens: vec![],
        predicted: 0,
        finish: None,
    }
}

fn event(text: &str, finish: Option<Finish>) -> GenerationEvent {
    let mut output = token(SequenceId(1), 7, text);
    output.finish = finish;
    GenerationEvent { choice: 0, output }
}

fn ended(mut format: InfillFormat, finish: Finish) -> Value {
    format.chunks(event("a\n", None));
    format.chunks(event("b", Some(finish)));
    format.whole(&USAGE)
}

#[test]
fn every_end_has_its_name() {
    let name = |finish| {
        let whole = ended(format(9, false), finish);
        (whole["stop_type"].clone(), whole["stopping_word"].clone())
    };
    assert_eq!(name(Finish::EndOfGeneration), (json!("eos"), json!("")));
    assert_eq!(name(Finish::StopToken(Token(1))), (json!("eos"), json!("")));
    assert_eq!(name(Finish::StopString(0)), (json!("word"), json!("END")));
    assert_eq!(name(Finish::Length), (json!("limit"), json!("")));
}

#[test]
fn truncated_is_what_filled_the_context_before_it_was_done() {
    assert_eq!(ended(format(2, true), Finish::Length)["truncated"], true);
    assert_eq!(ended(format(2, false), Finish::Length)["truncated"], false);
    assert_eq!(ended(format(2, true), Finish::EndOfGeneration)["truncated"], false);
    assert_eq!(ended(format(9, true), Finish::Length)["truncated"], false, "the time was up");
}

#[test]
fn the_whole_has_text_tokens_and_counts() {
    let whole = ended(format(9, false), Finish::EndOfGeneration);

    assert_eq!((&whole["content"], &whole["tokens"], &whole["has_new_line"]), (&json!("a\nb"), &json!([7, 7]), &json!(true)));
    assert_eq!((&whole["tokens_predicted"], &whole["tokens_evaluated"], &whole["tokens_cached"]), (&json!(2), &json!(10), &json!(4)));
    assert_eq!((&whole["timings"]["prompt_n"], &whole["timings"]["cache_n"]), (&json!(6), &json!(4)));
}

#[test]
fn a_chunk_says_what_is_new_and_one_without_news_is_none() {
    let mut format = format(9, false);

    assert_eq!(format.chunks(GenerationEvent { choice: 0, output: begun(SequenceId(1)) }), None);
    let chunk = format.chunks(event("a", None)).unwrap();

    let expected =
        json!({"index": 0, "content": "a", "tokens": [7], "stop": false, "id_slot": -1, "tokens_predicted": 1, "tokens_evaluated": 10});
    assert_eq!(chunk, expected);
}

#[test]
fn a_prompt_that_is_only_computed_has_no_answer() {
    let mut format = format(0, false);

    assert_eq!(format.chunks(event("a", Some(Finish::EndOfGeneration))), None);

    let whole = format.whole(&USAGE);
    assert_eq!((&whole["content"], &whole["tokens_predicted"], &whole["stop_type"]), (&json!(""), &json!(0), &json!("limit")));
}

#[tokio::test(start_paused = true)]
async fn timings_leave_the_queue_out() {
    let mut format = format(9, false);
    tokio::time::advance(Duration::from_millis(107)).await;
    let mut first = event("a", None);
    first.output.started = Some(crate::protocol::Started { cached_tokens: 4, queue_us: 7000 });
    format.chunks(first);
    tokio::time::advance(Duration::from_millis(50)).await;
    format.chunks(event("b", Some(Finish::Length)));

    let timings = format.whole(&USAGE)["timings"].clone();

    assert_eq!((timings["prompt_ms"].as_f64().unwrap().round(), timings["predicted_ms"].as_f64().unwrap().round()), (100.0, 50.0));
    assert_eq!(
        (timings["prompt_per_second"].as_f64().unwrap().round(), timings["predicted_per_second"].as_f64().unwrap().round()),
        (60.0, 40.0)
    );
}

#[test]
fn the_progress_of_a_prompt_is_an_object_without_content() {
    let progress = PromptProgress { choice: 0, total: 10, cache: 2, processed: 6, time_ms: 5 };

    let frame = format(5, false).progress(&progress);

    let object: Value = serde_json::from_slice(frame.strip_prefix(b"data: ").unwrap()).unwrap();
    assert_eq!(object["prompt_progress"], json!({"total": 10, "cache": 2, "processed": 6, "time_ms": 5}));
    assert_eq!((&object["content"], &object["stop"], &object["tokens_evaluated"]), (&json!(""), &json!(false), &json!(10)));
}
