//! Ids of calls and of their results that a client left out: a result belongs to a call by its order.
//!
//! Works on a conversation that the reader of any route made. A call without an id has an empty one there, a result
//! has no [`CALL_ID`] or an empty one. Takes time linear in the conversation.

use crate::chat::conversation::{CALL_ID, Conversation, Message, Role};
use serde_json::Value;
use std::collections::HashSet;

/// Gives each call and each result that has no id the one that follows from its place. In the order of the results of a
/// turn, one without an id belongs to the first call that has no result yet, and one whose id no call has to the first
/// call without an id. Where there is no counterpart, the id is a new one, the same each time that the conversation is
/// sent.
pub fn fill_call_ids(conversation: &mut Conversation) {
    let messages = &mut conversation.messages;
    if !messages.iter().any(lacks_id) {
        return;
    }
    let calls = messages.iter().flat_map(|message| &message.calls).map(|call| call.id.clone());
    let taken = calls.chain(messages.iter().filter_map(result_id).map(str::to_owned)).collect();
    let mut new = NewIds { taken, made: 0 };
    // The calls of a turn may be in several messages of the assistant in a row.
    let is_same_turn = |before: &Message, next: &Message| next.role != Role::Assistant || before.role == Role::Assistant;
    for turn in messages.chunk_by_mut(is_same_turn) {
        if turn.iter().any(lacks_id) {
            fill(turn, &mut new);
        }
    }
}

/// Fills in the ids of one turn: the calls of the assistant's messages, and the results up to the next one.
fn fill(turn: &mut [Message], new: &mut NewIds) {
    let answered: HashSet<String> = turn.iter().filter_map(result_id).map(str::to_owned).collect();
    let mut called: HashSet<String> = turn.iter().flat_map(|message| &message.calls).map(|call| call.id.clone()).collect();
    let (results, others): (Vec<_>, Vec<_>) = turn.iter_mut().partition(|message| message.role == Role::Tool);
    let calls = others.into_iter().flat_map(|message| &mut message.calls).map(|call| &mut call.id);
    let open = calls.filter(|id| id.is_empty() || !answered.contains(id.as_str()));
    let mut open: Vec<UnansweredCall<'_>> = open.map(|id| UnansweredCall { id, has_result: false }).collect();
    let (mut any, mut unnamed) = (0, 0);
    for result in results {
        match result_id(result).map(str::to_owned) {
            Some(id) if called.contains(&id) => {}
            Some(id) => {
                if let Some(call) = next_open(&mut open, &mut unnamed, |call| call.id.is_empty()) {
                    call.id.clone_from(&id);
                }
                called.insert(id);
            }
            None => {
                let id = match next_open(&mut open, &mut any, |_| true) {
                    Some(call) if call.id.is_empty() => {
                        *call.id = new.next();
                        call.id.clone()
                    }
                    Some(call) => call.id.clone(),
                    None => new.next(),
                };
                result.fields.insert(CALL_ID.to_owned(), id.into());
            }
        }
    }
    open.iter_mut().filter(|call| call.id.is_empty()).for_each(|call| *call.id = new.next());
}

/// A call that no result names.
struct UnansweredCall<'a> {
    id: &'a mut String,
    has_result: bool,
}

/// The first call without a result from `*from` on that fits; it has one now. Moves `*from` behind it.
fn next_open<'a, 'b>(
    calls: &'b mut [UnansweredCall<'a>],
    from: &mut usize,
    fits: impl Fn(&UnansweredCall<'a>) -> bool,
) -> Option<&'b mut UnansweredCall<'a>> {
    let found = calls[*from..].iter().position(|call| !call.has_result && fits(call)).map(|place| *from + place);
    *from = found.map_or(calls.len(), |found| found + 1);
    let call = &mut calls[found?];
    call.has_result = true;
    Some(call)
}

