//! Images, other media and parts of types that are not known here, in answers, in earlier turns and in results of
//! tools: a note takes their place, so that a conversation in which a client once sent one, or in which a tool read
//! one, goes on. What a user sends in the newest turn stays, and the readers of all routes refuse it by name.
//!
//! Works on the JSON of messages and items, whose shapes are alike on all routes; what is malformed is left to the
//! readers. Each route says which parts its reader reads.

use crate::field_path::FieldPath;
use serde_json::{Value, json};

/// Maximum length of a type in a note, characters.
const MAX_KIND: usize = 32;

/// True if the reader of a route reads the part, in a message of this role; items of /v1/responses may have no role.
type IsRead = fn(role: &str, part: &Value) -> bool;

/// [`IsRead`] for the readers of OpenAI's routes, which share [`read_content`](super::read_content).
#[must_use]
pub fn is_text_part(_role: &str, part: &Value) -> bool {
    part["type"].as_str().is_none_or(|kind| matches!(kind, "text" | "input_text" | "output_text" | "refusal"))
}

/// The parts of a message that are replaced unless they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Replaced {
    All,
    /// Only the parts of results of tools.
    Results,
}

/// Replaces the parts that are not read in all turns but the newest, and in all answers and results of tools. Calls
/// `found` with the place of each.
///
/// The newest turn is all that users and tools said since the last answer. It stays the newest while an answer after it
/// is continued, and system messages make no difference.
pub fn replace_unread_parts(turns: &mut Value, at: &FieldPath, is_read: IsRead, found: &mut impl FnMut(&FieldPath)) {
    let Some(turns) = turns.as_array_mut() else { return };
    let newest = newest(turns);
    for (index, turn) in turns.iter_mut().enumerate() {
        // Items that are no messages, such as thoughts, have parts of their own.
        if !turn["role"].is_string() && !is_result(turn) {
            continue;
        }
        let at = at.index(index);
        let is_answer = turn["role"] == "assistant";
        if is_answer || index < newest {
            replace_audio(turn, &at, found);
        }
        let what = if index < newest || is_answer || is_result(turn) { Replaced::All } else { Replaced::Results };
        let role = turn["role"].as_str().unwrap_or_default().to_owned();
        let unread = |part: &Value| !is_read(&role, part);
        for field in ["content", "output"] {
            if let Some(parts) = turn.get_mut(field).and_then(Value::as_array_mut) {
                replace(parts, what, &at.field(field), (&unread, found));
            }
        }
    }
}

/// Puts what was spoken, or a note, in the place of a message's `audio`.
fn replace_audio(turn: &mut Value, at: &FieldPath, found: &mut impl FnMut(&FieldPath)) {
    let Some(fields) = turn.as_object_mut().filter(|fields| fields.get("audio").is_some_and(|audio| !audio.is_null())) else { return };
    let audio = fields.shift_remove("audio").unwrap_or_default();
    let spoken = audio["transcript"].as_str().map_or_else(|| note("audio"), str::to_owned);
    let part = |text: &str| json!({"type": "text", "text": text});
    match fields.entry("content").or_insert(Value::Null) {
        content @ Value::Null => *content = spoken.into(),
        Value::Array(parts) => parts.push(part(&spoken)),
        content => {
            if let Some(text) = content.as_str() {
                *content = if text.is_empty() { spoken.into() } else { json!([part(text), part(&spoken)]) };
            }
        }
    }
    found(&at.field("audio"));
}

/// The index of the first message of the newest turn.
fn newest(turns: &[Value]) -> usize {
    let is_system = |turn: &Value| turn["role"] == "system" || turn["role"] == "developer";
    // Items of /v1/responses without a role are the model's calls and thoughts.
    let is_answer = |turn: &Value| !is_result(turn) && turn["role"].as_str().is_none_or(|role| role == "assistant");
    let Some(last) = turns.iter().rposition(|turn| !is_answer(turn) && !is_system(turn)) else { return turns.len() };
    turns[..last].iter().rposition(is_answer).map_or(0, |answer| answer + 1)
}

/// True for a message or an item that is the result of a tool.
fn is_result(turn: &Value) -> bool {
    turn["role"] == "tool" || turn["role"] == "function" || turn["type"].as_str().is_some_and(|kind| kind.ends_with("_output"))
}

