//! Tests of figures from records with known times, and of a run against a server with scripted answers.

use super::{
    client::Client,
    compare, html, load,
    plan::{Action, Arrival, BenchPlan, Slo, Workload, command, read},
    plot::cumulative,
    record::{BenchRun, RequestRecord},
    report::Report,
    summary::{Summary, Times},
    workload::{Group, bench_requests},
};
use axum::{Router, http::StatusCode, routing::get, routing::post};
use std::time::Duration;

fn plan(arguments: &[&str]) -> BenchPlan {
    let words = std::iter::once("bench").chain(arguments.iter().copied());
    match read(&mut command().try_get_matches_from(words).unwrap()) {
        Action::Measure(plan) => *plan,
        Action::Compare { .. } => panic!("{arguments:?} compares"),
    }
}

fn record(pieces: &[f64], completion_tokens: u64) -> RequestRecord {
    RequestRecord {
        group: Group::Requests,
        index: 0,
        prompt: "p".into(),
        start: 0.5,
        pieces: pieces.to_vec(),
        total: pieces.last().copied().unwrap_or(0.0),
        completion_tokens,
        prompt_tokens: 10,
        cached_tokens: 4,
        text: String::new(),
        error: None,
    }
}

fn run(records: Vec<RequestRecord>) -> BenchRun {
    BenchRun { records, duration: Duration::from_secs(2) }
}

#[test]
fn options_become_a_plan() {
    let plan = plan(&["--url", "http://h:1/v1/", "--workload", "w4", "--rate", "2.5", "--slo-ttft-ms", "200"]);

    assert_eq!((plan.url.as_str(), plan.workload), ("http://h:1", Workload::W4));
    assert_eq!((plan.arrival, plan.requests), (Arrival::Open { per_second: 2.5 }, 32));
    assert_eq!(plan.slo, Slo { ttft_ms: Some(200.0), ..Slo::default() });
}

#[test]
fn two_ways_to_arrive_and_a_rate_of_nothing_are_refused() {
    for words in [&["--rate", "1", "--concurrency", "2"][..], &["--rate", "0"], &["--rate", "NaN"], &["--compare", "a.json"]] {
        assert!(command().try_get_matches_from(std::iter::once("bench").chain(words.iter().copied())).is_err(), "{words:?}");
    }
}

#[test]
fn a_seed_always_gives_the_same_requests_and_another_seed_others() {
    let of = |seed| bench_requests(&plan(&["--seed", seed, "--requests", "3"])).unwrap();

    assert_eq!(of("7"), of("7"));
    assert_ne!(of("7"), of("8"));
    assert_eq!(of("7")[0].body["prompt"].as_array().unwrap().len(), 104);
    assert_eq!(of("7").iter().map(|request| request.index).collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn prompts_of_w2_share_their_beginning_and_nothing_else() {
    let requests = bench_requests(&plan(&["--workload", "w2", "--requests", "2"])).unwrap();

    let [a, b] = [0, 1].map(|at: usize| requests[at].body["prompt"].as_array().unwrap().clone());
    assert_eq!((a.len(), a[..620] == b[..620], a[620] == b[620]), (660, true, false));
}

#[test]
fn a_temperature_counts_for_every_request() {
    for (arguments, expected) in [(["--workload", "w3"].as_slice(), 0.0), (&["--workload", "w3", "--temperature", "0.8"], 0.8)] {
        let requests = bench_requests(&plan(arguments)).unwrap();
        assert!(requests.iter().all(|request| request.body["temperature"].as_f64() == Some(expected)), "{arguments:?}");
    }
}

#[test]
fn a_file_has_prompts_and_bodies_and_a_line_that_is_neither_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "Hello\n\n{\"messages\": []}\n").unwrap();
    let of = || bench_requests(&plan(&["--prompts", file.path().to_str().unwrap(), "--max-tokens", "5"]));
    let good = of().unwrap();
    std::fs::write(file.path(), "Hello\n{\"model\": 1}\n").unwrap();
    let bad = format!("{:#}", of().unwrap_err());

    assert_eq!(good.iter().map(|request| request.is_chat).collect::<Vec<_>>(), [false, true]);
    assert_eq!((&good[0].body["prompt"], &good[1].body["max_tokens"]), (&"Hello".into(), &5.into()));
    assert!(bad.starts_with("line 2 of "), "{bad}");
}

