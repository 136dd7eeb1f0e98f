//! The inputs of a chat template besides messages and tools: the end of the prompt, the amount of reasoning, and
//! `chat_template_kwargs`.
//!
//! A name is passed on if the template mentions it, and reported otherwise: it would do nothing in silence.

use super::specs::{self, MAX_KWARGS};
use crate::{
    api::fields::{FieldError, Fields, ignored::Ignored},
    chat::Mentions,
};
use serde_json::{Map, Value};

const KWARGS: &str = specs::CHAT_TEMPLATE_KWARGS.name;
/// Templates use OpenAI's names of these two switches.
const EFFORT: &str = specs::REASONING_EFFORT.name;
const VERBOSITY: &str = specs::VERBOSITY.name;
/// The names that models' templates have for the switch that turns thinking on and off.
const THINKING: [&str; 2] = ["enable_thinking", "thinking"];

/// The inputs of a chat template besides messages and tools; see the module.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::api) struct Switches {
    /// True if the prompt ends where the assistant's answer begins. By default true, unless the last message is
    /// continued.
    pub(in crate::api) add_generation_prompt: bool,
    /// True if the answer continues the last message. Default false.
    pub(in crate::api) continue_final_message: bool,
    /// OpenAI's `reasoning_effort`.
    effort: Option<SwitchWord>,
    /// OpenAI's `verbosity`.
    verbosity: Option<SwitchWord>,
    kwargs: Map<String, Value>,
}

/// The word that a switch is set to, and the field that set it, by its name on the request's route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SwitchWord {
    word: &'static str,
    field: &'static str,
}

impl Switches {
    /// Reads the fields of `/v1/chat/completions`.
    ///
    /// # Errors
    /// A field has the wrong type or is outside its range, or the request sets `continue_final_message` and
    /// `add_generation_prompt` both.
    pub(super) fn read(f: &mut Fields) -> Result<Self, FieldError> {
        let continue_final_message = f.get(&specs::CONTINUE_FINAL_MESSAGE)?;
        let add_generation_prompt = f.sent(&specs::ADD_GENERATION_PROMPT)?.unwrap_or(!continue_final_message);
        if continue_final_message && add_generation_prompt {
            let reason = "it continues the last message, but 'add_generation_prompt' begins another one; set one of them";
            return Err(FieldError::invalid(specs::CONTINUE_FINAL_MESSAGE.name, reason));
        }
        let mut read = Self { add_generation_prompt, continue_final_message, ..Self::of_kwargs(f)? };
        read.set_effort(f.known_word(&specs::REASONING_EFFORT)?, specs::REASONING_EFFORT.name);
        read.set_verbosity(f.known_word(&specs::VERBOSITY)?, specs::VERBOSITY.name);
        Ok(read)
    }

    /// Reads `chat_template_kwargs` alone, for a route that has other fields for the rest.
    ///
    /// # Errors
    /// The field is no object, or has too many entries.
    pub(in crate::api) fn of_kwargs(f: &mut Fields) -> Result<Self, FieldError> {
        let kwargs = f.get(&specs::CHAT_TEMPLATE_KWARGS)?.unwrap_or_default();
        if kwargs.len() > MAX_KWARGS {
            return Err(FieldError::invalid(KWARGS, format!("it has {} entries; at most {MAX_KWARGS} are accepted", kwargs.len())));
        }
        Ok(Self { add_generation_prompt: true, continue_final_message: false, effort: None, verbosity: None, kwargs })
    }

    /// Makes the prompt end within the last message, which the answer continues.
    pub(in crate::api) fn continue_last_message(&mut self) {
        (self.add_generation_prompt, self.continue_final_message) = (false, true);
    }

    /// Sets the word for the amount of reasoning, and the field that set it.
    pub(in crate::api) fn set_effort(&mut self, word: Option<&'static str>, field: &'static str) {
        self.effort = word.map(|word| SwitchWord { word, field });
    }

    /// The word for the amount of reasoning, and the field that set it.
    #[cfg(test)]
    pub(in crate::api) fn effort(&self) -> Option<(&str, &'static str)> {
        self.effort.as_ref().map(|level| (level.word, level.field))
    }

    /// Sets the word for the length of the answer, and the field that set it.
    pub(in crate::api) fn set_verbosity(&mut self, word: Option<&'static str>, field: &'static str) {
        self.verbosity = word.map(|word| SwitchWord { word, field });
    }