fn lacks_id(message: &Message) -> bool {
    let is_result_without = message.role == Role::Tool && result_id(message).is_none();
    is_result_without || message.calls.iter().any(|call| call.id.is_empty())
}

/// The id of the call that a message is the result of.
fn result_id(message: &Message) -> Option<&str> {
    let id = message.fields.get(CALL_ID).and_then(Value::as_str);
    id.filter(|id| message.role == Role::Tool && !id.is_empty())
}

/// Ids that no call and no result of the conversation has.
struct NewIds {
    taken: HashSet<String>,
    made: usize,
}

impl NewIds {
    fn next(&mut self) -> String {
        loop {
            self.made += 1;
            let id = format!("call_{}", self.made);
            if !self.taken.contains(&id) {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::chat::messages::read_messages;
    use serde_json::{Value, json};
    use std::slice::from_ref;

    /// The ids of each message's calls, or of the call that it is the result of.
    fn ids(turns: Value) -> Vec<Vec<String>> {
        let conversation = read_messages(turns).unwrap();
        let messages = conversation.messages.iter().filter(|message| message.role.name() != "user");
        messages
            .map(|message| match message.fields.get("tool_call_id").and_then(Value::as_str) {
                Some(id) => vec![id.to_owned()],
                None => message.calls.iter().map(|call| call.id.clone()).collect(),
            })
            .collect()
    }

    fn calls(ids: &[Value]) -> Value {
        let calls: Vec<Value> = ids.iter().map(|id| json!({"id": id, "function": {"name": "f"}})).collect();
        json!({"role": "assistant", "tool_calls": calls})
    }

    fn result(id: &Value) -> Value {
        json!({"role": "tool", "tool_call_id": id, "content": "r"})
    }

    #[test]
    fn a_result_without_an_id_belongs_to_the_call_at_its_place() {
        let none = Value::Null;
        let turns = json!([calls(&[json!("a"), json!("b")]), result(&none), result(&none), calls(&[json!("c")]), result(&json!(""))]);
        assert_eq!(ids(turns), [vec!["a", "b"], vec!["a"], vec!["b"], vec!["c"], vec!["c"]]);

        let turns = json!([calls(&[json!("a"), json!("b")]), result(&json!("a")), result(&none)]);
        assert_eq!(ids(turns), [vec!["a", "b"], vec!["a"], vec!["b"]], "a call that a result names has its result");
    }

    #[test]
    fn a_call_without_an_id_gets_that_of_its_result_or_a_new_one() {
        let none = Value::Null;
        let turns = json!([calls(&[none.clone(), none.clone()]), result(&json!("x")), result(&none)]);
        assert_eq!(ids(turns), [vec!["x", "call_1"], vec!["x"], vec!["call_1"]]);

        let turns = json!([result(&none), calls(&[json!("call_1"), none.clone()]), result(&none), result(&none), result(&none)]);
        assert_eq!(ids(turns), [vec!["call_2"], vec!["call_1", "call_3"], vec!["call_1"], vec!["call_3"], vec!["call_4"]]);
    }

    #[test]
    fn results_find_calls_in_their_order_whatever_ids_are_absent() {
        let none = Value::Null;
        let turns = json!([calls(&[none.clone(), none.clone()]), result(&none), result(&json!("x"))]);
        assert_eq!(ids(turns), [vec!["call_1", "x"], vec!["call_1"], vec!["x"]]);

        let turns = json!([calls(from_ref(&none)), calls(from_ref(&none)), result(&none), result(&none)]);
        assert_eq!(ids(turns), [vec!["call_1"], vec!["call_2"], vec!["call_1"], vec!["call_2"]], "two messages of the assistant");
    }

    #[test]
    fn ids_that_were_sent_stay_as_they_are() {
        let turns = json!([calls(&[json!("a"), json!("a")]), result(&json!("a")), result(&json!("z"))]);
        assert_eq!(ids(turns), [vec!["a", "a"], vec!["a"], vec!["z"]]);
    }
}
