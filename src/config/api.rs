//! Options of the API: names under which the model is served, limits of requests, timing of streams.

use super::{Kind, OptionSpec, ProxyConfig, values::SettingsReader};
use std::time::Duration;

/// Names and limits of the API.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiConfig {
    /// Names under which the model is served; answers use the first one. Never empty.
    pub served_model_names: Vec<String>,
    /// Largest request body, bytes. Default 2 MiB.
    pub max_body_bytes: usize,
    /// Longest wait for a whole request body, counted from the request's head. Default 30 s.
    pub body_timeout: Duration,
    /// Maximum number of stop strings of a request, up to 256. Default 64.
    pub max_stop_strings: usize,
    /// Maximum number of alternatives per token that a request may ask for, 0–100. `None` is OpenAI's limit: 5 for
    /// completions and 20 for chat.
    pub max_logprobs: Option<u8>,
    /// Silence in a stream after which a comment is sent to keep the connection alive. Default 10 s (proxies cut after
    /// 30–60 s).
    pub keep_alive: Duration,
    /// File with a chat template, or the template itself; `None` uses the model's own.
    pub chat_template: Option<String>,
    /// True if tools that a chat template does not show are described in the system turn. Default true.
    pub generic_tools: bool,
    /// Longest time for which the status of a stream is held back until its first token. Default 10 s.
    pub hold_status: Duration,
    /// True if requests with a field that would be ignored or clamped are refused. Default false; `x-llamero-strict`
    /// overrides it.
    pub strict: bool,
    /// Maximum requests per minute and key; `None` is unlimited.
    pub requests_per_minute: Option<u32>,
    /// Host names that requests may name, in lower case; `*` allows all, `*.name` all below a name.
    pub allowed_hosts: Vec<String>,
    /// Origins besides those of this machine from which browsers may call; `*` allows all.
    pub allowed_origins: Vec<String>,
    /// Facts about the proxies in front.
    pub proxy: ProxyConfig,
}

const SERVED_MODEL_NAME: OptionSpec =
    OptionSpec::new("served_model_name", Kind::List, "", "Names under which the model is served; by default that of the model.")
        .also(&["-a", "--alias"], &["LLAMA_ARG_ALIAS"]);
const RPM: OptionSpec =
    OptionSpec::new("rpm", Kind::Integer { min: 1, max: 1_000_000, auto: &["unlimited"] }, "unlimited", "Requests per minute of each key.");
const MAX_BODY_BYTES: OptionSpec = OptionSpec::new(
    "max_body_bytes",
    Kind::Integer { min: 1024, max: 1_073_741_824, auto: &[] },
    "2097152",
    "Largest request body, bytes.",
);
const BODY_TIMEOUT: OptionSpec =
    OptionSpec::new("body_timeout", Kind::Duration { min_s: 1, max_s: 3600 }, "30s", "Longest wait for a whole request body.");
const MAX_STOP_STRINGS: OptionSpec = OptionSpec::new(
    "max_stop_strings",
    Kind::Integer { min: 1, max: 256, auto: &[] },
    "64",
    "Stop strings that a request may have, on every route (OpenAI allows 4).",
);
const STRICT: OptionSpec = OptionSpec::new(
    "strict",
    Kind::Switch,
    "false",
    "Refuse requests with fields that would be ignored or clamped, instead of naming these in x-llamero-warnings.",
);
const MAX_LOGPROBS: OptionSpec = OptionSpec::new(
    "max_logprobs",
    Kind::Integer { min: 0, max: 100, auto: &["auto"] },
    "auto",
    "Alternatives per token that a request may ask for with logprobs or top_logprobs; auto is OpenAI's 5 for completions and 20 for chat.",
);
const KEEP_ALIVE: OptionSpec = OptionSpec::new(
    "keep_alive",
    Kind::Duration { min_s: 1, max_s: 3600 },
    "10s",
    "Silence in a stream before a comment keeps the connection alive; proxies cut after 30 to 60 seconds.",
);
const CHAT_TEMPLATE: OptionSpec = OptionSpec::new(
    "chat_template",
    Kind::Text,
    "",
    "A file with the Jinja template of /v1/chat/completions, or the template itself; by default the model's own.",
)
.also(&["--chat-template-file"], &["LLAMA_ARG_CHAT_TEMPLATE_FILE", "LLAMA_ARG_CHAT_TEMPLATE"]);
const NO_GENERIC_TOOLS: OptionSpec = OptionSpec::new(
    "no_generic_tools",
    Kind::Switch,
    "false",
    "Leave out tools that the chat template does not show, instead of describing them in the system turn in a generic format.",
);
const HOLD_STATUS: OptionSpec = OptionSpec::new(
    "hold_status",
    Kind::Duration { min_s: 0, max_s: 300 },
    "10s",
    "Longest wait of a stream's status for its first token, so that errors are real statuses.",
);
const ALLOWED_HOSTS: OptionSpec = OptionSpec::new(
    "allowed_hosts",
    Kind::List,
    "",
    "Host names besides localhost by which clients may call a server that listens on loopback without keys, such as llm.example or *.lan; * allows all, and with it any web page whose name leads to this machine (DNS rebinding). Health checks may name any host.",
);
const ALLOWED_ORIGINS: OptionSpec = OptionSpec::new(
    "allowed_origins",
    Kind::List,
    "",
    "Origins whose pages may call this server from a browser, such as https://chat.example; * allows all. Do not list null: any website can call as that, from a sandboxed frame. Pages of this machine, such as http://localhost:3000, may always call a server that listens on loopback without keys.",
)
.also(&["--cors-origins"], &["LLAMERO_CORS_ORIGINS"]);

