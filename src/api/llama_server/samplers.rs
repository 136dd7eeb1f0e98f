//! The field `samplers`: the samplers to use, by their names or by llama.cpp's letters. Their order is always that of
//! this server.

use super::options::specs::{self, MAX_NAMES};
use crate::api::{
    fields::{FieldError, Fields, ignored::Ignored, spec::FieldSpec, values::Shaped},
    openai::shared::sampling,
};
use serde_json::Value;

/// Samplers of llama-server that this server has, with their fields, in the order in which they are applied
/// (`src/sampling`).
const SAMPLERS: [(&str, &[&str]); 10] = {
    use sampling::specs::*;
    let typical_p: &[&str] = &[TYP_P.name, TYPICAL_P.name];
    [
        ("penalties", &[REPETITION_PENALTY.name, REPEAT_PENALTY.name, PRESENCE_PENALTY.name, FREQUENCY_PENALTY.name, REPEAT_LAST_N.name]),
        ("dry", &[DRY_MULTIPLIER.name]),
        ("temperature", &[TEMPERATURE.name, DYNATEMP_RANGE.name]),
        ("top_n_sigma", &[TOP_N_SIGMA.name]),
        ("top_k", &[TOP_K.name]),
        ("typ_p", typical_p),
        ("typical_p", typical_p),
        ("top_p", &[TOP_P.name]),
        ("min_p", &[MIN_P.name]),
        ("xtc", &[XTC_PROBABILITY.name]),
    ]
};

/// Letters of samplers (llama.cpp, `common_sampler_types_from_chars`).
const LETTERS: [(char, &str); 11] = [
    ('e', "penalties"),
    ('d', "dry"),
    ('s', "top_n_sigma"),
    ('k', "top_k"),
    ('y', "typ_p"),
    ('p', "top_p"),
    ('m', "min_p"),
    ('x', "xtc"),
    ('t', "temperature"),
    ('i', "infill"),
    ('a', "adaptive_p"),
];

/// The names in the order in which this server applies them, for answers that list them.
pub(super) fn all() -> impl Iterator<Item = &'static str> {
    SAMPLERS.iter().map(|(name, _)| *name).filter(|name| *name != "typical_p")
}

/// Takes out the fields of samplers that `samplers` does not list, and gives those that are used llama-server's
/// defaults. Returns the listed names and letters that this server does not have. Samplers always run in the
/// same order here.
pub(super) fn use_samplers(f: &mut Fields) -> Result<Ignored, FieldError> {
    const NAME: &str = specs::SAMPLERS.name;
    let all = !f.has(NAME);
    let mut unknown = Ignored::default();
    let listed = match f.peek(NAME) {
        Some(Value::String(letters)) => {
            let is_known = |letter: &char| LETTERS.iter().any(|(known, _)| known == letter);
            let others = letters.chars().filter(|letter| !is_known(letter));
            others.for_each(|letter| unknown.add_inside(NAME, letter.encode_utf8(&mut [0; 4])));
            let named = LETTERS.iter().filter(|(letter, _)| letters.contains(*letter));
            let named = named.map(|(_, name)| (*name).to_owned()).collect();
            f.take(NAME);
            named
        }
        _ => names(f, &specs::SAMPLERS)?,
    };
    let is_used =
        |field: &str| all || SAMPLERS.iter().any(|(name, fields)| fields.contains(&field) && listed.iter().any(|listed| listed == name));
    for field in SAMPLERS.iter().copied().flat_map(|(_, fields)| fields).filter(|field| !is_used(field)) {
        f.take(field);
    }
    for spec in specs::OTHER_DEFAULTS.iter().filter(|spec| is_used(spec.name())) {
        f.set_default(spec.name(), spec.schema()["default"].clone());
    }
    let is_here = |name: &String| SAMPLERS.iter().any(|(sampler, _)| sampler == name);
    listed.iter().filter(|name| !is_here(name)).for_each(|name| unknown.add_inside(NAME, name));
    Ok(unknown)
}

/// Reads a field that is an array of strings.
pub(super) fn names(f: &mut Fields, spec: &FieldSpec<Shaped>) -> Result<Vec<String>, FieldError> {
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