#[test]
fn gaps_between_arrivals_are_exponential() {
    let mut rng = fastrand::Rng::with_seed(3);
    let gaps: Vec<f64> = (0..20_000).map(|_| load::gap(&mut rng, 4.0).as_secs_f64()).collect();

    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    let above_mean = gaps.iter().filter(|gap| **gap > 0.25).count() as f64 / gaps.len() as f64;

    assert!((mean - 0.25).abs() < 0.01, "{mean}");
    assert!((above_mean - (-1.0_f64).exp()).abs() < 0.02, "{above_mean}");
}

#[test]
fn percentiles_are_values_that_were_measured() {
    let times = Times::of((1..=100).map(|n| f64::from(n) / 1e3));
    let one = Times::of(std::iter::once(1.234_567));

    assert_eq!((times.count, times.p50, times.p99, times.max), (100, 50.0, 99.0, 100.0));
    assert!((times.mean - 50.5).abs() < 1e-9, "{}", times.mean);
    assert_eq!([one.mean, one.p50, one.p90, one.p95, one.p99, one.max], [1234.567; 6]);
    assert_eq!(Times::of(std::iter::empty()), Times::default());
}

#[test]
fn a_figure_without_a_measurement_is_a_dash() {
    let of = |pieces: &[f64]| Report::new(&plan(&[]), "m".to_owned(), 1, &run(vec![record(pieces, 1)]));
    let one_token = of(&[0.1]);
    let row = |text: &str, name: &str| text.lines().find(|line| line.trim().starts_with(name)).unwrap().to_owned();

    assert_eq!(row(&one_token.table(), "ITL").split_whitespace().collect::<Vec<_>>(), ["ITL", "-", "-", "-", "-", "-", "-"]);
    assert_eq!(row(&one_token.table(), "TTFT").split_whitespace().nth(1), Some("100.0"));
    let compared = compare::table(&one_token, &of(&[0.1, 0.3]));
    assert!(row(&compared, "requests ITL p50 ms").ends_with("200.00      -"), "{compared}");
}

#[test]
fn a_summary_counts_tokens_of_what_went_well_and_goodput_of_what_was_in_time() {
    let slow = record(&[0.4, 0.5], 2);
    let failed = RequestRecord { error: Some("500".to_owned()), ..record(&[0.1], 1) };
    let records = [record(&[0.1, 0.2, 0.4], 5), slow, failed];

    let slo = Slo { ttft_ms: Some(300.0), ..Slo::default() };
    let summary = Summary::of(&records.iter().collect::<Vec<_>>(), 2.0, slo);

    assert_eq!((summary.requests, summary.failed, summary.errors["500"]), (3, 1, 1));
    assert_eq!((summary.completion_tokens, summary.prompt_tokens, summary.cached_tokens), (7, 20, 8));
    assert_eq!((summary.requests_per_second, summary.goodput_per_second, summary.output_tokens_per_second), (1.0, 0.5, 3.5));
    assert_eq!((summary.itl_ms.count, summary.tpot_ms.count), (3, 2));
    assert!((summary.tpot_ms.mean - (75.0 + 100.0) / 2.0).abs() < 0.2, "{:?}", summary.tpot_ms);
}

#[test]
fn records_are_a_line_of_json_each_with_index_and_prompt() {
    let records = vec![RequestRecord { text: "a\nb".to_owned(), ..record(&[0.1], 1) }, record(&[0.1, 0.2], 2)];

    let lines = run(records).json_lines().unwrap();

    let read: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&read[0]["index"], &read[0]["prompt"]), (&0.into(), &"p".into()));
    assert_eq!((read.len(), &read[0]["text"], &read[1]["pieces"][1]), (2, &"a\nb".into(), &0.2.into()));
}

