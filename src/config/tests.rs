//! Tests of layers, problems and printing of configurations, without touching the process environment.

use super::{ConfigErrors, Environment, Flags, Kind, LoadedConfig, LogFormat, load, markdown, options};
use crate::protocol::{EngineOptions, FlashAttention, KvLayout, KvType};
use std::{collections::BTreeSet, fs, path::PathBuf, time::Duration};

fn flags(pairs: &[(&'static str, &str)]) -> Flags {
    let values = pairs.iter().map(|(key, value)| (*key, vec![(*value).to_owned()])).collect();
    Flags { values, ..Flags::default() }
}

fn no_environment() -> Environment {
    Environment::default()
}

fn from_flags(pairs: &[(&'static str, &str)]) -> Result<LoadedConfig, ConfigErrors> {
    load(&flags(pairs), &no_environment())
}

fn from_environment(pairs: &[(&str, &str)]) -> Result<LoadedConfig, ConfigErrors> {
    load(&Flags::default(), &Environment::of(pairs.iter().copied()))
}

/// Loads `text` as the configuration file, with these flags and variables.
fn from_file(text: &str, flags: Flags, environment: &Environment) -> Result<LoadedConfig, ConfigErrors> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("llamero.toml");
    fs::write(&path, text).unwrap();
    load(&Flags { config: Some(path), ..flags }, environment)
}

fn problems(result: Result<LoadedConfig, ConfigErrors>) -> Vec<String> {
    result.expect_err("it has problems").problems.iter().map(ToString::to_string).collect()
}

#[test]
fn problems_come_with_the_log_format_of_the_file() {
    let format = |text: &str| from_file(text, Flags::default(), &Environment::default()).unwrap_err().log_format;

    assert_eq!(format("log_format = \"json\"\nport = \"x\""), Some(LogFormat::Json));
    assert_eq!(format("port = \"x\""), Some(LogFormat::Text));
}

#[test]
fn the_defaults_are_those_of_the_documentation() {
    let config = from_flags(&[]).unwrap().config;

    assert_eq!(config.model, "smollm2-135m-instruct");
    assert_eq!(config.api.served_model_names, ["smollm2-135m-instruct"]);
    assert_eq!((config.listen.host.to_string().as_str(), config.listen.port), ("127.0.0.1", 8000));
    assert_eq!(config.engine, EngineOptions::new(PathBuf::new()), "one set of defaults");
    assert_eq!((config.engine.max_num_seqs, config.engine.max_num_batched_tokens), (None, 512));
    assert_eq!((config.engine.max_model_len, config.engine.n_gpu_layers, config.engine.threads), (None, None, None));
    assert_eq!((config.engine.kv_layout, config.engine.prefill_step_ratio), (KvLayout::Split, 8.0));
    assert_eq!(config.engine.num_speculative_tokens, 8);
    assert_eq!((config.engine.kv_cache_dtype, config.engine.flash_attn), (KvType::F16, FlashAttention::Auto));
    assert_eq!((config.api.max_body_bytes, config.api.max_stop_strings), (2 * 1024 * 1024, 64));
    assert_eq!(config.api.max_logprobs, None);
    assert_eq!((config.api.keep_alive, config.api.hold_status), (Duration::from_secs(10), Duration::from_secs(10)));
    // Together with the end of the engine, this is within the 30 s after which Kubernetes kills.
    assert_eq!((config.listen.shutdown_delay, config.listen.drain_timeout), (Duration::ZERO, Duration::from_secs(25)));
    assert_eq!(config.supervision.stall_timeout, Duration::from_secs(120));
    assert_eq!((config.supervision.max_waiting, config.supervision.max_restarts), (512, 5));
    assert_eq!((config.logs.format, config.logs.level.as_str()), (LogFormat::Text, "info"));
    assert!(config.keys.is_empty() && config.api.requests_per_minute.is_none());
}

#[test]
fn flags_beat_the_environment_which_beats_the_file() {
    let file = "port = 1\nmax_num_seqs = 2\nmax_waiting = 3";
    let environment = Environment::of([("LLAMERO_PORT", "10"), ("LLAMERO_MAX_NUM_SEQS", "20")]);

    let config = from_file(file, flags(&[("port", "100")]), &environment).unwrap().config;

    assert_eq!((config.listen.port, config.engine.max_num_seqs, config.supervision.max_waiting), (100, Some(20), 3));
}

#[test]
fn the_file_may_be_named_by_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    fs::write(&path, "port = 7").unwrap();

    let loaded = from_environment(&[("LLAMERO_CONFIG", path.to_str().unwrap())]).unwrap();

    assert_eq!(loaded.config.listen.port, 7);
    assert_eq!(loaded.notes, [""; 0]);
}

#[test]
fn every_problem_is_reported_at_once_with_where_it_is_and_what_would_be_right() {
    let environment = Environment::of([("LLAMERO_MAX_NUM_SEQS", "many"), ("LLAMA_ARG_CTX_SIZE", "1")]);
    let file = "max_modle_len = 5\nlog_format = \"yaml\"\nthreads = [1, 2]\nctx_size = 9\nzzzzzzzz = 1";

    let found = problems(from_file(file, flags(&[("port", "70000"), ("keep_alive", "-3")]), &environment));

    let expected = [
        ("max_modle_len", "did you mean max_model_len?"),
        ("ctx_size", "did you mean max_model_len?"),
        ("zzzzzzzz", "`llamero serve --help` lists them all"),
        ("llamero.toml: log_format", r#""yaml" is not one of text, json"#),
        ("llamero.toml: threads", "must be a whole number from 1 to 1024, or auto"),
        ("--port", r#""70000" is not a whole number from 0 to 65535"#),
        ("--keep-alive", r#""-3" is not a time from 1s to 3600s"#),
        ("LLAMERO_MAX_NUM_SEQS", r#""many" is not a whole number from 1 to 256"#),
        ("LLAMA_ARG_CTX_SIZE", r#""1" is not a whole number from 2 to 16777216, or auto"#),
    ];
    for (at, message) in expected {
        assert!(found.iter().any(|line| line.contains(at) && line.contains(message)), "{at}: {message} not in {found:#?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn a_file_that_is_not_there_or_not_toml_is_a_problem() {
    let missing = Flags { config: Some(PathBuf::from("no/such/llamero.toml")), ..Flags::default() };

    assert!(problems(load(&missing, &no_environment()))[0].starts_with("no/such/llamero.toml: the configuration file cannot be read"));
    assert!(problems(from_file("port = = 1", Flags::default(), &no_environment()))[0].contains("line 1"));
}

#[test]
fn a_line_that_is_no_toml_is_not_repeated_because_it_may_hold_a_key() {
    let found = problems(from_file("port = 1\napi_key = \"sk-secret", Flags::default(), &no_environment()));

    assert!(found[0].contains("line 2") && !found[0].contains("sk-secret"), "{found:#?}");
}

#[test]
fn a_key_that_is_empty_does_not_silently_mean_no_keys() {
    let found = problems(from_flags(&[("api_key", "")]));

    assert!(found[0].contains("it has no key in it"), "{found:#?}");
    assert!(from_file("api_key = []", Flags::default(), &no_environment()).unwrap().config.keys.is_empty());
}

#[test]
fn numbers_are_accepted_at_their_limits_and_refused_past_them() {
    for spec in options() {
        let Kind::Integer { min, max, auto } = spec.kind else { continue };
        let refused = |text: &str| {
            let wrong = format!("{text:?} is not");
            from_flags(&[(spec.key, text)]).is_err_and(|errors| errors.to_string().contains(&wrong))
        };

        assert!(!refused(&min.to_string()), "{} = {min}", spec.key);
        assert!(!refused(&max.to_string()), "{} = {max}", spec.key);
        assert!(refused(&(max + 1).to_string()), "{} = {}", spec.key, max + 1);
        assert!(min == 0 || auto.contains(&"0") || refused(&(min - 1).to_string()), "{} = {}", spec.key, min - 1);
        assert!(auto.iter().all(|word| !refused(word)), "{}: {auto:?}", spec.key);
    }
}

#[test]
fn an_alias_in_the_environment_is_taken_noted_and_weaker_than_the_canonical_name() {
    let alias = from_environment(&[("LLAMA_ARG_N_PARALLEL", "3"), ("LLAMA_ARG_N_GPU_LAYERS", "-1")]).unwrap();
    let both = from_environment(&[("LLAMA_ARG_N_PARALLEL", "3"), ("LLAMERO_MAX_NUM_SEQS", "5")]).unwrap();

    assert_eq!((alias.config.engine.max_num_seqs, alias.config.engine.n_gpu_layers), (Some(3), None));
    let noted = ["LLAMA_ARG_N_PARALLEL is read as LLAMERO_MAX_NUM_SEQS", "LLAMA_ARG_N_GPU_LAYERS is read as LLAMERO_N_GPU_LAYERS"];
    assert_eq!(alias.notes, noted);
    assert_eq!((both.config.engine.max_num_seqs, both.notes.len()), (Some(5), 0));
}

#[test]
fn variables_that_are_empty_or_from_kubernetes_are_ignored_and_mistyped_ones_noted() {
    let pairs =
        [("LLAMERO_HOST", ""), ("LLAMERO_PORT", "tcp://10.0.0.1:80"), ("LLAMERO_PORT_80_TCP", "x"), ("LLAMERO_MAX_MODEL_LENGTH", "4")];

    let loaded = from_environment(&pairs).unwrap();

    assert_eq!((loaded.config.listen.host.to_string().as_str(), loaded.config.listen.port), ("127.0.0.1", 8000));
    let expected = [
        "LLAMERO_PORT is ignored: it was set by Kubernetes for a service of that name",
        "LLAMERO_MAX_MODEL_LENGTH is not an option and is ignored; did you mean LLAMERO_MAX_MODEL_LEN?",
    ];
    assert_eq!(loaded.notes, expected);
}

#[test]
fn beyond_loopback_keys_are_needed_unless_the_user_insists() {
    let open = problems(from_flags(&[("host", "0.0.0.0")]));
    assert!(open[0].starts_with("--host: 0.0.0.0 can be reached") && open[0].contains("--insecure-no-auth"), "{open:?}");

    assert!(from_flags(&[("host", "0.0.0.0"), ("api_key", "k")]).is_ok());
    assert!(from_flags(&[("host", "::"), ("insecure_no_auth", "true")]).is_ok());
    assert!(from_flags(&[("host", "::1")]).is_ok());
    assert!(from_flags(&[("host", "localhost")]).is_ok());
}

#[test]
fn options_that_depend_on_each_other_are_checked_together() {
    let batch = problems(from_flags(&[("max_num_seqs", "64"), ("max_num_batched_tokens", "63")]));
    let split = problems(from_flags(&[("kv_cache_tokens", "4096")]));
    let pool = problems(from_flags(&[("kv_layout", "unified"), ("kv_cache_tokens", "4095"), ("max_model_len", "4096")]));

    let quantized = problems(from_flags(&[("kv_cache_dtype", "q8_0"), ("flash_attn", "off")]));

    assert_eq!(quantized, ["--flash-attn: kv_cache_dtype q8_0 needs it; leave this at auto"]);
    assert!(batch[0].starts_with("--max-num-batched-tokens: 63 is less than max_num_seqs, 64"), "{batch:?}");
    assert!(split[0].contains("set kv_layout to unified"), "{split:?}");
    assert!(pool[0].contains("4095 is less than max_model_len, 4096"), "{pool:?}");
    assert!(from_flags(&[("max_num_seqs", "64"), ("max_num_batched_tokens", "64")]).is_ok());
    assert!(from_flags(&[("kv_layout", "unified"), ("kv_cache_tokens", "4096"), ("max_model_len", "4096")]).is_ok());
}

#[test]
fn a_prefix_cache_needs_swap_space() {
    let folder = |settings: &[(&'static str, &str)]| from_flags(settings).map(|loaded| loaded.config.prefix_cache_dir);

    assert_eq!(folder(&[]).unwrap(), None);
    assert_eq!(folder(&[("prefix_cache_dir", "/a/b")]).unwrap(), Some("/a/b".into()));
    let refused = problems(from_flags(&[("prefix_cache_dir", "/a/b"), ("swap_space", "0")]));
    assert!(refused[0].contains("prefix-cache-dir") && refused[0].contains("swap_space"), "{refused:?}");
}

#[test]
fn swap_space_is_gib_and_may_be_left_to_the_server() {
    let bytes = |text: &str| from_flags(&[("swap_space", text)]).unwrap().config.engine.swap_space_bytes;

    assert_eq!(["0", "0.5", "4", "auto"].map(bytes), [Some(0), Some(1 << 29), Some(4 << 30), None]);
    assert!(problems(from_flags(&[("swap_space", "-1")]))[0].contains("a number from 0 to 65536, or auto"));
}

#[test]
fn lists_are_repeated_or_separated_by_commas() {
    let many = Flags { values: vec![("served_model_name", vec!["a".into(), "b, c".into()])], ..Flags::default() };
    let hosts = from_flags(&[("allowed_hosts", "LLM.example,*.lan,*,[::2]")]).unwrap().config.api.allowed_hosts;
    assert_eq!(hosts, ["llm.example", "*.lan", "*", "[::2]"]);
    let with_keys = from_flags(&[("allowed_hosts", "a"), ("api_key", "k")]).unwrap();
    assert!(with_keys.notes[0].starts_with("--allowed-hosts has no effect"), "{:?}", with_keys.notes);
    assert!(problems(from_flags(&[("allowed_hosts", "https://llm.example")]))[0].contains("is not a host name"));
    let file = "allowed_origins = [\"https://a.example\", \"http://localhost:3000\"]\nserved_model_name = \"x\"";

    assert_eq!(load(&many, &no_environment()).unwrap().config.api.served_model_names, ["a", "b", "c"]);
    let config = from_file(file, Flags::default(), &no_environment()).unwrap().config;
    assert_eq!(config.api.allowed_origins, ["https://a.example", "http://localhost:3000"]);
    assert_eq!(config.api.served_model_names, ["x"]);
    assert!(problems(from_flags(&[("allowed_origins", "https://a.example/path")]))[0].contains("is not an origin"));
}

#[test]
fn the_served_name_comes_from_the_model() {
    let name = |model| from_flags(&[("model", model)]).unwrap().config.api.served_model_names;

    assert_eq!(name("folder/Mistral-7B.Q4_K_M.gguf"), ["Mistral-7B.Q4_K_M"]);
    assert_eq!(name("llama-3.2-1b-instruct"), ["llama-3.2-1b-instruct"]);
    assert!(problems(from_flags(&[("model", "")]))[0].starts_with("--model: is empty"));
}

#[test]
fn keys_appear_in_no_debug_output_no_problem_and_no_print() {
    let loaded = from_environment(&[("VLLM_API_KEY", "sk-first,sk-second")]).unwrap();
    assert_eq!(loaded.config.keys.keys, ["sk-first", "sk-second"]);
    assert!(!format!("{loaded:?}").contains("sk-"), "{loaded:?}");
    assert!(loaded.toml.contains("api_key = []  # not shown  # from VLLM_API_KEY"), "{}", loaded.toml);

    assert_eq!(problems(from_flags(&[("api_key_file", "no/such/file")])), ["--api-key-file: there is no file no/such/file"]);
}

#[test]
fn a_printed_configuration_is_read_back_as_the_same() {
    let pairs = [
        ("port", "9000"),
        ("drain_timeout", "1500ms"),
        ("model", "a \"quoted\" \\path.gguf"),
        ("n_gpu_layers", "-1"),
        ("served_model_name", "a,b"),
        ("prefill_step_ratio", "3"),
        ("insecure_no_auth", "yes"),
    ];
    let loaded = from_flags(&pairs).unwrap();

    let again = from_file(&loaded.toml, Flags::default(), &no_environment()).unwrap();

    assert!(loaded.toml.contains("port = 9000  # from --port\n"), "{}", loaded.toml);
    assert_eq!(again.config, loaded.config);
}

/// `LLAMERO_WRITE_DOCS=1 cargo test --release documents` writes both files anew.
#[test]
fn the_documents_of_options_are_those_of_the_table() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let files = [("docs/OPTIONS.md", markdown::file()), ("examples/config.toml", from_flags(&[]).unwrap().toml)];
    if std::env::var_os("LLAMERO_WRITE_DOCS").is_some() {
        for (path, fresh) in &files {
            fs::write(root.join(path), fresh).unwrap();
        }
    }

    for (path, fresh) in files {
        assert!(fs::read_to_string(root.join(path)).unwrap() == fresh, "{path} is stale; see the comment of this test");
    }
}

#[test]
fn the_example_file_says_the_defaults() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/config.toml");

    let loaded = from_file(&fs::read_to_string(&path).unwrap(), Flags::default(), &no_environment()).unwrap();

    assert_eq!(loaded.config, from_flags(&[]).unwrap().config);
}

#[test]
fn keys_variables_and_spellings_are_unique() {
    let spellings: Vec<String> = options()
        .flat_map(|spec| {
            let aliases = spec.flag_aliases.iter().chain(spec.env_aliases).map(|alias| (*alias).to_owned());
            [spec.key.to_owned(), format!("--{}", spec.flag()), spec.env()].into_iter().chain(aliases).collect::<Vec<_>>()
        })
        .collect();

    let distinct: BTreeSet<&String> = spellings.iter().collect();

    assert_eq!(distinct.len(), spellings.len(), "{spellings:?}");
}

#[test]
fn options_of_sockets_proxies_and_workers_name_what_they_take() {
    let of = |pairs: &[(&'static str, &str)]| problems(from_flags(pairs));

    assert!(of(&[("uds", "/s"), ("uds_mode", "999")])[0].contains("an octal number up to 777"));
    assert!(of(&[("root_path", "llm")])[0].contains("a path such as /llm"));
    assert!(of(&[("root_path", "/a?b")])[0].contains("a path such as /llm"));
    assert!(of(&[("trusted_proxies", "127.0.0.1,localhost")])[0].contains("\"localhost\" is not an address"));
    assert!(of(&[("rpc", "10.0.0.2")])[0].contains("is not a host and a port"));
    assert!(of(&[("rpc", "10.0.0.2:1"), ("n_gpu_layers", "0")])[0].contains("n_gpu_layers"));
    assert!(of(&[("otlp_endpoint", "collector:4318")])[0].contains("must be a URL"));

    let loaded = from_flags(&[("uds", "/s"), ("uds_mode", "600"), ("port", "1"), ("root_path", "/llm/")]).unwrap();
    let socket = loaded.config.listen.unix_socket.unwrap();
    assert_eq!((socket.path.to_str(), socket.mode, loaded.config.api.proxy.root_path.as_str()), (Some("/s"), 0o600, "/llm"));
    assert_eq!(loaded.notes, ["--host and --port have no effect with --uds"]);
}
