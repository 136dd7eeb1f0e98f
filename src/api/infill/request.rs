//! The request of `POST /infill`: llama-server's fields, with its defaults.
//!
//! Source: llama.cpp, `tools/server/README.md`, `/infill` and `/completion`. A field either works, or is refused by
//! name because ignoring it would change the form of the result, or is reported as ignored.

pub(in crate::api) mod specs;

use crate::{
    api::{
        fields::{FieldError, Fields, ignored::Ignored, spec::FieldSpec, token_caps::TokenCap, values::Shaped},
        openai::shared::{
            ending::read_stop,
            limits::return_progress,
            room::TokenLimit,
            sampling::{self, Sampling},
        },
    },
    field_path::FieldPath,
};
use serde_json::Value;
use std::time::Duration;

/// The maximum number of other files in a request; llama.vim sends 16 by default.
const MAX_EXTRA: usize = 128;
/// The maximum number of entries in `response_fields` and in `samplers`.
const MAX_NAMES: usize = 64;
/// Samplers of llama-server that this server has, with their fields.
const SAMPLERS: [(&str, &[&str]); 10] = {
    use sampling::specs::*;
    let typical_p: &[&str] = &[TYP_P.name, TYPICAL_P.name];
    [
        ("penalties", &[REPETITION_PENALTY.name, REPEAT_PENALTY.name, PRESENCE_PENALTY.name, FREQUENCY_PENALTY.name, REPEAT_LAST_N.name]),
        ("dry", &[DRY_MULTIPLIER.name]),
        ("top_n_sigma", &[TOP_N_SIGMA.name]),
        ("top_k", &[TOP_K.name]),
        ("typ_p", typical_p),
        ("typical_p", typical_p),
        ("top_p", &[TOP_P.name]),
        ("min_p", &[MIN_P.name]),
        ("xtc", &[XTC_PROBABILITY.name]),
        ("temperature", &[TEMPERATURE.name, DYNATEMP_RANGE.name]),
    ]
};

/// The limits of the served model and of the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) struct InfillLimits {
    /// The number of tokens in the vocabulary; every token id is below it.
    pub(in crate::api) vocabulary_size: u32,
    /// The maximum number of stop strings.
    pub(in crate::api) max_stop_strings: usize,
}

/// The texts of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Texts {
    /// `input_prefix`, and `prompt` after it: the line up to the cursor.
    pub(super) prefix: String,
    /// `input_suffix`: the text after the cursor.
    pub(super) suffix: String,
    /// `input_extra`, least important first.
    pub(super) extra: Vec<ExtraFile>,
}

/// Another file, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ExtraFile {
    /// The name of the file; `tmp` if it has none.
    pub(super) filename: String,
    pub(super) text: String,
}

/// A request whose fields are each valid.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::api) struct InfillRequest {
    texts: Texts,
    /// The limit of the answer; as many as fit continues until the context is full.
    pub(super) limit: TokenLimit,
    pub(super) sampling: Sampling,
    pub(super) stop: Vec<String>,
    pub(super) ignore_eos: bool,
    /// `t_max_predict_ms`, the time limit of the answer after its first line.
    pub(super) time_limit: Option<Duration>,
    /// Keys of the answer, with `/` into objects; empty selects all.
    pub(super) response_fields: Vec<String>,
    pub(super) return_tokens: bool,
    pub(super) stream: bool,
    /// True if a stream tells how far the prompt is.
    pub(super) return_progress: bool,
    /// Names of fields that had no effect.
    pub(in crate::api) unknown: Ignored,
}

impl InfillRequest {
    /// Reads all fields but `model`, which was taken before.
    pub(in crate::api) fn read(mut f: Fields, limits: &InfillLimits) -> Result<Self, FieldError> {
        let texts = Texts::read(&mut f)?;
        let mut unknown = use_samplers(&mut f)?;
        f.check(specs::REFUSED)?;
        let limit = limit(&mut f, &mut unknown)?;
        let time_limit = f.get(&specs::T_MAX_PREDICT_MS)?;
        let stream = f.get(&specs::STREAM)?;
        let mut request = Self {
            texts,
            limit,
            sampling: Sampling::read(&mut f, limits.vocabulary_size)?,
            stop: read_stop(&mut f, limits.max_stop_strings)?,
            ignore_eos: f.get(&specs::IGNORE_EOS)?,
            time_limit: u64::try_from(time_limit).ok().filter(|limit| *limit > 0).map(Duration::from_millis),
            response_fields: names(&mut f, &specs::RESPONSE_FIELDS)?,
            return_tokens: f.get(&specs::RETURN_TOKENS)?,
            stream,
            return_progress: return_progress(&mut f, stream, &mut unknown)?,
            unknown: Ignored::default(),
        };
        // The prefix cache is always used; a request can neither ask for it nor refuse it.
        if !f.get(&specs::CACHE_PROMPT)? {
            unknown.add(specs::CACHE_PROMPT.name);
        }
        let has_effect = |name: &&str| f.take(name).is_some_and(|value| !is_neutral(&value));
        unknown.extend(specs::WITHOUT_EFFECT.iter().map(|spec| spec.name()).filter(has_effect).collect());
        unknown.extend(f.finish());
        request.unknown = unknown;
        Ok(request)
    }

