//! What `POST /v1/responses` may ask for: every field of OpenAI's `CreateResponse`, as fields of chat.
//!
//! Owns the names that chat does not have, and what of a request an answer repeats. Chat's reader checks ranges; what of
//! its fields OpenAI's Responses API lacks passes through by the list below, and anything else is reported. Whatever needs
//! a response that was stored is refused by name, as none is.

use super::{
    input::{self, Conversation},
    names::Names,
    tools::{text_format, tool_choice, tools},
};
use crate::api::fields::{FieldError, Fields, ignored::Ignored};
use serde_json::{Map, Value, json};

/// Fields of chat that have the same name and meaning here.
const PASSED: [&str; 47] = [
    "model",
    "parallel_tool_calls",
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "seed",
    "top_k",
    "min_p",
    "repetition_penalty",
    "repeat_penalty",
    "repeat_last_n",
    "typical_p",
    "typ_p",
    "top_n_sigma",
    "dynatemp_range",
    "dynatemp_exponent",
    "xtc_probability",
    "xtc_threshold",
    "dry_multiplier",
    "dry_base",
    "dry_allowed_length",
    "dry_penalty_last_n",
    "dry_sequence_breakers",
    "mirostat",
    "mirostat_tau",
    "mirostat_eta",
    "stop",
    "stop_token_ids",
    "include_stop_str_in_output",
    "min_tokens",
    "ignore_eos",
    "structured_outputs",
    "guided_json",
    "guided_regex",
    "guided_choice",
    "guided_grammar",
    "json_schema",
    "grammar",
    "chat_template_kwargs",
    "include_reasoning",
    "skip_special_tokens",
    "allowed_token_ids",
    "bad_words",
    "logits_processors",
    "use_beam_search",
];
const LOGPROBS: &str = "message.output_text.logprobs";
const ENCRYPTED: &str = "reasoning.encrypted_content";
/// What OpenAI's tools found, and images: there is neither, so there is nothing to include.
const NOTHING_TO_INCLUDE: [&str; 6] = [
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
];
const CACHE: &str = "prompt_cache_options";
/// Entries of `metadata`, and characters of a key and of a value (OpenAI).
const METADATA: (usize, usize, usize) = (16, 64, 512);

/// A request in chat's words.
#[derive(Debug, Default, PartialEq)]
pub(in crate::api) struct ResponsesRequest {
    /// The fields of the chat request that computes the same.
    pub(in crate::api) chat: Map<String, Value>,
    /// What they are called here.
    pub(super) names: Names,
    /// The keys of a response that repeat the request.
    pub(super) echo: Map<String, Value>,
    /// Names of fields that had no effect.
    pub(in crate::api) ignored: Ignored,
}

impl ResponsesRequest {
    /// Reads all fields.
    ///
    /// # Errors
    /// The first field at fault, of those that chat does not have.
    pub(in crate::api) fn read(mut f: Fields) -> Result<Self, FieldError> {
        refuse_what_needs_a_store(&mut f)?;
        refuse_what_would_change_the_result(&mut f)?;
        let instructions = f.string("instructions")?;
        let input = f.take("input").ok_or_else(|| FieldError::missing("input"))?;
        let Conversation { messages, origins, ignored } = input::read(instructions.clone(), input)?;
        let mut request = Self { names: Names { origins }, ignored, ..Self::default() };
        request.say("messages", Some(messages.into()));
        request.say("max_completion_tokens", f.take("max_output_tokens"));
        request.tools(&mut f)?;
        request.text(&mut f)?;
        request.reasoning(&mut f)?;
        request.logprobs(&mut f)?;
        request.stream(&mut f)?;
        for name in PASSED {
            request.say(name, f.take(name));
        }
        request.repeat(&mut f, instructions)?;
        request.without_effect(&mut f)?;
        request.ignored.extend(f.finish());
        Ok(request)
    }

    /// Sets a field of chat.
    fn say(&mut self, name: &str, value: Option<Value>) {
        self.chat.extend(value.map(|value| (name.to_owned(), value)));
    }

    /// Sets a key of the response.
    fn show(&mut self, name: &str, value: Value) {
        self.echo.insert(name.to_owned(), value);
    }