pub(super) const OPTIONS: &[OptionSpec] = &[
    SERVED_MODEL_NAME,
    RPM,
    MAX_BODY_BYTES,
    BODY_TIMEOUT,
    MAX_STOP_STRINGS,
    STRICT,
    MAX_LOGPROBS,
    CHAT_TEMPLATE,
    NO_GENERIC_TOOLS,
    KEEP_ALIVE,
    HOLD_STATUS,
    ALLOWED_HOSTS,
    ALLOWED_ORIGINS,
];

impl ApiConfig {
    /// Reads the options. `model_name` is the name to serve under if none is given.
    pub(super) fn read(values: &mut SettingsReader, model_name: String) -> Self {
        let mut served_model_names = values.list(&SERVED_MODEL_NAME);
        if served_model_names.is_empty() {
            served_model_names.push(model_name);
        }
        let allowed_hosts: Vec<String> = values.list(&ALLOWED_HOSTS).iter().map(|host| host.to_ascii_lowercase()).collect();
        for host in allowed_hosts.iter().filter(|host| !is_host_pattern(host)) {
            values.problem(&ALLOWED_HOSTS, format!("{host:?} is not a host name such as llm.example, without scheme, port and path"));
        }
        let allowed_origins = values.list(&ALLOWED_ORIGINS);
        for origin in allowed_origins.iter().filter(|origin| !is_origin(origin)) {
            values.problem(&ALLOWED_ORIGINS, format!("{origin:?} is not an origin such as https://chat.example, without a path"));
        }
        Self {
            served_model_names,
            max_body_bytes: values.integer(&MAX_BODY_BYTES),
            body_timeout: values.duration(&BODY_TIMEOUT),
            max_stop_strings: values.integer(&MAX_STOP_STRINGS),
            strict: values.switch(&STRICT),
            max_logprobs: values.optional_integer(&MAX_LOGPROBS),
            keep_alive: values.duration(&KEEP_ALIVE),
            chat_template: values.optional_text(&CHAT_TEMPLATE),
            generic_tools: !values.switch(&NO_GENERIC_TOOLS),
            hold_status: values.duration(&HOLD_STATUS),
            requests_per_minute: values.optional_integer(&RPM),
            allowed_hosts,
            allowed_origins,
            proxy: ProxyConfig::read(values),
        }
    }
}

#[cfg(test)]
impl ApiConfig {
    /// The defaults under these names, for tests.
    pub(crate) fn served_as(names: &[&str]) -> Self {
        Self {
            served_model_names: names.iter().map(|name| (*name).to_owned()).collect(),
            max_body_bytes: 2 << 20,
            body_timeout: Duration::from_secs(30),
            max_stop_strings: 64,
            strict: false,
            max_logprobs: None,
            keep_alive: Duration::from_secs(10),
            chat_template: None,
            generic_tools: true,
            hold_status: Duration::from_secs(10),
            requests_per_minute: None,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            proxy: ProxyConfig::default(),
        }
    }
}

/// A host name or address without a port; `*` and `*.name` stand for all names, and all below one.
fn is_host_pattern(text: &str) -> bool {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let is_ipv6 = name.starts_with('[') && name.ends_with(']');
    text == "*" || is_ipv6 || (!name.is_empty() && name.chars().all(allowed))
}

/// True if a browser can send this origin: `scheme://host[:port]` or `null` (RFC 6454). Anything else would never
/// match.
fn is_origin(text: &str) -> bool {
    let host = text.split_once("://").map(|(_, host)| host);
    let has_host = host.is_some_and(|host| !host.is_empty() && !host.contains('/'));
    let visible = text.chars().all(|c| c.is_ascii_graphic());
    visible && (text == "*" || text == "null" || has_host)
}
