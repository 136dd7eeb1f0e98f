//! The fields of `POST /embedding`.

use super::MAX_NORM;
use crate::api::{
    fields::{
        spec::{FieldSpec, Specs},
        values::{Integers, Or, Shaped, integer},
    },
    openai::{
        embeddings::request::specs::{self as openai, TRUNCATE_PROMPT_TOKENS},
        shared::limits::MODEL_OR_FIRST,
    },
};

pub(in crate::api) const CONTENT: FieldSpec<Shaped> = FieldSpec { name: "content", ..openai::INPUT }
    .extra()
    .example("\"x\"")
    .about("A string, strings, token ids, or lists of token ids; 2,048 inputs and 300,000 tokens at most.");
pub(in crate::api) const INPUT: FieldSpec<Shaped> =
    openai::INPUT.extra().example("null").about("Another name of `content`, which counts where both are sent.");
pub(in crate::api) const EMBD_NORMALIZE: FieldSpec<Or<Integers>> = integer("embd_normalize", -1..=MAX_NORM)
    .or(2)
    .extra()
    .example("1")
    .about("-1 leaves the vector as it is, 0 scales its largest number to 32,760, p its p-norm to 1.");

/// All fields of `POST /embedding`.
pub(in crate::api) const EMBEDDING: Specs = &[&MODEL_OR_FIRST, &CONTENT, &INPUT, &EMBD_NORMALIZE, &TRUNCATE_PROMPT_TOKENS];
