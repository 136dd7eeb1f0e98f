//! Fields that several routes read with the same code: how tokens are chosen, and where a text ends.

use super::field::Field;

/// Read by `api::openai::shared::sampling`.
pub(super) const SAMPLING: &[Field] = &[
    Field::works("temperature", r#"{"type":"number","minimum":0,"maximum":2,"default":1}"#, "0.5", "0 takes the likeliest token."),
    Field::works(
        "top_p",
        r#"{"type":"number","minimum":0,"maximum":1,"default":1}"#,
        "0.9",
        "Keep the smallest set of tokens with this probability.",
    ),
    Field::works(
        "presence_penalty",
        r#"{"type":"number","minimum":-2,"maximum":2,"default":0}"#,
        "0.5",
        "Subtracted from logits of tokens generated before.",
    ),
    Field::works(
        "frequency_penalty",
        r#"{"type":"number","minimum":-2,"maximum":2,"default":0}"#,
        "0.5",
        "Subtracted once for each time a token was generated before.",
    ),
    Field::works(
        "logit_bias",
        r#"{"type":"object","maxProperties":300,"additionalProperties":{"type":"number","minimum":-100,"maximum":100}}"#,
        r#"{"5":-100}"#,
        "Token id to what is added to its logit; -100 bans.",
    ),
    Field::works(
        "seed",
        r#"{"type":"integer"}"#,
        "7",
        "Same seed, same answer, on the same model file, server version and machine, but for rounding (README says how often); one is drawn and returned if absent.",
    ),
    Field::extra(
        "top_k",
        r#"{"type":"integer","minimum":-1,"maximum":2147483647,"default":0}"#,
        "40",
        "Keep the likeliest tokens; 0 and -1 keep all (vLLM).",
    ),
    Field::extra(
        "min_p",
        r#"{"type":"number","minimum":0,"maximum":1,"default":0}"#,
        "0.05",
        "Keep tokens at least this share as likely as the likeliest (vLLM).",
    ),
    Field::extra(
        "repetition_penalty",
        r#"{"type":"number","minimum":0.01,"maximum":10,"default":1}"#,
        "1.1",
        "Divides logits of tokens in prompt or output (vLLM).",
    ),
    Field::extra(
        "repeat_penalty",
        r#"{"type":"number","minimum":0.01,"maximum":10,"default":1}"#,
        "1.1",
        "Another name of `repetition_penalty` (llama-server).",
    ),
    Field::extra(
        "repeat_last_n",
        r#"{"type":"integer","minimum":-1,"maximum":2147483647,"default":-1}"#,
        "64",
        "How many of the last tokens the penalties look at; -1 is all (llama-server).",
    ),
    Field::extra(
        "typical_p",
        r#"{"type":"number","minimum":0,"maximum":1,"default":1}"#,
        "0.9",
        "Locally typical sampling (Hugging Face, llama-server).",
    ),
    Field::extra("typ_p", r#"{"type":"number","minimum":0,"maximum":1,"default":1}"#, "0.9", "Another name of `typical_p` (llama-server)."),
    Field::extra(
        "top_n_sigma",
        r#"{"type":"number","minimum":-1,"maximum":100,"default":0}"#,
        "1.5",
        "Keep tokens within so many standard deviations of the best logit; 0 and -1 are off (llama-server).",
    ),
    Field::extra(
        "dynatemp_range",
        r#"{"type":"number","minimum":0,"maximum":2,"default":0}"#,
        "0.5",
        "How far the temperature follows the entropy (llama-server).",
    ),
    Field::extra(
        "dynatemp_exponent",
        r#"{"type":"number","minimum":0,"maximum":10,"default":1}"#,
        "1.5",
        "How it follows it (llama-server).",
    ),
    Field::extra(
        "xtc_probability",
        r#"{"type":"number","minimum":0,"maximum":1,"default":0}"#,
        "0.5",
        "How often the likeliest tokens above `xtc_threshold` but one are dropped (llama-server).",
    ),
    Field::extra(
        "xtc_threshold",
        r#"{"type":"number","minimum":0,"maximum":1,"default":0.1}"#,
        "0.2",
        "From which probability on (llama-server).",
    ),
    Field::extra(
        "dry_multiplier",
        r#"{"type":"number","minimum":0,"maximum":100,"default":0}"#,
        "0.8",
        "Strength of the penalty for repeated sequences; 0 is off (llama-server).",
    ),
    Field::extra(
        "dry_base",
        r#"{"type":"number","minimum":1,"maximum":100,"default":1.75}"#,
        "1.75",
        "How it grows with the length of the repetition (llama-server).",
    ),
    Field::extra(
        "dry_allowed_length",
        r#"{"type":"integer","minimum":1,"maximum":2147483647,"default":2}"#,
        "2",
        "Longest repetition without penalty, tokens (llama-server).",
    ),
    Field::extra(
        "dry_penalty_last_n",
        r#"{"type":"integer","minimum":-1,"maximum":2147483647,"default":-1}"#,
        "64",
        "How many of the last tokens are looked at (llama-server).",
    ),
    Field::extra(
        "dry_sequence_breakers",
        r#"{"type":"array","maxItems":16,"items":{"type":"string"}}"#,
        r#"["\n"]"#,
        "Texts that a repetition does not go across (llama-server).",
    ),
    Field::refused("mirostat", "2", "llama-server's; its state cannot be restored when the engine restarts."),
    Field::extra("mirostat_tau", r#"{"type":"number","minimum":0,"maximum":1000}"#, "5", "Without effect, as `mirostat` is not there."),
    Field::extra("mirostat_eta", r#"{"type":"number","minimum":0,"maximum":1000}"#, "0.1", "Without effect, as `mirostat` is not there."),
];

/// Read by `api::openai::shared::ending`.
pub(super) const ENDING: &[Field] = &[
    Field::works(
        "stop",
        r#"{"anyOf":[{"type":"string","minLength":1,"maxLength":256},{"type":"array","maxItems":4,"items":{"type":"string","minLength":1,"maxLength":256}}]}"#,
        r#"["\n"]"#,
        "Where the text ends, not included in it; `--max-stop-strings` allows more.",
    ),
    Field::extra(
        "stop_token_ids",
        r#"{"type":"array","maxItems":128,"items":{"type":"integer","minimum":0}}"#,
        "[5]",
        "Tokens that end the text (vLLM).",
    ),
    Field::extra(
        "include_stop_str_in_output",
        r#"{"type":"boolean","default":false}"#,
        "true",
        "Keep the stop string or token in the text (vLLM).",
    ),
    Field::extra(
        "min_tokens",
        r#"{"type":"integer","minimum":0,"maximum":4294967295,"default":0}"#,
        "1",
        "Tokens before the text may end by itself (vLLM).",
    ),
    Field::extra("ignore_eos", r#"{"type":"boolean","default":false}"#, "true", "Go on past the end of generation (vLLM)."),
];

/// Read by `api::openai::shared::structured`, where a request has it under this name.
pub(super) const RESPONSE_FORMAT: &[Field] = &[Field::works(
    "response_format",
    r#"{"type":"object","required":["type"],"properties":{"type":{"enum":["text","json_object","json_schema"]},"json_schema":{"type":["object","null"],"required":["name","schema"],"properties":{"name":{"type":"string"},"schema":{"type":"object"},"strict":{"type":["boolean","null"]},"description":{"type":["string","null"]}}}}}"#,
    r#"{"type":"json_object"}"#,
    "What the answer must be; a schema is always obeyed, `strict` or not, and one that is not supported is refused.",
)];

/// Read by `api::openai::shared::structured`, beside what a request's own format says.
pub(super) const STRUCTURED: &[Field] = &[
    Field::extra(
        "structured_outputs",
        r#"{"type":"object"}"#,
        r#"{"choice":["a","b"]}"#,
        "One of `json`, `regex`, `choice`, `grammar` and `json_object` (vLLM).",
    ),
    Field::extra("guided_json", r#"{"type":["object","string"]}"#, r#"{"type":"object"}"#, "A JSON Schema (vLLM before 0.12)."),
    Field::extra("guided_regex", r#"{"type":"string"}"#, "\"a+\"", "A regular expression (vLLM before 0.12)."),
    Field::extra(
        "guided_choice",
        r#"{"type":"array","minItems":1,"items":{"type":"string"}}"#,
        r#"["a","b"]"#,
        "Texts of which the answer is one (vLLM before 0.12).",
    ),
    Field::extra("guided_grammar", r#"{"type":"string"}"#, r#""root ::= \"a\"""#, "A grammar (vLLM before 0.12)."),
    Field::extra("json_schema", r#"{"type":["object","string"]}"#, r#"{"type":"object"}"#, "A JSON Schema (llama-server)."),
    Field::extra("grammar", r#"{"type":"string"}"#, r#""root ::= \"a\"""#, "A grammar in GBNF (llama-server)."),
];
