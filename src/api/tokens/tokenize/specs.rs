//! The fields of `POST /tokenize`: vLLM's and llama-server's.

use crate::api::{
    fields::{
        spec::{FieldSpec, Specs},
        values::{Booleans, Objects, Or, Shaped, Strings, boolean, object, shaped, string},
    },
    openai::{chat::specs as chat, shared::limits::MODEL_OR_FIRST},
};
use serde_json::json;

pub(in crate::api) const CONTENT: FieldSpec<Strings> =
    string("content").extra().example("null").about("The text, in llama-server's dialect: without BOS by default.");
pub(in crate::api) const PROMPT: FieldSpec<Strings> =
    string("prompt").extra().about("The text, in vLLM's dialect: with BOS by default. One of the two is required.");
pub(in crate::api) const ADD_SPECIAL: FieldSpec<Booleans> =
    boolean("add_special").extra().about("BOS in front where the vocabulary wants it (llama-server).");
pub(in crate::api) const ADD_SPECIAL_TOKENS: FieldSpec<Booleans> =
    boolean("add_special_tokens").extra().about("Another name of `add_special` (vLLM).");
pub(in crate::api) const PARSE_SPECIAL: FieldSpec<Or<Booleans>> = boolean("parse_special")
    .or(true)
    .extra()
    .example("false")
    .about("Control tokens that the text spells become those tokens (llama-server).");
pub(in crate::api) const WITH_PIECES: FieldSpec<Or<Booleans>> =
    boolean("with_pieces").or(false).extra().about("`tokens` are objects with `id` and `piece`, a string or bytes (llama-server).");
pub(in crate::api) const RETURN_TOKEN_STRS: FieldSpec<Or<Booleans>> =
    boolean("return_token_strs").or(false).extra().about("`token_strs` has the text of each token (vLLM).");

/// The fields of a request with a text.
pub(in crate::api) const TOKENIZE: Specs =
    &[&MODEL_OR_FIRST, &CONTENT, &PROMPT, &ADD_SPECIAL, &ADD_SPECIAL_TOKENS, &PARSE_SPECIAL, &WITH_PIECES, &RETURN_TOKEN_STRS];

/// Fields of chat that determine its prompt (vLLM's `TokenizeChatRequest`). Chat's reader checks their values.
pub(in crate::api) const OF_CHAT: Specs = &[
    &shaped(chat::MESSAGES.name, || json!({"type": "array", "minItems": 1, "items": {"type": "object"}}))
        .extra()
        .example(r#"[{"role":"user","content":"x"}]"#)
        .about("As in `/v1/chat/completions` (vLLM)."),
    &shaped(chat::TOOLS.name, || json!({"type": "array", "items": {"type": "object"}}))
        .extra()
        .example(chat::TOOLS.example)
        .about("Told to the model's template; if it shows none, the system turn describes them (vLLM)."),
    &boolean(chat::ADD_GENERATION_PROMPT.name).extra().example("false").about("The prompt ends where the assistant begins (vLLM)."),
    &chat::CONTINUE_FINAL_MESSAGE.example("false").about("The prompt ends within the last message (vLLM)."),
    &CHAT_TEMPLATE_KWARGS,
];
const CHAT_TEMPLATE_KWARGS: FieldSpec<Objects> =
    object(chat::CHAT_TEMPLATE_KWARGS.name, || json!({"type": "object"})).extra().about("As in `/v1/chat/completions` (vLLM).");

/// Fields of chat that its reader refuses.
pub(in crate::api) const REFUSED_BY_CHAT: Specs = &[
    &chat::CHAT_TEMPLATE.example("\"x\"").about("The server's operator chooses the template."),
    &chat::ADD_SPECIAL_TOKENS.about("The template writes them."),
];

/// The fields with a text, which are refused in a request with `messages`.
pub(in crate::api) const TEXTS: Specs = &[&beside_messages(CONTENT.name), &beside_messages(PROMPT.name)];

/// The fields that ask for further facts about tokens in the answer.
const SPELLING: Specs = &[&WITH_PIECES, &RETURN_TOKEN_STRS];

/// The fields of a request with `messages`.
pub(in crate::api) const TOKENIZE_CHAT: &[Specs] = &[&[&MODEL_OR_FIRST], OF_CHAT, SPELLING, TEXTS, REFUSED_BY_CHAT];

const fn beside_messages(name: &'static str) -> FieldSpec<Shaped> {
    shaped(name, || json!({})).refused().about("There are `messages`.")
}
