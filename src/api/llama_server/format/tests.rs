//! The objects that scripted events make.

use super::*;
use crate::{
    gateway::testing::{begun, token},
    protocol::SequenceId,
};

const USAGE: Usage = Usage { prompt_tokens: 10, cached_tokens: 4, completion_tokens: 2, accepted_drafts: 0, rejected_drafts: 0 };

fn head(max_tokens: u32, is_cut_short: bool) -> PromptHead {
    PromptHead {
        model: "m".into(),
        prompt: None,
        prompt_tokens: 10,
        settings: json!({"n_predict": max_tokens}),
        stop: vec!["END".into()],
        max_tokens,
        is_cut_short,
    }
}

fn format(max_tokens: u32, is_cut_short: bool) -> LlamaFormat {
    let view = AnswerView { return_tokens: true, ..AnswerView::default() };
    LlamaFormat::new(vec![head(max_tokens, is_cut_short)], 1, view, false)
}

fn event(text: &str, finish: Option<Finish>) -> GenerationEvent {
    let mut output = token(SequenceId(1), 7, text);
    output.finish = finish;
    GenerationEvent { choice: 0, output }
}

fn started(cached_tokens: u32) -> GenerationEvent {
    let mut output = begun(SequenceId(1));
    output.started = Some(Started { cached_tokens, queue_us: 0 });
    GenerationEvent { choice: 0, output }
}

/// Writes an event into an answer that is not streamed.
fn collect(format: &mut LlamaFormat, event: GenerationEvent) {
    format.chunks(event).into_iter().for_each(|chunk| format.absorb(chunk));
}

fn ended(mut format: LlamaFormat, finish: Finish) -> Value {
    collect(&mut format, event("a\n", None));
    collect(&mut format, event("b", Some(finish)));
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
fn truncated_is_true_only_where_the_context_ended_the_answer() {
    assert_eq!(ended(format(2, true), Finish::Length)["truncated"], true);
    assert_eq!(ended(format(2, false), Finish::Length)["truncated"], false);
    assert_eq!(ended(format(2, true), Finish::EndOfGeneration)["truncated"], false);
    assert_eq!(ended(format(9, true), Finish::Length)["truncated"], false, "the time was up");
}

#[test]
fn the_whole_has_text_tokens_and_counts() {
    let mut format = format(9, false);
    format.chunks(started(4));
    let whole = ended(format, Finish::EndOfGeneration);

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
    first.output.started = Some(Started { cached_tokens: 4, queue_us: 7000 });
    collect(&mut format, first);
    tokio::time::advance(Duration::from_millis(50)).await;
    collect(&mut format, event("b", Some(Finish::Length)));

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

    let view = AnswerView { return_progress: true, ..AnswerView::default() };

    let frame = LlamaFormat::new(vec![head(5, false)], 1, view, false).progress(&progress);

    let object: Value = serde_json::from_slice(frame.strip_prefix(b"data: ").unwrap()).unwrap();
    assert_eq!(object["prompt_progress"], json!({"total": 10, "cache": 2, "processed": 6, "time_ms": 5}));
    assert_eq!((&object["content"], &object["stop"], &object["tokens_evaluated"]), (&json!(""), &json!(false), &json!(10)));
}

#[test]
fn several_answers_are_an_array_in_the_order_of_their_prompts() {
    let heads = vec![head(9, false), PromptHead { prompt_tokens: 20, ..head(9, false) }];
    let mut format = LlamaFormat::new(heads, 2, AnswerView::default(), false);
    for choice in [3, 0, 2, 1] {
        let chunk = format.chunks(GenerationEvent { choice, ..event(&choice.to_string(), Some(Finish::Length)) }).unwrap();
        assert_eq!((&chunk["index"], &chunk["stop"]), (&json!(choice), &json!(false)));
        format.absorb(chunk);
    }

    let ends = format.closing(&USAGE);
    let whole = format.whole(&USAGE);

    assert!(ends.iter().all(|end| end["stop"] == true && end["content"] == "") && ends.len() == 4);
    let shown: Vec<_> = whole.as_array().unwrap().iter().map(|answer| (&answer["content"], &answer["tokens_evaluated"])).collect();
    assert_eq!(json!(shown), json!([["0", 10], ["1", 10], ["2", 20], ["3", 20]]));
}

#[test]
fn probabilities_have_ids_texts_bytes_and_alternatives() {
    let mut format = LlamaFormat::new(vec![head(9, false)], 1, AnswerView::default(), true);
    let alternative = |bytes: &[u8], logprob| TokenAlternative { token: Token(7), bytes: bytes.to_vec(), logprob };
    let mut scored = event("a", Some(Finish::Length));
    scored.output.logprobs = vec![TokenLogprob { chosen: alternative(b"a", -0.5), top: vec![alternative(b"b", -0.25)] }];

    let chunk = format.chunks(scored).unwrap();

    let expected = json!([{
        "id": 7, "token": "a", "bytes": [97], "logprob": -0.5,
        "top_logprobs": [{"id": 7, "token": "b", "bytes": [98], "logprob": -0.25}],
    }]);
    assert_eq!(chunk["completion_probabilities"], expected);
    assert_eq!(format.closing(&USAGE)[0].get("completion_probabilities"), None);
    format.absorb(chunk);
    assert_eq!(format.whole(&USAGE)["completion_probabilities"], expected);
}

#[test]
fn a_chunk_has_the_timings_so_far_where_they_were_asked_for() {
    let view = AnswerView { timings_per_token: true, ..AnswerView::default() };
    let mut format = LlamaFormat::new(vec![head(9, false)], 1, view, false);

    assert_eq!(format.chunks(event("a", None)).unwrap()["timings"]["predicted_n"], 1);
}