    fn tools(&mut self, f: &mut Fields) -> Result<(), FieldError> {
        let (offered, shown) = tools(f, &mut self.ignored)?;
        let (choice, shown_choice) = tool_choice(f);
        self.say("tools", offered);
        self.say("tool_choice", choice);
        self.show("tools", shown.into());
        self.show("tool_choice", shown_choice);
        Ok(())
    }

    /// `text`: the format, and how much is said.
    fn text(&mut self, f: &mut Fields) -> Result<(), FieldError> {
        let mut text = Fields::new(f.object("text")?.unwrap_or_default());
        let verbosity = text.take("verbosity");
        let format = text.object("format").map_err(|error| error.inside("text"))?;
        let shown_format = format.clone().map_or_else(|| json!({"type": "text"}), Value::Object);
        self.show("text", json!({"format": shown_format, "verbosity": verbosity.as_ref().unwrap_or(&json!("medium"))}));
        let format = format.map(|format| text_format(format, &mut self.ignored));
        self.say("response_format", format);
        self.say("verbosity", verbosity);
        self.ignored.extend_inside("text", &text.finish());
        Ok(())
    }

    /// `reasoning`: how much is thought. There is no summary: what was thought is shown as it is.
    fn reasoning(&mut self, f: &mut Fields) -> Result<(), FieldError> {
        let mut options = Fields::new(f.object("reasoning")?.unwrap_or_default());
        let effort = options.take("effort");
        self.show("reasoning", json!({"effort": effort, "summary": null}));
        self.say("reasoning_effort", effort);
        // The defaults, which are what is done here.
        for (name, default) in [("context", "auto"), ("mode", "standard")] {
            if options.take(name).is_some_and(|value| value != default) {
                options.report(name);
            }
        }
        self.ignored.extend_inside("reasoning", &options.finish());
        Ok(())
    }

    /// `include` and `top_logprobs`.
    fn logprobs(&mut self, f: &mut Fields) -> Result<(), FieldError> {
        let included = match f.take("include") {
            None => Vec::new(),
            Some(Value::Array(included)) => included,
            Some(other) => return Err(FieldError::wrong_type("include", "an array of strings", &other)),
        };
        let mut wanted = false;
        for (index, value) in included.iter().enumerate() {
            let at = format!("include[{index}]");
            match value.as_str() {
                Some(LOGPROBS) => wanted = true,
                Some(ENCRYPTED) => self.ignored.add(&at),
                Some(name) if NOTHING_TO_INCLUDE.contains(&name) => {}
                Some(_) => {
                    let reason = format!("expected '{LOGPROBS}', which works, or another of OpenAI's names");
                    return Err(FieldError::invalid(&at, reason));
                }
                None => return Err(FieldError::wrong_type(&at, "a string", value)),
            }
        }
        let top = f.take("top_logprobs");
        self.show("top_logprobs", top.clone().unwrap_or_else(|| 0.into()));
        if wanted {
            self.say("logprobs", Some(true.into()));
            self.say("top_logprobs", top);
        } else if top.is_some_and(|top| top != 0) {
            self.ignored.add("top_logprobs");
        }
        Ok(())
    }

    /// `stream` and `stream_options`. Nothing is obfuscated: frames are not padded.
    fn stream(&mut self, f: &mut Fields) -> Result<(), FieldError> {
        let stream = f.boolean("stream")?.unwrap_or(false);
        self.say("stream", Some(stream.into()));
        let Some(options) = f.object("stream_options")? else { return Ok(()) };
        if !stream {
            return Err(FieldError::invalid("stream_options", "it is only allowed when 'stream' is true"));
        }
        let mut options = Fields::new(options);
        if options.boolean("include_obfuscation").map_err(|error| error.inside("stream_options"))? == Some(true) {
            options.report("include_obfuscation");
        }
        self.ignored.extend_inside("stream_options", &options.finish());
        Ok(())
    }

