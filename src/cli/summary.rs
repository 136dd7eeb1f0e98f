//! The text that is printed once the server is ready: the model, its limits, the device, the address and the callers
//! that it accepts.

use crate::{
    api::server::Endpoint,
    build_info,
    config::ServeConfig,
    gateway::templates::ChatFacts,
    protocol::{EmbeddingInfo, GenerationInfo, KvLayout, KvWindow, MemoryNeed, MemoryPlace, ModelInfo, ModelKind, Pooling, RopeScaling},
};

/// Prompts that are cut at multiples of this number of tokens are not worth a line.
const USUAL_TILE: u32 = 16;

/// The start-up summary. Everything comes from the arguments, the build and the rights of a Unix socket. `chat` has
/// facts about the model's chat template.
pub(super) fn summary(model: &ModelInfo, config: &ServeConfig, endpoint: &Endpoint, chat: &ChatFacts) -> String {
    let mut rows = vec![
        (
            "model",
            format!(
                "{} ({}, {}, {} parameters, {})",
                model.name,
                model.architecture,
                model.quantization,
                human_number(model.parameters),
                human_bytes(model.size_bytes)
            ),
        ),
        ("served as", config.api.served_model_names.join(", ")),
        ("context", context(config, model)),
        ("sequences", format!("{} at once, {} tokens per step", model.max_num_seqs, model.max_num_batched_tokens)),
        match &model.kind {
            ModelKind::Generates(generation) => ("KV cache", kv_cache(generation)),
            ModelKind::Embeds(embedding) => ("embeds", embeds(embedding)),
        },
    ];
    rows.extend(chat.shown.iter().map(|shown| ("template", shown.clone())));
    rows.extend(model.memory.iter().map(|need| (place(need), memory(need))));
    if let Some(swap_bytes) = model.generation().map(|generation| generation.swap_bytes).filter(|bytes| *bytes > 0) {
        let bytes = human_bytes(swap_bytes);
        let kept = config.engine.prefix_cache.as_ref().map_or_else(String::new, |cache| format!(", kept in {}", cache.path.display()));
        rows.push(("swap space", format!("up to {bytes} of memory more for cached prompts{kept}")));
    }
    rows.push(("compute", format!("{}, {}{} threads", model.device, if model.threads_adapt { "up to " } else { "" }, model.threads)));
    rows.extend(
        model
            .generation()
            .filter(|generation| generation.tile > USUAL_TILE)
            .map(|generation| ("prompts", format!("cut at multiples of {} tokens", generation.tile))),
    );
    rows.extend([
        ("loaded in", format!("{}.{} s", model.load_ms / 1000, model.load_ms % 1000 / 100)),
        ("auth", auth(config, endpoint)),
        ("API", url(config, endpoint)),
    ]);
    let mut text = format!("llamero {} is ready\n", build_info::VERSION);
    for (name, value) in rows {
        text.push_str(&format!("  {name:<10} {value}\n"));
    }
    for need in model.memory.iter().filter(|need| need.is_tight()) {
        text.push_str(&format!(
            "\nWARNING: more {} is needed than was available: {}. It may be very slow; lower --max-model-len or --max-num-seqs, or serve a \
             smaller model.\n",
            place(need),
            memory(need)
        ));
    }
    if let Some(missing) = &model.slow_kernels {
        text.push_str(&format!("\nWARNING: the CPU kernels are slow: {missing}\n"));
    }
    if let Some(warning) = &chat.warning {
        text.push_str(&format!("\nWARNING: {warning}\n"));
    }
    match reach(config, endpoint) {
        Reach::Keys | Reach::Owner => {}
        Reach::Users => text.push_str(
            "\nWARNING: no key is asked for, and every user of this machine can use the model (set --api-key, or \
             --uds-mode 660, or SocketMode=0660 in a socket unit).\n",
        ),
        Reach::Machines => text.push_str(
            "\nWARNING: no key is asked for, and other machines can reach this address: anybody there can use the model (set --api-key, or \
             --host 127.0.0.1).\n",
        ),
    }
    text
}

