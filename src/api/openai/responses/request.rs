//! What `POST /v1/responses` may ask for: every field of OpenAI's `CreateResponse`, read into the request that chat reads too.
//!
//! Owns the names that chat does not have, and what of a request an answer repeats. Samplers, ends and constraints that
//! OpenAI's Responses API lacks have chat's names and are read by the same code. Anything else is reported. Whatever needs a
//! response that was stored is refused by name, as none is.

use super::{
    input::{self, InputItems},
    tools::{text_format, tool_choice, tools},
};
use crate::{
    api::{
        fields::{FieldError, Fields, ignored::Ignored},
        openai::{
            chat::{
                field_names::{self, FieldNames},
                request::ChatRequest,
                switches::{Switches, read_effort, read_verbosity},
            },
            shared::{
                ending::Ending,
                limits::{RequestLimits, refuse_what_would_change_the_result},
                sampling::Sampling,
                structured::{Constrained, read_constraint_beside},
            },
        },
    },
    chat::{messages::Tools, output::Calls},
    field_path::FieldPath,
};
use serde_json::{Map, Value, json};

/// How this route calls what chat's code speaks of.
static NAMES: FieldNames = FieldNames {
    conversation: "input",
    max_tokens: "max_output_tokens",
    message: "input[]",
    // A call is an item of its own, and so is what was thought.
    calls: "input[].function_call",
    thoughts: "input[].reasoning",
    function: "tools[]",
    ..field_names::CHAT
};
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

/// A request, and what an answer repeats of it.
#[derive(Debug, PartialEq)]
pub(in crate::api) struct ResponsesRequest {
    /// What is computed.
    pub(in crate::api) chat: ChatRequest,
    /// The keys of a response that repeat the request.
    pub(super) echo: Map<String, Value>,
}

/// What the fields that were read so far say besides what is computed.
#[derive(Debug, Default)]
struct Reading {
    echo: Map<String, Value>,
    /// Fields without effect of those that chat has too.
    hidden: Ignored,
    /// Fields without effect of this route's own.
    ignored: Ignored,
}

impl ResponsesRequest {
    /// Reads all fields but `model`, which was taken before.
    ///
    /// # Errors
    /// The first field at fault.
    pub(in crate::api) fn read(mut f: Fields, limits: &RequestLimits) -> Result<Self, FieldError> {
        refuse_what_needs_a_store(&mut f)?;
        refuse_what_is_not_done(&mut f)?;
        refuse_what_would_change_the_result(&mut f)?;
        let instructions = f.string("instructions")?;
        let input = f.take("input").ok_or_else(|| FieldError::missing("input"))?;
        let InputItems { conversation, hidden, ignored } = input::read(instructions.clone(), input)?;
        let mut reading = Reading { hidden, ignored, ..Reading::default() };
        let mut switches = Switches::of_kwargs(&mut f)?;
        let (tools, calls) = reading.tools(&mut f)?;
        let format = reading.text(&mut f, &mut switches)?;
        reading.reasoning(&mut f, &mut switches)?;
        let logprobs = reading.logprobs(&mut f, limits)?;
        let stream = reading.stream(&mut f)?;
        reading.repeat(&mut f, instructions)?;
        let max_tokens = f.integer(NAMES.max_tokens, 1..=i64::MAX)?.map(i64::unsigned_abs);
        let ending = Ending::read(&mut f, limits.vocabulary_size, limits.max_stop_strings)?;
        ending.check_under(NAMES.max_tokens, max_tokens)?;
        let sampling = Sampling::read(&mut f, limits.vocabulary_size)?;
        let mut chat = ChatRequest {
            tools,
            calls,
            constrained: read_constraint_beside(format, &mut f)?,
            parallel: f.boolean("parallel_tool_calls")?.unwrap_or(true),
            max_tokens,
            ending,
            logprobs,
            include_reasoning: f.boolean("include_reasoning")?.unwrap_or(true),
            show_special: !f.boolean("skip_special_tokens")?.unwrap_or(true),
            stream,
            ..ChatRequest::new(conversation, sampling, switches, &NAMES)
        };
        reading.without_effect(&mut f)?;
        reading.ignored.extend(f.finish());
        (chat.ignored, chat.ignored_last) = (reading.hidden, reading.ignored);
        Ok(Self { chat, echo: reading.echo })
    }
}

impl Reading {
    /// Sets a key of the response.
    fn show(&mut self, name: &str, value: Value) {
        self.echo.insert(name.to_owned(), value);
    }

    fn tools(&mut self, f: &mut Fields) -> Result<(Tools, Calls), FieldError> {
        let (tools, shown) = tools(f, &mut self.ignored)?;
        let (calls, shown_choice) = tool_choice(f, &tools)?;
        self.show("tools", shown.into());
        self.show("tool_choice", shown_choice);
        Ok((tools, calls))
    }

