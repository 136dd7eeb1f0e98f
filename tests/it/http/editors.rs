//! The requests of editors and front-ends that were written for llama-server, with the keys that their sources have,
//! and what each of them reads of the answer. The values are made up.
//!
//! Sources, at their newest commits of 2025 and 2026: ggml-org/llama.vscode (`src/llama-server.ts`), ggml-org/llama.vim
//! (`autoload/llama.vim`), continuedev/continue (`core/llm/llms/LlamaCpp.ts`), SillyTavern/SillyTavern
//! (`public/scripts/textgen-settings.js`, `src/endpoints/backends/text-completions.js`, `src/constants.js`),
//! twinnydotdev/twinny (`src/extension/completion/request-body.ts`).

use crate::support::server::{Answer, TestServer};
use llamero::protocol::EngineStats;
use serde_json::{Value, json};

/// llama.vscode, a completion at the cursor.
fn llama_vscode() -> Value {
    json!({
        "input_prefix": "fn main() {\n", "input_suffix": "\n}\n", "input_extra": [{"filename": "a.rs", "text": "struct A;", "time": 5}],
        "prompt": "    let x", "n_predict": 12, "top_k": 40, "top_p": 0.99, "stream": false, "samplers": ["top_k", "top_p", "infill"],
        "cache_prompt": true, "n_indent": 4, "t_max_prompt_ms": 500, "t_max_predict_ms": 2500, "lora": [{"id": 0, "scale": 0.5}],
    })
}

/// llama.vscode and llama.vim, to have the context computed before it is needed.
fn warming_up() -> Value {
    json!({
        "id_slot": 0, "input_prefix": "", "input_suffix": "", "input_extra": [{"filename": "a.rs", "text": "struct A;", "time": 5}],
        "prompt": "", "n_predict": 0, "temperature": 0.0, "samplers": [], "stream": false, "cache_prompt": true, "t_max_prompt_ms": 1,
        "t_max_predict_ms": 1, "response_fields": [""],
    })
}

/// llama.vim, a completion at the cursor.
fn llama_vim() -> Value {
    json!({
        "id_slot": 0, "input_prefix": "fn main() {\n", "input_suffix": "\n}\n",
        "input_extra": [{"filename": "a.rs", "text": "struct A;", "time": [5, 6]}], "prompt": "    let x", "n_predict": 12, "stop": [],
        "n_indent": 4, "top_k": 40, "top_p": 0.9, "stream": false, "samplers": ["top_k", "top_p", "infill"], "cache_prompt": true,
        "t_max_prompt_ms": 500, "t_max_predict_ms": 250, "model": "",
        "response_fields": [
            "content", "timings/prompt_n", "timings/prompt_ms", "timings/prompt_per_token_ms", "timings/prompt_per_second",
            "timings/predicted_n", "timings/predicted_ms", "timings/predicted_per_token_ms", "timings/predicted_per_second", "truncated",
            "tokens_cached"
        ],
    })
}

/// Continue's provider `llama.cpp`.
fn continues() -> Value {
    json!({
        "prompt": "fn main() {", "stream": true, "n_predict": 12, "frequency_penalty": 0, "presence_penalty": 0, "min_p": 0.05,
        "mirostat": 2, "stop": ["\n\n", "<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<file_sep>", "/src/", "#- coding", "```", "\r\n"],
        "top_k": 40, "top_p": 0.9, "temperature": 0.2,
    })
}

