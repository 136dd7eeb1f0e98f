//! The request of `POST /v1/responses`: every field of OpenAI's `CreateResponse`, read into a [`ChatRequest`].
//!
//! Owns the parts of a request that an answer repeats. Name, range and default of each field stand in `specs.rs`.
//! Samplers, ends and constraints that OpenAI's Responses API lacks have chat's names and are read by the same code.
//! Unknown fields are reported. Fields that need a stored response are refused by name, because none is stored.

use super::{
    input::{self, InputItems},
    names::ToolNames,
    specs,
    tools::{ToolChoice, ToolOffer, text_format, tool_choice, tools},
};
use crate::{
    api::{
        fields::{
            FieldError, Fields,
            ignored::Ignored,
            spec::FieldSpec,
            values::{Booleans, Or},
        },
        openai::{
            chat::{
                field_names::{self, FieldNames},
                request::ChatRequest,
                specs as chat,
                switches::Switches,
            },
            shared::{
                ending::Ending,
                limits::{
                    INCLUDE_OBFUSCATION, RequestLimits, SKIP_SPECIAL_TOKENS, STREAM, alternatives, refuse_what_would_change_the_result,
                },
                room::TokenLimit,
                sampling::{self, Sampling},
                structured::{Constrained, read_constraint_beside},
                unmet_choice::NOT_APPLIED,
            },
        },
    },
    chat::{
        messages::{is_text_part, replace_unread_parts},
        output::Calls,
    },
    field_path::FieldPath,
};
use serde_json::{Map, Value, json};

/// This route's names for the fields that error messages of chat's code mention.
static NAMES: FieldNames = FieldNames {
    conversation: specs::INPUT.name,
    message: "input[]",
    // A call is an item of its own, and so is reasoning.
    calls: "input[].function_call",
    thoughts: "input[].reasoning",
    function: "tools[]",
    text_tool: "tools[]",
    ..field_names::CHAT
};
const LOGPROBS: &str = "message.output_text.logprobs";
/// Names of results of OpenAI's tools, and of images. There are neither, so there is nothing to include.
const NOTHING_TO_INCLUDE: [&str; 6] = [
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
];
/// Longest key in `metadata`, characters (OpenAI).
const MAX_METADATA_KEY: usize = 64;
/// The maximum length of `metadata` as JSON, bytes: it is a part of the answer, and of three events of a stream.
const MAX_METADATA_BYTES: usize = 64 * 1024;

/// A request, and the keys of it that an answer repeats.
#[derive(Debug, PartialEq)]
pub(in crate::api) struct ResponsesRequest {
    /// The request in the form that chat prepares.
    pub(in crate::api) chat: ChatRequest,
    /// The keys of a response that repeat the request.
    pub(super) echo: Map<String, Value>,
    /// The names by which the client knows the tools.
    pub(super) names: ToolNames,
}

/// The results of the fields read so far that do not belong to the computation.
#[derive(Debug, Default)]
struct Reading {
    echo: Map<String, Value>,
    /// Names of fields that chat has too and that had no effect.
    hidden: Ignored,
    /// Names of this route's own fields that had no effect.
    ignored: Ignored,
    /// Fields that are obeyed only in part, each with its warning.
    partly: Vec<(&'static str, &'static str)>,
}

impl ResponsesRequest {
    /// Reads all fields but `model`, which was taken before.
    ///
    /// # Errors
    /// The first field at fault.
    pub(in crate::api) fn read(mut f: Fields, limits: &RequestLimits) -> Result<Self, FieldError> {
        f.check(specs::REFUSED)?;
        let truncation = f.get(&specs::TRUNCATION)?;
        refuse_what_would_change_the_result(&mut f)?;
        let instructions = f.get(&specs::INSTRUCTIONS)?;
        let mut input = f.require(&specs::INPUT)?;
        let mut replaced = Ignored::default();
        replace_unread_parts(&mut input, &specs::INPUT.name.into(), is_text_part, &mut |at| replaced.add(at.as_str()));
        let mut ignored_tools = Ignored::default();
        let mut offer = tools(&mut f, &mut ignored_tools)?;
        let items = input::read(instructions.clone(), input, &offer.names)?;
        let InputItems { conversation, mut hidden, mut ignored, left_out: items_left_out } = items;
        hidden.extend(replaced);
        ignored.extend(ignored_tools);
        let mut reading = Reading { hidden, ignored, ..Reading::default() };
        let mut switches = Switches::of_kwargs(&mut f)?;
        let calls = reading.tool_choice(&mut f, &mut offer)?;
        let ToolOffer { tools, names, shown, mut left_out } = offer;
        left_out.extend(items_left_out);
        reading.show(specs::TOOLS.name, shown.into());
        let format = reading.text(&mut f, &mut switches)?;
        reading.reasoning(&mut f, &mut switches)?;
        let logprobs = reading.logprobs(&mut f, limits)?;
        let stream = reading.stream(&mut f)?;
        reading.repeat(&mut f, instructions)?;
        reading.show(specs::TRUNCATION.name, truncation.unwrap_or("disabled").into());
        let limit = f.get(&specs::MAX_OUTPUT_TOKENS)?.map(|cap| TokenLimit { field: specs::MAX_OUTPUT_TOKENS.name, cap });
        let ending = Ending::read(&mut f, limits, limit)?;
        let sampling = Sampling::read(&mut f, limits.vocabulary_size)?;
        let mut chat = ChatRequest {
            tools,
            calls,
            constrained: read_constraint_beside(format, &mut f)?,
            parallel: f.get(&chat::PARALLEL_TOOL_CALLS)?,
            limit,
            ending,
            logprobs,
            include_reasoning: f.get(&specs::INCLUDE_REASONING)?,
            show_special: !f.get(&SKIP_SPECIAL_TOKENS)?,
            stream,
            left_out,
            leaves_out_oldest: truncation == Some("auto"),
            partly: reading.partly.clone(),
            ..ChatRequest::new(conversation, sampling, switches, &NAMES)
        };
        reading.without_effect(&mut f)?;
        reading.ignored.extend(f.finish());
        (chat.ignored, chat.ignored_last) = (reading.hidden, reading.ignored);
        Ok(Self { chat, echo: reading.echo, names })
    }
}

