//! What `POST /infill` may ask for: llama-server's fields, with its defaults.
//!
//! Source: llama.cpp, `tools/server/README.md`, `/infill` and `/completion`. A field either works, or is refused by name
//! because ignoring it would change the form of the result, or is reported as ignored.

use crate::api::{
    fields::{FieldError, Fields, ignored::Ignored},
    openai::shared::{ending::read_stop, sampling::Sampling},
};
use serde_json::{Value, json};
use std::time::Duration;

/// Other files in a request at most; llama.vim sends 16 by default.
const MAX_EXTRA: usize = 128;
/// Entries of `response_fields` and `samplers` at most.
const MAX_NAMES: usize = 64;
/// Samplers of llama-server that are here, with their fields.
const SAMPLERS: [(&str, &[&str]); 10] = [
    ("penalties", &["repetition_penalty", "repeat_penalty", "presence_penalty", "frequency_penalty", "repeat_last_n"]),
    ("dry", &["dry_multiplier"]),
    ("top_n_sigma", &["top_n_sigma"]),
    ("top_k", &["top_k"]),
    ("typ_p", &["typ_p", "typical_p"]),
    ("typical_p", &["typ_p", "typical_p"]),
    ("top_p", &["top_p"]),
    ("min_p", &["min_p"]),
    ("xtc", &["xtc_probability"]),
    ("temperature", &["temperature", "dynatemp_range"]),
];
/// llama-server's defaults where they are not OpenAI's.
const DEFAULTS: [(&str, f64); 4] = [("temperature", 0.8), ("top_k", 40.0), ("top_p", 0.95), ("min_p", 0.05)];
/// Fields that do nothing here, and nothing in llama-server either when they are `false`, 0, -1 or empty.
const WITHOUT_EFFECT: [&str; 9] = [
    "n_indent",
    "n_keep",
    "n_cache_reuse",
    "t_max_prompt_ms",
    "timings_per_token",
    "return_progress",
    "id_slot",
    "min_keep",
    "post_sampling_probs",
];

/// What the served model and the operator allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) struct InfillLimits {
    /// Token ids are below this.
    pub(in crate::api) vocabulary_size: u32,
    /// Stop strings at most.
    pub(in crate::api) max_stop_strings: usize,
}

/// The texts of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Texts {
    /// `input_prefix`, and `prompt` behind it: the line up to the cursor.
    pub(super) prefix: String,
    /// `input_suffix`.
    pub(super) suffix: String,
    /// `input_extra`, least important first.
    pub(super) extra: Vec<ExtraFile>,
}

/// Another file, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ExtraFile {
    /// `tmp` if it has no name.
    pub(super) filename: String,
    pub(super) text: String,
}

/// A request whose fields are each valid.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::api) struct InfillRequest {
    texts: Texts,
    /// Tokens to generate at most; `None` goes on until the context is full.
    pub(super) n_predict: Option<u64>,
    pub(super) sampling: Sampling,
    pub(super) stop: Vec<String>,
    pub(super) ignore_eos: bool,
    /// `t_max_predict_ms`.
    pub(super) time_limit: Option<Duration>,
    /// Keys of the answer, with `/` into objects; empty shows all.
    pub(super) response_fields: Vec<String>,
    pub(super) return_tokens: bool,
    pub(super) stream: bool,
    /// Names of fields that had no effect.
    pub(in crate::api) unknown: Ignored,
}

impl InfillRequest {
    /// Reads all fields but `model`, which was taken before.
    pub(in crate::api) fn read(mut f: Fields, limits: &InfillLimits) -> Result<Self, FieldError> {
        let texts = Texts::read(&mut f)?;
        let mut unknown = use_samplers(&mut f)?;
        refuse_what_would_change_the_result(&mut f)?;
        // -1 is a random one, which is what no seed is.
        if let Some(seed) = f.integer("seed", i64::MIN..=i64::MAX)?.filter(|seed| *seed != -1) {
            f.set_default("seed", json!(seed));
        }
        let n_predict = f.integer("n_predict", -2..=i64::from(u32::MAX))?;
        let time_limit = f.integer("t_max_predict_ms", -1..=i64::from(u32::MAX))?;
        let mut request = Self {
            texts,
            n_predict: n_predict.and_then(|most| u64::try_from(most).ok()),
            sampling: Sampling::read(&mut f, limits.vocabulary_size)?,
            stop: read_stop(&mut f, limits.max_stop_strings)?,
            ignore_eos: f.boolean("ignore_eos")?.unwrap_or(false),
            time_limit: time_limit.and_then(|limit| u64::try_from(limit).ok()).filter(|limit| *limit > 0).map(Duration::from_millis),
            response_fields: names(&mut f, "response_fields")?,
            return_tokens: f.boolean("return_tokens")?.unwrap_or(false),
            stream: f.boolean("stream")?.unwrap_or(false),
            unknown: Ignored::default(),
        };
        // What is cached is always used; there is no need to ask for it, and no way to refuse it.
        if f.boolean("cache_prompt")? == Some(false) {
            unknown.add("cache_prompt");
        }
        let has_effect = |name: &&str| f.take(name).is_some_and(|value| !is_neutral(&value));
        unknown.extend(WITHOUT_EFFECT.iter().copied().filter(has_effect).collect());
        unknown.extend(f.finish());
        request.unknown = unknown;
        Ok(request)
    }