/// SillyTavern, text completion of the type `llama.cpp`.
fn silly_tavern() -> Value {
    // So many keys are too deep for `json!`.
    let text = r#"{
        "prompt": "A: Hi\nB:", "max_new_tokens": 12, "max_tokens": 12, "logprobs": 10, "temperature": 2.5, "top_p": 0.95,
        "typical_p": 1, "typical": 1, "sampler_seed": 5, "min_p": 0.05, "repetition_penalty": 1.1, "frequency_penalty": 0,
        "presence_penalty": 0, "top_k": 0, "skew": 0, "min_tokens": 0, "add_bos_token": true, "smoothing_factor": 0, "smoothing_curve": 1,
        "dry_allowed_length": 2, "dry_multiplier": 0, "dry_base": 1.75, "dry_sequence_breakers": ["\n", ":", "\"", "*"],
        "dry_penalty_last_n": 0, "max_tokens_second": 0,
        "samplers": ["penalties", "dry", "top_n_sigma", "top_k", "typ_p", "tfs_z", "typical_p", "top_p", "min_p", "xtc", "temperature"],
        "stopping_strings": ["\nA:", "\nB:"], "stop": ["\nA:", "\nB:", "", "\nC:", "\nD:", "\nE:"], "truncation_length": 2048,
        "ban_eos_token": false, "skip_special_tokens": true, "include_reasoning": true, "top_a": 0, "tfs": 1, "mirostat_mode": 0,
        "mirostat_tau": 5, "mirostat_eta": 0.1, "custom_token_bans": "", "banned_strings": [], "api_type": "llamacpp",
        "api_server": "http://127.0.0.1:8080/", "xtc_threshold": 0.1, "xtc_probability": 0, "nsigma": 0, "top_n_sigma": 0, "min_keep": 0,
        "adaptive_target": -0.01, "adaptive_decay": 0.9, "n": 1, "rep_pen": 1.1, "rep_pen_range": 0, "repetition_penalty_range": 0,
        "seed": 5, "guidance_scale": 1, "negative_prompt": "", "repeat_penalty": 1.1, "repeat_last_n": 0, "n_predict": 12,
        "num_predict": 12, "num_ctx": 2048, "mirostat": 0, "ignore_eos": false, "n_probs": 10, "rep_pen_slope": 1,
        "logit_bias": [[97, 1.5], [98, false]], "grammar": "", "cache_prompt": true, "stream": false
    }"#;
    serde_json::from_str(text).unwrap()
}

/// SillyTavern, text completion of the type `vLLM`, with the keys that its backend lets through.
fn silly_tavern_for_vllm() -> Value {
    json!({
        "model": "fake", "prompt": "A: Hi\nB:", "max_tokens": 12, "logprobs": 5, "temperature": 0.7, "top_p": 0.95, "min_p": 0.05,
        "repetition_penalty": 1.1, "frequency_penalty": 0, "presence_penalty": 0, "top_k": 0, "min_tokens": 0, "skip_special_tokens": true,
        "spaces_between_special_tokens": true, "stop": ["\nA:", "\nB:", "\nC:", "\nD:", "\nE:"], "n": 1, "ignore_eos": false, "seed": 5,
        "stream": false,
    })
}

/// Twinny's provider `llama.cpp`.
fn twinny() -> Value {
    json!({"prompt": "<PRE>fn main<SUF>}<MID>", "stream": true, "temperature": 0.2, "max_tokens": 12, "stop": ["<EOT>", "\n\n\n"]})
}

/// The objects of llama-server's stream, which has no `[DONE]`.
fn frames(answer: &Answer) -> Vec<Value> {
    assert!(!answer.text.contains("[DONE]"), "{}", answer.text);
    let frames = answer.text.split_terminator("\n\n").filter(|frame| !frame.starts_with(':'));
    frames.map(|frame| serde_json::from_str(frame.strip_prefix("data: ").unwrap()).unwrap()).collect()
}

