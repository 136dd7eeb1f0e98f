//! What a request tells the chat template besides messages and tools: where the prompt ends, how much to think, and
//! `chat_template_kwargs` by an allow-list.
//!
//! A name is allowed if the template mentions it, or is one of the usual names for the same thing in other models'
//! templates, which is reported and has no effect. Everything else is a 400, because a misspelled switch would else do
//! nothing in silence.

use crate::{
    api::fields::{FieldError, Fields, ignored::Ignored},
    chat::Mentions,
    field_path::FieldPath,
};
use serde_json::{Map, Value};

/// Entries of `chat_template_kwargs` at most.
const MAX_KWARGS: usize = 32;
const KWARGS: &str = "chat_template_kwargs";
/// How models' templates call the switch between thinking and not.
const THINKING: [&str; 2] = ["enable_thinking", "thinking"];
/// Switches of well-known models.
const USUAL: [&str; 7] =
    ["enable_thinking", "thinking", "thinking_budget", "reasoning_effort", "verbosity", "date_string", "builtin_tools"];
/// OpenAI's `ReasoningEffort`.
const EFFORTS: [&str; 7] = ["none", "minimal", "low", "medium", "high", "xhigh", "max"];
/// OpenAI's `Verbosity`, its default in the middle.
const VERBOSITIES: [&str; 3] = ["low", "medium", "high"];

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::api) struct Switches {
    /// The prompt ends where the assistant begins to speak. Default: unless the last message is continued.
    pub(in crate::api) add_generation_prompt: bool,
    /// The answer continues the last message. Default false.
    pub(in crate::api) continue_final_message: bool,
    /// OpenAI's `reasoning_effort`.
    effort: Option<String>,
    /// OpenAI's `verbosity`.
    verbosity: Option<String>,
    kwargs: Map<String, Value>,
}

impl Switches {
    /// Reads the fields.
    ///
    /// # Errors
    /// A field of the wrong type or outside its range; both ends of a prompt at once.
    pub(super) fn read(f: &mut Fields) -> Result<Self, FieldError> {
        let continue_final_message = f.boolean("continue_final_message")?.unwrap_or(false);
        let add_generation_prompt = f.boolean("add_generation_prompt")?.unwrap_or(!continue_final_message);
        if continue_final_message && add_generation_prompt {
            let reason = "it continues the last message, but 'add_generation_prompt' begins another one; set one of them";
            return Err(FieldError::invalid("continue_final_message", reason));
        }
        let kwargs = f.object(KWARGS)?.unwrap_or_default();
        if kwargs.len() > MAX_KWARGS {
            return Err(FieldError::invalid(KWARGS, format!("it has {} entries; at most {MAX_KWARGS} are accepted", kwargs.len())));
        }
        Ok(Self {
            add_generation_prompt,
            continue_final_message,
            effort: one_of(f, "reasoning_effort", &EFFORTS)?,
            verbosity: one_of(f, "verbosity", &VERBOSITIES)?,
            kwargs,
        })
    }

    /// The variables for a template that mentions these names, and the names of fields that have no effect on it. `thinks` is
    /// false where an answer must not begin with a thought.
    ///
    /// # Errors
    /// `Invalid`: an entry of `chat_template_kwargs` that neither this template nor the usual ones know.
    pub(super) fn kwargs(&self, template: &Mentions, thinks: bool) -> Result<(Map<String, Value>, Ignored), FieldError> {
        let mut ignored = Ignored::default();
        let mut kwargs = Map::new();
        for (name, value) in &self.kwargs {
            if template.contains(name) {
                kwargs.insert(name.clone(), value.clone());
            } else if USUAL.contains(&name.as_str()) {
                ignored.add_inside(KWARGS, name);
            } else {
                let shown: String = name.chars().take(64).collect();
                return Err(FieldError::invalid(FieldPath::from(KWARGS).field(&shown), "this model's chat template does not use it"));
            }
        }
        if let Some(effort) = &self.effort {
            let known = template.contains("reasoning_effort");
            if known {
                kwargs.entry("reasoning_effort").or_insert_with(|| effort.as_str().into());
            }
            if !think(&mut kwargs, template, effort != "none") && !known {
                ignored.add("reasoning_effort");
            }
        }
        match &self.verbosity {
            Some(verbosity) if template.contains("verbosity") => {
                kwargs.entry("verbosity").or_insert_with(|| verbosity.as_str().into());
            }
            Some(verbosity) if verbosity != "medium" => ignored.add("verbosity"),
            Some(_) | None => {}
        }
        if !thinks {
            think(&mut kwargs, template, false);
        }
        Ok((kwargs, ignored))
    }
}

