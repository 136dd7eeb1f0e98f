//! The request of `POST /v1/chat/completions`: every field of OpenAI's `CreateChatCompletionRequest`, and vLLM's
//! extras.
//!
//! The readers of responses and messages build a [`ChatRequest`] too, from fields of their own. Name, range and default
//! of each field stand in `specs.rs`. A field either works, or is refused by name because ignoring it would change the
//! result, or is reported. `prompt.rs` makes the checks that need the model's template, `mod.rs` those that need token
//! counts, and `crate::chat` those of messages and tools.

use super::{
    field_names::{CHAT, FieldNames},
    specs,
    switches::Switches,
};
use crate::{
    api::{
        fields::{FieldError, Fields, ignored::Ignored},
        openai::{
            shared::ending::Ending,
            shared::left_out::{LeftOut, LeftOutPart},
            shared::limits::{
                N, RequestLimits, SKIP_SPECIAL_TOKENS, STREAM, alternatives, most_choices, refuse_what_would_change_the_result,
                return_progress, stream_options,
            },
            shared::room::TokenLimit,
            shared::sampling::Sampling,
            shared::structured::{Constrained, read_constraint},
            shared::unmet_choice::{NOT_APPLIED, asks_for_left_out, is_left_out},
        },
    },
    chat::{
        Conversation,
        messages::{Tools, is_text_part, read_messages, read_tool_choice, read_tools, replace_unread_parts, unread},
        output::Calls,
    },
};
use serde_json::Value;

/// A request whose fields are each valid.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::api) struct ChatRequest {
    /// At least one message.
    pub(in crate::api) conversation: Conversation,
    /// The route's names of the fields that later errors and warnings mention.
    pub(in crate::api) names: &'static FieldNames,
    /// The functions that may be called.
    pub(in crate::api) tools: Tools,
    /// OpenAI's `tool_choice`.
    pub(in crate::api) calls: Calls,
    /// The constraint that the answer must obey, from `response_format` and similar fields.
    pub(in crate::api) constrained: Option<Constrained>,
    /// OpenAI's `parallel_tool_calls`. Default true.
    pub(in crate::api) parallel: bool,
    /// The inputs of the template besides messages and tools.
    pub(in crate::api) switches: Switches,
    /// The limit of the answer; `None` is the room that the prompt leaves in the context.
    pub(in crate::api) limit: Option<TokenLimit>,
    /// Number of choices, 1 to 8. Default 1.
    pub(in crate::api) n: usize,
    /// The parameters for drawing tokens.
    pub(in crate::api) sampling: Sampling,
    /// The conditions under which the text ends.
    pub(in crate::api) ending: Ending,
    /// Number of alternatives to report per token, 0 to 20; `None` reports nothing.
    pub(in crate::api) logprobs: Option<u8>,
    /// vLLM's `include_reasoning`. Default true.
    pub(in crate::api) include_reasoning: bool,
    /// The opposite of vLLM's `skip_special_tokens`. Default false.
    pub(in crate::api) show_special: bool,
    /// OpenAI's `prediction`: a text that most of the answer is expected to repeat. It makes the answer faster, not
    /// different.
    pub(in crate::api) prediction: Option<String>,
    /// True if the answer is streamed as server-sent events. Default false.
    pub(in crate::api) stream: bool,
    /// llama-server's `return_progress`: true if a stream tells how far the prompt is. Default false.
    pub(in crate::api) return_progress: bool,
    /// True if a stream ends with a chunk that has the usage. Default false.
    pub(in crate::api) include_usage: bool,
    /// Names of fields that had no effect.
    pub(in crate::api) ignored: Ignored,
    /// Names of a route's own fields that had no effect. Warnings list them after those that the template does not
    /// know.
    pub(in crate::api) ignored_last: Ignored,
    /// Tools and items of the history that are left out because of their type.
    pub(in crate::api) left_out: LeftOut,
    /// True if the oldest turns of a conversation that does not fit are left out. Default false.
    pub(in crate::api) leaves_out_oldest: bool,
    /// Fields that are obeyed only in part, each with its warning in visible ASCII and spaces.
    pub(in crate::api) partly: Vec<(&'static str, &'static str)>,
}

impl ChatRequest {
    /// A request with defaults for all other fields.
    pub(in crate::api) fn new(conversation: Conversation, sampling: Sampling, switches: Switches, names: &'static FieldNames) -> Self {
        Self {
            conversation,
            names,
            tools: Tools::default(),
            calls: Calls::None,
            constrained: None,
            parallel: true,
            switches,
            limit: None,
            n: 1,
            sampling,
            ending: Ending::default(),
            logprobs: None,
            include_reasoning: true,
            show_special: false,
            prediction: None,
            stream: false,
            return_progress: false,
            include_usage: false,
            ignored: Ignored::default(),
            ignored_last: Ignored::default(),
            left_out: LeftOut::default(),
            leaves_out_oldest: false,
            partly: Vec::new(),
        }
    }