    /// `text`: the format, and how much is said.
    fn text(&mut self, f: &mut Fields, switches: &mut Switches) -> Result<Option<Constrained>, FieldError> {
        let inside = |error: FieldError| error.inside("text");
        let mut text = Fields::new(f.object("text")?.unwrap_or_default());
        let format = text.object("format").map_err(inside)?;
        let shown_format = format.clone().map_or_else(|| json!({"type": "text"}), Value::Object);
        self.show("text", json!({"format": shown_format, "verbosity": text.peek("verbosity").unwrap_or(&json!("medium"))}));
        switches.set_verbosity(read_verbosity(&mut text, "verbosity").map_err(inside)?, "text.verbosity");
        let format = format.map(|format| text_format(format, &mut self.hidden, &mut self.ignored)).transpose()?;
        self.ignored.extend_inside("text", &text.finish());
        Ok(format.flatten())
    }

    /// `reasoning`: how much is thought. There is no summary: what was thought is shown as it is.
    fn reasoning(&mut self, f: &mut Fields, switches: &mut Switches) -> Result<(), FieldError> {
        let mut options = Fields::new(f.object("reasoning")?.unwrap_or_default());
        self.show("reasoning", json!({"effort": options.peek("effort"), "summary": null}));
        let effort = read_effort(&mut options, "effort").map_err(|error| error.inside("reasoning"))?;
        switches.set_effort(effort, "reasoning.effort");
        // The defaults, which are what is done here.
        for (name, default) in [("context", "auto"), ("mode", "standard")] {
            if options.take(name).is_some_and(|value| value != default) {
                options.report(name);
            }
        }
        self.ignored.extend_inside("reasoning", &options.finish());
        Ok(())
    }

    /// `include` and `top_logprobs`: alternatives to report per token, if they are reported.
    fn logprobs(&mut self, f: &mut Fields, limits: &RequestLimits) -> Result<Option<u8>, FieldError> {
        let included = match f.take("include") {
            None => Vec::new(),
            Some(Value::Array(included)) => included,
            Some(other) => return Err(FieldError::wrong_type("include", "an array of strings", &other)),
        };
        let mut wanted = false;
        for (index, value) in included.iter().enumerate() {
            let at = FieldPath::from("include").index(index);
            match value.as_str() {
                Some(LOGPROBS) => wanted = true,
                Some(ENCRYPTED) => self.ignored.add(at.as_str()),
                Some(name) if NOTHING_TO_INCLUDE.contains(&name) => {}
                Some(_) => {
                    let reason = format!("expected '{LOGPROBS}', which works, or another of OpenAI's names");
                    return Err(FieldError::invalid(at, reason));
                }
                None => return Err(FieldError::wrong_type(at, "a string", value)),
            }
        }
        self.show("top_logprobs", f.peek("top_logprobs").cloned().unwrap_or_else(|| 0.into()));
        if wanted {
            let top = f.integer("top_logprobs", 0..=i64::from(limits.most_alternatives()))?;
            return Ok(Some(u8::try_from(top.unwrap_or(0)).expect("the range fits")));
        }
        if f.take("top_logprobs").is_some_and(|top| top != 0) {
            self.ignored.add("top_logprobs");
        }
        Ok(None)
    }

    /// `stream` and `stream_options`. Nothing is obfuscated: frames are not padded.
    fn stream(&mut self, f: &mut Fields) -> Result<bool, FieldError> {
        let stream = f.boolean("stream")?.unwrap_or(false);
        let Some(options) = f.object("stream_options")? else { return Ok(stream) };
        if !stream {
            return Err(FieldError::invalid("stream_options", "it is only allowed when 'stream' is true"));
        }
        let mut options = Fields::new(options);
        if options.boolean("include_obfuscation").map_err(|error| error.inside("stream_options"))? == Some(true) {
            options.report("include_obfuscation");
        }
        self.ignored.extend_inside("stream_options", &options.finish());
        Ok(stream)
    }

    /// The keys of a response that say what was asked for, and what holds for every response of this server. Leaves the fields
    /// of samplers for their reader.
    fn repeat(&mut self, f: &mut Fields, instructions: Option<String>) -> Result<(), FieldError> {
        self.show("instructions", instructions.into());
        let defaults = [("temperature", json!(1.0)), ("top_p", json!(1.0)), ("parallel_tool_calls", true.into())];
        for (name, default) in defaults {
            self.show(name, f.peek(name).cloned().unwrap_or(default));
        }
        self.show(NAMES.max_tokens, f.peek(NAMES.max_tokens).cloned().unwrap_or(Value::Null));
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
            return Err(FieldError::unsupported(FieldPath::from(CACHE).field("prewarm"), "is not supported: every request generates"));
        }
        if cache.take("comparison_response_id").is_some() {
            self.ignored.add_inside(CACHE, "comparison_response_id");
        }
        Ok(())
    }
}

/// What needs a response or a conversation that was stored before, or one that is stored for later.
fn refuse_what_needs_a_store(f: &mut Fields) -> Result<(), FieldError> {
    let unsupported = |name: &str, reason| Err(FieldError::unsupported(name, reason));
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
fn refuse_what_is_not_done(f: &mut Fields) -> Result<(), FieldError> {
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