impl Reading {
    /// Sets a key of the response.
    fn show(&mut self, name: &str, value: Value) {
        self.echo.insert(name.to_owned(), value);
    }

    fn tool_choice(&mut self, f: &mut Fields, offer: &mut ToolOffer) -> Result<Calls, FieldError> {
        let ToolChoice { calls, shown, is_applied } = tool_choice(f, offer, &mut self.ignored)?;
        self.show(specs::TOOL_CHOICE.name, shown);
        if !is_applied {
            self.partly.push(NOT_APPLIED);
        }
        Ok(calls)
    }

    /// Reads `text`: the format and the verbosity.
    fn text(&mut self, f: &mut Fields, switches: &mut Switches) -> Result<Option<Constrained>, FieldError> {
        const NAME: &str = specs::TEXT.name;
        const VERBOSITY: &str = specs::VERBOSITY.name;
        let inside = |error: FieldError| error.inside(NAME);
        let mut text = Fields::new(f.get(&specs::TEXT)?.unwrap_or_default());
        let format = text.object("format").map_err(inside)?;
        let shown_format = format.clone().map_or_else(|| json!({"type": "text"}), Value::Object);
        let verbosity = text.known_word(&specs::VERBOSITY).map_err(inside)?;
        self.show(NAME, json!({"format": shown_format, VERBOSITY: verbosity.unwrap_or("medium")}));
        switches.set_verbosity(verbosity, "text.verbosity");
        let format = format.map(|format| text_format(format, &mut self.hidden, &mut self.ignored)).transpose()?;
        self.ignored.extend_inside(NAME, &text.finish());
        Ok(format.flatten())
    }

    /// Reads `reasoning`: the amount of reasoning. There is no summary: reasoning is shown in full.
    fn reasoning(&mut self, f: &mut Fields, switches: &mut Switches) -> Result<(), FieldError> {
        const NAME: &str = specs::REASONING.name;
        let mut options = Fields::new(f.get(&specs::REASONING)?.unwrap_or_default());
        let effort = options.known_word(&specs::EFFORT).map_err(|error| error.inside(NAME))?;
        self.show(NAME, json!({specs::EFFORT.name: effort, "summary": null}));
        switches.set_effort(effort, "reasoning.effort");
        // Only the defaults of these two fields have an effect on this server.
        for (name, default) in [("context", "auto"), ("mode", "standard")] {
            if options.take(name).is_some_and(|value| value != default) {
                options.report(name);
            }
        }
        self.ignored.extend_inside(NAME, &options.finish());
        Ok(())
    }

    /// Reads `include` and `top_logprobs`: the number of alternatives per token, `None` without log-probabilities.
    fn logprobs(&mut self, f: &mut Fields, limits: &RequestLimits) -> Result<Option<u8>, FieldError> {
        const NAME: &str = specs::INCLUDE.name;
        const TOP: &str = specs::TOP_LOGPROBS.name;
        let included = match f.get(&specs::INCLUDE)? {
            None => Vec::new(),
            Some(Value::Array(included)) => included,
            Some(other) => return Err(FieldError::wrong_type(NAME, "an array of strings", &other)),
        };
        let mut wanted = false;
        for (index, value) in included.iter().enumerate() {
            let at = FieldPath::from(NAME).index(index);
            match value.as_str() {
                Some(LOGPROBS) => wanted = true,
                Some(name) if NOTHING_TO_INCLUDE.contains(&name) => {}
                Some(_) => self.ignored.add(at.as_str()),
                None => return Err(FieldError::wrong_type(at, "a string", value)),
            }
        }
        let number = if wanted { Some(alternatives(f, &specs::TOP_LOGPROBS, limits.most_alternatives())?.unwrap_or(0)) } else { None };
        self.show(TOP, number.unwrap_or(0).into());
        if !wanted && f.take(TOP).is_some_and(|top| top != 0) {
            self.ignored.add(TOP);
        }
        Ok(number)
    }