fn context(config: &ServeConfig, model: &ModelInfo) -> String {
    let (length, trained) = (model.max_model_len, model.n_ctx_train);
    let scaling = config.engine.rope_scaling;
    let is_scaled = scaling != RopeScaling::Model && (length > trained || config.engine.rope_scale.is_some_and(|times| times > 1.0));
    let beyond =
        if is_scaled { format!(" and stretched (--rope-scaling {}): texts may lose quality", scaling.name()) } else { String::new() };
    format!("{length} tokens per sequence, trained for {trained}{beyond}")
}

fn kv_cache(generation: &GenerationInfo) -> String {
    let layout = match generation.kv_layout {
        KvLayout::Split => "split",
        KvLayout::Unified => "unified",
    };
    let (bytes, kind) = (human_bytes(generation.kv_bytes), generation.kv_type.name());
    format!("{bytes}, {} tokens of {kind}, {layout}{}", generation.kv_cells, window(generation))
}

/// A sentence about the cells that are kept for layers with a sliding window; empty without such layers.
fn window(generation: &GenerationInfo) -> String {
    match generation.kv_window {
        None => String::new(),
        Some(KvWindow { positions, cells: Some(cells) }) => {
            format!("; layers with a window of {positions} keep {cells} for each sequence (--swa-full keeps all)")
        }
        Some(KvWindow { positions, cells: None }) => format!("; layers with a window of {positions} keep all of them too"),
    }
}

fn place(need: &MemoryNeed) -> &'static str {
    match need.place {
        MemoryPlace::Host => "memory",
        MemoryPlace::Gpu => "GPU memory",
    }
}

fn memory(need: &MemoryNeed) -> String {
    let parts = [("weights", need.weights_bytes), ("KV", need.kv_bytes), ("scratch", need.scratch_bytes)];
    let parts: Vec<String> = parts.iter().map(|(name, bytes)| format!("{name} {}", human_bytes(*bytes))).collect();
    let available = need.available_bytes.map_or_else(String::new, |bytes| format!(" of {} available", human_bytes(bytes)));
    format!("about {}{available} ({})", human_bytes(need.bytes()), parts.join(", "))
}

fn embeds(embedding: &EmbeddingInfo) -> String {
    let by = |pooling| format!("vectors of {} numbers, {pooling} of the tokens", embedding.dimensions);
    match embedding.pooling {
        Pooling::Mean => by("the mean"),
        Pooling::Cls => by("the first"),
        Pooling::Last => by("the last"),
        Pooling::Rank(_) => "scores of documents for a query".to_owned(),
    }
}

/// The ones who can use a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Callers with a key.
    Keys,
    /// The owner of the Unix socket and its group, or users of this machine by loopback.
    Owner,
    /// Every user of this machine, by a Unix socket that the operator opened to all.
    Users,
    /// Other machines.
    Machines,
}

fn reach(config: &ServeConfig, endpoint: &Endpoint) -> Reach {
    if !config.keys.is_empty() {
        return Reach::Keys;
    }
    match endpoint {
        Endpoint::Tcp(address) if address.ip().is_loopback() => Reach::Owner,
        Endpoint::Tcp(_) => Reach::Machines,
        Endpoint::Unix(_) if endpoint.is_open_to_all_users() => Reach::Users,
        Endpoint::Unix(_) => Reach::Owner,
    }
}

fn auth(config: &ServeConfig, endpoint: &Endpoint) -> String {
    match (config.keys.keys.len(), &config.keys.file) {
        (0, None) => match (reach(config, endpoint), endpoint) {
            (Reach::Owner, Endpoint::Tcp(_)) => "none, this machine only".to_owned(),
            (Reach::Owner, Endpoint::Unix(_)) => "none, by the rights of the socket".to_owned(),
            _ => "none".to_owned(),
        },
        (0, Some(file)) => format!("keys of {}", file.display()),
        (keys, None) => plural(keys),
        (keys, Some(file)) => format!("{} and those of {}", plural(keys), file.display()),
    }
}

fn url(config: &ServeConfig, endpoint: &Endpoint) -> String {
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let root = &config.api.proxy.root_path;
    match endpoint {
        Endpoint::Tcp(address) => format!("{scheme}://{address}{root}/v1"),
        Endpoint::Unix(path) => format!("{scheme}://localhost{root}/v1 by {}", path.display()),
    }
}