    /// The variables for a template that mentions these names, and the names of fields that have no effect on it.
    /// `thinks` is false where an answer must not begin with a thought.
    pub(super) fn kwargs(&self, template: &Mentions, thinks: bool) -> (Map<String, Value>, Ignored) {
        let mut ignored = Ignored::default();
        let mut kwargs = Map::new();
        for (name, value) in &self.kwargs {
            if template.contains(name) {
                kwargs.insert(name.clone(), value.clone());
            } else {
                ignored.add_inside(KWARGS, name);
            }
        }
        if let Some(SwitchWord { word: effort, field }) = self.effort {
            let known = template.contains(EFFORT);
            if known {
                kwargs.entry(EFFORT).or_insert_with(|| effort.into());
            }
            if !think(&mut kwargs, template, effort != "none") && !known {
                ignored.add(field);
            }
        }
        match self.verbosity {
            Some(SwitchWord { word, .. }) if template.contains(VERBOSITY) => {
                kwargs.entry(VERBOSITY).or_insert_with(|| word.into());
            }
            Some(SwitchWord { word, field }) if word != "medium" => ignored.add(field),
            Some(_) | None => {}
        }
        if !thinks {
            think(&mut kwargs, template, false);
        }
        (kwargs, ignored)
    }
}

/// Sets the template's switch for thinking, unless the request has set it. True if the template has one.
fn think(kwargs: &mut Map<String, Value>, template: &Mentions, whether: bool) -> bool {
    let known = THINKING.into_iter().find(|name| template.contains(name));
    if let Some(name) = known {
        kwargs.entry(name).or_insert(whether.into());
    }
    known.is_some()
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
        let (kwargs, ignored) = read(body).unwrap().kwargs(&Mentions::of(source), true);
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
    fn a_switch_reaches_a_template_that_mentions_it_and_is_reported_otherwise() {
        assert_eq!(kwargs(json!({"chat_template_kwargs": {"enable_thinking": false}}), QWEN), (json!({"enable_thinking": false}), vec![]));
        let ignored = vec!["chat_template_kwargs.enable_thinking".to_owned()];
        assert_eq!(kwargs(json!({"chat_template_kwargs": {"enable_thinking": false}}), "{{ x }}"), (json!({}), ignored));

        let misspelled = vec!["chat_template_kwargs.enable_thinkin".to_owned()];
        assert_eq!(kwargs(json!({"chat_template_kwargs": {"enable_thinkin": false}}), QWEN), (json!({}), misspelled));
    }

    #[test]
    fn an_effort_is_passed_on_by_its_name_or_turns_thinking_on_and_off() {
        assert_eq!(kwargs(json!({"reasoning_effort": "low"}), "{{ reasoning_effort }}"), (json!({"reasoning_effort": "low"}), vec![]));
        assert_eq!(kwargs(json!({"reasoning_effort": "none"}), QWEN), (json!({"enable_thinking": false}), vec![]));
        assert_eq!(kwargs(json!({"reasoning_effort": "high"}), QWEN), (json!({"enable_thinking": true}), vec![]));
        assert_eq!(kwargs(json!({"reasoning_effort": "high"}), "{{ x }}"), (json!({}), vec!["reasoning_effort".to_owned()]));
        assert_eq!(read(json!({"reasoning_effort": 1})).unwrap_err().param(), Some("reasoning_effort"));
    }

    #[test]
    fn a_word_that_is_not_known_is_reported_and_the_rest_of_the_request_is_read() {
        for field in ["reasoning_effort", "verbosity"] {
            let mut fields = Fields::new([(field.to_owned(), json!("much"))].into_iter().collect());
            let switches = Switches::read(&mut fields).unwrap();

            assert_eq!(fields.finish(), [field]);
            assert!(switches.kwargs(&Mentions::of("{{ reasoning_effort }}{{ verbosity }}"), true).0.is_empty(), "{field}");
        }
    }

    #[test]
    fn what_the_request_says_of_thinking_counts_more_than_what_its_format_suggests() {
        let switches = read(json!({"chat_template_kwargs": {"enable_thinking": true}})).unwrap();
        assert_eq!(switches.kwargs(&Mentions::of(QWEN), false).0["enable_thinking"], true);
        assert_eq!(read(json!({})).unwrap().kwargs(&Mentions::of(QWEN), false).0["enable_thinking"], false);
        assert!(read(json!({})).unwrap().kwargs(&Mentions::of("{{ x }}"), false).0.is_empty());
    }

    #[test]
    fn only_a_verbosity_other_than_the_default_is_reported() {
        assert_eq!(kwargs(json!({"verbosity": "medium"}), "{{ x }}"), (json!({}), vec![]));
        assert_eq!(kwargs(json!({"verbosity": "low"}), "{{ x }}"), (json!({}), vec!["verbosity".to_owned()]));
        assert_eq!(kwargs(json!({"verbosity": "low"}), "{{ verbosity }}"), (json!({"verbosity": "low"}), vec![]));
    }
}