    /// Reads `stream`, and `stream_options`, which has no effect without it. Nothing is obfuscated: frames are not
    /// padded.
    fn stream(&mut self, f: &mut Fields) -> Result<bool, FieldError> {
        const NAME: &str = specs::STREAM_OPTIONS.name;
        let stream = f.get(&STREAM)?;
        let Some(options) = f.get(&specs::STREAM_OPTIONS)? else { return Ok(stream) };
        if !stream {
            self.ignored.add(NAME);
            return Ok(stream);
        }
        let mut options = Fields::new(options);
        if options.get(&INCLUDE_OBFUSCATION).map_err(|error| error.inside(NAME))? {
            options.report(INCLUDE_OBFUSCATION.name);
        }
        self.ignored.extend_inside(NAME, &options.finish());
        Ok(stream)
    }

    /// Sets the keys of a response that repeat the request, and those that are the same in every response of this
    /// server. Leaves the fields of samplers for their reader.
    fn repeat(&mut self, f: &mut Fields, instructions: Option<String>) -> Result<(), FieldError> {
        use sampling::specs::{TEMPERATURE, TOP_P};
        const PARALLEL: FieldSpec<Or<Booleans>> = chat::PARALLEL_TOOL_CALLS;
        self.show(specs::INSTRUCTIONS.name, instructions.into());
        let defaults = [
            (TEMPERATURE.name, TEMPERATURE.values.default.into()),
            (TOP_P.name, TOP_P.values.default.into()),
            (PARALLEL.name, PARALLEL.values.default.into()),
        ];
        for (name, default) in defaults {
            self.show(name, f.peek(name).cloned().unwrap_or(default));
        }
        const LIMIT: &str = specs::MAX_OUTPUT_TOKENS.name;
        self.show(LIMIT, f.peek(LIMIT).cloned().unwrap_or(Value::Null));
        self.show(specs::METADATA.name, metadata(f)?.into());
        for spec in [specs::USER, specs::SAFETY_IDENTIFIER, specs::PROMPT_CACHE_KEY] {
            self.show(spec.name, f.get(&spec)?.into());
        }
        self.show(specs::MAX_TOOL_CALLS.name, f.get(&specs::MAX_TOOL_CALLS)?.into());
        self.show(specs::PREVIOUS_RESPONSE_ID.name, Value::Null);
        for name in [specs::BACKGROUND.name, chat::STORE.name] {
            self.show(name, false.into());
        }
        self.show(specs::SERVICE_TIER.name, "default".into());
        Ok(())
    }

    /// Takes the known fields that have no effect on the answer, and reports those that ask for something that is not
    /// done.
    fn without_effect(&mut self, f: &mut Fields) -> Result<(), FieldError> {
        const CACHE: &str = specs::PROMPT_CACHE_OPTIONS.name;
        f.check(specs::UNUSED)?;
        if f.get(&chat::STORE)? == Some(true) {
            self.ignored.add(chat::STORE.name);
        }
        for spec in [specs::BACKGROUND_OPTIONS, specs::CONTEXT_MANAGEMENT, specs::MODERATION] {
            if f.get(&spec)?.is_some_and(|asked| asked != json!({}) && asked != json!([])) {
                self.ignored.add(spec.name);
            }
        }
        let mut cache = Fields::new(f.get(&specs::PROMPT_CACHE_OPTIONS)?.unwrap_or_default());
        if cache.boolean("prewarm").map_err(|error| error.inside(CACHE))? == Some(true) {
            cache.report("prewarm");
        }
        // Prompts are kept as long as there is room, so any time to live is accepted; the rest is reported.
        cache.take("ttl");
        self.ignored.extend_inside(CACHE, &cache.finish());
        Ok(())
    }
}

/// Reads `metadata`, which is repeated in the answer. What OpenAI would refuse is reported.
fn metadata(f: &mut Fields) -> Result<Map<String, Value>, FieldError> {
    const NAME: &str = specs::METADATA.name;
    const ENTRIES: usize = specs::MAX_METADATA;
    const LONGEST: usize = specs::MAX_METADATA_VALUE;
    let metadata = f.get(&specs::METADATA)?.unwrap_or_default();
    let bytes = Value::from(metadata.clone()).to_string().len();
    if bytes > MAX_METADATA_BYTES {
        return Err(FieldError::invalid(NAME, format!("it has {bytes} bytes; at most {MAX_METADATA_BYTES} are accepted")));
    }
    let short = |text: &str, most: usize| text.chars().count() <= most;
    let fits = |(key, value): (&String, &Value)| short(key, MAX_METADATA_KEY) && value.as_str().is_some_and(|value| short(value, LONGEST));
    if metadata.len() > ENTRIES || !metadata.iter().all(fits) {
        let limits = format!("{ENTRIES} keys of {MAX_METADATA_KEY} characters with strings of {LONGEST} at most");
        f.change(NAME, format!("{NAME} is repeated in the answer, but exceeds OpenAI's limits: {limits}"));
    }
    Ok(metadata)
}

#[cfg(test)]
mod tests;