/// The text that a stream's reader puts together.
fn streamed(answer: &Answer) -> String {
    frames(answer).iter().map(|frame| frame["content"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_editor_and_front_end_gets_its_answer() {
    let server = TestServer::start().await;
    let requests = [
        ("/infill", llama_vscode()),
        ("/infill", warming_up()),
        ("/infill", llama_vim()),
        ("/completion", continues()),
        ("/completion", silly_tavern()),
        ("/v1/completions", silly_tavern_for_vllm()),
        ("/completion", twinny()),
    ];
    for (path, body) in requests {
        let answer = server.post(path, &body).await;
        assert_eq!(answer.status, 200, "{path} {body}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn llama_vim_finds_the_keys_that_it_asks_for() {
    let server = TestServer::start().await;

    let answer = server.post("/infill", &llama_vim()).await;

    let json = answer.json();
    assert!(json["content"].is_string() && json["timings/predicted_per_second"].is_number() && json["tokens_cached"] == 0, "{json}");
    assert_eq!(json.as_object().unwrap().len(), 11);
    let warnings = "ignored fields: samplers.infill, n_indent, t_max_prompt_ms";
    assert_eq!(answer.header("x-llamero-warnings"), warnings);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn continue_and_twinny_read_the_contents_of_a_stream() {
    let server = TestServer::start().await;
    for body in [continues(), twinny()] {
        let answer = server.post("/completion", &body).await;

        let frames = frames(&answer);
        let (last, chunks) = frames.split_last().unwrap();
        assert!(chunks.iter().all(|chunk| chunk["stop"] == false && chunk["tokens"].is_array()), "{answer:?}");
        assert_eq!((&last["stop"], &last["content"]), (&json!(true), &json!("")));
        assert_eq!(last["has_new_line"], streamed(&answer).contains('\n'));
        assert!(last["tokens_predicted"].as_u64().unwrap() > 0 && last["timings"]["predicted_n"] == last["tokens_predicted"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silly_tavern_reads_text_and_probabilities_and_is_told_what_was_changed() {
    let server = TestServer::start().await;

    let answer = server.post("/completion", &silly_tavern()).await;

    let json = answer.json();
    let (content, probabilities) = (json["content"].as_str().unwrap(), json["completion_probabilities"].as_array().unwrap());
    assert!(!content.is_empty() && probabilities[0]["top_logprobs"].as_array().unwrap().len() == 10, "{json}");
    assert!(probabilities[0]["logprob"].as_f64().unwrap() <= 0.0 && probabilities[0]["id"].is_u64());
    let settings = &json["generation_settings"];
    assert_eq!((&settings["n_predict"], &settings["temperature"], &settings["n_probs"]), (&json!(12), &json!(2.0), &json!(10)));
    let warnings = answer.header("x-llamero-warnings");
    assert!(warnings.contains("samplers.tfs_z") && warnings.contains("temperature was changed to 2"), "{warnings}");
}

/// SillyTavern asks for the models and the chat template when it connects; llama.vscode sizes its prompts by the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn front_ends_learn_model_template_and_context() {
    let server = TestServer::start().await;

    let (props, slots) = (server.get("/props").await.json(), server.get("/slots").await.json());

    assert_eq!(server.get("/models").await.json()["data"][0]["id"], "fake");
    assert!(props["chat_template"].as_str().unwrap().contains("{%"), "{props}");
    assert_eq!((&props["model_alias"], &props["total_slots"]), (&json!("fake"), &json!(4)));
    assert_eq!((&props["bos_token"], &props["modalities"]["vision"]), (&json!("<s>"), &json!(false)));
    let defaults = &props["default_generation_settings"];
    assert_eq!(
        (&defaults["n_ctx"], &defaults["params"]["top_k"], &defaults["params"]["n_predict"]),
        (&json!(4096), &json!(40), &json!(-1))
    );
    let slots = slots.as_array().unwrap();
    assert_eq!((slots.len(), &slots[3]["id"], &slots[3]["n_ctx"]), (4, &json!(3), &json!(4096)));
    assert!(slots.iter().all(|slot| slot["is_processing"] == false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_slot_is_shown_and_none_free_is_an_error_on_request() {
    let server = TestServer::start().await;
    server.gate().hold_after(1);
    let body = json!({"prompt": "a", "n_predict": 2000, "ignore_eos": true, "stream": true, "n_cmpl": 4});
    let stream = server.stream("/completion", &body).await;
    // The four sequences of the request may come between steps.
    let all_run = |stats: &EngineStats| {
        let all_run = stats.gauges.running == 4;
        if !all_run {
            server.gate().hold_after(1);
        }
        all_run
    };
    server.until(all_run).await;

    let (slots, refused) = (server.get("/slots").await, server.get("/slots?fail_on_no_slot=1").await);

    server.gate().open();
    drop(stream);
    assert_eq!((slots.status.as_u16(), refused.status.as_u16()), (200, 503));
    assert_eq!((&refused.json()["error"]["message"], refused.header("retry-after")), (&json!("No slot is free."), "1"));
    assert!(slots.json().as_array().unwrap().iter().all(|slot| slot["is_processing"] == true), "{slots:?}");
    assert!(!slots.text.contains("prompt\""), "{slots:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_text_of_a_template_is_that_of_the_chat_route() {
    let server = TestServer::start().await;
    let messages = json!({"messages": [{"role": "user", "content": "Hello"}]});

    let text = server.post("/apply-template", &messages).await.json()["prompt"].as_str().unwrap().to_owned();

    let mut chat = messages;
    chat["model"] = json!("fake");
    let rendered = server.post("/v1/chat/completions/render", &chat).await.json();
    let whole = server.post("/completion", &json!({"prompt": text, "n_predict": 1})).await.json();
    assert_eq!(whole["prompt"], rendered["prompt"]);
    assert!(text.contains("Hello"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_with_n_predict_is_llama_servers_and_others_are_openais() {
    let server = TestServer::start().await;

    let theirs = server.post("/completions", &json!({"prompt": "a", "n_predict": 3, "temperature": 0})).await.json();
    let openais = server.post("/completions", &json!({"model": "fake", "prompt": "a", "max_tokens": 3, "temperature": 0})).await.json();

    assert_eq!((&theirs["content"], &openais["object"]), (&openais["choices"][0]["text"], &json!("text_completion")));
    let under_v1 = server.post("/v1/completions", &json!({"model": "fake", "prompt": "a", "n_predict": 3, "max_tokens": 3})).await;
    assert_eq!(
        (under_v1.header("x-llamero-warnings"), &under_v1.json()["object"]),
        ("ignored fields: n_predict", &json!("text_completion"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_tokens_than_fit_are_reduced_and_a_prompt_that_fills_the_context_is_refused() {
    let server = TestServer::start().await;
    let long = |length: usize| json!({"prompt": "x".repeat(length), "n_predict": 100, "ignore_eos": true});

    let reduced = server.post("/completion", &long(4090)).await;
    let refused = server.post("/completion", &long(4096)).await;

    assert_eq!(reduced.header("x-llamero-warnings"), "n_predict was reduced to 5, the room that the prompt leaves in the context");
    let json = reduced.json();
    assert_eq!((&json["truncated"], &json["tokens_predicted"], &json["stop_type"]), (&json!(true), &json!(5), &json!("limit")));
    assert_eq!((refused.status.as_u16(), &refused.json()["error"]["code"]), (400, &json!("context_length_exceeded")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_prompts_and_answers_are_an_array() {
    let server = TestServer::start().await;
    let body = json!({"prompt": ["ab", [97, "b"], {"prompt_string": "ab"}], "n_predict": 4, "temperature": 0, "n_cmpl": 2});

    let answers = server.post("/completion", &body).await.json();

    let answers = answers.as_array().unwrap();
    assert_eq!(answers.iter().map(|answer| answer["index"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    assert_eq!((&answers[0]["prompt"], &answers[2]["prompt"]), (&json!("<s>ab"), &json!("ab")));
    assert!(answers[0]["content"] == answers[1]["content"] && answers[0]["content"] == answers[4]["content"], "{answers:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_limit_holds_for_each_of_several_answers() {
    let server = TestServer::start().await;
    let body = json!({"prompt": ["a", "b"], "n_predict": 3, "ignore_eos": true, "t_max_predict_ms": 60_000});

    let answer = server.post("/completion", &body).await;

    assert_eq!(answer.status, 200, "{answer:?}");
    let answers = answer.json();
    assert!(answers.as_array().unwrap().iter().all(|answer| answer["tokens_predicted"] == 3), "{answers}");
    assert_eq!(answers.as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n_predict_zero_computes_the_prompt_for_the_next_request_and_generates_nothing() {
    let server = TestServer::start().await;

    let first = server.post("/completion", &json!({"prompt": "hello world", "n_predict": 0})).await.json();
    let second = server.post("/completion", &json!({"prompt": "hello world", "n_predict": 2})).await.json();

    assert_eq!((&first["content"], &first["tokens_predicted"], &first["stop_type"]), (&json!(""), &json!(0), &json!("limit")));
    assert_eq!((&second["tokens_cached"], &second["timings"]["prompt_n"]), (&json!(11), &json!(1)));
}