#[test]
fn a_distribution_is_drawn_to_its_last_value() {
    let points = cumulative((0..5_000).rev().map(f64::from).collect());

    assert!(points.len() <= 1_001 && points.is_sorted_by(|a, b| a.0 < b.0));
    assert_eq!(points.last(), Some(&(4_999.0, 1.0)));
}

#[test]
fn results_are_read_back_compared_and_shown_without_anything_from_elsewhere() {
    let of = |label: &str, pieces: &[f64]| Report::new(&plan(&["--label", label]), "m".to_owned(), 1, &run(vec![record(pieces, 3)]));
    let (a, b) = (of("<one>", &[0.1, 0.2]), of("two", &[0.2, 0.4]));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), a.to_json().unwrap()).unwrap();

    let table = compare::table(&Report::read(file.path()).unwrap(), &b);
    let page = html::page(&a, &run(vec![record(&[0.1, 0.2], 3)])).unwrap();

    assert!(table.contains("requests TTFT p50 ms") && table.contains("2.00"), "{table}");
    assert!(page.contains("&lt;one&gt;") && page.matches("<svg").count() == 3, "{page}");
    assert!(!page.contains("src=") && !page.contains("href="), "{page}");
}

#[test]
fn results_that_were_not_measured_alike_are_compared_with_a_warning() {
    let of = |seed| Report::new(&plan(&["--seed", seed]), "m".to_owned(), 1, &run(vec![record(&[0.1], 1)]));

    assert!(compare::table(&of("1"), &of("2")).contains("measured with different workloads"));
    assert!(!compare::table(&of("1"), &of("1")).contains("measured with different workloads"));
}

/// Starts a server with one model whose completions are `stream`, and returns its URL.
async fn server(status: StatusCode, stream: &'static str) -> String {
    let models = || async { r#"{"data":[{"id":"tiny"}]}"# };
    let router = Router::new().route("/v1/models", get(models)).route("/v1/completions", post(move || async move { (status, stream) }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

async fn measured(status: StatusCode, stream: &'static str, requests: &str) -> Vec<RequestRecord> {
    let url = server(status, stream).await;
    let plan = plan(&["--url", &url, "--requests", requests, "--concurrency", "2"]);
    let client = Client::new(&plan).unwrap();
    let model = client.first_model().await.unwrap();
    load::run(client, &plan, &model, bench_requests(&plan).unwrap()).await.records
}

#[tokio::test]
async fn a_stream_is_followed_to_its_end_and_counted_as_the_server_counts() {
    const STREAM: &str = "data: {\"choices\":[{\"text\":\"\"}],\"usage\":null}\n\n: ping\n\ndata: {\"choices\":[{\"text\":\"ab\"}]}\n\n\
                          data: {\"choices\":[{\"text\":\"c\"}]}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\
                          \"completion_tokens\":7,\"prompt_tokens_details\":{\"cached_tokens\":5}}}\n\ndata: [DONE]\n\n";

    let records = measured(StatusCode::OK, STREAM, "3").await;

    assert_eq!(records.len(), 3);
    for record in records {
        assert_eq!((record.error, record.pieces.len(), record.text.as_str()), (None, 2, "abc"));
        assert_eq!((record.prompt_tokens, record.cached_tokens, record.completion_tokens), (9, 5, 7));
    }
}

#[tokio::test]
async fn refusals_errors_in_the_stream_and_silent_ends_are_failures() {
    let cases = [
        (StatusCode::SERVICE_UNAVAILABLE, "full", "503"),
        (StatusCode::OK, "data: {\"error\":{\"message\":\"died\"}}\n\n", "died"),
        (StatusCode::OK, "data: {\"choices\":[{\"text\":\"a\"}]}\n\n", "without [DONE]"),
        (StatusCode::OK, "data: nonsense\n\n", "no chunk"),
    ];
    for (status, stream, expected) in cases {
        let records = measured(status, stream, "1").await;

        let error = records[0].error.as_deref().unwrap_or_default();
        assert!(error.contains(expected), "{error}");
    }
}