    /// Takes the texts, which are needed only once.
    pub(super) fn take_texts(&mut self) -> Texts {
        std::mem::take(&mut self.texts)
    }

    /// True if the answer contains a key.
    pub(super) fn includes(&self, key: &str) -> bool {
        self.response_fields.is_empty() || self.response_fields.iter().any(|path| path.split('/').next() == Some(key))
    }
}

impl Texts {
    fn read(f: &mut Fields) -> Result<Self, FieldError> {
        let mut prefix = f.require(&specs::INPUT_PREFIX)?;
        prefix.push_str(&f.get(&specs::PROMPT)?.unwrap_or_default());
        let suffix = f.require(&specs::INPUT_SUFFIX)?;
        Ok(Self { prefix, suffix, extra: extra(f)? })
    }
}

/// Reads `n_predict`, or `max_tokens`. Below 0, each is as many as fit.
fn limit(f: &mut Fields, ignored: &mut Ignored) -> Result<TokenLimit, FieldError> {
    const NAME: &str = specs::N_PREDICT.name;
    const OTHER: &str = specs::MAX_TOKENS.name;
    let (sent, other) = (f.sent(&specs::N_PREDICT)?, f.get(&specs::MAX_TOKENS)?);
    if sent.is_some_and(|sent| other.is_some_and(|other| other != sent)) {
        ignored.add(OTHER);
    }
    let (field, tokens) = match (sent, other) {
        (None, Some(tokens)) => (OTHER, tokens),
        (sent, _) => (NAME, sent.unwrap_or(specs::N_PREDICT.values.default)),
    };
    Ok(TokenLimit { field, cap: u64::try_from(tokens).map_or(TokenCap::AsManyAsFit, TokenCap::AtMost) })
}

/// Reads `input_extra`: `[{"filename": …, "text": …}]`.
fn extra(f: &mut Fields) -> Result<Vec<ExtraFile>, FieldError> {
    const NAME: &str = specs::INPUT_EXTRA.name;
    let files = match f.get(&specs::INPUT_EXTRA)? {
        None => return Ok(Vec::new()),
        Some(Value::Array(files)) => files,
        Some(other) => return Err(FieldError::wrong_type(NAME, "an array of objects", &other)),
    };
    if files.len() > MAX_EXTRA {
        return Err(FieldError::invalid(NAME, format!("it has {} entries; at most {MAX_EXTRA} are accepted", files.len())));
    }
    let file = |(index, file): (usize, Value)| match file {
        Value::Object(map) => {
            let inside = |error: FieldError| error.inside(FieldPath::from(NAME).index(index));
            let mut file = Fields::new(map);
            // The time at which llama.vim saw the text, its own note.
            file.take("time");
            let read = ExtraFile {
                filename: file.get(&specs::FILENAME).map_err(inside)?.unwrap_or_else(|| "tmp".to_owned()),
                text: file.get(&specs::TEXT).map_err(inside)?.unwrap_or_default(),
            };
            f.leave("input_extra[]", file);
            Ok(read)
        }
        other => Err(FieldError::wrong_type(NAME, "only objects with 'filename' and 'text'", &other)),
    };
    files.into_iter().enumerate().map(file).collect()
}

/// Takes out the fields of samplers that `samplers` does not list, and gives those that are used llama-server's
/// defaults. Returns the listed names that this server does not have. Samplers always run in the same order here.
fn use_samplers(f: &mut Fields) -> Result<Ignored, FieldError> {
    const NAME: &str = specs::SAMPLERS.name;
    let all = !f.has(NAME);
    let listed = names(f, &specs::SAMPLERS)?;
    let is_used =
        |field: &str| all || SAMPLERS.iter().any(|(name, fields)| fields.contains(&field) && listed.iter().any(|listed| listed == name));
    for field in SAMPLERS.iter().copied().flat_map(|(_, fields)| fields).filter(|field| !is_used(field)) {
        f.take(field);
    }
    let defaults: [(&str, Value); 4] = [
        (specs::TEMPERATURE.name, specs::TEMPERATURE.values.default.into()),
        (specs::TOP_K.name, specs::TOP_K.values.default.into()),
        (specs::TOP_P.name, specs::TOP_P.values.default.into()),
        (specs::MIN_P.name, specs::MIN_P.values.default.into()),
    ];
    for (field, default) in defaults.into_iter().filter(|(field, _)| is_used(field)) {
        f.set_default(field, default);
    }
    let is_here = |name: &String| SAMPLERS.iter().any(|(sampler, _)| sampler == name);
    let mut unknown = Ignored::default();
    listed.iter().filter(|name| !is_here(name)).for_each(|name| unknown.add_inside(NAME, name));
    Ok(unknown)
}

/// Reads a field that is an array of strings.
fn names(f: &mut Fields, spec: &FieldSpec<Shaped>) -> Result<Vec<String>, FieldError> {
    let param = spec.name;
    let values = match f.get(spec)? {
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

/// True for `null`, `false`, 0, -1, and empty texts, lists and objects.
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