    /// The keys of a response that say what was asked for, and what holds for every response of this server.
    fn repeat(&mut self, f: &mut Fields, instructions: Option<String>) -> Result<(), FieldError> {
        self.show("instructions", instructions.into());
        let defaults = [("temperature", json!(1.0)), ("top_p", json!(1.0)), ("parallel_tool_calls", true.into())];
        for (name, default) in defaults {
            let value = self.chat.get(name).cloned().unwrap_or(default);
            self.show(name, value);
        }
        let most = self.chat.get("max_completion_tokens").cloned();
        self.show("max_output_tokens", most.unwrap_or(Value::Null));
        self.show("metadata", metadata(f)?.into());
        for name in ["user", "safety_identifier", "prompt_cache_key"] {
            self.show(name, f.string(name)?.into());
        }
        for name in ["max_tool_calls", "previous_response_id"] {
            self.show(name, Value::Null);
        }
        for name in ["background", "store"] {
            self.show(name, false.into());
        }
        self.show("service_tier", "default".into());
        self.show("truncation", "disabled".into());
        Ok(())
    }

    /// Takes known fields without an effect on the answer, and reports those that asked for something that is not done.
    fn without_effect(&mut self, f: &mut Fields) -> Result<(), FieldError> {
        // One tier and no programs; prompts are cached by what they say; no image is read.
        for name in ["service_tier", "access_programs", "prompt_cache_retention", "image"] {
            f.take(name);
        }
        if f.boolean("store")? == Some(true) {
            self.ignored.add("store");
        }
        let mut cache = Fields::new(f.object(CACHE)?.unwrap_or_default());
        if cache.boolean("prewarm").map_err(|error| error.inside(CACHE))? == Some(true) {
            let param = format!("{CACHE}.prewarm");
            return Err(FieldError::unsupported(param, "is not supported: every request generates"));
        }
        if cache.take("comparison_response_id").is_some() {
            self.ignored.add_inside(CACHE, "comparison_response_id");
        }
        Ok(())
    }
}

/// What needs a response or a conversation that was stored before, or one that is stored for later.
fn refuse_what_needs_a_store(f: &mut Fields) -> Result<(), FieldError> {
    let unsupported = |param: &str, reason| Err(FieldError::unsupported(param, reason));
    for name in ["previous_response_id", "conversation"] {
        if f.take(name).is_some() {
            return unsupported(name, "is not supported: responses are not stored here; send the earlier items in 'input'");
        }
    }
    if f.boolean("background")? == Some(true) {
        return unsupported("background", "is not supported: responses are not stored here, so none can be fetched later");
    }
    if f.take("background_options").is_some() {
        return unsupported("background_options", "is not supported: nothing runs in the background");
    }
    if f.take("prompt").is_some() {
        return unsupported("prompt", "is not supported: prompt templates are not stored here; send 'instructions' and 'input'");
    }
    Ok(())
}

/// What would change an answer and is not done.
fn refuse_what_would_change_the_result(f: &mut Fields) -> Result<(), FieldError> {
    let refused = [
        ("max_tool_calls", "is not supported: it limits OpenAI's built-in tools, and there are none"),
        ("context_management", "is not supported: leave out old items instead"),
        ("moderation", "is not supported: nothing is moderated here"),
        ("prompt_embeds", "is not supported"),
    ];
    for (name, reason) in refused {
        if f.take(name).is_some() {
            return Err(FieldError::unsupported(name, reason));
        }
    }
    match f.string("truncation")?.as_deref() {
        None | Some("disabled") => {}
        Some("auto") => {
            let reason = "must be 'disabled': leave out old items instead";
            return Err(FieldError::unsupported("truncation", reason));
        }
        Some(_) => return Err(FieldError::invalid("truncation", "expected 'disabled'")),
    }
    Ok(())
}

fn metadata(f: &mut Fields) -> Result<Map<String, Value>, FieldError> {
    const NAME: &str = "metadata";
    let (entries, key_length, value_length) = METADATA;
    let metadata = f.object(NAME)?.unwrap_or_default();
    let short = |text: &str, most: usize| text.chars().count() <= most;
    let fits = |(key, value): (&String, &Value)| short(key, key_length) && value.as_str().is_some_and(|value| short(value, value_length));
    if metadata.len() > entries || !metadata.iter().all(fits) {
        let reason = format!("expected at most {entries} keys of {key_length} characters with strings of {value_length} at most");
        return Err(FieldError::invalid(NAME, reason));
    }
    Ok(metadata)
}

#[cfg(test)]
mod tests;
