//! The abilities of a chat template: the forms in which it takes those parts of a conversation that templates treat
//! differently.
//!
//! `samples.rs` finds them out; `conversation.rs`, `fold.rs` and `fit.rs` bring a request into these forms. A template
//! that shows no sample at all has the default, which changes nothing.

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// The form of a message's content.
    pub content: ContentForms,
    /// The places where system messages may stand.
    pub system: SystemMessages,
    /// True if the template shows the tools of a request.
    pub shows_tools: bool,
    /// True if the template shows calls and their results.
    pub shows_calls: bool,
    /// True if the template shows the reasoning before an earlier message.
    pub shows_thoughts: bool,
    /// True if a message may have one call only, but further messages with calls may follow.
    pub wants_single_calls: bool,
    /// The key of a message for the reasoning before it, if it is not `reasoning_content`.
    pub thought_key: Option<&'static str>,
    /// True if a message with calls may have a thought or a text, but not both.
    pub thought_replaces_text: bool,
    /// True if ids of calls must be nine letters and digits.
    pub wants_short_ids: bool,
    /// True if a message with calls and without a text must have `null` as its content.
    pub wants_no_content: bool,
    /// The form of a call's arguments.
    pub arguments: ArgumentsForm,
    /// The parts of a tool that must be there.
    pub tools: ToolNeeds,
}

/// The forms of content for each role.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ContentForms {
    /// The form in system messages.
    pub system: ContentForm,
    /// The form in messages of users.
    pub user: ContentForm,
    /// The form in the assistant's messages.
    pub assistant: ContentForm,
    /// The form in results of tools.
    pub tool: ContentForm,
}

/// The form of a message's content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ContentForm {
    /// A string.
    #[default]
    Text,
    /// A string, or a list of text parts, all of which are shown.
    Either,
    /// A list of text parts.
    Parts,
}

/// The form of the arguments of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArgumentsForm {
    /// An object; a text where they are no JSON object.
    Any,
    /// An object.
    Object,
    /// JSON text.
    Text,
}

/// The places where a template takes system messages, each with those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SystemMessages {
    /// Nowhere.
    Nowhere,
    /// One, at the beginning.
    One,
    /// Several, at the beginning.
    Several,
    /// Everywhere.
    Everywhere,
}

/// The parts of a tool without which a template fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ToolNeeds {
    /// The function's description.
    pub description: bool,
    /// The function's parameters.
    pub parameters: bool,
    /// The key `properties` of the parameters.
    pub properties: bool,
    /// The description of each property.
    pub property_descriptions: bool,
}

impl Default for Abilities {
    fn default() -> Self {
        Self {
            content: ContentForms::default(),
            system: SystemMessages::Everywhere,
            shows_tools: true,
            shows_calls: true,
            shows_thoughts: true,
            wants_single_calls: false,
            thought_key: None,
            thought_replaces_text: false,
            wants_short_ids: false,
            wants_no_content: false,
            arguments: ArgumentsForm::Any,
            tools: ToolNeeds::default(),
        }
    }
}