/// Sets the template's switch for thinking, unless the request has set it. Whether it has one.
fn think(kwargs: &mut Map<String, Value>, template: &Mentions, whether: bool) -> bool {
    let known = THINKING.into_iter().find(|name| template.contains(name));
    if let Some(name) = known {
        kwargs.entry(name).or_insert(whether.into());
    }
    known.is_some()
}

fn one_of(f: &mut Fields, name: &str, words: &[&str]) -> Result<Option<String>, FieldError> {
    match f.string(name)? {
        Some(word) if !words.contains(&word.as_str()) => Err(FieldError::invalid(name, format!("expected one of {}", words.join(", ")))),
        word => Ok(word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const QWEN: &str = "{% if enable_thinking is defined and enable_thinking is false %}<think></think>{% endif %}";

    fn read(body: Value) -> Result<Switches, FieldError> {
        let Value::Object(map) = body else { panic!("{body} is no object") };
        Switches::read(&mut Fields::new(map))
    }

    fn kwargs(body: Value, source: &str) -> (Value, Vec<String>) {
        let (kwargs, ignored) = read(body).unwrap().kwargs(&Mentions::of(source), true).unwrap();
        (Value::Object(kwargs), ignored.shown().map(str::to_owned).collect())
    }

    #[test]
    fn a_prompt_ends_where_the_assistant_begins_or_within_the_last_message() {
        let ends = |body| read(body).map(|switches| (switches.add_generation_prompt, switches.continue_final_message));

        assert_eq!(ends(json!({})), Ok((true, false)));
        assert_eq!(ends(json!({"add_generation_prompt": false})), Ok((false, false)));
        assert_eq!(ends(json!({"continue_final_message": true})), Ok((false, true)));
        let both = ends(json!({"continue_final_message": true, "add_generation_prompt": true}));
        assert_eq!(both.unwrap_err().param(), Some("continue_final_message"));
    }

    #[test]
    fn a_switch_reaches_a_template_that_mentions_it_and_is_reported_or_refused_otherwise() {
        assert_eq!(kwargs(json!({"chat_template_kwargs": {"enable_thinking": false}}), QWEN), (json!({"enable_thinking": false}), vec![]));
        let ignored = vec!["chat_template_kwargs.enable_thinking".to_owned()];
        assert_eq!(kwargs(json!({"chat_template_kwargs": {"enable_thinking": false}}), "{{ x }}"), (json!({}), ignored));

        let misspelled = read(json!({"chat_template_kwargs": {"enable_thinkin": false}})).unwrap().kwargs(&Mentions::of(QWEN), true);
        assert_eq!(misspelled.unwrap_err().param(), Some("chat_template_kwargs.enable_thinkin"));
    }

    #[test]
    fn an_effort_is_passed_on_by_its_name_or_turns_thinking_on_and_off() {
        assert_eq!(kwargs(json!({"reasoning_effort": "low"}), "{{ reasoning_effort }}"), (json!({"reasoning_effort": "low"}), vec![]));
        assert_eq!(kwargs(json!({"reasoning_effort": "none"}), QWEN), (json!({"enable_thinking": false}), vec![]));
        assert_eq!(kwargs(json!({"reasoning_effort": "high"}), QWEN), (json!({"enable_thinking": true}), vec![]));
        assert_eq!(kwargs(json!({"reasoning_effort": "high"}), "{{ x }}"), (json!({}), vec!["reasoning_effort".to_owned()]));
        assert_eq!(read(json!({"reasoning_effort": "much"})).unwrap_err().param(), Some("reasoning_effort"));
    }

    #[test]
    fn what_the_request_says_of_thinking_counts_more_than_what_its_format_suggests() {
        let switches = read(json!({"chat_template_kwargs": {"enable_thinking": true}})).unwrap();
        assert_eq!(switches.kwargs(&Mentions::of(QWEN), false).unwrap().0["enable_thinking"], true);
        assert_eq!(read(json!({})).unwrap().kwargs(&Mentions::of(QWEN), false).unwrap().0["enable_thinking"], false);
        assert!(read(json!({})).unwrap().kwargs(&Mentions::of("{{ x }}"), false).unwrap().0.is_empty());
    }

    #[test]
    fn only_a_verbosity_other_than_the_default_is_reported() {
        assert_eq!(kwargs(json!({"verbosity": "medium"}), "{{ x }}"), (json!({}), vec![]));
        assert_eq!(kwargs(json!({"verbosity": "low"}), "{{ x }}"), (json!({}), vec!["verbosity".to_owned()]));
        assert_eq!(kwargs(json!({"verbosity": "low"}), "{{ verbosity }}"), (json!({"verbosity": "low"}), vec![]));
    }
}