fn plural(keys: usize) -> String {
    if keys == 1 { "1 key".to_owned() } else { format!("{keys} keys") }
}

/// Formats bytes with a decimal unit, as disks and model pages show them.
pub(super) fn human_bytes(bytes: u64) -> String {
    scaled(bytes, [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1000)]).unwrap_or_else(|| format!("{bytes} B"))
}

fn human_number(number: u64) -> String {
    scaled(number, [("B", 1_000_000_000), ("M", 1_000_000), ("k", 1000)]).unwrap_or_else(|| number.to_string())
}

/// Formats a number in the largest unit that fits, rounded, with one decimal below ten.
fn scaled(number: u64, units: [(&str, u64); 3]) -> Option<String> {
    let (unit, size) = units.into_iter().find(|(_, size)| number >= *size)?;
    let tenths = number.saturating_mul(10).saturating_add(size / 2) / size;
    let whole = number.saturating_add(size / 2) / size;
    Some(if tenths < 100 { format!("{}.{} {unit}", tenths / 10, tenths % 10) } else { format!("{whole} {unit}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Flags, load};
    use crate::protocol::{KvType, PrefixCacheFolder};
    use std::{fs, os::unix::fs::PermissionsExt as _};

    fn at(address: &str) -> Endpoint {
        Endpoint::Tcp(address.parse().unwrap())
    }

    fn model() -> ModelInfo {
        ModelInfo {
            name: "SmolLM2 135M".into(),
            architecture: "llama".into(),
            quantization: "Q4_1".into(),
            parameters: 134_515_008,
            size_bytes: 96_000_000,
            n_ctx_train: 8192,
            max_model_len: 4096,
            max_num_seqs: 16,
            max_num_batched_tokens: 512,
            vocabulary_size: 49_152,
            bos: None,
            adds_bos: true,
            eos: None,
            fim: None,
            chat_templates: Vec::new(),
            control_tokens: Vec::new(),
            longest_piece: None,
            dropped_bytes: Vec::new(),
            tokenizer: "llama".to_owned(),
            memory: vec![MemoryNeed {
                place: MemoryPlace::Host,
                weights_bytes: 96_000_000,
                kv_bytes: 1_509_949_440,
                scratch_bytes: 90_000_000,
                available_bytes: Some(23_000_000_000),
            }],
            threads: 8,
            threads_adapt: true,
            device: "CPU".into(),
            slow_kernels: None,
            load_ms: 1250,
            kind: ModelKind::Generates(GenerationInfo {
                kv_layout: KvLayout::Split,
                kv_cells: 65_536,
                kv_bytes: 1_509_949_440,
                kv_window: None,
                kv_type: KvType::F16,
                swap_bytes: 1_600_000_000,
                tile: 32,
            }),
        }
    }

    /// The model with a changed cache.
    fn with_cache(change: impl FnOnce(&mut GenerationInfo)) -> ModelInfo {
        let model = model();
        let mut cache = *model.generation().unwrap();
        change(&mut cache);
        ModelInfo { kind: ModelKind::Generates(cache), ..model }
    }

    fn config(pairs: &[(&'static str, &str)]) -> ServeConfig {
        let values = pairs.iter().map(|(key, value)| (*key, vec![(*value).to_owned()])).collect();
        load(&Flags { values, ..Flags::default() }, &Environment::default()).unwrap().config
    }

    #[test]
    fn the_summary_names_model_limits_device_address_and_callers() {
        let text = summary(&model(), &config(&[("served_model_name", "small,tiny")]), &at("127.0.0.1:8000"), &ChatFacts::default());

        let expected = format!(
            "\
llamero {} is ready
  model      SmolLM2 135M (llama, Q4_1, 135 M parameters, 96 MB)
  served as  small, tiny
  context    4096 tokens per sequence, trained for 8192
  sequences  16 at once, 512 tokens per step
  KV cache   1.5 GB, 65536 tokens of f16, split
  memory     about 1.7 GB of 23 GB available (weights 96 MB, KV 1.5 GB, scratch 90 MB)
  swap space up to 1.6 GB of memory more for cached prompts
  compute    CPU, up to 8 threads
  prompts    cut at multiples of 32 tokens
  loaded in  1.2 s
  auth       none, this machine only
  API        http://127.0.0.1:8000/v1
",
            build_info::VERSION
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn the_folder_that_is_kept_for_the_next_start_is_named() {
        let mut config = config(&[]);
        let (path, model_checksum) = ("/var/cache/llamero".into(), String::new());
        config.engine.prefix_cache = Some(PrefixCacheFolder { path, model_checksum, discard: false });

        let text = |model: &ModelInfo| summary(model, &config, &at("127.0.0.1:8000"), &ChatFacts::default());

        assert!(text(&model()).contains("for cached prompts, kept in /var/cache/llamero\n"));
        assert!(!text(&with_cache(|cache| cache.swap_bytes = 0)).contains("swap space"));
    }

    #[test]
    fn slow_kernels_and_an_open_address_are_warned_of() {
        let slow = ModelInfo { slow_kernels: Some("AVX-512 is missing".into()), ..model() };
        let open = config(&[("host", "0.0.0.0"), ("insecure_no_auth", "true")]);

        let text = summary(&slow, &open, &at("0.0.0.0:8000"), &ChatFacts::default());

        assert!(text.contains("\nWARNING: the CPU kernels are slow: AVX-512 is missing\n"), "{text}");
        assert!(text.contains("\nWARNING: no key is asked for"), "{text}");
    }

    #[test]
    fn a_unix_socket_without_keys_is_warned_of_only_if_every_user_may_connect() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        fs::write(&path, "").unwrap();
        let text = |mode| {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            summary(&model(), &config(&[("insecure_no_auth", "true")]), &Endpoint::Unix(path.clone()), &ChatFacts::default())
        };

        let (group, all) = (text(0o660), text(0o666));
        assert!(group.contains("auth       none, by the rights of the socket\n") && !group.contains("WARNING"), "{group}");
        assert!(all.contains("auth       none\n") && all.contains("every user of this machine"), "{all}");
    }

    #[test]
    fn the_cells_of_layers_with_a_sliding_window_are_named() {
        let text = |cells| {
            let model = with_cache(|cache| cache.kv_window = Some(KvWindow { positions: 512, cells }));
            summary(&model, &config(&[]), &at("127.0.0.1:8000"), &ChatFacts::default())
        };

        assert!(text(Some(768)).contains(" tokens of f16, split; layers with a window of 512 keep 768 for each sequence (--swa-full"));
        assert!(text(None).contains(" tokens of f16, split; layers with a window of 512 keep all of them too\n"));
    }

    #[test]
    fn short_memory_is_warned_of() {
        let short = |mut model: ModelInfo| {
            model.memory[0].available_bytes = Some(1_600_000_000);
            model
        };

        let text = summary(&short(model()), &config(&[]), &at("127.0.0.1:8000"), &ChatFacts::default());

        assert!(text.contains("\nWARNING: more memory is needed than was available: about 1.7 GB of 1.6 GB available ("), "{text}");
    }

    #[test]
    fn a_model_without_a_chat_template_is_warned_of() {
        let chat = ChatFacts { shown: Some("shows no tools".to_owned()), warning: Some("no template".to_owned()) };
        let text = summary(&model(), &config(&[]), &at("127.0.0.1:8000"), &chat);

        assert!(text.contains("\n  template   shows no tools\n"), "{text}");

        assert!(text.ends_with("\nWARNING: no template\n"), "{text}");
    }

    #[test]
    fn keys_are_counted_and_never_shown() {
        let text = summary(&model(), &config(&[("host", "0.0.0.0"), ("api_key", "sk-a,sk-b")]), &at("0.0.0.0:8000"), &ChatFacts::default());

        assert!(text.contains("auth       2 keys\n") && !text.contains("sk-") && !text.contains("WARNING"), "{text}");
    }

    #[test]
    fn sizes_are_in_the_unit_that_fits() {
        assert_eq!(
            [0, 999, 1000, 9_990, 10_000, 98_362_432, 4_920_000_000].map(human_bytes),
            ["0 B", "999 B", "1.0 kB", "10 kB", "10 kB", "98 MB", "4.9 GB"]
        );
    }
}
