//! One compiled chat template and the prompts that it renders.
//!
//! Owns rendering, its limits, and the cut of a prompt that continues the last message. It does not choose the
//! template.

use super::{
    abilities::Abilities,
    environment::{self, NAME, RESERVED},
    guard::{Guard, GuardMarks},
    json::MARKER,
    mentions::Mentions,
    rendering::{ChatInput, ContinuationError, RenderedPrompt, TemplateError, TemplateTokens},
    samples::Samples,
};
use minijinja::{Environment, Value};
use serde_json::Value as Json;
use std::io;

/// Longest rendered text, bytes.
const MAX_OUTPUT: usize = 8 << 20;
/// Fuel that every render may spend: one unit per instruction, and one per 64 bytes of text built.
const BASE_FUEL: u64 = 1_000_000;
/// The same for each of some forty samples, which are rendered before the first answer.
const SAMPLE_FUEL: u64 = 50_000;
/// Bytes of input for one more unit of fuel: each byte may be copied some 30 times.
const BYTES_PER_FUEL: u64 = 2;

/// A model's chat template, compiled once; any thread can render it.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    mentions: Mentions,
    renders_whole_messages: bool,
    tokens: TemplateTokens,
    guard: Guard,
    abilities: Abilities,
}

fn renders_whole_messages(source: &str) -> bool {
    let dense: String = source.chars().filter(|c| !c.is_whitespace()).collect();
    ["message|tojson", "messages|tojson", "{{message}}", "{{messages}}"].iter().any(|whole| dense.contains(whole))
}

impl ChatTemplate {
    /// Compiles a template.
    ///
    /// # Errors
    /// `Failed` if `source` is no Jinja, uses a feature that is not supported, or is longer than 1 MiB.
    pub fn compile(source: &str, tokens: TemplateTokens) -> Result<Self, TemplateError> {
        let environment = environment::compile(source)?;
        let guard = Guard::new(&tokens, source)?;
        let (mentions, renders_whole_messages) = (Mentions::of(source), renders_whole_messages(source));
        let source = source.to_owned();
        let abilities = Abilities::default();
        let mut template = Self { environment, source, mentions, renders_whole_messages, tokens, guard, abilities };
        let render = |input: &ChatInput| template.render_within(input, SAMPLE_FUEL).ok().map(|rendered| rendered.text);
        template.abilities = Samples { render: &render, mentions: &template.mentions }.abilities();
        Ok(template)
    }

    /// The source of the template.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The forms in which the template takes a conversation.
    pub fn abilities(&self) -> &Abilities {
        &self.abilities
    }

    /// The names that the template mentions.
    pub fn mentions(&self) -> &Mentions {
        &self.mentions
    }

    /// True if the template prints whole messages, with all of their fields.
    pub fn renders_whole_messages(&self) -> bool {
        self.renders_whole_messages
    }

    /// Renders a conversation. Takes time linear in the input for known templates, and bounded time for all: call it
    /// off the async threads if the input is long.
    ///
    /// # Errors
    /// `Raised` if the template refuses, `Reserved` or `Input` if the request asks for the impossible, `Continuation`
    /// if the last message cannot be continued, `Failed` otherwise.
    pub fn render(&self, input: &ChatInput) -> Result<RenderedPrompt, TemplateError> {
        self.render_within(input, BASE_FUEL)
    }

