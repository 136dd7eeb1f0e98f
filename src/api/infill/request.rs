//! The request of `POST /infill`: the texts around the cursor, and the fields that it shares with `/completion`.

pub(in crate::api) mod specs;

use crate::{
    api::{
        fields::{FieldError, Fields},
        llama_server::options::SharedOptions,
        openai::shared::limits::RequestLimits,
    },
    field_path::FieldPath,
};
use serde_json::Value;

/// The maximum number of other files in a request; llama.vim sends 16 by default.
const MAX_EXTRA: usize = 128;

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
    pub(in crate::api) options: SharedOptions,
}

impl InfillRequest {
    /// Reads all fields but `model`, which was taken before.
    pub(in crate::api) fn read(mut f: Fields, limits: &RequestLimits) -> Result<Self, FieldError> {
        Ok(Self { texts: Texts::read(&mut f)?, options: SharedOptions::read(f, limits)? })
    }

    /// Takes the texts, which are needed only once.
    pub(super) fn take_texts(&mut self) -> Texts {
        std::mem::take(&mut self.texts)
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

#[cfg(test)]
mod tests;