    /// Reads all fields but `model`, which was taken before.
    ///
    /// # Errors
    /// The first field at fault.
    pub(in crate::api) fn read(mut f: Fields, limits: &RequestLimits) -> Result<Self, FieldError> {
        let mut messages = f.require(&specs::MESSAGES)?;
        let (tools, tool_choice) = (f.get(&specs::TOOLS)?, f.get(&specs::TOOL_CHOICE)?);
        let mut hidden = Ignored::default();
        replace_unread_parts(&mut messages, &specs::MESSAGES.name.into(), is_text_part, &mut |at| hidden.add(at.as_str()));
        unread(&messages, tools.as_ref(), tool_choice.as_ref(), &mut |at, name| hidden.add_inside(at, name));
        let conversation = read_messages(messages)?;
        let asks_nothing = refuse_what_is_not_text(&mut f)?;
        refuse_what_would_change_the_result(&mut f)?;
        let mut left_out = LeftOut::default();
        let mut tools = read_tools(tools.unwrap_or(Value::Null), &mut |at, kind| left_out.add(LeftOutPart::Tool, kind, at))?;
        let (calls, partly) = if asks_for_left_out(tool_choice.as_ref(), &tools, &left_out) {
            (tools.default_calls(), vec![NOT_APPLIED])
        } else {
            (read_tool_choice(tool_choice.unwrap_or(Value::Null), &mut tools, |entry| is_left_out(entry, &left_out))?, Vec::new())
        };
        let n = f.get(&N.within(1..=most_choices(limits.max_num_seqs)))?;
        let limit = limit(&mut f)?;
        let ending = Ending::read(&mut f, limits, limit)?;
        let stream = f.get(&STREAM)?;
        let (include_usage, mut ignored) = stream_options(&mut f, stream)?;
        let return_progress = return_progress(&mut f, stream, &mut ignored)?;
        let constrained = read_constraint(&mut f)?;
        let parallel = f.get(&specs::PARALLEL_TOOL_CALLS)?;
        let switches = Switches::read(&mut f)?;
        let sampling = Sampling::read(&mut f, limits.vocabulary_size)?;
        let mut request = Self {
            tools,
            calls,
            constrained,
            parallel,
            limit,
            n: usize::try_from(n).expect("the range fits"),
            ending,
            logprobs: logprobs(&mut f, limits.most_alternatives())?,
            include_reasoning: f.get(&specs::INCLUDE_REASONING)?,
            show_special: !f.get(&SKIP_SPECIAL_TOKENS)?,
            prediction: prediction(&mut f)?,
            stream,
            return_progress,
            include_usage,
            left_out,
            partly,
            ..Self::new(conversation, sampling, switches, &CHAT)
        };
        ignored.extend(hidden);
        ignored.extend(asks_nothing);
        ignored.extend(without_effect(&mut f)?);
        ignored.extend(f.finish());
        request.ignored = ignored;
        Ok(request)
    }
}

/// Reads `max_completion_tokens`, or `max_tokens`, which it replaced.
fn limit(f: &mut Fields) -> Result<Option<TokenLimit>, FieldError> {
    const OLD: &str = specs::MAX_TOKENS.name;
    const NEW: &str = specs::MAX_COMPLETION_TOKENS.name;
    let limit = |field| move |cap| TokenLimit { field, cap };
    match (f.get(&specs::MAX_TOKENS)?, f.get(&specs::MAX_COMPLETION_TOKENS)?) {
        (Some(old), Some(new)) if old != new => {
            let reason = format!("it is {}, but '{NEW}', which replaced it, is {}; send one", Value::from(old), Value::from(new));
            Err(FieldError::invalid(OLD, reason))
        }
        (old, new) => Ok(new.map(limit(NEW)).or(old.map(limit(OLD)))),
    }
}

/// Reads `logprobs` and `top_logprobs`.
fn logprobs(f: &mut Fields, most: u8) -> Result<Option<u8>, FieldError> {
    let wanted = f.get(&specs::LOGPROBS)?;
    let top = alternatives(f, &specs::TOP_LOGPROBS, most)?;
    if !wanted && top.is_some_and(|top| top > 0) {
        return Err(FieldError::invalid(specs::TOP_LOGPROBS.name, "it is only allowed when 'logprobs' is true"));
    }
    Ok(wanted.then(|| top.unwrap_or(0)))
}

/// The text of `prediction`: `{"type": "content", "content": …}`, which is a text or text parts.
fn prediction(f: &mut Fields) -> Result<Option<String>, FieldError> {
    const NAME: &str = specs::PREDICTION.name;
    let Some(value) = f.get(&specs::PREDICTION)? else { return Ok(None) };
    let shape = || FieldError::invalid(NAME, "it must be {\"type\": \"content\", \"content\": a text or a list of text parts}");
    let text = |part: &Value| part.get("text").and_then(Value::as_str).map(str::to_owned);
    let content = value.get("content").filter(|_| value.get("type").is_some_and(|kind| kind == "content"));
    match content {
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(Value::Array(parts)) => parts.iter().map(text).collect::<Option<String>>().map(Some).ok_or_else(shape),
        _ => Err(shape()),
    }
}

/// Refuses fields that ask for more than text, made by the served model alone, from these messages alone. Returns the
/// names of those that are there and ask for nothing.
fn refuse_what_is_not_text(f: &mut Fields) -> Result<Ignored, FieldError> {
    let mut names: Ignored = specs::REPORTED_IF_EMPTY.into_iter().filter(|name| f.has(name)).collect();
    f.check(specs::REFUSED)?;
    match f.get(&specs::MODALITIES)? {
        Some(Value::Array(kinds)) if kinds.iter().all(|kind| kind == "text") => {}
        Some(_) => return Err(FieldError::unsupported(specs::MODALITIES.name, "must be [\"text\"]")),
        None => {}
    }
    if f.get(&specs::AUDIO)?.is_some_and(|audio| !audio.is_empty()) {
        names.add(specs::AUDIO.name);
    }
    Ok(names)
}

/// Takes the known fields that have no effect on the answer. Returns the names of those that ask for something that is
/// not done.
fn without_effect(f: &mut Fields) -> Result<Ignored, FieldError> {
    f.check(specs::UNUSED)?;
    let mut ignored = Ignored::default();
    for (spec, harmless) in specs::SWITCHES_WITHOUT_EFFECT {
        if f.get(&spec)?.is_some_and(|given| given != harmless) {
            ignored.add(spec.name);
        }
    }
    Ok(ignored)
}

#[cfg(test)]
mod tests;