fn replace<F: FnMut(&FieldPath)>(parts: &mut [Value], what: Replaced, at: &FieldPath, (unread, found): (&dyn Fn(&Value) -> bool, &mut F)) {
    for (index, part) in parts.iter_mut().enumerate() {
        let at = at.index(index);
        // Anthropic's results of tools are parts with parts. There is no third level.
        if part["type"] == "tool_result"
            && !unread(part)
            && let Some(inner) = part.get_mut("content").and_then(Value::as_array_mut)
        {
            for (index, part) in inner.iter_mut().enumerate().filter(|(_, part)| unread(part)) {
                replace_part(part, &at.field("content").index(index), found);
            }
        } else if what == Replaced::All && unread(part) {
            replace_part(part, &at, found);
        }
    }
}

fn replace_part(part: &mut Value, at: &FieldPath, found: &mut impl FnMut(&FieldPath)) {
    let Some(kind) = part["type"].as_str() else { return };
    let note = note(kind.trim_start_matches("input_").trim_end_matches("_url"));
    *part = json!({"type": "text", "text": note});
    found(at);
}

/// The text in the place of a part of this type.
fn note(kind: &str) -> String {
    let kind: String = kind.chars().take(MAX_KIND).collect();
    format!("[{kind} left out: this model reads text only]")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(mut turns: Value) -> (Value, Vec<String>) {
        let mut places = Vec::new();
        // As on /v1/messages, whose blocks of results have parts of their own.
        let is_read = |role: &str, part: &Value| part["type"] == "tool_result" || is_text_part(role, part);
        replace_unread_parts(&mut turns, &"m".into(), is_read, &mut |at| places.push(at.as_str().to_owned()));
        (turns, places)
    }

    fn user(content: &Value) -> Value {
        json!({"role": "user", "content": content})
    }

    #[test]
    fn an_image_is_replaced_once_it_is_not_in_the_newest_turn() {
        let image = json!({"type": "image_url", "image_url": {"url": "data:x"}});
        let asked = user(&json!([{"type": "text", "text": "a"}, image]));
        let answer = json!({"role": "assistant", "content": "b"});

        assert_eq!(replaced(json!([asked])), (json!([asked]), vec![]));
        assert_eq!(replaced(json!([asked, answer])), (json!([asked, answer]), vec![]), "the answer may have to be continued");
        let (turns, places) = replaced(json!([asked, answer, user(&json!("c"))]));
        assert_eq!(turns[0]["content"][1], json!({"type": "text", "text": "[image left out: this model reads text only]"}));
        assert_eq!((places, &turns[0]["content"][0]["text"]), (vec!["m[0].content[1]".to_owned()], &json!("a")));
    }

    #[test]
    fn an_image_before_other_words_of_the_same_turn_stays_and_is_refused() {
        let image = || user(&json!([{"type": "image_url", "image_url": {"url": "data:x"}}]));
        let (question, answer) = (user(&json!("What is this?")), json!({"role": "assistant", "content": "b"}));
        let result = json!({"role": "tool", "tool_call_id": "1", "content": "r"});
        for role in ["system", "developer"] {
            let reminder = json!({"role": role, "content": "Be brief."});
            let stays = [
                json!([image(), reminder]),
                json!([image(), question]),
                json!([image(), reminder, question]),
                json!([answer, image(), result, question]),
                json!([image(), answer, reminder]),
            ];
            for turns in stays {
                assert_eq!(replaced(turns.clone()), (turns, vec![]));
            }
            let turns = json!([image(), reminder, answer, question, reminder]);
            assert_eq!(replaced(turns).1, ["m[0].content[0]"]);
        }
        let call = json!({"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"});
        let output = json!({"type": "function_call_output", "call_id": "1", "output": "r"});
        assert_eq!(replaced(json!([image(), call, output])).1, ["m[0].content[0]"]);
        let call = json!({"type": "custom_tool_call", "call_id": "1", "name": "f", "input": "x"});
        let output = json!({"type": "custom_tool_call_output", "call_id": "1", "output": "r"});
        assert_eq!(replaced(json!([image(), call, output])).1, ["m[0].content[0]"]);
    }

    #[test]
    fn media_in_results_of_tools_are_replaced_in_every_turn() {
        let result = |kind: &str| json!({"role": "tool", "tool_call_id": "1", "content": [{"type": kind}]});
        let item = |kind: &str| json!({"type": "function_call_output", "call_id": "1", "output": [{"type": kind}]});

        assert_eq!(replaced(json!([user(&json!("a")), result("image"), result("text")])).1, ["m[1].content[0]"]);
        assert_eq!(replaced(json!([item("input_image"), item("text")])).1, ["m[0].output[0]"]);
        let custom = json!({"type": "custom_tool_call_output", "call_id": "1", "output": [{"type": "text"}, {"type": "input_file"}]});
        assert_eq!(replaced(json!([custom])).1, ["m[0].output[1]"]);
        assert_eq!(replaced(json!([item("input_image"), {"type": "reasoning"}, item("text")])).1, ["m[0].output[0]"]);
        let block = user(&json!([{"type": "tool_result", "content": [{"type": "text", "text": "a"}, {"type": "image", "source": {}}]}]));
        let answer = json!({"role": "assistant", "content": "a"});
        assert_eq!(replaced(json!([block, answer, user(&json!("b"))])).1, ["m[0].content[0].content[1]"]);
        assert_eq!(replaced(json!([block, user(&json!("b"))])).1, ["m[0].content[0].content[1]"]);
        assert_eq!(replaced(json!([block])).1, ["m[0].content[0].content[1]"]);
        let own = user(&json!([{"type": "tool_result", "content": [{"type": "image"}]}, {"type": "image"}]));
        assert_eq!(replaced(json!([own])).1, ["m[0].content[0].content[0]"], "the user's own image is refused");
    }

    #[test]
    fn parts_of_unknown_types_are_replaced_in_answers_and_in_earlier_turns() {
        let poem = json!([{"type": "poem", "poem": "x"}]);
        let answer = json!({"role": "assistant", "content": poem});

        let (turns, places) = replaced(json!([user(&poem), answer, user(&poem)]));
        assert_eq!(turns[0]["content"][0], json!({"type": "text", "text": "[poem left out: this model reads text only]"}));
        assert_eq!(places, ["m[0].content[0]", "m[1].content[0]"], "the newest one is refused");
        assert_eq!(replaced(json!([user(&poem), answer])).1, ["m[1].content[0]"], "an answer that is continued");
        let thought = json!({"type": "reasoning", "content": [{"type": "reasoning_text", "text": "x"}]});
        assert_eq!(replaced(json!([user(&json!("a")), thought, user(&json!("b"))])).1, [""; 0]);
    }

    #[test]
    fn results_of_tools_within_parts_are_unknown_where_the_reader_reads_none() {
        let mut turns = json!([{"role": "assistant", "content": [{"type": "tool_result", "content": []}]}, user(&json!("a"))]);
        replace_unread_parts(&mut turns, &"m".into(), is_text_part, &mut |_| ());

        assert_eq!(turns[0]["content"][0]["text"], "[tool_result left out: this model reads text only]");
    }

    #[test]
    fn the_audio_of_an_answer_is_what_was_spoken_or_a_note() {
        let answer = |content: Value, audio: Value| json!([user(&json!("a")), {"role": "assistant", "content": content, "audio": audio}]);
        let note = "[audio left out: this model reads text only]";
        let text = |text: &str| json!({"type": "text", "text": text});
        let rows = [
            (json!(null), json!({"id": "x"}), json!(note)),
            (json!(""), json!({"id": "x", "transcript": "Hi"}), json!("Hi")),
            (json!("b"), json!({"id": "x"}), json!([text("b"), text(note)])),
            (json!([text("b")]), json!({"id": "x"}), json!([text("b"), text(note)])),
        ];
        for (content, audio, expected) in rows {
            let (turns, places) = replaced(answer(content.clone(), audio));
            assert_eq!(
                (&turns[1]["content"], turns[1].get("audio"), places),
                (&expected, None, vec!["m[1].audio".to_owned()]),
                "{content}"
            );
        }
        let own = json!([{"role": "user", "content": "a", "audio": {"id": "x"}}]);
        assert_eq!(replaced(own.clone()), (own, vec![]), "what the user says in the newest turn is refused");
    }

    #[test]
    fn what_is_malformed_stays_as_it_is() {
        for turns in [json!(null), json!("a"), json!([1, [], {"content": 5}, {"role": 7, "content": [1, {"type": 2}]}, user(&json!("a"))])]
        {
            assert_eq!(replaced(turns.clone()), (turns, vec![]));
        }
    }
}