    fn render_within(&self, input: &ChatInput, fuel: u64) -> Result<RenderedPrompt, TemplateError> {
        check(input)?;
        let marks = self.guard.marks(input)?;
        let (context, cost) = self.context(input, &marks)?;
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(fuel + cost / BYTES_PER_FUEL));
        let template = environment.get_template(NAME).map_err(|error| environment::failure(&error))?;
        let mut output = Bounded { bytes: Vec::new(), overflown: false };
        let result = template.render_captured_to(context, &mut output).map(drop);
        if output.overflown {
            return Err(TemplateError::Failed(format!("its text is longer than {MAX_OUTPUT} bytes")));
        }
        result.map_err(|error| environment::failure(&error))?;
        let text = String::from_utf8(output.bytes).map_err(|_| TemplateError::Failed("its text is not UTF-8".to_owned()))?;
        finish(&text, input, &marks)
    }

    /// The template's variables, and the size of the input, bytes.
    fn context(&self, input: &ChatInput, marks: &GuardMarks<'_>) -> Result<(Value, u64), TemplateError> {
        let mut cost = 0;
        let mut converted = |value: &Json| marks.value(value, &mut cost);
        let list = |values: &[Json], converted: &mut dyn FnMut(&Json) -> Result<Value, TemplateError>| {
            values.iter().map(converted).collect::<Result<Vec<Value>, _>>().map(Value::from)
        };
        let mut variables: Vec<(String, Value)> = vec![("documents".to_owned(), Value::from(()))];
        for (name, value) in &input.kwargs {
            variables.push((name.clone(), converted(value)?));
        }
        let mut messages = input.messages.clone();
        if input.continue_final_message {
            marks.tag_end(&mut messages);
        }
        variables.push(("messages".to_owned(), list(&messages, &mut converted)?));
        let tools = input.tools.as_deref().map(|tools| list(tools, &mut converted)).transpose()?;
        variables.push(("tools".to_owned(), tools.unwrap_or(Value::from(()))));
        variables.push(("add_generation_prompt".to_owned(), Value::from(input.add_generation_prompt)));
        variables.push((MARKER.to_owned(), Value::from(marks.marker().to_string())));
        let tokens = [("bos_token", &self.tokens.bos), ("eos_token", &self.tokens.eos)];
        let tokens = tokens.into_iter().filter(|(_, token)| !token.is_empty());
        variables.extend(tokens.map(|(name, token)| (name.to_owned(), Value::from(token.as_str()))));
        Ok((Value::from_pairs(variables), cost))
    }
}

fn check(input: &ChatInput) -> Result<(), TemplateError> {
    if let Some(name) = input.kwargs.keys().find(|name| RESERVED.contains(&name.as_str())) {
        return Err(TemplateError::Reserved(name.clone()));
    }
    if input.add_generation_prompt && input.continue_final_message {
        let text = "`add_generation_prompt` begins a new message and `continue_final_message` continues the last: set one of them";
        return Err(TemplateError::Input(text.to_owned()));
    }
    if input.continue_final_message && final_text(&input.messages).is_none() {
        return Err(TemplateError::Continuation(ContinuationError::NoText));
    }
    Ok(())
}

/// The text that `continue_final_message` continues: the content of the last message, or its last part with text.
fn final_text(messages: &[Json]) -> Option<&str> {
    match messages.last()?.get("content")? {
        Json::String(text) => Some(text),
        Json::Array(parts) => parts.iter().rev().find_map(|part| part.get("text")?.as_str()),
        _ => None,
    }
}

/// Removes the marks from `rendered`, and cuts it after the last message's text if that is to be continued.
fn finish(rendered: &str, input: &ChatInput, marks: &GuardMarks<'_>) -> Result<RenderedPrompt, TemplateError> {
    let mut rendered = rendered;
    if input.continue_final_message {
        let end = rendered.rfind(marks.end_tag()).ok_or(TemplateError::Continuation(ContinuationError::LeftOut))?;
        // The tag is followed by a space: if that was trimmed, the message's own trailing space was trimmed too.
        let kept = rendered[end + marks.end_tag().len_utf8()..].starts_with(' ');
        rendered = if kept { &rendered[..end] } else { rendered[..end].trim_end() };
    }
    let prompt = marks.remove(rendered);
    if input.continue_final_message {
        let text = final_text(&input.messages).unwrap_or_default().trim();
        if !prompt.text.contains(text) {
            return Err(TemplateError::Continuation(ContinuationError::Changed));
        }
    }
    Ok(prompt)
}

/// A writer that takes text up to `MAX_OUTPUT`.
struct Bounded {
    bytes: Vec<u8>,
    overflown: bool,
}

impl io::Write for Bounded {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + more.len() > MAX_OUTPUT {
            self.overflown = true;
            return Err(io::Error::from(io::ErrorKind::OutOfMemory));
        }
        self.bytes.extend_from_slice(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