    /// The texts, which are not needed twice.
    pub(super) fn take_texts(&mut self) -> Texts {
        std::mem::take(&mut self.texts)
    }

    /// Whether the answer shows a key.
    pub(super) fn shows(&self, key: &str) -> bool {
        self.response_fields.is_empty() || self.response_fields.iter().any(|path| path.split('/').next() == Some(key))
    }
}

impl Texts {
    fn read(f: &mut Fields) -> Result<Self, FieldError> {
        let required = |text: Option<String>, param: &str| text.ok_or_else(|| FieldError::missing(param));
        let mut prefix = required(f.string("input_prefix")?, "input_prefix")?;
        prefix.push_str(&f.string("prompt")?.unwrap_or_default());
        let suffix = required(f.string("input_suffix")?, "input_suffix")?;
        Ok(Self { prefix, suffix, extra: extra(f)? })
    }
}

/// `[{"filename": …, "text": …}]`.
fn extra(f: &mut Fields) -> Result<Vec<ExtraFile>, FieldError> {
    const NAME: &str = "input_extra";
    let files = match f.take(NAME) {
        None => return Ok(Vec::new()),
        Some(Value::Array(files)) => files,
        Some(other) => return Err(FieldError::wrong_type(NAME, "an array of objects", &other)),
    };
    if files.len() > MAX_EXTRA {
        return Err(FieldError::invalid(NAME, format!("it has {} entries; at most {MAX_EXTRA} are accepted", files.len())));
    }
    let file = |file: Value| match file {
        Value::Object(map) => {
            let mut file = Fields::new(map);
            // llama.vim's own note of when it saw the text.
            file.take("time");
            let read = ExtraFile {
                filename: file.string("filename")?.unwrap_or_else(|| "tmp".to_owned()),
                text: file.string("text")?.unwrap_or_default(),
            };
            f.leave("input_extra[]", file);
            Ok(read)
        }
        other => Err(FieldError::wrong_type(NAME, "only objects with 'filename' and 'text'", &other)),
    };
    files.into_iter().map(file).collect()
}

/// Takes out the fields of samplers that `samplers` does not list, and gives those that are used llama-server's defaults.
/// Names of listed ones that are not here come back. Their order here is always the same.
fn use_samplers(f: &mut Fields) -> Result<Ignored, FieldError> {
    const NAME: &str = "samplers";
    let all = !f.has(NAME);
    let listed = names(f, NAME)?;
    let is_used =
        |field: &str| all || SAMPLERS.iter().any(|(name, fields)| fields.contains(&field) && listed.iter().any(|listed| listed == name));
    for field in SAMPLERS.iter().copied().flat_map(|(_, fields)| fields).filter(|field| !is_used(field)) {
        f.take(field);
    }
    for (field, default) in DEFAULTS.into_iter().filter(|(field, _)| is_used(field)) {
        f.set_default(field, number(default));
    }
    let is_here = |name: &String| SAMPLERS.iter().any(|(sampler, _)| sampler == name);
    let mut unknown = Ignored::default();
    listed.iter().filter(|name| !is_here(name)).for_each(|name| unknown.add_inside(NAME, name));
    Ok(unknown)
}

/// Whole numbers as such: `top_k` is one.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 { json!(value as i64) } else { json!(value) }
}

/// An array of strings.
fn names(f: &mut Fields, param: &str) -> Result<Vec<String>, FieldError> {
    let values = match f.take(param) {
        None => return Ok(Vec::new()),
        Some(Value::Array(values)) => values,
        Some(other) => return Err(FieldError::wrong_type(param, "an array of strings", &other)),
    };
    if values.len() > MAX_NAMES {
        return Err(FieldError::invalid(param, format!("it has {} entries; at most {MAX_NAMES} are accepted", values.len())));
    }
    let name = |value: Value| match value {
        Value::String(name) => Ok(name),
        other => Err(FieldError::wrong_type(param, "only strings", &other)),
    };
    values.into_iter().map(name).collect()
}

/// Fields that give the text or the answer another form.
fn refuse_what_would_change_the_result(f: &mut Fields) -> Result<(), FieldError> {
    for name in ["grammar", "json_schema", "n_probs", "lora", "n_cmpl"] {
        let changes = f.take(name).is_some_and(|value| !is_neutral(&value) && (name != "n_cmpl" || value != json!(1)));
        if changes {
            return Err(FieldError::unsupported(name, "is not supported by this route"));
        }
    }
    Ok(())
}

/// `false`, 0, -1, and what is empty.
fn is_neutral(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64().is_some_and(|number| number == 0.0 || number == -1.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        // `{}` is a schema that anything obeys.
        Value::Object(map) => map.is_empty(),
    }
}

#[cfg(test)]
mod tests;
